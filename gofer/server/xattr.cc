// Extended attributes, xattr(7). Only "user." attributes are the guest's to change: "security.",
// "trusted." and "system." ones mean something to the host. File capabilities may be read, since
// the sentry applies them at execve.
#include <cerrno>
#include <cstring>
#include <string>

#include "gofer/server/server.h"
#include "gofer/server/stream.h"
#include "platform/host/file_calls.h"

namespace gofer {

namespace {

constexpr std::string_view kUserPrefix = "user.";
constexpr std::string_view kCapability = "security.capability";

// 0 or -errno; a name that no client of ours sends fails the message.
int ReadXattrName(wire::Reader& in, bool change, std::string* name) {
  std::string_view s = in.String(wire::kMaxXattrName);
  if (!in.ok() || s.empty() || s.find('\0') != s.npos) return in.Fail(), -EPROTO;
  if (!s.starts_with(kUserPrefix) && (change || s != kCapability)) {
    return change ? -EPERM : -EOPNOTSUPP;
  }
  *name = s;
  return 0;
}

}  // namespace

int Server::GetXattr(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  std::string name;
  if (int r = ReadTarget(in, &at); r < 0) return r;
  int named = ReadXattrName(in, false, &name);
  if (!in.Done()) return in.Fail(), -EPROTO;
  if (named < 0) return named;
  base::UniqueFd opened;
  if (int r = OpenPlain(at, &opened); r < 0) return r;
  size_t size_at = out.size();
  out.Put(uint32_t{0});
  uint8_t* value = out.Space(wire::kMaxXattrValue);
  if (value == nullptr) return -EMSGSIZE;
  int64_t n = host::Fgetxattr(opened.get(), name.c_str(), value, wire::kMaxXattrValue);
  if (n < 0) return static_cast<int>(n);
  out.Rewind(size_at + sizeof(uint32_t) + static_cast<size_t>(n));
  out.Patch(size_at, static_cast<uint32_t>(n));
  return 0;
}

int Server::SetXattr(wire::Reader& in, wire::Writer&, Fds*) {
  At at;
  std::string name;
  if (int r = ReadTarget(in, &at); r < 0) return r;
  int named = ReadXattrName(in, true, &name);
  auto flags = in.Get<uint32_t>();
  std::span<const uint8_t> value = in.Blob(wire::kMaxXattrValue);
  if (!in.Done() || flags > 2) return in.Fail(), -EPROTO;  // XATTR_CREATE 1, XATTR_REPLACE 2
  if (at.node->mount->read_only) return -EROFS;
  if (named < 0) return named;
  base::UniqueFd opened;
  if (int r = OpenPlain(at, &opened); r < 0) return r;
  return host::Fsetxattr(opened.get(), name.c_str(), value.data(), value.size(),
                         static_cast<int>(flags));
}

int Server::ListXattr(wire::Reader& in, wire::Writer& out, Fds*) {
  At at;
  if (int r = ReadTarget(in, &at); r < 0) return r;
  if (!in.Done()) return in.Fail(), -EPROTO;
  base::UniqueFd opened;
  if (int r = OpenPlain(at, &opened); r < 0) return r;
  auto names = std::make_unique_for_overwrite<char[]>(wire::kMaxXattrValue);
  int64_t n = host::Flistxattr(opened.get(), names.get(), wire::kMaxXattrValue);
  if (n < 0) return static_cast<int>(n);
  size_t size_at = out.size();
  out.Put(uint32_t{0});
  std::string_view all(names.get(), static_cast<size_t>(n));
  while (!all.empty()) {
    size_t end = all.find('\0');
    if (end == all.npos) break;
    std::string_view name = all.substr(0, end);
    if (name.starts_with(kUserPrefix) || name == kCapability) out.Bytes(name.data(), end + 1);
    all.remove_prefix(end + 1);
  }
  out.Patch(size_at, static_cast<uint32_t>(out.size() - size_at - sizeof(uint32_t)));
  return 0;
}

int Server::RemoveXattr(wire::Reader& in, wire::Writer&, Fds*) {
  At at;
  std::string name;
  if (int r = ReadTarget(in, &at); r < 0) return r;
  int named = ReadXattrName(in, true, &name);
  if (!in.Done()) return in.Fail(), -EPROTO;
  if (at.node->mount->read_only) return -EROFS;
  if (named < 0) return named;
  base::UniqueFd opened;
  if (int r = OpenPlain(at, &opened); r < 0) return r;
  return host::Fremovexattr(opened.get(), name.c_str());
}

}  // namespace gofer
