#include "sentry/socket/socket.h"

#include <algorithm>

#include "sentry/socket/option_value.h"
#include "sentry/time/clock.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/seccomp.h"
#include "syscalls/abi/time.h"

namespace sentry {

namespace {

std::span<const SocketFamily> families;

constexpr uint32_t kMaxBuffer = 212992;  // net.core.wmem_max
constexpr uint32_t kMinSend = 4608, kMinReceive = 2304;

constexpr uint64_t kStampBit = uint64_t{1} << abi::kSO_TIMESTAMP;
constexpr uint64_t kStampNsBit = uint64_t{1} << abi::kSO_TIMESTAMPNS;

// The bit of an option that is on or off and means nothing else here; 0: not one of those.
uint64_t FlagBit(int32_t name) {
  switch (name) {
    case abi::kSO_REUSEADDR:
    case abi::kSO_REUSEPORT:
    case abi::kSO_KEEPALIVE:
    case abi::kSO_BROADCAST:
    case abi::kSO_OOBINLINE:
    case abi::kSO_DONTROUTE:
    case abi::kSO_RXQ_OVFL:
    case abi::kSO_NO_CHECK:
      return uint64_t{1} << name;
    case abi::kSO_TIMESTAMP:
    case abi::kSO_TIMESTAMP_NEW:
      return kStampBit;
    case abi::kSO_TIMESTAMPNS:
    case abi::kSO_TIMESTAMPNS_NEW:
      return kStampNsBit;
    default:
      return 0;
  }
}

}  // namespace

void SetSocketFamilies(std::span<const SocketFamily> f) { families = f; }

const SocketFamily* FindSocketFamily(int32_t family) {
  for (const SocketFamily& f : families) {
    if (f.family == family) return &f;
  }
  return nullptr;
}

Socket::Socket(int32_t family, int32_t type, int32_t protocol, uint32_t flags)
    : File(Path{}, Vfs::NewAnonInode(abi::kS_IFSOCK | 0777),
           abi::kO_RDWR | (flags & abi::kO_NONBLOCK)),
      family_(family),
      type_(type),
      protocol_(protocol) {}

int64_t Socket::WaitDeadline(bool write) {
  int64_t ns = (write ? send_timeout_ : receive_timeout_).load(std::memory_order_relaxed);
  if (ns == 0) return kNoDeadline;
  int64_t now = HostClock().Monotonic();
  return ns >= kNoDeadline - now ? kNoDeadline : now + ns;
}

base::Result<uint64_t> Socket::Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) {
  RecvArgs args;
  if (nonblocking()) args.flags = abi::kMSG_DONTWAIT;
  return Receive(Task::Current(), dst, args);
}

base::Result<uint64_t> Socket::Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) {
  SendArgs args;
  return Send(Task::Current(), src, args);
}

bool Socket::flag(int32_t name) const {
  return (flags_on_.load(std::memory_order_relaxed) & FlagBit(name)) != 0;
}

void Socket::InheritOptions(const Socket& from) {
  flags_on_.store(from.flags_on_.load());
  send_buffer_.store(from.send_buffer_.load());
  receive_buffer_.store(from.receive_buffer_.load());
  linger_on_.store(from.linger_on_.load());
  linger_.store(from.linger_.load());
  mark_.store(from.mark_.load());
  receive_low_.store(from.receive_low_.load());
  priority_.store(from.priority_.load());
  receive_timeout_.store(from.receive_timeout_.load());
  send_timeout_.store(from.send_timeout_.load());
}

base::Result<uint64_t> Socket::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  return interface_ioctl != nullptr ? interface_ioctl(task, cmd, arg)
                                    : base::Result<uint64_t>(abi::Errno::kENOTTY);
}

std::string Socket::description() { return "socket:[" + std::to_string(inode()->ino()) + "]"; }

base::Result<void> Socket::SetFilter(base::Ref<SocketFilter> filter) {
  if (filter_locked_.load()) return abi::Errno::kEPERM;
  {
    base::MutexLock lock(filter_mu_);
    if (!filter && !filter_) return abi::Errno::kENOENT;
    std::swap(filter_, filter);
    has_filter_.store(static_cast<bool>(filter_));
  }
  OnFilter(this->filter());
  return {};
}

base::Result<base::Ref<SocketFilter>> Socket::ReadFilter(Task& task,
                                                         std::span<const uint8_t> value) const {
  abi::SockFprog program;
  if (value.size() != sizeof program) return abi::Errno::kEINVAL;
  memcpy(&program, value.data(), sizeof program);
  if (filter_locked_.load()) return abi::Errno::kEPERM;
  if (program.filter == 0 || program.len == 0 || program.len > abi::kBPF_MAXINSNS) {
    return abi::Errno::kEINVAL;
  }
  std::vector<abi::SockFilter> code(program.len);
  TRY(task.mm().CopyIn(code.data(), UserAddr{program.filter}, code.size() * sizeof code[0]));
  return SocketFilter::Create(std::move(code));
}

base::Result<void> Socket::StoreOption(Task& task, int32_t level, int32_t name,
                                       std::span<const uint8_t> value) {
  if (level != abi::kSOL_SOCKET) return SetFamilyOption(task, level, name, value);
  // A name of any length.
  if (name == abi::kSO_BINDTODEVICE) return SetFamilyOption(task, level, name, value);
  const int32_t v = TRY(ReadOption<int32_t>(value));
  const bool admin = task.creds().Has(abi::kCAP_NET_ADMIN);
  if (uint64_t bit = FlagBit(name); bit != 0) {
    // sock_set_timestamp(): one form at a time.
    const uint64_t off = bit == kStampBit || bit == kStampNsBit ? kStampBit | kStampNsBit : bit;
    flags_on_.fetch_and(~off);
    if (v != 0) flags_on_.fetch_or(bit);
    OnFlag(name);
    return {};
  }
  switch (name) {
    case abi::kSO_ATTACH_FILTER:
      if (!filterable()) return abi::Errno::kEOPNOTSUPP;
      return SetFilter(TRY(ReadFilter(task, value)));
    case abi::kSO_DETACH_FILTER:
      return SetFilter(nullptr);
    case abi::kSO_ATTACH_REUSEPORT_CBPF:
    case abi::kSO_DETACH_REUSEPORT_BPF:
      if (family_ != abi::kAF_INET && family_ != abi::kAF_INET6) return abi::Errno::kEINVAL;
      return SetFamilyOption(task, level, name, value);
    case abi::kSO_ATTACH_BPF:
    case abi::kSO_ATTACH_REUSEPORT_EBPF:
      // sk_attach_bpf(). No descriptor is a program's: bpf(2) isn't there.
      if (value.size() != sizeof v) return abi::Errno::kEINVAL;
      if (filter_locked_.load()) return abi::Errno::kEPERM;
      TRY(task.fds().Get(v));
      return abi::Errno::kEINVAL;
    case abi::kSO_LOCK_FILTER:
      if (filter_locked_.load() && v == 0) return abi::Errno::kEPERM;
      filter_locked_.store(v != 0);
      return {};
    case abi::kSO_DEBUG:
      if (v != 0 && !admin) return abi::Errno::kEACCES;
      return {};
    case abi::kSO_PASSCRED:
      pass_creds_.store(v != 0);
      OnPassCreds(v != 0);
      return {};
    case abi::kSO_SNDBUFFORCE:
    case abi::kSO_RCVBUFFORCE:
      if (!admin) return abi::Errno::kEPERM;
      [[fallthrough]];
    case abi::kSO_SNDBUF:
    case abi::kSO_RCVBUF: {
      // __sock_set_rcvbuf(): doubled for bookkeeping; a negative or huge value is cut.
      bool send = name == abi::kSO_SNDBUF || name == abi::kSO_SNDBUFFORCE;
      bool force = name == abi::kSO_SNDBUFFORCE || name == abi::kSO_RCVBUFFORCE;
      constexpr uint32_t kForceMax = 16 * kMaxBuffer;
      uint32_t n = force && v < 0 ? 0 : static_cast<uint32_t>(v);
      n = std::min(n, force ? kForceMax : kMaxBuffer) * 2;
      n = std::max(n, send ? kMinSend : kMinReceive);
      (send ? send_buffer_ : receive_buffer_).store(n);
      OnBufferSize(send, n);
      return {};
    }
    case abi::kSO_PRIORITY:
      if ((v < 0 || v > 6) && !admin) return abi::Errno::kEPERM;
      priority_.store(v);
      return {};
    case abi::kSO_MARK:
      if (!admin) return abi::Errno::kEPERM;
      mark_.store(v);
      return {};
    case abi::kSO_RCVLOWAT:
      receive_low_.store(v < 0 ? INT32_MAX : std::max(v, 1));
      OnFlag(name);
      return {};
    case abi::kSO_LINGER: {
      const auto l = TRY(ReadOption<abi::Linger>(value));
      linger_on_.store(l.onoff != 0);
      if (l.onoff != 0) linger_.store(l.linger);
      return {};
    }
    case abi::kSO_RCVTIMEO:
    case abi::kSO_SNDTIMEO:
    case abi::kSO_RCVTIMEO_NEW:
    case abi::kSO_SNDTIMEO_NEW: {
      const auto tv = TRY(ReadOption<abi::Timeval>(value));
      if (tv.usec < 0 || tv.usec >= 1000000) return abi::Errno::kEDOM;
      int64_t ns = 0;
      if (tv.sec >= INT64_MAX / abi::kNsPerSec - 1) {
        ns = INT64_MAX;
      } else if (tv.sec >= 0) {
        ns = tv.sec * abi::kNsPerSec + tv.usec * 1000;
      } else {
        ns = 1;  // a negative time is no wait at all
      }
      bool receive = name == abi::kSO_RCVTIMEO || name == abi::kSO_RCVTIMEO_NEW;
      (receive ? receive_timeout_ : send_timeout_).store(ns);
      return {};
    }
    default:
      return SetFamilyOption(task, level, name, value);
  }
}

base::Result<uint32_t> Socket::GetOption(Task& task, int32_t level, int32_t name,
                                         std::span<uint8_t> out) {
  if (level != abi::kSOL_SOCKET) return GetFamilyOption(task, level, name, out);
  if (uint64_t bit = FlagBit(name); bit != 0) {
    return GiveOption(out, int32_t{(flags_on_.load() & bit) != 0});
  }
  switch (name) {
    case abi::kSO_LOCK_FILTER:
      return GiveOption(out, int32_t{filter_locked_.load()});
    case abi::kSO_DEBUG:
      return GiveOption(out, int32_t{0});
    case abi::kSO_PASSCRED:
      return GiveOption(out, static_cast<int32_t>(pass_creds()));
    case abi::kSO_SNDBUF:
      return GiveOption(out, static_cast<int32_t>(send_buffer_.load()));
    case abi::kSO_RCVBUF:
      return GiveOption(out, static_cast<int32_t>(receive_buffer_.load()));
    case abi::kSO_TYPE:
      return GiveOption(out, type_);
    case abi::kSO_DOMAIN:
      return GiveOption(out, family_);
    case abi::kSO_PROTOCOL:
      return GiveOption(out, protocol_);
    case abi::kSO_ERROR:
      return GiveOption(out, TakeError());
    case abi::kSO_COOKIE:
      if (out.size() < sizeof(uint64_t)) return abi::Errno::kEINVAL;
      return GiveOption(out, uint64_t{inode()->ino()});
    case abi::kSO_ACCEPTCONN:
      return GiveOption(out, static_cast<int32_t>(listening()));
    case abi::kSO_PRIORITY:
      return GiveOption(out, priority_.load());
    case abi::kSO_MARK:
      return GiveOption(out, mark_.load());
    case abi::kSO_RCVLOWAT:
      return GiveOption(out, receive_low_.load());
    case abi::kSO_SNDLOWAT:
      return GiveOption(out, int32_t{1});
    case abi::kSO_LINGER:
      return GiveOption(out, abi::Linger{linger_on_.load(), linger_.load()});
    case abi::kSO_RCVTIMEO:
    case abi::kSO_SNDTIMEO:
    case abi::kSO_RCVTIMEO_NEW:
    case abi::kSO_SNDTIMEO_NEW: {
      bool receive = name == abi::kSO_RCVTIMEO || name == abi::kSO_RCVTIMEO_NEW;
      int64_t ns = (receive ? receive_timeout_ : send_timeout_).load();
      return GiveOption(out, abi::Timeval{ns / abi::kNsPerSec, ns % abi::kNsPerSec / 1000});
    }
    case abi::kSO_PEERNAME: {
      SockAddr a = TRY(PeerName());
      if (a.len < out.size()) return abi::Errno::kEINVAL;
      memcpy(out.data(), a.bytes.data(), out.size());
      return static_cast<uint32_t>(out.size());
    }
    default:
      return GetFamilyOption(task, level, name, out);
  }
}

}  // namespace sentry
