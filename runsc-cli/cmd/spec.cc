// moat spec and moat features: what a bundle may say.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;
using json = nlohmann::ordered_json;

json Mount(const char* destination, const char* type, const char* source,
           std::vector<std::string> options) {
  json m = {{"destination", destination}, {"type", type}, {"source", source}};
  if (!options.empty()) m["options"] = options;
  return m;
}

// The container that runc's `spec` describes: a shell in a read-only root, with few rights.
json DefaultConfig() {
  const json caps = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  json namespaces = json::array();
  for (const char* type : {"pid", "network", "ipc", "uts", "mount"})
    namespaces.push_back({{"type", type}});
  return {{"ociVersion", "1.2.0"},
          {"process",
           {{"terminal", true},
            {"user", {{"uid", 0}, {"gid", 0}}},
            {"args", {"sh"}},
            {"env",
             {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"}},
            {"cwd", "/"},
            {"capabilities", {{"bounding", caps}, {"effective", caps}, {"permitted", caps}}},
            {"rlimits", {{{"type", "RLIMIT_NOFILE"}, {"hard", 1024}, {"soft", 1024}}}},
            {"noNewPrivileges", true}}},
          {"root", {{"path", "rootfs"}, {"readonly", true}}},
          {"hostname", "moat"},
          {"mounts",
           {Mount("/proc", "proc", "proc", {}),
            Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
            Mount("/dev/pts", "devpts", "devpts",
                  {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
            Mount("/dev/shm", "tmpfs", "shm",
                  {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
            Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
            Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"})}},
          {"linux",
           {{"namespaces", namespaces},
            {"maskedPaths",
             {"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
              "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
              "/proc/scsi"}},
            {"readonlyPaths",
             {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}}}}};
}

}  // namespace

int CmdSpec(const Settings&, const Words& words) {
  std::string bundle = ".";
  FlagSet flags;
  flags.String("bundle", &bundle, "DIR", "where config.json is written (default: here)");
  flags.Alias("b", "bundle");
  flags.Ignored("rootless", false);
  size_t i = 0;
  if (Status st = flags.Parse(words, &i); !st.ok()) return Fail(st.text(), kExitOciFailure);
  if (flags.help_wanted()) {
    printf("usage: moat spec [--bundle DIR]\n\n%s", flags.Help().c_str());
    return 0;
  }
  const std::string path = bundle + "/config.json";
  if (access(path.c_str(), F_OK) == 0) {
    return Fail("File config.json exists. Remove it first", kExitOciFailure);
  }
  Status st = WriteAtomically(path, DefaultConfig().dump(2) + "\n", 0666);
  return st.ok() ? 0 : Fail(st.text(), kExitOciFailure);
}

int CmdFeatures(const Settings&, const Words&) {
  json caps = json::array();
  for (int cap = 0; cap < 64; cap++) {
    if (const char* name = CapName(cap)) caps.push_back(std::string("CAP_") + name);
  }
  const json features = {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", "1.2.0"},
      {"hooks",
       {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", MountOptionNames()},
      {"linux",
       {{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}},
        {"capabilities", caps},
        {"cgroup",
         {{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", false}, {"rdma", false}}},
        {"seccomp",
         {{"enabled", true},
          {"actions", SeccompActionNames()},
          {"operators",
           {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE",
            "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"}},
          {"archs", {"SCMP_ARCH_X86_64"}}}},
        {"apparmor", {{"enabled", false}}},
        {"selinux", {{"enabled", false}}},
        {"intelRdt", {{"enabled", false}}},
        {"mountExtensions", {{"idmap", {{"enabled", false}}}}}}},
      {"annotations", {{"org.moat.sandboxed", "true"}}}};
  printf("%s\n", features.dump(4).c_str());
  return 0;
}

}  // namespace runsc
