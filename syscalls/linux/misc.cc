// The system as a whole: names, memory, randomness, personality, comparison of kernel objects.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "platform/host/host.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/abi/personality.h"
#include "syscalls/abi/random.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using sentry::Kernel;

constexpr char kSysname[] = "Linux";
constexpr char kMachine[] = "x86_64";

void Put(char (&field)[65], std::string_view s) {
  size_t n = std::min(s.size(), sizeof field - 1);
  memcpy(field, s.data(), n);
}

}  // namespace

SyscallResult sys_uname(Task& task, UserOut<abi::Utsname> name) {
  abi::Utsname u{};
  Put(u.sysname, kSysname);
  Put(u.release, sentry::kKernelRelease);
  Put(u.version, sentry::kKernelVersion);
  Put(u.machine, kMachine);
  base::Ref<sentry::UtsNamespace> uts = task.uts_ns();
  {
    base::MutexLock l(uts->mu);
    Put(u.nodename, uts->nodename);
    Put(u.domainname, uts->domainname);
  }
  if (task.persona.load() & abi::kUNAME26) {
    // override_release(): 2.6.(minor + 60).
    memset(u.release, 0, sizeof u.release);
    Put(u.release, "2.6.72");
  }
  TRY(name.Store(task.mm(), u));
  return 0;
}

namespace {

template <typename Set>
SyscallResult SetName(Task& task, UserAddr name, int32_t len, Set&& set) {
  base::Ref<sentry::UtsNamespace> uts = task.uts_ns();
  if (!task.creds().HasIn(*uts->owner, abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
  if (len < 0 || static_cast<uint32_t>(len) > abi::kNEW_UTS_LEN) return abi::Errno::kEINVAL;
  char buf[abi::kNEW_UTS_LEN + 1] = {};
  TRY(task.mm().CopyIn(buf, name, static_cast<size_t>(len)));
  std::string value(buf, strnlen(buf, sizeof buf));
  set(*uts, std::move(value));
  return 0;
}

}  // namespace

SyscallResult sys_sethostname(Task& task, UserAddr name, int32_t len) {
  return SetName(task, name, len, [](sentry::UtsNamespace& u, std::string v) {
    base::MutexLock l(u.mu);
    u.nodename = std::move(v);
  });
}

SyscallResult sys_setdomainname(Task& task, UserAddr name, int32_t len) {
  return SetName(task, name, len, [](sentry::UtsNamespace& u, std::string v) {
    base::MutexLock l(u.mu);
    u.domainname = std::move(v);
  });
}

SyscallResult sys_sysinfo(Task& task, UserOut<abi::Sysinfo> info) {
  Kernel& k = task.kernel();
  abi::Sysinfo s{};
  s.uptime = k.clock().BootTime() / abi::kNsPerSec;
  Kernel::Loadavg load = k.loadavg();
  for (int i = 0; i < 3; i++) {
    s.loads[i] = static_cast<uint64_t>(std::lround(load.avg[i] * (1 << abi::kSI_LOAD_SHIFT)));
  }
  const sentry::Container& container = task.group().container();
  s.totalram = container.memory_bytes.load(std::memory_order_relaxed);
  uint64_t used = k.MemoryInUse(container);
  s.freeram = s.totalram > used ? s.totalram - used : 0;
  s.procs = static_cast<uint16_t>(std::min(load.total, 65535));
  s.mem_unit = 1;
  TRY(info.Store(task.mm(), s));
  return 0;
}

SyscallResult sys_getrandom(Task& task, UserAddr buf, uint64_t count, uint32_t flags) {
  constexpr uint32_t kKnown = abi::kGRND_NONBLOCK | abi::kGRND_RANDOM | abi::kGRND_INSECURE;
  if ((flags & ~kKnown) != 0) return abi::Errno::kEINVAL;
  if ((flags & abi::kGRND_RANDOM) != 0 && (flags & abi::kGRND_INSECURE) != 0) {
    return abi::Errno::kEINVAL;
  }
  count = std::min<uint64_t>(count, INT32_MAX);
  uint8_t chunk[1024];
  uint64_t done = 0;
  while (done < count) {
    // get_random_bytes_user(): a signal ends a long request after the first page.
    if (done >= sentry::kPageSize && task.interrupted()) break;
    size_t n = std::min<uint64_t>(count - done, sizeof chunk);
    host::Random(chunk, n);
    size_t copied = task.mm().CopyOutPartial(buf + done, chunk, n);
    done += copied;
    if (copied < n) {
      if (done == 0) return abi::Errno::kEFAULT;
      break;
    }
  }
  return done;
}

SyscallResult sys_syslog(Task& task, int32_t type, UserAddr buf, int32_t len) {
  // There is no kernel log to read; dmesg_restrict is on.
  if (type < 0 || type > 10) return abi::Errno::kEINVAL;
  if (!task.creds().Has(abi::kCAP_SYSLOG)) return abi::Errno::kEPERM;
  switch (type) {
    case 2:
    case 3:
    case 4:
      if (buf.null() || len < 0) return abi::Errno::kEINVAL;
      return 0;
    case 9:
      return 0;
    case 10:
      return 1 << 17;  // the size of the (empty) buffer
    default:
      return 0;
  }
}

SyscallResult sys_personality(Task& task, uint32_t persona) {
  uint32_t old = task.persona.load();
  if (persona != 0xffffffff) task.persona.store(persona);
  return old;
}

SyscallResult sys_kcmp(Task& task, int32_t pid1, int32_t pid2, int32_t type, uint64_t idx1,
                       uint64_t idx2) {
  Kernel& k = task.kernel();
  base::Ref<Task> a = k.FindTask(*task.pid_ns(), pid1), b = k.FindTask(*task.pid_ns(), pid2);
  if (!a || !b) return abi::Errno::kESRCH;
  if (!Kernel::MayAccess(task, *a) || !Kernel::MayAccess(task, *b)) return abi::Errno::kEPERM;
  // kptr_obfuscate(): an order that tells nothing of addresses.
  static const uint64_t secret = [] {
    uint64_t s[1];
    host::Random(s, sizeof s);
    return s[0] | 1;
  }();
  auto order = [](const void* x, const void* y) {
    uint64_t p = reinterpret_cast<uint64_t>(x) * secret, q = reinterpret_cast<uint64_t>(y) * secret;
    return p == q ? 0 : p < q ? 1 : 2;
  };
  enum : int32_t { kFile, kVm, kFiles, kFs, kSighand, kIo, kSysvsem, kEpollTfd };
  switch (type) {
    case kFile: {
      base::Ref<sentry::FdTable> f = a->fds_ref(), g = b->fds_ref();
      if (!f || !g) return abi::Errno::kEBADF;
      base::Ref<sentry::File> x = TRY(f->GetAny(static_cast<int32_t>(idx1)));
      base::Ref<sentry::File> y = TRY(g->GetAny(static_cast<int32_t>(idx2)));
      return order(x.get(), y.get());
    }
    case kVm:
      return order(a->mm_ref().get(), b->mm_ref().get());
    case kFiles:
      return order(a->fds_ref().get(), b->fds_ref().get());
    case kFs:
      return order(a->fs_ref().get(), b->fs_ref().get());
    case kSighand:
      return order(a->group().handlers.get(), b->group().handlers.get());
    case kIo:
    case kSysvsem:
      return order(&a->group(), &b->group());
    default:
      return abi::Errno::kEINVAL;
  }
}

}  // namespace syscalls
