#include "sentry/kernel/seccomp.h"

#include <gtest/gtest.h>

#include "sentry/kernel/bpf_testing.h"

namespace sentry {
namespace {

using testing::Jump;
using testing::kRet;
using testing::Program;
using testing::Stmt;

constexpr int32_t kLoad = abi::kBPF_LD | abi::kBPF_W | abi::kBPF_ABS;
constexpr int32_t kEq = abi::kBPF_JMP | abi::kBPF_JEQ | abi::kBPF_K;

Program ForCall(uint32_t nr, uint32_t result) {
  return {Stmt(kLoad, 0), Jump(kEq, nr, 0, 1), Stmt(kRet, result),
          Stmt(kRet, abi::kSECCOMP_RET_ALLOW)};
}

TEST(Seccomp, RunsAndRemembers) {
  auto f = SeccompFilter::Create(ForCall(7, abi::kSECCOMP_RET_ERRNO | 5), nullptr);
  ASSERT_TRUE(f.ok());
  abi::SeccompData d{};
  d.nr = 7;
  EXPECT_EQ((*f)->Run(d), abi::kSECCOMP_RET_ERRNO | 5);
  d.nr = 8;
  EXPECT_EQ((*f)->Run(d), abi::kSECCOMP_RET_ALLOW);
  EXPECT_FALSE((*f)->AlwaysAllows(7));
  EXPECT_TRUE((*f)->AlwaysAllows(8));
  EXPECT_FALSE((*f)->AlwaysAllows(0x40000000));

  auto g = SeccompFilter::Create(ForCall(8, abi::kSECCOMP_RET_KILL_PROCESS), *f);
  ASSERT_TRUE(g.ok());
  EXPECT_EQ((*g)->Run(d), abi::kSECCOMP_RET_KILL_PROCESS);
  d.nr = 7;
  EXPECT_EQ((*g)->Run(d), abi::kSECCOMP_RET_ERRNO | 5);
  EXPECT_FALSE((*g)->AlwaysAllows(7));
  EXPECT_FALSE((*g)->AlwaysAllows(8));
  EXPECT_TRUE((*g)->AlwaysAllows(9));
  EXPECT_TRUE((*g)->Extends(f->get()));
  EXPECT_FALSE((*f)->Extends(g->get()));
  EXPECT_EQ((*g)->count(), 2);
}

TEST(Seccomp, ArgumentsAreNotForeseen) {
  Program p = {Stmt(kLoad, 16), Jump(kEq, 1, 0, 1), Stmt(kRet, abi::kSECCOMP_RET_TRAP),
               Stmt(kRet, abi::kSECCOMP_RET_ALLOW)};
  auto f = SeccompFilter::Create(p, nullptr);
  ASSERT_TRUE(f.ok());
  EXPECT_FALSE((*f)->AlwaysAllows(3));
  abi::SeccompData d{};
  EXPECT_EQ((*f)->Run(d), abi::kSECCOMP_RET_ALLOW);
  d.args[0] = 1;
  EXPECT_EQ((*f)->Run(d), abi::kSECCOMP_RET_TRAP);
}

// Whatever passes the check runs to its end and stays within its memory.
TEST(Seccomp, RandomPrograms) {
  uint64_t state = 12345;
  auto next = [&] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33);
  };
  int ok = 0;
  for (int round = 0; round < 200000; round++) {
    Program p(1 + next() % 6);
    for (abi::SockFilter& f : p) {
      f.code = static_cast<uint16_t>(next() % 4 == 0 ? next() : next() % 0xb8);
      f.jt = static_cast<uint8_t>(next() % 4);
      f.jf = static_cast<uint8_t>(next() % 4);
      f.k = next() % 3 == 0 ? next() : next() % 18;
    }
    if (next() % 2 == 0) p.back() = Stmt(kRet, 1);
    if (!SeccompProgramOk(p)) continue;
    ok++;
    abi::SeccompData d{};
    d.nr = static_cast<int32_t>(next());
    bool depends = false;
    RunSeccompProgram(p, d, &depends);
  }
  EXPECT_GT(ok, 100);
}

TEST(Seccomp, LongChains) {
  base::Ref<SeccompFilter> f;
  Program p = {Stmt(kRet, abi::kSECCOMP_RET_ALLOW)};
  int n = 0;
  for (;; n++) {
    auto next = SeccompFilter::Create(p, f);
    if (!next.ok()) {
      EXPECT_TRUE(next.is(abi::Errno::kENOMEM));
      break;
    }
    f = *next;
  }
  EXPECT_EQ(n, 6554);
}

}  // namespace
}  // namespace sentry
