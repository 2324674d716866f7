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
  void SetOption(uint64_t id, Option o) override { option = o.name; }
  void Closed(uint64_t id) override { closed = id; }
  base::Ref<NetConfig> Config() override { return base::MakeRef<NetConfig>(); }
  uint64_t closed = 0;
  int32_t option = 0;
};

class HostEndTest : public ::testing::Test {
 protected:
  void Open(int type) {
    int s[2];
    ASSERT_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
    other_.reset(s[1]);
    NetOutside::HostSocket h;
    h.fd.reset(s[0]);
    h.id = 7;
    h.remote.port = 80;
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
