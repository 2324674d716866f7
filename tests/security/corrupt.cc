// Every word of the stub's that a guest process can write may hold anything at any time: that must
// end the process at worst.
#include "tests/security/corrupt.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <random>

#include "platform/stub/layout.h"

namespace security {
namespace {

constexpr int kWaves = 3, kAtOnce = 8, kWorkers = 4;
constexpr int64_t kWriteMs = 150, kPatienceMs = 2000;

int64_t NowMs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

long Futex(std::atomic<uint32_t>* word, int op, uint32_t value) {
  return syscall(SYS_futex, word, op, value, nullptr, nullptr, 0);
}

void OnSignal(int) {}

// A round of what programs do: false if an answer is wrong.
bool Work(uint64_t round) {
  static thread_local std::atomic<uint32_t> word;
  Futex(&word, FUTEX_WAKE_PRIVATE, 1);
  if (getppid() <= 0 || syscall(SYS_gettid) <= 0) return false;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  if (pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return false;
  raise(SIGUSR1);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  constexpr size_t kSize = 65536;
  auto* p = static_cast<uint64_t*>(
      mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (p == MAP_FAILED) return false;
  p[0] = p[kSize / 8 - 1] = round;
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) return false;
  uint64_t got = 0;
  bool ok = write(pipe_fds[1], &p[kSize / 8 - 1], 8) == 8 && read(pipe_fds[0], &got, 8) == 8 &&
            got == round && p[0] == round;
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  munmap(p, kSize);
  if (round % 16 == 0) {
    pid_t child = fork();
    if (child == 0) _exit(static_cast<int>(round / 16 % 100));
    int status;
    ok &= child > 0 && waitpid(child, &status, 0) == child &&
          status == static_cast<int>(round / 16 % 100) << 8;
  }
  return ok;
}

std::atomic<uint32_t> turn;

void* Worker(void* arg) {
  for (uint64_t i = 0;; i++) {
    Work(i);
    // Some sleep, some wake.
    if (arg == nullptr) {
      turn++;
      Futex(&turn, FUTEX_WAKE_PRIVATE, 100);
    } else {
      Futex(&turn, FUTEX_WAIT_PRIVATE, turn);
    }
  }
}

[[noreturn]] void Attack(unsigned seed) {
  for (uintptr_t i = 0; i < kWorkers; i++) {
    pthread_t t;
    pthread_create(&t, nullptr, Worker, reinterpret_cast<void*>(i % 2));
  }
  usleep(20'000);
  namespace stub = platform::stub;
  auto* slots = reinterpret_cast<volatile uint32_t*>(stub::kSlots);
  constexpr uint32_t kSlotWords = stub::kSlotSize / 4;
  std::mt19937 random(seed);
  for (int64_t end = NowMs() + kWriteMs; NowMs() < end;) {
    uint32_t slot = random() % (kWorkers + 3);
    // The first page has what both sides look at; its first lines, what they look at most.
    uint32_t range = random() % 4 == 0 ? kSlotWords : random() % 2 == 0 ? 1024 : 128;
    uint32_t at = slot * kSlotWords + random() % range;
    switch (random() % 6) {
      case 0:
        slots[at] = static_cast<uint32_t>(random());
        break;
      case 1:
        slots[at] = random() % 64;
        break;
      case 2:
        slots[at] = slots[at] ^ 1u << random() % 32;
        break;
      case 3:
        slots[at] = ~0u;
        break;
      case 4:
        slots[at] = slots[random() % (kSlotWords * (kWorkers + 3))];
        break;
      default:
        slots[at] = slots[at] + 1;
    }
    if (random() % 8 == 0) usleep(10);
  }
  _exit(0);
}

// Works until the pipe's other end is closed. 0: everything was as it should be.
[[noreturn]] void Bystand(int fd) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  char c;
  for (uint64_t i = 0;; i++) {
    if (!Work(i)) _exit(1);
    if (read(fd, &c, 1) == 0) _exit(0);
  }
}

}  // namespace

int Corrupt(unsigned seed) {
  signal(SIGUSR1, OnSignal);
  int fds[2];
  if (pipe(fds) != 0) return 1;
  pid_t bystander = fork();
  if (bystander == 0) {
    close(fds[1]);
    Bystand(fds[0]);
  }
  close(fds[0]);
  int died = 0;
  for (int wave = 0; wave < kWaves; wave++) {
    pid_t pids[kAtOnce];
    for (int i = 0; i < kAtOnce; i++) {
      pids[i] = fork();
      if (pids[i] == 0) {
        close(fds[1]);
        Attack(seed + static_cast<unsigned>(wave * kAtOnce + i));
      }
    }
    const int64_t patience = NowMs() + kPatienceMs;
    for (pid_t pid : pids) {
      int status;
      pid_t r;
      while ((r = waitpid(pid, &status, WNOHANG)) == 0 && NowMs() < patience) usleep(5000);
      if (r == 0) {
        kill(pid, SIGKILL);
        r = waitpid(pid, &status, 0);
      }
      if (r != pid) return 1;
      died += status != 0;
    }
  }
  close(fds[1]);
  int status;
  if (waitpid(bystander, &status, 0) != bystander || status != 0) {
    fprintf(stderr, "the bystander ended with %d\n", status);
    return 1;
  }
  printf("%d\n", died);
  return 0;
}

}  // namespace security
