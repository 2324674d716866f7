// setsockopt(2) and getsockopt(2) of the IP levels, and of SOL_SOCKET where inet differs
// (do_ip_setsockopt(), do_ipv6_setsockopt()). Most options are numbers with a range: the table.
#include <algorithm>

#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/option_value.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/packet.h"

namespace sentry {

struct IntOption {
  int32_t level, name;
  int32_t min, max;  // EINVAL outside
  int32_t fallback;  // while it was never set
  uint32_t rules = 0;
};

namespace {
enum : uint32_t {
  kBool = 1,       // any value but 0 is 1
  kMinusOne = 2,   // -1 brings the fallback back
  kAdmin = 4,      // CAP_NET_ADMIN to turn it on
  kRaw = 8,        // CAP_NET_RAW or CAP_NET_ADMIN to turn it on
  kStream = 16,    // TCP only
  kDatagram = 32,  // not TCP
  kUnbound = 64,   // EINVAL once bound
  kV6Only = 128,   // sockets of AF_INET6 only
  kReadOnly = 256,
  kByte = 512,   // the lowest byte counts
  kWide = 1024,  // eight bytes, where there is room
  kWriteOnly = 2048,
};
constexpr int32_t kAny = INT32_MAX;
using namespace abi;

constexpr IntOption kOptions[] = {
    {kSOL_IP, kIP_TOS, 0, 255, 0, kByte},
    {kSOL_IP, kIP_TTL, 1, 255, 64, kMinusOne},
    {kSOL_IP, kIP_RECVOPTS, 0, 1, 0, kBool},
    {kSOL_IP, kIP_RETOPTS, 0, 1, 0, kBool},
    {kSOL_IP, kIP_PKTINFO, 0, 1, 0, kBool},
    {kSOL_IP, kIP_MTU_DISCOVER, 0, 5, 1},
    {kSOL_IP, kIP_RECVERR, 0, 1, 0, kBool},
    {kSOL_IP, kIP_RECVTTL, 0, 1, 0, kBool},
    {kSOL_IP, kIP_RECVTOS, 0, 1, 0, kBool},
    {kSOL_IP, kIP_FREEBIND, 0, 1, 0, kBool},
    {kSOL_IP, kIP_TRANSPARENT, 0, 1, 0, kBool | kRaw},
    {kSOL_IP, kIP_RECVORIGDSTADDR, 0, 1, 0, kBool},
    {kSOL_IP, kIP_MINTTL, 0, 255, 0},
    {kSOL_IP, kIP_CHECKSUM, 0, 1, 0, kBool},
    {kSOL_IP, kIP_BIND_ADDRESS_NO_PORT, 0, 1, 0, kBool},
    {kSOL_IP, kIP_RECVERR_RFC4884, 0, 1, 0},
    {kSOL_IP, kIP_MULTICAST_TTL, 0, 255, 1, kMinusOne | kDatagram},
    {kSOL_IP, kIP_MULTICAST_LOOP, 0, 1, 1, kBool},
    {kSOL_IP, kIP_MULTICAST_ALL, 0, 1, 1},
    {kSOL_IP, kIP_UNICAST_IF, 0, kAny, 0},
    {kSOL_IPV6, kIPV6_FLOWINFO, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_UNICAST_HOPS, 0, 255, 64, kMinusOne},
    {kSOL_IPV6, kIPV6_MULTICAST_IF, 0, kAny, 0, kDatagram},
    {kSOL_IPV6, kIPV6_MULTICAST_HOPS, 0, 255, 1, kMinusOne | kDatagram},
    {kSOL_IPV6, kIPV6_MULTICAST_LOOP, 0, 1, 1},
    {kSOL_IPV6, kIPV6_MTU_DISCOVER, 0, 5, 1},
    {kSOL_IPV6, kIPV6_RECVERR, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_V6ONLY, 0, 1, 0, kBool | kUnbound},
    {kSOL_IPV6, kIPV6_MULTICAST_ALL, 0, 1, 1, kBool},
    {kSOL_IPV6, kIPV6_RECVERR_RFC4884, 0, 1, 0},
    {kSOL_IPV6, kIPV6_FLOWINFO_SEND, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_2292PKTINFO, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_2292HOPOPTS, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_2292DSTOPTS, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_2292RTHDR, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_2292HOPLIMIT, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVPKTINFO, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVHOPLIMIT, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVHOPOPTS, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVRTHDR, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVDSTOPTS, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVPATHMTU, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_DONTFRAG, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_RECVTCLASS, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_TCLASS, 0, 255, 0, kMinusOne},
    {kSOL_IPV6, kIPV6_AUTOFLOWLABEL, 0, 1, 1, kBool},
    {kSOL_IPV6, kIPV6_ADDR_PREFERENCES, 0, 0x7ff, 0x500},
    {kSOL_IPV6, kIPV6_MINHOPCOUNT, 0, 255, 0},
    {kSOL_IPV6, kIPV6_RECVORIGDSTADDR, 0, 1, 0, kBool},
    {kSOL_IPV6, kIPV6_TRANSPARENT, 0, 1, 0, kBool | kRaw},
    {kSOL_IPV6, kIPV6_UNICAST_IF, 0, kAny, 0},
    {kSOL_IPV6, kIPV6_FREEBIND, 0, 1, 0, kBool},
    {kSOL_SOCKET, kSO_SELECT_ERR_QUEUE, 0, 1, 0, kBool},
    {kSOL_SOCKET, kSO_BUSY_POLL, 0, kAny, 0, kAdmin},
    {kSOL_SOCKET, kSO_PREFER_BUSY_POLL, 0, 1, 0, kBool | kAdmin},
    {kSOL_SOCKET, kSO_BUSY_POLL_BUDGET, 0, 65535, 8, kWriteOnly},
    {kSOL_SOCKET, kSO_INCOMING_CPU, INT32_MIN, kAny, -1},
    {kSOL_SOCKET, kSO_INCOMING_NAPI_ID, 0, 0, 0, kReadOnly},
    {kSOL_SOCKET, kSO_MAX_PACING_RATE, INT32_MIN, kAny, -1, kWide},
    {kSOL_SOCKET, kSO_ZEROCOPY, 0, 1, 0},
    {kSOL_SOCKET, kSO_NOFCS, 0, 1, 0, kBool},
    {kSOL_SOCKET, kSO_WIFI_STATUS, 0, 1, 0, kBool},
    {kSOL_SOCKET, kSO_TXREHASH, -1, 1, 1, kStream},
    {kSOL_SOCKET, kSO_BUF_LOCK, 0, 3, 0},
    {kSOL_SOCKET, kSO_TIMESTAMPING, 0, 0x3ffff, 0, kWide},
    {kSOL_SOCKET, kSO_TIMESTAMPING_NEW, 0, 0x3ffff, 0, kWide},
    {kSOL_TCP, kTCP_NODELAY, 0, 1, 0, kBool},
    {kSOL_TCP, kTCP_CORK, 0, 1, 0, kBool},
    {kSOL_TCP, kTCP_KEEPIDLE, 1, 32767, 7200},
    {kSOL_TCP, kTCP_KEEPINTVL, 1, 32767, 75},
    {kSOL_TCP, kTCP_KEEPCNT, 1, 127, 9},
    {kSOL_TCP, kTCP_SYNCNT, 1, 127, 6},
    {kSOL_TCP, kTCP_WINDOW_CLAMP, 0, kAny, 0},
    {kSOL_TCP, kTCP_QUICKACK, INT32_MIN, kAny, 1, kBool},
    {kSOL_TCP, kTCP_THIN_LINEAR_TIMEOUTS, 0, 1, 0},
    {kSOL_TCP, kTCP_THIN_DUPACK, 0, 1, 0},
    {kSOL_TCP, kTCP_USER_TIMEOUT, 0, kAny, 0},
    {kSOL_TCP, kTCP_FASTOPEN, 0, kAny, 0},
    {kSOL_TCP, kTCP_FASTOPEN_NO_COOKIE, 0, 1, 0},
    {kSOL_TCP, kTCP_TIMESTAMP, INT32_MIN, kAny, 0},
    {kSOL_TCP, kTCP_NOTSENT_LOWAT, INT32_MIN, kAny, 0},
    {kSOL_TCP, kTCP_SAVE_SYN, 0, 2, 0},
    {kSOL_TCP, kTCP_INQ, 0, 1, 0},
    {kSOL_TCP, kTCP_TX_DELAY, 0, kAny, 0},
    {kSOL_UDP, kUDP_CORK, 0, 1, 0, kBool},
    {kSOL_UDP, kUDP_NO_CHECK6_TX, 0, 1, 0, kBool},
    {kSOL_UDP, kUDP_NO_CHECK6_RX, 0, 1, 0, kBool},
    {kSOL_UDP, kUDP_SEGMENT, 0, 65535, 0},
    {kSOL_UDP, kUDP_GRO, 0, 1, 0, kBool},
};

const IntOption* FindOption(int32_t level, int32_t name) {
  for (const IntOption& o : kOptions) {
    if (o.level == level && o.name == name) return &o;
  }
  return nullptr;
}

// The level's protocol is this socket's.
bool LevelFits(const InetSocket& s, int32_t level) {
  switch (level) {
    case kSOL_SOCKET:
    case kSOL_IP:
      return true;
    case kSOL_IPV6:
      return s.family() == kAF_INET6;
    default:
      return level == s.protocol();
  }
}
}  // namespace

int32_t InetSocket::Option(int32_t level, int32_t name) const {
  base::MutexLock lock(options_mu_);
  for (const auto& v : values_) {
    if (v.first->level == level && v.first->name == name) return v.second;
  }
  return FindOption(level, name)->fallback;
}

void InetSocket::InheritFrom(const InetSocket& listener) {
  InheritOptions(listener);
  device_.store(listener.device());
  // Both are leaf locks, so one after the other.
  decltype(values_) values;
  {
    base::MutexLock lock(listener.options_mu_);
    values = listener.values_;
  }
  base::MutexLock lock(options_mu_);
  values_ = std::move(values);
}

base::Result<void> InetSocket::SetIntOption(Task& task, const IntOption& o,
                                            std::span<const uint8_t> value) {
  const bool stream = type() == kSOCK_STREAM;
  if ((o.rules & kReadOnly) != 0) return Errno::kENOPROTOOPT;
  if ((o.rules & kDatagram) != 0 && stream) {
    return o.level == kSOL_IP ? Errno::kEINVAL : Errno::kENOPROTOOPT;
  }
  if ((o.rules & kStream) != 0 && !stream) return Errno::kEOPNOTSUPP;
  int32_t v = 0;
  if (value.size() >= sizeof v) {
    memcpy(&v, value.data(), sizeof v);
  } else if (o.level != kSOL_IP) {
    return Errno::kEINVAL;
  } else if (!value.empty()) {
    v = value[0];  // ip(7): a byte will do; do_ip_setsockopt(): so does none
  }
  if ((o.rules & kUnbound) != 0 && bound()) return Errno::kEINVAL;
  if ((o.rules & kByte) != 0) v = static_cast<uint8_t>(v);
  if ((o.rules & kBool) != 0) {
    v = v != 0;
  } else if ((o.rules & kMinusOne) != 0 && v == -1) {
    v = o.fallback;
  } else if (v < o.min || v > o.max) {
    return Errno::kEINVAL;
  }
  const Creds& creds = task.creds();
  const bool admin = creds.HasIn(*stack_->owner(), kCAP_NET_ADMIN);
  if (v != 0 && (o.rules & kAdmin) != 0 && !admin) return Errno::kEPERM;
  if (v != 0 && (o.rules & kRaw) != 0 && !admin && !creds.HasIn(*stack_->owner(), kCAP_NET_RAW)) {
    return Errno::kEPERM;
  }
  // __ip_sock_set_tos(): TCP keeps its two lowest bits.
  if (stream && o.level == kSOL_IP && o.name == kIP_TOS) v &= ~3;
  {
    base::MutexLock lock(options_mu_);
    auto it =
        std::find_if(values_.begin(), values_.end(), [&](const auto& e) { return e.first == &o; });
    if (it != values_.end()) {
      it->second = v;
    } else {
      values_.emplace_back(&o, v);
    }
  }
  OnOption(o.level, o.name, v);
  return {};
}

base::Result<void> InetSocket::ChangeGroup(const IpAddress& group, int32_t index, bool join) {
  if (!group.is_multicast()) return Errno::kEINVAL;
  if (index == 0 && stack_->Locate(group) != NetStack::Place::kOutside) return Errno::kENODEV;
  constexpr size_t kMaxGroups = 20;  // net.ipv4.igmp_max_memberships
  base::MutexLock lock(options_mu_);
  auto it = std::find(groups_.begin(), groups_.end(), std::pair(group, index));
  if (join) {
    if (it != groups_.end()) return Errno::kEADDRINUSE;
    if (groups_.size() >= kMaxGroups) return Errno::kENOBUFS;
    groups_.emplace_back(group, index);
    return {};
  }
  if (it == groups_.end() && index == 0) {
    it = std::find_if(groups_.begin(), groups_.end(),
                      [&](const auto& g) { return g.first == group; });
  }
  if (it == groups_.end()) return Errno::kEADDRNOTAVAIL;
  groups_.erase(it);
  return {};
}

base::Result<void> InetSocket::SetIp(Task& task, int32_t name, std::span<const uint8_t> value) {
  // ip_mc_find_dev(): by index, by address, or by the route to the group.
  auto index_of = [&](uint32_t address, int32_t index) -> base::Result<int32_t> {
    if (index != 0) return index;
    if (address == 0) return 0;
    const IpAddress a = IpAddress::V4(ntohl(address));
    for (const NetInterface& i : stack_->Interfaces()) {
      for (const NetInterface::Address& own : i.addresses) {
        if (own.addr == a) return i.index;
      }
    }
    return Errno::kENODEV;
  };
  switch (name) {
    case kIP_OPTIONS:
      // Options in headers have no effect on a path of one hop; routers drop them anyway.
      return value.size() > 40 ? Errno::kEINVAL : base::Result<void>();
    case kIP_MULTICAST_IF: {
      if (type() == kSOCK_STREAM) return Errno::kEINVAL;
      if (value.size() < sizeof(uint32_t)) return Errno::kEINVAL;
      IpMreqn m{};
      if (value.size() >= sizeof m) {
        memcpy(&m, value.data(), sizeof m);
      } else if (value.size() >= 2 * sizeof(uint32_t)) {
        memcpy(&m, value.data(), 2 * sizeof(uint32_t));
      } else {
        memcpy(&m.address, value.data(), sizeof m.address);
      }
      base::Result<int32_t> index = index_of(m.address, m.ifindex);
      if (!index.ok()) return Errno::kEADDRNOTAVAIL;
      multicast_if_.store(*index);
      return {};
    }
    case kIP_ADD_MEMBERSHIP:
    case kIP_DROP_MEMBERSHIP: {
      IpMreqn m{};
      if (type() == kSOCK_STREAM) return Errno::kEPROTO;
      if (value.size() < 2 * sizeof(uint32_t)) return Errno::kEINVAL;
      memcpy(&m, value.data(), std::min(value.size(), sizeof m));
      const int32_t index = TRY(index_of(m.address, m.ifindex));
      return ChangeGroup(IpAddress::V4(ntohl(m.multiaddr)), index, name == kIP_ADD_MEMBERSHIP);
    }
    case kIP_ADD_SOURCE_MEMBERSHIP:
    case kIP_DROP_SOURCE_MEMBERSHIP: {
      // Filtering by source is left to the program.
      const IpMreqSource m = TRY(ReadOption<IpMreqSource>(value));
      const int32_t index = TRY(index_of(m.interface, 0));
      return ChangeGroup(IpAddress::V4(ntohl(m.multiaddr)), index,
                         name == kIP_ADD_SOURCE_MEMBERSHIP);
    }
    default:
      return Errno::kENOPROTOOPT;
  }
}

base::Result<void> InetSocket::SetIpv6(Task& task, int32_t name, std::span<const uint8_t> value) {
  switch (name) {
    case kIPV6_ADD_MEMBERSHIP:
    case kIPV6_DROP_MEMBERSHIP: {
      const Ipv6Mreq m = TRY(ReadOption<Ipv6Mreq>(value));
      if (type() == kSOCK_STREAM) return Errno::kEPROTO;
      return ChangeGroup(IpAddress::V6(m.multiaddr), m.ifindex, name == kIPV6_ADD_MEMBERSHIP);
    }
    case kIPV6_PKTINFO:
      if (!value.empty()) TRY(ReadOption<In6Pktinfo>(value));
      return {};
    default:
      return Errno::kENOPROTOOPT;
  }
}

base::Result<void> InetSocket::SetSocketLevel(Task& task, int32_t name,
                                              std::span<const uint8_t> value) {
  int32_t index = 0;
  switch (name) {
    case kSO_BINDTODEVICE: {
      const std::string_view text =
          NameIn(value.first(std::min<size_t>(value.size(), kIFNAMSIZ - 1)));
      if (!text.empty()) {
        index = stack_->InterfaceIndex(text);
        if (index == 0) return Errno::kENODEV;
      }
      break;
    }
    case kSO_BINDTOIFINDEX:
      index = TRY(ReadOption<int32_t>(value));
      if (index < 0) return Errno::kEINVAL;
      break;
    case kSO_ATTACH_REUSEPORT_CBPF:
    case kSO_DETACH_REUSEPORT_BPF:
      return Errno::kEINVAL;  // no ports
    default:
      return Errno::kENOPROTOOPT;
  }
  // sock_bindtoindex_locked().
  if (device() != 0 && !task.creds().HasIn(*stack_->owner(), kCAP_NET_RAW)) return Errno::kEPERM;
  device_.store(index);
  return {};
}

base::Result<void> InetSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                               std::span<const uint8_t> value) {
  if ((level == kSOL_IP || level == kSOL_IPV6) &&
      (name == kMCAST_JOIN_GROUP || name == kMCAST_LEAVE_GROUP)) {
    const GroupReq g = TRY(ReadOption<GroupReq>(value));
    SockAddr a;
    memcpy(a.bytes.data(), &g.group, sizeof g.group);
    a.len = sizeof g.group;
    return ChangeGroup(TRY(ParseRemote(a)).addr, static_cast<int32_t>(g.interface),
                       name == kMCAST_JOIN_GROUP);
  }
  if (!LevelFits(*this, level)) return Errno::kENOPROTOOPT;
  if (const IntOption* o = FindOption(level, name)) return SetIntOption(task, *o, value);
  switch (level) {
    case kSOL_SOCKET:
      return SetSocketLevel(task, name, value);
    case kSOL_IP:
      return SetIp(task, name, value);
    case kSOL_IPV6:
      return SetIpv6(task, name, value);
    default:
      return SetProtocolOption(task, level, name, value);
  }
}

base::Result<uint32_t> InetSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                   std::span<uint8_t> out) {
  if (!LevelFits(*this, level)) {
    // do_ip_getsockopt(), do_ipv6_getsockopt().
    return ipv6() ? Errno::kENOPROTOOPT : Errno::kEOPNOTSUPP;
  }
  const bool mtu =
      (level == kSOL_IP && name == kIP_MTU) || (level == kSOL_IPV6 && name == kIPV6_MTU);
  if (mtu) {
    if (!connected()) return Errno::kENOTCONN;
    const int32_t v = kLoopbackMtu;
    return GiveOption(out, v);
  }
  if (const IntOption* o = FindOption(level, name)) {
    if ((o->rules & kWriteOnly) != 0) return Errno::kENOPROTOOPT;
    if ((o->rules & kStream) != 0 && type() != kSOCK_STREAM) return Errno::kEOPNOTSUPP;
    const int32_t v = Option(level, name);
    if ((o->rules & kWide) != 0 && out.size() >= sizeof(int64_t)) {
      const int64_t wide = v;
      return GiveOption(out, wide);
    }
    // A short buffer gets a byte of what fits into one (do_ip_getsockopt()).
    if (level == kSOL_IP && !out.empty() && out.size() < sizeof v && v >= 0 && v <= 255) {
      out[0] = static_cast<uint8_t>(v);
      return uint32_t{1};
    }
    return GiveOption(out, v);
  }
  if (level == kSOL_SOCKET) {
    switch (name) {
      case kSO_BINDTODEVICE: {
        if (device() == 0) return uint32_t{0};
        for (const NetInterface& i : stack_->Interfaces()) {
          if (i.index != device()) continue;
          if (out.size() < kIFNAMSIZ) return Errno::kEINVAL;
          return GiveOption(out, i.name.c_str(), i.name.size() + 1);
        }
        return Errno::kENODEV;
      }
      case kSO_BINDTOIFINDEX: {
        const int32_t v = device();
        return GiveOption(out, v);
      }
      case kSO_PEERCRED: {
        const Ucred none{0, UINT32_MAX, UINT32_MAX};
        return GiveOption(out, none);
      }
      case kSO_MEMINFO: {
        // SK_MEMINFO_*: rmem_alloc, rcvbuf, wmem_alloc, sndbuf, ...
        uint32_t info[9] = {};
        info[0] = QueuedBytes(true).ok() ? *QueuedBytes(true) : 0;
        info[1] = receive_buffer_.load();
        info[3] = send_buffer_.load();
        return GiveOption(out, info);
      }
      default:
        return Errno::kENOPROTOOPT;
    }
  }
  if (level == kSOL_IP && name == kIP_OPTIONS) return uint32_t{0};
  if (level == kSOL_IP && name == kIP_MULTICAST_IF) {
    const uint32_t any = 0;
    return GiveOption(out, any);
  }
  if (level == kSOL_IP || level == kSOL_IPV6) return Errno::kENOPROTOOPT;
  return GetProtocolOption(task, level, name, out);
}

}  // namespace sentry
