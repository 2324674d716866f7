"""What the end-to-end tests share: running moat, terminals through tmux, looking for leaks."""
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))

# Set by run.py.
MOAT = []       # the binary and its global flags
ROOTFS = None   # a Debian root file system, or None
INSTRUMENTED = False  # MOAT is a sanitizer's build
TIMEOUT = 120


def until(f, want=True, timeout=30):
    """What f says last: want, if it comes to that."""
    end = time.monotonic() + timeout
    while True:
        got = f()
        if got == want or time.monotonic() > end:
            return got
        time.sleep(0.05)


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __repr__(self):
        return "status %r, output %r, errors %r" % (self.status, self.out[-600:], self.err[-600:])


def run(*args, stdin="", timeout=None, cwd=None, env=None):
    """Runs moat with these arguments; output and errors as text."""
    full = MOAT + list(args)
    e = dict(os.environ)
    e.update(env or {})
    p = subprocess.Popen(full, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         cwd=cwd, env=e, start_new_session=True)
    try:
        out, err = p.communicate(stdin.encode() if isinstance(stdin, str) else stdin,
                                 timeout=timeout or TIMEOUT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)
        out, err = p.communicate()
        raise AssertionError("no end within %d s: %s\noutput %r\nerrors %r" % (
            timeout or TIMEOUT, shlex.join(full), out[-600:], err[-600:])) from None
    return Result(p.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def do(*command, flags=(), **kw):
    return run("do", *flags, "--", *command, **kw)


def sh(script, flags=(), **kw):
    return do("/bin/sh", "-c", script, flags=flags, **kw)


def root_flags():
    """For programs that the host may not have."""
    return ["--root", ROOTFS] if ROOTFS else []


def processes():
    """(pid, parent, command) of everything on the machine."""
    rows = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name) as f:
                text = f.read()
            with open("/proc/%s/cmdline" % name, "rb") as f:
                cmd = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
            fields = text[text.rindex(")") + 2:].split()
            rows[int(name)] = (int(fields[1]), cmd or text[text.index("("):text.rindex(")") + 1],
                               fields[0])
        except (OSError, ValueError):
            continue
    return rows


def moat_processes():
    """Those whose program is the moat that is tested, or a child of one."""
    rows, binary = processes(), os.path.realpath(MOAT[0])
    mine = set()
    for pid in rows:
        with contextlib.suppress(OSError):
            if os.path.realpath("/proc/%d/exe" % pid) == binary:
                mine.add(pid)
    grew = True
    while grew:
        grew = False
        for pid, (parent, _, _) in rows.items():
            if parent in mine and pid not in mine:
                mine.add(pid)
                grew = True
    return {pid: rows[pid] for pid in mine if rows[pid][2] != "Z"}


def mounts():
    with open("/proc/self/mountinfo") as f:
        return sorted(line.split(" ", 1)[1] for line in f)


class Case(unittest.TestCase):
    maxDiff = 4000

    def ok(self, result, out=None):
        self.assertEqual(result.status, 0, result)
        if out is not None:
            self.assertEqual(result.out, out, result)
        return result

    def one_line(self, result, *words):
        """A failure that is reported as one line with these words."""
        lines = result.err.strip().splitlines()
        self.assertEqual(len(lines), 1, result)
        for w in words:
            self.assertIn(w.lower(), lines[0].lower(), result)

    @contextlib.contextmanager
    def no_leaks(self):
        """Nothing is left running or mounted, and no file is left in the temporary folder."""
        tmp = set(os.listdir(tempfile.gettempdir()))
        before, mounted = set(moat_processes()), mounts()
        yield
        end = time.monotonic() + 10
        while True:
            left = {p: c for p, c in moat_processes().items() if p not in before}
            if not left or time.monotonic() > end:
                break
            time.sleep(0.05)
        self.assertEqual(left, {}, "processes are left")
        self.assertEqual(mounts(), mounted, "mounts are left")
        new = {n for n in set(os.listdir(tempfile.gettempdir())) - tmp if "moat" in n}
        self.assertEqual(new, set(), "files are left")


class Bundle:
    """An OCI bundle in a folder of its own; `config` may be changed before run()."""

    count = 0

    def __init__(self, args, root=None, **process):
        self.dir = tempfile.mkdtemp(prefix="e2e-bundle-")
        self.config = {
            "ociVersion": "1.0.2",
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": list(args),
                        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"], "cwd": "/"},
            "root": {"path": root or ROOTFS or "/", "readonly": False},
            "hostname": "e2e",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "network")]},
        }
        self.config["process"].update(process)

    def run(self, flags=(), raw=None, **kw):
        with open(os.path.join(self.dir, "config.json"), "w") as f:
            f.write(raw if raw is not None else json.dumps(self.config))
        Bundle.count += 1
        return run("run", *flags, "--bundle", self.dir, "e2e-%d-%d" % (os.getpid(), Bundle.count),
                   **kw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


class Terminal:
    """A command on a real terminal, by way of a tmux server of its own."""

    def __init__(self, command, width=80, height=24, until=None):
        self.until = until  # what the screen must show before the test begins
        self.folder = tempfile.mkdtemp(prefix="e2e-tmux-")
        self.socket = os.path.join(self.folder, "s")
        env = {k: v for k, v in os.environ.items() if k not in ("TMUX", "TMUX_PANE")}
        self.env = dict(env, TERM="xterm-256color", LC_ALL="C.UTF-8")
        self.status_file = os.path.join(self.folder, "status")
        line = "%s; echo $? >%s; sleep 1000" % (shlex.join(command), shlex.quote(self.status_file))
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                  "/bin/sh", "-c", line)

    def tmux(self, *args):
        p = subprocess.run(["tmux", "-S", self.socket] + list(args), env=self.env,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        return p.stdout.decode(errors="replace")

    def keys(self, *keys):
        """tmux names of keys (Enter, C-c, Escape) or text."""
        # A key that comes before the program has the terminal goes to the shell, natively too.
        time.sleep(0.7)
        self.tmux("send-keys", *keys)

    def line(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def wait(self, what, timeout=20):
        """Until the text (or the predicate of the screen) is there; returns the screen."""
        test = what if callable(what) else lambda s: what in s
        end = time.monotonic() + timeout
        while True:
            s = self.screen()
            if test(s):
                return s
            if time.monotonic() > end:
                raise AssertionError("never seen: %r; the screen:\n%s" % (what, s.rstrip()))
            time.sleep(0.05)

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def status(self, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                with open(self.status_file) as f:
                    return int(f.read())
            time.sleep(0.05)
        raise AssertionError("the command hasn't ended; the screen:\n" + self.screen())

    def __enter__(self):
        if self.until:
            try:
                self.wait(self.until)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")
        shutil.rmtree(self.folder, ignore_errors=True)
