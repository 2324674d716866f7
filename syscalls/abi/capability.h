// capabilities(7), capget(2), securebits.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kCAP_CHOWN = 0;
inline constexpr int32_t kCAP_DAC_OVERRIDE = 1;
inline constexpr int32_t kCAP_DAC_READ_SEARCH = 2;
inline constexpr int32_t kCAP_FOWNER = 3;
inline constexpr int32_t kCAP_FSETID = 4;
inline constexpr int32_t kCAP_KILL = 5;
inline constexpr int32_t kCAP_SETGID = 6;
inline constexpr int32_t kCAP_SETUID = 7;
inline constexpr int32_t kCAP_SETPCAP = 8;
inline constexpr int32_t kCAP_LINUX_IMMUTABLE = 9;
inline constexpr int32_t kCAP_NET_BIND_SERVICE = 10;
inline constexpr int32_t kCAP_NET_BROADCAST = 11;
inline constexpr int32_t kCAP_NET_ADMIN = 12;
inline constexpr int32_t kCAP_NET_RAW = 13;
inline constexpr int32_t kCAP_IPC_LOCK = 14;
inline constexpr int32_t kCAP_IPC_OWNER = 15;
inline constexpr int32_t kCAP_SYS_MODULE = 16;
inline constexpr int32_t kCAP_SYS_RAWIO = 17;
inline constexpr int32_t kCAP_SYS_CHROOT = 18;
inline constexpr int32_t kCAP_SYS_PTRACE = 19;
inline constexpr int32_t kCAP_SYS_PACCT = 20;
inline constexpr int32_t kCAP_SYS_ADMIN = 21;
inline constexpr int32_t kCAP_SYS_BOOT = 22;
inline constexpr int32_t kCAP_SYS_NICE = 23;
inline constexpr int32_t kCAP_SYS_RESOURCE = 24;
inline constexpr int32_t kCAP_SYS_TIME = 25;
inline constexpr int32_t kCAP_SYS_TTY_CONFIG = 26;
inline constexpr int32_t kCAP_MKNOD = 27;
inline constexpr int32_t kCAP_LEASE = 28;
inline constexpr int32_t kCAP_AUDIT_WRITE = 29;
inline constexpr int32_t kCAP_AUDIT_CONTROL = 30;
inline constexpr int32_t kCAP_SETFCAP = 31;
inline constexpr int32_t kCAP_MAC_OVERRIDE = 32;
inline constexpr int32_t kCAP_MAC_ADMIN = 33;
inline constexpr int32_t kCAP_SYSLOG = 34;
inline constexpr int32_t kCAP_WAKE_ALARM = 35;
inline constexpr int32_t kCAP_BLOCK_SUSPEND = 36;
inline constexpr int32_t kCAP_AUDIT_READ = 37;
inline constexpr int32_t kCAP_PERFMON = 38;
inline constexpr int32_t kCAP_BPF = 39;
inline constexpr int32_t kCAP_CHECKPOINT_RESTORE = 40;
inline constexpr int32_t kCAP_LAST_CAP = 40;
constexpr uint64_t CapBit(int32_t cap) { return uint64_t{1} << cap; }
inline constexpr uint64_t kCapFullSet = (uint64_t{1} << (kCAP_LAST_CAP + 1)) - 1;

inline constexpr int32_t k_LINUX_CAPABILITY_VERSION_1 = 0x19980330;
inline constexpr int32_t k_LINUX_CAPABILITY_VERSION_2 = 0x20071026;
inline constexpr int32_t k_LINUX_CAPABILITY_VERSION_3 = 0x20080522;
struct CapUserHeader {
  uint32_t version;
  int32_t pid;
};
struct CapUserData {
  uint32_t effective, permitted, inheritable;
};

// security.capability xattr.
inline constexpr uint32_t kVFS_CAP_REVISION_MASK = 0xff000000;
inline constexpr int32_t kVFS_CAP_REVISION_1 = 0x1000000;
inline constexpr int32_t kVFS_CAP_REVISION_2 = 0x2000000;
inline constexpr int32_t kVFS_CAP_REVISION_3 = 0x3000000;
inline constexpr int32_t kVFS_CAP_FLAGS_EFFECTIVE = 0x1;
struct VfsNsCapData {
  uint32_t magic_etc;
  struct {
    uint32_t permitted, inheritable;
  } data[2];
  uint32_t rootid;
};

// PR_SET_SECUREBITS.
inline constexpr int32_t kSECBIT_NOROOT = 0x1;
inline constexpr int32_t kSECBIT_NOROOT_LOCKED = 0x2;
inline constexpr int32_t kSECBIT_NO_SETUID_FIXUP = 0x4;
inline constexpr int32_t kSECBIT_NO_SETUID_FIXUP_LOCKED = 0x8;
inline constexpr int32_t kSECBIT_KEEP_CAPS = 0x10;
inline constexpr int32_t kSECBIT_KEEP_CAPS_LOCKED = 0x20;
inline constexpr int32_t kSECBIT_NO_CAP_AMBIENT_RAISE = 0x40;
inline constexpr int32_t kSECURE_ALL_BITS = 0x55;
inline constexpr int32_t kSECBIT_NO_CAP_AMBIENT_RAISE_LOCKED = 0x80;
inline constexpr int32_t kSECURE_ALL_LOCKS = 0xaa;

}  // namespace uapi
