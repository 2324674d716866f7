#include "sentry/socket/inet/raw_channel.h"

#include <utility>

#include "sentry/kernel/task.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND;
}  // namespace

base::Result<void> RawChannel::OpenOutside(Task& task, base::Ref<NetOutside> outside,
                                           NetOutside::Request r) {
  base::Ref<HostEnd> made =
      TRY(HostEnd::Ask(task, std::move(outside), &NetOutside::Raw, std::move(r)));
  if (!made) return abi::Errno::kENETUNREACH;
  made->Attach(queue_);
  CloseOutside();
  {
    base::MutexLock lock(frames_mu_);
    host_ = made;
    has_outside_.store(true, std::memory_order_relaxed);
  }
  made->Arm();
  return {};
}

void RawChannel::CloseOutside() {
  base::Ref<HostEnd> old;
  {
    base::MutexLock lock(frames_mu_);
    std::swap(old, host_);
    has_outside_.store(false, std::memory_order_relaxed);
  }
  if (old) old->Detach();
}

base::Ref<HostEnd> RawChannel::host() {
  if (!has_outside()) return nullptr;
  base::MutexLock lock(frames_mu_);
  return host_;
}

base::Result<void> RawChannel::SendOutside(const NetOutside::RawHead& head,
                                           std::span<const uint8_t> packet, IoBuffer& src,
                                           const IoBuffer::Mark& mark) {
  base::Ref<HostEnd> h = host();
  if (!h) return abi::Errno::kENETUNREACH;
  std::vector<uint8_t> message(sizeof head + packet.size());
  memcpy(message.data(), &head, sizeof head);
  if (!packet.empty()) memcpy(message.data() + sizeof head, packet.data(), packet.size());
  base::Result<uint64_t> r = h->SendTo(message.data(), message.size(), nullptr, false, {});
  if (r.is(abi::Errno::kEAGAIN)) src.Rewind(mark);
  // A new policy has ended it.
  if (r.is(abi::Errno::kECONNREFUSED) || r.is(abi::Errno::kENOTCONN)) return abi::Errno::kEPERM;
  if (!r.ok()) return r.error();
  return {};
}

void RawChannel::SetOutsideOption(NetOutside::Option o) {
  if (base::Ref<HostEnd> h = host()) h->SetOption(std::move(o));
}

void RawChannel::LoseOutside() {
  if (!has_outside()) return;
  CloseOutside();
  base::MutexLock lock(frames_mu_);
  error_ = static_cast<int32_t>(abi::Errno::kENETDOWN);
  queue_->Wake(abi::kEPOLLERR | kReadable | kWritable);
}

void RawChannel::Enqueue(Frame f) {
  const uint64_t cost = f.data.size() + kOverhead;
  base::MutexLock lock(frames_mu_);
  statistics_.packets++;
  if (cost_ + cost > receive_room() && !frames_.empty()) {
    statistics_.drops++;
    return;
  }
  cost_ += cost;
  frames_.push_back(std::move(f));
  queue_->Wake(kReadable);
}

void RawChannel::Pump() {
  base::Ref<HostEnd> h = host();
  if (!h) return;
  for (;;) {
    {
      // What finds no room here waits in the relay and in the host's socket.
      base::MutexLock lock(frames_mu_);
      if (cost_ >= receive_room()) return;
    }
    const uint32_t size = h->DatagramBytes();
    if (size == 0) return;
    std::vector<uint8_t> message(size);
    IoBuffer b = IoBuffer::Kernel(message.data(), message.size());
    base::Result<HostEnd::Received> r = h->ReceiveDatagram(b, 0, false);
    if (!r.ok()) return;
    Frame f;
    if (r->bytes < sizeof f.head || r->bytes > message.size()) continue;
    memcpy(&f.head, message.data(), sizeof f.head);
    f.data.assign(message.begin() + sizeof f.head,
                  message.begin() + static_cast<int64_t>(r->bytes));
    if (Admit(&f)) Enqueue(std::move(f));
  }
}

base::Result<RawChannel::Frame> RawChannel::Take(bool peek) {
  Pump();
  base::MutexLock lock(frames_mu_);
  if (error_ != 0) return static_cast<abi::Errno>(std::exchange(error_, 0));
  if (frames_.empty()) return abi::Errno::kEAGAIN;
  if (peek) return frames_.front();
  Frame f = std::move(frames_.front());
  frames_.pop_front();
  cost_ -= f.data.size() + kOverhead;
  return f;
}

base::Result<uint64_t> RawChannel::ReceiveFrame(IoBuffer& dst, Socket::RecvArgs& args,
                                                NetOutside::RawHead* head) {
  if (args.flags & abi::kMSG_ERRQUEUE) return abi::Errno::kEAGAIN;
  const Frame f = TRY(Take((args.flags & abi::kMSG_PEEK) != 0));
  const uint64_t n = std::min<uint64_t>(f.data.size(), dst.remaining());
  if (n < f.data.size()) args.msg_flags |= abi::kMSG_TRUNC;
  if (dst.CopyTo(f.data.data(), n) != n) return abi::Errno::kEFAULT;
  args.full_length = f.data.size();
  args.ancillary.stamp = f.stamp;
  *head = f.head;
  return n;
}

uint32_t RawChannel::PollFrames() {
  Pump();
  base::MutexLock lock(frames_mu_);
  return kWritable | (frames_.empty() ? 0 : kReadable) | (error_ != 0 ? abi::kEPOLLERR : 0);
}

uint32_t RawChannel::FirstLength() {
  Pump();
  base::MutexLock lock(frames_mu_);
  return frames_.empty() ? 0 : static_cast<uint32_t>(frames_.front().data.size());
}

int32_t RawChannel::TakeFrameError() {
  base::MutexLock lock(frames_mu_);
  return std::exchange(error_, 0);
}

RawChannel::Statistics RawChannel::TakeStatistics() {
  base::MutexLock lock(frames_mu_);
  return std::exchange(statistics_, {});
}

}  // namespace sentry
