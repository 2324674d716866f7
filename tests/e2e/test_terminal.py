"""On a terminal: job control, keys, full-screen programs, resizing; by way of tmux."""
import os
import shutil
import time
import unittest

import moat
from moat import Case, Terminal, root_flags


@unittest.skipUnless(shutil.which("tmux"), "needs tmux")
class OnATerminal(Case):
    def terminal(self, *command, root=None, **kw):
        flags = root_flags() if root is None else root
        return Terminal(moat.MOAT + ["do"] + flags + ["--env", "PS1=$ ", "--env",
                        "TERM=xterm-256color", "--"] + list(command), **kw)

    def bash(self, root=None):
        return self.terminal("/bin/bash", "--norc", "--noprofile", root=root,
                             until=lambda s: s.rstrip().endswith("$"))

    def test_it_is_a_terminal(self):
        with self.bash() as t:
            t.line("tty; test -t 0 && test -t 1 && echo both-$((40+2))")
            s = t.wait("both-42")
            self.assertIn("/dev/", s)
            t.line("exit 3")
            self.assertEqual(t.status(), 3)

    def test_interrupt_key(self):
        with self.bash() as t:
            t.line("sleep 1000; echo status-$?")
            t.wait("sleep 1000")
            t.keys("C-c")
            t.line("echo after-$?")
            t.wait("after-130")

    def test_interrupt_without_a_shell(self):
        with self.terminal("sleep", "1000") as t:
            time.sleep(1)
            t.keys("C-c")
            self.assertEqual(t.status(), 130)

    def test_job_control(self):
        with self.bash() as t:
            t.line("sleep 1000 &")
            t.wait("[1]")
            t.line("jobs")
            t.wait(lambda s: "Running" in s and "sleep 1000" in s)
            t.line("fg")
            t.wait(lambda s: s.rstrip().endswith("sleep 1000"))
            t.keys("C-z")
            t.wait("Stopped")
            t.line("bg")
            t.wait("[1]+ sleep 1000 &")
            t.line("kill %1; wait %1; echo killed-$?")
            t.wait("killed-143")

    def test_end_of_file_key(self):
        with self.terminal("cat") as t:
            t.line("echoed")
            t.wait(lambda s: s.count("echoed") >= 2)
            t.keys("C-d")
            self.assertEqual(t.status(), 0)

    def test_window_size(self):
        with self.bash() as t:
            t.line("stty size")
            t.wait("24 80")
            t.line("trap 'echo changed; stty size' WINCH; echo set-$?")
            t.wait("set-0")
            t.resize(100, 30)
            t.line("")
            t.wait(lambda s: "changed" in s and "30 100" in s)

    def test_full_screen_editor(self):
        in_root = moat.ROOTFS and os.path.exists(os.path.join(moat.ROOTFS, "usr/bin/vim.tiny"))
        with self.bash(root=None if in_root else []) as t:
            t.line("command -v vim.tiny vim vi; echo looked")
            if "/" not in t.wait("looked"):
                self.skipTest("no vi there")
            t.line("cd /tmp; $(command -v vim.tiny vim vi | head -1) -u NONE note")
            t.wait(lambda s: s.count("~") > 10)
            t.keys("i")
            t.keys("-l", "typed text")
            t.keys("Escape")
            t.wait("typed text")
            t.line(":wq")
            t.wait(lambda s: s.rstrip().endswith("$"))
            t.line("cat note; echo end")
            t.wait(lambda s: "typed text\nend" in s)

    def test_top(self):
        with self.bash() as t:
            t.line("top -d 1")
            t.wait(lambda s: "PID" in s and "top" in s)
            t.keys("q")
            # What is typed before top has put the terminal back is thrown away.
            t.wait(lambda s: s.rstrip().endswith("$"))
            t.line("echo left-$?")
            t.wait("left-0")

    def test_tmux_inside(self):
        with self.bash() as t:
            t.line("command -v tmux; echo looked-$((1+1))")
            if "/tmux" not in t.wait("looked-2"):
                self.skipTest("no tmux there")
            t.line("env -u TMUX LC_ALL=C.UTF-8 tmux -f /dev/null new-session 'PS1=in: /bin/sh'")
            t.wait("in:")
            t.line("echo nested-$((40+2))")
            t.wait("nested-42")
            t.line("exit")
            t.wait("exited")

    def test_terminal_is_restored(self):
        with Terminal(["/bin/sh", "-c", '"$@"; stty -a; echo done', "sh"] + moat.MOAT +
                      ["do", "--", "sh", "-c", "stty raw -echo; exit 0"]) as t:
            s = t.wait("done")
            self.assertIn(" icanon", s)
            self.assertNotIn("-icanon", s)
            self.assertIn(" echo ", s)
