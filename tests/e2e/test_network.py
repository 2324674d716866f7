"""The network outside: modes, published ports, namespaces of the test's own making, egress policies."""
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import moat
import netns
from moat import Case
from netcase import TRY, NetCase
from netns import BAD, COUNT, INSIDE, OTHER, OUTSIDE, REDIRECT, RESOLVER, TTL


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

    def test_a_connected_peer_inside_is_answered(self):
        script = ("import socket\n"
                  "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
                  "c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.settimeout(5)\n"
                  "c.connect(s.getsockname()); c.send(b'a')\n"
                  "data, peer = s.recvfrom(9); s.sendto(b're: ' + data, peer); print(c.recv(9))")
        self.ok(moat.do("python3", "-c", script, flags=["--network=host"] + moat.root_flags()),
                "b're: a'\n")

    def test_descriptors_run_out(self):
        script = r"""
import collections, errno, socket, sys
where = ("127.0.0.1", int(sys.argv[1]))
socks, errors = [], collections.Counter()
for i in range(400):
    try: socks.append(socket.create_connection(where))
    except OSError as e: errors[errno.errorcode[e.errno]] += 1
print(len(socks) > 100, list(errors))
for s in socks: s.close()
print(socket.create_connection(where).getpeername() == where)
"""
        with socket.create_server(("127.0.0.1", 0), backlog=1000) as s:
            port = str(s.getsockname()[1])
            saved = moat.MOAT
            moat.MOAT = ["prlimit", "--nofile=256"] + saved
            try:
                r = moat.do("python3", "-c", script, port,
                            flags=["--network=host"] + moat.root_flags())
            finally:
                moat.MOAT = saved
            self.ok(r, "True ['ENOBUFS']\nTrue\n")


def net_gofers(before):
    """The processes that serve sandboxes started since."""
    found = []
    for pid in set(moat.moat_processes()) - set(before):
        try:
            with open("/proc/%d/comm" % pid) as f:
                if f.read() == "moat-network\n":
                    found.append(pid)
        except OSError:
            pass
    return found


def parent(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rpartition(")")[2].split()[1])


class GoferDies(Case):
    """The process that makes a sandbox's sockets is killed."""
    SCRIPT = r"""
import errno, socket, sys
def told(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
stream, datagrams = [("127.0.0.1", int(a)) for a in sys.argv[1:3]]
s = socket.create_connection(stream)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(datagrams); u.send(b"lost")
b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.bind(("127.0.0.1", 0))
l = socket.create_server(("127.0.0.1", 0))
print(l.getsockname()[1], b.getsockname()[1], flush=True)
print(told(lambda: u.recv(10)), told(lambda: s.recv(10)), flush=True)
def again():
    u.send(b"again")
    return socket.create_connection(stream).recv(10), u.recv(10)
print(told(again), flush=True)
if "serve" in sys.argv:
    c, _ = l.accept(); c.sendall(b"served")
    data, peer = b.recvfrom(10); b.sendto(data, peer)
    print(peer[0], flush=True)
"""

    def setUp(self):
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        for s in (self.stream, self.datagrams):
            s.settimeout(10)
            self.addCleanup(s.close)
        self.before = moat.moat_processes()

    def start(self, *args):
        ports = [str(s.getsockname()[1]) for s in (self.stream, self.datagrams)]
        p = subprocess.Popen(moat.MOAT + ["do", "--network=host"] + moat.root_flags() +
                             ["--", "python3", "-c", self.SCRIPT, *ports, *args],
                             stdout=subprocess.PIPE)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        own = p.stdout.readline().split()
        self.assertEqual(self.datagrams.recv(10), b"lost")
        first = self.stream.accept()[0]
        self.addCleanup(first.close)
        return p, [("127.0.0.1", int(port)) for port in own]

    def test_another_takes_its_place(self):
        with self.no_leaks():
            p, (listener, bound) = self.start("serve")
            gofer, = net_gofers(self.before)
            os.kill(gofer, signal.SIGKILL)
            self.assertEqual(p.stdout.readline(), b"ENETDOWN ECONNRESET\n")
            data, peer = self.datagrams.recvfrom(10)
            self.datagrams.sendto(b"back", peer)
            with self.stream.accept()[0] as c:
                c.sendall(b"more")
            self.assertEqual((data, p.stdout.readline()), (b"again", b"(b'more', b'back')\n"))
            # What listened or was bound still is.
            with socket.create_connection(listener, 10) as c:
                self.assertEqual(c.recv(10), b"served")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
                u.settimeout(10)
                u.sendto(b"datagram", bound)
                self.assertEqual(u.recvfrom(10), (b"datagram", bound))
            self.assertEqual(p.wait(20), 0)

    def test_none_takes_its_place(self):
        p, (listener, bound) = self.start()
        gofer, = net_gofers(self.before)
        os.kill(parent(gofer), signal.SIGKILL)
        self.assertEqual(p.stdout.readline(), b"ENETDOWN ECONNRESET\n")
        self.assertEqual(p.stdout.readline(), b"ENETDOWN\n")
        self.assertEqual(p.wait(20), 0)
        self.assertRaises(OSError, socket.create_connection, listener, 1)


# A server and a client of many connections: each is opened, used, kept, and used again.
CROWD = r"""
import resource, select, socket, sys
what, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
def serve():
    l = socket.create_server((host, port), backlog=1024); l.setblocking(False)
    print("ready", flush=True)
    ep, socks, most, left = select.epoll(), {}, 0, count
    ep.register(l, select.EPOLLIN)
    while left:
        for fd, ev in ep.poll():
            if fd == l.fileno():
                c, _ = l.accept(); socks[c.fileno()] = c; ep.register(c, select.EPOLLIN)
                most = max(most, len(socks))
                continue
            data = socks[fd].recv(100)
            if data: socks[fd].send(data)
            else:
                ep.unregister(fd); socks.pop(fd).close(); left -= 1
    print("most", most, flush=True)
def ask():
    socks = []
    for i in range(count):
        socks.append(socket.create_connection((host, port), 30))
    for turn in range(2):
        for i, s in enumerate(socks): s.send(b"%d" % i)
        bad = sum(s.recv(100) != b"%d" % i for i, s in enumerate(socks))
        print("wrong", bad, flush=True)
    for s in socks: s.close()
serve() if what == "serve" else ask()
"""


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@unittest.skipUnless(os.environ.get("MOAT_E2E_SLOW"), "a minute each; with --slow")
class Many(Case):
    """Connections at once."""

    def test_inside(self):
        n = min(10000, descriptors() - 1000)
        script = 'python3 -c "$0" serve 127.0.0.1 7000 $1 & sleep 1; python3 -c "$0" ask 127.0.0.1 7000 $1; wait'
        r = moat.do("sh", "-c", script, CROWD, str(n), flags=["--network=none"] + moat.root_flags(),
                    timeout=300)
        self.ok(r, "ready\nwrong 0\nwrong 0\nmost %d\n" % n)

    def crowd(self, n, server, server_port, client, client_port):
        """The first words of what serves and of what asks, each with its port."""
        p = subprocess.Popen(server + ["python3", "-c", CROWD, "serve", "0.0.0.0", server_port, str(n)],
                             stdout=subprocess.PIPE)
        try:
            self.assertEqual(p.stdout.readline(), b"ready\n")
            r = subprocess.run(
                client + ["python3", "-c", CROWD, "ask", "127.0.0.1", client_port, str(n)],
                stdout=subprocess.PIPE, timeout=300)
            self.assertEqual(r.stdout, b"wrong 0\nwrong 0\n")
            self.assertEqual(p.stdout.readline(), b"most %d\n" % n)
            self.assertEqual(p.wait(30), 0)
        finally:
            p.kill()
            p.wait()
            p.stdout.close()

    def test_from_outside(self):
        port = str(free_port())
        sandbox = moat.MOAT + ["do", "-p", "127.0.0.1:%s:7000" % port] + moat.root_flags() + ["--"]
        self.crowd(min(10000, descriptors() - 1000), sandbox, "7000", [], port)

    def test_to_outside(self):
        port = str(free_port())
        sandbox = moat.MOAT + ["do", "--network=host"] + moat.root_flags() + ["--"]
        # The net gofer keeps a descriptor of its own of each.
        self.crowd(min(10000, descriptors() - 1000), [], port, sandbox, port)


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


class Namespaces(NetCase):
    def test_client(self):
        self.outside()
        self.assertEqual(
            self.with_runc(lambda: self.attempt(
                None, "tcp=%s:7000" % OUTSIDE, "udp=%s:7000" % OUTSIDE,
                "sendto=%s:7000" % OUTSIDE, "tcp=::ffff:%s:7000" % OUTSIDE,
                "name=good.test:7000", "dns=good.test", "dnstcp=good.test",
                "tcp=%s:7009" % OUTSIDE)),
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
        get = "import socket, sys; print(socket.create_connection((sys.argv[1], 8080), 5).recv(99).decode())"

        def serve():
            p = subprocess.Popen(moat.MOAT + ["run", "--bundle", b.dir, "e2e-server-%d" % os.getpid()],
                                 stdout=subprocess.PIPE)
            try:
                return [p.stdout.readline(), self.net.python(self.net.outer, get, INSIDE),
                        self.net.python(self.net.inner, get, "127.0.0.1"), p.wait(20)]
            finally:
                p.kill()
                p.wait()
                p.stdout.close()
        self.assertEqual(self.with_runc(serve), [b"up\n", OUTSIDE + "\n", "127.0.0.1\n", 0])

    def test_cidr_rules(self):
        self.outside()
        policy = {"rules": [{"action": "deny", "cidr": OTHER, "ports": 7000},
                            {"action": "allow", "cidr": "203.0.113.0/24", "protocol": "tcp"}]}
        self.assertEqual(
            self.attempt(policy, "tcp=%s:7000" % OUTSIDE, "tcp=%s:7000" % OTHER,
                         "tcp=%s:7001" % OTHER, "udp=%s:7000" % OUTSIDE,
                         "sendto=%s:7000" % OUTSIDE, "tcp=::ffff:%s:7000" % OTHER,
                         "udp=::ffff:%s:7000" % OUTSIDE, "tcp=::ffff:%s:7000" % OUTSIDE),
            ["tcp:x", "EPERM", "tcp:x", "EPERM", "EPERM", "EPERM", "EPERM", "tcp:x"])

    def test_icmp_rules(self):
        policy = {"rules": [{"action": "allow", "cidr": OUTSIDE, "protocol": "icmp"}]}
        self.assertEqual(self.attempt(policy, "icmp=" + OUTSIDE, "icmp=" + OTHER,
                                      "tcp=%s:7000" % OUTSIDE), ["echo 0", "EPERM", "EPERM"])
        policy["rules"][0]["protocol"] = "udp"
        self.assertEqual(self.attempt(policy, "icmp=" + OUTSIDE), ["EPERM"])

    def test_redirects(self):
        self.outside()
        self.net.serve(self.net.outer, REDIRECT, OUTSIDE, "8000", "http://%s:7000/" % OTHER)
        self.net.serve(self.net.outer, REDIRECT, OUTSIDE, "8001", "http://[::ffff:%s]:7000/" % OTHER)
        policy = {"rules": [{"action": "allow", "domain": "good.test"}]}
        self.assertEqual(self.attempt(policy, "http=good.test:8000/", "http=good.test:8001/"),
                         ["EPERM", "EPERM"])

    def test_bad_peers(self):
        """Connections that are reset, peers that take nothing, floods: none stops the others."""
        self.outside()
        self.net.serve(self.net.outer, BAD, OUTSIDE)
        script = r"""
import socket, time
def connect(port): return socket.create_connection(("%s", port), 10)
def works():
    c = connect(7000); c.send(b"x"); return c.recv(9) == b"tcp:x"
r = connect(7100); r.send(b"x")
try: print(r.recv(9))
except ConnectionResetError: print("reset", works())
s = connect(7101); s.setblocking(False); sent = 0
try:
    while sent < 1 << 30: sent += s.send(bytes(65536))
except BlockingIOError: print("stalls", works())
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(10); u.connect(("%s", 7102)); u.send(b"x")
time.sleep(0.5)
print("flood", works(), all(len(u.recv(2000)) == 1000 for i in range(50)))
""" % (OUTSIDE, OUTSIDE)
        want = "reset True\nstalls True\nflood True True\n"
        self.ok(self.bundle(script).run(), want)
        saved = moat.MOAT
        moat.MOAT = saved + ["--egress-policy", self.net.file("policy.json", '{"default": "allow"}')]
        try:
            self.ok(self.bundle(script).run(), want)
        finally:
            moat.MOAT = saved

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
        policy = {"default": "allow", "log": "all", "limits": {"connections": 1},
                  "rules": [{"action": "deny", "cidr": OTHER}]}
        got = self.attempt(policy, "tcp=%s:7000" % OTHER, "tcp=%s:7000" % OUTSIDE,
                           "tcp=%s:7000" % OUTSIDE, flags=["--egress-log", log])
        self.assertEqual(got, ["EPERM", "tcp:x", "EPERM"])
        lines = self.decisions(log)
        self.assertEqual([(e["decision"], e["address"], e["rule"]) for e in lines],
                         [("deny", OTHER, 0), ("allow", OUTSIDE, None), ("deny", OUTSIDE, None)])
        self.assertEqual(lines[2]["reason"], "connection limit")

    def test_datagrams_per_second(self):
        """So many datagrams and questions that it would take an hour to send all of them."""
        self.outside()
        self.net.serve(self.net.outer, COUNT, OUTSIDE, "7300")
        many = 3600
        policy = {"default": "allow", "limits": {"datagramsPerSecond": 1}}
        script = ("import socket\n"
                  "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                  "for i in range(%d): u.sendto(b'x', ('%s', 7300))\n"
                  "print(u.recv(9).decode())\n"
                  "print(socket.create_connection(('%s', 7300)).recv(9).decode())"
                  % (many, OUTSIDE, OUTSIDE))
        first, count = self.limited(policy, script).split()
        self.assertEqual(first, "first")
        self.assertIn(int(count), range(1, many))
        log = os.path.join(self.net.dir, "log")
        ask = ("import socket, struct\n"
               "q = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b'\\4good\\4test\\0' + struct.pack('>HH', 1, 1)\n"
               "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(('%s', 53))\n"
               "for i in range(%d): u.send(q)" % (RESOLVER, many))
        policy["log"] = "denied"
        self.limited(policy, ask, "--egress-log", log)
        denied = self.decisions(log)
        self.assertTrue(denied)
        self.assertEqual({(e["reason"], e["name"]) for e in denied}, {("datagram rate", "good.test")})

    def test_upload_bytes_per_second(self):
        """The host paces what the connection sends: its own word for it, from TCP_INFO."""
        self.outside()
        script = ("import socket, struct\n"
                  "s = socket.create_connection(('%s', 7000))\n"
                  "print(struct.unpack_from('Q', s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 120), 112)[0])\n"
                  "s.sendall(b'y' * 5000); n = 0\n"
                  "while n < 5000: n += s.recv(9000).count(b'y')\n"
                  "print(n)" % OUTSIDE)
        policy = {"default": "allow", "limits": {"uploadBytesPerSecond": 123456}}
        self.assertEqual(self.limited(policy, script), "123456\n5000\n")
        del policy["limits"]
        self.assertEqual(self.limited(policy, script), "%d\n5000\n" % (2 ** 64 - 1))

    def test_names_of_addresses_expire(self):
        self.outside()
        log = os.path.join(self.net.dir, "log")
        policy = {"log": "denied", "dns": {"minTtl": 1, "maxTtl": 1},
                  "rules": [{"action": "allow", "domain": "good.test"}]}
        # How long the name was good, nobody says; that it isn't for ever does the connection.
        script = ("import socket, time\n"
                  "socket.getaddrinfo('good.test', 7000)\n"
                  "while True:\n"
                  "    try: socket.create_connection(('%s', 7000)).close()\n"
                  "    except PermissionError: break\n"
                  "    time.sleep(0.1)\n"
                  "print('expired')" % OUTSIDE)
        self.assertEqual(self.limited(policy, script, "--egress-log", log), "expired\n")
        self.assertEqual([(e["address"], e["port"], e["rule"], e["reason"]) for e in self.decisions(log)],
                         [(OUTSIDE, 7000, None, "default")])

    def test_live_change_of_a_command(self):
        self.outside()
        script = ("import socket, sys\n"
                  "def word():\n"
                  "    try: s = socket.create_connection(('%s', 7000)); s.send(b'x'); return s.recv(9).decode()\n"
                  "    except OSError as e: return str(e.errno)\n"
                  "print(word(), flush=True)\n"
                  "for l in sys.stdin: print(word(), flush=True)" % OUTSIDE)
        p = subprocess.Popen(["ip", "netns", "exec", self.net.inner] + moat.MOAT +
                             ["do", "--policy-socket", self.net.dir] + moat.root_flags() +
                             ["--", "python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(p.stdout.readline(), b"tcp:x\n")
            deny = self.net.file("deny.json", "{}")
            self.ok(moat.run("network", self.net.dir + "/", "--set", deny), "")
            p.stdin.write(b"\n")
            p.stdin.flush()
            self.assertEqual(p.stdout.readline(), b"1\n")  # EPERM
            p.stdin.close()
            self.assertEqual(p.wait(20), 0)
            self.assertFalse(os.path.exists(os.path.join(self.net.dir, "network.sock")))
        finally:
            p.kill()
            p.wait()
            p.stdout.close()

    def test_datagrams_that_are_refused(self):
        script = r"""
import errno, socket, struct, sys
where = ("%s", 7009)
def told(f):
    try: return f()
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
s.connect(where); s.send(b"x"); print(told(lambda: s.recv(10)))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(0.5)
u.sendto(b"x", where); print(told(lambda: u.recv(10)) if "errors" not in sys.argv else "-")
if "errors" in sys.argv:
    e = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); e.settimeout(3)
    e.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    e.sendto(b"lost", where); print(told(lambda: e.recv(10)))
    data, controls, flags, to = e.recvmsg(10, 200, 0x2000)  # MSG_ERRQUEUE
    print(data, to == where, [(l, t, struct.unpack("IB", d[:5])) for l, t, d in controls])
m = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); m.settimeout(3)
m.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
m.sendmsg([b"ttl"], [(socket.IPPROTO_IP, 2, struct.pack("i", 9))], 0, (where[0], 7200))
data, controls, flags, to = m.recvmsg(10, 200)
print(data, to, controls)
""" % OUTSIDE
        self.outside()
        self.net.serve(self.net.outer, TTL, OUTSIDE, "7200")
        marked = "b'9' ('%s', 7200) [(0, 2, %r)]\n" % (OUTSIDE, struct.pack("i", 33))
        self.ok(self.bundle(script, "errors").run(),
                "ECONNREFUSED\n-\nECONNREFUSED\nb'lost' True [(0, 11, (111, 2))]\n" + marked)
        # The same through a relay.
        policy = self.net.file("policy.json", '{"default": "allow"}')
        saved = moat.MOAT
        moat.MOAT = saved + ["--egress-policy", policy]
        try:
            self.ok(self.bundle(script).run(), "ECONNREFUSED\ntimed out\n" + marked)
        finally:
            moat.MOAT = saved

    @contextlib.contextmanager
    def live(self):
        """A running sandbox: what tries something in there, and what gives it a policy."""
        b = self.bundle(TRY)
        with open(os.path.join(b.dir, "config.json"), "w") as f:
            json.dump(b.config, f)
        root, name = os.path.join(self.net.dir, "state"), "e2e-live-%d" % os.getpid()
        p = subprocess.Popen(moat.MOAT + ["--root", root, "run", "--bundle", b.dir, name],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def attempt(what):
            p.stdin.write(what.encode() + b"\n")
            p.stdin.flush()
            return p.stdout.readline().decode().strip()

        def set_policy(policy, *flags):
            file = self.net.file("live.json", json.dumps(policy))
            return moat.run("--root", root, "network", name, "--set", file, *flags)
        try:
            yield attempt, set_policy
        finally:
            p.kill()
            p.wait()
            p.stdin.close()
            p.stdout.close()

    def test_live_change(self):
        self.outside()
        with self.live() as (attempt, set_policy):
            self.assertEqual(attempt("tcp=%s:7000" % OUTSIDE), "tcp:x")
            self.ok(set_policy({}), "")
            self.assertEqual(attempt("again"), "tcp:x")
            self.assertEqual(self.ok(set_policy({}, "--cut")).out, "1 connections cut\n")
            self.assertEqual(attempt("again"), "ECONNRESET")
            # Datagrams.
            self.ok(set_policy({"default": "allow"}))
            self.assertEqual(attempt("udp=%s:7000" % OUTSIDE), "udp:x")
            self.ok(set_policy({}, "--cut"))
            self.assertEqual(attempt("again"), "EPERM")
        # The sandbox ends a moment after its command.
        for _ in range(100):
            r = set_policy({})
            if r.status != 0 and "doesn't run" in r.err:
                break
            time.sleep(0.05)
        self.assertEqual(r.status, 1)
        self.one_line(r, "doesn't run")

    def test_policy_outlives_the_net_gofer(self):
        self.outside()
        before = moat.moat_processes()
        with self.live() as (attempt, set_policy):
            self.assertEqual(attempt("tcp=%s:7001" % OUTSIDE), "tcp:x")
            self.ok(set_policy({"rules": [{"action": "allow", "cidr": OUTSIDE, "ports": 7000,
                                           "protocol": "tcp"}]}), "")
            self.assertEqual(attempt("again"), "tcp:x")
            # The second dies young: the third takes a moment to come, and nothing passes meanwhile.
            for turn in range(2):
                gofer, = net_gofers(before)
                os.kill(gofer, signal.SIGKILL)
                # Once the sandbox has heard of it.
                self.assertEqual(moat.until(lambda: attempt("again"), "ECONNRESET"), "ECONNRESET")
                self.assertEqual(attempt("tcp=%s:7001" % OUTSIDE), "EPERM")
                self.assertEqual(attempt("udp=%s:7000" % OUTSIDE), "EPERM")
                self.assertEqual(attempt("sendto=%s:7000" % OUTSIDE), "EPERM")
                self.assertEqual(attempt("tcp=%s:7000" % OUTSIDE), "tcp:x")
            self.assertEqual(self.ok(set_policy({}, "--cut")).out, "1 connections cut\n")
            self.assertEqual(attempt("again"), "ECONNRESET")
