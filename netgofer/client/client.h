// The sentry's end of the net gofer's protocol: thread-safe, asynchronous. One thread, started with
// the first request, takes the answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "netgofer/wire/messages.h"
#include "platform/base/fd.h"
#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"

namespace netgofer {

struct Socket {
  base::UniqueFd fd;
  uint64_t id = 0;
  wire::SocketReply body{};
};

struct Interface {
  wire::InterfaceHead head{};
  std::string name;
  std::vector<wire::InterfaceAddress> addresses;
};

struct Description {
  bool loopback = false, loopback_dns = false;
  std::vector<Interface> interfaces;
  std::vector<wire::Route> routes;
};

struct SocketOption {
  int32_t level = 0, name = 0;
  std::span<const uint8_t> value;  // at most wire::kMaxOptionValue bytes
};

class Client : public base::RefCounted {
 public:
  using Done = std::function<void(base::Result<Socket>)>;
  // successor: the connection to the net gofer that takes the place of a dead one, or invalid.
  using OnLost = std::function<void(base::UniqueFd successor)>;
  // on_lost: called once, on the client's thread, when the net gofer is gone or sent nonsense, and
  // what waited for it has failed. From then on everything fails with ENETDOWN. first_id: of a
  // successor's client, its predecessor's next_id().
  explicit Client(base::UniqueFd socket, OnLost on_lost = {}, uint64_t first_id = 1);
  ~Client() override;

  // op: kConnect, kListen, kBind, kRaw. done is called once, on any thread, without locks.
  void Ask(wire::Op op, wire::SocketRequest body, std::span<const SocketOption> options, Done done);
  // Without an answer.
  void SetOption(uint64_t id, const SocketOption& option);
  void Close(uint64_t id);
  // What the network is now; waits for the answer.
  base::Result<Description> Describe();
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  // All ids that were ever used are below it, once the client is lost.
  uint64_t next_id() const { return next_id_.load(std::memory_order_relaxed); }

 private:
  struct Waiting {
    Done done;
    std::function<void(base::Result<Description>)> described;
  };
  static void ThreadMain(void* self);
  void Run();
  // Whose request it was, who waits for it no more. False: nobody's.
  bool Take(uint64_t id, Waiting* out);
  // A reply whose descriptor found no room in this process's table. False: it was something else.
  bool Refuse(std::span<const uint8_t> message);
  // False: the message can't be answered.
  bool Handle(std::span<const uint8_t> message, base::UniqueFd fd);
  bool Expect(uint64_t id, Waiting waiting);
  void Send(std::span<const uint8_t> message);
  void Lose(const char* what, long error, base::UniqueFd successor = {});

  const base::UniqueFd socket_;
  const OnLost on_lost_;
  std::atomic<uint64_t> next_id_;
  std::atomic<bool> lost_{false};
  base::Mutex<base::LockClass::kGofer> mu_;
  bool running_ GUARDED_BY(mu_) = false;
  absl::flat_hash_map<uint64_t, Waiting> waiting_ GUARDED_BY(mu_);
};

// False: not the body of a good reply.
bool DecodeDescription(wire::Reader& in, Description* out);

}  // namespace netgofer
