#include "runsc-cli/oci/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "syscalls/abi/capability.h"
#include "syscalls/abi/mount.h"
#include "syscalls/abi/resource.h"

namespace runsc {
namespace {

using base::Status;
using nlohmann::json;

constexpr size_t kMaxConfig = 16 << 20;

// A cursor over a JSON object that knows its place, reports type errors with the field's full name,
// and in the end which fields nobody asked for.
class Object {
 public:
  Object(const json* j, std::string where, Status* status, std::vector<std::string>* warnings)
      : j_(j), where_(std::move(where)), status_(status), warnings_(warnings) {}
  ~Object() {
    if (j_ == nullptr) return;
    for (const auto& [key, value] : j_->items()) {
      if (std::find(seen_.begin(), seen_.end(), key) == seen_.end() && !value.is_null()) {
        warnings_->push_back("config.json: " + Name(key.c_str()) + " is not supported and ignored");
      }
    }
  }
  bool present() const { return j_ != nullptr; }
  bool has(const char* key) { return Get(key) != nullptr; }

  void String(const char* key, std::string* out) {
    if (const json* v = Get(key)) {
      if (!v->is_string()) return Fail(key, "a string", *v);
      *out = v->get<std::string>();
    }
  }
  void Bool(const char* key, bool* out) {
    if (const json* v = Get(key)) {
      if (!v->is_boolean()) return Fail(key, "true or false", *v);
      *out = v->get<bool>();
    }
  }
  template <typename T>
  void Number(const char* key, T* out) {
    if (const json* v = Get(key)) {
      if (!v->is_number_integer()) return Fail(key, "a whole number", *v);
      if (v->is_number_unsigned()
              ? v->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<T>::max())
              : v->get<int64_t>() < static_cast<int64_t>(std::numeric_limits<T>::min())) {
        return Fail(key, "a number in range", *v);
      }
      *out = v->get<T>();
    }
  }
  void Strings(const char* key, std::vector<std::string>* out) {
    if (const json* v = Get(key)) {
      if (!v->is_array()) return Fail(key, "an array of strings", *v);
      for (const json& e : *v) {
        if (!e.is_string()) return Fail(key, "an array of strings", e);
        out->push_back(e.get<std::string>());
      }
    }
  }
  template <typename T>
  void Numbers(const char* key, std::vector<T>* out) {
    if (const json* v = Get(key)) {
      if (!v->is_array()) return Fail(key, "an array of numbers", *v);
      for (const json& e : *v) {
        if (!e.is_number_unsigned()) return Fail(key, "an array of numbers", e);
        out->push_back(e.get<T>());
      }
    }
  }
  Object Child(const char* key) {
    const json* v = Get(key);
    if (v != nullptr && !v->is_object()) {
      Fail(key, "an object", *v);
      v = nullptr;
    }
    return Object(v, Name(key), status_, warnings_);
  }
  template <typename F>
  void Each(const char* key, F&& f) {
    const json* v = Get(key);
    if (v == nullptr) return;
    if (!v->is_array()) return Fail(key, "an array", *v);
    for (size_t i = 0; i < v->size(); i++) {
      std::string name = std::string(key) + "[" + std::to_string(i) + "]";
      if (!(*v)[i].is_object()) return Fail(name.c_str(), "an object", (*v)[i]);
      Object o(&(*v)[i], Name(name.c_str()), status_, warnings_);
      f(o);
    }
  }
  // A field that is read elsewhere or means nothing here, without a warning.
  void Known(const char* key) { seen_.push_back(key); }
  void KnownAll() {
    if (j_ == nullptr) return;
    for (const auto& [key, value] : j_->items()) seen_.push_back(key);
  }
  std::string Name(const char* key) const { return where_.empty() ? key : where_ + "." + key; }
  void Error(const std::string& text) {
    if (status_->ok()) *status_ = Status::Error("config.json: " + text);
  }

 private:
  const json* Get(const char* key) {
    if (j_ == nullptr) return nullptr;
    seen_.push_back(key);
    auto it = j_->find(key);
    return it == j_->end() || it->is_null() ? nullptr : &*it;
  }
  void Fail(const char* key, const char* want, const json& got) {
    Error(Name(key) + " must be " + want + ", not " + got.type_name());
  }

  const json* j_;
  std::string where_;
  Status* status_;
  std::vector<std::string>* warnings_;
  std::vector<std::string> seen_;
};

void ReadProcess(Object&& p, Spec* spec) {
  p.Strings("args", &spec->args);
  if (spec->args.empty()) p.Error("process.args is missing: it names the command to run");
  p.Strings("env", &spec->env);
  p.String("cwd", &spec->cwd);
  if (spec->cwd.empty() || spec->cwd[0] != '/')
    p.Error("process.cwd must be an absolute path, not \"" + spec->cwd + "\"");
  p.Bool("terminal", &spec->terminal);
  p.Bool("noNewPrivileges", &spec->no_new_privs);
  p.Number("oomScoreAdj", &spec->oom_score_adj);
  p.Child("consoleSize").KnownAll();
  {
    Object u = p.Child("user");
    u.Number("uid", &spec->uid);
    u.Number("gid", &spec->gid);
    u.Numbers("additionalGids", &spec->groups);
    u.Number("umask", &spec->umask);
    u.Known("username");
  }
  {
    Object c = p.Child("capabilities");
    const std::pair<const char*, uint64_t*> sets[] = {{"bounding", &spec->caps_bounding},
                                                      {"effective", &spec->caps_effective},
                                                      {"inheritable", &spec->caps_inheritable},
                                                      {"permitted", &spec->caps_permitted},
                                                      {"ambient", &spec->caps_ambient}};
    for (const auto& [name, set] : sets) {
      std::vector<std::string> names;
      c.Strings(name, &names);
      for (const std::string& n : names) {
        int cap = CapByName(n);
        if (cap < 0) {
          c.Error(c.Name(name) + ": unknown capability \"" + n + "\"");
        } else {
          *set |= uint64_t{1} << cap;
        }
      }
    }
  }
  p.Each("rlimits", [&](Object& r) {
    std::string type;
    RlimitSpec l{-1, 0, 0};
    r.String("type", &type);
    r.Number("soft", &l.soft);
    r.Number("hard", &l.hard);
    l.resource = RlimitByName(type);
    if (l.resource < 0) {
      r.Error(r.Name("type") + ": unknown limit \"" + type + "\"");
    } else {
      spec->rlimits.push_back(l);
    }
  });
}

void ReadMounts(Object& top, const std::string& bundle, Spec* spec,
                std::vector<std::string>* warnings) {
  top.Each("mounts", [&](Object& m) {
    MountSpec s;
    std::vector<std::string> options;
    m.String("destination", &s.destination);
    m.String("type", &s.type);
    m.String("source", &s.source);
    m.Strings("options", &options);
    if (s.destination.empty()) return m.Error(m.Name("destination") + " is missing");
    if (s.destination[0] != '/') s.destination = "/" + s.destination;
    bool bind = s.type == "bind";
    for (const std::string& o : options) bind = bind || o == "bind" || o == "rbind";
    if (bind) s.type = "bind";
    ParseMountOptions(options, &s.flags, &s.data);
    if (bind && !s.source.empty() && s.source[0] != '/') s.source = bundle + "/" + s.source;
    if (bind && s.source.empty())
      return m.Error(m.Name("source") + " is missing: a bind mount needs one");
    static constexpr const char* kKnown[] = {"bind",   "tmpfs",  "proc",    "sysfs",
                                             "devpts", "mqueue", "devtmpfs"};
    if (std::find(std::begin(kKnown), std::end(kKnown), s.type) == std::end(kKnown)) {
      warnings->push_back("config.json: mount of type \"" + s.type + "\" on " + s.destination +
                          " is not supported and left out");
      return;
    }
    spec->mounts.push_back(std::move(s));
  });
}

}  // namespace

int CapByName(const std::string& name) {
  static constexpr const char* kNames[] = {"CHOWN",
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
  static_assert(sizeof kNames / sizeof *kNames == 41);
  for (int i = 0; i < 41; i++) {
    if (name == std::string("CAP_") + kNames[i]) return i;
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
  struct Row {
    const char* name;
    uint32_t set, clear;
  };
  static const Row kRows[] = {{"defaults", 0, 0},
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
                              {"bind", 0, 0},
                              {"rbind", 0, 0},
                              {"private", 0, 0},
                              {"rprivate", 0, 0},
                              {"slave", 0, 0},
                              {"rslave", 0, 0},
                              {"shared", 0, 0},
                              {"rshared", 0, 0},
                              {"unbindable", 0, 0},
                              {"runbindable", 0, 0}};
  for (const std::string& o : options) {
    bool known = false;
    for (const Row& r : kRows) {
      if (o == r.name) {
        *flags = (*flags & ~r.clear) | r.set;
        known = true;
      }
    }
    if (!known) *data += (data->empty() ? "" : ",") + o;
  }
}

Status ParseConfig(const std::string& text, const std::string& bundle, Spec* spec,
                   std::vector<std::string>* warnings) {
  json j;
  try {
    j = json::parse(text);
  } catch (const json::parse_error& e) {
    return Status::Error("config.json is no valid JSON: at byte " + std::to_string(e.byte) +
                         "; `runc spec` writes one to start from");
  }
  if (!j.is_object()) return Status::Error("config.json must hold a JSON object");
  Status status;
  {
    Object top(&j, "", &status, warnings);
    top.Known("ociVersion");
    top.Known("annotations");
    top.String("hostname", &spec->hostname);
    top.Known("domainname");
    if (!top.has("process")) top.Error("process is missing: it says what to run");
    ReadProcess(top.Child("process"), spec);
    if (!top.has("root")) top.Error("root is missing: root.path names the root file system");
    {
      Object r = top.Child("root");
      spec->root_path.clear();
      r.String("path", &spec->root_path);
      r.Bool("readonly", &spec->root_readonly);
      if (spec->root_path.empty() && r.present()) r.Error("root.path is missing");
      if (!spec->root_path.empty() && spec->root_path[0] != '/')
        spec->root_path = bundle + "/" + spec->root_path;
    }
    ReadMounts(top, bundle, spec, warnings);
    // The sandbox has namespaces, devices and resource control of its own making; the path lists
    // hide what Moat's proc does not have.
    Object l = top.Child("linux");
    for (const char* key : {"namespaces", "maskedPaths", "readonlyPaths", "devices", "cgroupsPath",
                            "resources", "rootfsPropagation"}) {
      l.Known(key);
    }
  }
  return status;
}

Status ReadBundle(const std::string& bundle, Spec* spec, std::vector<std::string>* warnings) {
  struct stat st;
  if (stat(bundle.c_str(), &st) != 0) return Status::Errno("bundle " + bundle, errno);
  char* full = realpath(bundle.c_str(), nullptr);
  std::string dir = full != nullptr ? full : bundle;
  free(full);
  const std::string path = dir + "/config.json";
  if (stat(path.c_str(), &st) != 0) {
    return Status::Errno(path, errno).With("no bundle here; --bundle names its directory");
  }
  if (static_cast<size_t>(st.st_size) > kMaxConfig)
    return Status::Error(path + " is larger than 16 MiB");
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return Status::Errno(path, errno);
  RETURN_IF_ERROR(ParseConfig(text.str(), dir, spec, warnings));
  if (stat(spec->root_path.c_str(), &st) != 0) {
    return Status::Errno("root.path " + spec->root_path, errno).With("config.json");
  }
  if (!S_ISDIR(st.st_mode))
    return Status::Error("config.json: root.path " + spec->root_path + " is not a directory");
  return {};
}

}  // namespace runsc
