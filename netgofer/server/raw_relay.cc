#include <linux/if_packet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netgofer/server/relay.h"
#include "netgofer/server/sockets.h"

namespace netgofer {

void RawRelay::FromInside(const wire::RawHead& head, std::span<const uint8_t> message) {
  // Packets may get lost.
  if (family_ == AF_PACKET) {
    sockaddr_ll a{};
    a.sll_family = AF_PACKET;
    a.sll_protocol = htons(head.ethertype);
    a.sll_ifindex = head.interface;
    a.sll_halen = std::min<uint8_t>(head.link_size, sizeof a.sll_addr);
    std::memcpy(a.sll_addr, head.link_address, sizeof a.sll_addr);
    return SendMarked(outer_.get(), true, {}, message, reinterpret_cast<sockaddr*>(&a), sizeof a);
  }
  const Endpoint to{.address = head.address, .scope = head.scope};
  if (!reachable_(to.address) || !guard_.MaySendTo(kIcmp, to)) return;
  const SocketAddress a(to, family_);
  SendMarked(outer_.get(), family_ == AF_INET, head.relay, message, &a.any, a.size);
}

long RawRelay::Receive(std::span<uint8_t> into, wire::RawHead* head) {
  iovec iov{into.data(), into.size()};
  sockaddr_ll link{};
  SocketAddress ip;
  const bool packet = family_ == AF_PACKET;
  msghdr m{};
  m.msg_name = packet ? static_cast<void*>(&link) : &ip.any;
  m.msg_namelen = packet ? sizeof link : ip.size;
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  const long n = host::Recvmsg(outer_.get(), &m, MSG_DONTWAIT);
  if (n == -ECONNREFUSED || n == -EHOSTUNREACH || n == -ENETUNREACH || n == -EMSGSIZE ||
      n == -EPROTO || n == -ENETDOWN) {
    return -EINTR;  // what ICMP or the link said
  }
  if (n < 0) return n;
  if (!packet) {
    const Endpoint e = ip.ToEndpoint();
    if (!reachable_(e.address)) return -EINTR;
    head->address = e.address;
    head->scope = e.scope;
    return n;
  }
  head->interface = link.sll_ifindex;
  head->ethertype = ntohs(link.sll_protocol);
  head->hardware = link.sll_hatype;
  head->packet_type = link.sll_pkttype;
  head->link_size = std::min<uint8_t>(link.sll_halen, sizeof head->link_address);
  std::memcpy(head->link_address, link.sll_addr, sizeof head->link_address);
  return n;
}

}  // namespace netgofer
