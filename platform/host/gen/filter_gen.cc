// Build-time: makes the seccomp programs of all processes from host_calls.def, with libseccomp, so
// that a process loads its filter without building it first. Writes C++ to standard output.
#include <linux/filter.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "platform/host/filter_rows.h"

namespace host {
namespace {

bool Make(uint32_t roles, bool report, std::vector<sock_filter>* out) {
  scmp_filter_ctx ctx = seccomp_init(report ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
  if (!ctx) return false;
  // A balanced tree instead of a list.
  int err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const Row& row : kRows) {
    if ((row.roles & roles) == 0 || err != 0) continue;
    scmp_arg_cmp cmp[kMaxConditions];
    for (int i = 0; i < row.n_conditions; i++) {
      const Condition& c = row.conditions[i];
      cmp[i] = SCMP_CMP64(c.arg, SCMP_CMP_MASKED_EQ, c.mask, c.value);
    }
    err = seccomp_rule_add_array(ctx, row.refuse ? SCMP_ACT_ERRNO(row.refuse) : SCMP_ACT_ALLOW,
                                 row.nr, static_cast<unsigned>(row.n_conditions), cmp);
  }
  int fd = memfd_create("filter", 0);
  if (err != 0 || fd < 0 || seccomp_export_bpf(ctx, fd) != 0) return false;
  off_t size = lseek(fd, 0, SEEK_END);
  out->resize(static_cast<size_t>(size) / sizeof(sock_filter));
  bool ok = size > 0 && pread(fd, out->data(), static_cast<size_t>(size), 0) == size;
  close(fd);
  seccomp_release(ctx);
  return ok;
}

int Main() {
  struct Entry {
    uint32_t roles;
    bool report;
    size_t length;
  };
  std::vector<Entry> entries;
  for (uint32_t roles : kRoleSets) {
    for (bool report : {false, true}) {
      std::vector<sock_filter> code;
      if (!Make(roles, report, &code)) return 1;
      printf("constexpr uint64_t kCode%zu[] = {", entries.size());
      for (const sock_filter& f : code) {
        printf("0x%llx,", f.code | static_cast<unsigned long long>(f.jt) << 16 |
                              static_cast<unsigned long long>(f.jf) << 24 |
                              static_cast<unsigned long long>(f.k) << 32);
      }
      printf("};\n");
      entries.push_back({roles, report, code.size()});
    }
  }
  printf(
      "struct Program {\n  uint32_t roles;\n  bool report;\n  unsigned short length;\n  const "
      "uint64_t* code;\n};\n");
  printf("constexpr Program kPrograms[] = {");
  for (size_t i = 0; i < entries.size(); i++) {
    printf("{%u, %s, %zu, kCode%zu},", entries[i].roles, entries[i].report ? "true" : "false",
           entries[i].length, i);
  }
  printf("};\n");
  return fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace host

int main() { return host::Main(); }
