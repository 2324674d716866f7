// moat: global flags, then a subcommand.
#include <cstdio>
#include <cstring>

#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/cmd/flags.h"

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
    {"run", "run [--bundle DIR] ID", "run an OCI bundle in the foreground", CmdRun},
    {"debug", "debug --gaps|--host-calls", "what the kernel lacks and what it asks of the host",
     CmdDebug},
};

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
  flags.Bool("no-patch", &s.no_patch, "leave the programs' system call instructions as they are");
  flags.String("platform", &s.platform, "systrap|ptrace",
               "the engine that intercepts system calls (default systrap)");
  flags.String("overlay", &s.overlay, "memory|none",
               "where writes to the root go: memory (default), or the root itself");
  flags.Bool("strace", &s.strace, "print every system call with its arguments");
  flags.Bool("debug", &s.debug, "log what the sandbox does");
  flags.String("debug-log", &s.debug_log, "FILE",
               "where --strace and --debug write (default: standard error)");
  flags.String("root", &s.root, "DIR", "state directory");
  flags.String("log", &s.log, "FILE", "also write errors there");
  flags.String("log-format", &s.log_format, "text|json", "format of --log");
  flags.Bool("gaps", &s.gaps,
             "at the end, print the unimplemented calls and options that were hit");
  flags.Bool("version", &version, "print the version");
  flags.Ignored("systemd-cgroup", false);
  flags.Ignored("rootless", true);
  flags.Ignored("network", true);
  flags.Ignored("ignore-cgroups", false);
  size_t i = 0;
  base::Status st = flags.Parse(words, &i);
  if (!st.ok()) return Fail(st.text(), kExitFailure);
  if (version || (i < words.size() && words[i] == "version")) {
    printf("moat version %s\nspec: 1.2.0\n", MOAT_VERSION);
    return 0;
  }
  if (flags.help_wanted() || (i < words.size() && words[i] == "help")) {
    Help(flags);
    return 0;
  }
  if (s.platform != "systrap" && s.platform != "ptrace") {
    return Fail("unknown platform \"" + s.platform + "\": systrap and ptrace exist", kExitFailure);
  }
  if (s.overlay != "memory" && s.overlay != "none") {
    return Fail("--overlay is memory or none, not \"" + s.overlay + "\"", kExitFailure);
  }
  if (i == words.size()) {
    Help(flags);
    return kExitFailure;
  }
  for (const Command& c : kCommands) {
    if (words[i] == c.name) return c.run(s, Words(words.begin() + i + 1, words.end()));
  }
  return Fail("unknown command \"" + words[i] + "\"; moat --help lists them", kExitFailure);
}

}  // namespace

}  // namespace runsc

int main(int argc, char** argv) { return runsc::Main(argc, argv); }
