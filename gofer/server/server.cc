#include "gofer/server/server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gofer/server/attr.h"
#include "gofer/server/stream.h"
#include "platform/base/log.h"
#include "platform/host/file_calls.h"
#include "platform/host/jail.h"

namespace gofer {

Server::Server(std::vector<ServedMount> mounts, size_t max_fds, size_t max_nodes)
    : mounts_(std::move(mounts)), nodes_(max_fds, max_nodes) {}

Server::~Server() = default;

Server::Handler Server::HandlerOf(uint32_t op) {
  switch (static_cast<wire::Op>(op)) {
    case wire::Op::kAttach:
      return &Server::Attach;
    case wire::Op::kWalk:
      return &Server::Walk;
    case wire::Op::kGetattr:
      return &Server::Getattr;
    case wire::Op::kSetattr:
      return &Server::Setattr;
    case wire::Op::kOpen:
      return &Server::Open;
    case wire::Op::kCreate:
      return &Server::Create;
    case wire::Op::kMkdir:
      return &Server::Mkdir;
    case wire::Op::kSymlink:
      return &Server::Symlink;
    case wire::Op::kLink:
      return &Server::Link;
    case wire::Op::kMknod:
      return &Server::Mknod;
    case wire::Op::kUnlink:
      return &Server::Unlink;
    case wire::Op::kRename:
      return &Server::Rename;
    case wire::Op::kReadlink:
      return &Server::Readlink;
    case wire::Op::kReaddir:
      return &Server::Readdir;
    case wire::Op::kStatfs:
      return &Server::Statfs;
    case wire::Op::kFsync:
      return &Server::Fsync;
    case wire::Op::kSyncFs:
      return &Server::SyncFs;
    case wire::Op::kGetXattr:
      return &Server::GetXattr;
    case wire::Op::kSetXattr:
      return &Server::SetXattr;
    case wire::Op::kListXattr:
      return &Server::ListXattr;
    case wire::Op::kRemoveXattr:
      return &Server::RemoveXattr;
    case wire::Op::kForget:
      return &Server::Forget;
    case wire::Op::kFlush:
      return &Server::Flush;
    case wire::Op::kList:
      return &Server::List;
    case wire::Op::kOpenMany:
      return &Server::OpenMany;
    case wire::Op::kSettle:
      return &Server::Settle;
  }
  return nullptr;
}

bool Server::Handle(std::span<const uint8_t> message, std::span<uint8_t> out_buffer, Reply* reply) {
  wire::Reader in(message);
  auto header = in.Get<wire::RequestHeader>();
  if (!in.ok()) return false;
  Handler handler = HandlerOf(header.op);
  if (handler == nullptr) return false;
  wire::Writer out(out_buffer);
  out.Put(wire::ReplyHeader{.id = header.id, .error = 0, .fds = 0, .reserved = 0});
  Fds fds;
  int r = (this->*handler)(in, out, &fds);
  if (!in.ok()) return false;
  if (const auto op = static_cast<wire::Op>(header.op);
      op == wire::Op::kForget || op == wire::Op::kSettle) {
    reply->size = 0;
    return true;
  }
  if (r == 0 && !out.ok()) r = -EMSGSIZE;
  if (r < 0) {
    out.Rewind(sizeof(wire::ReplyHeader));
    fds.clear();
  }
  out.Patch(
      0,
      wire::ReplyHeader{
          .id = header.id, .error = -r, .fds = static_cast<uint32_t>(fds.size()), .reserved = 0});
  reply->size = out.size();
  reply->fds = std::move(fds);
  return true;
}

int Server::ReadNode(wire::Reader& in, Node** node) {
  auto id = in.Get<wire::NodeId>();
  if (!in.ok()) return -EPROTO;
  *node = nodes_.Find(id);
  // An id that was never given out, or was given back, is not a guest's mistake but the client's.
  if (*node == nullptr) {
    in.Fail();
    return -EPROTO;
  }
  return 0;
}

int Server::ReadName(wire::Reader& in, char (&name)[wire::kMaxName + 1]) {
  std::string_view s = in.String(wire::kMaxName);
  // The sentry resolves "." and ".." itself; a name is always one component of a directory.
  if (s.empty() || s == "." || s == ".." || s.find('/') != s.npos || s.find('\0') != s.npos) {
    in.Fail();
    return -EPROTO;
  }
  std::memcpy(name, s.data(), s.size());
  name[s.size()] = 0;
  return 0;
}

int Server::ReadPath(wire::Reader& in, std::string* path) {
  path->clear();
  auto n = in.Get<uint32_t>();
  if (n > wire::kMaxPathNames) return in.Fail(), -EPROTO;
  char name[wire::kMaxName + 1];
  for (; n > 0; n--) {
    if (int r = ReadName(in, name); r < 0) return r;
    if (!path->empty()) path->push_back('/');
    path->append(name);
  }
  return in.ok() ? 0 : -EPROTO;
}

int Server::OpenPath(int fd, const std::string& path, base::UniqueFd* held) {
  if (path.empty()) return fd;
  int r = OpenAt(fd, path.c_str(), O_PATH | O_DIRECTORY, 0);
  if (r >= 0) held->reset(r);
  return r;
}

int Server::Resolve(Node* node, At* at) {
  int fd = nodes_.Fd(node);
  if (fd < 0) return fd;
  at->fd = fd;
  at->node = node;
  at->name[0] = 0;
  if (!node->directory && node->parent == nullptr && !node->name.empty()) {
    std::memcpy(at->name, node->name.c_str(), node->name.size() + 1);  // the root of a mounted file
  }
  return 0;
}

int Server::ReadTarget(wire::Reader& in, At* at) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  std::string_view s = in.String(wire::kMaxName);
  if (!in.ok()) return -EPROTO;
  if (s.empty()) return Resolve(node, at);
  if (s == "." || s == ".." || s.find('/') != s.npos || s.find('\0') != s.npos) {
    in.Fail();
    return -EPROTO;
  }
  if (!node->directory) return -ENOTDIR;
  int fd = nodes_.Fd(node);
  if (fd < 0) return fd;
  at->fd = fd;
  at->node = node;
  std::memcpy(at->name, s.data(), s.size());
  at->name[s.size()] = 0;
  return 0;
}

int Server::ReadChild(wire::Reader& in, At* at, bool change) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  if (int r = ReadName(in, at->name); r < 0) return r;
  if (!node->directory) return -ENOTDIR;
  if (change && node->mount->read_only) return -EROFS;
  int fd = nodes_.Fd(node);
  if (fd < 0) return fd;
  at->fd = fd;
  at->node = node;
  return 0;
}

int Server::Attach(wire::Reader& in, wire::Writer& out, Fds*) {
  auto id = in.Get<uint32_t>();
  if (!in.Done()) return in.Fail(), -EPROTO;
  auto mount = std::find_if(mounts_.begin(), mounts_.end(),
                            [&](const ServedMount& m) { return m.id == id; });
  if (mount == mounts_.end()) return -ENODEV;
  struct statx st;
  if (int r = host::Statx(mount->root.get(), mount->file_name.c_str(), &st); r < 0) return r;
  // A mounted file was found through its links by whoever set the mount up.
  if (!mount->file_name.empty() && S_ISDIR(st.stx_mode)) return -EISDIR;
  if (S_ISLNK(st.stx_mode)) return -ELOOP;
  int fd = static_cast<int>(host::Dup(mount->root.get()));
  if (fd < 0) return fd;
  wire::AttachReply reply = {};
  AttrOf(st, &reply.attr);
  Node* node = nodes_.Add(&*mount, base::UniqueFd(fd), S_ISDIR(st.stx_mode), reply.attr.dev,
                          reply.attr.ino, nullptr, mount->file_name);
  if (node == nullptr) return -ENOMEM;
  reply.node = node->id;
  if (mount->read_only) reply.flags |= wire::kMountReadOnly;
  if (mount->shared) reply.flags |= wire::kMountShared;
  out.Put(reply);
  return 0;
}

int Server::Forget(wire::Reader& in, wire::Writer&, Fds*) {
  auto n = in.Get<uint32_t>();
  if (!in.ok() || n > wire::kMaxForget || in.left() != n * sizeof(wire::ForgetEntry)) {
    return in.Fail(), -EPROTO;
  }
  for (uint32_t i = 0; i < n; i++) {
    auto e = in.Get<wire::ForgetEntry>();
    Node* node = nodes_.Find(e.node);
    if (node == nullptr || !nodes_.Drop(node, e.count)) return in.Fail(), -EPROTO;
    std::erase_if(streams_, [&](const auto& s) { return s->node_id() == e.node; });
  }
  return 0;
}

int Server::Flush(wire::Reader& in, wire::Writer&, Fds*) {
  if (!in.Done()) return in.Fail(), -EPROTO;
  return 0;
}

int Server::Settle(wire::Reader& in, wire::Writer&, Fds*) {
  if (!in.Done()) return in.Fail(), -EPROTO;
  host::ForgetCode();
  return 0;
}

int ServerMain(ServerOptions options) {
  struct rlimit limit = {};
  if (host::Call<SYS_prlimit64>(0, RLIMIT_NOFILE, nullptr, &limit) != 0) return 1;
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    if (host::Call<SYS_prlimit64>(0, RLIMIT_NOFILE, &limit, nullptr) != 0) return 1;
  }
  // What is left for everything else: mounts, pins, streams, and what is open for the moment.
  constexpr size_t kReserve = 256;
  size_t max_fds = options.max_fds;
  if (max_fds == 0) {
    max_fds = limit.rlim_cur > 2 * kReserve ? limit.rlim_cur - kReserve : limit.rlim_cur / 2;
    max_fds = std::min<size_t>(max_fds, 1 << 18);
  }
  host::Call<SYS_umask>(0);  // modes arrive with the guest's umask applied
  if (options.lock_down && !options.lock_down()) return 1;

  Server server(std::move(options.mounts), max_fds, options.max_nodes);
  auto in = std::make_unique_for_overwrite<uint8_t[]>(wire::kMaxMessage);
  auto out = std::make_unique_for_overwrite<uint8_t[]>(wire::kMaxMessage);
  for (;;) {
    // Without room for descriptors: the kernel drops what a client sends along, and the message
    // counts as malformed.
    long n = host::RecvWithFds(options.socket.get(), in.get(), wire::kMaxMessage, {}, nullptr, 0);
    if (n == -EINTR) continue;
    if (n == 0 || n == -ECONNRESET) return 0;
    Server::Reply reply;
    if (n < 0 || !server.Handle({in.get(), static_cast<size_t>(n)}, {out.get(), wire::kMaxMessage},
                                &reply)) {
      LOG_WARNING("gofer: a malformed message (%ld); giving up", n);
      return 1;
    }
    if (reply.size == 0) continue;
    int fds[wire::kMaxDescriptors];
    for (size_t i = 0; i < reply.fds.size(); i++) fds[i] = reply.fds[i].get();
    do {
      n = host::SendWithFds(options.socket.get(), out.get(), reply.size, {fds, reply.fds.size()},
                            0);
    } while (n == -EINTR);
    if (n < 0) return n == -EPIPE || n == -ECONNRESET ? 0 : 1;
  }
}

}  // namespace gofer
