#include "sentry/fs/anon/epoll.h"

#include <gtest/gtest.h>

#include "sentry/fs/anon/eventfd.h"

namespace sentry {
namespace {

constexpr uint32_t kIn = abi::kEPOLLIN;

void Add(EventFd& f, uint64_t n) {
  IoBuffer b = IoBuffer::Kernel(&n, sizeof n);
  ASSERT_TRUE(f.Write(b, nullptr, 0).ok());
}
void Drain(EventFd& f) {
  uint64_t v;
  IoBuffer b = IoBuffer::Kernel(&v, sizeof v);
  ASSERT_TRUE(f.Read(b, nullptr, 0).ok());
}

TEST(Epoll, LevelTriggered) {
  auto ep = base::MakeRef<EpollFile>();
  auto ev = base::MakeRef<EventFd>(0, false, 0);
  ASSERT_TRUE(ep->epoll().Add(*ep, 5, *ev, {kIn, 42}).ok());
  EXPECT_TRUE(ep->epoll().Add(*ep, 5, *ev, {kIn, 42}).is(abi::Errno::kEEXIST));
  EXPECT_TRUE(ep->epoll().Take(8).empty());
  Add(*ev, 1);
  for (int i = 0; i < 2; i++) {
    auto got = ep->epoll().Take(8);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(uint64_t{got[0].data}, 42u);
    EXPECT_EQ(got[0].events, kIn);
  }
  EXPECT_EQ(ep->Poll() & kIn, kIn);
  Drain(*ev);
  EXPECT_EQ(ep->Poll(), 0u);
  EXPECT_TRUE(ep->epoll().Take(8).empty());
}

TEST(Epoll, EdgeTriggeredAndOneShot) {
  auto ep = base::MakeRef<EpollFile>();
  auto a = base::MakeRef<EventFd>(0, false, 0);
  auto b = base::MakeRef<EventFd>(0, false, 0);
  ASSERT_TRUE(ep->epoll().Add(*ep, 5, *a, {kIn | abi::kEPOLLET, 1}).ok());
  ASSERT_TRUE(ep->epoll().Add(*ep, 6, *b, {kIn | abi::kEPOLLONESHOT, 2}).ok());
  Add(*a, 1);
  EXPECT_EQ(ep->epoll().Take(8).size(), 1u);
  EXPECT_TRUE(ep->epoll().Take(8).empty());
  Add(*a, 1);
  EXPECT_EQ(ep->epoll().Take(8).size(), 1u);
  Add(*b, 1);
  EXPECT_EQ(ep->epoll().Take(8).size(), 1u);
  Add(*b, 1);
  EXPECT_TRUE(ep->epoll().Take(8).empty());
  ASSERT_TRUE(ep->epoll().Modify(6, *b, {kIn | abi::kEPOLLONESHOT, 3}).ok());
  auto got = ep->epoll().Take(8);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(uint64_t{got[0].data}, 3u);
}

TEST(Epoll, LastCloseRemoves) {
  auto ep = base::MakeRef<EpollFile>();
  auto ev = base::MakeRef<EventFd>(1, false, 0);
  ASSERT_TRUE(ep->epoll().Add(*ep, 5, *ev, {kIn, 1}).ok());
  EXPECT_EQ(ep->epoll().Take(8).size(), 1u);
  ev.reset();
  EXPECT_TRUE(ep->epoll().Take(8).empty());
  EXPECT_EQ(ep->Fdinfo(), "");
}

TEST(Epoll, Nesting) {
  auto inner = base::MakeRef<EpollFile>();
  auto outer = base::MakeRef<EpollFile>();
  auto ev = base::MakeRef<EventFd>(0, false, 0);
  ASSERT_TRUE(inner->epoll().Add(*inner, 5, *ev, {kIn, 1}).ok());
  ASSERT_TRUE(outer->epoll().Add(*outer, 6, *inner, {kIn, 2}).ok());
  EXPECT_TRUE(inner->epoll().Add(*inner, 7, *outer, {kIn, 3}).is(abi::Errno::kELOOP));
  Add(*ev, 1);
  EXPECT_EQ(outer->epoll().Take(8).size(), 1u);
  Drain(*ev);
  EXPECT_TRUE(outer->epoll().Take(8).empty());
  // Six levels are too many.
  std::vector<base::Ref<EpollFile>> chain{outer};
  base::Result<void> r;
  for (int i = 0; i < 6 && r.ok(); i++) {
    chain.push_back(base::MakeRef<EpollFile>());
    r = chain.back()->epoll().Add(*chain.back(), 9, *chain[chain.size() - 2], {kIn, 0});
  }
  EXPECT_TRUE(r.is(abi::Errno::kELOOP));
}

TEST(Epoll, OneWaiterPerEvent) {
  auto ep = base::MakeRef<EpollFile>();
  auto ev = base::MakeRef<EventFd>(0, false, 0);
  ASSERT_TRUE(ep->epoll().Add(*ep, 5, *ev, {kIn, 1}).ok());
  Parker p1, p2;
  Epoll::Waiter w1(p1), w2(p2);
  ep->epoll().queue().Add(&w1, kIn, true);
  ep->epoll().queue().Add(&w2, kIn, true);
  Add(*ev, 1);
  EXPECT_TRUE(p1.Park(0));
  EXPECT_FALSE(p2.Park(0));
  // The first one sleeps still: the next event is for the second.
  Add(*ev, 1);
  EXPECT_TRUE(p2.Park(0));
  ep->epoll().queue().Remove(&w1);
  ep->epoll().queue().Remove(&w2);
}

}  // namespace
}  // namespace sentry
