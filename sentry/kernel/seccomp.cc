#include "sentry/kernel/seccomp.h"

#include <algorithm>
#include <cstring>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task_run.h"
#include "syscalls/abi/capability.h"

namespace sentry {

namespace {

using abi::SockFilter;
constexpr size_t kWords = abi::kBPF_MEMWORDS;

constexpr uint16_t Op(int32_t a, int32_t b, int32_t c = 0) {
  return static_cast<uint16_t>(a | b | c);
}

// What seccomp_check_filter() lets through.
bool KnownOp(uint16_t code) {
  using namespace abi;  // NOLINT
  switch (code) {
    case Op(kBPF_LD, kBPF_W, kBPF_ABS):
    case Op(kBPF_LD, kBPF_W, kBPF_LEN):
    case Op(kBPF_LDX, kBPF_W, kBPF_LEN):
    case Op(kBPF_RET, kBPF_K):
    case Op(kBPF_RET, kBPF_A):
    case Op(kBPF_LD, kBPF_IMM):
    case Op(kBPF_LDX, kBPF_IMM):
    case Op(kBPF_MISC, kBPF_TAX):
    case Op(kBPF_MISC, kBPF_TXA):
    case Op(kBPF_LD, kBPF_MEM):
    case Op(kBPF_LDX, kBPF_MEM):
    case Op(kBPF_ST, 0):
    case Op(kBPF_STX, 0):
    case Op(kBPF_JMP, kBPF_JA):
    case Op(kBPF_ALU, kBPF_NEG):
      return true;
    default:
      break;
  }
  if ((code & 7) == kBPF_ALU && (code & ~0xff) == 0) {
    switch (code & 0xf0) {
      case kBPF_ADD:
      case kBPF_SUB:
      case kBPF_MUL:
      case kBPF_DIV:
      case kBPF_AND:
      case kBPF_OR:
      case kBPF_XOR:
      case kBPF_LSH:
      case kBPF_RSH:
        return true;
      default:
        return false;
    }
  }
  if ((code & 7) == kBPF_JMP && (code & ~0xff) == 0) {
    int32_t j = code & 0xf0;
    return j == kBPF_JEQ || j == kBPF_JGE || j == kBPF_JGT || j == kBPF_JSET;
  }
  return false;
}

}  // namespace

bool SeccompProgramOk(std::span<const SockFilter> p) {
  size_t n = p.size();
  if (n == 0 || n > static_cast<size_t>(abi::kBPF_MAXINSNS)) return false;
  // Which scratch words are surely written when an instruction is reached
  // (check_load_and_stores()).
  std::vector<uint16_t> valid(n, 0xffff);
  uint16_t now = 0;
  for (size_t pc = 0; pc < n; pc++) {
    const SockFilter& f = p[pc];
    if (!KnownOp(f.code)) return false;
    now &= valid[pc];
    switch (f.code & 7) {
      case abi::kBPF_LD:
      case abi::kBPF_LDX:
        if ((f.code & 0xe0) == abi::kBPF_MEM) {
          if (f.k >= kWords || (now & (1u << f.k)) == 0) return false;
        } else if ((f.code & 0xe0) == abi::kBPF_ABS) {
          if (f.k >= sizeof(abi::SeccompData) || f.k % 4 != 0) return false;
        }
        break;
      case abi::kBPF_ST:
      case abi::kBPF_STX:
        if (f.k >= kWords) return false;
        now |= static_cast<uint16_t>(1u << f.k);
        break;
      case abi::kBPF_ALU:
        if ((f.code & abi::kBPF_X) != 0) break;
        if ((f.code & 0xf0) == abi::kBPF_DIV && f.k == 0) return false;
        if (((f.code & 0xf0) == abi::kBPF_LSH || (f.code & 0xf0) == abi::kBPF_RSH) && f.k >= 32) {
          return false;
        }
        break;
      case abi::kBPF_JMP:
        if ((f.code & 0xf0) == abi::kBPF_JA) {
          if (f.k >= n - pc - 1) return false;
          valid[pc + 1 + f.k] &= now;
        } else {
          if (pc + f.jt + 1 >= n || pc + f.jf + 1 >= n) return false;
          valid[pc + 1 + f.jt] &= now;
          valid[pc + 1 + f.jf] &= now;
        }
        now = 0xffff;
        break;
      default:
        break;
    }
  }
  return (p[n - 1].code & 7) == abi::kBPF_RET;
}

uint32_t RunSeccompProgram(std::span<const SockFilter> p, const abi::SeccompData& data,
                           bool* depends) {
  uint32_t a = 0, x = 0;
  uint32_t mem[kWords] = {};
  const auto* words = reinterpret_cast<const uint8_t*>(&data);
  for (size_t pc = 0;; pc++) {
    const SockFilter& f = p[pc];
    uint32_t operand = (f.code & abi::kBPF_X) != 0 ? x : f.k;
    switch (f.code & 7) {
      case abi::kBPF_LD:
      case abi::kBPF_LDX: {
        uint32_t v = 0;
        switch (f.code & 0xe0) {
          case abi::kBPF_ABS:
            memcpy(&v, words + f.k, sizeof v);
            if (depends != nullptr && f.k >= 8) *depends = true;
            break;
          case abi::kBPF_LEN:
            v = sizeof(abi::SeccompData);
            break;
          case abi::kBPF_MEM:
            v = mem[f.k];
            break;
          default:
            v = f.k;
            break;
        }
        ((f.code & 7) == abi::kBPF_LD ? a : x) = v;
        break;
      }
      case abi::kBPF_ST:
        mem[f.k] = a;
        break;
      case abi::kBPF_STX:
        mem[f.k] = x;
        break;
      case abi::kBPF_ALU:
        switch (f.code & 0xf0) {
          case abi::kBPF_ADD:
            a += operand;
            break;
          case abi::kBPF_SUB:
            a -= operand;
            break;
          case abi::kBPF_MUL:
            a *= operand;
            break;
          case abi::kBPF_DIV:
            if (operand == 0) return 0;  // bpf_convert_filter(): the program ends with 0
            a /= operand;
            break;
          case abi::kBPF_AND:
            a &= operand;
            break;
          case abi::kBPF_OR:
            a |= operand;
            break;
          case abi::kBPF_XOR:
            a ^= operand;
            break;
          case abi::kBPF_LSH:
            a <<= operand & 31;
            break;
          case abi::kBPF_RSH:
            a >>= operand & 31;
            break;
          default:  // BPF_NEG
            a = 0 - a;
            break;
        }
        break;
      case abi::kBPF_JMP: {
        bool taken = false;
        switch (f.code & 0xf0) {
          case abi::kBPF_JA:
            pc += f.k;
            continue;
          case abi::kBPF_JEQ:
            taken = a == operand;
            break;
          case abi::kBPF_JGT:
            taken = a > operand;
            break;
          case abi::kBPF_JGE:
            taken = a >= operand;
            break;
          default:  // BPF_JSET
            taken = (a & operand) != 0;
            break;
        }
        pc += taken ? f.jt : f.jf;
        break;
      }
      case abi::kBPF_RET:
        return (f.code & 0x18) == abi::kBPF_A ? a : f.k;
      default:  // BPF_MISC
        if ((f.code & 0xf8) == abi::kBPF_TXA) {
          a = x;
        } else {
          x = a;
        }
        break;
    }
  }
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
