#include "sentry/fs/overlay/overlay.h"

#include <gtest/gtest.h>

#include <set>

#include "platform/host/safe_copy.h"

// An overlay is there as long as its sandbox: it and what changed in it hold each other.
extern "C" int __lsan_is_turned_off() { return 1; }

namespace sentry {
namespace {

using abi::Errno;

class Names final : public DirSink {
 public:
  bool Add(const DirEntry& e) override {
    EXPECT_TRUE(all.insert(std::string(e.name)).second) << e.name;
    return true;
  }
  std::set<std::string> all;
};

class OverlayTest : public testing::Test {
 protected:
  OverlayTest() {
    host::InstallFaultHandler();
    creds_ = base::MakeRef<Creds>();
    creds_->effective = ~CapSet{0};
    lower_ = TmpfsSuperblock::NewRoot({.mode = 0755});
    base::Ref<TmpfsDir> d = lower_->EnsureDir("dir");
    Put(*d, "a", "aaaa");
    Put(*d, "b", "bbbb");
    d->EnsureDir("deep")->EnsureDir("er");
    Put(*lower_, "file", "content");
    EXPECT_TRUE(lower_->Link("hard", *lower_->Find("file")).ok());
    base::Ref<Inode> root = OverlaySuperblock::NewRoot(lower_);
    ns_ = base::MakeRef<MountNamespace>(base::Ref<Superblock>(&root->sb()), root, 0,
                                        base::MakeRef<UserNamespace>());
    root_ = ns_->root();
  }
  void Put(TmpfsDir& d, const char* name, std::string_view text) {
    base::Ref<Inode> i = *d.Create(name, CreateArgs{*creds_, abi::kS_IFREG | 0644u, 0, 0, 0});
    base::Ref<File> f = *i->Open(nullptr, OpenFlags{abi::kO_RDWR, 0}, *creds_);
    uint64_t pos = 0;
    IoBuffer b = IoBuffer::Kernel(text.data(), text.size());
    EXPECT_TRUE(f->Write(b, &pos, 0).ok());
  }
  VfsContext ctx() { return VfsContext{*creds_, root_, root_, *ns_, 022, nullptr}; }
  base::Result<base::Ref<File>> Open(const char* p, uint32_t flags) {
    return Vfs::Open(ctx(), nullptr, p, OpenFlags{flags, 0644});
  }
  std::string Read(const char* p) {
    base::Result<base::Ref<File>> f = Open(p, abi::kO_RDONLY);
    if (!f.ok()) return "errno " + std::to_string(f.error().code());
    char buf[64];
    uint64_t pos = 0;
    IoBuffer b = IoBuffer::Kernel(buf, sizeof buf);
    return std::string(buf, *(*f)->Read(b, &pos, 0));
  }
  void Write(const char* p, std::string_view text, uint32_t flags) {
    base::Ref<File> f = *Open(p, flags | abi::kO_WRONLY);
    uint64_t pos = 0;
    IoBuffer b = IoBuffer::Kernel(text.data(), text.size());
    EXPECT_TRUE(f->Write(b, &pos, 0).ok());
  }
  std::string LowerText(const char* name) {
    base::Ref<File> f = *lower_->Find(name)->Open(nullptr, OpenFlags{abi::kO_RDONLY, 0}, *creds_);
    char buf[64];
    uint64_t pos = 0;
    IoBuffer b = IoBuffer::Kernel(buf, sizeof buf);
    return std::string(buf, *f->Read(b, &pos, 0));
  }
  base::Result<Path> Find(const char* p) { return Vfs::Resolve(ctx(), nullptr, p, {}); }
  Kstat Stat(const char* p) { return *(*Find(p)).dentry->inode()->Getattr(); }
  std::set<std::string> List(const char* p) {
    base::Ref<File> d = *Open(p, abi::kO_RDONLY | abi::kO_DIRECTORY);
    Names n;
    EXPECT_TRUE(d->Iterate(n).ok());
    n.all.erase(".");
    n.all.erase("..");
    return n.all;
  }
  int16_t Rename(const char* a, const char* b, uint32_t flags = 0) {
    return Vfs::Rename(ctx(), nullptr, a, nullptr, b, flags).error().code();
  }

  base::Ref<Creds> creds_;
  base::Ref<TmpfsDir> lower_;
  base::Ref<MountNamespace> ns_;
  Path root_;
};

TEST_F(OverlayTest, CopyUpKeepsTheLower) {
  const Kstat before = Stat("/file");
  EXPECT_EQ(Read("/file"), "content");
  Write("/file", "CON", 0);
  EXPECT_EQ(Read("/file"), "CONtent");
  EXPECT_EQ(LowerText("file"), "content");
  const Kstat after = Stat("/file");
  EXPECT_EQ(before.ino, after.ino);
  EXPECT_EQ(before.dev, after.dev);
  EXPECT_EQ(after.nlink, 2u);
  // The other name of the same file sees the change.
  EXPECT_EQ(Read("/hard"), "CONtent");
  Write("/dir/a", "x", abi::kO_TRUNC);
  EXPECT_EQ(Read("/dir/a"), "x");
}

TEST_F(OverlayTest, WhiteoutsAndListing) {
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/a").ok());
  EXPECT_TRUE(Find("/dir/a").is(Errno::kENOENT));
  Write("/dir/new", "n", abi::kO_CREAT);
  EXPECT_EQ(List("/dir"), (std::set<std::string>{"b", "deep", "new"}));
  Write("/dir/a", "again", abi::kO_CREAT | abi::kO_EXCL);
  EXPECT_EQ(Read("/dir/a"), "again");
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/a").ok());
  EXPECT_TRUE(Find("/dir/a").is(Errno::kENOENT));
  EXPECT_TRUE(Vfs::Rmdir(ctx(), nullptr, "/dir").is(Errno::kENOTEMPTY));
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/b").ok());
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/new").ok());
  EXPECT_TRUE(Vfs::Rmdir(ctx(), nullptr, "/dir/deep/er").ok());
  EXPECT_TRUE(Vfs::Rmdir(ctx(), nullptr, "/dir/deep").ok());
  EXPECT_TRUE(Vfs::Rmdir(ctx(), nullptr, "/dir").ok());
  // A new directory of the same name shows nothing of the lower one.
  EXPECT_TRUE(Vfs::Mkdir(ctx(), nullptr, "/dir", 0755).ok());
  EXPECT_TRUE(List("/dir").empty());
  EXPECT_EQ(Stat("/dir").nlink, 2u);
}

TEST_F(OverlayTest, RenamesDirectories) {
  const Kstat before = Stat("/dir");
  EXPECT_EQ(Rename("/dir", "/moved"), 0);
  EXPECT_TRUE(Find("/dir").is(Errno::kENOENT));
  EXPECT_EQ(Read("/moved/a"), "aaaa");
  EXPECT_EQ(Stat("/moved").ino, before.ino);
  EXPECT_EQ(List("/"), (std::set<std::string>{"file", "hard", "moved"}));
  Write("/moved/a", "A", 0);
  EXPECT_EQ(Rename("/moved", "/dir"), 0);
  EXPECT_EQ(Read("/dir/a"), "Aaaa");
  EXPECT_EQ(Rename("/dir/a", "/file"), 0);
  EXPECT_EQ(Read("/file"), "Aaaa");
  EXPECT_EQ(Stat("/hard").nlink, 1u);
  EXPECT_EQ(Rename("/file", "/dir", abi::kRENAME_EXCHANGE), 0);
  EXPECT_EQ(Read("/dir"), "Aaaa");
  EXPECT_EQ(Read("/file/b"), "bbbb");
}

TEST_F(OverlayTest, SizesOfChangedDirectories) {
  Write("/dir/new", "x", abi::kO_CREAT);
  EXPECT_EQ(Stat("/dir").size, 3 * TmpfsDir::kDirentSize);
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/a").ok());
  EXPECT_EQ(Stat("/dir").size, 4 * TmpfsDir::kDirentSize);  // a whiteout counts
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/new").ok());
  EXPECT_EQ(Stat("/dir").size, 3 * TmpfsDir::kDirentSize);
}

TEST_F(OverlayTest, AttributesAndLinks) {
  SetAttr a;
  a.mask = SetAttr::kMode;
  a.mode = 0600;
  EXPECT_TRUE(Vfs::Setattr(ctx(), *Find("/file"), a).ok());
  EXPECT_EQ(Stat("/file").mode & 07777, 0600u);
  EXPECT_EQ(Read("/file"), "content");
  EXPECT_TRUE(Vfs::Setattr(ctx(), *Find("/dir"), a).ok());
  EXPECT_EQ(Stat("/dir").mode & 07777, 0600u);
  EXPECT_TRUE(Vfs::Link(ctx(), *Find("/dir/b"), nullptr, "/b2").ok());
  EXPECT_EQ(Stat("/dir/b").nlink, 2u);
  EXPECT_EQ(Stat("/b2").ino, Stat("/dir/b").ino);
  EXPECT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/b").ok());
  EXPECT_EQ(Read("/b2"), "bbbb");
  EXPECT_EQ(Stat("/b2").nlink, 1u);
  EXPECT_TRUE(Vfs::Truncate(ctx(), *Find("/hard"), 3).ok());
  EXPECT_EQ(Read("/file"), "con");
  EXPECT_TRUE(Vfs::Symlink(ctx(), "file", nullptr, "/s").ok());
  EXPECT_EQ(Read("/s"), "con");
  EXPECT_TRUE(Vfs::Setxattr(ctx(), *Find("/hard"), "user.x", "1", 0).ok());
  EXPECT_EQ(*Vfs::Getxattr(ctx(), *Find("/file"), "user.x"), "1");
}

TEST_F(OverlayTest, LowerAttributesUntilOneChanges) {
  ASSERT_TRUE(lower_->Find("file")->Setxattr("user.low", "1", 0).ok());
  Write("/file", "new", 0);
  EXPECT_EQ(*Vfs::Getxattr(ctx(), *Find("/file"), "user.low"), "1");
  EXPECT_TRUE(Vfs::Removexattr(ctx(), *Find("/file"), "user.none").is(Errno::kENODATA));
  ASSERT_TRUE(Vfs::Setxattr(ctx(), *Find("/file"), "user.up", "2", 0).ok());
  EXPECT_EQ(Vfs::Listxattr(ctx(), *Find("/file"))->size(), 2u);
  ASSERT_TRUE(Vfs::Removexattr(ctx(), *Find("/file"), "user.low").ok());
  EXPECT_TRUE(Vfs::Getxattr(ctx(), *Find("/file"), "user.low").is(Errno::kENODATA));
  EXPECT_TRUE(lower_->Find("file")->Getxattr("user.low").ok());
}

TEST_F(OverlayTest, ListingsOfUnchangedAndChangedDirectories) {
  base::Ref<File> d = *Open("/dir", abi::kO_RDONLY | abi::kO_DIRECTORY);
  Names before;
  EXPECT_TRUE(d->Iterate(before).ok());
  EXPECT_EQ(before.all, (std::set<std::string>{".", "..", "a", "b", "deep"}));
  ASSERT_TRUE(Vfs::Unlink(ctx(), nullptr, "/dir/a").ok());
  Write("/dir/c", "c", abi::kO_CREAT);
  // The end stays the end; a rewind sees the changes.
  Names end, after;
  EXPECT_TRUE(d->Iterate(end).ok());
  EXPECT_TRUE(end.all.empty());
  EXPECT_TRUE(d->Seek(0, abi::kSEEK_SET).ok());
  EXPECT_TRUE(d->Iterate(after).ok());
  EXPECT_EQ(after.all, (std::set<std::string>{".", "..", "b", "c", "deep"}));
}

}  // namespace
}  // namespace sentry
