// The gofer's round trip: client and server over a real socket, on two threads.
#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

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

}  // namespace
}  // namespace bench
