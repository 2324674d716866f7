#include "sentry/socket/inet/local_packet.h"

#include <gtest/gtest.h>

#include "syscalls/abi/socket.h"

namespace sentry {
namespace {

const IpAddress kA = IpAddress::V4(0x7f000001), kB = IpAddress::V4(0x7f000002);

IpAddress Six(uint8_t last) {
  IpAddress a;
  a.b[15] = last;
  return a;
}

TEST(LocalPacket, ChecksumOfRfc1071) {
  const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(InternetChecksum(data), static_cast<uint16_t>(~0xddf2));
  const uint8_t odd[] = {1};
  EXPECT_EQ(InternetChecksum(odd), static_cast<uint16_t>(~0x0100));
}

TEST(LocalPacket, HeadersAreReadAsTheyWereMade) {
  for (const auto& [from, to] : {std::pair(kA, kB), std::pair(Six(1), Six(2))}) {
    const uint8_t payload[] = {1, 2, 3};
    const LocalPacket p = MakePacket(99, from, to, 0x2e, 7, payload);
    LocalPacket q;
    ASSERT_TRUE(ParsePacket(p.bytes, &q));
    EXPECT_EQ(q.ethertype, to.is_v4() ? kEtherIpv4 : kEtherIpv6);
    EXPECT_EQ(q.protocol, 99);
    EXPECT_EQ(q.tos, 0x2e);
    EXPECT_EQ(q.ttl, 7);
    EXPECT_EQ(q.from, from);
    EXPECT_EQ(q.to, to);
    EXPECT_EQ(std::vector<uint8_t>(q.payload().begin(), q.payload().end()),
              std::vector<uint8_t>({1, 2, 3}));
    if (to.is_v4()) {
      EXPECT_EQ(InternetChecksum(std::span(p.bytes).first(p.header)), 0);
    }
  }
}

TEST(LocalPacket, BrokenHeaders) {
  LocalPacket p;
  EXPECT_FALSE(ParsePacket({}, &p));
  EXPECT_FALSE(ParsePacket({0x45, 0, 0}, &p));
  EXPECT_FALSE(ParsePacket(std::vector<uint8_t>(20, 0x44), &p));  // shorter than a header
  EXPECT_FALSE(ParsePacket(std::vector<uint8_t>(39, 0x60), &p));
  EXPECT_FALSE(ParsePacket(std::vector<uint8_t>(60, 0x00), &p));
}

TEST(LocalPacket, UdpAndItsRefusal) {
  const uint8_t payload[] = {'h', 'i'};
  for (const auto& [from, to] : {std::pair(kA, kB), std::pair(Six(1), Six(2))}) {
    const LocalPacket p = MakeUdpPacket(abi::kIPPROTO_UDP, {from, 1000}, {to, 53}, 0, 64, payload);
    ASSERT_EQ(p.payload().size(), 10u);
    EXPECT_EQ(p.payload()[3], 53);
    const uint32_t sum = PseudoHeaderSum(from, to, p.protocol, p.payload().size());
    EXPECT_EQ(InternetChecksum(p.payload(), sum), 0);
    const LocalPacket r = MakePortUnreachable(p);
    EXPECT_EQ(r.from, to);
    EXPECT_EQ(r.to, from);
    EXPECT_EQ(r.payload()[0], to.is_v4() ? 3 : 1);
    EXPECT_EQ(r.payload().size(), 8 + p.bytes.size());
  }
}

TEST(LocalPacket, Echo) {
  std::vector<uint8_t> request = {8, 0, 0, 0, 1, 2, 0, 7, 'x'};
  const uint16_t sum = InternetChecksum(request);
  request[2] = static_cast<uint8_t>(sum >> 8);
  request[3] = static_cast<uint8_t>(sum);
  LocalPacket reply;
  ASSERT_TRUE(MakeEchoReply(MakePacket(abi::kIPPROTO_ICMP, kA, kB, 0, 64, request), &reply));
  EXPECT_EQ(reply.from, kB);
  EXPECT_EQ(reply.payload()[0], 0);
  EXPECT_EQ(reply.payload()[7], 7);
  EXPECT_EQ(InternetChecksum(reply.payload()), 0);
  // A broken checksum isn't answered, nor is a reply.
  request[8] = 'y';
  EXPECT_FALSE(MakeEchoReply(MakePacket(abi::kIPPROTO_ICMP, kA, kB, 0, 64, request), &reply));
  LocalPacket again;
  EXPECT_FALSE(MakeEchoReply(reply, &again));
}

}  // namespace
}  // namespace sentry
