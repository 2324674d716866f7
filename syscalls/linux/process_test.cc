// The life of processes on a platform whose guests are C++: an instruction is a function, two bytes
// long like the syscall instruction, and rip counts them.
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/mman.h"
#include "syscalls/abi/wait.h"
#include "syscalls/linux/sys.h"

namespace syscalls {
namespace {

using platform::Stop;
using sentry::Kernel;

constexpr uint64_t kCode = 0x400000, kData = 0x10000000, kStackTop = kData + 0x100000;

enum Nr : uint64_t {
  kFork,
  kExit,
  kExitGroup,
  kWait4,
  kKill,
  kSigaction,
  kSigreturn,
  kClone,
  kVfork,
  kExecve,
  kGetppid,
  kGetpid,
  kGettid,
  kPause,
  kSetpgid,
  kTgkill,
  kSigprocmask,
  kPrctl,
  kCount
};

class FakeGuest;
using Insn = std::function<Stop(FakeGuest&)>;
std::vector<Insn> code;

class FakeSpace : public platform::AddressSpace {
 public:
  void Map(uint64_t, uint64_t, const base::Ref<platform::MapFile>&, uint64_t, uint8_t) override {}
  void Unmap(uint64_t, uint64_t) override {}
  void Protect(uint64_t, uint64_t, uint8_t) override {}
  void Forget(const platform::MapFile&) override {}
  base::Result<std::unique_ptr<platform::GuestThread>> NewThread(platform::GuestThread*,
                                                                 const platform::Regs& regs,
                                                                 const platform::FpState&) override;
  void Kill() override { dead = true; }
  std::atomic<bool> dead{false};
};

class FakeGuest : public platform::GuestThread {
 public:
  FakeGuest(FakeSpace& s, const platform::Regs& r) : space_(s), r_(r) {}
  Stop Run() override {
    for (;;) {
      if (space_.dead) return {Stop::Kind::kDead};
      {
        std::lock_guard l(mu_);
        if (std::exchange(interrupted_, false)) return {Stop::Kind::kInterrupted};
      }
      size_t pc = (r_.rip - kCode) / 2;
      if (r_.rip < kCode || pc >= code.size()) {
        return {Stop::Kind::kFault, 11, 1, r_.rip, 14, 16 | 4};
      }
      r_.rip += 2;
      Stop s = code[pc](*this);
      if (s.kind != Stop::Kind::kInterrupted) return s;
    }
  }
  bool Commit() override { return true; }
  const platform::SyscallRegs& syscall() const override { return sys_; }
  void SetReturn(uint64_t v) override { r_.rax = v; }
  const platform::Regs& regs() override { return r_; }
  void SetRegs(const platform::Regs& r) override { r_ = r; }
  platform::FpState GetFp() override { return {}; }
  base::Result<void> SetFp(std::span<const uint8_t>) override { return {}; }
  void Interrupt() override {
    std::lock_guard l(mu_);
    interrupted_ = true;
    cv_.notify_all();
  }

  // What instructions use. Go: the guest runs on, nothing happened.
  static Stop Go() { return {Stop::Kind::kInterrupted}; }
  Stop Syscall(uint64_t nr, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
               uint64_t e = 0) {
    sys_ = {nr, {a, b, c, d, e, 0}};
    r_.orig_rax = nr;
    r_.rax = static_cast<uint64_t>(-38);
    return {Stop::Kind::kSyscall};
  }
  Stop Spin() {
    std::unique_lock l(mu_);
    cv_.wait(l, [&] { return interrupted_ || space_.dead; });
    r_.rip -= 2;
    return Go();
  }
  int64_t rax() const { return static_cast<int64_t>(r_.rax); }
  uint64_t& rbx() { return r_.rbx; }
  void Jump(size_t insn) { r_.rip = kCode + 2 * insn; }
  platform::Regs& r() { return r_; }

 private:
  FakeSpace& space_;
  platform::Regs r_;
  platform::SyscallRegs sys_{};
  std::mutex mu_;
  std::condition_variable cv_;
  bool interrupted_ = false;
};

base::Result<std::unique_ptr<platform::GuestThread>> FakeSpace::NewThread(
    platform::GuestThread*, const platform::Regs& regs, const platform::FpState&) {
  return std::unique_ptr<platform::GuestThread>(new FakeGuest(*this, regs));
}

class FakePlatform : public platform::Platform {
 public:
  const char* name() const override { return "fake"; }
  platform::UserRange user_range() const override { return {0x10000, 0x7ffffffff000}; }
  base::Result<base::Ref<platform::AddressSpace>> NewAddressSpace() override {
    return base::Ref<platform::AddressSpace>(base::MakeRef<FakeSpace>());
  }
  std::span<const uint8_t> initial_fp() const override { return {}; }
  void Shutdown() override {}
};

size_t exec_entry = 0;

base::Result<Kernel::LoadedImage> Load(Kernel& k, const sentry::TaskVfs&,
                                       const sentry::ExecArgs& args, const sentry::Creds&, bool,
                                       const sentry::Limits&) {
  Kernel::LoadedImage im;
  im.mm = TRY(sentry::MemoryManager::Create(k.platform()));
  sentry::MmapArgs m;
  m.addr = kData;
  m.len = kStackTop - kData;
  m.prot = 3;
  m.fixed = true;
  TRY(im.mm->Mmap(m));
  memset(&im.regs, 0, sizeof im.regs);
  im.regs.rip = kCode + 2 * (args.filename == "init" ? 0 : exec_entry);
  im.regs.rsp = kStackTop - 64;
  im.comm = args.filename;
  return im;
}

SyscallResult Unknown(Task&, const sentry::SyscallArgs&) { return abi::Errno::kENOSYS; }

#define CALL(f, ...) \
  [](Task& t, const sentry::SyscallArgs& a) -> SyscallResult { return sys_##f(t, __VA_ARGS__); }
#define CALL0(f) [](Task& t, const sentry::SyscallArgs&) -> SyscallResult { return sys_##f(t); }
constexpr auto I = [](uint64_t v) { return static_cast<int32_t>(v); };

const sentry::SyscallFn kTable[kCount] = {
    CALL0(fork),
    CALL(exit, I(a.arg[0])),
    CALL(exit_group, I(a.arg[0])),
    CALL(wait4, I(a.arg[0]), {UserAddr{a.arg[1]}}, I(a.arg[2]), {UserAddr{a.arg[3]}}),
    CALL(kill, I(a.arg[0]), I(a.arg[1])),
    CALL(rt_sigaction, I(a.arg[0]), {UserAddr{a.arg[1]}}, {UserAddr{a.arg[2]}}, 8),
    CALL0(rt_sigreturn),
    CALL(clone, a.arg[0], UserAddr{a.arg[1]}, {UserAddr{a.arg[2]}}, {UserAddr{a.arg[3]}}, a.arg[4]),
    CALL0(vfork),
    CALL(execve, {UserAddr{a.arg[0]}}, UserAddr{a.arg[1]}, UserAddr{a.arg[2]}),
    CALL0(getppid),
    CALL0(getpid),
    CALL0(gettid),
    CALL0(pause),
    CALL(setpgid, I(a.arg[0]), I(a.arg[1])),
    CALL(tgkill, I(a.arg[0]), I(a.arg[1]), I(a.arg[2])),
    CALL(rt_sigprocmask, I(a.arg[0]), {UserAddr{a.arg[1]}}, {UserAddr{a.arg[2]}}, 8),
    CALL(prctl, I(a.arg[0]), a.arg[1], a.arg[2], a.arg[3], a.arg[4]),
};

class ProcessTest : public ::testing::Test {
 protected:
  // Runs the code as pid 1; its wait status.
  int32_t RunInit() {
    sentry::KernelOptions o{};
    o.platform = &platform_;
    o.syscalls = {kTable, Unknown};
    Kernel k(o);
    k.set_loader(Load);
    Kernel::InitProcess p;
    p.exec.filename = "init";
    auto c = base::MakeRef<sentry::Creds>();
    c->permitted = c->effective = c->bounding = abi::kCapFullSet;
    p.creds = c;
    std::atomic<int32_t> status{-1};
    auto g = k.StartProcess(std::move(p), [&](int32_t s) { status = s; });
    EXPECT_TRUE(g.ok());
    k.WaitAll();
    return status;
  }
  // A syscall instruction.
  static Insn S(uint64_t nr, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
    return [=](FakeGuest& g) { return g.Syscall(nr, a, b, c, d); };
  }
  static Insn Spin() {
    return [](FakeGuest& g) { return g.Spin(); };
  }
  // Guest memory of the task that runs.
  template <typename T>
  static T Peek(uint64_t addr) {
    T v{};
    EXPECT_TRUE(Task::Current()->mm().CopyIn(&v, UserAddr{addr}, sizeof v).ok());
    return v;
  }
  template <typename T>
  static void Poke(uint64_t addr, const T& v) {
    EXPECT_TRUE(Task::Current()->mm().CopyOut(UserAddr{addr}, &v, sizeof v).ok());
  }
  static Insn Do(std::function<void(FakeGuest&)> f) {
    return [f](FakeGuest& g) {
      f(g);
      return FakeGuest::Go();
    };
  }
  static Insn IfZero(size_t target) {
    return Do([=](FakeGuest& g) {
      if (g.rax() == 0) g.Jump(target);
    });
  }
  static Insn Handler(int sig, size_t insn, uint64_t flags) {
    return [=](FakeGuest& g) {
      abi::SigAction a{kCode + 2 * insn, flags | abi::kSA_RESTORER, 0, 0};
      // The restorer: the instruction behind the handler.
      a.restorer = kCode + 2 * (insn + 1);
      Poke(kData, a);
      return g.Syscall(kSigaction, static_cast<uint64_t>(sig), kData, 0);
    };
  }
  // The end of a handler: what ret and the restorer do.
  static Insn Return() {
    return [](FakeGuest& g) {
      g.r().rsp += 8;
      return g.Syscall(kSigreturn);
    };
  }
  FakePlatform platform_;
};

TEST_F(ProcessTest, ExitStatus) {
  code = {S(kExitGroup, 7)};
  EXPECT_EQ(RunInit(), 7 << 8);
}

TEST_F(ProcessTest, ForkAndWait) {
  code = {
      S(kFork),
      IfZero(6),
      Do([](FakeGuest& g) { g.rbx() = g.r().rax; }),
      S(kWait4, static_cast<uint64_t>(-1), kData, 0),
      Do([](FakeGuest& g) {
        EXPECT_EQ(g.rax(), static_cast<int64_t>(g.rbx()));
        EXPECT_EQ(Peek<int32_t>(kData), 3 << 8);
      }),
      S(kExitGroup, 0),
      S(kGetppid),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), 1); }),
      S(kExitGroup, 3),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, NoChildren) {
  code = {
      S(kWait4, static_cast<uint64_t>(-1), 0, 0),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), -10); }),
      S(kExitGroup, 0),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, HandlerRunsAndReturns) {
  code = {
      Handler(10, 5, abi::kSA_SIGINFO),
      S(kKill, 1, 10),
      Do([](FakeGuest& g) {
        EXPECT_EQ(g.rax(), 0);
        EXPECT_EQ(g.rbx(), 0u) << "registers come back";
        EXPECT_EQ(Peek<uint64_t>(kData + 256), 10u);
        EXPECT_EQ(g.r().rsp, kStackTop - 64);
      }),
      S(kExitGroup, 0),
      Do([](FakeGuest&) {}),
      Do([](FakeGuest& g) {  // 5: handler
        Poke(kData + 256, g.r().rdi);
        abi::SigInfo info = Peek<abi::SigInfo>(g.r().rsi);
        EXPECT_EQ(info.signo, 10);
        EXPECT_EQ(info.f.kill.pid, 1);
        EXPECT_EQ(g.r().rsp % 16, 8u);
        g.rbx() = 99;
      }),
      Return(),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, BadFrameKills) {
  code = {
      [](FakeGuest& g) {
        g.r().rsp = 8;
        return g.Syscall(kSigreturn);
      },
      S(kExitGroup, 0),
  };
  EXPECT_EQ(RunInit(), 11);
}

TEST_F(ProcessTest, FaultKillsTheChild) {
  code = {
      S(kFork),
      IfZero(5),
      S(kWait4, static_cast<uint64_t>(-1), kData, 0),
      Do([](FakeGuest&) { EXPECT_EQ(Peek<int32_t>(kData), 11); }),
      S(kExitGroup, 0),
      [](FakeGuest&) { return Stop{Stop::Kind::kFault, 11, 1, 0x1234, 14, 6}; },
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, SignalInterruptsOrRestarts) {
  for (bool restart : {false, true}) {
    code = {
        Handler(10, 9, restart ? abi::kSA_RESTART : 0),
        S(kFork),
        IfZero(6),
        S(kWait4, static_cast<uint64_t>(-1), kData, 0),
        Do([=](FakeGuest& g) { EXPECT_EQ(g.rax(), restart ? 2 : -4); }),
        S(kExitGroup, 0),
        // 6: child
        Do([](FakeGuest&) {
          Task& self = *Task::Current();
          base::Ref<Task> init = self.kernel().FindTask(*self.pid_ns(), 1);
          while (init->state != 'S') std::this_thread::yield();
        }),
        S(kKill, 1, 10),
        S(kExitGroup, 5),
        Do([](FakeGuest&) {}),  // 9: handler
        Return(),
    };
    EXPECT_EQ(RunInit(), 0);
  }
}

TEST_F(ProcessTest, ExitGroupEndsSpinningThreads) {
  uint64_t flags = abi::kCLONE_VM | abi::kCLONE_FS | abi::kCLONE_FILES | abi::kCLONE_SIGHAND |
                   abi::kCLONE_THREAD;
  code = {
      S(kClone, flags, kStackTop - 4096),
      IfZero(3),
      Spin(),
      S(kGettid),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), 2); }),
      S(kExitGroup, 9),
  };
  EXPECT_EQ(RunInit(), 9 << 8);
}

TEST_F(ProcessTest, StopAndContinue) {
  code = {
      S(kFork),
      IfZero(15),
      Do([](FakeGuest& g) { g.rbx() = g.r().rax; }),
      S(kWait4, static_cast<uint64_t>(-1), kData, abi::kWUNTRACED),
      Do([](FakeGuest&) { EXPECT_EQ(Peek<int32_t>(kData), 19 << 8 | 0x7f); }),
      [](FakeGuest& g) { return g.Syscall(kKill, g.rbx(), 18); },
      S(kWait4, static_cast<uint64_t>(-1), kData, abi::kWCONTINUED),
      Do([](FakeGuest&) { EXPECT_EQ(Peek<int32_t>(kData), 0xffff); }),
      [](FakeGuest& g) { return g.Syscall(kKill, g.rbx(), 9); },
      S(kWait4, static_cast<uint64_t>(-1), kData, 0),
      Do([](FakeGuest& g) {
        EXPECT_EQ(g.rax(), static_cast<int64_t>(g.rbx()));
        EXPECT_EQ(Peek<int32_t>(kData), 9);
      }),
      S(kExitGroup, 0),
      Spin(),
      Spin(),
      Spin(),
      S(kGetpid),  // 15: child
      [](FakeGuest& g) { return g.Syscall(kKill, static_cast<uint64_t>(g.rax()), 19); },
      Spin(),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, VforkAndExec) {
  exec_entry = 7;
  code = {
      [](FakeGuest& g) {
        Poke(kData + 512, uint64_t{0x6f6c6c6568});  // "hello"
        return g.Syscall(kVfork);
      },
      IfZero(6),
      S(kWait4, static_cast<uint64_t>(-1), kData, 0),
      Do([](FakeGuest&) { EXPECT_EQ(Peek<int32_t>(kData), 21 << 8); }),
      S(kExitGroup, 0),
      Spin(),
      S(kExecve, kData + 512, 0, 0),  // 6: child
      Do([](FakeGuest& g) {
        EXPECT_EQ(Task::Current()->comm(), "hello");
        EXPECT_EQ(g.r().rsp, kStackTop - 64);
      }),
      S(kExitGroup, 21),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, ExecOfAThreadTakesTheLeadersPlace) {
  uint64_t flags = abi::kCLONE_VM | abi::kCLONE_FS | abi::kCLONE_FILES | abi::kCLONE_SIGHAND |
                   abi::kCLONE_THREAD;
  exec_entry = 5;
  code = {
      [](FakeGuest& g) {
        Poke(kData + 512, uint64_t{0x6f6c6c6568});
        return FakeGuest::Go();
      },
      S(kClone, flags, kStackTop - 4096),
      IfZero(4),
      Spin(),
      S(kExecve, kData + 512, 0, 0),
      S(kGettid),  // 5
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), 1); }),
      S(kExitGroup, 4),
  };
  EXPECT_EQ(RunInit(), 4 << 8);
}

TEST_F(ProcessTest, OrphansGoToInit) {
  code = {
      S(kFork),
      IfZero(8),
      // init: two children to reap, its own and the orphan.
      S(kWait4, static_cast<uint64_t>(-1), 0, 0),
      S(kWait4, static_cast<uint64_t>(-1), 0, 0),
      Do([](FakeGuest& g) { EXPECT_GT(g.rax(), 0); }),
      S(kWait4, static_cast<uint64_t>(-1), 0, 0),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), -10); }),
      S(kExitGroup, 0),
      S(kFork),  // 8: child
      S(kExitGroup, 0),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, TheEndOfInitIsTheEndOfAll) {
  code = {S(kFork), IfZero(3), S(kExitGroup, 1), Spin()};
  EXPECT_EQ(RunInit(), 1 << 8);
}

TEST_F(ProcessTest, InitIgnoresUncaughtSignalsFromInside) {
  code = {S(kKill, 1, 9), S(kKill, 1, 15), S(kExitGroup, 6)};
  EXPECT_EQ(RunInit(), 6 << 8);
}

TEST_F(ProcessTest, CloneChecksItsFlags) {
  code = {
      S(kClone, abi::kCLONE_THREAD | abi::kCLONE_VM),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), -22); }),
      S(kClone, abi::kCLONE_SIGHAND),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), -22); }),
      S(kClone, abi::kCLONE_NEWNS | abi::kCLONE_FS),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), -22); }),
      S(kClone, abi::kCLONE_PARENT | 17),
      Do([](FakeGuest& g) { EXPECT_EQ(g.rax(), -22); }),
      S(kExitGroup, 0),
  };
  EXPECT_EQ(RunInit(), 0);
}

TEST_F(ProcessTest, ManyForks) {
  code = {
      Do([](FakeGuest& g) { g.rbx() = 50; }),
      S(kFork),
      IfZero(8),
      S(kWait4, static_cast<uint64_t>(-1), kData, 0),
      Do([](FakeGuest& g) {
        EXPECT_GT(g.rax(), 0);
        if (--g.rbx() != 0) g.Jump(1);
      }),
      S(kExitGroup, 0),
      Spin(),
      Spin(),
      S(kExitGroup, 0),
  };
  EXPECT_EQ(RunInit(), 0);
}

}  // namespace
}  // namespace syscalls
