"""The OCI runtime beside runc: every case of oci/cases.py is run by both, and they must agree."""
import shutil
import unittest

import moat
from oci import differences, ids, limits, runtime  # noqa: F401 (ids, limits: they add cases)
from oci.cases import CASES


class Conformance(moat.Case):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        if not runtime.available() or not shutil.which("runc"):
            raise unittest.SkipTest("needs root, busybox-static and runc")
        runtime.become_subreaper()

    def compare(self, name):
        if moat.INSTRUMENTED and name in limits.OF_MEMORY:
            self.skipTest("an instrumented sentry takes more than the limit itself")
        results = []
        for kind, command in (("runc", ["runc"]), ("moat", moat.MOAT)):
            r = runtime.Runtime(kind, command)
            try:
                results.append(CASES[name](r))
            except AssertionError as e:
                results.append("%s: %s" % (kind, e))
            finally:
                r.close()
        if name in differences.DIFFERENCES:
            reason, expected = differences.DIFFERENCES[name]
            self.assertEqual(results[1], expected, "%s (%s)" % (name, reason))
        else:
            self.assertEqual(results[1], results[0])


def add(name):
    setattr(Conformance, "test_" + name, lambda self: self.compare(name))


for each in CASES:
    add(each)
