// Spec: everything that a sandbox is started from, after command line and config.json were read and
// checked. Host paths in it are used by the set-up code only; the sentry sees descriptors.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace runsc {

struct MountSpec {
  std::string type;         // bind, tmpfs, proc, sysfs, devtmpfs, devpts, mqueue, cgroup
  std::string source;       // bind: a host path
  std::string destination;  // absolute, in the container
  uint32_t flags = 0;       // MS_RDONLY, MS_NOSUID...
  std::string data;         // options that are not flags, comma-separated
};

struct RlimitSpec {
  int resource;
  uint64_t soft, hard;
};

// Process-wide settings of the command, from global flags.
struct Settings {
  std::string platform = "systrap";
  std::string overlay = "memory";  // memory, none
  bool no_patch = false;           // leave system call sites as they are
  bool strace = false;
  bool debug = false;
  std::string debug_log;  // file; strace and debug lines go there instead of standard error
  std::string root;       // state directory
  std::string log;        // runc's --log
  std::string log_format = "text";
  bool gaps = false;  // print the gaps at the end (moat debug --gaps)
};

struct Spec {
  std::string id;
  std::string hostname = "moat";
  std::string root_path = "/";
  bool root_readonly = false;
  std::vector<MountSpec> mounts;
  std::vector<std::string> args, env;
  std::string cwd = "/";
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  uint32_t umask = 022;
  uint64_t caps_bounding = 0, caps_effective = 0, caps_inheritable = 0, caps_permitted = 0,
           caps_ambient = 0;
  std::vector<RlimitSpec> rlimits;
  bool no_new_privs = false;
  bool killable = false;  // the first process has no immunity to signals
  bool terminal = false;  // the caller's terminal becomes the guest's
  int oom_score_adj = 0;
};

constexpr uint64_t kAllCaps = (uint64_t{1} << 41) - 1;

// Exit statuses of the command itself: env(1)'s and chroot(1)'s convention, which container tools
// share.
constexpr int kExitFailure = 125;  // do: Moat itself failed
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

// "moat: TEXT" on standard error; returns status.
int Fail(const std::string& text, int status);

}  // namespace runsc
