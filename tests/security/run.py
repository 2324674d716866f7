#!/usr/bin/env python3
"""Tries what a hostile guest and a compromised sentry or gofer would do to the host: all of it must fail.

    run.py --build build/release [--only acts,guest,threads,corrupt,rows,release] [--engines LIST] [-k ACT] [-v]

acts     moat_compromised's sentry and gofer, confined, try every act of acts.cc. Controls: natively the act succeeds; without the
         filter it fails or succeeds as its flags say, so that each of the two barriers is seen to hold by itself.
guest    a guest program tries the acts, as system calls and by the system call instruction of its stub, on each engine.
threads  a guest makes threads, by Linux's means and behind the sentry's back, until it gets no more: the bound holds, timers run.
rows     every row of host_calls.def is used by a workload, or its reason says why that is rare ("rare: WHY").
release  moat has nothing of all that in it.

As root everything is tried as root and as a user without rights, else as the caller.
"""
import argparse
import collections
import concurrent.futures
import os
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import workloads  # noqa: E402

ROOT_ONLY, MAYBE, HOST_OBJECT, RIGHTS_STOP, SERVED_ROOT = 1, 2, 4, 8, 16
ESCAPED = 86
SOMEBODY = 54321  # a user and a group that own nothing
# What the net gofer is there for.
NET_GOFERS = ("socket_inet", "socket_inet6", "socket_netlink", "connect_inet")
Act = collections.namedtuple("Act", "name flags reached")
User = collections.namedtuple("User", "name ids")  # ids: arguments of subprocess


class Tests:
    def __init__(self, args):
        self.args = args
        self.passed = self.failed = 0
        self.lock = threading.Lock()
        self.base = tempfile.mkdtemp(prefix="moat-security-")
        os.chmod(self.base, 0o755)
        self.serial = 0
        self.bin = {}
        for name, path in (("moat", "moat"), ("moat_compromised", "tests/security/moat_compromised"),
                           ("attacker", "tests/security/attacker")):
            # Where everybody may execute them.
            self.bin[name] = os.path.join(self.base, name)
            shutil.copy(os.path.join(args.build, path), self.bin[name])
            os.chmod(self.bin[name], 0o755)
        runs = re.findall(r"^(\w+) +yes", self.output([self.bin["moat"], "debug", "--platforms"]), re.M)
        self.engines = args.engines.split(",") if args.engines else runs
        # What the sentry is confined for while it tries the acts.
        self.engine = self.engines[0]
        self.acts = []
        for line in self.output([self.bin["attacker"], "list"]).splitlines():
            name, flags, reached = line.split()
            if not args.k or any(k in name for k in args.k):
                self.acts.append(Act(name, int(flags), int(reached)))
        self.users = [User("root" if os.getuid() == 0 else "caller", {})]
        if os.getuid() == 0:
            self.users.append(User("user", dict(user=SOMEBODY, group=SOMEBODY, extra_groups=[])))

    def output(self, command, **kw):
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60, **kw).stdout.decode()

    def check(self, name, ok, detail=""):
        with self.lock:
            if ok:
                self.passed += 1
            else:
                self.failed += 1
                print("FAIL %s: %s" % (name, detail))
            if ok and self.args.v:
                print("ok   %s%s" % (name, ": " + detail if detail else ""))

    def place(self, user):
        """A folder for one try: what is served, a secret beside it, an executable, a working folder."""
        with self.lock:
            self.serial += 1
            d = os.path.join(self.base, "t%d" % self.serial)
        served = os.path.join(d, "served")
        os.makedirs(served)
        os.mkdir(os.path.join(d, "work"))
        for path, text in (("secret", "secret\n"), ("served/file", "file\n")):
            with open(os.path.join(d, path), "w") as f:
                f.write(text)
        os.symlink("../secret", os.path.join(served, "relative"))
        os.symlink(os.path.join(d, "secret"), os.path.join(served, "absolute"))
        if os.getuid() == 0:
            os.mknod(os.path.join(served, "device"), stat.S_IFCHR | 0o666, os.makedev(1, 5))
        for name in ("program", "served/attacker"):
            os.link(self.bin["attacker"], os.path.join(d, name))
        if user.ids:
            for folder, _, files in os.walk(d):
                os.lchown(folder, SOMEBODY, SOMEBODY)
                for f in files:
                    if f not in ("program", "attacker", "device"):
                        os.lchown(os.path.join(folder, f), SOMEBODY, SOMEBODY)
        return d

    class Victim:
        """A process of the same user, on the host, that the acts aim at."""

        def __init__(self, tests, user, folder):
            self.name = "moat-victim-" + os.path.basename(tests.base) + os.path.basename(folder)
            self.process = subprocess.Popen([tests.bin["attacker"], "victim", self.name],
                                            stdout=subprocess.PIPE, **user.ids)
            pid, port = self.process.stdout.readline().split()
            self.pid = int(pid)
            self.target = "%d:%d:%s:%s:%s" % (int(pid), int(port), self.name,
                                              os.path.join(folder, "secret"),
                                              os.path.join(folder, "program"))

        def untouched(self):
            if self.process.poll() is not None:
                return False
            with open("/proc/%d/status" % self.pid) as f:
                text = f.read()
            return re.search(r"State:\s+S", text) and re.search(r"TracerPid:\s+0\n", text)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def run(self, command, user, folder, env, timeout=60, **kw):
        e = dict(PATH=os.environ.get("PATH", "/bin"), **env)
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, cwd=os.path.join(folder, "work"), env=e,
                             start_new_session=True, **user.ids, **kw)
        try:
            out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            return None, "", "no end within %d s" % timeout
        return p.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    @staticmethod
    def outcome(act, text, status):
        """(True: reached, False: refused, None: unknown, words)."""
        if "begin" not in text:
            return None, "never begun"
        m = re.search(r"returned (-?\d+)", text)
        if m:
            value = int(m.group(1))
            return value >= 0 or (act.reached != 0 and value == act.reached), "returned %d" % value
        if status == ESCAPED:
            return True, "executed"
        if status == -signal.SIGSYS:
            return False, "killed by the filter"
        return None, "status %r" % status

    # --- acts ---

    def native(self, user, act):
        folder = self.place(user)
        with self.Victim(self, user, folder) as victim:
            status, out, err = self.run([self.bin["attacker"], "native", act.name,
                                         os.path.join(folder, "served")],
                                        user, folder, {"MOAT_TARGET": victim.target})
        return self.outcome(act, out, status)

    def compromised(self, user, role, act, mode):
        folder = self.place(user)
        log = os.path.join(folder, "work", "log")
        with self.Victim(self, user, folder) as victim:
            _, _, err = self.run(
                [self.bin["moat_compromised"], "--platform=" + self.engine, "--debug-log", log, "do", "--root",
                 os.path.join(folder, "served"), "--", "/attacker",
                 "network" if role == "netgofer" else "list"], user, folder,
                {"MOAT_TARGET": victim.target, "MOAT_COMPROMISED": "%s:%s:%s" % (mode, role, act.name)})
            untouched = victim.untouched()
        try:
            with open(log) as f:
                text = f.read()
        except OSError:
            return None, "no log: " + err.strip()
        if "crashed" in text or "no filter" in text:
            return None, text
        m = re.search(r"ended: (-?\d+)", text)
        reached, words = self.outcome(act, text, int(m.group(1)) if m else None)
        if not untouched:
            return True, words + "; the victim was hit"
        return reached, words

    def try_act(self, user, act):
        native = None
        if not act.flags & ROOT_ONLY or (os.getuid() == 0 and not user.ids):
            native, words = self.native(user, act)
            self.check("native %s %s" % (user.name, act.name), native or act.flags & MAYBE, words)
        if not act.flags & SERVED_ROOT and act.name not in NET_GOFERS:
            reached, words = self.compromised(user, "netgofer", act, "attack")
            self.check("netgofer %s %s" % (user.name, act.name), reached is False, words)
        for role in ("sentry", "gofer"):
            if act.flags & SERVED_ROOT and role != "gofer":
                continue
            reached, words = self.compromised(user, role, act, "attack")
            self.check("%s %s %s" % (role, user.name, act.name), reached is False, words)
            reached, words = self.compromised(user, role, act, "unfiltered")
            expected = False if act.flags & RIGHTS_STOP else native
            if act.flags & MAYBE and reached is False:
                expected = False
            if expected is not None:
                self.check("unfiltered %s %s %s" % (role, user.name, act.name),
                           reached is expected, words)

    # --- guest ---

    def guest(self, user, engine, how, act):
        name = "guest %s %s %s %s" % (user.name, engine, how, act.name)
        folder = self.place(user)
        with self.Victim(self, user, folder) as victim:
            status, out, err = self.run(
                [self.bin["moat"], "--platform=" + engine, "do", "--root",
                 os.path.join(folder, "served"), "--env", "MOAT_TARGET=" + victim.target, "--",
                 "/attacker", how, act.name], user, folder, {})
            untouched = victim.untouched()
        if not untouched:
            self.check(name, False, "the victim was hit")
        elif act.flags & HOST_OBJECT:
            reached, words = self.outcome(act, out, status)
            # Where there is no stub, who jumps there dies.
            died = how == "stub" and status == 128 + signal.SIGSEGV
            self.check(name, reached is False or died, words + err)
        else:
            # Moat's kernel may do it to the guest's own things.
            self.check(name, status is not None and status != 125 and "begin" in out,
                       "status %r %s %s" % (status, out, err))

    # --- threads ---

    def threads(self, user, engine, how, limit):
        name = "threads %s %s %s %s" % (user.name, engine, " ".join(how) or "plain", limit)
        folder = self.place(user)

        def set_limit():
            if limit:
                resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        status, out, err = self.run(
            [self.bin["moat"], "--platform=" + engine, "do", "--root",
             os.path.join(folder, "served"), "--", "/attacker", "threads"] + how,
            user, folder, {}, timeout=300, preexec_fn=set_limit)
        bound = limit or 16384
        for path in ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"):
            with open(path) as f:
                bound = min(bound, int(f.read()) // 2)
        # Where guests have processes of their own, a thread is two of the host's.
        most = bound if how or engine == "kvm" else bound // 2
        got = re.fullmatch(r"(\d+)\ntimer\n", out)
        self.check(name, status == 0 and got and most // 2 < int(got.group(1)) < most,
                   "at most %d, status %r, %r %s" % (most, status, out, err))

    # --- the stub's memory ---

    def corrupt(self, engine, seed):
        folder = self.place(self.users[0])
        status, out, err = self.run(
            [self.bin["moat"], "--platform=" + engine, "do", "--root",
             os.path.join(folder, "served"), "--", "/attacker", "corrupt", str(seed)],
            self.users[0], folder, {}, timeout=300)
        self.check("corrupt %s %d" % (engine, seed), status == 0 and out.strip().isdigit(),
                   "status %r, %r %s" % (status, out, err))

    # --- rows ---

    def rows(self):
        rows = [line.split("\t") for line in
                self.output([self.bin["moat_compromised"]], env={"MOAT_COMPROMISED": "rows"}).splitlines()]
        folder = self.place(self.users[0])
        log = os.path.join(folder, "log")
        workloads.run_all(self.bin["moat_compromised"], folder, log,
                          os.path.join(os.path.abspath(self.args.build), "tests/syscalls"), self.engines)
        with open(log) as f:
            used = set(re.findall(r"used (\w+) (\d+)", f.read()))
        for index, roles, call, reason in rows:
            processes = [(1, "sentry"), (2, "gofer"), (4, "sentry"), (16, "netgofer")]
            if "kvm" in self.engines:
                processes.append((32, "sentry"))
            wanted = [role for bit, role in processes if int(roles) & bit]
            for role in wanted:
                self.check("row %s of the %s (%s)" % (call, role, reason),
                           (role, index) in used or "rare: " in reason, "no workload used it")

    # --- release ---

    def release(self):
        names = self.output(["nm", "-C", os.path.join(self.args.build, "moat")])
        self.check("moat has no hook: symbols", "security::" not in names and "__wrap_" not in names)
        for name, expected in (("moat", False), ("moat_compromised", True)):
            with open(self.bin[name], "rb") as f:
                self.check("the hook's variable in " + name,
                           (b"MOAT_COMPROMISED" in f.read()) == expected)
        text = self.output([self.bin["moat"], "debug", "--host-calls"])
        for role, most in (("sentry", 60), ("gofer", 40), ("net gofer", 40)):
            n = int(re.search(r"^%s: (\d+) host calls" % role, text, re.M).group(1))
            self.check("host calls of the " + role, n < most, "%d" % n)

    def main(self):
        only = self.args.only.split(",")
        jobs = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            def start(f, *a):
                jobs.append(pool.submit(f, *a))
            if "release" in only:
                start(self.release)
            for user in list(self.users):
                folder = self.place(user)
                status, _, err = self.run([self.bin["moat"], "do", "--root", os.path.join(folder, "served"),
                                           "--", "/attacker", "list"], user, folder, {})
                if status != 0 and user.ids and "user namespaces" in err:
                    print("not as a user without rights: " + err.strip())
                    self.users.remove(user)
                    continue
                self.check("moat works for " + user.name, status == 0, err)
                for act in self.acts:
                    if "acts" in only:
                        start(self.try_act, user, act)
                    if "guest" in only and not act.flags & SERVED_ROOT:
                        for engine in self.engines:
                            for how in ("native", "stub"):
                                start(self.guest, user, engine, how, act)
            for j in jobs:
                j.result()
        if "threads" in only:
            for engine in self.engines:
                if engine != "systrap":
                    self.threads(self.users[0], engine, [], 1000)
                    continue
                for user in self.users:
                    for how in ([], ["stub"]):
                        self.threads(user, engine, how, 1000)
                self.threads(self.users[0], engine, ["stub"], 0)
        if "corrupt" in only:
            for engine in self.engines:
                self.corrupt(engine, random.randrange(1 << 31))
        if "rows" in only:
            self.rows()
        print("%d passed, %d failed" % (self.passed, self.failed))
        return 1 if self.failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", required=True, help="the build folder")
    p.add_argument("--only", default="acts,guest,threads,corrupt,rows,release")
    p.add_argument("--engines", help="a list; else those that this host can run. Acts are tried on the first")
    p.add_argument("-k", action="append", default=[], help="only acts whose name holds this")
    p.add_argument("-v", action="store_true")
    tests = Tests(p.parse_args())
    try:
        return tests.main()
    finally:
        shutil.rmtree(tests.base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
