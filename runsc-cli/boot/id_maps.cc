#include "runsc-cli/boot/id_maps.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "runsc-cli/oci/files.h"

namespace runsc {
namespace {

using base::Status;

bool OnlyOwn(const std::vector<IdRange>& map, uint32_t own) {
  return map.empty() || (map.size() == 1 && map[0].host == own && map[0].count == 1);
}

bool Holds(const std::vector<IdRange>& map, uint32_t id) {
  for (const IdRange& r : map) {
    if (id - r.host < r.count) return true;
  }
  return false;
}

Status Show(const char* helper, const char* ranges, pid_t pid, const std::vector<IdRange>& map,
            uint32_t own) {
  std::vector<std::string> words = {helper, std::to_string(pid)};
  auto add = [&](uint32_t first, uint32_t count) {
    for (uint32_t n : {first, first, count}) words.push_back(std::to_string(n));
  };
  for (const IdRange& r : map) add(r.host, r.count);
  if (!Holds(map, own)) add(own, 1);
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  pid_t child;
  if (const int e = posix_spawnp(&child, helper, nullptr, nullptr, argv.data(), environ); e != 0)
    return Status::Errno(std::string(helper) + " (package uidmap), for linux.uidMappings", e);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) return {};
  return Status::Error(std::string(helper) + " refuses the ids of config.json: " + ranges +
                       " says which are this user's");
}

Status WriteMap(pid_t pid, const char* file, const std::vector<IdRange>& map) {
  std::string text;
  for (const IdRange& r : map) {
    text += std::to_string(r.container) + " " + std::to_string(r.host) + " " +
            std::to_string(r.count) + "\n";
  }
  return WriteText("/proc/" + std::to_string(pid) + "/" + file, text);
}

}  // namespace

base::StatusOr<base::UniqueFd> NamespaceOfIds(const IdMaps& maps) {
  const auto pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  if (pid < 0) return Status::Errno("a user namespace for mounts", errno);
  if (pid == 0) {
    for (;;) pause();
  }
  Status s = WriteMap(pid, "uid_map", maps.uids);
  if (s.ok()) s = WriteMap(pid, "gid_map", maps.gids);
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/user";
  base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (s.ok() && !fd) s = Status::Errno(path, errno);
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!s.ok()) return s;
  return fd;
}

bool NeedsIdHelper(const IdMaps& maps) {
  return geteuid() != 0 && !(OnlyOwn(maps.uids, geteuid()) && OnlyOwn(maps.gids, getegid()));
}

Status ShowIds(pid_t pid, const IdMaps& maps) {
  RETURN_IF_ERROR(Show("newuidmap", "/etc/subuid", pid, maps.uids, geteuid()));
  return Show("newgidmap", "/etc/subgid", pid, maps.gids, getegid());
}

}  // namespace runsc
