#include "sentry/mm/user.h"

#include <cstring>

namespace sentry {

base::Result<std::string> UserMemory::CopyInString(UserAddr src, size_t max) {
  // Most strings are short and end before the page does; a page is the most that is read in vain.
  constexpr uint64_t kPage = 4096;
  char buf[256];
  std::string out;
  uint64_t at = src.value;
  size_t done = 0;
  while (done < max) {
    size_t n = kPage - at % kPage;
    if (n > sizeof buf) n = sizeof buf;
    if (n > max - done) n = max - done;
    size_t got = CopyInPartial(buf, UserAddr{at}, n);
    if (const void* nul = memchr(buf, 0, got)) {
      out.append(buf, static_cast<const char*>(nul) - buf);
      return out;
    }
    if (got < n) return abi::Errno::kEFAULT;
    out.append(buf, n);
    done += n;
    at += n;
  }
  return abi::Errno::kENAMETOOLONG;
}

}  // namespace sentry
