// netdevice(7): ioctl(2) about interfaces (net/core/dev_ioctl.c, devinet_ioctl()).
#include <algorithm>

#include "platform/base/byte_order.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/inet/inet.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {

const NetInterface::Address* FirstV4(const NetInterface& i) {
  for (const NetInterface::Address& a : i.addresses) {
    if (a.addr.is_v4()) return &a;
  }
  return nullptr;
}

void PutAddress(abi::Ifreq* r, uint32_t addr) {
  abi::SockaddrIn in{abi::kAF_INET, 0, htonl(addr), {}};
  memcpy(r->data, &in, sizeof in);
}

template <typename T>
void PutValue(abi::Ifreq* r, T v) {
  memcpy(r->data, &v, sizeof v);
}

abi::Ifreq Named(const NetInterface& i) {
  abi::Ifreq r{};
  memcpy(r.name, i.name.data(), std::min<size_t>(i.name.size(), sizeof r.name - 1));
  return r;
}

// SIOCGIFCONF: those with an IPv4 address (inet_gifconf()).
base::Result<uint64_t> List(Task& task, NetStack& stack, UserAddr arg) {
  abi::Ifconf c = TRY(UserIn<abi::Ifconf>{arg}.Fetch(task.mm()));
  std::vector<abi::Ifreq> all;
  for (const NetInterface& i : stack.Interfaces()) {
    for (const NetInterface::Address& a : i.addresses) {
      if (!a.addr.is_v4()) continue;
      PutAddress(&all.emplace_back(Named(i)), a.addr.v4());
    }
  }
  uint64_t n = all.size() * sizeof(abi::Ifreq);
  if (c.buf != 0) {
    n = std::min<uint64_t>(n, static_cast<uint64_t>(std::max(c.len, 0)));
    n -= n % sizeof(abi::Ifreq);
    TRY(task.mm().CopyOut(UserAddr{c.buf}, all.data(), n));
  }
  c.len = static_cast<int32_t>(n);
  TRY(UserOut<abi::Ifconf>{arg}.Store(task.mm(), c));
  return uint64_t{0};
}

base::Result<void> Answer(const NetInterface& i, uint32_t cmd, abi::Ifreq* r) {
  const NetInterface::Address* a = FirstV4(i);
  switch (static_cast<int32_t>(cmd)) {
    case abi::kSIOCGIFFLAGS:
      PutValue(r, static_cast<int16_t>(i.flags));
      return {};
    case abi::kSIOCGIFADDR:
    case abi::kSIOCGIFDSTADDR:
      if (a == nullptr) return abi::Errno::kEADDRNOTAVAIL;
      PutAddress(r, a->addr.v4());
      return {};
    case abi::kSIOCGIFBRDADDR:
      if (a == nullptr) return abi::Errno::kEADDRNOTAVAIL;
      PutAddress(r, a->broadcast.is_v4() ? a->broadcast.v4() : 0);
      return {};
    case abi::kSIOCGIFNETMASK:
      if (a == nullptr) return abi::Errno::kEADDRNOTAVAIL;
      PutAddress(r, a->prefix == 0 ? 0 : UINT32_MAX << (32 - a->prefix));
      return {};
    case abi::kSIOCGIFMETRIC:
      PutValue(r, int32_t{0});
      return {};
    case abi::kSIOCGIFMTU:
      PutValue(r, i.mtu);
      return {};
    case abi::kSIOCGIFINDEX:
      PutValue(r, i.index);
      return {};
    case abi::kSIOCGIFTXQLEN:
      PutValue(r, i.txqlen);
      return {};
    case abi::kSIOCGIFMAP:
      memset(r->data, 0, sizeof r->data);
      return {};
    case abi::kSIOCGIFHWADDR: {
      abi::Sockaddr s{i.type, {}};
      memcpy(s.data, i.hwaddr.data(), i.hwaddr.size());
      PutValue(r, s);
      return {};
    }
    default:
      return abi::Errno::kEOPNOTSUPP;
  }
}

}  // namespace

base::Result<uint64_t> InterfaceIoctl(Task& task, uint32_t cmd, UserAddr arg) {
  base::Ref<NetStack> stack = NetStack::Of(task);
  switch (static_cast<int32_t>(cmd)) {
    case abi::kSIOCGIFCONF:
      return List(task, *stack, arg);
    case abi::kSIOCGIFNAME: {
      abi::Ifreq r = TRY(UserIn<abi::Ifreq>{arg}.Fetch(task.mm()));
      int32_t index;
      memcpy(&index, r.data, sizeof index);
      for (const NetInterface& i : stack->Interfaces()) {
        if (i.index != index) continue;
        memcpy(r.name, Named(i).name, sizeof r.name);
        TRY(UserOut<abi::Ifreq>{arg}.Store(task.mm(), r));
        return uint64_t{0};
      }
      return abi::Errno::kENODEV;
    }
    case abi::kSIOCGIFFLAGS:
    case abi::kSIOCGIFADDR:
    case abi::kSIOCGIFDSTADDR:
    case abi::kSIOCGIFBRDADDR:
    case abi::kSIOCGIFNETMASK:
    case abi::kSIOCGIFMETRIC:
    case abi::kSIOCGIFMTU:
    case abi::kSIOCGIFHWADDR:
    case abi::kSIOCGIFINDEX:
    case abi::kSIOCGIFTXQLEN:
    case abi::kSIOCGIFMAP:
    case abi::kSIOCETHTOOL:
    case abi::kSIOCSIFFLAGS:
    case abi::kSIOCSIFADDR:
      break;
    default:
      return abi::Errno::kENOTTY;
  }
  abi::Ifreq r = TRY(UserIn<abi::Ifreq>{arg}.Fetch(task.mm()));
  r.name[sizeof r.name - 1] = 0;
  // An alias's name ("eth0:1") means its interface.
  const std::string_view full(r.name), name = full.substr(0, full.find(':'));
  std::vector<NetInterface> all = stack->Interfaces();
  auto it = std::find_if(all.begin(), all.end(), [&](const auto& i) { return i.name == name; });
  const bool change = cmd == static_cast<uint32_t>(abi::kSIOCSIFFLAGS) ||
                      cmd == static_cast<uint32_t>(abi::kSIOCSIFADDR);
  if (change && !task.creds().HasIn(*stack->owner(), abi::kCAP_NET_ADMIN)) {
    return abi::Errno::kEPERM;
  }
  if (it == all.end()) return abi::Errno::kENODEV;
  if (change) {
    // The outside's interfaces can't be changed; the others go up and down.
    if (cmd != static_cast<uint32_t>(abi::kSIOCSIFFLAGS) || !stack->links().Has(it->index)) {
      return abi::Errno::kEOPNOTSUPP;
    }
    int16_t flags;
    memcpy(&flags, r.data, sizeof flags);
    TRY(stack->links().Apply(it->index, {.up = (flags & abi::kIFF_UP) != 0}));
    return uint64_t{0};
  }
  TRY(Answer(*it, cmd, &r));
  TRY(UserOut<abi::Ifreq>{arg}.Store(task.mm(), r));
  return uint64_t{0};
}

}  // namespace sentry
