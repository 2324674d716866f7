// BackingFile: a host file whose bytes guests may map and the sentry reads and writes through
// windows of its own: a memory file, a tmpfs file's storage, or a file donated by the gofer.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "platform/api/platform.h"
#include "platform/base/mutex.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"

namespace sentry {

class BackingFile : public base::RefCounted {
 public:
  // fd: opened read-write if writable, else read-only; stable: as MapFile's. The windows that the
  // sentry maps are unmapped with the object.
  BackingFile(base::UniqueFd fd, bool writable, bool stable = false);
  ~BackingFile() override;

  // For AddressSpace::Map.
  const base::Ref<platform::MapFile>& map_file() const { return map_file_; }
  int fd() const { return map_file_->fd(); }
  bool writable() const { return writable_; }
  // A view through which guests can only read, or null if there is none: mapped where the guest
  // may not write.
  virtual base::Ref<platform::MapFile> read_only() const { return {}; }

  // A sentry pointer to offset, valid while the object lives, and in *len how many of the asked
  // bytes are contiguous there. Access only through host::SafeCopy and friends: the file may be
  // shorter or shrink (SIGBUS). nullptr when the host refuses.
  uint8_t* Window(uint64_t offset, uint64_t* len);

 private:
  const base::Ref<platform::MapFile> map_file_;
  const bool writable_;
  base::Mutex<base::LockClass::kMemoryFile> mu_;
  absl::flat_hash_map<uint64_t, uint8_t*> windows_ GUARDED_BY(mu_);
};

}  // namespace sentry
