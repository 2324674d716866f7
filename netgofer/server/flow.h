// One socket of the sandbox's, as the net gofer keeps it until the sentry closes its side.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "netgofer/server/guard.h"
#include "netgofer/server/loop.h"
#include "netgofer/wire/endpoint.h"
#include "platform/base/fd.h"

namespace netgofer {

class Flow : public Loop::Source {
 public:
  // Where it leads, for a policy to judge again; protocol 0: nowhere (a listener).
  struct Target {
    uint8_t protocol = 0;
    Endpoint remote;
    std::vector<std::string> names;
  };
  // The socket, or why there is none (-errno); called once, before or after Start() returns.
  struct Made {
    int error = 0;
    int fd = -1;  // to be donated: the receiver gets a duplicate
    Endpoint local, remote;
    uint32_t flags = 0;  // wire::SocketFlags
  };
  using Done = std::function<void(const Made&)>;

  explicit Flow(Target target) : target_(std::move(target)) {}
  virtual ~Flow() = default;
  const Target& target() const { return target_; }
  // Where the guest's options go; -1: nowhere.
  virtual int option_fd() const { return -1; }
  // The sentry could send to any address through it.
  virtual bool sends_freely() const { return false; }
  // Ends it for the sentry too.
  virtual void Cut() = 0;
  // The sentry is done with it: nothing of it is called any more.
  virtual void Stop() = 0;
  void OnReady(int, uint32_t) override {}

 private:
  const Target target_;
};

// A socket that the sentry uses directly.
class SocketFlow : public Flow {
 public:
  SocketFlow(Target target, base::UniqueFd fd, bool datagrams)
      : Flow(std::move(target)), fd_(std::move(fd)), datagrams_(datagrams) {}
  // TCP, not yet connected: answers when it is decided.
  void StartConnect(Loop& loop, int family, Done done);
  int option_fd() const override { return fd_.get(); }
  void Cut() override;
  void Stop() override;
  void OnReady(int fd, uint32_t events) override;
  bool sends_freely() const override { return datagrams_; }

 private:
  void Finish(int error);
  const base::UniqueFd fd_;
  const bool datagrams_;
  Watch watch_;
  Done done_;
};

}  // namespace netgofer
