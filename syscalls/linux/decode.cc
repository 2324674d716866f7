#include "syscalls/linux/decode.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "syscalls/abi/epoll.h"
#include "syscalls/abi/fcntl.h"
#include "syscalls/abi/poll.h"
#include "syscalls/abi/resource.h"
#include "syscalls/abi/signal.h"
#include "syscalls/abi/socket.h"
#include "syscalls/abi/stat.h"
#include "syscalls/abi/time.h"
#include "syscalls/abi/uio.h"
#include "syscalls/linux/dispatch.h"

namespace syscalls {
namespace {

using sentry::SyscallArgs;
using sentry::SyscallResult;
using sentry::UserAddr;
using sentry::UserMemory;

constexpr size_t kMaxString = 256;  // bytes of a path that are shown
constexpr size_t kMaxBuffer = 32;   // bytes of data that are shown
constexpr size_t kMaxItems = 16;    // elements of an array that are shown

__attribute__((format(printf, 2, 3))) void Append(std::string* out, const char* format, ...) {
  char buf[160];
  va_list ap;
  va_start(ap, format);
  int n = vsnprintf(buf, sizeof buf, format, ap);
  va_end(ap);
  out->append(buf, std::min<size_t>(n < 0 ? 0 : n, sizeof buf - 1));
}

void AppendAddr(std::string* out, uint64_t v) {
  if (v == 0) {
    *out += "NULL";
  } else {
    Append(out, "%#" PRIx64, v);
  }
}

void AppendQuoted(std::string* out, const char* p, size_t n, bool cut) {
  *out += '"';
  for (size_t i = 0; i < n; ++i) {
    const unsigned char c = p[i];
    switch (c) {
      case '\n':
        *out += "\\n";
        break;
      case '\t':
        *out += "\\t";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '"':
      case '\\':
        *out += '\\';
        *out += static_cast<char>(c);
        break;
      default:
        if (c >= 0x20 && c < 0x7f) {
          *out += static_cast<char>(c);
        } else {
          Append(out, "\\x%02x", c);
        }
    }
  }
  *out += cut ? "\"..." : "\"";
}

// A NUL-terminated string; its address if it can't be read.
void AppendCString(std::string* out, UserMemory& mm, uint64_t addr) {
  if (addr == 0) {
    *out += "NULL";
    return;
  }
  char buf[kMaxString];
  const size_t n = mm.CopyInPartial(buf, UserAddr{addr}, sizeof buf);
  const size_t len = strnlen(buf, n);
  if (n == 0 || (len == n && n < sizeof buf)) {
    AppendAddr(out, addr);
    return;
  }
  AppendQuoted(out, buf, len, len == n);
}

void AppendBuffer(std::string* out, UserMemory& mm, uint64_t addr, uint64_t size) {
  char buf[kMaxBuffer];
  const size_t want = std::min<uint64_t>(size, sizeof buf);
  if (addr == 0 || mm.CopyInPartial(buf, UserAddr{addr}, want) != want) {
    AppendAddr(out, addr);
    return;
  }
  AppendQuoted(out, buf, want, size > want);
}

template <typename T>
bool Read(UserMemory& mm, uint64_t addr, T* v) {
  return addr != 0 && mm.CopyInPartial(v, UserAddr{addr}, sizeof *v) == sizeof *v;
}

void AppendStrings(std::string* out, UserMemory& mm, uint64_t addr) {
  if (addr == 0) {
    *out += "NULL";
    return;
  }
  *out += '[';
  for (size_t i = 0;; ++i) {
    uint64_t p;
    if (!Read(mm, addr + 8 * i, &p)) {
      *out += '?';
      break;
    }
    if (p == 0) break;
    if (i != 0) *out += ", ";
    if (i == kMaxItems) {
      *out += "...";
      break;
    }
    AppendCString(out, mm, p);
  }
  *out += ']';
}

void AppendSignal(std::string* out, int sig) {
  if (sig >= abi::kSIGRTMIN && sig <= abi::kSIGRTMAX) {
    Append(out, "SIGRT_%d", sig - abi::kSIGRTMIN);
  } else if (Lookup(FlagSet::signals, sig) == Support::kFull) {
    AppendFlags(out, FlagSet::signals, sig);
  } else {
    Append(out, "%d", sig);
  }
}

void AppendSigSet(std::string* out, abi::SigSet set) {
  const bool invert = __builtin_popcountll(set) > 32;
  if (invert) {
    *out += '~';
    set = ~set;
  }
  *out += '[';
  bool first = true;
  for (int sig = 1; sig <= abi::kNSIG; ++sig) {
    if ((set & abi::SigBit(sig)) == 0) continue;
    if (!first) *out += ' ';
    AppendSignal(out, sig);
    first = false;
  }
  *out += ']';
}

void AppendMode(std::string* out, uint32_t mode) {
  static constexpr const char* kTypes[16] = {
      "",         "S_IFIFO|", "S_IFCHR|", nullptr, "S_IFDIR|",  nullptr, "S_IFBLK|", nullptr,
      "S_IFREG|", nullptr,    "S_IFLNK|", nullptr, "S_IFSOCK|", nullptr, nullptr,    nullptr};
  const char* type = kTypes[(mode & abi::kS_IFMT) >> 12];
  if (type == nullptr) {
    Append(out, "0%o", mode);
  } else {
    Append(out, "%s0%03o", type, mode & ~static_cast<uint32_t>(abi::kS_IFMT));
  }
}

void AppendSockaddr(std::string* out, UserMemory& mm, uint64_t addr, uint64_t len) {
  abi::SockaddrStorage ss{};
  const size_t want = std::min<uint64_t>(len, sizeof ss);
  if (addr == 0 || want < sizeof ss.family || mm.CopyInPartial(&ss, UserAddr{addr}, want) != want) {
    AppendAddr(out, addr);
    return;
  }
  *out += "{sa_family=";
  AppendFlags(out, FlagSet::socket_domain, ss.family);
  const size_t rest = want - sizeof ss.family;
  const char* data = reinterpret_cast<const char*>(ss.data);
  if (ss.family == abi::kAF_UNIX && rest > 0) {
    *out += ", sun_path=";
    if (data[0] == 0) *out += '@';
    const size_t skip = data[0] == 0 ? 1 : 0;
    AppendQuoted(out, data + skip, data[0] == 0 ? rest - 1 : strnlen(data, rest), false);
  } else if (ss.family == abi::kAF_INET && rest >= 6) {
    const uint8_t* d = ss.data;
    Append(out, ", sin_port=%d, sin_addr=%d.%d.%d.%d", d[0] << 8 | d[1], d[2], d[3], d[4], d[5]);
  }
  *out += '}';
}

void AppendIovec(std::string* out, UserMemory& mm, uint64_t addr, uint64_t count, bool contents) {
  *out += '[';
  for (uint64_t i = 0; i < count; ++i) {
    if (i != 0) *out += ", ";
    abi::Iovec v;
    if (i == kMaxItems || !Read(mm, addr + i * sizeof v, &v)) {
      *out += "...";
      break;
    }
    *out += "{iov_base=";
    if (contents) {
      AppendBuffer(out, mm, v.base, v.len);
    } else {
      AppendAddr(out, v.base);
    }
    Append(out, ", iov_len=%" PRIu64 "}", v.len);
  }
  *out += ']';
}

void AppendPollEvents(std::string* out, int16_t events) {
  // poll's names are those of epoll without the E.
  std::string names;
  AppendFlags(&names, FlagSet::epoll_events, static_cast<uint16_t>(events));
  for (size_t at; (at = names.find("EPOLL")) != std::string::npos;) names.erase(at, 1);
  *out += names;
}

void AppendPollfds(std::string* out, UserMemory& mm, uint64_t addr, uint64_t count, bool after) {
  *out += '[';
  bool first = true;
  for (uint64_t i = 0; i < count; ++i) {
    abi::Pollfd p;
    if (i == kMaxItems || !Read(mm, addr + i * sizeof p, &p)) {
      *out += "...";
      break;
    }
    if (after && p.revents == 0) continue;
    if (!first) *out += ", ";
    first = false;
    Append(out, "{fd=%d, events=", p.fd);
    AppendPollEvents(out, p.events);
    if (after) {
      *out += ", revents=";
      AppendPollEvents(out, p.revents);
    }
    *out += '}';
  }
  *out += ']';
}

void AppendTimespec(std::string* out, const abi::Timespec& t) {
  Append(out, "{tv_sec=%" PRId64 ", tv_nsec=%" PRId64 "}", t.sec, t.nsec);
}
void AppendTimeval(std::string* out, const abi::Timeval& t) {
  Append(out, "{tv_sec=%" PRId64 ", tv_usec=%" PRId64 "}", t.sec, t.usec);
}

// One formatter per struct; overloads are chosen by the table below.
void AppendStruct(std::string* out, const int32_t& v) { Append(out, "[%d]", v); }
void AppendStruct(std::string* out, const uint32_t& v) { Append(out, "[%u]", v); }
void AppendStruct(std::string* out, const int64_t& v) { Append(out, "[%" PRId64 "]", v); }
void AppendStruct(std::string* out, const abi::SigSet& v) { AppendSigSet(out, v); }
void AppendStruct(std::string* out, const abi::Timespec& v) { AppendTimespec(out, v); }
void AppendStruct(std::string* out, const abi::Timeval& v) { AppendTimeval(out, v); }
void AppendStruct(std::string* out, const abi::Itimerspec& v) {
  *out += "{it_interval=";
  AppendTimespec(out, v.interval);
  *out += ", it_value=";
  AppendTimespec(out, v.value);
  *out += '}';
}
void AppendStruct(std::string* out, const abi::Itimerval& v) {
  *out += "{it_interval=";
  AppendTimeval(out, v.interval);
  *out += ", it_value=";
  AppendTimeval(out, v.value);
  *out += '}';
}
void AppendStruct(std::string* out, const abi::Rlimit& v) {
  auto limit = [out](uint64_t l) {
    if (l == abi::kRLIM_INFINITY) {
      *out += "RLIM_INFINITY";
    } else {
      Append(out, "%" PRIu64, l);
    }
  };
  *out += "{rlim_cur=";
  limit(v.cur);
  *out += ", rlim_max=";
  limit(v.max);
  *out += '}';
}
void AppendStruct(std::string* out, const abi::Stat& v) {
  *out += "{st_mode=";
  AppendMode(out, v.mode);
  if (abi::S_IsChr(v.mode) || abi::S_IsBlk(v.mode)) {
    Append(out, ", st_rdev=%u:%u", abi::DevMajor(v.rdev), abi::DevMinor(v.rdev));
  } else {
    Append(out, ", st_size=%" PRId64, v.size);
  }
  *out += ", ...}";
}
void AppendStruct(std::string* out, const abi::Statx& v) {
  *out += "{stx_mask=";
  AppendFlags(out, FlagSet::statx_mask, v.mask);
  *out += ", stx_mode=";
  AppendMode(out, v.mode);
  Append(out, ", stx_size=%" PRIu64 ", ...}", v.size);
}
void AppendStruct(std::string* out, const abi::SigAction& v) {
  *out += "{sa_handler=";
  if (v.handler == abi::kSIG_DFL) {
    *out += "SIG_DFL";
  } else if (v.handler == abi::kSIG_IGN) {
    *out += "SIG_IGN";
  } else {
    AppendAddr(out, v.handler);
  }
  *out += ", sa_mask=";
  AppendSigSet(out, v.mask);
  *out += ", sa_flags=";
  AppendFlags(out, FlagSet::sigaction_flags, v.flags);
  *out += '}';
}
void AppendStruct(std::string* out, const abi::SigInfo& v) {
  *out += "{si_signo=";
  AppendSignal(out, v.signo);
  Append(out, ", si_code=%d, si_pid=%d, ...}", v.code, v.f.kill.pid);
}
void AppendStruct(std::string* out, const abi::EpollEvent& v) {
  *out += "{events=";
  AppendFlags(out, FlagSet::epoll_events, v.events);
  Append(out, ", data=%#" PRIx64 "}", uint64_t{v.data});
}

struct StructFormat {
  const void* tag;
  void (*append)(std::string* out, UserMemory& mm, uint64_t addr);
};

template <typename T>
void AppendAt(std::string* out, UserMemory& mm, uint64_t addr) {
  T v;
  if (Read(mm, addr, &v)) {
    AppendStruct(out, v);
  } else {
    AppendAddr(out, addr);
  }
}

template <typename... T>
constexpr auto MakeFormats() {
  return std::array<StructFormat, sizeof...(T)>{{{&kTypeTag<T>, &AppendAt<T>}...}};
}
constexpr auto kFormats =
    MakeFormats<int32_t, uint32_t, int64_t, abi::SigSet, abi::Timespec, abi::Timeval,
                abi::Itimerspec, abi::Itimerval, abi::Rlimit, abi::Stat, abi::Statx, abi::SigAction,
                abi::SigInfo, abi::EpollEvent>();

void AppendPointed(std::string* out, UserMemory& mm, const ArgType& type, uint64_t addr) {
  for (const StructFormat& f : kFormats) {
    if (f.tag == type.tag) {
      f.append(out, mm, addr);
      return;
    }
  }
  AppendAddr(out, addr);
}

// The i-th name of "int32_t fd, UserAddr buf": no type of sys.h has a comma in it.
std::string_view ParamName(std::string_view params, int i) {
  for (; i > 0; --i) params.remove_prefix(params.find(',') + 1);
  params = params.substr(0, params.find(','));
  return params.substr(params.rfind(' ') + 1);
}

bool ReturnsAddress(Sys call) {
  return call == Sys::mmap || call == Sys::brk || call == Sys::mremap || call == Sys::shmat;
}

// UserAddr arguments that mean more than an address, before the call...
bool AppendAddrArgument(std::string* out, UserMemory& mm, Sys call, const SyscallArgs& a, int i) {
  const uint64_t v = a.arg[i];
  switch (call) {
    case Sys::write:
    case Sys::pwrite64:
    case Sys::sendto:
      if (i == 1) {
        AppendBuffer(out, mm, v, a.arg[2]);
      } else {
        AppendSockaddr(out, mm, v, static_cast<uint32_t>(a.arg[5]));
      }
      return true;
    case Sys::execve:
    case Sys::execveat: {
      const int argv = call == Sys::execve ? 1 : 2;
      if (i == argv) {
        AppendStrings(out, mm, v);
        return true;
      }
      return false;
    }
    case Sys::connect:
    case Sys::bind:
      AppendSockaddr(out, mm, v, static_cast<uint32_t>(a.arg[2]));
      return true;
    case Sys::writev:
    case Sys::pwritev:
    case Sys::pwritev2:
    case Sys::vmsplice:
      AppendIovec(out, mm, v, a.arg[2], true);
      return true;
    case Sys::readv:
    case Sys::preadv:
    case Sys::preadv2:
      AppendIovec(out, mm, v, a.arg[2], false);
      return true;
    case Sys::poll:
    case Sys::ppoll:
      AppendPollfds(out, mm, v, static_cast<uint32_t>(a.arg[1]), false);
      return true;
    case Sys::setxattr:
    case Sys::lsetxattr:
    case Sys::fsetxattr:
      AppendBuffer(out, mm, v, a.arg[3]);
      return true;
    case Sys::sethostname:
    case Sys::setdomainname:
      AppendBuffer(out, mm, v, static_cast<uint32_t>(a.arg[1]));
      return true;
    default:
      return false;
  }
}

// ... and after it succeeded with `r`.
bool AppendAddrResult(std::string* out, UserMemory& mm, Sys call, const SyscallArgs& a, int i,
                      uint64_t r) {
  const uint64_t v = a.arg[i];
  switch (call) {
    case Sys::read:
    case Sys::pread64:
    case Sys::readlink:
    case Sys::readlinkat:
    case Sys::getcwd:
    case Sys::getrandom:
      AppendBuffer(out, mm, v, r);
      return true;
    case Sys::recvfrom:
      if (i != 1) return false;
      AppendBuffer(out, mm, v, r);
      return true;
    case Sys::getxattr:
    case Sys::lgetxattr:
    case Sys::fgetxattr:
      AppendBuffer(out, mm, v, a.arg[3] == 0 ? 0 : r);
      return true;
    case Sys::pipe:
    case Sys::pipe2:
    case Sys::socketpair: {
      int32_t fds[2];
      if (!Read(mm, v, &fds)) return false;
      Append(out, "[%d, %d]", fds[0], fds[1]);
      return true;
    }
    case Sys::poll:
    case Sys::ppoll:
      AppendPollfds(out, mm, v, static_cast<uint32_t>(a.arg[1]), true);
      return true;
    case Sys::epoll_wait:
    case Sys::epoll_pwait:
    case Sys::epoll_pwait2:
      *out += '[';
      for (uint64_t n = 0; n < r; ++n) {
        abi::EpollEvent e;
        if (n != 0) *out += ", ";
        if (n == kMaxItems || !Read(mm, v + n * sizeof e, &e)) {
          *out += "...";
          break;
        }
        AppendStruct(out, e);
      }
      *out += ']';
      return true;
    case Sys::accept:
    case Sys::accept4:
    case Sys::getsockname:
    case Sys::getpeername: {
      int32_t len;
      if (v == 0 || !Read(mm, a.arg[2], &len)) return false;
      AppendSockaddr(out, mm, v, static_cast<uint32_t>(len));
      return true;
    }
    default:
      return false;
  }
}

void AppendScalar(std::string* out, ArgKind kind, std::string_view name, uint64_t v) {
  if (name.ends_with("dirfd") && static_cast<int32_t>(v) == abi::kAT_FDCWD) {
    *out += "AT_FDCWD";
  } else if (name == "mode" || (name == "mask" && kind == ArgKind::kI32)) {
    AppendMode(out, static_cast<uint32_t>(v));
  } else if (name == "stack" || name == "tls" || name == "timeout_or_val2" || name == "arg") {
    AppendAddr(out, v);
  } else if (kind == ArgKind::kI32 ||
             (kind == ArgKind::kU32 && static_cast<uint32_t>(v) == UINT32_MAX)) {
    Append(out, "%d", static_cast<int32_t>(v));
  } else if (kind == ArgKind::kU32) {
    Append(out, "%u", static_cast<uint32_t>(v));
  } else if (kind == ArgKind::kI64) {
    Append(out, "%" PRId64, static_cast<int64_t>(v));
  } else if (v < uint64_t{1} << 40) {
    Append(out, "%" PRIu64, v);
  } else {
    Append(out, "%#" PRIx64, v);
  }
}

const char* RestartName(int16_t code) {
  switch (code) {
    case static_cast<int16_t>(base::Restart::kSys):
      return "ERESTARTSYS";
    case static_cast<int16_t>(base::Restart::kNoIntr):
      return "ERESTARTNOINTR";
    case static_cast<int16_t>(base::Restart::kNoHand):
      return "ERESTARTNOHAND";
    default:
      return "ERESTART_RESTARTBLOCK";
  }
}

}  // namespace

void DecodedCall::Begin(UserMemory& mm, const SyscallArgs& a) {
  const Row* row = FindRow(a.nr);
  for (std::string& s : arg_) s.clear();
  result_.clear();
  argc_ = 0;
  if (row == nullptr) {
    name_.clear();
    Append(&name_, "syscall_%" PRIu64, a.nr);
  } else {
    name_ = row->name;
  }
  if (row == nullptr || row->level == Level::kRefused) {
    // No signature is known.
    argc_ = 6;
    for (int i = 0; i < argc_; ++i) Append(&arg_[i], "%#" PRIx64, a.arg[i]);
    return;
  }
  const Sys call = static_cast<Sys>(row->nr);
  const CallInfo& info = InfoOf(*row);
  argc_ = info.argc;
  for (int i = 0; i < argc_; ++i) {
    std::string* out = &arg_[i];
    const ArgType& type = info.arg[i];
    uint64_t v = a.arg[i];
    switch (type.kind) {
      case ArgKind::kString:
        AppendCString(out, mm, v);
        break;
      case ArgKind::kIn:
      case ArgKind::kInOut:
        AppendPointed(out, mm, type, v);
        break;
      case ArgKind::kOut:
        AppendAddr(out, v);
        break;
      case ArgKind::kAddr:
        if (!AppendAddrArgument(out, mm, call, a, i)) AppendAddr(out, v);
        break;
      default: {
        if (type.kind == ArgKind::kI32 || type.kind == ArgKind::kU32) v = static_cast<uint32_t>(v);
        const FlagSet set = SetOf(call, i);
        if (set == FlagSet::signals) {
          AppendSignal(out, static_cast<int32_t>(v));
        } else if (set == FlagSet::kCount || (set == FlagSet::sockopt_socket &&
                                              static_cast<int32_t>(a.arg[1]) != abi::kSOL_SOCKET)) {
          AppendScalar(out, type.kind, ParamName(info.params, i), v);
        } else {
          // Enumerations may have negative members (RUSAGE_CHILDREN).
          if (type.kind == ArgKind::kI32 && GetSet(set).enum_mask == ~uint64_t{0}) {
            v = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v)));
          }
          AppendFlags(out, set, v);
        }
      }
    }
  }
}

void DecodedCall::End(UserMemory& mm, const SyscallArgs& a, const SyscallResult& r) {
  result_.clear();
  const Row* row = FindRow(a.nr);
  if (r.regs_set()) {
    // A successful execve or a sigreturn: the registers and the memory are others now.
    result_ = "0";
    return;
  }
  if (r.is_restart()) {
    result_ = std::string("? ") + RestartName(r.code());
    return;
  }
  if (!r.ok()) {
    result_ = std::string("-1 ") + abi::ErrnoName(static_cast<abi::Errno>(r.code()));
    return;
  }
  if (row == nullptr || row->level == Level::kRefused) {
    Append(&result_, "%" PRId64, static_cast<int64_t>(r.value()));
    return;
  }
  const Sys call = static_cast<Sys>(row->nr);
  Append(&result_, ReturnsAddress(call) ? "%#" PRIx64 : "%" PRId64, r.value());
  const CallInfo& info = InfoOf(*row);
  for (int i = 0; i < info.argc; ++i) {
    const ArgType& type = info.arg[i];
    std::string text;
    if (type.kind == ArgKind::kOut) {
      AppendPointed(&text, mm, type, a.arg[i]);
    } else if (type.kind != ArgKind::kAddr || !AppendAddrResult(&text, mm, call, a, i, r.value())) {
      continue;
    }
    arg_[i] = std::move(text);
  }
}

std::string DecodedCall::Call() const {
  std::string s = name_ + "(";
  for (int i = 0; i < argc_; ++i) {
    if (i != 0) s += ", ";
    s += arg_[i];
  }
  return s + ")";
}

}  // namespace syscalls
