// moat do: a command in a fresh sandbox, by default over the host's own root with writes kept in
// memory.
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "runsc-cli/boot/engines.h"
#include "runsc-cli/boot/launch.h"
#include "runsc-cli/boot/relay.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/cmd/flags.h"
#include "runsc-cli/network/plan.h"
#include "runsc-cli/oci/passwd.h"
#include "runsc-cli/oci/report.h"
#include "syscalls/abi/mount.h"

extern char** environ;

namespace runsc {
namespace {

base::Status AddVolume(const std::string& text, Spec* spec) {
  std::string host = text, guest, options;
  size_t colon = text.find(':');
  if (colon == std::string::npos) {
    return base::Status::Error("--volume is HOST:GUEST[:ro], not \"" + text + "\"");
  }
  host = text.substr(0, colon);
  guest = text.substr(colon + 1);
  if (size_t second = guest.find(':'); second != std::string::npos) {
    options = guest.substr(second + 1);
    guest = guest.substr(0, second);
  }
  if (guest.empty() || guest[0] != '/')
    return base::Status::Error("--volume " + text + ": the guest path must be absolute");
  if (!options.empty() && options != "ro" && options != "rw") {
    return base::Status::Error("--volume " + text + ": the option is ro or rw, not \"" + options +
                               "\"");
  }
  char full[PATH_MAX];
  if (realpath(host.c_str(), full) == nullptr)
    return base::Status::Errno("--volume " + host, errno);
  const uint32_t mount_flags = options == "ro" ? abi::kMS_RDONLY : 0;
  spec->mounts.push_back({"bind", full, guest, mount_flags, "", true});
  return {};
}

// policies: the directory for `moat network DIR --set`; empty: none.
int RunForeground(const Spec& spec, const Settings& settings, const std::string& policies) {
  Relay relay;
  Sandbox sandbox;
  LaunchOptions options;
  PolicySocket socket;
  base::Status st = relay.HoldSignals();
  if (st.ok() && !policies.empty()) st = socket.Listen(policies, &options.policies);
  options.streams = relay.CallerStreams(spec.process.terminal);
  if (st.ok()) st = Launch(spec, settings, std::move(options), &sandbox);
  if (!st.ok()) return Fail(st.text(), kExitFailure);
  int status = -1;
  relay.Run(sandbox.control.get(), &status);
  return status >= 0 ? status : Fail(sandbox.LastWords(), kExitFailure);
}

}  // namespace

int CmdDo(const Settings& global, const Words& words) {
  Settings settings = global;
  Spec spec;
  std::string root = "/", cwd, user, policies;
  std::vector<std::string> env, volumes;
  FlagSet flags;
  flags.String("root", &root, "DIR",
               "the root file system (default: the host's, writes kept in memory)");
  flags.String("cwd", &cwd, "DIR", "working directory (default: the present one)");
  flags.List("env", &env, "NAME[=VALUE]", "set a variable, or take it from here; may be repeated");
  flags.Alias("e", "env");
  flags.List("volume", &volumes, "HOST:GUEST[:ro]",
             "show a host directory or file in the sandbox, writes going through");
  flags.Alias("v", "volume");
  flags.String("user", &user, "USER[:GROUP]", "run as that user (default: the calling one)");
  flags.Alias("u", "user");
  AddNetworkFlags(&flags, &settings.network);
  flags.String("policy-socket", &policies, "DIR",
               "a directory of yours where `moat network DIR/ --set FILE` finds this sandbox");
  flags.List("publish", &settings.network.publish, "[ADDR:]HOST:GUEST[/udp]",
             "let the host's port lead to the sandbox's");
  flags.Alias("p", "publish");
  flags.String("overlay", &settings.overlay, "memory|none", "where writes to the root go");
  flags.String("platform", &settings.platform, kEngineNames, "the engine");
  flags.Bool("no-patch", &settings.no_patch,
             "leave the program's system call instructions as they are");
  flags.Bool("strace", &settings.strace, "print every system call");
  flags.String("debug-log", &settings.debug_log, "FILE", "where --strace writes");
  flags.Bool("gaps", &settings.gaps, "at the end, print the unimplemented calls that were hit");
  size_t i = 0;
  base::Status st = flags.Parse(words, &i);
  if (!st.ok()) return Fail(st.text(), kExitFailure);
  if (flags.help_wanted()) {
    printf("usage: moat do [FLAGS] [--] CMD [ARG...]\n\n%s", flags.Help().c_str());
    return 0;
  }
  if (i == words.size()) return Fail("no command given: moat do -- CMD [ARG...]", kExitFailure);
  if (!settings.overlay.empty() && settings.overlay != "memory" && settings.overlay != "none") {
    return Fail("--overlay is memory or none, not \"" + settings.overlay + "\"", kExitFailure);
  }
  if (base::Status known = CheckEngineName(settings.platform); !known.ok())
    return Fail(known.text(), kExitFailure);
  spec.process.args.assign(words.begin() + i, words.end());
  char full[PATH_MAX];
  if (realpath(root.c_str(), full) == nullptr)
    return Fail("--root " + root + ": no such directory", kExitFailure);
  struct stat root_stat;
  if (stat(full, &root_stat) != 0 || !S_ISDIR(root_stat.st_mode)) {
    return Fail("--root " + root + " is not a directory", kExitFailure);
  }
  spec.root_path = full;
  const bool host_root = spec.root_path == "/";

  if (!cwd.empty()) {
    spec.process.cwd = cwd;
  } else if (host_root && getcwd(full, sizeof full) != nullptr) {
    spec.process.cwd = full;
  }
  if (spec.process.cwd[0] != '/')
    return Fail("--cwd must be absolute, not \"" + spec.process.cwd + "\"", kExitFailure);
  for (char** e = environ; *e != nullptr; e++) {
    // Another root has its own idea of where programs and homes are.
    std::string var = *e;
    if (host_root || var.compare(0, 5, "TERM=") == 0) spec.process.env.push_back(var);
  }
  if (!host_root) {
    spec.process.env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  }
  for (const std::string& e : env) {
    std::string name = e.substr(0, e.find('='));
    std::erase_if(spec.process.env, [&](const std::string& v) {
      return v.compare(0, name.size() + 1, name + "=") == 0;
    });
    if (name.size() != e.size()) {
      spec.process.env.push_back(e);
    } else if (const char* v = getenv(name.c_str())) {
      spec.process.env.push_back(name + "=" + v);
    }
  }
  for (const std::string& v : volumes) {
    if (st = AddVolume(v, &spec); !st.ok()) return Fail(st.text(), kExitFailure);
  }

  spec.process.uid = geteuid();
  spec.process.gid = getegid();
  if (!host_root) spec.process.uid = spec.process.gid = 0;
  if (host_root) {
    int n = getgroups(0, nullptr);
    std::vector<gid_t> groups(n > 0 ? n : 0);
    n = getgroups(static_cast<int>(groups.size()), groups.data());
    if (n > 0) spec.process.groups.assign(groups.begin(), groups.begin() + n);
  }
  std::string home;
  if (!user.empty()) {
    if (st = ResolveUser(spec.root_path, user, &spec.process, &home); !st.ok())
      return Fail(st.text(), kExitFailure);
    std::erase_if(spec.process.env,
                  [](const std::string& v) { return v.compare(0, 5, "HOME=") == 0; });
    spec.process.env.push_back("HOME=" + home);
  } else if (!host_root) {
    spec.process.env.push_back("HOME=/root");
  }
  spec.process.killable = true;
  spec.network_client = true;
  spec.process.caps_bounding = kAllCaps;
  if (spec.process.uid == 0) spec.process.caps_effective = spec.process.caps_permitted = kAllCaps;
  mode_t mask = umask(022);
  umask(mask);
  spec.process.umask = mask;
  spec.process.terminal = true;
  if (host_root && gethostname(full, sizeof full) == 0) spec.hostname = full;

  // What every program expects; the gofer's own /proc, /sys and /dev are never shown.
  std::vector<MountSpec> base = {
      {"proc", "proc", "/proc", abi::kMS_NOSUID | abi::kMS_NODEV | abi::kMS_NOEXEC, ""},
      {"devtmpfs", "dev", "/dev", abi::kMS_NOSUID, ""},
      {"devpts", "devpts", "/dev/pts", abi::kMS_NOSUID | abi::kMS_NOEXEC, ""},
      {"tmpfs", "shm", "/dev/shm", abi::kMS_NOSUID | abi::kMS_NODEV, "mode=1777"},
      {"mqueue", "mqueue", "/dev/mqueue", abi::kMS_NOSUID | abi::kMS_NODEV | abi::kMS_NOEXEC, ""},
      {"sysfs", "sysfs", "/sys",
       abi::kMS_NOSUID | abi::kMS_NODEV | abi::kMS_NOEXEC | abi::kMS_RDONLY, ""},
  };
  spec.mounts.insert(spec.mounts.begin(), base.begin(), base.end());
  return RunForeground(spec, settings, policies);
}

}  // namespace runsc
