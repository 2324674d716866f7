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
  // Answers with the far end, which is then the sentry's alone.
  void Answer(const Done& done, int error);

  Guard& guard_;
  Loop& loop_;
  base::UniqueFd inner_, outer_, far_;
  Watch inner_watch_, outer_watch_;
};

// UDP and ICMP, to one address.
class DatagramRelay : public Relay {
 public:
  using Relay::Relay;
  void Start(base::UniqueFd outer, Done done) override;
  void OnReady(int fd, uint32_t events) override;

 protected:
  // head: what is beside the message.
  virtual void FromInside(const wire::RelayHead& head, std::span<const uint8_t> message);
  // False: the sandbox can't take more now.
  virtual bool FromOutside(const wire::RelayHead& head, std::span<const uint8_t> message);
  bool SendInside(const wire::RelayHead& head, std::span<const uint8_t> message);
  void SendOutside(const wire::RelayHead& head, std::span<const uint8_t> message);

 private:
  void PumpInside();
  void PumpOutside();
  // Tells the sentry that what it sent was refused.
  void RefuseInside();
  // For room inside; nothing is read from outside meanwhile.
  std::vector<uint8_t> waiting_;
  wire::RelayHead waiting_head_{};
  bool waits_ = false;
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
