// moat run: an OCI bundle in the foreground.
#include <cstdio>

#include "runsc-cli/boot/launch.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/cmd/flags.h"
#include "runsc-cli/oci/config.h"

namespace runsc {

int CmdRun(const Settings& settings, const Words& words) {
  constexpr int kFailure = 1;  // runc's
  constexpr size_t kMaxId = 1024;
  std::string bundle = ".", pid_file;
  FlagSet flags;
  flags.String("bundle", &bundle, "DIR", "the bundle's directory (default: the present one)");
  flags.Alias("b", "bundle");
  flags.Ignored("no-pivot", false);
  flags.Ignored("no-new-keyring", false);
  flags.Ignored("no-subreaper", false);
  size_t i = 0;
  base::Status st = flags.Parse(words, &i);
  if (!st.ok()) return Fail(st.text(), kFailure);
  if (flags.help_wanted()) {
    printf("usage: moat run [FLAGS] ID\n\n%s", flags.Help().c_str());
    return 0;
  }
  if (words.size() - i != 1) {
    return Fail(i == words.size()
                    ? "no container id given: moat run [--bundle DIR] ID"
                    : "one container id is wanted, \"" + words[i + 1] + "\" is one word too many",
                kFailure);
  }
  Spec spec;
  spec.id = words[i];
  if (spec.id.empty() || spec.id == "." || spec.id == ".." || spec.id.size() > kMaxId ||
      spec.id.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") !=
          std::string::npos) {
    return Fail("container id \"" + spec.id +
                    "\" may hold letters, digits, and _+-. only, at most 1024 of them",
                kFailure);
  }
  std::vector<std::string> warnings;
  st = ReadBundle(bundle, &spec, &warnings);
  for (const std::string& w : warnings) fprintf(stderr, "moat: warning: %s\n", w.c_str());
  if (!st.ok()) return Fail(st.text(), kFailure);
  return RunSandbox(spec, settings, kFailure);
}

}  // namespace runsc
