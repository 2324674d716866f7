// The values that linux.resources becomes, in directories that only look like control groups.
#include "runsc-cli/oci/cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "gtest/gtest.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/files.h"

namespace runsc {
namespace {

class Folder {
 public:
  explicit Folder(const std::vector<std::string>& files) : files_(files) {
    char name[] = "/tmp/cgroup-test-XXXXXX";
    path_ = mkdtemp(name);
    for (const std::string& f : files_) std::ofstream(path_ + "/" + f) << "";
  }
  ~Folder() {
    for (const std::string& f : files_) unlink((path_ + "/" + f).c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::string Read(const std::string& file) const { return ReadLine(path_ + "/" + file); }

 private:
  const std::vector<std::string> files_;
  std::string path_;
};

Resources Parse(const std::string& text) {
  Resources r;
  base::Status s = ParseResources(text, &r);
  EXPECT_TRUE(s.ok()) << s.text();
  return r;
}

TEST(CgroupTest, LimitsOfVersionTwo) {
  Folder f({"memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "pids.max",
            "cpuset.cpus", "io.weight", "io.max", "memory.high"});
  Cgroup c({{"", f.path()}});
  const Resources r = Parse(R"({
    "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
    "cpu": {"shares": 1024, "quota": 20000, "period": 100000, "cpus": "0-1"},
    "pids": {"limit": 10}, "blockIO": {"weight": 1000,
      "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 77}]},
    "unified": {"memory.high": "900"}})");
  base::Status s = c.Set(r);
  ASSERT_TRUE(s.ok()) << s.text();
  EXPECT_EQ(f.Read("memory.max"), "1000");
  EXPECT_EQ(f.Read("memory.swap.max"), "2000");
  EXPECT_EQ(f.Read("memory.low"), "500");
  EXPECT_EQ(f.Read("cpu.weight"), "39");
  EXPECT_EQ(f.Read("cpu.max"), "20000 100000");
  EXPECT_EQ(f.Read("cpuset.cpus"), "0-1");
  EXPECT_EQ(f.Read("io.weight"), "default 10000");
  EXPECT_EQ(f.Read("io.max"), "8:0 rbps=77");
  EXPECT_EQ(f.Read("memory.high"), "900");
  // Its threads are more than the guest's.
  EXPECT_GT(atoi(f.Read("pids.max").c_str()), 10);
}

TEST(CgroupTest, UnlimitedIsMax) {
  Folder f({"memory.max", "memory.swap.max", "pids.max", "cpu.max"});
  Cgroup c({{"", f.path()}});
  ASSERT_TRUE(c.Set(Parse(R"({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1},
                              "cpu": {"quota": -1}})"))
                  .ok());
  EXPECT_EQ(f.Read("memory.max"), "max");
  EXPECT_EQ(f.Read("memory.swap.max"), "max");
  EXPECT_EQ(f.Read("pids.max"), "max");
  EXPECT_EQ(f.Read("cpu.max"), "max 100000");
}

TEST(CgroupTest, LimitsOfVersionOne) {
  Folder memory(
      {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"});
  Folder cpu({"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"});
  Cgroup c({{"memory", memory.path()}, {"cpu", cpu.path()}});
  // Docker's zeros are no limits.
  base::Status s = c.Set(Parse(R"({
    "memory": {"limit": 1000, "swap": 2000, "reservation": 0, "kernel": 0},
    "cpu": {"shares": 512, "quota": 0, "period": 0}, "blockIO": {"weight": 0}})"));
  ASSERT_TRUE(s.ok()) << s.text();
  EXPECT_EQ(memory.Read("memory.limit_in_bytes"), "1000");
  EXPECT_EQ(memory.Read("memory.memsw.limit_in_bytes"), "2000");
  EXPECT_EQ(memory.Read("memory.soft_limit_in_bytes"), "");
  EXPECT_EQ(cpu.Read("cpu.shares"), "512");
  EXPECT_EQ(cpu.Read("cpu.cfs_quota_us"), "");
}

TEST(CgroupTest, PathsStayWhereTheyBelong) {
  EXPECT_FALSE(Cgroup::Plan("/a/../../b", "id", {}).ok());
}

}  // namespace
}  // namespace runsc
