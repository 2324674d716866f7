// main of every behaviour test. With MOAT_TEST_REPORT=1 each case is reported on standard output by
// one line at its start and one JSON line at its end, so that a run that hangs or dies midway still
// tells which case did it:
//   @@start Suite.Case
//   @@end {"name":"Suite.Case","calls":["openat"],"outcome":"pass","message":""}
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace {

std::string Quote(const std::string& s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || c >= 0x7f) {
      char buf[8];
      snprintf(buf, sizeof buf, "\\u%04x", c);
      out += buf;
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + "\"";
}

void Say(const std::string& line) {
  std::string s = line + "\n";
  size_t done = 0;
  while (done < s.size()) {
    ssize_t n = write(1, s.data() + done, s.size() - done);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
}

class Reporter : public ::testing::EmptyTestEventListener {
  static std::string Name(const ::testing::TestInfo& t) {
    return std::string(t.test_suite_name()) + "." + t.name();
  }

  void OnTestStart(const ::testing::TestInfo& t) override {
    pid_ = getpid();
    Say("@@start " + Name(t));
  }

  void OnTestEnd(const ::testing::TestInfo& t) override {
    if (getpid() != pid_) _exit(98);  // a child that ran out of its test's body
    const ::testing::TestResult& r = *t.result();
    std::string calls, message;
    for (int i = 0; i < r.test_property_count(); i++) {
      if (std::string(r.GetTestProperty(i).key()) != "calls") continue;
      std::string value = r.GetTestProperty(i).value();
      size_t at = 0;
      while (at <= value.size()) {
        size_t comma = value.find(',', at);
        if (comma == std::string::npos) comma = value.size();
        if (!calls.empty()) calls += ",";
        calls += Quote(value.substr(at, comma - at));
        at = comma + 1;
      }
    }
    for (int i = 0; i < r.total_part_count(); i++) {
      const ::testing::TestPartResult& p = r.GetTestPartResult(i);
      if (p.passed()) continue;
      std::string file = p.file_name() ? p.file_name() : "";
      size_t slash = file.rfind('/');
      if (slash != std::string::npos) file = file.substr(slash + 1);
      message += file + ":" + std::to_string(p.line_number()) + ": " + p.message() + "\n";
      if (message.size() > 4000) break;
    }
    const char* outcome = r.Skipped() ? "skip" : r.Passed() ? "pass" : "fail";
    Say("@@end {\"name\":" + Quote(Name(t)) + ",\"calls\":[" + calls + "],\"outcome\":\"" +
        outcome + "\",\"message\":" + Quote(message) + "}");
  }

  pid_t pid_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  // Whoever started us may have left anything behind: start from a known state.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int sig : {SIGPIPE, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTTIN, SIGTTOU, SIGTSTP}) {
    signal(sig, SIG_DFL);
  }
  umask(022);
  ::testing::InitGoogleTest(&argc, argv);
  const char* report = getenv("MOAT_TEST_REPORT");
  if (report && *report == '1' && !GTEST_FLAG_GET(list_tests)) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Reporter);
  }
  return RUN_ALL_TESTS();
}
