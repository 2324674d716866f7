// Patched call sites: copies of executable file pages in which system call instructions that guests
// were seen to use are replaced by jumps to the stub, so that a call costs no signal.
//
// A site is the instructions before a system call instruction that make room for a jump, and mostly
// that instruction too. The jump is "jmp *0x6xxxx" (7 bytes), through a table at a fixed address,
// to a thunk of the site's own, which holds copies of the replaced instructions and then jumps to
// the stub's entry with the address behind the system call in rcx, where the instruction itself
// would put it. No register or stack byte changes otherwise. Where a replaced instruction began
// inside the jump, the jump's bytes are instructions that don't exist in 64-bit mode: a guest that
// jumps (or returns from a signal handler) there gets SIGILL, and goes on in the thunk's copy
// (inside.h). Where two bytes are all there is, a short jump leads to padding in which the long
// one stands.
//
// Pages are never changed while a guest may run them: a chunk of a file gets a new copy, and is
// mapped anew. Copies are shared by all guest processes; what differs between them, the address
// where the file is mapped, is in the process page.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/api/platform.h"
#include "platform/base/fd.h"
#include "platform/base/mutex.h"
#include "platform/base/status.h"
#include "platform/stub/layout.h"

namespace platform::stub {

// Where a jump can be written. Offsets are in the span that FindSites was given.
struct Site {
  uint32_t start;  // of the first instruction replaced (or jumped over)
  uint32_t call;   // of the system call instruction
  uint32_t jump;   // of the 7-byte jump
  bool is_short;   // two bytes at start lead to jump
  bool low_entry;  // the table entry's address must end in 6: an instruction begins at jump + 3
  uint8_t copied;  // bytes from start that the thunk repeats
  uint16_t boundaries;  // bit n: an instruction began at start + n, inside the jump
};

// The sites in code (part of a file whose pages begin at multiples of 4096 of the span). seen:
// offsets of system call instructions that guests were seen to execute: these need less evidence
// than what merely looks like one.
std::vector<Site> FindSites(std::span<const uint8_t> code, std::span<const uint32_t> seen);

// The engine's code file and what is in it. Thread-safe.
class Patcher {
 public:
  static constexpr uint64_t kChunk = 16 << 10;

  // only_local: no call is cheaper through a site but those that the stub answers; the others stay.
  base::Status Init(bool only_local);
  int read_only_fd() const { return read_only_.get(); }
  // From the code file. False: it has less.
  bool Read(uint64_t offset, void* to, uint64_t n) const;

  struct Copy {
    uint64_t offset = 0;  // in the code file; 0: none
    uint32_t image = 0;
  };
  // The present copies of chunks that touch [from, to) of a stable file: by the offset of the
  // chunk (a multiple of kChunk), ascending.
  std::vector<std::pair<uint64_t, Copy>> Find(const MapFile& file, uint64_t from, uint64_t to);
  // A guest trapped at the system call instruction at offset: the chunk's copy, perhaps just made.
  Copy Trapped(const base::Ref<MapFile>& file, uint64_t offset);

 private:
  struct Chunk {
    uint32_t traps = 0;
    uint32_t versions = 0;
    uint64_t copy = 0;
    std::vector<uint32_t> seen;
  };
  struct Image {
    base::Ref<MapFile> file;  // so that its id stays its own
    uint32_t index;
    absl::flat_hash_map<uint64_t, Chunk> chunks;  // by offset / kChunk
  };
  void MakeCopy(Image& image, uint64_t offset, Chunk& chunk) REQUIRES_LOCK(mu_);
  // The address of a table entry that leads to a new thunk, or 0.
  uint32_t MakeThunk(const Image& image, uint64_t base, const Site& site,
                     std::span<const uint8_t> code) REQUIRES_LOCK(mu_);

  base::UniqueFd fd_, read_only_;
  bool only_local_ = false;
  base::Mutex<base::LockClass::kLeaf> mu_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Image>> images_ GUARDED_BY(mu_);
  uint32_t next_entry_ GUARDED_BY(mu_) = 0;
  uint32_t next_low_entry_ GUARDED_BY(mu_) = 0;
  uint32_t thunks_ GUARDED_BY(mu_) = 0;
};

}  // namespace platform::stub
