#include "platform/kvm/probe.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

// Whatever the host is, its answer comes at once.
TEST(Probe, TakesMilliseconds) {
  auto start = std::chrono::steady_clock::now();
  auto device = OpenDevice();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(50));
  if (!device.ok()) {
    EXPECT_FALSE(device.status().text().empty());
  }
}

}  // namespace
}  // namespace platform::kvm
