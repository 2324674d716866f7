// Client and server together, over a real socket and real directories.
#include "gofer/client/client.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <map>
#include <optional>

#include "gofer/server/testing.h"

namespace gofer {
namespace {

using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;
namespace abi = ::uapi;

class ClientTest : public ::testing::Test {
 protected:
  void Start(bool read_only = false, size_t max_fds = 0, std::string file_name = "",
             bool own_table = false) {
    ServerOptions options;
    ServedMount m;
    m.id = 3;
    m.root = dir_.OpenRoot();
    m.read_only = read_only;
    m.file_name = std::move(file_name);
    options.mounts.push_back(std::move(m));
    options.max_fds = max_fds;
    server_.emplace(std::move(options), own_table);
    client_.emplace(server_->TakeClientSocket());
    auto attached = client_->Attach(3);
    ASSERT_TRUE(attached.ok());
    root_ = attached->node;
  }
  void TearDown() override {
    client_.reset();
    if (server_) {
      EXPECT_EQ(server_->Join(), 0);
    }
  }
  WalkResult Walk(std::vector<std::string_view> names) {
    auto r = client_->Walk(root_, names);
    EXPECT_TRUE(r.ok());
    return r.ok() ? std::move(*r) : WalkResult{};
  }
  // Open for the own user, so that tests need not be root.
  wire::OwnerMode Mine(uint32_t mode) { return {.mode = mode, .uid = getuid(), .gid = getgid()}; }

  TempDir dir_;
  std::optional<testing::ServerThread> server_;
  std::optional<Client> client_;
  wire::NodeId root_ = wire::kNoNode;
};

TEST_F(ClientTest, TableIsFull) {
  mkdir((dir_ / "a").c_str(), 0755);
  WriteFile(dir_ / "a/f", "hello");
  Start(false, 0, "", true);
  WalkResult r = Walk({"a"});
  ASSERT_EQ(r.entries.size(), 1u);
  const wire::NodeId a = r.entries[0].node;
  rlimit limit, low;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  low = {64, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  std::vector<base::UniqueFd> filler;
  do {
    filler.emplace_back(dup(2));
  } while (filler.back().valid());
  const std::vector<std::string_view> names = {"a", "f"};
  for (int i = 0; i < 3; i++) {
    EXPECT_TRUE(client_->Open({a, "f"}, wire::kOpenRead).is(abi::Errno::kENFILE));
    EXPECT_TRUE(client_->Walk(root_, names, true).is(abi::Errno::kENFILE));
  }
  EXPECT_TRUE(client_->Getattr({a, "f"}).ok());
  filler.clear();
  auto opened = client_->Walk(root_, names, true);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(opened->fd.valid());
  EXPECT_TRUE(client_->Open({a, "f"}, wire::kOpenRead).ok());
  setrlimit(RLIMIT_NOFILE, &limit);
}

TEST_F(ClientTest, WalksManyComponents) {
  mkdir((dir_ / "a").c_str(), 0755);
  mkdir((dir_ / "a/b").c_str(), 0700);
  WriteFile(dir_ / "a/b/f", "hello");
  EXPECT_EQ(symlink("../x", (dir_ / "a/l").c_str()), 0);
  Start();
  WalkResult r = Walk({"a", "b", "f"});
  EXPECT_EQ(r.stop, wire::WalkStop::kDone);
  ASSERT_EQ(r.entries.size(), 3u);
  EXPECT_NE(r.entries[0].node, wire::kNoNode);
  EXPECT_EQ(r.entries[1].attr.mode, S_IFDIR | 0700u);
  EXPECT_EQ(r.entries[2].node, wire::kNoNode);
  EXPECT_EQ(r.entries[2].attr.size, 5u);

  r = Walk({"a", "none", "f"});
  EXPECT_EQ(r.stop, wire::WalkStop::kMissing);
  EXPECT_EQ(r.entries.size(), 1u);
  r = Walk({"a", "l", "f"});
  EXPECT_EQ(r.stop, wire::WalkStop::kSymlink);
  EXPECT_EQ(r.entries.size(), 2u);
  EXPECT_EQ(r.link_target, "../x");
  r = Walk({"a", "b", "f", "g"});
  EXPECT_EQ(r.stop, wire::WalkStop::kNotDirectory);
  EXPECT_EQ(r.entries.size(), 3u);
}

TEST_F(ClientTest, OneNodePerDirectory) {
  mkdir((dir_ / "a").c_str(), 0755);
  Start();
  wire::NodeId first = Walk({"a"}).entries[0].node;
  wire::NodeId second = Walk({"a"}).entries[0].node;
  EXPECT_EQ(first, second);
  client_->Forget(first);
  client_->SendForgets();
  EXPECT_TRUE(client_->Getattr({.node = second}).ok());
}

TEST_F(ClientTest, OpenDonates) {
  WriteFile(dir_ / "f", "hello");
  mkfifo((dir_ / "p").c_str(), 0600);
  mkdir((dir_ / "d").c_str(), 0700);
  EXPECT_EQ(symlink("f", (dir_ / "l").c_str()), 0);
  Start();
  auto r = client_->Open({root_, "f"}, wire::kOpenRead | wire::kOpenWrite);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->attr.size, 5u);
  EXPECT_EQ(pwrite(r->fd.get(), "J", 1, 0), 1);
  EXPECT_EQ(ReadFile(dir_ / "f"), "Jello");
  EXPECT_TRUE(client_->Open({root_, "f"}, wire::kOpenWrite | wire::kOpenTruncate).ok());
  EXPECT_EQ(ReadFile(dir_ / "f"), "");
  EXPECT_TRUE(client_->Open({root_, "p"}, wire::kOpenRead).is(abi::Errno::kENXIO));
  EXPECT_TRUE(client_->Open({root_, "d"}, wire::kOpenRead).is(abi::Errno::kEISDIR));
  EXPECT_TRUE(client_->Open({root_, "l"}, wire::kOpenRead).is(abi::Errno::kELOOP));
  EXPECT_TRUE(client_->Open({root_, "none"}, wire::kOpenRead).is(abi::Errno::kENOENT));
}

TEST_F(ClientTest, Create) {
  Start();
  wire::CreateArgs args = {.flags = wire::kOpenRead | wire::kOpenWrite | wire::kOpenExclusive,
                           .mode = 04640,
                           .uid = getuid(),
                           .gid = getgid()};
  auto r = client_->Create(root_, "f", args);
  ASSERT_TRUE(r.ok());
  EXPECT_TRUE(r->created);
  EXPECT_EQ(r->attr.mode, S_IFREG | 04640u);
  EXPECT_EQ(write(r->fd.get(), "abc", 3), 3);
  EXPECT_TRUE(client_->Create(root_, "f", args).is(abi::Errno::kEEXIST));
  args.flags = wire::kOpenRead;
  auto again = client_->Create(root_, "f", args);
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->attr.size, 3u);
}

TEST_F(ClientTest, OwnerIsWhomTheGuestNames) {
  if (getuid() != 0) GTEST_SKIP() << "needs root";
  Start();
  auto d = client_->Mkdir(root_, "d", {.mode = 02750, .uid = 1000, .gid = 1001});
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(d->attr.uid, 1000u);
  EXPECT_EQ(d->attr.gid, 1001u);
  EXPECT_EQ(d->attr.mode, S_IFDIR | 02750u);
  auto s = client_->Symlink(root_, "s", {.mode = 0777, .uid = 5, .gid = 6}, "/etc/passwd");
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(s->uid, 5u);
  auto f =
      client_->Create(root_, "f", {.flags = wire::kOpenRead, .mode = 06755, .uid = 7, .gid = 8});
  ASSERT_TRUE(f.ok());
  EXPECT_EQ(f->attr.mode, S_IFREG | 06755u);
  EXPECT_EQ(f->attr.uid, 7u);
}

TEST_F(ClientTest, TreeChanges) {
  Start();
  auto d = client_->Mkdir(root_, "d", Mine(0755));
  ASSERT_TRUE(d.ok());
  EXPECT_TRUE(client_->Mkdir(root_, "d", Mine(0755)).is(abi::Errno::kEEXIST));
  ASSERT_TRUE(client_->Symlink(d->node, "l", Mine(0777), "target").ok());
  EXPECT_EQ(*client_->Readlink({d->node, "l"}), "target");
  EXPECT_TRUE(client_->Readlink({root_, "d"}).is(abi::Errno::kEINVAL));
  auto fifo = client_->Mknod(d->node, "p", Mine(S_IFIFO | 0600));
  ASSERT_TRUE(fifo.ok());
  EXPECT_EQ(fifo->mode, S_IFIFO | 0600u);
  EXPECT_TRUE(client_->Mknod(d->node, "s", Mine(S_IFSOCK | 0600)).ok());
  EXPECT_TRUE(client_->Mknod(d->node, "c", Mine(S_IFCHR | 0600)).is(abi::Errno::kEPERM));
  auto link = client_->Link({d->node, "p"}, root_, "p2");
  ASSERT_TRUE(link.ok());
  EXPECT_EQ(link->nlink, 2u);
  EXPECT_TRUE(client_->Unlink(root_, "d", wire::kUnlinkDirectory).is(abi::Errno::kENOTEMPTY));
  EXPECT_TRUE(client_->Unlink(root_, "d", 0).is(abi::Errno::kEISDIR));
  for (const char* name : {"l", "p", "s"}) EXPECT_TRUE(client_->Unlink(d->node, name, 0).ok());
  EXPECT_TRUE(client_->Unlink(root_, "d", wire::kUnlinkDirectory).ok());
  // The directory is gone, its node stays.
  auto attr = client_->Getattr({.node = d->node});
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->nlink, 0u);
  EXPECT_TRUE(client_->Mkdir(d->node, "x", Mine(0755)).is(abi::Errno::kENOENT));
}

TEST_F(ClientTest, PinnedFile) {
  WriteFile(dir_ / "f", "hello");
  Start();
  auto node = client_->Unlink(root_, "f", wire::kUnlinkPin);
  ASSERT_TRUE(node.ok());
  ASSERT_NE(*node, wire::kNoNode);
  auto attr = client_->Getattr({.node = *node});
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->nlink, 0u);
  EXPECT_EQ(attr->size, 5u);
  wire::SetattrArgs args = {.valid = wire::kSetMode, .mode = 0600};
  attr = client_->Setattr({.node = *node}, args);
  if (attr.ok()) {  // ESTALE before Linux 6.6
    EXPECT_EQ(attr->mode, S_IFREG | 0600u);
  }
  client_->Forget(*node);
}

TEST_F(ClientTest, RenameKeepsNodes) {
  mkdir((dir_ / "a").c_str(), 0755);
  mkdir((dir_ / "a/b").c_str(), 0755);
  WriteFile(dir_ / "a/b/f", "1");
  WriteFile(dir_ / "g", "22");
  mkdir((dir_ / "c").c_str(), 0755);
  Start(false, 4);
  WalkResult r = Walk({"a", "b"});
  wire::NodeId b = r.entries[1].node;
  wire::NodeId c = Walk({"c"}).entries[0].node;
  ASSERT_TRUE(client_->Rename(r.entries[0].node, "b", c, "b2", 0, false).ok());
  // Enough other directories that b's descriptor is closed and has to be opened again from its new
  // place.
  for (int i = 0; i < 10; i++) {
    EXPECT_TRUE(client_->Mkdir(root_, "n" + std::to_string(i), Mine(0755)).ok());
  }
  auto attr = client_->Getattr({b, "f"});
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->size, 1u);
  EXPECT_TRUE(
      client_->Rename(b, "f", root_, "g", 1 /* NOREPLACE */, false).is(abi::Errno::kEEXIST));
  ASSERT_TRUE(client_->Rename(b, "f", root_, "g", 2 /* EXCHANGE */, false).ok());
  EXPECT_EQ(client_->Getattr({b, "f"})->size, 2u);
  auto pinned = client_->Rename(b, "f", root_, "g", 0, true);
  ASSERT_TRUE(pinned.ok());
  EXPECT_EQ(client_->Getattr({.node = *pinned})->size, 1u);
}

TEST_F(ClientTest, ReaddirWithAttributes) {
  std::map<std::string, size_t> expected;
  for (int i = 0; i < 1500; i++) {
    std::string name = "file-with-a-longish-name-" + std::to_string(i);
    WriteFile(dir_ / name, std::string(i % 100, 'x'));
    expected[name] = i % 100;
  }
  Start();
  std::map<std::string, size_t> seen;
  uint64_t cookie = 0;
  int batches = 0;
  for (;;) {
    auto r = client_->Readdir(root_, cookie, wire::kListAttributes);
    ASSERT_TRUE(r.ok());
    batches++;
    for (size_t i = 0; i < r->entries.size(); i++) {
      ASSERT_NE(r->entries.attr(i), nullptr);
      EXPECT_TRUE(seen.emplace(r->entries.name(i), r->entries.attr(i)->size).second);
      EXPECT_EQ(r->entries.type(i), DT_REG);
      EXPECT_EQ(r->entries.ino(i), r->entries.attr(i)->ino);
    }
    cookie = r->cookie;
    if (r->end) break;
  }
  EXPECT_EQ(seen, expected);
  EXPECT_GT(batches, 1);
  // In pieces, while another stream is under way; without attributes more fit.
  auto first = client_->Readdir(root_, 0, wire::kListAttributes, 2000);
  ASSERT_TRUE(first.ok());
  auto names = client_->Readdir(root_, 0, 0, 4000);
  ASSERT_TRUE(names.ok());
  ASSERT_GT(names->entries.size(), 2 * first->entries.size());
  EXPECT_EQ(names->entries.attr(0), nullptr);
  EXPECT_EQ(names->entries.type(0), DT_REG);
  auto rest = client_->Readdir(root_, first->cookie, 0, 2000);
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(rest->entries.name(0), names->entries.name(first->entries.size()));
}

TEST_F(ClientTest, ListsTrees) {
  for (const char* d : {"a", "a/b", "a/b/c", "big", "e"}) mkdir((dir_ / d).c_str(), 0755);
  WriteFile(dir_ / "a/f", "hello");
  WriteFile(dir_ / "a/b/g", "hi");
  for (int i = 0; i < 700; i++) WriteFile(dir_ / ("big/" + std::to_string(i)), "");
  Start();
  std::string_view names[] = {"a", "none", "big", "e"};
  auto listed = client_->List({root_}, names, 10, wire::kListAttributes);
  ASSERT_TRUE(listed.ok());
  // Depth first; what is missing or too large is left out, and so is what comes behind.
  ASSERT_EQ(listed->size(), 3u);
  EXPECT_EQ((*listed)[0].in, wire::kRequested);
  EXPECT_EQ((*listed)[0].index, 0u);
  ASSERT_EQ((*listed)[0].entries.size(), 2u);
  EXPECT_EQ((*listed)[1].in, 0u);
  EXPECT_EQ((*listed)[0].entries.name((*listed)[1].index), "b");
  ASSERT_EQ((*listed)[1].entries.size(), 2u);
  EXPECT_EQ((*listed)[2].in, 1u);
  EXPECT_TRUE((*listed)[2].entries.empty());
  for (bool attributes : {true, false}) {
    const DirectoryEntries& e = (*listed)[1].entries;
    for (size_t i = 0; i < e.size(); i++) {
      // Of directories there are some always.
      ASSERT_EQ(e.attr(i) != nullptr, attributes || e.name(i) == "c");
      if (e.name(i) == "g" && attributes) {
        EXPECT_EQ(e.attr(i)->size, 2u);
      }
    }
    listed = client_->List({root_}, names, 10, 0);
    ASSERT_TRUE(listed.ok());
    ASSERT_GE(listed->size(), 3u);
  }
  // The large one fits without attributes.
  EXPECT_EQ(listed->size(), 5u);
  std::string_view below[] = {"a", "b"};
  auto deeper = client_->List({root_, below}, {{below[1]}}, 1, 0);
  EXPECT_TRUE(deeper.ok() && deeper->empty());
  below[1] = "none";
  EXPECT_TRUE(client_->List({root_, below}, names, 5, 0).is(abi::Errno::kENOENT));
  listed = client_->List({root_, {below, 1}}, {{"b"}}, 1, 0);
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ((*listed)[0].entries.size(), 2u);
  listed = client_->List({root_}, {names, 1}, 1, 0);
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->size(), 1u);
}

TEST_F(ClientTest, OpensMany) {
  mkdir((dir_ / "a").c_str(), 0755);
  for (const char* f : {"f", "g", "a/h"}) WriteFile(dir_ / f, f);
  EXPECT_EQ(symlink("f", (dir_ / "l").c_str()), 0);
  EXPECT_EQ(symlink("a", (dir_ / "la").c_str()), 0);
  Start(true);
  const OpenGroup groups[] = {
      {{}, {"f", "l", "none", "g"}}, {{"a"}, {"h"}}, {{"la"}, {"h"}}, {{"none"}, {"h"}}};
  auto opened = client_->OpenMany(root_, groups);
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->size(), 7u);
  const abi::Errno errors[] = {abi::Errno::kOk,    abi::Errno::kELOOP, abi::Errno::kENOENT,
                               abi::Errno::kOk,    abi::Errno::kOk,    abi::Errno::kEAGAIN,
                               abi::Errno::kEAGAIN};
  const char* texts[] = {"f", "", "", "g", "a/h", "", ""};
  for (size_t i = 0; i < 7; i++) {
    OpenedFile& f = (*opened)[i];
    EXPECT_EQ(f.error, base::Error(errors[i])) << i;
    ASSERT_EQ(f.fd.valid(), errors[i] == abi::Errno::kOk);
    if (!f.fd.valid()) continue;
    char text[8] = {};
    EXPECT_GT(pread(f.fd.get(), text, sizeof(text), 0), 0);
    EXPECT_STREQ(text, texts[i]);
    EXPECT_LT(write(f.fd.get(), "x", 1), 0);
  }
}

TEST_F(ClientTest, SetattrAndTimes) {
  WriteFile(dir_ / "f", "hello");
  Start();
  auto r = client_->Setattr(
      {root_, "f"}, {.valid = wire::kSetMode | wire::kSetSize | wire::kSetAtime | wire::kSetMtime,
                     .mode = 0400,
                     .size = 2,
                     .atime_sec = 10,
                     .mtime_sec = 20,
                     .atime_nsec = 1,
                     .mtime_nsec = 2});
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->mode, S_IFREG | 0400u);
  EXPECT_EQ(r->size, 2u);
  EXPECT_EQ(r->atime_sec, 10);
  EXPECT_EQ(r->mtime_nsec, 2u);
  EXPECT_TRUE(
      client_->Setattr({root_, "f"}, {.valid = wire::kSetMtime, .mtime_nsec = 1'000'000'000})
          .is(abi::Errno::kEINVAL));
}

TEST_F(ClientTest, ReadOnlyMountRefusesChanges) {
  WriteFile(dir_ / "f", "hello");
  Start(true);
  auto rofs = abi::Errno::kEROFS;
  EXPECT_TRUE(client_->Open({root_, "f"}, wire::kOpenRead).ok());
  EXPECT_TRUE(client_->Open({root_, "f"}, wire::kOpenWrite).is(rofs));
  EXPECT_TRUE(client_->Create(root_, "g", {.flags = wire::kOpenRead}).is(rofs));
  EXPECT_TRUE(client_->Mkdir(root_, "d", Mine(0755)).is(rofs));
  EXPECT_TRUE(client_->Symlink(root_, "s", Mine(0777), "x").is(rofs));
  EXPECT_TRUE(client_->Link({root_, "f"}, root_, "g").is(rofs));
  EXPECT_TRUE(client_->Mknod(root_, "p", Mine(S_IFIFO | 0600)).is(rofs));
  EXPECT_TRUE(client_->Unlink(root_, "f", 0).is(rofs));
  EXPECT_TRUE(client_->Rename(root_, "f", root_, "g", 0, false).is(rofs));
  EXPECT_TRUE(client_->Setattr({root_, "f"}, {.valid = wire::kSetMode, .mode = 0}).is(rofs));
  EXPECT_TRUE(client_->SetXattr({root_, "f"}, "user.a", {}, 0).is(rofs));
  EXPECT_TRUE(client_->RemoveXattr({root_, "f"}, "user.a").is(rofs));
}

TEST_F(ClientTest, Xattrs) {
  WriteFile(dir_ / "f", "");
  if (setxattr((dir_ / "f").c_str(), "user.test", "v", 1, 0) != 0) GTEST_SKIP() << "no user xattrs";
  Start();
  std::vector<uint8_t> value = {1, 2, 3};
  EXPECT_TRUE(client_->SetXattr({root_, "f"}, "user.a", value, 1).ok());
  EXPECT_TRUE(client_->SetXattr({root_, "f"}, "user.a", value, 1).is(abi::Errno::kEEXIST));
  EXPECT_EQ(*client_->GetXattr({root_, "f"}, "user.a"), value);
  EXPECT_TRUE(client_->GetXattr({root_, "f"}, "user.b").is(abi::Errno::kENODATA));
  EXPECT_TRUE(client_->GetXattr({root_, "f"}, "trusted.b").is(abi::Errno::kEOPNOTSUPP));
  EXPECT_TRUE(
      client_->SetXattr({root_, "f"}, "security.capability", value, 0).is(abi::Errno::kEPERM));
  auto names = client_->ListXattr({root_, "f"});
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(names->size(), sizeof("user.a") + sizeof("user.test"));
  EXPECT_TRUE(client_->RemoveXattr({root_, "f"}, "user.a").ok());
}

TEST_F(ClientTest, StatfsAndSync) {
  WriteFile(dir_ / "f", "x");
  Start();
  auto st = client_->Statfs(root_);
  ASSERT_TRUE(st.ok());
  EXPECT_GT(st->bsize, 0u);
  EXPECT_TRUE(client_->Fsync({root_, "f"}, true).ok());
  EXPECT_TRUE(client_->Fsync({.node = root_}, false).ok());
  EXPECT_TRUE(client_->SyncFs(root_).ok());
  EXPECT_TRUE(client_->Flush().ok());
}

TEST_F(ClientTest, Settle) {
  Start();
  EXPECT_TRUE(client_->Settle());
  EXPECT_TRUE(client_->Flush().ok());
}

TEST_F(ClientTest, MountedFile) {
  WriteFile(dir_ / "resolv.conf", "nameserver");
  WriteFile(dir_ / "secret", "x");
  Start(false, 0, "resolv.conf");
  EXPECT_EQ(client_->Getattr({.node = root_})->size, 10u);
  auto r = client_->Open({.node = root_}, wire::kOpenRead);
  ASSERT_TRUE(r.ok());
  std::string_view secret = "secret";
  EXPECT_TRUE(client_->Walk(root_, {&secret, 1}).is(abi::Errno::kENOTDIR));
  EXPECT_TRUE(client_->Open({root_, "secret"}, wire::kOpenRead).is(abi::Errno::kENOTDIR));
  EXPECT_TRUE(client_->Readdir(root_, 0, 0).is(abi::Errno::kENOTDIR));
}

TEST_F(ClientTest, DirectoryThatOthersReplaced) {
  mkdir((dir_ / "a").c_str(), 0755);
  Start(false, 4);
  wire::NodeId a = Walk({"a"}).entries[0].node;
  for (int i = 0; i < 10; i++) {
    EXPECT_TRUE(client_->Mkdir(root_, "n" + std::to_string(i), Mine(0755)).ok());
  }
  EXPECT_EQ(rename((dir_ / "a").c_str(), (dir_ / "b").c_str()), 0);
  EXPECT_EQ(symlink("/", (dir_ / "a").c_str()), 0);
  EXPECT_TRUE(client_->Getattr({a, "etc"}).is(abi::Errno::kESTALE));
}

TEST_F(ClientTest, EvilNamesEndTheConnection) {
  Start();
  for (std::string_view name : {"..", ".", "a/b"}) {
    testing::ServerThread server([&] {
      ServerOptions o;
      ServedMount m;
      m.root = dir_.OpenRoot();
      o.mounts.push_back(std::move(m));
      return o;
    }());
    Client client(server.TakeClientSocket());
    auto attached = client.Attach(0);
    ASSERT_TRUE(attached.ok());
    EXPECT_TRUE(client.Walk(attached->node, {&name, 1}).is(abi::Errno::kEIO));
    EXPECT_TRUE(client.dead());
    EXPECT_TRUE(client.Flush().is(abi::Errno::kEIO));
    EXPECT_EQ(server.Join(), 1);
  }
}

TEST_F(ClientTest, UnknownNodeEndsTheConnection) {
  testing::ServerThread server(ServerOptions{});
  Client client(server.TakeClientSocket());
  EXPECT_TRUE(client.Attach(0).is(abi::Errno::kENODEV));
  EXPECT_TRUE(client.Getattr({.node = 99}).is(abi::Errno::kEIO));
  EXPECT_EQ(server.Join(), 1);
}

TEST_F(ClientTest, ThreadsShareAClient) {
  for (int i = 0; i < 8; i++) mkdir((dir_ / std::to_string(i)).c_str(), 0755);
  Start();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) {
    threads.emplace_back([&, i] {
      std::string name = std::to_string(i);
      std::string_view view = name;
      for (int k = 0; k < 200; k++) {
        auto r = client_->Walk(root_, {&view, 1});
        ASSERT_TRUE(r.ok());
        ASSERT_EQ(r->entries.size(), 1u);
        client_->Forget(r->entries[0].node);
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_TRUE(client_->Flush().ok());
}

}  // namespace
}  // namespace gofer
