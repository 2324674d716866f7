// wait4(2), waitid(2): kernel/exit.c, do_wait().
#include "syscalls/abi/wait.h"

#include "sentry/kernel/released.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/sched.h"

namespace sentry {
namespace {

bool Matches(const Task& t, const ThreadGroup& c, const Kernel::WaitArgs& a) {
  switch (a.type) {
    case abi::kP_PID:
      return t.pid_ns()->IdOf(c) == a.id;
    case abi::kP_PGID:
      return c.pgrp && t.pid_ns()->IdOf(*c.pgrp) == a.id;
    case abi::kP_PIDFD:
      return &c == a.group;
    default:
      return true;
  }
}

// eligible_child(): "clone" children are those that send something else than SIGCHLD.
bool Eligible(const ThreadGroup& c, uint32_t options) {
  if ((options & abi::k__WALL) != 0) return true;
  return (c.exit_signal != abi::kSIGCHLD) == ((options & abi::k__WCLONE) != 0);
}

}  // namespace

// True: *r or *error is the answer.
bool Kernel::WaitStep(Task& t, const WaitArgs& a, WaitResult* r, base::Error* error,
                      Released* out) {
  ThreadGroup& g = t.group();
  bool any = false;
  for (size_t i = 0; i < g.children.size(); i++) {
    ThreadGroup& c = *g.children[i];
    if (!Matches(t, c, a) || !Eligible(c, a.options)) continue;
    if ((a.options & abi::k__WNOTHREAD) != 0 && c.parent_thread != nullptr &&
        c.parent_thread != &t) {
      continue;
    }
    if (c.leader == nullptr) continue;
    any = true;
    r->pid = t.pid_ns()->IdOf(c);
    r->uid = c.leader->creds_ref()->uid;
    if (c.zombie) {
      if ((a.options & abi::kWEXITED) == 0) continue;
      int32_t st = c.exit_status;
      r->status = st;
      r->code = (st & 0x7f) == 0   ? abi::kCLD_EXITED
                : (st & 0x80) != 0 ? abi::kCLD_DUMPED
                                   : abi::kCLD_KILLED;
      r->usage = c.Usage();
      AddUsage(&r->usage, c.children_usage);
      if ((a.options & abi::kWNOWAIT) == 0) {
        AddUsage(&g.children_usage, r->usage);
        Reap(c, out);
      }
      return true;
    }
    base::MutexLock s(c.signal_mu);
    if ((a.options & abi::kWUNTRACED) != 0 && c.stopped && c.stop_report != 0) {
      r->status = abi::WaitStatusStopped(c.stop_report);
      r->code = abi::kCLD_STOPPED;
      if ((a.options & abi::kWNOWAIT) == 0) c.stop_report = 0;
      r->usage = c.Usage();
      return true;
    }
    if ((a.options & abi::kWCONTINUED) != 0 && c.continue_report) {
      r->status = abi::kWaitStatusContinued;
      r->code = abi::kCLD_CONTINUED;
      if ((a.options & abi::kWNOWAIT) == 0) c.continue_report = false;
      r->usage = c.Usage();
      return true;
    }
  }
  *r = WaitResult();
  if (!any) {
    *error = abi::Errno::kECHILD;
    return true;
  }
  return false;
}

base::Result<Kernel::WaitResult> Kernel::Wait(Task& t, const WaitArgs& a) {
  ThreadGroup& g = t.group();
  t.parker_.Reset();
  Parker::Entry entry(t.parker_);
  struct Listening {
    WaitQueue& q;
    WaitEntry& e;
    bool on = false;
    ~Listening() {
      if (on) q.Remove(&e);
    }
  } listening{g.child_events, entry};
  for (;;) {
    WaitResult r;
    base::Error error = abi::Errno::kOk;
    {
      Released released;
      base::MutexLock l(tree_mu);
      if (WaitStep(t, a, &r, &error, &released)) {
        if (error.code() != 0) return error;
        return r;
      }
    }
    if ((a.options & abi::kWNOHANG) != 0) return WaitResult();
    if (a.nonblocking) return abi::Errno::kEAGAIN;
    if (!listening.on) {
      // What happens from now on is not missed: look once more.
      g.child_events.Add(&entry, abi::kEPOLLIN);
      listening.on = true;
      continue;
    }
    TRY(t.Block());
  }
}

}  // namespace sentry
