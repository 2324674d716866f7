// AF_NETLINK sockets (netlink(7); net/netlink/af_netlink.c): the kernel's side of the protocols
// that programs ask about the network. Nothing is sent unasked.
#pragma once

#include <deque>

#include "sentry/socket/inet/net_stack.h"
#include "sentry/socket/netlink/message.h"
#include "sentry/socket/socket.h"

namespace sentry {

// What a request is answered with.
class NetlinkReply {
 public:
  explicit NetlinkReply(const NetlinkRequest& r, uint32_t pid) : request_(r), pid_(pid) {}
  // A message of the answer; of a dump, NLM_F_MULTI is set.
  NetlinkMessage Start(uint16_t type) const {
    const auto flags = static_cast<uint16_t>(request_.dump() ? abi::kNLM_F_MULTI : 0);
    return NetlinkMessage(type, flags, request_.header.seq, pid_);
  }
  void Add(NetlinkMessage m) { messages_.push_back(m.Take()); }
  std::vector<std::vector<uint8_t>>& messages() { return messages_; }

 private:
  const NetlinkRequest& request_;
  const uint32_t pid_;
  std::vector<std::vector<uint8_t>> messages_;
};

// A protocol's answers. The error goes into the NLMSG_ERROR.
using NetlinkHandler = base::Result<void> (*)(Task& task, NetStack& stack,
                                              const NetlinkRequest& request, NetlinkReply* reply);
base::Result<void> AnswerRoute(Task& task, NetStack& stack, const NetlinkRequest& request,
                               NetlinkReply* reply);
// Of AnswerRoute: the requests that change something.
base::Result<void> ChangeRoute(NetStack& stack, const NetlinkRequest& request);
base::Result<void> AnswerSockDiag(Task& task, NetStack& stack, const NetlinkRequest& request,
                                  NetlinkReply* reply);

class NetlinkSocket : public Socket {
 public:
  static base::Result<base::Ref<Socket>> Create(Task& task, int32_t type, int32_t protocol,
                                                uint32_t flags);
  NetlinkSocket(base::Ref<NetStack> stack, int32_t type, int32_t protocol, uint32_t flags,
                NetlinkHandler handler);
  ~NetlinkSocket() override;

  base::Result<void> Bind(Task& task, const SockAddr& addr) override;
  base::Result<void> Listen(Task& task, int32_t backlog) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<base::Ref<Socket>> Accept(uint32_t flags) override {
    return abi::Errno::kEOPNOTSUPP;
  }
  base::Result<void> Connect(Task& task, const SockAddr& addr) override;
  base::Result<void> Shutdown(int32_t how) override { return abi::Errno::kEOPNOTSUPP; }
  base::Result<SockAddr> LocalName() override;
  base::Result<SockAddr> PeerName() override;
  base::Result<uint64_t> Send(Task* task, IoBuffer& src, SendArgs& args) override;
  base::Result<uint64_t> Receive(Task* task, IoBuffer& dst, RecvArgs& args) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  bool signals_io() const override { return true; }

 protected:
  base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                     std::span<const uint8_t> value) override;
  base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) override;

 private:
  base::Result<void> TakePort(Task& task, uint32_t wanted);
  void Process(Task& task, const NetlinkRequest& request, uint32_t pid);
  void PutLocked(std::vector<uint8_t> message) REQUIRES_LOCK(mu_);

  const base::Ref<NetStack> stack_;
  const NetlinkHandler handler_;
  WaitQueue queue_;
  base::Mutex<base::LockClass::kSocket> mu_;
  bool bound_ GUARDED_BY(mu_) = false;
  uint32_t pid_ GUARDED_BY(mu_) = 0, groups_ GUARDED_BY(mu_) = 0;
  uint32_t options_ GUARDED_BY(mu_) = 0;  // bit by NETLINK_* option
  abi::SockaddrNl peer_ GUARDED_BY(mu_){abi::kAF_NETLINK, 0, 0, 0};
  // Datagrams, each one or more messages.
  std::deque<std::vector<uint8_t>> packets_ GUARDED_BY(mu_);
};

extern const SocketFamily kNetlinkFamily;

}  // namespace sentry
