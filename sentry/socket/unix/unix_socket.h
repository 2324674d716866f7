// AF_UNIX sockets (unix(7); net/unix/af_unix.c): stream, datagram, sequenced packets.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <string>

#include "platform/base/mutex.h"
#include "sentry/mm/byte_queue.h"
#include "sentry/socket/socket.h"

namespace sentry {

// What a socket is to its peers, who may hold it longer than its file lives.
class UnixEnd : public base::RefCounted {
 public:
  explicit UnixEnd(int32_t type) : type_(type) {}
  ~UnixEnd() override;
  int32_t type() const { return type_; }
  bool connected_type() const { return type_ != abi::kSOCK_DGRAM; }

  // The last close of the file.
  void Close();

  // For UnixGc: the files that wait here, and in connections that nobody has accepted. The pointers
  // are good for comparison only. TakeFiles removes them from their messages.
  template <typename F>
  void ListFiles(F&& each);
  void TakeFiles(std::vector<Ancillary>* out);

 private:
  friend class UnixSocket;
  struct Packet {
    std::unique_ptr<uint8_t[]> data;
    uint32_t len = 0;
    Ancillary ancillary;
    base::Ref<UnixEnd> sender;  // holds its send budget, and names it
    SockAddr from;
  };
  // Ancillary data of a stream goes with the bytes from a position on.
  struct Mark {
    uint64_t pos;
    Ancillary ancillary;
  };
  enum class State : uint8_t { kClosed, kListening, kConnected };

  bool HasDataLocked() const REQUIRES_LOCK(mu_) {
    return type_ == abi::kSOCK_STREAM ? !stream_.empty() : !packets_.empty();
  }
  // sk_peek_offset(), sk_peek_offset_fwd() and sk_peek_offset_bwd().
  uint64_t PeekOffsetLocked(bool peek) const REQUIRES_LOCK(mu_) {
    return peek && peek_offset_ > 0 ? static_cast<uint64_t>(peek_offset_) : 0;
  }
  void MovePeekOffsetLocked(int64_t by) REQUIRES_LOCK(mu_) {
    if (peek_offset_ < 0) return;
    const int64_t to = std::clamp<int64_t>(peek_offset_ + by, 0, INT32_MAX);
    peek_offset_ = static_cast<int32_t>(to);
  }
  bool Writable() const {
    return uint64_t{in_flight_.load(std::memory_order_relaxed)} * 4 <=
           send_buffer_.load(std::memory_order_relaxed);
  }
  // Bytes of this end that a receiver took: wakes writers when enough room came back.
  void Release(uint64_t n);

  const int32_t type_;
  WaitQueue queue_;       // the file's
  WaitQueue room_queue_;  // who waits for room in this end's queue or backlog
  // Bytes sent that nobody has received, against the send buffer's size.
  std::atomic<uint64_t> in_flight_{0};
  std::atomic<uint32_t> send_buffer_{212992};
  std::atomic<bool> pass_creds_{false};

  base::Mutex<base::LockClass::kSocket> mu_;
  State state_ GUARDED_BY(mu_) = State::kClosed;
  base::Ref<UnixEnd> peer_ GUARDED_BY(mu_);
  bool dead_ GUARDED_BY(mu_) = false;
  bool no_receive_ GUARDED_BY(mu_) = false, no_send_ GUARDED_BY(mu_) = false;  // shutdown
  int32_t error_ GUARDED_BY(mu_) = 0;
  abi::Ucred own_creds_ GUARDED_BY(mu_){0, UINT32_MAX, UINT32_MAX};
  abi::Ucred peer_creds_ GUARDED_BY(mu_){0, UINT32_MAX, UINT32_MAX};

  // Name: unnamed, a path with the inode it stands for, or an abstract one.
  SockAddr name_ GUARDED_BY(mu_);
  base::Ref<Inode> inode_ GUARDED_BY(mu_);
  std::string abstract_key_ GUARDED_BY(mu_);

  // Received: bytes for streams, else packets.
  ByteQueue stream_ GUARDED_BY(mu_);
  uint64_t stream_pos_ GUARDED_BY(mu_) = 0;  // of the queue's front
  std::deque<Mark> marks_ GUARDED_BY(mu_);
  std::deque<Packet> packets_ GUARDED_BY(mu_);
  uint64_t packet_bytes_ GUARDED_BY(mu_) = 0;
  int32_t peek_offset_ GUARDED_BY(mu_) = -1;  // SO_PEEK_OFF; below 0: off
  base::Ref<SocketFilter> filter_ GUARDED_BY(mu_);

  // Listening.
  uint32_t backlog_ GUARDED_BY(mu_) = 0;
  std::deque<base::Ref<UnixEnd>> pending_ GUARDED_BY(mu_);
};

template <typename F>
void UnixEnd::ListFiles(F&& each) {
  std::deque<base::Ref<UnixEnd>> pending;
  {
    base::MutexLock lock(mu_);
    for (const Mark& m : marks_) {
      for (const base::Ref<File>& f : m.ancillary.files) each(f.get());
    }
    for (const Packet& p : packets_) {
      for (const base::Ref<File>& f : p.ancillary.files) each(f.get());
    }
    pending = pending_;
  }
  for (const base::Ref<UnixEnd>& e : pending) e->ListFiles(each);
}

// How many datagrams wait in a receiver at most (net.unix.max_dgram_qlen).
constexpr size_t kMaxQueuedDatagrams = 10;

class UnixSocket : public Socket {
 public:
  static base::Result<base::Ref<Socket>> Create(Task& task, int32_t type, int32_t protocol,
                                                uint32_t flags);
  static base::Result<SocketFamily::Pair> CreatePair(Task& task, int32_t type, int32_t protocol,
                                                     uint32_t flags);
  // net: whose /proc/net/unix shows it; null: nobody's.
  UnixSocket(base::Ref<UnixEnd> end, uint32_t flags, const NetNamespace* net);
  ~UnixSocket() override;

  base::Result<void> Bind(Task& task, const SockAddr& addr) override;
  base::Result<void> Listen(Task& task, int32_t backlog) override;
  base::Result<base::Ref<Socket>> Accept(uint32_t flags) override;
  base::Result<void> Connect(Task& task, const SockAddr& addr) override;
  base::Result<void> Shutdown(int32_t how) override;
  base::Result<SockAddr> LocalName() override;
  base::Result<SockAddr> PeerName() override;
  base::Result<uint64_t> Send(Task* task, IoBuffer& src, SendArgs& args) override;
  base::Ref<base::RefCounted> SendQueue(Task& task, const SendArgs& args,
                                        WaitQueue** queue) override;
  base::Result<uint64_t> Receive(Task* task, IoBuffer& dst, RecvArgs& args) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &end_->queue_; }
  bool signals_io() const override { return true; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;

  UnixEnd& end() const { return *end_; }

  // A pair that is connected, for the sentry and tests.
  static SocketFamily::Pair Connected(int32_t type, uint32_t flags, const abi::Ucred& creds,
                                      const NetNamespace* net = nullptr);

  // Compared only.
  const NetNamespace* net() const { return net_; }
  // Its line of /proc/net/unix.
  std::string Show();

 protected:
  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;
  int32_t TakeError() override;
  bool listening() override;
  void OnBufferSize(bool send, uint32_t bytes) override;
  void OnPassCreds(bool on) override { end_->pass_creds_.store(on, std::memory_order_relaxed); }
  void OnFilter(base::Ref<SocketFilter> filter) override {
    base::MutexLock lock(end_->mu_);
    std::swap(end_->filter_, filter);
  }

 private:
  friend class UnixEnd;
  base::Result<base::Ref<UnixEnd>> Resolve(Task& task, const SockAddr& addr, int32_t type);
  base::Result<void> TryConnect(Task& task, UnixEnd& server);
  base::Result<uint64_t> SendStream(Task* task, IoBuffer& src, SendArgs& args);
  base::Result<uint64_t> SendPacket(Task* task, IoBuffer& src, SendArgs& args);
  base::Result<uint64_t> ReceiveStream(IoBuffer& dst, RecvArgs& args);
  base::Result<uint64_t> ReceivePacket(IoBuffer& dst, RecvArgs& args);
  base::Result<void> AutoBind(Task& task);
  void PrepareCreds(Task* task, SendArgs& args, bool wanted, Ancillary* out);

  const base::Ref<UnixEnd> end_;
  const NetNamespace* const net_;
};

extern const SocketFamily kUnixFamily;

}  // namespace sentry
