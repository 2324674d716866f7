// The families that sentry/socket/inet provides, for boot.
#pragma once

#include "sentry/kernel/kernel.h"
#include "sentry/socket/inet/net_stack.h"
#include "sentry/socket/socket.h"

namespace sentry {

extern const SocketFamily kInetFamily;
extern const SocketFamily kInet6Family;
extern const SocketFamily kPacketFamily;

// netdevice(7)'s requests on any socket: Socket::interface_ioctl.
base::Result<uint64_t> InterfaceIoctl(Task& task, uint32_t cmd, UserAddr arg);

// Called once at boot: the first namespace's lo goes up, and what shows itself in /proc is made.
// raw_sockets: guests with CAP_NET_RAW get raw and packet sockets; else those are told that the
// kernel has none.
void StartNetwork(Kernel& kernel, bool raw_sockets);

}  // namespace sentry
