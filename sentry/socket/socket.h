// Sockets: the file that every family's sockets are, and the table of families.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/filter.h"
#include "sentry/vfs/file.h"
#include "syscalls/abi/socket.h"

namespace sentry {

// A socket address as it came from or goes to a guest.
struct SockAddr {
  std::array<uint8_t, sizeof(abi::SockaddrStorage)> bytes{};
  uint32_t len = 0;
  uint16_t family() const {
    uint16_t f;
    memcpy(&f, bytes.data(), sizeof f);
    return len >= sizeof f ? f : 0;
  }
};

// A control message of a level of its own (IP_PKTINFO and the like).
struct ControlMessage {
  int32_t level = 0, type = 0;
  absl::InlinedVector<uint8_t, 32> data;
  // A message with the bytes of v.
  template <typename T>
  static ControlMessage Of(int32_t level, int32_t type, const T& v) {
    ControlMessage m{level, type, {}};
    m.data.resize(sizeof v);
    memcpy(m.data.data(), &v, sizeof v);
    return m;
  }
};

// What travels beside a message (struct scm_cookie).
struct Ancillary {
  std::vector<base::Ref<File>> files;
  std::vector<ControlMessage> controls;
  int64_t stamp = 0;  // when a message came, CLOCK_REALTIME in ns; 0: not known
  bool has_creds = false;
  abi::Ucred creds{};  // ids are sandbox-global, pid as the sender's namespace has it
};

class Socket : public File {
 public:
  static constexpr char kKind = 0;
  Socket(int32_t family, int32_t type, int32_t protocol, uint32_t flags);

  int32_t family() const { return family_; }
  int32_t type() const { return type_; }
  int32_t protocol() const { return protocol_; }

  virtual base::Result<void> Bind(Task& task, const SockAddr& addr) = 0;
  virtual base::Result<void> Listen(Task& task, int32_t backlog) = 0;
  // EAGAIN: none waits.
  virtual base::Result<base::Ref<Socket>> Accept(uint32_t flags) = 0;
  // Waits by itself unless nonblocking().
  virtual base::Result<void> Connect(Task& task, const SockAddr& addr) = 0;
  virtual base::Result<void> Shutdown(int32_t how) = 0;
  virtual base::Result<SockAddr> LocalName() = 0;
  virtual base::Result<SockAddr> PeerName() = 0;

  struct SendArgs {
    const SockAddr* to = nullptr;
    Ancillary* ancillary = nullptr;  // moved from once it was sent
    uint32_t flags = 0;
  };
  // Never blocks: EAGAIN. May take less than all on streams. EPIPE: the caller raises SIGPIPE.
  virtual base::Result<uint64_t> Send(Task* task, IoBuffer& src, SendArgs& args) = 0;
  // A queue to wait on for a send that returned EAGAIN: the socket's own, or that of the
  // receiver args.to names.
  virtual base::Ref<base::RefCounted> SendQueue(Task& task, const SendArgs& args,
                                                WaitQueue** queue) {
    *queue = wait_queue();
    return nullptr;
  }

  struct RecvArgs {
    uint32_t flags = 0;
    // Results.
    uint32_t msg_flags = 0;  // MSG_TRUNC, MSG_EOR...
    SockAddr from;
    Ancillary ancillary;
    uint64_t full_length = 0;  // of a datagram
    bool boundary = false;     // MSG_WAITALL stops here
  };
  virtual base::Result<uint64_t> Receive(Task* task, IoBuffer& dst, RecvArgs& args) = 0;

  // Options above SOL_SOCKET's common ones; values were copied in. ENOPROTOOPT, EOPNOTSUPP.
  base::Result<void> SetOption(Task& task, int32_t level, int32_t name,
                               std::span<const uint8_t> value) {
    TRY(StoreOption(task, level, name, value));
    OnSet(level, name, value);
    return {};
  }
  // Writes at most out.size() bytes; the value's length.
  base::Result<uint32_t> GetOption(Task& task, int32_t level, int32_t name, std::span<uint8_t> out);

  // Deadlines of SO_RCVTIMEO and SO_SNDTIMEO for a wait that starts now.
  int64_t WaitDeadline(bool write) override;
  bool pass_creds() const { return pass_creds_.load(std::memory_order_relaxed); }
  // An option of SOL_SOCKET that is on or off (SO_REUSEADDR and its like).
  bool flag(int32_t name) const;
  // SO_ATTACH_FILTER. Null: everything is let through.
  base::Ref<SocketFilter> filter() const {
    if (!has_filter_.load(std::memory_order_relaxed)) return nullptr;
    base::MutexLock lock(filter_mu_);
    return filter_;
  }

  // ioctl requests about network interfaces, which all sockets answer (netdevice(7)); installed by
  // boot. ENOTTY: not one of them.
  static inline base::Result<uint64_t> (*interface_ioctl)(Task& task, uint32_t cmd,
                                                          UserAddr arg) = nullptr;
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;

  bool seekable() const override { return false; }
  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override;
  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override;
  std::string description() override;
  const void* kind() const override { return &kKind; }

 protected:
  virtual base::Result<void> SetFamilyOption(Task& task, int32_t level, int32_t name,
                                             std::span<const uint8_t> value) {
    return level == abi::kSOL_SOCKET ? abi::Errno::kENOPROTOOPT : abi::Errno::kEOPNOTSUPP;
  }
  virtual base::Result<uint32_t> GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                 std::span<uint8_t> out) {
    return level == abi::kSOL_SOCKET ? abi::Errno::kENOPROTOOPT : abi::Errno::kEOPNOTSUPP;
  }
  // The pending asynchronous error, cleared by the call.
  virtual int32_t TakeError() { return 0; }
  virtual bool listening() { return false; }
  virtual void OnBufferSize(bool send, uint32_t bytes) {}
  virtual void OnPassCreds(bool on) {}
  // False: there is nothing that a filter (SO_ATTACH_FILTER) could look at, message by message.
  virtual bool filterable() const { return true; }
  // The filter changed; null: there is none.
  virtual void OnFilter(base::Ref<SocketFilter> filter) {}
  // The program of a struct sock_fprog (__get_filter()).
  base::Result<base::Ref<SocketFilter>> ReadFilter(Task& task,
                                                   std::span<const uint8_t> value) const;
  // A flag or SO_RCVLOWAT changed.
  virtual void OnFlag(int32_t name) {}
  // An option was set, as value says.
  virtual void OnSet(int32_t level, int32_t name, std::span<const uint8_t> value) {}
  // accept(2): what a new socket has from the one that listened.
  void InheritOptions(const Socket& from);

  std::atomic<uint32_t> send_buffer_{212992}, receive_buffer_{212992};
  std::atomic<int32_t> linger_on_{0}, linger_{0}, mark_{0}, receive_low_{1};

 private:
  base::Result<void> StoreOption(Task& task, int32_t level, int32_t name,
                                 std::span<const uint8_t> value);
  // ENOENT: null, and there was none. EPERM: SO_LOCK_FILTER.
  base::Result<void> SetFilter(base::Ref<SocketFilter> filter);

  const int32_t family_, type_, protocol_;
  std::atomic<bool> pass_creds_{false};
  std::atomic<int64_t> receive_timeout_{0}, send_timeout_{0};  // ns; 0: none
  // SO_REUSEADDR and other flags that are only remembered, bit by option number.
  std::atomic<uint64_t> flags_on_{0};
  std::atomic<int32_t> priority_{0};
  std::atomic<bool> has_filter_{false}, filter_locked_{false};
  mutable base::Mutex<base::LockClass::kLeaf> filter_mu_;
  base::Ref<SocketFilter> filter_ GUARDED_BY(filter_mu_);
};

struct SocketFamily {
  int32_t family;
  // type without SOCK_* flags; flags: O_NONBLOCK. ESOCKTNOSUPPORT, EPROTONOSUPPORT.
  base::Result<base::Ref<Socket>> (*create)(Task& task, int32_t type, int32_t protocol,
                                            uint32_t flags);
  struct Pair {
    base::Ref<Socket> a, b;
  };
  // null: EOPNOTSUPP.
  base::Result<Pair> (*pair)(Task& task, int32_t type, int32_t protocol, uint32_t flags);
};
// Installed by boot: what is not in the table is EAFNOSUPPORT.
void SetSocketFamilies(std::span<const SocketFamily> families);
const SocketFamily* FindSocketFamily(int32_t family);

}  // namespace sentry
