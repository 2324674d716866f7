#include "sentry/socket/unix/unix_names.h"

namespace sentry {

UnixNames& UnixNames::Get() {
  static auto* n = new UnixNames;
  return *n;
}

bool UnixNames::Add(const std::string& key, UnixEnd* end) {
  base::MutexLock lock(mu_);
  return names_.try_emplace(key, end).second;
}

void UnixNames::Remove(const std::string& key) {
  base::MutexLock lock(mu_);
  names_.erase(key);
}

base::Ref<UnixEnd> UnixNames::Find(const std::string& key) {
  base::MutexLock lock(mu_);
  auto it = names_.find(key);
  if (it == names_.end() || !it->second->TryIncRef()) return nullptr;
  return base::Ref<UnixEnd>::Adopt(it->second);
}

std::string AbstractKey(Task& task, int32_t type, const SockAddr& addr) {
  const void* ns = task.net_ns().get();
  std::string key(reinterpret_cast<const char*>(&ns), sizeof ns);
  key.push_back(static_cast<char>(type));
  key.append(reinterpret_cast<const char*>(addr.bytes.data()) + 2, addr.len - 2);
  return key;
}

}  // namespace sentry
