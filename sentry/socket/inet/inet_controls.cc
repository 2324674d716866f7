// Control messages of the IP levels (ip_cmsg_send(), ip_cmsg_recv_offset(),
// ip6_datagram_send_ctl(), ip6_datagram_recv_ctl()).
#include "platform/base/byte_order.h"
#include "sentry/socket/inet/inet_socket.h"
#include "syscalls/abi/packet.h"

namespace sentry {

namespace {

template <typename T>
base::Result<T> Field(const ControlMessage& m) {
  T v;
  if (m.data.size() != sizeof v) return abi::Errno::kEINVAL;
  memcpy(&v, m.data.data(), sizeof v);
  return v;
}

}  // namespace

void InetSocket::MarkAsSet(const IpAddress& to, Sending* s) const {
  const bool multicast = to.is_multicast();
  if (to.is_v4()) {
    s->tos = static_cast<uint8_t>(Option(abi::kSOL_IP, abi::kIP_TOS));
    s->ttl = static_cast<uint8_t>(
        Option(abi::kSOL_IP, multicast ? abi::kIP_MULTICAST_TTL : abi::kIP_TTL));
  } else {
    s->tos = static_cast<uint8_t>(Option(abi::kSOL_IPV6, abi::kIPV6_TCLASS));
    s->ttl = static_cast<uint8_t>(
        Option(abi::kSOL_IPV6, multicast ? abi::kIPV6_MULTICAST_HOPS : abi::kIPV6_UNICAST_HOPS));
  }
}

base::Result<void> InetSocket::ReadIpControl(const ControlMessage& m, Sending* s) const {
  if (m.level == abi::kSOL_IP) {
    switch (m.type) {
      case abi::kIP_PKTINFO: {
        const auto info = TRY(Field<abi::InPktinfo>(m));
        if (info.spec_dst != 0) {
          s->source = IpAddress::V4(ntohl(info.spec_dst));
          s->has_source = true;
        }
        return {};
      }
      case abi::kIP_TTL: {
        const int32_t v = TRY(Field<int32_t>(m));
        if (v < 1 || v > 255) return abi::Errno::kEINVAL;
        s->ttl = static_cast<uint8_t>(v);
        return {};
      }
      case abi::kIP_TOS: {
        const int32_t v = m.data.size() == 1 ? m.data[0] : TRY(Field<int32_t>(m));
        if (v < 0 || v > 255) return abi::Errno::kEINVAL;
        s->tos = static_cast<uint8_t>(v);
        return {};
      }
      case abi::kIP_RETOPTS:
        return {};
      default:
        return abi::Errno::kEINVAL;
    }
  }
  if (m.level != abi::kSOL_IPV6 || !ipv6()) return {};
  switch (m.type) {
    case abi::kIPV6_PKTINFO:
    case abi::kIPV6_2292PKTINFO: {
      const auto info = TRY(Field<abi::In6Pktinfo>(m));
      const IpAddress source = IpAddress::V6(info.addr);
      if (source != IpAddress{}) {
        s->source = source;
        s->has_source = true;
      }
      return {};
    }
    case abi::kIPV6_HOPLIMIT:
    case abi::kIPV6_2292HOPLIMIT:
    case abi::kIPV6_TCLASS: {
      const int32_t v = TRY(Field<int32_t>(m));
      if (v < -1 || v > 255) return abi::Errno::kEINVAL;
      if (v >= 0) (m.type == abi::kIPV6_TCLASS ? s->tos : s->ttl) = static_cast<uint8_t>(v);
      return {};
    }
    case abi::kIPV6_DONTFRAG:
      return {};
    default:
      return abi::Errno::kEINVAL;
  }
}

void InetSocket::AddIpControls(const Arrival& p, std::vector<ControlMessage>* out) const {
  const bool v4 = p.to.addr.is_v4();
  if (v4) {
    if (Option(abi::kSOL_IP, abi::kIP_PKTINFO) != 0) {
      const uint32_t addr = htonl(p.to.addr.v4());
      const uint32_t spec = p.to.addr.is_multicast() ? htonl(p.from.addr.v4()) : addr;
      out->push_back(ControlMessage::Of(abi::kSOL_IP, abi::kIP_PKTINFO,
                                        abi::InPktinfo{p.interface, spec, addr}));
    }
    if (Option(abi::kSOL_IP, abi::kIP_RECVTTL) != 0) {
      out->push_back(ControlMessage::Of(abi::kSOL_IP, abi::kIP_TTL, int32_t{p.ttl}));
    }
    if (Option(abi::kSOL_IP, abi::kIP_RECVTOS) != 0) {
      out->push_back(ControlMessage::Of(abi::kSOL_IP, abi::kIP_TOS, p.tos));
    }
    if (Option(abi::kSOL_IP, abi::kIP_RECVORIGDSTADDR) != 0) {
      out->push_back(ControlMessage::Of(
          abi::kSOL_IP, abi::kIP_RECVORIGDSTADDR,
          abi::SockaddrIn{abi::kAF_INET, htons(p.to.port), htonl(p.to.addr.v4()), {}}));
    }
  }
  if (!ipv6()) return;
  auto add = [&](int32_t option, int32_t type, const auto& value) {
    if (Option(abi::kSOL_IPV6, option) == 0) return;
    out->push_back(ControlMessage::Of(abi::kSOL_IPV6, type, value));
  };
  const abi::In6Pktinfo info{p.to.addr.v6(), static_cast<uint32_t>(p.interface)};
  add(abi::kIPV6_RECVPKTINFO, abi::kIPV6_PKTINFO, info);
  if (!v4) {
    add(abi::kIPV6_RECVHOPLIMIT, abi::kIPV6_HOPLIMIT, int32_t{p.ttl});
    add(abi::kIPV6_RECVTCLASS, abi::kIPV6_TCLASS, int32_t{p.tos});
  }
  // The older RFC's, where option and message have one name.
  add(abi::kIPV6_2292PKTINFO, abi::kIPV6_2292PKTINFO, info);
  if (!v4) add(abi::kIPV6_2292HOPLIMIT, abi::kIPV6_2292HOPLIMIT, int32_t{p.ttl});
}

}  // namespace sentry
