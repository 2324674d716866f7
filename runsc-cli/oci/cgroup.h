// A container's control groups on the host, by writing the file systems directly: cgroup v2, or v1
// with a directory per controller.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

class Cgroup {
 public:
  // Controller ("" in v2) and directory.
  using Directories = std::vector<std::pair<std::string, std::string>>;

  // Where the container's groups belong; nothing is made. path: linux.cgroupsPath, absolute or
  // relative to the caller's own group; empty: named by id. only: these controllers, empty: all
  // that are mounted.
  static base::StatusOr<Cgroup> Plan(const std::string& path, const std::string& id,
                                     const std::vector<std::string>& only);
  Cgroup() = default;
  explicit Cgroup(Directories directories) : directories_(std::move(directories)) {}

  bool empty() const { return directories_.empty(); }
  const Directories& directories() const { return directories_; }
  void Merge(const Cgroup& other);

  base::Status Create() const;
  // What already was in them, or has ended, is no error.
  base::Status Add(std::span<const pid_t> pids) const;
  // For EnterCgroups() in processes that are made here: moving one from outside waits for all
  // processors of the host (10 ms measured). v1 only: v2 has no such way.
  base::Status OpenDoors(std::vector<base::UniqueFd>* doors) const;
  base::Status Set(const Resources& r) const;
  // Waits until it is so.
  base::Status Freeze(bool frozen) const;
  bool frozen() const;
  bool can_freeze() const { return unified() || !Directory("freezer").empty(); }
  std::vector<pid_t> Processes() const;
  // Removes what was created. What still runs in it is killed first.
  base::Status Remove() const;

  // A file's text without the newline at its end; empty if there is none. controller: v1's name;
  // in v2 any.
  std::string Read(const char* controller, const char* file) const;
  bool unified() const { return directories_.size() == 1 && directories_[0].first.empty(); }
  // Empty: not there.
  std::string Directory(const std::string& controller) const;

 private:
  base::Status SetV1(const Resources& r) const;
  base::Status SetV2(const Resources& r) const;
  Directories directories_;
};

// The calling process, of one thread, moves to the groups of those doors.
base::Status EnterCgroups(std::span<const base::UniqueFd> doors);

// The controllers (v1's names) that r has limits of.
std::vector<std::string> ControllersOf(const Resources& r);

// What a limit of the guest's tasks is on the host, where each has two threads.
uint64_t HostTasks(int64_t limit);

// cpu.shares of version 1 as cpu.weight of version 2.
uint64_t CpuWeight(uint64_t shares);

// `events --stats`: the object that runc prints as data.
std::string StatsJson(const Cgroup& cgroup);

}  // namespace runsc
