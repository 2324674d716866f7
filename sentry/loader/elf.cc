#include "sentry/loader/elf.h"

#include <algorithm>
#include <cstring>

#include "sentry/mm/memory_manager.h"

namespace sentry {
namespace {

// The kernel's bound on the table: 64 KiB.
constexpr size_t kMaxHeaders = 65536 / sizeof(abi::Elf64Phdr);

base::Result<void> ReadAll(const ReadAt& read, uint64_t offset, void* dst, size_t n,
                           abi::Errno bad) {
  size_t got = TRY(read(offset, dst, n));
  if (got != n) return bad;
  return {};
}

}  // namespace

base::Result<ElfImage> ParseElf(const ReadAt& read, abi::Errno bad, uint64_t limit) {
  abi::Elf64Ehdr h;
  TRY(ReadAll(read, 0, &h, sizeof h, bad));
  if (memcmp(h.ident, "\177ELF", 4) != 0 || h.ident[abi::kEI_CLASS] != abi::kELFCLASS64 ||
      h.ident[abi::kEI_DATA] != abi::kELFDATA2LSB) {
    return bad;
  }
  if ((h.type != abi::kET_EXEC && h.type != abi::kET_DYN) || h.machine != abi::kEM_X86_64) {
    return bad;
  }
  if (h.phentsize != sizeof(abi::Elf64Phdr) || h.phnum == 0 || h.phnum > kMaxHeaders) return bad;
  if (h.phoff > INT64_MAX) return bad;
  std::vector<abi::Elf64Phdr> headers(h.phnum);
  TRY(ReadAll(read, h.phoff, headers.data(), headers.size() * sizeof(abi::Elf64Phdr), bad));

  ElfImage image;
  image.dynamic = h.type == abi::kET_DYN;
  image.entry = h.entry;
  image.phnum = h.phnum;
  image.low = UINT64_MAX;
  image.start_code = UINT64_MAX;
  for (const abi::Elf64Phdr& p : headers) {
    switch (p.type) {
      case abi::kPT_INTERP: {
        if (!image.interpreter.empty()) break;  // the first one counts
        if (p.filesz > kPathMax || p.filesz < 2 || p.offset > INT64_MAX) return bad;
        std::string name(p.filesz, '\0');
        TRY(ReadAll(read, p.offset, name.data(), name.size(), abi::Errno::kEIO));
        if (name.back() != '\0') return bad;
        image.interpreter = name.c_str();
        if (image.interpreter.empty()) return bad;
        break;
      }
      case abi::kPT_GNU_STACK:
        image.exec_stack = (p.flags & abi::kPF_X) != 0;
        break;
      case abi::kPT_LOAD: {
        if (p.filesz > p.memsz || p.memsz > limit || p.vaddr > limit - p.memsz) {
          return abi::Errno::kEINVAL;
        }
        if (p.offset > INT64_MAX - p.filesz) return abi::Errno::kEINVAL;
        if (p.align > 1 && (p.align & (p.align - 1)) == 0) {
          image.align = std::max(image.align, std::min(p.align, uint64_t{1} << 30));
        }
        if (p.memsz == 0) break;
        if (p.filesz != 0 && (p.offset - p.vaddr) % kPageSize != 0) return abi::Errno::kEINVAL;
        ElfSegment s{p.vaddr, p.memsz, p.filesz, p.offset, 0};
        if (p.flags & abi::kPF_R) s.prot |= platform::kProtRead;
        if (p.flags & abi::kPF_W) s.prot |= platform::kProtWrite;
        if (p.flags & abi::kPF_X) s.prot |= platform::kProtExec;
        image.low = std::min(image.low, PageDown(p.vaddr));
        image.high = std::max(image.high, PageUp(p.vaddr + p.memsz));
        image.brk = std::max(image.brk, p.vaddr + p.memsz);
        if (h.phoff >= p.offset && h.phoff - p.offset < p.filesz) {
          image.phdr = h.phoff - p.offset + p.vaddr;
        }
        if (p.flags & abi::kPF_X) {
          image.start_code = std::min(image.start_code, p.vaddr);
          image.end_code = std::max(image.end_code, p.vaddr + p.filesz);
        }
        image.start_data = std::max(image.start_data, p.vaddr);
        image.end_data = std::max(image.end_data, p.vaddr + p.filesz);
        image.segments.push_back(s);
        break;
      }
      default:
        break;
    }
  }
  if (image.segments.empty()) return bad;
  if (image.start_code == UINT64_MAX) image.start_code = image.end_code = image.low;
  if (image.entry >= limit) return abi::Errno::kEINVAL;
  return image;
}

}  // namespace sentry
