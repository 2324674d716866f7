// The record of a container below the state directory (--root): DIR/ID/ holds state.json, a copy of
// config.json, the sandbox's control socket and its log. state.json is replaced atomically; the
// directory itself is the claim on the id, and carries the lock (flock) of whoever changes it.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// A process of the host that isn't mistaken for a later one with its number.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start = 0;  // /proc/PID/stat's starttime
  static ProcessId Of(pid_t pid);
  // It runs; a zombie doesn't.
  bool alive() const;
};

enum class ContainerStatus { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* StatusName(ContainerStatus s);

struct Record {
  std::string id, bundle, rootfs, oci_version, created;
  std::string sandbox;  // the container in whose sandbox it is; empty: its own
  std::vector<std::pair<std::string, std::string>> annotations;
  ProcessId init, gofer;  // init: the sandbox's kernel, whose exit status is the container's
  std::string unit;       // systemd's, for the control groups; empty: none
  std::vector<std::pair<std::string, std::string>> cgroups;  // controller ("" in v2), directory
  bool hooks = false;                                        // config.json has some that come later
  std::string directory;

  // Claims the id: "container with given ID already exists".
  static base::Status Create(const Settings& settings, const std::string& id, Record* out);
  // "container does not exist". Takes the lock if lock is set, and holds it until destruction.
  static base::Status Load(const Settings& settings, const std::string& id, bool lock, Record* out);
  static std::vector<std::string> List(const Settings& settings);

  base::Status Save() const;
  // The copy of config.json that the directory keeps: the bundle may change, or go.
  base::Status SaveConfig(const std::string& text) const;
  base::Status LoadConfig(Spec* spec) const;
  // The whole directory.
  base::Status Remove() const;
  void Unlock() { lock_.reset(); }
  // Paused, and created as opposed to running, need more than the record: see lifecycle.h.
  bool alive() const { return init.pid > 0 && init.alive(); }
  // The specification's state object, which hooks and callers read.
  std::string StateJson(ContainerStatus status) const;

 private:
  base::UniqueFd lock_;
};

// "invalid container ID format".
base::Status CheckId(const std::string& id);

}  // namespace runsc
