#include "runsc-cli/oci/systemd.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "runsc-cli/oci/cgroup.h"
#include "runsc-cli/oci/dbus.h"

namespace runsc {
namespace {

using base::Status;
using base::StatusOr;

constexpr char kService[] = "org.freedesktop.systemd1";
constexpr char kManager[] = "org.freedesktop.systemd1.Manager";
constexpr char kManagerPath[] = "/org/freedesktop/systemd1";
constexpr uint64_t kInfinity = UINT64_MAX;

std::string BusAddress() {
  const bool root = geteuid() == 0;
  const char* given = getenv(root ? "DBUS_SYSTEM_BUS_ADDRESS" : "DBUS_SESSION_BUS_ADDRESS");
  if (given != nullptr && *given != '\0') return given;
  if (root) return "unix:path=/run/dbus/system_bus_socket";
  const char* folder = getenv("XDG_RUNTIME_DIR");
  return std::string("unix:path=") + (folder != nullptr ? folder : "") + "/bus";
}

StatusOr<DBus> ConnectToSystemd() {
  auto bus = DBus::Connect(BusAddress());
  if (!bus.ok()) return bus.status().With("--systemd-cgroup");
  return bus;
}

DBusMessage ManagerCall(const char* member, const char* signature, const DBusWriter& body) {
  return {.path = kManagerPath,
          .interface = kManager,
          .member = member,
          .destination = kService,
          .signature = signature,
          .body = body.bytes()};
}

// The elements of an a(sv).
class Properties {
 public:
  explicit Properties(DBusWriter* w) : w_(*w) {}
  void Text(const char* name, const std::string& v) {
    Begin(name, "s");
    w_.String(v);
  }
  void Flag(const char* name, bool v) {
    Begin(name, "b");
    w_.Bool(v);
  }
  void Number(const char* name, uint64_t v) {
    Begin(name, "t");
    w_.Uint64(v);
  }
  void Pids(std::span<const pid_t> pids) {
    Begin("PIDs", "au");
    w_.Array(4, [&] {
      for (pid_t p : pids) w_.Uint32(static_cast<uint32_t>(p));
    });
  }

 private:
  void Begin(const char* name, const char* type) {
    w_.Align(8);
    w_.String(name);
    w_.Signature(type);
  }
  DBusWriter& w_;
};

uint64_t OrInfinity(int64_t v) { return v < 0 ? kInfinity : static_cast<uint64_t>(v); }

// What systemd would otherwise set back whenever it looks at the unit (runc's
// genV1ResourcesProperties() and genV2ResourcesProperties()).
void WriteLimits(Properties& p, const Resources& r, bool unified) {
  if (r.memory_limit && *r.memory_limit != 0)
    p.Number(unified ? "MemoryMax" : "MemoryLimit", OrInfinity(*r.memory_limit));
  if (unified && r.memory_reservation && *r.memory_reservation != 0)
    p.Number("MemoryLow", OrInfinity(*r.memory_reservation));
  if (unified && r.memory_swap && *r.memory_swap != 0) {
    const int64_t memory = std::max<int64_t>(r.memory_limit.value_or(0), 0);
    p.Number("MemorySwapMax", *r.memory_swap < 0 ? kInfinity : OrInfinity(*r.memory_swap - memory));
  }
  if (r.cpu_shares.value_or(0) != 0) {
    p.Number(unified ? "CPUWeight" : "CPUShares",
             unified ? CpuWeight(*r.cpu_shares) : *r.cpu_shares);
  }
  if (r.cpu_quota.value_or(0) != 0) {
    constexpr uint64_t kSecondUs = 1000000, kStepUs = 10000, kDefaultPeriodUs = 100000;
    uint64_t per_second = kInfinity;
    if (*r.cpu_quota > 0) {
      const uint64_t period = r.cpu_period.value_or(0) != 0 ? *r.cpu_period : kDefaultPeriodUs;
      // systemd rounds down to whole hundredths of a processor.
      per_second = static_cast<uint64_t>(*r.cpu_quota) * kSecondUs / period;
      per_second = (per_second + kStepUs - 1) / kStepUs * kStepUs;
    }
    p.Number("CPUQuotaPerSecUSec", per_second);
  }
  if (r.pids_limit && *r.pids_limit != 0) p.Number("TasksMax", HostTasks(*r.pids_limit));
}

Status AwaitJob(DBus& bus, const std::string& job) {
  for (;;) {
    auto m = bus.NextSignal();
    if (!m.ok()) return m.status();
    if (m->interface != kManager || m->member != "JobRemoved") continue;
    DBusReader r(m->body);
    r.Uint32();
    if (r.String() != job) continue;
    const std::string unit = r.String(), result = r.String();
    if (result == "done") return {};
    return Status::Error("systemd's job for the unit " + unit + " ended as \"" + result + "\"");
  }
}

// A call that starts a job, and its end.
Status RunJob(const DBusMessage& call) {
  auto bus = ConnectToSystemd();
  if (!bus.ok()) return bus.status();
  DBusWriter match;
  match.String(std::string("type='signal',interface='") + kManager + "',member='JobRemoved'");
  auto added = bus->Call({.path = "/org/freedesktop/DBus",
                          .interface = "org.freedesktop.DBus",
                          .member = "AddMatch",
                          .destination = "org.freedesktop.DBus",
                          .signature = "s",
                          .body = match.bytes()});
  if (!added.ok()) return added.status();
  auto subscribed = bus->Call(ManagerCall("Subscribe", "", {}));
  if (!subscribed.ok()) return subscribed.status();
  auto started = bus->Call(call);
  if (!started.ok()) return started.status();
  return AwaitJob(*bus, DBusReader(started->body).String());
}

}  // namespace

StatusOr<SystemdUnit> SystemdUnit::Of(const std::string& cgroups_path, const std::string& id) {
  const size_t first = cgroups_path.find(':');
  const size_t second = first == std::string::npos ? first : cgroups_path.find(':', first + 1);
  if (second == std::string::npos || cgroups_path.find(':', second + 1) != std::string::npos) {
    return Status::Error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"" +
        cgroups_path + "\" instead");
  }
  SystemdUnit unit;
  unit.slice = cgroups_path.substr(0, first);
  std::string prefix = cgroups_path.substr(first + 1, second - first - 1);
  std::string name = cgroups_path.substr(second + 1);
  if (unit.slice.empty()) unit.slice = geteuid() == 0 ? "system.slice" : "user.slice";
  if (prefix.empty()) prefix = "moat";
  if (name.empty()) name = id;
  unit.name = prefix + "-" + name + ".scope";
  return unit;
}

std::string SystemdUnit::Path() const {
  std::string out;
  const std::string stem = slice.substr(0, slice.rfind(".slice"));
  for (size_t at = stem.find('-'); at != std::string::npos; at = stem.find('-', at + 1)) {
    out += "/" + stem.substr(0, at) + ".slice";
  }
  return out + "/" + slice + "/" + name;
}

bool SystemdRuns() {
  struct stat st;
  return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

Status StartUnit(const SystemdUnit& unit, const std::string& description,
                 std::span<const pid_t> pids, const Resources& r, bool unified) {
  DBusWriter w;
  w.String(unit.name);
  w.String("replace");
  w.Array(8, [&] {
    Properties p(&w);
    p.Text("Description", description);
    p.Text("Slice", unit.slice);
    p.Flag("Delegate", true);
    p.Pids(pids);
    for (const char* kind : {"MemoryAccounting", "CPUAccounting", "TasksAccounting"})
      p.Flag(kind, true);
    p.Flag(unified ? "IOAccounting" : "BlockIOAccounting", true);
    p.Flag("DefaultDependencies", false);
    WriteLimits(p, r, unified);
  });
  w.Array(8, [] {});
  return RunJob(ManagerCall("StartTransientUnit", "ssa(sv)a(sa(sv))", w));
}

Status SetUnitLimits(const std::string& name, const Resources& r, bool unified) {
  DBusWriter w;
  w.String(name);
  w.Bool(true);  // until the next boot
  w.Array(8, [&] {
    Properties p(&w);
    WriteLimits(p, r, unified);
  });
  auto bus = ConnectToSystemd();
  if (!bus.ok()) return bus.status();
  return bus->Call(ManagerCall("SetUnitProperties", "sba(sv)", w)).status();
}

Status StopUnit(const std::string& name) {
  DBusWriter w;
  w.String(name);
  w.String("replace");
  Status s = RunJob(ManagerCall("StopUnit", "ss", w));
  const bool gone = s.text().find("org.freedesktop.systemd1.NoSuchUnit") != std::string::npos;
  return gone ? Status() : s;
}

}  // namespace runsc
