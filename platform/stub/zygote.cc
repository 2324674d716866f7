#include "platform/stub/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/jail.h"
#include "platform/stub/blob.h"
#include "platform/stub/guest_filter.h"
#include "platform/stub/host_vdso.h"
#include "platform/stub/layout.h"

namespace platform::stub {
namespace {

constexpr uint64_t kTempSize = 0x10000;
constexpr uint64_t kTempText = 0x4000;  // BootArgs and the filter below, the stack at the end

// The child has no thread that would unlock what libc or a sanitizer's run time had locked at the
// fork: it asks neither for anything.
#ifdef MOAT_SANITIZE
__attribute__((disable_sanitizer_instrumentation))
#endif
long ForkZygote(BootArgs* args, int code_fd) {
  // A raw fork: libc's handlers have nothing to do in a process that is about to be emptied.
  long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid != 0) return pid < 0 ? -errno : pid;
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  // The terminal's signals are the command's to pass on, not for guest processes.
  syscall(SYS_setsid);
  // Guest processes may hold no rights, and only their tracer may look into them.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  syscall(SYS_capset, &header, none);
  syscall(SYS_prctl, PR_SET_DUMPABLE, args->ptrace ? 1 : 0);
  rlimit threads{};
  if (syscall(SYS_getrlimit, RLIMIT_NPROC, &threads) == 0 &&
      threads.rlim_cur > 2 * host::kSpareHostThreads) {
    threads.rlim_cur -= host::kSpareHostThreads;
    threads.rlim_max = threads.rlim_cur;
    syscall(SYS_setrlimit, RLIMIT_NPROC, &threads);
  }
  // The kernel would write to libc's rseq area, which goes away.
  if (__rseq_size != 0) {
    syscall(SYS_rseq, static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset, 32, 1,
            0x53053053);
  }
  // Nothing else stays open.
  static_assert(kZygoteSocketFd == 0 && kCodeFd == 1);
  long code = syscall(SYS_fcntl, code_fd, F_DUPFD, kCodeFd + 1);
  long socket = syscall(SYS_fcntl, args->socket, F_DUPFD, kCodeFd + 1);
  if (syscall(SYS_dup2, code, kCodeFd) < 0 || syscall(SYS_dup2, socket, kZygoteSocketFd) < 0) {
    syscall(SYS_exit_group, 127);
  }
  syscall(SYS_close_range, kCodeFd + 1, ~0u, 0);
  uint64_t entry = args->text + kBootstrapOffset;
  uint64_t stack = args->temp + args->temp_size;
  __asm__ volatile("mov %0, %%rsp\n xor %%ebp, %%ebp\n call *%1\n hlt" ::"r"(stack), "r"(entry),
                   "D"(args)
                   : "memory");
  __builtin_unreachable();
}

}  // namespace

bool HostFsgsbase() { return (getauxval(AT_HWCAP2) & 2) != 0; }

base::Status Zygote::Start(bool for_ptrace, int code_fd) {
  const HostVdso& vdso = LocateVdso();
  std::span<const uint8_t> blob = Blob();
  ForkSecret secret;
  host::Random(&secret, sizeof secret);
  std::vector<sock_filter> filter = GuestFilter(secret);
  CHECK(blob.size() <= kTextSize && blob.size() + 0x2000 <= kTempSize - kTempText);
  CHECK(filter.size() <= 512 && sizeof(BootArgs) + filter.size() * 8 <= kTempText);
  long temp =
      host::Mmap(nullptr, kTempSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!host::IsError(temp) && temp + kTempSize > kBase) {
    // Without address space randomisation mappings begin in the stub's region.
    host::Munmap(reinterpret_cast<void*>(temp), kTempSize);
    temp = host::Mmap(reinterpret_cast<void*>(0x100000000000), kTempSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  }
  if (host::IsError(temp)) return base::Status::Errno("mapping the stub", static_cast<int>(-temp));
  auto* args = reinterpret_cast<BootArgs*>(temp);
  args->temp = static_cast<uint64_t>(temp);
  args->temp_size = kTempSize;
  args->text = args->temp + kTempText;
  args->text_size = blob.size();
  memcpy(reinterpret_cast<void*>(args->text), blob.data(), blob.size());
  static_assert(sizeof args->vdso == sizeof vdso.range);
  memcpy(args->vdso, vdso.range, sizeof vdso.range);
  args->fsgsbase = HostFsgsbase();
  args->ptrace = for_ptrace;
  const uint64_t clock = vdso.clock_gettime != 0 ? kVdso + vdso.clock_gettime : 0;
  args->clock = clock;
  args->filter_len = static_cast<uint32_t>(filter.size());
  args->filter = args->temp + sizeof(BootArgs);
  args->secret = secret;
  memcpy(args + 1, filter.data(), filter.size() * sizeof(sock_filter));
  // The stack stays below the text's pages, which become executable.
  uint64_t text_pages = (blob.size() + 4095) & ~uint64_t{4095};
  mprotect(reinterpret_cast<void*>(args->text), text_pages, PROT_READ | PROT_EXEC);
  int sockets[2];
  long r = host::Socketpair(SOCK_SEQPACKET, sockets);
  if (r < 0) return base::Status::Errno("socketpair", static_cast<int>(-r));
  socket_.reset(sockets[0]);
  args->socket = sockets[1];
  r = ForkZygote(args, code_fd);
  host::Munmap(reinterpret_cast<void*>(temp), kTempSize);
  host::Close(sockets[1]);
  if (r < 0) return base::Status::Errno("forking the first guest process", static_cast<int>(-r));
  pid_ = static_cast<int>(r);
  ZygoteHello hello{};
  do {
    r = host::Read(socket_.get(), &hello, sizeof hello);
  } while (r == -EINTR);
  if (r != sizeof hello || hello.magic != kZygoteMagic) {
    return base::Status::Error("the first guest process died at its start");
  }
  if (hello.vdso_ok) clock_gettime_ = clock;
  return {};
}

long Zygote::Spawn(int slots, uint64_t slots_size, int socket) {
  ZygoteRequest request{slots_size};
  int fds[2] = {slots, socket};
  long r = host::SendWithFds(socket_.get(), &request, sizeof request, fds, 0);
  if (r < 0) return r;
  ZygoteReply reply{};
  do {
    r = host::Read(socket_.get(), &reply, sizeof reply);
  } while (r == -EINTR);
  if (r != sizeof reply) return -EAGAIN;
  return reply.pid;
}

}  // namespace platform::stub
