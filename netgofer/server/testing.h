// For tests: a net gofer on a thread, and sockets of an outside on loopback addresses.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "gofer/wire/testing.h"
#include "netgofer/server/server.h"

namespace netgofer::testing {

using ServerThread = gofer::testing::ServerThreadOf<ServerOptions, &ServerMain>;

inline Endpoint At(const std::string& address, uint16_t port) {
  return {.address = ParseAddress(address).value(), .port = port};
}

// A socket bound to an IPv4 address (port 0: any), listening if it is a stream; invalid if it can't
// be bound.
inline base::UniqueFd Outside(int type, const char* address, uint16_t port, uint16_t* bound) {
  base::UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, address, &a.sin_addr);
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  socklen_t n = sizeof a;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&a), n) != 0) return {};
  if (type == SOCK_STREAM && listen(fd.get(), 16) != 0) return {};
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &n);
  *bound = ntohs(a.sin_port);
  return fd;
}

// A datagram through a relay.
inline bool Say(int fd, std::string_view text, wire::RelayHead head = {}) {
  const iovec iov[] = {{&head, sizeof head}, {const_cast<char*>(text.data()), text.size()}};
  return writev(fd, iov, 2) == static_cast<ssize_t>(sizeof head + text.size());
}

// The next message or bytes; "<none>" if nothing comes within the time.
inline std::string Next(int fd, int timeout_ms = 5000) {
  pollfd p{fd, POLLIN, 0};
  if (poll(&p, 1, timeout_ms) <= 0) return "<none>";
  char buffer[65536];
  const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  return n < 0 ? "<error>" : std::string(buffer, static_cast<size_t>(n));
}

// The next datagram of a relay; "<refused>" if it is word of that.
inline std::string Heard(int fd, int timeout_ms = 5000, wire::RelayHead* head = nullptr) {
  const std::string message = Next(fd, timeout_ms);
  wire::RelayHead h;
  if (message.front() == '<' || message.size() < sizeof h) return message;
  memcpy(&h, message.data(), sizeof h);
  if (head != nullptr) *head = h;
  return h.refused != 0 ? "<refused>" : message.substr(sizeof h);
}

}  // namespace netgofer::testing
