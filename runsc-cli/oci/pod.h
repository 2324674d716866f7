// Pods, as containerd's CRI plugin and CRI-O describe them in annotations.
#pragma once

#include <string>

#include "runsc-cli/oci/spec.h"

namespace runsc {

struct Pod {
  std::string type;     // sandbox: its first container; container: another one; empty: no pod
  std::string sandbox;  // the first one's id
};
Pod PodOf(const Spec& spec);

// The first container of a pod asks for next to nothing itself, but is what all of them run in: it
// gets what its annotations say that the pod may use.
void GrantPod(Spec* spec);

}  // namespace runsc
