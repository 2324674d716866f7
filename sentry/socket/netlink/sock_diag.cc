// NETLINK_SOCK_DIAG (sock_diag(7); net/ipv4/inet_diag.c): what ss(8) asks.
#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet_socket.h"
#include "sentry/socket/netlink/netlink_socket.h"

namespace sentry {

namespace {

void PutId(const InetSocket& s, const InetSocket::Row& row, abi::InetDiagSockid* id) {
  auto put = [&](const IpAddress& a, uint32_t* out) {
    if (s.family() == abi::kAF_INET) {
      out[0] = htonl(a.v4());
    } else {
      memcpy(out, a.b.data(), a.b.size());
    }
  };
  id->sport = htons(row.local.port);
  id->dport = htons(row.remote.port);
  put(row.local.addr, id->src);
  put(row.remote.addr, id->dst);
  const uint64_t cookie = s.inode()->ino();
  id->cookie[0] = static_cast<uint32_t>(cookie);
  id->cookie[1] = static_cast<uint32_t>(cookie >> 32);
}

}  // namespace

base::Result<void> AnswerSockDiag(Task& task, NetStack& stack, const NetlinkRequest& r,
                                  NetlinkReply* reply) {
  if (r.header.type != abi::kSOCK_DIAG_BY_FAMILY) return abi::Errno::kEINVAL;
  const auto head = r.Head<abi::InetDiagReqV2>();
  if (head.family != abi::kAF_INET && head.family != abi::kAF_INET6) {
    // No module for other families.
    return head.family == abi::kAF_UNIX && r.dump() ? base::Result<void>() : abi::Errno::kENOENT;
  }
  for (const base::Ref<InetSocket>& s : stack.Sockets()) {
    if (s->family() != head.family || s->protocol() != head.protocol) continue;
    if (s->type() == abi::kSOCK_RAW) continue;  // CONFIG_INET_RAW_DIAG
    const InetSocket::Row row = s->Show();
    if ((head.states & uint32_t{1} << static_cast<int>(row.state)) == 0) continue;
    // A socket without a port is in no table.
    if (row.local.port == 0) continue;
    abi::InetDiagMsg m{};
    m.family = head.family;
    m.state = static_cast<uint8_t>(row.state);
    PutId(*s, row, &m.id);
    m.rqueue = row.receive_queue;
    m.wqueue = row.send_queue;
    m.uid = s->uid();
    m.inode = static_cast<uint32_t>(s->inode()->ino());
    NetlinkMessage out = reply->Start(abi::kSOCK_DIAG_BY_FAMILY);
    out.Append(m);
    reply->Add(std::move(out));
  }
  return {};
}

}  // namespace sentry
