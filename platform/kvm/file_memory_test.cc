#include "platform/kvm/file_memory.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <set>

#include "platform/host/host.h"
#include "platform/kvm/layout.h"

namespace platform::kvm {
namespace {

constexpr uint64_t kStart = uint64_t{8} << 30, kLargeWindow = uint64_t{1} << FileMemory::kLarge,
                   kSmallWindow = uint64_t{1} << FileMemory::kSmall;
constexpr uint32_t kFirstSlot = 2;
constexpr uint64_t kWindowsPerSlot = FileMemory::kSlotSize / kLargeWindow;

// A host that gives so many slots.
struct Host {
  uint32_t slots_left;
  uint32_t slots = 0;
  static long Add(void* self, uint32_t slot, uint64_t gpa, uint64_t size, void* at) {
    auto* host = static_cast<Host*>(self);
    if (host->slots_left == 0) return -EINVAL;
    host->slots_left--;
    EXPECT_EQ(slot, kFirstSlot + host->slots);
    EXPECT_EQ(gpa, kStart + host->slots * FileMemory::kSlotSize);
    EXPECT_EQ(size, FileMemory::kSlotSize);
    // So that huge pages of the host's can be the guest's.
    EXPECT_EQ(reinterpret_cast<uint64_t>(at) % kSmallWindow, gpa % kSmallWindow);
    host->slots++;
    return 0;
  }
};

class FileMemoryTest : public testing::Test {
 protected:
  // size: the file's, in bytes; it takes no memory.
  static base::Ref<MapFile> NewFile(uint64_t size) {
    base::UniqueFd fd(static_cast<int>(host::CreateMemoryFile()));
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(host::Ftruncate(fd.get(), static_cast<int64_t>(size)), 0);
    return base::MakeRef<MapFile>(std::move(fd));
  }
  // Where the guest has room for so many slots.
  static uint64_t End(uint64_t slots) { return kStart + slots * FileMemory::kSlotSize; }

  Host host_{.slots_left = 100};
};

TEST_F(FileMemoryTest, APageIsTheFiles) {
  FileMemory memory(&Host::Add, &host_, kFirstSlot, kStart, End(4));
  auto file = NewFile(16 * kPage);
  memory.AddUser(*file);
  uint8_t* view;
  const uint64_t gpa = memory.Find(*file, 3 * kPage, &view);
  ASSERT_NE(gpa, FileMemory::kNone);
  EXPECT_GE(gpa, kStart);
  view[5] = 77;
  uint8_t byte = 0;
  ASSERT_EQ(host::Pread(file->fd(), &byte, 1, 3 * kPage + 5), 1);
  EXPECT_EQ(byte, 77);
  uint8_t* next;
  EXPECT_EQ(memory.Find(*file, 4 * kPage, &next), gpa + kPage);
  EXPECT_EQ(next, view + kPage);
  memory.RemoveUser(*file);
}

TEST_F(FileMemoryTest, WindowsGoWithTheLastUserAndAreUsedAgain) {
  FileMemory memory(&Host::Add, &host_, kFirstSlot, kStart, End(4));
  auto first = NewFile(kPage), second = NewFile(kPage);
  uint8_t* view;
  memory.AddUser(*first);
  memory.AddUser(*first);
  memory.AddUser(*second);
  const uint64_t gpa = memory.Find(*first, 0, &view);
  memory.RemoveUser(*first);
  EXPECT_EQ(memory.Find(*first, 0, &view), gpa);
  EXPECT_NE(memory.Find(*second, 0, &view), gpa);
  memory.RemoveUser(*second);
  memory.RemoveUser(*first);
  auto third = NewFile(kPage);
  memory.AddUser(*third);
  EXPECT_EQ(memory.Find(*third, 0, &view), gpa);
  memory.RemoveUser(*third);
  EXPECT_EQ(host_.slots, 1u);
}

TEST_F(FileMemoryTest, SmallAndLargeFilesShareNothing) {
  FileMemory memory(&Host::Add, &host_, kFirstSlot, kStart, End(4));
  auto small = NewFile(kPage), large = NewFile(4 * kLargeWindow);
  memory.AddUser(*small);
  memory.AddUser(*large);
  uint8_t* view;
  std::set<uint64_t> windows;
  for (uint64_t i = 0; i < 4; i++) {
    const uint64_t gpa = memory.Find(*large, i * kLargeWindow + 7 * kPage, &view) - 7 * kPage;
    EXPECT_EQ(gpa % kLargeWindow, 0u);
    windows.insert(gpa / kLargeWindow);
  }
  for (uint64_t i = 0; i < 4; i++)
    windows.insert(memory.Find(*small, i * kSmallWindow, &view) / kLargeWindow);
  // The four large ones, and one that the small ones lie in.
  EXPECT_EQ(windows.size(), 5u);
  memory.RemoveUser(*small);
  memory.RemoveUser(*large);
}

// There is no more room when the host refuses a slot, or the guest has no more addresses; and again
// when a file has gone.
TEST_F(FileMemoryTest, RunsOut) {
  for (bool refused : {true, false}) {
    Host host{.slots_left = refused ? 2u : 100u};
    FileMemory memory(&Host::Add, &host, kFirstSlot, kStart, End(refused ? 100 : 2));
    auto first = NewFile(3 * FileMemory::kSlotSize), second = NewFile(2 * kLargeWindow);
    memory.AddUser(*first);
    memory.AddUser(*second);
    uint8_t* view;
    for (uint64_t i = 0; i < 2 * kWindowsPerSlot; i++)
      ASSERT_NE(memory.Find(*first, i * kLargeWindow, &view), FileMemory::kNone) << i;
    EXPECT_EQ(memory.Find(*first, 2 * kWindowsPerSlot * kLargeWindow, &view), FileMemory::kNone);
    EXPECT_EQ(memory.Find(*second, 0, &view), FileMemory::kNone);
    // What is there stays.
    EXPECT_NE(memory.Find(*first, kPage, &view), FileMemory::kNone);
    memory.RemoveUser(*first);
    EXPECT_NE(memory.Find(*second, 0, &view), FileMemory::kNone);
    EXPECT_NE(memory.Find(*second, kLargeWindow, &view), FileMemory::kNone);
    memory.RemoveUser(*second);
    EXPECT_EQ(host.slots, 2u);
  }
}

}  // namespace
}  // namespace platform::kvm
