#include "platform/stub/fp_state.h"

#include <signal.h>
#include <ucontext.h>

#include <cstring>

#include "platform/base/log.h"
#include "platform/host/host.h"

namespace platform::stub {
namespace {

constexpr uint32_t kMagic1 = 0x46505853;  // FP_XSTATE_MAGIC1
constexpr uint32_t kMagic2 = 0x46505845;
constexpr size_t kFxSize = 512;
constexpr size_t kSwBytes = 464;
constexpr size_t kMxcsr = 24;
constexpr size_t kMxcsrMask = 28;
constexpr size_t kHeader = 512;  // xstate_bv, xcomp_bv, 48 reserved bytes
constexpr size_t kHeaderSize = 64;

// struct _fpx_sw_bytes
struct SwBytes {
  uint32_t magic1, extended_size;
  uint64_t xfeatures;
  uint32_t xstate_size, padding[7];
};
static_assert(kSwBytes + sizeof(SwBytes) == kFxSize);

uint8_t frame[kFxSize];
void OnSignal(int, siginfo_t*, void* context) {
  memcpy(frame, static_cast<ucontext_t*>(context)->uc_mcontext.fpregs, sizeof frame);
}

// sw: of a kernel with XSAVE, else without the magic number.
FpLayout Layout(SwBytes sw, uint32_t mxcsr_mask) {
  FpLayout l;
  const bool xsave = sw.magic1 == kMagic1;
  l.size = xsave ? sw.extended_size : kFxSize;
  l.xstate_size = xsave ? sw.xstate_size : kFxSize;
  l.features = xsave ? sw.xfeatures : 3;
  l.mxcsr_mask = mxcsr_mask;
  l.initial.resize(l.size);
  uint8_t* p = l.initial.data();
  p[0] = 0x7f;  // FCW 0x37f
  p[1] = 0x03;
  const uint32_t mxcsr = 0x1f80;
  memcpy(p + kMxcsr, &mxcsr, 4);
  memcpy(p + kMxcsrMask, &l.mxcsr_mask, 4);
  if (xsave) {
    memcpy(p + kSwBytes, &sw, sizeof sw);
    memcpy(p + l.xstate_size, &kMagic2, 4);
  }
  return l;
}

FpLayout Learn() {
  struct sigaction sa {
  }, old{};
  sa.sa_sigaction = OnSignal;
  sa.sa_flags = SA_SIGINFO;
  host::Sigaction(SIGUSR1, &sa, &old);
  sigset_t set, old_set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_UNBLOCK, &set, &old_set);
  host::Tgkill(static_cast<int>(host::Getpid()), static_cast<int>(host::Gettid()), SIGUSR1);
  pthread_sigmask(SIG_SETMASK, &old_set, nullptr);
  host::Sigaction(SIGUSR1, &old, nullptr);
  SwBytes sw;
  memcpy(&sw, frame + kSwBytes, sizeof sw);
  uint32_t mxcsr_mask;
  memcpy(&mxcsr_mask, frame + kMxcsrMask, 4);
  return Layout(sw, mxcsr_mask != 0 ? mxcsr_mask : 0xffbf);
}

}  // namespace

const FpLayout& GetFpLayout() {
  static const FpLayout& layout = *new FpLayout(Learn());
  return layout;
}

FpLayout Restrict(const FpLayout& layout, uint64_t features, uint32_t xstate_size) {
  SwBytes sw{};
  if (features != 0) {
    sw.magic1 = kMagic1;
    sw.extended_size = xstate_size + static_cast<uint32_t>(sizeof kMagic2);
    sw.xfeatures = features;
    sw.xstate_size = xstate_size;
  }
  return Layout(sw, layout.mxcsr_mask);
}

bool NormaliseFp(const FpLayout& l, std::span<const uint8_t> fp, uint8_t* out) {
  if (fp.empty()) {
    memcpy(out, l.initial.data(), l.size);
    return true;
  }
  if (fp.size() < kFxSize) return false;
  uint32_t mxcsr;
  memcpy(&mxcsr, fp.data() + kMxcsr, 4);
  if (mxcsr & ~l.mxcsr_mask) return false;
  SwBytes sw;
  memcpy(&sw, fp.data() + kSwBytes, sizeof sw);
  // As the kernel's check_xstate_in_sigframe: a frame without the magic numbers is a bare FXSAVE
  // area.
  bool extended = l.size > kFxSize && fp.size() >= l.size && sw.magic1 == kMagic1 &&
                  sw.extended_size == l.size && sw.xstate_size == l.xstate_size &&
                  memcmp(fp.data() + l.xstate_size, &kMagic2, sizeof kMagic2) == 0;
  if (extended) {
    uint64_t header[kHeaderSize / 8];
    memcpy(header, fp.data() + kHeader, sizeof header);
    if (header[0] & ~l.features) return false;
    for (size_t i = 1; i < kHeaderSize / 8; i++) {
      if (header[i] != 0) return false;
    }
    memcpy(out, fp.data(), l.size);
  } else {
    memcpy(out, l.initial.data(), l.size);
    memcpy(out, fp.data(), kSwBytes);
    if (l.size > kFxSize) {
      uint64_t bv = 3;  // x87 and SSE are in use
      memcpy(out + kHeader, &bv, sizeof bv);
    }
  }
  memcpy(out + kSwBytes, l.initial.data() + kSwBytes, sizeof sw);
  memcpy(out + kMxcsrMask, &l.mxcsr_mask, 4);
  return true;
}

}  // namespace platform::stub
