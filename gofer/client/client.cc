#include "gofer/client/client.h"

#include <cerrno>
#include <utility>

#include "platform/base/before_sleep.h"
#include "platform/base/log.h"
#include "platform/host/host.h"

namespace gofer {

namespace {

constexpr size_t kForgetBatch = 64;

void PutTarget(wire::Writer& out, Target t) {
  out.Put(t.node);
  out.String(t.name);
}

void PutChild(wire::Writer& out, wire::NodeId dir, std::string_view name) {
  out.Put(dir);
  out.String(name);
}

void PutPath(wire::Writer& out, std::span<const std::string_view> path) {
  out.Put(static_cast<uint32_t>(path.size()));
  for (std::string_view n : path) out.String(n);
}

}  // namespace

// One request and its reply, in the client's buffer. Use: build with out(), Send(), read with in(),
// and Finish().
class SCOPED_CAPABILITY Client::Call {
 public:
  Call(Client& c, wire::Op op) ACQUIRE_LOCK(c.mu_)
      : c_(c), lock_(c.mu_), out_({c.buffer_.get(), wire::kMaxMessage}) {
    id_ = c_.next_id_++;
    c_.SendForgetsLocked(kForgetBatch);
    out_.Put(wire::RequestHeader{.op = static_cast<uint32_t>(op), .id = id_});
  }
  ~Call() RELEASE_LOCK() {}

  wire::Writer& out() { return out_; }
  wire::Reader& in() { return in_; }
  base::UniqueFd& fd() { return fds_[0]; }
  std::span<base::UniqueFd> fds() { return {fds_, n_fds_}; }

  // Sends and waits for the answer; the answer's error, if it is one.
  base::Result<void> Send() NO_THREAD_SAFETY_ANALYSIS {
    if (c_.dead()) return abi::Errno::kEIO;
    // Callers bound what they put; a name that is too long would be the only way here.
    if (!out_.ok()) return abi::Errno::kENAMETOOLONG;
    long r;
    do {
      r = host::SendWithFds(c_.socket_.get(), c_.buffer_.get(), out_.size(), {}, 0);
    } while (r == -EINTR);
    if (r < 0) return Die("send", r);
    base::BeforeSleep();
    do {
      r = host::RecvWithFds(c_.socket_.get(), c_.buffer_.get(), wire::kMaxMessage, fds_, &n_fds_,
                            0);
    } while (r == -EINTR);
    if (r == -EMSGSIZE && TakeWithoutDescriptors()) return abi::Errno::kENFILE;
    if (r <= 0) return Die("receive", r);
    in_ = wire::Reader({c_.buffer_.get(), static_cast<size_t>(r)});
    auto header = in_.Get<wire::ReplyHeader>();
    if (!in_.ok() || header.id != id_ || header.fds != n_fds_ || header.error < 0) {
      return Die("reply", -EPROTO);
    }
    if (header.error != 0) {
      if (in_.left() != 0 || n_fds_ != 0) return Die("reply", -EPROTO);
      return host::HostToGuest(header.error);
    }
    return {};
  }
  // Send() failed since this process's table had no room for the reply's descriptors. What else the
  // reply told is in in(), with something behind it.
  bool without_descriptors() const { return without_descriptors_; }
  // EIO unless the reply was read exactly and well.
  base::Result<void> Finish(bool well = true, size_t most_fds = 1) {
    if (!well || !in_.Done() || n_fds_ > most_fds) return Die("reply", -EPROTO);
    return {};
  }

 private:
  bool TakeWithoutDescriptors() NO_THREAD_SAFETY_ANALYSIS {
    in_ = wire::Reader({c_.buffer_.get(), wire::kMaxMessage});
    const auto header = in_.Get<wire::ReplyHeader>();
    without_descriptors_ = header.id == id_ && header.error == 0 && header.fds != 0;
    return without_descriptors_;
  }
  base::Result<void> Die(const char* what, long error) {
    if (!c_.dead_.exchange(true)) LOG_WARNING("gofer: %s: %ld; the mounts are lost", what, error);
    for (base::UniqueFd& fd : fds()) fd.reset();
    return abi::Errno::kEIO;
  }

  Client& c_;
  base::MutexLock<base::LockClass::kGofer> lock_;
  uint32_t id_;
  wire::Writer out_;
  wire::Reader in_{{}};
  base::UniqueFd fds_[wire::kMaxDescriptors];
  size_t n_fds_ = 0;
  bool without_descriptors_ = false;
};

Client::Client(base::UniqueFd socket)
    : socket_(std::move(socket)),
      buffer_(std::make_unique_for_overwrite<uint8_t[]>(wire::kMaxMessage)) {}

Client::~Client() = default;

base::Result<Attached> Client::Attach(uint32_t mount) {
  Call call(*this, wire::Op::kAttach);
  call.out().Put(mount);
  TRY(call.Send());
  auto r = call.in().Get<wire::AttachReply>();
  TRY(call.Finish());
  return Attached{.node = r.node,
                  .read_only = (r.flags & wire::kMountReadOnly) != 0,
                  .shared = (r.flags & wire::kMountShared) != 0,
                  .attr = r.attr};
}

bool DecodeWalk(wire::Reader& in, size_t names, WalkResult* out) {
  auto head = in.Get<wire::WalkReplyHead>();
  if (!in.ok() || head.count > names || head.error < 0 ||
      head.stop > static_cast<uint32_t>(wire::WalkStop::kError)) {
    return false;
  }
  out->stop = static_cast<wire::WalkStop>(head.stop);
  if ((out->stop == wire::WalkStop::kDone) ? head.count != names : false) return false;
  if ((out->stop == wire::WalkStop::kMissing || out->stop == wire::WalkStop::kError) &&
      head.count == names) {
    return false;
  }
  if ((out->stop == wire::WalkStop::kSymlink || out->stop == wire::WalkStop::kNotDirectory) &&
      head.count == 0) {
    return false;
  }
  if (out->stop == wire::WalkStop::kError) {
    if (head.error == 0) return false;
    out->error = host::HostToGuest(head.error);
  }
  out->entries.reserve(head.count);
  for (uint32_t i = 0; i < head.count; i++) out->entries.push_back(in.Get<wire::WalkEntry>());
  out->link_target = in.String(wire::kMaxLinkTarget);
  return in.ok();
}

base::Result<WalkResult> Client::Walk(wire::NodeId dir, std::span<const std::string_view> names,
                                      bool open) {
  Call call(*this, wire::Op::kWalk);
  call.out().Put(dir);
  call.out().Put(open ? uint32_t{wire::kWalkOpen} : uint32_t{0});
  call.out().Put(static_cast<uint32_t>(names.size()));
  for (std::string_view n : names) call.out().String(n);
  base::Result<void> sent = call.Send();
  WalkResult result;
  if (call.without_descriptors() && DecodeWalk(call.in(), names.size(), &result)) {
    for (const wire::WalkEntry& e : result.entries) Forget(e.node);
  }
  TRY(sent);
  bool well = DecodeWalk(call.in(), names.size(), &result);
  TRY(call.Finish(well));
  if (open && result.stop == wire::WalkStop::kDone) result.fd = std::move(call.fd());
  return result;
}

base::Result<wire::Attr> Client::Getattr(Target target) {
  Call call(*this, wire::Op::kGetattr);
  PutTarget(call.out(), target);
  TRY(call.Send());
  auto attr = call.in().Get<wire::Attr>();
  TRY(call.Finish());
  return attr;
}

base::Result<wire::Attr> Client::Setattr(Target target, const wire::SetattrArgs& args) {
  Call call(*this, wire::Op::kSetattr);
  PutTarget(call.out(), target);
  call.out().Put(args);
  TRY(call.Send());
  auto attr = call.in().Get<wire::Attr>();
  TRY(call.Finish());
  return attr;
}

base::Result<Opened> Client::Open(Target target, uint32_t flags) {
  Call call(*this, wire::Op::kOpen);
  PutTarget(call.out(), target);
  call.out().Put(flags);
  TRY(call.Send());
  Opened opened;
  opened.attr = call.in().Get<wire::Attr>();
  TRY(call.Finish(call.fd().valid()));
  opened.fd = std::move(call.fd());
  return opened;
}

base::Result<Opened> Client::Create(wire::NodeId dir, std::string_view name,
                                    const wire::CreateArgs& args) {
  Call call(*this, wire::Op::kCreate);
  PutChild(call.out(), dir, name);
  call.out().Put(args);
  TRY(call.Send());
  auto reply = call.in().Get<wire::CreateReply>();
  TRY(call.Finish(call.fd().valid()));
  Opened opened;
  opened.created = reply.created != 0;
  opened.attr = reply.attr;
  opened.fd = std::move(call.fd());
  return opened;
}

base::Result<wire::WalkEntry> Client::Mkdir(wire::NodeId dir, std::string_view name,
                                            const wire::OwnerMode& args) {
  Call call(*this, wire::Op::kMkdir);
  PutChild(call.out(), dir, name);
  call.out().Put(args);
  TRY(call.Send());
  auto entry = call.in().Get<wire::WalkEntry>();
  TRY(call.Finish());
  return entry;
}

base::Result<wire::Attr> Client::Symlink(wire::NodeId dir, std::string_view name,
                                         const wire::OwnerMode& args,
                                         std::string_view link_target) {
  Call call(*this, wire::Op::kSymlink);
  PutChild(call.out(), dir, name);
  call.out().Put(args);
  call.out().String(link_target);
  TRY(call.Send());
  auto attr = call.in().Get<wire::Attr>();
  TRY(call.Finish());
  return attr;
}

base::Result<wire::Attr> Client::Link(Target from, wire::NodeId dir, std::string_view name) {
  Call call(*this, wire::Op::kLink);
  PutTarget(call.out(), from);
  PutChild(call.out(), dir, name);
  TRY(call.Send());
  auto attr = call.in().Get<wire::Attr>();
  TRY(call.Finish());
  return attr;
}

base::Result<wire::Attr> Client::Mknod(wire::NodeId dir, std::string_view name,
                                       const wire::OwnerMode& args) {
  Call call(*this, wire::Op::kMknod);
  PutChild(call.out(), dir, name);
  call.out().Put(args);
  TRY(call.Send());
  auto attr = call.in().Get<wire::Attr>();
  TRY(call.Finish());
  return attr;
}

base::Result<wire::NodeId> Client::Unlink(wire::NodeId dir, std::string_view name, uint32_t flags) {
  Call call(*this, wire::Op::kUnlink);
  PutChild(call.out(), dir, name);
  call.out().Put(flags);
  TRY(call.Send());
  auto node = call.in().Get<wire::NodeId>();
  TRY(call.Finish());
  return node;
}

base::Result<wire::NodeId> Client::Rename(wire::NodeId from_dir, std::string_view from,
                                          wire::NodeId to_dir, std::string_view to, uint32_t flags,
                                          bool pin) {
  Call call(*this, wire::Op::kRename);
  PutChild(call.out(), from_dir, from);
  PutChild(call.out(), to_dir, to);
  call.out().Put(flags);
  call.out().Put(uint32_t{pin});
  TRY(call.Send());
  auto node = call.in().Get<wire::NodeId>();
  TRY(call.Finish());
  return node;
}

base::Result<std::string> Client::Readlink(Target target) {
  Call call(*this, wire::Op::kReadlink);
  PutTarget(call.out(), target);
  TRY(call.Send());
  std::string link(call.in().String(wire::kMaxLinkTarget));
  TRY(call.Finish());
  return link;
}

namespace {

// cookie: that of the last entry.
bool DecodeEntries(wire::Reader& in, uint32_t count, DirectoryEntries* out,
                   uint64_t* cookie = nullptr) {
  for (uint32_t i = 0; i < count; i++) {
    auto e = in.Get<wire::DirEntry>();
    wire::Attr attr = {};
    if (e.has_attr != 0) attr = in.Get<wire::Attr>();
    std::string_view name = in.String(wire::kMaxName);
    if (!in.ok() || e.has_attr > 1 || name.empty() || name.find('/') != name.npos ||
        name.find('\0') != name.npos) {
      return false;
    }
    out->Add(name, static_cast<uint8_t>(e.type), e.ino);
    if (e.has_attr != 0) out->SetAttr(i, attr);
    if (cookie != nullptr) *cookie = e.cookie;
  }
  return in.ok();
}

}  // namespace

bool DecodeReaddir(wire::Reader& in, DirectoryBatch* out) {
  auto head = in.Get<wire::ReaddirHead>();
  if (!in.ok() || head.end > 1) return false;
  out->end = head.end != 0;
  // A batch that neither ends nor goes on would be asked for again for ever.
  if (head.count == 0 && !out->end) return false;
  return DecodeEntries(in, head.count, &out->entries, &out->cookie);
}

bool DecodeList(wire::Reader& in, size_t names, size_t most, std::vector<ListedDirectory>* out) {
  auto count = in.Get<uint32_t>();
  if (!in.ok() || count > most) return false;
  out->reserve(count);
  for (uint32_t i = 0; i < count; i++) {
    auto head = in.Get<wire::Listed>();
    const bool asked = head.in == wire::kRequested;
    if (!in.ok() || (!asked && head.in >= i) ||
        head.index >= (asked ? names : (*out)[head.in].entries.size())) {
      return false;
    }
    // Only what is known to be a directory has anything below it.
    if (!asked && (*out)[head.in].entries.attr(head.index) == nullptr) return false;
    out->push_back({.in = head.in, .index = head.index, .entries = {}});
    if (!DecodeEntries(in, head.entries, &out->back().entries)) return false;
  }
  return true;
}

bool DecodeOpenMany(wire::Reader& in, size_t names, std::span<base::UniqueFd> fds,
                    std::vector<OpenedFile>* out) {
  auto count = in.Get<uint32_t>();
  if (!in.ok() || count != names) return false;
  size_t used = 0;
  for (uint32_t i = 0; i < count; i++) {
    auto e = in.Get<wire::OpenedFile>();
    if (!in.ok() || e.error < 0 || (e.error == 0 && used == fds.size())) return false;
    OpenedFile& f = out->emplace_back();
    f.attr = e.attr;
    if (e.error != 0) {
      f.error = host::HostToGuest(e.error);
    } else {
      f.fd = std::move(fds[used++]);
    }
  }
  return used == fds.size();
}

base::Result<DirectoryBatch> Client::Readdir(wire::NodeId dir, uint64_t cookie, uint32_t flags,
                                             size_t max_bytes) {
  Call call(*this, wire::Op::kReaddir);
  call.out().Put(dir);
  call.out().Put(cookie);
  call.out().Put(static_cast<uint32_t>(max_bytes));
  call.out().Put(flags);
  TRY(call.Send());
  DirectoryBatch batch;
  bool well = DecodeReaddir(call.in(), &batch);
  TRY(call.Finish(well));
  return batch;
}

base::Result<std::vector<ListedDirectory>> Client::List(Place in,
                                                        std::span<const std::string_view> names,
                                                        size_t most, uint32_t flags) {
  Call call(*this, wire::Op::kList);
  call.out().Put(in.node);
  PutPath(call.out(), in.path);
  call.out().Put(static_cast<uint32_t>(most));
  call.out().Put(flags);
  call.out().Put(static_cast<uint32_t>(names.size()));
  for (std::string_view n : names) call.out().String(n);
  TRY(call.Send());
  std::vector<ListedDirectory> listed;
  bool well = DecodeList(call.in(), names.size(), most, &listed);
  TRY(call.Finish(well));
  return listed;
}

base::Result<std::vector<OpenedFile>> Client::OpenMany(wire::NodeId top,
                                                       std::span<const OpenGroup> groups) {
  Call call(*this, wire::Op::kOpenMany);
  call.out().Put(top);
  call.out().Put(static_cast<uint32_t>(groups.size()));
  size_t names = 0;
  for (const OpenGroup& g : groups) {
    PutPath(call.out(), g.path);
    call.out().Put(static_cast<uint32_t>(g.names.size()));
    for (std::string_view n : g.names) call.out().String(n);
    names += g.names.size();
  }
  TRY(call.Send());
  std::vector<OpenedFile> opened;
  bool well = DecodeOpenMany(call.in(), names, call.fds(), &opened);
  TRY(call.Finish(well, wire::kMaxDescriptors));
  return opened;
}

base::Result<wire::Statfs> Client::Statfs(wire::NodeId node) {
  Call call(*this, wire::Op::kStatfs);
  call.out().Put(node);
  TRY(call.Send());
  auto st = call.in().Get<wire::Statfs>();
  TRY(call.Finish());
  return st;
}

base::Result<void> Client::Fsync(Target target, bool data_only) {
  Call call(*this, wire::Op::kFsync);
  PutTarget(call.out(), target);
  call.out().Put(uint32_t{data_only});
  TRY(call.Send());
  return call.Finish();
}

base::Result<void> Client::SyncFs(wire::NodeId node) {
  Call call(*this, wire::Op::kSyncFs);
  call.out().Put(node);
  TRY(call.Send());
  return call.Finish();
}

base::Result<std::vector<uint8_t>> Client::GetXattr(Target target, std::string_view name) {
  Call call(*this, wire::Op::kGetXattr);
  PutTarget(call.out(), target);
  call.out().String(name);
  TRY(call.Send());
  std::span<const uint8_t> b = call.in().Blob(wire::kMaxXattrValue);
  std::vector<uint8_t> value(b.begin(), b.end());
  TRY(call.Finish());
  return value;
}

base::Result<void> Client::SetXattr(Target target, std::string_view name,
                                    std::span<const uint8_t> value, uint32_t flags) {
  Call call(*this, wire::Op::kSetXattr);
  PutTarget(call.out(), target);
  call.out().String(name);
  call.out().Put(flags);
  call.out().Blob(value);
  TRY(call.Send());
  return call.Finish();
}

base::Result<std::string> Client::ListXattr(Target target) {
  Call call(*this, wire::Op::kListXattr);
  PutTarget(call.out(), target);
  TRY(call.Send());
  std::span<const uint8_t> b = call.in().Blob(wire::kMaxXattrValue);
  std::string names(b.begin(), b.end());
  TRY(call.Finish());
  return names;
}

base::Result<void> Client::RemoveXattr(Target target, std::string_view name) {
  Call call(*this, wire::Op::kRemoveXattr);
  PutTarget(call.out(), target);
  call.out().String(name);
  TRY(call.Send());
  return call.Finish();
}

base::Result<void> Client::Flush() {
  Call call(*this, wire::Op::kFlush);
  TRY(call.Send());
  return call.Finish();
}

void Client::Forget(wire::NodeId node, uint64_t count) {
  if (node == wire::kNoNode || count == 0) return;
  base::MutexLock lock(forget_mu_);
  forgets_.push_back({.node = node, .count = count});
}

void Client::SendForgets() {
  base::MutexLock lock(mu_);
  SendForgetsLocked(1);
}

void Client::SendForgetsLocked(size_t least) {
  std::vector<wire::ForgetEntry> batch;
  {
    base::MutexLock lock(forget_mu_);
    if (forgets_.size() < least) return;
    batch.swap(forgets_);
  }
  for (size_t at = 0; at < batch.size() && !dead(); at += wire::kMaxForget) {
    std::span<const wire::ForgetEntry> part(batch.data() + at,
                                            std::min(batch.size() - at, wire::kMaxForget));
    wire::Writer out({buffer_.get(), wire::kMaxMessage});
    out.Put(wire::RequestHeader{.op = static_cast<uint32_t>(wire::Op::kForget), .id = 0});
    out.Put(static_cast<uint32_t>(part.size()));
    out.Bytes(part.data(), part.size_bytes());
    SendAloneLocked(out.size());
  }
}

bool Client::Settle() {
  if (!mu_.TryLock()) return false;
  wire::Writer out({buffer_.get(), wire::kMaxMessage});
  out.Put(wire::RequestHeader{.op = static_cast<uint32_t>(wire::Op::kSettle), .id = 0});
  SendAloneLocked(out.size());
  mu_.Unlock();
  return true;
}

void Client::SendAloneLocked(size_t size) {
  long r;
  do {
    r = host::SendWithFds(socket_.get(), buffer_.get(), size, {}, 0);
  } while (r == -EINTR);
  if (r < 0) dead_.store(true);
}

}  // namespace gofer
