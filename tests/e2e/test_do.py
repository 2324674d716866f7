"""moat do: statuses, streams, flags."""
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

import moat
from moat import Case, do, run, sh


class Statuses(Case):
    def test_exit_codes(self):
        for code in (0, 1, 42, 255):
            self.assertEqual(sh("exit %d" % code).status, code)

    def test_signals_are_128_plus(self):
        for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1):
            self.assertEqual(sh("kill -%d $$" % sig).status, 128 + sig)

    def test_command_not_found(self):
        r = do("/no/such/program")
        self.assertEqual(r.status, 127, r)
        self.one_line(r, "/no/such/program")
        r = do("no-such-name-in-path")
        self.assertEqual(r.status, 127, r)

    def test_not_executable(self):
        r = do("/etc/passwd")
        self.assertEqual(r.status, 126, r)
        self.one_line(r, "/etc/passwd")
        r = do("/etc")
        self.assertEqual(r.status, 126, r)

    def test_name_is_looked_up_in_path(self):
        self.ok(do("true"))
        self.ok(do("echo", "a b", "", "c"), "a b  c\n")


class Streams(Case):
    def test_input_and_output(self):
        self.ok(do("cat", stdin="hello\n"), "hello\n")
        r = sh("echo out; echo err >&2")
        self.assertEqual((r.out, r.err), ("out\n", "err\n"), r)

    def test_large_streams(self):
        text = "0123456789abcde\n" * 200000
        r = do("cat", stdin=text)
        self.assertEqual(r.status, 0)
        self.assertTrue(r.out == text, "%d bytes came back of %d" % (len(r.out), len(text)))

    def test_files_as_streams(self):
        with tempfile.TemporaryDirectory() as d:
            with open(d + "/in", "w") as f:
                f.write("from a file\n")
            with open(d + "/in") as i, open(d + "/out", "w") as o:
                p = subprocess.run(moat.MOAT + ["do", "--", "cat"], stdin=i, stdout=o, timeout=60)
            self.assertEqual(p.returncode, 0)
            with open(d + "/out") as f:
                self.assertEqual(f.read(), "from a file\n")

    def test_reader_that_goes_away(self):
        p = subprocess.run(["/bin/sh", "-c", '"$@" | head -1', "sh"] + moat.MOAT +
                           ["do", "--", "yes"], stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(p.stdout, b"y\n")

    def test_closed_streams(self):
        p = subprocess.run(["/bin/sh", "-c", '"$@" <&- >&- 2>&-', "sh"] + moat.MOAT +
                           ["do", "--", "true"], timeout=60)
        self.assertEqual(p.returncode, 0)

    def test_pipelines_inside(self):
        self.ok(sh("seq 1 1000 | grep 7 | wc -l"), "271\n")


class Signals(Case):
    def start(self, *command):
        return subprocess.Popen(moat.MOAT + ["do", "--"] + list(command), stdout=subprocess.PIPE,
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                start_new_session=True)

    def test_terminate_is_forwarded(self):
        p = self.start("/bin/sh", "-c", "trap 'echo got; exit 7' TERM; echo up; "
                       "while :; do sleep 0.1; done")
        self.assertEqual(p.stdout.readline(), b"up\n")
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=30)
        self.assertEqual((p.returncode, out), (7, b"got\n"), err)

    def test_interrupt_is_forwarded(self):
        p = self.start("/bin/sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.1; done")
        self.assertEqual(p.stdout.readline(), b"up\n")
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, 9)

    def test_killing_the_command_ends_the_sandbox(self):
        with self.no_leaks():
            p = self.start("/bin/sh", "-c", "echo up; sleep 1000")
            self.assertEqual(p.stdout.readline(), b"up\n")
            p.kill()
            p.communicate(timeout=30)


class Flags(Case):
    def test_environment_and_folder(self):
        self.ok(sh('echo "$A-$B"', flags=["--env", "A=1", "--env", "B=two words"]), "1-two words\n")
        self.ok(do("pwd", flags=["--cwd", "/usr"]), "/usr\n")

    def test_user(self):
        self.ok(sh("id -u; id -g", flags=["--user", "1234:567"]), "1234\n567\n")
        self.ok(sh("id -u", flags=["--user", "65534"]), "65534\n")

    def test_writes_stay_in_memory(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
            with open(d + "/f", "w") as f:
                f.write("host\n")
            self.ok(sh("echo guest >%s/f; echo new >%s/g; cat %s/f; ls %s" % (d, d, d, d)),
                    "guest\nf\ng\n")
            with open(d + "/f") as f:
                self.assertEqual(f.read(), "host\n")
            self.assertEqual(os.listdir(d), ["f"])

    def test_volume(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
            with open(d + "/f", "w") as f:
                f.write("host\n")
            self.ok(sh("cat /mnt/f; echo guest >/mnt/g", flags=["--volume", d + ":/mnt"]), "host\n")
            with open(d + "/g") as f:
                self.assertEqual(f.read(), "guest\n")
            r = sh("echo x >/mnt/h", flags=["--volume", d + ":/mnt:ro"])
            self.assertNotEqual(r.status, 0)
            self.assertIn("Read-only file system", r.err)
            self.assertFalse(os.path.exists(d + "/h"))

    def test_strace(self):
        with tempfile.TemporaryDirectory() as d:
            r = run("--strace", "--debug-log=" + d + "/log", "do", "--", "/bin/echo", "hi")
            self.assertEqual((r.status, r.out), (0, "hi\n"), r)
            with open(d + "/log") as f:
                text = f.read()
            self.assertIn("write(1, ", text)
            self.assertRegex(text, r'write\(1.*"hi\\n"')

    def test_help(self):
        for args in (["--help"], ["do", "--help"], ["run", "--help"]):
            r = run(*args)
            self.assertEqual(r.status, 0, r)
            self.assertIn("moat", r.out)


class BadInput(Case):
    def test_wrong_command_lines(self):
        for args, word in ((["--no-such-flag", "do", "--", "true"], "no-such-flag"),
                           (["do", "--no-such-flag", "--", "true"], "no-such-flag"),
                           (["no-such-command"], "no-such-command"),
                           (["--platform=vax", "do", "--", "true"], "vax"),
                           (["do", "--overlay=paper", "--", "true"], "overlay"),
                           (["do", "--root", "/no/such/dir", "--", "true"], "/no/such/dir"),
                           (["do", "--volume", "nonsense", "--", "true"], "nonsense"),
                           (["do", "--volume", "/no/such:/mnt", "--", "true"], "/no/such"),
                           (["do"], "command")):
            with self.subTest(args=args):
                r = run(*args)
                self.assertNotEqual(r.status, 0, r)
                self.one_line(r, word)

    def test_cwd_that_does_not_exist(self):
        r = do("pwd", flags=["--cwd", "/no/such/dir"])
        self.assertNotEqual(r.status, 0, r)
        self.one_line(r, "/no/such/dir")

    def test_broken_programs(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
            cases = {"empty": b"", "text": b"no program\n", "short": b"\x7fELF\x02\x01\x01",
                     "interp": b"#!/no/such/interpreter\n"}
            with open("/bin/sh", "rb") as f:
                good = f.read()
            cases["cut"] = good[:200]
            cases["phdrs"] = good[:32] + b"\xff" * 8 + good[40:]
            cases["phnum"] = good[:56] + b"\xff\xff" + good[58:]
            for name, data in cases.items():
                with open(d + "/" + name, "wb") as f:
                    f.write(data)
                os.chmod(d + "/" + name, 0o755)
                with self.subTest(program=name):
                    r = do(d + "/" + name)
                    self.assertIn(r.status, (126, 127, 128 + 9, 128 + 11), r)
                    self.assertLessEqual(len(r.err.strip().splitlines()), 1, r)


class Identity(Case):
    def test_own_kernel_and_processes(self):
        r = self.ok(do("uname", "-a"))
        self.assertNotIn(os.uname().version, r.out)
        # The guest sees its own processes only.
        r = self.ok(sh("ls -d /proc/[0-9]* | wc -l"))
        self.assertLess(int(r.out), 6)
        r = self.ok(sh("cat /proc/self/status"))
        self.assertTrue(re.search(r"^Pid:\s+\d", r.out, re.M), r)

    def test_host_processes_are_out_of_reach(self):
        # One whose number no process of the guest has.
        while True:
            victim = subprocess.Popen(["sleep", "60"])
            if victim.pid > 20:
                break
            victim.kill()
            victim.wait()
        try:
            r = sh("kill -9 %d" % victim.pid)
            self.assertNotEqual(r.status, 0)
            self.assertIsNone(victim.poll())
        finally:
            victim.kill()
            victim.wait()


class Speed(Case):
    """No absolute times: only that nothing waits for a time-out somewhere."""

    def test_start_does_not_wait(self):
        begin = time.monotonic()
        for _ in range(10):
            self.ok(do("true"))
        self.assertLess(time.monotonic() - begin, 20)


if __name__ == "__main__":
    unittest.main()
