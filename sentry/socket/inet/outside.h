// What lies outside a sandbox, as the inet sockets inside see it. Implemented by who owns host
// sockets (the net gofer's client); a network namespace without one has loopback only.
//
// Requests are asynchronous: each is answered exactly once, on any thread, possibly before the call
// returns. The caller holds no lock; a Done takes only locks of sockets and wakes queues.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "platform/base/fd.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"
#include "sentry/socket/inet/address.h"

namespace sentry {

// A network interface with its addresses (ip-link(8), ip-address(8)).
struct NetInterface {
  struct Address {
    IpAddress addr;
    uint8_t prefix = 0;     // bits; of IPv4 at most 32
    IpAddress broadcast{};  // ::, if it has none
  };
  int32_t index = 0;
  std::string name;
  std::string kind;    // of links that the namespace's administrator made (IFLA_INFO_KIND)
  uint32_t flags = 0;  // IFF_*
  uint16_t type = 0;   // ARPHRD_*
  uint32_t mtu = 0;
  uint32_t txqlen = 1000;
  std::array<uint8_t, 6> hwaddr{};
  std::vector<Address> addresses;
};

// A route of the main table (ip-route(8)).
struct NetRoute {
  IpAddress dst{};  // the default route: 0.0.0.0 or ::
  uint8_t prefix = 0;
  IpAddress gateway{};  // ::, if there is none
  IpAddress source{};   // the preferred one; ::, if there is none
  int32_t interface = 0;
  uint32_t metric = 0;
  uint8_t protocol = 2, scope = 0;  // RTPROT_*, RT_SCOPE_*
};

// What the outside looks like to guests, beside lo, which every namespace has by itself. Never
// changed once it is known to others.
struct NetConfig : public base::RefCounted {
  std::vector<NetInterface> interfaces;
  std::vector<NetRoute> routes;
  // What is sent to 127.0.0.0/8 and ::1, and nobody inside listens for, is asked of the outside:
  // all of it, or what goes to name servers (port 53).
  bool loopback = false, loopback_dns = false;
};

class NetOutside : public base::RefCounted {
 public:
  struct Option {
    int32_t level = 0, name = 0;
    absl::InlinedVector<uint8_t, 16> value;
  };
  enum class RawKind : uint8_t {
    kNone,
    kIp,        // raw(7): protocol is any
    kFrames,    // packet(7), with the link's header
    kPayloads,  // the same without
  };
  struct Request {
    uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6
    // Of Raw.
    RawKind raw = RawKind::kNone;
    int32_t interface = 0;   // of packet(7): all, if 0
    uint16_t ethertype = 0;  // of packet(7)
    bool ipv6 = false;       // the guest's socket is of AF_INET6
    bool v6only = false;
    Endpoint local;        // any address, port 0: the outside chooses
    Endpoint remote;       // of Connect
    uint32_t backlog = 0;  // of Listen
    // Set before the socket is bound. What the outside does not let guests set is skipped.
    std::vector<Option> options;
  };
  // Before each datagram through a relay, either way.
  struct RelayHead {
    uint8_t refused;  // from outside, without a datagram: what was sent before was refused
    uint8_t marks;    // which of the next two are there
    uint8_t tos, ttl;
    static constexpr uint8_t kTos = 1, kTtl = 2;
  };
  // Before each packet of a raw socket, either way.
  struct RawHead {
    std::array<uint8_t, 16> address{};  // of raw(7): where it goes, or came from (IpAddress)
    uint32_t scope = 0;
    // Of packet(7): struct sockaddr_ll.
    int32_t interface = 0;
    uint16_t ethertype = 0, hardware = 0;
    uint8_t packet_type = 0, link_size = 0;
    std::array<uint8_t, 8> link_address{};
    uint16_t reserved = 0;
    RelayHead relay{};  // to the outside only
  };
  // A host socket, non-blocking. With local and remote as guests shall see them: nobody asks the
  // host for them.
  struct HostSocket {
    // Invalid after Listen or Bind: the outside doesn't reach this port (it isn't published); the
    // socket is good inside. Of UDP and TCP it may be a relay of the net gofer's (AF_UNIX, of the
    // same type, non-blocking): read, write, shut down, wait for it, and ask it for nothing else.
    base::UniqueFd fd;
    uint64_t id = 0;  // for SetOption and Closed
    Endpoint local, remote;
    // A relay of the net gofer's; of datagrams, each has a RelayHead.
    bool relayed = false;
    // Of Bind: messages may be sent to any address through it. If not, each destination is asked
    // for with Connect (from the same local port), and sent to through the socket that it gives.
    bool sends_anywhere = false;
  };
  // Errors are those that connect(2), listen(2), bind(2) or sendto(2) shall give the guest.
  using Done = std::function<void(base::Result<HostSocket>)>;

  // TCP: answered once the connection stands or has failed. UDP and ICMP: a socket that sends to
  // and receives from remote.
  virtual void Connect(Request r, Done done) = 0;
  // TCP: a listening socket, which the sentry accepts from. EADDRINUSE, EACCES.
  virtual void Listen(Request r, Done done) = 0;
  // UDP and ICMP: a bound socket that receives from anywhere.
  virtual void Bind(Request r, Done done) = 0;

  // Whole packets, of all that comes to the outside: a relay, whose messages have a RawHead each.
  // EPERM: raw sockets aren't allowed outside, or not of this kind.
  virtual void Raw(Request r, Done done) = 0;

  // setsockopt(2) on a socket that was given; without an answer: the sentry has checked the value.
  virtual void SetOption(uint64_t id, Option o) = 0;
  // The sentry has closed its descriptor. Must follow each success: the outside holds the socket
  // open until then, and the peer sees its end only after this.
  virtual void Closed(uint64_t id) = 0;

  // The present one; who shows it asks again each time. May wait for the outside, when it has to
  // start for milliseconds; the caller holds no lock.
  virtual base::Ref<NetConfig> Config() = 0;
};

}  // namespace sentry
