// Spec: everything that a container is started from, after command line and config.json were read
// and checked. Host paths in it are used by the set-up code only; the sentry sees descriptors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "syscalls/abi/seccomp.h"

namespace runsc {

// Ids of a container that stand for ids of the host, as /proc/[pid]/uid_map has them.
struct IdRange {
  uint32_t container, host, count;
};
struct IdMaps {
  std::vector<IdRange> uids, gids;
  bool empty() const { return uids.empty() && gids.empty(); }
};

struct MountSpec {
  std::string type;         // bind, tmpfs, proc, sysfs, devtmpfs, devpts, mqueue, cgroup
  std::string source;       // bind: a host path
  std::string destination;  // absolute, in the container
  uint32_t flags = 0;       // MS_RDONLY, MS_NOSUID...
  std::string data;         // options that are not flags, comma-separated
  bool recursive = false;   // rbind
  // bind: owners of files (as container ids) and who they show as on the host; empty: themselves.
  IdMaps ids;
  bool ids_recursive = false;  // those of mounts below it too
};

struct RlimitSpec {
  int resource;
  uint64_t soft, hard;
};

// What a process is started with: config.json's process, or that of an exec.
struct ProcessSpec {
  std::string program;  // empty: args[0]
  std::vector<std::string> args, env;
  std::string cwd = "/";
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  uint32_t umask = 022;
  uint64_t caps_bounding = 0, caps_effective = 0, caps_inheritable = 0, caps_permitted = 0,
           caps_ambient = 0;
  std::vector<RlimitSpec> rlimits;
  bool no_new_privs = false;
  bool killable = false;                 // the first process has no immunity to signals
  bool terminal = false;                 // its standard streams are a terminal
  uint16_t rows = 0, columns = 0;        // of the terminal; 0: the caller's
  std::optional<int32_t> oom_score_adj;  // absent: the caller's
};

struct HookSpec {
  std::string path;
  std::vector<std::string> args, env;
  int timeout_s = 0;  // 0: none
};
struct HooksSpec {
  std::vector<HookSpec> prestart, create_runtime, create_container, start_container, poststart,
      poststop;
};

struct DeviceSpec {
  std::string path;
  uint32_t mode = 0666;  // with the type's bits
  uint64_t rdev = 0;
  uint32_t uid = 0, gid = 0;
};

struct NamespaceSpec {
  std::string type, path;  // path empty: a new one
};

// linux.resources, and what `update` changes: only what is present is written.
struct Resources {
  struct Throttle {
    uint32_t major, minor;
    uint64_t rate;
  };
  std::optional<int64_t> memory_limit, memory_swap, memory_reservation;  // -1: none
  std::optional<uint64_t> swappiness;
  std::optional<bool> disable_oom_killer;
  std::optional<uint64_t> cpu_shares, cpu_period, cpu_rt_period, cpu_burst;
  std::optional<int64_t> cpu_quota, cpu_rt_runtime, cpu_idle;
  std::string cpus, mems;
  std::optional<int64_t> pids_limit;
  std::optional<uint16_t> io_weight;
  std::vector<Throttle> read_bps, write_bps, read_iops, write_iops;
  std::vector<std::pair<std::string, uint64_t>> hugepages;   // page size ("2MB"), bytes
  std::vector<std::pair<std::string, std::string>> unified;  // cgroup v2 file, text
};

// What a sandbox's network is to be; network/plan.h makes it come true.
struct NetworkSettings {
  std::string mode = "sandbox";      // none, sandbox, host
  std::string egress;                // allow, deny: the policy's default; empty: the file's
  std::string egress_policy;         // file
  std::string egress_log;            // file
  bool raw = false;                  // raw and packet sockets
  std::vector<std::string> publish;  // [ADDRESS:]HOST:GUEST[/udp]
};

// Process-wide settings of the command, from global flags.
struct Settings {
  std::string platform = "systrap";
  std::string overlay;    // memory, none; empty: as the command has it, or memory
  bool no_patch = false;  // leave system call sites as they are
  bool strace = false;
  bool debug = false;
  std::string debug_log;        // file; strace and debug lines go there instead of standard error
  std::string root;             // state directory
  bool systemd_cgroup = false;  // linux.cgroupsPath is slice:prefix:name
  bool ignore_cgroups = false;
  NetworkSettings network;
  bool gaps = false;   // print the gaps at the end (moat debug --gaps)
  bool stats = false;  // print the engine's counters at the end (moat debug --stats)
};

struct Spec {
  std::string id;
  std::string bundle;
  std::string config;  // config.json's text
  std::string oci_version = "1.2.0";
  std::string hostname = "moat", domainname;
  std::string root_path = "/";
  bool root_readonly = false;
  ProcessSpec process;
  std::vector<MountSpec> mounts;
  std::vector<std::pair<std::string, std::string>> annotations;
  HooksSpec hooks;
  std::vector<NamespaceSpec> namespaces;
  IdMaps ids;                   // of its user namespace; empty: the host's
  bool setgroups = true;        // there; user_namespaces(7) says who must give it up
  bool network_client = false;  // a guest of the host's network, rather than one with a place in it
  std::vector<DeviceSpec> devices;
  std::string cgroups_path;
  Resources resources;
  std::vector<std::string> masked_paths, readonly_paths;
  std::vector<std::pair<std::string, std::string>> sysctl;
  std::vector<abi::SockFilter> seccomp;  // the guest's filter, or nothing
  uint32_t personality = 0;
};

constexpr uint64_t kAllCaps = (uint64_t{1} << 41) - 1;

// Exit statuses of the command itself: env(1)'s and chroot(1)'s convention, which container tools
// share.
constexpr int kExitFailure = 125;  // do: Moat itself failed
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

}  // namespace runsc
