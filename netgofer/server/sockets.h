// Host sockets as the net gofer makes them: addresses both ways, the options that guests may set.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <span>

#include "netgofer/wire/endpoint.h"
#include "platform/base/fd.h"

namespace netgofer {

struct SocketAddress {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size = sizeof(sockaddr_in6);

  SocketAddress() : v6{} {}
  // family: of the socket; AF_INET6 takes IPv4 addresses mapped.
  SocketAddress(const Endpoint& e, int family);
  Endpoint ToEndpoint() const;
};

// Each returns 0 or -errno.
// Of packet(7): ethertype in host order; interface 0: all.
int BindToLink(int fd, uint16_t ethertype, int interface);
int MakeSocket(int family, int type, int protocol, base::UniqueFd* out);
int BindTo(int fd, const Endpoint& local, int family);
// -EINPROGRESS counts as 0 for TCP: it goes on.
int ConnectTo(int fd, const Endpoint& remote, int family);
Endpoint LocalOf(int fd);
// Resets a TCP connection, both ways, for all who hold it; takes the peer from a datagram socket.
void Disconnect(int fd);
// From now on the socket receives only. Of datagram sockets: there is no way back.
void StopSending(int fd);

// What guests may set is a list; all else is skipped. True: set.
bool SetGuestOption(int fd, int32_t level, int32_t name, std::span<const uint8_t> value);
void SetInt(int fd, int level, int name, int value);

}  // namespace netgofer
