// inotify(7).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr uint32_t kIN_ACCESS = 0x1;
inline constexpr uint32_t kIN_MODIFY = 0x2;
inline constexpr uint32_t kIN_ATTRIB = 0x4;
inline constexpr uint32_t kIN_CLOSE_WRITE = 0x8;
inline constexpr uint32_t kIN_CLOSE_NOWRITE = 0x10;
inline constexpr uint32_t kIN_CLOSE = 0x18;
inline constexpr uint32_t kIN_OPEN = 0x20;
inline constexpr uint32_t kIN_MOVED_FROM = 0x40;
inline constexpr uint32_t kIN_MOVED_TO = 0x80;
inline constexpr uint32_t kIN_MOVE = 0xc0;
inline constexpr uint32_t kIN_CREATE = 0x100;
inline constexpr uint32_t kIN_DELETE = 0x200;
inline constexpr uint32_t kIN_DELETE_SELF = 0x400;
inline constexpr uint32_t kIN_MOVE_SELF = 0x800;
inline constexpr uint32_t kIN_ALL_EVENTS = 0xfff;
inline constexpr uint32_t kIN_UNMOUNT = 0x2000;
inline constexpr uint32_t kIN_Q_OVERFLOW = 0x4000;
inline constexpr uint32_t kIN_IGNORED = 0x8000;
inline constexpr uint32_t kIN_ONLYDIR = 0x1000000;
inline constexpr uint32_t kIN_DONT_FOLLOW = 0x2000000;
inline constexpr uint32_t kIN_EXCL_UNLINK = 0x4000000;
inline constexpr uint32_t kIN_MASK_CREATE = 0x10000000;
inline constexpr uint32_t kIN_MASK_ADD = 0x20000000;
inline constexpr uint32_t kIN_ISDIR = 0x40000000;
inline constexpr uint32_t kIN_ONESHOT = 0x80000000;
inline constexpr int32_t kIN_CLOEXEC = 02000000;
inline constexpr int32_t kIN_NONBLOCK = 04000;
// A name of `len` bytes, padded with NULs, follows.
struct InotifyEvent {
  int32_t wd;
  uint32_t mask, cookie, len;
};

}  // namespace uapi
