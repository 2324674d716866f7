// systemd's part in a container's control groups (--systemd-cgroup): the transient unit that holds
// its processes, asked for over the message bus.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>

#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// "slice:prefix:name", with what is left out filled in; name's default is the container's id.
struct SystemdUnit {
  std::string slice, name;  // "a-b.slice", "prefix-name.scope"
  static base::StatusOr<SystemdUnit> Of(const std::string& cgroups_path, const std::string& id);
  // Below the root of a hierarchy: a-b.slice lies in a.slice.
  std::string Path() const;
};

// Whether systemd runs the host (sd_booted(3)).
bool SystemdRuns();

// Each waits until systemd has done it. unified: the host has cgroup v2 alone.
base::Status StartUnit(const SystemdUnit& unit, const std::string& description,
                       std::span<const pid_t> pids, const Resources& r, bool unified);
base::Status SetUnitLimits(const std::string& name, const Resources& r, bool unified);
// One that is gone is no error.
base::Status StopUnit(const std::string& name);

}  // namespace runsc
