#include "platform/kvm/probe.h"

#include <cpuid.h>
#include <errno.h>

#include <cstring>

#include "platform/host/host.h"
#include "platform/host/kvm_abi.h"
#include "platform/kvm/kvm.h"

namespace platform::kvm {

using base::Status;

Status Judge(const HostFacts& facts) {
  if (facts.open_error == ENOENT)
    return Status::Error("there is no /dev/kvm; load the module kvm-intel or kvm-amd");
  if (facts.open_error == EACCES || facts.open_error == EPERM)
    return Status::Error("no access to /dev/kvm; join its group (usually kvm)");
  if (facts.open_error != 0) return Status::Errno("/dev/kvm", facts.open_error);
  if (!facts.vmx && !facts.svm) {
    return Status::Error(
        "the processor shows neither VMX nor SVM, so /dev/kvm is a software implementation, which "
        "interprets ring 0 and can't run ordinary guests; hardware or nested virtualisation would "
        "change it");
  }
  if (!facts.fsgsbase) return Status::Error("the processor has no FSGSBASE");
  if (facts.version != KVM_API_VERSION)
    return Status::Error("/dev/kvm speaks version " + std::to_string(facts.version));
  return {};
}

base::StatusOr<base::UniqueFd> OpenDevice() {
  HostFacts facts;
  long fd = host::Call<SYS_openat>(AT_FDCWD, "/dev/kvm", O_RDWR | O_CLOEXEC, 0);
  base::UniqueFd device(fd < 0 ? -1 : static_cast<int>(fd));
  if (fd < 0) facts.open_error = static_cast<int>(-fd);
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d)) facts.vmx = (c & 1 << 5) != 0;
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) facts.svm = (c & 1 << 2) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) facts.fsgsbase = (b & 1) != 0;
  // A software implementation isn't asked anything.
  if (device && (facts.vmx || facts.svm))
    facts.version = static_cast<int>(host::Ioctl(device.get(), KVM_GET_API_VERSION, nullptr));
  if (Status s = Judge(facts); !s.ok()) return s;
  return device;
}

}  // namespace platform::kvm
