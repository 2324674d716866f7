#include "sentry/fs/devpts/console.h"

#include "platform/host/host.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/epoll.h"

namespace sentry {

base::StatusOr<std::unique_ptr<Console>> Console::Create(Devpts& devpts, base::UniqueFd in,
                                                         base::UniqueFd out, uint32_t uid,
                                                         uint32_t gid) {
  base::Result<base::Ref<Terminal>> t = devpts.NewTerminal(uid, gid);
  if (!t.ok()) return base::Status::Error("no pseudo-terminal left for the console");
  std::unique_ptr<Console> c(new Console);
  c->terminal_ = std::move(*t);
  c->terminal_->Unlock();
  c->in_ = std::move(in);
  c->out_ = std::move(out);
  long ev = host::Eventfd(0, EFD_NONBLOCK);
  if (ev < 0) return base::Status::Errno("eventfd", static_cast<int>(-ev));
  c->event_.reset(static_cast<int>(ev));
  abi::Winsize w{};
  if (host::Ioctl(c->in_.get(), TIOCGWINSZ, &w) == 0) c->terminal_->SetWindowSize(w);
  c->terminal_->master_queue().Add(&c->waker_, ~uint32_t{0});
  if (long r = c->thread_.Start(&Console::ThreadMain, c.get()); r < 0) {
    c->terminal_->master_queue().Remove(&c->waker_);
    return base::Status::Errno("console thread", static_cast<int>(-r));
  }
  return c;
}

Console::~Console() {
  if (!terminal_) return;
  if (event_.valid() && !stop_.exchange(true)) {
    uint64_t one = 1;
    host::Write(event_.get(), &one, sizeof one);
    thread_.Join();
    terminal_->master_queue().Remove(&waker_);
  }
  terminal_->CloseMaster();
}

base::Result<base::Ref<File>> Console::OpenSlave() {
  TRY(terminal_->OpenSlave(true));
  return terminal_->devpts().NewSlaveFile(terminal_, abi::kO_RDWR);
}

void Console::Wake() {
  idle_.store(false, std::memory_order_release);
  if (signalled_.exchange(true, std::memory_order_acq_rel)) return;
  uint64_t one = 1;
  host::Write(event_.get(), &one, sizeof one);
}

void Console::Drain(int64_t timeout_ns) {
  const int64_t end = HostClock().Monotonic() + timeout_ns;
  while (HostClock().Monotonic() < end) {
    if (terminal_->pending_output() == 0 && idle_.load(std::memory_order_acquire)) return;
    timespec soon = host::ToTimespec(HostClock().Monotonic() + 1000000);
    host::SleepUntil(CLOCK_MONOTONIC, &soon);
  }
}

void Console::ThreadMain(void* self) { static_cast<Console*>(self)->Run(); }

void Console::Run() {
  // What poll(2) announces as writable takes at least this much of a terminal without blocking for
  // long.
  constexpr size_t kChunk = 2048;
  uint8_t to_host[kChunk], to_guest[1024];
  size_t out_at = 0, out_end = 0, in_at = 0, in_end = 0;
  bool in_open = true, out_open = true;
  while (!stop_.load(std::memory_order_acquire)) {
    if (out_at == out_end && out_open) {
      IoBuffer b = IoBuffer::Kernel(to_host, kChunk);
      base::Result<uint64_t> r = terminal_->MasterRead(b);
      out_at = 0;
      out_end = r.ok() ? *r : 0;
    }
    if (in_at < in_end) {
      IoBuffer b = IoBuffer::Kernel(to_guest + in_at, in_end - in_at);
      base::Result<uint64_t> r = terminal_->MasterWrite(b);
      if (r.ok()) in_at += *r;
    }
    pollfd p[3] = {{event_.get(), POLLIN, 0}, {-1, 0, 0}, {-1, 0, 0}};
    if (in_open && in_at == in_end) p[1] = {in_.get(), POLLIN, 0};
    if (out_at < out_end) p[2] = {out_.get(), POLLOUT, 0};
    if (out_at == out_end && terminal_->pending_output() == 0) {
      idle_.store(true, std::memory_order_release);
    }
    long n = host::Poll(p, 3, nullptr);
    if (n < 0) continue;
    if (p[0].revents != 0) {
      uint64_t v;
      host::Read(event_.get(), &v, sizeof v);
      // Cleared before the terminal is looked at again, so that no wake-up is lost.
      signalled_.store(false, std::memory_order_release);
    }
    if (p[1].revents != 0) {
      long r = host::Read(in_.get(), to_guest, sizeof to_guest);
      in_at = 0;
      in_end = r > 0 ? static_cast<size_t>(r) : 0;
      if (r <= 0 && r != -EINTR && r != -EAGAIN) {
        in_open = false;
        terminal_->CloseMaster();
      }
    }
    if (p[2].revents != 0) {
      long r = host::Write(out_.get(), to_host + out_at, out_end - out_at);
      if (r > 0) {
        out_at += static_cast<size_t>(r);
      } else if (r != -EINTR && r != -EAGAIN) {
        out_open = false;
        out_at = out_end = 0;
      }
    }
  }
}

}  // namespace sentry
