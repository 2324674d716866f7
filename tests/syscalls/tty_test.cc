// Pseudo terminals: line discipline, window size, signals, hang-up, background access.
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "tests/syscalls/test_util.h"

namespace {

class Tty : public ::testing::Test {
 protected:
  void SetUp() override {
    master_.reset(posix_openpt(O_RDWR | O_NOCTTY));
    ASSERT_GE(master_.get(), 0);
    ASSERT_OK(grantpt(master_));
    ASSERT_OK(unlockpt(master_));
    char name[64];
    ASSERT_RET(ptsname_r(master_, name, sizeof name), 0);
    name_ = name;
    slave_.reset(open(name, O_RDWR | O_NOCTTY));
    ASSERT_GE(slave_.get(), 0);
  }
  void Raw() {
    termios t;
    ASSERT_OK(tcgetattr(slave_, &t));
    cfmakeraw(&t);
    ASSERT_OK(tcsetattr(slave_, TCSANOW, &t));
  }
  void Set(tcflag_t iflag_off, tcflag_t lflag_off, tcflag_t oflag_off = 0) {
    termios t;
    ASSERT_OK(tcgetattr(slave_, &t));
    t.c_iflag &= ~iflag_off;
    t.c_lflag &= ~lflag_off;
    t.c_oflag &= ~oflag_off;
    ASSERT_OK(tcsetattr(slave_, TCSANOW, &t));
  }
  static std::string Read(int fd, int wait_ms = 5000) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, wait_ms) <= 0) return "<nothing>";
    char buf[4096];
    ssize_t n = read(fd, buf, sizeof buf);
    if (n < 0) return systest::ErrnoText(errno);
    return std::string(buf, n);
  }
  // Reads until WANT's length is there.
  static std::string ReadN(int fd, size_t n) {
    std::string s;
    while (s.size() < n) {
      std::string more = Read(fd);
      if (more.empty() || more[0] == '<') return s + more;
      s += more;
    }
    return s;
  }
  static void Write(int fd, const std::string& s) {
    EXPECT_RET(write(fd, s.data(), s.size()), s.size());
  }
  // The child: a session leader with the slave as its terminal.
  void TakeTerminal() {
    CHILD_OK(setsid());
    CHILD_OK(ioctl(slave_, TIOCSCTTY, 0));
  }
  Fd master_, slave_;
  std::string name_;
};

TEST_F(Tty, Identity) {
  COVERS("openat", "ioctl", "fstat");
  struct stat st {};
  EXPECT_OK(fstat(slave_, &st));
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(major(st.st_rdev), 136u);
  EXPECT_EQ(name_.rfind("/dev/pts/", 0), 0u) << name_;
  EXPECT_TRUE(isatty(slave_));
  EXPECT_TRUE(isatty(master_));
  int n = -1;
  EXPECT_OK(ioctl(master_, TIOCGPTN, &n));
  EXPECT_EQ("/dev/pts/" + std::to_string(n), name_);
  EXPECT_EQ(minor(st.st_rdev), static_cast<unsigned>(n));
}

TEST_F(Tty, LockedSlave) {
  COVERS("ioctl", "openat");
  Fd m(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  ASSERT_GE(m.get(), 0);
  char name[64];
  ASSERT_RET(ptsname_r(m, name, sizeof name), 0);
  EXPECT_ERR(open(name, O_RDWR | O_NOCTTY), EIO);
  int lock = 0;
  EXPECT_OK(ioctl(m, TIOCGPTLCK, &lock));
  EXPECT_EQ(lock, 1);
  lock = 0;
  EXPECT_OK(ioctl(m, TIOCSPTLCK, &lock));
  Fd s(open(name, O_RDWR | O_NOCTTY));
  EXPECT_GE(s.get(), 0);
  m.reset();
  EXPECT_ERR(open(name, O_RDWR | O_NOCTTY), ENOENT);  // gone, though s lives
}

TEST_F(Tty, DefaultSettings) {
  COVERS("ioctl");
  termios t;
  ASSERT_OK(tcgetattr(slave_, &t));
  EXPECT_EQ(t.c_iflag, tcflag_t{ICRNL | IXON});
  EXPECT_EQ(t.c_oflag, tcflag_t{OPOST | ONLCR});
  EXPECT_EQ(t.c_lflag, tcflag_t{ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN});
  EXPECT_EQ(t.c_cflag & CSIZE, tcflag_t{CS8});
  EXPECT_EQ(t.c_cc[VINTR], 3);
  EXPECT_EQ(t.c_cc[VQUIT], 28);
  EXPECT_EQ(t.c_cc[VERASE], 127);
  EXPECT_EQ(t.c_cc[VKILL], 21);
  EXPECT_EQ(t.c_cc[VEOF], 4);
  EXPECT_EQ(t.c_cc[VMIN], 1);
  EXPECT_EQ(t.c_cc[VSUSP], 26);
}

TEST_F(Tty, CanonicalLineAndEcho) {
  COVERS("read", "write");
  Write(master_, "hel");
  EXPECT_EQ(Read(slave_, 30), "<nothing>");
  Write(master_, "lo\r");
  EXPECT_EQ(Read(slave_), "hello\n");
  EXPECT_EQ(ReadN(master_, 7), "hello\r\n");
  Write(master_, "one\ntwo\n");
  EXPECT_EQ(Read(slave_), "one\n");
  EXPECT_EQ(Read(slave_), "two\n");
}

TEST_F(Tty, ShortReadsOfALine) {
  COVERS("read");
  Write(master_, "abcdef\n");
  char b[4] = {};
  EXPECT_RET(read(slave_, b, 3), 3);
  EXPECT_STREQ(b, "abc");
  EXPECT_EQ(Read(slave_), "def\n");
}

TEST_F(Tty, LineEditing) {
  COVERS("read");
  Set(0, ECHO);
  Write(master_,
        "abX\x7f"
        "c\n");
  EXPECT_EQ(Read(slave_), "abc\n");
  Write(master_, "gone\x15kept\n");
  EXPECT_EQ(Read(slave_), "kept\n");
  Write(master_, "two words\x17next\n");
  EXPECT_EQ(Read(slave_), "two next\n");
  Write(master_, "\x16\x03\n");  // a literal ^C
  EXPECT_EQ(Read(slave_), "\x03\n");
}

TEST_F(Tty, EraseEchoes) {
  COVERS("read", "write");
  Write(master_, "ab\x7f\n");
  EXPECT_EQ(ReadN(master_, 7), "ab\b \b\r\n");
  EXPECT_EQ(Read(slave_), "a\n");
  Write(master_, "\x01\n");
  EXPECT_EQ(ReadN(master_, 4), "^A\r\n");
}

TEST_F(Tty, EndOfFileCharacter) {
  COVERS("read");
  Write(master_, "\x04");
  EXPECT_EQ(Read(slave_), "");
  Write(master_, "part\x04");
  EXPECT_EQ(Read(slave_), "part");
}

TEST_F(Tty, RawMode) {
  COVERS("ioctl", "read");
  Raw();
  Write(master_, "\x03x\r\x04");
  EXPECT_EQ(Read(slave_), "\x03x\r\x04");
  EXPECT_EQ(Read(master_, 30), "<nothing>");  // no echo
  Write(slave_, "a\n");
  EXPECT_EQ(Read(master_), "a\n");  // no output processing
}

TEST_F(Tty, MinAndTime) {
  COVERS("ioctl", "read");
  Raw();
  termios t;
  ASSERT_OK(tcgetattr(slave_, &t));
  t.c_cc[VMIN] = 0;
  t.c_cc[VTIME] = 0;
  ASSERT_OK(tcsetattr(slave_, TCSANOW, &t));
  char b[8];
  EXPECT_RET(read(slave_, b, 8), 0);
  t.c_cc[VTIME] = 1;
  ASSERT_OK(tcsetattr(slave_, TCSANOW, &t));
  int64_t begin = NowNs();
  EXPECT_RET(read(slave_, b, 8), 0);
  EXPECT_GE(NowNs() - begin, 90'000'000);
  t.c_cc[VMIN] = 3;
  t.c_cc[VTIME] = 0;
  ASSERT_OK(tcsetattr(slave_, TCSANOW, &t));
  Write(master_, "ab");
  pollfd p{slave_, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 30), 0);  // fewer than VMIN
  Write(master_, "cd");
  EXPECT_RET(read(slave_, b, 8), 4);
}

TEST_F(Tty, OutputProcessing) {
  COVERS("write");
  Write(slave_, "x\ny");
  EXPECT_EQ(ReadN(master_, 4), "x\r\ny");
  Set(0, 0, ONLCR);
  Write(slave_, "x\n");
  EXPECT_EQ(ReadN(master_, 2), "x\n");
}

TEST_F(Tty, NonBlockingAndQueues) {
  COVERS("read", "ioctl");
  EXPECT_OK(fcntl(slave_, F_SETFL, O_RDWR | O_NONBLOCK));
  char c;
  EXPECT_ERR(read(slave_, &c, 1), EAGAIN);
  Set(0, ECHO);
  Write(master_, "abc\n");
  int n = 0;
  EXPECT_TRUE(WaitUntil([&] { return ioctl(slave_, FIONREAD, &n) == 0 && n == 4; }));
  EXPECT_OK(tcflush(slave_, TCIFLUSH));
  EXPECT_ERR(read(slave_, &c, 1), EAGAIN);
  Write(slave_, "out");
  EXPECT_TRUE(WaitUntil([&] { return ioctl(master_, FIONREAD, &n) == 0 && n == 3; }));
}

TEST_F(Tty, WindowSize) {
  COVERS("ioctl");
  winsize w{};
  EXPECT_OK(ioctl(slave_, TIOCGWINSZ, &w));
  EXPECT_EQ(w.ws_row, 0);
  w = {24, 80, 640, 480};
  EXPECT_OK(ioctl(master_, TIOCSWINSZ, &w));
  winsize v{};
  EXPECT_OK(ioctl(slave_, TIOCGWINSZ, &v));
  EXPECT_EQ(memcmp(&v, &w, sizeof w), 0);
}

TEST_F(Tty, WindowSizeSendsSigwinch) {
  COVERS("ioctl", "setsid", "rt_sigtimedwait");
  EXPECT_CHILD([&] {
    TakeTerminal();
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGWINCH);
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    signal(SIGWINCH, [](int) {});
    winsize w{10, 20, 0, 0};
    CHILD_OK(ioctl(master_, TIOCSWINSZ, &w));
    timespec t{5, 0};
    CHILD_RET(sigtimedwait(&s, nullptr, &t), SIGWINCH);
    timespec zero{};
    CHILD_OK(ioctl(master_, TIOCSWINSZ, &w));  // no change, no signal
    CHILD_ERR(sigtimedwait(&s, nullptr, &zero), EAGAIN);
  });
}

TEST_F(Tty, ControlCSignalsForeground) {
  COVERS("ioctl", "setsid", "rt_sigtimedwait");
  EXPECT_CHILD([&] {
    TakeTerminal();
    sigset_t s;
    sigemptyset(&s);
    for (int x : {SIGINT, SIGQUIT, SIGTSTP}) sigaddset(&s, x);
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    timespec t{5, 0};
    siginfo_t si{};
    CHILD_RET(write(master_, "\x03", 1), 1);
    CHILD_RET(sigtimedwait(&s, &si, &t), SIGINT);
    CHILD_EQ(si.si_code, SI_KERNEL);
    CHILD_RET(write(master_, "\x1c", 1), 1);
    CHILD_RET(sigtimedwait(&s, &si, &t), SIGQUIT);
    CHILD_RET(write(master_, "\x1a", 1), 1);
    CHILD_RET(sigtimedwait(&s, &si, &t), SIGTSTP);
  });
}

TEST_F(Tty, ControllingTerminal) {
  COVERS("ioctl", "setsid", "openat");
  EXPECT_CHILD([&] {
    CHILD_OK(setsid());
    CHILD_ERR(open("/dev/tty", O_RDWR), ENXIO);
    CHILD_OK(ioctl(slave_, TIOCSCTTY, 0));
    CHILD_OK(open("/dev/tty", O_RDWR));
    CHILD_RET(tcgetsid(slave_), getpid());
    CHILD_RET(tcgetpgrp(slave_), getpid());
    CHILD_CHECK(ioctl(slave_, TIOCSCTTY, 0) == 0);  // it's ours already
    signal(SIGHUP, SIG_IGN);
    signal(SIGCONT, SIG_IGN);
    CHILD_OK(ioctl(slave_, TIOCNOTTY));
    CHILD_ERR(open("/dev/tty", O_RDWR), ENXIO);
  });
}

TEST_F(Tty, MemberGivesItsTerminalUp) {
  COVERS("ioctl", "openat");
  EXPECT_CHILD([&] {
    CHILD_OK(setsid());
    CHILD_OK(ioctl(slave_, TIOCSCTTY, 0));
    pid_t pid = fork();
    if (pid == 0) {
      CHILD_OK(open("/dev/tty", O_RDWR));
      CHILD_OK(ioctl(slave_, TIOCNOTTY));
      CHILD_ERR(open("/dev/tty", O_RDWR), ENXIO);
      CHILD_ERR(ioctl(slave_, TIOCNOTTY), ENOTTY);
      pid_t inner = fork();
      if (inner == 0) {
        CHILD_ERR(open("/dev/tty", O_RDWR), ENXIO);
        _exit(0);
      }
      CHILD_EQ(WaitFor(inner), 0);
      _exit(0);
    }
    CHILD_EQ(WaitFor(pid), 0);
    CHILD_OK(open("/dev/tty", O_RDWR));  // the others keep it
  });
}

TEST_F(Tty, OpenGivesALeaderItsTerminal) {
  COVERS("openat", "setsid");
  EXPECT_CHILD([&] {
    CHILD_OK(setsid());
    CHILD_OK(open(name_.c_str(), O_RDWR));
    CHILD_OK(open("/dev/tty", O_RDWR));
  });
}

TEST_F(Tty, ForegroundGroup) {
  COVERS("ioctl", "setpgid");
  EXPECT_CHILD([&] {
    TakeTerminal();
    pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    CHILD_OK(setpgid(child, child));
    CHILD_OK(tcsetpgrp(slave_, child));
    CHILD_RET(tcgetpgrp(slave_), child);
    pid_t seen = 0;
    CHILD_OK(ioctl(master_, TIOCGPGRP, &seen));
    CHILD_EQ(seen, child);
    // ^C reaches the child only.
    CHILD_RET(write(master_, "\x03", 1), 1);
    CHILD_EQ(WaitFor(child), SIGINT);
    signal(SIGTTOU, SIG_IGN);
    CHILD_ERR(tcsetpgrp(slave_, 0x7ffffff0), ESRCH);
    CHILD_ERR(tcsetpgrp(slave_, -1), EINVAL);
    CHILD_OK(tcsetpgrp(slave_, getpgrp()));
  });
}

TEST_F(Tty, BackgroundReadStops) {
  COVERS("read", "setpgid");
  EXPECT_CHILD([&] {
    TakeTerminal();
    pid_t child = fork();
    if (child == 0) {
      setpgid(0, 0);
      char c;
      _exit(read(slave_, &c, 1) == 1 ? 7 : 8);
    }
    int status = 0;
    CHILD_RET(waitpid(child, &status, WUNTRACED), child);
    CHILD_CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
    CHILD_OK(tcsetpgrp(slave_, child));
    CHILD_RET(write(master_, "x\n", 2), 2);
    CHILD_OK(kill(child, SIGCONT));
    CHILD_RET(waitpid(child, &status, 0), child);
    CHILD_EQ(status, 7 << 8);
  });
}

TEST_F(Tty, BackgroundReadIgnoringSigttinFails) {
  COVERS("read", "setpgid");
  EXPECT_CHILD([&] {
    TakeTerminal();
    pid_t child = fork();
    if (child == 0) {
      setpgid(0, 0);
      signal(SIGTTIN, SIG_IGN);
      char c;
      CHILD_ERR(read(slave_, &c, 1), EIO);
      _exit(0);
    }
    CHILD_EQ(WaitFor(child), 0);
  });
}

TEST_F(Tty, BackgroundWriteWithTostop) {
  COVERS("write", "ioctl");
  EXPECT_CHILD([&] {
    TakeTerminal();
    pid_t child = fork();
    if (child == 0) {
      setpgid(0, 0);
      if (write(slave_, "1", 1) != 1) _exit(1);  // allowed without TOSTOP
      termios t;
      tcgetattr(slave_, &t);
      t.c_lflag |= TOSTOP;
      tcsetattr(slave_, TCSANOW, &t);  // stops: changing settings from the background
      _exit(write(slave_, "2", 1) == 1 ? 0 : 2);
    }
    int status = 0;
    CHILD_RET(waitpid(child, &status, WUNTRACED), child);
    CHILD_CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU);
    CHILD_OK(tcsetpgrp(slave_, child));
    CHILD_OK(kill(child, SIGCONT));
    CHILD_EQ(WaitFor(child), 0);
  });
}

TEST_F(Tty, MasterCloseHangsUp) {
  COVERS("close", "read", "poll");
  EXPECT_CHILD([&] {
    TakeTerminal();
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    CHILD_OK(sigprocmask(SIG_BLOCK, &s, nullptr));
    pid_t middle = getppid();
    (void)middle;
    // The parent holds the master too: have it closed by a fresh pair instead.
    int m = posix_openpt(O_RDWR | O_NOCTTY);
    CHILD_OK(m);
    CHILD_OK(unlockpt(m));
    char name[64];
    CHILD_EQ(ptsname_r(m, name, sizeof name), 0);
    signal(SIGHUP, [](int) {});
    CHILD_OK(ioctl(slave_, TIOCNOTTY));
    timespec zero{}, t{5, 0};
    while (sigtimedwait(&s, nullptr, &zero) > 0) {
    }
    int sl = open(name, O_RDWR);  // the new controlling terminal
    CHILD_OK(sl);
    CHILD_OK(close(m));
    CHILD_RET(sigtimedwait(&s, nullptr, &t), SIGHUP);
    char c;
    CHILD_RET(read(sl, &c, 1), 0);
    CHILD_ERR(write(sl, "x", 1), EIO);
    pollfd p{sl, POLLIN, 0};
    CHILD_RET(poll(&p, 1, 0), 1);
    CHILD_CHECK(p.revents & POLLHUP);
  });
}

TEST_F(Tty, SlaveCloseIsSeenByMaster) {
  COVERS("close", "read", "poll");
  Write(slave_, "last");
  slave_.reset();
  EXPECT_EQ(ReadN(master_, 4), "last");
  char c;
  EXPECT_ERR(read(master_, &c, 1), EIO);
  pollfd p{master_, POLLIN, 0};
  EXPECT_RET(poll(&p, 1, 0), 1);
  EXPECT_TRUE(p.revents & POLLHUP);
  slave_.reset(open(name_.c_str(), O_RDWR | O_NOCTTY));  // and it comes back
  ASSERT_GE(slave_.get(), 0);
  Write(slave_, "again");
  EXPECT_EQ(ReadN(master_, 5), "again");
}

TEST_F(Tty, SessionLeaderExitHangsUp) {
  COVERS("exit_group", "setsid");
  EXPECT_CHILD([&] {
    int p[2];
    CHILD_OK(pipe(p));
    pid_t leader = fork();
    if (leader == 0) {
      TakeTerminal();
      if (fork() == 0) {
        struct sigaction sa {};
        static int out;
        out = p[1];
        sa.sa_handler = [](int) {
          (void)!write(out, "H", 1);
          _exit(0);
        };
        sigaction(SIGHUP, &sa, nullptr);
        (void)!write(out, "R", 1);
        SleepMs(10000);
        _exit(1);
      }
      char c;
      CHILD_RET(read(p[0], &c, 1), 1);
      _exit(0);
    }
    CHILD_EQ(WaitFor(leader), 0);
    char c = 0;
    CHILD_RET(read(p[0], &c, 1), 1);
    CHILD_EQ(c, 'H');
  });
}

TEST_F(Tty, PacketAndExclusiveModes) {
  COVERS("ioctl", "openat");
  int on = 1;
  EXPECT_OK(ioctl(master_, TIOCPKT, &on));
  Write(slave_, "d");
  EXPECT_EQ(ReadN(master_, 2), std::string("\0d", 2));
  on = 0;
  EXPECT_OK(ioctl(master_, TIOCPKT, &on));
}

TEST_F(Tty, StopAndStartOutput) {
  COVERS("ioctl", "write");
  Set(0, ECHO);
  EXPECT_OK(tcflow(slave_, TCOOFF));
  EXPECT_OK(fcntl(slave_, F_SETFL, O_RDWR | O_NONBLOCK));
  EXPECT_ERR(write(slave_, "x", 1), EAGAIN);
  EXPECT_OK(tcflow(slave_, TCOON));
  Write(slave_, "y");
  EXPECT_EQ(ReadN(master_, 1), "y");
}

TEST_F(Tty, IoctlErrors) {
  COVERS("ioctl");
  EXPECT_ERR(ioctl(slave_, 0x5499, 0), ENOTTY);
  EXPECT_ERR(ioctl(slave_, TCGETS, 8), EFAULT);
  EXPECT_ERR(ioctl(slave_, TIOCGPTN, 8), ENOTTY);
  EXPECT_ERR(lseek(slave_, 0, SEEK_SET), ESPIPE);
}

}  // namespace
