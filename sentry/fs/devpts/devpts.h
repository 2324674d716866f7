// The devpts file system: ptmx and one node per open pseudo-terminal; and the files of both sides.
#pragma once

#include <string>
#include <vector>

#include "sentry/fs/devpts/terminal.h"
#include "sentry/vfs/vfs.h"

namespace sentry {

constexpr uint64_t MakeDev(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | (uint64_t{major & 0xfff} << 8) | (uint64_t{minor & ~0xffu} << 12);
}
constexpr uint32_t DevMajor(uint64_t dev) { return (dev >> 8) & 0xfff; }
constexpr uint32_t DevMinor(uint64_t dev) { return (dev & 0xff) | ((dev >> 12) & ~0xffu); }

constexpr uint32_t kPtsMajor = 136;
constexpr uint64_t kPtmxDev = MakeDev(5, 2);
constexpr uint64_t kTtyDev = MakeDev(5, 0);
constexpr uint64_t kConsoleDev = MakeDev(5, 1);

class Devpts : public Superblock {
 public:
  static constexpr uint32_t kMaxTerminals = 4096;  // /proc/sys/kernel/pty/max
  struct Config {
    uint32_t uid = 0, gid = 0;
    bool set_uid = false, set_gid = false;
    uint32_t mode = 0600, ptmx_mode = 0;
    uint32_t max = kMaxTerminals;
    uint32_t root_uid = 0, root_gid = 0;  // of the directory
  };

  // A new instance; also installs the kernel's hooks for terminals.
  static base::Ref<Devpts> Create(Kernel& kernel, const Config& options);
  const base::Ref<Inode>& root() const { return root_; }
  // The instance whose ptmx stands behind a /dev/ptmx outside of any devpts: the first one made.
  // Null: none yet.
  static base::Ref<Devpts> Default();

  // A new pair, owned by uid and gid; its master side is open. ENOSPC.
  base::Result<base::Ref<Terminal>> NewTerminal(uint32_t uid, uint32_t gid);
  base::Ref<Terminal> Find(uint32_t index);
  void Forget(uint32_t index);
  std::vector<uint32_t> List();
  // Attributes of a slave's node, ENOENT when it went.
  base::Result<Kstat> NodeAttr(uint32_t index);
  base::Result<void> SetNodeAttr(uint32_t index, const SetAttr& a);

  // A file of a slave that was counted with Terminal::OpenSlave.
  base::Ref<File> NewSlaveFile(base::Ref<Terminal> t, uint32_t flags);

  base::Result<FsStat> Statfs() override;
  bool cache_dentries() const override { return false; }
  bool Revalidate(Dentry&) override { return false; }
  std::string Options() const override;
  std::string Source() const override { return "devpts"; }

  const Config& options() const { return options_; }
  Kernel& kernel() const { return kernel_; }

 private:
  Devpts(Kernel& kernel, const Config& options);

  struct Slot {
    Terminal* terminal = nullptr;  // not owned: Terminal::CloseMaster removes it
    uint32_t uid = 0, gid = 0, mode = 0;
    FileTime time;
  };
  Kernel& kernel_;
  const Config options_;
  base::Ref<Inode> root_;
  base::Mutex<base::LockClass::kSuperblock> mu_;
  std::vector<Slot> slots_ GUARDED_BY(mu_);
};

// Parses mount options ("gid=5,mode=620,ptmxmode=666,newinstance,max=N"). EINVAL.
base::Result<Devpts::Config> ParseDevptsOptions(std::string_view data);
// The mount function for Vfs::FsType.
base::Result<base::Ref<Inode>> MountDevpts(Kernel& kernel, const Creds& creds,
                                           std::string_view source, std::string_view data);

// Openers by device, for sentry/fs/dev: /dev/ptmx, /dev/tty, /dev/pts/N and /dev/console. ENXIO,
// EIO.
base::Result<base::Ref<File>> OpenPtmx(const VfsContext& ctx, const Path& p, const OpenFlags& how);
base::Result<base::Ref<File>> OpenCurrentTty(const VfsContext& ctx, const Path& p,
                                             const OpenFlags& how);
base::Result<base::Ref<File>> OpenSlaveNode(const VfsContext& ctx, const Path& p,
                                            const OpenFlags& how);

// The file of one side.
class TtyFile : public File {
 public:
  static constexpr char kKind = 0;
  TtyFile(base::Ref<Terminal> t, base::Ref<Inode> inode, uint32_t flags, bool master);
  ~TtyFile() override;
  Terminal& terminal() const { return *terminal_; }
  bool master() const { return master_; }

  bool seekable() const override { return false; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override;
  bool signals_io() const override { return true; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;
  std::string Fdinfo() override;
  std::string description() override;
  const void* kind() const override { return &kKind; }

 private:
  const base::Ref<Terminal> terminal_;
  const bool master_;
  int64_t read_deadline_ = 0;  // see Terminal::SlaveRead; of the last reader
};

}  // namespace sentry
