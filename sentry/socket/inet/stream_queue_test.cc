#include "sentry/socket/inet/stream_queue.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace sentry {
namespace {

using Chunk = StreamQueue::Chunk;

// Byte i of the stream.
char At(size_t i) { return static_cast<char>('a' + i % 23); }

std::string Text(size_t from, size_t n) {
  std::string s;
  for (size_t i = from; i < from + n; i++) s += At(i);
  return s;
}

void Write(StreamQueue& q, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    size_t k;
    uint8_t* to = q.tail(text.size() - done, &k);
    memcpy(to, &text[done], k);
    q.commit(k);
    done += k;
  }
}

std::string Peek(const StreamQueue& q, size_t offset, size_t n) {
  std::string out;
  while (out.size() < n) {
    size_t k;
    const uint8_t* p = q.at(offset + out.size(), &k);
    out.append(reinterpret_cast<const char*>(p), std::min(k, n - out.size()));
  }
  return out;
}

std::string Join(const StreamQueue::Slices& slices) {
  std::string out;
  for (const auto& s : slices) out.append(reinterpret_cast<const char*>(s.data()), s.size());
  return out;
}

TEST(StreamQueue, BytesInOrder) {
  StreamQueue q;
  size_t in = 0, out = 0;
  for (size_t n : {1u, 4095u, 100u, 70000u, 5u, 65536u, 3u}) {
    Write(q, Text(in, n));
    in += n;
    EXPECT_EQ(q.size(), in - out);
    const size_t k = (in - out) / 2;
    EXPECT_EQ(Peek(q, 0, k), Text(out, k));
    EXPECT_EQ(Peek(q, k, in - out - k), Text(out + k, in - out - k));
    q.pop(k);
    out += k;
  }
  EXPECT_EQ(Peek(q, 0, q.size()), Text(out, in - out));
  q.pop(q.size());
  EXPECT_TRUE(q.empty());
}

TEST(StreamQueue, AnIdleOneKeepsASmallChunk) {
  StreamQueue q;
  size_t k;
  uint8_t* first = q.tail(10, &k);
  q.commit(10);
  q.pop(10);
  EXPECT_EQ(q.tail(10, &k), first);
  EXPECT_EQ(k, 10u);
}

TEST(StreamQueue, WhatWasTakenIsNotOverwritten) {
  StreamQueue q;
  Write(q, Text(0, 100));
  StreamQueue::Slices taken = q.Take(60);
  q.pop(40);
  Write(q, std::string(100, 'X'));
  EXPECT_EQ(Join(taken), Text(0, 60));
  EXPECT_EQ(Peek(q, 0, 100), std::string(100, 'X'));
}

TEST(StreamQueue, TakeAndPutBack) {
  StreamQueue q;
  Write(q, Text(0, 3000));
  StreamQueue::Slice large{Chunk::Make(Chunk::kLarge), 0, 5000};
  memcpy(large.chunk->data(), Text(3000, 5000).data(), 5000);
  q.Append(std::move(large));
  Write(q, Text(8000, 100));
  EXPECT_EQ(q.size(), 8100u);
  StreamQueue::Slices taken = q.Take(4000);
  EXPECT_EQ(Join(taken), Text(0, 4000));
  EXPECT_EQ(q.size(), 4100u);
  taken.front().begin += 10;
  q.PutBack(std::move(taken));
  EXPECT_EQ(q.size(), 8090u);
  EXPECT_EQ(Peek(q, 0, 8090), Text(10, 8090));
  EXPECT_EQ(Join(q.Take(8090)), Text(10, 8090));
  EXPECT_TRUE(q.empty());
}

TEST(StreamQueue, PutBackIntoAnEmptyQueue) {
  StreamQueue q;
  Write(q, Text(0, 50));
  q.PutBack(q.Take(50));
  Write(q, Text(50, 50));
  EXPECT_EQ(Peek(q, 0, 100), Text(0, 100));
}

}  // namespace
}  // namespace sentry
