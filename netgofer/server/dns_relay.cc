// The DNS proxy: what a sandbox under a policy asks of its resolvers.
#include <cerrno>
#include <utility>

#include "netgofer/server/relay.h"
#include "netgofer/server/sockets.h"
#include "platform/host/net_calls.h"

namespace netgofer {
namespace {

// Bytes that may wait for one peer of a stream before nothing is read from the other.
constexpr size_t kMaxWaiting = 256 << 10;
constexpr size_t kPrefix = 2;  // the length before a message (RFC 7766)

void PutMessage(std::span<const uint8_t> message, std::vector<uint8_t>* out) {
  out->push_back(static_cast<uint8_t>(message.size() >> 8));
  out->push_back(static_cast<uint8_t>(message.size()));
  out->insert(out->end(), message.begin(), message.end());
}

}  // namespace

uint16_t Lookups::Add(dns::Query query) {
  // Nobody answers for ever.
  if (open_.size() == kMax) open_.pop_front();
  // Not to be guessed by who could forge the resolver's address.
  uint16_t id;
  host::Random(&id, sizeof id);
  open_.push_back({id, std::move(query)});
  return id;
}

std::optional<dns::Query> Lookups::Take(std::span<const uint8_t> message, dns::Answer* answer) {
  if (message.size() < 2) return {};
  const auto id = static_cast<uint16_t>(message[0] << 8 | message[1]);
  for (auto it = open_.begin(); it != open_.end(); ++it) {
    if (it->id != id || !dns::ParseAnswer(message, it->query, id, answer)) continue;
    dns::Query query = std::move(it->query);
    open_.erase(it);
    return query;
  }
  return {};
}

std::vector<uint8_t> Screen(Guard& guard, const Flow::Target& resolver, Lookups* lookups,
                            std::span<const uint8_t> message, std::vector<uint8_t>* forward) {
  dns::Query query;
  bool ignore = false;
  const dns::Rcode rcode = dns::ParseQuery(message, &query, &ignore);
  if (ignore) return {};
  if (rcode != dns::Rcode::kNoError) return dns::MakeError(query, rcode);
  if (!guard.MayLookUp(resolver.protocol, resolver.remote, query)) {
    return dns::MakeError(query, dns::Rcode::kRefused);
  }
  const uint16_t id = lookups->Add(query);
  *forward = dns::MakeQuery(query, id);
  return {};
}

std::vector<uint8_t> ScreenAnswer(Guard& guard, Lookups* lookups,
                                  std::span<const uint8_t> message) {
  dns::Answer answer;
  const std::optional<dns::Query> query = lookups->Take(message, &answer);
  if (!query) return {};
  if (!guard.Believe(*query, answer)) return dns::MakeError(*query, dns::Rcode::kRefused);
  std::vector<uint8_t> out(message.begin(), message.end());
  out[0] = static_cast<uint8_t>(query->id >> 8);
  out[1] = static_cast<uint8_t>(query->id);
  return out;
}

void DnsRelay::FromInside(const wire::RelayHead& head, std::span<const uint8_t> message) {
  std::vector<uint8_t> forward;
  const std::vector<uint8_t> reply = Screen(guard_, target(), &lookups_, message, &forward);
  if (!forward.empty()) SendOutside(head, forward);
  // Lost if the sandbox doesn't read: it asks again.
  if (!reply.empty()) SendInside({}, reply);
}

bool DnsRelay::FromOutside(const wire::RelayHead& head, std::span<const uint8_t> message) {
  const std::vector<uint8_t> out = ScreenAnswer(guard_, &lookups_, message);
  if (!out.empty()) SendInside(head, out);
  return true;
}

void DnsStreamRelay::Start(base::UniqueFd outer, Done done) {
  done_ = std::move(done);
  int r = Open(std::move(outer), SOCK_STREAM);
  if (r == 0) r = outer_watch_.Start(loop_, outer_.get(), EPOLLOUT, this);
  if (r < 0) Answer(std::exchange(done_, nullptr), r);
}

bool DnsStreamRelay::Receive(int fd, Stream* s) {
  uint8_t buffer[8192];
  const long n = host::RecvWithFds(fd, buffer, sizeof buffer, {}, nullptr, MSG_DONTWAIT);
  if (n == -EAGAIN || n == -EINTR) return true;
  if (n <= 0) {
    s->ended = true;
    return n == 0;
  }
  s->in.insert(s->in.end(), buffer, buffer + n);
  return true;
}

bool DnsStreamRelay::Flush(int fd, Stream* s) {
  if (s->out.empty()) return true;
  const long n = host::SendWithFds(fd, s->out.data(), s->out.size(), {}, MSG_DONTWAIT);
  if (n == -EAGAIN || n == -EINTR) return true;
  if (n < 0) return false;
  s->out.erase(s->out.begin(), s->out.begin() + n);
  return true;
}

template <typename F>
void DnsStreamRelay::Messages(Stream* s, size_t most, F&& f) {
  size_t at = 0;
  while (s->in.size() - at >= kPrefix) {
    const size_t n = static_cast<size_t>(s->in[at]) << 8 | s->in[at + 1];
    if (n > most) {
      s->ended = true;
      break;
    }
    if (s->in.size() - at - kPrefix < n) break;
    f(std::span<const uint8_t>(s->in.data() + at + kPrefix, n));
    at += kPrefix + n;
  }
  s->in.erase(s->in.begin(), s->in.begin() + static_cast<long>(at));
}

void DnsStreamRelay::OnReady(int fd, uint32_t events) {
  if (done_) {
    int r = host::SocketError(outer_.get());
    if (r == 0) r = inner_watch_.Start(loop_, inner_.get(), EPOLLIN, this);
    if (r == 0) {
      outer_watch_.SetEvents(EPOLLIN);
    } else {
      outer_watch_.Stop();
    }
    return Answer(std::exchange(done_, nullptr), r);
  }
  const bool inside = fd == inner_.get();
  Stream& s = inside ? from_inside_ : from_outside_;
  bool good = Flush(fd, &s);
  if (good && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) good = Receive(fd, &s);
  // Gone altogether, not just done with asking: epoll would tell so again and again.
  if (!good || (inside && (events & EPOLLHUP) != 0)) return Cut();
  if (inside) {
    Messages(&s, dns::kMaxQuery, [&](std::span<const uint8_t> message) {
      std::vector<uint8_t> forward;
      const std::vector<uint8_t> reply = Screen(guard_, target(), &lookups_, message, &forward);
      if (!forward.empty()) PutMessage(forward, &from_outside_.out);
      if (!reply.empty()) PutMessage(reply, &from_inside_.out);
    });
  } else {
    Messages(&s, dns::kMaxMessage, [&](std::span<const uint8_t> message) {
      const std::vector<uint8_t> out = ScreenAnswer(guard_, &lookups_, message);
      if (!out.empty()) PutMessage(out, &from_inside_.out);
    });
  }
  Update();
}

void DnsStreamRelay::Update() {
  if (!Flush(inner_.get(), &from_inside_) || !Flush(outer_.get(), &from_outside_)) return Cut();
  // Either side's end is the end of both, after what is known to be on its way inside.
  if ((from_inside_.ended || from_outside_.ended) && from_inside_.out.empty() &&
      (from_outside_.ended || lookups_.empty())) {
    return Cut();
  }
  if (from_outside_.ended) outer_watch_.Stop();
  auto events = [](const Stream& s, const Stream& other) {
    uint32_t e = s.out.empty() ? 0u : uint32_t{EPOLLOUT};
    if (!s.ended && s.out.size() < kMaxWaiting && other.out.size() < kMaxWaiting) e |= EPOLLIN;
    return e;
  };
  inner_watch_.SetEvents(events(from_inside_, from_outside_));
  outer_watch_.SetEvents(events(from_outside_, from_inside_));
}

}  // namespace netgofer
