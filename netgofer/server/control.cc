// Connections of the command: a new policy for a running sandbox.
#include <cerrno>
#include <utility>

#include "netgofer/server/server.h"
#include "netgofer/server/sockets.h"
#include "platform/host/net_calls.h"

namespace netgofer {

void Control::OnReady(int fd, uint32_t) {
  std::vector<uint8_t> in(kMaxEncoded + 64);
  const long n = host::RecvWithFds(fd, in.data(), in.size(), {}, nullptr, MSG_DONTWAIT);
  if (n == -EAGAIN || n == -EINTR) return;
  if (n > 0) {
    const std::vector<uint8_t> reply = server_.HandleControl({in.data(), static_cast<size_t>(n)});
    host::SendWithFds(fd, reply.data(), reply.size(), {}, MSG_DONTWAIT);
  }
  watch_.Stop();
  server_.EndControl(fd);
}

void Server::AcceptControl() {
  const auto fd = static_cast<int>(
      host::Call<SYS_accept4>(options_.control.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (fd < 0) return;
  auto control = std::make_unique<Control>(*this, base::UniqueFd(fd));
  if (control->Start(loop_) == 0) controls_[fd] = std::move(control);
}

void Server::EndControl(int fd) {
  auto it = controls_.find(fd);
  dead_controls_.push_back(std::move(it->second));
  controls_.erase(it);
}

std::vector<uint8_t> Server::HandleControl(std::span<const uint8_t> message) {
  wire::Reader in(message);
  const auto op = in.Get<uint32_t>();
  const auto cut = in.Get<uint32_t>();
  wire::ControlReply reply{.error = EINVAL, .cut = 0};
  Policy policy;
  if (in.ok() && op == static_cast<uint32_t>(wire::ControlOp::kSetPolicy) && cut <= 1 &&
      Decode(in.Bytes(in.left()), &policy)) {
    reply = {.error = 0, .cut = SetPolicy(std::move(policy), cut != 0)};
  }
  std::vector<uint8_t> out(sizeof reply);
  wire::Writer(out).Put(reply);
  return out;
}

uint32_t Server::SetPolicy(Policy policy, bool cut) {
  if (options_.keep_policy) options_.keep_policy(policy);
  const bool first = !guard_.enforced();
  guard_.SetPolicy(std::move(policy));
  // First all of them: one that is cut while it connects leaves the table.
  std::vector<Flow*> forbidden;
  for (auto& [id, flow] : flows_) {
    const Flow::Target& t = flow->target();
    // Datagram sockets from before the first policy could send anywhere.
    const bool unbound = first && flow->sends_freely();
    const bool judged = cut && t.protocol != 0 && !guard_.Resolves(t.protocol, t.remote) &&
                        !guard_.StillMay(t.protocol, t.remote, t.names);
    if (unbound || judged) forbidden.push_back(flow.get());
  }
  for (Flow* flow : forbidden) flow->Cut();
  return static_cast<uint32_t>(forbidden.size());
}

}  // namespace netgofer
