#include "sentry/socket/unix/unix_socket.h"

#include <algorithm>
#include <cstdio>

#include "sentry/kernel/kernel.h"
#include "sentry/socket/option_value.h"
#include "sentry/socket/unix/unix_gc.h"
#include "sentry/socket/unix/unix_names.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/epoll.h"
#include "syscalls/abi/ioctl.h"

namespace sentry {

namespace {
constexpr uint32_t kReadable = abi::kEPOLLIN | abi::kEPOLLRDNORM;
constexpr uint32_t kWritable = abi::kEPOLLOUT | abi::kEPOLLWRNORM | abi::kEPOLLWRBAND;
constexpr size_t kPathOffset = 2;  // of sun_path

abi::Ucred CredsOf(Task& task) { return {task.tgid(), task.creds().euid, task.creds().egid}; }

bool IsAbstract(const SockAddr& a) { return a.len > kPathOffset && a.bytes[kPathOffset] == 0; }

// unix_validate_addr(); a path ends at its first NUL and is stored with one.
base::Result<SockAddr> Normalize(const SockAddr& in) {
  if (in.len <= kPathOffset || in.len > sizeof(abi::SockaddrUn) || in.family() != abi::kAF_UNIX) {
    return abi::Errno::kEINVAL;
  }
  SockAddr a = in;
  if (IsAbstract(a)) return a;
  const char* path = reinterpret_cast<const char*>(a.bytes.data()) + kPathOffset;
  size_t n = strnlen(path, a.len - kPathOffset);
  a.bytes[kPathOffset + n] = 0;
  a.len = static_cast<uint32_t>(kPathOffset + n + 1);
  return a;
}

std::string PathOf(const SockAddr& a) {
  return reinterpret_cast<const char*>(a.bytes.data()) + kPathOffset;
}

SockAddr Unnamed() {
  SockAddr a;
  uint16_t f = abi::kAF_UNIX;
  memcpy(a.bytes.data(), &f, sizeof f);
  a.len = sizeof f;
  return a;
}
}  // namespace

UnixEnd::~UnixEnd() = default;

void UnixEnd::Release(uint64_t n) {
  bool before = Writable();
  in_flight_.fetch_sub(n, std::memory_order_relaxed);
  if (!before && Writable()) queue_.Wake(kWritable);
}

// unix_release_sock().
void UnixEnd::Close() {
  base::Ref<UnixEnd> peer;
  base::Ref<Inode> inode;
  std::string key;
  std::deque<Packet> packets;
  std::deque<Mark> marks;
  std::deque<base::Ref<UnixEnd>> pending;
  bool unread;
  uint64_t stream_left;
  {
    base::MutexLock lock(mu_);
    dead_ = true;
    no_receive_ = no_send_ = true;
    state_ = State::kClosed;
    unread = HasDataLocked();
    peer = std::move(peer_);
    inode = std::move(inode_);
    key = std::move(abstract_key_);
    packets = std::move(packets_);
    marks = std::move(marks_);
    pending = std::move(pending_);
    packets_.clear();
    marks_.clear();
    pending_.clear();
    stream_left = stream_.size();
    stream_.clear();
    room_queue_.Wake(kWritable | abi::kEPOLLHUP);
  }
  if (!key.empty()) UnixNames::Get().Remove(key);
  if (inode) inode->UnbindObject();
  if (peer && connected_type()) {
    base::MutexLock lock(peer->mu_);
    peer->no_receive_ = peer->no_send_ = true;
    if (unread) peer->error_ = static_cast<int32_t>(abi::Errno::kECONNRESET);
    peer->queue_.Wake(kReadable | kWritable | abi::kEPOLLHUP | abi::kEPOLLERR | abi::kEPOLLRDHUP);
  }
  if (peer && stream_left > 0) peer->Release(stream_left);
  for (Mark& m : marks) UnixGc::Landed(m.ancillary);
  for (Packet& p : packets) {
    UnixGc::Landed(p.ancillary);
    if (p.sender) p.sender->Release(p.len);
  }
  // Connections that nobody accepted: their clients are reset.
  for (auto& e : pending) {
    base::Ref<UnixEnd> client;
    {
      base::MutexLock lock(e->mu_);
      client = e->peer_;
    }
    if (client) {
      base::MutexLock lock(client->mu_);
      client->error_ = static_cast<int32_t>(abi::Errno::kECONNRESET);
    }
    e->Close();
  }
}

void UnixEnd::TakeFiles(std::vector<Ancillary>* out) {
  std::deque<base::Ref<UnixEnd>> pending;
  auto take = [&](Ancillary& a) {
    if (a.files.empty()) return;
    UnixGc::Landed(a);
    out->emplace_back().files.swap(a.files);
  };
  {
    base::MutexLock lock(mu_);
    for (Mark& m : marks_) take(m.ancillary);
    for (Packet& p : packets_) take(p.ancillary);
    pending = pending_;
  }
  for (const base::Ref<UnixEnd>& e : pending) e->TakeFiles(out);
}

UnixSocket::UnixSocket(base::Ref<UnixEnd> end, uint32_t flags, const NetNamespace* net)
    : Socket(abi::kAF_UNIX, end->type(), 0, flags), end_(std::move(end)), net_(net) {
  if (net_ != nullptr) UnixNames::Get().AddSocket(this);
}

UnixSocket::~UnixSocket() {
  if (net_ != nullptr) UnixNames::Get().RemoveSocket(this);
  end_->Close();
  UnixGc::Collect();
}

// unix_create().
base::Result<base::Ref<Socket>> UnixSocket::Create(Task& task, int32_t type, int32_t protocol,
                                                   uint32_t flags) {
  if (protocol != 0 && protocol != abi::kAF_UNIX) return abi::Errno::kEPROTONOSUPPORT;
  if (type == abi::kSOCK_RAW) type = abi::kSOCK_DGRAM;
  if (type != abi::kSOCK_STREAM && type != abi::kSOCK_DGRAM && type != abi::kSOCK_SEQPACKET) {
    return abi::Errno::kESOCKTNOSUPPORT;
  }
  auto end = base::MakeRef<UnixEnd>(type);
  return base::Ref<Socket>(base::MakeRef<UnixSocket>(std::move(end), flags, task.net_ns().get()));
}

SocketFamily::Pair UnixSocket::Connected(int32_t type, uint32_t flags, const abi::Ucred& creds,
                                         const NetNamespace* net) {
  auto a = base::MakeRef<UnixEnd>(type), b = base::MakeRef<UnixEnd>(type);
  for (auto [self, peer] : {std::pair{a.get(), b.get()}, std::pair{b.get(), a.get()}}) {
    base::MutexLock lock(self->mu_);
    self->state_ = UnixEnd::State::kConnected;
    self->peer_ = base::Ref<UnixEnd>(peer);
    self->own_creds_ = self->peer_creds_ = creds;
  }
  return {base::MakeRef<UnixSocket>(std::move(a), flags, net),
          base::MakeRef<UnixSocket>(std::move(b), flags, net)};
}

base::Result<SocketFamily::Pair> UnixSocket::CreatePair(Task& task, int32_t type, int32_t protocol,
                                                        uint32_t flags) {
  if (protocol != 0 && protocol != abi::kAF_UNIX) return abi::Errno::kEPROTONOSUPPORT;
  if (type == abi::kSOCK_RAW) type = abi::kSOCK_DGRAM;
  if (type != abi::kSOCK_STREAM && type != abi::kSOCK_DGRAM && type != abi::kSOCK_SEQPACKET) {
    return abi::Errno::kESOCKTNOSUPPORT;
  }
  return Connected(type, flags, CredsOf(task), task.net_ns().get());
}

// unix_seq_show().
std::string UnixSocket::Show() {
  base::MutexLock lock(end_->mu_);
  const bool listening = end_->state_ == UnixEnd::State::kListening;
  const bool connected = end_->state_ == UnixEnd::State::kConnected;
  constexpr unsigned kAcceptsConnections = 0x10000, kUnconnected = 1, kConnected = 3;
  char line[128];
  snprintf(line, sizeof line, "%016x: %08X %08X %08X %04X %02X %5lu", 0, connected ? 3 : 2, 0,
           listening ? kAcceptsConnections : 0, static_cast<unsigned>(type()),
           connected ? kConnected : kUnconnected, inode()->ino());
  std::string out = line;
  if (end_->name_.len > sizeof(uint16_t)) {
    const auto* name = reinterpret_cast<const char*>(end_->name_.bytes.data());
    out += ' ';
    const size_t first = out.size();
    out.append(name + sizeof(uint16_t), end_->name_.len - sizeof(uint16_t));
    if (out[first] != '\0') {
      out.resize(first + strnlen(&out[first], out.size() - first));
    } else {
      std::replace(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), '\0', '@');
    }
  }
  return out + '\n';
}

const SocketFamily kUnixFamily = {abi::kAF_UNIX, &UnixSocket::Create, &UnixSocket::CreatePair};

// unix_autobind(): five hexadecimal digits behind the NUL.
base::Result<void> UnixSocket::AutoBind(Task& task) {
  static std::atomic<uint32_t> next{0};
  for (int tries = 0; tries < 1 << 20; tries++) {
    {
      base::MutexLock lock(end_->mu_);
      if (end_->name_.len != 0) return {};
    }
    SockAddr a = Unnamed();
    char digits[8];
    snprintf(digits, sizeof digits, "%05x", next.fetch_add(1) & 0xfffff);
    memcpy(a.bytes.data() + kPathOffset + 1, digits, 5);
    a.len = kPathOffset + 6;
    std::string key = AbstractKey(task, type(), a);
    if (!UnixNames::Get().Add(key, end_.get())) continue;
    base::MutexLock lock(end_->mu_);
    end_->name_ = a;
    end_->abstract_key_ = std::move(key);
    return {};
  }
  return abi::Errno::kENOSPC;
}

base::Result<void> UnixSocket::Bind(Task& task, const SockAddr& addr) {
  if (addr.len == kPathOffset && addr.family() == abi::kAF_UNIX) return AutoBind(task);
  SockAddr a = TRY(Normalize(addr));
  {
    base::MutexLock lock(end_->mu_);
    if (end_->name_.len != 0) return abi::Errno::kEINVAL;
  }
  if (IsAbstract(a)) {
    std::string key = AbstractKey(task, type(), a);
    if (!UnixNames::Get().Add(key, end_.get())) return abi::Errno::kEADDRINUSE;
    base::MutexLock lock(end_->mu_);
    end_->name_ = a;
    end_->abstract_key_ = std::move(key);
    return {};
  }
  TaskVfs view = task.vfs();
  Path place = TRY(Vfs::MknodSocket(view.ctx(), PathOf(a), 0777));
  base::Ref<Inode> inode = place.dentry->inode();
  if (!inode) return abi::Errno::kENOENT;
  inode->BindObject(end_);
  base::MutexLock lock(end_->mu_);
  end_->name_ = a;
  end_->inode_ = std::move(inode);
  return {};
}

base::Result<void> UnixSocket::Listen(Task& task, int32_t backlog) {
  if (!end_->connected_type()) return abi::Errno::kEOPNOTSUPP;
  base::MutexLock lock(end_->mu_);
  if (end_->name_.len == 0) return abi::Errno::kEINVAL;
  if (end_->state_ == UnixEnd::State::kConnected) return abi::Errno::kEINVAL;
  end_->state_ = UnixEnd::State::kListening;
  // __sys_listen_socket(): as unsigned, cut to somaxconn.
  end_->backlog_ = std::min<uint32_t>(static_cast<uint32_t>(backlog), abi::kSOMAXCONN);
  end_->own_creds_ = CredsOf(task);
  end_->room_queue_.Wake(kWritable);
  return {};
}

base::Result<base::Ref<Socket>> UnixSocket::Accept(uint32_t flags) {
  if (!end_->connected_type()) return abi::Errno::kEOPNOTSUPP;
  base::Ref<UnixEnd> e;
  {
    base::MutexLock lock(end_->mu_);
    if (end_->state_ != UnixEnd::State::kListening) return abi::Errno::kEINVAL;
    if (end_->pending_.empty()) {
      if (end_->no_receive_) return abi::Errno::kEINVAL;
      return abi::Errno::kEAGAIN;
    }
    e = std::move(end_->pending_.front());
    end_->pending_.pop_front();
    end_->room_queue_.Wake(kWritable);
  }
  return base::Ref<Socket>(base::MakeRef<UnixSocket>(std::move(e), flags, net_));
}

// unix_find_other().
base::Result<base::Ref<UnixEnd>> UnixSocket::Resolve(Task& task, const SockAddr& addr,
                                                     int32_t type) {
  SockAddr a = TRY(Normalize(addr));
  if (IsAbstract(a)) {
    base::Ref<UnixEnd> e = UnixNames::Get().Find(AbstractKey(task, type, a));
    if (!e) return abi::Errno::kECONNREFUSED;
    return e;
  }
  TaskVfs view = task.vfs();
  const VfsContext ctx = view.ctx();
  Path p = TRY(Vfs::Resolve(ctx, nullptr, PathOf(a), ResolveFlags{}));
  TRY(Vfs::CheckAccess(ctx, p, kMayWrite));
  base::Ref<Inode> inode = p.dentry->inode();
  if (!inode || inode->type() != abi::kS_IFSOCK) return abi::Errno::kECONNREFUSED;
  base::Ref<base::RefCounted> bound = inode->bound_object();
  if (!bound) return abi::Errno::kECONNREFUSED;
  auto e = base::StaticRefCast<UnixEnd>(bound);
  if (e->type() != type) return abi::Errno::kEPROTOTYPE;
  return e;
}

base::Result<void> UnixSocket::TryConnect(Task& task, UnixEnd& server) {
  if (&server == end_.get()) return abi::Errno::kECONNREFUSED;
  UnixEnd& self = *end_;
  base::MutexLock2 lock(self.mu_, server.mu_);
  if (self.state_ == UnixEnd::State::kListening) return abi::Errno::kEINVAL;
  if (self.state_ == UnixEnd::State::kConnected) return abi::Errno::kEISCONN;
  if (server.dead_ || server.state_ != UnixEnd::State::kListening || server.no_receive_) {
    return abi::Errno::kECONNREFUSED;
  }
  // unix_recvq_full().
  if (server.pending_.size() > server.backlog_) return abi::Errno::kEAGAIN;
  auto e = base::MakeRef<UnixEnd>(type());
  UnixEnd& fresh = *e;  // nobody else knows it yet
  fresh.mu_.Lock(true);
  fresh.state_ = UnixEnd::State::kConnected;
  fresh.peer_ = end_;
  fresh.name_ = server.name_;
  fresh.own_creds_ = server.own_creds_;
  fresh.peer_creds_ = CredsOf(task);
  fresh.mu_.Unlock(true);
  self.state_ = UnixEnd::State::kConnected;
  self.peer_ = e;
  self.own_creds_ = CredsOf(task);
  self.peer_creds_ = server.own_creds_;
  server.pending_.push_back(std::move(e));
  server.queue_.Wake(kReadable);
  self.queue_.Wake(kWritable);
  return {};
}

base::Result<void> UnixSocket::Connect(Task& task, const SockAddr& addr) {
  if (addr.len < sizeof(uint16_t)) return abi::Errno::kEINVAL;
  base::Ref<UnixEnd> old;
  if (!end_->connected_type()) {
    if (addr.family() == abi::kAF_UNSPEC) {
      base::MutexLock lock(end_->mu_);
      old = std::move(end_->peer_);
      end_->state_ = UnixEnd::State::kClosed;
      return {};
    }
    base::Ref<UnixEnd> other = TRY(Resolve(task, addr, type()));
    if (pass_creds()) TRY(AutoBind(task));
    {
      // unix_may_send(): a peer that is connected elsewhere takes nothing.
      base::Ref<UnixEnd> others_peer;
      {
        base::MutexLock lock(other->mu_);
        others_peer = other->peer_;
      }
      if (others_peer && others_peer.get() != end_.get()) return abi::Errno::kEPERM;
    }
    base::MutexLock lock(end_->mu_);
    old = std::move(end_->peer_);
    end_->peer_ = std::move(other);
    end_->state_ = UnixEnd::State::kConnected;
    end_->own_creds_ = CredsOf(task);
    end_->queue_.Wake(kWritable);
    return {};
  }
  TRY(Normalize(addr));
  if (pass_creds()) TRY(AutoBind(task));
  base::Ref<UnixEnd> server = TRY(Resolve(task, addr, type()));
  auto op = [&] { return TryConnect(task, *server); };
  base::Result<void> r = op();
  if (!r.is(abi::Errno::kEAGAIN) || nonblocking()) return r;
  return task.BlockOnQueue(server->room_queue_, kWritable, op, WaitDeadline(true));
}

// unix_shutdown(): no error without a connection.
base::Result<void> UnixSocket::Shutdown(int32_t how) {
  const bool receive = how == abi::kSHUT_RD || how == abi::kSHUT_RDWR;
  const bool send = how == abi::kSHUT_WR || how == abi::kSHUT_RDWR;
  if (!receive && !send) return abi::Errno::kEINVAL;
  constexpr uint32_t kAll =
      kReadable | kWritable | abi::kEPOLLRDHUP | abi::kEPOLLHUP | abi::kEPOLLERR;
  base::Ref<UnixEnd> peer;
  {
    base::MutexLock lock(end_->mu_);
    end_->no_receive_ |= receive;
    end_->no_send_ |= send;
    peer = end_->peer_;
    end_->queue_.Wake(kAll);
    end_->room_queue_.Wake(kAll);
  }
  if (peer && end_->connected_type()) {
    base::MutexLock lock(peer->mu_);
    peer->no_send_ |= receive;
    peer->no_receive_ |= send;
    peer->queue_.Wake(kAll);
  }
  return {};
}

base::Result<SockAddr> UnixSocket::LocalName() {
  base::MutexLock lock(end_->mu_);
  return end_->name_.len != 0 ? end_->name_ : Unnamed();
}

base::Result<SockAddr> UnixSocket::PeerName() {
  base::Ref<UnixEnd> peer;
  {
    base::MutexLock lock(end_->mu_);
    peer = end_->peer_;
  }
  if (!peer) return abi::Errno::kENOTCONN;
  base::MutexLock lock(peer->mu_);
  return peer->name_.len != 0 ? peer->name_ : Unnamed();
}

// unix_poll() and unix_dgram_poll().
uint32_t UnixSocket::Poll() {
  base::Ref<UnixEnd> peer;
  uint32_t m = 0;
  {
    UnixEnd& e = *end_;
    base::MutexLock lock(e.mu_);
    if (e.error_ != 0) m |= abi::kEPOLLERR;
    if (e.no_receive_ && e.no_send_) m |= abi::kEPOLLHUP;
    if (e.no_receive_) m |= abi::kEPOLLRDHUP | kReadable;
    if (e.HasDataLocked() || !e.pending_.empty()) m |= kReadable;
    if (e.connected_type() && e.state_ == UnixEnd::State::kClosed) m |= abi::kEPOLLHUP;
    if (e.state_ != UnixEnd::State::kListening && e.Writable()) m |= kWritable;
    if (!e.connected_type() && (m & kWritable) && e.in_flight_.load() != 0) peer = e.peer_;
  }
  // A connected datagram socket whose packets fill the receiver's queue must wait; it is woken when
  // one of them is taken.
  if (peer && peer.get() != end_.get()) {
    base::MutexLock lock(peer->mu_);
    if (peer->packets_.size() > kMaxQueuedDatagrams) m &= ~kWritable;
  }
  return m;
}

base::Result<uint64_t> UnixSocket::Ioctl(Task& task, uint32_t cmd, UserAddr arg) {
  int32_t v = 0;
  switch (cmd) {
    case static_cast<uint32_t>(abi::kSIOCINQ): {
      base::MutexLock lock(end_->mu_);
      if (end_->state_ == UnixEnd::State::kListening) return abi::Errno::kEINVAL;
      if (type() == abi::kSOCK_STREAM) {
        v = static_cast<int32_t>(end_->stream_.size());
      } else if (type() == abi::kSOCK_SEQPACKET) {
        v = static_cast<int32_t>(end_->packet_bytes_);
      } else if (!end_->packets_.empty()) {
        v = static_cast<int32_t>(end_->packets_.front().len);
      }
      break;
    }
    case static_cast<uint32_t>(abi::kSIOCOUTQ):
      v = static_cast<int32_t>(end_->in_flight_.load());
      break;
    default:
      return Socket::Ioctl(task, cmd, arg);
  }
  TRY(UserOut<int32_t>{arg}.Store(task.mm(), v));
  return uint64_t{0};
}

base::Result<void> UnixSocket::SetFamilyOption(Task& task, int32_t level, int32_t name,
                                               std::span<const uint8_t> value) {
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEEK_OFF) {
    int32_t v;
    memcpy(&v, value.data(), sizeof v);  // SetOption() has checked the length
    base::MutexLock lock(end_->mu_);
    end_->peek_offset_ = v;
    return {};
  }
  return Socket::SetFamilyOption(task, level, name, value);
}

base::Result<uint32_t> UnixSocket::GetFamilyOption(Task& task, int32_t level, int32_t name,
                                                   std::span<uint8_t> out) {
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEERCRED) {
    abi::Ucred c;
    {
      base::MutexLock lock(end_->mu_);
      c = end_->peer_creds_;
    }
    if (c.uid != UINT32_MAX) {
      c.uid = task.creds().user_ns->UidFromGlobal(c.uid);
      c.gid = task.creds().user_ns->GidFromGlobal(c.gid);
      if (c.uid == UINT32_MAX) c.uid = kOverflowId;
      if (c.gid == UINT32_MAX) c.gid = kOverflowId;
    }
    return GiveOption(out, c);
  }
  if (level == abi::kSOL_SOCKET && name == abi::kSO_PEEK_OFF) {
    base::MutexLock lock(end_->mu_);
    return GiveOption(out, end_->peek_offset_);
  }
  return Socket::GetFamilyOption(task, level, name, out);
}

int32_t UnixSocket::TakeError() {
  base::MutexLock lock(end_->mu_);
  return std::exchange(end_->error_, 0);
}

bool UnixSocket::listening() {
  base::MutexLock lock(end_->mu_);
  return end_->state_ == UnixEnd::State::kListening;
}

void UnixSocket::OnBufferSize(bool send, uint32_t bytes) {
  if (!send) return;
  end_->send_buffer_.store(bytes);
  end_->queue_.Wake(kWritable);
}

}  // namespace sentry
