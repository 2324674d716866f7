#include "netgofer/server/relay.h"

#include <cerrno>
#include <utility>

#include "netgofer/server/sockets.h"
#include "netgofer/wire/messages.h"
#include "platform/host/net_calls.h"

namespace netgofer {
namespace {

// Datagrams moved in one turn, so that one socket can't keep the others waiting.
constexpr int kTurn = 32;

// What all relays read into: one thread.
std::vector<uint8_t>& Buffer() {
  static auto* buffer = new std::vector<uint8_t>(64 << 10);
  return *buffer;
}

}  // namespace

int Relay::Open(base::UniqueFd outer, int type) {
  int fds[2];
  if (const long r = host::Socketpair(type | SOCK_NONBLOCK, fds); r < 0) {
    return static_cast<int>(r);
  }
  inner_.reset(fds[0]);
  far_.reset(fds[1]);
  outer_ = std::move(outer);
  return 0;
}

void Relay::Answer(const Done& done, int error) {
  const base::UniqueFd far = std::move(far_);
  done({.error = error,
        .fd = error == 0 ? far.get() : -1,
        .local = error == 0 ? LocalOf(outer_.get()) : Endpoint{},
        .remote = target().remote,
        .flags = wire::kRelayed});
}

void Relay::Stop() {
  inner_watch_.Stop();
  outer_watch_.Stop();
  inner_.reset();
  outer_.reset();
}

void DatagramRelay::Start(base::UniqueFd outer, Done done) {
  int r = Open(std::move(outer), SOCK_DGRAM);
  if (r == 0) r = inner_watch_.Start(loop_, inner_.get(), EPOLLIN, this);
  if (r == 0) r = outer_watch_.Start(loop_, outer_.get(), EPOLLIN, this);
  Answer(done, r);
}

void DatagramRelay::OnReady(int fd, uint32_t events) {
  if (fd == outer_.get()) return PumpOutside();
  if ((events & EPOLLOUT) != 0 && !waiting_.empty()) {
    if (!SendInside(waiting_)) return;
    waiting_.clear();
    inner_watch_.SetEvents(EPOLLIN);
    outer_watch_.SetEvents(EPOLLIN);
  }
  PumpInside();
}

void DatagramRelay::PumpInside() {
  for (int i = 0; i < kTurn && inner_; i++) {
    std::vector<uint8_t>& b = Buffer();
    const long n = host::RecvWithFds(inner_.get(), b.data(), b.size(), {}, nullptr, MSG_DONTWAIT);
    if (n == -EMSGSIZE) continue;
    if (n < 0) return;
    FromInside({b.data(), static_cast<size_t>(n)});
  }
}

void DatagramRelay::PumpOutside() {
  for (int i = 0; i < kTurn && outer_; i++) {
    std::vector<uint8_t>& b = Buffer();
    const long n = host::RecvWithFds(outer_.get(), b.data(), b.size(), {}, nullptr, MSG_DONTWAIT);
    // What ICMP said about datagrams that were sent, and was taken by this read.
    if (n == -ECONNREFUSED) RefuseInside();
    if (n == -ECONNREFUSED || n == -EHOSTUNREACH || n == -ENETUNREACH || n == -EMSGSIZE) continue;
    if (n < 0) return;
    if (!FromOutside({b.data(), static_cast<size_t>(n)})) {
      waiting_.assign(b.begin(), b.begin() + n);
      outer_watch_.SetEvents(0);
      inner_watch_.SetEvents(EPOLLIN | EPOLLOUT);
      return;
    }
  }
}

void DatagramRelay::RefuseInside() {
  // A descriptor that the sentry has already. Errors get lost where datagrams do.
  const int fd = inner_.get();
  host::SendWithFds(fd, nullptr, 0, {&fd, 1}, MSG_DONTWAIT);
}

void DatagramRelay::FromInside(std::span<const uint8_t> message) {
  if (guard_.MaySendDatagram()) SendOutside(message);
}

bool DatagramRelay::FromOutside(std::span<const uint8_t> message) { return SendInside(message); }

bool DatagramRelay::SendInside(std::span<const uint8_t> message) {
  return host::SendWithFds(inner_.get(), message.data(), message.size(), {}, MSG_DONTWAIT) !=
         -EAGAIN;
}

void DatagramRelay::SendOutside(std::span<const uint8_t> message) {
  // Datagrams may get lost.
  host::SendWithFds(outer_.get(), message.data(), message.size(), {}, MSG_DONTWAIT);
}

}  // namespace netgofer
