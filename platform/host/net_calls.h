// Host calls that make sockets and give them addresses: the net gofer's alone. Each returns the
// call's value, or -errno. Sockets are made non-blocking and close-on-exec.
#pragma once

#include "platform/host/socket_calls.h"

namespace host {

inline int Socket(int family, int type, int protocol) {
  return static_cast<int>(Call<SYS_socket>(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}
inline int Bind(int fd, const sockaddr* a, socklen_t n) {
  return static_cast<int>(Call<SYS_bind>(fd, a, n));
}
// -EINPROGRESS: the descriptor becomes writable when it is decided, SocketError() tells how.
inline int Connect(int fd, const sockaddr* a, socklen_t n) {
  return static_cast<int>(Call<SYS_connect>(fd, a, n));
}
inline int Listen(int fd, int backlog) { return static_cast<int>(Call<SYS_listen>(fd, backlog)); }

}  // namespace host
