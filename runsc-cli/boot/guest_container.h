// A container of the sandbox: its place in the kernel, its first process, and who waits for its
// end. The control thread leads it; that its first process ends comes from a thread of the guest's.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "platform/base/mutex.h"
#include "runsc-cli/boot/guest_process.h"
#include "runsc-cli/boot/place.h"
#include "runsc-cli/boot/share.h"

namespace runsc {

// A command's connection to the sandbox. The descriptor stays open while somebody may send to it.
struct Connection : public base::RefCounted {
  explicit Connection(base::UniqueFd f) : fd(std::move(f)) {}
  const base::UniqueFd fd;
};

class GuestContainer : public base::RefCounted {
 public:
  struct Options {
    std::string id;
    Place place;
    std::unique_ptr<const Spec> spec;  // place.spec, if it isn't somebody else's
    Share machine;                     // what its limits are a part of
    Streams streams;                   // of the first process
    base::UniqueFd listen;             // where commands about it come in, or invalid
    base::UniqueFd resized;  // a signalfd of SIGWINCH for the first process's terminal, or invalid
  };
  // Called with the wait status of the first process, on a thread of the guest's.
  using OnExit = std::function<void(GuestContainer&, int32_t)>;

  const std::string& id() const { return id_; }
  const Place& place() const { return place_; }
  int listen() const { return listen_.get(); }
  int resized() const { return resized_.get(); }
  // Its first process, null before it was started.
  GuestProcess* first() const { return first_.get(); }
  bool running() const { return first_ && !first_->exited(); }

  // What Start would say of the program.
  StartFailure Check() const { return GuestProcess::Check(place_, place_.spec->process); }
  // Starts the first process. state: what startContainer hooks read, or invalid.
  StartFailure Start(OnExit on_exit, const base::UniqueFd& state = base::UniqueFd());

  // Who hears kExit, once.
  void AddWaiter(base::Ref<Connection> c);
  void RemoveWaiter(const Connection& c);
  // Who hears kOom too.
  void AddWatcher(base::Ref<Connection> c);
  bool watched() const;
  // Tells watchers what they haven't heard.
  void TellOoms();
  // Tells the end of the first process to all of them; only the first call counts.
  void TellExit(int32_t wait_status);
  bool told() const { return told_.load(std::memory_order_acquire); }

  void SignalAll(int sig);
  // Its programs see other limits from now on.
  void Update(const Resources& changed);
  // The terminal has a new size.
  void Resized();
  // A line for each process. host_pids: what stands on the host for those that exec made.
  std::string Processes(
      const std::vector<std::pair<const sentry::ThreadGroup*, int32_t>>& host_pids) const;

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  explicit GuestContainer(Options o);

  const std::string id_;
  const std::unique_ptr<const Spec> spec_;
  const Place place_;
  const Share machine_;
  Resources resources_;
  const base::UniqueFd listen_, resized_;
  base::UniqueFd terminal_;  // whose size `resized` is about
  Streams streams_;
  base::Ref<GuestProcess> first_;
  std::atomic<bool> told_{false};  // set under mu_
  mutable base::Mutex<base::LockClass::kControl> mu_;
  int32_t wait_status_ GUARDED_BY(mu_) = 0;  // once it was told
  std::vector<base::Ref<Connection>> waiters_ GUARDED_BY(mu_), watchers_ GUARDED_BY(mu_);
  uint32_t ooms_told_ GUARDED_BY(mu_) = 0;
};

}  // namespace runsc
