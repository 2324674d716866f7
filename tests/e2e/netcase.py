"""What tests of sandboxes in network namespaces share."""
import json
import shutil

import moat
import netns
from moat import Bundle, Case
from netns import DNS, ECHO, OTHER, OUTSIDE, RESOLVER

# In the guest: each argument (without any: each line of the input) is something to try; a line says
# what came of it. "again" is said by the socket that was tried last.
TRY = r"""
import errno, socket, struct, sys, urllib.request
def echo(where):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    s.settimeout(5); s.connect((where, 0))
    s.send(struct.pack(">BBHHH", 8, 0, 0, 0, 1) + b"x")
    return "echo %d" % s.recv(100)[0]
def lookup(name, tcp=False):
    q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0)
    q += b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(5); s.connect(("127.0.0.11", 53))
    s.send(struct.pack(">H", len(q)) + q if tcp else q)
    a = s.recv(4096)
    if tcp: a = a[2:] if len(a) > 2 else s.recv(4096)
    return "rcode %d" % (a[3] & 15)
kept = None
def attempt(what):
    global kept
    kind, _, where = what.partition("=")
    if kind == "again":
        kept.send(b"x"); return kept.recv(100).decode()
    if kind == "icmp": return echo(where)
    if kind == "http":
        try: return urllib.request.urlopen("http://" + where, timeout=5).read().decode()
        except urllib.error.URLError as e: raise e.reason
    if kind == "dns": return lookup(where)
    if kind == "dnstcp": return lookup(where, True)
    host, _, port = where.rpartition(":")
    # A resolver that asks both questions at once (A and AAAA) looks how long each answer is.
    if kind == "name": host = socket.getaddrinfo(host, None)[0][4][0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.settimeout(5)
    if kind == "sendto":
        s.close(); s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
        s.sendto(b"x", (host, int(port)))
    else:
        s.connect((host, int(port))); s.send(b"x")
    kept = s
    return s.recv(100).decode()
for what in sys.argv[1:] or map(str.strip, sys.stdin):
    try: r = attempt(what)
    except socket.timeout: r = "timeout"
    except OSError as e: r = errno.errorcode.get(e.errno, str(e))
    print(r, flush=True)
"""


class NetCase(Case):
    """A test in namespaces of its own."""

    def setUp(self):
        if not netns.available() or not moat.ROOTFS:
            self.skipTest("needs root, iproute2 and a root file system")
        self.net = netns.Net().__enter__()
        self.addCleanup(self.net.__exit__)

    def bundle(self, *args):
        b = Bundle(["python3", "-c"] + list(args))
        self.addCleanup(b.__exit__)
        b.config["root"]["readonly"] = True  # with runc, nothing stays in memory
        b.config["linux"]["namespaces"][-1]["path"] = self.net.path
        resolv = self.net.file("resolv.conf", "nameserver %s\n" % RESOLVER)
        b.config["mounts"].append({"destination": "/etc/resolv.conf", "type": "bind",
                                   "source": resolv, "options": ["bind", "ro"]})
        return b

    def output(self, bundle, *flags):
        """What a container prints, run with flags."""
        saved, moat.MOAT = moat.MOAT, moat.MOAT + list(flags)
        try:
            r = bundle.run()
        finally:
            moat.MOAT = saved
        self.assertEqual(r.status, 0, r)
        return r.out

    def policy(self, policy):
        """The flags that put it in force."""
        return ["--egress-policy", self.net.file("policy.json", json.dumps(policy))]

    def attempt(self, policy, *what, flags=()):
        """What a sandbox with that policy gets of each attempt."""
        flags = list(flags) + (self.policy(policy) if policy is not None else [])
        return self.output(self.bundle(TRY, *what), *flags).split("\n")[:-1]

    def outside(self):
        for a in (OUTSIDE, OTHER):
            self.net.serve(self.net.outer, ECHO, a, "7000")
            self.net.serve(self.net.outer, ECHO, a, "7001")
        self.net.serve(self.net.inner, DNS, RESOLVER, "good.test=" + OUTSIDE, "bad.test=" + OTHER,
                       "rebound.test=10.0.0.1", "meta.test=169.254.169.254")

    def with_runc(self, test):
        """What test returns, which must be the same with runc, where that is installed."""
        got = test()
        if shutil.which("runc"):
            saved, moat.MOAT = moat.MOAT, ["runc"]
            try:
                self.assertEqual(got, test())
            finally:
                moat.MOAT = saved
        return got

    def decisions(self, log):
        with open(log) as f:
            return [json.loads(line) for line in f]

    def limited(self, policy, script, *flags):
        """What a script prints under a policy."""
        return self.output(self.bundle(script), *self.policy(policy), *flags)
