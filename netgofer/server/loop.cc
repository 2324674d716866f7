#include "netgofer/server/loop.h"

#include <cerrno>

#include "platform/host/host.h"

namespace netgofer {

int Loop::Open() {
  const long fd = host::EpollCreate();
  epoll_.reset(static_cast<int>(fd));
  return fd < 0 ? static_cast<int>(fd) : 0;
}

int Loop::RunOnce() {
  epoll_event events[64];
  const long n = host::EpollWait(epoll_.get(), events, 64, -1);
  if (n < 0) return n == -EINTR ? 0 : static_cast<int>(n);
  for (long i = 0; i < n; i++) {
    const uint64_t id = events[i].data.u64;  // a copy: the kernel's struct is packed
    auto it = entries_.find(id);
    if (it == entries_.end()) continue;
    const Entry e = it->second;
    e.source->OnReady(e.fd, events[i].events);
  }
  return 0;
}

int Watch::Start(Loop& loop, int fd, uint32_t events, Loop::Source* source) {
  Stop();
  const uint64_t id = loop.next_++;
  epoll_event ev{.events = events, .data = {.u64 = id}};
  if (const long r = host::EpollCtl(loop.epoll_.get(), EPOLL_CTL_ADD, fd, &ev); r < 0) {
    return static_cast<int>(r);
  }
  loop.entries_[id] = {fd, source};
  loop_ = &loop;
  fd_ = fd;
  id_ = id;
  events_ = events;
  return 0;
}

void Watch::SetEvents(uint32_t events) {
  if (loop_ == nullptr || events == events_) return;
  epoll_event ev{.events = events, .data = {.u64 = id_}};
  host::EpollCtl(loop_->epoll_.get(), EPOLL_CTL_MOD, fd_, &ev);
  events_ = events;
}

void Watch::Stop() {
  if (loop_ == nullptr) return;
  // The sentry may hold the description still, so closing our descriptor would not be enough.
  host::EpollCtl(loop_->epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr);
  loop_->entries_.erase(id_);
  loop_ = nullptr;
}

}  // namespace netgofer
