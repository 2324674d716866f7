"""The systemd driver of control groups, with systemd.py in systemd's place."""
import contextlib
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import moat
from oci import runtime

# With a /run where systemd seems to run the machine, seen by these processes only.
BOOTED = ("mount -t tmpfs t /run && mkdir -p /run/systemd/system /run/dbus && "
          "ln -s $0 /run/dbus/system_bus_socket && exec \"$@\"")


def properties(calls):
    """All that the manager was told of the unit, but for what differs from one to the next."""
    told = {}
    for _, args in calls:
        told.update(dict(args[2]) if len(args) > 2 else {})
    return {p: v for p, v in told.items() if p not in ("Slice", "Description", "PIDs")}


class Systemd(moat.Case):
    def setUp(self):
        if not runtime.available() or not shutil.which("unshare") \
                or not os.path.isdir("/sys/fs/cgroup/systemd"):
            self.skipTest("needs root, busybox-static, unshare and systemd's hierarchy of cgroup v1")
        runtime.become_subreaper()
        self.folder = tempfile.mkdtemp(prefix="oci-systemd-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.log = self.folder + "/log"
        bus = self.folder + "/bus"
        server = subprocess.Popen([sys.executable, os.path.join(moat.HERE, "systemd.py"), bus,
                                   self.log])
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        end = time.monotonic() + 10
        while not os.path.exists(bus) and time.monotonic() < end:
            time.sleep(0.02)
        self.bus = bus
        self.addCleanup(self.remove_slices)

    def remove_slices(self):
        """systemd does this when a slice is empty."""
        for pattern in ("oci.slice/oci-*.slice", "oci.slice"):
            for path in glob.glob("/sys/fs/cgroup/*/" + pattern):
                with contextlib.suppress(OSError):
                    os.rmdir(path)

    def calls(self):
        """What was asked of the manager."""
        with open(self.log) as f:
            rows = [json.loads(line) for line in f]
        os.unlink(self.log)
        return [r for r in rows if r[0] != "Subscribe"]

    def life(self, name, command):
        r = runtime.Runtime(name, ["unshare", "-m", "sh", "-c", BOOTED, self.bus, *command,
                                   "--systemd-cgroup"])

        def change(c, d):
            c["linux"]["cgroupsPath"] = "oci-%s.slice:e2e:%d" % (name, os.getpid())
            c["linux"]["resources"].update(memory={"limit": 200 << 20},
                                           cpu={"shares": 300, "quota": 25500, "period": 100000})
        try:
            cid, pid = r.started(change=change)
            unit = "oci-%s.slice/e2e-%d.scope" % (name, os.getpid())
            with open("/proc/%d/cgroup" % pid) as f:
                inside = [line.strip().split(":")[1] for line in f if unit in line]
            seen = ["name=systemd" in inside, "memory" in inside]
            start = self.calls()
            r.ok("update", "--memory", "250M", cid)
            update = self.calls()
            r.ok("kill", cid, "9")
            seen.append(r.reap(pid))
            r.ok("delete", cid)
            stop = self.calls()
            left = [c for c in os.listdir("/sys/fs/cgroup")
                    if os.path.exists("/sys/fs/cgroup/%s/oci.slice/%s" % (c, unit))]
            return seen + [left], start, update, stop
        finally:
            r.close()

    def test_as_runc(self):
        if not shutil.which("runc"):
            self.skipTest("needs runc")
        want, got = self.life("runc", ["runc"]), self.life("moat", moat.MOAT)
        self.assertEqual(got[0], want[0])
        for ours, theirs in zip(got[1:], want[1:]):
            # runc sets limits by a second call, and devices, which a sandbox has none of.
            self.assertEqual(ours[0][0], theirs[0][0])
            ours, theirs = properties(ours), properties(theirs)
            self.assertEqual(ours, {p: theirs[p] for p in ours})
        self.assertEqual(properties(got[1])["CPUQuotaPerSecUSec"], 260000)
        self.assertEqual(properties(got[2])["MemoryLimit"], 250 << 20)


if __name__ == "__main__":
    unittest.main()
