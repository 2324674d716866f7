// Tests in a network namespace of their own.
#pragma once

#include <fcntl.h>
#include <sched.h>

#include "tests/syscalls/test_util.h"

// Skipped without privileges.
class NewNetwork : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNLESS_ROOT();
    before_.reset(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_OK(unshare(CLONE_NEWNET));
  }
  void TearDown() override {
    if (before_.get() < 0) return;
    EXPECT_OK(setns(before_, CLONE_NEWNET));
  }

 private:
  Fd before_;
};
