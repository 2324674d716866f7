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

// Serves options.mounts on a thread; ends when the other end of its socket is closed (or is never
// taken).
class ServerThread {
 public:
  // own_table: its descriptors aren't the test's.
  explicit ServerThread(ServerOptions options, bool own_table = false) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) abort();
    client_.reset(fds[0]);
    options.socket.reset(fds[1]);
    thread_ = std::thread(
        [this, own_table, clients = fds[0]](ServerOptions o) {
          if (own_table && (unshare(CLONE_FILES) != 0 || close(clients) != 0)) abort();
          exit_code_ = ServerMain(std::move(o));
        },
        std::move(options));
  }
  ~ServerThread() { Join(); }
  base::UniqueFd TakeClientSocket() { return std::move(client_); }
  // Only after the client's end was closed.
  int Join() {
    client_.reset();
    if (thread_.joinable()) thread_.join();
    return exit_code_;
  }

 private:
  base::UniqueFd client_;
  int exit_code_ = -1;
  std::thread thread_;
};

}  // namespace gofer::testing
