// moat install and moat uninstall: the runtime's entry in Docker's and containerd's configuration.
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/record.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;
using json = nlohmann::ordered_json;

struct InstallFlags {
  std::string name = "moat", docker = "/etc/docker/daemon.json",
              containerd = "/etc/containerd/config.toml";
};

// Replaces a configuration file; what was there first stays beside it.
Status Replace(const std::string& path, const std::string& old, const std::string& text) {
  if (text == old) return {};
  const std::string backup = path + ".before-moat";
  struct stat st = {};
  const unsigned mode = stat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0644;
  if (!old.empty() && access(backup.c_str(), F_OK) != 0)
    RETURN_IF_ERROR(WriteAtomically(backup, old, mode));
  RETURN_IF_ERROR(WriteAtomically(path, text, mode));
  printf("%s changed; restart what reads it\n", path.c_str());
  return {};
}

// binary empty: the entry goes.
Status ChangeDocker(const std::string& path, const std::string& name, const std::string& binary) {
  std::string old;
  if (access(path.c_str(), F_OK) == 0) RETURN_IF_ERROR(ReadText(path, &old));
  json j = old.empty() ? json::object() : json::parse(old, nullptr, false);
  if (!j.is_object() || !j.value("runtimes", json::object()).is_object())
    return Status::Error(path + " is no JSON that Docker would read; nothing was changed");
  json runtimes = j.value("runtimes", json::object());
  const json wanted = {{"path", binary}};
  if (binary.empty() ? !runtimes.contains(name) : runtimes.value(name, json()) == wanted) return {};
  if (binary.empty()) {
    runtimes.erase(name);
  } else {
    runtimes[name] = wanted;
  }
  if (runtimes.empty()) {
    j.erase("runtimes");
  } else {
    j["runtimes"] = runtimes;
  }
  return Replace(path, old, j.dump(2) + "\n");
}

// A block between two lines of our own: the file may hold anything else, and stays as it is.
Status ChangeContainerd(const std::string& path, const std::string& name,
                        const std::string& binary) {
  const std::string begin = "# moat install: " + name + " begins\n",
                    end = "# moat install: " + name + " ends\n";
  std::string old;
  RETURN_IF_ERROR(ReadText(path, &old));
  std::string text = old;
  if (const size_t from = text.find(begin); from != std::string::npos) {
    const size_t to = text.find(end, from);
    if (to == std::string::npos)
      return Status::Error(path + ": the line \"" + end.substr(0, end.size() - 1) +
                           "\" is missing");
    text.erase(from, to + end.size() - from);
  }
  if (!binary.empty()) {
    const std::string key = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes." + name;
    if (text.find(key + "]") != std::string::npos) return {};
    if (!text.empty() && text.back() != '\n') text += '\n';
    text += begin + key + "]\n  runtime_type = \"io.containerd.runc.v2\"\n" + key +
            ".options]\n  BinaryName = \"" + binary + "\"\n" + end;
  }
  return Replace(path, old, text);
}

int Change(const Words& words, const char* usage, bool add) {
  InstallFlags f;
  bool manifest = false;
  FlagSet flags;
  flags.String("runtime-name", &f.name, "NAME", "what the runtime is called there (moat)");
  flags.String("docker-config", &f.docker, "FILE", "Docker's daemon.json (made if missing)");
  flags.String("containerd-config", &f.containerd, "FILE",
               "containerd's config.toml, if it exists");
  if (add) flags.Bool("runtime-class", &manifest, "only print Kubernetes' RuntimeClass");
  size_t i = 0;
  Status st = flags.Parse(words, &i);
  if (st.ok() && flags.help_wanted()) {
    printf("usage: moat %s\n\n%s", usage, flags.Help().c_str());
    return 0;
  }
  if (st.ok() && (i != words.size() || !CheckId(f.name).ok()))
    st = Status::Error(std::string("usage: moat ") + usage);
  if (!st.ok()) return Fail(st.text(), kExitOciFailure);
  if (manifest) {
    printf("apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: %s\nhandler: %s\n",
           f.name.c_str(), f.name.c_str());
    return 0;
  }
  char binary[PATH_MAX] = "";
  if (add && readlink("/proc/self/exe", binary, sizeof binary - 1) < 0)
    return Fail("where this program lies can't be found out (/proc/self/exe)", kExitOciFailure);
  st = ChangeDocker(f.docker, f.name, binary);
  if (st.ok() && access(f.containerd.c_str(), F_OK) == 0)
    st = ChangeContainerd(f.containerd, f.name, binary);
  return st.ok() ? 0 : Fail(st.text(), kExitOciFailure);
}

}  // namespace

int CmdInstall(const Settings&, const Words& words) {
  return Change(words, "install [FLAGS]", true);
}

int CmdUninstall(const Settings&, const Words& words) {
  return Change(words, "uninstall [FLAGS]", false);
}

}  // namespace runsc
