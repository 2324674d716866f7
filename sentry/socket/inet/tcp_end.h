// TcpEnd: one end of a TCP connection, or a listener: what peers hold of a socket, who may do so
// longer than its file lives. There are no segments: what one end sends is put into the other's
// receive queue at once, and counts as acknowledged.
#pragma once

#include <deque>

#include "platform/base/mutex.h"
#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/inet/stream_queue.h"

namespace sentry {

class TcpEnd : public base::RefCounted {
 public:
  explicit TcpEnd(base::Ref<NetStack> stack) : stack_(std::move(stack)) {}
  ~TcpEnd() override;

  // The last close of the file. reset: SO_LINGER of 0 seconds.
  void Close(bool reset);

 private:
  friend class TcpSocket;
  enum class State : uint8_t {
    kClosed,
    kListening,
    kConnecting,  // waits for room at a listener, or for the outside
    kConnected,
    kDone,  // was connected: reset, or both sides have ended
  };
  enum class Urgent : uint8_t { kNone, kValid, kRead };

  // What a window and a send buffer each hold unless somebody sets their sizes: somewhat less than
  // what Linux makes of them when much is sent (tcp_sndbuf_expand(), tcp_rcv_space_adjust()).
  static constexpr uint32_t kDefaultRoom = 1 << 20;
  static constexpr int64_t kTimeWait = 60'000'000'000;  // ns

  // How much may wait in to's queue of what this end sends.
  uint64_t RoomTowards(const TcpEnd& to) const {
    return uint64_t{send_room_.load(std::memory_order_relaxed)} +
           to.receive_room_.load(std::memory_order_relaxed);
  }
  // sk_stream_is_writeable(): a third is free.
  bool Writable(const TcpEnd& to) const {
    return to.queued_.load(std::memory_order_relaxed) * 3 <= RoomTowards(to) * 2;
  }
  TcpState ShownStateLocked() const REQUIRES_LOCK(mu_);
  // The other side ended its sending, or reset the connection.
  void ReceiveFin();
  void ReceiveReset();
  void ResetLocked(abi::Errno e) REQUIRES_LOCK(mu_);
  // Gives its claim of the port back. time_wait: it ended the connection first.
  void Unclaim(bool time_wait);
  // As Unclaim, but what bind(2) claimed stays so.
  void UnclaimConnection();

  // Connects client, which is bound, to listener; if there is no room, it waits there. The caller
  // holds no lock. ECONNREFUSED.
  static base::Result<void> ConnectTo(const base::Ref<TcpEnd>& client, TcpEnd& listener,
                                      const Endpoint& to);
  static base::Ref<TcpEnd> EstablishLocked(const base::Ref<TcpEnd>& client, TcpEnd& listener,
                                           const PortClaim& claim)
      REQUIRES_LOCK(client->mu_, listener.mu_);
  // What the outside says to a connect(2).
  void OutsideConnected(base::Ref<NetOutside> outside, base::Result<NetOutside::HostSocket> answer);
  // Another listener of the outside's, for one that is lost.
  void OutsideListens(base::Ref<HostEnd> host);
  // After a connection was accepted: the next that waits gets its place.
  void AdmitWaiting();

  const base::Ref<NetStack> stack_;
  WaitQueue queue_;                  // the file's
  std::atomic<uint64_t> queued_{0};  // bytes in stream_
  std::atomic<uint32_t> send_room_{kDefaultRoom}, receive_room_{kDefaultRoom};
  std::atomic<bool> oob_inline_{false};

  base::Mutex<base::LockClass::kSocket> mu_;
  State state_ GUARDED_BY(mu_) = State::kClosed;
  // Kept until the end is closed or disconnected. One of the two, once it is connected; a listener
  // has a host_ if the outside reaches it.
  base::Ref<TcpEnd> peer_ GUARDED_BY(mu_);
  base::Ref<HostEnd> host_ GUARDED_BY(mu_);
  std::atomic<bool> outside_{false};   // there is, or was, a host_
  bool dead_ GUARDED_BY(mu_) = false;  // the file is gone
  bool fin_sent_ GUARDED_BY(mu_) = false, fin_received_ GUARDED_BY(mu_) = false;
  bool fin_first_ GUARDED_BY(mu_) = false;   // sent before the peer's came
  bool no_receive_ GUARDED_BY(mu_) = false;  // shutdown(SHUT_RD)
  bool no_send_ GUARDED_BY(mu_) = false;     // shutdown(SHUT_WR) before any connection
  // A non-blocking connect(2) was begun, and its end not yet told (SS_CONNECTING).
  bool connecting_ GUARDED_BY(mu_) = false;
  int32_t error_ GUARDED_BY(mu_) = 0;

  // kBound: by bind(2); kOwn: chosen by connect(2) or listen(2); kShared: accepted.
  enum class Claimed : uint8_t { kNo, kBound, kOwn, kShared };
  Claimed claimed_ GUARDED_BY(mu_) = Claimed::kNo;
  bool paired_ GUARDED_BY(mu_) = false;  // the table has this end's pair of addresses
  PortClaim claim_ GUARDED_BY(mu_);
  Endpoint bound_ GUARDED_BY(mu_);  // as bind(2) said, with kBound
  Endpoint remote_ GUARDED_BY(mu_);

  StreamQueue stream_ GUARDED_BY(mu_);
  uint64_t read_pos_ GUARDED_BY(mu_) = 0;  // of the queue's front
  Urgent urgent_ GUARDED_BY(mu_) = Urgent::kNone;
  uint64_t urgent_pos_ GUARDED_BY(mu_) = 0;
  uint8_t urgent_byte_ GUARDED_BY(mu_) = 0;
  int32_t peek_offset_ GUARDED_BY(mu_) = -1;  // SO_PEEK_OFF
  uint64_t bytes_received_ GUARDED_BY(mu_) = 0, messages_received_ GUARDED_BY(mu_) = 0;
  // The file, for signals about urgent data; null once it is gone.
  File* file_ GUARDED_BY(mu_) = nullptr;

  // Listening.
  uint32_t backlog_ GUARDED_BY(mu_) = 0;
  std::deque<base::Ref<TcpEnd>> pending_ GUARDED_BY(mu_);  // to be accepted
  std::deque<base::Ref<TcpEnd>> waiting_ GUARDED_BY(mu_);  // clients without room
};

}  // namespace sentry
