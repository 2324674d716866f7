// ipc.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <asm/msgbuf.h>
#include <asm/sembuf.h>
#include <asm/shmbuf.h>
#include <limits.h>
#include <linux/ipc.h>
#include <linux/msg.h>
#include <linux/sem.h>
#include <linux/shm.h>

#include "syscalls/abi/ipc.h"
#include "syscalls/abi/verify.h"

SAME(IPC_CREAT);
SAME(IPC_EXCL);
SAME(IPC_NOWAIT);
SAME(IPC_PRIVATE);
SAME(IPC_RMID);
SAME(IPC_SET);
SAME(IPC_STAT);
SAME(IPC_INFO);
SAME(MSG_STAT);
SAME(MSG_INFO);
SAME(MSG_STAT_ANY);
SAME(SHM_STAT);
SAME(SHM_INFO);
SAME(SHM_STAT_ANY);
SAME(SHM_LOCK);
SAME(SHM_UNLOCK);
SAME(SEM_STAT);
SAME(SEM_INFO);
SAME(SEM_STAT_ANY);
SAME(GETPID);
SAME(GETVAL);
SAME(GETALL);
SAME(GETNCNT);
SAME(GETZCNT);
SAME(SETVAL);
SAME(SETALL);
SAME(IPC_64);
SAME(SHM_R);
SAME(SHM_W);
SAME(SHM_RDONLY);
SAME(SHM_RND);
SAME(SHM_REMAP);
SAME(SHM_EXEC);
SAME(SHM_HUGETLB);
SAME(SHM_NORESERVE);
SAME(SEM_UNDO);
SAME(SEMMNI);
SAME(SEMMSL);
SAME(SEMMNS);
SAME(SEMOPM);
SAME(SEMVMX);
SAME(SEMAEM);
SAME(MSG_NOERROR);
SAME(MSG_EXCEPT);
SAME(MSG_COPY);
SAME(MSGMNI);
SAME(MSGMAX);
SAME(MSGMNB);
SAME(SHMMIN);
SAME(SHMMNI);
SAME(SHMMAX);
SAME(SHMALL);
SAME(SHMSEG);
SIZE(IpcPerm, struct ipc64_perm);
FIELD(IpcPerm, seq, struct ipc64_perm, seq);
SIZE(ShmidDs, struct shmid64_ds);
FIELD(ShmidDs, ctime, struct shmid64_ds, shm_ctime);
FIELD(ShmidDs, nattch, struct shmid64_ds, shm_nattch);
SIZE(Shminfo, struct shminfo64);
SIZE(ShmInfo, struct shm_info);
SIZE(SemidDs, struct semid64_ds);
FIELD(SemidDs, ctime, struct semid64_ds, sem_ctime);
FIELD(SemidDs, nsems, struct semid64_ds, sem_nsems);
SIZE(Seminfo, struct seminfo);
SIZE(Sembuf, struct sembuf);
SIZE(MsqidDs, struct msqid64_ds);
FIELD(MsqidDs, qbytes, struct msqid64_ds, msg_qbytes);
SIZE(Msginfo, struct msginfo);
