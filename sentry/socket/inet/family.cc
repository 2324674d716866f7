// socket(2) of AF_INET, AF_INET6 and AF_PACKET (inet_create(), inet6_create()).
#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet.h"
#include "sentry/socket/inet/packet_socket.h"
#include "sentry/socket/inet/raw_socket.h"
#include "sentry/socket/inet/tcp_socket.h"
#include "sentry/socket/inet/udp_socket.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {

// ping_init_sock(): the groups of net.ipv4.ping_group_range.
bool MayPing(const Task& task, const NetStack& stack) {
  const uint32_t low = stack.ping_group_low.load(), high = stack.ping_group_high.load();
  const Creds& c = task.creds();
  auto in = [&](uint32_t gid) { return gid >= low && gid <= high; };
  return in(c.egid) || std::any_of(c.groups.begin(), c.groups.end(), in);
}

// Set once, before there are guests.
bool raw_sockets = false;

template <typename S>
base::Result<base::Ref<Socket>> Started(Task& task, base::Ref<S> s) {
  TRY(s->Start(task));
  return base::Ref<Socket>(std::move(s));
}

base::Result<base::Ref<Socket>> Create(Task& task, int32_t family, int32_t type, int32_t protocol,
                                       uint32_t flags) {
  if (protocol < 0 || protocol > abi::kIPPROTO_MPTCP) return abi::Errno::kEINVAL;
  base::Ref<NetStack> stack = NetStack::Of(task);
  switch (type) {
    case abi::kSOCK_STREAM: {
      if (protocol != 0 && protocol != abi::kIPPROTO_TCP) return abi::Errno::kEPROTONOSUPPORT;
      auto end = base::MakeRef<TcpEnd>(stack);
      return base::Ref<Socket>(
          base::MakeRef<TcpSocket>(std::move(stack), family, std::move(end), flags));
    }
    case abi::kSOCK_DGRAM: {
      const int32_t echo = family == abi::kAF_INET6 ? abi::kIPPROTO_ICMPV6 : abi::kIPPROTO_ICMP;
      if (protocol == 0) protocol = abi::kIPPROTO_UDP;
      if (protocol == echo) {
        if (!MayPing(task, *stack)) return abi::Errno::kEACCES;
      } else if (protocol != abi::kIPPROTO_UDP && protocol != abi::kIPPROTO_UDPLITE) {
        return abi::Errno::kEPROTONOSUPPORT;
      }
      return base::Ref<Socket>(base::MakeRef<UdpSocket>(std::move(stack), family, protocol, flags));
    }
    case abi::kSOCK_RAW:
      // The protocol is looked up before the right to it; without one there is nothing to find.
      if (protocol == 0) return abi::Errno::kEPROTONOSUPPORT;
      if (!task.creds().HasIn(*stack->owner(), abi::kCAP_NET_RAW)) return abi::Errno::kEPERM;
      if (!raw_sockets || protocol > abi::kIPPROTO_RAW) return abi::Errno::kEPROTONOSUPPORT;
      return Started(task, base::MakeRef<RawSocket>(std::move(stack), family, protocol, flags));
    default:
      return abi::Errno::kESOCKTNOSUPPORT;
  }
}

base::Result<base::Ref<Socket>> Create4(Task& task, int32_t type, int32_t protocol,
                                        uint32_t flags) {
  return Create(task, abi::kAF_INET, type, protocol, flags);
}
base::Result<base::Ref<Socket>> Create6(Task& task, int32_t type, int32_t protocol,
                                        uint32_t flags) {
  return Create(task, abi::kAF_INET6, type, protocol, flags);
}
// packet_create(); without raw sockets, of a kernel without CONFIG_PACKET for those who could.
base::Result<base::Ref<Socket>> CreatePacket(Task& task, int32_t type, int32_t protocol,
                                             uint32_t flags) {
  base::Ref<NetStack> stack = NetStack::Of(task);
  if (!task.creds().HasIn(*stack->owner(), abi::kCAP_NET_RAW)) return abi::Errno::kEPERM;
  if (!raw_sockets) return abi::Errno::kEAFNOSUPPORT;
  if (type != abi::kSOCK_RAW && type != abi::kSOCK_DGRAM) return abi::Errno::kESOCKTNOSUPPORT;
  return Started(task, base::MakeRef<PacketSocket>(std::move(stack), type, protocol, flags));
}

}  // namespace

void StartNetwork(Kernel& kernel, bool raw) {
  raw_sockets = raw;
  Socket::interface_ioctl = &InterfaceIoctl;
  base::Ref<NetStack> stack = NetStack::Of(*kernel.root_net_ns());
  (void)stack->links().Apply(kLoopbackIndex, {.up = true});
  // As container engines set it: raw sockets, which ping(8) would use instead, may not be there.
  stack->ping_group_low.store(0);
  stack->ping_group_high.store(INT32_MAX);
}

const SocketFamily kInetFamily = {abi::kAF_INET, &Create4, nullptr};
const SocketFamily kInet6Family = {abi::kAF_INET6, &Create6, nullptr};
const SocketFamily kPacketFamily = {abi::kAF_PACKET, &CreatePacket, nullptr};

}  // namespace sentry
