// Host calls on sockets that exist: the sentry's, which makes, connects and binds none, and the net
// gofer's.
#pragma once

#include <netinet/in.h>

#include "platform/host/host.h"

namespace host {

// Non-blocking and close-on-exec.
inline int Accept(int fd, sockaddr* a, socklen_t* n) {
  return static_cast<int>(Call<SYS_accept4>(fd, a, n, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
inline int Getsockname(int fd, sockaddr* a, socklen_t* n) {
  return static_cast<int>(Call<SYS_getsockname>(fd, a, n));
}
inline int Shutdown(int fd, int how) { return static_cast<int>(Call<SYS_shutdown>(fd, how)); }
// SO_ERROR, as -errno; 0: none.
inline int SocketError(int fd) {
  int error = 0;
  socklen_t n = sizeof error;
  long r = Call<SYS_getsockopt>(fd, SOL_SOCKET, SO_ERROR, &error, &n);
  return r < 0 ? static_cast<int>(r) : -error;
}
// struct tcp_info, at most n bytes.
inline long GetTcpInfo(int fd, void* out, size_t n) {
  auto len = static_cast<socklen_t>(n);
  return Call<SYS_getsockopt>(fd, IPPROTO_TCP, 11 /* TCP_INFO */, out, &len);
}
// The filters let each process set what its rows name.
inline int Setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
  return static_cast<int>(Call<SYS_setsockopt>(fd, level, name, value, n));
}

}  // namespace host
