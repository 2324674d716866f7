#!/usr/bin/env python3
"""Tests the kvm engine in a machine that has a real /dev/kvm (machine.py): one boot, all cases.

    run.py --build build/release --rootfs DIR [--timeout SECONDS] [--cpus N] [-k PATTERN]

DIR: a Debian root file system with python3 and node (tests/e2e/rootfs.sh makes one). Of the build it takes moat,
unit_tests and security_tests.
"""
import json
import os
import re
import shlex
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import machine  # noqa: E402

# None of them takes a minute where nothing else runs.
CASE_SECONDS = 600
DO = "/mnt/moat --platform=kvm do -- "
# Writes "fine" and no more where the command succeeds.
QUIET = "%s > /tmp/log 2>&1 && echo fine || cat /tmp/log"

# name, command, what it must write.
CASES = [
    ("platforms", "/mnt/moat debug --platforms | grep -c 'kvm *yes\\|auto *is kvm'", "2\n"),
    ("true", DO + "/bin/true && echo fine", "fine\n"),
    ("status", DO + "sh -c 'exit 7'; echo $?", "7\n"),
    ("python", DO + "python3 -c 'print(sum(range(100000)))'", "4999950000\n"),
    ("pipeline", DO + "bash -c 'seq 1 200 | sort -rn | head -3 | tr \"\\n\" \" \"; echo'", "200 199 198 \n"),
    ("forks", DO + "bash -c 'for i in 1 2 3 4 5; do (exit $i) || echo $?; done | tr -d \"\\n\"; echo'", "12345\n"),
    ("threads", DO + "python3 -c 'import threading as t; n=[]; a=[t.Thread(target=lambda i=i: n.append(i)) for i in range(8)];"
     "[x.start() for x in a]; [x.join() for x in a]; print(sorted(n))'", "[0, 1, 2, 3, 4, 5, 6, 7]\n"),
    ("signals", DO + "python3 -c 'import signal,os; signal.signal(10, lambda *a: print(\"handled\")); os.kill(os.getpid(), 10)'",
     "handled\n"),
    ("alarm", DO + "python3 -c 'import signal\ndef h(*a): print(\"alarm\"); raise SystemExit\n"
     "signal.signal(14, h); signal.setitimer(0, 0.2)\nwhile True: pass'", "alarm\n"),
    # More threads than the machine has processors.
    ("many", DO + "python3 -c 'import threading as t\nb = t.Barrier(150); n = []\ndef f(i): b.wait(); n.append(i * 1.5); b.wait()\n"
     "a = [t.Thread(target=f, args=(i,)) for i in range(150)]\n[x.start() for x in a]; [x.join() for x in a]; print(sum(n))'",
     "16762.5\n"),
    ("fault", DO + "bash -c 'kill -SEGV $$'; echo $?", "139\n"),
    ("mmap", DO + "python3 -c 'import mmap\nm = mmap.mmap(-1, 64 << 20)\n"
     "for i in range(0, len(m), 1 << 16): m[i] = i >> 16 & 255\n"
     "print(sum(m[i] for i in range(0, len(m), 1 << 16)))'", "130560\n"),
    # Many mappings that come, go, grow and move; a child writes to its copies and to what is shared.
    ("mappings", DO + "python3 -c 'import mmap, os\na = [mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(300)]\n"
     "for i, m in enumerate(a): m[i] = m[-1] = i & 127\nfor m in a[::2]: m.close()\na = a[1::2]\n"
     "for m in a: m.resize(2 << 20)\nshared = mmap.mmap(-1, 1 << 20)\n"
     "if os.fork() == 0:\n for i, m in enumerate(a): m[2 * i + 1] = 200; m[1 << 20] = 1; shared[i << 12] = 1\n os._exit(0)\n"
     "os.wait(); print(sum(m[2 * i + 1] + m[(1 << 20) - 1] + m[1 << 20] for i, m in enumerate(a)), sum(shared[:]))'",
     "%d 150\n" % sum(2 * (i & 127) for i in range(1, 300, 2))),
    ("exec", DO + "sh -c 'exec sh -c \"exec sh -c \\\"echo third\\\"\"'", "third\n"),
    # Those that write the code that they run.
    ("node", DO + "node -e 'let n = 0; for (let i = 0; i < 100; i++) { const f = new Function(\"a\", \"return a + \" + i);"
     " for (let k = 0; k < 2000; k++) n += f(k) & 1 } console.log(n); setTimeout(() => console.log(\"late\"), 20)'",
     "100000\nlate\n"),
    ("luajit", DO + "/mnt/luajit -e 'local s = 0 for i = 1, 1e7 do s = (s * 31 + i) % 1000003 end print(s, (jit.status()))'",
     "122962\ttrue\n"),
    # The engines' tests.
    ("engine", QUIET % "/mnt/platform_systrap_engine_test --gtest_filter='*/kvm'", "fine\n"),
    ("processor", QUIET % "/mnt/platform_systrap_processor_test --gtest_filter='*/kvm'", "fine\n"),
    # Patched call sites as a guest sees them (platform/systrap/patch_test.cc), with and without.
    ("sites", QUIET % "/mnt/platform_systrap_patch_test --gtest_filter='*kvm*'", "fine\n"),
    # Of the tests of the walls what guests do, and some acts of a sentry that is confined for this engine.
    ("walls", "chmod 666 /dev/kvm; " + QUIET % ("python3 /mnt/tests/security/run.py --build /mnt --engines kvm"
     " --only acts,guest,threads,corrupt -k mprotect_exec -k openat_victim_mem -k pidfd_getfd"), "fine\n"),
]

STATS = "/mnt/moat --platform=kvm debug --stats -- "
TOUCH = "import mmap; m = mmap.mmap(-1, 32 << 20)\nfor k in range(%d):\n for i in range(0, len(m), 4096): m[i] = 1"
LOCAL = "import os, signal\nfor i in range(%%d): %s"
CLOCK = "import time\nfor i in range(%d): time.monotonic_ns()"
# name, two commands that differ in how often they do something, how much more often the second one does, and how many more of
# each counter that may cost: at least, at most.
COUNTED = [
    # A call that needs the sentry is one exit.
    ("a call", "dd if=/dev/zero of=/dev/null bs=1 count=%d", (1000, 3000), 4000, {"calls": (4000, 4010), "exits": (3900, 4100)}),
    # What the stub answers, without any.
    ("a local call", "python3 -c " + shlex.quote(LOCAL % "os.getpid()"), (1000, 11000), 10000, {"calls": (-50, 50), "exits": (-200, 200)}),
    ("a signal mask", "python3 -c " + shlex.quote(LOCAL % "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"), (1000, 11000),
     10000, {"calls": (-50, 50), "exits": (-200, 200)}),
    # The host's clock, without any.
    ("a clock", "python3 -c " + shlex.quote(CLOCK), (1000, 11000), 10000, {"calls": (-50, 50), "exits": (-200, 200)}),
    # Pages that are there. What the first touches cost depends on the place that the memory got: 16 exits with large pages, or 512.
    ("a resident page", "python3 -c " + shlex.quote(TOUCH), (1, 3), 16384, {"calls": (-50, 50), "exits": (-700, 700)}),
    # Fresh ones: at most two exits each.
    ("a fresh page", "python3 -c " + shlex.quote(TOUCH), (0, 1), 8192, {"pages": (1, 8192), "exits": (1, 16384)}),
]


def counted_cases():
    """Those cases, as CASES; check(text, ...) finds what they wrote."""
    return [("%s %d" % (name, n), STATS + command % n + " 2>&1 | grep exits", None)
            for name, command, often, _, _ in COUNTED for n in often]


def check_counts(written):
    """written: by name. Failures, as text."""
    failures = []
    for name, _, often, more, limits in COUNTED:
        try:
            before, after = (json.loads(written["%s %d" % (name, n)]) for n in often)
        except (KeyError, TypeError, ValueError):
            failures.append("%s: no counters" % name)
            continue
        for counter, (least, most) in limits.items():
            d = after[counter] - before[counter]
            print("%s, %d times: %d %s" % (name, more, d, counter))
            if not least <= d <= most:
                failures.append("%s, %d times: %d %s, not %d to %d" % (name, more, d, counter, least, most))
    return failures


def main():
    p = machine.arguments(__doc__, 1800)
    p.add_argument("-k", default="", help="only cases whose name holds this")
    a = p.parse_args()

    cases = [c for c in CASES + counted_cases() if a.k in c[0]]
    mark = os.urandom(8).hex()
    with tempfile.TemporaryDirectory() as share:
        os.makedirs(os.path.join(share, "tests/security"))
        for program in ("moat", "platform_systrap_engine_test", "platform_systrap_processor_test", "platform_systrap_patch_test",
                        "tests/security/attacker", "tests/security/moat_compromised"):
            shutil.copy(os.path.join(a.build, program), os.path.join(share, program))
        for script in ("run.py", "workloads.py"):
            shutil.copy(os.path.join(HERE, "../security", script), os.path.join(share, "tests/security"))
        shutil.copy(os.path.join(machine.unpacked("luajit"), "usr/bin/luajit"), share)
        with open(os.path.join(share, "cases"), "w") as f:
            for name, command, _ in cases:
                f.write("echo %s begin %s\ntimeout %d sh -c %s\necho %s end %s $?\n" %
                        (mark, name, CASE_SECONDS, shlex.quote(command), mark, name))
        written = bytearray()

        def output(b):
            written.extend(b)
            sys.stderr.buffer.write(b)
            sys.stderr.buffer.flush()

        status = machine.run("sh /mnt/cases", a.rootfs, share, a.timeout, cpus=a.cpus, output=output)
    text = written.decode(errors="replace")
    got = {}
    for name, _, _ in cases:
        m = re.search("%s begin %s\n(.*?)%s end %s " % (mark, re.escape(name), mark, re.escape(name)), text, re.S)
        got[name] = m.group(1) if m else None
    failures = ["%s: expected %r, got %r" % (name, expected, got[name]) for name, _, expected in cases
                if expected is not None and got[name] != expected]
    if a.k == "":
        failures += check_counts(got)
    for f in failures:
        print("FAILED " + f)
    print("%d passed, %d failed; the machine's status: %d" % (len(cases) - len(failures), len(failures), status))
    return 1 if failures or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
