// The path walk, over a file system in memory.
#include <benchmark/benchmark.h>

#include <string>

#include "platform/base/log.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "syscalls/abi/fcntl.h"

namespace bench {
namespace {

using namespace sentry;  // NOLINT

class Tree {
 public:
  Tree() {
    base::Ref<TmpfsDir> root = TmpfsSuperblock::NewRoot({.mode = 0755});
    ns_ = base::MakeRef<MountNamespace>(base::Ref<Superblock>(&root->sb()), root, 0,
                                        base::MakeRef<UserNamespace>());
    root_ = ns_->root();
    creds_ = base::MakeRef<Creds>();
    std::string dir;
    for (int i = 0; i < 16; i++) {
      dir.append("/directory").append(std::to_string(i));
      CHECK(Vfs::Mkdir(ctx(), nullptr, dir, 0755).ok());
    }
    deep_ = dir + "/file";
    for (const std::string& f : {std::string("/file"), deep_}) {
      CHECK(Vfs::Open(ctx(), nullptr, f, OpenFlags{uapi::kO_CREAT | uapi::kO_WRONLY, 0644}).ok());
    }
    CHECK(Vfs::Symlink(ctx(), "/directory0/directory1", nullptr, "/link").ok());
  }
  VfsContext ctx() { return VfsContext{*creds_, root_, root_, *ns_, 022, nullptr}; }
  const std::string& deep() const { return deep_; }
  void Walk(benchmark::State& state, const std::string& path, bool exists) {
    VfsContext c = ctx();
    for (auto _ : state) CHECK(Vfs::Resolve(c, nullptr, path, {}).ok() == exists);
  }

 private:
  base::Ref<MountNamespace> ns_;
  Path root_;
  base::Ref<Creds> creds_;
  std::string deep_;
};

void WalkOne(benchmark::State& state) { Tree().Walk(state, "/file", true); }
BENCHMARK(WalkOne);

void WalkDeep(benchmark::State& state) {
  Tree tree;
  tree.Walk(state, tree.deep(), true);
}
BENCHMARK(WalkDeep);

void WalkNegative(benchmark::State& state) { Tree().Walk(state, "/directory0/none", false); }
BENCHMARK(WalkNegative);

void WalkLink(benchmark::State& state) { Tree().Walk(state, "/link/directory2", true); }
BENCHMARK(WalkLink);

void OpenClose(benchmark::State& state) {
  Tree tree;
  VfsContext c = tree.ctx();
  for (auto _ : state) CHECK(Vfs::Open(c, nullptr, "/file", OpenFlags{uapi::kO_RDONLY, 0}).ok());
}
BENCHMARK(OpenClose);

}  // namespace
}  // namespace bench
