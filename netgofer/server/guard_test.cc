#include "netgofer/server/guard.h"

#include <gtest/gtest.h>

#include "netgofer/server/testing.h"

namespace netgofer {
namespace {

using testing::At;

constexpr int64_t kSecond = 1'000'000'000;
int64_t now;

class GuardTest : public ::testing::Test {
 protected:
  GuardTest() { now = kSecond; }
  Guard With(const Policy& policy) {
    return Guard(policy, {}, {}, [] { return now; });
  }
  static dns::Query Asks(const char* name) {
    dns::Query q;
    q.name = name;
    return q;
  }
  static dns::Answer Answers(const char* address, uint32_t ttl) {
    dns::Answer a;
    a.addresses.push_back({*ParseAddress(address), ttl});
    return a;
  }
  std::vector<std::string> names_;
};

TEST_F(GuardTest, DatagramsPerSecond) {
  Policy p;
  p.allow_by_default = true;
  p.limits.datagrams_per_second = 4;
  Guard g = With(p);
  for (int i = 0; i < 4; i++) EXPECT_TRUE(g.MaySendDatagram());
  EXPECT_FALSE(g.MaySendDatagram());
  now += kSecond / 4;
  EXPECT_TRUE(g.MaySendDatagram());
  EXPECT_FALSE(g.MaySendDatagram());
  // What wasn't sent is kept for one second, not more.
  now += 60 * kSecond;
  for (int i = 0; i < 4; i++) EXPECT_TRUE(g.MaySendDatagram());
  EXPECT_FALSE(g.MaySendDatagram());
  // Questions to resolvers and packets of raw sockets count, too.
  EXPECT_FALSE(g.MayLookUp(kUdp, At("10.0.0.1", 53), Asks("a.test")));
  EXPECT_FALSE(g.MaySendTo(kIcmp, At("10.0.0.1", 0)));
  now += kSecond / 4;
  EXPECT_TRUE(g.MaySendTo(kIcmp, At("10.0.0.1", 0)));
  EXPECT_FALSE(g.MaySendDatagram());
}

TEST_F(GuardTest, NoLimits) {
  Guard g = With(Policy{});
  for (int i = 0; i < 100; i++) EXPECT_TRUE(g.MaySendDatagram());
  EXPECT_FALSE(g.MaySendTo(kIcmp, At("10.0.0.1", 0)));  // the default
  Guard none(std::nullopt, {}, {});
  EXPECT_TRUE(none.MaySendDatagram());
  EXPECT_TRUE(none.MaySendTo(kIcmp, At("10.0.0.1", 0)));
}

TEST_F(GuardTest, Connections) {
  Policy p;
  p.allow_by_default = true;
  p.limits.connections = 2;
  p.limits.connections_per_second = 3;
  Guard g = With(p);
  const Endpoint to = At("10.0.0.1", 80);
  EXPECT_TRUE(g.MayConnect(kTcp, to, 1, &names_));
  EXPECT_FALSE(g.MayConnect(kTcp, to, 2, &names_));  // open at once
  EXPECT_TRUE(g.MayConnect(kTcp, to, 0, &names_));
  EXPECT_TRUE(g.MayConnect(kTcp, to, 0, &names_));
  EXPECT_FALSE(g.MayConnect(kTcp, to, 0, &names_));
  now += kSecond / 3 + 1;
  EXPECT_TRUE(g.MayConnect(kTcp, to, 0, &names_));
  // What is denied by a rule costs nothing.
  p.rules.push_back({.allow = false, .prefixes = {*ParsePrefix("10.0.0.0/8")}});
  g.SetPolicy(p);
  for (int i = 0; i < 10; i++) EXPECT_FALSE(g.MayConnect(kTcp, to, 0, &names_));
}

TEST_F(GuardTest, NamesOfAddressesExpire) {
  Policy p;
  p.min_ttl = 10;
  p.max_ttl = 100;
  p.rules.push_back({.allow = true, .domains = {"good.test"}});
  Guard g = With(p);
  const Endpoint to = At("203.0.113.2", 80);
  auto may = [&] { return g.MayConnect(kTcp, to, 0, &names_); };
  EXPECT_FALSE(may());
  EXPECT_TRUE(g.Believe(Asks("good.test"), Answers("203.0.113.2", 50)));
  EXPECT_TRUE(may());
  EXPECT_EQ(names_, std::vector<std::string>{"good.test"});
  now += 49 * kSecond;
  EXPECT_TRUE(may());
  now += kSecond;
  EXPECT_FALSE(may());
  // No shorter and no longer than the policy says; a later answer prolongs it.
  EXPECT_TRUE(g.Believe(Asks("good.test"), Answers("203.0.113.2", 1)));
  now += 9 * kSecond;
  EXPECT_TRUE(may());
  now += kSecond;
  EXPECT_FALSE(may());
  EXPECT_TRUE(g.Believe(Asks("good.test"), Answers("203.0.113.2", UINT32_MAX)));
  now += 99 * kSecond;
  EXPECT_TRUE(may());
  EXPECT_TRUE(g.Believe(Asks("good.test"), Answers("203.0.113.2", 100)));
  now += 99 * kSecond;
  EXPECT_TRUE(may());
  now += kSecond;
  EXPECT_FALSE(may());
  // Names that no rule is about make nothing reachable.
  EXPECT_TRUE(g.Believe(Asks("other.test"), Answers("203.0.113.2", 100)));
  EXPECT_FALSE(may());
}

}  // namespace
}  // namespace netgofer
