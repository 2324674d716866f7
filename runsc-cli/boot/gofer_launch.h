// A container's gofer: what it serves, and its process.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// One mount that the gofer serves, in the order of its ids: 0 is the root.
struct GoferMountSpec {
  std::string destination;
  uint32_t flags;
  bool is_file;
};

class GoferLaunch {
 public:
  // The root and the bind mounts of a container.
  base::Status Plan(const Spec& spec, const Settings& settings);
  const std::vector<GoferMountSpec>& mounts() const { return mounts_; }

  struct Process {
    int socket;            // its end of the connection to the sentry
    int log;               // debug log and fatal reports
    int error;             // where it says why it can't start
    bool outlive = false;  // the command's death is not its own
    bool debug = false;
    std::span<const base::UniqueFd> doors = {};  // LaunchOptions::doors
  };
  base::StatusOr<pid_t> Start(const Process& p) const;

 private:
  // A host directory, or the one file in it.
  struct Served {
    std::string path, file_name;
    bool read_only;
    base::UniqueFd tree;  // made by the command; invalid: the gofer opens the path
  };
  base::Status Add(const std::string& source, const std::string& destination, uint32_t flags);
  // The last one that was added shows other owners.
  base::Status ShowAs(const MountSpec& m);
  int Main(const Process& p) const;

  IdMaps ids_;  // whose owners the files may have, for a user without rights
  std::vector<Served> served_;
  std::vector<GoferMountSpec> mounts_;
};

}  // namespace runsc
