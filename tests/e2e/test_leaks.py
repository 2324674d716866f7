"""Nothing is left behind: processes, mounts, files; one sandbox, many, and many at once."""
import os
import subprocess
import time

import moat
from moat import Case, do, sh


class Leaks(Case):
    def test_after_one(self):
        with self.no_leaks():
            self.ok(do("true"))

    def test_after_failures(self):
        with self.no_leaks():
            do("/no/such/program")
            do("true", flags=["--cwd", "/no/such/dir"])
            moat.run("do", "--no-such-flag", "--", "true")
            sh("kill -9 $$")

    def test_background_processes_go_with_the_sandbox(self):
        with self.no_leaks():
            self.ok(sh("for i in 1 2 3; do sleep 1000 & done; (setsid sleep 1000 &); exit 0"))

    def test_descriptors_of_the_caller_are_not_passed_on(self):
        r, w = os.pipe()
        os.set_inheritable(w, True)
        try:
            p = subprocess.run(moat.MOAT + ["do", "--", "ls", "/proc/self/fd"], pass_fds=[w],
                               stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
            self.assertEqual(p.stdout.decode().split(), ["0", "1", "2", "3"])
        finally:
            os.close(r)
            os.close(w)

    def test_many_in_a_row(self):
        count = 10000 if os.environ.get("MOAT_E2E_SLOW") else 50
        with self.no_leaks():
            for i in range(count):
                p = subprocess.run(moat.MOAT + ["do", "--", "/bin/true"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
                self.assertEqual((p.returncode, p.stdout), (0, b""), "run %d" % i)

    def test_many_at_once(self):
        count = 200 if os.environ.get("MOAT_E2E_SLOW") else 20
        with self.no_leaks():
            started = [subprocess.Popen(moat.MOAT + ["do", "--", "sh", "-c", "echo up; sleep 1000"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE) for _ in range(count)]
            try:
                for p in started:
                    self.assertEqual(p.stdout.readline(), b"up\n")
                time.sleep(0.5)
                for p in started:
                    self.assertIsNone(p.poll())
            finally:
                for p in started:
                    p.kill()
                for p in started:
                    p.communicate()
