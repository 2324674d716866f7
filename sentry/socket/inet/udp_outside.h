// The host sockets of one datagram socket: one for what it is bound to, one for each place outside
// that it sends to. The outside judges each such place.
#pragma once

#include <list>

#include "sentry/socket/inet/host_end.h"

namespace sentry {

class UdpOutside : public base::RefCounted {
 public:
  // queue: the socket's, woken until Detach().
  UdpOutside(base::Ref<NetOutside> outside, WaitQueue* queue)
      : outside_(std::move(outside)), queue_(queue) {}
  // The socket is closed or disconnected: the host's sockets go.
  void Detach();

  // connect(2) and bind(2): wait for the outside's answer.
  base::Result<Endpoint> Connect(Task& task, NetOutside::Request r);
  base::Result<void> Bind(Task& task, NetOutside::Request r);
  // What was outside has ended. Who waited for it hears ENETDOWN, but a bound socket that can be
  // bound `again` only has to be: true.
  bool Lost(bool again);
  // As Bind, without waiting.
  void BindAgain(NetOutside::Request r);
  // Sends to r.remote, at once or when the outside has answered: EAGAIN, or what a host says.
  base::Result<void> Send(NetOutside::Request r, std::span<const uint8_t> data,
                          std::span<const ControlMessage> controls);
  // From whichever socket has something. EAGAIN arms all.
  base::Result<HostEnd::Received> Receive(IoBuffer& dst, uint32_t flags, bool controls);
  // Whether the guest's socket is one that hears of what was sent and refused. Host sockets always
  // do, being connected.
  void set_hears_refusals(bool on) { hears_refusals_.store(on, std::memory_order_relaxed); }
  void SetOption(const NetOutside::Option& o);
  uint32_t Poll();
  // The length of the message that Receive would give.
  uint32_t ReadableBytes();
  void Arm();
  int32_t TakeError();

 private:
  struct Message {
    std::vector<uint8_t> data;
    std::vector<ControlMessage> controls;
  };
  struct Peer {
    Endpoint remote;
    base::Ref<HostEnd> host;  // null: the outside was asked
    std::vector<Message> waiting;
  };
  // The least recently used beyond these goes; what waits for an answer at most.
  static constexpr size_t kMaxPeers = 64, kMaxWaiting = 16;

  // Takes what Bind gave. ENETDOWN: it is lost already.
  base::Result<void> Adopt(base::Ref<HostEnd> bound);
  void Fail(abi::Errno e) REQUIRES_LOCK(mu_);
  void Answered(const Endpoint& remote, bool ipv6, base::Result<NetOutside::HostSocket> answer);
  std::vector<base::Ref<HostEnd>> Hosts();

  // Calls op, again if it told of what nobody shall hear.
  template <typename Op>
  auto WithoutRefusals(Op&& op);

  const base::Ref<NetOutside> outside_;
  std::atomic<bool> hears_refusals_{false};
  base::Mutex<base::LockClass::kSocket> mu_;
  WaitQueue* queue_ GUARDED_BY(mu_);
  base::Ref<HostEnd> bound_ GUARDED_BY(mu_);
  bool binds_ GUARDED_BY(mu_) = false;     // bound_ is there, or lost
  std::list<Peer> peers_ GUARDED_BY(mu_);  // the most recently used first
  int32_t error_ GUARDED_BY(mu_) = 0;      // why the outside refused
};

}  // namespace sentry
