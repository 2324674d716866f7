// HostEnd: a host socket that the outside gave, as an inet socket uses it: straight between guest
// memory and the host's socket, without a queue of its own.
#pragma once

#include "platform/base/ref.h"
#include "sentry/fs/hostfd/notifier.h"
#include "sentry/mm/io_buffer.h"
#include "sentry/socket/inet/outside.h"
#include "sentry/socket/socket.h"
#include "sentry/wait/wait_queue.h"

struct msghdr;

namespace sentry {

class Task;

class HostEnd final : public base::RefCounted, private HostNotifier::Listener {
 public:
  HostEnd(base::Ref<NetOutside> outside, NetOutside::HostSocket s);
  ~HostEnd() override;

  // Asks the outside, and waits for what it says. Null: it does not reach that port. ERESTARTSYS,
  // and what connect(2), listen(2) or bind(2) tell.
  using Question = void (NetOutside::*)(NetOutside::Request, NetOutside::Done);
  static base::Result<base::Ref<HostEnd>> Ask(Task& task, base::Ref<NetOutside> outside,
                                              Question question, NetOutside::Request r);

  // Whose wait queue is woken when the host's socket gets ready; outlives this.
  void Attach(WaitQueue* queue) { queue_ = queue; }
  // Nothing is announced any more, now or later.
  void Detach();
  // Readiness is announced from now on (a first look at it counts as an announcement).
  void Arm();

  const Endpoint& local() const { return socket_.local; }
  const Endpoint& remote() const { return socket_.remote; }
  bool sends_anywhere() const { return socket_.sends_anywhere; }

  // None blocks: EAGAIN arms. flags: MSG_* of the guest's call that the host shall see.
  base::Result<uint64_t> Send(IoBuffer& src, uint32_t flags);
  // controls: of SOL_IP and SOL_IPV6.
  base::Result<uint64_t> SendTo(const void* data, size_t n, const Endpoint* to, bool ipv6,
                                std::span<const ControlMessage> controls);
  struct Received {
    uint64_t bytes = 0;
    uint32_t flags = 0;  // MSG_TRUNC, MSG_OOB
    Endpoint from;       // of datagrams
    std::vector<ControlMessage> controls;
  };
  // MSG_TRUNC of a stream throws bytes away.
  base::Result<Received> ReceiveStream(IoBuffer& dst, uint32_t flags);
  // controls: what comes beside the message is wanted.
  base::Result<Received> ReceiveDatagram(IoBuffer& dst, uint32_t flags, bool controls);
  base::Result<base::Ref<HostEnd>> Accept();
  base::Result<void> Shutdown(int32_t how);
  // Asks the host only when something may have changed since it was asked last.
  uint32_t Poll();
  // SO_ERROR, which is cleared.
  int32_t TakeError();
  uint32_t ReadableBytes();
  // Of the next datagram.
  uint32_t DatagramBytes();
  // False: not a TCP socket of the host.
  bool Info(abi::TcpInfo* out);
  // Takes effect before what is sent next, where the option is about how data moves; others are the
  // outside's to set, and do nothing on connections that were accepted.
  void SetOption(NetOutside::Option o);
  // The outside that gave them is gone: all connections are reset, as their users see it; nobody
  // comes to listeners, and no datagrams come or go any more (ENETDOWN).
  static void LoseAll();
  bool lost() const { return fate_.load(std::memory_order_acquire) != Fate::kAlive; }

 private:
  // One recvmsg(2) into dst; m has all but the pieces. head: where the message has one.
  base::Result<uint64_t> ReceiveMessage(IoBuffer& dst, msghdr* m, uint32_t flags,
                                        NetOutside::RelayHead* head = nullptr);
  void OnHostReady(uint32_t ready) override;
  base::Error Failed(long r);
  // Zero, or once ECONNRESET after LoseAll().
  int32_t TakeReset();
  void Lose();

  // What Poll() knows while the socket is watched: whether there is something to read, and that
  // some more bytes can be written. What makes a socket readier is announced; what makes it less
  // ready are calls of this class. The word counts both, so that nobody notes what was true before.
  class Readiness {
   public:
    // Nothing is known about reading any more. What Know() takes.
    uint64_t Forget();
    uint64_t Seen() const { return word_.load(std::memory_order_acquire) & ~(kKnown | kReadable); }
    // Nothing was forgotten since then.
    void Know(uint64_t seen, bool readable);
    void Writable(bool writable) { room_.store(writable ? kRoom : 0, std::memory_order_relaxed); }
    void Sent(uint64_t n) { room_.fetch_sub(static_cast<int64_t>(n), std::memory_order_relaxed); }
    // Zero: the host must be asked.
    uint32_t Get() const;

   private:
    // What fits into a socket that poll(2) calls writable, nearly always.
    static constexpr int64_t kRoom = 4096;
    static constexpr uint64_t kKnown = 1, kReadable = 2, kOne = 4;
    std::atomic<uint64_t> word_{0};
    std::atomic<int64_t> room_{0};
  };

  const base::Ref<NetOutside> outside_;
  NetOutside::HostSocket socket_;
  Readiness readiness_;
  std::atomic<WaitQueue*> queue_{nullptr};
  base::Mutex<base::LockClass::kFile> arm_mu_;
  uint64_t watch_ GUARDED_BY(arm_mu_) = 0;
  bool detached_ GUARDED_BY(arm_mu_) = false;
  std::atomic<bool> armed_{false};
  // An end, an error or urgent data was announced: the host is asked each time.
  std::atomic<bool> special_{false};
  enum class Fate : uint8_t { kAlive, kReset, kResetTold };
  std::atomic<Fate> fate_{Fate::kAlive};
};

}  // namespace sentry
