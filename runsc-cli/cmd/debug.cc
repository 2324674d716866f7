// moat debug: what the kernel lacks and what it asks of the host.
#include <cstdio>

#include "platform/host/filter.h"
#include "runsc-cli/boot/engines.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/cmd/flags.h"
#include "runsc-cli/oci/report.h"

namespace runsc {

int CmdDebug(const Settings& global, const Words& words) {
  bool gaps = false, stats = false, host_calls = false, platforms = false;
  FlagSet flags;
  flags.Bool("gaps", &gaps,
             "run CMD as `moat do` and print the unimplemented calls and options that it hit");
  flags.Bool("stats", &stats,
             "run CMD as `moat do` and print what it cost, where the engine counts");
  flags.Bool("host-calls", &host_calls,
             "print every host call that the sentry and the gofer may make, and why");
  flags.Bool("platforms", &platforms,
             "print which engines this host can run, and what keeps it from the others");
  size_t i = 0;
  base::Status st = flags.Parse(words, &i);
  if (!st.ok()) return Fail(st.text(), kExitFailure);
  if (flags.help_wanted() || gaps + stats + host_calls + platforms != 1) {
    printf(
        "usage: moat debug --host-calls\n       moat debug --platforms\n       moat debug "
        "--gaps|--stats "
        "-- CMD [ARG...]\n\n%s",
        flags.Help().c_str());
    return flags.help_wanted() ? 0 : kExitFailure;
  }
  if (host_calls) {
    printf("%s", host::DescribeHostCalls().c_str());
    return 0;
  }
  if (platforms) {
    printf("%s", DescribeEngines().c_str());
    return 0;
  }
  Settings settings = global;
  settings.gaps = gaps;
  settings.stats = stats;
  return CmdDo(settings, Words(words.begin() + static_cast<long>(i), words.end()));
}

}  // namespace runsc
