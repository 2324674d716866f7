#include "netgofer/client/client.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "platform/base/log.h"
#include "platform/host/host.h"
#include "platform/host/thread.h"

namespace netgofer {
namespace {

void PutOption(wire::Writer& out, const SocketOption& o) {
  out.Put(wire::OptionHead{
      .level = o.level, .name = o.name, .size = static_cast<uint32_t>(o.value.size())});
  out.Bytes(o.value.data(), o.value.size());
}

constexpr size_t kMaxRequest =
    sizeof(wire::RequestHeader) + sizeof(wire::SocketRequest) +
    wire::kMaxOptions * (sizeof(wire::OptionHead) + wire::kMaxOptionValue);

// connect(2), bind(2) and listen(2) know nothing of full descriptor tables that aren't the
// caller's.
constexpr abi::Errno kNoDescriptors = abi::Errno::kENOBUFS;

base::Error ErrorOf(int32_t error) {
  if (error == 0) return abi::Errno::kENETDOWN;
  if (error == EMFILE || error == ENFILE) return kNoDescriptors;
  return host::HostToGuest(error);
}

bool IsSuccessor(std::span<const uint8_t> message) {
  wire::Reader in(message);
  const auto header = in.Get<wire::ReplyHeader>();
  return in.Done() && header.id == wire::kSuccessorId && header.error == 0;
}

}  // namespace

Client::Client(base::UniqueFd socket, OnLost on_lost, uint64_t first_id)
    : socket_(std::move(socket)), on_lost_(std::move(on_lost)), next_id_(first_id) {}

Client::~Client() = default;

bool Client::Expect(uint64_t id, Waiting waiting) {
  bool start = false;
  {
    base::MutexLock lock(mu_);
    if (lost()) return false;
    waiting_[id] = std::move(waiting);
    start = !std::exchange(running_, true);
  }
  if (!start) return true;
  IncRef();  // the thread's
  if (const long r = host::Thread::StartDetached(&ThreadMain, this); r != 0) {
    Lose("no thread", r);
    DecRef();
  }
  return true;
}

void Client::Ask(wire::Op op, wire::SocketRequest body, std::span<const SocketOption> options,
                 Done done) {
  uint8_t message[kMaxRequest];
  wire::Writer out(message);
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  out.Put(wire::RequestHeader{.op = static_cast<uint32_t>(op), .reserved = 0, .id = id});
  if (options.size() > wire::kMaxOptions) options = options.first(wire::kMaxOptions);
  body.options = static_cast<uint8_t>(options.size());
  out.Put(body);
  for (const SocketOption& o : options) PutOption(out, o);
  // A value of more bytes than any option has.
  if (!out.ok()) return done(abi::Errno::kEINVAL);
  if (!Expect(id, {.done = done, .described = {}})) return done(abi::Errno::kENETDOWN);
  Send({message, out.size()});
}

void Client::SetOption(uint64_t id, const SocketOption& option) {
  uint8_t message[kMaxRequest];
  wire::Writer out(message);
  out.Put(wire::RequestHeader{
      .op = static_cast<uint32_t>(wire::Op::kSetOption), .reserved = 0, .id = id});
  PutOption(out, option);
  if (out.ok() && option.value.size() <= wire::kMaxOptionValue) Send({message, out.size()});
}

void Client::Close(uint64_t id) {
  uint8_t message[sizeof(wire::RequestHeader)];
  wire::Writer out(message);
  out.Put(
      wire::RequestHeader{.op = static_cast<uint32_t>(wire::Op::kClose), .reserved = 0, .id = id});
  Send(message);
}

base::Result<Description> Client::Describe() {
  // On the heap: the thread may still wake it after this call has seen the word and gone on.
  struct Answer : base::RefCounted {
    std::atomic<uint32_t> ready{0};
    base::Result<Description> value = abi::Errno::kENETDOWN;
  };
  auto answer = base::MakeRef<Answer>();
  uint8_t message[sizeof(wire::RequestHeader)];
  wire::Writer out(message);
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  out.Put(wire::RequestHeader{
      .op = static_cast<uint32_t>(wire::Op::kDescribe), .reserved = 0, .id = id});
  const bool expected = Expect(id, {.done = {}, .described = [answer](auto value) {
                                      answer->value = std::move(value);
                                      answer->ready.store(1, std::memory_order_release);
                                      host::FutexWake(&answer->ready, 1);
                                    }});
  if (!expected) return abi::Errno::kENETDOWN;
  Send(message);
  while (answer->ready.load(std::memory_order_acquire) == 0) host::FutexWait(&answer->ready, 0);
  return std::move(answer->value);
}

void Client::Send(std::span<const uint8_t> message) {
  if (lost()) return;
  long r;
  do {
    r = host::SendWithFds(socket_.get(), message.data(), message.size(), {}, 0);
  } while (r == -EINTR);
  // The thread sees the same and fails what waits.
}

void Client::ThreadMain(void* self) {
  auto client = base::Ref<Client>::Adopt(static_cast<Client*>(self));
  client->Run();
}

void Client::Run() {
  std::vector<uint8_t> buffer(wire::kMaxMessage);
  for (;;) {
    base::UniqueFd fd;
    size_t n_fds = 0;
    const long n = host::RecvWithFds(socket_.get(), buffer.data(), buffer.size(),
                                     std::span<base::UniqueFd>(&fd, 1), &n_fds, 0);
    if (n == -EINTR) continue;
    if (n == -EMSGSIZE && Refuse(buffer)) continue;
    if (n <= 0) return Lose("receive", n);
    if (fd.valid() && IsSuccessor({buffer.data(), static_cast<size_t>(n)})) {
      return Lose("died", 0, std::move(fd));
    }
    if (!Handle({buffer.data(), static_cast<size_t>(n)}, std::move(fd))) {
      return Lose("reply", -EPROTO);
    }
  }
}

bool Client::Take(uint64_t id, Waiting* out) {
  base::MutexLock lock(mu_);
  auto it = waiting_.find(id);
  if (it == waiting_.end()) return false;
  *out = std::move(it->second);
  waiting_.erase(it);
  return true;
}

bool Client::Refuse(std::span<const uint8_t> message) {
  wire::Reader in(message);
  const auto header = in.Get<wire::ReplyHeader>();
  Waiting w;
  if (header.error != 0 || header.fds != 1 || !Take(header.id, &w) || !w.done) return false;
  Close(header.id);
  w.done(kNoDescriptors);
  return true;
}

bool Client::Handle(std::span<const uint8_t> message, base::UniqueFd fd) {
  wire::Reader in(message);
  const auto header = in.Get<wire::ReplyHeader>();
  if (!in.ok() || header.error < 0 || header.fds != (fd.valid() ? 1u : 0u)) return false;
  Waiting w;
  if (!Take(header.id, &w)) return false;
  bool good = header.error == 0 || (in.left() == 0 && !fd.valid());
  const base::Error error = ErrorOf(header.error);
  if (w.described) {
    Description d;
    if (good && header.error == 0) good = DecodeDescription(in, &d);
    if (good && header.error == 0) {
      w.described(std::move(d));
    } else {
      w.described(error);
    }
    return good;
  }
  Socket s;
  s.id = header.id;
  if (good && header.error == 0) {
    s.body = in.Get<wire::SocketReply>();
    good = in.Done();
  }
  s.fd = std::move(fd);
  if (good && header.error == 0) {
    w.done(std::move(s));
  } else {
    w.done(error);
  }
  return good;
}

void Client::Lose(const char* what, long error, base::UniqueFd successor) {
  absl::flat_hash_map<uint64_t, Waiting> waiting;
  {
    base::MutexLock lock(mu_);
    lost_.store(true, std::memory_order_release);
    waiting.swap(waiting_);
  }
  LOG_WARNING("net gofer: %s: %ld; the outside is gone%s", what, error,
              successor.valid() ? " until another serves" : "");
  for (auto& [id, w] : waiting) {
    if (w.done) w.done(abi::Errno::kENETDOWN);
    if (w.described) w.described(abi::Errno::kENETDOWN);
  }
  if (on_lost_) on_lost_(std::move(successor));
}

bool DecodeDescription(wire::Reader& in, Description* out) {
  const auto flags = in.Get<uint32_t>();
  out->loopback = (flags & wire::kLoopback) != 0;
  out->loopback_dns = (flags & wire::kLoopbackDns) != 0;
  const auto interfaces = in.Get<uint32_t>();
  if (!in.ok() || interfaces > wire::kMaxInterfaces) return false;
  for (uint32_t i = 0; i < interfaces; i++) {
    Interface& n = out->interfaces.emplace_back();
    n.head = in.Get<wire::InterfaceHead>();
    n.name = in.String(wire::kMaxName);
    if (!in.ok() || n.head.addresses > wire::kMaxAddresses) return false;
    for (uint16_t k = 0; k < n.head.addresses; k++) {
      n.addresses.push_back(in.Get<wire::InterfaceAddress>());
    }
  }
  const auto routes = in.Get<uint32_t>();
  if (!in.ok() || routes > wire::kMaxRoutes) return false;
  for (uint32_t i = 0; i < routes; i++) out->routes.push_back(in.Get<wire::Route>());
  return in.Done();
}

}  // namespace netgofer
