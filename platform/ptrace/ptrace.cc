#include "platform/ptrace/ptrace.h"

#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <sys/ptrace.h>

#include <cstring>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/stub/fp_state.h"
#include "platform/stub/layout.h"
#include "platform/stub/process.h"

namespace platform::ptrace {
namespace {

constexpr size_t kMaxXstate = 16384;
constexpr long kSetSigmask = 0x420b;   // PTRACE_SETSIGMASK
constexpr long kSyscallInfo = 0x420e;  // PTRACE_GET_SYSCALL_INFO
constexpr uint64_t kInterruptMask = uint64_t{1} << (stub::kInterruptSignal - 1);

class PtraceThread final : public stub::Thread {
 public:
  PtraceThread(base::Ref<stub::Space> space, uint32_t slot, int tid, const Regs& regs)
      : Thread(std::move(space), slot, tid, regs) {
    Sanitise(regs);
  }
  ~PtraceThread() override;

  Stop Run() override;
  bool Commit() override;
  void SetReturn(uint64_t value) override { regs_.rax = value; }
  const Regs& regs() override { return regs_; }
  void SetRegs(const Regs& regs) override { Sanitise(regs); }
  FpState GetFp() override;
  base::Result<void> SetFp(std::span<const uint8_t> fp) override;
  void Interrupt() override;

 private:
  long Trace(long request, uint64_t addr, const void* data) {
    return host::Call<SYS_ptrace>(request, tid_, addr, data);
  }
  void Sanitise(const Regs& regs);
  // Becomes the tracer; the thread is stopped in the stub then.
  bool Attach();
  // The stop's status (signal | event << 8), or -1 when the thread is gone.
  int Wait();
  // Takes the exit of a dead thread that is not the leader: the process isn't dead for its watchers
  // before.
  void ReapThread();
  bool SetXstate(const uint8_t* fp);
  // A system call by the stopped thread, from the stub's text; -ESRCH when it is gone.
  long InjectAt(uint64_t at, long nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0,
                uint64_t a3 = 0, uint64_t a4 = 0, uint64_t a5 = 0);
  long Inject(long nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
              uint64_t a4 = 0, uint64_t a5 = 0) {
    return InjectAt(stub::kText + stub::kSyscallOffset, nr, a0, a1, a2, a3, a4, a5);
  }
  bool RunOp(const stub::Op& op);
  bool RunOps();
  Stop Fault(int signo);
  // Address in the guest process of something in this thread's slot, and the sentry's view of it.
  uint64_t GuestAddress(uint64_t offset) const {
    return stub::kSlots + slot_ * stub::kSlotSize + offset;
  }
  uint8_t* View(uint64_t offset) const { return reinterpret_cast<uint8_t*>(channel_) + offset; }

  bool attached_ = false;
  Regs regs_{};  // the guest's, always current while it is stopped
};

class PtraceEngine final : public stub::Engine {
 public:
  base::Status Init() { return Start(true, false); }
  const char* name() const override { return "ptrace"; }

 protected:
  std::unique_ptr<stub::Thread> MakeThread(base::Ref<stub::Space> space, uint32_t slot, int tid,
                                           const Regs& regs) override {
    return std::make_unique<PtraceThread>(std::move(space), slot, tid, regs);
  }
};

PtraceThread::~PtraceThread() {
  if (!attached_) return;
  exiting_ = true;
  // A pending interrupt must not lead into the stub's handler instead.
  uint64_t mask = ~uint64_t{0};
  Trace(kSetSigmask, sizeof mask, &mask);
  Regs r = regs_;
  r.rip = stub::kText + stub::kSyscallOffset;
  r.rax = SYS_exit;
  r.rdi = 0;
  r.orig_rax = ~uint64_t{0};
  if (Trace(PTRACE_SETREGS, 0, &r) < 0 || Trace(PTRACE_DETACH, 0, nullptr) < 0) {
    // Dead already, or about to be.
    space_->Kill();
    siginfo_t info;
    if (tid_ != space_->pid()) host::Waitid(P_PID, tid_, &info, WEXITED | __WALL);
  }
}

void PtraceThread::Sanitise(const Regs& regs) {
  regs_ = regs;
  regs_.cs = kUserCs;
  regs_.ss = kUserSs;
  regs_.ds = regs_.es = regs_.fs = regs_.gs = 0;
  regs_.eflags = (regs.eflags & kUserEflags) | kFixedEflags;
  if (regs_.fs_base >= stub::kTaskEnd) regs_.fs_base = 0;
  if (regs_.gs_base >= stub::kTaskEnd) regs_.gs_base = 0;
}

void PtraceThread::ReapThread() {
  siginfo_t info;
  if (tid_ != space_->pid()) host::Waitid(P_PID, tid_, &info, WEXITED | WNOHANG | __WALL);
}

int PtraceThread::Wait() {
  for (;;) {
    // Looked at first and consumed after: a dead leader is the reaper's, who keeps the table of
    // pids.
    siginfo_t info{};
    long r = host::Waitid(P_PID, tid_, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL);
    if (r == -EINTR) continue;
    if (r < 0) return -1;
    if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) {
      ReapThread();
      return -1;
    }
    r = host::Waitid(P_PID, tid_, &info, WSTOPPED | WNOHANG | __WALL);
    if (r < 0) return -1;
    if (info.si_pid == 0) continue;
    return info.si_status;
  }
}

bool PtraceThread::Attach() {
  if (attached_) return true;
  // The new thread must have come to its wait in the stub: before, its process may not be ready.
  int64_t give_up = 0;
  while (__atomic_load_n(&channel_->state, __ATOMIC_ACQUIRE) != (stub::kReady | stub::kSleeping)) {
    int64_t now = host::ClockNow(CLOCK_MONOTONIC);
    if (give_up == 0) give_up = now + 10'000'000'000;
    if (space_->dead() || now > give_up) return false;
    timespec soon = host::ToTimespec(now + 20'000);
    host::SleepUntil(CLOCK_MONOTONIC, &soon);
  }
  if (Trace(PTRACE_SEIZE, 0, reinterpret_cast<void*>(PTRACE_O_TRACESYSGOOD)) < 0) return false;
  attached_ = true;
  if (Trace(PTRACE_INTERRUPT, 0, nullptr) < 0) return false;
  int status = Wait();
  if (status < 0 || (status >> 8) != PTRACE_EVENT_STOP) return false;
  // Only here, since all signals are blocked in the stub.
  uint64_t mask = 0;
  if (Trace(kSetSigmask, sizeof mask, &mask) < 0) return false;
  return SetXstate(View(stub::InitialFp()));
}

bool PtraceThread::SetXstate(const uint8_t* fp) {
  // The register set has a size of its own: components that signal frames don't have are initial.
  std::vector<uint8_t> buffer(kMaxXstate);
  iovec iov{buffer.data(), buffer.size()};
  if (Trace(PTRACE_GETREGSET, NT_X86_XSTATE, &iov) < 0) return false;
  const stub::FpLayout& layout = stub::GetFpLayout();
  const size_t size = layout.xstate_size;
  if (iov.iov_len < size) return false;
  FpState clean(layout.size);
  if (!stub::NormaliseFp(layout, std::span<const uint8_t>(fp, clean.size()), clean.data()))
    return false;
  // The software-reserved bytes hold XCR0 here.
  memcpy(buffer.data(), clean.data(), 464);
  memcpy(buffer.data() + 512, clean.data() + 512, size - 512);
  memset(buffer.data() + size, 0, iov.iov_len - size);
  return Trace(PTRACE_SETREGSET, NT_X86_XSTATE, &iov) == 0;
}

FpState PtraceThread::GetFp() {
  const stub::FpLayout& layout = stub::GetFpLayout();
  if (!attached_) return FpState(View(stub::InitialFp()), View(stub::InitialFp()) + layout.size);
  FpState out = layout.initial;
  std::vector<uint8_t> buffer(kMaxXstate);
  iovec iov{buffer.data(), buffer.size()};
  if (Trace(PTRACE_GETREGSET, NT_X86_XSTATE, &iov) < 0 || iov.iov_len < layout.xstate_size)
    return out;
  memcpy(out.data(), buffer.data(), 464);
  memcpy(out.data() + 512, buffer.data() + 512, layout.xstate_size - 512);
  return out;
}

base::Result<void> PtraceThread::SetFp(std::span<const uint8_t> fp) {
  const stub::FpLayout& layout = stub::GetFpLayout();
  FpState clean(layout.size);
  if (!stub::NormaliseFp(layout, fp, clean.data())) return abi::Errno::kEINVAL;
  if (!attached_) {
    memcpy(View(stub::InitialFp()), clean.data(), clean.size());
  } else if (!SetXstate(clean.data())) {
    space_->Kill();
  }
  return {};
}

long PtraceThread::InjectAt(uint64_t at, long nr, uint64_t a0, uint64_t a1, uint64_t a2,
                            uint64_t a3, uint64_t a4, uint64_t a5) {
  Regs r = regs_;
  r.rip = at;
  r.rsp = 0;  // none of these calls looks, but sigaltstack: not at the stack in question
  r.rax = static_cast<uint64_t>(nr);
  r.rdi = a0;
  r.rsi = a1;
  r.rdx = a2;
  r.r10 = a3;
  r.r8 = a4;
  r.r9 = a5;
  r.orig_rax = ~uint64_t{0};
  r.eflags = kFixedEflags;
  if (Trace(PTRACE_SETREGS, 0, &r) < 0 || Trace(PTRACE_SINGLESTEP, 0, nullptr) < 0) return -ESRCH;
  for (;;) {
    int status = Wait();
    if (status == SIGTRAP) {
      if (Trace(PTRACE_GETREGS, 0, &r) < 0) return -ESRCH;
      // The first step may only have led out of the guest's own system call.
      if (r.rip != at) break;
    } else if (status < 0 || (status >> 8) != PTRACE_EVENT_STOP) {
      return -ESRCH;
    }
    if (Trace(PTRACE_SINGLESTEP, 0, nullptr) < 0) return -ESRCH;
  }
  return static_cast<long>(r.rax);
}

bool PtraceThread::RunOp(const stub::Op& op) {
  uint64_t prot = op.kind_prot >> 8 & 7;
  switch (op.kind_prot & 0xff) {
    case stub::kOpMap:
      if (Inject(SYS_mmap, op.addr, op.len, prot, MAP_SHARED | MAP_FIXED,
                 static_cast<uint64_t>(op.fd), op.offset) != static_cast<long>(op.addr))
        return false;
      return (op.kind_prot & stub::kOpHuge) == 0 ||
             Inject(SYS_madvise, op.addr, op.len, MADV_HUGEPAGE) != -ESRCH;
    case stub::kOpUnmap:
      return Inject(SYS_munmap, op.addr, op.len) == 0;
    case stub::kOpProtect:
      return Inject(SYS_mprotect, op.addr, op.len, prot) == 0;
    case stub::kOpReceive: {
      // recvmsg's structures, in the slot below the stack.
      struct Message {
        msghdr header;
        iovec iov;
        alignas(8) char control[CMSG_SPACE(sizeof(int) * stub::kMaxReceive)];
        char byte[8];
      };
      constexpr uint64_t kAt = stub::kAltStack;
      static_assert(kAt + sizeof(Message) < stub::kSlotSize / 2);
      Message m{};
      m.header.msg_iov = reinterpret_cast<iovec*>(GuestAddress(kAt + offsetof(Message, iov)));
      m.header.msg_iovlen = 1;
      m.header.msg_control =
          reinterpret_cast<void*>(GuestAddress(kAt + offsetof(Message, control)));
      m.header.msg_controllen = sizeof m.control;
      m.iov.iov_base = reinterpret_cast<void*>(GuestAddress(kAt + offsetof(Message, byte)));
      m.iov.iov_len = 1;
      memcpy(View(kAt), &m, sizeof m);
      if (op.len - 1 >= stub::kMaxReceive || Inject(SYS_recvmsg, stub::kSocketFd, GuestAddress(kAt),
                                                    MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1)
        return false;
      uint64_t last = kAt + offsetof(Message, control) + CMSG_LEN(sizeof(int) * (op.len - 1));
      int fd;
      memcpy(&fd, View(last), sizeof fd);
      return fd == op.fd;
    }
    case stub::kOpClose:
      return Inject(SYS_close, static_cast<uint64_t>(op.fd)) == 0;
    case stub::kOpClone: {
      if (op.fd < 0 || static_cast<uint32_t>(op.fd) >= stub::kMaxSlots) return false;
      uint64_t slot = stub::kSlots + static_cast<uint64_t>(op.fd) * stub::kSlotSize;
      stub::Channel* c = space_->ChannelOf(static_cast<uint32_t>(op.fd));
      long tid =
          InjectAt(stub::kText + stub::kCloneOffset, SYS_clone,
                   CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                       CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                   slot + stub::InitialFrame() - 0x100, slot + offsetof(stub::Channel, tid), slot);
      __atomic_store_n(&c->clone_result, static_cast<int32_t>(tid), __ATOMIC_RELEASE);
      return tid != -ESRCH;
    }
    default:
      return false;
  }
}

bool PtraceThread::RunOps() {
  // The interrupt signal would come between the steps.
  uint64_t mask = kInterruptMask;
  if (Trace(kSetSigmask, sizeof mask, &mask) < 0) return false;
  uint32_t n = channel_->ops_count;
  bool ok = true;
  for (uint32_t i = 0; i < n && i < stub::kMaxOps && ok; i++) {
    stub::Op op = channel_->ops[i];
    ok = RunOp(op);
  }
  if (__atomic_exchange_n(&channel_->ops_state, stub::kOpsDone, __ATOMIC_ACQ_REL) ==
      stub::kOpsWaited) {
    host::FutexWake(&channel_->ops_state, 1 << 30, true);
  }
  mask = 0;
  return ok && Trace(kSetSigmask, sizeof mask, &mask) == 0;
}

bool PtraceThread::Commit() {
  if (!Attach()) {
    Dead();
    return false;
  }
  while (space_->HasOps()) {
    stub::Space::Hand hand = space_->HandOver(slot_);
    if (hand == stub::Space::Hand::kNothing) break;
    if (hand == stub::Space::Hand::kDead || !RunOps()) {
      Dead();
      return false;
    }
  }
  return !space_->dead();
}

Stop PtraceThread::Run() {
  running_.store(true, std::memory_order_seq_cst);
  if (interrupt_.load(std::memory_order_seq_cst)) {
    running_.store(false, std::memory_order_relaxed);
    interrupt_.store(false, std::memory_order_relaxed);
    return {.kind = Stop::Kind::kInterrupted};
  }
  if (space_->dead() || !Commit()) {
    running_.store(false, std::memory_order_relaxed);
    return Dead();
  }
  Regs r = regs_;
  r.orig_rax = ~uint64_t{0};
  int status = -1;
  if (Trace(PTRACE_SETREGS, 0, &r) == 0) {
    do {
      status = Trace(PTRACE_SYSEMU, 0, nullptr) == 0 ? Wait() : -1;
    } while (status >= 0 && (status >> 8) == PTRACE_EVENT_STOP);
  }
  running_.store(false, std::memory_order_relaxed);
  if (status < 0 || Trace(PTRACE_GETREGS, 0, &regs_) < 0) return Dead();
  if (status == (SIGTRAP | 0x80)) {
    __ptrace_syscall_info info{};
    if (Trace(kSyscallInfo, sizeof info, &info) < 0) return Dead();
    if (info.arch != AUDIT_ARCH_X86_64) {
      // int 0x80: what a kernel without it does.
      regs_.orig_rax = ~uint64_t{0};
      return {.kind = Stop::Kind::kFault,
              .signo = SIGSEGV,
              .code = SI_KERNEL,
              .trapno = 13,
              .error = 0x402};
    }
    regs_.orig_rax = static_cast<uint32_t>(regs_.orig_rax);
    syscall_ = {regs_.orig_rax, {regs_.rdi, regs_.rsi, regs_.rdx, regs_.r10, regs_.r8, regs_.r9}};
    regs_.rax = static_cast<uint64_t>(-ENOSYS);
    return {.kind = Stop::Kind::kSyscall};
  }
  regs_.orig_rax = ~uint64_t{0};
  switch (status) {
    case stub::kInterruptSignal:
      interrupt_.store(false, std::memory_order_relaxed);
      return {.kind = Stop::Kind::kInterrupted};
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
      return Fault(status);
    default:
      return {.kind = Stop::Kind::kInterrupted};  // a stray signal
  }
}

// ptrace doesn't show the exception's number and error code, the signal frame does: the signal is
// delivered to the stub's handler, of which no instruction runs.
Stop PtraceThread::Fault(int signo) {
  siginfo_t info{};
  if (Trace(PTRACE_GETSIGINFO, 0, &info) < 0) return Dead();
  Stop stop{.kind = Stop::Kind::kFault,
            .signo = static_cast<uint8_t>(signo),
            .code = info.si_code,
            .addr = reinterpret_cast<uint64_t>(info.si_addr)};
  if (Trace(PTRACE_SINGLESTEP, 0, reinterpret_cast<void*>(static_cast<long>(signo))) < 0)
    return Dead();
  int status;
  while ((status = Wait()) != SIGTRAP) {
    if (status < 0 || (status >> 8) != PTRACE_EVENT_STOP ||
        Trace(PTRACE_SINGLESTEP, 0, nullptr) < 0)
      return Dead();
  }
  Regs r;
  if (Trace(PTRACE_GETREGS, 0, &r) < 0) return Dead();
  uint64_t at = r.rdx - GuestAddress(0);
  if (at < stub::kAltStack || at > stub::kSlotSize - sizeof(stub::UContext)) return Dead();
  stub::UContext uc;
  memcpy(&uc, View(at), sizeof uc);
  stop.trapno = static_cast<uint32_t>(uc.trapno);
  stop.error = static_cast<uint32_t>(uc.err);
  // Delivery made the extended state initial and blocked all signals.
  uint64_t fp = uc.fpstate - GuestAddress(0);
  if (fp < stub::kAltStack || fp > stub::kSlotSize - stub::GetFpLayout().size ||
      !SetXstate(View(fp)))
    return Dead();
  uint64_t mask = 0;
  if (Trace(kSetSigmask, sizeof mask, &mask) < 0) return Dead();
  return stop;
}

void PtraceThread::Interrupt() {
  if (interrupt_.exchange(true, std::memory_order_seq_cst)) return;
  if (running_.load(std::memory_order_seq_cst)) space_->Signal(tid_, stub::kInterruptSignal);
}

}  // namespace

base::StatusOr<std::unique_ptr<Platform>> Create(const Options&) {
  auto engine = std::make_unique<PtraceEngine>();
  if (base::Status s = engine->Init(); !s.ok()) return std::move(s).With("ptrace");
  return std::unique_ptr<Platform>(std::move(engine));
}

}  // namespace platform::ptrace
