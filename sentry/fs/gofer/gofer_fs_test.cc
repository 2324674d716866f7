// The file system over a real gofer and a real directory.
#include "sentry/fs/gofer/gofer_fs.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <optional>
#include <set>

#include "gofer/server/testing.h"
#include "sentry/fs/gofer/inode.h"
#include "sentry/vfs/file.h"
#include "syscalls/abi/dirent.h"

namespace sentry {
namespace {

using gofer::testing::ReadFile;
using gofer::testing::TempDir;
using gofer::testing::WriteFile;

class Names : public DirSink {
 public:
  explicit Names(size_t max = SIZE_MAX) : max_(max) {}
  bool Add(const DirEntry& e) override {
    if (names.size() == max_) return false;
    names.emplace_back(e.name);
    types[std::string(e.name)] = e.type;
    next = e.next;
    return true;
  }
  std::vector<std::string> names;
  std::map<std::string, uint8_t> types;
  int64_t next = 0;

 private:
  size_t max_;
};

class GoferFsTest : public ::testing::Test {
 protected:
  void Start(bool shared = false, bool read_only = false) {
    gofer::ServerOptions options;
    gofer::ServedMount m;
    m.root = dir_.OpenRoot();
    m.shared = shared;
    m.read_only = read_only;
    options.mounts.push_back(std::move(m));
    server_.emplace(std::move(options));
    client_ = base::MakeRef<gofer::Client>(server_->TakeClientSocket());
    auto root = MountGofer(client_, 0, "gofer", "none");
    ASSERT_TRUE(root.ok());
    root_ = *root;
  }
  void TearDown() override {
    root_.reset();
    if (client_) client_->SendForgets();
    EXPECT_FALSE(client_ && client_->dead());
    client_.reset();
    if (server_) {
      EXPECT_EQ(server_->Join(), 0);
    }
  }
  base::Ref<Inode> Lookup(const base::Ref<Inode>& dir, std::string_view name) {
    auto r = dir->Lookup(creds_, name);
    EXPECT_TRUE(r.ok()) << name;
    return r.ok() ? *r : nullptr;
  }
  CreateArgs Args(uint32_t mode) {
    return {.creds = creds_, .mode = mode, .uid = getuid(), .gid = getgid()};
  }
  base::Ref<File> Open(const base::Ref<Inode>& inode, uint32_t flags) {
    auto r = inode->Open(nullptr, {.flags = flags, .mode = 0}, creds_);
    EXPECT_TRUE(r.ok());
    return r.ok() ? *r : nullptr;
  }
  std::string Read(File& f, uint64_t offset, size_t n) {
    std::string s(n, 0);
    IoBuffer b = IoBuffer::Kernel(s.data(), n);
    auto r = f.Read(b, &offset, 0);
    EXPECT_TRUE(r.ok());
    s.resize(r.ok() ? *r : 0);
    return s;
  }
  uint64_t Write(File& f, uint64_t offset, std::string s) {
    IoBuffer b = IoBuffer::Kernel(s.data(), s.size());
    auto r = f.Write(b, &offset, 0);
    EXPECT_TRUE(r.ok());
    return offset;
  }

  TempDir dir_;
  std::optional<gofer::testing::ServerThread> server_;
  base::Ref<gofer::Client> client_;
  base::Ref<Inode> root_;
  Creds creds_;
};

TEST_F(GoferFsTest, LookupAndAttributes) {
  mkdir((dir_ / "d").c_str(), 0750);
  WriteFile(dir_ / "d/f", "hello", 0640);
  EXPECT_EQ(symlink("d/f", (dir_ / "l").c_str()), 0);
  Start();
  auto d = Lookup(root_, "d");
  auto f = Lookup(d, "f");
  Kstat st = *f->Getattr();
  EXPECT_EQ(st.size, 5u);
  EXPECT_EQ(st.mode, abi::kS_IFREG | 0640u);
  EXPECT_EQ(st.dev, root_->sb().dev());
  EXPECT_EQ(f->perm().mode & 07777, 0640u);
  EXPECT_EQ(*Lookup(root_, "l")->Readlink(creds_), "d/f");
  EXPECT_TRUE(root_->Lookup(creds_, "none").is(abi::Errno::kENOENT));
  EXPECT_EQ(Lookup(d, "f"), f);  // the same object
}

TEST_F(GoferFsTest, ReadAndWrite) {
  WriteFile(dir_ / "f", "hello");
  Start();
  auto f = Lookup(root_, "f");
  auto file = Open(f, abi::kO_RDWR);
  EXPECT_EQ(Read(*file, 1, 100), "ello");
  EXPECT_EQ(Read(*file, 5, 100), "");
  EXPECT_EQ(Write(*file, 4, "O, world"), 12u);
  EXPECT_EQ(f->Getattr()->size, 12u);
  EXPECT_EQ(ReadFile(dir_ / "f"), "hellO, world");
  auto append = Open(f, abi::kO_WRONLY | abi::kO_APPEND);
  EXPECT_EQ(Write(*append, 0, "!"), 13u);
  struct stat host;
  ASSERT_EQ(stat((dir_ / "f").c_str(), &host), 0);
  Kstat st = *f->Getattr();
  EXPECT_EQ(st.size, 13u);
  EXPECT_EQ(st.mtime.sec, host.st_mtim.tv_sec);
  EXPECT_EQ(st.blocks, static_cast<uint64_t>(host.st_blocks));
  SetAttr a;
  a.mask = SetAttr::kSize;
  a.size = 3;
  EXPECT_TRUE(f->Setattr(creds_, a).ok());
  EXPECT_EQ(Read(*file, 0, 100), "hel");
}

TEST_F(GoferFsTest, TruncateBeforeOpen) {
  WriteFile(dir_ / "f", "hello");
  Start();
  auto f = Lookup(root_, "f");
  SetAttr a;
  a.mask = SetAttr::kSize | SetAttr::kTruncateOpen;
  EXPECT_TRUE(f->Setattr(creds_, a).ok());
  EXPECT_EQ(f->Getattr()->size, 0u);
  EXPECT_EQ(ReadFile(dir_ / "f"), "");
}

TEST_F(GoferFsTest, CreateAndRemove) {
  Start();
  auto f = root_->Create("f", Args(abi::kS_IFREG | 0444));
  ASSERT_TRUE(f.ok());
  EXPECT_TRUE(root_->Create("f", Args(abi::kS_IFREG | 0444)).is(abi::Errno::kEEXIST));
  auto file = Open(*f, abi::kO_RDWR);  // the creator may
  Write(*file, 0, "data");
  ASSERT_TRUE(root_->Unlink("f", **f).ok());
  EXPECT_TRUE(root_->Lookup(creds_, "f").is(abi::Errno::kENOENT));
  EXPECT_EQ((*f)->Getattr()->nlink, 0u);
  EXPECT_EQ(Read(*file, 0, 10), "data");
  SetAttr a;
  a.mask = SetAttr::kMode;
  a.mode = 0600;
  EXPECT_TRUE((*f)->Setattr(creds_, a).ok());
  EXPECT_EQ((*f)->perm().mode & 07777, 0600u);
  // The name again is another object.
  auto again = root_->Create("f", Args(abi::kS_IFREG | 0600));
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(*again == *f);
  EXPECT_EQ((*again)->Getattr()->size, 0u);
}

TEST_F(GoferFsTest, DirectoriesAndLinks) {
  Start();
  auto d = *root_->Mkdir("d", Args(abi::kS_IFDIR | 0755));
  EXPECT_TRUE(d->Lookup(creds_, "x").is(abi::Errno::kENOENT));
  auto f = *d->Create("f", Args(abi::kS_IFREG | 0600));
  ASSERT_TRUE(root_->Link("g", *f).ok());
  EXPECT_EQ(f->Getattr()->nlink, 2u);
  EXPECT_EQ(Lookup(root_, "g"), f);
  ASSERT_TRUE(d->Unlink("f", *f).ok());
  EXPECT_EQ(f->Getattr()->nlink, 1u);
  auto file = Open(f, abi::kO_RDWR);  // by its other name
  Write(*file, 0, "x");
  EXPECT_EQ(ReadFile(dir_ / "g"), "x");
  auto p = root_->Mknod("p", Args(abi::kS_IFIFO | 0600));
  ASSERT_TRUE(p.ok());
  EXPECT_EQ((*p)->type(), static_cast<uint32_t>(abi::kS_IFIFO));
  EXPECT_TRUE(root_->Mknod("c", Args(abi::kS_IFCHR | 0600)).is(abi::Errno::kEPERM));
  EXPECT_EQ(*(*root_->Symlink("l", "where", Args(abi::kS_IFLNK | 0777)))->Readlink(creds_),
            "where");
  EXPECT_TRUE(root_->Rmdir("d", *d).ok());
  EXPECT_TRUE(d->Create("x", Args(abi::kS_IFREG | 0600)).is(abi::Errno::kENOENT));
}

TEST_F(GoferFsTest, Rename) {
  Start();
  auto a = *root_->Mkdir("a", Args(abi::kS_IFDIR | 0755));
  auto b = *root_->Mkdir("b", Args(abi::kS_IFDIR | 0755));
  auto f = *a->Create("f", Args(abi::kS_IFREG | 0600));
  auto g = *b->Create("g", Args(abi::kS_IFREG | 0600));
  Write(*Open(f, abi::kO_RDWR), 0, "from f");
  auto held = Open(g, abi::kO_RDWR);
  Write(*held, 0, "from g");
  ASSERT_TRUE(a->Rename("f", *f, *b, "g", g.get(), 0).ok());
  EXPECT_EQ(ReadFile(dir_ / "b/g"), "from f");
  EXPECT_EQ(Lookup(b, "g"), f);
  EXPECT_TRUE(a->Lookup(creds_, "f").is(abi::Errno::kENOENT));
  EXPECT_EQ(g->Getattr()->nlink, 0u);
  EXPECT_EQ(Read(*held, 0, 10), "from g");
  // A directory moves with what is below it.
  ASSERT_TRUE(root_->Rename("b", *b, *a, "b2", nullptr, 0).ok());
  SetAttr m;
  m.mask = SetAttr::kMode;
  m.mode = 0400;
  EXPECT_TRUE(f->Setattr(creds_, m).ok());
  struct stat st;
  ASSERT_EQ(stat((dir_ / "a/b2/g").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0400u);
  // Exchange.
  auto h = *root_->Create("h", Args(abi::kS_IFREG | 0600));
  ASSERT_TRUE(root_->Rename("h", *h, *b, "g", f.get(), 2).ok());
  EXPECT_EQ(Lookup(root_, "h"), f);
  EXPECT_EQ(Lookup(b, "g"), h);
}

TEST_F(GoferFsTest, ListingFeedsLookups) {
  for (int i = 0; i < 700; i++) {
    WriteFile(dir_ / ("file" + std::to_string(i)), std::string(i % 7, 'x'));
  }
  mkdir((dir_ / "sub").c_str(), 0755);
  Start();
  auto file = Open(root_, abi::kO_RDONLY | abi::kO_DIRECTORY);
  Names all;
  ASSERT_TRUE(file->Iterate(all).ok());
  EXPECT_EQ(all.names.size(), 703u);
  EXPECT_EQ(all.names[0], ".");
  EXPECT_EQ(all.types["file3"], abi::kDT_REG);
  EXPECT_EQ(all.types["sub"], abi::kDT_DIR);
  EXPECT_EQ(std::set<std::string>(all.names.begin(), all.names.end()).size(), 703u);
  EXPECT_EQ(Lookup(root_, "file5")->Getattr()->size, 5u);
  auto d = Lookup(root_, "sub");
  EXPECT_TRUE(d->is_dir());
  EXPECT_TRUE(root_->Lookup(creds_, "none").is(abi::Errno::kENOENT));
  // Changes keep the listing right.
  auto f5 = Lookup(root_, "file5");
  EXPECT_TRUE(root_->Unlink("file5", *f5).ok());
  EXPECT_TRUE(root_->Lookup(creds_, "file5").is(abi::Errno::kENOENT));
  EXPECT_TRUE(root_->Create("none", Args(abi::kS_IFREG | 0600)).ok());
  Lookup(root_, "none");
  EXPECT_TRUE(d->Create("below", Args(abi::kS_IFREG | 0600)).ok());
  EXPECT_EQ(ReadFile(dir_ / "sub/below"), "");
  // A small buffer, a position to return to, and a rewind that sees the changes.
  Names some(2);
  EXPECT_EQ(*file->Seek(10, abi::kSEEK_SET), 10u);
  ASSERT_TRUE(file->Iterate(some).ok());
  EXPECT_EQ(some.names[0], all.names[10]);
  EXPECT_EQ(some.next, 12);
  EXPECT_TRUE(file->Seek(0, abi::kSEEK_SET).ok());
  Names again;
  ASSERT_TRUE(file->Iterate(again).ok());
  EXPECT_EQ(again.types.count("file5"), 0u);
  EXPECT_EQ(again.types.count("none"), 1u);
}

TEST_F(GoferFsTest, LookingAhead) {
  mkdir((dir_ / "a").c_str(), 0755);
  mkdir((dir_ / "a/b").c_str(), 0755);
  WriteFile(dir_ / "a/b/f", "hello");
  EXPECT_EQ(symlink("b", (dir_ / "a/l").c_str()), 0);
  Start();
  auto a = root_->LookupAhead(creds_, "a", {.rest = "//b/f", .open_read = true});
  ASSERT_TRUE(a.ok());
  // From what came along: the host's changes are not seen.
  EXPECT_EQ(rename((dir_ / "a").c_str(), (dir_ / "elsewhere").c_str()), 0);
  auto b = Lookup(*a, "b");
  auto f = Lookup(b, "f");
  EXPECT_EQ(Read(*Open(f, abi::kO_RDONLY), 0, 10), "hello");
  EXPECT_EQ(rename((dir_ / "elsewhere").c_str(), (dir_ / "a").c_str()), 0);
  // A missing name and a link end it.
  a = root_->LookupAhead(creds_, "a", {.rest = "/b/none/x", .open_read = false});
  ASSERT_TRUE(a.ok());
  b = Lookup(*a, "b");
  EXPECT_TRUE(b->Lookup(creds_, "none").is(abi::Errno::kENOENT));
  ASSERT_TRUE(b->Create("none", Args(abi::kS_IFREG | 0600)).ok());
  EXPECT_TRUE(b->Lookup(creds_, "none").ok());
  a = root_->LookupAhead(creds_, "a", {.rest = "/l/f", .open_read = true});
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(*Lookup(*a, "l")->Readlink(creds_), "b");
  // A change in between is seen.
  a = root_->LookupAhead(creds_, "a", {.rest = "/b/f", .open_read = false});
  ASSERT_TRUE((*a)->Rename("b", *b, *root_, "b", nullptr, 0).ok());
  EXPECT_TRUE((*a)->Lookup(creds_, "b").is(abi::Errno::kENOENT));
}

TEST_F(GoferFsTest, SharedMountSeesOthersChanges) {
  WriteFile(dir_ / "f", "1");
  Start(true);
  auto f = Lookup(root_, "f");
  EXPECT_EQ(f->Getattr()->size, 1u);
  WriteFile(dir_ / "f", "12345");
  EXPECT_EQ(f->Getattr()->size, 5u);
  auto file = Open(f, abi::kO_RDONLY);
  WriteFile(dir_ / "f", "1234567");
  EXPECT_EQ(Read(*file, 0, 100), "1234567");
  EXPECT_EQ(f->Getattr()->size, 7u);
  EXPECT_TRUE(root_->Lookup(creds_, "g").is(abi::Errno::kENOENT));
  WriteFile(dir_ / "g", "1");
  EXPECT_TRUE(root_->Lookup(creds_, "g").ok());
}

TEST_F(GoferFsTest, ReadOnly) {
  WriteFile(dir_ / "f", "1");
  Start(false, true);
  auto f = Lookup(root_, "f");
  EXPECT_TRUE(f->Open(nullptr, {.flags = abi::kO_RDWR}, creds_).is(abi::Errno::kEROFS));
  EXPECT_TRUE(f->Setattr(creds_, {.mask = SetAttr::kMode}).is(abi::Errno::kEROFS));
  EXPECT_TRUE(root_->Create("g", Args(0600)).is(abi::Errno::kEROFS));
  EXPECT_EQ(Read(*Open(f, abi::kO_RDONLY), 0, 9), "1");
}

TEST_F(GoferFsTest, TreeInFewMessages) {
  constexpr int kDirs = 60, kFiles = 8;
  mkdir((dir_ / "links").c_str(), 0755);
  for (int d = 0; d < kDirs; d++) {
    const std::string dir = "d" + std::to_string(d);
    mkdir((dir_ / dir).c_str(), 0755);
    mkdir((dir_ / (dir + "/sub")).c_str(), 0755);
    for (int i = 0; i < kFiles; i++) {
      const std::string f = dir + (i % 2 == 0 ? "/" : "/sub/") + std::to_string(i);
      WriteFile(dir_ / f, f);
      // What has two names is known as well.
      const std::string twin = "links/" + std::to_string(d) + "." + std::to_string(i);
      EXPECT_EQ(link((dir_ / f).c_str(), (dir_ / twin).c_str()), 0);
    }
  }
  mkdir((dir_ / "large").c_str(), 0755);
  for (int i = 0; i < 900; i++) WriteFile(dir_ / ("large/" + std::to_string(i)), "");
  Start(false, true);
  const uint32_t before = client_->requests();
  std::map<std::string, std::string> found;
  size_t dirs = 0;
  auto walk = [&](auto& self, const base::Ref<Inode>& dir, const std::string& at) -> void {
    Names names;
    ASSERT_TRUE(Open(dir, abi::kO_RDONLY | abi::kO_DIRECTORY)->Iterate(names).ok());
    dirs++;
    EXPECT_TRUE(dir->Lookup(creds_, "none").is(abi::Errno::kENOENT));
    for (const std::string& n : names.names) {
      if (n == "." || n == "..") continue;
      base::Ref<Inode> i = Lookup(dir, n);
      if (names.types[n] == abi::kDT_DIR) {
        self(self, i, at + n + "/");
      } else {
        EXPECT_EQ(i->Getattr()->nlink, at == "large/" ? 1u : 2u);
        found[at + n] = Read(*Open(i, abi::kO_RDONLY), 0, 100);
      }
    }
  };
  walk(walk, root_, "");
  EXPECT_EQ(dirs, 3 + 2u * kDirs);
  EXPECT_EQ(found.size(), 900 + 2u * kDirs * kFiles);
  EXPECT_EQ(found["d7/sub/3"], "d7/sub/3");
  EXPECT_EQ(found["links/8.2"], "d8/2");
  // Of 1860 files and 123 directories.
  EXPECT_LT(client_->requests() - before, 250u);
  // All of it again, without a question but for the descriptors.
  const uint32_t again = client_->requests();
  found.clear();
  walk(walk, root_, "");
  EXPECT_EQ(found.size(), 900 + 2u * kDirs * kFiles);
  EXPECT_LT(client_->requests() - again, 250u);
  int open_fds = 0;
  for (int fd = 0; fd < 2000; fd++) open_fds += fcntl(fd, F_GETFD) >= 0;
  EXPECT_LT(open_fds, 300);
}

TEST_F(GoferFsTest, FilesOpenedInAnyOrder) {
  constexpr int kFiles = 64;
  mkdir((dir_ / "d").c_str(), 0755);
  for (int i = 0; i < kFiles; i++) {
    WriteFile(dir_ / ("d/" + std::to_string(i)), std::to_string(i));
  }
  Start(false, true);
  const uint32_t before = client_->requests();
  auto d = Lookup(root_, "d");
  for (int i = 0; i < kFiles; i++) {
    const std::string name = std::to_string(i * 29 % kFiles);
    auto f = d->LookupAhead(creds_, name, {.rest = {}, .open_read = true});
    ASSERT_TRUE(f.ok());
    EXPECT_EQ(Read(*Open(*f, abi::kO_RDONLY), 0, 9), name);
  }
  EXPECT_LT(client_->requests() - before, 20u);
}

TEST_F(GoferFsTest, LongPathsFitIntoMessages) {
  constexpr int kDepth = 13, kLeaves = 40;
  std::string at = dir_.path();
  for (int i = 0; i < kDepth; i++) {
    at += "/" + std::string(250, 'x');
    ASSERT_EQ(mkdir(at.c_str(), 0755), 0);
  }
  for (int i = 0; i < kLeaves; i++) {
    const std::string leaf = at + "/" + std::string(240, 'y') + std::to_string(i);
    ASSERT_EQ(mkdir(leaf.c_str(), 0755), 0);
    WriteFile(leaf + "/f", "hello");
  }
  Start(false, true);
  auto dir = root_;
  Names names;
  for (int i = 0; i <= kDepth; i++) {
    names = Names();
    ASSERT_TRUE(Open(dir, abi::kO_RDONLY | abi::kO_DIRECTORY)->Iterate(names).ok());
    if (i < kDepth) dir = Lookup(dir, std::string(250, 'x'));
  }
  ASSERT_EQ(names.names.size(), kLeaves + 2u);
  for (const std::string& n : names.names) {
    if (n[0] == '.') continue;
    auto leaf = Lookup(dir, n);
    Names files;
    ASSERT_TRUE(Open(leaf, abi::kO_RDONLY | abi::kO_DIRECTORY)->Iterate(files).ok());
    EXPECT_EQ(Read(*Open(Lookup(leaf, "f"), abi::kO_RDONLY), 0, 9), "hello");
  }
}

TEST_F(GoferFsTest, NamesFirstAttributesWhenWanted) {
  constexpr int kDirs = 40, kFiles = 20;
  for (int d = 0; d < kDirs; d++) {
    mkdir((dir_ / std::to_string(d)).c_str(), 0755);
    for (int i = 0; i < kFiles; i++) {
      WriteFile(dir_ / (std::to_string(d) + "/" + std::to_string(i)), std::string(i, 'x'));
    }
  }
  Start(false, true);
  auto walk = [&](bool stat) {
    Names dirs;
    ASSERT_TRUE(Open(root_, abi::kO_RDONLY | abi::kO_DIRECTORY)->Iterate(dirs).ok());
    for (const std::string& n : dirs.names) {
      if (n == "." || n == "..") continue;
      auto d = Lookup(root_, n);
      Names files;
      ASSERT_TRUE(Open(d, abi::kO_RDONLY | abi::kO_DIRECTORY)->Iterate(files).ok());
      EXPECT_EQ(files.names.size(), kFiles + 2u);
      EXPECT_EQ(files.types["7"], abi::kDT_REG);
      for (const std::string& f : files.names) {
        if (stat && f[0] != '.') {
          EXPECT_EQ(Lookup(d, f)->Getattr()->size, std::stoul(f));
        }
      }
    }
  };
  const uint32_t start = client_->requests();
  walk(false);
  const uint32_t listed = client_->requests();
  EXPECT_LT(listed - start, 10u);
  // Of each directory at once, after the first few.
  walk(true);
  EXPECT_LT(client_->requests() - listed, kDirs * 5u);
  const uint32_t known = client_->requests();
  walk(true);
  EXPECT_EQ(client_->requests(), known);
}

TEST_F(GoferFsTest, Mappings) {
  WriteFile(dir_ / "f", "hello");
  Start();
  auto f = Lookup(root_, "f");
  auto reader = Open(f, abi::kO_RDONLY);
  auto writer = Open(f, abi::kO_RDWR);
  auto m = reader->Mmap(0, 4096, 1, true);
  ASSERT_TRUE(m.ok());
  EXPECT_EQ((*m)->size(), 5u);
  EXPECT_TRUE((*m)->Translate(0, 4096, true).is(abi::Errno::kEACCES));
  auto extent = (*m)->Translate(0, 4096, false);
  ASSERT_TRUE(extent.ok());
  EXPECT_FALSE(extent->file->writable());
  auto shared = writer->Mmap(0, 4096, 3, true);
  ASSERT_TRUE(shared.ok());
  EXPECT_EQ(*shared, *m);  // one memory
  EXPECT_TRUE((*shared)->Translate(0, 4096, true)->file->writable());
}

TEST_F(GoferFsTest, ManyOpenedFilesKeepFewDescriptors) {
  for (int i = 0; i < 400; i++) WriteFile(dir_ / std::to_string(i), "x");
  Start();
  std::vector<base::Ref<Inode>> inodes;
  for (int i = 0; i < 400; i++) {
    inodes.push_back(Lookup(root_, std::to_string(i)));
    EXPECT_EQ(Read(*Open(inodes.back(), abi::kO_RDONLY), 0, 2), "x");
  }
  int open_fds = 0;
  for (int fd = 0; fd < 2000; fd++) open_fds += fcntl(fd, F_GETFD) >= 0;
  EXPECT_LT(open_fds, 250);
  EXPECT_EQ(Read(*Open(inodes[0], abi::kO_RDONLY), 0, 2), "x");
}

}  // namespace
}  // namespace sentry
