// What network namespaces know of AF_UNIX: abstract names (unix(7)), and all sockets.
#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "sentry/socket/unix/unix_socket.h"

namespace sentry {

class UnixNames {
 public:
  static UnixNames& Get();
  // False: taken.
  bool Add(const std::string& key, UnixEnd* end);
  void Remove(const std::string& key);
  base::Ref<UnixEnd> Find(const std::string& key);

  void AddSocket(UnixSocket* s);
  void RemoveSocket(UnixSocket* s);
  // /proc/net/unix.
  std::string Show(const NetNamespace& net);

 private:
  base::Mutex<base::LockClass::kSocketTable> mu_;
  absl::flat_hash_map<std::string, UnixEnd*> names_ GUARDED_BY(mu_);
  absl::flat_hash_set<UnixSocket*> sockets_ GUARDED_BY(mu_);
};

// The table's key: namespace, type (Linux hashes it in), name with its leading NUL.
std::string AbstractKey(Task& task, int32_t type, const SockAddr& addr);

}  // namespace sentry
