// Host file system calls of the gofer, all relative to descriptors. Each returns the call's value,
// or -errno. Names given with a directory must be single components, or "" for the descriptor
// itself; OpenBeneath also takes paths of such. Nothing here follows a symlink.
#pragma once

#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#include "platform/host/host.h"

namespace host {

constexpr int EmptyPathFlag(const char* name) { return name[0] == 0 ? AT_EMPTY_PATH : 0; }

// openat2(2) with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS; O_CLOEXEC,
// O_NOFOLLOW and O_NOCTTY are added.
inline int OpenBeneath(int dir, const char* name, int flags, uint32_t mode = 0) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  if ((flags & O_PATH) == 0) how.flags |= O_NOCTTY;
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(Call<SYS_openat2>(dir, name, &how, sizeof(how)));
}
// Basic attributes and birth time, without triggering automounts.
inline int Statx(int dir, const char* name, struct statx* out) {
  return static_cast<int>(
      Call<SYS_statx>(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | EmptyPathFlag(name),
                      STATX_BASIC_STATS | STATX_BTIME, out));
}
inline long Getdents64(int fd, void* buffer, size_t size) {
  return Call<SYS_getdents64>(fd, buffer, size);
}
inline long Readlinkat(int dir, const char* name, char* buffer, size_t size) {
  return Call<SYS_readlinkat>(dir, name, buffer, size);
}
inline int Mkdirat(int dir, const char* name, uint32_t mode) {
  return static_cast<int>(Call<SYS_mkdirat>(dir, name, mode));
}
inline int Symlinkat(const char* target, int dir, const char* name) {
  return static_cast<int>(Call<SYS_symlinkat>(target, dir, name));
}
inline int Linkat(int from_dir, const char* from, int to_dir, const char* to) {
  return static_cast<int>(Call<SYS_linkat>(from_dir, from, to_dir, to, EmptyPathFlag(from)));
}
// Never of a device: no device number is passed.
inline int Mknodat(int dir, const char* name, uint32_t mode) {
  return static_cast<int>(Call<SYS_mknodat>(dir, name, mode, 0));
}
inline int Unlinkat(int dir, const char* name, int flags) {
  return static_cast<int>(Call<SYS_unlinkat>(dir, name, flags));
}
inline int Renameat2(int from_dir, const char* from, int to_dir, const char* to, uint32_t flags) {
  return static_cast<int>(Call<SYS_renameat2>(from_dir, from, to_dir, to, flags));
}
inline int Fchownat(int dir, const char* name, uint32_t uid, uint32_t gid) {
  return static_cast<int>(
      Call<SYS_fchownat>(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW | EmptyPathFlag(name)));
}
// ENOSYS before Linux 6.6.
inline int Fchmodat2(int dir, const char* name, uint32_t mode) {
  return static_cast<int>(
      Call<SYS_fchmodat2>(dir, name, mode, AT_SYMLINK_NOFOLLOW | EmptyPathFlag(name)));
}
inline int Fchmod(int fd, uint32_t mode) { return static_cast<int>(Call<SYS_fchmod>(fd, mode)); }
inline int Utimensat(int dir, const char* name, const timespec times[2]) {
  return static_cast<int>(
      Call<SYS_utimensat>(dir, name, times, AT_SYMLINK_NOFOLLOW | EmptyPathFlag(name)));
}
inline int Syncfs(int fd) { return static_cast<int>(Call<SYS_syncfs>(fd)); }
inline long Fgetxattr(int fd, const char* name, void* value, size_t size) {
  return Call<SYS_fgetxattr>(fd, name, value, size);
}
inline int Fsetxattr(int fd, const char* name, const void* value, size_t size, int flags) {
  return static_cast<int>(Call<SYS_fsetxattr>(fd, name, value, size, flags));
}
inline long Flistxattr(int fd, char* list, size_t size) {
  return Call<SYS_flistxattr>(fd, list, size);
}
inline int Fremovexattr(int fd, const char* name) {
  return static_cast<int>(Call<SYS_fremovexattr>(fd, name));
}

}  // namespace host
