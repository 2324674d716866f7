#include "runsc-cli/oci/config.h"

#include "gtest/gtest.h"
#include "syscalls/abi/mount.h"

namespace runsc {
namespace {

constexpr char kSmall[] =
    R"("process": {"args": ["/bin/true"], "cwd": "/"}, "root": {"path": "r"})";

base::Status Parse(const std::string& more, Spec* spec, std::vector<std::string>* warnings) {
  return ParseConfig(std::string("{") + kSmall + (more.empty() ? "" : ", " + more) + "}", "/b",
                     spec, warnings);
}

TEST(ConfigTest, PathsAreRelativeToTheBundle) {
  Spec spec;
  std::vector<std::string> warnings;
  ASSERT_TRUE(
      Parse(R"("mounts": [{"destination": "x", "source": "s", "options": ["rbind", "ro"]}])", &spec,
            &warnings)
          .ok());
  EXPECT_EQ(spec.root_path, "/b/r");
  ASSERT_EQ(spec.mounts.size(), 1u);
  EXPECT_EQ(spec.mounts[0].type, "bind");
  EXPECT_EQ(spec.mounts[0].source, "/b/s");
  EXPECT_EQ(spec.mounts[0].destination, "/x");
  EXPECT_EQ(spec.mounts[0].flags, static_cast<uint32_t>(abi::kMS_RDONLY));
  EXPECT_TRUE(warnings.empty());
}

TEST(ConfigTest, WithoutSeccomp) {
  EXPECT_EQ(WithoutSeccomp(R"({"a":1,"linux":{"b":2,"seccomp":{"c":3}}})"),
            R"({"a":1,"linux":{"b":2}})");
  EXPECT_EQ(WithoutSeccomp(R"({"a":1})"), R"({"a":1})");
}

TEST(ConfigTest, ErrorsNameTheField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("hooks": {"prestart": [{"path": "x"}]})", "hooks.prestart[0].path"},
      {R"("hooks": {"poststop": [{"path": "/x", "timeout": 0}]})", "hooks.poststop[0].timeout"},
      {R"("linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]})", "twice"},
      {R"("linux": {"devices": [{"path": "/dev/x", "type": "z"}]})", "linux.devices[0].type"},
      {R"("linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}})", "SCMP_ACT_NOTIFY"},
      {R"("linux": {"sysctl": {"a": 1}})", "linux.sysctl.a"},
      {R"("linux": {"personality": {"domain": "X"}})", "linux.personality.domain"},
      {R"("linux": {"namespaces": [{"type": "user"}]})", "linux.uidMappings"},
      {R"("linux": {"namespaces": [{"type": "user"}],
           "uidMappings": [{"containerID": 0, "hostID": 5, "size": 4294967295}]})",
       "linux.uidMappings[0].size"},
      {R"("linux": {"namespaces": [{"type": "user"}],
           "uidMappings": [{"containerID": 0, "hostID": 5, "size": 2},
                           {"containerID": 1, "hostID": 9, "size": 2}]})",
       "linux.uidMappings[1].containerID"},
      {R"("mounts": [{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}])",
       "mounts[0].uidMappings"},
  };
  for (const auto& [text, word] : cases) {
    Spec spec;
    std::vector<std::string> warnings;
    base::Status s = Parse(text, &spec, &warnings);
    EXPECT_FALSE(s.ok()) << text;
    EXPECT_NE(s.text().find(word), std::string::npos) << s.text();
  }
}

TEST(ConfigTest, IdsOfTheUserNamespaceAreThoseOfIdMappedMounts) {
  constexpr char kIds[] = R"("uidMappings": [{"containerID": 0, "hostID": 5, "size": 2}],
                             "gidMappings": [{"containerID": 0, "hostID": 6, "size": 1}])";
  Spec spec;
  std::vector<std::string> warnings;
  ASSERT_TRUE(Parse(std::string(R"("mounts": [{"destination": "/x", "source": "/s",
                                               "options": ["bind", "ridmap"]}],
                                   "linux": {"namespaces": [{"type": "user"}], )") +
                        kIds + "}",
                    &spec, &warnings)
                  .ok());
  ASSERT_EQ(spec.ids.uids.size(), 1u);
  EXPECT_EQ(spec.ids.uids[0].host, 5u);
  EXPECT_EQ(spec.mounts[0].ids.gids[0].host, 6u);
  EXPECT_TRUE(spec.mounts[0].ids_recursive);
  Spec without;
  ASSERT_TRUE(Parse(std::string(R"("linux": {)") + kIds + "}", &without, &warnings).ok());
  EXPECT_TRUE(without.ids.empty());
}

TEST(ConfigTest, WhatIsNotKnownIsNamed) {
  Spec spec;
  std::vector<std::string> warnings;
  ASSERT_TRUE(Parse(R"("vm": {}, "linux": {"new": 1})", &spec, &warnings).ok());
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find("linux.new"), std::string::npos);
  EXPECT_NE(warnings[1].find("vm"), std::string::npos);
}

TEST(ConfigTest, SeccompBecomesAProgram) {
  Spec spec;
  std::vector<std::string> warnings;
  ASSERT_TRUE(Parse(R"("linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
      {"names": ["read", "write", "nosuchcall"], "action": "SCMP_ACT_ALLOW"},
      {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
       "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}})",
                    &spec, &warnings)
                  .ok());
  EXPECT_GT(spec.seccomp.size(), 8u);
}

TEST(ConfigTest, CapabilitiesThatCanNotBeHeldAreLeftOut) {
  Spec spec;
  std::vector<std::string> warnings;
  ASSERT_TRUE(ParseConfig(R"({"process": {"args": ["x"], "cwd": "/", "capabilities": {
      "bounding": ["CAP_KILL", "CAP_OF_THE_FUTURE"], "effective": ["CAP_KILL", "CAP_CHOWN"],
      "permitted": ["CAP_KILL"]}}, "root": {"path": "/"}})",
                          "/b", &spec, &warnings)
                  .ok());
  EXPECT_EQ(spec.process.caps_effective, spec.process.caps_permitted);
  EXPECT_EQ(warnings.size(), 1u);
}

}  // namespace
}  // namespace runsc
