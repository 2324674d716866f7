#include "netgofer/server/relay.h"

#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "netgofer/server/sockets.h"
#include "platform/host/net_calls.h"

namespace netgofer {
namespace {

struct Mark {
  wire::RelayMarks bit;
  uint8_t wire::RelayHead::*value;
  int type4, type6;
};
constexpr Mark kMarks[] = {
    {wire::kTos, &wire::RelayHead::tos, IP_TOS, IPV6_TCLASS},
    {wire::kTtl, &wire::RelayHead::ttl, IP_TTL, IPV6_HOPLIMIT},
};
constexpr size_t kMarkRoom = std::size(kMarks) * CMSG_SPACE(sizeof(int));

// recvmsg(2), with the marks that the guest's options ask for.
long ReceiveMarked(int fd, std::span<uint8_t> into, wire::RelayHead* head) {
  iovec iov{into.data(), into.size()};
  alignas(cmsghdr) uint8_t room[256];
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = room;
  m.msg_controllen = sizeof room;
  const long n = host::Recvmsg(fd, &m, MSG_DONTWAIT);
  if (n < 0) return n;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    for (const Mark& mark : kMarks) {
      if (c->cmsg_type != (c->cmsg_level == IPPROTO_IP ? mark.type4 : mark.type6)) continue;
      // One byte or, its order being the lowest first, a number below 256.
      head->*mark.value = *CMSG_DATA(c);
      head->marks |= mark.bit;
    }
  }
  return n;
}

}  // namespace

std::vector<uint8_t>& RelayBuffer() {
  static auto* buffer = new std::vector<uint8_t>(64 << 10);
  return *buffer;
}

void SendMarked(int fd, bool v4, const wire::RelayHead& head, std::span<const uint8_t> message,
                const sockaddr* to, socklen_t to_size) {
  iovec iov{const_cast<uint8_t*>(message.data()), message.size()};
  alignas(cmsghdr) uint8_t room[kMarkRoom];
  msghdr m{};
  m.msg_name = const_cast<sockaddr*>(to);
  m.msg_namelen = to_size;
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  for (const Mark& mark : kMarks) {
    if ((head.marks & mark.bit) == 0) continue;
    const int value = head.*mark.value;
    cmsghdr c{};
    c.cmsg_len = CMSG_LEN(sizeof value);
    c.cmsg_level = v4 ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
    c.cmsg_type = v4 ? mark.type4 : mark.type6;
    std::memcpy(room + m.msg_controllen, &c, sizeof c);
    std::memcpy(room + m.msg_controllen + CMSG_LEN(0), &value, sizeof value);
    m.msg_controllen += CMSG_SPACE(sizeof value);
  }
  if (m.msg_controllen != 0) m.msg_control = room;
  host::Sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int Relay::Open(base::UniqueFd outer, int type) {
  int fds[2];
  if (const long r = host::Socketpair(type | SOCK_NONBLOCK, fds); r < 0) {
    return static_cast<int>(r);
  }
  inner_.reset(fds[0]);
  far_.reset(fds[1]);
  outer_ = std::move(outer);
  return 0;
}

void Relay::Answer(const Done& done, int error, uint32_t flags) {
  const base::UniqueFd far = std::move(far_);
  done({.error = error,
        .fd = error == 0 ? far.get() : -1,
        .local = error == 0 ? LocalOf(outer_.get()) : Endpoint{},
        .remote = target().remote,
        .flags = flags});
}

void Relay::Stop() {
  inner_watch_.Stop();
  outer_watch_.Stop();
  inner_.reset();
  outer_.reset();
}

long DatagramRelay::Receive(std::span<uint8_t> into, wire::RelayHead* head) {
  const long n = ReceiveMarked(outer_.get(), into, head);
  if (n == -ECONNREFUSED) {
    // What ICMP said about datagrams that were sent, and was taken by this read. Errors get lost
    // where datagrams do.
    wire::RelayHead refusal{};
    refusal.refused = 1;
    SendInside(refusal, {});
  }
  const bool icmp = n == -ECONNREFUSED || n == -EHOSTUNREACH || n == -ENETUNREACH || n == -EMSGSIZE;
  return icmp ? -EINTR : n;
}

void DatagramRelay::FromInside(const wire::RelayHead& head, std::span<const uint8_t> message) {
  if (guard_.MaySendDatagram()) SendOutside(head, message);
}

void DatagramRelay::SendOutside(const wire::RelayHead& head, std::span<const uint8_t> message) {
  // Datagrams may get lost.
  SendMarked(outer_.get(), target().remote.address.is_v4(), head, message);
}

}  // namespace netgofer
