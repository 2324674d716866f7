#include "runsc-cli/boot/engines.h"

#include "platform/host/filter.h"
#include "platform/kvm/kvm.h"
#include "platform/ptrace/ptrace.h"
#include "platform/systrap/systrap.h"

namespace runsc {

using base::Status;
using base::StatusOr;
using base::UniqueFd;
using PlatformOr = StatusOr<std::unique_ptr<platform::Platform>>;

struct EngineRow {
  const char* name;
  PlatformOr (*create)(const platform::Options&, UniqueFd device);
  uint32_t roles;
  StatusOr<UniqueFd> (*open)();  // its device; also says whether this host can run it
  std::string (*stats)(platform::Platform& platform);  // or nullptr
};

namespace {

StatusOr<UniqueFd> NoDevice() { return UniqueFd(); }

constexpr EngineRow kEngines[] = {
    {"systrap", [](const platform::Options& o, UniqueFd) { return platform::systrap::Create(o); },
     host::kSentry, NoDevice, nullptr},
    {"ptrace", [](const platform::Options& o, UniqueFd) { return platform::ptrace::Create(o); },
     host::kSentry | host::kPtrace, NoDevice, nullptr},
    {"kvm", platform::kvm::Create, host::kSentry | host::kKvm, platform::kvm::OpenDevice,
     platform::kvm::Stats},
};
// What auto tries, in this order.
constexpr const char* kPreferred[] = {"kvm", "systrap"};
constexpr const char* kAuto = "auto";

const EngineRow* Find(const std::string& name) {
  for (const EngineRow& e : kEngines) {
    if (name == e.name) return &e;
  }
  return nullptr;
}

}  // namespace

Status CheckEngineName(const std::string& name) {
  if (name == kAuto || Find(name) != nullptr) return {};
  return Status::Error("unknown platform \"" + name + "\": there are " + kEngineNames);
}

StatusOr<Engine> ChooseEngine(const std::string& name) {
  RETURN_IF_ERROR(CheckEngineName(name));
  if (name == kAuto) {
    for (const char* preferred : kPreferred) {
      StatusOr<Engine> e = ChooseEngine(preferred);
      if (e.ok()) return e;
    }
  }
  const EngineRow* row = Find(name);
  StatusOr<UniqueFd> device = row->open();
  if (!device.ok()) return device.status().With("the engine " + name);
  return Engine{row, std::move(device).value()};
}

PlatformOr MakeEngine(Engine engine, const platform::Options& options) {
  return engine.row->create(options, std::move(engine.device));
}

std::string EngineStats(const EngineRow& row, platform::Platform& platform) {
  return row.stats != nullptr ? row.stats(platform) : "";
}

uint32_t EngineRoles(const Engine& engine) { return engine.row->roles; }

std::string DescribeEngines() {
  std::string out;
  for (const EngineRow& e : kEngines) {
    StatusOr<UniqueFd> device = e.open();
    std::string name = e.name;
    name.resize(8, ' ');
    out += name + (device.ok() ? "yes" : "no: " + device.status().text()) + "\n";
  }
  StatusOr<Engine> best = ChooseEngine(kAuto);
  if (best.ok()) out += std::string("auto    is ") + best->row->name + "\n";
  return out;
}

}  // namespace runsc
