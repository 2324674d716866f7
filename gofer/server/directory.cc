// Handlers that list directories.
#include <dirent.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "gofer/server/attr.h"
#include "gofer/server/server.h"
#include "gofer/server/stream.h"
#include "platform/host/file_calls.h"

namespace gofer {

namespace {

constexpr size_t kMaxStreams = 4;
constexpr size_t kDirentBuffer = 32 << 10;
constexpr size_t kMaxDepth = 16;
// The most that an entry takes without its name.
constexpr size_t kEntryHead = sizeof(wire::DirEntry) + sizeof(wire::Attr) + sizeof(uint16_t);

// linux_dirent64, getdents64(2): the name follows.
struct Dirent64 {
  uint64_t ino;
  uint64_t off;
  uint16_t reclen;
  uint8_t type;
};
constexpr size_t kDirentName = 19;

// The entries of one call of getdents64(2).
class Dirents {
 public:
  Dirents(const char* data, int64_t size) : data_(data), size_(size) {}
  // False at the end. "." and "..", and what is no name on the wire, have an empty name.
  bool Next(Dirent64* d, std::string_view* name) {
    if (pos_ >= size_) return false;
    std::memcpy(d, data_ + pos_, sizeof(*d));
    *name = data_ + pos_ + kDirentName;
    pos_ += d->reclen;
    if (*name == "." || *name == ".." || name->size() > wire::kMaxName) *name = {};
    return true;
  }

 private:
  const char* data_;
  const int64_t size_;
  int64_t pos_ = 0;
};

bool FlagsOk(uint32_t flags) { return (flags & ~uint32_t{wire::kListAttributes}) == 0; }

enum class Put { kDone, kVanished, kFull };

// limit: what of out may be filled.
Put PutEntry(int dir, const Dirent64& d, std::string_view name, uint32_t flags, size_t limit,
             wire::Writer& out, bool* directory) {
  if (limit < out.size() + kEntryHead + name.size()) return Put::kFull;
  wire::DirEntry e = {.cookie = d.off, .ino = d.ino, .type = d.type, .has_attr = 0};
  wire::Attr attr = {};
  *directory = false;
  if ((flags & wire::kListAttributes) != 0 || d.type == DT_DIR || d.type == DT_UNKNOWN) {
    struct statx st;
    int r = host::Statx(dir, name.data(), &st);
    if (r == -ENOENT) return Put::kVanished;
    if (r == 0) {
      e.has_attr = 1;
      AttrOf(st, &attr);
      *directory = S_ISDIR(attr.mode);
    }
  }
  out.Put(e);
  if (e.has_attr != 0) out.Put(attr);
  out.String(name);
  return Put::kDone;
}

}  // namespace

Server::Stream* Server::StreamFor(Node* node, uint64_t cookie, int* error) {
  auto it = std::find_if(streams_.begin(), streams_.end(),
                         [&](const auto& s) { return s->id == node->id && s->cookie == cookie; });
  if (it != streams_.end()) {
    std::rotate(it, it + 1, streams_.end());
    return streams_.back().get();
  }
  int dir = nodes_.Fd(node);
  if (dir < 0) return *error = dir, nullptr;
  int fd = OpenAt(dir, ".", O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return *error = fd, nullptr;
  auto s = std::make_unique<Stream>();
  s->id = node->id;
  s->fd.reset(fd);
  s->cookie = cookie;
  if (cookie != 0) {
    if (int64_t r = host::Lseek(fd, static_cast<int64_t>(cookie), SEEK_SET); r < 0) {
      return *error = static_cast<int>(r), nullptr;
    }
  }
  if (streams_.size() == kMaxStreams) streams_.erase(streams_.begin());
  streams_.push_back(std::move(s));
  return streams_.back().get();
}

int Server::Readdir(wire::Reader& in, wire::Writer& out, Fds*) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  auto cookie = in.Get<uint64_t>();
  size_t max = in.Get<uint32_t>();
  auto flags = in.Get<uint32_t>();
  if (!in.Done() || max < kEntryHead + wire::kMaxName || !FlagsOk(flags)) {
    return in.Fail(), -EPROTO;
  }
  if (!node->directory) return -ENOTDIR;
  if (cookie > INT64_MAX) return -EINVAL;
  int error = 0;
  Stream* s = StreamFor(node, cookie, &error);
  if (s == nullptr) return error;

  size_t head_at = out.size();
  wire::ReaddirHead head = {};
  out.Put(head);
  size_t limit = out.size() + std::min(max, out.left());
  dirents_.resize(kDirentBuffer);
  bool full = false;
  while (!full) {
    int64_t n = host::Getdents64(s->fd.get(), dirents_.data(), dirents_.size());
    if (n < 0 && head.count == 0) {
      streams_.pop_back();
      return static_cast<int>(n);
    }
    if (n <= 0) {
      head.end = n == 0;
      break;
    }
    Dirents batch(dirents_.data(), n);
    Dirent64 d;
    std::string_view name;
    while (batch.Next(&d, &name)) {
      bool directory;
      Put put = name.empty() ? Put::kVanished
                             : PutEntry(s->fd.get(), d, name, flags, limit, out, &directory);
      if (put == Put::kFull) {
        full = true;
        break;
      }
      head.count += put == Put::kDone;
      s->cookie = d.off;
    }
    if (full) {
      // What was read but not sent is read again next time.
      int64_t r = host::Lseek(s->fd.get(), static_cast<int64_t>(s->cookie), SEEK_SET);
      if (r < 0) s->cookie = UINT64_MAX;
    }
  }
  if (head.end != 0) streams_.pop_back();
  out.Patch(head_at, head);
  return 0;
}

// Writes whole directories, depth first, until the message or their number is full.
struct Server::Lister {
  Server& server;
  wire::Writer& out;
  const uint32_t most;
  const uint32_t flags;
  uint32_t count = 0;
  bool full = false;

  void List(int parent, const char* name, uint32_t in, uint32_t index, size_t depth) {
    if (count == most) full = true;
    if (full) return;
    base::UniqueFd dir(server.OpenAt(parent, name, O_RDONLY | O_DIRECTORY, 0));
    if (!dir) return;
    const size_t start = out.size();
    wire::Listed head = {.in = in, .index = index, .entries = 0, .reserved = 0};
    out.Put(head);
    std::vector<std::pair<uint32_t, std::string>> below;
    std::vector<char>& buffer = server.dirents_;
    buffer.resize(kDirentBuffer);
    int64_t n = 0;
    while (out.ok() && (n = host::Getdents64(dir.get(), buffer.data(), buffer.size())) > 0) {
      Dirents batch(buffer.data(), n);
      Dirent64 d;
      std::string_view entry;
      while (!full && batch.Next(&d, &entry)) {
        if (entry.empty()) continue;
        bool directory = false;
        Put put = PutEntry(dir.get(), d, entry, flags, out.size() + out.left(), out, &directory);
        full = put == Put::kFull;
        if (put != Put::kDone) continue;
        if (directory && depth < kMaxDepth) below.emplace_back(head.entries, entry);
        head.entries++;
      }
      if (full) break;
    }
    if (full || n < 0 || !out.ok()) {
      full |= !out.ok();
      out.Rewind(start);
      return;
    }
    out.Patch(start, head);
    const uint32_t self = count++;
    for (const auto& [i, child] : below) List(dir.get(), child.c_str(), self, i, depth + 1);
  }
};

int Server::List(wire::Reader& in, wire::Writer& out, Fds*) {
  Node* node;
  if (int r = ReadNode(in, &node); r < 0) return r;
  std::string path;
  if (int r = ReadPath(in, &path); r < 0) return r;
  auto most = in.Get<uint32_t>();
  auto flags = in.Get<uint32_t>();
  auto names = in.Get<uint32_t>();
  if (!in.ok() || most == 0 || most > wire::kMaxListed || names == 0 || names > most ||
      !FlagsOk(flags)) {
    return in.Fail(), -EPROTO;
  }
  // The whole message is checked before anything is done.
  wire::Reader todo = in;
  char name[wire::kMaxName + 1];
  for (uint32_t i = 0; i < names; i++) {
    if (int r = ReadName(in, name); r < 0) return r;
  }
  if (!in.Done()) return in.Fail(), -EPROTO;
  if (!node->directory) return -ENOTDIR;
  int fd = nodes_.Fd(node);
  if (fd < 0) return fd;
  base::UniqueFd held;
  fd = OpenPath(fd, path, &held);
  if (fd < 0) return fd;
  const size_t head_at = out.size();
  out.Put(uint32_t{0});
  Lister lister{*this, out, most, flags};
  for (uint32_t i = 0; i < names && !lister.full; i++) {
    (void)ReadName(todo, name);
    lister.List(fd, name, wire::kRequested, i, 0);
  }
  out.Patch(head_at, lister.count);
  return 0;
}

}  // namespace gofer
