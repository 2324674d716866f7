#include "sentry/socket/unix/unix_socket.h"

#include <gtest/gtest.h>

#include <string>

#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

base::Result<uint64_t> Send(Socket& s, const std::string& data, Ancillary* a = nullptr) {
  IoBuffer b = IoBuffer::Kernel(data.data(), data.size());
  Socket::SendArgs args;
  args.ancillary = a;
  return s.Send(nullptr, b, args);
}

std::string Receive(Socket& s, size_t n, Socket::RecvArgs* args) {
  std::string data(n, '\0');
  IoBuffer b = IoBuffer::Kernel(data.data(), n);
  base::Result<uint64_t> r = s.Receive(nullptr, b, *args);
  if (!r.ok()) return "<error " + std::to_string(r.error().code()) + ">";
  data.resize(*r);
  return data;
}
std::string Receive(Socket& s, size_t n) {
  Socket::RecvArgs args;
  return Receive(s, n, &args);
}

TEST(UnixSocket, Stream) {
  auto p = UnixSocket::Connected(abi::kSOCK_STREAM, 0, {1, 0, 0});
  EXPECT_EQ(p.a->Poll(), abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND);
  ASSERT_TRUE(Send(*p.a, "hello ").ok());
  ASSERT_TRUE(Send(*p.a, "world").ok());
  EXPECT_NE(p.b->Poll() & abi::kEPOLLIN, 0u);
  Socket::RecvArgs peek;
  peek.flags = abi::kMSG_PEEK;
  EXPECT_EQ(Receive(*p.b, 5, &peek), "hello");
  EXPECT_EQ(Receive(*p.b, 100), "hello world");
  EXPECT_EQ(Receive(*p.b, 100), "<error 11>");
  p.a.reset();
  EXPECT_EQ(Receive(*p.b, 100), "");
  EXPECT_TRUE(Send(*p.b, "x").is(abi::Errno::kEPIPE));
  EXPECT_NE(p.b->Poll() & abi::kEPOLLHUP, 0u);
}

TEST(UnixSocket, BufferLimit) {
  auto p = UnixSocket::Connected(abi::kSOCK_STREAM, 0, {1, 0, 0});
  std::string big(1 << 20, 'x');
  uint64_t sent = 0;
  for (;;) {
    auto r = Send(*p.a, big);
    if (!r.ok()) {
      EXPECT_TRUE(r.is(abi::Errno::kEAGAIN));
      break;
    }
    sent += *r;
  }
  EXPECT_EQ(sent, 212992u);
  EXPECT_EQ(p.a->Poll() & abi::kEPOLLOUT, 0u);
  EXPECT_EQ(Receive(*p.b, 1 << 20).size(), sent);
  EXPECT_NE(p.a->Poll() & abi::kEPOLLOUT, 0u);
}

TEST(UnixSocket, CloseWithUnreadDataResets) {
  auto p = UnixSocket::Connected(abi::kSOCK_STREAM, 0, {1, 0, 0});
  ASSERT_TRUE(Send(*p.a, "unread").ok());
  p.b.reset();
  EXPECT_EQ(Receive(*p.a, 10), "<error 104>");
  EXPECT_EQ(Receive(*p.a, 10), "");
}

TEST(UnixSocket, Datagrams) {
  auto p = UnixSocket::Connected(abi::kSOCK_DGRAM, 0, {1, 0, 0});
  ASSERT_TRUE(Send(*p.a, "first").ok());
  ASSERT_TRUE(Send(*p.a, "").ok());
  ASSERT_TRUE(Send(*p.a, "third").ok());
  Socket::RecvArgs args;
  EXPECT_EQ(Receive(*p.b, 3, &args), "fir");
  EXPECT_EQ(args.msg_flags, abi::kMSG_TRUNC);
  EXPECT_EQ(args.full_length, 5u);
  EXPECT_EQ(Receive(*p.b, 10), "");
  EXPECT_EQ(Receive(*p.b, 10), "third");
  int n = 0;
  while (Send(*p.a, "x").ok()) n++;
  EXPECT_EQ(n, 11);
  EXPECT_EQ(p.a->Poll() & abi::kEPOLLOUT, 0u);
  p.b.reset();
  EXPECT_TRUE(Send(*p.a, "x").is(abi::Errno::kECONNREFUSED));
}

TEST(UnixSocket, DescriptorsStayWithTheirBytes) {
  auto p = UnixSocket::Connected(abi::kSOCK_STREAM, 0, {1, 0, 0});
  auto q = UnixSocket::Connected(abi::kSOCK_STREAM, 0, {1, 0, 0});
  ASSERT_TRUE(Send(*p.a, "plain").ok());
  Ancillary with;
  with.files.push_back(q.a);
  ASSERT_TRUE(Send(*p.a, "with", &with).ok());
  ASSERT_TRUE(Send(*p.a, "after").ok());
  Socket::RecvArgs first, second, third;
  EXPECT_EQ(Receive(*p.b, 100, &first), "plain");
  EXPECT_TRUE(first.ancillary.files.empty());
  EXPECT_EQ(Receive(*p.b, 2, &second), "wi");
  ASSERT_EQ(second.ancillary.files.size(), 1u);
  EXPECT_EQ(second.ancillary.files[0].get(), q.a.get());
  EXPECT_EQ(Receive(*p.b, 100, &third), "th");
  EXPECT_TRUE(third.ancillary.files.empty());
  EXPECT_EQ(Receive(*p.b, 100), "after");
}

TEST(UnixSocket, Shutdown) {
  auto p = UnixSocket::Connected(abi::kSOCK_SEQPACKET, 0, {1, 0, 0});
  ASSERT_TRUE(Send(*p.a, "one").ok());
  ASSERT_TRUE(p.a->Shutdown(abi::kSHUT_WR).ok());
  EXPECT_TRUE(Send(*p.a, "x").is(abi::Errno::kEPIPE));
  EXPECT_EQ(Receive(*p.b, 10), "one");
  EXPECT_EQ(Receive(*p.b, 10), "");
  EXPECT_NE(p.b->Poll() & abi::kEPOLLRDHUP, 0u);
  ASSERT_TRUE(Send(*p.b, "back").ok());
  EXPECT_EQ(Receive(*p.a, 10), "back");
}

}  // namespace
}  // namespace sentry
