"""What sandboxes do, as far as it needs different host calls: the rows of host_calls.def are held against it (run.py, rows)."""
import concurrent.futures
import json
import os
import pty
import select
import signal
import socket
import subprocess
import tempfile
import time

# In the guest, with /v a folder of the host and /ro the same, read-only.
FILES = r"""
import ctypes, mmap, os, socket
os.umask(0o22)
os.chdir("/v")
libc = ctypes.CDLL(None, use_errno=True)
with open("a", "wb") as f:
    f.write(b"x" * 100000); f.flush(); os.fsync(f.fileno()); os.fdatasync(f.fileno())
    f.truncate(50000)
    os.posix_fallocate(f.fileno(), 0, 200000)
fd = os.open("a", os.O_RDWR)
os.lseek(fd, 0, os.SEEK_DATA)
os.pwrite(fd, b"1", 5); os.pread(fd, 1, 5)
os.preadv(fd, [bytearray(5), bytearray(5)], 0); os.pwritev(fd, [b"a", b"b"], 0)
m = mmap.mmap(fd, 8192); m[0] = 1; m.flush(); m.close()
os.fchmod(fd, 0o600); os.fstatvfs(fd)
os.mkdir("d"); os.mkdir("e")
for i in range(300): open("d/%d" % i, "w").close()
assert len(os.listdir("d")) == 300
os.symlink("a", "link"); os.readlink("link"); os.link("a", "hard"); os.rename("hard", "d/moved")
os.mkfifo("fifo"); os.chmod("fifo", 0o640); os.utime("a", (1, 2)); os.chown("a", os.getuid(), os.getgid())
os.truncate("a", 10); os.sync(); libc.syncfs(fd); os.statvfs("d")
for call in (lambda: os.setxattr("a", "user.x", b"1"), lambda: os.getxattr("a", "user.x"),
             lambda: os.listxattr("a"), lambda: os.removexattr("a", "user.x")):
    try: call()
    except OSError: pass
d = os.open("d", os.O_RDONLY); os.fsync(d); os.fdatasync(d)
assert len(os.listdir("many")) == 5000
for i in range(5000): os.stat("many/%d" % i)
os.truncate("there", 3)
libc.syscall(ctypes.c_long(217), d, ctypes.create_string_buffer(400), 400)
libc.lseek(d, ctypes.c_long(0), 0)
s = socket.socket(socket.AF_UNIX); s.bind("sock"); s.close()
os.unlink("sock"); os.unlink("link"); os.rmdir("e")
try: open("/ro/b", "w")
except OSError: pass
os.unlink("a")
"""
# In the guest: standard input and output are sockets, pipes or a terminal.
STREAMS = r"""
import fcntl, os, select, socket, sys, termios, array, time
if os.isatty(0):
    a = termios.tcgetattr(0)
    for when in (termios.TCSANOW, termios.TCSADRAIN, termios.TCSAFLUSH): termios.tcsetattr(0, when, a)
    w = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8); fcntl.ioctl(0, termios.TIOCSWINSZ, w)
n = array.array("i", [0]); fcntl.ioctl(0, termios.FIONREAD, n)
fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_NONBLOCK)
p = select.poll(); p.register(0, select.POLLIN); p.poll(5000)
os.read(0, 100); os.write(1, b"out\n"); os.writev(1, [b"a", b"b\n"])
e = select.epoll()
try: e.register(0, select.EPOLLIN); e.poll(0.01)
except OSError: pass
try: socket.socket(fileno=os.dup(0)).shutdown(socket.SHUT_RDWR)
except OSError: pass
time.sleep(0.05)
"""
# In the guest: memory, threads, processes, signals, clocks.
KERNEL = r"""
import ctypes, mmap, multiprocessing, os, signal, subprocess, threading, time
libc = ctypes.CDLL(None, use_errno=True)
blocks = [mmap.mmap(-1, 4 << 20) for _ in range(20)]
for b in blocks: b[:] = b"x" * len(b)
for b in blocks: b.madvise(mmap.MADV_DONTNEED); b.close()
ts = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(40)]
[t.start() for t in ts]; [t.join() for t in ts]
for _ in range(5): subprocess.run(["/bin/true"])
libc.syscall(ctypes.c_long(0), 0, ctypes.c_long(8), 8)
r, w = os.pipe(); os.write(w, b"x" * 10); libc.read(r, ctypes.c_void_p(8), 10); libc.write(w, ctypes.c_void_p(8), 10)
libc.syscall(ctypes.c_long(324), 1, 0); libc.syscall(ctypes.c_long(324), 8, 0)
libc.syscall(ctypes.c_long(24)); os.getrandom(100); os.urandom(100)
os.sched_getaffinity(0); time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID); time.process_time()
signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
def spin():
    while True: pass
t = threading.Thread(target=spin, daemon=True); t.start(); time.sleep(0.05)
p = multiprocessing.Process(target=spin); p.start(); time.sleep(0.05); p.terminate(); p.join()
os._exit(0)
"""
# In the guest: the network outside. argv: a port of the host's that answers, for TCP and UDP.
NETWORK = r"""
import socket, sys
port = int(sys.argv[1])
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(family, kind); s.settimeout(2)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if kind == socket.SOCK_STREAM: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET: s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 60)
        try: s.connect((host, port)); s.send(b"x"); s.recv(10)
        except OSError: pass
        if kind == socket.SOCK_STREAM: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
        s.close()
s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", 0))
try: u.sendto(b"x", ("127.0.0.1", port))
except OSError: pass
q = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); q.settimeout(1)
try:
    q.connect(("127.0.0.1", 53)); q.send(b"\0\7\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1"); q.recv(100)
except OSError: pass
"""


class Runner:
    def __init__(self, moat, folder, log):
        self.moat, self.folder, self.log = moat, folder, log

    def command(self, *words, engine="systrap"):
        return [self.moat, "--platform=" + engine, "--debug-log", self.log, "do", *words]

    def run(self, *words, engine="systrap", **kw):
        env = dict(os.environ, MOAT_COMPROMISED="observe")
        kw.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.Popen(self.command(*words, engine=engine), stdout=kw.pop("stdout", subprocess.DEVNULL),
                             stderr=subprocess.DEVNULL, env=env, start_new_session=True, **kw)
        try:
            p.wait(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()

    def python(self, script, engine="systrap", flags=(), **kw):
        self.run(*flags, "--", "python3", "-c", script, engine=engine, **kw)

    def files(self, engine):
        volume = os.path.join(self.folder, "volume%s" % engine)
        for i in range(5000):
            os.makedirs(os.path.join(volume, "many/%d" % i))
        with open(os.path.join(volume, "there"), "w") as f:
            f.write("text\n")
        self.python(FILES, engine, ["--volume", volume + ":/v", "--volume", volume + ":/ro:ro"])

    def streams(self):
        ours, theirs = socket.socketpair()
        ours.send(b"in\n")
        self.python(STREAMS, stdin=theirs, stdout=theirs)
        ours.close()
        theirs.close()
        read, write = os.pipe()
        os.write(write, b"in\n")
        self.python(STREAMS, stdin=read)
        os.close(read)
        os.close(write)

    def bundle(self, args):
        config = {"ociVersion": "1.0.2", "root": {"path": "/"},
                  "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "cwd": "/",
                              "args": args, "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}
        with open(os.path.join(self.folder, "config.json"), "w") as f:
            json.dump(config, f)

    def container(self):
        """Commands that come to a sandbox one after the other."""
        name = "moat-container-%d" % os.getpid()
        folder = tempfile.mkdtemp(dir=self.folder)
        Runner(self.moat, folder, self.log).bundle(["sleep", "1000"])
        # Large enough that the net gofer needs memory for it.
        policy = os.path.join(folder, "policy.json")
        with open(policy, "w") as f:
            json.dump({"rules": [{"action": "allow", "domain": "a%d.example.com" % i}
                                 for i in range(3000)]}, f)
        for words in (["create", "--bundle", folder, name], ["start", name],
                      ["exec", name, "true"], ["ps", name],
                      ["network", name, "--set", policy], ["delete", "--force", name]):
            subprocess.run([self.moat, "--root", folder + "/state", "--overlay=memory",
                            "--debug-log", self.log, *words], timeout=90,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL,
                           env=dict(os.environ, MOAT_COMPROMISED="observe"))

    def terminal(self):
        self.on_terminal(self.command("--", "python3", "-c", STREAMS))
        # A bundle may want the caller's terminal as it is.
        self.bundle(["python3", "-c", STREAMS])
        self.on_terminal([self.moat, "--debug-log", self.log, "run", "--bundle", self.folder,
                          "moat-workload-%d" % os.getpid()])

    def network(self):
        policy, log = (os.path.join(self.folder, n) for n in ("policy.json", "decisions"))
        with open(policy, "w") as f:
            json.dump({"log": "all", "resolvers": ["127.0.0.1"],
                       "rules": [{"action": "allow", "domain": "a.test"},
                                 {"action": "allow", "cidr": ["127.0.0.0/8", "::1"]}]}, f)
        with socket.create_server(("127.0.0.1", 0)) as s:
            words = ["--network=host", "--", "python3", "-c", NETWORK, str(s.getsockname()[1])]
            self.run(*words)
            self.run("--egress-policy", policy, "--egress-log", log, *words)

    def on_terminal(self, words):
        pid, fd = pty.fork()
        if pid == 0:
            os.environ["MOAT_COMPROMISED"] = "observe"
            os.execv(words[0], words)
        os.write(fd, b"in\n")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if select.select([fd], [], [], 1)[0]:
                try:
                    if not os.read(fd, 1000):
                        break
                except OSError:
                    break
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


def run_all(moat, folder, log, behaviour_tests, engines):
    """Logs what the sentries and gofers of all workloads use."""
    r = Runner(moat, folder, log)
    open(log, "w").close()
    jobs = [r.streams, r.terminal, r.container, r.network]
    for e in engines:
        jobs += [lambda e=e: r.files(e), lambda e=e: r.python(KERNEL, e)]
    tests = [os.path.join(behaviour_tests, t) for t in sorted(os.listdir(behaviour_tests))
             if t.endswith("_test")]
    for t in tests:
        jobs += [lambda t=t, e=e: r.run("--", t, engine=e) for e in engines]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for job in [pool.submit(j) for j in jobs]:
            job.result()
