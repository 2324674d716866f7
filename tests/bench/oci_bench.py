#!/usr/bin/env python3
"""Times the life of containers under runc and under Moat, in turn, as containerd's shim calls them:

    oci_bench.py --moat build/release/moat [--rounds 20] [--execs 100]

create + start + wait for the end + delete of /bin/true, and exec's of /bin/true in a row into a
container that lives on. Prints medians of the rounds and their ratios. Needs root, runc and
busybox-static.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from oci import runtime  # noqa: E402

CGROUP = "/oci-bench-%d" % os.getpid()


def with_cgroup(c, _):
    c["linux"]["cgroupsPath"] = CGROUP


class Timed(runtime.Runtime):
    """The calls alone, without what a test records of them."""

    def fast(self, *words):
        p = subprocess.run(self.command + ["--root", self.root, "--log", self.log, "--log-format",
                                           "json", *words], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        if p.returncode != 0:
            raise AssertionError("%s %r: %s" % (self.name, words, self.error()))

    def life(self, bundle, cid):
        """Seconds of each step."""
        times = [time.perf_counter()]

        def step():
            times.append(time.perf_counter())
        self.fast("create", "--bundle", bundle, "--pid-file", bundle + "/pid", cid)
        step()
        with open(bundle + "/pid") as f:
            pid = int(f.read())
        self.fast("start", cid)
        step()
        os.waitpid(pid, 0)
        step()
        self.fast("delete", cid)
        step()
        return [b - a for a, b in zip(times, times[1:])]

    def execs(self, cid, count):
        start = time.perf_counter()
        for _ in range(count):
            self.fast("exec", cid, "/bin/true")
        return time.perf_counter() - start


def report(title, runc, moat):
    a, b = statistics.median(runc), statistics.median(moat)
    print("%-34s runc %8.1f ms  moat %8.1f ms  ratio %.2f" % (title, a * 1e3, b * 1e3, b / a))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--moat", required=True)
    p.add_argument("--rounds", type=int, default=20)
    p.add_argument("--execs", type=int, default=100)
    args = p.parse_args()
    runtime.become_subreaper()
    pair = [Timed("runc", ["runc"]), Timed("moat", [os.path.abspath(args.moat)])]
    try:
        for title, change in (("without a cgroupsPath", None), ("with a cgroupsPath", with_cgroup)):
            lives = [[], []]
            bundles = [r.bundle(["/bin/true"], change) for r in pair]
            for _ in range(args.rounds):
                for r, (d, cid), times in zip(pair, bundles, lives):
                    times.append(r.life(d, cid))
            print("create to delete, %s:" % title)
            for i, name in enumerate(("create", "start", "wait", "delete")):
                report("  " + name, *[[t[i] for t in times] for times in lives])
            report("  sum", *[[sum(t) for t in times] for times in lives])
        living = [r.started()[0] for r in pair]
        times = [[], []]
        for _ in range(max(1, args.rounds // 10)):
            for r, cid, seconds in zip(pair, living, times):
                seconds.append(r.execs(cid, args.execs))
        report("%d execs in a row" % args.execs, *times)
    finally:
        for r in pair:
            r.close()


if __name__ == "__main__":
    main()
