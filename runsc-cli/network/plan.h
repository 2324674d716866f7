// What a sandbox's network is, made of the flags and the spec.
#pragma once

#include "netgofer/server/server.h"
#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

struct NetworkPlan {
  bool outside = false;  // false: loopback only, and no net gofer
  // A network namespace to be joined; invalid: the caller's, or with join_sandbox the one that the
  // sandbox's kernel was made with, which hooks and callers find by its process id.
  base::UniqueFd name_space;
  bool join_sandbox = false;
  netgofer::ServerOptions gofer;  // without the sockets and lock_down
};

base::Status PlanNetwork(const Spec& spec, const NetworkSettings& settings, NetworkPlan* plan);

// A container's directory below the state directory has a socket for new policies.
base::Status ListenForPolicies(const std::string& directory, base::UniqueFd* out);
// The same in a directory that is the caller's: the socket goes with this object.
class PolicySocket {
 public:
  PolicySocket() = default;
  PolicySocket(const PolicySocket&) = delete;
  PolicySocket& operator=(const PolicySocket&) = delete;
  ~PolicySocket();
  base::Status Listen(const std::string& directory, base::UniqueFd* out);

 private:
  std::string path_;  // empty: none is there
};
// Gives a running sandbox another policy; *cut: how many connections were ended.
base::Status SendPolicy(const std::string& directory, const netgofer::Policy& policy,
                        bool cut_existing, uint32_t* cut);

}  // namespace runsc
