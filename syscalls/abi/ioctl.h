// ioctl(2) numbers that belong to no single family; terminals are in termios.h.
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kFIOCLEX = 0x5451;
inline constexpr int32_t kFIONCLEX = 0x5450;
inline constexpr int32_t kFIOASYNC = 0x5452;
inline constexpr int32_t kFIONBIO = 0x5421;
inline constexpr int32_t kFIONREAD = 0x541b;
inline constexpr int32_t kFIOQSIZE = 0x5460;
inline constexpr uint32_t kFIBMAP = 0x1;
inline constexpr uint32_t kFIGETBSZ = 0x2;
inline constexpr uint32_t kFIFREEZE = 0xc0045877;
inline constexpr uint32_t kFITHAW = 0xc0045878;
inline constexpr uint32_t kFITRIM = 0xc0185879;
inline constexpr uint32_t kFICLONE = 0x40049409;
inline constexpr uint32_t kFICLONERANGE = 0x4020940d;
inline constexpr uint32_t kFIDEDUPERANGE = 0xc0189436;
inline constexpr uint32_t kFS_IOC_GETFLAGS = 0x80086601;
inline constexpr uint32_t kFS_IOC_SETFLAGS = 0x40086602;
inline constexpr uint32_t kFS_IOC_GETVERSION = 0x80087601;
inline constexpr uint32_t kFS_IOC_FSGETXATTR = 0x801c581f;
inline constexpr uint32_t kFS_IOC_FSSETXATTR = 0x401c5820;
inline constexpr uint32_t kFS_IOC_GETFSLABEL = 0x81009431;
inline constexpr uint32_t kRNDGETENTCNT = 0x80045200;
inline constexpr uint32_t kRNDADDTOENTCNT = 0x40045201;
inline constexpr uint32_t kRNDADDENTROPY = 0x40085203;
inline constexpr uint32_t kBLKGETSIZE = 0x1260;
inline constexpr uint32_t kBLKGETSIZE64 = 0x80081272;
inline constexpr uint32_t kBLKSSZGET = 0x1268;

// _IOC(dir, type, nr, size).
constexpr uint32_t IocNr(uint32_t c) { return c & 0xff; }
constexpr uint32_t IocType(uint32_t c) { return (c >> 8) & 0xff; }
constexpr uint32_t IocSize(uint32_t c) { return (c >> 16) & 0x3fff; }
constexpr uint32_t IocDir(uint32_t c) { return c >> 30; }

}  // namespace uapi
