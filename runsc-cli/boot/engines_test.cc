#include "runsc-cli/boot/engines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/kvm/kvm.h"

namespace runsc {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Engines, AutoIsKvmWhereTheHostCanRunIt) {
  const base::StatusOr<Engine> chosen = ChooseEngine("auto");
  ASSERT_TRUE(chosen.ok());
  const std::string all = DescribeEngines();
  EXPECT_THAT(all, StartsWith("systrap yes\nptrace  yes\n"));
  const base::StatusOr<base::UniqueFd> device = platform::kvm::OpenDevice();
  if (device.ok()) {
    EXPECT_THAT(all, HasSubstr("kvm     yes\n"));
    EXPECT_THAT(all, HasSubstr("auto    is kvm\n"));
    return;
  }
  // The reason is said, and where kvm is asked for by its name, too.
  EXPECT_THAT(all, HasSubstr("kvm     no: " + device.status().text() + "\n"));
  EXPECT_THAT(all, HasSubstr("auto    is systrap\n"));
  const base::StatusOr<Engine> kvm = ChooseEngine("kvm");
  ASSERT_FALSE(kvm.ok());
  EXPECT_THAT(kvm.status().text(), HasSubstr(device.status().text()));
}

TEST(Engines, UnknownNamesAreRefused) {
  EXPECT_TRUE(CheckEngineName("auto").ok());
  EXPECT_TRUE(CheckEngineName("kvm").ok());
  EXPECT_THAT(CheckEngineName("xen").text(), HasSubstr("unknown platform \"xen\""));
}

}  // namespace
}  // namespace runsc
