// System V IPC: shmget(2), semop(2), msgsnd(2) and their families.
#include <vector>

#include "absl/container/inlined_vector.h"
#include "sentry/ipc/ipc.h"
#include "syscalls/linux/ipc_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::IpcObjects;
using sentry::Message;

namespace {

// A command that fills a struct and returns a number.
template <typename T, typename F>
SyscallResult Report(Task& task, UserAddr out, F&& fill) {
  T v{};
  base::Result<int32_t> r = fill(&v);
  if (!r.ok()) return r;
  TRY(task.mm().CopyOut(out, &v, sizeof v));
  return *r;
}

}  // namespace

// --- shared memory ---

SyscallResult sys_shmget(Task& task, int32_t key, uint64_t size, int32_t shmflg) {
  return IpcObjects::Of(task)->shm->Get(task, key, size, shmflg);
}

SyscallResult sys_shmat(Task& task, int32_t shmid, UserAddr addr, int32_t shmflg) {
  return IpcObjects::Of(task)->shm->Attach(task, shmid, addr.value, shmflg);
}

SyscallResult sys_shmdt(Task& task, UserAddr addr) {
  return sentry::ShmTable::Detach(task, addr.value);
}

SyscallResult sys_shmctl(Task& task, int32_t shmid, int32_t cmd, UserAddr buf) {
  if (cmd < 0 || shmid < 0) return abi::Errno::kEINVAL;
  base::Ref<IpcObjects> ipc = IpcObjects::Of(task);
  sentry::ShmTable& shm = *ipc->shm;
  switch (cmd) {
    case abi::kIPC_INFO:
      return Report<abi::Shminfo>(task, buf,
                                  [&](auto* v) -> base::Result<int32_t> { return shm.Limits(v); });
    case abi::kSHM_INFO:
      return Report<abi::ShmInfo>(task, buf,
                                  [&](auto* v) -> base::Result<int32_t> { return shm.Usage(v); });
    case abi::kIPC_STAT:
    case abi::kSHM_STAT:
    case abi::kSHM_STAT_ANY:
      return Report<abi::ShmidDs>(task, buf,
                                  [&](auto* v) { return shm.Stat(task, shmid, cmd, v); });
    case abi::kIPC_SET:
      return shm.Set(task, shmid, TRY(UserIn<abi::ShmidDs>{buf}.Fetch(task.mm())));
    case abi::kIPC_RMID:
      return shm.Remove(task, shmid);
    case abi::kSHM_LOCK:
    case abi::kSHM_UNLOCK:
      return shm.LockMemory(task, shmid, cmd == abi::kSHM_LOCK);
    default:
      return abi::Errno::kEINVAL;
  }
}

// --- semaphores ---

SyscallResult sys_semget(Task& task, int32_t key, int32_t nsems, int32_t semflg) {
  return IpcObjects::Of(task)->sem->Get(task, key, nsems, semflg);
}

SyscallResult sys_semtimedop(Task& task, int32_t semid, UserAddr sops, uint64_t nsops,
                             UserIn<abi::Timespec> timeout) {
  abi::Timespec ts{};
  if (!timeout.null()) ts = TRY(timeout.Fetch(task.mm()));
  if (nsops > static_cast<uint32_t>(abi::kSEMOPM)) return abi::Errno::kE2BIG;
  if (nsops < 1) return abi::Errno::kEINVAL;
  absl::InlinedVector<abi::Sembuf, 8> ops(nsops);
  TRY(task.mm().CopyIn(ops.data(), sops, nsops * sizeof(abi::Sembuf)));
  if (semid < 0) return abi::Errno::kEINVAL;
  int64_t deadline = sentry::kNoDeadline;
  if (!timeout.null()) {
    if (!ValidTimespec(ts)) return abi::Errno::kEINVAL;
    deadline = DeadlineAfter(TimespecToNs(ts));
  }
  return IpcObjects::Of(task)->sem->Op(task, semid, ops, deadline);
}

SyscallResult sys_semop(Task& task, int32_t semid, UserAddr sops, uint64_t nsops) {
  return sys_semtimedop(task, semid, sops, nsops, UserIn<abi::Timespec>{});
}

SyscallResult sys_semctl(Task& task, int32_t semid, int32_t semnum, int32_t cmd, uint64_t arg) {
  if (semid < 0) return abi::Errno::kEINVAL;
  base::Ref<IpcObjects> ipc = IpcObjects::Of(task);
  sentry::SemTable& sem = *ipc->sem;
  UserAddr buf{arg};
  switch (cmd) {
    case abi::kIPC_INFO:
    case abi::kSEM_INFO:
      return Report<abi::Seminfo>(
          task, buf, [&](auto* v) -> base::Result<int32_t> { return sem.Info(cmd, v); });
    case abi::kIPC_STAT:
    case abi::kSEM_STAT:
    case abi::kSEM_STAT_ANY:
      return Report<abi::SemidDs>(task, buf,
                                  [&](auto* v) { return sem.Stat(task, semid, cmd, v); });
    case abi::kGETVAL:
    case abi::kGETPID:
    case abi::kGETNCNT:
    case abi::kGETZCNT:
      return sem.GetOne(task, semid, semnum, cmd);
    case abi::kGETALL: {
      std::vector<uint16_t> v = TRY(sem.GetAll(task, semid));
      return task.mm().CopyOut(buf, v.data(), v.size() * sizeof(uint16_t));
    }
    case abi::kSETALL: {
      // As many as the set has: at most SEMMSL.
      std::vector<uint16_t> v(TRY(sem.Count(task, semid)));
      TRY(task.mm().CopyIn(v.data(), buf, v.size() * sizeof(uint16_t)));
      return sem.SetAll(task, semid, v);
    }
    case abi::kSETVAL:
      return sem.SetValue(task, semid, semnum, static_cast<int32_t>(arg));
    case abi::kIPC_SET:
      return sem.Set(task, semid, TRY(UserIn<abi::SemidDs>{buf}.Fetch(task.mm())));
    case abi::kIPC_RMID:
      return sem.Remove(task, semid);
    default:
      return abi::Errno::kEINVAL;
  }
}

// --- message queues ---

SyscallResult sys_msgget(Task& task, int32_t key, int32_t msgflg) {
  return IpcObjects::Of(task)->msg->Get(task, key, msgflg);
}

SyscallResult sys_msgsnd(Task& task, int32_t msqid, UserAddr msgp, uint64_t msgsz, int32_t msgflg) {
  Message m;
  TRY(task.mm().CopyIn(&m.type, msgp, sizeof m.type));
  if (msgsz > static_cast<uint64_t>(abi::kMSGMAX) || msqid < 0) return abi::Errno::kEINVAL;
  if (m.type < 1) return abi::Errno::kEINVAL;
  m.text.resize(msgsz);
  TRY(task.mm().CopyIn(m.text.data(), msgp + sizeof m.type, msgsz));
  return IpcObjects::Of(task)->msg->Send(task, msqid, std::move(m), msgflg);
}

SyscallResult sys_msgrcv(Task& task, int32_t msqid, UserAddr msgp, uint64_t msgsz, int64_t msgtyp,
                         int32_t msgflg) {
  if (msqid < 0 || static_cast<int64_t>(msgsz) < 0) return abi::Errno::kEINVAL;
  if ((msgflg & abi::kMSG_COPY) != 0 &&
      ((msgflg & abi::kMSG_EXCEPT) != 0 || (msgflg & abi::kIPC_NOWAIT) == 0)) {
    return abi::Errno::kEINVAL;
  }
  Message m = TRY(IpcObjects::Of(task)->msg->Receive(task, msqid, msgsz, msgtyp, msgflg));
  // do_msg_fill(): a message that can't be stored is lost.
  TRY(task.mm().CopyOut(msgp, &m.type, sizeof m.type));
  uint64_t n = std::min<uint64_t>(msgsz, m.text.size());
  TRY(task.mm().CopyOut(msgp + sizeof m.type, m.text.data(), n));
  return n;
}

SyscallResult sys_msgctl(Task& task, int32_t msqid, int32_t cmd, UserAddr buf) {
  if (msqid < 0 || cmd < 0) return abi::Errno::kEINVAL;
  base::Ref<IpcObjects> ipc = IpcObjects::Of(task);
  sentry::MsgTable& msg = *ipc->msg;
  switch (cmd) {
    case abi::kIPC_INFO:
    case abi::kMSG_INFO:
      return Report<abi::Msginfo>(
          task, buf, [&](auto* v) -> base::Result<int32_t> { return msg.Info(cmd, v); });
    case abi::kIPC_STAT:
    case abi::kMSG_STAT:
    case abi::kMSG_STAT_ANY:
      return Report<abi::MsqidDs>(task, buf,
                                  [&](auto* v) { return msg.Stat(task, msqid, cmd, v); });
    case abi::kIPC_SET:
      return msg.Set(task, msqid, TRY(UserIn<abi::MsqidDs>{buf}.Fetch(task.mm())));
    case abi::kIPC_RMID:
      return msg.Remove(task, msqid);
    default:
      return abi::Errno::kEINVAL;
  }
}

}  // namespace syscalls
