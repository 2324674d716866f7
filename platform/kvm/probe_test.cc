#include "platform/kvm/probe.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "platform/host/kvm_abi.h"
#include "platform/kvm/kvm.h"

namespace platform::kvm {
namespace {

using testing::HasSubstr;

constexpr HostFacts kReal = {
    .open_error = 0, .vmx = false, .svm = true, .fsgsbase = true, .version = KVM_API_VERSION};

TEST(Probe, RealHardwareIsTaken) { EXPECT_TRUE(Judge(kReal).ok()); }

TEST(Probe, EachRefusalHasItsReason) {
  HostFacts f = kReal;
  f.open_error = ENOENT;
  EXPECT_THAT(Judge(f).text(), HasSubstr("load the module"));
  f.open_error = EACCES;
  EXPECT_THAT(Judge(f).text(), HasSubstr("group"));
  f = kReal;
  f.svm = false;
  EXPECT_THAT(Judge(f).text(), HasSubstr("software implementation"));
  f = kReal;
  f.fsgsbase = false;
  EXPECT_THAT(Judge(f).text(), HasSubstr("FSGSBASE"));
  f = kReal;
  f.version = 11;
  EXPECT_THAT(Judge(f).text(), HasSubstr("version 11"));
}

// Whatever the host is, its answer comes at once. The best of some, since the host may have other
// things to do.
TEST(Probe, TakesMilliseconds) {
  auto best = std::chrono::steady_clock::duration::max();
  for (int i = 0; i < 20; i++) {
    const auto start = std::chrono::steady_clock::now();
    auto device = OpenDevice();
    best = std::min(best, std::chrono::steady_clock::now() - start);
    if (!device.ok()) {
      EXPECT_FALSE(device.status().text().empty());
    }
  }
  EXPECT_LT(best, std::chrono::milliseconds(50));
}

}  // namespace
}  // namespace platform::kvm
