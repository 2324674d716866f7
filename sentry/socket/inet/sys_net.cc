#include "sentry/socket/inet/sys_net.h"

#include <algorithm>
#include <cstdio>

#include "sentry/kernel/task.h"
#include "sentry/socket/inet/net_stack.h"

namespace sentry {

namespace {

constexpr uint8_t kDtDir = 4, kDtLnk = 10;
// Behind what List gives "." and "..".
constexpr int64_t kFirstCookie = 3;

template <typename T>
std::string Line(T v) {
  return std::to_string(v) + "\n";
}

std::string Hardware(const std::array<uint8_t, 6>& a) {
  char text[32];
  snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x\n", a[0], a[1], a[2], a[3], a[4],
           a[5]);
  return text;
}

std::string Hex(uint32_t v) {
  char text[16];
  snprintf(text, sizeof text, "0x%x\n", v);
  return text;
}

bool Up(const NetInterface& i) { return (i.flags & static_cast<uint32_t>(abi::kIFF_UP)) != 0; }

// Documentation/ABI/testing/sysfs-class-net.
struct Attribute {
  const char* name;
  std::string (*text)(const NetInterface&);
};
constexpr Attribute kAttributes[] = {
    {"addr_assign_type", [](const NetInterface&) { return Line(0); }},
    {"addr_len", [](const NetInterface& i) { return Line(i.hwaddr.size()); }},
    {"address", [](const NetInterface& i) { return Hardware(i.hwaddr); }},
    {"broadcast",
     [](const NetInterface& i) {
       std::array<uint8_t, 6> all{};
       if (i.index != kLoopbackIndex) all.fill(0xff);
       return Hardware(all);
     }},
    {"carrier", [](const NetInterface& i) { return Line(Up(i) ? 1 : 0); }},
    {"dev_id", [](const NetInterface&) { return Hex(0); }},
    {"dev_port", [](const NetInterface&) { return Line(0); }},
    {"dormant", [](const NetInterface&) { return Line(0); }},
    // Without what dev_get_flags() adds for other interfaces.
    {"flags",
     [](const NetInterface& i) {
       return Hex(i.flags & 0xffff & ~static_cast<uint32_t>(abi::kIFF_RUNNING));
     }},
    {"ifalias", [](const NetInterface&) { return std::string(); }},
    {"ifindex", [](const NetInterface& i) { return Line(i.index); }},
    {"iflink", [](const NetInterface& i) { return Line(i.index); }},
    {"link_mode", [](const NetInterface&) { return Line(0); }},
    {"mtu", [](const NetInterface& i) { return Line(i.mtu); }},
    {"netdev_group", [](const NetInterface&) { return Line(0); }},
    {"operstate",
     [](const NetInterface& i) {
       // Drivers without a carrier to tell of.
       const bool unknown = i.index == kLoopbackIndex || (!i.kind.empty() && Up(i));
       return std::string(unknown ? "unknown\n" : Up(i) ? "up\n" : "down\n");
     }},
    {"tx_queue_len", [](const NetInterface& i) { return Line(i.txqlen); }},
    {"type", [](const NetInterface& i) { return Line(i.type); }},
    {"uevent",
     [](const NetInterface& i) {
       return "INTERFACE=" + i.name + "\nIFINDEX=" + std::to_string(i.index) + "\n";
     }},
};
// Those that are counted; all others are 0.
constexpr const char* kBytes[] = {"rx_bytes", "tx_bytes"};
constexpr const char* kPackets[] = {"rx_packets", "tx_packets"};
constexpr const char* kNothing[] = {
    "collisions",        "multicast",         "rx_compressed",       "rx_crc_errors",
    "rx_dropped",        "rx_errors",         "rx_fifo_errors",      "rx_frame_errors",
    "rx_length_errors",  "rx_missed_errors",  "rx_nohandler",        "rx_over_errors",
    "tx_aborted_errors", "tx_carrier_errors", "tx_compressed",       "tx_dropped",
    "tx_errors",         "tx_fifo_errors",    "tx_heartbeat_errors", "tx_window_errors"};

base::Result<NetInterface> Present(NetStack& stack, std::string_view name) {
  for (NetInterface& i : stack.Interfaces()) {
    if (i.name == name) return std::move(i);
  }
  return abi::Errno::kENOENT;
}

class InterfacesDir : public SynthDir {
 public:
  // links: to the directories, in ../../devices/virtual/net.
  InterfacesDir(base::Ref<Superblock> sb, uint64_t ino, base::Ref<NetStack> stack, bool links)
      : SynthDir(std::move(sb), 0755, ino), stack_(std::move(stack)), links_(links) {}

  base::Result<void> List(int64_t after, std::vector<Entry>* out) override {
    std::vector<NetInterface> all = stack_->Interfaces();
    std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.index < b.index; });
    for (const NetInterface& i : all) {
      const int64_t cookie = kFirstCookie + i.index;
      if (cookie > after) out->push_back({i.name, InodeOf(i), links_ ? kDtLnk : kDtDir, cookie});
    }
    return {};
  }

  base::Result<base::Ref<Inode>> Lookup(const Creds& creds, std::string_view name) override {
    const NetInterface i = TRY(Present(*stack_, name));
    base::Ref<Superblock> owner(&sb());
    if (links_) {
      return base::Ref<Inode>(base::MakeRef<SynthLink>(
          std::move(owner), InodeOf(i), [target = "../../devices/virtual/net/" + i.name] {
            return base::Result<std::string>(target);
          }));
    }
    auto dir = base::MakeRef<SynthStaticDir>(std::move(owner), 0755, InodeOf(i));
    for (const Attribute& a : kAttributes) {
      dir->AddFile(a.name, 0444,
                   [stack = stack_, n = i.name, text = a.text]() -> base::Result<std::string> {
                     return text(TRY(Present(*stack, n)));
                   });
    }
    dir->AddLink("subsystem", "../../../../class/net");
    base::Ref<SynthStaticDir> statistics = dir->AddDir("statistics", 0755);
    const bool lo = i.index == kLoopbackIndex;
    auto count = [&](const char* file, std::atomic<uint64_t> NetCounters::*counter) {
      statistics->AddFile(file, 0444, [stack = stack_, lo, counter] {
        return base::Result<std::string>(Line(lo ? (stack->counters.*counter).load() : 0));
      });
    };
    for (const char* file : kBytes) count(file, &NetCounters::lo_bytes);
    for (const char* file : kPackets) count(file, &NetCounters::lo_packets);
    for (const char* file : kNothing) statistics->AddText(file, "0\n");
    base::Ref<SynthStaticDir> queues = dir->AddDir("queues", 0755);
    for (const char* queue : {"rx-0", "tx-0"}) queues->AddDir(queue, 0755);
    return base::Ref<Inode>(std::move(dir));
  }

 private:
  // The same for List and Lookup, and for no other file of the instance.
  uint64_t InodeOf(const NetInterface& i) const {
    return ino() << 32 | static_cast<uint32_t>(i.index);
  }
  const base::Ref<NetStack> stack_;
  const bool links_;
};

}  // namespace

void AddNetDevices(Kernel& kernel, SynthStaticDir& cls, SynthStaticDir& devices) {
  const Task* mounter = Task::Current();
  base::Ref<NetStack> stack =
      mounter != nullptr ? NetStack::Of(*mounter) : NetStack::Of(*kernel.root_net_ns());
  base::Ref<Superblock> owner(&cls.sb());
  cls.Add("net", base::MakeRef<InterfacesDir>(owner, owner->NextIno(), stack, true));
  devices.Add("net", base::MakeRef<InterfacesDir>(owner, owner->NextIno(), stack, false));
}

}  // namespace sentry
