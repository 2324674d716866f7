// linux.resources of config.json, and what `update` takes.
#include "runsc-cli/oci/config.h"

namespace runsc {
namespace {

void ReadThrottle(JsonObject& io, const char* key, std::vector<Resources::Throttle>* out) {
  io.Each(key, [out](JsonObject& o) {
    Resources::Throttle t{};
    o.Number("major", &t.major);
    o.Number("minor", &t.minor);
    o.Number("rate", &t.rate);
    out->push_back(t);
  });
}

}  // namespace

void Merge(const Resources& changed, Resources* r) {
  auto take = [](const auto& from, auto* to) {
    if (from) *to = from;
  };
  take(changed.memory_limit, &r->memory_limit);
  take(changed.memory_swap, &r->memory_swap);
  take(changed.memory_reservation, &r->memory_reservation);
  take(changed.cpu_shares, &r->cpu_shares);
  take(changed.cpu_period, &r->cpu_period);
  take(changed.cpu_quota, &r->cpu_quota);
  take(changed.pids_limit, &r->pids_limit);
  if (!changed.cpus.empty()) r->cpus = changed.cpus;
  if (!changed.mems.empty()) r->mems = changed.mems;
}

void ReadResources(JsonObject&& object, Resources* r) {
  // Every device node of a sandbox is the sentry's own, and it opens none of the host's: there is
  // nothing that a device list could let through. rdma, network: nothing in a sandbox has those.
  for (const char* key : {"devices", "rdma", "network"}) object.Known(key);
  {
    JsonObject m = object.Child("memory");
    m.Number("limit", &r->memory_limit);
    m.Number("swap", &r->memory_swap);
    m.Number("reservation", &r->memory_reservation);
    m.Number("swappiness", &r->swappiness);
    m.Bool("disableOOMKiller", &r->disable_oom_killer);
    // Limits of the host's kernel memory: cgroup v2 has none, and v1's are obsolete.
    for (const char* key : {"kernel", "kernelTCP", "useHierarchy", "checkBeforeUpdate"}) {
      m.Known(key);
    }
  }
  {
    JsonObject c = object.Child("cpu");
    c.Number("shares", &r->cpu_shares);
    c.Number("quota", &r->cpu_quota);
    c.Number("period", &r->cpu_period);
    c.Number("burst", &r->cpu_burst);
    c.Number("realtimeRuntime", &r->cpu_rt_runtime);
    c.Number("realtimePeriod", &r->cpu_rt_period);
    c.Number("idle", &r->cpu_idle);
    c.String("cpus", &r->cpus);
    c.String("mems", &r->mems);
  }
  object.Child("pids").Number("limit", &r->pids_limit);
  {
    JsonObject io = object.Child("blockIO");
    io.Number("weight", &r->io_weight);
    for (const char* key : {"leafWeight", "weightDevice"}) io.Known(key);
    ReadThrottle(io, "throttleReadBpsDevice", &r->read_bps);
    ReadThrottle(io, "throttleWriteBpsDevice", &r->write_bps);
    ReadThrottle(io, "throttleReadIOPSDevice", &r->read_iops);
    ReadThrottle(io, "throttleWriteIOPSDevice", &r->write_iops);
  }
  object.Each("hugepageLimits", [r](JsonObject& h) {
    std::string size;
    uint64_t limit = 0;
    h.String("pageSize", &size);
    h.Number("limit", &limit);
    r->hugepages.emplace_back(size, limit);
  });
  object.Child("unified").StringMap(&r->unified);
}

}  // namespace runsc
