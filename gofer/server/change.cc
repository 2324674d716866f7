// Handlers that change the tree or an object's attributes. All refuse mounts that are read-only
// with EROFS.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "gofer/server/attr.h"
#include "gofer/server/server.h"
#include "gofer/server/stream.h"
#include "platform/host/file_calls.h"

namespace gofer {

namespace {
constexpr uint32_t kPermissions = 07777;
}  // namespace

int Server::Chmod(const At& at, uint32_t mode) {
  int r = host::Fchmodat2(at.fd, at.name, mode);
  if (r != -ENOSYS) return r;
  base::UniqueFd opened;
  if (r = OpenPlain(at, &opened); r < 0) return r;
  return host::Fchmod(opened.get(), mode);
}

int Server::Own(const At& at, uint32_t uid, uint32_t gid, uint32_t mode, wire::Attr* attr) {
  struct statx st;
  if (int r = host::Statx(at.fd, at.name, &st); r < 0) return r;
  bool changed = false;
  if (st.stx_uid != uid || st.stx_gid != gid) {
    if (int r = host::Fchownat(at.fd, at.name, uid, gid); r < 0) return r;
    changed = true;
  }
  // A change of owner clears set-user-ID and set-group-ID (chown(2)), and creation may add or take
  // set-group-ID (inode(7)).
  bool special = changed && (mode & (S_ISUID | S_ISGID)) != 0;
  if (!S_ISLNK(st.stx_mode) && (special || (st.stx_mode & kPermissions) != (mode & kPermissions))) {
    if (int r = Chmod(at, mode & kPermissions); r < 0) return r;
    changed = true;
  }
  if (changed) {
    if (int r = host::Statx(at.fd, at.name, &st); r < 0) return r;
  }
  AttrOf(st, attr);
  return 0;
}

int Server::Setattr(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  int resolved = ReadTarget(in, &at);
  auto args = in.Get<wire::SetattrArgs>();
  if (!in.Done() || (args.valid & ~wire::kSetattrAll) != 0 || (args.mode & ~kPermissions) != 0) {
    return in.Fail(), -EPROTO;
  }
  if (resolved < 0) return resolved;
  constexpr uint32_t kNobody = UINT32_MAX;  // (uid_t)-1 means "leave it" to the host
  if (((args.valid & wire::kSetUid) != 0 && args.uid == kNobody) ||
      ((args.valid & wire::kSetGid) != 0 && args.gid == kNobody) || args.size > INT64_MAX ||
      args.atime_nsec >= 1'000'000'000 || args.mtime_nsec >= 1'000'000'000) {
    return -EINVAL;
  }
  if (at.node->mount->read_only) return -EROFS;
  if ((args.valid & wire::kSetSize) != 0) {
    wire::Attr attr;
    base::UniqueFd opened;
    if (int r = OpenRegular(at, wire::kOpenWrite, &attr, &opened); r < 0) return r;
    if (long r = host::Ftruncate(opened.get(), static_cast<int64_t>(args.size)); r < 0) {
      return static_cast<int>(r);
    }
  }
  if ((args.valid & (wire::kSetUid | wire::kSetGid)) != 0) {
    int r = host::Fchownat(at.fd, at.name, (args.valid & wire::kSetUid) != 0 ? args.uid : kNobody,
                           (args.valid & wire::kSetGid) != 0 ? args.gid : kNobody);
    if (r < 0) return r;
  }
  if ((args.valid & wire::kSetMode) != 0) {
    if (int r = Chmod(at, args.mode); r < 0) return r;
  }
  constexpr uint32_t kTimes =
      wire::kSetAtime | wire::kSetMtime | wire::kSetAtimeNow | wire::kSetMtimeNow;
  if ((args.valid & kTimes) != 0) {
    struct timespec times[2] = {{args.atime_sec, args.atime_nsec},
                                {args.mtime_sec, args.mtime_nsec}};
    if ((args.valid & wire::kSetAtimeNow) != 0) {
      times[0].tv_nsec = UTIME_NOW;
    } else if ((args.valid & wire::kSetAtime) == 0) {
      times[0].tv_nsec = UTIME_OMIT;
    }
    if ((args.valid & wire::kSetMtimeNow) != 0) {
      times[1].tv_nsec = UTIME_NOW;
    } else if ((args.valid & wire::kSetMtime) == 0) {
      times[1].tv_nsec = UTIME_OMIT;
    }
    if (int r = host::Utimensat(at.fd, at.name, times); r < 0) return r;
  }
  return PutAttr(at, out);
}

int Server::Create(wire::Reader& in, wire::Writer& out, Fds* donated) {
  At at;
  int resolved = ReadChild(in, &at, true);
  auto args = in.Get<wire::CreateArgs>();
  constexpr uint32_t kAccess = wire::kOpenRead | wire::kOpenWrite;
  constexpr uint32_t kAll = kAccess | wire::kOpenTruncate | wire::kOpenExclusive;
  if (!in.Done() || (args.flags & ~kAll) != 0 || (args.flags & kAccess) == 0 ||
      (args.mode & ~kPermissions) != 0 ||
      ((args.flags & wire::kOpenTruncate) != 0 && (args.flags & wire::kOpenWrite) == 0)) {
    return in.Fail(), -EPROTO;
  }
  if (resolved < 0) return resolved;
  int access = (args.flags & kAccess) == kAccess      ? O_RDWR
               : (args.flags & wire::kOpenWrite) != 0 ? O_WRONLY
                                                      : O_RDONLY;
  wire::CreateReply reply = {};
  int r = OpenAt(at.fd, at.name, O_CREAT | O_EXCL | access | O_NONBLOCK, args.mode);
  if (r == -EEXIST && (args.flags & wire::kOpenExclusive) == 0) {
    base::UniqueFd file;
    if (r = OpenRegular(at, args.flags, &reply.attr, &file); r < 0) return r;
    donated->push_back(std::move(file));
    out.Put(reply);
    return 0;
  }
  if (r < 0) return r;
  base::UniqueFd opened(r);
  At self;
  self.fd = opened.get();
  if (r = Own(self, args.uid, args.gid, args.mode, &reply.attr); r < 0) {
    (void)host::Unlinkat(at.fd, at.name, 0);
    return r;
  }
  reply.created = 1;
  donated->push_back(std::move(opened));
  out.Put(reply);
  return 0;
}

int Server::Mkdir(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  int resolved = ReadChild(in, &at, true);
  auto args = in.Get<wire::OwnerMode>();
  if (!in.Done() || (args.mode & ~kPermissions) != 0) return in.Fail(), -EPROTO;
  if (resolved < 0) return resolved;
  if (int r = host::Mkdirat(at.fd, at.name, args.mode); r < 0) return r;
  wire::WalkEntry entry;
  Node* node = nullptr;
  int r = Step(at.node, at.fd, at.name, true, &entry, &node);
  if (r == 0 && node == nullptr) r = -ESTALE;  // somebody took it away at once
  if (r == 0) {
    At self;
    self.fd = nodes_.Fd(node);
    r = self.fd < 0 ? self.fd : Own(self, args.uid, args.gid, args.mode, &entry.attr);
    if (r < 0) nodes_.Drop(node, 1);
  }
  if (r < 0) {
    if (int dir = nodes_.Fd(at.node); dir >= 0) {
      (void)host::Unlinkat(dir, at.name, AT_REMOVEDIR);
    }
    return r;
  }
  out.Put(entry);
  return 0;
}

int Server::Symlink(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  int resolved = ReadChild(in, &at, true);
  auto args = in.Get<wire::OwnerMode>();
  std::string_view s = in.String(wire::kMaxLinkTarget);
  if (!in.Done() || s.empty() || s.find('\0') != s.npos) return in.Fail(), -EPROTO;
  if (resolved < 0) return resolved;
  char target[wire::kMaxLinkTarget + 1];
  std::memcpy(target, s.data(), s.size());
  target[s.size()] = 0;
  if (int r = host::Symlinkat(target, at.fd, at.name); r < 0) return r;
  wire::Attr attr;
  if (int r = Own(at, args.uid, args.gid, 0777, &attr); r < 0) {
    (void)host::Unlinkat(at.fd, at.name, 0);
    return r;
  }
  out.Put(attr);
  return 0;
}

int Server::Link(wire::Reader& in, wire::Writer& out, Fds*) {
  At from, to;
  int resolved = ReadTarget(in, &from);
  if (!in.ok()) return -EPROTO;
  int r = ReadChild(in, &to, true);
  if (!in.Done()) return in.Fail(), -EPROTO;
  if (resolved < 0) return resolved;
  if (r < 0) return r;
  if (from.node->mount != to.node->mount) return -EXDEV;
  if (r = host::Linkat(from.fd, from.name, to.fd, to.name); r < 0) return r;
  return PutAttr(to, out);
}

int Server::Mknod(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  int resolved = ReadChild(in, &at, true);
  auto args = in.Get<wire::OwnerMode>();
  if (!in.Done() || (args.mode & ~(S_IFMT | kPermissions)) != 0) return in.Fail(), -EPROTO;
  if (resolved < 0) return resolved;
  // A device node would be a way to a real device for whoever opens the tree outside.
  if (!S_ISFIFO(args.mode) && !S_ISSOCK(args.mode) && !S_ISREG(args.mode)) return -EPERM;
  if (int r = host::Mknodat(at.fd, at.name, args.mode); r < 0) return r;
  wire::Attr attr;
  if (int r = Own(at, args.uid, args.gid, args.mode, &attr); r < 0) {
    (void)host::Unlinkat(at.fd, at.name, 0);
    return r;
  }
  out.Put(attr);
  return 0;
}

int Server::BeforeRemoval(const At& at, bool pin, Leaving* leaving) {
  struct statx st;
  if (int r = host::Statx(at.fd, at.name, &st); r < 0) return r;
  wire::Attr attr;
  AttrOf(st, &attr);
  leaving->dev = attr.dev;
  leaving->ino = attr.ino;
  if (S_ISDIR(st.stx_mode)) {
    leaving->node = nodes_.FindObject(at.node->mount, attr.dev, attr.ino);
    if (leaving->node != nullptr && nodes_.Fd(leaving->node) < 0) leaving->node = nullptr;
  } else if (pin) {
    // Without a descriptor to spare the object is only lost to calls on it that need the gofer.
    if (int r = OpenAt(at.fd, at.name, O_PATH, 0); r >= 0) leaving->fd.reset(r);
  }
  return 0;
}

wire::NodeId Server::AfterRemoval(const At& at, bool pin, Leaving* leaving) {
  if (leaving->node != nullptr) {
    if (leaving->node->fd.valid()) nodes_.Pin(leaving->node);
    return wire::kNoNode;
  }
  if (!leaving->fd) return wire::kNoNode;
  Node* node = nodes_.Add(at.node->mount, std::move(leaving->fd), false, leaving->dev, leaving->ino,
                          nullptr, "");
  return node == nullptr ? wire::kNoNode : node->id;
}

int Server::Unlink(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  int resolved = ReadChild(in, &at, true);
  auto flags = in.Get<uint32_t>();
  if (!in.Done() || (flags & ~(wire::kUnlinkDirectory | wire::kUnlinkPin)) != 0) {
    return in.Fail(), -EPROTO;
  }
  if (resolved < 0) return resolved;
  bool directory = (flags & wire::kUnlinkDirectory) != 0;
  bool pin = (flags & wire::kUnlinkPin) != 0;
  Leaving leaving;
  if (directory || pin) {
    if (int r = BeforeRemoval(at, pin, &leaving); r < 0) return r;
  }
  if (int r = host::Unlinkat(at.fd, at.name, directory ? AT_REMOVEDIR : 0); r < 0) return r;
  out.Put(AfterRemoval(at, pin, &leaving));
  return 0;
}

int Server::Rename(wire::Reader& in, wire::Writer& out, Fds*) {
  At from, to;
  int r1 = ReadChild(in, &from, true);
  if (!in.ok()) return -EPROTO;
  int r2 = ReadChild(in, &to, true);
  auto flags = in.Get<uint32_t>();
  auto pin = in.Get<uint32_t>();
  if (!in.Done() || pin > 1 || (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) {
    return in.Fail(), -EPROTO;
  }
  if (r1 < 0) return r1;
  if (r2 < 0) return r2;
  if (from.node->mount != to.node->mount) return -EXDEV;
  struct statx st;
  if (int r = host::Statx(from.fd, from.name, &st); r < 0) return r;
  wire::Attr attr;
  AttrOf(st, &attr);
  Node* moved =
      S_ISDIR(st.stx_mode) ? nodes_.FindObject(from.node->mount, attr.dev, attr.ino) : nullptr;
  Leaving leaving;
  bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if ((flags & RENAME_NOREPLACE) == 0) {
    int r = BeforeRemoval(to, pin != 0 && !exchange, &leaving);
    if (r < 0 && r != -ENOENT) return r;
  }
  if (int r = host::Renameat2(from.fd, from.name, to.fd, to.name, flags); r < 0) return r;
  bool same = leaving.dev == attr.dev && leaving.ino == attr.ino;  // rename(2) does nothing then
  if (moved != nullptr && !same) nodes_.Moved(moved, to.node, to.name);
  if (exchange) {
    if (leaving.node != nullptr && !same) nodes_.Moved(leaving.node, from.node, from.name);
    leaving = {};
  } else if (same) {
    leaving = {};
  }
  out.Put(AfterRemoval(to, pin != 0, &leaving));
  return 0;
}

}  // namespace gofer
