#include "runsc-cli/boot/mounts.h"

#include "runsc-cli/boot/guest_ids.h"
#include "runsc-cli/boot/guest_paths.h"
#include "sentry/fs/dev/dev.h"
#include "sentry/fs/devpts/devpts.h"
#include "sentry/fs/gofer/gofer_fs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/pipe/pipe.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/sys/sys.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/ipc/ipc.h"
#include "sentry/socket/inet/inet.h"
#include "sentry/socket/inet/proc_net.h"
#include "sentry/socket/inet/sys_net.h"
#include "sentry/socket/netlink/netlink_socket.h"
#include "sentry/socket/unix/unix_names.h"
#include "sentry/socket/unix/unix_socket.h"
#include "syscalls/abi/mount.h"

namespace runsc {
namespace {

using base::Ref;
using base::Status;
using sentry::Creds;
using sentry::Inode;
using sentry::Kernel;
using sentry::Path;
using sentry::Vfs;
using sentry::VfsContext;

// A root inode of each mountable type, as mount(2) has it; those of boot are MountType()'s.
using Mounted = base::Result<Ref<Inode>>;
constexpr Vfs::FsType kTypes[] = {
    {"sysfs", true,
     [](Kernel& k, const Creds&, std::string_view, std::string_view) -> Mounted {
       return sentry::NewSysFs(k, sentry::Task::Current()->group().container(),
                               &sentry::AddNetDevices);
     }},
    {"tmpfs", true,
     [](Kernel&, const Creds& c, std::string_view, std::string_view data) -> Mounted {
       return sentry::TmpfsSuperblock::Mount(c, data);
     }},
    {"ramfs", true,
     [](Kernel&, const Creds& c, std::string_view, std::string_view) -> Mounted {
       return sentry::TmpfsSuperblock::Mount(c, "");
     }},
    {"proc", true,
     [](Kernel& k, const Creds&, std::string_view, std::string_view) -> Mounted {
       return sentry::NewProcFs(k, sentry::Task::Current()->pid_ns());
     }},
    // Filled by boot once it is in its place; there is nothing to fill a second one from inside.
    {"devtmpfs", true, nullptr},
    {"devpts", true, sentry::MountDevpts},
    {"mqueue", true,
     [](Kernel&, const Creds&, std::string_view, std::string_view) -> Mounted {
       return Ref<Inode>(sentry::IpcObjects::Of(*sentry::Task::Current()->ipc_ns())->mqueues);
     }},
    {"overlay", true, nullptr},
    {"cgroup2", true, nullptr},
};

// Without those that speak to the runtime. tmpcopyup would copy what the mount covers; callers give
// it for directories that an image leaves empty.
std::string FsOptions(const std::string& data) {
  std::string out;
  for (size_t at = 0; at < data.size();) {
    const size_t comma = std::min(data.find(',', at), data.size());
    const std::string option = data.substr(at, comma - at);
    if (option != "tmpcopyup" && option != "notmpcopyup" && option != "copy")
      out += (out.empty() ? "" : ",") + option;
    at = comma + 1;
  }
  return out;
}

std::string ErrnoText(base::Error e) { return abi::ErrnoName(e.guest_errno()); }

// Finds a mount point, making what is missing of it: directories, and at the end a file if one is
// to be covered.
base::StatusOr<Path> MountPoint(const VfsContext& ctx, const std::string& path, bool is_file) {
  size_t at = 0;
  while (at < path.size()) {
    size_t slash = path.find('/', at + 1);
    const bool last = slash == std::string::npos;
    const std::string prefix = last ? path : path.substr(0, slash);
    at = last ? path.size() : slash;
    if (prefix.empty() || prefix == "/") continue;
    base::Result<Path> found = Vfs::Resolve(ctx, nullptr, prefix, {});
    if (found.ok()) {
      if (last) return *found;
      continue;
    }
    if (!found.is(abi::Errno::kENOENT)) {
      return Status::Error("mount point " + path + ": " + ErrnoText(found.error()));
    }
    base::Result<void> made = last && is_file
                                  ? Vfs::Mknod(ctx, nullptr, prefix, abi::kS_IFREG | 0644, 0)
                                  : Vfs::Mkdir(ctx, nullptr, prefix, 0755);
    if (!made.ok())
      return Status::Error("making the mount point " + path + ": " + ErrnoText(made.error()));
    if (last) {
      found = Vfs::Resolve(ctx, nullptr, prefix, {});
      if (found.ok()) return *found;
    }
  }
  base::Result<Path> root = Vfs::Resolve(ctx, nullptr, "/", {});
  if (!root.ok()) return Status::Error("mount point " + path + ": " + ErrnoText(root.error()));
  return *root;
}

// A new file system of a container that has no process yet.
Mounted MountType(const Place& place, const Creds& creds, const std::string& type,
                  const MountSpec& m) {
  if (type == "devtmpfs") return sentry::TmpfsSuperblock::Mount(creds, "mode=755");
  if (type == "proc") return sentry::NewProcFs(*place.kernel, place.pid_ns);
  if (type == "sysfs")
    return sentry::NewSysFs(*place.kernel, *place.limits, &sentry::AddNetDevices);
  // One view, whatever version the caller has.
  if (type == "cgroup" || type == "cgroup2") return sentry::NewCgroupFs(place.cgroup);
  if (type == "mqueue") return Ref<Inode>(sentry::IpcObjects::Of(*place.ipc_ns)->mqueues);
  for (const Vfs::FsType& t : kTypes) {
    if (type == t.name && t.mount != nullptr)
      return t.mount(*place.kernel, creds, m.source, FsOptions(m.data));
  }
  return abi::Errno::kENODEV;
}

// The reader's network namespace, in /proc/net and /proc/sys/net.
void RegisterNetFiles(Kernel& kernel) {
  for (const sentry::NetFile& f : sentry::NetFiles()) {
    sentry::RegisterProcEntry({std::string("net/") + f.name, 0444,
                               [&f]() -> base::Result<std::string> {
                                 sentry::Task* t = sentry::Task::Current();
                                 if (t == nullptr) return abi::Errno::kENOENT;
                                 return f.text(*sentry::NetStack::Of(*t));
                               },
                               nullptr});
  }
  sentry::RegisterProcEntry({"net/unix", 0444,
                             []() -> base::Result<std::string> {
                               sentry::Task* t = sentry::Task::Current();
                               if (t == nullptr) return abi::Errno::kENOENT;
                               return sentry::UnixNames::Get().Show(*t->net_ns());
                             },
                             nullptr});
  for (const sentry::NetSetting& s : sentry::NetSettings()) {
    sentry::SynthFile::WriteFn write;
    if (s.write != nullptr) {
      write = [&s, &kernel](std::string_view text) -> base::Result<void> {
        // Before there is a task, config.json's linux.sysctl.
        sentry::Task* t = sentry::Task::Current();
        return s.write(*(t != nullptr ? sentry::NetStack::Of(*t)
                                      : sentry::NetStack::Of(*kernel.root_net_ns())),
                       text);
      };
    }
    sentry::RegisterProcEntry({std::string("sys/net/") + s.path, s.write != nullptr ? 0644u : 0444u,
                               [&s]() -> base::Result<std::string> {
                                 sentry::Task* t = sentry::Task::Current();
                                 if (t == nullptr) return abi::Errno::kENOENT;
                                 return s.read(*sentry::NetStack::Of(*t));
                               },
                               std::move(write)});
  }
}

}  // namespace

void InstallFileSystems(Kernel& kernel) {
  Vfs::SetFsTypes(kTypes);
  Vfs::SetSpecialOpeners(&sentry::OpenFifo, &sentry::OpenDevice);
  static const sentry::SocketFamily families[] = {sentry::kUnixFamily, sentry::kInetFamily,
                                                  sentry::kInet6Family, sentry::kPacketFamily,
                                                  sentry::kNetlinkFamily};
  sentry::SetSocketFamilies(families);
  sentry::proc::SetTerminalFacts([](sentry::Session& session) {
    sentry::proc::TerminalFacts f;
    int32_t dev = 0;
    sentry::Terminal::ProcNumbers(session, &dev, &f.foreground);
    f.dev = static_cast<uint64_t>(dev);
    return f;
  });
  struct IpcFile {
    const char* path;
    std::string (*text)(sentry::IpcObjects&, const sentry::Task&);
  };
  static constexpr IpcFile kIpcFiles[] = {
      {"sysvipc/msg",
       [](sentry::IpcObjects& o, const sentry::Task& t) { return o.msg->ProcText(t); }},
      {"sysvipc/sem",
       [](sentry::IpcObjects& o, const sentry::Task& t) { return o.sem->ProcText(t); }},
      {"sysvipc/shm",
       [](sentry::IpcObjects& o, const sentry::Task& t) { return o.shm->ProcText(t); }},
  };
  for (const IpcFile& f : kIpcFiles) {
    sentry::RegisterProcEntry({f.path, 0444,
                               [&f]() -> base::Result<std::string> {
                                 sentry::Task* t = sentry::Task::Current();
                                 if (t == nullptr) return abi::Errno::kENOENT;
                                 return f.text(*sentry::IpcObjects::Of(*t), *t);
                               },
                               nullptr});
  }
  RegisterNetFiles(kernel);
}

Status MakeMounts(const MountRequest& request, Place* place, std::string* warnings) {
  const Spec& spec = *place->spec;
  const Creds root_creds = SetUpCreds(*place);
  base::Result<Ref<Inode>> lower = sentry::MountGofer(request.client, 0, "rootfs", "gofer");
  if (!lower.ok())
    return Status::Error("attaching the root " + spec.root_path + ": " + ErrnoText(lower.error()));
  Ref<Inode> root = *lower;
  // Below a root that is read-only for the guest, mount points may be missing.
  if (request.overlay || spec.root_readonly) root = sentry::OverlaySuperblock::NewRoot(root);
  auto ns = base::MakeRef<sentry::MountNamespace>(Ref<sentry::Superblock>(&root->sb()), root, 0u,
                                                  place->user_ns);
  uint32_t gofer_id = 0;
  for (const MountSpec& m : spec.mounts) {
    const Path top = ns->root();
    const VfsContext ctx{root_creds, top, top, *ns, 0};
    const GoferMountSpec* bind = m.type == "bind" ? &request.gofer_mounts[++gofer_id] : nullptr;
    base::StatusOr<Path> at = MountPoint(ctx, m.destination, bind != nullptr && bind->is_file);
    if (!at.ok()) return at.status();
    // /dev of an OCI bundle is a tmpfs that the runtime fills.
    const std::string type = m.type == "tmpfs" && m.destination == "/dev" ? "devtmpfs" : m.type;
    base::Result<Ref<Inode>> inode = abi::Errno::kENODEV;
    if (bind != nullptr) {
      inode = sentry::MountGofer(request.client, gofer_id, "bind", m.source);
    } else {
      // What options say of owners is meant in the container.
      Creds mounter = root_creds;
      mounter.user_ns = place->user_ns;
      inode = MountType(*place, mounter, type, m);
    }
    if (!inode.ok()) {
      return Status::Error("mounting " + (m.type == "bind" ? m.source : m.type) + " on " +
                           m.destination + ": " + ErrnoText(inode.error()));
    }
    Ref<sentry::Superblock> sb(&(*inode)->sb());
    if (type == "devpts")
      place->devpts = Ref<sentry::Devpts>(static_cast<sentry::Devpts*>(sb.get()));
    base::Result<Ref<sentry::Mount>> mount =
        ns->Attach(sb, base::MakeRef<sentry::Dentry>(nullptr, "", *inode), *at, m.flags,
                   m.source.empty() ? m.type : m.source);
    if (!mount.ok())
      return Status::Error("mounting on " + m.destination + ": " + ErrnoText(mount.error()));
    if (type == "devtmpfs") {
      // The machine's devices are its root's, whoever is root in the container.
      Creds machine = root_creds;
      machine.fsuid = machine.fsgid = 0;
      base::Result<void> filled = sentry::PopulateDev({machine, top, top, *ns, 0}, m.destination);
      if (!filled.ok())
        return Status::Error("filling " + m.destination + ": " + ErrnoText(filled.error()));
    }
  }
  RETURN_IF_ERROR(PreparePaths(*place, root_creds, *ns, warnings));
  if (spec.root_readonly) (void)ns->Remount(ns->root(), abi::kMS_RDONLY);
  place->mounts = std::move(ns);
  return {};
}

}  // namespace runsc
