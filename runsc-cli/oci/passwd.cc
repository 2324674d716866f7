#include "runsc-cli/oci/passwd.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace runsc {
namespace {

using base::Status;

// Lines of a file below root, split at colons; links can't lead out of root.
std::vector<std::vector<std::string>> ReadTable(const std::string& root, const char* path) {
  std::vector<std::vector<std::string>> rows;
  int dir = open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return rows;
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  int fd = static_cast<int>(syscall(SYS_openat2, dir, path, &how, sizeof how));
  close(dir);
  if (fd < 0) return rows;
  std::string text;
  char buf[4096];
  ssize_t n;
  while (text.size() < (4 << 20) && (n = read(fd, buf, sizeof buf)) > 0) text.append(buf, n);
  close(fd);
  rows.emplace_back(1);
  for (char c : text) {
    if (c == '\n') {
      rows.emplace_back(1);
    } else if (c == ':') {
      rows.back().emplace_back();
    } else {
      rows.back().back() += c;
    }
  }
  return rows;
}

bool Number(const std::string& s, uint32_t* out) {
  if (s.empty() || s.size() > 10) return false;
  uint64_t v = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return false;
    v = v * 10 + (c - '0');
  }
  *out = static_cast<uint32_t>(v);
  return v < UINT32_MAX;
}

}  // namespace

Status ResolveUser(const std::string& root, const std::string& text, ProcessSpec* process,
                   std::string* home) {
  size_t colon = text.find(':');
  const std::string user = text.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : text.substr(colon + 1);
  home->assign(1, '/');
  std::string name = user;
  bool found = false;
  uint32_t number = 0;
  const bool numeric = Number(user, &number);
  for (const auto& row : ReadTable(root, "etc/passwd")) {
    uint32_t uid, gid;
    if (row.size() < 6 || !Number(row[2], &uid) || !Number(row[3], &gid)) continue;
    if (row[0] == user || (numeric && uid == number)) {
      process->uid = uid;
      process->gid = gid;
      *home = row[5];
      name = row[0];
      found = true;
      break;
    }
  }
  if (!found) {
    if (!numeric)
      return Status::Error("user \"" + user +
                           "\" is not in the root's /etc/passwd; a number would do");
    process->uid = number;
    process->gid = 0;
  }
  process->groups.clear();
  bool group_found = group.empty();
  if (!group.empty() && Number(group, &process->gid)) group_found = true;
  for (const auto& row : ReadTable(root, "etc/group")) {
    uint32_t gid;
    if (row.size() < 3 || !Number(row[2], &gid)) continue;
    if (!group_found && row[0] == group) {
      process->gid = gid;
      group_found = true;
    }
    if (row.size() < 4 || !group.empty()) continue;
    size_t at = 0;
    const std::string& members = row[3];
    while (at <= members.size()) {
      size_t comma = members.find(',', at);
      if (comma == std::string::npos) comma = members.size();
      if (comma > at && members.compare(at, comma - at, name) == 0) process->groups.push_back(gid);
      at = comma + 1;
    }
  }
  if (!group_found)
    return Status::Error("group \"" + group +
                         "\" is not in the root's /etc/group; a number would do");
  return {};
}

}  // namespace runsc
