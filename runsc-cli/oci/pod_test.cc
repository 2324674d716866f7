#include "runsc-cli/oci/pod.h"

#include <gtest/gtest.h>

namespace runsc {
namespace {

TEST(Pod, ContainerdAndCrio) {
  Spec spec;
  EXPECT_EQ(PodOf(spec).type, "");
  spec.annotations = {{"io.kubernetes.cri-o.ContainerType", "container"},
                      {"io.kubernetes.cri-o.SandboxID", "a"}};
  EXPECT_EQ(PodOf(spec).type, "container");
  EXPECT_EQ(PodOf(spec).sandbox, "a");
  spec.annotations = {{"io.kubernetes.cri.container-type", "sandbox"},
                      {"io.kubernetes.cri.sandbox-id", "b"}};
  EXPECT_EQ(PodOf(spec).type, "sandbox");
  EXPECT_EQ(PodOf(spec).sandbox, "b");
}

TEST(Pod, WhatThePodMayUse) {
  Spec spec;
  spec.resources.cpu_shares = 2;
  GrantPod(&spec);
  EXPECT_EQ(spec.resources.cpu_shares, 2u) << "no pod";
  spec.annotations = {{"io.kubernetes.cri.container-type", "sandbox"},
                      {"io.kubernetes.cri.sandbox-cpu-shares", "1024"},
                      {"io.kubernetes.cri.sandbox-cpu-quota", "50000"},
                      {"io.kubernetes.cri.sandbox-cpu-period", "100000"},
                      {"io.kubernetes.cri.sandbox-memory", "0"}};
  GrantPod(&spec);
  EXPECT_EQ(spec.resources.cpu_shares, 1024u);
  EXPECT_EQ(spec.resources.cpu_quota, 50000);
  EXPECT_EQ(spec.resources.cpu_period, 100000u);
  EXPECT_FALSE(spec.resources.memory_limit.has_value());
}

}  // namespace
}  // namespace runsc
