// How the command speaks to its caller: standard error, and the log that --log names.
#pragma once

#include <string>

#include "platform/base/status.h"

namespace runsc {

// --log and --log-format (text, json): errors and warnings go there too; warnings then only there,
// since standard error may be a container's. The file is created at once: callers read its last
// error.
base::Status OpenLog(const std::string& path, const std::string& format);

// "moat: TEXT" on standard error, and in the log; returns status.
int Fail(const std::string& text, int status);
void Warn(const std::string& text);

// RFC 3339, UTC, with nanoseconds.
std::string TimeText();

}  // namespace runsc
