#include "sentry/fs/hostfd/notifier.h"

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/thread.h"

namespace sentry {

HostNotifier& HostNotifier::Get() {
  // Never destroyed: its thread ends with the process.
  static auto* n = new HostNotifier;
  return *n;
}

bool HostNotifier::StartLocked() {
  if (epoll_.valid()) return true;
  long fd = host::EpollCreate();
  if (fd < 0) return false;
  epoll_.reset(static_cast<int>(fd));
  epoll_fd_ = static_cast<int>(fd);
  if (host::Thread::StartDetached(&HostNotifier::ThreadMain, this) == 0) return true;
  epoll_.reset();
  return false;
}

uint64_t HostNotifier::Add(int fd, Listener* l) {
  base::MutexLock lock(mu_);
  if (!StartLocked()) return 0;
  uint64_t id = next_id_++;
  epoll_event ev{};
  ev.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
  ev.data.u64 = id;
  if (host::EpollCtl(epoll_fd_, EPOLL_CTL_ADD, fd, &ev) < 0) return 0;
  listeners_[id] = l;
  return id;
}

void HostNotifier::Remove(uint64_t id, int fd) {
  base::MutexLock lock(mu_);
  if (listeners_.erase(id) == 0) return;
  epoll_event unused{};
  host::EpollCtl(epoll_fd_, EPOLL_CTL_DEL, fd, &unused);
}

void HostNotifier::ThreadMain(void* self) { static_cast<HostNotifier*>(self)->Run(); }

void HostNotifier::Run() {
  for (;;) {
    epoll_event ev[16];
    long n = host::EpollWait(epoll_fd_, ev, 16, -1);
    if (n < 0) {
      if (n == -EINTR) continue;
      LOG_FATAL("epoll of host descriptors: errno %ld", -n);
    }
    base::MutexLock lock(mu_);
    for (long i = 0; i < n; i++) {
      const uint64_t id = ev[i].data.u64;  // a copy: the kernel's struct is packed
      auto it = listeners_.find(id);
      if (it != listeners_.end()) it->second->OnHostReady(ev[i].events);
    }
  }
}

}  // namespace sentry
