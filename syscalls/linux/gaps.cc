#include "syscalls/linux/gaps.h"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "platform/base/log.h"

namespace syscalls {
namespace {

// Open addressing; a slot is claimed by its key and never freed.
constexpr size_t kSlots = 512;
constexpr int kValueBits = 52;
struct Slot {
  std::atomic<uint64_t> key{0};  // (number + 1) << 52 | value; 0 is free
  std::atomic<uint64_t> count{0};
};
Slot g_slots[kSlots];
std::atomic<uint64_t> g_dropped{0};

struct Counter {
  std::atomic<uint64_t> calls{0}, failed{0};
};
Counter g_calls[kRowCount];

uint64_t KeyOf(uint64_t nr, uint64_t value) {
  // Numbers beyond every table share one entry, with the number as the value.
  if (nr >= (1u << 11)) {
    value = nr;
    nr = (1u << 11);
  }
  return ((nr + 1) << kValueBits) | (value & ((uint64_t{1} << kValueBits) - 1));
}

// The name of the option, if exactly the call's own sets know it.
void AppendName(std::string* out, Sys call, uint64_t value) {
  for (int arg = 0; arg < 6; ++arg) {
    FlagSet set = SetOf(call, arg);
    if (set == FlagSet::kCount) continue;
    const Set& s = GetSet(set);
    size_t n;
    const Feature* f = Features(&n);
    for (size_t i = s.first; i < size_t{s.first} + s.count; ++i) {
      if (f[i].value == value) {
        *out += f[i].name;
        return;
      }
    }
  }
}

}  // namespace

void TrackGap(uint64_t nr, uint64_t value) {
  const uint64_t key = KeyOf(nr, value);
  size_t i = (key * 0x9e3779b97f4a7c15ull) >> 55;
  static_assert(kSlots == size_t{1} << (64 - 55));
  for (size_t probes = 0; probes < kSlots; ++probes, i = (i + 1) % kSlots) {
    uint64_t k = g_slots[i].key.load(std::memory_order_relaxed);
    if (k == 0 && g_slots[i].key.compare_exchange_strong(k, key, std::memory_order_relaxed)) {
      const Row* row = FindRow(nr);
      LOG_INFO("gap: %s (%" PRIu64 "), value %#" PRIx64, row != nullptr ? row->name : "?", nr,
               value);
      k = key;
    }
    if (k == key) {
      g_slots[i].count.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  g_dropped.fetch_add(1, std::memory_order_relaxed);
}

std::string GapsAsJson() {
  struct Gap {
    uint64_t nr, value, count;
  };
  std::vector<Gap> gaps;
  for (const Slot& s : g_slots) {
    const uint64_t key = s.key.load(std::memory_order_relaxed);
    const uint64_t count = s.count.load(std::memory_order_relaxed);
    if (key == 0 || count == 0) continue;
    Gap g{(key >> kValueBits) - 1, key & ((uint64_t{1} << kValueBits) - 1), count};
    if (g.nr == (1u << 11)) g = {g.value, 0, count};
    gaps.push_back(g);
  }
  std::sort(gaps.begin(), gaps.end(), [](const Gap& a, const Gap& b) {
    if (a.count != b.count) return a.count > b.count;
    return a.nr != b.nr ? a.nr < b.nr : a.value < b.value;
  });
  std::string out = "{\"gaps\":[";
  for (size_t i = 0; i < gaps.size(); ++i) {
    const Gap& g = gaps[i];
    const Row* row = FindRow(g.nr);
    std::string name;
    if (row != nullptr && g.value != 0) AppendName(&name, static_cast<Sys>(row->nr), g.value);
    char buf[256];
    snprintf(buf, sizeof buf,
             "%s{\"call\":\"%s\",\"nr\":%" PRIu64 ",\"value\":%" PRIu64
             ",\"name\":\"%s\",\"count\":%" PRIu64 "}",
             i == 0 ? "" : ",", row != nullptr ? row->name : "?", g.nr, g.value, name.c_str(),
             g.count);
    out += buf;
  }
  out += "],\"dropped\":" + std::to_string(g_dropped.load(std::memory_order_relaxed)) + "}";
  return out;
}

void CountCall(uint64_t nr, bool failed) {
  const int i = RowIndex(nr);
  if (i < 0) return;
  g_calls[i].calls.fetch_add(1, std::memory_order_relaxed);
  if (failed) g_calls[i].failed.fetch_add(1, std::memory_order_relaxed);
}

std::string CallsAsJson() {
  std::string out = "{\"calls\":[";
  bool first = true;
  for (size_t i = 0; i < kRowCount; ++i) {
    const uint64_t calls = g_calls[i].calls.load(std::memory_order_relaxed);
    if (calls == 0) continue;
    char buf[128];
    snprintf(buf, sizeof buf, "%s{\"call\":\"%s\",\"count\":%" PRIu64 ",\"failed\":%" PRIu64 "}",
             first ? "" : ",", kRows[i].name, calls,
             g_calls[i].failed.load(std::memory_order_relaxed));
    out += buf;
    first = false;
  }
  return out + "]}";
}

void ResetGaps() {
  for (Slot& s : g_slots) {
    s.key.store(0, std::memory_order_relaxed);
    s.count.store(0, std::memory_order_relaxed);
  }
  for (Counter& c : g_calls) {
    c.calls.store(0, std::memory_order_relaxed);
    c.failed.store(0, std::memory_order_relaxed);
  }
  g_dropped.store(0, std::memory_order_relaxed);
}

}  // namespace syscalls
