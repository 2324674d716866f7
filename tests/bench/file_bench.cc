// Whole trees through the overlay and the gofer, as find and grep walk them, and bytes of tmpfs.
#include <benchmark/benchmark.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "gofer/server/testing.h"
#include "platform/base/log.h"
#include "sentry/fs/gofer/gofer_fs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "syscalls/abi/dirent.h"

namespace bench {
namespace {

using namespace sentry;  // NOLINT

class Collect final : public DirSink {
 public:
  bool Add(const DirEntry& e) override {
    if (e.name != "." && e.name != "..") all.emplace_back(std::string(e.name), e.type);
    return true;
  }
  std::vector<std::pair<std::string, uint8_t>> all;
};

enum class Look { kNames, kStat, kRead };

// A file system nobody has looked at yet.
class FreshTree {
 public:
  explicit FreshTree(const gofer::testing::TempDir& dir) : server_(Options(dir)) {
    auto lower =
        MountGofer(base::MakeRef<gofer::Client>(server_.TakeClientSocket()), 0, "gofer", "none");
    CHECK(lower.ok());
    root_ = OverlaySuperblock::NewRoot(*lower);
  }
  void Walk(Look look) { Walk(root_, look); }

 private:
  static gofer::ServerOptions Options(const gofer::testing::TempDir& dir) {
    gofer::ServerOptions o;
    gofer::ServedMount m;
    m.root = dir.OpenRoot();
    m.read_only = true;
    o.mounts.push_back(std::move(m));
    return o;
  }
  void Walk(const base::Ref<Inode>& dir, Look look) {
    auto d = dir->Open(nullptr, {uapi::kO_RDONLY | uapi::kO_DIRECTORY, 0}, creds_);
    Collect entries;
    CHECK(d.ok() && (*d)->Iterate(entries).ok());
    for (const auto& [name, type] : entries.all) {
      if (type != uapi::kDT_DIR && look == Look::kNames) continue;
      auto i = dir->LookupAhead(creds_, name, {.rest = {}, .open_read = look == Look::kRead});
      CHECK(i.ok() && (*i)->Getattr().ok());
      if (type == uapi::kDT_DIR) {
        Walk(*i, look);
      } else if (look == Look::kRead) {
        char text[64];
        uint64_t at = 0;
        IoBuffer b = IoBuffer::Kernel(text, sizeof text);
        auto f = (*i)->Open(nullptr, {uapi::kO_RDONLY, 0}, creds_);
        CHECK(f.ok() && (*f)->Read(b, &at, 0).ok());
      }
    }
  }

  gofer::testing::ServerThread server_;
  base::Ref<Inode> root_;
  Creds creds_;
};

// Per entry of 900 files in 100 directories.
void WalkTree(benchmark::State& state) {
  gofer::testing::TempDir dir;
  for (int d = 0; d < 100; d++) {
    const std::string at = dir / std::to_string(d);
    mkdir(at.c_str(), 0755);
    for (int i = 0; i < 9; i++) gofer::testing::WriteFile(at + "/" + std::to_string(i), "hello");
  }
  for (auto _ : state) {
    state.PauseTiming();
    auto tree = std::make_unique<FreshTree>(dir);
    state.ResumeTiming();
    tree->Walk(static_cast<Look>(state.range(0)));
    state.PauseTiming();
    tree.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(WalkTree)
    ->Arg(static_cast<int64_t>(Look::kNames))
    ->Arg(static_cast<int64_t>(Look::kStat))
    ->Arg(static_cast<int64_t>(Look::kRead))
    ->UseRealTime();

// A new file of four megabytes, in pieces.
void TmpfsAppend(benchmark::State& state) {
  base::Ref<TmpfsDir> root = TmpfsSuperblock::NewRoot({.mode = 0755});
  const Creds creds;
  const std::string piece(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    auto i = root->Tmpfile({creds, uapi::kS_IFREG | 0600u, 0, 0, 0});
    auto f = (*i)->Open(nullptr, {uapi::kO_RDWR, 0}, creds);
    for (uint64_t at = 0; at < 4 << 20;) {
      IoBuffer b = IoBuffer::Kernel(piece.data(), piece.size());
      CHECK((*f)->Write(b, &at, 0).ok());
    }
  }
  state.SetBytesProcessed(state.iterations() * (4 << 20));
}
BENCHMARK(TmpfsAppend)->Arg(4096)->Arg(65536);

}  // namespace
}  // namespace bench
