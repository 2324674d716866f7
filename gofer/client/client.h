// The sentry's end of the gofer protocol: one typed call per message, thread-safe, synchronous.
// Errors are the host's errnos as the gofer got them; EIO once the gofer is gone or sent nonsense
// (then every later call fails the same way, at once).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gofer/client/entries.h"
#include "gofer/wire/messages.h"
#include "platform/base/fd.h"
#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"

namespace gofer {

// An object: `name` in the directory `node`, or the node itself if name is empty.
struct Target {
  wire::NodeId node = wire::kNoNode;
  std::string_view name;
};

// The directory at `path` below `node`, or the node itself.
struct Place {
  wire::NodeId node = wire::kNoNode;
  std::span<const std::string_view> path = {};  // at most wire::kMaxPathNames
};

struct Attached {
  wire::NodeId node;
  bool read_only;
  bool shared;
  wire::Attr attr;
};

struct WalkResult {
  wire::WalkStop stop = wire::WalkStop::kDone;
  base::Error error = abi::Errno::kOk;  // of kError
  // One per resolved name. The caller owns a reference of each node in it.
  std::vector<wire::WalkEntry> entries;
  std::string link_target;  // of kSymlink
  base::UniqueFd fd;        // of the last, if it was asked for and is a regular file
};

struct Opened {
  base::UniqueFd fd;
  bool created = false;
  wire::Attr attr;
};

struct DirectoryBatch {
  DirectoryEntries entries;
  uint64_t cookie = 0;  // where to go on behind them
  bool end = false;
};

// A whole directory out of List's answer.
struct ListedDirectory {
  uint32_t in;     // entry `index` of the in-th directory of the answer; wire::kRequested: the
  uint32_t index;  // index-th name of the request
  DirectoryEntries entries;
};

// Files of one directory, for OpenMany.
struct OpenGroup {
  std::vector<std::string_view> path;  // as Place's
  std::vector<std::string_view> names;
};

struct OpenedFile {
  base::Error error = abi::Errno::kOk;
  wire::Attr attr = {};
  base::UniqueFd fd;
};

class Client : public base::RefCounted {
 public:
  explicit Client(base::UniqueFd socket);
  ~Client() override;

  base::Result<Attached> Attach(uint32_t mount);
  // At most wire::kMaxWalkNames names, none of them empty, "." or "..".
  base::Result<WalkResult> Walk(wire::NodeId dir, std::span<const std::string_view> names,
                                bool open = false);
  base::Result<wire::Attr> Getattr(Target target);
  base::Result<wire::Attr> Setattr(Target target, const wire::SetattrArgs& args);
  base::Result<Opened> Open(Target target, uint32_t flags);
  base::Result<Opened> Create(wire::NodeId dir, std::string_view name,
                              const wire::CreateArgs& args);
  base::Result<wire::WalkEntry> Mkdir(wire::NodeId dir, std::string_view name,
                                      const wire::OwnerMode& args);
  base::Result<wire::Attr> Symlink(wire::NodeId dir, std::string_view name,
                                   const wire::OwnerMode& args, std::string_view link_target);
  base::Result<wire::Attr> Link(Target from, wire::NodeId dir, std::string_view name);
  base::Result<wire::Attr> Mknod(wire::NodeId dir, std::string_view name,
                                 const wire::OwnerMode& args);
  // The node of the removed object if flags ask for it (kUnlinkPin) and it could be kept.
  base::Result<wire::NodeId> Unlink(wire::NodeId dir, std::string_view name, uint32_t flags);
  base::Result<wire::NodeId> Rename(wire::NodeId from_dir, std::string_view from,
                                    wire::NodeId to_dir, std::string_view to, uint32_t flags,
                                    bool pin);
  base::Result<std::string> Readlink(Target target);
  // flags here and below: wire::ListFlags.
  base::Result<DirectoryBatch> Readdir(wire::NodeId dir, uint64_t cookie, uint32_t flags,
                                       size_t max_bytes = wire::kMaxMessage);
  // Subdirectories of in by name, with what is below them as far as it fits, at most `most`
  // (wire::kMaxListed). Names of directories that are too large don't appear.
  base::Result<std::vector<ListedDirectory>> List(Place in, std::span<const std::string_view> names,
                                                  size_t most, uint32_t flags);
  // At most wire::kMaxDescriptors files below top, opened for reading; as many answers, in that
  // order.
  base::Result<std::vector<OpenedFile>> OpenMany(wire::NodeId top,
                                                 std::span<const OpenGroup> groups);
  base::Result<wire::Statfs> Statfs(wire::NodeId node);
  base::Result<void> Fsync(Target target, bool data_only);
  base::Result<void> SyncFs(wire::NodeId node);
  base::Result<std::vector<uint8_t>> GetXattr(Target target, std::string_view name);
  base::Result<void> SetXattr(Target target, std::string_view name, std::span<const uint8_t> value,
                              uint32_t flags);
  // Names, each ended by NUL.
  base::Result<std::string> ListXattr(Target target);
  base::Result<void> RemoveXattr(Target target, std::string_view name);
  base::Result<void> Flush();

  // Gives a reference back: it is sent along with others later (before the next request once enough
  // have gathered).
  void Forget(wire::NodeId node, uint64_t count = 1);
  // Sends what has been forgotten so far.
  void SendForgets();
  // Tells the gofer that a start is over: the code that only that used need not stay in its memory.
  // False, and nothing was sent: a request is under way, which may take long.
  bool Settle() EXCLUDES_LOCK(mu_);

  // Sent so far that had an answer.
  uint32_t requests() EXCLUDES_LOCK(mu_) {
    base::MutexLock lock(mu_);
    return next_id_ - 1;
  }
  bool dead() const { return dead_.load(std::memory_order_relaxed); }

 private:
  class Call;
  // If at least so many have gathered.
  void SendForgetsLocked(size_t least) REQUIRES_LOCK(mu_);
  // The message in the buffer, which has no answer.
  void SendAloneLocked(size_t size) REQUIRES_LOCK(mu_);

  const base::UniqueFd socket_;
  std::atomic<bool> dead_{false};
  base::Mutex<base::LockClass::kGofer> mu_;  // one request at a time
  uint32_t next_id_ GUARDED_BY(mu_) = 1;
  std::unique_ptr<uint8_t[]> buffer_ GUARDED_BY(mu_);  // of kMaxMessage bytes
  base::Mutex<base::LockClass::kLeaf> forget_mu_;
  std::vector<wire::ForgetEntry> forgets_ GUARDED_BY(forget_mu_);
};

// Decoders of reply bodies, apart for tests and fuzzing: false if the body is not one.
bool DecodeWalk(wire::Reader& in, size_t names, WalkResult* out);
bool DecodeReaddir(wire::Reader& in, DirectoryBatch* out);
bool DecodeList(wire::Reader& in, size_t names, size_t most, std::vector<ListedDirectory>* out);
// fds: those that came with the message.
bool DecodeOpenMany(wire::Reader& in, size_t names, std::span<base::UniqueFd> fds,
                    std::vector<OpenedFile>* out);

}  // namespace gofer
