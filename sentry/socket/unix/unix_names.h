// Abstract names (unix(7)): each network namespace has its own.
#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "sentry/socket/unix/unix_socket.h"

namespace sentry {

class UnixNames {
 public:
  static UnixNames& Get();
  // False: taken.
  bool Add(const std::string& key, UnixEnd* end);
  void Remove(const std::string& key);
  base::Ref<UnixEnd> Find(const std::string& key);

 private:
  base::Mutex<base::LockClass::kSocketTable> mu_;
  absl::flat_hash_map<std::string, UnixEnd*> names_ GUARDED_BY(mu_);
};

// The table's key: namespace, type (Linux hashes it in), name with its leading NUL.
std::string AbstractKey(Task& task, int32_t type, const SockAddr& addr);

}  // namespace sentry
