"""A runtime under test as its callers drive it: bundles over a small root, a state directory of its
own, and processes that become this one's to wait for."""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from moat import until

BUSYBOX = "/bin/busybox"
APPLETS = ("sh cat echo ls sleep true false id env pwd hostname stat mount grep kill ps touch mkdir "
           "rm ulimit test head wc sync tr dd stty tty umask cut mknod chmod nproc").split()
PR_SET_CHILD_SUBREAPER = 36


def available():
    return os.geteuid() == 0 and os.access(BUSYBOX, os.X_OK)


def become_subreaper():
    """Detached sandboxes are handed to us, as to containerd's shim."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def make_root(path):
    for d in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "mnt", "data/sub"):
        os.makedirs(os.path.join(path, d))
    shutil.copy(BUSYBOX, path + "/bin/busybox")
    for a in APPLETS:
        os.symlink("busybox", path + "/bin/" + a)
    with open(path + "/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n")
    with open(path + "/etc/group", "w") as f:
        f.write("root:x:0:\nuser:x:1000:\nmore:x:2000:user\n")
    with open(path + "/data/file", "w") as f:
        f.write("content\n")


CAPS = ["CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
        "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"]


def config(args):
    """A container as containerd describes one."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": list(args), "cwd": "/",
            "env": ["PATH=/bin", "TERM=xterm"],
            "capabilities": {k: CAPS for k in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True},
        "root": {"path": "rootfs"},
        "hostname": "conform",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/run", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "ipc", "uts", "mount", "network")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]}}}


class Runtime:
    """One of the runtimes, with a folder for all that a case makes."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.folder = tempfile.mkdtemp(prefix="oci-%s-" % name)
        self.root = self.folder + "/state"
        self.log = self.folder + "/log.json"
        self.serial = 0
        self.ids = []

    def call(self, *args, stdin=b"", globals_=(), timeout=60, **kw):
        """(status, standard output, standard error)"""
        p = subprocess.Popen(
            self.command + ["--root", self.root, "--log", self.log, "--log-format", "json"] +
            list(globals_) + list(args),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
        try:
            out, err = p.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            p.kill()
            raise AssertionError("%s: no end of %r" % (self.name, args)) from None
        return p.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def detached(self, *args, stdin=None, stdout=None, stderr=None, timeout=60, **kw):
        """A command whose child keeps its streams: they can't be read to their end."""
        p = subprocess.Popen(
            self.command + ["--root", self.root, "--log", self.log, "--log-format", "json"] +
            list(args), stdin=stdin or subprocess.DEVNULL, stdout=stdout or subprocess.DEVNULL,
            stderr=stderr or subprocess.DEVNULL, **kw)
        return p.wait(timeout)

    def bundle(self, args=("/bin/sleep", "1000"), change=None):
        """A bundle's folder and a fresh id. change edits the configuration."""
        self.serial += 1
        d = "%s/b%d" % (self.folder, self.serial)
        os.mkdir(d)
        make_root(d + "/rootfs")
        c = config(args)
        if change:
            change(c, d)
        with open(d + "/config.json", "w") as f:
            json.dump(c, f)
        cid = "oci-%s-%d-%d" % (self.name, os.getpid(), self.serial)
        self.ids.append(cid)
        return d, cid

    def create(self, args=("/bin/sleep", "1000"), change=None, **kw):
        """The id and the init's pid of a created container."""
        d, cid = self.bundle(args, change)
        status = self.detached("create", "--bundle", d, "--pid-file", d + "/pid", cid, **kw)
        if status != 0:
            raise AssertionError("%s create: status %d: %s" % (self.name, status, self.error()))
        with open(d + "/pid") as f:
            return cid, int(f.read())

    def started(self, args=("/bin/sleep", "1000"), change=None, **kw):
        cid, pid = self.create(args, change, **kw)
        self.ok("start", cid)
        return cid, pid

    def ok(self, *args, **kw):
        status, out, err = self.call(*args, **kw)
        if status != 0:
            raise AssertionError("%s %r: status %d: %s" % (self.name, args, status, err))
        return out

    def output(self, args, change=None):
        """Exit status and output of a container that is run to its end."""
        d, cid = self.bundle(args, change)
        with open(d + "/out", "w+b") as out:
            cid_pid = d + "/pid"
            status = self.detached("create", "--bundle", d, "--pid-file", cid_pid, cid, stdout=out,
                                   stderr=out)
            if status != 0:
                return "create failed", self.error()
            with open(cid_pid) as f:
                pid = int(f.read())
            self.ok("start", cid)
            code = self.reap(pid)
            self.ok("delete", cid)
            out.seek(0)
            return code, out.read().decode(errors="replace")

    def error(self):
        """The message that a caller shows: the log's last error."""
        text = ""
        with open(self.log) as f:
            for line in f:
                entry = json.loads(line)
                if entry["level"] == "error":
                    text = entry["msg"]
        return text

    def lines(self, cid, name):
        """How many lines the container has written to the file of that name in its root."""
        path = "%s/b%d/rootfs/%s" % (self.folder, 1 + self.ids.index(cid), name)
        if not os.path.exists(path):
            return 0
        with open(path) as f:
            return len(f.readlines())

    def wait_for_lines(self, cid, name, more_than=0):
        return until(lambda: self.lines(cid, name) > more_than)

    def status(self, cid):
        return json.loads(self.ok("state", cid))["status"]

    def reap(self, pid, timeout=20):
        """A shell's status of a process that was handed to us."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) \
                    else 128 + os.WTERMSIG(status)
            time.sleep(0.005)
        raise AssertionError("%s: process %d has not ended" % (self.name, pid))

    def close(self):
        for cid in self.ids:
            self.call("delete", "--force", cid)
        # What was handed to us and nobody waited for.
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        shutil.rmtree(self.folder, ignore_errors=True)


def kill_quietly(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass
