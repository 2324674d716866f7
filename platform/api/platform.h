// All that the sentry knows of an engine: create address spaces, change their mappings, run a guest
// thread until it needs the sentry, interrupt it. systrap and ptrace keep a host process per
// address space; kvm keeps page tables; nothing here tells which.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "platform/api/context.h"
#include "platform/api/local.h"
#include "platform/base/fd.h"
#include "platform/base/ref.h"
#include "platform/base/result.h"

namespace platform {

// A host descriptor that guest address spaces may map. Engines hand the descriptor to the host
// processes of those guest address spaces that map it (and to no others), keyed by id(), which is
// never reused. What a guest process may do with the descriptor it may do with the file: a
// read-only view of a file is a MapFile of its own, made from a read-only descriptor.
class MapFile : public base::RefCounted {
 public:
  // stable: its bytes never change, and any guest may read them; an engine may map copies of
  // executable pages in which system calls are rewritten.
  explicit MapFile(base::UniqueFd fd, bool stable = false)
      : fd_(std::move(fd)), id_(NextId()), stable_(stable) {}
  int fd() const { return fd_.get(); }
  uint64_t id() const { return id_; }
  bool stable() const { return stable_; }

 private:
  static uint64_t NextId();
  const base::UniqueFd fd_;
  const uint64_t id_;
  const bool stable_;
};

// How many threads drive a guest thread and don't sleep: they, or their guests, run or want to.
inline std::atomic<int> active{0};
// How many of their guests sleep without the sentry: about, counted now and then.
inline std::atomic<int> asleep{0};
// The processors for an engine whose threads wait for their guests busily; 0: they don't.
inline int busy_processors = 0;

// Whether there are too few processors for pairs of threads, one in the guest and one in the
// sentry, that wait for each other busily; with so many more of them.
inline bool Crowded(int more = 0) {
  const int pairs =
      active.load(std::memory_order_relaxed) - asleep.load(std::memory_order_relaxed) + more;
  return busy_processors != 0 && pairs * 2 > busy_processors;
}

struct Options {
  bool patch = true;  // rewrite system call sites
};

class GuestThread;

// The mappings of one guest process. The sentry keeps the truth (sentry/mm); this mirrors it.
//
// Order: changes take effect in the order of the calls that queue them, whichever thread's stop
// carries them out. All changes queued before GuestThread::Run() are in effect before that guest
// thread executes its next instruction. Thread-safe; the caller (sentry/mm) calls under its own
// lock so that the queue's order is the order of the truth.
class AddressSpace : public base::RefCounted {
 public:
  // Maps file at [addr, addr+len), replacing what is there. Page-aligned; MAP_SHARED semantics.
  // prot: Prot bits, and kMapHuge.
  virtual void Map(uint64_t addr, uint64_t len, const base::Ref<MapFile>& file, uint64_t offset,
                   uint8_t prot) = 0;
  virtual void Unmap(uint64_t addr, uint64_t len) = 0;
  // Only for ranges mapped by Map().
  virtual void Protect(uint64_t addr, uint64_t len, uint8_t prot) = 0;
  // Nothing of this address space maps the file any more: the guest side's descriptor is closed
  // (queued like the others).
  virtual void Forget(const MapFile& file) = 0;

  // A new guest thread in this address space. creator: the stopped guest thread on whose behalf
  // (nullptr only for the first thread of an address space); called on the creator's host thread.
  // The new object is then driven by one host thread of its own. ENOMEM/EAGAIN when the host can't.
  virtual base::Result<std::unique_ptr<GuestThread>> NewThread(GuestThread* creator,
                                                               const Regs& regs,
                                                               const FpState& fp) = 0;

  // What the engine answers without the sentry here, or nullptr: nothing. As long as this object.
  virtual LocalSpace* local() { return nullptr; }
  // Wakes up to count of those who sleep in the stub for the private futex at addr (queued like the
  // others).
  virtual void WakeLocal(uint64_t addr, uint32_t count) {}
  // As WakeLocal(), and moves up to so many others to the futex at `to`.
  virtual void MoveLocal(uint64_t addr, uint32_t count, uint64_t to, uint32_t moved) {}

  // Ends all guest threads at once: each Run() returns kDead. Idempotent, from any thread. The
  // destructor does it too.
  virtual void Kill() = 0;
};

// One guest thread. All methods but Interrupt() are called by the one host thread that drives it,
// while it is stopped.
class GuestThread {
 public:
  // Ends the host's thread.
  virtual ~GuestThread() = default;

  // Applies queued mapping changes and register changes, runs the guest until it stops, and says
  // why.
  virtual Stop Run() = 0;
  // Applies the queued mapping changes now, the guest staying stopped (fork: the parent's pages
  // must be read-only before the child's copy of the address space is made). False when the guest
  // side died.
  virtual bool Commit() = 0;

  // After kSyscall: the number and arguments (copied once, stable).
  virtual const SyscallRegs& syscall() const = 0;
  // The result of the system call: rax, with the least work that the engine can do. Only after
  // kSyscall.
  virtual void SetReturn(uint64_t value) = 0;

  // The registers at the stop. After kSyscall: rax == -ENOSYS, orig_rax == nr, rip behind the
  // syscall instruction, as Linux shows them to a tracer; rcx and r11 may hold anything. Costs a
  // copy: not for hot paths.
  virtual const Regs& regs() = 0;
  // Replaces all registers before the next Run (segment selectors are ignored, eflags sanitised).
  // Overrides SetReturn.
  virtual void SetRegs(const Regs& regs) = 0;
  virtual FpState GetFp() = 0;
  // A malformed state (size, magic, reserved XSAVE bits) is EINVAL and leaves the old one.
  virtual base::Result<void> SetFp(std::span<const uint8_t> fp) = 0;

  // The start of a signal handler. As SetRegs() with these registers, rax 0 and the others as they
  // are (rcx and r11 undefined), the extended state stored at fp, a writable guest address, in the
  // FpState layout as far as XSAVE writes it, and then initial. False: nothing has happened, the
  // calls above must do it.
  struct HandlerStart {
    uint64_t rip, rsp, rdi, rsi, rdx, eflags, fp;
  };
  virtual bool StartHandler(const HandlerStart& start) { return false; }

  // The next Run() is a while away: the guest side need not wait for it busily. A hint.
  virtual void Rest() {}

  // What the engine answers without the sentry on this thread, or nullptr. Written while the guest
  // is stopped; as long as this object.
  virtual LocalThread* local() { return nullptr; }

  // Makes a running guest stop soon with kInterrupted (or for another reason), or its next Run()
  // return at once. From any thread, while the object lives. An interrupt that comes while the
  // guest is stopped is kept for the next Run.
  virtual void Interrupt() = 0;
};

struct UserRange {
  uint64_t min, max;  // guest mappings lie in [min, max)
};

class Platform {
 public:
  virtual ~Platform() = default;
  virtual const char* name() const = 0;
  virtual UserRange user_range() const = 0;
  // EAGAIN/ENOMEM when the host can't.
  virtual base::Result<base::Ref<AddressSpace>> NewAddressSpace() = 0;
  // A full FpState in its initial state.
  virtual std::span<const uint8_t> initial_fp() const = 0;
  // Its size in bytes: for AT_MINSIGSTKSZ and signal frames.
  uint32_t fp_size() const { return static_cast<uint32_t>(initial_fp().size()); }
  // Where guest code can call the host's clock_gettime(clockid_t, timespec*) without leaving the
  // guest (the host's vDSO kept in each guest address space), or 0. For Moat's own vDSO.
  virtual uint64_t guest_clock_gettime() const { return 0; }
  // At exit: ends all guest processes.
  virtual void Shutdown() = 0;
};

}  // namespace platform
