#include "runsc-cli/oci/pod.h"

#include <cstdlib>

namespace runsc {
namespace {

std::string Annotation(const Spec& spec, const char* name) {
  for (const auto& [key, value] : spec.annotations) {
    if (key == name) return value;
  }
  return "";
}

}  // namespace

Pod PodOf(const Spec& spec) {
  Pod pod = {Annotation(spec, "io.kubernetes.cri.container-type"),
             Annotation(spec, "io.kubernetes.cri.sandbox-id")};
  if (pod.type.empty()) {
    pod = {Annotation(spec, "io.kubernetes.cri-o.ContainerType"),
           Annotation(spec, "io.kubernetes.cri-o.SandboxID")};
  }
  return pod;
}

void GrantPod(Spec* spec) {
  if (PodOf(*spec).type != "sandbox") return;
  auto number = [&](const char* name) {
    return strtoll(Annotation(*spec, name).c_str(), nullptr, 10);
  };
  Resources& r = spec->resources;
  r.cpu_shares.reset();
  if (const auto n = number("io.kubernetes.cri.sandbox-cpu-shares"); n > 0)
    r.cpu_shares = static_cast<uint64_t>(n);
  const auto quota = number("io.kubernetes.cri.sandbox-cpu-quota");
  const auto period = number("io.kubernetes.cri.sandbox-cpu-period");
  if (quota > 0 && period > 0) {
    r.cpu_quota = quota;
    r.cpu_period = static_cast<uint64_t>(period);
  }
  if (const auto n = number("io.kubernetes.cri.sandbox-memory"); n > 0) r.memory_limit = n;
}

}  // namespace runsc
