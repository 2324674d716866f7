#include "runsc-cli/oci/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "runsc-cli/oci/files.h"

namespace runsc {
namespace {

using base::Status;

struct Hierarchy {
  std::string controller, mount_point, own_path;
};

std::vector<std::string> Split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part);
  return parts;
}

// The mounted hierarchies: v1's controllers, or v2's one (controller "") if there is no v1.
std::vector<Hierarchy> Hierarchies() {
  std::vector<Hierarchy> v1;
  Hierarchy v2;
  std::string text;
  if (!ReadText("/proc/self/mountinfo", &text).ok()) return {};
  for (const std::string& line : Split(text, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> front = Split(line.substr(0, dash), ' ');
    const std::vector<std::string> back = Split(line.substr(dash + 3), ' ');
    if (front.size() < 5 || back.size() < 3) continue;
    if (back[0] == "cgroup2") v2 = {"", front[4], "/"};
    if (back[0] != "cgroup") continue;
    for (const std::string& option : Split(back[2], ',')) {
      if (option == "rw" || option == "ro" || option == "xattr" || option == "noprefix" ||
          option == "clone_children" || option.compare(0, 14, "release_agent=") == 0) {
        continue;
      }
      const bool known = std::any_of(v1.begin(), v1.end(),
                                     [&](const Hierarchy& h) { return h.controller == option; });
      if (!known) v1.push_back({option, front[4], "/"});
    }
  }
  if (v1.empty() && !v2.mount_point.empty()) v1.push_back(v2);
  text.clear();
  if (!ReadText("/proc/self/cgroup", &text).ok()) return v1;
  for (const std::string& line : Split(text, '\n')) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    for (Hierarchy& h : v1) {
      const std::vector<std::string> names = Split(line.substr(first + 1, second - first - 1), ',');
      if (std::find(names.begin(), names.end(), h.controller) != names.end() ||
          (names.empty() && h.controller.empty())) {
        h.own_path = line.substr(second + 1);
      }
    }
  }
  return v1;
}

// cgroup v1: a new cpuset is empty, and takes no process until it has what its parent has.
Status InheritCpuset(const std::string& directory) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    if (!ReadLine(directory + "/" + file).empty()) continue;
    const std::string parent = directory.substr(0, directory.rfind('/'));
    RETURN_IF_ERROR(WriteText(directory + "/" + file, ReadLine(parent + "/" + file)));
  }
  return {};
}

// cgroup v2: what the children of a directory may have is switched on in it.
void EnableControllers(const std::string& directory) {
  const std::string all = ReadLine(directory + "/cgroup.controllers");
  for (const std::string& c : Split(all, ' ')) {
    // One by one: a controller that can't be had must not keep the others away.
    (void)WriteText(directory + "/cgroup.subtree_control", "+" + c);
  }
}

}  // namespace

base::StatusOr<Cgroup> Cgroup::Plan(const std::string& path, const std::string& id,
                                    const std::vector<std::string>& only) {
  if (("/" + path + "/").find("/../") != std::string::npos)
    return Status::Error("linux.cgroupsPath must not contain \"..\"");
  const std::string below = path.empty() ? id : path;
  Cgroup out;
  for (const Hierarchy& h : Hierarchies()) {
    if (!h.controller.empty() && !only.empty() &&
        std::find(only.begin(), only.end(), h.controller) == only.end()) {
      continue;
    }
    std::string own = h.own_path == "/" ? "" : h.own_path;
    out.directories_.emplace_back(h.controller,
                                  h.mount_point + (below[0] == '/' ? below : own + "/" + below));
  }
  return out;
}

void Cgroup::Merge(const Cgroup& other) {
  for (const auto& d : other.directories_) {
    if (Directory(d.first).empty()) directories_.push_back(d);
  }
}

std::string Cgroup::Directory(const std::string& controller) const {
  for (const auto& [name, directory] : directories_) {
    if (name == controller || name.empty()) return directory;
  }
  return "";
}

Status Cgroup::Create() const {
  for (const auto& [controller, directory] : directories_) {
    for (size_t at = 1; at != std::string::npos;) {
      at = directory.find('/', at + 1);
      const std::string part = directory.substr(0, at);
      const bool made = mkdir(part.c_str(), 0755) == 0;
      if (!made && errno != EEXIST && at == std::string::npos)
        return Status::Errno("making the control group " + part, errno);
      if (made && controller == "cpuset") RETURN_IF_ERROR(InheritCpuset(part));
      if (controller.empty() && at != std::string::npos &&
          access((part + "/cgroup.controllers").c_str(), F_OK) == 0) {
        EnableControllers(part);
      }
    }
  }
  return {};
}

Status Cgroup::Add(std::span<const pid_t> pids) const {
  if (pids.empty()) return {};
  for (const auto& [controller, directory] : directories_) {
    const std::string file = directory + "/cgroup.procs";
    const base::UniqueFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return Status::Errno(file, errno);
    for (const pid_t pid : pids) {
      const std::string text = std::to_string(pid);
      if (write(fd.get(), text.data(), text.size()) < 0 && errno != ESRCH)
        return Status::Errno("moving process " + text + " by " + file, errno);
    }
  }
  return {};
}

Status Cgroup::OpenDoors(std::vector<base::UniqueFd>* doors) const {
  for (const auto& [controller, directory] : directories_) {
    const std::string file = directory + "/tasks";
    doors->emplace_back(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!doors->back()) return Status::Errno(file, errno);
  }
  return {};
}

// cgroup_procs_write_start() of the kernel: only the calling thread needs no lock.
Status EnterCgroups(std::span<const base::UniqueFd> doors) {
  for (const base::UniqueFd& door : doors) {
    if (write(door.get(), "0", 1) != 1) return Status::Errno("entering a control group", errno);
  }
  return {};
}

Status Cgroup::Set(const Resources& r) const {
  if (directories_.empty()) return {};
  return unified() ? SetV2(r) : SetV1(r);
}

bool Cgroup::frozen() const {
  if (unified()) {
    return Read("", "cgroup.events").find("frozen 1") != std::string::npos &&
           Read("", "cgroup.freeze") == "1";
  }
  // FREEZING: not all of it stands still yet, but it will.
  return Directory("freezer").empty() ? false : Read("freezer", "freezer.state") != "THAWED";
}

Status Cgroup::Freeze(bool frozen) const {
  constexpr int kTries = 2000, kPauseMs = 1;
  for (int i = 0; i < kTries; i++) {
    if (unified()) {
      RETURN_IF_ERROR(WriteText(Directory("") + "/cgroup.freeze", frozen ? "1" : "0"));
      const char* want = frozen ? "frozen 1" : "frozen 0";
      if (Read("", "cgroup.events").find(want) != std::string::npos) return {};
    } else {
      const char* want = frozen ? "FROZEN" : "THAWED";
      // Written again and again: v1 misses processes that are forked meanwhile.
      RETURN_IF_ERROR(WriteText(Directory("freezer") + "/freezer.state", want));
      if (Read("freezer", "freezer.state") == want) return {};
    }
    poll(nullptr, 0, kPauseMs);
  }
  return Status::Error(frozen ? "the sandbox does not come to a halt" : "the sandbox stays frozen");
}

std::vector<pid_t> Cgroup::Processes() const {
  std::vector<pid_t> pids;
  if (directories_.empty()) return pids;
  for (const std::string& line : Split(Read(directories_[0].first.c_str(), "cgroup.procs"), '\n')) {
    pids.push_back(static_cast<pid_t>(atoi(line.c_str())));
  }
  return pids;
}

Status Cgroup::Remove() const {
  constexpr int64_t kFirstPauseUs = 100, kLongestPauseUs = 10000, kPatienceUs = 2000000;
  Status result;
  for (const auto& [controller, directory] : directories_) {
    int64_t pause = kFirstPauseUs, waited = 0;
    while (rmdir(directory.c_str()) != 0 && errno != ENOENT) {
      if (errno != EBUSY || waited >= kPatienceUs) {
        result = Status::Errno("removing the control group " + directory, errno);
        break;
      }
      // Its last processes are on their way out, or what a crash left.
      for (pid_t pid : Processes()) {
        if (pid > 0) kill(pid, SIGKILL);
      }
      usleep(static_cast<useconds_t>(pause));
      waited += pause;
      pause = std::min(pause * 2, kLongestPauseUs);
    }
  }
  return result;
}

std::string Cgroup::Read(const char* controller, const char* file) const {
  const std::string directory = Directory(controller);
  return directory.empty() ? "" : ReadLine(directory + "/" + file);
}

}  // namespace runsc
