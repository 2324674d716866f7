#!/usr/bin/env python3
"""Runs the end-to-end tests against a moat binary: test_*.py of this folder, by unittest.

    run.py --moat build/release/moat [--engines systrap,ptrace] [--rootfs DIR] [-k PATTERN] [--slow]

Programs that the host may not have come from a Debian root file system: --rootfs, $MOAT_TEST_ROOTFS,
or the one that rootfs.sh made; the tests that need it are skipped where there is none.
"""
import argparse
import os
import shlex
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import moat  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--moat", required=True, help="the binary, with global flags if any")
    p.add_argument("--engines", default="systrap")
    p.add_argument("--rootfs")
    p.add_argument("-k", action="append", default=[], help="only tests whose name holds this")
    p.add_argument("--slow", action="store_true", help="also the long ones (10,000 runs)")
    p.add_argument("-v", action="store_true")
    p.add_argument("--instrumented", action="store_true",
                   help="the binary is a sanitizer's, which itself takes more than the memory limits of the cases")
    args = p.parse_args()

    words = shlex.split(args.moat)
    words[0] = os.path.abspath(words[0])
    if not os.access(words[0], os.X_OK):
        sys.exit("%s: no such program; build the target moat first" % words[0])
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
                         "moat/rootfs")
    for root in (args.rootfs, os.environ.get("MOAT_TEST_ROOTFS"), cache):
        if root and os.path.exists(os.path.join(root, "bin/sh")):
            moat.ROOTFS = os.path.abspath(root)
            break
        if root and root is args.rootfs:
            sys.exit("%s: no root file system there" % root)
    moat.INSTRUMENTED = args.instrumented
    os.environ["MOAT_E2E_SLOW"] = "1" if args.slow else ""

    failed = total = 0
    for engine in args.engines.split(","):
        moat.MOAT = words + ["--platform=" + engine]
        loader = unittest.TestLoader()
        if args.k:
            loader.testNamePatterns = ["*%s*" % k for k in args.k]
        suite = loader.discover(HERE, "test_*.py", top_level_dir=HERE)
        print("== %s" % engine, flush=True)
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2 if args.v else 1).run(suite)
        bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
        failed += bad
        total += result.testsRun
    print("%d passed, %d failed" % (total - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
