#include "sentry/loader/vdso.h"

#include <cstring>

#include "platform/host/host.h"
#include "sentry/loader/vdso/data.h"

__asm__(
    ".pushsection .rodata\n"
    ".balign 64\n"
    ".hidden moat_vdso_begin\n"
    ".hidden moat_vdso_end\n"
    "moat_vdso_begin: .incbin \"" MOAT_VDSO
    "\"\n"
    "moat_vdso_end:\n"
    ".popsection\n");

extern "C" {
extern const uint8_t moat_vdso_begin[] __attribute__((visibility("hidden")));
extern const uint8_t moat_vdso_end[] __attribute__((visibility("hidden")));
}

namespace sentry {
namespace {

// A part of the file that holds one page of data and then the image.
class VdsoPart : public Mappable {
 public:
  VdsoPart(base::Ref<MemoryFile> file, uint64_t start, uint64_t len)
      : file_(std::move(file)), start_(start), len_(len) {}
  base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) override {
    if (write || offset >= len_) return abi::Errno::kEACCES;
    return Extent{file_, start_ + offset, std::min(len, len_ - offset)};
  }
  uint64_t size() override { return len_; }

 private:
  const base::Ref<MemoryFile> file_;
  const uint64_t start_, len_;
};

struct VdsoParts : public base::RefCounted {
  base::Ref<VdsoPart> data, code;
};

base::Mutex<base::LockClass::kLeaf> mu;
VdsoParts* parts GUARDED_BY(mu) = nullptr;
VdsoData parts_data GUARDED_BY(mu) = {};

// Made once for all guests (anew only if a test's platform differs).
base::Result<base::Ref<VdsoParts>> Parts(const VdsoData& data) {
  uint64_t code = static_cast<uint64_t>(moat_vdso_end - moat_vdso_begin);
  uint64_t len = kPageSize + PageUp(code);
  {
    base::MutexLock lock(mu);
    if (parts && memcmp(&parts_data, &data, sizeof data) == 0) return base::Ref<VdsoParts>(parts);
  }
  auto file = TRY(MemoryFile::Create(len));
  if (host::Pwrite(file->fd(), &data, sizeof data, 0) != static_cast<long>(sizeof data) ||
      host::Pwrite(file->fd(), moat_vdso_begin, code, kPageSize) != static_cast<long>(code)) {
    return abi::Errno::kENOMEM;
  }
  auto made = base::MakeRef<VdsoParts>();
  made->data = base::MakeRef<VdsoPart>(file, 0, kPageSize);
  made->code = base::MakeRef<VdsoPart>(file, kPageSize, len - kPageSize);
  base::MutexLock lock(mu);
  // Kept for the life of the process.
  parts = base::Ref<VdsoParts>(made).Release();
  parts_data = data;
  return made;
}

}  // namespace

base::Result<uint64_t> MapVdso(MemoryManager& mm, const platform::Platform& platform,
                               int cpu_count) {
  VdsoData data{platform.guest_clock_gettime(), static_cast<uint32_t>(cpu_count), 0};
  base::Ref<VdsoParts> object = TRY(Parts(data));
  MmapArgs all;
  all.len = object->data->size() + object->code->size();
  all.prot = platform::kProtNone;
  uint64_t base = TRY(mm.Mmap(all));
  MmapArgs a;
  a.addr = base;
  a.fixed = true;
  a.len = kPageSize;
  a.prot = platform::kProtRead;
  a.mappable = object->data;
  a.special_name = "[vvar]";
  TRY(mm.Mmap(a));
  a.addr = base + kPageSize;
  a.len = object->code->size();
  a.mappable = object->code;
  a.prot = platform::kProtRead | platform::kProtExec;
  a.special_name = "[vdso]";
  TRY(mm.Mmap(a));
  return base + kPageSize;
}

}  // namespace sentry
