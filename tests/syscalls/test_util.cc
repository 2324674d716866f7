#include "tests/syscalls/test_util.h"

#include <ftw.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/prctl.h>

namespace systest {
namespace {

int g_report_fd = -1;  // where ChildFail writes

int RemoveOne(const char* path, const struct stat*, int, struct FTW*) { return remove(path); }

std::string Describe(const Outcome& o) {
  std::string s = "returned " + std::to_string(o.value);
  if (o.value == -1) s += " with " + ErrnoText(o.error);
  return s;
}

}  // namespace

std::string ErrnoText(int error) {
  if (error == 0) return "no error";
  const char* name = strerrorname_np(error);
  return std::string(name ? name : "?") + " (" + std::to_string(error) + ")";
}

void RecordCalls(std::initializer_list<const char*> calls) {
  std::string joined;
  for (const char* c : calls) {
    if (!joined.empty()) joined += ",";
    joined += c;
  }
  ::testing::Test::RecordProperty("calls", joined);
}

::testing::AssertionResult CheckOk(const char* text, const Outcome& o) {
  if (o.value != -1) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << text << "\n  failed with " << ErrnoText(o.error);
}

::testing::AssertionResult CheckError(const char* text, const Outcome& o, int want) {
  if (o.value == -1 && o.error == want) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << text << "\n  " << Describe(o) << "\n  want it to fail with " << ErrnoText(want);
}

::testing::AssertionResult CheckValue(const char* text, const Outcome& o, long long want) {
  if (o.value == want) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << text << "\n  " << Describe(o) << "\n  want " << want;
}

::testing::AssertionResult CheckChild(const std::string& problem) {
  if (problem.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "in the child: " << problem;
}

TempDir::TempDir() {
  const char* base = getenv("TEST_TMPDIR");
  std::string tmpl = std::string(base && *base ? base : "/tmp") + "/systest.XXXXXX";
  if (mkdtemp(tmpl.data()) == nullptr) {
    perror(tmpl.c_str());
    abort();
  }
  path_ = tmpl;
  chmod(path_.c_str(), 0755);
}

TempDir::~TempDir() { nftw(path_.c_str(), RemoveOne, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

bool WriteFile(const std::string& path, const std::string& content, mode_t mode) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return false;
  bool ok = write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  close(fd);
  return ok;
}

std::string ReadAllFd(int fd) {
  std::string s;
  char buf[4096];
  for (;;) {
    ssize_t n = read(fd, buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return s;
    s.append(buf, n);
  }
}

std::string ReadFile(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return "";
  return ReadAllFd(fd);
}

pid_t Spawn(const std::function<int()>& f) {
  fflush(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(f());
  }
  return pid;
}

int WaitFor(pid_t pid) {
  int status = 0;
  for (;;) {
    pid_t r = waitpid(pid, &status, 0);
    if (r == pid) return status;
    if (r < 0 && errno == EINTR) continue;
    return -1;
  }
}

std::string InChild(const std::function<void()>& f) {
  int p[2];
  if (pipe2(p, O_CLOEXEC) != 0) return "pipe2: " + ErrnoText(errno);
  pid_t pid = Spawn([&] {
    // A high number, so that a test that counts on the lowest free one isn't disturbed.
    g_report_fd = fcntl(p[1], F_DUPFD_CLOEXEC, 100);
    close(p[0]);
    close(p[1]);
    f();
    return 0;
  });
  if (pid < 0) return "fork: " + ErrnoText(errno);
  close(p[1]);
  std::string text = ReadAllFd(p[0]);
  close(p[0]);
  int status = WaitFor(pid);
  if (status == -1) return text + "wait: " + ErrnoText(errno);
  if (WIFSIGNALED(status)) {
    text += std::string("child killed by SIG") +
            (sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
  } else if (WEXITSTATUS(status) != 0 && text.empty()) {
    text = "child exited with " + std::to_string(WEXITSTATUS(status));
  }
  return text;
}

void ChildFail(const char* file, int line, const std::string& what) {
  const char* base = strrchr(file, '/');
  std::string s =
      std::string(base ? base + 1 : file) + ":" + std::to_string(line) + ": " + what + "\n";
  int fd = g_report_fd >= 0 ? g_report_fd : 2;
  ssize_t n = write(fd, s.data(), s.size());
  (void)n;
  _exit(99);
}

void ChildOk(const char* file, int line, const char* text, const Outcome& o) {
  if (o.value == -1) ChildFail(file, line, std::string(text) + " " + Describe(o));
}

void ChildErr(const char* file, int line, const char* text, const Outcome& o, int want) {
  if (o.value != -1 || o.error != want) {
    ChildFail(file, line,
              std::string(text) + " " + Describe(o) + ", want failure with " + ErrnoText(want));
  }
}

void ChildRet(const char* file, int line, const char* text, const Outcome& o, long long want) {
  if (o.value != want) {
    ChildFail(file, line, std::string(text) + " " + Describe(o) + ", want " + std::to_string(want));
  }
}

void BecomeNobody() {
  CHILD_OK(setgroups(0, nullptr));
  CHILD_OK(setresgid(65534, 65534, 65534));
  CHILD_OK(setresuid(65534, 65534, 65534));
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

bool WaitUntil(const std::function<bool()>& pred) {
  int64_t end = NowNs() + 10'000'000'000;
  while (!pred()) {
    if (NowNs() > end) return false;
    SleepMs(1);
  }
  return true;
}

void SleepMs(int ms) {
  timespec ts{ms / 1000, (ms % 1000) * 1000000L};
  while (nanosleep(&ts, &ts) != 0 && errno == EINTR) {
  }
}

int64_t NowNs(clockid_t clock) {
  timespec ts{};
  clock_gettime(clock, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

long PageSize() { return sysconf(_SC_PAGESIZE); }

}  // namespace systest
