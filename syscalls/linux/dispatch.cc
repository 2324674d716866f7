#include "syscalls/linux/dispatch.h"

#include <array>

#include "syscalls/linux/gaps.h"

// A reference here must not force a handler to exist.
#define MOAT_HANDLER_ATTRIBUTE __attribute__((weak))
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

SyscallResult Missing(Task& task, const sentry::SyscallArgs& a) {
  TrackGap(a.nr, 0);
  return abi::Errno::kENOSYS;
}

template <abi::Errno E>
SyscallResult Refused(Task& task, const sentry::SyscallArgs& a) {
  TrackGap(a.nr, 0);
  return E;
}

constexpr CallInfo kInfo[] = {
#define SYSCALL(name, nr, family, level, note) Handler<decltype(&sys_##name)>::Info(kParams_##name),
#define REFUSED(name, nr, family, err, note) CallInfo{},
#include "syscalls/table/linux.def"
};

struct Slots {
  std::array<sentry::SyscallFn, kMaxNr + 1> fn;
  std::array<bool, kRowCount> present;
  sentry::SyscallTable table;

  Slots() {
    fn.fill(&Missing);
    size_t row = 0;
#define SYSCALL(name, nr, family, level, note) \
  present[row++] = &sys_##name != nullptr;     \
  if (&sys_##name != nullptr) fn[nr] = &Thunk<&sys_##name>;
#define REFUSED(name, nr, family, err, note) \
  present[row++] = true;                     \
  fn[nr] = &Refused<abi::Errno::err>;
#include "syscalls/table/linux.def"
    table = {fn, &Missing};
  }
};

const Slots& GetSlots() {
  static const Slots* slots = new Slots;
  return *slots;
}

}  // namespace

const sentry::SyscallTable& LinuxTable() { return GetSlots().table; }

bool HasHandler(const Row& row) { return GetSlots().present[&row - kRows]; }

const CallInfo& InfoOf(const Row& row) { return kInfo[&row - kRows]; }

}  // namespace syscalls
