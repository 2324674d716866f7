#include "sentry/socket/inet/host_end.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "sentry/wait/parker.h"
#include "syscalls/abi/epoll.h"

namespace sentry {
namespace {

struct FakeOutside : public NetOutside {
  void Connect(Request, Done done) override { done(abi::Errno::kENETUNREACH); }
  void Listen(Request, Done done) override { done(HostSocket{}); }
  void Bind(Request, Done done) override { done(HostSocket{}); }
  void Raw(Request, Done done) override { done(abi::Errno::kEPERM); }
  void SetOption(uint64_t id, Option o) override { option = o.name; }
  void Closed(uint64_t id) override { closed = id; }
  base::Ref<NetConfig> Config() override { return base::MakeRef<NetConfig>(); }
  uint64_t closed = 0;
  int32_t option = 0;
};

class HostEndTest : public ::testing::Test {
 protected:
  void Open(int type, bool relayed = false) {
    int s[2];
    ASSERT_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
    other_.reset(s[1]);
    NetOutside::HostSocket h;
    h.fd.reset(s[0]);
    h.id = 7;
    h.remote = {.addr = IpAddress::V4(abi::kINADDR_LOOPBACK), .port = 80, .scope_id = 0};
    h.relayed = relayed;
    end_ = base::MakeRef<HostEnd>(outside_, std::move(h));
    end_->Attach(&queue_);
  }
  std::string Receive(uint32_t flags, bool stream) {
    char buf[16];
    IoBuffer b = IoBuffer::Kernel(buf, sizeof buf);
    auto r = stream ? end_->ReceiveStream(b, flags) : end_->ReceiveDatagram(b, flags, false);
    if (!r.ok()) return "<error " + std::to_string(r.error().code()) + ">";
    return std::string(buf, r->bytes);
  }
  base::Ref<FakeOutside> outside_ = base::MakeRef<FakeOutside>();
  WaitQueue queue_;
  base::UniqueFd other_;
  base::Ref<HostEnd> end_;
};

TEST_F(HostEndTest, Stream) {
  Open(SOCK_STREAM);
  EXPECT_EQ(Receive(0, true), "<error 11>");
  ASSERT_EQ(write(other_.get(), "hello", 5), 5);
  EXPECT_EQ(end_->ReadableBytes(), 5u);
  EXPECT_EQ(Receive(abi::kMSG_PEEK, true), "hello");
  EXPECT_EQ(Receive(0, true), "hello");
  IoBuffer b = IoBuffer::Kernel("abc", 3);
  auto sent = end_->Send(b, 0);
  ASSERT_TRUE(sent.ok());
  EXPECT_EQ(*sent, 3u);
  EXPECT_EQ(b.remaining(), 0u);
  EXPECT_TRUE(end_->Shutdown(SHUT_WR).ok());
  char buf[8];
  EXPECT_EQ(read(other_.get(), buf, sizeof buf), 3);
  EXPECT_EQ(read(other_.get(), buf, sizeof buf), 0);
  IoBuffer more = IoBuffer::Kernel("x", 1);
  EXPECT_TRUE(end_->Send(more, 0).is(abi::Errno::kEPIPE));
  other_.reset();
  EXPECT_NE(end_->Poll() & abi::kEPOLLHUP, 0u);
}

TEST_F(HostEndTest, ReadinessReachesTheQueue) {
  Open(SOCK_STREAM);
  EXPECT_EQ(Receive(0, true), "<error 11>");  // arms
  Parker parker;
  Parker::Entry entry(parker);
  queue_.Add(&entry, abi::kEPOLLIN);
  ASSERT_EQ(write(other_.get(), "x", 1), 1);
  EXPECT_TRUE(parker.Park());
  queue_.Remove(&entry);
}

TEST_F(HostEndTest, WhatPollKnows) {
  constexpr uint32_t kIn = abi::kEPOLLIN, kOut = abi::kEPOLLOUT;
  Open(SOCK_STREAM);
  EXPECT_EQ(end_->Poll() & (kIn | kOut), kOut);
  EXPECT_EQ(Receive(0, true), "<error 11>");  // arms
  Parker parker;
  Parker::Entry entry(parker);
  queue_.Add(&entry, kIn | abi::kEPOLLRDHUP);
  auto write_and_wait = [&](const std::string& text) {
    parker.Reset();
    ASSERT_EQ(write(other_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_TRUE(parker.Park());
  };
  for (int i = 0; i < 10; i++) {
    EXPECT_EQ(end_->Poll() & (kIn | kOut), kOut);
    write_and_wait("some");
    EXPECT_EQ(end_->Poll() & (kIn | kOut), kIn | kOut);
    EXPECT_EQ(Receive(abi::kMSG_PEEK, true), "some");
    EXPECT_EQ(end_->Poll() & (kIn | kOut), kIn | kOut);
    EXPECT_EQ(Receive(0, true), "some");
  }
  // As much as was asked for: there is more.
  write_and_wait("sixteen letters, and more");
  EXPECT_EQ(Receive(0, true), "sixteen letters,");
  EXPECT_EQ(end_->Poll() & (kIn | kOut), kIn | kOut);
  EXPECT_EQ(Receive(0, true), " and more");
  EXPECT_EQ(end_->Poll() & (kIn | kOut), kOut);
  // Until nothing fits.
  const std::string block(1024, 'x');
  for (;;) {
    IoBuffer b = IoBuffer::Kernel(block.data(), block.size());
    if (!end_->Send(b, 0).ok()) break;
  }
  EXPECT_EQ(end_->Poll() & (kIn | kOut), 0u);
  std::string got(1 << 20, 0);
  while (read(other_.get(), got.data(), got.size()) > 0) {
  }
  EXPECT_EQ(end_->Poll() & (kIn | kOut), kOut);
  // An end behind data.
  write_and_wait("last");
  parker.Reset();
  ASSERT_EQ(shutdown(other_.get(), SHUT_WR), 0);
  EXPECT_TRUE(parker.Park());
  EXPECT_EQ(Receive(0, true), "last");
  EXPECT_EQ(end_->Poll() & (kIn | abi::kEPOLLRDHUP), kIn | abi::kEPOLLRDHUP);
  queue_.Remove(&entry);
}

TEST_F(HostEndTest, Datagrams) {
  Open(SOCK_DGRAM);
  EXPECT_TRUE(end_->SendTo("one", 3, nullptr, false, {}).ok());
  char buf[8];
  EXPECT_EQ(read(other_.get(), buf, sizeof buf), 3);
  ASSERT_EQ(write(other_.get(), "two", 3), 3);
  ASSERT_EQ(write(other_.get(), "three", 5), 5);
  EXPECT_EQ(Receive(0, false), "two");
  IoBuffer b = IoBuffer::Kernel(buf, 2);
  auto r = end_->ReceiveDatagram(b, 0, false);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->bytes, 2u);
  EXPECT_EQ(r->flags, abi::kMSG_TRUNC);
  EXPECT_EQ(r->from.port, 80);  // a relay has no addresses: the peer asked for
}

TEST_F(HostEndTest, RelayedDatagrams) {
  Open(SOCK_DGRAM, true);
  using Head = NetOutside::RelayHead;
  const ControlMessage ttl = ControlMessage::Of(abi::kSOL_IP, abi::kIP_TTL, int32_t{9});
  ASSERT_TRUE(end_->SendTo("one", 3, nullptr, false, {&ttl, 1}).ok());
  char buf[16];
  ASSERT_EQ(read(other_.get(), buf, sizeof buf), 7);
  Head head;
  memcpy(&head, buf, sizeof head);
  EXPECT_EQ(head.marks, Head::kTtl);
  EXPECT_EQ(head.ttl, 9);
  EXPECT_EQ(std::string(buf + sizeof head, 3), "one");
  head = {.refused = 0, .marks = Head::kTos, .tos = 4, .ttl = 0};
  memcpy(buf, &head, sizeof head);
  memcpy(buf + sizeof head, "two", 3);
  ASSERT_EQ(write(other_.get(), buf, sizeof head + 3), 7);
  EXPECT_EQ(end_->DatagramBytes(), 3u);
  char got[2];
  IoBuffer b = IoBuffer::Kernel(got, sizeof got);
  auto r = end_->ReceiveDatagram(b, abi::kMSG_PEEK | abi::kMSG_TRUNC, true);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->bytes, 3u);
  EXPECT_EQ(std::string(got, 2), "tw");
  ASSERT_EQ(r->controls.size(), 1u);
  EXPECT_EQ(r->controls[0].type, abi::kIP_TOS);
  EXPECT_EQ(Receive(0, false), "two");
  head = {.refused = 1, .marks = 0, .tos = 0, .ttl = 0};
  ASSERT_EQ(write(other_.get(), &head, sizeof head), 4);
  EXPECT_EQ(Receive(0, false), "<error 111>");
  // Nothing that a relay says.
  ASSERT_EQ(write(other_.get(), "x", 1), 1);
  EXPECT_EQ(Receive(0, false), "<error 5>");
}

TEST_F(HostEndTest, TheOutsideIsGone) {
  Open(SOCK_DGRAM);
  HostEnd::LoseAll();
  EXPECT_TRUE(end_->lost());
  EXPECT_EQ(Receive(0, false), "<error 11>");
  EXPECT_TRUE(end_->SendTo("x", 1, nullptr, false, {}).is(abi::Errno::kENETDOWN));
  Open(SOCK_STREAM);
  HostEnd::LoseAll();
  EXPECT_NE(end_->Poll() & abi::kEPOLLERR, 0u);
  EXPECT_EQ(Receive(0, true), "<error 104>");
  EXPECT_EQ(Receive(0, true), "");
  IoBuffer b = IoBuffer::Kernel("x", 1);
  EXPECT_TRUE(end_->Send(b, 0).is(abi::Errno::kEPIPE));
}

TEST_F(HostEndTest, TheOutsideHearsOfTheEnd) {
  Open(SOCK_STREAM);
  end_->SetOption({1, 9, {}});
  EXPECT_EQ(outside_->option, 9);
  EXPECT_EQ(outside_->closed, 0u);
  end_.reset();
  EXPECT_EQ(outside_->closed, 7u);
  char c;
  EXPECT_EQ(read(other_.get(), &c, 1), 0);
}

}  // namespace
}  // namespace sentry
