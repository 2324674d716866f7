// What raw(7) and packet(7) sockets share: a queue of whole packets, and a way outside, which is a
// relay of the net gofer's.
#pragma once

#include <deque>
#include <vector>

#include "sentry/socket/inet/host_end.h"
#include "sentry/socket/socket.h"

namespace sentry {

class RawChannel {
 public:
  // A packet, and where it came from.
  struct Frame {
    std::vector<uint8_t> data;
    NetOutside::RawHead head{};
    int64_t stamp = 0;  // CLOCK_REALTIME, ns; 0: not wanted
  };

 protected:
  // queue: the socket's.
  explicit RawChannel(WaitQueue* queue) : queue_(queue) {}
  ~RawChannel() { CloseOutside(); }

  // A frame from outside: the socket's own conditions and filter. False: it isn't for this one.
  virtual bool Admit(Frame* f) = 0;
  // SO_RCVBUF.
  virtual uint32_t receive_room() const = 0;

  // Asks for another relay in place of the one that there is. ERESTARTSYS, and what the outside
  // says.
  base::Result<void> OpenOutside(Task& task, base::Ref<NetOutside> outside, NetOutside::Request r);
  void CloseOutside();
  bool has_outside() const { return has_outside_.load(std::memory_order_relaxed); }
  // packet was copied from src behind mark: where it has to be sent again later (EAGAIN), src is
  // put back to there.
  base::Result<void> SendOutside(const NetOutside::RawHead& head, std::span<const uint8_t> packet,
                                 IoBuffer& src, const IoBuffer::Mark& mark);
  void SetOutsideOption(NetOutside::Option o);
  // It is lost: ENETDOWN, once.
  void LoseOutside();

  // Puts a frame into the queue, or drops it where there is no room.
  void Enqueue(Frame f);
  // recvmsg(2) of the next frame, but for where it came from, which *head tells. EAGAIN, EFAULT,
  // and the pending error.
  base::Result<uint64_t> ReceiveFrame(IoBuffer& dst, Socket::RecvArgs& args,
                                      NetOutside::RawHead* head);
  uint32_t PollFrames();
  uint32_t FirstLength();
  int32_t TakeFrameError();
  struct Statistics {
    uint32_t packets = 0, drops = 0;
  };
  // Since they were last taken.
  Statistics TakeStatistics();

 private:
  // What a packet in a receive buffer counts beside its bytes (the kernel's struct sk_buff).
  static constexpr uint64_t kOverhead = 512;
  // Moves what came from outside into the queue, while there is room.
  void Pump();
  base::Result<Frame> Take(bool peek);
  base::Ref<HostEnd> host();

  WaitQueue* const queue_;
  std::atomic<bool> has_outside_{false};
  base::Mutex<base::LockClass::kSocket> frames_mu_;
  base::Ref<HostEnd> host_ GUARDED_BY(frames_mu_);
  std::deque<Frame> frames_ GUARDED_BY(frames_mu_);
  uint64_t cost_ GUARDED_BY(frames_mu_) = 0;
  int32_t error_ GUARDED_BY(frames_mu_) = 0;
  Statistics statistics_ GUARDED_BY(frames_mu_);
};

}  // namespace sentry
