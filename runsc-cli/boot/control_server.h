// The sandbox's side of the conversation in control.h: starts the first process, does for later
// commands what they ask, and takes other containers in. One thread.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "gofer/client/client.h"
#include "runsc-cli/boot/control.h"
#include "runsc-cli/boot/guest_container.h"

namespace runsc {

class ControlServer {
 public:
  // first: the container that the sandbox was made for, whose end is the sandbox's. owner: the
  // connection to the command that made it.
  ControlServer(base::Ref<GuestContainer> first, base::Ref<gofer::Client> gofer,
                base::UniqueFd owner);

  // Starts the first container's first process.
  StartFailure StartFirst(const base::UniqueFd& state = base::UniqueFd());
  // What StartFirst would say of the program.
  StartFailure Check() const { return main_->Check(); }
  // Announces that kStart may come.
  void Ready();
  // From here on requests are answered, by a thread of its own.
  base::Status Serve();
  // Blocks until the first process was started, and it and all others ended; returns its wait
  // status.
  int32_t Wait();
  // Tells the first process's end to those who wait for it.
  void Ended() { main_->TellExit(exit_status_.load()); }
  void Report(const std::string& text);
  void Fail(const StartFailure& failure);

 private:
  struct Caller : public Connection {
    Caller(base::UniqueFd f, base::Ref<GuestContainer> c)
        : Connection(std::move(f)), container(std::move(c)) {}
    base::Ref<GuestContainer> container;  // whom its requests are about
    base::Ref<GuestProcess> process;      // an exec's
    // It stands for the container: its end is the container's, unless it said kDetach.
    bool owner = false, detached = false;
  };

  static void ThreadMain(void* self) { static_cast<ControlServer*>(self)->Loop(); }
  [[noreturn]] void Loop();
  // A second after a container's start, this process and the container's gofer forget the code that
  // only the start needed.
  void SettleLater(base::Ref<gofer::Client> gofer);
  void Settle();
  void Accept(const base::Ref<GuestContainer>& container);
  // False: the connection is over.
  bool Handle(const base::Ref<Caller>& c);
  void Closed(Caller& c);
  void Start(Caller& c, const base::UniqueFd& state);
  void Exec(const base::Ref<Caller>& c, ControlMessage&& m);
  void Join(const base::Ref<Caller>& c, ControlMessage&& m);
  // Makes the container of a request; warnings: lines for the caller.
  base::Status Take(JoinRequest&& request, base::Ref<GuestContainer>* out, std::string* warnings);
  const GuestContainer* Find(const std::string& id) const;
  bool Kill(Caller& c, int sig, bool all);
  void KillCreated(GuestContainer& container, int sig);
  // One whose first process never ran, or that nobody owns any more.
  void End(GuestContainer& container, int32_t wait_status);
  std::string Processes(const GuestContainer& container) const;

  const base::Ref<GuestContainer> main_;
  const base::Ref<Caller> owner_;
  // Of the thread. Those that have ended are dropped.
  std::vector<base::Ref<GuestContainer>> containers_;
  std::vector<base::Ref<Caller>> callers_;
  std::vector<base::Ref<gofer::Client>> unsettled_;
  int64_t settle_at_ = 0;             // by the monotonic clock
  std::atomic<uint32_t> started_{0};  // a futex word
  std::atomic<int32_t> exit_status_{0};
};

}  // namespace runsc
