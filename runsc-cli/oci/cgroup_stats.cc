// `events --stats`: what the kernel counted for a container's groups, in runc's words.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runsc-cli/oci/cgroup.h"

namespace runsc {
namespace {

using nlohmann::json;

uint64_t Number(const std::string& text) {
  // "max" of v2 is v1's largest number.
  return text == "max" ? UINT64_MAX : strtoull(text.c_str(), nullptr, 10);
}

// Files of "key value" lines.
json Table(const std::string& text) {
  json out = json::object();
  std::stringstream in(text);
  std::string key;
  for (uint64_t value; in >> key >> value;) out[key] = value;
  return out;
}

json MemoryV1(const Cgroup& c, const std::string& kind) {
  const std::string prefix = "memory." + kind;
  auto read = [&](const char* what) { return Number(c.Read("memory", (prefix + what).c_str())); };
  return {{"limit", read("limit_in_bytes")},
          {"usage", read("usage_in_bytes")},
          {"max", read("max_usage_in_bytes")},
          {"failcnt", read("failcnt")}};
}

json StatsV1(const Cgroup& c) {
  json cpu = {{"usage",
               {{"total", Number(c.Read("cpuacct", "cpuacct.usage"))},
                {"kernel", Number(c.Read("cpuacct", "cpuacct.usage_sys"))},
                {"user", Number(c.Read("cpuacct", "cpuacct.usage_user"))}}}};
  const json throttled = Table(c.Read("cpu", "cpu.stat"));
  cpu["throttling"] = {{"periods", throttled.value("nr_periods", uint64_t{0})},
                       {"throttledPeriods", throttled.value("nr_throttled", uint64_t{0})},
                       {"throttledTime", throttled.value("throttled_time", uint64_t{0})}};
  const json raw = Table(c.Read("memory", "memory.stat"));
  return {{"cpu", cpu},
          {"memory",
           {{"cache", raw.value("total_cache", uint64_t{0})},
            {"usage", MemoryV1(c, "")},
            {"swap", MemoryV1(c, "memsw.")},
            {"kernel", MemoryV1(c, "kmem.")},
            {"kernelTCP", MemoryV1(c, "kmem.tcp.")},
            {"raw", raw}}},
          {"pids",
           {{"current", Number(c.Read("pids", "pids.current"))},
            {"limit", Number(c.Read("pids", "pids.max"))}}}};
}

json StatsV2(const Cgroup& c) {
  const json cpu = Table(c.Read("", "cpu.stat"));
  auto ns = [&](const char* key) { return cpu.value(key, uint64_t{0}) * 1000; };
  const json raw = Table(c.Read("", "memory.stat"));
  return {
      {"cpu",
       {{"usage",
         {{"total", ns("usage_usec")}, {"kernel", ns("system_usec")}, {"user", ns("user_usec")}}},
        {"throttling",
         {{"periods", cpu.value("nr_periods", uint64_t{0})},
          {"throttledPeriods", cpu.value("nr_throttled", uint64_t{0})},
          {"throttledTime", ns("throttled_usec")}}}}},
      {"memory",
       {{"cache", raw.value("file", uint64_t{0})},
        {"usage",
         {{"limit", Number(c.Read("", "memory.max"))},
          {"usage", Number(c.Read("", "memory.current"))},
          {"max", Number(c.Read("", "memory.peak"))},
          {"failcnt", uint64_t{0}}}},
        {"raw", raw}}},
      {"pids",
       {{"current", Number(c.Read("", "pids.current"))},
        {"limit", Number(c.Read("", "pids.max"))}}}};
}

}  // namespace

std::string StatsJson(const Cgroup& cgroup) {
  json j = cgroup.unified() ? StatsV2(cgroup) : StatsV1(cgroup);
  j["blkio"] = json::object();
  j["hugetlb"] = json::object();
  j["intel_rdt"] = json::object();
  j["network_interfaces"] = nullptr;
  return j.dump();
}

}  // namespace runsc
