#include "sentry/kernel/seccomp.h"

#include <algorithm>
#include <cstring>

#include "sentry/kernel/bpf.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task_run.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {

using abi::SockFilter;

// What seccomp_check_filter() lets through, of what bpf_check_classic() knows: no bytes and halves
// of words, nothing at computed places.
bool FitsSeccomp(const SockFilter& f) {
  const int32_t mode = f.code & 0xe0;
  switch (f.code & 7) {
    case abi::kBPF_LD:
    case abi::kBPF_LDX:
      if (mode == abi::kBPF_IND || mode == abi::kBPF_MSH) return false;
      if (mode != abi::kBPF_ABS) return true;
      return (f.code & 0x18) == abi::kBPF_W && f.k < sizeof(abi::SeccompData) && f.k % 4 == 0;
    case abi::kBPF_ALU:
      return (f.code & 0xf0) != abi::kBPF_MOD;
    default:
      return true;
  }
}

}  // namespace

bool SeccompProgramOk(std::span<const SockFilter> p) {
  return BpfProgramOk(p) && std::all_of(p.begin(), p.end(), FitsSeccomp);
}

uint32_t RunSeccompProgram(std::span<const SockFilter> p, const abi::SeccompData& data,
                           bool* depends) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&data);
  return RunBpf(p, sizeof data, [&](size_t, uint32_t at) -> std::optional<uint32_t> {
    uint32_t v;
    memcpy(&v, bytes + at, sizeof v);
    if (depends != nullptr && at >= offsetof(abi::SeccompData, instruction_pointer))
      *depends = true;
    return v;
  });
}

SeccompFilter::SeccompFilter(std::vector<SockFilter> program, base::Ref<SeccompFilter> prev)
    : program_(std::move(program)), prev_(std::move(prev)) {
  // Each filter of a path counts for 4 more.
  total_ = program_.size() + (prev_ ? prev_->total_ + 4 : 0);
  if (prev_) count_ += prev_->count_;
  // seccomp_cache_prepare(): what is allowed by the number alone.
  abi::SeccompData data{};
  data.arch = abi::kAUDIT_ARCH_X86_64;
  for (uint32_t nr = 0; nr < kCalls; nr++) {
    if (prev_ && !prev_->allowed_[nr]) continue;
    data.nr = static_cast<int32_t>(nr);
    bool depends = false;
    uint32_t r = RunSeccompProgram(program_, data, &depends);
    allowed_[nr] = !depends && r == abi::kSECCOMP_RET_ALLOW;
  }
}

SeccompFilter::~SeccompFilter() {
  // A path may be long: its end must not come by recursion.
  base::Ref<SeccompFilter> f = std::move(prev_);
  while (f && f->RefCount() == 1) {
    base::Ref<SeccompFilter> next = std::move(f->prev_);
    f = std::move(next);
  }
}

base::Result<base::Ref<SeccompFilter>> SeccompFilter::Create(std::vector<SockFilter> program,
                                                             base::Ref<SeccompFilter> prev) {
  if (!SeccompProgramOk(program)) return abi::Errno::kEINVAL;
  if (program.size() + (prev ? prev->total_ + 4 : 0) > kMaxInstructions) return abi::Errno::kENOMEM;
  return base::MakeRef<SeccompFilter>(std::move(program), std::move(prev));
}

uint32_t SeccompFilter::Run(const abi::SeccompData& data) const {
  uint32_t result = abi::kSECCOMP_RET_ALLOW;
  for (const SeccompFilter* f = this; f != nullptr; f = f->prev_.get()) {
    uint32_t r = RunSeccompProgram(f->program_, data, nullptr);
    // The action with the highest precedence is the smallest as a signed number.
    if (static_cast<int32_t>(r & abi::kSECCOMP_RET_ACTION_FULL) <
        static_cast<int32_t>(result & abi::kSECCOMP_RET_ACTION_FULL)) {
      result = r;
    }
  }
  return result;
}

bool SeccompFilter::Extends(const SeccompFilter* f) const {
  for (const SeccompFilter* i = this; i != nullptr; i = i->prev_.get()) {
    if (i == f) return true;
  }
  return f == nullptr;
}

base::Ref<SeccompFilter> Task::seccomp_filter() const {
  base::MutexLock l(mu_);
  return seccomp_;
}

void Task::InheritSeccomp(const Task& from) {
  base::Ref<SeccompFilter> f = from.seccomp_filter();
  if (from.no_new_privs.load()) no_new_privs.store(true);
  base::MutexLock l(mu_);
  std::swap(seccomp_, f);
  seccomp_mode_.store(from.seccomp_mode());
}

base::Result<void> Task::SetSeccompStrict() {
  base::MutexLock s(group_->signal_mu);
  if (seccomp_mode() == abi::kSECCOMP_MODE_FILTER) return abi::Errno::kEINVAL;
  seccomp_mode_.store(abi::kSECCOMP_MODE_STRICT);
  StaleLocal();
  return {};
}

base::Result<int32_t> Task::AddSeccompFilter(std::vector<abi::SockFilter> program, bool tsync) {
  auto filter = TRY(SeccompFilter::Create(std::move(program), seccomp_filter()));
  std::vector<base::Ref<SeccompFilter>> dropped;
  base::MutexLock s(group_->signal_mu);
  if (seccomp_mode() == abi::kSECCOMP_MODE_STRICT) return abi::Errno::kEINVAL;
  base::Ref<SeccompFilter> mine = seccomp_filter();
  // Another thread's TSYNC came in between: its filter stands in front of this one.
  dropped.push_back(mine);
  if (!filter->Extends(mine.get())) return abi::Errno::kEAGAIN;
  if (tsync) {
    // seccomp_can_sync_threads().
    for (Task* t : group_->tasks) {
      if (t == this || t->exiting()) continue;
      int mode = t->seccomp_mode();
      base::Ref<SeccompFilter> theirs = t->seccomp_filter();
      bool ok =
          mode == abi::kSECCOMP_MODE_DISABLED ||
          (mode == abi::kSECCOMP_MODE_FILTER && (!theirs || (mine && mine->Extends(theirs.get()))));
      dropped.push_back(std::move(theirs));
      if (!ok) return pid_ns()->IdOf(*t);
    }
  }
  for (Task* t : group_->tasks) {
    if (t != this && (!tsync || t->exiting())) continue;
    base::Ref<SeccompFilter> f = filter;
    {
      base::MutexLock l(t->mu_);
      std::swap(t->seccomp_, f);
    }
    dropped.push_back(std::move(f));
    if (no_new_privs.load()) t->no_new_privs.store(true);
    t->seccomp_mode_.store(abi::kSECCOMP_MODE_FILTER);
    t->StaleLocal();
  }
  return 0;
}

bool TaskRunner::Seccomp(const SyscallArgs& args) {
  Task& t = t_;
  uint32_t nr = static_cast<uint32_t>(args.nr);
  if (t.seccomp_mode() == abi::kSECCOMP_MODE_STRICT) {
    // mode1_syscalls: read, write, exit, rt_sigreturn.
    if (nr == 0 || nr == 1 || nr == 60 || nr == 15) return true;
    t.Exit(abi::kSIGKILL);
    return false;
  }
  base::Ref<SeccompFilter> filter = t.seccomp_filter();
  if (!filter || filter->AlwaysAllows(nr)) return true;
  const platform::Regs& regs = t.guest_->regs();
  abi::SeccompData data{};
  data.nr = static_cast<int32_t>(nr);
  data.arch = abi::kAUDIT_ARCH_X86_64;
  data.instruction_pointer = regs.rip;
  std::copy(std::begin(args.arg), std::end(args.arg), data.args);
  uint32_t result = filter->Run(data);
  uint32_t value = result & abi::kSECCOMP_RET_DATA;
  auto fail = [&](int64_t e) {
    // Any number up to MAX_ERRNO goes to the guest as it is: no restart code.
    uint64_t v = static_cast<uint64_t>(-e);
    t.guest_->SetReturn(v);
    t.set_return_ = v;
    t.set_ = Task::Set::kReturn;
    return false;
  };
  auto sigsys = [&] {
    abi::SigInfo info{};
    info.signo = abi::kSIGSYS;
    info.code = 1;  // SYS_SECCOMP
    info.err = static_cast<int32_t>(value);
    info.f.sys.call_addr = regs.rip;
    info.f.sys.syscall = static_cast<int32_t>(nr);
    info.f.sys.arch = abi::kAUDIT_ARCH_X86_64;
    return info;
  };
  constexpr int64_t kNoSys = static_cast<int64_t>(abi::Errno::kENOSYS);
  switch (result & abi::kSECCOMP_RET_ACTION_FULL) {
    case abi::kSECCOMP_RET_ALLOW:
    case abi::kSECCOMP_RET_LOG:
      return true;
    case abi::kSECCOMP_RET_ERRNO:
      return fail(std::min<uint32_t>(value, 4095));
    case abi::kSECCOMP_RET_TRACE:       // nobody traces
    case abi::kSECCOMP_RET_USER_NOTIF:  // nobody listens
      return fail(kNoSys);
    case abi::kSECCOMP_RET_TRAP: {
      abi::SigInfo info = sigsys();
      // syscall_rollback().
      platform::Regs r = t.GuestRegs();
      r.rax = nr;
      t.SetGuestRegs(r);
      t.ForceSignal(info);
      return false;
    }
    case abi::kSECCOMP_RET_KILL_THREAD: {
      bool last;
      {
        base::MutexLock l(kernel_.tree_mu);
        last = t.group().live == 1;
      }
      if (!last) {
        t.Exit(abi::kSIGSYS);
        return false;
      }
      [[fallthrough]];
    }
    default:  // SECCOMP_RET_KILL_PROCESS, and what the kernel does not know
      t.ExitGroup(abi::kSIGSYS);
      return false;
  }
}

}  // namespace sentry
