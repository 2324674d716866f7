// POSIX message queues and the file system that shows them (mq_overview(7); ipc/mqueue.c).
#pragma once

#include <deque>
#include <map>
#include <string>

#include "absl/container/btree_map.h"
#include "sentry/kernel/kernel.h"
#include "sentry/vfs/vfs.h"
#include "syscalls/abi/mqueue.h"

namespace sentry {

class MqueueSuperblock : public Superblock {
 public:
  MqueueSuperblock() : Superblock("mqueue") {}
  base::Result<FsStat> Statfs() override;
  // Queues come and go through calls that know no dentries.
  bool cache_dentries() const override { return false; }
  std::string Source() const override { return "mqueue"; }
};

// What a directory and a queue share: attributes.
class MqueueInode : public Inode {
 public:
  MqueueInode(base::Ref<Superblock> sb, uint32_t mode, uint32_t uid, uint32_t gid);
  Perm perm() override;
  base::Result<Kstat> Getattr() override;
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override;
  void Touch(bool atime, bool mtime);
  std::atomic<uint32_t> links{1};

 protected:
  std::atomic<uint64_t> size_{0};

 private:
  base::Mutex<base::LockClass::kInode> attr_mu_;
  uint32_t mode_ GUARDED_BY(attr_mu_), uid_ GUARDED_BY(attr_mu_), gid_ GUARDED_BY(attr_mu_);
  FileTime atime_ GUARDED_BY(attr_mu_), mtime_ GUARDED_BY(attr_mu_), ctime_ GUARDED_BY(attr_mu_);
};

class MqueueFile;

// One queue.
class Mqueue : public MqueueInode {
 public:
  // charged: RLIMIT_MSGQUEUE's bytes, already taken from the user's account.
  Mqueue(base::Ref<Superblock> sb, uint32_t mode, uint32_t uid, uint32_t gid,
         const abi::MqAttr& attr, uint32_t payer, uint64_t charged);
  ~Mqueue() override;
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;

  uint64_t max_message() const { return static_cast<uint64_t>(attr_.msgsize); }
  // EAGAIN: full.
  base::Result<void> Send(Task& t, std::string* text, uint32_t prio);
  struct Received {
    std::string text;
    uint32_t prio;
  };
  // EAGAIN: empty.
  base::Result<Received> Receive();
  // Receivers that sleep keep notifications from being sent.
  void AddReceiver(int n) { receivers_.fetch_add(n, std::memory_order_relaxed); }

  // mq_notify(2). EBUSY.
  base::Result<void> Notify(Task& t, const abi::SigEvent& ev);
  // Ends the registration of a process, if it is the registered one.
  void Unregister(const ThreadGroup& g);

  abi::MqAttr attr();
  uint32_t Poll();
  std::string Status(const Task& reader);
  WaitQueue& queue() { return queue_; }

 private:
  const abi::MqAttr attr_;
  const uint32_t payer_;
  const uint64_t charged_;
  std::atomic<int32_t> receivers_{0};
  base::Mutex<base::LockClass::kIpc> mu_;
  // By priority, highest first; in order of arrival.
  std::map<uint32_t, std::deque<std::string>, std::greater<>> messages_ GUARDED_BY(mu_);
  int64_t count_ GUARDED_BY(mu_) = 0;
  uint64_t bytes_ GUARDED_BY(mu_) = 0;
  base::Ref<ThreadGroup> notify_owner_ GUARDED_BY(mu_);
  base::Ref<PidNamespace> notify_ns_ GUARDED_BY(mu_);
  base::Ref<UserNamespace> notify_user_ns_ GUARDED_BY(mu_);
  abi::SigEvent notify_ GUARDED_BY(mu_){};
  WaitQueue queue_;
};

class MqueueFile : public File {
 public:
  static constexpr char kKind = 0;
  MqueueFile(base::Ref<Mqueue> q, std::string name, uint32_t flags)
      : File(Path{}, q, flags), queue_(std::move(q)), name_(std::move(name)) {}
  const void* kind() const override { return &kKind; }
  Mqueue& mqueue() const { return *queue_; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override { return queue_->Poll(); }
  WaitQueue* wait_queue() override { return &queue_->queue(); }
  base::Result<void> Flush() override;
  std::string description() override { return path().dentry ? "" : "/" + name_; }

 private:
  const base::Ref<Mqueue> queue_;
  const std::string name_;
};

// The only directory.
class MqueueDir : public MqueueInode {
 public:
  MqueueDir(base::Ref<Superblock> sb, base::Ref<UserNamespace> owner);
  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override;
  base::Result<base::Ref<Inode>> Create(std::string_view name, const CreateArgs& a) override;
  base::Result<void> Unlink(std::string_view name, Inode& victim) override;
  base::Result<base::Ref<File>> Open(const base::Ref<Dentry>& dentry, const OpenFlags& flags,
                                     const Creds& creds) override;

  // mq_open(2) and mq_unlink(2); name without slash. attr null: the defaults.
  base::Result<base::Ref<File>> OpenQueue(Task& t, const std::string& name, uint32_t flags,
                                          uint32_t mode, const abi::MqAttr* attr);
  base::Result<void> UnlinkQueue(const Creds& creds, const std::string& name);
  int64_t ListFrom(int64_t at, DirSink& sink);

 private:
  base::Result<base::Ref<Mqueue>> Make(std::string_view name, const Creds& creds, uint32_t mode,
                                       const abi::MqAttr* attr) REQUIRES_LOCK(mu_);
  void Erase(std::string_view name) REQUIRES_LOCK(mu_);
  struct Entry {
    base::Ref<Mqueue> queue;
    int64_t cookie;
  };
  const base::Ref<UserNamespace> owner_;
  base::Mutex<base::LockClass::kIpc> mu_;
  absl::btree_map<std::string, Entry, std::less<>> entries_ GUARDED_BY(mu_);
  absl::btree_map<int64_t, std::string> order_ GUARDED_BY(mu_);
  int64_t next_cookie_ GUARDED_BY(mu_) = 2;  // behind "." and ".."
};

// Limits (/proc/sys/fs/mqueue), without CAP_SYS_RESOURCE and with it.
constexpr int64_t kMqMsgMax = 10, kMqMsgSizeMax = 8192, kMqQueuesMax = 256;
constexpr int64_t kMqHardMsgMax = 65536, kMqHardMsgSizeMax = 16 << 20;

// mount -t mqueue: the root of the calling task's IPC namespace.
base::Result<base::Ref<Inode>> MountMqueue(Kernel& kernel, const Creds& creds,
                                           std::string_view source, std::string_view data);

}  // namespace sentry
