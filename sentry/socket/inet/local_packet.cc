#include "sentry/socket/inet/local_packet.h"

#include <algorithm>

#include "syscalls/abi/socket.h"

namespace sentry {

namespace {

constexpr size_t kHeader4 = 20, kHeader6 = 40, kUdpHeader = 8, kIcmpHeader = 8;
constexpr uint8_t kIcmpEchoReply = 0, kIcmpEcho = 8, kIcmp6Echo = 128, kIcmp6EchoReply = 129;
constexpr uint8_t kIcmpUnreachable = 3, kIcmpPort = 3, kIcmp6Unreachable = 1, kIcmp6Port = 4;

void Put16(uint8_t* at, size_t v) {
  at[0] = static_cast<uint8_t>(v >> 8);
  at[1] = static_cast<uint8_t>(v);
}

uint8_t IcmpOf(const IpAddress& a) {
  return a.is_v4() ? uint8_t{abi::kIPPROTO_ICMP} : uint8_t{abi::kIPPROTO_ICMPV6};
}

LocalPacket MakeIcmp(const IpAddress& from, const IpAddress& to, uint8_t tos, uint8_t ttl,
                     std::vector<uint8_t> message) {
  SetIcmpChecksum(from, to, message);
  return MakePacket(IcmpOf(to), from, to, tos, ttl, message);
}

}  // namespace

uint16_t InternetChecksum(std::span<const uint8_t> p, uint32_t sum) {
  size_t i = 0;
  for (; i + 1 < p.size(); i += 2) sum += uint32_t{p[i]} << 8 | p[i + 1];
  if (i < p.size()) sum += uint32_t{p[i]} << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint32_t PseudoHeaderSum(const IpAddress& from, const IpAddress& to, uint8_t protocol,
                         size_t size) {
  uint32_t sum = protocol + static_cast<uint32_t>(size);
  for (const IpAddress* a : {&from, &to}) {
    for (size_t i = a->is_v4() ? 12 : 0; i < a->b.size(); i += 2) {
      sum += uint32_t{a->b[i]} << 8 | a->b[i + 1];
    }
  }
  return sum;
}

void SetIcmpChecksum(const IpAddress& from, const IpAddress& to, std::span<uint8_t> message) {
  const uint32_t sum = to.is_v4() ? 0 : PseudoHeaderSum(from, to, IcmpOf(to), message.size());
  Put16(&message[2], 0);
  Put16(&message[2], InternetChecksum(message, sum));
}

LocalPacket MakePacket(uint8_t protocol, const IpAddress& from, const IpAddress& to, uint8_t tos,
                       uint8_t ttl, std::span<const uint8_t> payload) {
  const bool v4 = to.is_v4();
  LocalPacket p{v4 ? kEtherIpv4 : kEtherIpv6, protocol, tos, ttl, from, to, {},
                v4 ? kHeader4 : kHeader6};
  p.bytes.resize(p.header + payload.size());
  uint8_t* h = p.bytes.data();
  if (v4) {
    h[0] = 0x45;
    h[1] = tos;
    Put16(h + 2, p.bytes.size());
    h[6] = 0x40;  // IP_DF
    h[8] = ttl;
    h[9] = protocol;
    std::copy(from.b.begin() + 12, from.b.end(), h + 12);
    std::copy(to.b.begin() + 12, to.b.end(), h + 16);
    Put16(h + 10, InternetChecksum({h, kHeader4}));
  } else {
    h[0] = static_cast<uint8_t>(0x60 | tos >> 4);
    h[1] = static_cast<uint8_t>(tos << 4);
    Put16(h + 4, payload.size());
    h[6] = protocol;
    h[7] = ttl;
    std::copy(from.b.begin(), from.b.end(), h + 8);
    std::copy(to.b.begin(), to.b.end(), h + 24);
  }
  std::copy(payload.begin(), payload.end(), h + p.header);
  return p;
}

std::vector<uint8_t> MakeUdpSegment(uint8_t protocol, const Endpoint& from, const Endpoint& to,
                                    std::span<const uint8_t> payload) {
  std::vector<uint8_t> udp(kUdpHeader + payload.size());
  Put16(&udp[0], from.port);
  Put16(&udp[2], to.port);
  Put16(&udp[4], udp.size());
  std::copy(payload.begin(), payload.end(), udp.begin() + kUdpHeader);
  const uint16_t sum =
      InternetChecksum(udp, PseudoHeaderSum(from.addr, to.addr, protocol, udp.size()));
  Put16(&udp[6], sum == 0 ? 0xffff : sum);
  return udp;
}

LocalPacket MakeUdpPacket(uint8_t protocol, const Endpoint& from, const Endpoint& to, uint8_t tos,
                          uint8_t ttl, std::span<const uint8_t> payload) {
  return MakePacket(protocol, from.addr, to.addr, tos, ttl,
                    MakeUdpSegment(protocol, from, to, payload));
}

LocalPacket MakePortUnreachable(const LocalPacket& refused) {
  const bool v4 = refused.to.is_v4();
  // icmp_send(), icmp6_send(): as much of the packet as fits into one that every host takes.
  const size_t most = (v4 ? 576 - kHeader4 : 1280 - kHeader6) - kIcmpHeader;
  std::vector<uint8_t> message(kIcmpHeader);
  message[0] = v4 ? kIcmpUnreachable : kIcmp6Unreachable;
  message[1] = v4 ? kIcmpPort : kIcmp6Port;
  const std::span<const uint8_t> quoted =
      std::span<const uint8_t>(refused.bytes).first(std::min(most, refused.bytes.size()));
  message.insert(message.end(), quoted.begin(), quoted.end());
  return MakeIcmp(refused.to, refused.from, v4 ? 0xc0 : 0, 64, std::move(message));
}

bool MakeEchoReply(const LocalPacket& request, LocalPacket* reply) {
  const bool v4 = request.to.is_v4();
  const std::span<const uint8_t> in = request.payload();
  if (request.protocol != IcmpOf(request.to) || in.size() < kIcmpHeader) return false;
  if (in[0] != (v4 ? kIcmpEcho : kIcmp6Echo) || in[1] != 0) return false;
  const uint32_t sum =
      v4 ? 0 : PseudoHeaderSum(request.from, request.to, request.protocol, in.size());
  if (InternetChecksum(in, sum) != 0) return false;
  std::vector<uint8_t> message(in.begin(), in.end());
  message[0] = v4 ? kIcmpEchoReply : kIcmp6EchoReply;
  *reply = MakeIcmp(request.to, request.from, request.tos, 64, std::move(message));
  return true;
}

bool ParsePacket(std::vector<uint8_t> bytes, LocalPacket* out) {
  if (bytes.empty()) return false;
  const uint8_t* h = bytes.data();
  if (h[0] >> 4 == 4) {
    out->ethertype = kEtherIpv4;
    out->header = size_t{h[0] & 0xfu} * 4;
    if (out->header < kHeader4 || out->header > bytes.size()) return false;
    out->tos = h[1];
    out->ttl = h[8];
    out->protocol = h[9];
    out->from = out->to = IpAddress::V4(0);
    std::copy(h + 12, h + 16, out->from.b.begin() + 12);
    std::copy(h + 16, h + 20, out->to.b.begin() + 12);
  } else if (h[0] >> 4 == 6 && bytes.size() >= kHeader6) {
    out->ethertype = kEtherIpv6;
    out->header = kHeader6;
    out->tos = static_cast<uint8_t>(h[0] << 4 | h[1] >> 4);
    out->protocol = h[6];
    out->ttl = h[7];
    std::copy(h + 8, h + 24, out->from.b.begin());
    std::copy(h + 24, h + 40, out->to.b.begin());
  } else {
    return false;
  }
  out->bytes = std::move(bytes);
  return true;
}

}  // namespace sentry
