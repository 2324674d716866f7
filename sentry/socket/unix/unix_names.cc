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

void UnixNames::AddSocket(UnixSocket* s) {
  base::MutexLock lock(mu_);
  sockets_.insert(s);
}

void UnixNames::RemoveSocket(UnixSocket* s) {
  base::MutexLock lock(mu_);
  sockets_.erase(s);
}

std::string UnixNames::Show(const NetNamespace& net) {
  std::vector<base::Ref<UnixSocket>> shown;
  {
    base::MutexLock lock(mu_);
    for (UnixSocket* s : sockets_) {
      if (s->net() == &net && s->TryIncRef()) shown.push_back(base::Ref<UnixSocket>::Adopt(s));
    }
  }
  std::string out = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  for (const base::Ref<UnixSocket>& s : shown) out += s->Show();
  return out;
}

std::string AbstractKey(Task& task, int32_t type, const SockAddr& addr) {
  const void* ns = task.net_ns().get();
  std::string key(reinterpret_cast<const char*>(&ns), sizeof ns);
  key.push_back(static_cast<char>(type));
  key.append(reinterpret_cast<const char*>(addr.bytes.data()) + 2, addr.len - 2);
  return key;
}

}  // namespace sentry
