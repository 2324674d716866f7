#include "sentry/kernel/signal.h"

#include <gtest/gtest.h>

namespace sentry {
namespace {

abi::SigInfo Info(int sig, int32_t code, uint64_t value = 0) {
  abi::SigInfo i = MakeSigInfo(sig, code);
  i.f.rt.value = value;
  return i;
}

TEST(PendingSignals, StandardSignalsAreKeptOnce) {
  PendingSignals p;
  p.Queue(Info(10, 0, 1));
  p.Queue(Info(10, 0, 2));
  EXPECT_EQ(p.queued(), 1u);
  EXPECT_EQ(p.Dequeue(0).f.rt.value, 1u);
  EXPECT_EQ(p.Dequeue(0).signo, 0);
}

TEST(PendingSignals, RealTimeSignalsQueueInOrder) {
  PendingSignals p;
  p.Queue(Info(40, -1, 1));
  p.Queue(Info(35, -1, 9));
  p.Queue(Info(40, -1, 2));
  EXPECT_EQ(p.Dequeue(0).f.rt.value, 9u);
  EXPECT_EQ(p.Dequeue(0).f.rt.value, 1u);
  EXPECT_TRUE(p.Has(40));
  EXPECT_EQ(p.Dequeue(0).f.rt.value, 2u);
  EXPECT_FALSE(p.Has(40));
  EXPECT_EQ(p.queued(), 0u);
}

TEST(PendingSignals, SynchronousOnesFirst) {
  PendingSignals p;
  p.Queue(Info(1, 0));
  p.Queue(Info(11, 1));
  EXPECT_EQ(p.Dequeue(0).signo, 11);
  EXPECT_EQ(p.Dequeue(0).signo, 1);
  p.Queue(Info(11, abi::kSI_USER));
  EXPECT_EQ(p.DequeueSynchronous(0).signo, 0) << "kill(2)'s SIGSEGV is no fault";
  EXPECT_EQ(p.DequeueSynchronous(SignalBit(11)).signo, 0);
}

TEST(PendingSignals, BlockedStay) {
  PendingSignals p;
  p.Queue(Info(10, 0));
  p.Queue(Info(12, 0));
  EXPECT_EQ(p.Dequeue(SignalBit(10)).signo, 12);
  EXPECT_EQ(p.Dequeue(SignalBit(10)).signo, 0);
  EXPECT_EQ(p.pending(), SignalBit(10));
}

TEST(PendingSignals, MarkedSignalsHaveNoInfo) {
  PendingSignals p;
  p.Mark(50);
  abi::SigInfo i = p.Dequeue(0);
  EXPECT_EQ(i.signo, 50);
  EXPECT_EQ(i.code, abi::kSI_USER);
  EXPECT_EQ(i.f.kill.pid, 0);
}

TEST(PendingSignals, DiscardKeepsTheRest) {
  PendingSignals p;
  for (int i = 0; i < 3; i++) p.Queue(Info(40, -1, static_cast<uint64_t>(i)));
  p.Queue(Info(41, -1));
  p.Discard(SignalBit(40));
  EXPECT_EQ(p.queued(), 1u);
  p.Queue(Info(42, -1));
  EXPECT_EQ(p.Dequeue(0).signo, 41);
  EXPECT_EQ(p.Dequeue(0).signo, 42);
}

TEST(SignalHandlers, ExecKeepsOnlyIgnored) {
  auto h = base::MakeRef<SignalHandlers>();
  h->Set(10, abi::SigAction{0x1000, abi::kSA_RESTART, 0, 5});
  h->Set(12, abi::SigAction{abi::kSIG_IGN, 0, 0, 0});
  base::Ref<SignalHandlers> c = h->Clone();
  SignalSet caught, ignored;
  c->Sets(&caught, &ignored);
  EXPECT_EQ(caught, SignalBit(10));
  EXPECT_EQ(ignored, SignalBit(12));
  c->ResetForExec();
  EXPECT_EQ(c->Get(10).handler, abi::kSIG_DFL);
  EXPECT_EQ(c->Get(10).flags, 0u);
  EXPECT_EQ(c->Get(12).handler, abi::kSIG_IGN);
  EXPECT_EQ(h->Get(10).handler, 0x1000u);
}

}  // namespace
}  // namespace sentry
