// getxattr(2), setxattr(2), listxattr(2), removexattr(2).
#include "syscalls/abi/xattr.h"

#include <algorithm>

#include "syscalls/linux/file_util.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;
using sentry::Path;
using sentry::Vfs;

namespace {

base::Result<std::string> Name(Task& task, UserCString name) {
  // setxattr_copy(): both too long and empty names are ERANGE.
  base::Result<std::string> s = name.Fetch(task.mm(), abi::kXATTR_NAME_MAX + 1);
  if (s.is(abi::Errno::kENAMETOOLONG)) return abi::Errno::kERANGE;
  if (s.ok() && s->empty()) return abi::Errno::kERANGE;
  return s;
}

// Where the attributes are: a path, or a descriptor's place.
struct Target {
  UserCString path;
  int32_t fd = -1;
  bool by_fd = false, follow = true;
};

base::Result<Path> Find(Task& task, AtPath& at, const Target& t) {
  if (t.by_fd) {
    base::Ref<File> f = TRY(task.fds().Get(t.fd));
    return Vfs::PlaceOf(*f);
  }
  TRY(at.Set(abi::kAT_FDCWD, t.path));
  return at.Find(t.follow);
}

base::Result<void> Set(Task& task, const Target& t, UserCString name, UserAddr value, uint64_t size,
                       int32_t flags) {
  if ((flags & ~(abi::kXATTR_CREATE | abi::kXATTR_REPLACE)) != 0) return abi::Errno::kEINVAL;
  std::string key = TRY(Name(task, name));
  if (size > abi::kXATTR_SIZE_MAX) return abi::Errno::kE2BIG;
  std::string bytes(size, '\0');
  TRY(task.mm().CopyIn(bytes.data(), value, size));
  AtPath at(task);
  Path p = TRY(Find(task, at, t));
  return Vfs::Setxattr(at.ctx(), p, key, bytes, flags);
}

base::Result<uint64_t> Give(Task& task, const std::string& bytes, UserAddr out, uint64_t size) {
  if (size == 0) return uint64_t{bytes.size()};
  if (bytes.size() > size) return abi::Errno::kERANGE;
  TRY(task.mm().CopyOut(out, bytes.data(), bytes.size()));
  return uint64_t{bytes.size()};
}

base::Result<uint64_t> Get(Task& task, const Target& t, UserCString name, UserAddr value,
                           uint64_t size) {
  std::string key = TRY(Name(task, name));
  AtPath at(task);
  Path p = TRY(Find(task, at, t));
  std::string bytes = TRY(Vfs::Getxattr(at.ctx(), p, key));
  return Give(task, bytes, value, size);
}

base::Result<uint64_t> List(Task& task, const Target& t, UserAddr list, uint64_t size) {
  AtPath at(task);
  Path p = TRY(Find(task, at, t));
  std::vector<std::string> names = TRY(Vfs::Listxattr(at.ctx(), p));
  std::string bytes;
  for (const std::string& n : names) {
    bytes += n;
    bytes += '\0';
  }
  if (bytes.size() > abi::kXATTR_LIST_MAX) return abi::Errno::kE2BIG;
  return Give(task, bytes, list, size);
}

base::Result<void> Remove(Task& task, const Target& t, UserCString name) {
  std::string key = TRY(Name(task, name));
  AtPath at(task);
  Path p = TRY(Find(task, at, t));
  return Vfs::Removexattr(at.ctx(), p, key);
}

Target ByPath(UserCString path, bool follow) { return Target{path, -1, false, follow}; }
Target ByFd(int32_t fd) { return Target{{}, fd, true, true}; }

}  // namespace

SyscallResult sys_setxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                           uint64_t size, int32_t flags) {
  return Set(task, ByPath(path, true), name, value, size, flags);
}
SyscallResult sys_lsetxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                            uint64_t size, int32_t flags) {
  return Set(task, ByPath(path, false), name, value, size, flags);
}
SyscallResult sys_fsetxattr(Task& task, int32_t fd, UserCString name, UserAddr value, uint64_t size,
                            int32_t flags) {
  return Set(task, ByFd(fd), name, value, size, flags);
}
SyscallResult sys_getxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                           uint64_t size) {
  return Get(task, ByPath(path, true), name, value, size);
}
SyscallResult sys_lgetxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                            uint64_t size) {
  return Get(task, ByPath(path, false), name, value, size);
}
SyscallResult sys_fgetxattr(Task& task, int32_t fd, UserCString name, UserAddr value,
                            uint64_t size) {
  return Get(task, ByFd(fd), name, value, size);
}
SyscallResult sys_listxattr(Task& task, UserCString path, UserAddr list, uint64_t size) {
  return List(task, ByPath(path, true), list, size);
}
SyscallResult sys_llistxattr(Task& task, UserCString path, UserAddr list, uint64_t size) {
  return List(task, ByPath(path, false), list, size);
}
SyscallResult sys_flistxattr(Task& task, int32_t fd, UserAddr list, uint64_t size) {
  return List(task, ByFd(fd), list, size);
}
SyscallResult sys_removexattr(Task& task, UserCString path, UserCString name) {
  return Remove(task, ByPath(path, true), name);
}
SyscallResult sys_lremovexattr(Task& task, UserCString path, UserCString name) {
  return Remove(task, ByPath(path, false), name);
}
SyscallResult sys_fremovexattr(Task& task, int32_t fd, UserCString name) {
  return Remove(task, ByFd(fd), name);
}

}  // namespace syscalls
