// The generic file system code over tmpfs.
#include "sentry/fs/tmpfs/tmpfs.h"

#include <gtest/gtest.h>

#include <set>

#include "platform/host/safe_copy.h"
#include "syscalls/abi/capability.h"

namespace sentry {
namespace {

using abi::Errno;

class VfsTest : public testing::Test {
 protected:
  VfsTest() {
    host::InstallFaultHandler();
    base::Ref<TmpfsDir> root = TmpfsSuperblock::NewRoot({.mode = 0755});
    ns_ = base::MakeRef<MountNamespace>(base::Ref<Superblock>(&root->sb()), root, 0,
                                        base::MakeRef<UserNamespace>());
    root_ = cwd_ = ns_->root();
    admin_ = base::MakeRef<Creds>();
    admin_->effective = ~CapSet{0};
    user_ = base::MakeRef<Creds>();
    user_->uid = user_->euid = user_->fsuid = 1000;
    user_->gid = user_->egid = user_->fsgid = 1000;
  }
  VfsContext ctx() { return VfsContext{*admin_, root_, cwd_, *ns_, 022, nullptr}; }
  VfsContext as_user() { return VfsContext{*user_, root_, cwd_, *ns_, 022, nullptr}; }

  int16_t Mkdir(const char* p, uint32_t mode = 0755) {
    return Vfs::Mkdir(ctx(), nullptr, p, mode).error().code();
  }
  int16_t Symlink(const char* target, const char* p) {
    return Vfs::Symlink(ctx(), target, nullptr, p).error().code();
  }
  base::Result<base::Ref<File>> Open(const char* p, uint32_t flags, uint32_t mode = 0644) {
    return Vfs::Open(ctx(), nullptr, p, OpenFlags{flags, mode});
  }
  static int16_t Code(const base::Result<base::Ref<File>>& r) {
    return r.ok() ? 0 : r.error().code();
  }
  int16_t Touch(const char* p) { return Code(Open(p, abi::kO_CREAT | abi::kO_WRONLY)); }
  int16_t Rename(const char* a, const char* b, uint32_t flags = 0) {
    return Vfs::Rename(ctx(), nullptr, a, nullptr, b, flags).error().code();
  }
  base::Result<Path> Find(const char* p, bool follow = true) {
    ResolveFlags f;
    f.follow = follow;
    return Vfs::Resolve(ctx(), nullptr, p, f);
  }
  int16_t Stat(const char* p) {
    base::Result<Path> r = Find(p);
    return r.ok() ? 0 : r.error().code();
  }
  std::string Name(const Path& p) { return Vfs::PathName(*ns_, root_, p); }

  base::Ref<MountNamespace> ns_;
  Path root_, cwd_;
  base::Ref<Creds> admin_, user_;
};

int16_t E(Errno e) { return static_cast<int16_t>(e); }

TEST_F(VfsTest, Walk) {
  EXPECT_EQ(Mkdir("/a"), 0);
  EXPECT_EQ(Mkdir("/a/b/"), 0);
  EXPECT_EQ(Mkdir("/a"), E(Errno::kEEXIST));
  EXPECT_EQ(Mkdir("/"), E(Errno::kEEXIST));
  EXPECT_EQ(Mkdir("/a/."), E(Errno::kEEXIST));
  EXPECT_EQ(Mkdir("/x/y"), E(Errno::kENOENT));
  EXPECT_EQ(Touch("/a/f"), 0);
  EXPECT_EQ(Stat("/a/f"), 0);
  EXPECT_EQ(Stat("/a/f/"), E(Errno::kENOTDIR));
  EXPECT_EQ(Stat("/a/f/x"), E(Errno::kENOTDIR));
  EXPECT_EQ(Stat("/a/../../a/./b/../f"), 0);
  EXPECT_EQ(Stat(""), E(Errno::kENOENT));
  EXPECT_EQ(Stat("//a///b//"), 0);
  EXPECT_EQ(Stat((std::string(256, 'x')).c_str()), E(Errno::kENAMETOOLONG));
  EXPECT_EQ(Stat((std::string(255, 'x')).c_str()), E(Errno::kENOENT));
  EXPECT_EQ(Name(*Find("/a/b")), "/a/b");
  EXPECT_EQ(Name(*Find("/")), "/");
}

TEST_F(VfsTest, Links) {
  Mkdir("/d");
  Touch("/d/f");
  EXPECT_EQ(Symlink("d", "/l"), 0);
  EXPECT_EQ(Symlink("/d/", "/labs"), 0);
  EXPECT_EQ(Symlink("loop2", "/loop1"), 0);
  EXPECT_EQ(Symlink("loop1", "/loop2"), 0);
  EXPECT_EQ(Symlink("d/f", "/lf"), 0);
  EXPECT_EQ(Symlink("nothing", "/dangling"), 0);
  EXPECT_EQ(Symlink("", "/e"), E(Errno::kENOENT));
  EXPECT_EQ(Stat("/l/f"), 0);
  EXPECT_EQ(Stat("/labs/f"), 0);
  EXPECT_EQ(Stat("/loop1"), E(Errno::kELOOP));
  EXPECT_TRUE((*Find("/l", false)).dentry->inode()->is_symlink());
  EXPECT_TRUE((*Find("/l/", false)).dentry->inode()->is_dir());
  EXPECT_EQ(Find("/lf/", false).error().code(), E(Errno::kENOTDIR));
  EXPECT_EQ(Code(Open("/dangling", abi::kO_CREAT | abi::kO_EXCL | abi::kO_WRONLY)),
            E(Errno::kEEXIST));
  EXPECT_EQ(Code(Open("/dangling", abi::kO_RDONLY)), E(Errno::kENOENT));
  EXPECT_EQ(Touch("/dangling"), 0);
  EXPECT_EQ(Stat("/nothing"), 0);
  EXPECT_EQ(Code(Open("/l", abi::kO_RDONLY | abi::kO_NOFOLLOW)), E(Errno::kELOOP));
  EXPECT_EQ(Code(Open("/l", abi::kO_RDONLY | abi::kO_NOFOLLOW | abi::kO_DIRECTORY)),
            E(Errno::kENOTDIR));
  EXPECT_EQ(Code(Open("/l", abi::kO_PATH | abi::kO_NOFOLLOW)), 0);
  // A chain of 40 is followed, one of 41 is not.
  Touch("/s0");
  for (int i = 1; i <= 41; i++) {
    EXPECT_EQ(Symlink(("s" + std::to_string(i - 1)).c_str(), ("/s" + std::to_string(i)).c_str()),
              0);
  }
  EXPECT_EQ(Stat("/s40"), 0);
  EXPECT_EQ(Stat("/s41"), E(Errno::kELOOP));
  // Hard links.
  EXPECT_TRUE(Vfs::Link(ctx(), *Find("/d/f"), nullptr, "/d/g").ok());
  EXPECT_EQ((*Find("/d/g")).dentry->inode()->Getattr()->nlink, 2u);
  EXPECT_TRUE(Vfs::Link(ctx(), *Find("/d"), nullptr, "/d2").is(Errno::kEPERM));
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/d/f").ok());
  EXPECT_EQ((*Find("/d/g")).dentry->inode()->Getattr()->nlink, 1u);
}

TEST_F(VfsTest, Open) {
  Mkdir("/d");
  EXPECT_EQ(Code(Open("/d", abi::kO_WRONLY)), E(Errno::kEISDIR));
  EXPECT_EQ(Code(Open("/d", abi::kO_CREAT | abi::kO_RDONLY)), E(Errno::kEISDIR));
  EXPECT_EQ(Code(Open("/n/", abi::kO_CREAT | abi::kO_WRONLY)), E(Errno::kEISDIR));
  EXPECT_EQ(Code(Open("/d", abi::kO_DIRECTORY)), 0);
  Touch("/f");
  EXPECT_EQ(Code(Open("/f", abi::kO_DIRECTORY)), E(Errno::kENOTDIR));
  EXPECT_EQ(Code(Open("/f", abi::kO_CREAT | abi::kO_EXCL | abi::kO_WRONLY)), E(Errno::kEEXIST));
  base::Ref<File> f = *Open("/f", abi::kO_RDWR);
  uint64_t pos = 0;
  IoBuffer hello = IoBuffer::Kernel("hello", 5);
  EXPECT_EQ(*f->Write(hello, &pos, 0), 5u);
  EXPECT_EQ((*Find("/f")).dentry->inode()->Getattr()->size, 5u);
  EXPECT_EQ(Code(Open("/f", abi::kO_WRONLY | abi::kO_TRUNC)), 0);
  EXPECT_EQ((*Find("/f")).dentry->inode()->Getattr()->size, 0u);
  // Permissions.
  EXPECT_EQ(Code(Vfs::Open(as_user(), nullptr, "/f", OpenFlags{abi::kO_WRONLY, 0})),
            E(Errno::kEACCES));
  EXPECT_EQ(Code(Vfs::Open(as_user(), nullptr, "/n", OpenFlags{abi::kO_CREAT, 0})),
            E(Errno::kEACCES));
  EXPECT_EQ(Code(Vfs::Open(as_user(), nullptr, "/f", OpenFlags{abi::kO_NOATIME, 0})),
            E(Errno::kEPERM));
  // O_TMPFILE, then a name for it.
  base::Result<base::Ref<File>> t = Open("/d", abi::kO_TMPFILE | abi::kO_RDWR);
  ASSERT_TRUE(t.ok());
  EXPECT_EQ((*t)->inode()->Getattr()->nlink, 0u);
  EXPECT_TRUE(Vfs::Link(ctx(), (*t)->path(), nullptr, "/d/named").ok());
  EXPECT_EQ(Stat("/d/named"), 0);
}

TEST_F(VfsTest, RenameMatrix) {
  for (const char* d : {"/d1", "/d2", "/d1/sub", "/full"}) Mkdir(d);
  for (const char* f : {"/f1", "/f2", "/full/x"}) Touch(f);
  EXPECT_EQ(Rename("/none", "/x"), E(Errno::kENOENT));
  EXPECT_EQ(Rename("/d1", "/d1/sub/in"), E(Errno::kEINVAL));
  EXPECT_EQ(Rename("/d1/sub", "/d1"), E(Errno::kENOTEMPTY));
  EXPECT_EQ(Rename("/f1", "/d1"), E(Errno::kEISDIR));
  EXPECT_EQ(Rename("/d1", "/f1"), E(Errno::kENOTDIR));
  EXPECT_EQ(Rename("/d2", "/full"), E(Errno::kENOTEMPTY));
  EXPECT_EQ(Rename("/f1", "/x/"), E(Errno::kENOTDIR));
  EXPECT_EQ(Rename("/d1/.", "/x"), E(Errno::kEBUSY));
  EXPECT_EQ(Rename("/f1", "/f2", abi::kRENAME_NOREPLACE), E(Errno::kEEXIST));
  EXPECT_EQ(Rename("/f1", "/x", abi::kRENAME_EXCHANGE), E(Errno::kENOENT));
  // The same object: nothing happens.
  EXPECT_TRUE(Vfs::Link(ctx(), *Find("/f1"), nullptr, "/f1b").ok());
  EXPECT_EQ(Rename("/f1", "/f1b"), 0);
  EXPECT_EQ(Stat("/f1"), 0);
  EXPECT_EQ(Rename("/f1", "/f2"), 0);
  EXPECT_EQ(Stat("/f1"), E(Errno::kENOENT));
  EXPECT_EQ(Rename("/full", "/f2", abi::kRENAME_EXCHANGE), 0);
  EXPECT_EQ(Stat("/f2/x"), 0);
  EXPECT_EQ(Rename("/f2", "/full", abi::kRENAME_EXCHANGE), 0);
  Path sub = *Find("/d1/sub");
  EXPECT_EQ(Rename("/d1/sub", "/d2/moved/"), 0);
  EXPECT_EQ(Name(sub), "/d2/moved");
  EXPECT_EQ((*Find("/d1")).dentry->inode()->Getattr()->nlink, 2u);
  EXPECT_EQ((*Find("/d2")).dentry->inode()->Getattr()->nlink, 3u);
  EXPECT_EQ(Rename("/d1", "/d2/moved"), 0);
  EXPECT_EQ(Name(sub), "/d2/moved (deleted)");
}

TEST_F(VfsTest, Remove) {
  Mkdir("/d");
  Touch("/d/f");
  auto rmdir = [&](const char* p) { return Vfs::Rmdir(ctx(), nullptr, p).error().code(); };
  auto unlink = [&](const char* p) { return Vfs::Unlink(ctx(), nullptr, p).error().code(); };
  EXPECT_EQ(rmdir("/d"), E(Errno::kENOTEMPTY));
  EXPECT_EQ(rmdir("/d/."), E(Errno::kEINVAL));
  EXPECT_EQ(rmdir("/d/.."), E(Errno::kENOTEMPTY));
  EXPECT_EQ(rmdir("/"), E(Errno::kEBUSY));
  EXPECT_EQ(rmdir("/d/f"), E(Errno::kENOTDIR));
  EXPECT_EQ(unlink("/d"), E(Errno::kEISDIR));
  EXPECT_EQ(unlink("/d/f/"), E(Errno::kENOTDIR));
  EXPECT_EQ(unlink("/d/f"), 0);
  Path d = *Find("/d");
  EXPECT_EQ(rmdir("/d"), 0);
  cwd_ = d;
  EXPECT_EQ(Touch("x"), E(Errno::kENOENT));
  EXPECT_EQ(Mkdir("x"), E(Errno::kENOENT));
  EXPECT_EQ(Stat(".."), 0);
  // Sticky directories.
  cwd_ = root_;
  Mkdir("/tmp");
  SetAttr a;
  a.mask = SetAttr::kMode;
  a.mode = 01777;
  EXPECT_TRUE(Vfs::Setattr(ctx(), *Find("/tmp"), a).ok());
  Touch("/tmp/f");
  EXPECT_TRUE(Vfs::Unlink(as_user(), nullptr, "/tmp/f").is(Errno::kEPERM));
  EXPECT_TRUE(Vfs::Mkdir(as_user(), nullptr, "/tmp/mine", 0700).ok());
  EXPECT_TRUE(Vfs::Rmdir(as_user(), nullptr, "/tmp/mine").ok());
}

TEST_F(VfsTest, Attributes) {
  Touch("/f");
  Path f = *Find("/f");
  SetAttr a;
  a.mask = SetAttr::kMode;
  a.mode = 06755;
  EXPECT_TRUE(Vfs::Setattr(as_user(), f, a).is(Errno::kEPERM));
  EXPECT_TRUE(Vfs::Setattr(ctx(), f, a).ok());
  SetAttr own;
  own.mask = SetAttr::kUid | SetAttr::kGid;
  own.uid = own.gid = 1000;
  EXPECT_TRUE(Vfs::Setattr(ctx(), f, own).ok());
  EXPECT_EQ(f.dentry->inode()->perm().mode & 07777, 0755u);
  EXPECT_TRUE(Vfs::Setattr(as_user(), f, a).ok());
  EXPECT_TRUE(Vfs::Truncate(as_user(), f, 100).ok());
  EXPECT_EQ(f.dentry->inode()->perm().mode & 07777, 0755u);
  EXPECT_EQ(f.dentry->inode()->Getattr()->size, 100u);
  EXPECT_TRUE(Vfs::Setxattr(as_user(), f, "user.k", "v", 0).ok());
  EXPECT_EQ(*Vfs::Getxattr(ctx(), f, "user.k"), "v");
  EXPECT_TRUE(Vfs::Setxattr(as_user(), f, "trusted.k", "v", 0).is(Errno::kEPERM));
  EXPECT_TRUE(Vfs::Getxattr(ctx(), f, "user.none").is(Errno::kENODATA));
}

TEST_F(VfsTest, Mounts) {
  Mkdir("/mnt");
  Mkdir("/other");
  base::Ref<TmpfsDir> r = TmpfsSuperblock::NewRoot({});
  base::Ref<Dentry> rd = base::MakeRef<Dentry>(nullptr, "", base::Ref<Inode>(r));
  EXPECT_TRUE(ns_->Attach(base::Ref<Superblock>(&r->sb()), rd, *Find("/mnt"), 0, "x").ok());
  EXPECT_EQ(Mkdir("/mnt/in"), 0);
  EXPECT_EQ(Name(*Find("/mnt/in")), "/mnt/in");
  EXPECT_EQ(Name(*Find("/mnt/in/../..")), "/");
  Touch("/f");
  EXPECT_EQ(Rename("/f", "/mnt/f"), E(Errno::kEXDEV));
  EXPECT_TRUE(Vfs::Rmdir(ctx(), nullptr, "/mnt").is(Errno::kEBUSY));
  EXPECT_TRUE(ns_->Bind(*Find("/mnt"), *Find("/other"), false).ok());
  EXPECT_EQ(Stat("/other/in"), 0);
  EXPECT_TRUE(ns_->Remount(*Find("/other"), abi::kMS_RDONLY).ok());
  EXPECT_EQ(Mkdir("/other/no"), E(Errno::kEROFS));
  EXPECT_EQ(Mkdir("/mnt/yes"), 0);
  EXPECT_TRUE(ns_->Unmount(*Find("/other"), 0).ok());
  EXPECT_EQ(Stat("/other/in"), E(Errno::kENOENT));
  {
    Path busy = *Find("/mnt/in");
    EXPECT_TRUE(ns_->Unmount(*Find("/mnt"), 0).is(Errno::kEBUSY));
  }
  EXPECT_TRUE(ns_->Unmount(*Find("/mnt"), abi::kMNT_DETACH).ok());
  EXPECT_EQ(Stat("/mnt/in"), E(Errno::kENOENT));
  EXPECT_TRUE(ns_->Unmount(*Find("/"), 0).is(Errno::kEBUSY));
}

class Names : public DirSink {
 public:
  bool Add(const DirEntry& e) override {
    if (names.size() == limit) return false;
    names.emplace_back(e.name);
    return true;
  }
  std::vector<std::string> names;
  size_t limit = SIZE_MAX;
};

TEST_F(VfsTest, ListingWhileChanging) {
  Mkdir("/d");
  for (int i = 0; i < 10; i++) Touch(("/d/f" + std::to_string(i)).c_str());
  base::Ref<File> d = *Open("/d", abi::kO_RDONLY | abi::kO_DIRECTORY);
  Names first;
  first.limit = 6;
  EXPECT_TRUE(d->Iterate(first).ok());
  for (const std::string& n : first.names) {
    if (n[0] == '.') continue;
    EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/d/" + n).ok());
  }
  Touch("/d/late");
  Names rest;
  EXPECT_TRUE(d->Iterate(rest).ok());
  std::set<std::string> all(first.names.begin(), first.names.end());
  all.insert(rest.names.begin(), rest.names.end());
  EXPECT_EQ(all.size(), 13u);
  EXPECT_EQ(first.names.size() + rest.names.size(), 13u);
}

TEST_F(VfsTest, Data) {
  base::Ref<File> f = *Open("/f", abi::kO_CREAT | abi::kO_RDWR);
  std::string block(100000, 'a');
  uint64_t pos = 1 << 20;
  IoBuffer src = IoBuffer::Kernel(block.data(), block.size());
  EXPECT_EQ(*f->Write(src, &pos, 0), block.size());
  EXPECT_EQ(f->inode()->Getattr()->size, (1u << 20) + block.size());
  EXPECT_EQ(*f->Seek(0, abi::kSEEK_DATA), 1u << 20);
  EXPECT_EQ(*f->Seek(0, abi::kSEEK_HOLE), 0u);
  std::string back(200, 'x');
  pos = (1 << 20) - 100;
  IoBuffer dst = IoBuffer::Kernel(back.data(), back.size());
  EXPECT_EQ(*f->Read(dst, &pos, 0), 200u);
  EXPECT_EQ(back, std::string(100, '\0') + std::string(100, 'a'));
  SetAttr a;
  a.mask = SetAttr::kSize;
  a.size = (1 << 20) + 10;
  EXPECT_TRUE(f->inode()->Setattr(*admin_, a).ok());
  a.size = (1 << 20) + 20;
  EXPECT_TRUE(f->inode()->Setattr(*admin_, a).ok());
  pos = 1 << 20;
  IoBuffer again = IoBuffer::Kernel(back.data(), back.size());
  EXPECT_EQ(*f->Read(again, &pos, 0), 20u);
  EXPECT_EQ(back.substr(0, 20), std::string(10, 'a') + std::string(10, '\0'));
}

TEST_F(VfsTest, SizeLimit) {
  base::Result<base::Ref<Inode>> r = TmpfsSuperblock::Mount(*admin_, "size=64k,mode=700");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ((*r)->perm().mode & 07777, 0700u);
  base::Ref<Inode> i = *(*r)->Create("f", CreateArgs{*admin_, abi::kS_IFREG | 0600u, 0, 0, 0});
  base::Ref<File> f = *i->Open(nullptr, OpenFlags{abi::kO_RDWR, 0}, *admin_);
  std::string big(70000, 'x');
  uint64_t pos = 0;
  IoBuffer b = IoBuffer::Kernel(big.data(), big.size());
  EXPECT_EQ(*f->Write(b, &pos, 0), 65536u);
  EXPECT_TRUE(f->Write(b, &pos, 0).is(Errno::kENOSPC));
  EXPECT_TRUE(TmpfsSuperblock::Mount(*admin_, "size=x").is(Errno::kEINVAL));
}

TEST_F(VfsTest, CacheStaysBounded) {
  Mkdir("/d");
  for (int i = 0; i < 40000; i++) EXPECT_NE(Stat(("/d/n" + std::to_string(i)).c_str()), 0);
  Touch("/d/f");
  EXPECT_EQ(Stat("/d/f"), 0);
}

}  // namespace
}  // namespace sentry
