"""moat run: OCI bundles, good and bad."""
import json
import os
import signal
import subprocess
import tempfile
import time

import moat
from moat import Bundle, Case


class Bundles(Case):
    def setUp(self):
        if not moat.ROOTFS:
            self.skipTest("no root file system; see rootfs.sh")

    def test_process(self):
        with Bundle(["/bin/sh", "-c", 'echo "$V $(pwd) $(id -u):$(id -g) $(hostname)"; exit 5'],
                    env=["PATH=/bin:/usr/bin", "V=value"], cwd="/usr",
                    user={"uid": 12, "gid": 34}) as b:
            r = b.run()
            self.assertEqual((r.status, r.out), (5, "value /usr 12:34 e2e\n"), r)

    def test_relative_root_and_default_bundle(self):
        with Bundle(["/bin/echo", "here"]) as b:
            os.symlink(moat.ROOTFS, os.path.join(b.dir, "rootfs"))
            b.config["root"]["path"] = "rootfs"
            with open(os.path.join(b.dir, "config.json"), "w") as f:
                json.dump(b.config, f)
            r = moat.run("run", "e2e-cwd-%d" % os.getpid(), cwd=b.dir)
            self.ok(r, "here\n")

    def test_readonly_root(self):
        with Bundle(["/bin/sh", "-c", "touch /x; touch /tmp/y && echo tmp"]) as b:
            b.config["root"]["readonly"] = True
            r = b.run()
            self.assertIn("Read-only file system", r.err)
            self.assertEqual(r.out, "tmp\n", r)

    def test_rlimits_and_privileges(self):
        with Bundle(["/bin/sh", "-c", "ulimit -n; grep -E '^(CapEff|CapBnd|NoNewPrivs)' "
                     "/proc/self/status"], noNewPrivileges=True,
                    rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}],
                    capabilities={k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted")}
                    ) as b:
            self.ok(b.run(), "123\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000020\n"
                    "NoNewPrivs:\t1\n")

    def test_mounts(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as d, \
                Bundle(["/bin/sh", "-c", "cat /mnt/f; echo x >/mnt/g; echo y >/ro/h; "
                        "stat -f -c %T /tmp; ls -ld /tmp | cut -c1-10"]) as b:
            with open(d + "/f", "w") as f:
                f.write("bound\n")
            b.config["mounts"] = [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/mnt", "type": "bind", "source": d, "options": ["rbind", "rw"]},
                {"destination": "/ro", "type": "bind", "source": d, "options": ["bind", "ro"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=700", "size=65536k"]},
            ]
            r = b.run()
            self.assertEqual(r.out, "bound\ntmpfs\ndrwx------\n", r)
            self.assertIn("Read-only file system", r.err)
            self.assertEqual(sorted(os.listdir(d)), ["f", "g"])

    def test_killing_the_command_ends_the_sandbox(self):
        with Bundle(["/bin/sleep", "1000"]) as b, self.no_leaks():
            with open(os.path.join(b.dir, "config.json"), "w") as f:
                json.dump(b.config, f)
            name = "e2e-kill-%d" % os.getpid()
            p = subprocess.Popen(moat.MOAT + ["run", "--bundle", b.dir, name], stdin=subprocess.DEVNULL)
            time.sleep(0.5)
            self.assertIsNone(p.poll())
            p.send_signal(signal.SIGKILL)
            p.wait()
            # What stays is what a container that has ended leaves.
            self.assertEqual(moat.run("delete", "--force", name).status, 0)


class BadBundles(Case):
    def fails(self, result, *words):
        self.assertNotEqual(result.status, 0, result)
        self.one_line(result, *words)

    def test_no_bundle(self):
        with self.no_leaks():
            self.fails(moat.run("run", "--bundle", "/no/such/bundle", "x1"), "/no/such/bundle")
            with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
                self.fails(moat.run("run", "--bundle", d, "x2"), "config.json")

    def test_broken_json(self):
        with Bundle(["/bin/true"]) as b, self.no_leaks():
            for raw in ("", "{", "[]", "null", "{\"process\": }", "\0", "{} trailing",
                        "[" * 100000, '{"ociVersion": "1.0.2", "process": {"args": ["/bin/true"'):
                with self.subTest(raw=raw[:40]):
                    self.fails(b.run(raw=raw), "config.json")

    def test_missing_and_wrong_values(self):
        def change(path, value):
            def f(c):
                *way, last = path
                for w in way:
                    c = c[w]
                if value is None:
                    del c[last]
                else:
                    c[last] = value
            return f
        for name, how in {
                "process": change(["process"], None), "args": change(["process", "args"], None),
                "args ": change(["process", "args"], []),
                "args  ": change(["process", "args"], "true"),
                "env": change(["process", "env"], 5), "cwd": change(["process", "cwd"], "relative"),
                "root": change(["root"], None), "path": change(["root", "path"], "/no/such/root"),
                "uid": change(["process", "user", "uid"], "root"),
                "mounts": change(["mounts"], {"a": 1}),
                "destination": change(["mounts"], [{"type": "tmpfs"}]),
        }.items():
            with Bundle(["/bin/true"]) as b, self.subTest(field=name):
                how(b.config)
                self.fails(b.run(), name.strip())

    def test_unknown_fields_are_ignored(self):
        if not moat.ROOTFS:
            self.skipTest("no root file system; see rootfs.sh")
        with Bundle(["/bin/echo", "runs"]) as b:
            b.config["somethingNew"] = {"a": [1, 2, {"b": None}]}
            b.config["process"]["alsoNew"] = True
            r = b.run()
            self.assertEqual((r.status, r.out), (0, "runs\n"), r)

    def test_command_that_is_not_there(self):
        if not moat.ROOTFS:
            self.skipTest("no root file system; see rootfs.sh")
        with Bundle(["/no/such/command"]) as b, self.no_leaks():
            r = b.run()
            self.assertEqual(r.status, 127, r)
            self.one_line(r, "/no/such/command")
        with Bundle(["/bin/true"], cwd="/no/such/folder") as b:
            self.fails(b.run(), "/no/such/folder")

    def test_bad_names(self):
        with Bundle(["/bin/true"]) as b:
            with open(os.path.join(b.dir, "config.json"), "w") as f:
                json.dump(b.config, f)
            for name in ("", "../x", "a/b", "x" * 2000):
                with self.subTest(id=name[:20]):
                    self.assertNotEqual(moat.run("run", "--bundle", b.dir, name).status, 0)
            self.assertNotEqual(moat.run("run", "--bundle", b.dir).status, 0)
