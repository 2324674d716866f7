// Handlers that find and read: walk, attributes, open, links.
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gofer/server/attr.h"
#include "gofer/server/server.h"
#include "platform/host/file_calls.h"

namespace gofer {

int Server::OpenAt(int dir, const char* name, int flags, uint32_t mode) {
  int r = host::OpenBeneath(dir, name, flags, mode);
  if (r == -EMFILE && nodes_.Evict(64)) r = host::OpenBeneath(dir, name, flags, mode);
  return r;
}

int Server::Step(Node* dir, int dir_fd, const char* name, bool expect_directory,
                 wire::WalkEntry* entry, Node** node) {
  *node = nullptr;
  struct statx st;
  base::UniqueFd fd;
  if (expect_directory) {
    int r = OpenAt(dir_fd, name, O_PATH | O_DIRECTORY, 0);
    if (r >= 0) {
      fd.reset(r);
      if (r = host::Statx(fd.get(), "", &st); r < 0) return r;
    } else if (r != -ENOTDIR && r != -ELOOP) {
      return r;
    }
  }
  if (!fd) {
    if (int r = host::Statx(dir_fd, name, &st); r < 0) return r;
  }
  AttrOf(st, &entry->attr);
  entry->node = wire::kNoNode;
  if (!S_ISDIR(st.stx_mode)) return 0;
  Node* n = nodes_.FindObject(dir->mount, entry->attr.dev, entry->attr.ino);
  if (n != nullptr) {
    if (n->parent != dir || n->name != name) nodes_.Moved(n, dir, name);
    n->references++;
  } else {
    if (!fd) {
      int r = OpenAt(dir_fd, name, O_PATH | O_DIRECTORY, 0);
      if (r < 0) return r;
      fd.reset(r);
      if (dir->mount->shared) {
        // Somebody may have put another directory there in between.
        if (r = host::Statx(fd.get(), "", &st); r < 0) return r;
        AttrOf(st, &entry->attr);
      }
    }
    n = nodes_.Add(dir->mount, std::move(fd), true, entry->attr.dev, entry->attr.ino, dir, name);
    if (n == nullptr) return -ENOMEM;
  }
  entry->node = n->id;
  *node = n;
  return 0;
}

int Server::Walk(wire::Reader& in, wire::Writer& out, Fds* donated) {
  Node* dir;
  if (int r = ReadNode(in, &dir); r < 0) return r;
  auto flags = in.Get<uint32_t>();
  auto count = in.Get<uint32_t>();
  if (!in.ok() || (flags & ~uint32_t{wire::kWalkOpen}) != 0 || count == 0 ||
      count > wire::kMaxWalkNames)
    return in.Fail(), -EPROTO;
  // The whole message is checked before anything is done.
  wire::Reader names = in;
  char name[wire::kMaxName + 1];
  for (uint32_t i = 0; i < count; i++) {
    if (int r = ReadName(in, name); r < 0) return r;
  }
  if (!in.Done()) return in.Fail(), -EPROTO;
  if (!dir->directory) return -ENOTDIR;
  int fd = nodes_.Fd(dir);
  if (fd < 0) return fd;

  size_t head_at = out.size();
  wire::WalkReplyHead head = {};
  out.Put(head);
  char target[wire::kMaxLinkTarget + 1];
  size_t target_size = 0;
  for (uint32_t i = 0; i < count; i++) {
    (void)ReadName(names, name);
    wire::WalkEntry entry;
    Node* next;
    int r = Step(dir, fd, name, i + 1 < count, &entry, &next);
    if (r < 0) {
      head.stop =
          static_cast<uint32_t>(r == -ENOENT ? wire::WalkStop::kMissing : wire::WalkStop::kError);
      head.error = -r;
      break;
    }
    if (S_ISLNK(entry.attr.mode)) {
      int64_t n = host::Readlinkat(fd, name, target, sizeof(target));
      if (n < 0 || static_cast<size_t>(n) > wire::kMaxLinkTarget) {
        head.stop = static_cast<uint32_t>(wire::WalkStop::kError);
        head.error = n < 0 ? static_cast<int>(-n) : ENAMETOOLONG;
        break;
      }
      target_size = static_cast<size_t>(n);
      head.stop = static_cast<uint32_t>(wire::WalkStop::kSymlink);
      head.count++;
      out.Put(entry);
      break;
    }
    head.count++;
    if (i + 1 == count && (flags & wire::kWalkOpen) != 0 && S_ISREG(entry.attr.mode)) {
      At at;
      at.fd = fd;
      at.node = dir;
      std::memcpy(at.name, name, sizeof(name));
      wire::Attr opened;
      base::UniqueFd file;
      // What can't be opened was found all the same.
      if (OpenRegular(at, wire::kOpenRead, &opened, &file) == 0 && opened.dev == entry.attr.dev &&
          opened.ino == entry.attr.ino) {
        donated->push_back(std::move(file));
      }
    }
    out.Put(entry);
    if (i + 1 == count) break;
    if (next == nullptr) {
      head.stop = static_cast<uint32_t>(wire::WalkStop::kNotDirectory);
      break;
    }
    dir = next;
    fd = nodes_.Fd(dir);
    if (fd < 0) {
      head.stop = static_cast<uint32_t>(wire::WalkStop::kError);
      head.error = -fd;
      break;
    }
  }
  out.String({target, target_size});
  out.Patch(head_at, head);
  return 0;
}

int Server::PutAttr(const At& at, wire::Writer& out) {
  struct statx st;
  if (int r = host::Statx(at.fd, at.name, &st); r < 0) return r;
  wire::Attr attr;
  AttrOf(st, &attr);
  out.Put(attr);
  return 0;
}

int Server::Getattr(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  if (int r = ReadTarget(in, &at); r < 0) return r;
  if (!in.Done()) return in.Fail(), -EPROTO;
  return PutAttr(at, out);
}

int Server::OpenRegular(const At& at, uint32_t flags, wire::Attr* attr, base::UniqueFd* fd) {
  struct statx st;
  if (int r = host::Statx(at.fd, at.name, &st); r < 0) return r;
  if (S_ISDIR(st.stx_mode)) return -EISDIR;
  if (S_ISLNK(st.stx_mode)) return -ELOOP;
  if (!S_ISREG(st.stx_mode)) return -ENXIO;
  bool write = (flags & wire::kOpenWrite) != 0;
  if (write && at.node->mount->read_only) return -EROFS;
  // A file that lost its name can't be opened again without /proc.
  if (at.name[0] == 0) return -ESTALE;
  int access = !write ? O_RDONLY : (flags & wire::kOpenRead) != 0 ? O_RDWR : O_WRONLY;
  // O_NONBLOCK: should a FIFO or a device have taken the place of the file, this must not wait for
  // it.
  int r = OpenAt(at.fd, at.name,
                 access | O_NONBLOCK | ((flags & wire::kOpenTruncate) != 0 ? O_TRUNC : 0), 0);
  if (r < 0) return r;
  base::UniqueFd opened(r);
  // Where nobody changes anything it is what it was.
  if (!at.node->mount->read_only || at.node->mount->shared) {
    if (r = host::Statx(opened.get(), "", &st); r < 0) return r;
    if (!S_ISREG(st.stx_mode)) return -ESTALE;
  }
  AttrOf(st, attr);
  *fd = std::move(opened);
  return 0;
}

int Server::Open(wire::Reader& in, wire::Writer& out, Fds* donated) {
  At at;
  int resolved = ReadTarget(in, &at);
  auto flags = in.Get<uint32_t>();
  if (!in.Done() || (flags & ~(wire::kOpenRead | wire::kOpenWrite | wire::kOpenTruncate)) != 0 ||
      (flags & (wire::kOpenRead | wire::kOpenWrite)) == 0 ||
      ((flags & wire::kOpenTruncate) != 0 && (flags & wire::kOpenWrite) == 0)) {
    return in.Fail(), -EPROTO;
  }
  if (resolved < 0) return resolved;
  wire::Attr attr;
  base::UniqueFd file;
  if (int r = OpenRegular(at, flags, &attr, &file); r < 0) return r;
  donated->push_back(std::move(file));
  out.Put(attr);
  return 0;
}

int Server::OpenMany(wire::Reader& in, wire::Writer& out, Fds* donated) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  auto groups = in.Get<uint32_t>();
  // The whole message is checked before anything is done.
  wire::Reader todo = in;
  char name[wire::kMaxName + 1];
  std::string path;
  uint32_t total = 0;
  for (uint32_t g = 0; g < groups; g++) {
    if (int r = ReadPath(in, &path); r < 0) return r;
    auto n = in.Get<uint32_t>();
    if (n == 0 || n > wire::kMaxDescriptors - total) return in.Fail(), -EPROTO;
    total += n;
    for (uint32_t i = 0; i < n; i++) {
      if (int r = ReadName(in, name); r < 0) return r;
    }
  }
  if (!in.Done() || total == 0) return in.Fail(), -EPROTO;
  if (!node->directory) return -ENOTDIR;
  int top = nodes_.Fd(node);
  if (top < 0) return top;
  out.Put(total);
  At at;
  at.node = node;
  for (uint32_t g = 0; g < groups; g++) {
    (void)ReadPath(todo, &path);
    base::UniqueFd dir;
    at.fd = OpenPath(top, path, &dir);
    for (auto n = todo.Get<uint32_t>(); n > 0; n--) {
      (void)ReadName(todo, at.name);
      wire::OpenedFile result = {};
      base::UniqueFd file;
      int r = at.fd < 0 ? -EAGAIN : OpenRegular(at, wire::kOpenRead, &result.attr, &file);
      result.error = -r;
      if (r == 0) donated->push_back(std::move(file));
      out.Put(result);
    }
  }
  return 0;
}

int Server::Readlink(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  if (int r = ReadTarget(in, &at); r < 0) return r;
  if (!in.Done()) return in.Fail(), -EPROTO;
  char target[wire::kMaxLinkTarget + 1];
  int64_t n = host::Readlinkat(at.fd, at.name, target, sizeof(target));
  // readlinkat(2) with an empty name says ENOENT for what is no link.
  if (n < 0) return at.name[0] == 0 && n == -ENOENT ? -EINVAL : static_cast<int>(n);
  if (static_cast<size_t>(n) > wire::kMaxLinkTarget) return -ENAMETOOLONG;
  out.String({target, static_cast<size_t>(n)});
  return 0;
}

int Server::Statfs(wire::Reader& in, wire::Writer& out, Fds*) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  if (!in.Done()) return in.Fail(), -EPROTO;
  int fd = nodes_.Fd(node);
  if (fd < 0) return fd;
  struct statfs st;
  if (long r = host::Fstatfs(fd, &st); r < 0) return static_cast<int>(r);
  uint64_t fsid;
  static_assert(sizeof(fsid) == sizeof(st.f_fsid));
  std::memcpy(&fsid, &st.f_fsid, sizeof(fsid));
  out.Put(wire::Statfs{.type = static_cast<uint64_t>(st.f_type),
                       .bsize = static_cast<uint64_t>(st.f_bsize),
                       .blocks = st.f_blocks,
                       .bfree = st.f_bfree,
                       .bavail = st.f_bavail,
                       .files = st.f_files,
                       .ffree = st.f_ffree,
                       .fsid = fsid,
                       .namelen = static_cast<uint64_t>(st.f_namelen),
                       .frsize = static_cast<uint64_t>(st.f_frsize)});
  return 0;
}

int Server::OpenPlain(const At& at, base::UniqueFd* fd) {
  struct statx st;
  if (int r = host::Statx(at.fd, at.name, &st); r < 0) return r;
  int r;
  if (S_ISDIR(st.stx_mode)) {
    r = OpenAt(at.fd, at.name[0] == 0 ? "." : at.name, O_RDONLY | O_DIRECTORY, 0);
  } else if (!S_ISREG(st.stx_mode)) {
    return -EOPNOTSUPP;
  } else if (at.name[0] == 0) {
    return -ESTALE;
  } else {
    r = OpenAt(at.fd, at.name, O_RDONLY | O_NONBLOCK, 0);
    // Whom the file's mode lets write only.
    if (r == -EACCES && !at.node->mount->read_only) {
      r = OpenAt(at.fd, at.name, O_WRONLY | O_NONBLOCK, 0);
    }
  }
  if (r < 0) return r;
  fd->reset(r);
  return 0;
}

int Server::Fsync(wire::Reader& in, wire::Writer&, Fds*) {
  At at;
  int resolved = ReadTarget(in, &at);
  auto data_only = in.Get<uint32_t>();
  if (!in.Done() || data_only > 1) return in.Fail(), -EPROTO;
  if (resolved < 0) return resolved;
  base::UniqueFd opened;
  if (int r = OpenPlain(at, &opened); r < 0) return r;
  return static_cast<int>(data_only != 0 ? host::Fdatasync(opened.get())
                                         : host::Fsync(opened.get()));
}

int Server::SyncFs(wire::Reader& in, wire::Writer&, Fds*) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  if (!in.Done()) return in.Fail(), -EPROTO;
  At at;
  if (int r = Resolve(node, &at); r < 0) return r;
  base::UniqueFd opened;
  if (int r = OpenPlain(at, &opened); r < 0) return r;
  return host::Syncfs(opened.get());
}

}  // namespace gofer
