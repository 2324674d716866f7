// moat update and moat events: limits, and what was used.
#include <poll.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "runsc-cli/boot/lifecycle.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;

// A number of bytes with runc's units (k, m, g, t), or -1.
Status ParseBytes(const std::string& text, std::optional<int64_t>* out) {
  if (text.empty()) return {};
  char* end;
  long long value = strtoll(text.c_str(), &end, 10);
  std::string unit = end;
  if (!unit.empty() && (unit.back() == 'b' || unit.back() == 'B')) unit.pop_back();
  if (!unit.empty()) {
    static constexpr char kUnits[] = "kmgt";
    const char* found = strchr(kUnits, tolower(unit[0]));
    if (found == nullptr || unit.size() > 1) return Status::Error("invalid size \"" + text + "\"");
    value <<= 10 * (found - kUnits + 1);
  }
  *out = value;
  return {};
}

template <typename T>
Status ParseNumber(const std::string& text, std::optional<T>* out) {
  if (text.empty()) return {};
  char* end;
  const long long value = strtoll(text.c_str(), &end, 10);
  if (*end != '\0') return Status::Error("invalid number \"" + text + "\"");
  *out = static_cast<T>(value);
  return {};
}

int64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

}  // namespace

int CmdUpdate(const Settings& settings, const Words& words) {
  std::string file, memory, swap, reservation, shares, quota, period, burst, idle, rt_period,
      rt_runtime, pids, weight;
  Resources r;
  FlagSet flags;
  flags.String("resources", &file, "FILE", "a LinuxResources object; -: standard input");
  flags.Alias("r", "resources");
  flags.String("memory", &memory, "BYTES", "memory limit");
  flags.String("memory-swap", &swap, "BYTES", "memory and swap together; -1: unlimited");
  flags.String("memory-reservation", &reservation, "BYTES", "soft memory limit");
  flags.String("cpu-share", &shares, "N", "share of the processors against other groups");
  flags.String("cpu-quota", &quota, "US", "processor time in each period");
  flags.String("cpu-period", &period, "US", "the period of --cpu-quota");
  flags.String("cpu-burst", &burst, "US", "unused quota that may be saved up");
  flags.String("cpu-idle", &idle, "N", "1: only what others leave");
  flags.String("cpu-rt-period", &rt_period, "US", "period of --cpu-rt-runtime");
  flags.String("cpu-rt-runtime", &rt_runtime, "US", "real-time processor time in each period");
  flags.String("cpuset-cpus", &r.cpus, "LIST", "the processors");
  flags.String("cpuset-mems", &r.mems, "LIST", "the memory nodes");
  flags.String("pids-limit", &pids, "N", "how many tasks");
  flags.String("blkio-weight", &weight, "N", "share of disks' time");
  for (const char* name :
       {"kernel-memory", "kernel-memory-tcp", "l3-cache-schema", "mem-bw-schema"}) {
    flags.Ignored(name, true);
  }
  std::string id;
  int status = 0;
  if (!ParseContainerCommand(flags, "update [FLAGS] ID", words, &id, nullptr, &status))
    return status;
  Record record;
  Status st = Record::Load(settings, id, true, &record);
  std::string text;
  if (st.ok() && !file.empty()) {
    st = ReadText(file, &text);
    if (st.ok()) st = ParseResources(text, &r);
  } else if (st.ok()) {
    for (Status s :
         {ParseBytes(memory, &r.memory_limit), ParseBytes(swap, &r.memory_swap),
          ParseBytes(reservation, &r.memory_reservation), ParseNumber(shares, &r.cpu_shares),
          ParseNumber(quota, &r.cpu_quota), ParseNumber(period, &r.cpu_period),
          ParseNumber(burst, &r.cpu_burst), ParseNumber(idle, &r.cpu_idle),
          ParseNumber(rt_period, &r.cpu_rt_period), ParseNumber(rt_runtime, &r.cpu_rt_runtime),
          ParseNumber(pids, &r.pids_limit), ParseNumber(weight, &r.io_weight)}) {
      if (st.ok()) st = s;
    }
  }
  if (st.ok()) st = UpdateContainer(record, r);
  return st.ok() ? 0 : Fail(st.text(), kExitOciFailure);
}

int CmdEvents(const Settings& settings, const Words& words) {
  bool once = false;
  std::string interval = "5s";
  FlagSet flags;
  flags.Bool("stats", &once, "print the statistics once");
  flags.String("interval", &interval, "SECONDS", "how often (default 5s)");
  std::string id;
  int status = 0;
  if (!ParseContainerCommand(flags, "events [--stats] ID", words, &id, nullptr, &status))
    return status;
  const int seconds = std::max(atoi(interval.c_str()), 1);
  Record record;
  Status st = Record::Load(settings, id, true, &record);
  if (st.ok() && StatusOf(record) == ContainerStatus::kStopped)
    st = Status::Error("container with id " + id + " is not running");
  Cgroup cgroup;
  if (st.ok()) st = StatsCgroup(record, &cgroup);
  if (!st.ok()) return Fail(st.text(), kExitOciFailure);
  record.Unlock();
  auto print = [&id](const char* type, const std::string& data) {
    printf("{\"type\":\"%s\",\"id\":\"%s\"%s}\n", type, id.c_str(), data.c_str());
    fflush(stdout);
  };
  base::UniqueFd connection;
  if (!once) {
    st = Connect(record, &connection);
    if (!st.ok()) return Fail(st.text(), kExitOciFailure);
    SendControl(connection.get(), Control::kWatch);
  }
  for (;;) {
    print("stats", ",\"data\":" + StatsJson(cgroup));
    if (once) return 0;
    const int64_t next = NowMs() + int64_t{seconds} * 1000;
    for (int64_t left = next - NowMs(); left > 0; left = next - NowMs()) {
      pollfd p = {connection.get(), POLLIN, 0};
      if (poll(&p, 1, static_cast<int>(left)) <= 0) continue;
      ControlMessage m;
      if (!ReceiveControl(connection.get(), &m) || m.kind == Control::kExit) return 0;
      if (m.kind == Control::kOom) print("oom", "");
    }
  }
}

}  // namespace runsc
