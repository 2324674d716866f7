// System V shm, sem and msg (sysvipc(7)).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kIPC_CREAT = 01000;
inline constexpr int32_t kIPC_EXCL = 02000;
inline constexpr int32_t kIPC_NOWAIT = 04000;
inline constexpr int32_t kIPC_PRIVATE = 0;
inline constexpr int32_t kIPC_RMID = 0;
inline constexpr int32_t kIPC_SET = 1;
inline constexpr int32_t kIPC_STAT = 2;
inline constexpr int32_t kIPC_INFO = 3;
inline constexpr int32_t kMSG_STAT = 11;
inline constexpr int32_t kMSG_INFO = 12;
inline constexpr int32_t kMSG_STAT_ANY = 13;
inline constexpr int32_t kSHM_STAT = 13;
inline constexpr int32_t kSHM_INFO = 14;
inline constexpr int32_t kSHM_STAT_ANY = 15;
inline constexpr int32_t kSHM_LOCK = 11;
inline constexpr int32_t kSHM_UNLOCK = 12;
inline constexpr int32_t kSEM_STAT = 18;
inline constexpr int32_t kSEM_INFO = 19;
inline constexpr int32_t kSEM_STAT_ANY = 20;
inline constexpr int32_t kGETPID = 11;
inline constexpr int32_t kGETVAL = 12;
inline constexpr int32_t kGETALL = 13;
inline constexpr int32_t kGETNCNT = 14;
inline constexpr int32_t kGETZCNT = 15;
inline constexpr int32_t kSETVAL = 16;
inline constexpr int32_t kSETALL = 17;
inline constexpr int32_t kIPC_64 = 0x100;
struct IpcPerm {
  int32_t key;
  uint32_t uid, gid, cuid, cgid, mode;
  uint16_t seq, pad0;
  uint32_t pad1;
  uint64_t unused[2];
};

inline constexpr int32_t kSHM_R = 0400;
inline constexpr int32_t kSHM_W = 0200;
inline constexpr int32_t kSHM_RDONLY = 010000;
inline constexpr int32_t kSHM_RND = 020000;
inline constexpr int32_t kSHM_REMAP = 040000;
inline constexpr int32_t kSHM_EXEC = 0100000;
inline constexpr int32_t kSHM_HUGETLB = 04000;
inline constexpr int32_t kSHM_NORESERVE = 010000;
inline constexpr int32_t kSHM_DEST = 01000;
inline constexpr int32_t kSHM_LOCKED = 02000;
struct ShmidDs {
  IpcPerm perm;
  uint64_t segsz;
  int64_t atime, dtime, ctime;
  int32_t cpid, lpid;
  uint64_t nattch, unused[2];
};
struct Shminfo {
  uint64_t shmmax, shmmin, shmmni, shmseg, shmall, unused[4];
};
struct ShmInfo {
  int32_t used_ids, pad;
  uint64_t shm_tot, shm_rss, shm_swp, swap_attempts, swap_successes;
};

inline constexpr int32_t kSEM_UNDO = 010000;
struct Sembuf {
  uint16_t num;
  int16_t op, flg;
};
struct SemidDs {
  IpcPerm perm;
  int64_t otime, pad0, ctime, pad1;
  uint64_t nsems, unused[2];
};
struct Seminfo {
  int32_t semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem;
};
inline constexpr int32_t kSEMMNI = 32000;
inline constexpr int32_t kSEMMSL = 32000;
inline constexpr int32_t kSEMMNS = 1024000000;
inline constexpr int32_t kSEMOPM = 500;
inline constexpr int32_t kSEMVMX = 32767;
inline constexpr int32_t kSEMAEM = 32767;

inline constexpr int32_t kMSG_NOERROR = 010000;
inline constexpr int32_t kMSG_EXCEPT = 020000;
inline constexpr int32_t kMSG_COPY = 040000;
struct MsqidDs {
  IpcPerm perm;
  int64_t stime, rtime, ctime;
  uint64_t cbytes, qnum, qbytes;
  int32_t lspid, lrpid;
  uint64_t unused[2];
};
struct Msginfo {
  int32_t msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql;
  uint16_t msgseg, pad;
};
inline constexpr int32_t kMSGMNI = 32000;
inline constexpr int32_t kMSGMAX = 8192;
inline constexpr int32_t kMSGMNB = 16384;
inline constexpr uint64_t kSHMMIN = 0x1;
inline constexpr uint64_t kSHMMNI = 0x1000;
inline constexpr uint64_t kSHMMAX = 0xfffffffffeffffff;
inline constexpr uint64_t kSHMALL = 0xfffffffffeffffff;
inline constexpr uint64_t kSHMSEG = 0x1000;

}  // namespace uapi
