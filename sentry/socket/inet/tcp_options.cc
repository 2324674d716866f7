// setsockopt(2) and getsockopt(2) of TCP's own (do_tcp_setsockopt(), tcp_get_info()).
#include <algorithm>

#include "sentry/kernel/task.h"
#include "sentry/socket/inet/tcp_socket.h"
#include "sentry/socket/option_value.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {
constexpr int32_t kMinMss = 88, kMaxWindow = 32767;
constexpr int32_t kDefaultMss = 536, kLoopbackMss = 65483;
constexpr size_t kCaNameMax = 16;
constexpr uint32_t kMsPerSecond = 1000;

// secs_to_retrans() and back: TCP_DEFER_ACCEPT counts in retransmissions of 1, 2, 4... seconds.
int32_t RoundToRetransmissions(int32_t seconds) {
  constexpr int32_t kMaxTimeout = 120;
  int32_t total = 0;
  for (int32_t step = 1; total < seconds; step = std::min(step * 2, kMaxTimeout)) total += step;
  return total;
}
}  // namespace

base::Result<void> TcpSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                              std::span<const uint8_t> value) {
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEEK_OFF) {
    const int32_t v = TRY(ReadOption<int32_t>(value));
    base::MutexLock lock(end_->mu_);
    end_->peek_offset_ = v;
    return {};
  }
  if (level == abi::kSOL_SOCKET &&
      (name == abi::kSO_ATTACH_REUSEPORT_CBPF || name == abi::kSO_DETACH_REUSEPORT_BPF)) {
    return SetPortFilter(task, stack_->tcp, end_.get(), name, value);
  }
  return InetSocket::SetFamilyOption(task, level, name, value);
}

base::Result<uint32_t> TcpSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                  std::span<uint8_t> out) {
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEEK_OFF) {
    base::MutexLock lock(end_->mu_);
    return GiveOption(out, end_->peek_offset_);
  }
  return InetSocket::GetFamilyOption(task, level, name, out);
}

base::Result<void> TcpSocket::SetProtocolOption(Task& task, int32_t level, int32_t name,
                                                std::span<const uint8_t> value) {
  switch (name) {
    case abi::kTCP_CONGESTION: {
      if (value.empty()) return abi::Errno::kEINVAL;
      const std::string_view ca = NameIn(value.first(std::min(value.size(), kCaNameMax - 1)));
      if (ca != "cubic" && ca != "reno") return abi::Errno::kENOENT;
      reno_.store(ca == "reno");
      return {};
    }
    case abi::kTCP_ULP:
      // No upper layer (kernel TLS) is there.
      return value.empty() ? abi::Errno::kEINVAL : abi::Errno::kENOENT;
    case abi::kTCP_MAXSEG: {
      const int32_t v = TRY(ReadOption<int32_t>(value));
      if (v != 0 && (v < kMinMss || v > kMaxWindow)) return abi::Errno::kEINVAL;
      max_segment_.store(v);
      return {};
    }
    case abi::kTCP_LINGER2: {
      const int32_t v = TRY(ReadOption<int32_t>(value));
      linger2_.store(v < 0 ? -1 : std::min(v, 120));
      return {};
    }
    case abi::kTCP_DEFER_ACCEPT:
      defer_accept_.store(RoundToRetransmissions(TRY(ReadOption<int32_t>(value))));
      return {};
    case abi::kTCP_FASTOPEN_CONNECT:
      // net.ipv4.tcp_fastopen is off.
      return abi::Errno::kEOPNOTSUPP;
    case abi::kTCP_REPAIR:
      return task.creds().HasIn(*stack_->owner(), abi::kCAP_NET_ADMIN) ? abi::Errno::kENOPROTOOPT
                                                                       : abi::Errno::kEPERM;
    default:
      TRY(ReadOption<int32_t>(value));
      return abi::Errno::kENOPROTOOPT;
  }
}

base::Result<uint32_t> TcpSocket::GetProtocolOption(Task& task, int32_t level, int32_t name,
                                                    std::span<uint8_t> out) {
  int32_t v = 0;
  switch (name) {
    case abi::kTCP_CONGESTION: {
      char ca[kCaNameMax] = {};
      memcpy(ca, reno_.load() ? "reno" : "cubic", reno_.load() ? 4 : 5);
      return GiveOption(out, ca);
    }
    case abi::kTCP_ULP:
    case abi::kTCP_SAVED_SYN:
    case abi::kTCP_CC_INFO:
      return uint32_t{0};
    case abi::kTCP_INFO: {
      const abi::TcpInfo info = Info();
      return GiveOption(out, info);
    }
    case abi::kTCP_MAXSEG:
      v = connected() ? kLoopbackMss : max_segment_.load();
      if (v == 0) v = kDefaultMss;
      break;
    case abi::kTCP_LINGER2:
      v = linger2_.load();
      break;
    case abi::kTCP_DEFER_ACCEPT:
      v = defer_accept_.load();
      break;
    case abi::kTCP_FASTOPEN_CONNECT:
    case abi::kTCP_REPAIR:
      break;
    default:
      return abi::Errno::kENOPROTOOPT;
  }
  return GiveOption(out, v);
}

abi::TcpInfo TcpSocket::Info() {
  abi::TcpInfo i{};
  if (base::Ref<HostEnd> host = host_end()) {
    if (host->Info(&i)) return i;
  }
  base::MutexLock lock(end_->mu_);
  i.state = static_cast<uint8_t>(end_->ShownStateLocked());
  if (end_->state_ == State::kListening) {
    // What a listener's fields mean: connections that wait, and how many may.
    i.unacked = static_cast<uint32_t>(end_->pending_.size());
    i.sacked = end_->backlog_;
    return i;
  }
  i.rto = 200 * kMsPerSecond;
  i.ato = 40 * kMsPerSecond;
  i.snd_mss = i.rcv_mss = i.advmss = kLoopbackMss;
  i.pmtu = kLoopbackMtu;
  i.snd_cwnd = 10;
  i.snd_ssthresh = INT32_MAX;
  i.rtt = 20;
  i.rttvar = 10;
  i.min_rtt = 10;
  i.reordering = 3;
  i.options = 7;  // timestamps, selective acknowledgements, window scaling
  i.wscale = 7 << 4 | 7;
  i.rcv_space = i.rcv_ssthresh = receive_buffer_.load();
  i.max_pacing_rate = UINT64_MAX;
  i.pacing_rate = UINT64_MAX;
  i.bytes_received = end_->bytes_received_;
  if (end_->state_ == State::kConnected && end_->peer_) {
    i.snd_wnd = static_cast<uint32_t>(end_->RoomTowards(*end_->peer_));
  }
  return i;
}

void TcpSocket::OnBufferSize(bool send, uint32_t bytes) {
  // Half of what is shown is for bookkeeping.
  (send ? end_->send_room_ : end_->receive_room_).store(bytes / 2, std::memory_order_relaxed);
}

void TcpSocket::OnFlag(int32_t name) {
  if (name == abi::kSO_OOBINLINE) end_->oob_inline_.store(flag(abi::kSO_OOBINLINE));
}

}  // namespace sentry
