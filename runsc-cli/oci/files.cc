#include "runsc-cli/oci/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace runsc {

using base::Status;

namespace {

constexpr size_t kMaxFile = 16 << 20;

}  // namespace

Status ReadText(const std::string& path, std::string* text) {
  base::UniqueFd file;
  int fd = 0;
  if (path != "-") {
    file.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return Status::Errno(path, errno);
    fd = file.get();
  }
  char buf[16384];
  for (;;) {
    ssize_t n = read(fd, buf, sizeof buf);
    if (n < 0) return Status::Errno(path, errno);
    if (n == 0) return {};
    text->append(buf, static_cast<size_t>(n));
    if (text->size() > kMaxFile) return Status::Error(path + " is larger than 16 MiB");
  }
}

std::string ReadLine(const std::string& path) {
  std::string text;
  if (!ReadText(path, &text).ok()) return "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Status WriteText(const std::string& path, const std::string& text) {
  base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Status::Errno(path, errno);
  ssize_t n;
  do {
    n = write(fd.get(), text.data(), text.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return Status::Errno("failed to write \"" + text + "\" to " + path, errno);
  return {};
}

Status WriteAtomically(const std::string& path, const std::string& text, unsigned mode) {
  const size_t name = path.rfind('/') + 1;
  const std::string part = path.substr(0, name) + "." + path.substr(name) + ".part";
  base::UniqueFd fd(open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return Status::Errno(path, errno);
  for (size_t at = 0; at < text.size();) {
    ssize_t n = write(fd.get(), text.data() + at, text.size() - at);
    if (n < 0) return Status::Errno(path, errno);
    at += static_cast<size_t>(n);
  }
  if (rename(part.c_str(), path.c_str()) != 0) return Status::Errno(path, errno);
  return {};
}

Status TextFile(const std::string& text, base::UniqueFd* out) {
  out->reset(memfd_create("text", MFD_CLOEXEC));
  if (!*out || write(out->get(), text.data(), text.size()) < 0 ||
      lseek(out->get(), 0, SEEK_SET) != 0) {
    return Status::Errno("a file in memory", errno);
  }
  return {};
}

std::vector<std::string> ListDirectory(const std::string& path) {
  std::vector<std::string> names;
  DIR* d = opendir(path.c_str());
  if (d == nullptr) return names;
  while (const dirent* e = readdir(d)) {
    const std::string name = e->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(d);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace runsc
