// SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF: classic BPF over what comes to a socket, or to a
// group of them (net/core/filter.c, socket(7)).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "platform/base/ref.h"
#include "platform/base/result.h"
#include "syscalls/abi/seccomp.h"

namespace sentry {

// A message as a filter sees it.
struct FilterInput {
  std::span<const uint8_t> data;     // offset 0 and on
  std::span<const uint8_t> network;  // SKF_NET_OFF and on: the IP header; may be empty
  uint16_t ethertype = 0;            // host order
  uint8_t packet_type = 0;           // PACKET_*
  int32_t interface = 0;
  uint16_t hardware = 0;  // ARPHRD_*
};

class SocketFilter : public base::RefCounted {
 public:
  // EINVAL: no sound program, or one that asks the kernel for more than where a message came from
  // (SKF_AD_NLATTR, SKF_AD_PAY_OFFSET, SKF_AD_ALU_XOR_X).
  static base::Result<base::Ref<SocketFilter>> Create(std::vector<abi::SockFilter> program);
  const std::vector<abi::SockFilter>& program() const { return program_; }
  // What the program returns.
  uint32_t Result(const FilterInput& in) const;
  // How many bytes of the message are kept; nothing: it is dropped.
  std::optional<size_t> Run(const FilterInput& in) const;

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  explicit SocketFilter(std::vector<abi::SockFilter> program) : program_(std::move(program)) {}
  const std::vector<abi::SockFilter> program_;
};

}  // namespace sentry
