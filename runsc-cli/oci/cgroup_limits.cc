// linux.resources as the values of cgroup files. The conversions are those that runc and the
// specification share, so that a container has the same share of a machine under either.
#include <algorithm>

#include "runsc-cli/oci/cgroup.h"
#include "runsc-cli/oci/files.h"

namespace runsc {
namespace {

using base::Status;

// Every guest thread takes a thread of the sentry and one of its guest process; the sentry, the
// gofer and their helpers have some of their own. The guest's own limit is the sentry's to keep.
constexpr int64_t kThreadsPerTask = 2, kOwnThreads = 64;

std::string LimitText(int64_t value) { return value < 0 ? "max" : std::to_string(value); }

std::string Rate(const Resources::Throttle& t) {
  return std::to_string(t.major) + ":" + std::to_string(t.minor) + " ";
}

// The first error of many writes; a value that isn't there is no write.
class Writer {
 public:
  explicit Writer(std::string directory) : directory_(std::move(directory)) {}
  template <typename T>
  void Number(const char* file, const std::optional<T>& value) {
    if (value) Text(file, std::to_string(*value));
  }
  // Callers give 0 for what they don't set.
  template <typename T>
  void NonZero(const char* file, const std::optional<T>& value) {
    if (value && *value != 0) Text(file, std::to_string(*value));
  }
  void Text(const char* file, const std::string& text) {
    if (text.empty() || !status_.ok()) return;
    if (directory_.empty()) {
      status_ = Status::Error(std::string("the host has no control group for ") + file);
      return;
    }
    status_ = WriteText(directory_ + "/" + file, text);
  }
  const Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

 private:
  std::string directory_;
  Status status_;
};

Status SetMemoryV1(const std::string& directory, const Resources& r) {
  Writer w(directory);
  const bool has_limit = r.memory_limit && *r.memory_limit != 0;
  const bool has_swap = r.memory_swap && *r.memory_swap != 0;
  // Memory and swap together must never be below memory: which one goes first depends on whether
  // the limits grow.
  bool swap_first = has_limit && has_swap && *r.memory_swap < 0;
  if (has_limit && has_swap && *r.memory_swap > 0) {
    const std::string now = ReadLine(directory + "/memory.memsw.limit_in_bytes");
    swap_first =
        !now.empty() && strtoull(now.c_str(), nullptr, 10) < static_cast<uint64_t>(*r.memory_swap);
  }
  if (has_swap && swap_first) w.Number("memory.memsw.limit_in_bytes", r.memory_swap);
  // Without a limit of its own, memory and swap together have at least memory's.
  if (has_limit && !has_swap && *r.memory_limit < 0 &&
      !ReadLine(directory + "/memory.memsw.limit_in_bytes").empty()) {
    w.Number("memory.memsw.limit_in_bytes", r.memory_limit);
  }
  if (has_limit) w.Number("memory.limit_in_bytes", r.memory_limit);
  if (has_swap && !swap_first) w.Number("memory.memsw.limit_in_bytes", r.memory_swap);
  w.NonZero("memory.soft_limit_in_bytes", r.memory_reservation);
  w.Number("memory.swappiness", r.swappiness);
  if (r.disable_oom_killer.value_or(false)) w.Text("memory.oom_control", "1");
  return w.status();
}

Status SetCpuV1(const std::string& directory, const Resources& r) {
  Writer w(directory);
  w.NonZero("cpu.shares", r.cpu_shares);
  w.NonZero("cpu.rt_period_us", r.cpu_rt_period);
  w.NonZero("cpu.rt_runtime_us", r.cpu_rt_runtime);
  // A burst that the new quota would not cover must go first.
  w.NonZero("cpu.cfs_period_us", r.cpu_period);
  w.NonZero("cpu.cfs_quota_us", r.cpu_quota);
  w.NonZero("cpu.cfs_burst_us", r.cpu_burst);
  w.NonZero("cpu.idle", r.cpu_idle);
  return w.status();
}

void SetThrottles(Writer& w, const char* file, const std::vector<Resources::Throttle>& list) {
  for (const Resources::Throttle& t : list) w.Text(file, Rate(t) + std::to_string(t.rate));
}

Status SetBlkioV1(const std::string& directory, const Resources& r) {
  Writer w(directory);
  w.NonZero("blkio.weight", r.io_weight);
  SetThrottles(w, "blkio.throttle.read_bps_device", r.read_bps);
  SetThrottles(w, "blkio.throttle.write_bps_device", r.write_bps);
  SetThrottles(w, "blkio.throttle.read_iops_device", r.read_iops);
  SetThrottles(w, "blkio.throttle.write_iops_device", r.write_iops);
  return w.status();
}

std::string PidsText(const Resources& r) {
  if (!r.pids_limit || *r.pids_limit == 0) return "";
  return *r.pids_limit < 0 ? "max" : std::to_string(HostTasks(*r.pids_limit));
}

}  // namespace

uint64_t HostTasks(int64_t limit) {
  return limit < 0 ? UINT64_MAX : static_cast<uint64_t>(limit * kThreadsPerTask + kOwnThreads);
}

// ConvertCPUSharesToCgroupV2Value() of the specification's cgroup library.
uint64_t CpuWeight(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + ((shares - 2) * 9999) / 262142;
}

std::vector<std::string> ControllersOf(const Resources& r) {
  std::vector<std::string> out;
  if (r.memory_limit || r.memory_swap || r.memory_reservation || r.swappiness ||
      r.disable_oom_killer) {
    out.push_back("memory");
  }
  if (r.cpu_shares || r.cpu_period || r.cpu_quota || r.cpu_burst || r.cpu_idle || r.cpu_rt_period ||
      r.cpu_rt_runtime) {
    out.push_back("cpu");
  }
  if (!r.cpus.empty() || !r.mems.empty()) out.push_back("cpuset");
  if (!PidsText(r).empty()) out.push_back("pids");
  if (r.io_weight.value_or(0) != 0 || !r.read_bps.empty() || !r.write_bps.empty() ||
      !r.read_iops.empty() || !r.write_iops.empty()) {
    out.push_back("blkio");
  }
  if (!r.hugepages.empty()) out.push_back("hugetlb");
  return out;
}

Status Cgroup::SetV1(const Resources& r) const {
  const std::vector<std::string> wanted = ControllersOf(r);
  for (const std::string& controller : wanted) {
    const std::string directory = Directory(controller);
    Writer w(directory);
    if (controller == "memory") RETURN_IF_ERROR(SetMemoryV1(directory, r));
    if (controller == "cpu") RETURN_IF_ERROR(SetCpuV1(directory, r));
    if (controller == "blkio") RETURN_IF_ERROR(SetBlkioV1(directory, r));
    if (controller == "cpuset") {
      w.Text("cpuset.cpus", r.cpus);
      w.Text("cpuset.mems", r.mems);
    }
    if (controller == "pids") w.Text("pids.max", PidsText(r));
    // Nothing in a sandbox takes huge pages from the host's pool; where there is no such
    // controller, nothing is lost.
    if (controller == "hugetlb" && !directory.empty()) {
      for (const auto& [size, limit] : r.hugepages)
        w.Text(("hugetlb." + size + ".limit_in_bytes").c_str(), std::to_string(limit));
    }
    RETURN_IF_ERROR(w.status());
  }
  return {};
}

Status Cgroup::SetV2(const Resources& r) const {
  const std::string directory = Directory("");
  Writer w(directory);
  if (r.memory_limit && *r.memory_limit != 0) w.Text("memory.max", LimitText(*r.memory_limit));
  if (r.memory_swap && *r.memory_swap != 0) {
    // v1 counts memory and swap together, v2 swap alone.
    const int64_t memory = r.memory_limit.value_or(0);
    if (*r.memory_swap > 0 && (memory <= 0 || *r.memory_swap < memory))
      return Status::Error("memory+swap limit must not be below the memory limit");
    w.Text("memory.swap.max", LimitText(*r.memory_swap < 0 ? -1 : *r.memory_swap - memory));
  }
  if (r.memory_reservation && *r.memory_reservation != 0)
    w.Text("memory.low", LimitText(*r.memory_reservation));
  if (r.cpu_shares && *r.cpu_shares != 0)
    w.Text("cpu.weight", std::to_string(CpuWeight(*r.cpu_shares)));
  if ((r.cpu_quota && *r.cpu_quota != 0) || (r.cpu_period && *r.cpu_period != 0)) {
    const uint64_t period = r.cpu_period.value_or(0);
    w.Text("cpu.max", LimitText(r.cpu_quota.value_or(-1) == 0 ? -1 : r.cpu_quota.value_or(-1)) +
                          " " + std::to_string(period == 0 ? 100000 : period));
  }
  w.NonZero("cpu.max.burst", r.cpu_burst);
  w.NonZero("cpu.idle", r.cpu_idle);
  w.Text("cpuset.cpus", r.cpus);
  w.Text("cpuset.mems", r.mems);
  w.Text("pids.max", PidsText(r));
  // ConvertBlkIOToIOWeightValue(): 10..1000 becomes 1..10000.
  if (r.io_weight && *r.io_weight != 0)
    w.Text("io.weight", "default " + std::to_string(1 + (*r.io_weight - 10) * 9999 / 990));
  const std::pair<const char*, const std::vector<Resources::Throttle>*> throttles[] = {
      {"rbps=", &r.read_bps},
      {"wbps=", &r.write_bps},
      {"riops=", &r.read_iops},
      {"wiops=", &r.write_iops}};
  for (const auto& [key, list] : throttles) {
    for (const Resources::Throttle& t : *list)
      w.Text("io.max", Rate(t) + key + std::to_string(t.rate));
  }
  for (const auto& [size, limit] : r.hugepages)
    w.Text(("hugetlb." + size + ".max").c_str(), std::to_string(limit));
  for (const auto& [file, text] : r.unified) {
    if (file.find('/') != std::string::npos)
      return Status::Error("linux.resources.unified: \"" + file + "\" must be a file name");
    w.Text(file.c_str(), text);
  }
  return w.status();
}

}  // namespace runsc
