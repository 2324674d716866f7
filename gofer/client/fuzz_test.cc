// LLVMFuzzerTestOneInput feeds replies to the client's decoders; here with random bytes and damaged
// valid ones.
#include <random>
#include <vector>

#include "gofer/client/client.h"
#ifndef MOAT_FUZZER
#include <gtest/gtest.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  gofer::wire::Reader walk({data + 1, size - 1});
  gofer::WalkResult walked;
  if (gofer::DecodeWalk(walk, data[0], &walked) && walked.entries.size() > data[0]) abort();
  gofer::wire::Reader readdir({data + 1, size - 1});
  gofer::DirectoryBatch batch;
  if (gofer::DecodeReaddir(readdir, &batch)) {
    for (size_t i = 0; i < batch.entries.size(); i++) {
      std::string_view name = batch.entries.name(i);
      if (name.empty() || name.find('/') != name.npos) abort();
    }
  }
  gofer::wire::Reader list({data + 1, size - 1});
  std::vector<gofer::ListedDirectory> listed;
  if (gofer::DecodeList(list, data[0] % 8, 1 + data[0] / 8, &listed)) {
    for (const auto& d : listed) {
      if (d.in != gofer::wire::kRequested &&
          (d.in >= listed.size() || d.index >= listed[d.in].entries.size() ||
           listed[d.in].entries.attr(d.index) == nullptr)) {
        abort();
      }
    }
  }
  gofer::wire::Reader open({data + 1, size - 1});
  base::UniqueFd fds[2];
  std::vector<gofer::OpenedFile> opened;
  if (gofer::DecodeOpenMany(open, data[0] / 2, {fds, data[0] % 3u}, &opened) &&
      opened.size() != data[0] / 2) {
    abort();
  }
  return 0;
}

#ifndef MOAT_FUZZER
namespace gofer {
namespace {

TEST(Fuzz, RandomReplies) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; i++) {
    std::vector<uint8_t> input(1 + random() % 600);
    for (uint8_t& b : input) b = random() % 4 == 0 ? random() % 8 : 0;
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

void PutEntry(wire::Writer* w, uint32_t has_attr) {
  w->Put(wire::DirEntry{.has_attr = has_attr});
  if (has_attr != 0) w->Put(wire::Attr{});
  w->String("name");
}

TEST(Fuzz, DamagedReplies) {
  std::mt19937 random(2);
  for (int i = 0; i < 20000; i++) {
    uint8_t buffer[2048];
    buffer[0] = random() % 5;
    wire::Writer w({buffer + 1, sizeof(buffer) - 1});
    const unsigned kind = random() % 4;
    if (kind == 0) {
      auto count = static_cast<uint32_t>(random() % 5);
      w.Put(count);
      for (uint32_t k = 0; k < count; k++) {
        const auto n = static_cast<uint32_t>(random() % 4);
        w.Put(wire::Listed{.in = k == 0 ? wire::kRequested : static_cast<uint32_t>(random() % k),
                           .index = 0,
                           .entries = n});
        for (uint32_t i = 0; i < n; i++) {
          PutEntry(&w, random() % 3);
        }
      }
    } else if (kind == 1) {
      const uint32_t count = buffer[0] / 2;
      w.Put(count);
      for (uint32_t k = 0; k < count; k++) {
        w.Put(wire::OpenedFile{.error = static_cast<int32_t>(random() % 2)});
      }
    } else if (kind == 2) {
      auto count = static_cast<uint32_t>(random() % 5);
      w.Put(wire::WalkReplyHead{.count = count, .stop = static_cast<uint32_t>(random() % 6)});
      for (uint32_t k = 0; k < count; k++) w.Put(wire::WalkEntry{});
      w.String("target");
    } else {
      auto count = static_cast<uint32_t>(random() % 5);
      w.Put(wire::ReaddirHead{.count = count, .end = static_cast<uint32_t>(random() % 2)});
      for (uint32_t k = 0; k < count; k++) {
        PutEntry(&w, random() % 3);
      }
    }
    size_t size = 1 + w.size();
    if (random() % 2 == 0) buffer[random() % size] ^= 1u << random() % 8;
    if (random() % 4 == 0) size = 1 + random() % size;
    LLVMFuzzerTestOneInput(buffer, size);
  }
}

}  // namespace
}  // namespace gofer
#endif
