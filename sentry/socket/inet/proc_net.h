// What a network namespace shows in /proc/net and /proc/sys/net; boot puts it there.
#pragma once

#include <span>
#include <string>

#include "sentry/socket/inet/net_stack.h"

namespace sentry {

struct NetFile {
  const char* name;  // below /proc/net
  std::string (*text)(NetStack& stack);
};
std::span<const NetFile> NetFiles();

struct NetSetting {
  const char* path;  // below /proc/sys/net
  std::string (*read)(NetStack& stack);
  // Null: read-only. EINVAL.
  base::Result<void> (*write)(NetStack& stack, std::string_view text);
};
std::span<const NetSetting> NetSettings();

}  // namespace sentry
