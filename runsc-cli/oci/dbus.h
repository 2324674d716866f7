// A client of a message bus, as far as talking to systemd takes: calls, and waiting for signals
// (the D-Bus specification; little-endian, no descriptors).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace runsc {

// A message's body. Values are aligned as the specification has it.
class DBusWriter {
 public:
  void Byte(uint8_t v) { bytes_ += static_cast<char>(v); }
  void Uint32(uint32_t v) { Fixed(v); }
  void Uint64(uint64_t v) { Fixed(v); }
  void Bool(bool v) { Uint32(v ? 1 : 0); }
  void String(std::string_view v);
  void Signature(std::string_view v);
  void Align(size_t to) { bytes_.resize((bytes_.size() + to - 1) / to * to); }
  // The elements that `fill` writes, each aligned to so many bytes.
  void Array(size_t alignment, const std::function<void()>& fill);
  const std::string& bytes() const { return bytes_; }

 private:
  template <typename T>
  void Fixed(T v) {
    Align(sizeof v);
    bytes_.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  std::string bytes_;
};

// Reads what a peer wrote: past its end everything is zero, and ok() false.
class DBusReader {
 public:
  explicit DBusReader(std::string_view bytes) : bytes_(bytes) {}
  uint8_t Byte();
  uint32_t Uint32();
  std::string String();
  std::string Signature();
  void Align(size_t to);
  size_t at() const { return at_; }
  bool ok() const { return ok_; }

 private:
  std::string_view Take(size_t n);
  std::string_view bytes_;
  size_t at_ = 0;
  bool ok_ = true;
};

struct DBusMessage {
  enum Type : uint8_t { kCall = 1, kReply = 2, kError = 3, kSignal = 4 };
  uint8_t type = kCall;
  uint32_t reply_to = 0;
  std::string path, interface, member, error, destination, signature, body;
};

class DBus {
 public:
  // address: "unix:path=/run/dbus/system_bus_socket", or several with semicolons between.
  static base::StatusOr<DBus> Connect(const std::string& address);
  // Waits for the answer. Signals that come meanwhile are kept for NextSignal.
  base::StatusOr<DBusMessage> Call(const DBusMessage& call);
  base::StatusOr<DBusMessage> NextSignal();

 private:
  explicit DBus(base::UniqueFd fd) : fd_(std::move(fd)) {}
  base::Status Authenticate();
  base::StatusOr<DBusMessage> Receive();
  base::UniqueFd fd_;
  uint32_t serial_ = 0;
  std::vector<DBusMessage> signals_;
};

}  // namespace runsc
