#include "netgofer/server/flow.h"

#include <utility>

#include "netgofer/server/sockets.h"
#include "platform/host/net_calls.h"

namespace netgofer {

void SocketFlow::StartConnect(Loop& loop, int family, Done done) {
  done_ = std::move(done);
  int r = ConnectTo(fd_.get(), target().remote, family);
  if (r == 0) r = watch_.Start(loop, fd_.get(), EPOLLOUT, this);
  if (r < 0) Finish(r);
}

void SocketFlow::OnReady(int, uint32_t) { Finish(host::SocketError(fd_.get())); }

void SocketFlow::Finish(int error) {
  watch_.Stop();
  const Done done = std::exchange(done_, nullptr);
  done({.error = error,
        .fd = error == 0 ? fd_.get() : -1,
        .local = error == 0 ? LocalOf(fd_.get()) : Endpoint{},
        .remote = target().remote});
}

void SocketFlow::Stop() {
  watch_.Stop();
  done_ = nullptr;
}

void SocketFlow::Cut() {
  if (done_) return Finish(-EPERM);
  Disconnect(fd_.get());
  // A datagram socket without a peer could go on sending.
  StopSending(fd_.get());
}

}  // namespace netgofer
