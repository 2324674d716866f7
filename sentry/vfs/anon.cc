// Inodes without a name: pipes, sockets, epoll instances (fs/anon_inodes.c).
#include "sentry/vfs/vfs.h"

namespace sentry {
namespace {

class AnonSuperblock : public Superblock {
 public:
  AnonSuperblock() : Superblock("anon_inodefs") {}
  base::Result<FsStat> Statfs() override {
    FsStat st;
    st.type = abi::kANON_INODE_FS_MAGIC;
    return st;
  }
};

const base::Ref<Superblock>& TheSuperblock() {
  static const base::Ref<Superblock>* sb =
      new base::Ref<Superblock>(base::MakeRef<AnonSuperblock>());
  return *sb;
}

class AnonInode : public Inode {
 public:
  AnonInode(uint32_t mode, uint32_t uid, uint32_t gid)
      : Inode(TheSuperblock(), mode, TheSuperblock()->NextIno()) {
    st_.dev = sb().dev();
    st_.ino = ino();
    st_.mode = mode;
    st_.uid = uid;
    st_.gid = gid;
    st_.atime = st_.mtime = st_.ctime = st_.btime = Now();
  }
  Perm perm() override {
    base::MutexLock l(mu_);
    return Perm{st_.mode, st_.uid, st_.gid};
  }
  base::Result<Kstat> Getattr() override {
    base::MutexLock l(mu_);
    return st_;
  }
  base::Result<void> Setattr(const Creds& creds, const SetAttr& a) override {
    const FileTime now = Now();
    base::MutexLock l(mu_);
    if ((a.mask & SetAttr::kSize) != 0) return abi::Errno::kEINVAL;
    if ((a.mask & SetAttr::kMode) != 0) st_.mode = (st_.mode & abi::kS_IFMT) | (a.mode & 07777);
    if ((a.mask & SetAttr::kUid) != 0) st_.uid = a.uid;
    if ((a.mask & SetAttr::kGid) != 0) st_.gid = a.gid;
    if ((a.mask & SetAttr::kAtime) != 0) st_.atime = a.atime;
    if ((a.mask & SetAttr::kMtime) != 0) st_.mtime = a.mtime;
    if ((a.mask & SetAttr::kAtimeNow) != 0) st_.atime = now;
    if ((a.mask & SetAttr::kMtimeNow) != 0) st_.mtime = now;
    st_.ctime = now;
    return {};
  }

 private:
  base::Mutex<base::LockClass::kInode> mu_;
  Kstat st_ GUARDED_BY(mu_);
};

}  // namespace

base::Ref<Inode> Vfs::NewAnonInode(uint32_t mode, uint32_t uid, uint32_t gid) {
  return base::MakeRef<AnonInode>(mode, uid, gid);
}

Path Vfs::PlaceOf(const File& f) {
  if (f.path()) return f.path();
  static const base::Ref<Mount>* mount = new base::Ref<Mount>(base::MakeRef<Mount>(
      0, TheSuperblock(), base::MakeRef<Dentry>(nullptr, "", NewAnonInode(abi::kS_IFDIR | 0555)),
      0));
  return Path{*mount, base::MakeRef<Dentry>(nullptr, "", f.inode())};
}

}  // namespace sentry
