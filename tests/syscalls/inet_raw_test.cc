// Raw and packet sockets over the loopback addresses (raw(7), icmp(7), packet(7)). lo may carry
// others' packets meanwhile: each test looks for its own.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/syscalls/inet_util.h"

namespace {

constexpr int kLinuxIcmpFilter = 1;  // linux/icmp.h, which netinet/ip_icmp.h excludes

bool HasRaw() { return Fd(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)).get() >= 0; }
#define NEEDS_RAW() \
  if (!HasRaw()) GTEST_SKIP() << "needs CAP_NET_RAW"

uint16_t Checksum(const std::string& s) {
  uint32_t sum = 0;
  for (size_t i = 0; i < s.size(); i++) {
    sum += static_cast<uint32_t>(static_cast<uint8_t>(s[i])) << (i % 2 == 0 ? 8 : 0);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<uint16_t>(~sum));
}

// An echo request that only this process's test sends: a word of its own is in it.
std::string Echo(const std::string& word) {
  icmphdr h{};
  h.type = ICMP_ECHO;
  h.un.echo.id = htons(static_cast<uint16_t>(getpid()));
  std::string s = std::string(reinterpret_cast<char*>(&h), sizeof h) + word;
  h.checksum = Checksum(s);
  memcpy(s.data(), &h, sizeof h);
  return s;
}

std::string Word(const char* what) { return std::string(what) + std::to_string(getpid()); }

// The next message that holds the word; empty: none came.
std::string Next(int fd, const std::string& word, sockaddr_storage* from = nullptr) {
  for (;;) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, 10000) <= 0) return "";
    char buf[4096];
    sockaddr_storage a{};
    socklen_t n = sizeof a;
    const ssize_t got =
        recvfrom(fd, buf, sizeof buf, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&a), &n);
    if (got < 0 && errno == EAGAIN) continue;
    if (got < 0) return "";
    std::string s(buf, static_cast<size_t>(got));
    if (s.find(word) == std::string::npos) continue;
    if (from != nullptr) *from = a;
    return s;
  }
}

TEST(Raw, EchoIsSeenWithItsHeader) {
  COVERS("socket", "sendto", "recvfrom");
  NEEDS_RAW();
  Fd s(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  const std::string word = Word("echo"), request = Echo(word);
  EXPECT_RET(SendTo(s, request, V4(0)), static_cast<ssize_t>(request.size()));
  // The request comes back, too: it was sent to this host.
  for (const uint8_t type : {ICMP_ECHO, ICMP_ECHOREPLY}) {
    sockaddr_storage from;
    const std::string got = Next(s, word, &from);
    ASSERT_EQ(got.size(), sizeof(iphdr) + request.size());
    const auto* ip = reinterpret_cast<const iphdr*>(got.data());
    EXPECT_EQ(ip->version, 4);
    EXPECT_EQ(ip->ihl, 5);
    EXPECT_EQ(ip->protocol, IPPROTO_ICMP);
    EXPECT_EQ(ntohs(ip->tot_len), got.size());
    EXPECT_EQ(ntohl(ip->saddr), INADDR_LOOPBACK);
    EXPECT_EQ(static_cast<uint8_t>(got[sizeof(iphdr)]), type);
    EXPECT_EQ(Checksum(got.substr(0, sizeof(iphdr))), 0);
    EXPECT_EQ(Checksum(got.substr(sizeof(iphdr))), 0);
    EXPECT_EQ(reinterpret_cast<sockaddr_in&>(from).sin_port, 0);
  }
}

TEST(Raw, NamesAndErrors) {
  COVERS("socket", "bind", "connect", "getsockname", "getpeername", "sendto");
  NEEDS_RAW();
  EXPECT_ERR(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
  Fd s(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  // A raw socket's port is its protocol.
  EXPECT_EQ(PortOf(s), IPPROTO_ICMP);
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_TYPE), SOCK_RAW);
  EXPECT_EQ(Get(s, SOL_SOCKET, SO_PROTOCOL), IPPROTO_ICMP);
  EXPECT_ERR(send(s, "x", 1, 0), EDESTADDRREQ);
  EXPECT_ERR(listen(s, 1), EOPNOTSUPP);
  EXPECT_ERR(Bind(s, V4(0, 0x01020304)), EADDRNOTAVAIL);
  EXPECT_OK(Bind(s, V4(77)));
  EXPECT_OK(Bind(s, V4(0)));
  sockaddr_in peer{};
  socklen_t n = sizeof peer;
  EXPECT_ERR(getpeername(s, reinterpret_cast<sockaddr*>(&peer), &n), ENOTCONN);
  EXPECT_OK(Connect(s, V4(9)));
  EXPECT_OK(getpeername(s, reinterpret_cast<sockaddr*>(&peer), &n));
  EXPECT_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  const std::string word = Word("connected"), request = Echo(word);
  EXPECT_RET(send(s, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  EXPECT_NE(Next(s, word), "");
}

TEST(Raw, AnIcmpFilter) {
  COVERS("setsockopt", "getsockopt");
  NEEDS_RAW();
  Fd s(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  EXPECT_OK(Set(s, SOL_RAW, kLinuxIcmpFilter, ~(1 << ICMP_ECHOREPLY)));
  EXPECT_EQ(Get(s, SOL_RAW, kLinuxIcmpFilter), ~(1 << ICMP_ECHOREPLY));
  const std::string word = Word("filter");
  EXPECT_GT(SendTo(s, Echo(word), V4(0)), 0);
  const std::string got = Next(s, word);
  ASSERT_GT(got.size(), sizeof(iphdr));
  EXPECT_EQ(got[sizeof(iphdr)], ICMP_ECHOREPLY);
  Fd udp(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
  EXPECT_ERR(Set(udp, SOL_RAW, kLinuxIcmpFilter, 0), EOPNOTSUPP);
}

TEST(Raw, AProtocolOfOnesOwn) {
  COVERS("socket", "sendto");
  NEEDS_RAW();
  constexpr int kExperiment = 253;  // RFC 3692
  Fd a(socket(AF_INET, SOCK_RAW, kExperiment)), b(socket(AF_INET, SOCK_RAW, kExperiment));
  EXPECT_OK(Bind(a, V4(0, INADDR_LOOPBACK + 1)));
  EXPECT_OK(Set(b, SOL_IP, IP_TTL, 9));
  EXPECT_OK(Set(b, SOL_IP, IP_TOS, 0x10));
  const std::string word = Word("protocol");
  EXPECT_GT(SendTo(b, "to another " + word, V4(0)), 0);
  EXPECT_GT(SendTo(b, word, V4(0, INADDR_LOOPBACK + 1)), 0);
  const std::string got = Next(a, word);
  ASSERT_EQ(got.size(), sizeof(iphdr) + word.size());
  const auto* ip = reinterpret_cast<const iphdr*>(got.data());
  EXPECT_EQ(ip->ttl, 9);
  EXPECT_EQ(ip->tos, 0x10);
  EXPECT_EQ(ip->protocol, kExperiment);
}

TEST(Raw, HeadersOfOnesOwn) {
  COVERS("setsockopt", "sendto");
  NEEDS_RAW();
  Fd in(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)), out(socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
  EXPECT_EQ(Get(in, SOL_IP, IP_HDRINCL), 0);
  const std::string word = Word("header"), request = Echo(word);
  iphdr ip{};
  ip.version = 4;
  ip.ihl = 5;
  ip.ttl = 33;
  ip.protocol = IPPROTO_ICMP;
  ip.daddr = htonl(INADDR_LOOPBACK);
  const std::string packet = std::string(reinterpret_cast<char*>(&ip), sizeof ip) + request;
  EXPECT_ERR(SendTo(out, "x", V4(0)), EINVAL);
  EXPECT_GT(SendTo(out, packet, V4(0)), 0);
  const std::string got = Next(in, word);
  ASSERT_EQ(got.size(), packet.size());
  const auto* seen = reinterpret_cast<const iphdr*>(got.data());
  EXPECT_EQ(seen->ttl, 33);
  EXPECT_EQ(ntohs(seen->tot_len), packet.size());
  EXPECT_EQ(Checksum(got.substr(0, sizeof ip)), 0);
  // The source is filled in.
  EXPECT_EQ(seen->saddr, htonl(INADDR_LOOPBACK));
}

TEST(Raw, SeesDatagramsAndTheirRefusal) {
  COVERS("recvfrom");
  NEEDS_RAW();
  Fd udp(socket(AF_INET, SOCK_RAW, IPPROTO_UDP)), icmp(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  Fd closed(socket(AF_INET, SOCK_DGRAM, 0)), s(socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(closed, V4(0)));
  const uint16_t port = PortOf(closed);
  closed.reset();
  const std::string word = Word("datagram");
  EXPECT_GT(SendTo(s, word, V4(port)), 0);
  const std::string got = Next(udp, word);
  ASSERT_EQ(got.size(), sizeof(iphdr) + sizeof(udphdr) + word.size());
  const auto* header = reinterpret_cast<const udphdr*>(got.data() + sizeof(iphdr));
  EXPECT_EQ(ntohs(header->dest), port);
  EXPECT_EQ(ntohs(header->source), PortOf(s));
  EXPECT_EQ(ntohs(header->len), sizeof(udphdr) + word.size());
  const std::string refusal = Next(icmp, word);
  ASSERT_GT(refusal.size(), sizeof(iphdr) + 8);
  EXPECT_EQ(refusal[sizeof(iphdr)], ICMP_DEST_UNREACH);
  EXPECT_EQ(refusal[sizeof(iphdr) + 1], ICMP_PORT_UNREACH);
}

TEST(Raw, SixHasNoHeader) {
  COVERS("socket", "sendto", "recvfrom");
  NEEDS_RAW();
  Fd s(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
  ASSERT_GE(s.get(), 0);
  icmp6_filter only;
  ICMP6_FILTER_SETBLOCKALL(&only);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &only);
  EXPECT_OK(setsockopt(s, IPPROTO_ICMPV6, ICMP6_FILTER, &only, sizeof only));
  EXPECT_OK(Set(s, SOL_IPV6, IPV6_RECVHOPLIMIT, 1));
  icmp6_hdr h{};
  h.icmp6_type = ICMP6_ECHO_REQUEST;
  const std::string word = Word("six");
  const std::string request = std::string(reinterpret_cast<char*>(&h), sizeof h) + word;
  EXPECT_GT(SendTo(s, request, V6(0)), 0);
  EXPECT_ERR(SendTo(s, request, V6(9)), EINVAL);
  sockaddr_storage from;
  const std::string got = Next(s, word, &from);
  ASSERT_EQ(got.size(), request.size());
  EXPECT_EQ(static_cast<uint8_t>(got[0]), ICMP6_ECHO_REPLY);
  EXPECT_TRUE(IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<sockaddr_in6&>(from).sin6_addr));
  EXPECT_EQ(PortOf(s), IPPROTO_ICMPV6);
}

TEST(Raw, IsListed) {
  COVERS("read");
  NEEDS_RAW();
  Fd s(socket(AF_INET, SOCK_RAW, 253));
  EXPECT_NE(systest::ReadFile("/proc/net/raw").find(": 00000000:00FD 00000000:0000 07"),
            std::string::npos);
}

sockaddr_ll Link(int index, uint16_t protocol) {
  sockaddr_ll a{};
  a.sll_family = AF_PACKET;
  a.sll_protocol = htons(protocol);
  a.sll_ifindex = index;
  return a;
}

TEST(Packet, FramesOfLo) {
  COVERS("socket", "bind", "recvfrom");
  NEEDS_RAW();
  const int lo = static_cast<int>(if_nametoindex("lo"));
  Fd frames(socket(AF_PACKET, SOCK_RAW, 0)), payloads(socket(AF_PACKET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(frames, Link(lo, ETH_P_ALL)));
  ASSERT_OK(Bind(payloads, Link(lo, ETH_P_IP)));
  Fd a(socket(AF_INET, SOCK_DGRAM, 0)), b(socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_OK(Bind(a, V4(0)));
  const std::string word = Word("frame");
  EXPECT_GT(SendTo(b, word, V4(PortOf(a))), 0);
  // Who wants all sees it go and come.
  for (const uint8_t type : {PACKET_OUTGOING, PACKET_HOST}) {
    sockaddr_storage from;
    const std::string got = Next(frames, word, &from);
    ASSERT_EQ(got.size(), ETH_HLEN + sizeof(iphdr) + sizeof(udphdr) + word.size());
    EXPECT_EQ(got.substr(12, 2), std::string("\x08\x00", 2));
    const auto& ll = reinterpret_cast<sockaddr_ll&>(from);
    EXPECT_EQ(ll.sll_family, AF_PACKET);
    EXPECT_EQ(ll.sll_ifindex, lo);
    EXPECT_EQ(ntohs(ll.sll_protocol), ETH_P_IP);
    EXPECT_EQ(ll.sll_pkttype, type);
    EXPECT_EQ(ll.sll_halen, ETH_ALEN);
  }
  sockaddr_storage from;
  const std::string got = Next(payloads, word, &from);
  ASSERT_EQ(got.size(), sizeof(iphdr) + sizeof(udphdr) + word.size());
  EXPECT_EQ(reinterpret_cast<sockaddr_ll&>(from).sll_pkttype, PACKET_HOST);
}

TEST(Packet, NamesAndErrors) {
  COVERS("socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "shutdown");
  NEEDS_RAW();
  EXPECT_ERR(socket(AF_PACKET, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
  const int lo = static_cast<int>(if_nametoindex("lo"));
  Fd s(socket(AF_PACKET, SOCK_RAW, 0));
  EXPECT_ERR(Connect(s, Link(lo, 0)), EOPNOTSUPP);
  EXPECT_ERR(listen(s, 1), EOPNOTSUPP);
  EXPECT_ERR(accept(s, nullptr, nullptr), EOPNOTSUPP);
  EXPECT_ERR(shutdown(s, SHUT_RD), EOPNOTSUPP);
  sockaddr_ll a = Link(lo, ETH_P_IP);
  EXPECT_ERR(bind(s, reinterpret_cast<sockaddr*>(&a), sizeof a - 1), EINVAL);
  EXPECT_ERR(Bind(s, V4(0)), EINVAL);
  EXPECT_ERR(Bind(s, Link(9999, ETH_P_IP)), ENODEV);
  EXPECT_ERR(SendTo(s, std::string(20, 'x'), Link(9999, ETH_P_IP)), ENXIO);
  EXPECT_OK(Bind(s, a));
  sockaddr_ll name{};
  socklen_t n = sizeof name;
  EXPECT_OK(getsockname(s, reinterpret_cast<sockaddr*>(&name), &n));
  EXPECT_EQ(n, offsetof(sockaddr_ll, sll_addr) + ETH_ALEN);
  EXPECT_EQ(name.sll_ifindex, lo);
  EXPECT_EQ(ntohs(name.sll_protocol), ETH_P_IP);
  EXPECT_ERR(getpeername(s, reinterpret_cast<sockaddr*>(&name), &n), EOPNOTSUPP);
  EXPECT_ERR(send(s, "short", 5, 0), EINVAL);
}

TEST(Packet, WhatIsSentIsSeen) {
  COVERS("sendto", "setsockopt", "getsockopt");
  NEEDS_RAW();
  constexpr uint16_t kExperiment = 0x88b5;  // IEEE 802's, for such uses
  const int lo = static_cast<int>(if_nametoindex("lo"));
  Fd in(socket(AF_PACKET, SOCK_DGRAM, 0)), out(socket(AF_PACKET, SOCK_RAW, 0));
  ASSERT_OK(Bind(in, Link(lo, kExperiment)));
  const std::string word = Word("sent");
  const std::string frame = std::string(12, '\0') + "\x88\xb5" + word;
  EXPECT_RET(SendTo(out, frame, Link(lo, kExperiment)), static_cast<ssize_t>(frame.size()));
  EXPECT_EQ(Next(in, word), word);
  tpacket_stats stats{};
  socklen_t n = sizeof stats;
  EXPECT_OK(getsockopt(in, SOL_PACKET, PACKET_STATISTICS, &stats, &n));
  EXPECT_EQ(stats.tp_packets, 1u);
  EXPECT_EQ(stats.tp_drops, 0u);
  packet_mreq m{};
  m.mr_ifindex = lo;
  m.mr_type = PACKET_MR_PROMISC;
  EXPECT_OK(setsockopt(in, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof m));
  EXPECT_ERR(setsockopt(in, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, 4), EINVAL);
}

}  // namespace
