// Whether a host can run guests of this engine.
#pragma once

#include "platform/base/status.h"

namespace platform::kvm {

struct HostFacts {
  int open_error = 0;  // of /dev/kvm: an errno
  bool vmx = false, svm = false, fsgsbase = false;
  int version = 0;  // KVM_GET_API_VERSION
};
// ok(), or why not, and what would change it.
base::Status Judge(const HostFacts& facts);

}  // namespace platform::kvm
