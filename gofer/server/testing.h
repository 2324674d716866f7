// For tests: a directory that goes away, and a gofer thread serving it.
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gofer/server/server.h"
#include "gofer/wire/testing.h"

namespace gofer::testing {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/gofer_test.XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempDir() {
    auto remove_one = [](const char* path, const struct stat*, int, struct FTW*) {
      return ::remove(path);
    };
    nftw(path_.c_str(), remove_one, 64, FTW_DEPTH | FTW_PHYS);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  base::UniqueFd OpenRoot() const {
    return base::UniqueFd(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }

 private:
  std::string path_;
};

inline void WriteFile(const std::string& path, const std::string& content, int mode = 0644) {
  base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (write(fd.get(), content.data(), content.size()) < 0) abort();
  fchmod(fd.get(), mode);
}

inline std::string ReadFile(const std::string& path) {
  base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  ssize_t n = read(fd.get(), buffer, sizeof(buffer));
  return n < 0 ? "" : std::string(buffer, n);
}

using ServerThread = ServerThreadOf<ServerOptions, &ServerMain>;

}  // namespace gofer::testing
