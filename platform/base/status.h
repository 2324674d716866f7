// Status: the host side's error, with a sentence for a person. Used by the command, boot and set-up
// code; never shown to a guest.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace base {

class [[nodiscard]] Status {
 public:
  Status() = default;
  static Status Error(std::string text) {
    Status s;
    s.text_ = std::move(text);
    s.failed_ = true;
    return s;
  }
  // "WHAT: strerror(err)".
  static Status Errno(std::string what, int err);
  bool ok() const { return !failed_; }
  const std::string& text() const { return text_; }
  // Prepends context: "CONTEXT: text".
  Status With(std::string context) && {
    if (failed_) text_ = std::move(context) + ": " + text_;
    return std::move(*this);
  }

 private:
  bool failed_ = false;
  std::string text_;
};

template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(T v) : v_(std::move(v)) {}       // NOLINT(runtime/explicit)
  StatusOr(Status s) : v_(std::move(s)) {}  // NOLINT(runtime/explicit)
  bool ok() const { return v_.index() == 0; }
  T& value() & { return std::get<0>(v_); }
  T&& value() && { return std::get<0>(std::move(v_)); }
  T& operator*() & { return value(); }
  T* operator->() { return &value(); }
  Status status() const { return ok() ? Status() : std::get<1>(v_); }

 private:
  std::variant<T, Status> v_;
};

}  // namespace base

#define RETURN_IF_ERROR(...)                                    \
  do {                                                          \
    if (::base::Status s_ = (__VA_ARGS__); !s_.ok()) return s_; \
  } while (0)
