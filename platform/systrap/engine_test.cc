// The conformance test of engines: small pieces of machine code, run through platform/api.
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "platform/kvm/testing.h"
#include "platform/ptrace/ptrace.h"
#include "platform/stub/layout.h"
#include "platform/systrap/engine_fixture.h"
#include "platform/systrap/systrap.h"

SNIPPET(snippet_syscalls, R"(
  mov $39, %eax
  mov $1, %edi
  mov $2, %esi
  mov $3, %edx
  mov $4, %r10d
  mov $5, %r8d
  mov $6, %r9d
  syscall
  mov %rax, %rdi
  mov $60, %eax
  syscall
  ud2
)");
SNIPPET(snippet_fault, R"(
  mov $0x123456789000, %rax
  mov %rax, 0x18(%rax)
  ud2
)");
SNIPPET(snippet_ud2, "ud2");
SNIPPET(snippet_divide, "xor %ecx, %ecx\n mov $1, %eax\n cltd\n div %ecx\n");
SNIPPET(snippet_int3, "int3\n");
SNIPPET(snippet_int80, "mov $1, %eax\n int $0x80\n");
SNIPPET(snippet_uretprobe, R"(
  mov $335, %eax
  mov $7, %edi
  syscall
  mov %rax, %rdi
  mov $60, %eax
  syscall
)");
SNIPPET(snippet_spin, "1: incq 0x500000\n jmp 1b\n");
// Counts at rdi to 1 << 22, and calls.
SNIPPET(snippet_count, R"(
  mov $0x400000, %ecx
1:
  incq (%rdi)
  dec %ecx
  jnz 1b
  mov $39, %eax
  syscall
)");
SNIPPET(snippet_loop, "1: mov $39, %eax\n syscall\n jmp 1b\n");
// Calls through the stub's syscall instruction (r15), registers as given.
SNIPPET(snippet_stub_call, "call *%r15\n");
// Fills the slot at rdi with a running pattern.
SNIPPET(snippet_scribble, R"(
1:
  push %rdi
  mov $0x7000, %ecx
  add $0x1234567, %rax
  rep stosb
  pop %rdi
  jmp 1b
)");
SNIPPET(snippet_store,
        "mov %rax, 0x500000\n mov $39, %eax\n syscall\n mov 0x500008, %rdi\n mov $39, %eax\n "
        "syscall\n");
SNIPPET(snippet_xstate, "mov 0x500000, %rax\n 1: mov (%rax), %rdi\n mov $39, %eax\n syscall\n");

namespace platform {
namespace {

TEST_P(EngineTest, SyscallStops) {
  auto as = SPACE(snippet_syscalls);
  auto t = NewThread(*as);
  Stop s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 39u);
  for (uint64_t i = 0; i < 6; i++) EXPECT_EQ(t->syscall().arg[i], i + 1);
  EXPECT_EQ(t->regs().rax, static_cast<uint64_t>(-ENOSYS));
  EXPECT_EQ(t->regs().orig_rax, 39u);
  EXPECT_EQ(t->regs().rsi, 2u);
  EXPECT_EQ(t->regs().rsp, kData + 2 * kPage);
  uint64_t rip = t->regs().rip;
  EXPECT_GT(rip, kCode);
  t->SetReturn(4711);
  s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 60u);
  EXPECT_EQ(t->syscall().arg[0], 4711u);
  // Back to the second call with other registers.
  Regs r = t->regs();
  r.rip = rip;
  r.rax = 815;
  r.rbx = 77;
  t->SetRegs(r);
  s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 815u);
  EXPECT_EQ(t->regs().rbx, 77u);
}

TEST_P(EngineTest, ReturnIsEnosysUnlessSet) {
  auto as = SPACE(snippet_syscalls);
  auto t = NewThread(*as);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], static_cast<uint64_t>(-ENOSYS));
}

TEST_P(EngineTest, Faults) {
  {
    auto as = SPACE(snippet_fault);
    auto t = NewThread(*as);
    Stop s = t->Run();
    ASSERT_EQ(s.kind, Stop::Kind::kFault);
    EXPECT_EQ(s.signo, SIGSEGV);
    EXPECT_EQ(s.code, SEGV_MAPERR);
    EXPECT_EQ(s.addr, 0x123456789018u);
    EXPECT_EQ(s.trapno, 14u);
    EXPECT_EQ(s.error & 7, 6u);  // user, write, not present
    // Mapped, the instruction succeeds.
    as->Map(0x123456789000, kPage, data_file_, 5 * kPage, kProtRead | kProtWrite);
    s = t->Run();
    ASSERT_EQ(s.kind, Stop::Kind::kFault);
    EXPECT_EQ(s.signo, SIGILL);
    uint64_t v;
    memcpy(&v, data_ + 5 * kPage + 0x18, 8);
    EXPECT_EQ(v, 0x123456789000u);
  }
  struct {
    const uint8_t *begin, *end;
    int signo;
    int code;
    uint32_t trapno;
  } cases[] = {{snippet_ud2_begin, snippet_ud2_end, SIGILL, ILL_ILLOPN, 6},
               {snippet_divide_begin, snippet_divide_end, SIGFPE, FPE_INTDIV, 0},
               {snippet_int3_begin, snippet_int3_end, SIGTRAP, SI_KERNEL, 3}};
  for (auto& c : cases) {
    auto as = NewSpace(c.begin, c.end);
    auto t = NewThread(*as);
    Stop s = t->Run();
    ASSERT_EQ(s.kind, Stop::Kind::kFault);
    EXPECT_EQ(s.signo, c.signo);
    EXPECT_EQ(s.code, c.code);
    EXPECT_EQ(s.trapno, c.trapno);
  }
}

TEST_P(EngineTest, Int80IsNoSystemCall) {
  auto as = SPACE(snippet_int80);
  auto t = NewThread(*as);
  Stop s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kFault);
  EXPECT_EQ(s.signo, SIGSEGV);
}

// The kernel lets it pass the filter since Linux 6.14, and answers with SIGILL.
TEST_P(EngineTest, UretprobeIsACallLikeOthers) {
  auto as = SPACE(snippet_uretprobe);
  auto t = NewThread(*as);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 335u);
  EXPECT_EQ(t->syscall().arg[0], 7u);
  EXPECT_EQ(t->regs().rax, static_cast<uint64_t>(-ENOSYS));
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().nr, 60u);
  EXPECT_EQ(t->syscall().arg[0], static_cast<uint64_t>(-ENOSYS));
}

TEST_P(EngineTest, BusErrorBeyondTheFile) {
  auto as = SPACE(snippet_fault);
  as->Map(0x123456789000, kPage, data_file_, 16 * kPage, kProtRead | kProtWrite);
  auto t = NewThread(*as);
  Stop s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kFault);
  EXPECT_EQ(s.signo, SIGBUS);
  EXPECT_EQ(s.addr, 0x123456789018u);
}

TEST_P(EngineTest, MappingsChangeInOrder) {
  auto as = SPACE(snippet_store);
  Regs r{};
  r.rax = 99;
  auto t = NewThread(*as, nullptr, r);
  as->Map(kData, kPage, data_file_, 3 * kPage, kProtRead);
  as->Protect(kData, kPage, kProtRead | kProtWrite);
  uint64_t v = 1234;
  memcpy(data_ + 3 * kPage + 8, &v, 8);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  memcpy(&v, data_ + 3 * kPage, 8);
  EXPECT_EQ(v, 99u);
  as->Protect(kData, kPage, kProtNone);
  ASSERT_TRUE(t->Commit());
  Stop s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kFault);
  EXPECT_EQ(s.code, SEGV_ACCERR);
  as->Unmap(kData, kPage);
  s = t->Run();
  EXPECT_EQ(s.code, SEGV_MAPERR);
  as->Map(kData, kPage, data_file_, 3 * kPage, kProtRead);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 1234u);
}

TEST_P(EngineTest, ManyMappingsInOneBatch) {
  auto as = SPACE(snippet_xstate);
  auto t = NewThread(*as);
  // Not mergeable: every second page, many files.
  std::vector<base::Ref<MapFile>> files;
  for (uint64_t i = 0; i < 300; i++) {
    uint8_t* view;
    auto f = NewFile(&view, kPage);
    memcpy(view, &i, 8);
    munmap(view, kPage);
    as->Map(0x10000000 + 2 * i * kPage, kPage, f, 0, kProtRead);
    files.push_back(f);
  }
  for (uint64_t i : {0, 111, 112, 299}) {
    uint64_t addr = 0x10000000 + 2 * i * kPage;
    memcpy(data_, &addr, 8);
    Regs r = t->regs();
    r.rip = kCode;
    t->SetRegs(r);
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
    EXPECT_EQ(t->syscall().arg[0], i);
  }
  for (auto& f : files) as->Forget(*f);
  uint8_t* view;
  auto f = NewFile(&view, kPage);
  uint64_t magic = 31337, addr = 0x20000000;
  memcpy(view, &magic, 8);
  as->Map(addr, kPage, f, 0, kProtRead);
  memcpy(data_, &addr, 8);
  Regs r = t->regs();
  r.rip = kCode;
  t->SetRegs(r);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], magic);
}

TEST_P(EngineTest, InterruptStopsASpinningGuest) {
  auto as = SPACE(snippet_spin);
  auto t = NewThread(*as);
  auto* counter = reinterpret_cast<std::atomic<uint64_t>*>(data_);
  for (int i = 0; i < 20; i++) {
    uint64_t before = counter->load();
    std::thread other([&] {
      while (counter->load() < before + 1000) std::this_thread::yield();
      t->Interrupt();
    });
    EXPECT_EQ(t->Run().kind, Stop::Kind::kInterrupted);
    other.join();
    EXPECT_GE(t->regs().rip, kCode);
    EXPECT_LT(t->regs().rip, kCode + 16);
  }
}

TEST_P(EngineTest, InterruptIsKept) {
  auto as = SPACE(snippet_syscalls);
  auto t = NewThread(*as);
  t->Interrupt();
  EXPECT_EQ(t->Run().kind, Stop::Kind::kInterrupted);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  t->SetReturn(5);
  t->Interrupt();
  EXPECT_EQ(t->Run().kind, Stop::Kind::kInterrupted);
  EXPECT_EQ(t->regs().rax, 5u);
  ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
  EXPECT_EQ(t->syscall().arg[0], 5u);
}

TEST_P(EngineTest, InterruptsAgainstSystemCalls) {
  auto as = SPACE(snippet_loop);
  std::atomic<bool> done{false};
  std::atomic<GuestThread*> thread{nullptr};
  std::thread driver([&] {
    auto t = NewThread(*as);
    thread = t.get();
    int interrupted = 0;
    while (interrupted < 300) {
      Stop s = t->Run();
      if (s.kind == Stop::Kind::kInterrupted) {
        interrupted++;
      } else {
        ASSERT_EQ(s.kind, Stop::Kind::kSyscall);
        t->SetReturn(0);
      }
    }
    thread = nullptr;
    done = true;
    while (done) std::this_thread::yield();
  });
  while (!done) {
    if (GuestThread* t = thread) t->Interrupt();
    std::this_thread::yield();
  }
  done = false;
  driver.join();
}

TEST_P(EngineTest, Threads) {
  auto as = SPACE(snippet_loop);
  auto first = NewThread(*as);
  ASSERT_EQ(first->Run().kind, Stop::Kind::kSyscall);
  std::vector<std::thread> drivers;
  std::vector<std::unique_ptr<GuestThread>> threads;
  for (int i = 0; i < 8; i++) threads.push_back(NewThread(*as, first.get()));
  for (auto& t : threads) {
    drivers.emplace_back([t = std::move(t)]() mutable {
      for (int n = 0; n < 200; n++) {
        ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
        ASSERT_EQ(t->syscall().nr, 39u);
        t->SetReturn(0);
      }
      t.reset();
    });
  }
  for (int n = 0; n < 200; n++) {
    ASSERT_EQ(first->Run().kind, Stop::Kind::kSyscall);
    first->SetReturn(0);
  }
  for (auto& d : drivers) d.join();
  // Slots and threads come and go.
  for (int i = 0; i < 100; i++) {
    auto t = NewThread(*as, first.get());
    std::thread([&] {
      ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
      t.reset();
    }).join();
  }
}

// More at a time than an engine may have processors for: all come to their end, as themselves.
TEST_P(EngineTest, ManyBusyThreads) {
  constexpr uint64_t kThreads = 90;
  auto as = SPACE(snippet_count);
  std::vector<std::unique_ptr<GuestThread>> threads;
  for (uint64_t i = 0; i < kThreads; i++) {
    Regs regs{};
    regs.rdi = kData + 8 * i;
    regs.rbx = i;
    threads.push_back(NewThread(*as, i == 0 ? nullptr : threads[0].get(), regs));
    // Who makes the others runs here.
    if (i == 0) {
      ASSERT_EQ(threads[0]->Run().kind, Stop::Kind::kSyscall);
    }
  }
  std::vector<std::thread> drivers;
  for (uint64_t i = 1; i < kThreads; i++) {
    drivers.emplace_back([&, i] {
      EXPECT_EQ(threads[i]->Run().kind, Stop::Kind::kSyscall);
      uint64_t count;
      memcpy(&count, data_ + 8 * i, 8);
      EXPECT_EQ(count, 0x400000u);
      EXPECT_EQ(threads[i]->regs().rbx, i);
      EXPECT_EQ(threads[i]->regs().rdi, kData + 8 * i);
      threads[i].reset();
    });
  }
  for (auto& d : drivers) d.join();
}

// One thread's mapping change is in effect for another that runs later.
TEST_P(EngineTest, MappingOrderBetweenThreads) {
  auto as = SPACE(snippet_xstate);
  constexpr uint64_t kRounds = 300;
  uint64_t where = 0x30000000;
  memcpy(data_, &where, 8);
  std::atomic<uint64_t> round{0}, done{0};
  auto drive = [&](GuestThread& t) {
    for (uint64_t i = 1; i <= kRounds; i++) {
      while (round.load() < i) std::this_thread::yield();
      Regs r = t.regs();
      r.rip = kCode;
      t.SetRegs(r);
      Stop s = t.Run();
      EXPECT_EQ(s.kind, Stop::Kind::kSyscall);
      EXPECT_EQ(t.syscall().arg[0], i);
      done++;
    }
  };
  std::thread first([&] {
    auto a = NewThread(*as);
    auto b = NewThread(*as, a.get());
    std::thread second([&, b = std::move(b)]() mutable {
      drive(*b);
      b.reset();
    });
    drive(*a);
    second.join();
  });
  for (uint64_t i = 1; i <= kRounds; i++) {
    memcpy(data_ + 5 * kPage + (i & 7) * kPage, &i, 8);
    as->Map(where, kPage, data_file_, 5 * kPage + (i & 7) * kPage, kProtRead);
    round = i;
    while (done.load() < 2 * i) std::this_thread::yield();
  }
  first.join();
}

TEST_P(EngineTest, KillEndsAllThreads) {
  auto as = SPACE(snippet_spin);
  std::thread driver([&] {
    auto a = NewThread(*as);
    auto b = NewThread(*as, a.get());
    std::thread other([&, b = std::move(b)]() mutable {
      EXPECT_EQ(b->Run().kind, Stop::Kind::kDead);
      b.reset();
    });
    EXPECT_EQ(a->Run().kind, Stop::Kind::kDead);
    EXPECT_EQ(a->Run().kind, Stop::Kind::kDead);
    other.join();
    EXPECT_FALSE(as->NewThread(a.get(), {}, {}).ok());
  });
  auto* counter = reinterpret_cast<std::atomic<uint64_t>*>(data_);
  while (counter->load() < 1000) std::this_thread::yield();
  as->Kill();
  driver.join();
  as->Kill();
}

TEST_P(EngineTest, ManyAddressSpaces) {
  for (int i = 0; i < 1000; i++) {
    auto as = SPACE(snippet_loop);
    auto t = NewThread(*as);
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall) << i;
  }
  std::vector<base::Ref<AddressSpace>> spaces;
  std::vector<std::unique_ptr<GuestThread>> threads;
  for (int i = 0; i < 50; i++) {
    spaces.push_back(SPACE(snippet_loop));
    threads.push_back(NewThread(*spaces.back()));
    ASSERT_EQ(threads.back()->Run().kind, Stop::Kind::kSyscall);
  }
}

TEST_P(EngineTest, HostClock) {
  uint64_t entry = platform_->guest_clock_gettime();
  if (entry == 0) GTEST_SKIP();
  auto as = SPACE(snippet_stub_call);
  Regs r{};
  r.r15 = entry;
  r.rdi = CLOCK_MONOTONIC;
  r.rsi = kData + 64;
  auto t = NewThread(*as, nullptr, r);
  // The snippet ends in zeros: "add %al, (%rax)" faults on the returned 0.
  Stop s = t->Run();
  ASSERT_EQ(s.kind, Stop::Kind::kFault);
  timespec ts;
  memcpy(&ts, data_ + 64, sizeof ts);
  int64_t guest = ts.tv_sec * 1000000000 + ts.tv_nsec;
  int64_t now = host::ClockNow(CLOCK_MONOTONIC);
  EXPECT_LE(guest, now);
  EXPECT_GT(guest, now - 10'000'000'000);
}

// Guest code that jumps to the stub's syscall instruction gets at nothing: all but the pinned calls
// are stops like any other.
TEST_P(EngineTest, StubsSyscallInstructionIsHarmless) {
  auto as = SPACE(snippet_stub_call);
  Regs regs{};
  regs.r15 = stub::kText + stub::kSyscallOffset;
  auto t = NewThread(*as, nullptr, regs);
  auto call = [&](uint64_t nr, uint64_t a0 = 0, uint64_t a1 = 0, uint64_t a2 = 0, uint64_t a3 = 0,
                  uint64_t a4 = 0, uint64_t a5 = 0) {
    Regs r = regs;
    r.rip = kCode;
    r.rsp = kData + 2 * kPage;
    r.rax = nr;
    r.rdi = a0;
    r.rsi = a1;
    r.rdx = a2;
    r.r10 = a3;
    r.r8 = a4;
    r.r9 = a5;
    t->SetRegs(r);
    Stop s = t->Run();
    // Of an engine without a stub: nothing is there.
    if (s.kind == Stop::Kind::kFault && s.signo == SIGSEGV) return t->regs().rip == regs.r15;
    // Executed calls come back to an int3.
    return s.kind == Stop::Kind::kSyscall && t->syscall().nr == nr;
  };
  auto allowed = [](uint64_t nr) {
    switch (nr) {
      case SYS_rt_sigreturn:  // replaces registers: no more than a guest can do anyway
      case SYS_munmap:
      case SYS_mprotect:
      case SYS_madvise:  // one kind of it
      case SYS_close:
      case SYS_sched_yield:
      case SYS_sigaltstack:
      case SYS_exit:
      case SYS_exit_group:
      case SYS_futex:
      case SYS_recvmsg:
      case 336:  // uprobe: the host may answer it past every filter, with ENXIO
        return true;
      default:
        return false;
    }
  };
  for (uint64_t nr = 0; nr < 470; nr++) {
    if (allowed(nr)) continue;
    EXPECT_TRUE(call(nr)) << nr;
    EXPECT_TRUE(call(nr | 0x40000000)) << nr;  // x32
  }
  // Any registers; what else is pinned is so by values that don't come up.
  std::mt19937_64 random(1);
  auto word = [&] { return random() >> random() % 64; };
  for (int i = 0; i < 5000; i++) {
    uint64_t nr = random() % 470;
    if (!allowed(nr)) {
      EXPECT_TRUE(call(nr, word(), word(), word(), word(), word(), word())) << nr;
    }
  }
  EXPECT_TRUE(call(SYS_mmap, 0, kPage, 3, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull));
  EXPECT_TRUE(call(SYS_mmap, 0, kPage, 3, MAP_SHARED | MAP_ANONYMOUS, ~0ull));
  EXPECT_TRUE(call(SYS_mmap, 0, kPage, 3, MAP_SHARED | MAP_FIXED | MAP_HUGETLB, 3));
  EXPECT_TRUE(call(SYS_mmap, 0, kPage, 3, MAP_SHARED | MAP_FIXED | MAP_LOCKED, 3));
  EXPECT_TRUE(call(SYS_mmap, 0, kPage, 3, (1ull << 32) | MAP_SHARED | MAP_FIXED, 3));
  constexpr uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                               CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  EXPECT_TRUE(call(SYS_clone, SIGCHLD));
  EXPECT_TRUE(call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD));
  EXPECT_TRUE(call(SYS_clone, kThread & ~uint64_t{CLONE_THREAD}));
  EXPECT_TRUE(call(SYS_clone, kThread | CLONE_NEWUSER));
  EXPECT_TRUE(call(SYS_clone, kThread | CLONE_UNTRACED));
  for (uint64_t op : {2, 3, 4, 5, 6, 9, 10, 11, 12, 130, 132, 133, 134, 138, 256})
    EXPECT_TRUE(call(SYS_futex, kData, op)) << op;
  for (uint64_t advice : {0, 4, 8, 9, 10, 12, 15, 21, 100})
    EXPECT_TRUE(call(SYS_madvise, kData, kPage, advice)) << advice;
  // A fork takes words that the guest doesn't know.
  EXPECT_TRUE(call(SYS_clone, stub::kForkFlags));
  EXPECT_TRUE(call(SYS_clone, stub::kForkFlags, 0, 0, 0, ~0ull, ~0ull));
  EXPECT_TRUE(call(SYS_prctl, PR_SET_PDEATHSIG, 0));
  EXPECT_TRUE(call(SYS_sendto, stub::kSocketFd, kData, 8, MSG_NOSIGNAL));
  for (uint64_t fd : {1, 2, 4, 100}) EXPECT_TRUE(call(SYS_recvmsg, fd)) << fd;
  EXPECT_TRUE(call(SYS_recvmsg, 1ull << 32));
  for (uint64_t code : {0x1003, 0x1004, 0x1011, 0x1012, 0x3001})
    EXPECT_TRUE(call(SYS_arch_prctl, code)) << code;
}

// What a hostile guest does to its stub and slot ends its process at worst.
TEST_P(EngineTest, HostileGuests) {
  auto run = [&](uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2) {
    auto as = SPACE(snippet_stub_call);
    Regs r{};
    r.r15 = stub::kText + stub::kSyscallOffset;
    r.rax = nr;
    r.rdi = a0;
    r.rsi = a1;
    r.rdx = a2;
    auto t = NewThread(*as, nullptr, r);
    Stop s = t->Run();
    for (int i = 0; i < 3 && s.kind != Stop::Kind::kDead; i++) {
      t->regs();
      t->GetFp();
      t->Interrupt();
      as->Map(0x10000000, kPage, data_file_, 0, kProtRead);
      s = t->Run();
    }
  };
  run(SYS_exit, 0, 0, 0);
  run(SYS_exit_group, 0, 0, 0);
  run(SYS_munmap, stub::kSlots, stub::kSlotSize, 0);
  run(SYS_munmap, 0, stub::kTaskEnd, 0);
  run(SYS_mprotect, stub::kSlots, stub::kSlotSize, 1);
  run(SYS_close, 0, 0, 0);
  run(SYS_rt_sigreturn, 0, 0, 0);
  run(SYS_sigaltstack, 0, kData, 0);
  // Writes over its whole slot, again and again.
  {
    auto as = SPACE(snippet_scribble);
    Regs r{};
    r.rdi = stub::kSlots;
    auto t = NewThread(*as, nullptr, r);
    std::thread other([&, raw = t.get()] {
      for (int i = 0; i < 20; i++) {
        raw->Interrupt();
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      as->Kill();
    });
    for (;;) {
      Stop s = t->Run();
      if (s.kind == Stop::Kind::kDead) break;
      t->regs();
      t->GetFp();
    }
    other.join();
  }
}

TEST_P(EngineTest, SpeedOfASystemCall) {
  auto as = SPACE(snippet_loop);
  auto t = NewThread(*as);
  constexpr int kCalls = 20000;
  int64_t start = host::ClockNow(CLOCK_MONOTONIC);
  for (int i = 0; i < kCalls; i++) {
    ASSERT_EQ(t->Run().kind, Stop::Kind::kSyscall);
    t->SetReturn(0);
  }
  int64_t ns = (host::ClockNow(CLOCK_MONOTONIC) - start) / kCalls;
  RecordProperty("ns_per_call", static_cast<int>(ns));
  printf("%s: %d ns per call\n", platform_->name(), static_cast<int>(ns));
}

FOR_ALL_ENGINES(EngineTest);

}  // namespace
}  // namespace platform
