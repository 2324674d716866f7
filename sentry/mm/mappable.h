// Mappable: what stands behind a file mapping.
#pragma once

#include "sentry/memory/backing_file.h"

namespace sentry {

// All methods are called under the lock of an address space (kMm): implementations take only locks
// behind it, and never wait for a guest.
class Mappable : public base::RefCounted {
 public:
  struct Extent {
    base::Ref<BackingFile> file;
    uint64_t offset;  // in file; page-aligned when the asked offset is
    uint64_t len;     // of the asked length, from its start
  };
  // The host file that holds the object's bytes from offset on. write: through a shared writable
  // mapping (a copy-up may be needed first). Without write, a file that the guest may not change
  // should come with a read-only descriptor (BackingFile::read_only() or one opened so). Errors
  // become SIGBUS at the fault.
  virtual base::Result<Extent> Translate(uint64_t offset, uint64_t len, bool write) = 0;
  // Present size of the object in bytes: pages wholly beyond it fault with SIGBUS.
  virtual uint64_t size() = 0;
  // madvise(MADV_REMOVE): a hole of zeros. EOPNOTSUPP.
  virtual base::Result<void> Punch(uint64_t offset, uint64_t len) {
    return abi::Errno::kEOPNOTSUPP;
  }
  // msync(MS_SYNC).
  virtual base::Result<void> Sync(uint64_t offset, uint64_t len) { return {}; }
  // len bytes are mapped, unmapped: count bytes, not calls, since a mapping is unmapped in pieces.
  virtual void OnMap(uint64_t len, bool shared_writable) {}
  virtual void OnUnmap(uint64_t len, bool shared_writable) {}
};

}  // namespace sentry
