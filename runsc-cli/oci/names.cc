// The tables of names that config.json and the command line share.
#include "runsc-cli/oci/config.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/mount.h"
#include "syscalls/abi/resource.h"

namespace runsc {

namespace {

constexpr const char* kCaps[] = {"CHOWN",
                                 "DAC_OVERRIDE",
                                 "DAC_READ_SEARCH",
                                 "FOWNER",
                                 "FSETID",
                                 "KILL",
                                 "SETGID",
                                 "SETUID",
                                 "SETPCAP",
                                 "LINUX_IMMUTABLE",
                                 "NET_BIND_SERVICE",
                                 "NET_BROADCAST",
                                 "NET_ADMIN",
                                 "NET_RAW",
                                 "IPC_LOCK",
                                 "IPC_OWNER",
                                 "SYS_MODULE",
                                 "SYS_RAWIO",
                                 "SYS_CHROOT",
                                 "SYS_PTRACE",
                                 "SYS_PACCT",
                                 "SYS_ADMIN",
                                 "SYS_BOOT",
                                 "SYS_NICE",
                                 "SYS_RESOURCE",
                                 "SYS_TIME",
                                 "SYS_TTY_CONFIG",
                                 "MKNOD",
                                 "LEASE",
                                 "AUDIT_WRITE",
                                 "AUDIT_CONTROL",
                                 "SETFCAP",
                                 "MAC_OVERRIDE",
                                 "MAC_ADMIN",
                                 "SYSLOG",
                                 "WAKE_ALARM",
                                 "BLOCK_SUSPEND",
                                 "AUDIT_READ",
                                 "PERFMON",
                                 "BPF",
                                 "CHECKPOINT_RESTORE"};
static_assert(sizeof kCaps / sizeof *kCaps == 41);

struct MountOption {
  const char* name;
  uint32_t set, clear;
};
constexpr MountOption kMountOptions[] = {{"defaults", 0, 0},
                                         {"ro", abi::kMS_RDONLY, 0},
                                         {"rw", 0, abi::kMS_RDONLY},
                                         {"nosuid", abi::kMS_NOSUID, 0},
                                         {"suid", 0, abi::kMS_NOSUID},
                                         {"nodev", abi::kMS_NODEV, 0},
                                         {"dev", 0, abi::kMS_NODEV},
                                         {"noexec", abi::kMS_NOEXEC, 0},
                                         {"exec", 0, abi::kMS_NOEXEC},
                                         {"sync", abi::kMS_SYNCHRONOUS, 0},
                                         {"async", 0, abi::kMS_SYNCHRONOUS},
                                         {"noatime", abi::kMS_NOATIME, 0},
                                         {"atime", 0, abi::kMS_NOATIME},
                                         {"nodiratime", abi::kMS_NODIRATIME, 0},
                                         {"diratime", 0, abi::kMS_NODIRATIME},
                                         {"relatime", abi::kMS_RELATIME, 0},
                                         {"norelatime", 0, abi::kMS_RELATIME},
                                         {"strictatime", abi::kMS_STRICTATIME, 0},
                                         {"nostrictatime", 0, abi::kMS_STRICTATIME},
                                         // What has no meaning in Moat: nothing is propagated, and
                                         // attributes of the others are not kept.
                                         {"dirsync", 0, 0},
                                         {"lazytime", 0, 0},
                                         {"nolazytime", 0, 0},
                                         {"iversion", 0, 0},
                                         {"noiversion", 0, 0},
                                         {"mand", 0, 0},
                                         {"nomand", 0, 0},
                                         {"silent", 0, 0},
                                         {"loud", 0, 0},
                                         {"acl", 0, 0},
                                         {"noacl", 0, 0},
                                         {"remount", 0, 0},
                                         {"bind", 0, 0},
                                         {"rbind", 0, 0},
                                         {"idmap", 0, 0},
                                         {"ridmap", 0, 0},
                                         {"private", 0, 0},
                                         {"rprivate", 0, 0},
                                         {"slave", 0, 0},
                                         {"rslave", 0, 0},
                                         {"shared", 0, 0},
                                         {"rshared", 0, 0},
                                         {"unbindable", 0, 0},
                                         {"runbindable", 0, 0}};

}  // namespace

const char* CapName(int cap) { return cap >= 0 && cap < 41 ? kCaps[cap] : nullptr; }

int CapByName(const std::string& name) {
  for (int i = 0; i < 41; i++) {
    if (name == std::string("CAP_") + kCaps[i]) return i;
  }
  return -1;
}

int RlimitByName(const std::string& name) {
  static constexpr const char* kNames[] = {
      "CPU",     "FSIZE", "DATA",  "STACK",      "CORE",     "RSS",  "NPROC",  "NOFILE",
      "MEMLOCK", "AS",    "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"};
  for (int i = 0; i < 16; i++) {
    if (name == std::string("RLIMIT_") + kNames[i]) return i;
  }
  return -1;
}

void ParseMountOptions(const std::vector<std::string>& options, uint32_t* flags,
                       std::string* data) {
  for (const std::string& o : options) {
    bool known = false;
    for (const MountOption& r : kMountOptions) {
      if (o == r.name) {
        *flags = (*flags & ~r.clear) | r.set;
        known = true;
      }
    }
    if (!known) *data += (data->empty() ? "" : ",") + o;
  }
}

std::vector<std::string> MountOptionNames() {
  std::vector<std::string> names;
  for (const MountOption& o : kMountOptions) names.push_back(o.name);
  return names;
}

}  // namespace runsc
