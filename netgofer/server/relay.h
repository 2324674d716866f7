// Sockets of which the sentry gets one end only, the other is here: what goes through is limited or
// looked at. A donated datagram socket could be made to send anywhere by a hostile sentry, so under
// a policy all datagrams go this way.
#pragma once

#include <array>
#include <deque>
#include <memory>

#include "netgofer/policy/dns.h"
#include "netgofer/server/flow.h"
#include "netgofer/wire/messages.h"
#include "platform/host/net_calls.h"

namespace netgofer {

// What relays share: the sentry's end, given away by Start.
class Relay : public Flow {
 public:
  Relay(Target target, Guard& guard, Loop& loop)
      : Flow(std::move(target)), guard_(guard), loop_(loop) {}
  // outer: connected, or about to be (TCP).
  virtual void Start(base::UniqueFd outer, Done done) = 0;
  int option_fd() const override { return outer_.get(); }
  void Cut() override { Stop(); }
  void Stop() override;

 protected:
  // Makes both ends; 0 or -errno.
  int Open(base::UniqueFd outer, int type);
  // Answers with the far end, which is then the sentry's alone. flags: wire::SocketFlags.
  void Answer(const Done& done, int error, uint32_t flags = wire::kRelayed);

  Guard& guard_;
  Loop& loop_;
  base::UniqueFd inner_, outer_, far_;
  Watch inner_watch_, outer_watch_;
};

// sendmsg(2) with what head marks; to: null for a socket that has a peer.
void SendMarked(int fd, bool v4, const wire::RelayHead& head, std::span<const uint8_t> message,
                const sockaddr* to = nullptr, socklen_t to_size = 0);
// What all relays read into: one thread.
std::vector<uint8_t>& RelayBuffer();

// Message by message, each of which has a head on its way inside the sandbox.
template <typename Head>
class MessageRelay : public Relay {
 public:
  using Relay::Relay;
  void Start(base::UniqueFd outer, Done done) override {
    int r = Open(std::move(outer), SOCK_DGRAM);
    if (r == 0) r = inner_watch_.Start(loop_, inner_.get(), EPOLLIN, this);
    if (r == 0) r = outer_watch_.Start(loop_, outer_.get(), EPOLLIN, this);
    Answer(done, r, flags());
  }
  void OnReady(int fd, uint32_t events) override {
    if (fd == outer_.get()) return PumpOutside();
    if ((events & EPOLLOUT) != 0 && waits_) {
      if (!SendInside(waiting_head_, waiting_)) return;
      waits_ = false;
      inner_watch_.SetEvents(EPOLLIN);
      outer_watch_.SetEvents(EPOLLIN);
    }
    PumpInside();
  }

 protected:
  virtual uint32_t flags() const = 0;  // wire::SocketFlags
  // head: what is beside the message.
  virtual void FromInside(const Head& head, std::span<const uint8_t> message) = 0;
  // A message from outside: its length, or -errno; -EINTR for one that isn't the sandbox's.
  virtual long Receive(std::span<uint8_t> into, Head* head) = 0;
  // False: the sandbox can't take more now.
  virtual bool FromOutside(const Head& head, std::span<const uint8_t> message) {
    return SendInside(head, message);
  }
  bool SendInside(const Head& head, std::span<const uint8_t> message) {
    const iovec iov[] = {{const_cast<Head*>(&head), sizeof head},
                         {const_cast<uint8_t*>(message.data()), message.size()}};
    return host::SendWithFds(inner_.get(), iov, {}, MSG_DONTWAIT) != -EAGAIN;
  }

 private:
  // Messages moved in one turn, so that one socket can't keep the others waiting.
  static constexpr int kTurn = 32;

  void PumpInside() {
    for (int i = 0; i < kTurn && inner_; i++) {
      std::vector<uint8_t>& b = RelayBuffer();
      Head head;
      const iovec iov[] = {{&head, sizeof head}, {b.data(), b.size()}};
      const long n = host::RecvWithFds(inner_.get(), iov, {}, nullptr, MSG_DONTWAIT);
      if (n == -EMSGSIZE || (n >= 0 && n < static_cast<long>(sizeof head))) continue;
      if (n < 0) return;
      FromInside(head, {b.data(), static_cast<size_t>(n) - sizeof head});
    }
  }
  void PumpOutside() {
    for (int i = 0; i < kTurn && outer_; i++) {
      std::vector<uint8_t>& b = RelayBuffer();
      Head head{};
      const long n = Receive(b, &head);
      if (n == -EINTR) continue;
      if (n < 0) return;
      if (!FromOutside(head, {b.data(), static_cast<size_t>(n)})) {
        waiting_.assign(b.begin(), b.begin() + n);
        waiting_head_ = head;
        waits_ = true;
        outer_watch_.SetEvents(0);
        inner_watch_.SetEvents(EPOLLIN | EPOLLOUT);
        return;
      }
    }
  }

  // For room inside; nothing is read from outside meanwhile.
  std::vector<uint8_t> waiting_;
  Head waiting_head_{};
  bool waits_ = false;
};

// UDP and ICMP, to one address.
class DatagramRelay : public MessageRelay<wire::RelayHead> {
 public:
  using MessageRelay::MessageRelay;

 protected:
  uint32_t flags() const override { return wire::kRelayed; }
  void FromInside(const wire::RelayHead& head, std::span<const uint8_t> message) override;
  long Receive(std::span<uint8_t> into, wire::RelayHead* head) override;
  void SendOutside(const wire::RelayHead& head, std::span<const uint8_t> message);
};

// Whole packets of raw(7) and packet(7), with --net-raw. Never donated: nothing could cut such a
// socket, or keep it from sending to where the policy forbids it.
class RawRelay : public MessageRelay<wire::RawHead> {
 public:
  // reachable: of raw(7), whether an address is one that the sandbox has to do with at all.
  using Reachable = std::function<bool(const Address&)>;
  RawRelay(Guard& guard, Loop& loop, int family, bool judged, Reachable reachable)
      : MessageRelay({}, guard, loop),
        family_(family),
        judged_(judged),
        reachable_(std::move(reachable)) {}
  // Beyond what policies can judge: the first one ends it.
  bool sends_freely() const override { return !judged_; }

 protected:
  uint32_t flags() const override { return 0; }
  void FromInside(const wire::RawHead& head, std::span<const uint8_t> message) override;
  long Receive(std::span<uint8_t> into, wire::RawHead* head) override;

 private:
  const int family_;
  const bool judged_;
  const Reachable reachable_;
};

// The questions that are on their way to the resolver, under ids of our own.
class Lookups {
 public:
  // The id to ask under.
  uint16_t Add(dns::Query query);
  // The query that the message answers, if it is a sound answer to one that is still open.
  std::optional<dns::Query> Take(std::span<const uint8_t> message, dns::Answer* answer);
  bool empty() const { return open_.empty(); }

 private:
  static constexpr size_t kMax = 256;
  struct Open {
    uint16_t id;
    dns::Query query;
  };
  std::deque<Open> open_;  // oldest first
};

// Judges a message of the sandbox to a resolver. Empty: it goes on (*forward); else the answer to
// give at once. Both empty: nothing.
std::vector<uint8_t> Screen(Guard& guard, const Flow::Target& resolver, Lookups* lookups,
                            std::span<const uint8_t> message, std::vector<uint8_t>* forward);
// Judges the resolver's answer: what the sandbox gets to see, or nothing.
std::vector<uint8_t> ScreenAnswer(Guard& guard, Lookups* lookups, std::span<const uint8_t> message);

// DNS over UDP.
class DnsRelay : public DatagramRelay {
 public:
  using DatagramRelay::DatagramRelay;

 protected:
  void FromInside(const wire::RelayHead& head, std::span<const uint8_t> message) override;
  bool FromOutside(const wire::RelayHead& head, std::span<const uint8_t> message) override;

 private:
  Lookups lookups_;
};

// DNS over TCP.
class DnsStreamRelay : public Relay {
 public:
  using Relay::Relay;
  void Start(base::UniqueFd outer, Done done) override;
  void OnReady(int fd, uint32_t events) override;

 private:
  // One direction's bytes: messages with a length before each.
  struct Stream {
    std::vector<uint8_t> in, out;
    bool ended = false;
  };
  // False: the stream is over.
  bool Receive(int fd, Stream* s);
  bool Flush(int fd, Stream* s);
  template <typename F>
  void Messages(Stream* s, size_t most, F&& f);
  void Update();

  Done done_;
  Lookups lookups_;
  Stream from_inside_, from_outside_;  // .out goes to the same peer that .in comes from
};

}  // namespace netgofer
