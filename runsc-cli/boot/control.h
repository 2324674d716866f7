// Messages between the command and the sentry, over a SOCK_SEQPACKET socket. The command does not
// trust the sentry: sizes are checked, texts are printed with control characters removed.
#pragma once

#include <cstdint>

namespace runsc {

struct ControlMessage {
  enum Kind : uint32_t {
    kSignal = 1,  // to the sentry: value is the signal for the first process
    kWindowSize,  // to the sentry: value = rows << 16 | columns
    kExit,        // from the sentry: value is the wait status of the first process
    kFailed,  // from the sentry: the program could not be started; value is the exit status, text
              // says why
    kReport,  // from the sentry: text for standard error
  };
  static constexpr uint32_t kMaxText = 3072;
  uint32_t kind = 0;
  int32_t value = 0;
  uint32_t text_len = 0;
  char text[kMaxText] = {};
};
constexpr uint32_t kControlHeader = 12;

}  // namespace runsc
