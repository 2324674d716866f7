#include "sentry/fs/anon/signalfd.h"

#include <algorithm>
#include <cstdio>

#include "sentry/fs/anon/anon_inode.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

namespace {

// signalfd_copyinfo().
abi::SignalfdSiginfo Convert(const abi::SigInfo& i) {
  abi::SignalfdSiginfo o{};
  o.signo = static_cast<uint32_t>(i.signo);
  o.err = i.err;
  o.code = i.code;
  auto low32 = [](uint64_t v) { return static_cast<int32_t>(v); };
  if (i.code == abi::kSI_TIMER) {
    o.tid = static_cast<uint32_t>(i.f.timer.tid);
    o.overrun = static_cast<uint32_t>(i.f.timer.overrun);
    o.ptr = i.f.timer.value;
    o.ival = low32(i.f.timer.value);
  } else if (i.code == abi::kSI_SIGIO || (i.code > 0 && i.signo == abi::kSIGPOLL)) {
    o.band = static_cast<uint32_t>(i.f.poll.band);
    o.fd = i.f.poll.fd;
  } else if (i.code < 0 && i.code != abi::kSI_TKILL) {
    o.pid = static_cast<uint32_t>(i.f.rt.pid);
    o.uid = i.f.rt.uid;
    o.ptr = i.f.rt.value;
    o.ival = low32(i.f.rt.value);
  } else if (i.code > 0 && i.code != abi::kSI_KERNEL && i.signo == abi::kSIGCHLD) {
    o.pid = static_cast<uint32_t>(i.f.chld.pid);
    o.uid = i.f.chld.uid;
    o.status = i.f.chld.status;
    o.utime = static_cast<uint64_t>(i.f.chld.utime);
    o.stime = static_cast<uint64_t>(i.f.chld.stime);
  } else if (i.code > 0 && i.code != abi::kSI_KERNEL && i.signo == abi::kSIGSYS) {
    o.call_addr = i.f.sys.call_addr;
    o.syscall = i.f.sys.syscall;
    o.arch = i.f.sys.arch;
  } else if (i.code > 0 && i.code != abi::kSI_KERNEL &&
             (i.signo == abi::kSIGSEGV || i.signo == abi::kSIGBUS || i.signo == abi::kSIGILL ||
              i.signo == abi::kSIGFPE || i.signo == abi::kSIGTRAP)) {
    o.addr = i.f.fault.addr;
    o.addr_lsb = static_cast<uint16_t>(i.f.fault.addr_lsb);
  } else {
    o.pid = static_cast<uint32_t>(i.f.kill.pid);
    o.uid = i.f.kill.uid;
  }
  return o;
}

}  // namespace

SignalFd::SignalFd(SignalSet mask, uint32_t flags)
    : File(Path{}, AnonInode(), abi::kO_RDWR | (flags & abi::kO_NONBLOCK)),
      mask_(mask & ~kUnblockable) {}

SignalFd::~SignalFd() = default;

void SignalFd::set_mask(SignalSet mask) {
  mask_.store(mask & ~kUnblockable, std::memory_order_release);
  if (WaitQueue* q = wait_queue()) q->Wake(abi::kEPOLLIN);
}

base::Result<uint64_t> SignalFd::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  uint64_t left = dst.remaining() / sizeof(abi::SignalfdSiginfo);
  if (left == 0) return abi::Errno::kEINVAL;
  Task* t = Task::Current();
  if (t == nullptr) return abi::Errno::kEAGAIN;
  SignalSet unwanted = ~mask_.load(std::memory_order_acquire);
  uint64_t done = 0;
  for (; left > 0; left--) {
    abi::SigInfo info{};
    {
      base::MutexLock lock(t->group().signal_mu);
      info = t->pending.Dequeue(unwanted);
      if (info.signo == 0) info = t->group().pending.Dequeue(unwanted);
    }
    if (info.signo == 0) break;
    abi::SignalfdSiginfo out = Convert(info);
    if (dst.CopyTo(&out, sizeof out) != sizeof out) {
      if (done == 0) return abi::Errno::kEFAULT;
      break;
    }
    done += sizeof out;
  }
  if (done == 0) return abi::Errno::kEAGAIN;
  return done;
}

uint32_t SignalFd::Poll() {
  Task* t = Task::Current();
  if (t == nullptr) return 0;
  base::MutexLock lock(t->group().signal_mu);
  SignalSet pending = t->pending.pending() | t->group().pending.pending();
  return (pending & mask_.load(std::memory_order_acquire)) != 0 ? abi::kEPOLLIN : 0;
}

WaitQueue* SignalFd::wait_queue() {
  Task* t = Task::Current();
  if (t == nullptr) return nullptr;
  std::vector<base::Ref<ThreadGroup>> dropped;
  {
    base::MutexLock lock(mu_);
    bool known = std::any_of(groups_.begin(), groups_.end(),
                             [&](const auto& g) { return g.get() == &t->group(); });
    if (!known) {
      for (size_t i = 0; i < groups_.size();) {
        if (groups_[i]->RefCount() == 1 && groups_[i]->signal_queue.empty()) {
          dropped.push_back(std::move(groups_[i]));
          groups_[i] = std::move(groups_.back());
          groups_.pop_back();
        } else {
          i++;
        }
      }
      groups_.push_back(t->group_ref());
    }
  }
  return &t->group().signal_queue;
}

std::string SignalFd::Fdinfo() {
  char line[64];
  int n = snprintf(line, sizeof line, "sigmask:\t%016llx\n",
                   static_cast<unsigned long long>(mask_.load(std::memory_order_relaxed)));
  return std::string(line, n);
}

}  // namespace sentry
