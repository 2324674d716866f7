// IP packets as raw(7) and packet(7) sockets see what stays inside a sandbox. Sockets inside hand
// messages over as they are, so packets are only made where somebody looks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sentry/socket/inet/address.h"

namespace sentry {

constexpr uint16_t kEtherIpv4 = 0x0800, kEtherIpv6 = 0x86dd, kEtherAll = 3;

struct LocalPacket {
  uint16_t ethertype = kEtherIpv4;
  uint8_t protocol = 0;  // IPPROTO_*
  uint8_t tos = 0, ttl = 64;
  IpAddress from, to;
  std::vector<uint8_t> bytes;  // all of it, from the IP header on
  size_t header = 0;           // the IP header's bytes
  std::span<const uint8_t> payload() const {
    return std::span<const uint8_t>(bytes).subspan(header);
  }
};

// RFC 1071, over p and what `sum` has already.
uint16_t InternetChecksum(std::span<const uint8_t> p, uint32_t sum = 0);
// What a pseudo header of TCP, UDP and ICMPv6 adds to a checksum.
uint32_t PseudoHeaderSum(const IpAddress& from, const IpAddress& to, uint8_t protocol, size_t size);

// Of an ICMP message, of the kind that the addresses' family has.
void SetIcmpChecksum(const IpAddress& from, const IpAddress& to, std::span<uint8_t> message);

LocalPacket MakePacket(uint8_t protocol, const IpAddress& from, const IpAddress& to, uint8_t tos,
                       uint8_t ttl, std::span<const uint8_t> payload);
// The packet of a UDP or UDP-Lite datagram.
LocalPacket MakeUdpPacket(uint8_t protocol, const Endpoint& from, const Endpoint& to, uint8_t tos,
                          uint8_t ttl, std::span<const uint8_t> payload);
// The UDP header with the payload behind it, as filters of UDP sockets see it.
std::vector<uint8_t> MakeUdpSegment(uint8_t protocol, const Endpoint& from, const Endpoint& to,
                                    std::span<const uint8_t> payload);
// What the host of `to` answers a UDP packet with: nobody has the port.
LocalPacket MakePortUnreachable(const LocalPacket& refused);
// The same of an ICMP echo request. False: it is none, or broken.
bool MakeEchoReply(const LocalPacket& request, LocalPacket* reply);
// Reads an IP header. False: there is none, or a broken one.
bool ParsePacket(std::vector<uint8_t> bytes, LocalPacket* out);

}  // namespace sentry
