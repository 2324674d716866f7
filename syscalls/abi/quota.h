// quotactl(2), reboot(2), syslog(2): commands of calls that are refused or answered emptily.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr uint32_t kLINUX_REBOOT_MAGIC1 = 0xfee1dead;
inline constexpr uint32_t kLINUX_REBOOT_MAGIC2 = 0x28121969;
inline constexpr uint32_t kLINUX_REBOOT_CMD_RESTART = 0x1234567;
inline constexpr uint32_t kLINUX_REBOOT_CMD_HALT = 0xcdef0123;
inline constexpr uint32_t kLINUX_REBOOT_CMD_POWER_OFF = 0x4321fedc;
inline constexpr uint32_t kLINUX_REBOOT_CMD_CAD_ON = 0x89abcdef;
inline constexpr uint32_t kLINUX_REBOOT_CMD_CAD_OFF = 0x0;
inline constexpr uint32_t kQ_SYNC = 0x800001;
inline constexpr uint32_t kQ_QUOTAON = 0x800002;
inline constexpr uint32_t kQ_QUOTAOFF = 0x800003;
inline constexpr uint32_t kQ_GETFMT = 0x800004;
inline constexpr uint32_t kQ_GETINFO = 0x800005;
inline constexpr uint32_t kQ_SETINFO = 0x800006;
inline constexpr uint32_t kQ_GETQUOTA = 0x800007;
inline constexpr uint32_t kQ_SETQUOTA = 0x800008;
inline constexpr int32_t kSYSLOG_ACTION_CLOSE = 0;
inline constexpr int32_t kSYSLOG_ACTION_OPEN = 1;
inline constexpr int32_t kSYSLOG_ACTION_READ = 2;
inline constexpr int32_t kSYSLOG_ACTION_READ_ALL = 3;
inline constexpr int32_t kSYSLOG_ACTION_READ_CLEAR = 4;
inline constexpr int32_t kSYSLOG_ACTION_CLEAR = 5;
inline constexpr int32_t kSYSLOG_ACTION_CONSOLE_OFF = 6;
inline constexpr int32_t kSYSLOG_ACTION_CONSOLE_ON = 7;
inline constexpr int32_t kSYSLOG_ACTION_CONSOLE_LEVEL = 8;
inline constexpr int32_t kSYSLOG_ACTION_SIZE_UNREAD = 9;
inline constexpr int32_t kSYSLOG_ACTION_SIZE_BUFFER = 10;

}  // namespace uapi
