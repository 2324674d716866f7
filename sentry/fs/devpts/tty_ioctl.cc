// ioctl_tty(2) of both sides (tty_ioctl.c, tty_io.c, tty_jobctrl.c, pty.c).
#include <algorithm>

#include "sentry/fs/devpts/devpts.h"
#include "sentry/fs/devpts/terminal.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/ioctl.h"
#include "syscalls/abi/signal.h"

namespace sentry {

namespace {

// tty_baudrate.c; 0010001 on follow CBAUDEX.
constexpr uint32_t kBauds[] = {0,   50,   75,   110,  134,  150,  200,   300,
                               600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
constexpr uint32_t kHighBauds[] = {0,       57600,   115200,  230400,  460800,  500000,
                                   576000,  921600,  1000000, 1152000, 1500000, 2000000,
                                   2500000, 3000000, 3500000, 4000000};

uint32_t BaudOf(uint32_t cbaud, uint32_t custom) {
  cbaud &= abi::kCBAUD;
  if (cbaud == abi::kBOTHER) return custom;
  return (cbaud & abi::kCBAUDEX) ? kHighBauds[cbaud & 15] : kBauds[cbaud & 15];
}

bool Flow(const abi::Termios2& t) {
  return (t.iflag & abi::kIXON) && t.cc[abi::kVSTOP] == 023 && t.cc[abi::kVSTART] == 021;
}

}  // namespace

base::Result<uint64_t> Terminal::SetTermios(Task& task, uint32_t cmd, UserAddr arg) {
  const bool extended = cmd == abi::kTCSETS2 || cmd == abi::kTCSETSW2 || cmd == abi::kTCSETSF2;
  TRY(CheckChange(task, abi::kSIGTTOU));
  abi::Termios2 t;
  {
    base::MutexLock lock(mu_);
    t = ldisc_.termios();
  }
  TRY(task.mm().CopyIn(&t, arg, extended ? sizeof(abi::Termios2) : sizeof(abi::Termios)));
  t.ospeed = BaudOf(t.cflag, t.ospeed);
  uint32_t ibaud = t.cflag >> abi::kIBSHIFT;
  t.ispeed = (ibaud & abi::kCBAUD) == 0 ? t.ospeed : BaudOf(ibaud, t.ispeed);
  // pty_set_termios().
  t.cflag = (t.cflag & ~(abi::kCSIZE | abi::kPARENB)) | abi::kCS8 | abi::kCREAD;
  t.line = 0;
  LineDiscipline::Effects fx;
  base::MutexLock lock(mu_);
  if (hung_up_) return abi::Errno::kEIO;
  if (cmd == abi::kTCSETSF || cmd == abi::kTCSETSF2) {
    ldisc_.FlushInput();
    input_.clear();
    fx.flush_read = true;
  }
  if (packet_) {
    bool before = Flow(ldisc_.termios()), after = Flow(t);
    if (before != after) {
      packet_status_ &= ~(abi::kTIOCPKT_DOSTOP | abi::kTIOCPKT_NOSTOP);
      packet_status_ |= after ? abi::kTIOCPKT_DOSTOP : abi::kTIOCPKT_NOSTOP;
    }
    if ((ldisc_.termios().lflag | t.lflag) & abi::kEXTPROC) packet_status_ |= abi::kTIOCPKT_IOCTL;
  }
  ldisc_.SetTermios(t, &fx);
  ApplyLocked(fx);
  return uint64_t{0};
}

base::Result<uint64_t> Terminal::SetControlling(Task& task, const File& file, bool steal) {
  base::Ref<base::RefCounted> old_tty;
  base::Ref<Session> old_session;
  base::Ref<ProcessGroup> old_fg;
  base::MutexLock tree(kernel_.tree_mu);
  const base::Ref<ProcessGroup>& pgrp = task.group().pgrp;
  if (!pgrp) return abi::Errno::kEPERM;
  Session& s = *pgrp->session();
  const bool leader = s.leader == &task.group();
  if (leader && session_.get() == &s) return uint64_t{0};
  if (!leader || s.tty) return abi::Errno::kEPERM;
  if (session_) {
    if (!steal || !task.creds().Has(abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
    old_tty = std::move(session_->tty);
    old_session = std::move(session_);
    old_fg = std::move(foreground_);
  }
  if (!file.readable() && !task.creds().Has(abi::kCAP_SYS_ADMIN)) return abi::Errno::kEPERM;
  s.tty = base::Ref<base::RefCounted>(this);
  session_ = pgrp->session();
  foreground_ = pgrp;
  return uint64_t{0};
}

base::Result<uint64_t> Terminal::SessionIoctl(Task& task, bool master, uint32_t cmd, UserAddr arg) {
  UserOut<int32_t> out{arg};
  switch (cmd) {
    case abi::kTIOCGPGRP: {
      int32_t id = 0;
      {
        base::MutexLock tree(kernel_.tree_mu);
        if (!master && !IsControllingLocked(task)) return abi::Errno::kENOTTY;
        if (foreground_) id = task.pid_ns()->IdOf(*foreground_);
      }
      TRY(out.Store(task.mm(), id));
      return uint64_t{0};
    }
    case abi::kTIOCSPGRP: {
      base::Result<void> change = CheckChange(task, abi::kSIGTTOU);
      if (change.is(abi::Errno::kEIO)) return abi::Errno::kENOTTY;
      TRY(std::move(change));
      {
        base::MutexLock tree(kernel_.tree_mu);
        if (!IsControllingLocked(task)) return abi::Errno::kENOTTY;
      }
      int32_t id = TRY(UserIn<int32_t>{arg}.Fetch(task.mm()));
      if (id < 0) return abi::Errno::kEINVAL;
      base::Ref<ProcessGroup> old;
      base::MutexLock tree(kernel_.tree_mu);
      if (!IsControllingLocked(task)) return abi::Errno::kENOTTY;
      ProcessGroup* p = task.pid_ns()->FindPgrp(id);
      if (p == nullptr) return abi::Errno::kESRCH;
      if (p->session().get() != task.group().pgrp->session().get()) return abi::Errno::kEPERM;
      old = std::move(foreground_);
      foreground_ = base::Ref<ProcessGroup>(p);
      return uint64_t{0};
    }
    case abi::kTIOCGSID: {
      int32_t id;
      {
        base::MutexLock tree(kernel_.tree_mu);
        if (!master && !IsControllingLocked(task)) return abi::Errno::kENOTTY;
        if (!session_) return abi::Errno::kENOTTY;
        id = task.pid_ns()->IdOf(*session_);
      }
      TRY(out.Store(task.mm(), id));
      return uint64_t{0};
    }
    case abi::kTIOCNOTTY: {
      bool leader;
      {
        base::MutexLock tree(kernel_.tree_mu);
        if (master || !IsControllingLocked(task)) return abi::Errno::kENOTTY;
        leader = task.group().pgrp->session()->leader == &task.group();
        if (!leader) task.group().tty_given_up = true;
      }
      if (leader) LeaderExit(kernel_, task.group());
      return uint64_t{0};
    }
    default:
      return abi::Errno::kENOTTY;
  }
}

base::Result<uint64_t> Terminal::MasterIoctl(Task& task, uint32_t cmd, UserAddr arg) {
  UserIn<int32_t> in{arg};
  UserOut<int32_t> out{arg};
  switch (cmd) {
    case abi::kTIOCSPTLCK: {
      int32_t v = TRY(in.Fetch(task.mm()));
      base::MutexLock lock(mu_);
      locked_ = v != 0;
      return uint64_t{0};
    }
    case abi::kTIOCGPTLCK: {
      int32_t v;
      {
        base::MutexLock lock(mu_);
        v = locked_;
      }
      TRY(out.Store(task.mm(), v));
      return uint64_t{0};
    }
    case abi::kTIOCPKT: {
      int32_t v = TRY(in.Fetch(task.mm()));
      base::MutexLock lock(mu_);
      if (v != 0 && !packet_) packet_status_ = 0;
      packet_ = v != 0;
      return uint64_t{0};
    }
    case abi::kTIOCGPKT: {
      int32_t v;
      {
        base::MutexLock lock(mu_);
        v = packet_;
      }
      TRY(out.Store(task.mm(), v));
      return uint64_t{0};
    }
    case abi::kTIOCGPTN:
      TRY(out.Store(task.mm(), static_cast<int32_t>(index_)));
      return uint64_t{0};
    case abi::kTIOCGPTPEER: {
      uint32_t flags = static_cast<uint32_t>(arg.value);
      TRY(OpenSlave(task.creds().Has(abi::kCAP_SYS_ADMIN)));
      base::Ref<File> f = devpts_->NewSlaveFile(base::Ref<Terminal>(this), flags);
      if ((flags & abi::kO_NOCTTY) == 0) MaybeSetControlling(task, f->readable());
      return static_cast<uint64_t>(
          TRY(task.fds().Install(std::move(f), (flags & abi::kO_CLOEXEC) != 0, task.FileLimit())));
    }
    case abi::kTIOCSIG: {
      int sig = static_cast<int>(arg.value);
      if (sig != abi::kSIGINT && sig != abi::kSIGQUIT && sig != abi::kSIGTSTP) {
        return abi::Errno::kEINVAL;
      }
      SignalForeground(sig);
      return uint64_t{0};
    }
    default:
      return abi::Errno::kENOTTY;
  }
}

// n_tty_ioctl_helper() TCFLSH: a side flushes its own input and what it wrote.
base::Result<uint64_t> Terminal::Flush(bool master, int which) {
  if (which < abi::kTCIFLUSH || which > abi::kTCIOFLUSH) return abi::Errno::kEINVAL;
  const bool input = which == abi::kTCIFLUSH || which == abi::kTCIOFLUSH;
  const bool output = which == abi::kTCOFLUSH || which == abi::kTCIOFLUSH;
  LineDiscipline::Effects fx;
  base::MutexLock lock(mu_);
  if (master ? output : input) {
    ldisc_.FlushInput();
    input_.clear();
    fx.flush_read = true;
  }
  if (master ? input : output) {
    output_.clear();
    fx.flush_write = true;
  }
  if (master) fx.flush_read = fx.flush_write = false;
  ApplyLocked(fx);
  slave_queue_.Wake(abi::kEPOLLOUT | abi::kEPOLLWRNORM);
  master_queue_.Wake(abi::kEPOLLOUT | abi::kEPOLLWRNORM);
  return uint64_t{0};
}

base::Result<uint64_t> Terminal::Ioctl(Task& task, bool master, const File& file, uint32_t cmd,
                                       UserAddr arg) {
  if (!master) {
    base::MutexLock lock(mu_);
    // hung_up_tty_ioctl().
    if (hung_up_) return cmd == abi::kTIOCSPGRP ? abi::Errno::kENOTTY : abi::Errno::kEIO;
  }
  UserOut<int32_t> out{arg};
  switch (cmd) {
    case abi::kTCGETS:
    case abi::kTCGETS2: {
      abi::Termios2 t;
      {
        base::MutexLock lock(mu_);
        t = ldisc_.termios();
      }
      TRY(task.mm().CopyOut(arg, &t,
                            cmd == abi::kTCGETS2 ? sizeof(abi::Termios2) : sizeof(abi::Termios)));
      return uint64_t{0};
    }
    case abi::kTCSETS:
    case abi::kTCSETSW:
    case abi::kTCSETSF:
    case abi::kTCSETS2:
    case abi::kTCSETSW2:
    case abi::kTCSETSF2:
      return SetTermios(task, cmd, arg);
    case abi::kTIOCGWINSZ:
      TRY(UserOut<abi::Winsize>{arg}.Store(task.mm(), window_size()));
      return uint64_t{0};
    case abi::kTIOCSWINSZ:
      SetWindowSize(TRY(UserIn<abi::Winsize>{arg}.Fetch(task.mm())));
      return uint64_t{0};
    case abi::kTIOCSCTTY:
      return SetControlling(task, file, arg.value == 1);
    case abi::kTIOCGPGRP:
    case abi::kTIOCSPGRP:
    case abi::kTIOCGSID:
    case abi::kTIOCNOTTY:
      return SessionIoctl(task, master, cmd, arg);
    case abi::kTIOCSTI:
      return abi::Errno::kEPERM;
    case abi::kFIONREAD: {
      int32_t n;
      {
        base::MutexLock lock(mu_);
        n = static_cast<int32_t>(master ? output_.size() : ldisc_.InputBytes());
      }
      TRY(out.Store(task.mm(), n));
      return uint64_t{0};
    }
    case abi::kTIOCOUTQ:
      // pty_chars_in_buffer(): what was written is with the other side already.
      TRY(out.Store(task.mm(), 0));
      return uint64_t{0};
    case abi::kTCFLSH:
      TRY(CheckChange(task, abi::kSIGTTOU));
      return Flush(master, static_cast<int>(arg.value));
    case abi::kTCSBRK:
    case abi::kTCSBRKP:
    case abi::kTIOCSBRK:
    case abi::kTIOCCBRK:
      TRY(CheckChange(task, abi::kSIGTTOU));
      return uint64_t{0};
    case abi::kTCXONC: {
      TRY(CheckChange(task, abi::kSIGTTOU));
      LineDiscipline::Effects fx;
      base::MutexLock lock(mu_);
      const abi::Termios2& t = ldisc_.termios();
      switch (static_cast<int>(arg.value)) {
        case abi::kTCOOFF:
          ldisc_.Stop(&fx);
          break;
        case abi::kTCOON:
          ldisc_.Start(&fx);
          break;
        case abi::kTCIOFF:
          if (t.cc[abi::kVSTOP] != 0) output_.push(t.cc[abi::kVSTOP]);
          break;
        case abi::kTCION:
          if (t.cc[abi::kVSTART] != 0) output_.push(t.cc[abi::kVSTART]);
          break;
        default:
          return abi::Errno::kEINVAL;
      }
      ApplyLocked(fx);
      return uint64_t{0};
    }
    case abi::kTIOCEXCL:
    case abi::kTIOCNXCL: {
      base::MutexLock lock(mu_);
      exclusive_ = cmd == abi::kTIOCEXCL;
      return uint64_t{0};
    }
    case abi::kTIOCGEXCL: {
      int32_t v;
      {
        base::MutexLock lock(mu_);
        v = exclusive_;
      }
      TRY(out.Store(task.mm(), v));
      return uint64_t{0};
    }
    case abi::kTIOCGETD:
      TRY(out.Store(task.mm(), abi::kN_TTY));
      return uint64_t{0};
    case abi::kTIOCSETD:
      TRY(CheckChange(task, abi::kSIGTTOU));
      if (TRY(UserIn<int32_t>{arg}.Fetch(task.mm())) != abi::kN_TTY) return abi::Errno::kEINVAL;
      return uint64_t{0};
    case abi::kTIOCGDEV:
      TRY(out.Store(task.mm(), static_cast<int32_t>(((master ? 128 : 136) << 8) | (index_ & 0xff) |
                                                    ((index_ & ~0xffu) << 12))));
      return uint64_t{0};
    case abi::kTIOCGSOFTCAR: {
      int32_t v;
      {
        base::MutexLock lock(mu_);
        v = (ldisc_.termios().cflag & abi::kCLOCAL) != 0;
      }
      TRY(out.Store(task.mm(), v));
      return uint64_t{0};
    }
    case abi::kTIOCVHANGUP:
      return abi::Errno::kEPERM;
    default:
      return master ? MasterIoctl(task, cmd, arg) : base::Result<uint64_t>(abi::Errno::kENOTTY);
  }
}

}  // namespace sentry
