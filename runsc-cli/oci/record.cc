#include "runsc-cli/oci/record.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;
using nlohmann::json;

constexpr size_t kMaxId = 1024;

json PairsAsObject(const std::vector<std::pair<std::string, std::string>>& pairs) {
  json o = json::object();
  for (const auto& [key, value] : pairs) o[key] = value;
  return o;
}

std::vector<std::pair<std::string, std::string>> ObjectAsPairs(const json& o) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [key, value] : o.items()) pairs.emplace_back(key, value.get<std::string>());
  return pairs;
}

// State character and start time of /proc/PID/stat.
bool ReadStat(pid_t pid, char* state, uint64_t* start) {
  std::string text;
  if (!ReadText("/proc/" + std::to_string(pid) + "/stat", &text).ok()) return false;
  const size_t paren = text.rfind(')');
  if (paren == std::string::npos) return false;
  unsigned long long at = 0;
  // The fields from the third on; starttime is the 22nd.
  if (sscanf(text.c_str() + paren + 1,
             " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
             state, &at) != 2) {
    return false;
  }
  *start = at;
  return true;
}

}  // namespace

ProcessId ProcessId::Of(pid_t pid) {
  ProcessId p;
  char state;
  p.pid = pid;
  ReadStat(pid, &state, &p.start);
  return p;
}

bool ProcessId::alive() const {
  char state;
  uint64_t now;
  return ReadStat(pid, &state, &now) && now == start && state != 'Z' && state != 'X';
}

const char* StatusName(ContainerStatus s) {
  switch (s) {
    case ContainerStatus::kCreating:
      return "creating";
    case ContainerStatus::kCreated:
      return "created";
    case ContainerStatus::kRunning:
      return "running";
    case ContainerStatus::kPaused:
      return "paused";
    case ContainerStatus::kStopped:
      break;
  }
  return "stopped";
}

Status CheckId(const std::string& id) {
  if (id.empty() || id == "." || id == ".." || id.size() > kMaxId ||
      id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") !=
          std::string::npos) {
    return Status::Error("invalid container ID format: \"" + id +
                         "\" (letters, digits, and _+-. make one, at most 1024 of them)");
  }
  return {};
}

Status Record::Create(const Settings& settings, const std::string& id, Record* out) {
  RETURN_IF_ERROR(CheckId(id));
  // As mkdir -p.
  for (size_t at = 1; at != std::string::npos;) {
    at = settings.root.find('/', at + 1);
    const std::string part = settings.root.substr(0, at);
    if (mkdir(part.c_str(), 0711) != 0 && errno != EEXIST)
      return Status::Errno("state directory " + part + " (--root names another)", errno);
  }
  out->id = id;
  out->directory = settings.root + "/" + id;
  if (mkdir(out->directory.c_str(), 0700) != 0) {
    if (errno == EEXIST) return Status::Error("container with given ID already exists");
    return Status::Errno(out->directory, errno);
  }
  out->lock_.reset(open(out->directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out->lock_ || flock(out->lock_.get(), LOCK_EX) != 0)
    return Status::Errno(out->directory, errno);
  out->created = TimeText();
  return {};
}

Status Record::Load(const Settings& settings, const std::string& id, bool lock, Record* out) {
  RETURN_IF_ERROR(CheckId(id));
  out->id = id;
  out->directory = settings.root + "/" + id;
  out->lock_.reset(open(out->directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out->lock_) return Status::Error("container does not exist");
  if (lock) {
    while (flock(out->lock_.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return Status::Errno(out->directory, errno);
    }
  }
  std::string text;
  if (!ReadText(out->directory + "/state.json", &text).ok())
    return Status::Error("container does not exist");
  json j = json::parse(text, nullptr, false);
  // Only Moat writes it; what is there by other means is as good as nothing.
  if (!j.is_object()) return Status::Error("container does not exist");
  out->oci_version = j.value("ociVersion", "");
  out->bundle = j.value("bundle", "");
  out->rootfs = j.value("rootfs", "");
  out->created = j.value("created", "");
  out->sandbox = j.value("sandbox", "");
  out->unit = j.value("unit", "");
  out->annotations = ObjectAsPairs(j.value("annotations", json::object()));
  out->cgroups = ObjectAsPairs(j.value("cgroups", json::object()));
  out->hooks = j.value("hooks", false);
  out->init = {j.value("pid", 0), j.value("pidStart", uint64_t{0})};
  out->gofer = {j.value("goferPid", 0), j.value("goferPidStart", uint64_t{0})};
  return {};
}

std::vector<std::string> Record::List(const Settings& settings) {
  std::vector<std::string> ids = ListDirectory(settings.root);
  std::erase_if(ids, [](const std::string& id) { return !CheckId(id).ok(); });
  return ids;
}

Status Record::Save() const {
  const json j = {{"ociVersion", oci_version},
                  {"id", id},
                  {"bundle", bundle},
                  {"rootfs", rootfs},
                  {"created", created},
                  {"sandbox", sandbox},
                  {"unit", unit},
                  {"annotations", PairsAsObject(annotations)},
                  {"cgroups", PairsAsObject(cgroups)},
                  {"hooks", hooks},
                  {"pid", init.pid},
                  {"pidStart", init.start},
                  {"goferPid", gofer.pid},
                  {"goferPidStart", gofer.start}};
  return WriteAtomically(directory + "/state.json",
                         j.dump(-1, ' ', false, json::error_handler_t::replace), 0600);
}

Status Record::SaveConfig(const std::string& text) const {
  // Nobody looks at it before there is a state.json.
  base::UniqueFd fd(
      open((directory + "/config.json").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Status::Errno(directory + "/config.json", errno);
  return {};
}

Status Record::LoadConfig(Spec* spec) const {
  std::string text;
  RETURN_IF_ERROR(ReadText(directory + "/config.json", &text));
  std::vector<std::string> warnings;  // `create` gave them
  return ParseConfig(text, bundle, spec, &warnings);
}

Status Record::Remove() const {
  // Before the rest: from here on there is no such container.
  unlink((directory + "/state.json").c_str());
  for (const std::string& name : ListDirectory(directory)) unlink((directory + "/" + name).c_str());
  if (rmdir(directory.c_str()) != 0 && errno != ENOENT) return Status::Errno(directory, errno);
  return {};
}

std::string Record::StateJson(ContainerStatus status) const {
  json j = {{"ociVersion", oci_version},
            {"id", id},
            {"pid", status == ContainerStatus::kStopped ? 0 : init.pid},
            {"status", StatusName(status)},
            {"bundle", bundle},
            {"rootfs", rootfs},
            {"created", created},
            {"owner", ""}};
  if (!annotations.empty()) j["annotations"] = PairsAsObject(annotations);
  return j.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace runsc
