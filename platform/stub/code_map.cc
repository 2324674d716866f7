#include "platform/stub/code_map.h"

#include <algorithm>

namespace platform::stub {

std::vector<CodeMap::Part> CodeMap::Map(Patcher& patcher, ProcessPage& process, uint64_t addr,
                                        uint64_t len, const base::Ref<MapFile>& file,
                                        uint64_t offset, uint8_t prot) {
  Cut(addr, len);
  std::vector<Part> parts;
  if (!file->stable() || prot != (kProtRead | kProtExec)) return parts;
  Range& range = ranges_[addr] = {addr + len, file, offset, {}};
  for (const auto& [chunk, copy] : patcher.Find(*file, offset, offset + len)) {
    Add(process, addr, range, addr + (chunk - offset), copy, &parts);
  }
  return parts;
}

void CodeMap::Cut(uint64_t addr, uint64_t len) {
  uint64_t end = addr + len;
  auto it = ranges_.upper_bound(addr);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < end) {
    uint64_t start = it->first;
    if (it->second.end <= addr) {
      ++it;
      continue;
    }
    Range range = std::move(it->second);
    it = ranges_.erase(it);
    auto keep = [&](uint64_t low, uint64_t high) {
      if (low >= high) return;
      Range part{high, range.file, range.offset + (low - start), {}};
      for (auto& c : range.copies) {
        if (c.first < high && c.first + Patcher::kChunk > low) part.copies.push_back(c);
      }
      it = std::next(ranges_.insert_or_assign(low, std::move(part)).first);
    };
    keep(start, addr);
    keep(end, range.end);
  }
}

void CodeMap::Add(ProcessPage& process, uint64_t addr, Range& range, uint64_t chunk,
                  Patcher::Copy copy, std::vector<Part>* parts) {
  // The thunks know one place of a file in a process.
  uint64_t base = addr - range.offset;
  uint64_t* known = &process.base[copy.image];
  if (bases_[copy.image] != base) {
    for (auto& [start, other] : ranges_) {
      if (other.file == range.file && start - other.offset != base) return;
    }
    bases_[copy.image] = base;
    __atomic_store_n(known, base, __ATOMIC_RELAXED);
  }
  auto mapped = std::find_if(range.copies.begin(), range.copies.end(),
                             [&](auto& c) { return c.first == chunk; });
  if (mapped == range.copies.end()) {
    mapped = range.copies.insert(mapped, {chunk, 0});
  } else if (mapped->second == copy.offset) {
    return;
  }
  mapped->second = copy.offset;
  uint64_t low = std::max(chunk, addr), high = std::min(chunk + Patcher::kChunk, range.end);
  parts->push_back({low, high - low, copy.offset + (low - chunk)});
}

std::vector<CodeMap::Part> CodeMap::Trapped(Patcher& patcher, ProcessPage& process, uint64_t rip) {
  std::vector<Part> parts;
  uint64_t at = rip - 2;
  auto it = ranges_.upper_bound(at);
  if (it == ranges_.begin()) return parts;
  --it;
  if (it->second.end < rip) return parts;
  uint64_t base = it->first - it->second.offset;
  Patcher::Copy copy = patcher.Trapped(it->second.file, at - base);
  if (copy.offset != 0)
    Add(process, it->first, it->second, at - (at - base) % Patcher::kChunk, copy, &parts);
  return parts;
}

}  // namespace platform::stub
