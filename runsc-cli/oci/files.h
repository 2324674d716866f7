// Small files of the host, read and written whole.
#pragma once

#include <string>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace runsc {

// Appends at most 16 MiB of a file; "-": standard input.
base::Status ReadText(const std::string& path, std::string* text);
// Without the newlines at its end; empty if it can't be read.
std::string ReadLine(const std::string& path);
// Writes to a file that exists, with one write(2).
base::Status WriteText(const std::string& path, const std::string& text);
// Replaces the file in one step: a reader sees the old text or the new one.
base::Status WriteAtomically(const std::string& path, const std::string& text, unsigned mode);
// A nameless file with this text, to be read from its start.
base::Status TextFile(const std::string& text, base::UniqueFd* out);
// Names, sorted, without "." and "..".
std::vector<std::string> ListDirectory(const std::string& path);

}  // namespace runsc
