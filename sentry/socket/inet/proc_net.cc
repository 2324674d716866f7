#include "sentry/socket/inet/proc_net.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>

#include "platform/base/byte_order.h"
#include "sentry/fs/synth/sysctl.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet_socket.h"

namespace sentry {

namespace {

void Print(std::string* out, const char* format, ...) __attribute__((format(printf, 2, 3)));
void Print(std::string* out, const char* format, ...) {
  char line[512];
  va_list args;
  va_start(args, format);
  const int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  out->append(line, static_cast<size_t>(std::clamp(n, 0, static_cast<int>(sizeof line) - 1)));
}

// An address as Linux prints it: words of network byte order, as this machine reads them.
std::string Hex(const IpAddress& a, bool v6) {
  std::string out;
  for (size_t at = v6 ? 0 : 12; at < a.b.size(); at += 4) {
    uint32_t word;
    memcpy(&word, &a.b[at], sizeof word);
    Print(&out, "%08X", word);
  }
  return out;
}

// Raw sockets of all protocols.
constexpr int32_t kRaw = -1;

bool IsOf(const InetSocket& s, int32_t family, int32_t protocol) {
  const bool raw = s.type() == abi::kSOCK_RAW;
  return s.family() == family && (protocol == kRaw ? raw : !raw && s.protocol() == protocol);
}

// tcp4_seq_show(), udp4_seq_show(), raw_seq_show() and their IPv6 likes.
std::string Sockets(NetStack& stack, int32_t family, int32_t protocol) {
  const bool v6 = family == abi::kAF_INET6, tcp = protocol == abi::kIPPROTO_TCP;
  std::string out = v6 ? "  sl  local_address                         remote_address               "
                         "         st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
                       : "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
                         "retrnsmt   uid  timeout inode";
  if (!tcp) out += " ref pointer drops";
  if (!v6) out.resize(tcp ? 149 : 127, ' ');
  out += '\n';
  int line = 0;
  for (const base::Ref<InetSocket>& s : stack.Sockets()) {
    if (!IsOf(*s, family, protocol)) continue;
    const InetSocket::Row r = s->Show();
    if (r.local.port == 0) continue;
    const uint32_t rx = r.receive_queue, tx = r.state == TcpState::kListen ? 0 : r.send_queue;
    Print(&out, "%*d: %s:%04X %s:%04X %02X %08X:%08X 00:00000000 00000000 %5u        0 %lu",
          tcp ? 4 : 5, line++, Hex(r.local.addr, v6).c_str(), r.local.port,
          Hex(r.remote.addr, v6).c_str(), r.remote.port, static_cast<unsigned>(r.state), tx, rx,
          s->uid(), s->inode()->ino());
    out += tcp ? " 1 0000000000000000 100 0 0 10 0\n" : " 2 0000000000000000 0\n";
  }
  return out;
}

std::string Tcp(NetStack& s) { return Sockets(s, abi::kAF_INET, abi::kIPPROTO_TCP); }
std::string Tcp6(NetStack& s) { return Sockets(s, abi::kAF_INET6, abi::kIPPROTO_TCP); }
std::string Udp(NetStack& s) { return Sockets(s, abi::kAF_INET, abi::kIPPROTO_UDP); }
std::string Udp6(NetStack& s) { return Sockets(s, abi::kAF_INET6, abi::kIPPROTO_UDP); }
std::string Icmp(NetStack& s) { return Sockets(s, abi::kAF_INET, abi::kIPPROTO_ICMP); }
std::string Icmp6(NetStack& s) { return Sockets(s, abi::kAF_INET6, abi::kIPPROTO_ICMPV6); }
std::string UdpLite(NetStack& s) { return Sockets(s, abi::kAF_INET, abi::kIPPROTO_UDPLITE); }
std::string UdpLite6(NetStack& s) { return Sockets(s, abi::kAF_INET6, abi::kIPPROTO_UDPLITE); }
std::string Raw(NetStack& s) { return Sockets(s, abi::kAF_INET, kRaw); }
std::string Raw6(NetStack& s) { return Sockets(s, abi::kAF_INET6, kRaw); }

// dev_seq_show(). Packets are counted by message, bytes by payload.
std::string Dev(NetStack& stack) {
  std::string out =
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
      "drop fifo colls carrier compressed\n";
  for (const NetInterface& i : stack.Interfaces()) {
    const bool lo = i.index == kLoopbackIndex;
    const uint64_t bytes = lo ? stack.counters.lo_bytes.load() : 0;
    const uint64_t packets = lo ? stack.counters.lo_packets.load() : 0;
    Print(&out,
          "%6s: %7lu %7lu    0    0    0     0          0         0 %8lu %7lu    0    0    0     0 "
          "      0          0\n",
          i.name.c_str(), bytes, packets, bytes, packets);
  }
  return out;
}

uint32_t Word(const IpAddress& a) { return htonl(a.is_v4() ? a.v4() : 0); }

// fib_route_seq_show().
std::string Routes(NetStack& stack) {
  std::string out =
      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
  out.resize(127, ' ');
  out += '\n';
  const std::vector<NetInterface> interfaces = stack.Interfaces();
  for (const NetRoute& r : stack.Routes()) {
    if (!r.dst.is_v4()) continue;
    const char* name = "*";
    for (const NetInterface& i : interfaces) {
      if (i.index == r.interface) name = i.name.c_str();
    }
    const uint32_t mask = r.prefix == 0 ? 0 : htonl(UINT32_MAX << (32 - r.prefix));
    constexpr unsigned kUp = 1, kGateway = 2, kHost = 4;
    const unsigned flags =
        kUp | (Word(r.gateway) != 0 ? kGateway : 0) | (r.prefix == 32 ? kHost : 0);
    std::string line;
    Print(&line, "%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0", name, Word(r.dst),
          Word(r.gateway), flags, r.metric, mask);
    line.resize(std::max<size_t>(line.size(), 127), ' ');
    out += line + '\n';
  }
  return out;
}

// if6_seq_show().
std::string IfInet6(NetStack& stack) {
  std::string out;
  for (const NetInterface& i : stack.Interfaces()) {
    for (const NetInterface::Address& a : i.addresses) {
      if (a.addr.is_v4()) continue;
      for (uint8_t b : a.addr.b) Print(&out, "%02x", b);
      const unsigned scope = a.addr.is_loopback() ? 0x10 : a.addr.is_link_local() ? 0x20 : 0;
      Print(&out, " %02x %02x %02x 80 %8s\n", static_cast<unsigned>(i.index), a.prefix, scope,
            i.name.c_str());
    }
  }
  return out;
}

int Count(NetStack& stack, int32_t family, int32_t protocol) {
  int n = 0;
  for (const base::Ref<InetSocket>& s : stack.Sockets()) {
    n += IsOf(*s, family, protocol) && s->Show().local.port != 0;
  }
  return n;
}

std::string Sockstat(NetStack& stack) {
  std::string out;
  Print(&out, "sockets: used %zu\n", stack.Sockets().size());
  Print(&out, "TCP: inuse %d orphan 0 tw 0 alloc %d mem 0\n",
        Count(stack, abi::kAF_INET, abi::kIPPROTO_TCP),
        Count(stack, abi::kAF_INET, abi::kIPPROTO_TCP));
  Print(&out, "UDP: inuse %d mem 0\nUDPLITE: inuse %d\nRAW: inuse %d\nFRAG: inuse 0 memory 0\n",
        Count(stack, abi::kAF_INET, abi::kIPPROTO_UDP),
        Count(stack, abi::kAF_INET, abi::kIPPROTO_UDPLITE), Count(stack, abi::kAF_INET, kRaw));
  return out;
}

std::string Sockstat6(NetStack& stack) {
  std::string out;
  Print(&out, "TCP6: inuse %d\nUDP6: inuse %d\nUDPLITE6: inuse %d\nRAW6: inuse %d\n",
        Count(stack, abi::kAF_INET6, abi::kIPPROTO_TCP),
        Count(stack, abi::kAF_INET6, abi::kIPPROTO_UDP),
        Count(stack, abi::kAF_INET6, abi::kIPPROTO_UDPLITE), Count(stack, abi::kAF_INET6, kRaw));
  return out + "FRAG6: inuse 0 memory 0\n";
}

// snmp_seq_show(): what is counted; nothing is retransmitted or malformed.
std::string Snmp(NetStack& stack) {
  const NetCounters& c = stack.counters;
  std::string out;
  Print(&out,
        "Ip: Forwarding DefaultTTL InReceives InDelivers OutRequests\n"
        "Ip: 2 64 %lu %lu %lu\n",
        c.lo_packets.load(), c.lo_packets.load(), c.lo_packets.load());
  int established = 0;
  for (const base::Ref<InetSocket>& s : stack.Sockets()) {
    established += s->protocol() == abi::kIPPROTO_TCP && s->Show().state == TcpState::kEstablished;
  }
  Print(&out,
        "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails "
        "EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n"
        "Tcp: 1 200 120000 -1 %lu %lu %lu %lu %d 0 0 0 0 %lu 0\n",
        c.tcp_active.load(), c.tcp_passive.load(), c.tcp_failed.load(), c.tcp_reset.load(),
        established, c.tcp_reset.load());
  Print(&out,
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
        "IgnoredMulti MemErrors\n"
        "Udp: %lu %lu %lu %lu %lu 0 0 0 0\n",
        c.udp_in.load(), c.udp_no_port.load(), c.udp_overflow.load(), c.udp_out.load(),
        c.udp_overflow.load());
  return out;
}

// netstat_seq_show(): of the extended counters those that programs look for; what they count
// (losses, retransmissions, overflows) doesn't happen inside.
std::string Netstat(NetStack& stack) {
  const uint64_t bytes = stack.counters.lo_bytes.load();
  std::string out;
  Print(&out,
        "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed TW ListenOverflows ListenDrops "
        "TCPLostRetransmit TCPSynRetrans TCPTimeouts TCPAbortOnData TCPAbortOnMemory\n"
        "TcpExt: 0 0 0 0 0 0 0 0 0 0 0\n"
        "IpExt: InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InOctets OutOctets\n"
        "IpExt: 0 0 0 0 %lu %lu\n",
        bytes, bytes);
  return out;
}

// proto_seq_show(), without what is about the host's memory.
std::string Protocols(NetStack& stack) {
  std::string out =
      "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs "
      "se re bi br ha uh gp em\n";
  struct Row {
    const char* name;
    int32_t family, protocol;
    const char* can;
  };
  constexpr Row kRows[] = {
      {"PINGv6", abi::kAF_INET6, abi::kIPPROTO_ICMPV6,
       "y  y  y  n  n  y  n  n  y  y  y  y  y  y  n  y  y  n"},
      {"UDPLITEv6", abi::kAF_INET6, abi::kIPPROTO_UDPLITE,
       "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n"},
      {"UDPv6", abi::kAF_INET6, abi::kIPPROTO_UDP,
       "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n"},
      {"TCPv6", abi::kAF_INET6, abi::kIPPROTO_TCP,
       "y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y"},
      {"UDP-Lite", abi::kAF_INET, abi::kIPPROTO_UDPLITE,
       "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n"},
      {"PING", abi::kAF_INET, abi::kIPPROTO_ICMP,
       "y  y  y  n  n  y  n  n  y  y  y  y  y  y  n  y  y  n"},
      {"UDP", abi::kAF_INET, abi::kIPPROTO_UDP,
       "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n"},
      {"TCP", abi::kAF_INET, abi::kIPPROTO_TCP,
       "y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y"},
  };
  for (const Row& r : kRows) {
    Print(&out, "%-9s %4u %6d  %6d   %-3s %6u   %-3s  %-10s %s\n", r.name, 1024u,
          Count(stack, r.family, r.protocol), 0, "no", 0u, "yes", "kernel", r.can);
  }
  return out;
}

std::string Packet(NetStack& stack) {
  return "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n" +
         stack.ObserverLines();
}
std::string Psched(NetStack&) { return "000003e8 00000040 000f4240 3b9aca00\n"; }
std::string Ptype(NetStack&) {
  return "Type Device      Function\n0800          ip_rcv\n86dd          ipv6_rcv\n";
}

std::string Arp(NetStack&) {
  return "IP address       HW type     Flags       HW address            Mask     Device\n";
}
std::string Empty(NetStack&) { return ""; }

constexpr NetFile kFiles[] = {
    {"arp", &Arp},
    {"dev", &Dev},
    {"dev_mcast", &Empty},
    {"icmp", &Icmp},
    {"icmp6", &Icmp6},
    {"if_inet6", &IfInet6},
    {"igmp6", &Empty},
    {"ipv6_route", &Empty},
    {"netstat", &Netstat},
    {"packet", &Packet},
    {"protocols", &Protocols},
    {"psched", &Psched},
    {"ptype", &Ptype},
    {"raw", &Raw},
    {"raw6", &Raw6},
    {"route", &Routes},
    {"snmp", &Snmp},
    {"sockstat", &Sockstat},
    {"sockstat6", &Sockstat6},
    {"tcp", &Tcp},
    {"tcp6", &Tcp6},
    {"udp", &Udp},
    {"udp6", &Udp6},
    {"udplite", &UdpLite},
    {"udplite6", &UdpLite6},
    {"wireless", &Empty},
};

base::Result<uint32_t> Number(std::string_view text, uint32_t max) {
  uint32_t v[1];
  TRY(ReadSysctl(text, max, v));
  return v[0];
}

std::string Pair(uint32_t low, uint32_t high) {
  return std::to_string(low) + "\t" + std::to_string(high) + "\n";
}

// ipv4_local_port_range().
base::Result<void> WritePortRange(NetStack& s, std::string_view text) {
  const auto [low, high] = s.tcp.range();
  uint32_t range[] = {low, high};
  TRY(ReadSysctl(text, UINT16_MAX, range));
  const uint32_t least = std::max(1u, s.unprivileged_port_start.load());
  if (range[0] < least || range[1] < range[0]) return abi::Errno::kEINVAL;
  for (PortTable* p : {&s.tcp, &s.udp, &s.ping}) {
    p->SetRange(static_cast<uint16_t>(range[0]), static_cast<uint16_t>(range[1]));
  }
  return {};
}

// ipv4_privileged_ports().
base::Result<void> WritePrivilegedPorts(NetStack& s, std::string_view text) {
  const uint32_t start = TRY(Number(text, UINT16_MAX));
  if (s.tcp.range().first < start) return abi::Errno::kEINVAL;
  s.unprivileged_port_start.store(start);
  return {};
}

// As groups of the reader's user namespace.
std::array<uint32_t, 2> PingGroups(const NetStack& s) {
  std::array<uint32_t, 2> groups = {s.ping_group_low.load(), s.ping_group_high.load()};
  if (const Task* t = Task::Current()) {
    for (uint32_t& gid : groups) {
      gid = t->creds().user_ns->GidFromGlobal(gid);
      if (gid == UINT32_MAX) gid = kOverflowId;
    }
  }
  return groups;
}

// ipv4_ping_group_range(): a range that is none is nobody's.
base::Result<void> WritePingGroups(NetStack& s, std::string_view text) {
  std::array<uint32_t, 2> groups = PingGroups(s);
  TRY(ReadSysctl(text, UINT32_MAX - 1, groups));
  bool none = groups[1] < groups[0];
  if (const Task* t = Task::Current()) {
    for (uint32_t& gid : groups) {
      gid = t->creds().user_ns->GidToGlobal(gid);
      if (gid == UINT32_MAX) return abi::Errno::kEINVAL;
    }
    none = none || groups[1] < groups[0];
  }
  s.ping_group_low.store(none ? 1 : groups[0]);
  s.ping_group_high.store(none ? 0 : groups[1]);
  return {};
}

// A setting of no consequence here: Linux's default, for programs that read it.
#define FIXED(path, value)                                             \
  {                                                                    \
    path, [](NetStack&) -> std::string { return value "\n"; }, nullptr \
  }

const NetSetting kSettings[] = {
    {"core/somaxconn", [](NetStack& s) { return std::to_string(s.somaxconn.load()) + "\n"; },
     [](NetStack& s, std::string_view t) -> base::Result<void> {
       s.somaxconn.store(TRY(Number(t, INT32_MAX)));
       return {};
     }},
    {"ipv4/ip_local_port_range",
     [](NetStack& s) {
       const auto [low, high] = s.tcp.range();
       return Pair(low, high);
     },
     &WritePortRange},
    {"ipv4/ip_unprivileged_port_start",
     [](NetStack& s) { return std::to_string(s.unprivileged_port_start.load()) + "\n"; },
     &WritePrivilegedPorts},
    {"ipv4/ping_group_range",
     [](NetStack& s) {
       const auto [low, high] = PingGroups(s);
       return Pair(low, high);
     },
     &WritePingGroups},
    FIXED("core/rmem_default", "212992"),
    FIXED("core/rmem_max", "212992"),
    FIXED("core/wmem_default", "212992"),
    FIXED("core/wmem_max", "212992"),
    FIXED("core/optmem_max", "131072"),
    FIXED("core/netdev_max_backlog", "1000"),
    FIXED("core/default_qdisc", "pfifo_fast"),
    FIXED("ipv4/ip_forward", "0"),
    FIXED("ipv4/ip_default_ttl", "64"),
    FIXED("ipv4/ip_nonlocal_bind", "0"),
    FIXED("ipv4/ip_local_reserved_ports", ""),
    FIXED("ipv4/tcp_rmem", "4096\t131072\t6291456"),
    FIXED("ipv4/tcp_wmem", "4096\t16384\t4194304"),
    FIXED("ipv4/tcp_mem", "94908\t126545\t189816"),
    FIXED("ipv4/udp_mem", "189816\t253090\t379632"),
    FIXED("ipv4/tcp_max_syn_backlog", "512"),
    FIXED("ipv4/tcp_syncookies", "1"),
    FIXED("ipv4/tcp_fastopen", "0"),
    FIXED("ipv4/tcp_fin_timeout", "60"),
    FIXED("ipv4/tcp_tw_reuse", "2"),
    FIXED("ipv4/tcp_keepalive_time", "7200"),
    FIXED("ipv4/tcp_keepalive_intvl", "75"),
    FIXED("ipv4/tcp_keepalive_probes", "9"),
    FIXED("ipv4/tcp_syn_retries", "6"),
    FIXED("ipv4/tcp_retries2", "15"),
    FIXED("ipv4/tcp_window_scaling", "1"),
    FIXED("ipv4/tcp_sack", "1"),
    FIXED("ipv4/tcp_timestamps", "1"),
    FIXED("ipv4/tcp_congestion_control", "cubic"),
    FIXED("ipv4/tcp_available_congestion_control", "reno cubic"),
    FIXED("ipv4/tcp_allowed_congestion_control", "reno cubic"),
    FIXED("ipv4/tcp_abort_on_overflow", "0"),
    FIXED("ipv4/tcp_max_tw_buckets", "131072"),
    FIXED("ipv4/tcp_mtu_probing", "0"),
    FIXED("ipv4/tcp_no_metrics_save", "0"),
    FIXED("ipv4/tcp_slow_start_after_idle", "1"),
    FIXED("ipv4/icmp_echo_ignore_all", "0"),
    FIXED("ipv4/icmp_echo_ignore_broadcasts", "1"),
    FIXED("ipv4/conf/all/forwarding", "0"),
    FIXED("ipv4/conf/all/rp_filter", "0"),
    FIXED("ipv4/conf/default/forwarding", "0"),
    FIXED("ipv4/conf/default/rp_filter", "0"),
    FIXED("ipv4/conf/lo/forwarding", "0"),
    FIXED("ipv6/conf/all/forwarding", "0"),
    FIXED("ipv6/bindv6only", "0"),
    FIXED("ipv6/conf/all/disable_ipv6", "0"),
    FIXED("ipv6/conf/default/disable_ipv6", "0"),
    FIXED("ipv6/conf/lo/disable_ipv6", "0"),
};
#undef FIXED

}  // namespace

std::span<const NetFile> NetFiles() { return kFiles; }
std::span<const NetSetting> NetSettings() { return kSettings; }

}  // namespace sentry
