// System V message queues (ipc/msg.c).
#pragma once

#include <deque>
#include <string>

#include "sentry/ipc/ids.h"
#include "sentry/kernel/task.h"

namespace sentry {

struct Message {
  int64_t type = 0;
  std::string text;
};

// One queue. Guarded by the table's lock, but for the wait queue.
class MsgQueue : public base::RefCounted {
 public:
  IpcPerms perm;
  std::deque<Message> messages;
  int64_t stime = 0, rtime = 0, ctime = 0;
  uint64_t bytes = 0, max_bytes = abi::kMSGMNB;
  int32_t lspid = 0, lrpid = 0;
  // Receivers listen for EPOLLIN, senders for EPOLLOUT.
  WaitQueue queue;
};

class MsgTable : public base::RefCounted {
 public:
  explicit MsgTable(base::Ref<UserNamespace> owner) : owner_(std::move(owner)) {}

  base::Result<int32_t> Get(Task& t, int32_t key, int32_t flags);
  // ERESTARTNOHAND when interrupted, as Receive.
  base::Result<void> Send(Task& t, int32_t id, Message m, int32_t flags);
  base::Result<Message> Receive(Task& t, int32_t id, uint64_t size, int64_t type, int32_t flags);
  base::Result<int32_t> Stat(Task& t, int32_t id, int32_t cmd, abi::MsqidDs* out);
  base::Result<void> Set(Task& t, int32_t id, const abi::MsqidDs& in);
  base::Result<void> Remove(Task& t, int32_t id);
  // IPC_INFO and MSG_INFO: what they return.
  int32_t Info(int32_t cmd, abi::Msginfo* out);
  // /proc/sysvipc/msg.
  std::string ProcText(const Task& reader);
  void Clear();

 private:
  const base::Ref<UserNamespace> owner_;
  base::Mutex<base::LockClass::kIpc> mu_;
  IpcIds<MsgQueue> ids_ GUARDED_BY(mu_);
  uint64_t bytes_ GUARDED_BY(mu_) = 0, count_ GUARDED_BY(mu_) = 0;
};

}  // namespace sentry
