"""Many containers at once, and parts of them killed at any moment: nothing may be left behind."""
import concurrent.futures
import json
import os
import random
import signal
import subprocess
import time

import moat
from oci import runtime

SLOW = bool(os.environ.get("MOAT_E2E_SLOW"))


def groups_of(name):
    """Control groups whose name begins so."""
    found = []
    for hierarchy in os.listdir("/sys/fs/cgroup"):
        path = os.path.join("/sys/fs/cgroup", hierarchy)
        if os.path.isdir(path):
            found += [path + "/" + n for n in os.listdir(path) if n.startswith(name)]
    return found


class Lifecycle(moat.Case):
    def setUp(self):
        if not runtime.available():
            self.skipTest("needs root and busybox-static")
        runtime.become_subreaper()
        self.runtime = runtime.Runtime("moat", moat.MOAT)
        self.prefix = "life-%d-" % os.getpid()

    def tearDown(self):
        self.runtime.close()

    def call(self, *words, **kw):
        return subprocess.run(moat.MOAT + ["--root", self.runtime.root, *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, **kw)

    def reap_all(self):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def nothing_left(self):
        end = time.monotonic() + 15
        while True:
            self.reap_all()
            left = moat.moat_processes()
            if not left or time.monotonic() > end:
                break
            time.sleep(0.05)
        self.assertEqual(left, {}, "processes are left")
        self.assertEqual(groups_of(self.prefix), [], "control groups are left")
        self.assertEqual(os.listdir(self.runtime.root), [], "state is left")

    def test_many_at_once(self):
        d, _ = self.runtime.bundle(["/bin/sleep", "1000"])
        mounted = moat.mounts()

        def one(i):
            name = "%s%d" % (self.prefix, i)
            words = (["create", "--bundle", d, name], ["start", name],
                     ["exec", name, "/bin/echo", "in"], ["delete", "--force", name])
            # A detached sandbox keeps its caller's output: none of ours.
            for w in words:
                out = subprocess.PIPE if w[0] == "exec" else subprocess.DEVNULL
                p = subprocess.run(moat.MOAT + ["--root", self.runtime.root, *w],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=120)
                if p.returncode != 0 or (w[0] == "exec" and p.stdout != b"in\n"):
                    return "%s: status %d: %r %r" % (w[0], p.returncode, p.stdout, p.stderr)
            return None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(one, range(500 if SLOW else 40)))
        self.assertEqual([r for r in results if r], [])
        self.nothing_left()
        self.assertEqual(moat.mounts(), mounted)

    def test_killed_at_any_moment(self):
        chance = random.Random(os.getpid())
        d, _ = self.runtime.bundle(["/bin/sleep", "1000"])
        with open(d + "/config.json") as f:
            config = json.load(f)
        for i in range(200 if SLOW else 24):
            name = "%s%d" % (self.prefix, i)
            config["linux"]["cgroupsPath"] = "/" + name
            with open(d + "/config.json", "w") as f:
                json.dump(config, f)
            victim = i % 3
            with self.subTest(i=i, victim=("command", "sentry", "gofer")[victim]):
                p = subprocess.Popen(moat.MOAT + ["--root", self.runtime.root, "create", "--bundle",
                                                  d, name], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                if victim == 0:
                    time.sleep(chance.random() * 0.06)
                    p.kill()
                    p.wait()
                else:
                    self.assertEqual(p.wait(60), 0)
                    with open("%s/%s/state.json" % (self.runtime.root, name)) as f:
                        state = json.load(f)
                    starter = subprocess.Popen(
                        moat.MOAT + ["--root", self.runtime.root, "start", name],
                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
                    time.sleep(chance.random() * 0.03)
                    runtime.kill_quietly(state["pid" if victim == 1 else "goferPid"],
                                         signal.SIGKILL)
                    starter.wait(60)
                r = self.call("delete", "--force", name)
                self.assertEqual(r.returncode, 0, r.stderr)
        self.nothing_left()
