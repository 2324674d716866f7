// What the tests of inet sockets share.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/syscalls/test_util.h"

namespace systest {

inline sockaddr_in V4(uint16_t port, uint32_t addr = INADDR_LOOPBACK) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(addr);
  return a;
}
inline sockaddr_in6 V6(uint16_t port, const char* text = "::1") {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  inet_pton(AF_INET6, text, &a.sin6_addr);
  return a;
}
template <typename A>
inline int Bind(int fd, const A& a) {
  return bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
}
template <typename A>
inline int Connect(int fd, const A& a) {
  return connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
}
template <typename A>
ssize_t SendTo(int fd, const std::string& s, const A& a, int flags = 0) {
  return sendto(fd, s.data(), s.size(), flags, reinterpret_cast<const sockaddr*>(&a), sizeof a);
}
inline uint16_t PortOf(int fd) {
  sockaddr_storage a{};
  socklen_t n = sizeof a;
  EXPECT_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n));
  return ntohs(a.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&a)->sin_port
                                      : reinterpret_cast<sockaddr_in6*>(&a)->sin6_port);
}
inline int Set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}
inline int Get(int fd, int level, int name) {
  int v = -1;
  socklen_t n = sizeof v;
  EXPECT_OK(getsockopt(fd, level, name, &v, &n));
  return v;
}

}  // namespace systest

using systest::Bind;
using systest::Connect;
using systest::Get;
using systest::PortOf;
using systest::Set;
using systest::V4;
using systest::V6;
