#include "sentry/socket/inet/own_links.h"

#include <gtest/gtest.h>

#include "syscalls/abi/netlink.h"

namespace sentry {
namespace {

constexpr uint32_t kNew = abi::kNLM_F_CREATE | abi::kNLM_F_EXCL;

IpAddress V4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  return IpAddress::V4(uint32_t{a} << 24 | uint32_t{b} << 16 | uint32_t{c} << 8 | d);
}

NetRoute RouteOf(const IpAddress& dst, uint8_t prefix, int32_t interface) {
  NetRoute r;
  r.dst = dst;
  r.prefix = prefix;
  r.interface = interface;
  return r;
}

class OwnLinksTest : public ::testing::Test {
 protected:
  void Dummy(bool up) {
    OwnLinks::Change c;
    c.up = up;
    ASSERT_TRUE(links_.MakeDummy("dummy0", 7, c).ok());
    ASSERT_TRUE(links_.AddAddress(7, {V4(10, 1, 0, 1), 24}, false).ok());
  }
  OwnLinks links_;
};

TEST_F(OwnLinksTest, Loopback) {
  EXPECT_FALSE(links_.loopback_up());
  EXPECT_TRUE(links_.List()[0].addresses.empty());
  OwnLinks::Change c;
  c.up = true;
  EXPECT_TRUE(links_.Apply(kLoopbackIndex, c).ok());
  EXPECT_TRUE(links_.loopback_up());
  EXPECT_EQ(links_.List()[0].addresses.size(), 2u);
  EXPECT_TRUE(links_.Remove(kLoopbackIndex).is(abi::Errno::kEOPNOTSUPP));
  EXPECT_FALSE(links_.changed());
  // A network of lo's is this host's.
  EXPECT_TRUE(links_.AddAddress(kLoopbackIndex, {V4(10, 9, 0, 1), 16}, false).ok());
  EXPECT_TRUE(links_.Owns(V4(10, 9, 5, 5)));
  EXPECT_FALSE(links_.Owns(V4(10, 10, 0, 1)));
}

TEST_F(OwnLinksTest, ADummyIsDownAtFirst) {
  Dummy(false);
  EXPECT_TRUE(links_.Owns(V4(10, 1, 0, 1)));
  EXPECT_FALSE(links_.Owns(V4(10, 1, 0, 2)));
  EXPECT_FALSE(links_.RouteTo(V4(10, 1, 0, 2)));
  OwnLinks::Change c;
  c.up = true;
  EXPECT_TRUE(links_.Apply(7, c).ok());
  const std::optional<NetRoute> r = links_.RouteTo(V4(10, 1, 0, 2));
  ASSERT_TRUE(r);
  EXPECT_EQ(r->interface, 7);
  EXPECT_EQ(r->dst, V4(10, 1, 0, 0));
  EXPECT_EQ(r->source, V4(10, 1, 0, 1));
  // Its own address of IPv6 comes with it, and goes with it.
  EXPECT_EQ(links_.List()[1].addresses.size(), 2u);
  c.up = false;
  EXPECT_TRUE(links_.Apply(7, c).ok());
  EXPECT_EQ(links_.List()[1].addresses.size(), 1u);
  EXPECT_TRUE(links_.Remove(7).ok());
  EXPECT_TRUE(links_.Remove(7).is(abi::Errno::kENODEV));
  EXPECT_FALSE(links_.Owns(V4(10, 1, 0, 1)));
}

TEST_F(OwnLinksTest, Addresses) {
  Dummy(true);
  const NetInterface::Address a{V4(10, 1, 0, 1), 24};
  EXPECT_TRUE(links_.AddAddress(7, a, false).is(abi::Errno::kEEXIST));
  EXPECT_TRUE(links_.AddAddress(7, a, true).ok());
  EXPECT_TRUE(links_.AddAddress(8, a, false).is(abi::Errno::kENODEV));
  EXPECT_TRUE(links_.RemoveAddress(7, {V4(10, 1, 0, 1), 16}).is(abi::Errno::kEADDRNOTAVAIL));
  EXPECT_TRUE(links_.RemoveAddress(7, a).ok());
  EXPECT_FALSE(links_.RouteTo(V4(10, 1, 0, 2)));
}

TEST_F(OwnLinksTest, Routes) {
  Dummy(true);
  NetRoute r = RouteOf(V4(10, 2, 0, 0), 16, 7);
  EXPECT_TRUE(links_.AddRoute(r, 0).is(abi::Errno::kENOENT));
  EXPECT_TRUE(links_.AddRoute(r, kNew).ok());
  EXPECT_TRUE(links_.AddRoute(r, kNew).is(abi::Errno::kEEXIST));
  EXPECT_TRUE(links_.AddRoute(RouteOf(V4(10, 3, 0, 0), 16, 9), kNew).is(abi::Errno::kENODEV));
  NetRoute by_gateway = RouteOf(V4(10, 2, 3, 0), 24, 0);
  by_gateway.gateway = V4(10, 5, 0, 1);
  EXPECT_TRUE(links_.AddRoute(by_gateway, kNew).is(abi::Errno::kENETUNREACH));
  by_gateway.gateway = V4(10, 1, 0, 9);
  EXPECT_TRUE(links_.AddRoute(by_gateway, kNew).ok());
  // The longest prefix decides; the source is the link's address.
  EXPECT_EQ(links_.RouteTo(V4(10, 2, 3, 4))->prefix, 24);
  EXPECT_EQ(links_.RouteTo(V4(10, 2, 4, 4))->prefix, 16);
  EXPECT_EQ(links_.RouteTo(V4(10, 2, 4, 4))->source, V4(10, 1, 0, 1));
  EXPECT_FALSE(links_.RouteTo(V4(10, 4, 0, 1)));
  EXPECT_EQ(links_.Routes().size(), 4u);  // with those of the addresses
  EXPECT_TRUE(links_.RemoveRoute(r).ok());
  EXPECT_TRUE(links_.RemoveRoute(r).is(abi::Errno::kESRCH));
  OwnLinks::Change c;
  c.up = false;
  EXPECT_TRUE(links_.Apply(7, c).ok());
  EXPECT_TRUE(links_.Routes().empty());
  EXPECT_TRUE(links_.AddRoute(r, kNew).is(abi::Errno::kENETDOWN));
}

}  // namespace
}  // namespace sentry
