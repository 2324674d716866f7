// Every message to a gofer behind its system call filter: a call without a row in host_calls.def
// would kill it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gofer/client/client.h"
#include "gofer/server/testing.h"
#include "platform/host/filter.h"

namespace gofer {
namespace {

TEST(Jailed, EveryMessagePassesTheFilter) {
  testing::TempDir dir;
  testing::WriteFile(dir / "f", "hello");
  mkdir((dir / "d").c_str(), 0755);
  for (int i = 0; i < 300; i++) mkdir((dir / ("d/" + std::to_string(i))).c_str(), 0755);
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  pid_t pid = fork();
  if (pid == 0) {
    close(fds[0]);
    ServerOptions options;
    options.socket.reset(fds[1]);
    ServedMount m;
    m.root = dir.OpenRoot();
    options.mounts.push_back(std::move(m));
    options.max_fds = 100;
    options.lock_down = [] {
      return host::InstallFilter(host::kGofer, host::Violation::kReport).ok();
    };
    _exit(ServerMain(std::move(options)));
  }
  close(fds[1]);
  {
    Client client{base::UniqueFd(fds[0])};
    auto attached = client.Attach(0);
    ASSERT_TRUE(attached.ok());
    wire::NodeId root = attached->node;
    wire::OwnerMode mine = {.mode = 0755, .uid = getuid(), .gid = getgid()};
    std::string_view names[] = {"d", "7"};
    EXPECT_TRUE(client.Walk(root, names).ok());
    EXPECT_TRUE(client.Getattr({root, "f"}).ok());
    EXPECT_TRUE(client
                    .Setattr({root, "f"}, {.valid = wire::kSetMode | wire::kSetUid |
                                                    wire::kSetSize | wire::kSetMtimeNow,
                                           .mode = 0600,
                                           .uid = getuid(),
                                           .size = 3})
                    .ok());
    EXPECT_TRUE(client.Open({root, "f"}, wire::kOpenRead).ok());
    EXPECT_TRUE(client
                    .Create(root, "c",
                            {.flags = wire::kOpenRead | wire::kOpenWrite,
                             .mode = 0644,
                             .uid = getuid(),
                             .gid = getgid()})
                    .ok());
    auto made = client.Mkdir(root, "m", mine);
    ASSERT_TRUE(made.ok());
    EXPECT_TRUE(client.Symlink(root, "s", mine, "f").ok());
    EXPECT_TRUE(client.Link({root, "f"}, root, "f2").ok());
    mine.mode = S_IFIFO | 0600;
    EXPECT_TRUE(client.Mknod(root, "p", mine).ok());
    EXPECT_TRUE(client.Setattr({root, "p"}, {.valid = wire::kSetMode, .mode = 0640}).ok());
    EXPECT_TRUE(client.Readlink({root, "s"}).ok());
    auto pinned = client.Unlink(root, "f2", wire::kUnlinkPin);
    ASSERT_TRUE(pinned.ok());
    EXPECT_TRUE(client.Getattr({.node = *pinned}).ok());
    EXPECT_TRUE(client.Rename(root, "c", made->node, "c2", 0, true).ok());
    EXPECT_TRUE(client.Statfs(root).ok());
    EXPECT_TRUE(client.Fsync({root, "f"}, false).ok());
    EXPECT_TRUE(client.Fsync({root, "f"}, true).ok());
    EXPECT_TRUE(client.SyncFs(root).ok());
    uint8_t value[] = {1};
    // What the file system says about them doesn't matter here.
    (void)client.SetXattr({root, "f"}, "user.a", value, 0);
    (void)client.GetXattr({root, "f"}, "user.a");
    (void)client.ListXattr({root, "f"});
    (void)client.RemoveXattr({root, "f"}, "user.a");
    // More directories than it may keep open.
    wire::NodeId d = client.Walk(root, {names, 1})->entries[0].node;
    auto list = client.Readdir(d, 0, wire::kListAttributes);
    ASSERT_TRUE(list.ok());
    for (size_t i = 0; i < list->entries.size(); i++) {
      std::string_view name = list->entries.name(i);
      auto w = client.Walk(d, {&name, 1});
      ASSERT_TRUE(w.ok());
      ASSERT_EQ(w->entries.size(), 1u);
      client.Forget(w->entries[0].node);
    }
    client.SendForgets();
    EXPECT_TRUE(client.Settle());
    EXPECT_TRUE(client.Readdir(root, 0, 0, 1000).ok());
    EXPECT_TRUE(client.Flush().ok());
    EXPECT_FALSE(client.dead());
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace gofer
