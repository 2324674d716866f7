"""What a container sees of its limits, whatever control groups the host has."""
import json

import moat
from oci import runtime


def limited(c, _):
    c["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]})
    c["linux"]["resources"].update(
        memory={"limit": 256 << 20, "swap": 256 << 20}, pids={"limit": 50},
        cpu={"quota": 50000, "period": 50000, "shares": 1024})


class Limits(moat.Case):
    def setUp(self):
        if not runtime.available():
            self.skipTest("needs root and busybox-static")
        runtime.become_subreaper()
        self.runtime = runtime.Runtime("moat", moat.MOAT)

    def tearDown(self):
        self.runtime.close()

    def read(self, cid, name):
        return self.runtime.ok("exec", cid, "/bin/cat", "/sys/fs/cgroup/" + name).strip()

    def test_as_granted_and_updated(self):
        r = self.runtime
        cid, _ = r.started(change=limited)
        want = {"memory.max": str(256 << 20), "memory.swap.max": "0", "pids.max": "50",
                "cpu.max": "50000 50000", "cpu.weight": "39", "cpuset.cpus.effective": "0"}
        self.assertEqual({name: self.read(cid, name) for name in want}, want)
        self.assertEqual(r.ok("exec", cid, "/bin/nproc"), "1\n")
        self.assertIn("MemTotal:         262144 kB", r.ok("exec", cid, "/bin/cat", "/proc/meminfo"))
        self.assertIn(" - cgroup2 ", r.ok("exec", cid, "/bin/cat", "/proc/self/mountinfo"))
        self.assertEqual(self.read(cid, "cgroup.procs").split()[0], "1")
        r.ok("update", "--resources=-", cid, stdin=json.dumps(
            {"memory": {"limit": 300 << 20, "swap": -1}, "pids": {"limit": 60}}).encode())
        want.update({"memory.max": str(300 << 20), "memory.swap.max": "max", "pids.max": "60"})
        self.assertEqual({name: self.read(cid, name) for name in want}, want)

    def test_tasks(self):
        many = "i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done; echo end"
        cid, _ = self.runtime.started(change=lambda c, d: c["linux"]["resources"].update(
            pids={"limit": 10}))
        status, _, err = self.runtime.call("exec", cid, "/bin/sh", "-c", many)
        self.assertNotEqual(status, 0)
        self.assertIn("fork", err)
