// Logging to one descriptor (the debug log); nothing is formatted while the level is off. LOG_FATAL
// writes a report and aborts: for broken invariants, where going on would be worse than the death
// of this sandbox.
#pragma once

#include <cstdarg>

namespace base {

enum class LogLevel { kNone = 0, kWarning = 1, kInfo = 2, kDebug = 3 };

// Not thread-safe against running loggers: called at set-up. fd -1 turns logging off (fatal reports
// then go to fd 2).
void SetLog(int fd, LogLevel level);
extern LogLevel log_level;
void LogWrite(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));
// A line for a person about a failure that ends the process: to the log, at any level.
// Async-signal-safe enough.
void LogReport(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void LogFatal(const char* file, int line, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

}  // namespace base

#define MOAT_LOG(level, ...)                                       \
  do {                                                             \
    if (::base::log_level >= ::base::LogLevel::level) [[unlikely]] \
      ::base::LogWrite(::base::LogLevel::level, __VA_ARGS__);      \
  } while (0)
#define LOG_WARNING(...) MOAT_LOG(kWarning, __VA_ARGS__)
#define LOG_INFO(...) MOAT_LOG(kInfo, __VA_ARGS__)
#define LOG_DEBUG(...) MOAT_LOG(kDebug, __VA_ARGS__)
#define LOG_FATAL(...) ::base::LogFatal(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(x)                         \
  do {                                   \
    if (!(x)) [[unlikely]]               \
      LOG_FATAL("check failed: %s", #x); \
  } while (0)
