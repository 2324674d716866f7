// The gofer's round trip: client and server over a real socket, on two threads.
#include <benchmark/benchmark.h>
#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "gofer/client/client.h"
#include "gofer/server/testing.h"
#include "platform/base/log.h"

namespace bench {
namespace {

class Served {
 public:
  Served() : server_(Options(dir_)), client_(server_.TakeClientSocket()) {
    gofer::testing::WriteFile(dir_ / "file", "hello");
    auto attached = client_.Attach(0);
    CHECK(attached.ok());
    root_ = attached->node;
  }
  void Tree() {
    mkdir((dir_ / "tree").c_str(), 0755);
    gofer::testing::WriteFile(dir_ / "tree/file", "hello");
    for (int d = 0; d < 30; d++) {
      const std::string dir = "tree/" + std::to_string(d);
      mkdir((dir_ / dir).c_str(), 0755);
      for (int i = 0; i < 8; i++) {
        gofer::testing::WriteFile(dir_ / (dir + "/" + std::to_string(i)), "hello");
      }
    }
  }
  gofer::Client& client() { return client_; }
  gofer::wire::NodeId root() const { return root_; }

 private:
  static gofer::ServerOptions Options(const gofer::testing::TempDir& dir) {
    gofer::ServerOptions o;
    gofer::ServedMount m;
    m.root = dir.OpenRoot();
    o.mounts.push_back(std::move(m));
    return o;
  }
  gofer::testing::TempDir dir_;
  // The client goes first: the server ends when its socket closes.
  gofer::testing::ServerThread server_;
  gofer::Client client_;
  gofer::wire::NodeId root_;
};

void Getattr(benchmark::State& state) {
  Served s;
  for (auto _ : state) CHECK(s.client().Getattr({s.root(), ""}).ok());
}
BENCHMARK(Getattr)->UseRealTime();

void WalkFile(benchmark::State& state) {
  Served s;
  const std::string_view names[] = {"file"};
  for (auto _ : state) CHECK(s.client().Walk(s.root(), names).ok());
}
BENCHMARK(WalkFile)->UseRealTime();

void OpenDonated(benchmark::State& state) {
  Served s;
  for (auto _ : state) CHECK(s.client().Open({s.root(), "file"}, gofer::wire::kOpenRead).ok());
}
BENCHMARK(OpenDonated)->UseRealTime();

// Per directory of eight files; with their attributes or without.
void ListTree(benchmark::State& state) {
  Served s;
  s.Tree();
  const std::string_view names[] = {"tree"};
  const auto flags = static_cast<uint32_t>(state.range(0));
  int64_t directories = 0;
  for (auto _ : state) {
    auto r = s.client().List({s.root()}, names, gofer::wire::kMaxListed, flags);
    CHECK(r.ok());
    directories += static_cast<int64_t>(r->size());
  }
  state.SetItemsProcessed(directories);
}
BENCHMARK(ListTree)->Arg(0)->Arg(gofer::wire::kListAttributes)->UseRealTime();

// Per file.
void OpenMany(benchmark::State& state) {
  Served s;
  s.Tree();
  const std::vector<gofer::OpenGroup> groups = {
      {{"tree"}, std::vector<std::string_view>(gofer::wire::kMaxDescriptors, "file")}};
  for (auto _ : state) CHECK(s.client().OpenMany(s.root(), groups).ok());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(gofer::wire::kMaxDescriptors));
}
BENCHMARK(OpenMany)->UseRealTime();

}  // namespace
}  // namespace bench
