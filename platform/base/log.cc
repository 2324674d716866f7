#include "platform/base/log.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace base {

LogLevel log_level = LogLevel::kNone;
static int log_fd = -1;

void SetLog(int fd, LogLevel level) {
  log_fd = fd;
  log_level = fd < 0 ? LogLevel::kNone : level;
}

static void Emit(int fd, const char* prefix, const char* format, va_list args) {
  char buf[2048];
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  int n = snprintf(buf, sizeof buf, "%s %ld.%06ld ", prefix, static_cast<long>(ts.tv_sec),
                   ts.tv_nsec / 1000);
  int m = vsnprintf(buf + n, sizeof buf - n - 1, format, args);
  n += m < static_cast<int>(sizeof buf) - n - 1 ? m : static_cast<int>(sizeof buf) - n - 2;
  buf[n++] = '\n';
  syscall(SYS_write, fd, buf, n);
}

void LogWrite(LogLevel level, const char* format, ...) {
  if (log_fd < 0) return;
  va_list args;
  va_start(args, format);
  Emit(log_fd,
       level == LogLevel::kWarning ? "W"
       : level == LogLevel::kInfo  ? "I"
                                   : "D",
       format, args);
  va_end(args);
}

void LogReport(const char* format, ...) {
  va_list args;
  va_start(args, format);
  Emit(log_fd >= 0 ? log_fd : 2, "moat: fatal:", format, args);
  va_end(args);
}

void LogFatal(const char* file, int line, const char* format, ...) {
  char where[128];
  snprintf(where, sizeof where, "moat: fatal: %s:%d:", file, line);
  va_list args;
  va_start(args, format);
  Emit(log_fd >= 0 ? log_fd : 2, where, format, args);
  va_end(args);
  abort();
}

}  // namespace base
