// moat network: egress policies, tried out and changed.
#include <cstdio>

#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/cmd/flags.h"
#include "runsc-cli/network/plan.h"
#include "runsc-cli/network/policy_file.h"
#include "runsc-cli/oci/record.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

int Check(const std::string& file, const std::string& to) {
  netgofer::Policy policy;
  if (base::Status s = ReadPolicy(file, &policy); !s.ok()) return Fail(s.text(), kExitOciFailure);
  if (to.empty()) {
    printf("%s: %zu rules; what no rule matches is %s\n", file.c_str(), policy.rules.size(),
           policy.allow_by_default ? "allowed" : "denied");
    return 0;
  }
  std::string answer;
  if (base::Status s = ExplainPolicy(policy, to, &answer); !s.ok())
    return Fail(s.text(), kExitOciFailure);
  printf("%s", answer.c_str());
  return 0;
}

int Set(const Settings& settings, const std::string& id, const std::string& file, bool cut) {
  netgofer::Policy policy;
  uint32_t count = 0;
  base::Status s = ReadPolicy(file, &policy);
  // No id has a slash in it.
  std::string directory = id;
  if (s.ok() && id.find('/') == std::string::npos) {
    Record record;
    s = Record::Load(settings, id, false, &record);
    directory = record.directory;
  }
  if (s.ok()) s = SendPolicy(directory, policy, cut, &count);
  if (!s.ok()) return Fail(s.text(), kExitOciFailure);
  if (count != 0) printf("%u connections cut\n", count);
  return 0;
}

}  // namespace

void AddNetworkFlags(FlagSet* flags, NetworkSettings* s) {
  flags->String("network", &s->mode, "none|sandbox|host",
                "loopback only; the container's namespace, for `do` the host's as a client "
                "(default); the host's");
  flags->Bool("net-raw", &s->raw,
              "let guests with CAP_NET_RAW have raw and packet sockets (ICMP, AF_PACKET)");
  flags->String("egress", &s->egress, "allow|deny",
                "what the sandbox may reach outside if no rule says otherwise");
  flags->String("egress-policy", &s->egress_policy, "FILE",
                "rules for what the sandbox may reach (moat network --check FILE)");
  flags->String("egress-log", &s->egress_log, "FILE", "where decisions are logged, as JSON lines");
}

int CmdNetwork(const Settings& settings, const Words& words) {
  std::string check, to, set;
  bool cut = false;
  FlagSet flags;
  flags.String("check", &check, "FILE", "read a policy and say what is wrong with it");
  flags.String("to", &to, "HOST:PORT", "with --check: what the policy says to that destination");
  flags.String(
      "set", &set, "FILE",
      "give the running sandbox this policy: a container ID, or the directory (with a slash) "
      "of do --policy-socket");
  flags.Bool("cut", &cut, "with --set: end the connections that the new policy forbids");
  // The id may stand before its flags.
  Words rest = words;
  std::string id;
  if (!rest.empty() && rest[0][0] != '-') {
    id = rest[0];
    rest.erase(rest.begin());
  }
  size_t i = 0;
  base::Status st = flags.Parse(rest, &i);
  if (!st.ok()) return Fail(st.text(), kExitOciFailure);
  if (id.empty() && i < rest.size()) id = rest[i++];
  if (flags.help_wanted()) {
    printf(
        "usage: moat network ID|DIR/ --set FILE [--cut]\n       moat network --check FILE [--to "
        "HOST:PORT[/udp]]\n\n%s",
        flags.Help().c_str());
    return 0;
  }
  if (i == rest.size() && !check.empty() && set.empty() && id.empty()) return Check(check, to);
  if (i == rest.size() && check.empty() && !set.empty() && !id.empty()) {
    return Set(settings, id, set, cut);
  }
  return Fail("moat network wants ID --set FILE, or --check FILE; see --help", kExitOciFailure);
}

}  // namespace runsc
