// The messages between sentry (client) and net gofer (server), and between the command and the net
// gofer's control socket: fixed little-endian structs in datagrams of SOCK_SEQPACKET sockets, coded
// by gofer/wire/codec.h. Replies come in any order; a donated socket rides with its reply as
// SCM_RIGHTS.
//
// A request that makes a socket has an id of the client's choice, never used twice; it names the
// socket from then on, until kClose.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gofer/wire/codec.h"
#include "netgofer/wire/endpoint.h"

namespace netgofer::wire {

using gofer::wire::Reader;
using gofer::wire::Writer;

inline constexpr size_t kMaxMessage = 64 << 10;
inline constexpr size_t kMaxOptions = 64;      // with one request
inline constexpr size_t kMaxOptionValue = 64;  // bytes
inline constexpr size_t kMaxInterfaces = 64;
inline constexpr size_t kMaxAddresses = 16;  // of one interface
inline constexpr size_t kMaxRoutes = 256;
inline constexpr size_t kMaxName = 15;  // IFNAMSIZ without the NUL

// Request body (after RequestHeader) -> reply body (after ReplyHeader with error 0).
enum class Op : uint32_t {
  kConnect = 1,  // SocketRequest, (OptionHead, bytes)[options]  -> SocketReply; socket
  kListen,       // as kConnect                                  -> SocketReply; socket if published
  kBind,         // as kConnect                                  -> SocketReply; socket
  kSetOption,    // OptionHead, bytes; id of the socket          -> no reply
  kClose,        // id of the socket                             -> no reply
  kDescribe,     // nothing                                      -> Description (below)
  kRaw,          // as kConnect, with raw                        -> SocketReply; relay
};

struct RequestHeader {
  uint32_t op;  // Op
  uint32_t reserved;
  uint64_t id;
};

struct ReplyHeader {
  uint64_t id;
  int32_t error;  // 0 or a positive Linux errno; then nothing follows
  uint32_t fds;   // 0 or 1
};

// A reply of this id, with a socket, answers nothing: the process that served died, all that it had
// made is ended, and the socket leads to the next one. It is the last on its connection.
inline constexpr uint64_t kSuccessorId = 0;

// What kRaw asks for.
enum class RawKind : uint8_t {
  kIp = 1,    // raw(7): protocol is any
  kFrames,    // packet(7), with the link's header
  kPayloads,  // the same without
};

struct SocketRequest {
  Endpoint local;
  Endpoint remote;
  uint32_t backlog;
  int32_t interface;   // of packet(7): all, if 0
  uint16_t ethertype;  // of packet(7)
  uint8_t raw;         // RawKind
  uint8_t reserved;
  uint8_t protocol;  // IPPROTO_TCP, UDP, ICMP, ICMPV6
  uint8_t v6only;
  uint8_t ipv6;  // where neither address tells: local is any
  uint8_t options;
};

struct OptionHead {
  int32_t level;
  int32_t name;
  uint32_t size;
};

enum SocketFlags : uint32_t { kSendsAnywhere = 1, kRelayed = 2 };

// Before each datagram through a relay, either way. To the sentry also without a datagram: what was
// sent before was refused.
struct RelayHead {
  uint8_t refused;
  uint8_t marks;     // RelayMarks: which of the next two are there
  uint8_t tos, ttl;  // of this datagram: IP_TOS or IPV6_TCLASS, IP_TTL or IPV6_HOPLIMIT
};

enum RelayMarks : uint8_t { kTos = 1, kTtl = 2 };

// Before each packet of a raw socket, either way.
struct RawHead {
  Address address;  // of raw(7): where it goes, or came from
  uint32_t scope;   // of that address
  // Of packet(7): struct sockaddr_ll.
  int32_t interface;
  uint16_t ethertype;
  uint16_t hardware;
  uint8_t packet_type;
  uint8_t link_size;
  uint8_t link_address[8];
  uint16_t reserved;
  RelayHead relay;  // to the outside only
};

struct SocketReply {
  Endpoint local;
  Endpoint remote;
  uint32_t flags;  // SocketFlags
};

// Description: u32 flags, u32 n, (InterfaceHead, String name, InterfaceAddress[addresses])[n],
// u32 n, Route[n].
// What of the outside's own loopback can be reached: all of it, or name servers alone.
enum DescriptionFlags : uint32_t { kLoopback = 1, kLoopbackDns = 2 };

struct InterfaceHead {
  int32_t index;
  uint32_t flags;
  uint32_t mtu;
  uint32_t txqlen;
  uint16_t type;
  uint16_t addresses;
  uint8_t hwaddr[6];
  uint16_t reserved;
};

struct InterfaceAddress {
  Address address;
  Address broadcast;
  uint32_t prefix;  // of IPv4 at most 32
};

struct Route {
  Address destination;
  Address gateway;
  Address source;
  int32_t interface;
  uint32_t metric;
  uint8_t prefix;
  uint8_t protocol;
  uint8_t scope;
  uint8_t reserved;
};

// Control. The reply to both is a ControlReply.
enum class ControlOp : uint32_t {
  kSetPolicy = 1,  // u32 cut existing connections that it forbids, then Encode(policy)
};

struct ControlReply {
  int32_t error;
  uint32_t cut;  // connections
};

static_assert(gofer::wire::WireType<RequestHeader> && gofer::wire::WireType<ReplyHeader>);
static_assert(gofer::wire::WireType<RelayHead> && gofer::wire::WireType<RawHead>);
static_assert(gofer::wire::WireType<SocketRequest> && gofer::wire::WireType<SocketReply>);
static_assert(gofer::wire::WireType<InterfaceHead> && gofer::wire::WireType<InterfaceAddress>);
static_assert(gofer::wire::WireType<Route> && gofer::wire::WireType<ControlReply>);
static_assert(gofer::wire::WireType<OptionHead> && gofer::wire::WireType<Prefix>);

}  // namespace netgofer::wire
