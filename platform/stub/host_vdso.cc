#include "platform/stub/host_vdso.h"

#include <elf.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "platform/stub/layout.h"

namespace platform::stub {
namespace {

// The offset of a dynamic symbol in the host's vDSO (vdso(7)), or 0.
uint64_t FindVdsoSymbol(uint64_t base, const char* name) {
  auto* eh = reinterpret_cast<const Elf64_Ehdr*>(base);
  auto* ph = reinterpret_cast<const Elf64_Phdr*>(base + eh->e_phoff);
  const Elf64_Dyn* dyn = nullptr;
  uint64_t load = 0;
  for (int i = 0; i < eh->e_phnum; i++) {
    if (ph[i].p_type == PT_LOAD) load = base - ph[i].p_vaddr + ph[i].p_offset;
    if (ph[i].p_type == PT_DYNAMIC) dyn = reinterpret_cast<const Elf64_Dyn*>(base + ph[i].p_offset);
  }
  if (!dyn) return 0;
  const Elf64_Sym* symbols = nullptr;
  const char* strings = nullptr;
  for (; dyn->d_tag != DT_NULL; dyn++) {
    if (dyn->d_tag == DT_SYMTAB)
      symbols = reinterpret_cast<const Elf64_Sym*>(load + dyn->d_un.d_ptr);
    if (dyn->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(load + dyn->d_un.d_ptr);
  }
  if (!symbols || !strings) return 0;
  // The symbol table has no length of its own: it ends where the string table begins, in every
  // vDSO.
  auto end = reinterpret_cast<const Elf64_Sym*>(strings);
  for (const Elf64_Sym* s = symbols; s + 1 <= end; s++) {
    if (s->st_value != 0 && strcmp(strings + s->st_name, name) == 0)
      return load + s->st_value - base;
  }
  return 0;
}

HostVdso Search() {
  HostVdso out;
  const uint64_t vdso = getauxval(AT_SYSINFO_EHDR);
  FILE* f = fopen("/proc/self/maps", "re");
  if (!f || vdso == 0) {
    if (f) fclose(f);
    return {};
  }
  char line[512];
  int n = 0;
  bool fits = true, found = false;
  while (fgets(line, sizeof line, f)) {
    if (!strstr(line, "[vvar") && !strstr(line, "[vdso]")) continue;
    unsigned long start, end;
    if (n == 4 || sscanf(line, "%lx-%lx", &start, &end) != 2) {
      fits = false;
      break;
    }
    found |= start == vdso;
    // One block: their distances matter, since the code finds the data relative to itself.
    if (n > 0 && out.range[n - 1][1] != start) fits = false;
    out.range[n][0] = start;
    out.range[n++][1] = end;
  }
  fclose(f);
  const uint64_t offset = fits && found ? FindVdsoSymbol(vdso, "__vdso_clock_gettime") : 0;
  if (offset == 0 || out.size() > kVdsoSize) return {};
  out.clock_gettime = vdso - out.start() + offset;
  return out;
}

}  // namespace

uint64_t HostVdso::size() const {
  uint64_t end = start();
  for (const auto& r : range) end = std::max(end, r[1]);
  return end - start();
}

const HostVdso& LocateVdso() {
  static const HostVdso found = Search();
  return found;
}

}  // namespace platform::stub
