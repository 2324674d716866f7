#include "platform/kvm/kvm.h"

#include <optional>

#include "platform/host/host.h"
#include "platform/kvm/machine.h"
#include "platform/kvm/space.h"
#include "platform/stub/layout.h"

namespace platform::kvm {
namespace {

class Engine final : public Platform {
 public:
  base::Status Init(const Options& options, base::UniqueFd device);
  const char* name() const override { return "kvm"; }
  UserRange user_range() const override { return {stub::kGuestMin, stub::kBase}; }
  base::Result<base::Ref<AddressSpace>> NewAddressSpace() override {
    base::Ref<Space> s = Space::Make(machine_, stub_ ? &*stub_ : nullptr);
    if (!s) return abi::Errno::kENOMEM;
    return base::Ref<AddressSpace>(s);
  }
  std::span<const uint8_t> initial_fp() const override { return machine_.fp_layout().initial; }
  uint64_t guest_clock_gettime() const override { return machine_.clock_gettime(); }
  // Its guests are threads of the sentry, and end with it.
  void Shutdown() override {}

  std::string Stats() { return machine_.Stats(); }

 private:
  enum class Trial { kRuns, kDoesNotRun, kFails };
  // A guest that makes a system call, after asking for the time if it can.
  Trial Try();

  Machine machine_;
  std::optional<Stub> stub_;  // where call sites are patched
};

constexpr uint64_t kTrialCode = 0x400000, kTrialData = 0x401000;
constexpr uint8_t kTrial[] = {
    0x4d, 0x85, 0xff,              // test %r15, %r15
    0x74, 0x03,                    // jz 1f
    0x41, 0xff, 0xd7,              // call *%r15
    0xb8, 0x27, 0x00, 0x00, 0x00,  // 1: mov $39, %eax
    0x0f, 0x05,                    // syscall
};

Engine::Trial Engine::Try() {
  base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
  if (!fd || host::Ftruncate(fd.get(), 2 * kPage) < 0 ||
      host::Pwrite(fd.get(), kTrial, sizeof kTrial, 0) != sizeof kTrial)
    return Trial::kFails;
  auto file = base::MakeRef<MapFile>(std::move(fd));
  auto space = NewAddressSpace();
  if (!space.ok()) return Trial::kFails;
  (*space)->Map(kTrialCode, kPage, file, 0, kProtRead | kProtExec);
  (*space)->Map(kTrialData, kPage, file, kPage, kProtRead | kProtWrite);
  Regs regs{};
  regs.rip = kTrialCode;
  regs.rsp = kTrialData + kPage;
  regs.r15 = guest_clock_gettime();
  regs.rdi = CLOCK_MONOTONIC;
  regs.rsi = kTrialData;
  auto thread = (*space)->NewThread(nullptr, regs, {});
  if (!thread.ok()) return Trial::kFails;
  return (*thread)->Run().kind == Stop::Kind::kSyscall ? Trial::kRuns : Trial::kDoesNotRun;
}

base::Status Engine::Init(const Options& options, base::UniqueFd device) {
  RETURN_IF_ERROR(machine_.Init(std::move(device)));
  if (options.patch) {
    RETURN_IF_ERROR(stub_.emplace().Init());
    // Their windows stay.
    machine_.files().AddUser(*stub_->text());
    machine_.files().AddUser(*stub_->code());
  }
  Trial trial = Try();
  if (trial == Trial::kDoesNotRun && machine_.clock_gettime() != 0) {
    machine_.ForgetClock();
    trial = Try();
  }
  if (trial == Trial::kDoesNotRun) return base::Status::Error("an ordinary guest doesn't run");
  if (trial == Trial::kFails) return base::Status::Error("no memory for a guest");
  return {};
}

}  // namespace

base::StatusOr<std::unique_ptr<Platform>> Create(const Options& options, base::UniqueFd device) {
  auto engine = std::make_unique<Engine>();
  if (base::Status s = engine->Init(options, std::move(device)); !s.ok())
    return std::move(s).With("kvm");
  return std::unique_ptr<Platform>(std::move(engine));
}

std::string Stats(Platform& engine) { return static_cast<Engine&>(engine).Stats(); }

}  // namespace platform::kvm
