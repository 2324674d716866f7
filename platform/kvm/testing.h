// For tests: the engine with a device of its own, where the host can run it.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "platform/api/testing.h"
#include "platform/host/safe_copy.h"
#include "platform/kvm/kvm.h"

namespace platform::kvm {

inline base::StatusOr<std::unique_ptr<Platform>> CreateForTest(const Options& options) {
  static bool once = (host::InstallFaultHandler(), true);
  (void)once;
  auto device = OpenDevice();
  if (!device.ok()) return device.status();
  return Create(options, std::move(device).value());
}

// These, and the engine.
inline std::vector<NamedFactory> AndKvm(std::vector<NamedFactory> engines) {
  if (OpenDevice().ok()) engines.emplace_back("kvm", &CreateForTest);
  return engines;
}

}  // namespace platform::kvm
