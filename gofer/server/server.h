// The gofer: serves the mounts of one container to one sentry, and believes nothing of what the
// sentry sends.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "gofer/server/nodes.h"
#include "gofer/wire/messages.h"
#include "platform/base/fd.h"

namespace gofer {

struct ServerOptions {
  base::UniqueFd socket;  // SOCK_SEQPACKET, connected to the sentry
  std::vector<ServedMount> mounts;
  // Descriptors that the table of directories may hold; 0: as many as RLIMIT_NOFILE leaves.
  size_t max_fds = 0;
  size_t max_nodes = 1 << 20;
  // Called once, after set-up and before the first message: boot installs the system call filter
  // here. False ends the server.
  std::function<bool()> lock_down;
};

// Serves until the sentry closes its end; 0 then, 1 after a failed set-up or a message that no
// client of ours sends. Not to be run beside other threads that rely on the process's umask.
int ServerMain(ServerOptions options);

// What ServerMain runs for each message. Single-threaded; knows nothing of sockets.
class Server {
 public:
  Server(std::vector<ServedMount> mounts, size_t max_fds, size_t max_nodes);
  ~Server();

  using Fds = absl::InlinedVector<base::UniqueFd, 1>;
  struct Reply {
    size_t size = 0;  // 0: no reply is due
    Fds fds;
  };
  // Handles one message; the reply goes to out (of wire::kMaxMessage bytes). False: malformed, the
  // connection must be closed.
  bool Handle(std::span<const uint8_t> message, std::span<uint8_t> out, Reply* reply);

  const NodeTable& nodes() const { return nodes_; }

 private:
  // Where a call acts: name in directory fd, or the descriptor itself if name is "".
  struct At {
    int fd = -1;
    char name[wire::kMaxName + 1] = {0};
    Node* node = nullptr;
  };
  struct Stream;
  struct Lister;
  // Each handler reads its body from in, writes the reply's to out and returns 0 or -errno. A body
  // that doesn't parse is marked by in.Fail(); nothing may have been done then.
  using Handler = int (Server::*)(wire::Reader& in, wire::Writer& out, Fds* fds);
  static Handler HandlerOf(uint32_t op);

  // The checks that every handler starts with; each returns 0 or -errno.
  int ReadNode(wire::Reader& in, Node** node);
  int ReadName(wire::Reader& in, char (&name)[wire::kMaxName + 1]);
  int ReadPath(wire::Reader& in, std::string* path);  // "": the node itself
  int ReadTarget(wire::Reader& in, At* at);
  int ReadChild(wire::Reader& in, At* at, bool change);
  int Resolve(Node* node, At* at);

  int Attach(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Walk(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Getattr(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Setattr(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Open(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Create(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Mkdir(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Symlink(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Link(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Mknod(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Unlink(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Rename(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Readlink(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Readdir(wire::Reader& in, wire::Writer& out, Fds* fds);
  int List(wire::Reader& in, wire::Writer& out, Fds* fds);
  int OpenMany(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Statfs(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Fsync(wire::Reader& in, wire::Writer& out, Fds* fds);
  int SyncFs(wire::Reader& in, wire::Writer& out, Fds* fds);
  int GetXattr(wire::Reader& in, wire::Writer& out, Fds* fds);
  int SetXattr(wire::Reader& in, wire::Writer& out, Fds* fds);
  int ListXattr(wire::Reader& in, wire::Writer& out, Fds* fds);
  int RemoveXattr(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Forget(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Flush(wire::Reader& in, wire::Writer& out, Fds* fds);
  int Settle(wire::Reader& in, wire::Writer& out, Fds* fds);

  // host::OpenBeneath that makes room when the process is out of descriptors.
  int OpenAt(int dir, const char* name, int flags, uint32_t mode);
  // One step of a walk: `name` in the directory `dir`, opened and entered into the table if it is a
  // directory itself.
  int Step(Node* dir, int dir_fd, const char* name, bool expect_directory, wire::WalkEntry* entry,
           Node** node);
  int OpenRegular(const At& at, uint32_t flags, wire::Attr* attr, base::UniqueFd* fd);
  // For fchmod, fsync and attributes: the object opened for reading (no device, socket or symlink),
  // or -errno.
  int OpenPlain(const At& at, base::UniqueFd* fd);
  int Chmod(const At& at, uint32_t mode);
  // Answers with the object's attributes as they are now.
  static int PutAttr(const At& at, wire::Writer& out);
  // Gives a new object its owner, and its mode again if the host took bits from it.
  int Own(const At& at, uint32_t uid, uint32_t gid, uint32_t mode, wire::Attr* attr);
  // Before an object leaves its directory: keeps it reachable if it must stay so (*node, or null),
  // and tells what it is.
  struct Leaving {
    base::UniqueFd fd;
    Node* node = nullptr;
    uint64_t dev = 0, ino = 0;
  };
  int BeforeRemoval(const At& at, bool pin, Leaving* leaving);
  wire::NodeId AfterRemoval(const At& at, bool pin, Leaving* leaving);
  // The directory at a path below fd, the descriptor of a node; held if it was opened for that.
  int OpenPath(int fd, const std::string& path, base::UniqueFd* held);
  Stream* StreamFor(Node* node, uint64_t cookie, int* error);

  std::vector<ServedMount> mounts_;
  NodeTable nodes_;
  std::vector<std::unique_ptr<Stream>> streams_;  // open directory streams, the latest last
  std::vector<char> dirents_;
};

}  // namespace gofer
