"""What a runtime's callers can see, case by case: each function drives a runtime and returns what it
saw. The same must come back from runc and from Moat; differences.py lists where it may not."""
import array
import json
import os
import signal
import socket
import subprocess
import time

from moat import until
from oci.runtime import kill_quietly

CASES = {}


def case(f):
    CASES[f.__name__] = f
    return f


# --- verbs ---

@case
def lifecycle(r):
    cid, pid = r.create(["/bin/sh", "-c", "exit 7"])
    seen = [r.status(cid)]
    r.ok("start", cid)
    seen.append(r.reap(pid))
    seen.append(r.status(cid))
    r.ok("delete", cid)
    return seen + [r.call("state", cid)[0], r.error()]


@case
def killed_by_a_signal(r):
    cid, pid = r.started(["/bin/sh", "-c", "trap 'exit 3' TERM; echo >/tmp/up; while :; do sleep 0.05; done"])
    r.wait_for_lines(cid, "tmp/up")
    r.ok("kill", cid, "15")
    seen = [r.reap(pid)]
    cid, pid = r.started()
    r.ok("kill", cid, "KILL")
    return seen + [r.reap(pid), r.status(cid), r.call("kill", cid, "9")[0], r.error(),
                   r.call("kill", "--all", cid, "9")[0]]


@case
def kill_of_a_created_container(r):
    cid, pid = r.create()
    r.ok("kill", cid, "9")
    return [r.reap(pid), r.status(cid), r.call("delete", cid)[0]]


@case
def killing_the_pid_ends_it(r):
    cid, pid = r.started()
    os.kill(pid, signal.SIGKILL)
    return [r.reap(pid), r.status(cid), r.call("delete", cid)[0]]


@case
def state_fields(r):
    cid, pid = r.create(change=lambda c, d: c.update(annotations={"a.b": "c"}))
    s = json.loads(r.ok("state", cid))
    return [s["id"] == cid, s["pid"] == pid, s["status"], s["annotations"],
            os.path.isdir(s["bundle"]), os.path.basename(s["rootfs"]), s["created"][10], s["owner"]]


@case
def pid_file_has_no_newline(r):
    d, cid = r.bundle()
    r.detached("create", "--bundle", d, "--pid-file", d + "/pid", cid)
    with open(d + "/pid") as f:
        return f.read().isdigit()


@case
def delete_of_a_running_container(r):
    cid, pid = r.started()
    seen = [r.call("delete", cid)[0], r.error().replace(cid, "ID")]
    seen += [r.call("delete", "--force", cid)[0], r.reap(pid), r.call("delete", "--force", cid)[0],
             r.call("delete", cid)[0], r.error()]
    return seen


@case
def delete_of_a_created_container(r):
    cid, pid = r.create()
    return [r.call("delete", cid)[0], r.reap(pid)]


@case
def wrong_states(r):
    cid, pid = r.create()
    r.ok("start", cid)
    seen = [r.call("start", cid)[0], r.error(), r.call("resume", cid)[0], r.error()]
    r.ok("kill", cid, "9")
    r.reap(pid)
    for words in (["start", cid], ["pause", cid], ["exec", cid, "/bin/true"],
                  ["kill", cid, "15"]):
        seen += [r.call(*words)[0], r.error()]
    return seen


@case
def unknown_containers(r):
    seen = []
    for verb in (["start", "no"], ["state", "no"], ["kill", "no", "9"], ["delete", "no"],
                 ["exec", "no", "true"], ["pause", "no"], ["ps", "no"]):
        seen += [r.call(*verb)[0], "does not exist" in r.error()]
    return seen


@case
def bad_ids(r):
    d, cid = r.bundle()
    seen = []
    for name in ("a/b", "..", ".", "a b", "", "\u00e4"):
        seen.append(r.call("create", "--bundle", d, name)[0])
    r.create()
    return seen + [r.call("create", "--bundle", d, r.ids[-1])[0],
                   "container with given ID already exists" in r.error()]


@case
def missing_bundles(r):
    return [r.call("create", "--bundle", "/no/such", "x")[0],
            r.call("create", "--bundle", r.folder, "x")[0], r.call("state", "x")[0]]


@case
def commands_that_do_not_exist(r):
    seen = []
    for args, text in ((["/no/such"], "no such file or directory"),
                       (["nosuch"], "executable file not found in $PATH"),
                       (["/etc/passwd"], "permission denied")):
        d, cid = r.bundle(args)
        seen += [r.detached("create", "--bundle", d, cid), text in r.error(),
                 r.call("state", cid)[0]]
    return seen


@case
def exec_in_the_foreground(r):
    cid, _ = r.started()
    seen = [r.call("exec", cid, "/bin/sh", "-c", "echo out; echo err >&2; cat; exit 4",
                   stdin=b"input\n")]
    for flags in (["--cwd", "/data"], ["--env", "X=1"], ["--user", "1000:1000"],
                  ["-u", "1000", "-g", "2000", "-g", "3000"]):
        seen.append(r.call("exec", *flags, cid, "/bin/sh", "-c", "pwd; echo $X; id -u; id -G"))
    seen.append(r.call("exec", cid, "/no/such")[0])
    seen.append(r.call("exec", cid, "/bin/sh", "-c", "kill -9 $$")[0])
    return seen


@case
def exec_of_a_process_file(r):
    cid, _ = r.started()
    path = r.folder + "/process.json"
    with open(path, "w") as f:
        json.dump({"args": ["/bin/sh", "-c", "echo $FOO; id -u; id -G; pwd; ulimit -n; "
                            "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; umask"],
                   "env": ["PATH=/bin", "FOO=bar"], "cwd": "/data",
                   "user": {"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 63},
                   "capabilities": {"bounding": ["CAP_KILL"], "effective": [], "permitted": []},
                   "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}],
                   "noNewPrivileges": True}, f)
    return r.call("exec", "--process", path, cid)


@case
def exec_detached(r):
    cid, _ = r.started()
    pid_file, out = r.folder + "/exec.pid", r.folder + "/exec.out"
    with open(out, "wb") as f:
        status = r.detached("exec", "--detach", "--pid-file", pid_file, cid, "/bin/sh", "-c",
                            "echo started; exit 6", stdout=f)
    with open(pid_file) as f:
        pid = int(f.read())
    code = r.reap(pid)
    with open(out) as f:
        return [status, code, f.read()]


def exec_proxy(r, cid, *command):
    pid_file = r.folder + "/proxy.pid"
    assert r.detached("exec", "--detach", "--pid-file", pid_file, cid, *command) == 0
    with open(pid_file) as f:
        return int(f.read())


@case
def signals_to_an_exec(r):
    cid, init = r.started()
    pid = exec_proxy(r, cid, "/bin/sh", "-c", "trap 'exit 9' TERM; echo >/tmp/up; while :; do sleep 0.05; done")
    r.wait_for_lines(cid, "tmp/up")
    os.kill(pid, signal.SIGTERM)
    seen = [r.reap(pid)]
    pid = exec_proxy(r, cid, "/bin/sleep", "777")
    pids = json.loads(r.ok("ps", "--format", "json", cid))
    seen += [init in pids, pid in pids, len(pids)]
    os.kill(pid, signal.SIGKILL)
    seen.append(r.reap(pid))
    return seen + [until(lambda: "777" not in r.ok("exec", cid, "/bin/ps"))]


@case
def the_end_of_the_container_ends_execs(r):
    cid, init = r.started()
    pid = exec_proxy(r, cid, "/bin/sleep", "888")
    r.ok("kill", cid, "9")
    # In this order: the kernel ends an init when all of its namespace have been waited for.
    return [r.reap(pid), r.reap(init)]


@case
def pause_and_resume(r):
    cid, pid = r.started(["/bin/sh", "-c", "while :; do echo x >>/tmp/n; sleep 0.02; done"])
    r.wait_for_lines(cid, "tmp/n")
    r.ok("pause", cid)
    seen = [r.status(cid), r.call("exec", cid, "/bin/true")[0], r.error(),
            r.call("pause", cid)[0]]
    r.ok("resume", cid)
    seen.append(r.status(cid))
    seen.append(r.wait_for_lines(cid, "tmp/n", r.lines(cid, "tmp/n")))
    r.ok("pause", cid)
    seen.append(r.call("kill", cid, "9")[0])
    if r.status(cid) == "paused":
        r.ok("resume", cid)
    return seen + [r.reap(pid)]


@case
def delete_of_a_paused_container(r):
    cid, pid = r.started()
    r.ok("pause", cid)
    return [r.call("delete", "--force", cid)[0], r.reap(pid)]


@case
def list_of_containers(r):
    cid, _ = r.started()
    other, _ = r.create()
    rows = json.loads(r.ok("list", "--format", "json"))
    return [sorted(row["status"] for row in rows), len(r.ok("list", "--quiet").split()),
            cid in r.ok("list")]


def memory_limit(pid):
    with open("/proc/%d/cgroup" % pid) as f:
        for line in f:
            _, names, path = line.strip().split(":", 2)
            if "memory" in names.split(","):
                with open("/sys/fs/cgroup/memory%s/memory.limit_in_bytes" % path) as g:
                    return int(g.read())
    return None


@case
def update_of_limits(r):
    def limits(c, d):
        c["linux"]["resources"]["memory"] = {"limit": 200 << 20}
        c["linux"]["resources"]["cpu"] = {"shares": 512}
    cid, pid = r.started(change=limits)
    seen = [memory_limit(pid)]
    r.ok("update", "--resources=-", cid, stdin=json.dumps(
        {"memory": {"limit": 300 << 20}, "devices": [{"allow": False, "access": "rwm"}],
         "cpu": {"shares": 300, "quota": 20000, "period": 100000}}).encode())
    seen.append(memory_limit(pid))
    r.ok("update", "--memory", "250M", cid)
    return seen + [memory_limit(pid)]


@case
def cgroups_path(r):
    path = "/oci-conform-%s-%d" % (r.name, os.getpid())

    def change(c, d):
        c["linux"]["cgroupsPath"] = path
        c["linux"]["resources"]["pids"] = {"limit": 500}
    cid, pid = r.started(change=change)
    with open("/proc/%d/cgroup" % pid) as f:
        # Not the unified hierarchy, which has no controllers beside version 1.
        inside = sum(line.rstrip().endswith(":" + path) for line in f if line[0] != "0")
    r.ok("kill", cid, "9")
    r.reap(pid)
    r.ok("delete", cid)
    left = [c for c in os.listdir("/sys/fs/cgroup")
            if os.path.exists("/sys/fs/cgroup/%s%s" % (c, path))]
    return [inside, left]


@case
def systemd_groups(r):
    seen = []
    for path in ("/no/slice", "system.slice:oci-conform:%s" % r.name):
        d, cid = r.bundle(change=lambda c, d, p=path: c["linux"].update(cgroupsPath=p))
        seen.append(r.call("create", "--bundle", d, cid, globals_=["--systemd-cgroup"])[0])
        if seen[-1] != 0:
            seen.append(r.error().replace("runc create failed: ", ""))
    return seen


@case
def statistics(r):
    cid, _ = r.started()
    s = json.loads(r.ok("events", "--stats", cid))
    return [s["type"], s["id"] == cid, "usage" in s["data"]["cpu"], "usage" in s["data"]["memory"],
            "current" in s["data"]["pids"]]


@case
def flags_with_one_dash_or_two(r):
    d, cid = r.bundle()
    seen = [r.detached("create", "-bundle", d, "--pid-file=" + d + "/pid", "-no-pivot",
                       "--no-new-keyring", cid)]
    return seen + [r.call("kill", "-all", cid, "9")[0]]


@case
def spec_file(r):
    r.ok("spec", "--bundle", r.folder)
    with open(r.folder + "/config.json") as f:
        c = json.load(f)
    return [sorted(c), c["process"]["args"], c["root"], r.call("spec", "--bundle", r.folder)[0],
            [m["destination"] for m in c["mounts"][:6]], sorted(c["linux"]["maskedPaths"])]


# --- terminals ---

class Console:
    """A console socket and the terminal that came through it."""

    def __init__(self, r):
        self.path = r.folder + "/console%d" % time.monotonic_ns()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()
        self.socket.settimeout(20)
        self.master = -1

    def receive(self):
        c, _ = self.socket.accept()
        with c:
            _, anc, _, _ = c.recvmsg(4096, socket.CMSG_SPACE(4))
            self.master = array.array("i", anc[0][2])[0]

    def read_until(self, text, timeout=15):
        got = ""
        end = time.monotonic() + timeout
        os.set_blocking(self.master, False)
        while text not in got:
            if time.monotonic() > end:
                raise AssertionError("never seen: %r in %r" % (text, got))
            try:
                got += os.read(self.master, 4096).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        return got

    def resize(self, rows, columns):
        """Whether the shell on the terminal comes to see it."""
        import fcntl
        import struct
        import termios
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

        def shown():
            os.write(self.master, b"stty size; echo d\"one\"\n")
            return "%d %d" % (rows, columns) in self.read_until("done\r\n")
        return until(shown)

    def interrupt(self):
        """Whether the shell on the terminal comes back. A signal that meets its child between fork and exec is lost."""
        def back():
            os.write(self.master, b"\x03")
            os.write(self.master, b"echo ba\"ck\"\n")
            try:
                return "back\r\n" in self.read_until("back\r\n", 2)
            except AssertionError:
                return False
        return until(back)

    def close(self):
        if self.master >= 0:
            os.close(self.master)
        self.socket.close()


def terminal_change(c, d):
    c["process"]["terminal"] = True
    c["process"]["consoleSize"] = {"height": 33, "width": 101}


@case
def terminal_of_a_container(r):
    d, cid = r.bundle(["/bin/sh"], terminal_change)
    con = Console(r)
    try:
        seen = [r.detached("create", "--bundle", d, "--pid-file", d + "/pid", "--console-socket",
                           con.path, cid)]
        con.receive()
        r.ok("start", cid)
        os.write(con.master, b"stty size; tty; [ -t 0 ] && [ -t 1 ] && echo tty\"s\"\n")
        text = con.read_until("ttys\r\n")
        seen += ["33 101" in text]
        seen.append(con.resize(44, 55))
        os.write(con.master, b"echo sleep\"s\"; sleep 100\n")
        con.read_until("sleeps\r\n")
        seen.append(con.interrupt())
        os.write(con.master, b"exit 5\n")
        with open(d + "/pid") as f:
            seen.append(r.reap(int(f.read())))
        return seen
    finally:
        con.close()


@case
def terminal_of_an_exec(r):
    cid, _ = r.started()
    path = r.folder + "/tty.json"
    with open(path, "w") as f:
        json.dump({"terminal": True, "args": ["/bin/sh"], "env": ["PATH=/bin"], "cwd": "/",
                   "user": {"uid": 0, "gid": 0}}, f)
    con = Console(r)
    try:
        pid_file = r.folder + "/tty.pid"
        seen = [r.detached("exec", "--process", path, "--console-socket", con.path, "--detach",
                           "--pid-file", pid_file, cid)]
        con.receive()
        seen.append(con.resize(21, 43))
        os.write(con.master, b"exit 8\n")
        with open(pid_file) as f:
            seen.append(r.reap(int(f.read())))
        return seen
    finally:
        con.close()


@case
def terminals_without_a_socket(r):
    d, cid = r.bundle(["/bin/sh"], terminal_change)
    return [r.call("create", "--bundle", d, cid)[0], r.call("state", cid)[0]]


# --- config.json ---

def shown(script, change=None):
    return lambda r: r.output(["/bin/sh", "-c", script], change)


def field(name, script, change=None):
    CASES["config_" + name] = shown(script, change)


def process(**values):
    return lambda c, d: c["process"].update(values)


field("environment", "env | grep -v -E '^(PWD|SHLVL|HOME)='; pwd; hostname",
      process(env=["PATH=/bin", "A=b c", "EMPTY="], cwd="/data"))
field("user", "id -u; id -g; id -G; touch /nope; umask",
      process(user={"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 23}))
field("capabilities", "grep ^Cap /proc/self/status",
      process(capabilities={"bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"],
                            "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
                            "ambient": ["CAP_KILL"]}))
field("no_capabilities", "grep ^Cap /proc/self/status; chown 5 /data/file; echo $?",
      process(capabilities={}))
field("rlimits", "ulimit -n; ulimit -H -n; ulimit -c",
      process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456},
                       {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
field("no_new_privileges", "grep NoNewPrivs /proc/self/status", process(noNewPrivileges=True))
field("new_privileges", "grep NoNewPrivs /proc/self/status", process(noNewPrivileges=False))
field("oom_score", "cat /proc/self/oom_score_adj", process(oomScoreAdj=321))
field("hostname", "hostname; cat /proc/sys/kernel/hostname",
      lambda c, d: c.update(hostname="other.name"))
field("readonly_root", "touch /x; touch /run/y && echo made",
      lambda c, d: c["root"].update(readonly=True))
field("pid_one", "echo $$; readlink /proc/self/exe 2>/dev/null; set -- /proc/[0-9]*; echo $#")


def masked(c, d):
    c["linux"]["maskedPaths"] = ["/data/file", "/data/sub", "/proc/keys", "/no/such"]
    c["linux"]["readonlyPaths"] = ["/etc", "/proc/sys", "/no/such"]


field("masked_paths", "cat /data/file; ls /data/sub; touch /data/sub/x; echo $?; touch /etc/x; "
      "echo $?; echo y >/proc/sys/kernel/hostname; echo $?", masked)


def binds(c, d):
    os.mkdir(d + "/shared")
    with open(d + "/shared/f", "w") as f:
        f.write("from outside\n")
    c["mounts"] += [
        {"destination": "/mnt/rw", "type": "bind", "source": d + "/shared", "options": ["rbind"]},
        {"destination": "/mnt/ro", "type": "bind", "source": "shared", "options": ["bind", "ro"]},
        {"destination": "/mnt/file", "type": "bind", "source": d + "/shared/f",
         "options": ["bind", "ro"]},
        {"destination": "/mnt/noexec", "type": "tmpfs", "source": "t",
         "options": ["noexec", "nosuid", "nodev", "size=1m", "mode=700"]}]


field("mounts", "cat /mnt/rw/f /mnt/ro/f /mnt/file; touch /mnt/ro/x; touch /mnt/rw/g && echo ok; "
      "ls -ld /mnt/noexec | cut -c1-10; cp /bin/busybox /mnt/noexec/b; /mnt/noexec/b true; "
      "echo $?", binds)


def devices(c, d):
    c["linux"]["devices"] = [
        {"path": "/dev/mynull", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7,
         "gid": 8},
        {"path": "/dev/sub/fifo", "type": "p", "fileMode": 0o600}]
    c["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}


field("devices", "ls -ln /dev/mynull | tr -s ' ' | cut -d' ' -f1-6; echo x >/dev/mynull && echo w; "
      "stat -c '%F %a' /dev/sub/fifo; for d in null zero full random urandom tty; do "
      "stat -c '%n %t:%T' /dev/$d; done", devices)


def seccomp(c, d):
    c["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat", "nosuchcall"], "action": "SCMP_ACT_ERRNO",
                      "errnoRet": 28},
                     {"names": ["fchmodat", "chmod"], "action": "SCMP_ACT_ERRNO"},
                     {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3,
                      "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}


field("seccomp", "mkdir /tmp/a; chmod 0 /data/file; kill -10 $$; kill -0 $$ && echo alive; "
      "grep ^Seccomp: /proc/self/status", seccomp)


def strict(c, d):
    c["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_KILL_PROCESS"}]}


field("seccomp_that_kills", "busybox uname; echo $?", strict)
field("personality", "busybox uname -m", lambda c, d: c["linux"].update(
    personality={"domain": "LINUX32"}))


field("pids_limit", "i=0; while [ $i -lt 60 ]; do sleep 3 & i=$((i+1)); done; echo never",
      lambda c, d: c["linux"]["resources"].update(pids={"limit": 20}))
field("hooks_in_the_guest", "grep -c '\"status\": *\"created\"' /data/state; cat /data/said; echo $$",
      lambda c, d: c.update(hooks={"startContainer": [
          {"path": "/bin/sh", "args": ["sh", "-c", "cat >/data/state; echo $V >/data/said"],
           "env": ["V=value", "PATH=/bin"]}]}))


@case
def a_failing_hook_in_the_guest(r):
    cid, pid = r.create(change=lambda c, d: c.update(hooks={"startContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}))
    r.call("start", cid)
    return [r.reap(pid) != 0, r.status(cid), r.call("delete", cid)[0]]


@case
def exec_under_seccomp(r):
    cid, _ = r.started(change=seccomp)
    return r.call("exec", cid, "/bin/sh", "-c", "mkdir /tmp/a; grep ^Seccomp: /proc/self/status")


def hook(d, name, body=""):
    path = "%s/hook-%s" % (d, name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\nstate=$(cat)\necho \"%s $1 $V\" >>%s/log\n%s\n" % (name, d, body))
    os.chmod(path, 0o755)
    return {"path": path, "args": ["hook", "arg"], "env": ["V=value", "PATH=/bin:/usr/bin"]}


@case
def hooks_in_order(r):
    def change(c, d):
        save = 'echo "$state" >%s/state-$(basename $0)' % d
        c["hooks"] = {kind: [hook(d, kind, save)] for kind in
                      ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
    cid, pid = r.create(change=change)
    d = "%s/b%d" % (r.folder, r.serial)
    r.ok("start", cid)
    r.ok("kill", cid, "9")
    r.reap(pid)
    r.ok("delete", cid)
    with open(d + "/log") as f:
        seen = f.read().splitlines()
    for kind in ("prestart", "poststart", "poststop"):
        with open("%s/state-hook-%s" % (d, kind)) as f:
            s = json.load(f)
        seen.append([kind, s["status"], s["id"] == cid, s.get("pid", 0) in (pid, 0),
                     os.path.samefile(s["bundle"], d)])
    return seen


@case
def hooks_that_fail(r):
    seen = []
    for kind in ("prestart", "createRuntime", "createContainer"):
        d, cid = r.bundle(change=lambda c, d: c.update(hooks={kind: [hook(d, "bad", "exit 3")]}))
        seen += [r.detached("create", "--bundle", d, cid), r.call("state", cid)[0]]
    d, cid = r.bundle(change=lambda c, d: c.update(
        hooks={"prestart": [dict(hook(d, "slow", "sleep 30"), timeout=1)]}))
    before = time.monotonic()
    seen += [r.detached("create", "--bundle", d, cid), time.monotonic() - before < 15]
    d, cid = r.bundle(change=lambda c, d: c.update(hooks={"poststop": [hook(d, "x", "exit 1")]}))
    seen.append(r.detached("create", "--bundle", d, cid))
    return seen + [r.call("delete", "--force", cid)[0], r.call("state", cid)[0]]


@case
def a_prestart_hook_finds_the_network_namespace(r):
    d, cid = r.bundle(change=lambda c, d: c.update(hooks={"prestart": [hook(
        d, "net", "pid=$(echo \"$state\" | tr ',{}' '\\n\\n\\n' | grep '\"pid\"' | tr -dc 0-9); "
        "[ $(readlink /proc/$pid/ns/net) != $(readlink /proc/self/ns/net) ] && echo other >>%s/log"
        % d)]}))
    r.detached("create", "--bundle", d, cid)
    with open(d + "/log") as f:
        return f.read()


@case
def leaked_descriptors_are_closed(r):
    read, write = os.pipe()
    d, cid = r.bundle()
    subprocess.run(r.command + ["--root", r.root, "create", "--bundle", d, "--pid-file", d + "/pid",
                                cid], pass_fds=[write], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    os.close(write)
    os.set_blocking(read, False)
    try:
        return os.read(read, 1)
    except BlockingIOError:
        return "still open"
    finally:
        os.close(read)


@case
def start_keeps_no_streams(r):
    cid, _ = r.create()
    # Reads to the end of the pipe: as long as anybody holds it, there is none.
    return r.call("start", cid, timeout=20)


@case
def preserved_descriptors(r):
    read, write = os.pipe()
    d, cid = r.bundle(["/bin/sh", "-c", "echo through >&3"])
    words = r.command + ["--root", r.root, "run", "--preserve-fds", "1", "--bundle", d, cid]
    subprocess.run(["/bin/bash", "-c", 'exec "$@" 3>&%d %d>&-' % (write, write), "bash"] + words,
                   pass_fds=[write], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=60)
    os.close(write)
    with os.fdopen(read) as f:
        return f.read()


@case
def run_in_the_foreground(r):
    d, cid = r.bundle(["/bin/sh", "-c", "cat; exit 3"])
    return [r.call("run", "--bundle", d, cid, stdin=b"text"), r.call("state", cid)[0]]


@case
def run_detached(r):
    d, cid = r.bundle()
    seen = [r.detached("run", "--detach", "--bundle", d, "--pid-file", d + "/pid", cid),
            r.status(cid)]
    with open(d + "/pid") as f:
        kill_quietly(int(f.read()))
    return seen


# --- several containers ---

def beside(other, *types):
    """A container in those namespaces of another one's process."""
    names = {"network": "net"}

    def change(c, d):
        for n in c["linux"]["namespaces"]:
            if n["type"] in types:
                n["path"] = "/proc/%d/ns/%s" % (other, names.get(n["type"], n["type"]))
        if "uts" in types:
            del c["hostname"]
    return change


@case
def network_of_another_container(r):
    _, first = r.started(["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/data"])
    cid, pid = r.started(change=beside(first, "network", "ipc", "uts"))
    seen = [r.call("exec", cid, "/bin/busybox", "wget", "-qO-", "http://127.0.0.1:8080/file"),
            r.ok("exec", cid, "/bin/hostname"), r.ok("exec", cid, "/bin/cat", "/proc/1/comm"),
            r.ok("exec", cid, "/bin/sh", "-c", "echo mine >/data/file; cat /data/file"),
            r.call("exec", cid, "/bin/busybox", "wget", "-qO-", "http://127.0.0.1:8080/file")[1],
            os.path.samefile("/proc/%d/ns/net" % pid, "/proc/%d/ns/net" % first)]
    proxy = exec_proxy(r, cid, "/bin/sleep", "1000")
    r.ok("kill", cid, "9")
    return seen + [r.reap(proxy), r.reap(pid), r.status(cid), r.call("kill", cid, "9")[0],
                   r.call("delete", cid)[0]]


@case
def processes_of_another_container(r):
    one, first = r.started(["/bin/sleep", "2001"])
    cid, pid = r.started(["/bin/sh", "-c", "trap 'exit 6' TERM; echo >/tmp/up; while :; do sleep 0.05; done"],
                         beside(first, "pid"))
    r.wait_for_lines(cid, "tmp/up")
    seen = [r.ok("exec", cid, "/bin/cat", "/proc/1/cmdline"), len(json.loads(
        r.ok("ps", "--format", "json", one)))]
    os.kill(pid, signal.SIGTERM)
    seen += [r.reap(pid), r.status(cid), r.status(one), r.call("delete", cid)[0]]
    # A second life beside the same one.
    cid, pid = r.started(["/bin/sleep", "2002"], beside(first, "pid"))
    seen.append("2002" in r.ok("exec", one, "/bin/ps"))
    return seen + [r.call("delete", "--force", cid)[0], r.reap(pid), r.status(one)]


@case
def containers_of_a_sandbox_that_ended(r):
    one, first = r.started()
    r.ok("kill", one, "9")
    r.reap(first)
    d, cid = r.bundle(change=beside(first, "network"))
    return [r.detached("create", "--bundle", d, cid) != 0, r.call("state", cid)[0]]


@case
def terminal_of_a_joined_container(r):
    _, first = r.started()

    def change(c, d):
        beside(first, "network", "ipc")(c, d)
        terminal_change(c, d)
    d, cid = r.bundle(["/bin/sh"], change)
    con = Console(r)
    try:
        seen = [r.detached("create", "--bundle", d, "--pid-file", d + "/pid", "--console-socket",
                           con.path, cid)]
        con.receive()
        r.ok("start", cid)
        os.write(con.master, b"stty size; tty; echo d\"one\"\n")
        text = con.read_until("done\r\n")
        seen += ["33 101" in text, "/dev/pts/0" in text or "/dev/console" in text]
        seen.append(con.resize(44, 55))
        os.write(con.master, b"exit 5\n")
        with open(d + "/pid") as f:
            seen.append(r.reap(int(f.read())))
        return seen
    finally:
        con.close()
