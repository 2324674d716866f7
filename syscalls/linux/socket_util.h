// What the handlers of sockets share.
#pragma once

#include "sentry/socket/socket.h"

namespace syscalls {

// EBADF, ENOTSOCK.
using SocketRef = base::Ref<sentry::Socket>;
base::Result<SocketRef> GetSocket(sentry::Task& task, int32_t fd);

base::Result<sentry::SockAddr> FetchAddr(sentry::Task& task, sentry::UserAddr addr, int32_t len);
base::Result<void> StoreAddr(sentry::Task& task, const sentry::SockAddr& a, sentry::UserAddr addr,
                             sentry::UserInOut<int32_t> addrlen);

}  // namespace syscalls
