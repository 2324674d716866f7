#include "syscalls/linux/dispatch.h"

#include <gtest/gtest.h>

#include "syscalls/linux/gaps.h"

namespace syscalls {
namespace {

using sentry::SyscallArgs;
using sentry::SyscallResult;
using sentry::Task;
using sentry::UserAddr;

// The thunks pass the task on without looking at it.
alignas(64) char g_no_task[64];
Task& NoTask() { return *reinterpret_cast<Task*>(g_no_task); }

int32_t g_i;
uint32_t g_u;
int64_t g_l;
uint64_t g_p;
SyscallResult Take(Task& t, int32_t i, uint32_t u, int64_t l, UserAddr p) {
  g_i = i;
  g_u = u;
  g_l = l;
  g_p = p.value;
  return 7;
}

TEST(Thunk, DecodesEveryRegisterByType) {
  SyscallArgs a{0, {0xdeadbeefffffff9c, 0xffffffff80000001, ~uint64_t{0}, ~uint64_t{1}, 0, 0}};
  SyscallResult r = Thunk<&Take>(NoTask(), a);
  EXPECT_EQ(g_i, -100);
  EXPECT_EQ(g_u, 0x80000001u);
  EXPECT_EQ(g_l, -1);
  EXPECT_EQ(g_p, ~uint64_t{1});
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.value(), 7u);
}

TEST(Dispatch, TableIsComplete) {
  const sentry::SyscallTable& t = LinuxTable();
  ASSERT_EQ(t.fn.size(), kMaxNr + 1);
  for (sentry::SyscallFn f : t.fn) EXPECT_NE(f, nullptr);
  EXPECT_NE(t.unknown, nullptr);
}

TEST(Dispatch, RefusedRowsAnswerAndCount) {
  ResetGaps();
  const sentry::SyscallTable& t = LinuxTable();
  for (int i = 0; i < 3; ++i) {
    SyscallArgs a{static_cast<uint64_t>(Sys::perf_event_open), {}};
    EXPECT_EQ(t.fn[a.nr](NoTask(), a).code(), 13);
  }
  SyscallArgs hole{400, {}}, beyond{1000000, {}};
  EXPECT_EQ(t.fn[hole.nr](NoTask(), hole).code(), 38);
  EXPECT_EQ(t.unknown(NoTask(), beyond).code(), 38);
  TrackGap(Sys::ioctl, 0x40086602);
  TrackGap(Sys::ioctl, 0x1234);
  const std::string json = GapsAsJson();
  EXPECT_NE(
      json.find("{\"call\":\"perf_event_open\",\"nr\":298,\"value\":0,\"name\":\"\",\"count\":3}"),
      std::string::npos);
  EXPECT_NE(json.find("\"name\":\"FS_IOC_SETFLAGS\""), std::string::npos);
  EXPECT_NE(json.find("\"nr\":1000000"), std::string::npos);
  EXPECT_NE(json.find("\"dropped\":0"), std::string::npos);
}

TEST(Gaps, AreBounded) {
  ResetGaps();
  for (uint64_t v = 0; v < 2000; ++v) TrackGap(Sys::ioctl, v);
  EXPECT_NE(GapsAsJson().find("\"dropped\":1488"), std::string::npos);
  ResetGaps();
}

TEST(Calls, AreCounted) {
  ResetGaps();
  CountCall(0, false);
  CountCall(0, true);
  CountCall(5000, true);
  EXPECT_EQ(CallsAsJson(), "{\"calls\":[{\"call\":\"read\",\"count\":2,\"failed\":1}]}");
  ResetGaps();
}

TEST(Info, KindsFollowTheSignature) {
  const CallInfo& info = InfoOf(*FindRow("openat"));
  EXPECT_EQ(info.argc, 4);
  EXPECT_EQ(info.arg[0].kind, ArgKind::kI32);
  EXPECT_EQ(info.arg[1].kind, ArgKind::kString);
  EXPECT_EQ(info.arg[3].kind, ArgKind::kU32);
  EXPECT_STREQ(info.params, "int32_t dirfd, UserCString path, int32_t flags, uint32_t mode");
}

}  // namespace
}  // namespace syscalls
