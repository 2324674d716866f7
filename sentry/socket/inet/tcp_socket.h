// TCP sockets (tcp(7); net/ipv4/tcp.c, af_inet.c).
#pragma once

#include "sentry/socket/inet/tcp_end.h"

namespace sentry {

class TcpSocket : public InetSocket {
 public:
  TcpSocket(base::Ref<NetStack> stack, int32_t family, base::Ref<TcpEnd> end, uint32_t flags);
  ~TcpSocket() override;

  base::Result<void> Bind(Task& task, const SockAddr& addr) override;
  base::Result<void> Listen(Task& task, int32_t backlog) override;
  base::Result<base::Ref<Socket>> Accept(uint32_t flags) override;
  base::Result<void> Connect(Task& task, const SockAddr& addr) override;
  base::Result<void> Shutdown(int32_t how) override;
  base::Result<SockAddr> LocalName() override;
  base::Result<SockAddr> PeerName() override;
  base::Result<uint64_t> Send(Task* task, IoBuffer& src, SendArgs& args) override;
  base::Result<uint64_t> Receive(Task* task, IoBuffer& dst, RecvArgs& args) override;
  uint32_t Poll() override;
  void WillWait(uint32_t mask) override;
  WaitQueue* wait_queue() override { return &end_->queue_; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;
  Row Show() override;
  void OutsideLost(const base::Ref<NetOutside>& next) override;

 protected:
  // There are no segments.
  bool filterable() const override { return false; }
  base::Result<uint32_t> QueuedBytes(bool receive) override;
  bool bound() override;
  bool connected() override;
  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;
  base::Result<void> SetProtocolOption(Task& task, int32_t level, int32_t name,
                                       std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetProtocolOption(Task& task, int32_t level, int32_t name,
                                           std::span<uint8_t> out) override;
  int32_t TakeError() override;
  bool listening() override;
  void OnBufferSize(bool send, uint32_t bytes) override;
  void OnFlag(int32_t name) override;
  base::Ref<HostEnd> host_end() override;

 private:
  using State = TcpEnd::State;
  // Takes a port if there is none yet: any one.
  base::Result<void> AutoBind();
  // Starts a connection; it may stand at once.
  base::Result<void> StartConnect(const Endpoint& to);
  // What the outside is asked for a listener with.
  NetOutside::Request ListenRequest(const Endpoint& local, uint32_t backlog);
  void ConnectOutside(base::Ref<NetOutside> outside, const Endpoint& to);
  // Accepts a connection of the outside's into fresh, which nobody else knows.
  static base::Result<void> TakeFromOutside(HostEnd& listener, TcpEnd& fresh);
  // EAGAIN while it is under way; then its outcome.
  base::Result<void> FinishConnect();
  void Disconnect();
  base::Result<uint64_t> SendToGone(IoBuffer& src);
  // Much at once, piece by piece.
  base::Result<uint64_t> SendLarge(IoBuffer& src, TcpEnd& peer);
  // Copies what is received to dst, or gives it to the caller, who copies it with CopyTaken when
  // the lock is gone.
  base::Result<uint64_t> ReceiveLocked(TcpEnd& e, IoBuffer& dst, RecvArgs& args,
                                       StreamQueue::Slices* taken) REQUIRES_LOCK(e.mu_);
  base::Result<uint64_t> CopyTaken(StreamQueue::Slices taken, IoBuffer& dst, RecvArgs& args);
  base::Result<uint64_t> ReceiveUrgent(IoBuffer& dst, RecvArgs& args);
  abi::TcpInfo Info();

  const base::Ref<TcpEnd> end_;
  // TCP_MAXSEG and TCP_LINGER2 as set, the congestion control's name.
  std::atomic<int32_t> max_segment_{0}, linger2_{60}, defer_accept_{0};
  std::atomic<bool> reno_{false};
};

}  // namespace sentry
