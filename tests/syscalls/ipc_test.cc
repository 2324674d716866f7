// System V shared memory, semaphores and message queues; POSIX message queues.
#include <mqueue.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

union SemArg {
  int val;
  semid_ds* buf;
  unsigned short* array;
};

struct Message {
  long type;
  char text[64];
};

class SysvShm : public ::testing::Test {
 protected:
  void SetUp() override {
    id_ = shmget(IPC_PRIVATE, 8192, 0600);
    ASSERT_OK(id_);
  }
  void TearDown() override { shmctl(id_, IPC_RMID, nullptr); }
  int id_ = -1;
};

TEST_F(SysvShm, AttachShareDetach) {
  COVERS("shmget", "shmat", "shmdt", "shmctl");
  char* p = static_cast<char*>(shmat(id_, nullptr, 0));
  ASSERT_NE(p, reinterpret_cast<char*>(-1));
  EXPECT_EQ(p[8191], 0);
  EXPECT_CHILD([&] {
    p[0] = 'c';
    char* q = static_cast<char*>(shmat(id_, nullptr, 0));
    CHILD_CHECK(q != p && q[0] == 'c');
    q[1] = 'd';
  });
  EXPECT_EQ(p[0], 'c');
  EXPECT_EQ(p[1], 'd');
  shmid_ds ds{};
  EXPECT_OK(shmctl(id_, IPC_STAT, &ds));
  EXPECT_EQ(ds.shm_segsz, 8192u);
  EXPECT_EQ(ds.shm_nattch, 1u);
  EXPECT_EQ(ds.shm_cpid, getpid());
  EXPECT_EQ(ds.shm_perm.mode & 0777, 0600);
  EXPECT_OK(shmdt(p));
  EXPECT_ERR(shmdt(p), EINVAL);
  EXPECT_OK(shmctl(id_, IPC_STAT, &ds));
  EXPECT_EQ(ds.shm_nattch, 0u);
}

TEST_F(SysvShm, RemovedStaysUntilDetached) {
  COVERS("shmctl", "shmat");
  char* p = static_cast<char*>(shmat(id_, nullptr, 0));
  EXPECT_OK(shmctl(id_, IPC_RMID, nullptr));
  p[0] = 'x';
  shmid_ds ds{};
  EXPECT_OK(shmctl(id_, IPC_STAT, &ds));
  EXPECT_TRUE(ds.shm_perm.mode & SHM_DEST);
  EXPECT_OK(shmdt(p));
  EXPECT_ERR(shmctl(id_, IPC_STAT, &ds), EINVAL);
}

TEST_F(SysvShm, ReadOnlyAndErrors) {
  COVERS("shmat", "shmget", "shmctl");
  char* p = static_cast<char*>(shmat(id_, nullptr, SHM_RDONLY));
  ASSERT_NE(p, reinterpret_cast<char*>(-1));
  EXPECT_ERR(mprotect(p, 4096, PROT_READ | PROT_WRITE), EACCES);
  EXPECT_OK(shmdt(p));
  EXPECT_ERR(shmat(id_, reinterpret_cast<void*>(123), 0), EINVAL);
  EXPECT_ERR(shmat(0x7ffffff0, nullptr, 0), EINVAL);
  EXPECT_ERR(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
  key_t key = static_cast<key_t>(0x4d6f0000 + getpid());
  EXPECT_ERR(shmget(key, 100, 0), ENOENT);
  int id = shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600);
  EXPECT_OK(id);
  EXPECT_ERR(shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
  EXPECT_RET(shmget(key, 50, 0), id);
  EXPECT_ERR(shmget(key, 5000, 0), EINVAL);
  EXPECT_OK(shmctl(id, IPC_RMID, nullptr));
}

TEST(SysvSem, Operations) {
  COVERS("semget", "semop", "semctl", "semtimedop");
  int id = semget(IPC_PRIVATE, 3, 0600);
  ASSERT_OK(id);
  EXPECT_RET(semctl(id, 0, GETVAL), 0);
  SemArg a;
  a.val = 5;
  EXPECT_OK(semctl(id, 0, SETVAL, a));
  sembuf op[2] = {{0, -3, 0}, {1, 2, 0}};
  EXPECT_OK(semop(id, op, 2));
  EXPECT_RET(semctl(id, 0, GETVAL), 2);
  EXPECT_RET(semctl(id, 1, GETVAL), 2);
  EXPECT_RET(semctl(id, 1, GETPID), getpid());
  sembuf too_much{0, -3, IPC_NOWAIT};
  EXPECT_ERR(semop(id, &too_much, 1), EAGAIN);
  sembuf zero{0, 0, IPC_NOWAIT};
  EXPECT_ERR(semop(id, &zero, 1), EAGAIN);
  // All or nothing.
  sembuf both[2] = {{1, -1, 0}, {0, -3, IPC_NOWAIT}};
  EXPECT_ERR(semop(id, both, 2), EAGAIN);
  EXPECT_RET(semctl(id, 1, GETVAL), 2);
  sembuf outside{3, 1, 0};
  EXPECT_ERR(semop(id, &outside, 1), EFBIG);
  EXPECT_ERR(semop(id, op, 0), EINVAL);
  timespec t{0, 20'000'000};
  sembuf wait{2, -1, 0};
  EXPECT_ERR(semtimedop(id, &wait, 1, &t), EAGAIN);
  unsigned short all[3] = {9, 8, 7};
  a.array = all;
  EXPECT_OK(semctl(id, 0, SETALL, a));
  all[0] = 0;
  EXPECT_OK(semctl(id, 0, GETALL, a));
  EXPECT_EQ(all[0], 9);
  a.val = 40000;
  EXPECT_ERR(semctl(id, 0, SETVAL, a), ERANGE);
  EXPECT_OK(semctl(id, 0, IPC_RMID));
  EXPECT_ERR(semctl(id, 0, GETVAL), EINVAL);
}

TEST(SysvSem, WaitAndWake) {
  COVERS("semop", "semctl");
  int id = semget(IPC_PRIVATE, 1, 0600);
  ASSERT_OK(id);
  pid_t pid = Spawn([&] {
    sembuf wait{0, -1, 0};
    return semop(id, &wait, 1) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(WaitUntil([&] { return semctl(id, 0, GETNCNT) == 1; }));
  sembuf post{0, 1, 0};
  EXPECT_OK(semop(id, &post, 1));
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  pid = Spawn([&] {
    sembuf wait{0, -1, 0};
    return semop(id, &wait, 1) == -1 && errno == EIDRM ? 0 : 1;
  });
  EXPECT_TRUE(WaitUntil([&] { return semctl(id, 0, GETNCNT) == 1; }));
  EXPECT_OK(semctl(id, 0, IPC_RMID));
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
}

TEST(SysvSem, UndoAtExit) {
  COVERS("semop", "exit_group");
  int id = semget(IPC_PRIVATE, 1, 0600);
  ASSERT_OK(id);
  EXPECT_CHILD([&] {
    sembuf op{0, 3, SEM_UNDO};
    CHILD_OK(semop(id, &op, 1));
    CHILD_RET(semctl(id, 0, GETVAL), 3);
  });
  EXPECT_RET(semctl(id, 0, GETVAL), 0);
  EXPECT_OK(semctl(id, 0, IPC_RMID));
}

TEST(SysvMsg, SendAndReceive) {
  COVERS("msgget", "msgsnd", "msgrcv", "msgctl");
  int id = msgget(IPC_PRIVATE, 0600);
  ASSERT_OK(id);
  Message m{5, "five"};
  EXPECT_OK(msgsnd(id, &m, 5, 0));
  m = {3, "three"};
  EXPECT_OK(msgsnd(id, &m, 6, 0));
  m = {4, "four"};
  EXPECT_OK(msgsnd(id, &m, 5, 0));
  msqid_ds ds{};
  EXPECT_OK(msgctl(id, IPC_STAT, &ds));
  EXPECT_EQ(ds.msg_qnum, 3u);
  Message r{};
  EXPECT_RET(msgrcv(id, &r, sizeof r.text, 4, 0), 5);
  EXPECT_STREQ(r.text, "four");
  EXPECT_RET(msgrcv(id, &r, sizeof r.text, -4, 0), 6);  // the lowest type up to 4
  EXPECT_STREQ(r.text, "three");
  EXPECT_ERR(msgrcv(id, &r, 2, 0, 0), E2BIG);
  EXPECT_RET(msgrcv(id, &r, 2, 0, MSG_NOERROR), 2);
  EXPECT_ERR(msgrcv(id, &r, sizeof r.text, 0, IPC_NOWAIT), ENOMSG);
  m.type = 0;
  EXPECT_ERR(msgsnd(id, &m, 5, 0), EINVAL);
  m.type = 1;
  EXPECT_ERR(msgsnd(id, &m, 1 << 20, 0), EINVAL);
  pid_t pid = Spawn([&] {
    Message w{};
    return msgrcv(id, &w, sizeof w.text, 9, 0) == 4 ? 0 : 1;
  });
  SleepMs(20);
  m = {9, "abc"};
  EXPECT_OK(msgsnd(id, &m, 4, 0));
  EXPECT_EXIT_STATUS(WaitFor(pid), 0);
  EXPECT_OK(msgctl(id, IPC_RMID, nullptr));
  EXPECT_ERR(msgsnd(id, &m, 4, 0), EINVAL);
}

TEST(SysvMsg, FullQueueBlocks) {
  COVERS("msgsnd", "msgctl");
  int id = msgget(IPC_PRIVATE, 0600);
  ASSERT_OK(id);
  struct {
    long type = 1;
    char text[4096] = {};
  } big;
  int n = 0;
  while (msgsnd(id, &big, 4096, IPC_NOWAIT) == 0) n++;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(n, 1);
  EXPECT_OK(msgctl(id, IPC_RMID, nullptr));
}

class PosixMq : public ::testing::Test {
 protected:
  void SetUp() override {
    mq_attr a{};
    a.mq_maxmsg = 3;
    a.mq_msgsize = 32;
    q_ = mq_open(name_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &a);
    if (q_ < 0 && errno == ENOSYS) GTEST_SKIP() << "no POSIX message queues";
    ASSERT_OK(q_);
  }
  void TearDown() override {
    if (q_ >= 0) mq_close(q_);
    mq_unlink(name_.c_str());
  }
  std::string name_ = "/moat-mq-" + std::to_string(getpid());
  mqd_t q_ = -1;
};

TEST_F(PosixMq, PriorityOrder) {
  COVERS("mq_open", "mq_timedsend", "mq_timedreceive", "mq_unlink", "mq_getsetattr");
  EXPECT_OK(mq_send(q_, "low", 3, 1));
  EXPECT_OK(mq_send(q_, "high", 4, 9));
  EXPECT_OK(mq_send(q_, "low2", 4, 1));
  EXPECT_ERR(mq_send(q_, "x", 1, 0), EAGAIN);
  mq_attr a{};
  EXPECT_OK(mq_getattr(q_, &a));
  EXPECT_EQ(a.mq_curmsgs, 3);
  EXPECT_EQ(a.mq_maxmsg, 3);
  EXPECT_EQ(a.mq_msgsize, 32);
  EXPECT_EQ(a.mq_flags, O_NONBLOCK);
  char buf[32];
  unsigned prio = 0;
  EXPECT_RET(mq_receive(q_, buf, 32, &prio), 4);
  EXPECT_EQ(prio, 9u);
  EXPECT_RET(mq_receive(q_, buf, 32, &prio), 3);
  EXPECT_RET(mq_receive(q_, buf, 32, &prio), 4);
  EXPECT_ERR(mq_receive(q_, buf, 32, &prio), EAGAIN);
}

TEST_F(PosixMq, Errors) {
  COVERS("mq_open", "mq_timedsend", "mq_timedreceive");
  char buf[64] = {};
  EXPECT_ERR(mq_send(q_, buf, 33, 0), EMSGSIZE);
  EXPECT_ERR(mq_receive(q_, buf, 31, nullptr), EMSGSIZE);
  EXPECT_ERR(mq_send(q_, buf, 1, 32768), EINVAL);
  EXPECT_ERR(mq_open(name_.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, nullptr), EEXIST);
  EXPECT_ERR(mq_open("/moat-mq-none", O_RDWR), ENOENT);
  EXPECT_ERR(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, nullptr), EACCES);
  EXPECT_ERR(mq_send(0, buf, 1, 0), EBADF);
}

TEST_F(PosixMq, BlockingAndTimeout) {
  COVERS("mq_timedreceive", "mq_timedsend", "poll");
  mqd_t q = mq_open(name_.c_str(), O_RDWR);
  ASSERT_OK(q);
  char buf[32];
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_nsec += 20'000'000;
  if (t.tv_nsec >= 1'000'000'000) {
    t.tv_sec++;
    t.tv_nsec -= 1'000'000'000;
  }
  EXPECT_ERR(mq_timedreceive(q, buf, 32, nullptr, &t), ETIMEDOUT);
  std::thread s([&] {
    SleepMs(30);
    EXPECT_OK(mq_send(q_, "late", 4, 0));
  });
  EXPECT_RET(mq_receive(q, buf, 32, nullptr), 4);
  s.join();
  pollfd p{static_cast<int>(q), POLLIN | POLLOUT, 0};
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_EQ(p.revents, POLLOUT);
  mq_close(q);
}

TEST_F(PosixMq, Notify) {
  COVERS("mq_notify");
  EXPECT_CHILD([&] {
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    sigevent ev{};
    ev.sigev_notify = SIGEV_SIGNAL;
    ev.sigev_signo = SIGUSR1;
    ev.sigev_value.sival_int = 12;
    CHILD_OK(mq_notify(q_, &ev));
    CHILD_ERR(mq_notify(q_, &ev), EBUSY);
    CHILD_OK(mq_send(q_, "x", 1, 0));
    siginfo_t si{};
    timespec t{5, 0};
    CHILD_RET(sigtimedwait(&s, &si, &t), SIGUSR1);
    CHILD_EQ(si.si_code, SI_MESGQ);
    CHILD_EQ(si.si_value.sival_int, 12);
  });
}

}  // namespace
