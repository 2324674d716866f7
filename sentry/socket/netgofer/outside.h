// The outside of a sandbox by way of the net gofer.
#pragma once

#include "netgofer/client/client.h"
#include "platform/base/mutex.h"
#include "sentry/kernel/kernel.h"
#include "sentry/socket/inet/net_stack.h"
#include "sentry/socket/inet/outside.h"

namespace sentry {

class NetGoferOutside : public NetOutside {
 public:
  // Gives a kernel's first network namespace an outside. socket: the connection to the net gofer,
  // which starts with the first request.
  static void Attach(Kernel& kernel, base::UniqueFd socket);

  void Connect(Request r, Done done) override;
  void Listen(Request r, Done done) override;
  void Bind(Request r, Done done) override;
  void Raw(Request r, Done done) override;
  void SetOption(uint64_t id, Option o) override;
  void Closed(uint64_t id) override;
  // As it was at most a second ago; the last known, once the net gofer is gone.
  base::Ref<NetConfig> Config() override;

 private:
  explicit NetGoferOutside(NetStack* stack) : stack_(stack) {}
  void Start(base::UniqueFd socket, uint64_t first_id);
  void Lost(base::UniqueFd successor);
  base::Ref<netgofer::Client> client();
  void Ask(netgofer::wire::Op op, const Request& r, Done done);

  NetStack* const stack_;  // has this
  base::Mutex<base::LockClass::kLeaf> mu_;
  base::Ref<netgofer::Client> client_ GUARDED_BY(mu_);
  base::Ref<NetConfig> config_ GUARDED_BY(mu_) = base::MakeRef<NetConfig>();
  int64_t config_time_ GUARDED_BY(mu_) = 0;  // monotonic; 0: never asked
};

}  // namespace sentry
