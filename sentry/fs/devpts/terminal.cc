#include "sentry/fs/devpts/terminal.h"

#include <algorithm>

#include "sentry/fs/devpts/devpts.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/signal.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM;
constexpr int64_t kDecisecond = 100000000;

abi::SigInfo KernelSignal(int sig) {
  abi::SigInfo i{};
  i.signo = sig;
  i.code = abi::kSI_KERNEL;
  return i;
}
}  // namespace

Terminal::Terminal(Kernel& kernel, base::Ref<Devpts> devpts, uint32_t index)
    : kernel_(kernel), devpts_(std::move(devpts)), index_(index) {}

Terminal::~Terminal() {
  std::unique_ptr<Alarm> alarm;
  {
    base::MutexLock lock(mu_);
    alarm = std::move(alarm_);
  }
  if (alarm) alarm->Cancel();
}

void Terminal::Alarm::OnTimer() { owner_.slave_queue_.Wake(kReadable); }

void Terminal::SendSignals(uint64_t signals) {
  for (; signals != 0; signals &= signals - 1) SignalForeground(__builtin_ctzll(signals) + 1);
}

void Terminal::SignalForeground(int sig) {
  base::Ref<ProcessGroup> fg;
  base::MutexLock tree(kernel_.tree_mu);
  fg = foreground_;
  if (fg) kernel_.SendToPgrpLocked(*fg, KernelSignal(sig));
}

void Terminal::PumpLocked(LineDiscipline::Effects* fx) {
  bool any = false;
  while (!input_.empty()) {
    size_t n = ldisc_.Receive(input_.front(), input_.front_size(), fx);
    if (n == 0) break;
    // A signal character may have discarded what was typed ahead of it, never what follows.
    input_.pop(n);
    any = true;
  }
  if (any) last_input_ = HostClock().Monotonic();
}

void Terminal::ApplyLocked(const LineDiscipline::Effects& fx) {
  if (packet_) {
    uint8_t s = packet_status_;
    if (fx.flush_read) s |= abi::kTIOCPKT_FLUSHREAD;
    if (fx.flush_write) s |= abi::kTIOCPKT_FLUSHWRITE;
    if (fx.stopped) s = (s & ~abi::kTIOCPKT_START) | abi::kTIOCPKT_STOP;
    if (fx.started) s = (s & ~abi::kTIOCPKT_STOP) | abi::kTIOCPKT_START;
    packet_status_ = s;
  }
  if (fx.readable && ldisc_.InputAvailable(false)) slave_queue_.Wake(kReadable);
  if (fx.started || fx.flush_write) slave_queue_.Wake(kWritable);
  if (!output_.empty() || (packet_ && packet_status_ != 0)) {
    master_queue_.Wake(kReadable | (packet_status_ != 0 ? abi::kEPOLLPRI : 0));
  }
  if (fx.flush_read) master_queue_.Wake(kWritable);
}

base::Result<uint64_t> Terminal::MasterRead(IoBuffer& dst) {
  if (dst.remaining() == 0) return uint64_t{0};
  base::MutexLock lock(mu_);
  uint64_t done = 0;
  if (packet_ && packet_status_ != 0) {
    uint8_t s = packet_status_;
    if (dst.CopyTo(&s, 1) != 1) return abi::Errno::kEFAULT;
    packet_status_ = 0;
    return uint64_t{1};
  }
  if (output_.empty()) {
    if (slave_opened_ && slaves_ == 0) return abi::Errno::kEIO;
    return abi::Errno::kEAGAIN;
  }
  if (packet_) {
    uint8_t data = abi::kTIOCPKT_DATA;
    if (dst.CopyTo(&data, 1) != 1) return abi::Errno::kEFAULT;
    done = 1;
  }
  bool was_full = output_.size() >= kOutputLimit;
  while (!output_.empty() && dst.remaining() > 0) {
    size_t n = std::min(output_.front_size(), dst.remaining());
    size_t put = dst.CopyTo(output_.front(), n);
    output_.pop(put);
    done += put;
    if (put < n) break;
  }
  if (was_full && output_.size() < kOutputLimit) slave_queue_.Wake(kWritable);
  if (done == 0) return abi::Errno::kEFAULT;
  return done;
}

base::Result<uint64_t> Terminal::MasterWrite(IoBuffer& src) {
  if (src.remaining() == 0) return uint64_t{0};
  LineDiscipline::Effects fx;
  uint64_t done = 0;
  {
    base::MutexLock lock(mu_);
    if (input_.size() >= kInputLimit) return abi::Errno::kEAGAIN;
    uint8_t chunk[512];
    while (src.remaining() > 0 && input_.size() < kInputLimit) {
      size_t n = std::min({src.remaining(), sizeof chunk, kInputLimit - input_.size()});
      size_t got = src.CopyFrom(chunk, n);
      input_.push(chunk, got);
      done += got;
      PumpLocked(&fx);
      if (got < n) break;
    }
    ApplyLocked(fx);
  }
  SendSignals(fx.signals);
  if (done == 0) return abi::Errno::kEFAULT;
  return done;
}

void Terminal::Unlock() {
  base::MutexLock lock(mu_);
  locked_ = false;
}

uint32_t Terminal::MasterPoll() {
  base::MutexLock lock(mu_);
  uint32_t m = 0;
  if (!output_.empty()) m |= kReadable;
  if (packet_ && packet_status_ != 0) m |= abi::kEPOLLPRI | kReadable;
  if (slave_opened_ && slaves_ == 0) m |= abi::kEPOLLHUP;
  if (input_.size() < kInputLimit) m |= kWritable;
  return m;
}

void Terminal::CloseMaster() {
  base::Ref<Session> session;
  base::Ref<ProcessGroup> fg;
  {
    base::MutexLock lock(mu_);
    if (hung_up_) return;
    hung_up_ = true;
    output_.clear();
    slave_queue_.Wake(kReadable | kWritable | abi::kEPOLLERR | abi::kEPOLLHUP);
  }
  devpts_->Forget(index_);
  // __tty_hangup(): the leader is told; the foreground group would be when the leader exits, and is
  // at once here because the session forgets its terminal.
  base::Ref<base::RefCounted> tty;
  base::MutexLock tree(kernel_.tree_mu);
  session = std::move(session_);
  fg = std::move(foreground_);
  if (!session) return;
  tty = std::move(session->tty);
  const abi::SigInfo hup = KernelSignal(abi::kSIGHUP), cont = KernelSignal(abi::kSIGCONT);
  ThreadGroup* leader = session->leader;
  if (leader != nullptr && (!fg || leader->pgrp.get() != fg.get())) {
    for (const abi::SigInfo& i : {hup, cont}) {
      base::Result<void> r = kernel_.SendToGroup(*leader, i, true);
      (void)r;
    }
  }
  if (fg) {
    kernel_.SendToPgrpLocked(*fg, hup);
    kernel_.SendToPgrpLocked(*fg, cont);
  }
}

base::Result<void> Terminal::OpenSlave(bool privileged) {
  base::MutexLock lock(mu_);
  if (locked_ || hung_up_) return abi::Errno::kEIO;
  if (exclusive_ && !privileged) return abi::Errno::kEBUSY;
  slaves_++;
  slave_opened_ = true;
  return {};
}

void Terminal::CloseSlave() {
  base::MutexLock lock(mu_);
  if (--slaves_ > 0) return;
  exclusive_ = false;
  master_queue_.Wake(kReadable | abi::kEPOLLHUP);
}

// n_tty_read().
base::Result<uint64_t> Terminal::SlaveRead(IoBuffer& dst, bool nonblocking,
                                           int64_t* read_deadline) {
  if (Task* t = Task::Current()) TRY(CheckChange(*t, abi::kSIGTTIN));
  LineDiscipline::Effects fx;
  base::Result<uint64_t> result = uint64_t{0};
  {
    base::MutexLock lock(mu_);
    if (hung_up_) return uint64_t{0};
    if (dst.remaining() == 0) return uint64_t{0};
    PumpLocked(&fx);
    const abi::Termios2& t = ldisc_.termios();
    const bool raw = (t.lflag & abi::kICANON) == 0;
    const int64_t vtime = t.cc[abi::kVTIME] * kDecisecond;
    const size_t vmin = t.cc[abi::kVMIN];
    const int64_t now = raw && vtime != 0 ? HostClock().Monotonic() : 0;
    bool ready = ldisc_.InputAvailable(false);
    int64_t deadline = 0;
    if (raw && !nonblocking) {
      if (ready && vmin > 1) {
        // Wait for VMIN bytes, or for VTIME to pass without one.
        ready = ldisc_.RawBytes() >= std::min(vmin, dst.remaining());
        if (!ready && vtime != 0) {
          deadline = last_input_ + vtime;
          ready = now >= deadline;
        }
      } else if (!ready && vmin == 0) {
        if (vtime == 0) {
          ApplyLocked(fx);
          return uint64_t{0};
        }
        // A deadline long past belongs to a read that was given up.
        constexpr int64_t kStale = kDecisecond;
        if (*read_deadline == 0 || now > *read_deadline + kStale) *read_deadline = now + vtime;
        if (now >= *read_deadline) {
          *read_deadline = 0;
          ApplyLocked(fx);
          return uint64_t{0};
        }
        deadline = *read_deadline;
      }
    } else if (raw && !ready && vmin == 0 && vtime == 0) {
      ApplyLocked(fx);
      return uint64_t{0};
    }
    if (!ready) {
      if (deadline != 0) {
        if (!alarm_) alarm_ = std::make_unique<Alarm>(*this);
        alarm_->Arm(deadline);
      }
      result = abi::Errno::kEAGAIN;
    } else {
      *read_deadline = 0;
      bool fault;
      size_t n = ldisc_.Read(dst, &fault);
      result = n == 0 && fault ? base::Result<uint64_t>(abi::Errno::kEFAULT)
                               : base::Result<uint64_t>(uint64_t{n});
      bool was_full = input_.size() >= kInputLimit;
      PumpLocked(&fx);
      if (was_full && input_.size() < kInputLimit) master_queue_.Wake(kWritable);
    }
    ApplyLocked(fx);
  }
  SendSignals(fx.signals);
  return result;
}

// n_tty_write().
base::Result<uint64_t> Terminal::SlaveWrite(IoBuffer& src) {
  {
    bool check;
    {
      base::MutexLock lock(mu_);
      check = (ldisc_.termios().lflag & abi::kTOSTOP) != 0;
    }
    Task* t = Task::Current();
    if (check && t != nullptr) TRY(CheckChange(*t, abi::kSIGTTOU));
  }
  base::MutexLock lock(mu_);
  if (hung_up_) return abi::Errno::kEIO;
  if (src.remaining() == 0) return uint64_t{0};
  if (ldisc_.stopped() || output_.size() >= kOutputLimit) return abi::Errno::kEAGAIN;
  uint64_t done = 0;
  bool fault = false;
  while (src.remaining() > 0 && output_.size() < kOutputLimit) {
    uint8_t chunk[1024];
    size_t n = std::min(src.remaining(), sizeof chunk);
    size_t got = src.PeekFrom(chunk, n);
    fault = got < n;
    if (got == 0) break;
    size_t took = ldisc_.Output(chunk, got, kOutputLimit - output_.size());
    src.Consume(took);
    done += took;
    if (took < got || fault) break;
  }
  if (done > 0) {
    master_queue_.Wake(kReadable);
    return done;
  }
  return fault ? abi::Errno::kEFAULT : abi::Errno::kEAGAIN;
}

uint32_t Terminal::SlavePoll() {
  base::MutexLock lock(mu_);
  if (hung_up_) return kReadable | kWritable | abi::kEPOLLERR | abi::kEPOLLHUP;
  uint32_t m = 0;
  if (ldisc_.InputAvailable(true)) m |= kReadable;
  if (!ldisc_.stopped() && output_.size() < kOutputLimit) m |= kWritable;
  return m;
}

size_t Terminal::pending_output() {
  base::MutexLock lock(mu_);
  return output_.size();
}

abi::Winsize Terminal::window_size() {
  base::MutexLock lock(mu_);
  return window_;
}

void Terminal::SetWindowSize(const abi::Winsize& w) {
  {
    base::MutexLock lock(mu_);
    if (window_.row == w.row && window_.col == w.col && window_.xpixel == w.xpixel &&
        window_.ypixel == w.ypixel) {
      return;
    }
    window_ = w;
  }
  SignalForeground(abi::kSIGWINCH);
}

bool Terminal::IsControllingLocked(Task& task) {
  const base::Ref<ProcessGroup>& pgrp = task.group().pgrp;
  return pgrp && !task.group().tty_given_up && pgrp->session()->tty.get() == this;
}

base::Result<void> Terminal::CheckChange(Task& task, int sig) {
  base::MutexLock tree(kernel_.tree_mu);
  if (!IsControllingLocked(task)) return {};
  const base::Ref<ProcessGroup>& pgrp = task.group().pgrp;
  if (!foreground_ || foreground_.get() == pgrp.get()) return {};
  bool ignored = (task.blocked() & SignalBit(sig)) != 0 ||
                 task.group().handlers->Get(sig).handler == abi::kSIG_IGN;
  if (ignored) {
    if (sig == abi::kSIGTTIN) return abi::Errno::kEIO;
    return {};
  }
  if (Kernel::IsOrphaned(*pgrp)) return abi::Errno::kEIO;
  kernel_.SendToPgrpLocked(*pgrp, KernelSignal(sig));
  return base::Restart::kSys;
}

void Terminal::MaybeSetControlling(Task& task, bool readable) {
  if (!readable) return;
  base::MutexLock tree(kernel_.tree_mu);
  const base::Ref<ProcessGroup>& pgrp = task.group().pgrp;
  if (!pgrp) return;
  Session& s = *pgrp->session();
  if (s.leader != &task.group() || s.tty || session_) return;
  s.tty = base::Ref<base::RefCounted>(this);
  session_ = pgrp->session();
  foreground_ = pgrp;
}

void Terminal::Attached(base::RefCounted& tty, base::Ref<ProcessGroup> foreground) {
  Terminal& t = static_cast<Terminal&>(tty);
  t.session_ = foreground->session();
  t.foreground_ = std::move(foreground);
}

base::Ref<Terminal> Terminal::OfTask(Task& task) {
  base::MutexLock tree(task.kernel().tree_mu);
  const base::Ref<ProcessGroup>& pgrp = task.group().pgrp;
  if (!pgrp || !pgrp->session()->tty || task.group().tty_given_up) return nullptr;
  return base::StaticRefCast<Terminal>(pgrp->session()->tty);
}

void Terminal::LeaderExit(Kernel& kernel, ThreadGroup& leader) {
  base::Ref<base::RefCounted> tty;
  base::Ref<Session> session;
  base::Ref<ProcessGroup> fg;
  base::MutexLock tree(kernel.tree_mu);
  if (!leader.pgrp) return;
  Session& s = *leader.pgrp->session();
  tty = std::move(s.tty);
  if (!tty) return;
  Terminal& t = static_cast<Terminal&>(*tty);
  session = std::move(t.session_);
  fg = std::move(t.foreground_);
  if (fg) {
    kernel.SendToPgrpLocked(*fg, KernelSignal(abi::kSIGHUP));
    kernel.SendToPgrpLocked(*fg, KernelSignal(abi::kSIGCONT));
  }
}

void Terminal::ProcNumbers(Session& session, int32_t* tty_nr, int32_t* fg_pgrp) {
  *tty_nr = 0;
  *fg_pgrp = -1;
  if (!session.tty) return;
  Terminal& t = static_cast<Terminal&>(*session.tty);
  *tty_nr = static_cast<int32_t>((136 << 8) | (t.index_ & 0xff) | ((t.index_ & ~0xffu) << 12));
  if (t.foreground_) *fg_pgrp = t.foreground_->id();
}

}  // namespace sentry
