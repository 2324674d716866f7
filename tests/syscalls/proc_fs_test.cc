// /proc: what programs read there.
#include <dirent.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "tests/syscalls/test_util.h"

namespace {

std::string Link(const std::string& path) {
  char buf[4096] = {};
  ssize_t n = readlink(path.c_str(), buf, sizeof buf - 1);
  return n < 0 ? systest::ErrnoText(errno) : std::string(buf, n);
}

std::set<std::string> Names(const std::string& path) {
  std::set<std::string> s;
  DIR* d = opendir(path.c_str());
  if (!d) return s;
  while (dirent* e = readdir(d)) s.insert(e->d_name);
  closedir(d);
  return s;
}

// "Key:  value" lines.
std::map<std::string, std::string> Fields(const std::string& text) {
  std::map<std::string, std::string> m;
  std::istringstream in(text);
  std::string line;
  while (std::getline(in, line)) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    size_t v = line.find_first_not_of(" \t", colon + 1);
    m[line.substr(0, colon)] = v == std::string::npos ? "" : line.substr(v);
  }
  return m;
}

std::vector<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> v;
  std::string w;
  while (in >> w) v.push_back(w);
  return v;
}

// The fields of /proc/PID/stat after the name in parentheses; index 0 is the state.
std::vector<std::string> StatFields(const std::string& text) {
  size_t close = text.rfind(')');
  return close == std::string::npos ? std::vector<std::string>() : Words(text.substr(close + 1));
}

TEST(ProcFs, Self) {
  COVERS("readlink", "openat");
  EXPECT_EQ(Link("/proc/self"), std::to_string(getpid()));
  EXPECT_EQ(Link("/proc/thread-self"),
            std::to_string(getpid()) + "/task/" + std::to_string(syscall(SYS_gettid)));
  EXPECT_CHILD([] { CHILD_CHECK(Link("/proc/self") == std::to_string(getpid())); });
  EXPECT_ERR(access("/proc/2147483647", F_OK), ENOENT);
  EXPECT_ERR(access("/proc/nonsense", F_OK), ENOENT);
}

TEST(ProcFs, RootListsProcesses) {
  COVERS("getdents64");
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  auto n = Names("/proc");
  for (const char* want : {"self", "thread-self", "cpuinfo", "meminfo", "stat", "uptime", "loadavg",
                           "version", "filesystems", "mounts", "sys", "cmdline"}) {
    EXPECT_TRUE(n.count(want)) << want;
  }
  EXPECT_TRUE(n.count(std::to_string(pid)));
  EXPECT_TRUE(n.count(std::to_string(getpid())));
  kill(pid, SIGKILL);
  WaitFor(pid);
  EXPECT_FALSE(Names("/proc").count(std::to_string(pid)));
}

TEST(ProcFs, ProcessDirectory) {
  COVERS("getdents64");
  auto n = Names("/proc/self");
  for (const char* want : {"auxv",      "cgroup", "cmdline",       "comm",   "cwd",     "environ",
                           "exe",       "fd",     "fdinfo",        "limits", "maps",    "mem",
                           "mountinfo", "mounts", "oom_score_adj", "root",   "smaps",   "stat",
                           "statm",     "status", "task",          "ns",     "uid_map", "gid_map",
                           "loginuid",  "io"}) {
    if (std::string(want) == "loginuid") continue;  // only with auditing
    EXPECT_TRUE(n.count(want)) << want;
  }
}

TEST(ProcFs, CmdlineAndEnviron) {
  COVERS("read", "execve");
  int p[2];
  ASSERT_OK(pipe(p));
  auto run = [&](const char* file) {
    int q[2];
    EXPECT_OK(pipe(q));
    pid_t pid = Spawn([&] {
      dup2(q[1], 1);
      close(q[1]);
      const char* argv[] = {"cat", file, nullptr};
      const char* envp[] = {"A=1", "B=two words", nullptr};
      execve("/bin/cat", const_cast<char**>(argv), const_cast<char**>(envp));
      return 1;
    });
    close(q[1]);
    std::string s = ReadAllFd(Fd(q[0]));
    WaitFor(pid);
    return s;
  };
  std::string file = "/proc/self/cmdline";
  EXPECT_EQ(run(file.c_str()), std::string("cat\0", 4) + file + std::string(1, 0));
  EXPECT_EQ(run("/proc/self/environ"), std::string("A=1\0B=two words\0", 16));
  close(p[0]);
  close(p[1]);
}

TEST(ProcFs, CmdlineFollowsMemory) {
  COVERS("prctl", "read");
  EXPECT_CHILD([] {
    std::string before = ReadFile("/proc/self/cmdline");
    CHILD_CHECK(before.find("proc_fs_test") != std::string::npos);
  });
}

TEST(ProcFs, CommAndRename) {
  COVERS("prctl", "read", "write");
  EXPECT_CHILD([] {
    CHILD_OK(prctl(PR_SET_NAME, "a-name-that-is-too-long"));
    CHILD_CHECK(ReadFile("/proc/self/comm") == "a-name-that-is-\n");
    CHILD_CHECK(ReadFile("/proc/self/stat").find("(a-name-that-is-)") != std::string::npos);
    CHILD_CHECK(Fields(ReadFile("/proc/self/status"))["Name"] == "a-name-that-is-");
    int fd = open("/proc/self/comm", O_WRONLY);
    CHILD_OK(fd);
    CHILD_RET(write(fd, "written", 7), 7);
    CHILD_CHECK(ReadFile("/proc/self/comm") == "written\n");
    char name[16];
    CHILD_OK(prctl(PR_GET_NAME, name));
    CHILD_CHECK(std::string(name) == "written");
  });
}

TEST(ProcFs, ExeCwdRoot) {
  COVERS("readlink", "readlinkat", "stat");
  EXPECT_NE(Link("/proc/self/exe").find("proc_fs_test"), std::string::npos);
  EXPECT_EQ(Link("/proc/self/root"), "/");
  TempDir dir;
  EXPECT_CHILD([&] {
    CHILD_OK(chdir(dir.path().c_str()));
    CHILD_CHECK(Link("/proc/self/cwd") == dir.path());
    CHILD_CHECK(WriteFile("here", "x"));
    CHILD_CHECK(ReadFile("/proc/self/cwd/here") == "x");
  });
  struct stat st {};
  EXPECT_OK(lstat("/proc/self/exe", &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  EXPECT_OK(stat("/proc/self/exe", &st));
  EXPECT_TRUE(S_ISREG(st.st_mode));
}

TEST(ProcFs, FdLinks) {
  COVERS("readlink", "getdents64", "openat");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", "content"));
  Fd f(open((dir / "f").c_str(), O_RDONLY));
  auto at = [](int fd) { return "/proc/self/fd/" + std::to_string(fd); };
  EXPECT_EQ(Link(at(f)), dir / "f");
  EXPECT_TRUE(Names("/proc/self/fd").count(std::to_string(f.get())));
  ASSERT_OK(rename((dir / "f").c_str(), (dir / "g").c_str()));
  EXPECT_EQ(Link(at(f)), dir / "g");
  ASSERT_OK(unlink((dir / "g").c_str()));
  EXPECT_EQ(Link(at(f)), (dir / "g") + " (deleted)");
  EXPECT_EQ(ReadFile(at(f)), "content");
  struct stat st {};
  EXPECT_OK(lstat(at(f).c_str(), &st));
  EXPECT_EQ(st.st_mode, S_IFLNK | 0500u);
  int p[2];
  ASSERT_OK(pipe(p));
  ASSERT_OK(fstat(p[0], &st));
  EXPECT_EQ(Link(at(p[0])), "pipe:[" + std::to_string(st.st_ino) + "]");
  EXPECT_OK(lstat(at(p[0]).c_str(), &st));
  EXPECT_EQ(st.st_mode, S_IFLNK | 0500u);
  EXPECT_OK(lstat(at(p[1]).c_str(), &st));
  EXPECT_EQ(st.st_mode, S_IFLNK | 0300u);
  Fd s(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_OK(fstat(s, &st));
  EXPECT_EQ(Link(at(s)), "socket:[" + std::to_string(st.st_ino) + "]");
  Fd e(eventfd(0, 0));
  EXPECT_EQ(Link(at(e)), "anon_inode:[eventfd]");
  EXPECT_ERR(access("/proc/self/fd/9999", F_OK), ENOENT);
  close(p[0]);
  close(p[1]);
}

TEST(ProcFs, FdInfo) {
  COVERS("read", "lseek");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "f", "0123456789"));
  Fd f(open((dir / "f").c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  EXPECT_RET(lseek(f, 4, SEEK_SET), 4);
  auto m = Fields(ReadFile("/proc/self/fdinfo/" + std::to_string(f.get())));
  EXPECT_EQ(m["pos"], "4");
  EXPECT_EQ(m["flags"], "02102002");  // with O_CLOEXEC and O_LARGEFILE
  EXPECT_TRUE(m.count("mnt_id"));
  Fd e(eventfd(7, 0));
  m = Fields(ReadFile("/proc/self/fdinfo/" + std::to_string(e.get())));
  EXPECT_EQ(Words(m["eventfd-count"]), (std::vector<std::string>{"7"}));
  Fd epoll(epoll_create1(0));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 5}};
  EXPECT_RET(epoll_ctl(epoll, EPOLL_CTL_ADD, e, &event), 0);
  m = Fields(ReadFile("/proc/self/fdinfo/" + std::to_string(epoll.get())));
  EXPECT_EQ(atoi(m["tfd"].c_str()), e.get());
  Fd timer(timerfd_create(CLOCK_MONOTONIC, 0));
  m = Fields(ReadFile("/proc/self/fdinfo/" + std::to_string(timer.get())));
  EXPECT_EQ(m["clockid"], "1");
  // One that is about itself.
  Fd own(open(("/proc/self/fdinfo/" + std::to_string(e.get())).c_str(), O_RDONLY));
  EXPECT_RET(dup2(own, e), e.get());
  char text[256] = {};
  EXPECT_GT(read(own, text, sizeof text - 1), 0);
  EXPECT_EQ(Fields(text)["pos"], "0");
}

TEST(ProcFs, StatusFields) {
  COVERS("read");
  auto m = Fields(ReadFile("/proc/self/status"));
  EXPECT_EQ(m["Pid"], std::to_string(getpid()));
  EXPECT_EQ(m["Tgid"], std::to_string(getpid()));
  EXPECT_EQ(m["PPid"], std::to_string(getppid()));
  EXPECT_EQ(m["TracerPid"], "0");
  EXPECT_EQ(m["Threads"], "1");
  EXPECT_EQ(m["State"], "R (running)");
  char uid[64];
  snprintf(uid, sizeof uid, "%d\t%d\t%d\t%d", getuid(), geteuid(), getuid(), geteuid());
  EXPECT_EQ(m["Uid"], uid);
  EXPECT_EQ(m["SigBlk"], "0000000000000000");
  EXPECT_EQ(m["NoNewPrivs"], "0");
  for (const char* f : {"Umask",
                        "FDSize",
                        "Groups",
                        "VmPeak",
                        "VmSize",
                        "VmRSS",
                        "VmData",
                        "VmStk",
                        "VmExe",
                        "VmLib",
                        "SigQ",
                        "SigPnd",
                        "ShdPnd",
                        "SigIgn",
                        "SigCgt",
                        "CapInh",
                        "CapPrm",
                        "CapEff",
                        "CapBnd",
                        "CapAmb",
                        "Seccomp",
                        "Cpus_allowed",
                        "Cpus_allowed_list",
                        "voluntary_ctxt_switches"}) {
    EXPECT_TRUE(m.count(f)) << f;
  }
  EXPECT_EQ(m["Umask"], "0022");
  EXPECT_NE(m["VmRSS"].find(" kB"), std::string::npos);
  EXPECT_GT(atol(m["VmSize"].c_str()), 1000);
}

TEST(ProcFs, StatFieldsAndStates) {
  COVERS("read", "kill");
  auto f = StatFields(ReadFile("/proc/self/stat"));
  ASSERT_EQ(f.size(), 50u);  // 52 fields in all
  EXPECT_EQ(f[0], "R");
  EXPECT_EQ(f[1], std::to_string(getppid()));
  EXPECT_EQ(f[2], std::to_string(getpgrp()));
  EXPECT_EQ(f[3], std::to_string(getsid(0)));
  EXPECT_EQ(f[17], "1");  // num_threads
  EXPECT_EQ(ReadFile("/proc/self/stat").rfind(std::to_string(getpid()) + " (", 0), 0u);
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  std::string path = "/proc/" + std::to_string(pid) + "/stat";
  auto state = [&] {
    auto v = StatFields(ReadFile(path));
    return v.empty() ? std::string() : v[0];
  };
  EXPECT_TRUE(WaitUntil([&] { return state() == "S"; })) << state();
  kill(pid, SIGSTOP);
  EXPECT_TRUE(WaitUntil([&] { return state() == "T"; })) << state();
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return state() == "Z"; })) << state();
  EXPECT_EQ(ReadFile("/proc/" + std::to_string(pid) + "/cmdline"), "");
  WaitFor(pid);
  EXPECT_ERR(open(path.c_str(), O_RDONLY), ENOENT);
}

TEST(ProcFs, OpenFileOfDeadProcess) {
  COVERS("read", "openat");
  pid_t pid = Spawn([] {
    pause();
    return 0;
  });
  Fd fd(open(("/proc/" + std::to_string(pid) + "/status").c_str(), O_RDONLY));
  Fd dir(open(("/proc/" + std::to_string(pid)).c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_GE(fd.get(), 0);
  kill(pid, SIGKILL);
  WaitFor(pid);
  char c;
  EXPECT_ERR(read(fd, &c, 1), ESRCH);
  EXPECT_ERR(openat(dir, "status", O_RDONLY), ESRCH);
}

TEST(ProcFs, Statm) {
  COVERS("read", "mmap");
  auto a = Words(ReadFile("/proc/self/statm"));
  ASSERT_EQ(a.size(), 7u);
  char* p = static_cast<char*>(
      mmap(nullptr, 1000 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  memset(p, 1, 1000 * 4096);
  auto b = Words(ReadFile("/proc/self/statm"));
  EXPECT_EQ(stol(b[0]) - stol(a[0]), 1000);
  EXPECT_GE(stol(b[1]) - stol(a[1]), 900);
  munmap(p, 1000 * 4096);
}

struct Map {
  uintptr_t begin, end;
  std::string perms, offset, dev, inode, path;
};

std::vector<Map> Maps(const std::string& file = "/proc/self/maps") {
  std::vector<Map> v;
  std::istringstream in(ReadFile(file));
  std::string line;
  while (std::getline(in, line)) {
    Map m{};
    char perms[8] = {}, off[32] = {}, dev[16] = {}, ino[32] = {};
    int n = 0;
    if (sscanf(line.c_str(), "%lx-%lx %7s %31s %15s %31s%n", &m.begin, &m.end, perms, off, dev, ino,
               &n) != 6) {
      continue;
    }
    m.perms = perms;
    m.offset = off;
    m.dev = dev;
    m.inode = ino;
    size_t at = line.find_first_not_of(' ', n);
    if (at != std::string::npos) m.path = line.substr(at);
    v.push_back(m);
  }
  return v;
}

const Map* Find(const std::vector<Map>& v, const void* p) {
  auto a = reinterpret_cast<uintptr_t>(p);
  for (auto& m : v) {
    if (m.begin <= a && a < m.end) return &m;
  }
  return nullptr;
}

TEST(ProcFs, Maps) {
  COVERS("read", "mmap", "mprotect");
  TempDir dir;
  ASSERT_TRUE(WriteFile(dir / "m", std::string(8192, 'x')));
  Fd f(open((dir / "m").c_str(), O_RDWR));
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 4096);
  void* none = mmap(nullptr, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto v = Maps();
  const Map* m = Find(v, shared);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->perms, "rw-s");
  EXPECT_EQ(m->offset, "00001000");
  EXPECT_EQ(m->path, dir / "m");
  struct stat st {};
  ASSERT_OK(fstat(f, &st));
  EXPECT_EQ(m->inode, std::to_string(st.st_ino));
  m = Find(v, none);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->perms, "---p");
  EXPECT_EQ(m->inode, "0");
  m = Find(v, reinterpret_cast<void*>(&Maps));
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->perms, "r-xp");
  EXPECT_NE(m->path.find("proc_fs_test"), std::string::npos);
  int local;
  m = Find(v, &local);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->path, "[stack]");
  EXPECT_TRUE(std::any_of(v.begin(), v.end(), [](const Map& x) { return x.path == "[heap]"; }));
  EXPECT_TRUE(std::any_of(v.begin(), v.end(), [](const Map& x) { return x.path == "[vdso]"; }));
  for (size_t i = 1; i < v.size(); i++) EXPECT_LE(v[i - 1].end, v[i].begin);
  munmap(shared, 4096);
  munmap(none, 8192);
}

TEST(ProcFs, MapsMergeNeighbours) {
  COVERS("mmap", "mprotect");
  char* p =
      static_cast<char*>(mmap(nullptr, 4 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto pieces = [&] {
    int n = 0;
    for (auto& m : Maps()) {
      if (m.begin < reinterpret_cast<uintptr_t>(p + 4 * 4096) &&
          m.end > reinterpret_cast<uintptr_t>(p)) {
        n++;
      }
    }
    return n;
  };
  ASSERT_OK(mprotect(p + 4096, 4096, PROT_READ));
  EXPECT_EQ(pieces(), 3);
  ASSERT_OK(mprotect(p + 4096, 4096, PROT_NONE));
  EXPECT_EQ(pieces(), 1);
  munmap(p, 4 * 4096);
}

TEST(ProcFs, SmapsHasTheSameMappings) {
  COVERS("read");
  auto v = Maps("/proc/self/smaps");
  EXPECT_GE(v.size(), 10u);
  auto m = Fields(ReadFile("/proc/self/smaps"));
  for (const char* f : {"Size", "Rss", "Pss", "Private_Dirty", "Shared_Clean", "VmFlags"}) {
    EXPECT_TRUE(m.count(f)) << f;
  }
}

TEST(ProcFs, Mem) {
  COVERS("pread64", "pwrite64");
  static volatile char cell = 'm';
  Fd fd(open("/proc/self/mem", O_RDWR));
  ASSERT_GE(fd.get(), 0);
  char c = 0;
  auto at = reinterpret_cast<off_t>(&cell);
  EXPECT_RET(pread(fd, &c, 1, at), 1);
  EXPECT_EQ(c, 'm');
  EXPECT_RET(pwrite(fd, "n", 1, at), 1);
  EXPECT_EQ(cell, 'n');
  EXPECT_ERR(pread(fd, &c, 1, 0), EIO);
}

TEST(ProcFs, TaskDirectory) {
  COVERS("getdents64", "read");
  std::atomic<long> tid{0};
  std::atomic<bool> stop{false};
  std::thread t([&] {
    prctl(PR_SET_NAME, "worker");
    tid = syscall(SYS_gettid);
    while (!stop) SleepMs(1);
  });
  ASSERT_TRUE(WaitUntil([&] { return tid != 0; }));
  auto n = Names("/proc/self/task");
  EXPECT_EQ(n.size(), 4u);
  EXPECT_TRUE(n.count(std::to_string(tid)));
  EXPECT_EQ(ReadFile("/proc/self/task/" + std::to_string(tid) + "/comm"), "worker\n");
  EXPECT_EQ(Fields(ReadFile("/proc/self/status"))["Threads"], "2");
  // A thread's directory is reachable by its id in /proc, though not listed there.
  EXPECT_OK(access(("/proc/" + std::to_string(tid) + "/stat").c_str(), F_OK));
  EXPECT_FALSE(Names("/proc").count(std::to_string(tid)));
  stop = true;
  t.join();
}

TEST(ProcFs, Limits) {
  COVERS("read", "setrlimit");
  EXPECT_CHILD([] {
    rlimit r{77, 99};
    CHILD_OK(setrlimit(RLIMIT_NOFILE, &r));
    std::string s = ReadFile("/proc/self/limits");
    size_t at = s.find("Max open files");
    CHILD_CHECK(at != std::string::npos);
    auto w = Words(s.substr(at));
    CHILD_CHECK(w[3] == "77" && w[4] == "99" && w[5] == "files");
    CHILD_CHECK(
        s.find("Limit                     Soft Limit           Hard Limit           Units") == 0);
  });
}

TEST(ProcFs, Mounts) {
  COVERS("read");
  std::string s = ReadFile("/proc/self/mountinfo");
  bool root = false, proc = false;
  std::istringstream in(s);
  std::string line;
  while (std::getline(in, line)) {
    auto w = Words(line);
    ASSERT_GE(w.size(), 9u) << line;
    EXPECT_NE(std::find(w.begin(), w.end(), "-"), w.end()) << line;
    if (w[4] == "/") root = true;
    if (w[4] == "/proc") proc = line.find(" - proc ") != std::string::npos;
  }
  EXPECT_TRUE(root);
  EXPECT_TRUE(proc);
  EXPECT_NE(ReadFile("/proc/mounts").find(" /proc proc "), std::string::npos);
  EXPECT_EQ(ReadFile("/proc/mounts"), ReadFile("/proc/self/mounts"));
}

TEST(ProcFs, Namespaces) {
  COVERS("readlink");
  for (const char* ns : {"mnt", "pid", "user", "uts", "ipc", "net"}) {
    std::string l = Link(std::string("/proc/self/ns/") + ns);
    EXPECT_EQ(l.rfind(std::string(ns) + ":[", 0), 0u) << l;
  }
  EXPECT_EQ(Words(ReadFile("/proc/self/uid_map")).size() % 3, 0u);
}

TEST(ProcFs, SystemFiles) {
  COVERS("read");
  auto mem = Fields(ReadFile("/proc/meminfo"));
  for (const char* f :
       {"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree"}) {
    EXPECT_TRUE(mem.count(f)) << f;
  }
  EXPECT_GT(atol(mem["MemTotal"].c_str()), 1000);
  EXPECT_EQ(Words(ReadFile("/proc/uptime")).size(), 2u);
  EXPECT_EQ(Words(ReadFile("/proc/loadavg")).size(), 5u);
  EXPECT_EQ(ReadFile("/proc/version").rfind("Linux version ", 0), 0u);
  std::string fs = ReadFile("/proc/filesystems");
  for (const char* f : {"nodev\tproc\n", "nodev\ttmpfs\n", "nodev\tsysfs\n"}) {
    EXPECT_NE(fs.find(f), std::string::npos) << f;
  }
  std::string cpu = ReadFile("/proc/cpuinfo");
  int n = 0;
  for (size_t at = 0; (at = cpu.find("processor\t: ", at)) != std::string::npos; at++) n++;
  EXPECT_EQ(n, sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_NE(cpu.find("flags\t\t: "), std::string::npos);
  std::string stat = ReadFile("/proc/stat");
  EXPECT_EQ(stat.rfind("cpu  ", 0), 0u);
  EXPECT_NE(stat.find("\ncpu0 "), std::string::npos);
  for (const char* f : {"\nintr ", "\nctxt ", "\nbtime ", "\nprocesses ", "\nprocs_running "}) {
    EXPECT_NE(stat.find(f), std::string::npos) << f;
  }
}

TEST(ProcFs, Sysctls) {
  COVERS("read");
  EXPECT_FALSE(ReadFile("/proc/sys/kernel/hostname").empty());
  EXPECT_EQ(ReadFile("/proc/sys/kernel/ostype"), "Linux\n");
  EXPECT_GT(atol(ReadFile("/proc/sys/kernel/pid_max").c_str()), 300);
  EXPECT_EQ(ReadFile("/proc/sys/kernel/cap_last_cap"), "40\n");
  EXPECT_GT(atol(ReadFile("/proc/sys/fs/file-max").c_str()), 100);
  EXPECT_GT(atol(ReadFile("/proc/sys/fs/pipe-max-size").c_str()), 4095);
  EXPECT_GE(atol(ReadFile("/proc/sys/vm/overcommit_memory").c_str()), 0);
  EXPECT_EQ(ReadFile("/proc/sys/kernel/random/boot_id").size(), 37u);
  std::string a = ReadFile("/proc/sys/kernel/random/uuid");
  EXPECT_EQ(a.size(), 37u);
  EXPECT_NE(a, ReadFile("/proc/sys/kernel/random/uuid"));
}

TEST(ProcFs, Auxv) {
  COVERS("read");
  std::string s = ReadFile("/proc/self/auxv");
  EXPECT_EQ(s.size() % 16, 0u);
  ASSERT_GE(s.size(), 32u);
  EXPECT_EQ(s.substr(s.size() - 16), std::string(16, 0));
}

TEST(ProcFs, OomScoreAdj) {
  COVERS("read", "write");
  EXPECT_CHILD([] {
    int fd = open("/proc/self/oom_score_adj", O_RDWR);
    CHILD_OK(fd);
    CHILD_RET(write(fd, "500\n", 4), 4);
    CHILD_CHECK(ReadFile("/proc/self/oom_score_adj") == "500\n");
    CHILD_ERR(write(fd, "5000\n", 5), EINVAL);
  });
}

TEST(ProcFs, PrivateFilesOfOthers) {
  COVERS("openat", "readlink");
  SKIP_UNLESS_ROOT();
  pid_t parent = getpid();
  EXPECT_CHILD([&] {
    systest::BecomeNobody();
    std::string base = "/proc/" + std::to_string(parent);
    char buf[100];
    CHILD_ERR(readlink((base + "/exe").c_str(), buf, 100), EACCES);
    CHILD_ERR(open((base + "/environ").c_str(), O_RDONLY), EACCES);
    CHILD_ERR(open((base + "/mem").c_str(), O_RDONLY), EACCES);
    CHILD_ERR(open((base + "/fd").c_str(), O_RDONLY), EACCES);
    CHILD_OK(open((base + "/status").c_str(), O_RDONLY));
    CHILD_OK(open((base + "/cmdline").c_str(), O_RDONLY));
  });
}

TEST(ProcFs, IsReadOnlyWhereItMatters) {
  COVERS("openat", "mkdir", "unlink");
  EXPECT_ERR(open("/proc/new", O_CREAT | O_RDWR, 0600), ENOENT);
  EXPECT_ERR(mkdir("/proc/new", 0700), ENOENT);
  EXPECT_ERR(unlink("/proc/version"), EPERM);
  Fd fd(open("/proc/self/stat", O_RDONLY));
  char c;
  EXPECT_ERR(write(fd, &c, 1), EBADF);
  struct stat st {};
  EXPECT_OK(fstat(fd, &st));
  EXPECT_EQ(st.st_size, 0);
  EXPECT_EQ(st.st_mode, S_IFREG | 0444u);
}

TEST(ProcFs, SeekAndPartialReads) {
  COVERS("read", "pread64", "lseek");
  Fd fd(open("/proc/self/status", O_RDONLY));
  std::string whole = ReadAllFd(fd), parts;
  EXPECT_RET(lseek(fd, 0, SEEK_SET), 0);
  char c[7];
  ssize_t n;
  while ((n = read(fd, c, sizeof c)) > 0) parts.append(c, n);
  EXPECT_EQ(whole.substr(0, 40), parts.substr(0, 40));
  EXPECT_RET(pread(fd, c, 5, 0), 5);
  EXPECT_EQ(std::string(c, 5), "Name:");
}

}  // namespace
