#include "sentry/fs/pipe/pipe.h"

#include <gtest/gtest.h>

#include <string>

#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

base::Result<uint64_t> Put(Pipe& p, const std::string& s, bool packet = false) {
  IoBuffer b = IoBuffer::Kernel(s.data(), s.size());
  return p.Write(b, packet);
}

std::string Get(Pipe& p, size_t n) {
  std::string s(n, '\0');
  IoBuffer b = IoBuffer::Kernel(s.data(), n);
  base::Result<uint64_t> r = p.Read(b);
  if (!r.ok()) return "<error " + std::to_string(r.error().code()) + ">";
  s.resize(*r);
  return s;
}

TEST(Pipe, BytesComeBackInOrder) {
  auto p = base::MakeRef<Pipe>();
  p->OpenEnd(true, true);
  std::string sent, got;
  for (int i = 0; i < 3000; i++) {
    std::string s = std::to_string(i * 7919);
    ASSERT_TRUE(Put(*p, s).ok());
    sent += s;
    got += Get(*p, static_cast<size_t>(i % 11));
  }
  got += Get(*p, 1 << 20);
  EXPECT_EQ(got, sent);
}

TEST(Pipe, Limits) {
  auto p = base::MakeRef<Pipe>();
  p->OpenEnd(true, true);
  EXPECT_EQ(*Put(*p, std::string(100000, 'x')), 65536u);
  EXPECT_TRUE(Put(*p, "x").is(abi::Errno::kEAGAIN));
  EXPECT_EQ(p->PollWrite(), 0u);
  // A buffer is free only when its last byte was read.
  Get(*p, 4095);
  EXPECT_TRUE(Put(*p, "x").is(abi::Errno::kEAGAIN));
  Get(*p, 1);
  EXPECT_EQ(p->PollWrite(), abi::kEPOLLOUT | abi::kEPOLLWRNORM);
  // At most PIPE_BUF bytes: all or nothing.
  ASSERT_TRUE(Put(*p, std::string(4000, 'y')).ok());
  EXPECT_TRUE(Put(*p, std::string(97, 'z')).is(abi::Errno::kEAGAIN));
  EXPECT_EQ(*Put(*p, std::string(96, 'z')), 96u);
}

TEST(Pipe, Size) {
  auto p = base::MakeRef<Pipe>();
  p->OpenEnd(true, true);
  EXPECT_EQ(*p->SetSize(5000, false), 8192u);
  EXPECT_EQ(*Put(*p, std::string(10000, 'x')), 8192u);
  EXPECT_TRUE(p->SetSize(4096, false).is(abi::Errno::kEBUSY));
  EXPECT_TRUE(p->SetSize(2 << 20, false).is(abi::Errno::kEPERM));
  EXPECT_EQ(*p->SetSize(2 << 20, true), 2u << 20);
  EXPECT_EQ(p->bytes(), 8192u);
}

TEST(Pipe, Packets) {
  auto p = base::MakeRef<Pipe>();
  p->OpenEnd(true, true);
  ASSERT_TRUE(Put(*p, "one", true).ok());
  ASSERT_TRUE(Put(*p, "two", true).ok());
  EXPECT_EQ(Get(*p, 100), "one");
  EXPECT_EQ(Get(*p, 1), "t");
  EXPECT_EQ(Get(*p, 100), "<error 11>");
  ASSERT_TRUE(Put(*p, std::string(5000, 'x'), true).ok());
  EXPECT_EQ(Get(*p, 10000).size(), 4096u);
  EXPECT_EQ(Get(*p, 10000).size(), 904u);
}

TEST(Pipe, ClosedEnds) {
  auto p = base::MakeRef<Pipe>();
  p->OpenEnd(true, true);
  ASSERT_TRUE(Put(*p, "left").ok());
  p->CloseEnd(false, true);
  EXPECT_EQ(p->PollRead(0), abi::kEPOLLIN | abi::kEPOLLRDNORM | abi::kEPOLLHUP);
  EXPECT_EQ(Get(*p, 100), "left");
  EXPECT_EQ(Get(*p, 100), "");
  auto q = base::MakeRef<Pipe>();
  q->OpenEnd(true, true);
  q->CloseEnd(true, false);
  EXPECT_TRUE(Put(*q, "x").is(abi::Errno::kEPIPE));
  EXPECT_NE(q->PollWrite() & abi::kEPOLLERR, 0u);
}

TEST(Pipe, PutBack) {
  auto p = base::MakeRef<Pipe>();
  p->OpenEnd(true, true);
  ASSERT_TRUE(Put(*p, "abcdef").ok());
  uint8_t buf[8];
  EXPECT_EQ(*p->Take(buf, 4), 4u);
  p->PutBack(buf + 2, 2);
  EXPECT_EQ(Get(*p, 100), "cdef");
}

}  // namespace
}  // namespace sentry
