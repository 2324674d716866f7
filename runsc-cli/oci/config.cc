#include "runsc-cli/oci/config.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/pod.h"
#include "syscalls/abi/personality.h"

namespace runsc {
namespace {

using base::Status;
using nlohmann::json;

void ReadCapabilities(JsonObject&& c, ProcessSpec* p) {
  const std::pair<const char*, uint64_t*> sets[] = {{"bounding", &p->caps_bounding},
                                                    {"effective", &p->caps_effective},
                                                    {"inheritable", &p->caps_inheritable},
                                                    {"permitted", &p->caps_permitted},
                                                    {"ambient", &p->caps_ambient}};
  for (const auto& [name, set] : sets) {
    std::vector<std::string> names;
    c.Strings(name, &names);
    for (const std::string& n : names) {
      int cap = CapByName(n);
      // As runc: a newer kernel's capability is one that nobody has here.
      if (cap < 0) {
        c.Warn(c.Name(name) + ": unknown capability \"" + n + "\" is ignored");
      } else {
        *set |= uint64_t{1} << cap;
      }
    }
  }
  // capabilities(7): a process can't hold what these rules exclude.
  p->caps_effective &= p->caps_permitted;
  p->caps_ambient &= p->caps_permitted & p->caps_inheritable;
}

void ReadProcess(JsonObject&& p, ProcessSpec* spec) {
  p.Strings("args", &spec->args);
  if (spec->args.empty() || spec->args[0].empty())
    p.Error(p.Name("args") + " is missing: it names the command to run");
  p.Strings("env", &spec->env);
  p.String("cwd", &spec->cwd);
  if (spec->cwd.empty() || spec->cwd[0] != '/')
    p.Error(p.Name("cwd") + " must be an absolute path, not \"" + spec->cwd + "\"");
  p.Bool("terminal", &spec->terminal);
  p.Bool("noNewPrivileges", &spec->no_new_privs);
  p.Number("oomScoreAdj", &spec->oom_score_adj);
  // Host mechanisms that say nothing about a guest; callers give them everywhere.
  for (const char* key : {"apparmorProfile", "selinuxLabel", "ioPriority", "scheduler",
                          "execCPUAffinity", "commandLine"}) {
    p.Known(key);
  }
  {
    JsonObject size = p.Child("consoleSize");
    size.Number("height", &spec->rows);
    size.Number("width", &spec->columns);
  }
  {
    JsonObject u = p.Child("user");
    u.Number("uid", &spec->uid);
    u.Number("gid", &spec->gid);
    u.Numbers("additionalGids", &spec->groups);
    u.Number("umask", &spec->umask);
    spec->umask &= 0777;
    u.Known("username");
  }
  ReadCapabilities(p.Child("capabilities"), spec);
  p.Each("rlimits", [&](JsonObject& r) {
    std::string type;
    RlimitSpec l{-1, 0, 0};
    r.String("type", &type);
    r.Number("soft", &l.soft);
    r.Number("hard", &l.hard);
    l.resource = RlimitByName(type);
    if (l.resource < 0) {
      r.Error(r.Name("type") + ": unknown limit \"" + type + "\"");
    } else if (l.soft > l.hard) {
      r.Error(r.Name("soft") + " is greater than the hard limit");
    } else {
      spec->rlimits.push_back(l);
    }
  });
}

// map_write() of the kernel refuses the same.
void ReadIdMap(JsonObject& o, const char* key, std::vector<IdRange>* map) {
  constexpr size_t kMaxRanges = 340;
  o.Each(key, [&](JsonObject& r) {
    IdRange range{0, 0, 0};
    r.Number("containerID", &range.container);
    r.Number("hostID", &range.host);
    r.Number("size", &range.count);
    const uint32_t most = UINT32_MAX - range.count;
    if (range.count == 0 || range.container > most || range.host > most)
      return r.Error(r.Name("size") + " is not that of a range of ids");
    auto overlap = [&](uint32_t a, uint32_t a_count, uint32_t b) {
      return a < b + range.count && b < a + a_count;
    };
    for (const IdRange& other : *map) {
      if (overlap(other.container, other.count, range.container) ||
          overlap(other.host, other.count, range.host)) {
        return r.Error(r.Name("containerID") + ": the range overlaps another one");
      }
    }
    map->push_back(range);
  });
  if (map->size() > kMaxRanges) o.Error(o.Name(key) + " has too many ranges");
}

void ReadIdMaps(JsonObject& o, IdMaps* maps) {
  ReadIdMap(o, "uidMappings", &maps->uids);
  ReadIdMap(o, "gidMappings", &maps->gids);
  if (maps->uids.empty() != maps->gids.empty())
    o.Error(o.Name("uidMappings") + " and gidMappings are wanted together");
}

// Which ids the user namespace has.
void ReadUserNamespace(JsonObject& l, Spec* spec) {
  ReadIdMaps(l, &spec->ids);
  const auto user = std::find_if(spec->namespaces.begin(), spec->namespaces.end(),
                                 [](const NamespaceSpec& n) { return n.type == "user"; });
  if (user == spec->namespaces.end()) {
    // As runc: they mean nothing then.
    spec->ids = {};
    return;
  }
  if (spec->ids.empty()) {
    if (user->path.empty())
      l.Error(l.Name("uidMappings") + " is missing: it says which ids the user namespace has");
    return;
  }
  for (const std::vector<IdRange>* map : {&spec->ids.uids, &spec->ids.gids}) {
    // As runc: somebody must own what the set-up makes.
    if (std::none_of(map->begin(), map->end(), [](const IdRange& r) { return r.container == 0; }))
      l.Error(l.Name("uidMappings") + ": the container's root, id 0, is not in the user namespace");
  }
}

void ReadMounts(JsonObject& top, const std::string& bundle, Spec* spec) {
  top.Each("mounts", [&](JsonObject& m) {
    MountSpec s;
    std::vector<std::string> options;
    m.String("destination", &s.destination);
    m.String("type", &s.type);
    m.String("source", &s.source);
    m.Strings("options", &options);
    ReadIdMaps(m, &s.ids);
    bool container_ids = false;
    if (s.destination.empty()) return m.Error(m.Name("destination") + " is missing");
    if (s.destination[0] != '/') s.destination = "/" + s.destination;
    bool bind = s.type == "bind";
    for (const std::string& o : options) {
      s.recursive = s.recursive || o == "rbind";
      bind = bind || o == "bind" || o == "rbind";
      s.ids_recursive = s.ids_recursive || o == "ridmap";
      container_ids = container_ids || o == "idmap" || o == "ridmap";
    }
    if (bind) s.type = "bind";
    if (container_ids && s.ids.empty()) s.ids = spec->ids;
    if ((container_ids || !s.ids.empty()) && !bind)
      return m.Error(m.Name("uidMappings") + ": only bind mounts can show other owners");
    if (container_ids && s.ids.empty())
      return m.Error(m.Name("options") + ": idmap without uidMappings or a user namespace");
    ParseMountOptions(options, &s.flags, &s.data);
    if (bind && !s.source.empty() && s.source[0] != '/') s.source = bundle + "/" + s.source;
    if (bind && s.source.empty())
      return m.Error(m.Name("source") + " is missing: a bind mount needs one");
    static constexpr const char* kKnown[] = {"bind",   "tmpfs",    "proc",   "sysfs",  "devpts",
                                             "mqueue", "devtmpfs", "cgroup", "cgroup2"};
    if (std::find(std::begin(kKnown), std::end(kKnown), s.type) == std::end(kKnown)) {
      m.Warn("mount of type \"" + s.type + "\" on " + s.destination +
             " is not supported and left out");
      return;
    }
    spec->mounts.push_back(std::move(s));
  });
}

void ReadHooks(JsonObject&& hooks, HooksSpec* spec) {
  const std::pair<const char*, std::vector<HookSpec>*> lists[] = {
      {"prestart", &spec->prestart},
      {"createRuntime", &spec->create_runtime},
      {"createContainer", &spec->create_container},
      {"startContainer", &spec->start_container},
      {"poststart", &spec->poststart},
      {"poststop", &spec->poststop}};
  for (const auto& [name, list] : lists) {
    hooks.Each(name, [list = list](JsonObject& h) {
      HookSpec s;
      h.String("path", &s.path);
      h.Strings("args", &s.args);
      h.Strings("env", &s.env);
      h.Number("timeout", &s.timeout_s);
      if (s.path.empty() || s.path[0] != '/')
        return h.Error(h.Name("path") + " must be an absolute path");
      if (h.has("timeout") && s.timeout_s <= 0)
        return h.Error(h.Name("timeout") + " must be greater than zero");
      list->push_back(std::move(s));
    });
  }
}

void ReadDevices(JsonObject& linux_object, std::vector<DeviceSpec>* devices) {
  linux_object.Each("devices", [&](JsonObject& d) {
    DeviceSpec s;
    std::string type;
    uint32_t major_number = 0, minor_number = 0, mode = 0666;
    d.String("path", &s.path);
    d.String("type", &type);
    d.Number("major", &major_number);
    d.Number("minor", &minor_number);
    d.Number("fileMode", &mode);
    d.Number("uid", &s.uid);
    d.Number("gid", &s.gid);
    if (s.path.empty() || s.path[0] != '/')
      return d.Error(d.Name("path") + " must be an absolute path");
    uint32_t bits = 0;
    if (type == "c" || type == "u") {
      bits = S_IFCHR;
    } else if (type == "b") {
      bits = S_IFBLK;
    } else if (type == "p") {
      bits = S_IFIFO;
    } else {
      return d.Error(d.Name("type") + " must be c, b, u or p, not \"" + type + "\"");
    }
    s.mode = bits | (mode & 07777);
    if (bits != S_IFIFO) s.rdev = makedev(major_number, minor_number);
    devices->push_back(std::move(s));
  });
}

void ReadLinux(JsonObject&& l, Spec* spec) {
  // rootfsPropagation: nothing leaves the sandbox. mountLabel, intelRdt: the host's mechanisms.
  for (const char* key : {"rootfsPropagation", "mountLabel", "intelRdt"}) l.Known(key);
  static constexpr const char* kNamespaces[] = {"pid", "network", "mount",  "ipc",
                                                "uts", "user",    "cgroup", "time"};
  l.Each("namespaces", [&](JsonObject& n) {
    NamespaceSpec s;
    n.String("type", &s.type);
    n.String("path", &s.path);
    if (std::find(std::begin(kNamespaces), std::end(kNamespaces), s.type) ==
        std::end(kNamespaces)) {
      return n.Error(n.Name("type") + ": unknown namespace \"" + s.type + "\"");
    }
    for (const NamespaceSpec& other : spec->namespaces) {
      if (other.type == s.type)
        return n.Error(n.Name("type") + ": namespace \"" + s.type + "\" is given twice");
    }
    spec->namespaces.push_back(std::move(s));
  });
  ReadUserNamespace(l, spec);
  ReadDevices(l, &spec->devices);
  l.String("cgroupsPath", &spec->cgroups_path);
  ReadResources(l.Child("resources"), &spec->resources);
  l.Strings("maskedPaths", &spec->masked_paths);
  l.Strings("readonlyPaths", &spec->readonly_paths);
  l.Child("sysctl").StringMap(&spec->sysctl);
  ReadSeccomp(l.Child("seccomp"), &spec->seccomp);
  JsonObject p = l.Child("personality");
  if (!p.present()) return;
  std::string domain;
  p.String("domain", &domain);
  p.Known("flags");
  if (domain == "LINUX32") {
    spec->personality = abi::kPER_LINUX32;
  } else if (domain != "LINUX") {
    p.Error(p.Name("domain") + " must be LINUX or LINUX32, not \"" + domain + "\"");
  }
}

Status ParseJson(const std::string& text, const std::string& file, json* out) {
  try {
    *out = json::parse(text);
  } catch (const json::parse_error& e) {
    return Status::Error(file + " is no valid JSON: at byte " + std::to_string(e.byte));
  }
  if (!out->is_object()) return Status::Error(file + " must hold a JSON object");
  return {};
}

}  // namespace

Status ParseConfig(const std::string& text, const std::string& bundle, Spec* spec,
                   std::vector<std::string>* warnings) {
  json j;
  RETURN_IF_ERROR(ParseJson(text, "config.json", &j).With("`moat spec` writes one to start from"));
  JsonContext context{"config.json", {}, {}};
  {
    JsonObject top(&j, "", &context);
    top.String("ociVersion", &spec->oci_version);
    top.Child("annotations").StringMap(&spec->annotations);
    top.String("hostname", &spec->hostname);
    top.String("domainname", &spec->domainname);
    ReadHooks(top.Child("hooks"), &spec->hooks);
    if (!top.has("process")) top.Error("process is missing: it says what to run");
    ReadProcess(top.Child("process"), &spec->process);
    if (!top.has("root")) top.Error("root is missing: root.path names the root file system");
    {
      JsonObject r = top.Child("root");
      spec->root_path.clear();
      r.String("path", &spec->root_path);
      r.Bool("readonly", &spec->root_readonly);
      if (spec->root_path.empty() && r.present()) r.Error("root.path is missing");
      if (!spec->root_path.empty() && spec->root_path[0] != '/')
        spec->root_path = bundle + "/" + spec->root_path;
    }
    ReadLinux(top.Child("linux"), spec);
    ReadMounts(top, bundle, spec);
  }
  warnings->insert(warnings->end(), context.warnings.begin(), context.warnings.end());
  return context.status;
}

std::string WithoutSeccomp(const std::string& text) {
  json j = json::parse(text, nullptr, false);
  if (j.is_object() && j.contains("linux") && j["linux"].is_object()) j["linux"].erase("seccomp");
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

Status ReadProcessFile(const std::string& path, ProcessSpec* process,
                       std::vector<std::string>* warnings) {
  std::string text;
  RETURN_IF_ERROR(ReadText(path, &text));
  json j;
  RETURN_IF_ERROR(ParseJson(text, path, &j));
  JsonContext context{path, {}, {}};
  ReadProcess(JsonObject(&j, "", &context), process);
  warnings->insert(warnings->end(), context.warnings.begin(), context.warnings.end());
  return context.status;
}

Status ParseResources(const std::string& text, Resources* resources) {
  json j;
  RETURN_IF_ERROR(ParseJson(text, "resources", &j));
  JsonContext context{"resources", {}, {}};
  ReadResources(JsonObject(&j, "", &context), resources);
  return context.status;
}

Status ReadBundle(const std::string& bundle, Spec* spec, std::vector<std::string>* warnings) {
  struct stat st;
  if (stat(bundle.c_str(), &st) != 0) return Status::Errno("bundle " + bundle, errno);
  char* full = realpath(bundle.c_str(), nullptr);
  spec->bundle = full != nullptr ? full : bundle;
  free(full);
  const std::string path = spec->bundle + "/config.json";
  if (stat(path.c_str(), &st) != 0) {
    return Status::Errno(path, errno).With("no bundle here; --bundle names its directory");
  }
  RETURN_IF_ERROR(ReadText(path, &spec->config));
  // A new UTS namespace starts with the caller's name.
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) == 0) spec->hostname = host;
  RETURN_IF_ERROR(ParseConfig(spec->config, spec->bundle, spec, warnings));
  GrantPod(spec);
  // user_namespaces(7): who maps his own group himself gives setgroups(2) up.
  const std::vector<IdRange>& gids = spec->ids.gids;
  spec->setgroups = geteuid() == 0 || gids.size() != 1 || gids[0].count != 1;
  if (stat(spec->root_path.c_str(), &st) != 0) {
    return Status::Errno("root.path " + spec->root_path, errno).With("config.json");
  }
  if (!S_ISDIR(st.st_mode))
    return Status::Error("config.json: root.path " + spec->root_path + " is not a directory");
  return {};
}

}  // namespace runsc
