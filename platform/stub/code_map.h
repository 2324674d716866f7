// Where an address space has stable files mapped for execution, and which patched copies of them.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/api/platform.h"
#include "platform/stub/layout.h"
#include "platform/stub/patch.h"

namespace platform::stub {

// Not thread-safe: the address space calls it in the order of its mapping changes, and maps what it
// returns next, over what is there.
class CodeMap {
 public:
  // A part of the code file for [addr, addr + len), to be read and executed.
  struct Part {
    uint64_t addr, len, offset;
  };

  // [addr, addr + len) is mapped to a file. process: the address space's page.
  std::vector<Part> Map(Patcher& patcher, ProcessPage& process, uint64_t addr, uint64_t len,
                        const base::Ref<MapFile>& file, uint64_t offset, uint8_t prot);
  // Nothing is mapped there any more, or something else.
  void Cut(uint64_t addr, uint64_t len);
  // A guest thread trapped at the system call instruction before rip.
  std::vector<Part> Trapped(Patcher& patcher, ProcessPage& process, uint64_t rip);

 private:
  struct Range {
    uint64_t end;
    base::Ref<MapFile> file;
    uint64_t offset;
    // Chunks (by address, as far as they lie in the range) that a copy is mapped for: {address,
    // offset in the code file}.
    std::vector<std::pair<uint64_t, uint64_t>> copies;
  };
  // Has a chunk's copy mapped, as far as it lies in the range and isn't yet.
  void Add(ProcessPage& process, uint64_t addr, Range& range, uint64_t chunk, Patcher::Copy copy,
           std::vector<Part>* parts);

  std::map<uint64_t, Range> ranges_;  // by start
  // What the process page says, which the guest can change: by image.
  absl::flat_hash_map<uint32_t, uint64_t> bases_;
};

}  // namespace platform::stub
