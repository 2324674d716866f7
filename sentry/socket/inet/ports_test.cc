#include "sentry/socket/inet/ports.h"

#include <gtest/gtest.h>

#include <set>

namespace sentry {
namespace {

struct Owner : base::RefCounted {};

PortClaim At(uint32_t addr, uint16_t port) {
  PortClaim c;
  c.local = {IpAddress::V4(addr), port, 0};
  return c;
}
constexpr uint32_t kLoopback = 0x7f000001;

TEST(Ports, Conflicts) {
  PortTable t(true);
  auto a = base::MakeRef<Owner>(), b = base::MakeRef<Owner>();
  PortClaim c = At(kLoopback, 80);
  EXPECT_TRUE(t.Bind(a.get(), &c).ok());
  PortClaim any = At(0, 80), other = At(kLoopback + 1, 80);
  EXPECT_TRUE(t.Bind(b.get(), &any).is(abi::Errno::kEADDRINUSE));
  EXPECT_TRUE(t.Bind(b.get(), &other).ok());
  t.Release(b.get(), 80, nullptr);
  t.Release(a.get(), 80, nullptr);
  EXPECT_TRUE(t.Bind(b.get(), &any).ok());
}

TEST(Ports, DualStack) {
  PortTable t(true);
  auto a = base::MakeRef<Owner>(), b = base::MakeRef<Owner>();
  PortClaim six;
  six.local.port = 80;
  six.dual = true;
  EXPECT_TRUE(t.Bind(a.get(), &six).ok());
  PortClaim four = At(0, 80);
  EXPECT_TRUE(t.Bind(b.get(), &four).is(abi::Errno::kEADDRINUSE));
  EXPECT_TRUE(t.SetListening(a.get(), six, true).ok());
  EXPECT_EQ(t.Find({IpAddress::V4(kLoopback), 80, 0}, {}, 0, 0).get(), a.get());
  six.dual = false;
  t.Rebind(a.get(), six, nullptr);
  EXPECT_TRUE(t.Bind(b.get(), &four).ok());
  EXPECT_FALSE(t.Find({IpAddress::V4(kLoopback), 80, 0}, {}, 0, 0));
}

TEST(Ports, ReusePortSpreads) {
  PortTable t(true);
  auto a = base::MakeRef<Owner>(), b = base::MakeRef<Owner>();
  PortClaim c = At(0, 80);
  c.reuse_port = true;
  for (const auto& o : {a, b}) {
    ASSERT_TRUE(t.Bind(o.get(), &c).ok());
    ASSERT_TRUE(t.SetListening(o.get(), c, true).ok());
  }
  std::set<base::RefCounted*> found;
  for (uint32_t hash = 0; hash < 8; hash++) {
    found.insert(t.Find({IpAddress::V4(kLoopback), 80, 0}, {}, 0, hash).get());
  }
  EXPECT_EQ(found.size(), 2u);
  PortClaim stranger = c;
  stranger.uid = 7;
  auto d = base::MakeRef<Owner>();
  EXPECT_TRUE(t.Bind(d.get(), &stranger).is(abi::Errno::kEADDRINUSE));
}

TEST(Ports, ExactAddressWins) {
  PortTable t(false);
  auto a = base::MakeRef<Owner>(), b = base::MakeRef<Owner>();
  PortClaim any = At(0, 53), exact = At(kLoopback, 53);
  any.reuse_addr = exact.reuse_addr = true;
  ASSERT_TRUE(t.Bind(b.get(), &exact).ok());
  ASSERT_TRUE(t.Bind(a.get(), &any).ok());
  EXPECT_EQ(t.Find({IpAddress::V4(kLoopback), 53, 0}, {}, 0, 0).get(), b.get());
  EXPECT_EQ(t.Find({IpAddress::V4(kLoopback + 1), 53, 0}, {}, 0, 0).get(), a.get());
  EXPECT_EQ(t.FindAll({IpAddress::V4(kLoopback), 53, 0}, {}).size(), 2u);
}

TEST(Ports, EphemeralPortsRunOut) {
  PortTable t(true);
  t.SetRange(40000, 40003);
  std::vector<base::Ref<Owner>> owners;
  std::set<uint16_t> ports;
  const Endpoint to{IpAddress::V4(kLoopback), 80, 0};
  for (int i = 0; i < 4; i++) {
    PortClaim c = At(kLoopback, 0);
    owners.push_back(base::MakeRef<Owner>());
    ASSERT_TRUE(t.BindForConnect(owners.back().get(), &c, to).ok());
    ports.insert(c.local.port);
  }
  EXPECT_EQ(ports.size(), 4u);
  PortClaim c = At(kLoopback, 0);
  auto more = base::MakeRef<Owner>();
  EXPECT_TRUE(t.BindForConnect(more.get(), &c, to).is(abi::Errno::kEADDRNOTAVAIL));
  EXPECT_TRUE(t.Bind(more.get(), &c).is(abi::Errno::kEADDRINUSE));
  // Another destination may share a port.
  EXPECT_TRUE(t.BindForConnect(more.get(), &c, {to.addr, 81, 0}).ok());
}

TEST(Ports, TimeWait) {
  PortTable t(true);
  auto a = base::MakeRef<Owner>();
  PortClaim c = At(kLoopback, 80);
  t.AddShared(c);
  EXPECT_TRUE(t.Bind(a.get(), &c).is(abi::Errno::kEADDRINUSE));
  t.ReleaseShared(c, INT64_MAX);
  EXPECT_TRUE(t.Bind(a.get(), &c).is(abi::Errno::kEADDRINUSE));
  t.AddShared(c);
  t.ReleaseShared(c, 0);
  EXPECT_TRUE(t.Bind(a.get(), &c).is(abi::Errno::kEADDRINUSE));
  PortClaim quick = At(kLoopback, 81);
  t.AddShared(quick);
  t.ReleaseShared(quick, 0);
  EXPECT_TRUE(t.Bind(a.get(), &quick).ok());
}

}  // namespace
}  // namespace sentry
