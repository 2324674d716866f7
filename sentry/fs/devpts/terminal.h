// Pseudo-terminals (drivers/tty/pty.c, tty_io.c, tty_jobctrl.c): a pair of a master and a slave
// side with the line discipline between them, and its session.
#pragma once

#include <memory>
#include <string>

#include "platform/base/mutex.h"
#include "sentry/fs/devpts/ldisc.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/byte_queue.h"
#include "sentry/time/timer.h"
#include "sentry/wait/wait_queue.h"

namespace sentry {

class Devpts;

class Terminal : public base::RefCounted {
 public:
  Terminal(Kernel& kernel, base::Ref<Devpts> devpts, uint32_t index);
  ~Terminal() override;

  uint32_t index() const { return index_; }
  Kernel& kernel() const { return kernel_; }
  Devpts& devpts() const { return *devpts_; }
  WaitQueue& master_queue() { return master_queue_; }
  WaitQueue& slave_queue() { return slave_queue_; }

  // --- the master side ---
  // EAGAIN; EIO: every slave was closed and nothing is left to read.
  base::Result<uint64_t> MasterRead(IoBuffer& dst);
  base::Result<uint64_t> MasterWrite(IoBuffer& src);
  uint32_t MasterPoll();
  // unlockpt(3), for boot.
  void Unlock();
  // The last close: hangs the slave side up (tty_vhangup()).
  void CloseMaster();

  // --- the slave side ---
  // tty_open() and pts_unix98_lookup(): EIO (locked, or hung up), EBUSY (exclusive). Counts the
  // slave.
  base::Result<void> OpenSlave(bool privileged);
  void CloseSlave();
  // Task::Current() is the reader, for job control (SIGTTIN); EAGAIN, ERESTARTSYS, EIO.
  // read_deadline: the reader's VTIME deadline, kept by the open file; 0 outside of reads.
  base::Result<uint64_t> SlaveRead(IoBuffer& dst, bool nonblocking, int64_t* read_deadline);
  base::Result<uint64_t> SlaveWrite(IoBuffer& src);
  uint32_t SlavePoll();

  // tty_ioctl() and pty_unix98_ioctl(). master: which side was asked.
  base::Result<uint64_t> Ioctl(Task& task, bool master, const File& file, uint32_t cmd,
                               UserAddr arg);

  // --- session ---
  // Becomes the controlling terminal of the task's session if it may (an open without O_NOCTTY).
  void MaybeSetControlling(Task& task, bool readable);
  // Kernel's hook: tty is the terminal of a session that starts. Under the tree lock.
  static void Attached(base::RefCounted& tty, base::Ref<ProcessGroup> foreground);
  abi::Winsize window_size();
  // SIGWINCH to the foreground group if it changed.
  void SetWindowSize(const abi::Winsize& w);
  // disassociate_ctty() of an exiting session leader, or of TIOCNOTTY.
  static void LeaderExit(Kernel& kernel, ThreadGroup& leader);
  // Root pid namespace's numbers for /proc/[pid]/stat: device and foreground group; 0 and -1.
  static void ProcNumbers(Session& session, int32_t* tty_nr, int32_t* fg_pgrp);
  static base::Ref<Terminal> OfTask(Task& task);

  // Bytes that the master side has not read.
  size_t pending_output();

 private:
  class Alarm : public Timer {
   public:
    explicit Alarm(Terminal& t) : Timer(TheTimerQueue()), owner_(t) {}
    void OnTimer() override;

   private:
    Terminal& owner_;
  };
  static constexpr size_t kOutputLimit = 16 * 1024;
  static constexpr size_t kInputLimit = 16 * 1024;

  // Feeds what waits in input_ to the line discipline.
  void PumpLocked(LineDiscipline::Effects* fx) REQUIRES_LOCK(mu_);
  // Wakes listeners and packet mode readers.
  void ApplyLocked(const LineDiscipline::Effects& fx) REQUIRES_LOCK(mu_);
  // Sends the signals; no lock held.
  void SendSignals(uint64_t signals);
  void SignalForeground(int sig);
  // __tty_check_change(): stops a background process group that touches the terminal.
  base::Result<void> CheckChange(Task& task, int sig);
  // The session if it is the task's controlling terminal, under the tree lock.
  bool IsControllingLocked(Task& task);
  base::Result<uint64_t> SetTermios(Task& task, uint32_t cmd, UserAddr arg);
  base::Result<uint64_t> SetControlling(Task& task, const File& file, bool steal);
  base::Result<uint64_t> SessionIoctl(Task& task, bool master, uint32_t cmd, UserAddr arg);
  base::Result<uint64_t> MasterIoctl(Task& task, uint32_t cmd, UserAddr arg);
  base::Result<uint64_t> Flush(bool master, int which);

  Kernel& kernel_;
  const base::Ref<Devpts> devpts_;
  const uint32_t index_;

  base::Mutex<base::LockClass::kTty> mu_;
  ByteQueue output_ GUARDED_BY(mu_);  // slave to master
  ByteQueue input_ GUARDED_BY(mu_);   // from the master, not yet seen by the line discipline
  LineDiscipline ldisc_ GUARDED_BY(mu_){output_};
  abi::Winsize window_ GUARDED_BY(mu_){};
  uint32_t slaves_ GUARDED_BY(mu_) = 0;
  bool slave_opened_ GUARDED_BY(mu_) = false;
  bool hung_up_ GUARDED_BY(mu_) = false;
  bool locked_ GUARDED_BY(mu_) = true;  // TIOCSPTLCK
  bool exclusive_ GUARDED_BY(mu_) = false;
  bool packet_ GUARDED_BY(mu_) = false;
  uint8_t packet_status_ GUARDED_BY(mu_) = 0;
  int64_t last_input_ GUARDED_BY(mu_) = 0;  // CLOCK_MONOTONIC, for VTIME between bytes
  std::unique_ptr<Alarm> alarm_ GUARDED_BY(mu_);

  // Guarded by the tree lock.
  base::Ref<Session> session_;
  base::Ref<ProcessGroup> foreground_;

  WaitQueue master_queue_, slave_queue_;
};

}  // namespace sentry
