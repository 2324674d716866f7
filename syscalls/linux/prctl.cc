// prctl(2), arch_prctl(2): kernel/sys.c, arch/x86/kernel/process_64.c.
#include "syscalls/abi/prctl.h"

#include <cstring>

#include "sentry/kernel/kernel.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::CapBit;
using sentry::Creds;

constexpr uint64_t kUserEnd = 0x7ffffffff000;  // TASK_SIZE_MAX

SyscallResult CapAmbient(Task& task, uint64_t op, uint64_t cap, uint64_t a4, uint64_t a5) {
  const Creds& o = task.creds();
  if (op == abi::kPR_CAP_AMBIENT_CLEAR_ALL) {
    if ((cap | a4 | a5) != 0) return abi::Errno::kEINVAL;
    auto c = base::MakeRef<Creds>(o);
    c->ambient = 0;
    task.set_creds(std::move(c));
    return 0;
  }
  if (cap > static_cast<uint64_t>(abi::kCAP_LAST_CAP) || (a4 | a5) != 0) return abi::Errno::kEINVAL;
  uint64_t bit = CapBit(static_cast<int>(cap));
  switch (op) {
    case abi::kPR_CAP_AMBIENT_IS_SET:
      return (o.ambient & bit) != 0 ? 1 : 0;
    case abi::kPR_CAP_AMBIENT_RAISE:
      if ((o.permitted & bit) == 0 || (o.inheritable & bit) == 0 ||
          (o.securebits & abi::kSECBIT_NO_CAP_AMBIENT_RAISE) != 0) {
        return abi::Errno::kEPERM;
      }
      break;
    case abi::kPR_CAP_AMBIENT_LOWER:
      break;
    default:
      return abi::Errno::kEINVAL;
  }
  auto c = base::MakeRef<Creds>(o);
  if (op == abi::kPR_CAP_AMBIENT_RAISE) {
    c->ambient |= bit;
  } else {
    c->ambient &= ~bit;
  }
  task.set_creds(std::move(c));
  return 0;
}

SyscallResult SetSecurebits(Task& task, uint64_t bits) {
  // cap_task_prctl().
  const Creds& o = task.creds();
  constexpr uint64_t kAllBits = abi::kSECURE_ALL_BITS, kAllLocks = abi::kSECURE_ALL_LOCKS;
  uint64_t old = o.securebits;
  if ((((old & kAllLocks) >> 1) & (old ^ bits)) != 0 || ((old & kAllLocks & ~bits) != 0) ||
      (bits & ~(kAllLocks | kAllBits)) != 0 || !o.Has(abi::kCAP_SETPCAP)) {
    return abi::Errno::kEPERM;
  }
  auto c = base::MakeRef<Creds>(o);
  c->securebits = static_cast<uint32_t>(bits);
  task.set_creds(std::move(c));
  return 0;
}

SyscallResult SetMm(Task& task, uint64_t option, uint64_t addr, uint64_t a4, uint64_t a5) {
  if (a5 != 0 || (a4 != 0 && option != abi::kPR_SET_MM_AUXV && option != abi::kPR_SET_MM_MAP &&
                  option != abi::kPR_SET_MM_MAP_SIZE)) {
    return abi::Errno::kEINVAL;
  }
  sentry::MemoryManager& mm = task.mm();
  if (option == abi::kPR_SET_MM_MAP_SIZE) {
    uint32_t size = sizeof(abi::PrctlMmMap);
    TRY(mm.CopyOut(UserAddr{addr}, &size, sizeof size));
    return 0;
  }
  sentry::MemoryManager::Layout l = mm.layout();
  if (option == abi::kPR_SET_MM_MAP) {
    abi::PrctlMmMap m;
    if (a4 != sizeof m) return abi::Errno::kEINVAL;
    TRY(mm.CopyIn(&m, UserAddr{addr}, sizeof m));
    for (uint64_t v : {m.start_code, m.end_code, m.start_data, m.end_data, m.start_brk, m.brk,
                       m.start_stack, m.arg_start, m.arg_end, m.env_start, m.env_end}) {
      if (v >= kUserEnd || v < 65536) return abi::Errno::kEINVAL;
    }
    if (m.start_code >= m.end_code || m.start_data > m.end_data || m.arg_start > m.arg_end ||
        m.env_start > m.env_end) {
      return abi::Errno::kEINVAL;
    }
    if (m.exe_fd != UINT32_MAX) {
      if (!task.creds().Has(abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
      mm.set_exe(TRY(task.fds().Get(static_cast<int32_t>(m.exe_fd))));
    }
    l.start_code = m.start_code, l.end_code = m.end_code;
    l.start_data = m.start_data, l.end_data = m.end_data;
    l.start_stack = m.start_stack;
    l.arg_start = m.arg_start, l.arg_end = m.arg_end;
    l.env_start = m.env_start, l.env_end = m.env_end;
    mm.set_layout(std::move(l));
    return 0;
  }
  if (!task.creds().Has(abi::kCAP_SYS_RESOURCE)) return abi::Errno::kEPERM;
  if (option == abi::kPR_SET_MM_EXE_FILE) {
    base::Ref<sentry::File> f = TRY(task.fds().Get(static_cast<int32_t>(addr)));
    if (!f->inode() || !f->inode()->is_reg()) return abi::Errno::kEACCES;
    mm.set_exe(std::move(f));
    return 0;
  }
  if (option == abi::kPR_SET_MM_AUXV) {
    if (a4 > 512 || a4 % 16 != 0) return abi::Errno::kEINVAL;
    std::vector<uint64_t> auxv(a4 / 8);
    TRY(mm.CopyIn(auxv.data(), UserAddr{addr}, a4));
    auxv.push_back(0);
    auxv.push_back(0);
    l.auxv = std::move(auxv);
    mm.set_layout(std::move(l));
    return 0;
  }
  if (addr >= kUserEnd || addr < 65536) return abi::Errno::kEINVAL;
  uint64_t* field = nullptr;
  switch (option) {
    case abi::kPR_SET_MM_START_CODE:
      field = &l.start_code;
      break;
    case abi::kPR_SET_MM_END_CODE:
      field = &l.end_code;
      break;
    case abi::kPR_SET_MM_START_DATA:
      field = &l.start_data;
      break;
    case abi::kPR_SET_MM_END_DATA:
      field = &l.end_data;
      break;
    case abi::kPR_SET_MM_START_STACK:
      field = &l.start_stack;
      break;
    case abi::kPR_SET_MM_ARG_START:
      field = &l.arg_start;
      break;
    case abi::kPR_SET_MM_ARG_END:
      field = &l.arg_end;
      break;
    case abi::kPR_SET_MM_ENV_START:
      field = &l.env_start;
      break;
    case abi::kPR_SET_MM_ENV_END:
      field = &l.env_end;
      break;
    default:
      TrackGap(Sys::prctl, abi::kPR_SET_MM);
      return abi::Errno::kEINVAL;
  }
  *field = addr;
  mm.set_layout(std::move(l));
  return 0;
}

SyscallResult SetVma(Task& task, uint64_t what, uint64_t addr, uint64_t len, uint64_t name) {
  if (what != static_cast<uint64_t>(abi::kPR_SET_VMA_ANON_NAME)) return abi::Errno::kEINVAL;
  std::string s;
  if (name != 0) {
    // ANON_VMA_NAME_MAX_LEN, the NUL included.
    auto r = task.mm().CopyInString(UserAddr{name}, 80);
    if (!r.ok()) {
      return r.is(abi::Errno::kENAMETOOLONG) ? base::Error(abi::Errno::kEINVAL) : r.error();
    }
    s = *std::move(r);
    for (char c : s) {
      if (c < 0x20 || c == 0x7f || strchr("\\`$[]", c) != nullptr) return abi::Errno::kEINVAL;
    }
  }
  if (addr % sentry::kPageSize != 0) return abi::Errno::kEINVAL;
  return task.mm().SetAnonName(addr, len, std::move(s));
}

}  // namespace

SyscallResult sys_prctl(Task& task, int32_t option, uint64_t arg2, uint64_t arg3, uint64_t arg4,
                        uint64_t arg5) {
  sentry::MemoryManager& mm = task.mm();
  const Creds& creds = task.creds();
  switch (option) {
    case abi::kPR_SET_PDEATHSIG:
      if (!sentry::ValidSignal(arg2)) return abi::Errno::kEINVAL;
      task.pdeath_signal.store(static_cast<int32_t>(arg2));
      return 0;
    case abi::kPR_GET_PDEATHSIG: {
      int32_t v = task.pdeath_signal.load();
      TRY(mm.CopyOut(UserAddr{arg2}, &v, sizeof v));
      return 0;
    }
    case abi::kPR_GET_DUMPABLE:
      return mm.dumpable.load() ? 1 : 0;
    case abi::kPR_SET_DUMPABLE:
      if (arg2 > 1) return abi::Errno::kEINVAL;
      mm.dumpable.store(arg2 == 1);
      return 0;
    case abi::kPR_SET_NAME: {
      char name[abi::kTASK_COMM_LEN] = {};
      // strncpy_from_user() of at most 15 bytes.
      size_t n = mm.CopyInPartial(name, UserAddr{arg2}, sizeof name - 1);
      if (n < sizeof name - 1 && memchr(name, 0, n) == nullptr) return abi::Errno::kEFAULT;
      task.set_comm(std::string_view(name, strnlen(name, sizeof name - 1)));
      return 0;
    }
    case abi::kPR_GET_NAME: {
      char name[abi::kTASK_COMM_LEN] = {};
      std::string s = task.comm();
      memcpy(name, s.data(), s.size());
      TRY(mm.CopyOut(UserAddr{arg2}, name, sizeof name));
      return 0;
    }
    case abi::kPR_GET_KEEPCAPS:
      return (creds.securebits & abi::kSECBIT_KEEP_CAPS) != 0 ? 1 : 0;
    case abi::kPR_SET_KEEPCAPS: {
      if (arg2 > 1) return abi::Errno::kEINVAL;
      if ((creds.securebits & abi::kSECBIT_KEEP_CAPS_LOCKED) != 0) return abi::Errno::kEPERM;
      auto c = base::MakeRef<Creds>(creds);
      c->securebits &= ~static_cast<uint32_t>(abi::kSECBIT_KEEP_CAPS);
      if (arg2 == 1) c->securebits |= abi::kSECBIT_KEEP_CAPS;
      task.set_creds(std::move(c));
      return 0;
    }
    case abi::kPR_CAPBSET_READ:
      if (arg2 > static_cast<uint64_t>(abi::kCAP_LAST_CAP)) return abi::Errno::kEINVAL;
      return (creds.bounding & CapBit(static_cast<int>(arg2))) != 0 ? 1 : 0;
    case abi::kPR_CAPBSET_DROP: {
      if (!creds.Has(abi::kCAP_SETPCAP)) return abi::Errno::kEPERM;
      if (arg2 > static_cast<uint64_t>(abi::kCAP_LAST_CAP)) return abi::Errno::kEINVAL;
      auto c = base::MakeRef<Creds>(creds);
      c->bounding &= ~CapBit(static_cast<int>(arg2));
      task.set_creds(std::move(c));
      return 0;
    }
    case abi::kPR_GET_SECUREBITS:
      return creds.securebits;
    case abi::kPR_SET_SECUREBITS:
      return SetSecurebits(task, arg2);
    case abi::kPR_CAP_AMBIENT:
      return CapAmbient(task, arg2, arg3, arg4, arg5);
    case abi::kPR_SET_NO_NEW_PRIVS:
      if (arg2 != 1 || (arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      task.no_new_privs.store(true);
      return 0;
    case abi::kPR_GET_NO_NEW_PRIVS:
      if ((arg2 | arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return task.no_new_privs.load() ? 1 : 0;
    case abi::kPR_SET_CHILD_SUBREAPER: {
      base::MutexLock l(task.kernel().tree_mu);
      task.group().is_child_subreaper = arg2 != 0;
      return 0;
    }
    case abi::kPR_GET_CHILD_SUBREAPER: {
      int32_t v;
      {
        base::MutexLock l(task.kernel().tree_mu);
        v = task.group().is_child_subreaper ? 1 : 0;
      }
      TRY(mm.CopyOut(UserAddr{arg2}, &v, sizeof v));
      return 0;
    }
    case abi::kPR_SET_TIMERSLACK:
      task.timer_slack.store(static_cast<int64_t>(arg2) <= 0 ? task.default_timer_slack.load()
                                                             : arg2);
      return 0;
    case abi::kPR_GET_TIMERSLACK:
      return task.timer_slack.load();
    case abi::kPR_GET_TID_ADDRESS: {
      uint64_t v = task.clear_child_tid.load();
      TRY(mm.CopyOut(UserAddr{arg2}, &v, sizeof v));
      return 0;
    }
    case abi::kPR_SET_MM:
      return SetMm(task, arg2, arg3, arg4, arg5);
    case abi::kPR_SET_VMA:
      return SetVma(task, arg2, arg3, arg4, arg5);
    case abi::kPR_GET_AUXV: {
      if ((arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      std::vector<uint64_t> auxv = mm.layout().auxv;
      uint64_t size = auxv.size() * 8;
      TRY(mm.CopyOut(UserAddr{arg2}, auxv.data(), size < arg3 ? size : arg3));
      return size;
    }
    case abi::kPR_GET_SECCOMP:
      return task.seccomp_mode();
    case abi::kPR_SET_SECCOMP:
      // prctl_set_seccomp(). The first argument of a filter is not looked at in strict mode.
      if (arg2 == static_cast<uint64_t>(abi::kSECCOMP_MODE_STRICT)) {
        return sys_seccomp(task, abi::kSECCOMP_SET_MODE_STRICT, 0, UserAddr{0});
      }
      if (arg2 == static_cast<uint64_t>(abi::kSECCOMP_MODE_FILTER)) {
        return sys_seccomp(task, abi::kSECCOMP_SET_MODE_FILTER, 0, UserAddr{arg3});
      }
      return abi::Errno::kEINVAL;
    case abi::kPR_GET_TIMING:
      return abi::kPR_TIMING_STATISTICAL;
    case abi::kPR_SET_TIMING:
      return arg2 == static_cast<uint64_t>(abi::kPR_TIMING_STATISTICAL)
                 ? SyscallResult(0)
                 : SyscallResult(abi::Errno::kEINVAL);
    case abi::kPR_GET_TSC: {
      int32_t v = abi::kPR_TSC_ENABLE;
      TRY(mm.CopyOut(UserAddr{arg2}, &v, sizeof v));
      return 0;
    }
    case abi::kPR_SET_TSC:
      if (arg2 == static_cast<uint64_t>(abi::kPR_TSC_ENABLE)) return 0;
      TrackGap(Sys::prctl, static_cast<uint64_t>(option));
      return abi::Errno::kEINVAL;
    case abi::kPR_TASK_PERF_EVENTS_DISABLE:
    case abi::kPR_TASK_PERF_EVENTS_ENABLE:
      return 0;
    case abi::kPR_MCE_KILL:
      if ((arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      if (arg2 == static_cast<uint64_t>(abi::kPR_MCE_KILL_CLEAR) && arg3 == 0) return 0;
      if (arg2 == static_cast<uint64_t>(abi::kPR_MCE_KILL_SET) &&
          arg3 <= static_cast<uint64_t>(abi::kPR_MCE_KILL_DEFAULT)) {
        return 0;
      }
      return abi::Errno::kEINVAL;
    case abi::kPR_MCE_KILL_GET:
      if ((arg2 | arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return abi::kPR_MCE_KILL_DEFAULT;
    case abi::kPR_SET_THP_DISABLE:
      if ((arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return 0;
    case abi::kPR_GET_THP_DISABLE:
      if ((arg2 | arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return 0;
    case abi::kPR_GET_IO_FLUSHER:
    case abi::kPR_SET_IO_FLUSHER:
      if (!creds.Has(abi::kCAP_SYS_RESOURCE)) return abi::Errno::kEPERM;
      if ((arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return 0;
    case abi::kPR_GET_SPECULATION_CTRL:
      if ((arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      if (arg2 > static_cast<uint64_t>(abi::kPR_SPEC_L1D_FLUSH)) return abi::Errno::kENODEV;
      return abi::kPR_SPEC_NOT_AFFECTED;
    case abi::kPR_SET_PTRACER:
      return 0;
    case abi::kPR_SET_MEMORY_MERGE:
      if ((arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return 0;
    case abi::kPR_GET_MEMORY_MERGE:
      if ((arg2 | arg3 | arg4 | arg5) != 0) return abi::Errno::kEINVAL;
      return 0;
    default:
      TrackGap(Sys::prctl, static_cast<uint32_t>(option));
      return abi::Errno::kEINVAL;
  }
}

SyscallResult sys_arch_prctl(Task& task, int32_t code, uint64_t addr) {
  switch (code) {
    case abi::kARCH_SET_FS:
    case abi::kARCH_SET_GS: {
      if (addr >= kUserEnd) return abi::Errno::kEPERM;
      platform::Regs r = task.GuestRegs();
      (code == abi::kARCH_SET_FS ? r.fs_base : r.gs_base) = addr;
      r.rax = 0;
      task.SetGuestRegs(r);
      return SyscallResult::RegsSet();
    }
    case abi::kARCH_GET_FS:
    case abi::kARCH_GET_GS: {
      platform::Regs r = task.GuestRegs();
      uint64_t v = code == abi::kARCH_GET_FS ? r.fs_base : r.gs_base;
      TRY(task.mm().CopyOut(UserAddr{addr}, &v, sizeof v));
      return 0;
    }
    case abi::kARCH_GET_CPUID:
      return 1;
    case abi::kARCH_SET_CPUID:
      return abi::Errno::kENODEV;
    default:
      TrackGap(Sys::arch_prctl, static_cast<uint32_t>(code));
      return abi::Errno::kEINVAL;
  }
}

}  // namespace syscalls
