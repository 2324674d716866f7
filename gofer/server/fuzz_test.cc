// LLVMFuzzerTestOneInput feeds one connection's messages to the server; here with random and with
// mutated valid messages. With -DMOAT_FUZZER and -fsanitize=fuzzer the same file is a fuzzer.
#include <cstring>
#include <random>

#include "gofer/server/testing.h"
#ifndef MOAT_FUZZER
#include <gtest/gtest.h>
#endif

// Input: messages, each a uint16 length and so many bytes. Node ids in them are small numbers, so
// that they often exist.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static gofer::testing::TempDir* dir = [] {
    auto* d = new gofer::testing::TempDir;
    mkdir(((*d) / "a").c_str(), 0700);
    mkdir(((*d) / "a/b").c_str(), 0700);
    gofer::testing::WriteFile((*d) / "f", "content");
    if (symlink("/", ((*d) / "l").c_str()) != 0) abort();
    return d;
  }();
  static std::vector<uint8_t> out(gofer::wire::kMaxMessage);
  std::vector<gofer::ServedMount> mounts(2);
  for (uint32_t i = 0; i < 2; i++) {
    mounts[i].id = i;
    mounts[i].root = dir->OpenRoot();
    mounts[i].read_only = i == 1;
  }
  gofer::Server server(std::move(mounts), 8, 64);
  for (uint32_t i = 0; i < 2; i++) {
    uint8_t attach[12];
    uint32_t words[3] = {static_cast<uint32_t>(gofer::wire::Op::kAttach), 0, i};
    memcpy(attach, words, sizeof(words));
    gofer::Server::Reply reply;
    if (!server.Handle(attach, out, &reply)) abort();
  }
  while (size >= 2) {
    size_t n = std::min<size_t>(data[0] | data[1] << 8, size - 2);
    gofer::Server::Reply reply;
    if (!server.Handle({data + 2, n}, out, &reply)) break;
    if (reply.size > out.size()) abort();
    data += 2 + n;
    size -= 2 + n;
  }
  return 0;
}

#ifndef MOAT_FUZZER
namespace gofer {
namespace {

TEST(Fuzz, RandomBytes) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; i++) {
    std::vector<uint8_t> input(random() % 300);
    for (uint8_t& b : input) b = random() % 3 == 0 ? random() % 24 : 0;
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

// Messages of the right shape, with arguments that often are, and a bit flipped now and then.
class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  void Append(std::vector<uint8_t>* input) {
    uint8_t buffer[1024];
    wire::Writer w(buffer);
    auto op = static_cast<wire::Op>(1 + Below(26));
    w.Put(wire::RequestHeader{.op = static_cast<uint32_t>(op), .id = Below(9)});
    Body(op, w);
    if (Below(6) == 0) buffer[Below(w.size())] ^= 1u << Below(8);
    if (Below(20) == 0) w.Rewind(Below(w.size()));
    input->push_back(w.size() & 255);
    input->push_back(w.size() >> 8);
    input->insert(input->end(), buffer, buffer + w.size());
  }

 private:
  uint32_t Below(size_t n) { return static_cast<uint32_t>(random_() % n); }
  void Node(wire::Writer& w) { w.Put(uint64_t{1 + Below(5)}); }
  void Name(wire::Writer& w) {
    const char* names[] = {"a", "b", "f", "l", "none", "new", "new2", "new3"};
    const char* bad[] = {"..", "a/b", "", "."};
    w.String(Below(30) == 0 ? bad[Below(4)] : names[Below(8)]);
  }
  void Path(wire::Writer& w) {
    uint32_t n = Below(3);
    w.Put(n);
    while (n-- > 0) Name(w);
  }
  void Target(wire::Writer& w) {
    Node(w);
    Below(2) == 0 ? w.String("") : Name(w);
  }
  void Child(wire::Writer& w) {
    Node(w);
    Name(w);
  }
  void Owner(wire::Writer& w, uint32_t type) {
    w.Put(wire::OwnerMode{.mode = type | Below(010000), .uid = Below(3), .gid = Below(3)});
  }
  void Body(wire::Op op, wire::Writer& w) {
    switch (op) {
      case wire::Op::kAttach:
        return w.Put(Below(3));
      case wire::Op::kWalk: {
        Node(w);
        uint32_t n = 1 + Below(4);
        w.Put(Below(2));
        w.Put(n);
        while (n-- > 0) Name(w);
        return;
      }
      case wire::Op::kGetattr:
      case wire::Op::kReadlink:
      case wire::Op::kListXattr:
        return Target(w);
      case wire::Op::kSetattr:
        Target(w);
        return w.Put(wire::SetattrArgs{.valid = Below(256),
                                       .mode = Below(010000),
                                       .uid = Below(4) - 1,
                                       .gid = Below(4) - 1,
                                       .size = Below(100)});
      case wire::Op::kOpen:
        Target(w);
        return w.Put(Below(8));
      case wire::Op::kCreate:
        Child(w);
        return w.Put(wire::CreateArgs{.flags = Below(16), .mode = Below(010000)});
      case wire::Op::kMkdir:
        Child(w);
        return Owner(w, 0);
      case wire::Op::kSymlink:
        Child(w);
        Owner(w, 0);
        return Name(w);
      case wire::Op::kLink:
        Target(w);
        return Child(w);
      case wire::Op::kMknod:
        Child(w);
        return Owner(w, Below(16) << 12);
      case wire::Op::kUnlink:
        Child(w);
        return w.Put(Below(4));
      case wire::Op::kRename:
        Child(w);
        Child(w);
        w.Put(Below(4));
        return w.Put(Below(2));
      case wire::Op::kReaddir:
        Node(w);
        w.Put(uint64_t{Below(3)});
        w.Put(400 + Below(2000));
        return w.Put(Below(2));
      case wire::Op::kStatfs:
      case wire::Op::kSyncFs:
        return Node(w);
      case wire::Op::kFsync:
        Target(w);
        return w.Put(Below(2));
      case wire::Op::kGetXattr:
      case wire::Op::kRemoveXattr:
        Target(w);
        return w.String(Below(2) == 0 ? "user.x" : "security.capability");
      case wire::Op::kSetXattr: {
        Target(w);
        w.String(Below(4) != 0 ? "user.x" : "trusted.x");
        w.Put(Below(3));
        uint8_t value[8] = {};
        return w.Blob({value, Below(sizeof(value))});
      }
      case wire::Op::kForget: {
        uint32_t n = Below(3);
        w.Put(n);
        while (n-- > 0) w.Put(wire::ForgetEntry{.node = 1 + Below(5), .count = 1});
        return;
      }
      case wire::Op::kFlush:
      case wire::Op::kSettle:
        return;
      case wire::Op::kList: {
        Node(w);
        Path(w);
        uint32_t n = 1 + Below(3);
        w.Put(n + Below(4));
        w.Put(Below(2));
        w.Put(n);
        while (n-- > 0) Name(w);
        return;
      }
      case wire::Op::kOpenMany: {
        Node(w);
        uint32_t groups = 1 + Below(3);
        w.Put(groups);
        while (groups-- > 0) {
          Path(w);
          uint32_t n = 1 + Below(3);
          w.Put(n);
          while (n-- > 0) Name(w);
        }
        return;
      }
    }
  }

  std::mt19937 random_;
};

TEST(Fuzz, MutatedMessages) {
  Generator generator(2);
  for (int i = 0; i < 3000; i++) {
    std::vector<uint8_t> input;
    for (int k = 0; k < 30; k++) generator.Append(&input);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

}  // namespace
}  // namespace gofer
#endif
