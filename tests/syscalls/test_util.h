// Helpers shared by the behaviour tests of the system call interface. The tests know nothing of the
// kernel below them: what they state is what Linux does.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace systest {

// Records the kernel's names of the calls that a case covers; feeds the compatibility matrix.
void RecordCalls(std::initializer_list<const char*> calls);
#define COVERS(...) ::systest::RecordCalls({__VA_ARGS__})

// "EBADF (9)"; "no error" for 0.
std::string ErrnoText(int error);

struct Outcome {
  long long value;
  int error;  // errno right after the call
};

template <class R>
long long ToValue(R r) {
  if constexpr (std::is_pointer_v<R>) {
    return static_cast<long long>(reinterpret_cast<intptr_t>(r));
  } else {
    return static_cast<long long>(r);
  }
}

template <class F>
Outcome Run(F f) {
  errno = 0;
  auto r = f();
  int e = errno;
  return {ToValue(r), e};
}

::testing::AssertionResult CheckOk(const char* text, const Outcome& o);
::testing::AssertionResult CheckError(const char* text, const Outcome& o, int want);
::testing::AssertionResult CheckValue(const char* text, const Outcome& o, long long want);

// A call that reports failure by -1 and errno: it succeeds / returns exactly WANT / fails so.
#define SYSTEST_RUN(expr) ::systest::Run([&] { return (expr); })
#define SYSTEST_OK(expr, fail) GTEST_ASSERT_(::systest::CheckOk(#expr, SYSTEST_RUN(expr)), fail)
#define SYSTEST_ERR(expr, want, fail) \
  GTEST_ASSERT_(::systest::CheckError(#expr, SYSTEST_RUN(expr), (want)), fail)
#define SYSTEST_RET(expr, want, fail) \
  GTEST_ASSERT_(::systest::CheckValue(#expr, SYSTEST_RUN(expr), ::systest::ToValue(want)), fail)
#define EXPECT_OK(expr) SYSTEST_OK(expr, GTEST_NONFATAL_FAILURE_)
#define ASSERT_OK(expr) SYSTEST_OK(expr, GTEST_FATAL_FAILURE_)
#define EXPECT_ERR(expr, want) SYSTEST_ERR(expr, want, GTEST_NONFATAL_FAILURE_)
#define ASSERT_ERR(expr, want) SYSTEST_ERR(expr, want, GTEST_FATAL_FAILURE_)
#define EXPECT_RET(expr, want) SYSTEST_RET(expr, want, GTEST_NONFATAL_FAILURE_)
#define ASSERT_RET(expr, want) SYSTEST_RET(expr, want, GTEST_FATAL_FAILURE_)

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(o.release()) {}
  Fd& operator=(Fd&& o) noexcept {
    reset(o.release());
    return *this;
  }
  ~Fd() { reset(); }
  operator int() const { return fd_; }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

// A fresh directory (mode 0755) under $TEST_TMPDIR or /tmp; removed with all that is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

bool WriteFile(const std::string& path, const std::string& content, mode_t mode = 0644);
std::string ReadFile(const std::string& path);  // "" when it can't be read
std::string ReadAllFd(int fd);                  // until end of file or error

// Runs F in a child. "" when the child got to its end, else what went wrong: the text of the CHILD_
// check that failed, an exit status, a signal. The child must never use gtest's assertions.
std::string InChild(const std::function<void()>& f);
::testing::AssertionResult CheckChild(const std::string& problem);
#define EXPECT_CHILD(...) \
  GTEST_ASSERT_(::systest::CheckChild(::systest::InChild(__VA_ARGS__)), GTEST_NONFATAL_FAILURE_)

// Forks; the child runs F and exits with its result. Returns the child's pid.
pid_t Spawn(const std::function<int()>& f);
// Waits for the child and returns its wait status, -1 on an error.
int WaitFor(pid_t pid);
#define EXPECT_EXIT_STATUS(status, code)                                        \
  do {                                                                          \
    int systest_status = (status);                                              \
    EXPECT_TRUE(WIFEXITED(systest_status)) << std::hex << systest_status;       \
    EXPECT_EQ(WEXITSTATUS(systest_status), code) << std::hex << systest_status; \
  } while (0)
#define EXPECT_KILLED_BY(status, sig)                                       \
  do {                                                                      \
    int systest_status = (status);                                          \
    EXPECT_TRUE(WIFSIGNALED(systest_status)) << std::hex << systest_status; \
    EXPECT_EQ(WTERMSIG(systest_status), sig) << std::hex << systest_status; \
  } while (0)

// Reports a failed check from a child (also from a grand-child) and ends the calling process.
[[noreturn]] void ChildFail(const char* file, int line, const std::string& what);
void ChildOk(const char* file, int line, const char* text, const Outcome& o);
void ChildErr(const char* file, int line, const char* text, const Outcome& o, int want);
void ChildRet(const char* file, int line, const char* text, const Outcome& o, long long want);
#define CHILD_CHECK(cond) \
  ((cond) ? (void)0 : ::systest::ChildFail(__FILE__, __LINE__, "not true: " #cond))
#define CHILD_EQ(a, b)                                                              \
  do {                                                                              \
    long long systest_a = ::systest::ToValue(a), systest_b = ::systest::ToValue(b); \
    if (systest_a != systest_b)                                                     \
      ::systest::ChildFail(__FILE__, __LINE__,                                      \
                           std::string(#a " is ") + std::to_string(systest_a) +     \
                               ", want " #b " = " + std::to_string(systest_b));     \
  } while (0)
#define CHILD_OK(expr) ::systest::ChildOk(__FILE__, __LINE__, #expr, SYSTEST_RUN(expr))
#define CHILD_ERR(expr, want) \
  ::systest::ChildErr(__FILE__, __LINE__, #expr, SYSTEST_RUN(expr), (want))
#define CHILD_RET(expr, want) \
  ::systest::ChildRet(__FILE__, __LINE__, #expr, SYSTEST_RUN(expr), (long long)(want))

// In a child only: becomes user and group 65534 without groups or capabilities.
void BecomeNobody();

// Polls until PRED holds, at most 10 seconds; returns whether it did.
bool WaitUntil(const std::function<bool()>& pred);
void SleepMs(int ms);
int64_t NowNs(clockid_t clock = CLOCK_MONOTONIC);
long PageSize();

#define SKIP_UNLESS_ROOT() \
  if (geteuid() != 0) GTEST_SKIP() << "needs root"

}  // namespace systest

using systest::Fd;
using systest::InChild;
using systest::NowNs;
using systest::PageSize;
using systest::ReadAllFd;
using systest::ReadFile;
using systest::SleepMs;
using systest::Spawn;
using systest::TempDir;
using systest::WaitFor;
using systest::WaitUntil;
using systest::WriteFile;
