#include "runsc-cli/oci/dbus.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace runsc {
namespace {

using base::Status;
using base::StatusOr;

constexpr time_t kPatienceSeconds = 30;
constexpr uint32_t kMostBytes = 1 << 20;  // of a message; systemd's have some hundred
constexpr size_t kFixedHeader = 16;

enum Field : uint8_t {
  kPath = 1,
  kInterface = 2,
  kMember = 3,
  kErrorName = 4,
  kReplySerial = 5,
  kDestination = 6,
  kSignature = 8,
};

Status Send(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Status::Errno("the message bus", errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Status Receive(int fd, char* to, size_t size) {
  while (size != 0) {
    const ssize_t n = recv(fd, to, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return Status::Error("the message bus closed the connection");
    if (n < 0) return Status::Errno("the message bus", errno);
    to += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

std::string Encode(const DBusMessage& m, uint32_t serial) {
  DBusWriter w;
  w.Byte('l');
  w.Byte(m.type);
  w.Byte(0);
  w.Byte(1);
  w.Uint32(static_cast<uint32_t>(m.body.size()));
  w.Uint32(serial);
  w.Array(8, [&] {
    const std::pair<Field, const std::string*> texts[] = {{kPath, &m.path},
                                                          {kInterface, &m.interface},
                                                          {kMember, &m.member},
                                                          {kDestination, &m.destination}};
    for (const auto& [field, text] : texts) {
      if (text->empty()) continue;
      w.Align(8);
      w.Byte(field);
      w.Signature(field == kPath ? "o" : "s");
      w.String(*text);
    }
    if (m.signature.empty()) return;
    w.Align(8);
    w.Byte(kSignature);
    w.Signature("g");
    w.Signature(m.signature);
  });
  w.Align(8);
  return w.bytes() + m.body;
}

}  // namespace

void DBusWriter::String(std::string_view v) {
  Uint32(static_cast<uint32_t>(v.size()));
  bytes_.append(v);
  bytes_ += '\0';
}

void DBusWriter::Signature(std::string_view v) {
  Byte(static_cast<uint8_t>(v.size()));
  bytes_.append(v);
  bytes_ += '\0';
}

void DBusWriter::Array(size_t alignment, const std::function<void()>& fill) {
  Uint32(0);
  const size_t length_at = bytes_.size() - sizeof(uint32_t);
  Align(alignment);
  const size_t start = bytes_.size();
  fill();
  const auto length = static_cast<uint32_t>(bytes_.size() - start);
  memcpy(bytes_.data() + length_at, &length, sizeof length);
}

std::string_view DBusReader::Take(size_t n) {
  if (n > bytes_.size() - at_) {
    ok_ = false;
    at_ = bytes_.size();
    return {};
  }
  at_ += n;
  return bytes_.substr(at_ - n, n);
}

void DBusReader::Align(size_t to) {
  const size_t up = (at_ + to - 1) / to * to;
  // At the end of a message there is nothing to align.
  if (up <= bytes_.size()) at_ = up;
}

uint8_t DBusReader::Byte() {
  const std::string_view b = Take(1);
  return b.empty() ? 0 : static_cast<uint8_t>(b[0]);
}

uint32_t DBusReader::Uint32() {
  Align(sizeof(uint32_t));
  uint32_t v = 0;
  const std::string_view b = Take(sizeof v);
  if (!b.empty()) memcpy(&v, b.data(), sizeof v);
  return v;
}

std::string DBusReader::String() {
  std::string text(Take(Uint32()));
  Byte();
  return text;
}

std::string DBusReader::Signature() {
  std::string text(Take(Byte()));
  Byte();
  return text;
}

StatusOr<DBus> DBus::Connect(const std::string& address) {
  Status failure = Status::Error("the address of the message bus, " + address +
                                 ", names no socket that Moat knows how to reach");
  for (size_t at = 0; at < address.size();) {
    const size_t end = std::min(address.find(';', at), address.size());
    const std::string one = address.substr(at, end - at);
    at = end + 1;
    constexpr char kPrefix[] = "unix:path=";
    if (one.compare(0, sizeof kPrefix - 1, kPrefix) != 0) continue;
    std::string path = one.substr(sizeof kPrefix - 1);
    path = path.substr(0, path.find(','));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof name.sun_path) continue;
    memcpy(name.sun_path, path.data(), path.size());
    DBus bus(base::UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    const timeval patience = {kPatienceSeconds, 0};
    setsockopt(bus.fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(bus.fd_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) {
      failure = Status::Errno("the message bus " + path, errno);
      continue;
    }
    failure = bus.Authenticate();
    if (failure.ok()) return bus;
  }
  return failure;
}

Status DBus::Authenticate() {
  std::string id;
  for (char digit : std::to_string(geteuid())) {
    // In hexadecimal: digits are 0x30 to 0x39.
    id += '3';
    id += digit;
  }
  RETURN_IF_ERROR(Send(fd_.get(), std::string(1, '\0') + "AUTH EXTERNAL " + id + "\r\n"));
  std::string line;
  while (line.size() < 512 && (line.empty() || line.back() != '\n')) {
    char c;
    RETURN_IF_ERROR(runsc::Receive(fd_.get(), &c, 1));
    line += c;
  }
  if (line.compare(0, 2, "OK") != 0) return Status::Error("the message bus refuses this user");
  RETURN_IF_ERROR(Send(fd_.get(), "BEGIN\r\n"));
  auto hello = Call({.path = "/org/freedesktop/DBus",
                     .interface = "org.freedesktop.DBus",
                     .member = "Hello",
                     .destination = "org.freedesktop.DBus"});
  return hello.status();
}

StatusOr<DBusMessage> DBus::Receive() {
  std::string head(kFixedHeader, '\0');
  RETURN_IF_ERROR(runsc::Receive(fd_.get(), head.data(), head.size()));
  DBusReader fixed(head);
  DBusMessage m;
  const bool little = fixed.Byte() == 'l';
  m.type = fixed.Byte();
  fixed.Byte();
  fixed.Byte();
  const uint32_t body = fixed.Uint32();
  fixed.Uint32();
  const uint32_t fields = fixed.Uint32();
  if (!little || body > kMostBytes || fields > kMostBytes)
    return Status::Error("the message bus says what can't be understood");
  const size_t header = (kFixedHeader + fields + 7) / 8 * 8;
  std::string rest(header - kFixedHeader + body, '\0');
  RETURN_IF_ERROR(runsc::Receive(fd_.get(), rest.data(), rest.size()));
  head += rest;
  m.body = head.substr(header);
  DBusReader r(std::string_view(head).substr(0, kFixedHeader + fields));
  for (size_t i = 0; i < kFixedHeader; i++) r.Byte();
  while (r.ok() && r.at() < kFixedHeader + fields) {
    r.Align(8);
    const uint8_t field = r.Byte();
    const std::string type = r.Signature();
    std::string text;
    uint32_t number = 0;
    if (type == "s" || type == "o") {
      text = r.String();
    } else if (type == "g") {
      text = r.Signature();
    } else if (type == "u") {
      number = r.Uint32();
    } else {
      return Status::Error("the message bus says what can't be understood");
    }
    if (field == kPath) m.path = text;
    if (field == kInterface) m.interface = text;
    if (field == kMember) m.member = text;
    if (field == kErrorName) m.error = text;
    if (field == kSignature) m.signature = text;
    if (field == kReplySerial) m.reply_to = number;
  }
  return m;
}

StatusOr<DBusMessage> DBus::Call(const DBusMessage& call) {
  const uint32_t serial = ++serial_;
  RETURN_IF_ERROR(Send(fd_.get(), Encode(call, serial)));
  for (;;) {
    auto m = Receive();
    if (!m.ok()) return m;
    if (m->type == DBusMessage::kSignal) {
      signals_.push_back(*m);
    } else if (m->reply_to == serial) {
      if (m->type != DBusMessage::kError) return m;
      const std::string text = m->signature.empty() ? "" : DBusReader(m->body).String();
      return Status::Error(call.member + ": " + m->error + (text.empty() ? "" : ": " + text));
    }
  }
}

StatusOr<DBusMessage> DBus::NextSignal() {
  while (signals_.empty()) {
    auto m = Receive();
    if (!m.ok()) return m;
    if (m->type == DBusMessage::kSignal) signals_.push_back(*m);
  }
  DBusMessage first = std::move(signals_.front());
  signals_.erase(signals_.begin());
  return first;
}

}  // namespace runsc
