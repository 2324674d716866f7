// ELF files: what the loader needs to know of one, checked so that a hostile file can only be
// refused (fs/binfmt_elf.c).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "platform/api/context.h"
#include "platform/base/result.h"
#include "syscalls/abi/elf.h"

namespace sentry {

// Reads n bytes at offset; fewer at the end of the file.
using ReadAt = std::function<base::Result<size_t>(uint64_t offset, void* dst, size_t n)>;

struct ElfSegment {
  uint64_t vaddr, memsz, filesz, offset;
  uint8_t prot;  // platform::Prot
};

struct ElfImage {
  bool dynamic = false;  // ET_DYN: may be placed anywhere
  bool exec_stack = false;
  std::string interpreter;           // empty: none
  std::vector<ElfSegment> segments;  // PT_LOAD with memory, in file order; at least one
  uint64_t entry = 0;                // as in the file
  uint64_t low = 0, high = 0;        // page-aligned span of all segments
  uint64_t align = 4096;             // of the load address
  uint64_t phdr = 0;                 // where the program headers lie in memory, before relocation
  uint64_t phnum = 0;
  uint64_t brk = 0;  // end of the last segment, before relocation
  // For mm's layout, before relocation.
  uint64_t start_code = 0, end_code = 0, start_data = 0, end_data = 0;
};

// bad: the error for a file that is no usable ELF image (ENOEXEC; ELIBBAD for an interpreter).
// limit: the end of user addresses.
base::Result<ElfImage> ParseElf(const ReadAt& read, abi::Errno bad, uint64_t limit);

}  // namespace sentry
