"""The network outside: modes, published ports, namespaces of the test's own making, egress policies."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

import moat
import netns
from moat import Bundle, Case
from netns import DNS, ECHO, INSIDE, OTHER, OUTSIDE, RESOLVER

# In the guest: each argument is something to try; a line says what came of it.
TRY = r"""
import errno, socket, struct, sys
def lookup(name, tcp=False):
    q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0)
    q += b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(5); s.connect(("127.0.0.11", 53))
    s.send(struct.pack(">H", len(q)) + q if tcp else q)
    a = s.recv(4096)
    if tcp: a = a[2:] if len(a) > 2 else s.recv(4096)
    return "rcode %d" % (a[3] & 15)
def attempt(what):
    kind, _, where = what.partition("=")
    if kind == "dns": return lookup(where)
    if kind == "dnstcp": return lookup(where, True)
    host, _, port = where.rpartition(":")
    if kind == "name": host = socket.gethostbyname(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.settimeout(5)
    if kind == "sendto":
        s.close(); s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
        s.sendto(b"x", (host, int(port)))
    else:
        s.connect((host, int(port))); s.send(b"x")
    return s.recv(100).decode()
for what in sys.argv[1:]:
    try: r = attempt(what)
    except socket.timeout: r = "timeout"
    except OSError as e: r = errno.errorcode.get(e.errno, str(e))
    print(r, flush=True)
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Client(Case):
    """moat do: a client of the host's network."""

    def test_none(self):
        r = moat.sh("cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '",
                    flags=["--network=none"] + moat.root_flags())
        self.ok(r, "lo\n")

    def test_unknown_mode(self):
        r = moat.do("true", flags=["--network=bridge"])
        self.assertEqual(r.status, 125)
        self.one_line(r, "none, sandbox or host")

    def test_loopback_of_the_host_is_closed(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            where = "tcp=127.0.0.1:%d" % s.getsockname()[1]
            r = moat.do("python3", "-c", TRY, where, flags=moat.root_flags())
            self.ok(r, "ECONNREFUSED\n")
            threading.Thread(target=lambda: s.accept()[0].sendall(b"hi"), daemon=True).start()
            r = moat.do("python3", "-c", TRY, where, flags=["--network=host"] + moat.root_flags())
            self.ok(r, "hi\n")

    def test_publish(self):
        port = free_port()
        script = ("import socket; s = socket.create_server(('0.0.0.0', 80)); "
                  "print('ready', flush=True); c, a = s.accept(); c.sendall(c.recv(10) * 2)")
        p = subprocess.Popen(moat.MOAT + ["do", "-p", "127.0.0.1:%d:80" % port] + moat.root_flags() +
                             ["--", "python3", "-c", script], stdout=subprocess.PIPE)
        try:
            self.assertEqual(p.stdout.readline(), b"ready\n")
            with socket.create_connection(("127.0.0.1", port), timeout=10) as c:
                c.sendall(b"ab")
                self.assertEqual(c.recv(10), b"abab")
            self.assertEqual(p.wait(20), 0)
        finally:
            p.kill()
            p.wait()
            p.stdout.close()

    def test_publish_errors(self):
        for flag, words in (("80", "host:guest"), ("a:80", "host:guest"), ("1:2/sctp", "tcp or udp"),
                            ("0:80", "host:guest")):
            r = moat.do("true", flags=["-p", flag])
            self.assertEqual(r.status, 125)
            self.one_line(r, words)
        r = moat.do("true", flags=["-p", "1:80", "-p", "2:80"])
        self.one_line(r, "already")

    def test_nothing_left(self):
        with self.no_leaks():
            self.ok(moat.do("python3", "-c", TRY, "tcp=203.0.113.9:1", "udp=203.0.113.9:1",
                            flags=["--egress=deny"] + moat.root_flags()), "EPERM\nEPERM\n")

    def test_gofer_dies(self):
        script = r"""
import errno, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
try: print("got", s.recv(10))
except OSError as e: print(errno.errorcode[e.errno])
try: socket.create_connection((sys.argv[1], int(sys.argv[2])))
except OSError as e: print(errno.errorcode[e.errno])
print("alive")
"""
        with socket.create_server(("127.0.0.1", 0)) as s:
            before = set(moat.moat_processes())
            p = subprocess.Popen(moat.MOAT + ["do", "--network=host"] + moat.root_flags() +
                                 ["--", "python3", "-c", script, "127.0.0.1",
                                  str(s.getsockname()[1])], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
            try:
                self.assertEqual(p.stdout.readline(), b"ready\n")
                for pid in set(moat.moat_processes()) - before:
                    if self.is_net_gofer(pid):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.3)
                out, _ = p.communicate(b"\n", timeout=20)
                self.assertEqual(out, b"ECONNRESET\nENETDOWN\nalive\n")
            finally:
                p.kill()
                p.wait()

    @staticmethod
    def is_net_gofer(pid):
        try:
            with open("/proc/%d/comm" % pid) as f:
                return f.read() == "moat-network\n"
        except OSError:
            return False


class Policies(Case):
    """moat network --check."""

    def check(self, text, *args):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            f.write(text)
            f.flush()
            return moat.run("network", "--check", f.name, *args)

    def test_check(self):
        r = self.check('{"rules": [\n {"action": "allow", "cidr": "10.0.0.1/8"}\n]}')
        self.assertEqual(r.status, 1)
        self.one_line(r, ":2:", "rules[0].cidr", "10.0.0.0/8")
        good = '{"rules": [{"action": "allow", "domain": "*.example.com", "ports": 443}]}'
        self.ok(self.check(good))
        r = self.ok(self.check(good, "--to", "www.example.com:443"))
        self.assertIn("allowed by rules[0]", r.out)
        self.assertIn("denied", self.ok(self.check(good, "--to", "169.254.169.254:80")).out)

    def test_bad_file_stops_the_sandbox(self):
        r = moat.do("true", flags=["--egress-policy", "/nonexistent"])
        self.assertEqual(r.status, 125)
        self.one_line(r, "/nonexistent")


class Namespaces(Case):
    def setUp(self):
        if not netns.available() or not moat.ROOTFS:
            self.skipTest("needs root, iproute2 and a root file system")
        self.net = netns.Net().__enter__()
        self.addCleanup(self.net.__exit__)

    def bundle(self, *args):
        b = Bundle(["python3", "-c"] + list(args))
        self.addCleanup(b.__exit__)
        b.config["linux"]["namespaces"][-1]["path"] = self.net.path
        resolv = self.net.file("resolv.conf", "nameserver %s\n" % RESOLVER)
        b.config["mounts"].append({"destination": "/etc/resolv.conf", "type": "bind",
                                   "source": resolv, "options": ["bind", "ro"]})
        return b

    def attempt(self, policy, *what, flags=()):
        """What a sandbox with that policy gets of each attempt."""
        if policy is not None:
            flags = ["--egress-policy", self.net.file("policy.json", json.dumps(policy))] + list(flags)
        saved = moat.MOAT
        moat.MOAT = saved + list(flags)
        try:
            r = self.bundle(TRY, *what).run()
        finally:
            moat.MOAT = saved
        self.assertEqual(r.status, 0, r)
        return r.out.split("\n")[:-1]

    def outside(self):
        for a in (OUTSIDE, OTHER):
            self.net.serve(self.net.outer, ECHO, a, "7000")
            self.net.serve(self.net.outer, ECHO, a, "7001")
        self.net.serve(self.net.inner, DNS, RESOLVER, "good.test=" + OUTSIDE, "bad.test=" + OTHER,
                       "rebound.test=10.0.0.1", "meta.test=169.254.169.254")

    def test_client(self):
        self.outside()
        self.assertEqual(
            self.attempt(None, "tcp=%s:7000" % OUTSIDE, "udp=%s:7000" % OUTSIDE,
                         "sendto=%s:7000" % OUTSIDE, "tcp=::ffff:%s:7000" % OUTSIDE,
                         "name=good.test:7000", "dns=good.test", "dnstcp=good.test",
                         "tcp=%s:7009" % OUTSIDE),
            ["tcp:x", "udp:x", "udp:x", "tcp:x", "tcp:x", "rcode 0", "rcode 0", "ECONNREFUSED"])

    def test_interfaces(self):
        b = self.bundle("import socket; print([n for _, n in socket.if_nameindex()])")
        self.ok(b.run(), "['lo', 'eth0']\n")

    def test_server(self):
        script = ("import socket; s = socket.create_server(('0.0.0.0', 8080)); print('up', flush=True)\n"
                  "for i in range(2):\n c, a = s.accept(); c.sendall(a[0].encode()); c.close()")
        b = self.bundle(script)
        with open(os.path.join(b.dir, "config.json"), "w") as f:
            json.dump(b.config, f)
        p = subprocess.Popen(moat.MOAT + ["run", "--bundle", b.dir, "e2e-server-%d" % os.getpid()],
                             stdout=subprocess.PIPE)
        try:
            self.assertEqual(p.stdout.readline(), b"up\n")
            get = "import socket, sys; print(socket.create_connection((sys.argv[1], 8080), 5).recv(99).decode())"
            self.assertEqual(self.net.python(self.net.outer, get, INSIDE), OUTSIDE + "\n")
            self.assertEqual(self.net.python(self.net.inner, get, "127.0.0.1"), "127.0.0.1\n")
            self.assertEqual(p.wait(20), 0)
        finally:
            p.kill()
            p.wait()
            p.stdout.close()

    def test_cidr_rules(self):
        self.outside()
        policy = {"rules": [{"action": "deny", "cidr": OTHER, "ports": 7000},
                            {"action": "allow", "cidr": "203.0.113.0/24", "protocol": "tcp"}]}
        self.assertEqual(
            self.attempt(policy, "tcp=%s:7000" % OUTSIDE, "tcp=%s:7000" % OTHER,
                         "tcp=%s:7001" % OTHER, "udp=%s:7000" % OUTSIDE,
                         "sendto=%s:7000" % OUTSIDE, "tcp=::ffff:%s:7000" % OTHER,
                         "tcp=::ffff:%s:7000" % OUTSIDE),
            ["tcp:x", "EPERM", "tcp:x", "EPERM", "EPERM", "EPERM", "tcp:x"])

    def test_udp_rules(self):
        self.outside()
        policy = {"rules": [{"action": "allow", "cidr": OUTSIDE, "ports": "7000-7000",
                             "protocol": "udp"}]}
        self.assertEqual(
            self.attempt(policy, "udp=%s:7000" % OUTSIDE, "sendto=%s:7000" % OUTSIDE,
                         "udp=%s:7001" % OUTSIDE, "sendto=%s:7000" % OTHER, "tcp=%s:7000" % OUTSIDE),
            ["udp:x", "udp:x", "EPERM", "EPERM", "EPERM"])

    def test_domain_rules(self):
        self.outside()
        policy = {"rules": [{"action": "allow", "domain": "good.test", "ports": 7000}]}
        self.assertEqual(
            self.attempt(policy, "tcp=%s:7000" % OUTSIDE, "name=good.test:7000",
                         "tcp=%s:7000" % OUTSIDE, "tcp=%s:7001" % OUTSIDE, "tcp=%s:7000" % OTHER,
                         "dns=bad.test", "dnstcp=bad.test", "dnstcp=good.test"),
            ["EPERM", "tcp:x", "tcp:x", "EPERM", "EPERM", "rcode 5", "rcode 5", "rcode 0"])

    def test_rebinding(self):
        self.outside()
        policy = {"rules": [{"action": "allow", "domain": "*.test"}]}
        self.assertEqual(self.attempt(policy, "dns=rebound.test", "dns=meta.test",
                                      "dnstcp=rebound.test", "dns=good.test"),
                         ["rcode 5", "rcode 5", "rcode 5", "rcode 0"])

    def test_limits_and_log(self):
        self.outside()
        log = os.path.join(self.net.dir, "log")
        policy = {"default": "allow", "log": "all", "limits": {"connectionsPerSecond": 1},
                  "rules": [{"action": "deny", "cidr": OTHER}]}
        got = self.attempt(policy, "tcp=%s:7000" % OTHER, "tcp=%s:7000" % OUTSIDE,
                           "tcp=%s:7000" % OUTSIDE, flags=["--egress-log", log])
        self.assertEqual(got, ["EPERM", "tcp:x", "EPERM"])
        with open(log) as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual([(e["decision"], e["address"], e["rule"]) for e in lines],
                         [("deny", OTHER, 0), ("allow", OUTSIDE, None), ("deny", OUTSIDE, None)])
        self.assertEqual(lines[2]["reason"], "connection rate")

    def test_live_change(self):
        self.outside()
        script = ("import socket, sys\n"
                  "s = socket.create_connection(('%s', 7000))\n"
                  "def word():\n"
                  "    try: s.send(b'x'); return s.recv(9).decode()\n"
                  "    except OSError as e: return str(e.errno)\n"
                  "print(word(), flush=True)\n"
                  "for l in sys.stdin: print(word(), flush=True)" % OUTSIDE)
        b = self.bundle(script)
        with open(os.path.join(b.dir, "config.json"), "w") as f:
            json.dump(b.config, f)
        root, name = os.path.join(self.net.dir, "state"), "e2e-live-%d" % os.getpid()
        p = subprocess.Popen(moat.MOAT + ["--root", root, "run", "--bundle", b.dir, name],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def word():
            p.stdin.write(b"\n")
            p.stdin.flush()
            return p.stdout.readline().decode().strip()
        try:
            self.assertEqual(p.stdout.readline(), b"tcp:x\n")
            deny = self.net.file("deny.json", "{}")
            self.ok(moat.run("--root", root, "network", name, "--set", deny), "")
            self.assertEqual(word(), "tcp:x")
            r = self.ok(moat.run("--root", root, "network", name, "--set", deny, "--cut"))
            self.assertEqual(r.out, "1 connections cut\n")
            self.assertEqual(word(), "104")  # ECONNRESET
        finally:
            p.kill()
            p.wait()
            p.stdin.close()
            p.stdout.close()
        # The sandbox ends a moment after its command.
        for _ in range(100):
            r = moat.run("--root", root, "network", name, "--set", deny)
            if r.status != 0 and "doesn't run" in r.err:
                break
            time.sleep(0.05)
        self.assertEqual(r.status, 1)
        self.one_line(r, "doesn't run")
