#!/usr/bin/env python3
"""Runs the behaviour tests (tests/syscalls) on the kvm engine, in one boot of a machine that has a real /dev/kvm (machine.py).

    syscalls.py --build build/release --rootfs DIR [--timeout SECONDS] [--cpus N] [--filter REGEX] [--engines LIST]

They run natively in the machine too: that is what tests/harness/run_syscalls.py, which does the work, compares with. DIR: a
Debian root file system with python3.
"""
import glob
import os
import shlex
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import machine  # noqa: E402

# Of the tree: what run_syscalls.py reads.
FILES = ["tests/harness/run_syscalls.py", "tests/syscalls/expectations.json", "syscalls/table/linux.def"]


def main():
    p = machine.arguments(__doc__, 3600)
    p.add_argument("--filter", default="", help="only cases whose program/Suite.Case matches")
    p.add_argument("--engines", default="kvm")
    p.add_argument("--case-timeout", type=int, default=600, help="seconds that one case may take: emulation is slow")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as share:
        shutil.copy(os.path.join(a.build, "moat"), share)
        for f in FILES:
            os.makedirs(os.path.join(share, os.path.dirname(f)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, f), os.path.join(share, f))
        os.mkdir(os.path.join(share, "programs"))
        for f in glob.glob(os.path.join(a.build, "tests/syscalls/*")):
            if os.path.isfile(f) and os.access(f, os.X_OK):
                shutil.copy(f, os.path.join(share, "programs"))
        command = ["python3", "/mnt/tests/harness/run_syscalls.py", "--build", "/mnt/programs", "--moat", "/mnt/moat",
                   "--engines", a.engines, "--results", "/tmp/results", "--jobs", str(a.cpus),
                   "--timeout", str(a.case_timeout), "--filter", a.filter]
        return machine.run("cd /tmp; " + shlex.join(command), a.rootfs, share, a.timeout, memory=3072, cpus=a.cpus)


if __name__ == "__main__":
    sys.exit(main())
