// For unit tests: an engine whose guest is the test. It keeps the page table that the orders add up
// to, and reads and writes guest memory through the descriptors that it was given, so that a
// mapping with too few or too many rights shows.
#pragma once

#include <map>

#include "platform/api/platform.h"
#include "platform/host/host.h"
#include "sentry/mm/memory_manager.h"

namespace sentry {

class FakeAddressSpace : public platform::AddressSpace {
 public:
  struct Page {
    base::Ref<platform::MapFile> file;
    uint64_t offset;
    uint8_t prot;
  };
  void Map(uint64_t addr, uint64_t len, const base::Ref<platform::MapFile>& file, uint64_t offset,
           uint8_t prot) override {
    maps++;
    // An engine would map a gigabyte as easily as a page; the model keeps the first pages.
    for (uint64_t i = 0; i < len && i < kModelled; i += kPageSize) {
      pages[addr + i] = {file, offset + i, static_cast<uint8_t>(prot & 7)};
      huge = huge || (prot & platform::kMapHuge) != 0;
    }
  }
  void Unmap(uint64_t addr, uint64_t len) override {
    unmaps++;
    pages.erase(pages.lower_bound(addr), pages.lower_bound(addr + len));
  }
  void Protect(uint64_t addr, uint64_t len, uint8_t prot) override {
    protects++;
    for (auto it = pages.lower_bound(addr); it != pages.end() && it->first < addr + len; ++it) {
      it->second.prot = prot;
    }
  }
  void Forget(const platform::MapFile& file) override {
    for (auto& [addr, p] : pages) forgotten_in_use |= p.file.get() == &file;
  }
  base::Result<std::unique_ptr<platform::GuestThread>> NewThread(
      platform::GuestThread*, const platform::Regs&, const platform::FpState&) override {
    return abi::Errno::kENOSYS;
  }
  void Kill() override {}

  // Host mappings that the pages would need.
  size_t Runs() const {
    size_t n = 0;
    const Page* last = nullptr;
    uint64_t last_addr = 0;
    for (auto& [addr, p] : pages) {
      if (!last || last_addr + kPageSize != addr || last->file != p.file ||
          last->offset + kPageSize != p.offset || last->prot != p.prot) {
        n++;
      }
      last = &p;
      last_addr = addr;
    }
    return n;
  }

  static constexpr uint64_t kModelled = 64 << 20;
  std::map<uint64_t, Page> pages;
  int maps = 0, unmaps = 0, protects = 0;
  bool forgotten_in_use = false;
  bool huge = false;  // anything was mapped with the hint
};

class FakeThread : public platform::GuestThread {
 public:
  platform::Stop Run() override { return {platform::Stop::Kind::kDead}; }
  bool Commit() override { return true; }
  const platform::SyscallRegs& syscall() const override { return syscall_; }
  void SetReturn(uint64_t) override {}
  const platform::Regs& regs() override { return regs_; }
  void SetRegs(const platform::Regs&) override {}
  platform::FpState GetFp() override { return {}; }
  base::Result<void> SetFp(std::span<const uint8_t>) override { return {}; }
  void Interrupt() override {}

 private:
  platform::SyscallRegs syscall_{};
  platform::Regs regs_{};
};

class FakePlatform : public platform::Platform {
 public:
  const char* name() const override { return "fake"; }
  platform::UserRange user_range() const override { return {0x10000, 0x7ffffffff000}; }
  base::Result<base::Ref<platform::AddressSpace>> NewAddressSpace() override {
    auto as = base::MakeRef<FakeAddressSpace>();
    spaces.push_back(as);
    return base::Ref<platform::AddressSpace>(as);
  }
  std::span<const uint8_t> initial_fp() const override {
    static constexpr uint8_t kInitial[2696] = {};
    return kInitial;
  }
  void Shutdown() override {}
  std::vector<base::Ref<FakeAddressSpace>> spaces;
};

// The guest's own accesses, with faults answered by the memory manager. False: a signal, in *err.
class FakeGuest {
 public:
  explicit FakeGuest(MemoryManager& mm)
      : mm_(mm), as_(static_cast<FakeAddressSpace&>(mm.address_space())) {}
  bool Access(uint64_t addr, void* buf, size_t n, uint8_t access) {
    for (int tries = 0; tries < 3; tries++) {
      auto it = as_.pages.find(PageDown(addr));
      bool bus = false;
      if (it != as_.pages.end() && (it->second.prot & access) == access) {
        FakeAddressSpace::Page& p = it->second;
        int64_t offset = static_cast<int64_t>(p.offset + addr % kPageSize);
        struct stat st;
        host::Fstat(p.file->fd(), &st);
        if (PageUp(st.st_size) <= p.offset) {
          bus = true;
        } else {
          long r = access & platform::kProtWrite ? host::Pwrite(p.file->fd(), buf, n, offset)
                                                 : host::Pread(p.file->fd(), buf, n, offset);
          if (r < 0) return err = {0, static_cast<int32_t>(r)}, false;
          return true;
        }
      }
      faults++;
      if (!mm_.HandleFault(addr, access, &err, bus)) return false;
    }
    err = {0, 0};
    return false;
  }
  bool Write(uint64_t addr, uint8_t v) { return Access(addr, &v, 1, platform::kProtWrite); }
  int Read(uint64_t addr) {
    uint8_t v = 0;
    return Access(addr, &v, 1, platform::kProtRead) ? v : -1;
  }
  MemoryManager::FaultError err{};
  int faults = 0;

 private:
  MemoryManager& mm_;
  FakeAddressSpace& as_;
};

}  // namespace sentry
