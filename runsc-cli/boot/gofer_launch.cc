#include "runsc-cli/boot/gofer_launch.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "gofer/server/server.h"
#include "platform/base/log.h"
#include "platform/host/filter.h"
#include "platform/host/jail.h"
#include "runsc-cli/boot/child.h"
#include "runsc-cli/boot/id_maps.h"
#include "runsc-cli/oci/cgroup.h"
#include "syscalls/abi/mount.h"

namespace runsc {
namespace {

using base::Status;
using base::UniqueFd;

// A detached copy of the mounts from path on, private: the descriptor is its root, and there is
// nothing above it.
Status OpenTree(const std::string& path, bool read_only, UniqueFd* out) {
  out->reset(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path.c_str(),
                                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)));
  if (!*out) return Status::Errno("no access to " + path + " for the gofer", errno);
  mount_attr attr = {};
  attr.propagation = MS_PRIVATE;
  // The gofer opens no devices, and with its rights over owners it could open any: read-only is no
  // wall to those.
  attr.attr_set = MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0);
  if (syscall(SYS_mount_setattr, out->get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
              sizeof attr) != 0) {
    return Status::Errno("mounting " + path + (read_only ? " read-only" : ""), errno);
  }
  return {};
}

}  // namespace

Status GoferLaunch::Add(const std::string& source, const std::string& destination, uint32_t flags) {
  struct stat st;
  if (stat(source.c_str(), &st) != 0) return Status::Errno("mount source " + source, errno);
  const bool is_file = !S_ISDIR(st.st_mode);
  const size_t slash = source.rfind('/');
  const std::string dir = !is_file ? source : slash == 0 ? "/" : source.substr(0, slash);
  served_.push_back(
      {dir, is_file ? source.substr(slash + 1) : "", (flags & abi::kMS_RDONLY) != 0, {}});
  mounts_.push_back({destination, flags, is_file});
  return {};
}

Status GoferLaunch::Plan(const Spec& spec, const Settings& settings) {
  // Below a memory overlay the image is never written, and the kernel enforces it.
  if (geteuid() != 0) ids_ = spec.ids;
  const bool read_only = spec.root_readonly || settings.overlay != "none";
  RETURN_IF_ERROR(Add(spec.root_path, "/", read_only ? abi::kMS_RDONLY : 0));
  for (const MountSpec& m : spec.mounts) {
    if (m.type != "bind") continue;
    RETURN_IF_ERROR(Add(m.source, m.destination, m.flags));
    if (!m.ids.empty()) RETURN_IF_ERROR(ShowAs(m));
  }
  return {};
}

Status GoferLaunch::ShowAs(const MountSpec& m) {
  Served& served = served_.back();
  // Here, since it takes rights over the file system's owner that the gofer doesn't have.
  RETURN_IF_ERROR(OpenTree(served.path, served.read_only, &served.tree));
  auto ids = NamespaceOfIds(m.ids);
  if (!ids.ok()) return ids.status();
  mount_attr attr = {};
  attr.attr_set = MOUNT_ATTR_IDMAP;
  attr.userns_fd = static_cast<uint64_t>(ids->get());
  const unsigned flags = AT_EMPTY_PATH | (m.ids_recursive ? AT_RECURSIVE : 0);
  if (syscall(SYS_mount_setattr, served.tree.get(), "", flags, &attr, sizeof attr) != 0)
    return Status::Errno("showing " + m.source + " with the owners of uidMappings", errno);
  return {};
}

base::StatusOr<pid_t> GoferLaunch::Start(const Process& p) const {
  host::ForkOptions fork{kSandboxNamespaces, host::Ids::kCaller, p.outlive};
  if (NeedsIdHelper(ids_)) fork.map_ids = [this](int pid) { return ShowIds(pid, ids_); };
  auto r = host::ForkIntoNamespaces(fork);
  if (r.ok() && *r == 0) ChildMain([&] { return Main(p); });
  return r;
}

// In the gofer's process.
int GoferLaunch::Main(const Process& p) const {
  if (Status s = EnterCgroups(p.doors); !s.ok()) return ChildFailed(p.error, s);
  gofer::ServerOptions o;
  o.socket.reset(p.socket);
  std::vector<int> keep = {p.socket, p.error};
  for (size_t i = 0; i < served_.size(); i++) {
    gofer::ServedMount m;
    m.id = static_cast<uint32_t>(i);
    if (served_[i].tree.valid()) {
      m.root.reset(dup(served_[i].tree.get()));
    } else if (Status s = OpenTree(served_[i].path, served_[i].read_only, &m.root); !s.ok()) {
      return ChildFailed(p.error, s);
    }
    m.file_name = served_[i].file_name;
    m.read_only = served_[i].read_only;
    // Volumes are the outside's too; the root is ours alone.
    m.shared = i != 0;
    keep.push_back(m.root.get());
    o.mounts.push_back(std::move(m));
  }
  auto root = host::MakeEmptyRoot(4096);
  if (!root.ok()) return ChildFailed(p.error, root.status());
  root->dir.reset();
  KeepOnly(std::move(keep), p.log);
  host::RightsOptions rights;
  rights.ids = host::Ids::kCaller;
  rights.outlive = p.outlive;
  if (geteuid() == 0 || !ids_.empty()) {
    for (int c : {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_FSETID}) {
      rights.capabilities |= uint64_t{1} << c;
    }
  }
  if (Status s = host::DropRights(rights); !s.ok()) return ChildFailed(p.error, s);
  base::SetLog(p.log, p.debug ? base::LogLevel::kDebug : base::LogLevel::kWarning);
  o.lock_down = [p] {
    Status s = host::InstallFilter(host::kGofer,
                                   p.debug ? host::Violation::kReport : host::Violation::kKill);
    if (!s.ok()) ChildFailed(p.error, s);
    return s.ok();
  };
  return gofer::ServerMain(std::move(o));
}

}  // namespace runsc
