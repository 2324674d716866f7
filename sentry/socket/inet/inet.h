// The families that sentry/socket/inet provides, for boot.
#pragma once

#include "sentry/kernel/kernel.h"
#include "sentry/socket/inet/net_stack.h"
#include "sentry/socket/socket.h"

namespace sentry {

extern const SocketFamily kInetFamily;
extern const SocketFamily kInet6Family;
// AF_PACKET is there for those who may not use it to be told so.
extern const SocketFamily kPacketFamily;

// netdevice(7)'s requests on any socket: Socket::interface_ioctl.
base::Result<uint64_t> InterfaceIoctl(Task& task, uint32_t cmd, UserAddr arg);

// Called once at boot: the first namespace's lo goes up, and what shows itself in /proc is made.
void StartNetwork(Kernel& kernel);

}  // namespace sentry
