#include "sentry/socket/inet/stream_queue.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "platform/base/mutex.h"

namespace sentry {

namespace {

// Large chunks that nobody uses: the host has to clear every page that comes from it afresh.
class Pool {
 public:
  static Pool& Get() {
    static auto* pool = new Pool;
    return *pool;
  }
  std::unique_ptr<uint8_t[]> Take() {
    {
      base::MutexLock lock(mu_);
      if (!free_.empty()) {
        std::unique_ptr<uint8_t[]> data = std::move(free_.back());
        free_.pop_back();
        return data;
      }
    }
    return std::unique_ptr<uint8_t[]>(new uint8_t[StreamQueue::Chunk::kLarge]);
  }
  void Give(std::unique_ptr<uint8_t[]> data) {
    constexpr size_t kMost = 32;
    base::MutexLock lock(mu_);
    if (free_.size() < kMost) free_.push_back(std::move(data));
  }

 private:
  base::Mutex<base::LockClass::kLeaf> mu_;
  std::vector<std::unique_ptr<uint8_t[]>> free_ GUARDED_BY(mu_);
};

}  // namespace

StreamQueue::Chunk::Chunk(uint32_t size)
    : data_(size == kLarge ? Pool::Get().Take() : std::unique_ptr<uint8_t[]>(new uint8_t[size])),
      size_(size) {}

StreamQueue::Chunk::~Chunk() {
  if (size_ == kLarge) Pool::Get().Give(std::move(data_));
}

base::Ref<StreamQueue::Chunk> StreamQueue::Chunk::Make(uint32_t size) {
  return base::MakeRef<Chunk>(size);
}

uint8_t* StreamQueue::tail(size_t n, size_t* contiguous) {
  if (slices_.empty() || slices_.back().end == slices_.back().chunk->size()) {
    // Many small messages that wait go into large chunks, too.
    const bool small = n <= Chunk::kSmall && size_ < Chunk::kSmall;
    slices_.push_back({Chunk::Make(small ? Chunk::kSmall : Chunk::kLarge), 0, 0});
  }
  const Slice& last = slices_.back();
  *contiguous = std::min<size_t>(n, last.chunk->size() - last.end);
  return last.chunk->data() + last.end;
}

void StreamQueue::commit(size_t n) {
  slices_.back().end += static_cast<uint32_t>(n);
  size_ += n;
}

const uint8_t* StreamQueue::at(size_t offset, size_t* contiguous) const {
  for (const Slice& s : slices_) {
    if (offset < s.size()) {
      *contiguous = s.size() - offset;
      return s.data() + offset;
    }
    offset -= s.size();
  }
  *contiguous = 0;
  return nullptr;
}

void StreamQueue::pop(size_t n) {
  size_ -= n;
  while (n > 0) {
    Slice& first = slices_.front();
    const auto k = static_cast<uint32_t>(std::min<size_t>(n, first.size()));
    first.begin += k;
    n -= k;
    if (first.begin < first.end) return;
    if (slices_.size() == 1 && first.chunk->size() == Chunk::kSmall &&
        first.chunk->RefCount() == 1) {
      // An idle connection keeps little, and needs no memory for the next request.
      first.begin = first.end = 0;
      return;
    }
    slices_.erase(slices_.begin());
  }
}

void StreamQueue::Append(Slice s) {
  if (size_ == 0) slices_.clear();
  size_ += s.size();
  slices_.push_back(std::move(s));
}

StreamQueue::Slices StreamQueue::Take(size_t n) {
  Slices out;
  size_ -= n;
  size_t whole = 0;
  while (n > 0) {
    Slice& s = slices_[whole];
    const auto k = static_cast<uint32_t>(std::min<size_t>(n, s.size()));
    n -= k;
    if (k == s.size()) {
      out.push_back(std::move(s));
      whole++;
    } else {
      out.push_back({s.chunk, s.begin, s.begin + k});
      s.begin += k;
    }
  }
  slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(whole));
  return out;
}

void StreamQueue::PutBack(Slices slices) {
  if (size_ == 0) slices_.clear();
  for (const Slice& s : slices) size_ += s.size();
  slices_.insert(slices_.begin(), std::make_move_iterator(slices.begin()),
                 std::make_move_iterator(slices.end()));
}

}  // namespace sentry
