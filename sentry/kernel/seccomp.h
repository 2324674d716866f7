// The guest's own system call filters (seccomp(2); kernel/seccomp.c): classic BPF programs,
// verified when installed and interpreted here.
#pragma once

#include <bitset>
#include <span>
#include <vector>

#include "platform/base/ref.h"
#include "platform/base/result.h"
#include "syscalls/abi/seccomp.h"

namespace sentry {

class Task;

// One filter; filters form a tree towards the oldest one. Immutable.
class SeccompFilter : public base::RefCounted {
 public:
  // EINVAL: the program is not one that seccomp accepts; ENOMEM: too long with those before it.
  static base::Result<base::Ref<SeccompFilter>> Create(std::vector<abi::SockFilter> program,
                                                       base::Ref<SeccompFilter> prev);
  // The strictest result of this filter and those before it: SECCOMP_RET_*.
  uint32_t Run(const abi::SeccompData& data) const;
  // All filters allow the call whatever its arguments: nothing has to be run.
  bool AlwaysAllows(uint32_t nr) const { return nr < kCalls && allowed_[nr]; }
  // How many filters there are, this one included.
  int count() const { return count_; }
  // f is this filter or one before it.
  bool Extends(const SeccompFilter* f) const;

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  SeccompFilter(std::vector<abi::SockFilter> program, base::Ref<SeccompFilter> prev);
  ~SeccompFilter() override;
  static constexpr uint32_t kCalls = 512;
  static constexpr uint64_t kMaxInstructions = 32768;  // MAX_INSNS_PER_PATH
  const std::vector<abi::SockFilter> program_;
  base::Ref<SeccompFilter> prev_;
  uint64_t total_ = 0;
  int count_ = 1;
  std::bitset<kCalls> allowed_;
};

// seccomp_check_filter() and bpf_check_classic().
bool SeccompProgramOk(std::span<const abi::SockFilter> p);
// Interprets a program that is ok. If depends is not null, it is set when the result may depend on
// more than the call's number.
uint32_t RunSeccompProgram(std::span<const abi::SockFilter> p, const abi::SeccompData& data,
                           bool* depends);

}  // namespace sentry
