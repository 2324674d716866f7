#include "sentry/socket/inet/ports.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "sentry/kernel/bpf_testing.h"

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

TEST(Ports, GroupsAreInOrderOfJoining) {
  PortTable t(false);
  std::vector<base::Ref<Owner>> owners;
  PortClaim c = At(0, 80);
  c.reuse_port = true;
  auto join = [&] {
    owners.push_back(base::MakeRef<Owner>());
    EXPECT_TRUE(t.Bind(owners.back().get(), &c).ok());
  };
  auto chosen = [&](uint32_t which) {
    auto choose = [which](const SocketFilter&) { return which; };
    return t.Find({IpAddress::V4(kLoopback), 80, 0}, {}, 0, 0, choose).get();
  };
  for (int i = 0; i < 3; i++) join();
  EXPECT_EQ(chosen(2), chosen(1));  // nobody asks for a choice
  EXPECT_TRUE(t.SetGroupFilter(owners[0].get(), 80, nullptr).is(abi::Errno::kENOENT));
  auto filter = SocketFilter::Create({testing::Stmt(testing::kRet, 0)});
  ASSERT_TRUE(filter.ok());
  EXPECT_TRUE(t.SetGroupFilter(owners[1].get(), 80, *filter).ok());
  join();
  for (uint32_t i = 0; i < 4; i++) EXPECT_EQ(chosen(i), owners[i].get());
  EXPECT_EQ(chosen(4), owners[0].get());  // by the hash
  t.Release(owners[1].get(), 80, nullptr);
  EXPECT_EQ(chosen(1), owners[3].get());
  EXPECT_EQ(chosen(2), owners[2].get());
  // One with a filter of its own joins nobody.
  PortClaim own = c;
  own.own_group = true;
  EXPECT_TRUE(t.Bind(owners[1].get(), &own).is(abi::Errno::kEADDRINUSE));
  auto stranger = base::MakeRef<Owner>();
  PortClaim alone = At(0, 81);
  EXPECT_TRUE(t.Bind(stranger.get(), &alone).ok());
  EXPECT_TRUE(t.SetGroupFilter(stranger.get(), 81, *filter).is(abi::Errno::kEINVAL));
  EXPECT_TRUE(t.SetGroupFilter(owners[2].get(), 80, nullptr).ok());
  EXPECT_EQ(chosen(2), owners[0].get());
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
