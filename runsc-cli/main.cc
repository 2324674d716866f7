// moat: global flags, then a subcommand.
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runsc-cli/boot/engines.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/cmd/flags.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/report.h"

#ifndef MOAT_VERSION
#define MOAT_VERSION "0.1"
#endif

namespace runsc {
namespace {

struct Command {
  const char* name;
  const char* usage;
  const char* help;
  int (*run)(const Settings&, const Words&);
};

constexpr Command kCommands[] = {
    {"do", "do [FLAGS] [--] CMD [ARG...]",
     "run a command in a fresh sandbox over a root file system", CmdDo},
    {"run", "run [FLAGS] ID", "create and start a container from an OCI bundle", CmdRun},
    {"create", "create [FLAGS] ID", "make a container, ready to start", CmdCreate},
    {"start", "start ID", "start a created container", CmdStart},
    {"state", "state ID", "print a container's state", CmdState},
    {"exec", "exec [FLAGS] ID CMD [ARG...]", "run another process in a container", CmdExec},
    {"kill", "kill [--all] ID [SIGNAL]", "send a signal to a container's process", CmdKill},
    {"delete", "delete [--force] ID", "remove a container", CmdDelete},
    {"list", "list [FLAGS]", "print all containers", CmdList},
    {"ps", "ps [--format json] ID", "print a container's processes", CmdPs},
    {"pause", "pause ID", "halt all processes of a container", CmdPause},
    {"resume", "resume ID", "let a paused container run on", CmdResume},
    {"update", "update [FLAGS] ID", "change a container's limits", CmdUpdate},
    {"events", "events [--stats] ID", "print what a container uses", CmdEvents},
    {"wait", "wait ID", "wait for a container's end, print its exit status", CmdWait},
    {"spec", "spec [--bundle DIR]", "write a config.json to start from", CmdSpec},
    {"features", "features", "print what of the OCI specification is supported", CmdFeatures},
    {"network", "network ID --set FILE", "change or try out an egress policy", CmdNetwork},
    {"install", "install [FLAGS]", "make Docker and containerd know this runtime", CmdInstall},
    {"uninstall", "uninstall [FLAGS]", "undo that", CmdUninstall},
    {"debug", "debug --gaps|--stats|--host-calls",
     "what the kernel lacks and what it asks of the host", CmdDebug},
};

// Root of a user namespace is somebody else outside.
bool IsRoot() {
  if (geteuid() != 0) return false;
  unsigned inside = 0, outside = 0, count = 0;
  if (sscanf(ReadLine("/proc/self/uid_map").c_str(), "%u %u %u", &inside, &outside, &count) != 3)
    return true;
  if (inside == 0 && outside == 0 && count == UINT_MAX) return true;
  // As runc: "root" is whoever is root of a whole container.
  const char* user = getenv("USER");
  return user != nullptr && strcmp(user, "root") == 0;
}

// As other runtimes have it: below the run-time directory of whoever calls.
std::string DefaultRoot() {
  const char* dir = IsRoot() ? nullptr : getenv("XDG_RUNTIME_DIR");
  if (dir != nullptr) return std::string(dir) + "/moat";
  return geteuid() == 0 ? "/run/moat" : "/tmp/moat-" + std::to_string(geteuid());
}

void Help(const FlagSet& flags) {
  printf(
      "moat %s: a user-space Linux kernel that runs code nobody trusts\n\nusage: moat [FLAGS] "
      "COMMAND ...\n\ncommands:\n",
      MOAT_VERSION);
  for (const Command& c : kCommands) printf("  %-34s %s\n", c.usage, c.help);
  printf("\nflags (before the command):\n%s\nmoat COMMAND --help tells a command's own flags.\n",
         flags.Help().c_str());
}

int Main(int argc, char** argv) {
  Words words(argv + 1, argv + argc);
  Settings s;
  FlagSet flags;
  bool version = false;
  std::string log, log_format = "text";
  flags.Bool("no-patch", &s.no_patch, "leave the programs' system call instructions as they are");
  flags.String("platform", &s.platform, kEngineNames,
               "the engine that intercepts system calls (default systrap)");
  flags.String("overlay", &s.overlay, "memory|none",
               "where writes to the root go: memory, or the root itself (default of create)");
  flags.Bool("strace", &s.strace, "print every system call with its arguments");
  flags.Bool("debug", &s.debug, "log what the sandbox does");
  flags.String("debug-log", &s.debug_log, "FILE",
               "where --strace and --debug write (default: standard error)");
  flags.String("root", &s.root, "DIR", "state directory");
  flags.String("log", &log, "FILE", "also write errors there");
  flags.String("log-format", &log_format, "text|json", "format of --log");
  flags.Bool("gaps", &s.gaps,
             "at the end, print the unimplemented calls and options that were hit");
  AddNetworkFlags(&flags, &s.network);
  flags.Bool("version", &version, "print the version");
  flags.Bool("systemd-cgroup", &s.systemd_cgroup, "linux.cgroupsPath is SLICE:PREFIX:NAME");
  flags.Bool("ignore-cgroups", &s.ignore_cgroups, "make no control groups");
  flags.Ignored("rootless", true);
  size_t i = 0;
  base::Status st = flags.Parse(words, &i);
  if (!st.ok()) return Fail(st.text(), kExitFailure);
  if (st = OpenLog(log, log_format); !st.ok()) return Fail(st.text(), kExitFailure);
  if (s.root.empty()) s.root = DefaultRoot();
  while (s.root.size() > 1 && s.root.back() == '/') s.root.pop_back();
  if (version || (i < words.size() && words[i] == "version")) {
    printf("moat version %s\nspec: 1.2.0\n", MOAT_VERSION);
    return 0;
  }
  if (flags.help_wanted() || (i < words.size() && words[i] == "help")) {
    Help(flags);
    return 0;
  }
  if (base::Status known = CheckEngineName(s.platform); !known.ok())
    return Fail(known.text(), kExitFailure);
  if (!s.overlay.empty() && s.overlay != "memory" && s.overlay != "none") {
    return Fail("--overlay is memory or none, not \"" + s.overlay + "\"", kExitFailure);
  }
  if (i == words.size()) {
    Help(flags);
    return kExitFailure;
  }
  for (const Command& c : kCommands) {
    if (words[i] != c.name) continue;
    return c.run(s, Words(words.begin() + static_cast<long>(i) + 1, words.end()));
  }
  return Fail("unknown command \"" + words[i] + "\"; moat --help lists them", kExitFailure);
}

}  // namespace

}  // namespace runsc

int main(int argc, char** argv) { return runsc::Main(argc, argv); }
