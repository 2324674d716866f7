#include "platform/base/status.h"

#include <cstring>

namespace base {

Status Status::Errno(std::string what, int err) {
  return Error(std::move(what) + ": " + strerror(err));
}

}  // namespace base
