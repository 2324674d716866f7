// For tests: an engine, and guests of a page of code.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "platform/api/testing.h"
#include "platform/host/host.h"
#include "platform/systrap/snippet.h"

namespace platform {

constexpr uint64_t kCode = 0x400000;
constexpr uint64_t kData = 0x500000;
constexpr uint64_t kPage = 4096;

class EngineTest : public testing::TestWithParam<NamedFactory> {
 protected:
  void SetUp() override {
    auto p = GetParam().second({});
    ASSERT_TRUE(p.ok()) << p.status().text();
    platform_ = std::move(p.value());
    data_file_ = NewFile(&data_);
  }
  void TearDown() override {
    platform_->Shutdown();
    data_file_.reset();
  }

  static base::Ref<MapFile> NewFile(uint8_t** view, uint64_t size = 16 * kPage) {
    base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
    EXPECT_TRUE(fd.valid());
    host::Ftruncate(fd.get(), static_cast<int64_t>(size));
    *view =
        static_cast<uint8_t*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    return base::MakeRef<MapFile>(std::move(fd));
  }

  // An address space with code at kCode and the data file's first pages at kData.
  base::Ref<AddressSpace> NewSpace(const uint8_t* begin, const uint8_t* end) {
    auto as = platform_->NewAddressSpace();
    EXPECT_TRUE(as.ok());
    uint8_t* view;
    base::Ref<MapFile> code = NewFile(&view);
    memcpy(view, begin, static_cast<size_t>(end - begin));
    munmap(view, 16 * kPage);
    (*as)->Map(kCode, kPage, code, 0, kProtRead | kProtExec);
    (*as)->Map(kData, 4 * kPage, data_file_, 0, kProtRead | kProtWrite);
    return *as;
  }
  std::unique_ptr<GuestThread> NewThread(AddressSpace& as, GuestThread* creator = nullptr,
                                         Regs regs = {}, const FpState& fp = {}) {
    if (regs.rip == 0) regs.rip = kCode;
    if (regs.rsp == 0) regs.rsp = kData + 2 * kPage;
    auto t = as.NewThread(creator, regs, fp);
    EXPECT_TRUE(t.ok());
    return t.ok() ? std::move(t.value()) : nullptr;
  }

  std::unique_ptr<Platform> platform_;
  base::Ref<MapFile> data_file_;
  uint8_t* data_ = nullptr;
};

#define SPACE(snippet) NewSpace(snippet##_begin, snippet##_end)

// For a test that includes the engines. tests/kvm runs the third's in a machine that can.
#define FOR_ALL_ENGINES(suite)                                                                 \
  INSTANTIATE_TEST_SUITE_P(All, suite,                                                         \
                           testing::ValuesIn(kvm::AndKvm(                                      \
                               {{"systrap", &systrap::Create}, {"ptrace", &ptrace::Create}})), \
                           [](const auto& info) { return std::string(info.param.first); })

}  // namespace platform
