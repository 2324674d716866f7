#include "platform/kvm/kvm.h"

#include "platform/host/host.h"
#include "platform/kvm/machine.h"
#include "platform/kvm/space.h"
#include "platform/stub/fp_state.h"

namespace platform::kvm {
namespace {

class Engine final : public Platform {
 public:
  base::Status Init(base::UniqueFd device) {
    return machine_.Init(std::move(device), stub::GetFpLayout().features);
  }
  const char* name() const override { return "kvm"; }
  UserRange user_range() const override { return {kGuestMin, kTaskEnd}; }
  base::Result<base::Ref<AddressSpace>> NewAddressSpace() override {
    base::Ref<Space> s = Space::Make(machine_);
    if (!s) return abi::Errno::kENOMEM;
    return base::Ref<AddressSpace>(s);
  }
  std::span<const uint8_t> initial_fp() const override { return stub::GetFpLayout().initial; }
  // Its guests are threads of the sentry, and end with it.
  void Shutdown() override {}

 private:
  Machine machine_;
};

}  // namespace

base::StatusOr<std::unique_ptr<Platform>> Create(const Options&, base::UniqueFd device) {
  auto engine = std::make_unique<Engine>();
  if (base::Status s = engine->Init(std::move(device)); !s.ok()) return std::move(s).With("kvm");
  return std::unique_ptr<Platform>(std::move(engine));
}

}  // namespace platform::kvm
