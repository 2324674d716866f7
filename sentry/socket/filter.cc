#include "sentry/socket/filter.h"

#include <algorithm>

#include "platform/host/host.h"
#include "sentry/kernel/bpf.h"
#include "syscalls/abi/bpf.h"

namespace sentry {

namespace {

// The ancillary offset of a load; nothing: it is a place in the message.
std::optional<uint32_t> Extension(uint32_t at) {
  constexpr auto kFirst = static_cast<uint32_t>(abi::kSKF_AD_OFF);
  if (at < kFirst) return std::nullopt;
  return at - kFirst;
}

// Of what Linux tells, what there is here. Nothing: not known.
std::optional<uint32_t> Tell(const FilterInput& in, uint32_t extension) {
  switch (extension) {
    case abi::kSKF_AD_PROTOCOL:
      return in.ethertype;
    case abi::kSKF_AD_PKTTYPE:
      return in.packet_type;
    case abi::kSKF_AD_IFINDEX:
      return static_cast<uint32_t>(in.interface);
    case abi::kSKF_AD_HATYPE:
      return in.hardware;
    case abi::kSKF_AD_RANDOM: {
      uint32_t v = 0;
      host::Random(&v, sizeof v);
      return v;
    }
    // No marks, one queue, no tags of virtual networks: what Linux says of such messages.
    case abi::kSKF_AD_MARK:
    case abi::kSKF_AD_QUEUE:
    case abi::kSKF_AD_RXHASH:
    case abi::kSKF_AD_CPU:
    case abi::kSKF_AD_VLAN_TAG:
    case abi::kSKF_AD_VLAN_TAG_PRESENT:
    case abi::kSKF_AD_VLAN_TPID:
      return 0;
    default:
      return std::nullopt;
  }
}

// size bytes of network byte order.
std::optional<uint32_t> Load(std::span<const uint8_t> bytes, size_t size, uint32_t at) {
  if (at > bytes.size() || size > bytes.size() - at) return std::nullopt;
  uint32_t v = 0;
  for (size_t i = 0; i < size; i++) v = v << 8 | bytes[at + i];
  return v;
}

}  // namespace

base::Result<base::Ref<SocketFilter>> SocketFilter::Create(std::vector<abi::SockFilter> program) {
  const bool known = std::all_of(program.begin(), program.end(), [](const abi::SockFilter& f) {
    if ((f.code & 7) != abi::kBPF_LD || (f.code & 0xe0) != abi::kBPF_ABS) return true;
    const std::optional<uint32_t> extension = Extension(f.k);
    return !extension || Tell({}, *extension).has_value();
  });
  if (!known || !BpfProgramOk(program)) return abi::Errno::kEINVAL;
  return base::MakeRef<SocketFilter>(std::move(program));
}

uint32_t SocketFilter::Result(const FilterInput& in) const {
  const auto load = [&](size_t size, uint32_t at) -> std::optional<uint32_t> {
    if (const std::optional<uint32_t> extension = Extension(at)) return Tell(in, *extension);
    // bpf_internal_load_pointer_neg_helper(). Below are SKF_LL_OFF, the link's header, which
    // messages here don't have, and places in the message.
    constexpr auto kNetwork = static_cast<uint32_t>(abi::kSKF_NET_OFF);
    if (at >= kNetwork) return Load(in.network, size, at - kNetwork);
    return Load(in.data, size, at);
  };
  return RunBpf(program_, static_cast<uint32_t>(in.data.size()), load);
}

std::optional<size_t> SocketFilter::Run(const FilterInput& in) const {
  const uint32_t keep = Result(in);
  if (keep == 0) return std::nullopt;
  return std::min<size_t>(keep, in.data.size());
}

}  // namespace sentry
