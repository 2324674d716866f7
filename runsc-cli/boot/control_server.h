// The sandbox's side of the conversation in control.h: starts the first process, and does for later
// commands what they ask. One thread.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "platform/base/mutex.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/guest_process.h"

namespace runsc {

class ControlServer {
 public:
  struct Options {
    GuestProcess::Container container;
    Streams streams;         // of the first process
    base::UniqueFd owner;    // the connection to the command that made the sandbox
    base::UniqueFd listen;   // invalid: no others will come
    base::UniqueFd resized;  // a signalfd of SIGWINCH for the first process's terminal, or invalid
  };
  explicit ControlServer(Options options);

  // Starts the first process. state: what startContainer hooks read, or invalid.
  StartFailure StartFirst(const base::UniqueFd& state = base::UniqueFd());
  // What StartFirst would say of the program.
  StartFailure Check() const { return GuestProcess::Check(container_, container_.spec->process); }
  // Announces that kStart may come.
  void Ready();
  // From here on requests are answered, by a thread of its own.
  base::Status Serve();
  // Blocks until the first process was started, and it and all others ended; returns its wait
  // status.
  int32_t Wait();
  // Tells the first process's end to those who wait for it.
  void Ended();
  void Report(const std::string& text);
  void Fail(const StartFailure& failure);

 private:
  struct Connection : public base::RefCounted {
    explicit Connection(base::UniqueFd f) : fd(std::move(f)) {}
    const base::UniqueFd fd;
    base::Ref<GuestProcess> process;  // an exec's
    bool owner = false, detached = false;
  };

  static void ThreadMain(void* self) { static_cast<ControlServer*>(self)->Loop(); }
  [[noreturn]] void Loop();
  void Accept();
  // False: the connection is over.
  bool Handle(const base::Ref<Connection>& c);
  void Closed(Connection& c);
  void Resized();
  void Exec(const base::Ref<Connection>& c, ControlMessage&& m);
  void Kill(Connection& c, int sig, bool all);
  std::string Processes();

  const GuestProcess::Container container_;
  Streams streams_;
  const base::Ref<Connection> owner_;
  const base::UniqueFd listen_, resized_;
  base::UniqueFd terminal_;  // whose size `resized` is about
  base::Ref<GuestProcess> first_;
  std::vector<base::Ref<Connection>> connections_;  // of the thread
  std::atomic<uint32_t> started_{0};                // a futex word
  std::atomic<int32_t> exit_status_{0};
  base::Mutex<base::LockClass::kControl> mu_;
  std::vector<base::Ref<Connection>> waiters_ GUARDED_BY(mu_);
};

}  // namespace runsc
