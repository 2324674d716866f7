"""Raw and packet sockets (--net-raw) in network namespaces of the test's own making."""
import os

import moat
from netcase import NetCase
from netns import INSIDE, OTHER, OUTSIDE

# In the guest: pairs of what to try and where; a line says what came of it.
RAW = r"""
import errno, os, select, socket, struct, sys
def checksum(b):
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
def ping(where):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    head, word = struct.pack(">BBHHH", 8, 0, 0, os.getpid() & 0xffff, 1), os.urandom(16)
    s.sendto(struct.pack(">BBHHH", 8, 0, checksum(head + word), os.getpid() & 0xffff, 1) + word, (where, 0))
    while True:
        if not select.select([s], [], [], 5)[0]: return "nothing"
        data, peer = s.recvfrom(2000)
        if data[28:] == word and data[20] == 0: return "%s ttl %d" % (peer[0], data[8])
def arp(where):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806)); s.bind(("eth0", 0x806))
    own = s.getsockname()[4]
    s.send(b"\xff" * 6 + own + struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, 1) + own +
           socket.inet_aton(sys.argv[1]) + bytes(6) + socket.inet_aton(where))
    while True:
        if not select.select([s], [], [], 5)[0]: return "nothing"
        data, link = s.recvfrom(2000)
        if data[20:22] == b"\0\2": return "%s %x %d" % (socket.inet_ntoa(data[28:32]), link[1], len(link[4]))
def other(where):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)
    s.sendto(b"x", (where, 0)); return "sent"
for kind, where in zip(sys.argv[2::2], sys.argv[3::2]):
    try: r = {"ping": ping, "arp": arp, "other": other}[kind](where)
    except OSError as e: r = errno.errorcode[e.errno]
    print(r, flush=True)
"""


class RawSockets(NetCase):
    def raw(self, *what, flags=()):
        b = self.bundle(RAW, INSIDE, *what)
        b.config["process"]["capabilities"] = {kind: ["CAP_NET_RAW"] for kind in
                                               ("bounding", "effective", "permitted")}
        return self.output(b, *flags).split("\n")[:-1]

    def test_raw_sockets(self):
        self.outside()
        what = ("ping", OUTSIDE, "ping", "127.0.0.1", "ping", INSIDE, "arp", OUTSIDE, "other", OUTSIDE)
        self.assertEqual(self.raw(*what), ["EPROTONOSUPPORT"] * 3 + ["EAFNOSUPPORT", "EPROTONOSUPPORT"])
        expected = ["%s ttl 64" % a for a in (OUTSIDE, "127.0.0.1", INSIDE)] + \
                   ["%s 806 6" % OUTSIDE, "sent"]
        runc = lambda: moat.MOAT == ["runc"]
        self.assertEqual(self.with_runc(lambda: self.raw(*what, flags=[] if runc() else ["--net-raw"])),
                         expected)

    def test_raw_sockets_under_a_policy(self):
        self.outside()
        log = os.path.join(self.net.dir, "log")
        policy = {"log": "all", "rules": [{"action": "allow", "cidr": OUTSIDE, "protocol": "icmp"}]}
        flags = ["--net-raw", "--egress-log", log] + self.policy(policy)
        # Echoes are judged one by one; what can't be judged doesn't get out.
        got = self.raw("ping", OUTSIDE, "ping", OTHER, "arp", OUTSIDE, "other", OUTSIDE, "ping",
                       "127.0.0.1", flags=flags)
        self.assertEqual(got, ["%s ttl 64" % OUTSIDE, "nothing", "EPERM", "EPERM", "127.0.0.1 ttl 64"])
        self.assertEqual([(e["decision"], e["protocol"], e["address"]) for e in self.decisions(log)],
                         [("allow", "icmp", OUTSIDE), ("deny", "icmp", OTHER)])
