// elf(5) and the auxiliary vector.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

struct Elf64Ehdr {
  uint8_t ident[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, phoff, shoff;
  uint32_t flags;
  uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct Elf64Phdr {
  uint32_t type, flags;
  uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
struct Elf64Shdr {
  uint32_t name, type;
  uint64_t flags, addr, offset, size;
  uint32_t link, info;
  uint64_t addralign, entsize;
};
struct Elf64Dyn {
  int64_t tag;
  uint64_t val;
};
struct Elf64Sym {
  uint32_t name;
  uint8_t info, other;
  uint16_t shndx;
  uint64_t value, size;
};
struct Elf64Rela {
  uint64_t offset, info;
  int64_t addend;
};
struct Elf64Nhdr {
  uint32_t namesz, descsz, type;
};

inline constexpr int32_t kEI_CLASS = 4;
inline constexpr int32_t kEI_DATA = 5;
inline constexpr int32_t kEI_VERSION = 6;
inline constexpr int32_t kEI_OSABI = 7;
inline constexpr int32_t kEI_PAD = 8;
inline constexpr int32_t kEI_NIDENT = 16;
inline constexpr int32_t kELFCLASS32 = 1;
inline constexpr int32_t kELFCLASS64 = 2;
inline constexpr int32_t kELFDATA2LSB = 1;
inline constexpr int32_t kELFDATA2MSB = 2;
inline constexpr int32_t kEV_CURRENT = 1;
inline constexpr int32_t kELFOSABI_NONE = 0;
inline constexpr int32_t kELFOSABI_LINUX = 3;
inline constexpr int32_t kET_NONE = 0;
inline constexpr int32_t kET_REL = 1;
inline constexpr int32_t kET_EXEC = 2;
inline constexpr int32_t kET_DYN = 3;
inline constexpr int32_t kET_CORE = 4;
inline constexpr int32_t kEM_386 = 3;
inline constexpr int32_t kEM_X86_64 = 62;
inline constexpr int32_t kEM_AARCH64 = 183;
inline constexpr uint32_t kPT_NULL = 0x0;
inline constexpr uint32_t kPT_LOAD = 0x1;
inline constexpr uint32_t kPT_DYNAMIC = 0x2;
inline constexpr uint32_t kPT_INTERP = 0x3;
inline constexpr uint32_t kPT_NOTE = 0x4;
inline constexpr uint32_t kPT_SHLIB = 0x5;
inline constexpr uint32_t kPT_PHDR = 0x6;
inline constexpr uint32_t kPT_TLS = 0x7;
inline constexpr uint32_t kPT_GNU_EH_FRAME = 0x6474e550;
inline constexpr uint32_t kPT_GNU_STACK = 0x6474e551;
inline constexpr uint32_t kPT_GNU_RELRO = 0x6474e552;
inline constexpr uint32_t kPT_GNU_PROPERTY = 0x6474e553;
inline constexpr int32_t kPF_X = 1;
inline constexpr int32_t kPF_W = 2;
inline constexpr int32_t kPF_R = 4;
inline constexpr int32_t kPN_XNUM = 65535;
inline constexpr int32_t kDT_NULL = 0;
inline constexpr int32_t kDT_NEEDED = 1;
inline constexpr int32_t kDT_HASH = 4;
inline constexpr int32_t kDT_STRTAB = 5;
inline constexpr int32_t kDT_SYMTAB = 6;
inline constexpr int32_t kDT_RELA = 7;
inline constexpr int32_t kDT_RELASZ = 8;
inline constexpr int32_t kDT_RELAENT = 9;
inline constexpr int32_t kDT_STRSZ = 10;
inline constexpr int32_t kDT_SYMENT = 11;
inline constexpr int32_t kDT_SONAME = 14;
inline constexpr int32_t kSHT_NULL = 0;
inline constexpr int32_t kSHT_PROGBITS = 1;
inline constexpr int32_t kSHT_SYMTAB = 2;
inline constexpr int32_t kSHT_STRTAB = 3;
inline constexpr int32_t kSHT_NOTE = 7;
inline constexpr int32_t kSHT_NOBITS = 8;
inline constexpr int32_t kSHT_DYNSYM = 11;
inline constexpr int32_t kNT_PRSTATUS = 1;
inline constexpr int32_t kNT_PRFPREG = 2;
inline constexpr int32_t kNT_PRPSINFO = 3;
inline constexpr int32_t kNT_AUXV = 6;
inline constexpr int32_t kNT_SIGINFO = 1397311305;
inline constexpr int32_t kNT_FILE = 1179208773;
inline constexpr int32_t kNT_X86_XSTATE = 514;

// Auxiliary vector (getauxval(3)).
inline constexpr int32_t kAT_NULL = 0;
inline constexpr int32_t kAT_IGNORE = 1;
inline constexpr int32_t kAT_EXECFD = 2;
inline constexpr int32_t kAT_PHDR = 3;
inline constexpr int32_t kAT_PHENT = 4;
inline constexpr int32_t kAT_PHNUM = 5;
inline constexpr int32_t kAT_PAGESZ = 6;
inline constexpr int32_t kAT_BASE = 7;
inline constexpr int32_t kAT_FLAGS = 8;
inline constexpr int32_t kAT_ENTRY = 9;
inline constexpr int32_t kAT_NOTELF = 10;
inline constexpr int32_t kAT_UID = 11;
inline constexpr int32_t kAT_EUID = 12;
inline constexpr int32_t kAT_GID = 13;
inline constexpr int32_t kAT_EGID = 14;
inline constexpr int32_t kAT_PLATFORM = 15;
inline constexpr int32_t kAT_HWCAP = 16;
inline constexpr int32_t kAT_CLKTCK = 17;
inline constexpr int32_t kAT_SECURE = 23;
inline constexpr int32_t kAT_BASE_PLATFORM = 24;
inline constexpr int32_t kAT_RANDOM = 25;
inline constexpr int32_t kAT_HWCAP2 = 26;
inline constexpr int32_t kAT_EXECFN = 31;
inline constexpr int32_t kAT_SYSINFO_EHDR = 33;
inline constexpr int32_t kAT_MINSIGSTKSZ = 51;
inline constexpr int32_t kAT_RSEQ_FEATURE_SIZE = 27;
inline constexpr int32_t kAT_RSEQ_ALIGN = 28;
struct Auxv {
  uint64_t type, val;
};

}  // namespace uapi
