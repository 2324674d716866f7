#include "platform/stub/patch.h"

#include <algorithm>
#include <cstring>

#include "platform/host/host.h"

namespace platform::stub {
namespace {

constexpr uint32_t kPage = 4096;
constexpr uint32_t kJump = 7;
constexpr uint32_t kMaxCopied = 28;
constexpr uint8_t kMovEax = 0xb8;  // mov $imm32, %eax
// A trap costs some 2 us more than a jump, a copy about 30 us once.
constexpr uint32_t kTrapsPerCopy = 12;
constexpr uint32_t kMaxVersions = 2;
constexpr size_t kMaxSeen = 32;
// In the code file, for each image: chunks lie there as in their file, so that neighbours are one
// mapping; what a file has behind is not patched. Second versions lie at the same distance behind.
constexpr uint64_t kImageRange = 512 << 20;

bool Has(std::span<const uint8_t> code, size_t at, std::initializer_list<uint8_t> bytes) {
  if (at > code.size() || code.size() - at < bytes.size()) return false;
  return std::equal(bytes.begin(), bytes.end(), code.begin() + static_cast<ptrdiff_t>(at));
}

// The length of an instruction that does the same anywhere: no use of rip, no transfer of control.
// 0: not one of the few that stand between "mov $nr, %eax" and the system call in practice.
uint32_t PortableLength(std::span<const uint8_t> code, size_t at) {
  auto byte = [&](size_t i) { return at + i < code.size() ? code[at + i] : uint8_t{0x06}; };
  uint32_t n = 0;
  if ((byte(0) & 0xf0) == 0x40) n = 1;  // REX
  uint8_t op = byte(n);
  if (op >= 0xb8 && op <= 0xbf) return n == 1 && (byte(0) & 8) ? 0 : n + 5;  // mov $imm32
  uint8_t modrm = byte(n + 1);
  uint32_t immediate;
  switch (op) {
    case 0x31:  // xor, sub, and, mov, test
    case 0x33:
    case 0x29:
    case 0x21:
    case 0x85:
    case 0x89:
    case 0x8b:
    case 0x8d:
      immediate = 0;
      break;
    case 0x80:
    case 0x83:
      immediate = 1;
      break;
    case 0x81:
      immediate = 4;
      break;
    default:
      return 0;
  }
  uint8_t mod = modrm >> 6, rm = modrm & 7;
  n += 2 + immediate;
  if (mod == 3) return op == 0x8d ? 0 : n;
  if (rm == 4) n++;                                // SIB
  if (mod == 0 && (rm == 5 || rm == 4)) return 0;  // rip, or a SIB without a base
  if (mod == 1) n += 1;
  if (mod == 2) n += 4;
  return n;
}

// Whether b8 at `at` may be the end of a longer instruction instead of the beginning of mov.
bool MayBeTail(std::span<const uint8_t> code, size_t at) {
  if (at < 3) return true;
  uint8_t p1 = code[at - 1], p2 = code[at - 2], p3 = code[at - 3];
  if ((p1 & 0xf0) == 0x40 || p1 == 0x66 || p1 == 0x0f || p1 == 0x8d) return true;
  // Opcodes with an immediate of four bytes behind a displacement of one, which is b8.
  auto immediate = [](uint8_t op) { return op == 0xc7 || op == 0x81 || op == 0x69 || op == 0xf7; };
  if (immediate(p2) && p1 >> 6 == 1 && (p1 & 7) != 4) return true;
  return immediate(p3) && p2 >> 6 == 1 && (p2 & 7) == 4;
}

// Code that looks at a system call's result follows.
bool ResultIsUsed(std::span<const uint8_t> code, size_t at) {
  return Has(code, at, {0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff}) ||
         Has(code, at, {0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff});
}

uint32_t NopLength(std::span<const uint8_t> code, size_t at) {
  size_t i = at;
  while (i < code.size() && (code[i] == 0x66 || code[i] == 0x2e)) i++;
  if (Has(code, i, {0x90})) return static_cast<uint32_t>(i + 1 - at);
  if (!Has(code, i, {0x0f, 0x1f}) || i + 2 >= code.size()) return 0;
  switch (code[i + 2]) {
    case 0x00:
      i += 3;
      break;
    case 0x40:
      i += 4;
      break;
    case 0x44:
      i += 5;
      break;
    case 0x80:
      i += 7;
      break;
    case 0x84:
      i += 8;
      break;
    default:
      return 0;
  }
  return static_cast<uint32_t>(i - at);
}

// Padding behind a return up to the next multiple of 16, with room for a jump, that a short jump at
// `from` reaches in its page; 0: none.
uint32_t FindPadding(std::span<const uint8_t> code, uint32_t from) {
  uint32_t page = from & ~(kPage - 1);
  uint32_t low = std::max(page + 1, from > 120 ? from - 120 : 1);
  uint32_t high = std::min<uint64_t>({page + kPage - kJump, from + 120, code.size() - kJump});
  for (uint32_t at = low; at < high; at++) {
    if (code[at - 1] != 0xc3) continue;
    uint32_t end = at;
    while (end % 16 != 0) {
      uint32_t n = NopLength(code, end);
      if (n == 0 || end / 16 != (end + n - 1) / 16) break;
      end += n;
    }
    if (end % 16 == 0 && end >= at + kJump) return at;
  }
  return 0;
}

bool InOnePage(uint32_t start, uint32_t end) { return start / kPage == (end - 1) / kPage; }

}  // namespace

std::vector<Site> FindSites(std::span<const uint8_t> code, std::span<const uint32_t> seen) {
  std::vector<Site> sites;
  auto was_seen = [&](uint32_t at) {
    return std::find(seen.begin(), seen.end(), at) != seen.end();
  };
  uint32_t size = static_cast<uint32_t>(code.size());
  uint32_t done = 0;  // the end of the last site
  for (uint32_t call = 5; call + 2 <= size; call++) {
    if (code[call] != 0x0f || code[call + 1] != 0x05) continue;
    bool sure = was_seen(call), used = ResultIsUsed(code, call + 2);
    if (!sure && !used) continue;
    Site s{};
    s.call = call;
    // mov $nr, %eax, then up to four portable instructions, then the call.
    for (uint32_t back = 5; back <= kMaxCopied && back <= call && s.copied == 0; back++) {
      uint32_t start = call - back;
      if (start < done || code[start] != kMovEax || code[start + 2] > 3 || code[start + 3] != 0 ||
          code[start + 4] != 0 || MayBeTail(code, start))
        continue;
      uint32_t at = start + 5;
      uint16_t boundaries = 1 << 5;
      bool fits = true;
      for (int i = 0; at < call && i < 4; i++) {
        uint32_t n = PortableLength(code, at);
        if (n == 0) break;
        at += n;
        if (at - start < kJump) fits = false;  // an instruction at byte 6, which is no trap
      }
      if (at != call || !fits || !InOnePage(start, std::max(start + kJump, call + 2))) continue;
      s.start = s.jump = start;
      s.copied = static_cast<uint8_t>(back);
      s.boundaries = boundaries;
    }
    if (s.copied == 0 && used && call >= done + 5 &&
        Has(code, call - 5, {0x4c, 0x8b, 0x4c, 0x24, 0x08}) && InOnePage(call - 5, call + 2)) {
      // syscall(2)'s: mov 8(%rsp), %r9.
      s.start = s.jump = call - 5;
      s.copied = 5;
      s.boundaries = 1 << 5;
    } else if (s.copied == 0 && used && call >= done + 6 &&
               Has(code, call - 6, {0x8b, 0x7c, 0x24, 0x08, 0x31, 0xc0}) &&
               InOnePage(call - 6, call + 2)) {
      // mov 8(%rsp), %edi; xor %eax, %eax: read(2) with threads. All eight bytes: a prefix first,
      // so that the instructions at 4 and 6 begin at bytes of the jump that can be chosen.
      s.start = call - 6;
      s.jump = call - 5;
      s.copied = 6;
      s.boundaries = 1 << 4 | 1 << 6;
      s.low_entry = true;
    } else if (s.copied == 0 && used && call >= done + 2 && Has(code, call - 2, {0x31, 0xc0})) {
      // xor %eax, %eax: read(2).
      uint32_t at = FindPadding(code, call - 2);
      bool taken =
          std::any_of(sites.begin(), sites.end(), [&](const Site& o) { return o.jump == at; });
      if (at != 0 && !taken) {
        s.start = call - 2;
        s.jump = at;
        s.is_short = true;
        s.copied = 2;
      }
    }
    if (s.copied == 0) continue;
    done = call + 2;
    sites.push_back(s);
  }
  return sites;
}

base::Status Patcher::Init(bool only_local) {
  only_local_ = only_local;
  long fd = host::CreateMemoryFile(&read_only_);
  if (fd < 0) return base::Status::Errno("the file of patched code", static_cast<int>(-fd));
  fd_.reset(static_cast<int>(fd));
  // Sparse: as large as it can get.
  long r = host::Ftruncate(
      fd_.get(), static_cast<int64_t>(kCodeFileImages + kMaxImages * kMaxVersions * kImageRange));
  if (r < 0) return base::Status::Errno("the file of patched code", static_cast<int>(-r));
  return {};
}

bool Patcher::Read(uint64_t offset, void* to, uint64_t n) const {
  return host::Pread(fd_.get(), to, n, static_cast<int64_t>(offset)) == static_cast<long>(n);
}

std::vector<std::pair<uint64_t, Patcher::Copy>> Patcher::Find(const MapFile& file, uint64_t from,
                                                              uint64_t to) {
  std::vector<std::pair<uint64_t, Copy>> found;
  {
    base::MutexLock lock(mu_);
    auto it = images_.find(file.id());
    if (it == images_.end()) return found;
    for (const auto& [number, chunk] : it->second->chunks) {
      uint64_t offset = number * kChunk;
      if (chunk.copy != 0 && offset < to && offset + kChunk > from) {
        found.push_back({offset, {chunk.copy, it->second->index}});
      }
    }
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return found;
}

Patcher::Copy Patcher::Trapped(const base::Ref<MapFile>& file, uint64_t offset) {
  base::MutexLock lock(mu_);
  auto it = images_.find(file->id());
  if (it == images_.end()) {
    if (images_.size() == kMaxImages) return {};
    auto image = std::make_unique<Image>();
    image->file = file;
    image->index = static_cast<uint32_t>(images_.size());
    it = images_.emplace(file->id(), std::move(image)).first;
  }
  Image& image = *it->second;
  uint64_t start = offset / kChunk * kChunk;
  Chunk& chunk = image.chunks[offset / kChunk];
  auto at = static_cast<uint32_t>(offset - start);
  if (chunk.seen.size() < kMaxSeen &&
      std::find(chunk.seen.begin(), chunk.seen.end(), at) == chunk.seen.end()) {
    chunk.seen.push_back(at);
  }
  // A new version only for what is used much.
  if (++chunk.traps >= kTrapsPerCopy << (4 * chunk.versions) && chunk.versions < kMaxVersions) {
    MakeCopy(image, start, chunk);
    chunk.traps = 0;
  }
  return {chunk.copy, image.index};
}

void Patcher::MakeCopy(Image& image, uint64_t offset, Chunk& chunk) {
  if (offset >= kImageRange) return;
  uint64_t at =
      kCodeFileImages + (image.index * kMaxVersions + chunk.versions) * kImageRange + offset;
  uint8_t code[kChunk];
  long n = host::Pread(image.file->fd(), code, kChunk, static_cast<int64_t>(offset));
  if (n <= 0) return;
  std::span<uint8_t> bytes(code, static_cast<size_t>(n));
  std::vector<Site> sites = FindSites(bytes, chunk.seen);
  if (only_local_) {
    std::erase_if(sites, [&](const Site& s) {
      return code[s.start] != kMovEax || !MayBeLocal(code[s.start + 1] | code[s.start + 2] << 8);
    });
  }
  if (sites.empty()) {
    chunk.versions = kMaxVersions;
    return;
  }
  for (const Site& s : sites) {
    uint32_t entry = MakeThunk(image, offset, s, bytes);
    if (entry == 0) continue;
    if (s.jump > s.start && !s.is_short) memset(code + s.start, 0x2e, s.jump - s.start);
    const uint8_t jump[kJump] = {0xff,
                                 0x24,
                                 0x25,
                                 static_cast<uint8_t>(entry),
                                 static_cast<uint8_t>(entry >> 8),
                                 static_cast<uint8_t>(entry >> 16),
                                 0};
    memcpy(code + s.jump, jump, kJump);
    if (s.is_short) {
      code[s.start] = 0xeb;
      code[s.start + 1] = static_cast<uint8_t>(s.jump - (s.start + 2));
    }
  }
  if (host::Pwrite(fd_.get(), code, static_cast<size_t>(n), static_cast<int64_t>(at)) != n) return;
  chunk.copy = at;
  chunk.versions++;
}

uint32_t Patcher::MakeThunk(const Image& image, uint64_t base, const Site& site,
                            std::span<const uint8_t> code) {
  // Entries whose address ends in 06 overlap the first two of each 256 bytes.
  uint64_t entry;
  if (site.low_entry) {
    entry = uint64_t{next_low_entry_} * 256 + 6;
    if (entry + 8 > kTableSize) return 0;
  } else {
    if (next_entry_ % 32 < 2) next_entry_ += 2 - next_entry_ % 32;
    entry = uint64_t{next_entry_} * 8;
    if (entry + 8 > kTableSize) return 0;
  }
  if (thunks_ == kMaxThunks) return 0;
  uint64_t behind = base + site.call + 2;
  if (behind > INT32_MAX) return 0;
  uint64_t address = kThunks + uint64_t{thunks_} * kThunkSize;
  uint8_t thunk[kThunkSize];
  memset(thunk, 0xcc, sizeof thunk);
  uint8_t* p = thunk;
  auto put = [&](std::initializer_list<uint8_t> bytes) {
    for (uint8_t b : bytes) *p++ = b;
  };
  auto put32 = [&](uint64_t v) {
    auto low = static_cast<uint32_t>(v);
    memcpy(p, &low, 4);
    p += 4;
  };
  auto here = [&] { return address + static_cast<uint64_t>(p - thunk); };
  memcpy(p, code.data() + site.start, site.copied);
  p += site.copied;
  put({0x48, 0x8b, 0x0d});  // mov base[image](%rip), %rcx
  put32(kSlots + __builtin_offsetof(ProcessPage, base) + 8 * image.index - (here() + 4));
  put({0x48, 0x8d, 0x89});  // lea behind(%rcx), %rcx
  put32(behind);
  put({0xe9});  // jmp StubEntry
  put32(kText + kEntryOffset - (here() + 4));
  ThunkInfo info{image.index, static_cast<uint32_t>(base + site.start), site.boundaries,
                 site.copied, static_cast<uint8_t>(site.is_short ? 0 : site.jump - site.start)};
  memcpy(thunk + kThunkInfo, &info, sizeof info);
  auto at = static_cast<int64_t>(kCodeFileThunks + uint64_t{thunks_} * kThunkSize);
  if (host::Pwrite(fd_.get(), thunk, sizeof thunk, at) != sizeof thunk ||
      host::Pwrite(fd_.get(), &address, 8, static_cast<int64_t>(entry)) != 8)
    return 0;
  thunks_++;
  (site.low_entry ? next_low_entry_ : next_entry_)++;
  return static_cast<uint32_t>(kTable + entry);
}

}  // namespace platform::stub
