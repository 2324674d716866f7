"""Network namespaces for tests: the container's, with a resolver on 127.0.0.11, and one that stands for everything outside, joined
by a pair of virtual interfaces, whose outer end is a port of a bridge. The addresses are of a block for documentation, which policies take for the internet's."""
import os
import shutil
import subprocess
import sys
import tempfile

INSIDE, OUTSIDE, OTHER = "203.0.113.1", "203.0.113.2", "203.0.113.3"
RESOLVER = "127.0.0.11"

# Servers, run in a namespace: each prints a line when it listens.
ECHO = r"""
import socket, sys, threading
address, port = sys.argv[1], int(sys.argv[2])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((address, port))
t = socket.create_server((address, port))
def datagrams():
    while True:
        data, peer = u.recvfrom(65536)
        u.sendto(b"udp:" + data, peer)
threading.Thread(target=datagrams, daemon=True).start()
print("ready", flush=True)
def serve(c):
    try:
        while True:
            data = c.recv(65536)
            if not data: break
            c.sendall(b"tcp:" + data)
    except ConnectionResetError: pass
while True:
    c, _ = t.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"""
# Counts datagrams, answers the first, and tells the count to who connects.
COUNT = r"""
import socket, sys, threading
address, port = sys.argv[1], int(sys.argv[2])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((address, port))
t = socket.create_server((address, port))
count = 0
def datagrams():
    global count
    while True:
        _, peer = u.recvfrom(65536)
        count += 1
        if count == 1: u.sendto(b"first", peer)
threading.Thread(target=datagrams, daemon=True).start()
print("ready", flush=True)
while True:
    c, _ = t.accept()
    c.sendall(b"%d" % count); c.close()
"""
# What no well-behaved peer does: resets each connection, takes nothing from one, answers a datagram
# with very many.
BAD = r"""
import socket, struct, sys, threading
address = sys.argv[1]
reset, stall = socket.create_server((address, 7100)), socket.create_server((address, 7101))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((address, 7102))
def resets():
    while True:
        c, _ = reset.accept(); c.recv(1)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()
def stalls():
    kept = []
    while True: kept.append(stall.accept())
for f in resets, stalls: threading.Thread(target=f, daemon=True).start()
print("ready", flush=True)
while True:
    _, peer = u.recvfrom(100)
    for i in range(20000): u.sendto(bytes(1000), peer)
"""
# Tells each datagram's time to live, in one with a time of 33.
TTL = r"""
import socket, struct, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((sys.argv[1], int(sys.argv[2])))
u.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 33); u.setsockopt(socket.IPPROTO_IP, 12, 1)
print("ready", flush=True)
while True:
    _, controls, _, peer = u.recvmsg(100, 100)
    u.sendto(b"%d" % struct.unpack("i", controls[0][2]), peer)
"""
# An HTTP server that sends everybody elsewhere.
REDIRECT = r"""
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    c, _ = s.accept(); c.recv(4096)
    c.sendall(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % sys.argv[3].encode())
    c.close()
"""
DNS = r"""
import socket, struct, sys, threading
names = dict(a.split("=") for a in sys.argv[2:])
def answer(q):
    labels, i = [], 12
    while q[i]:
        labels.append(q[i + 1:i + 1 + q[i]].decode().lower()); i += 1 + q[i]
    kind = struct.unpack(">H", q[i + 1:i + 3])[0]
    question, name = q[12:i + 5], ".".join(labels)
    address = names.get(name)
    found = address is not None and kind == 1
    head = q[:2] + struct.pack(">HHHHH", 0x8180 if address else 0x8183, 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + socket.inet_aton(address) if found else b""
    return head + question + record
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((sys.argv[1], 53))
t = socket.create_server((sys.argv[1], 53))
def streams():
    while True:
        c, _ = t.accept()
        head = c.recv(2)
        if head:
            a = answer(c.recv(struct.unpack(">H", head)[0]))
            c.sendall(struct.pack(">H", len(a)) + a)
        c.close()
threading.Thread(target=streams, daemon=True).start()
print("ready", flush=True)
while True:
    q, peer = u.recvfrom(4096)
    u.sendto(answer(q), peer)
"""


def ip(*args):
    subprocess.run(["ip"] + list(args), check=True, stdout=subprocess.DEVNULL, timeout=20)


def available():
    return os.getuid() == 0 and shutil.which("ip") is not None


class Net:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="e2e-net-")
        # Not by a process id: runs in pid namespaces of their own share these names.
        tag = "moat-" + os.path.basename(self.dir)
        self.inner, self.outer = tag + "-in", tag + "-out"
        self.path = "/run/netns/" + self.inner
        self.servers = []

    def __enter__(self):
        try:
            for ns in (self.inner, self.outer):
                ip("netns", "add", ns)
                ip("-n", ns, "link", "set", "lo", "up")
            ip("-n", self.inner, "link", "add", "eth0", "type", "veth", "peer", "name", "port0",
               "netns", self.outer)
            ip("-n", self.outer, "link", "add", "bridge0", "type", "bridge")
            ip("-n", self.outer, "link", "set", "port0", "master", "bridge0", "up")
            for ns, device, addresses in ((self.inner, "eth0", [INSIDE]),
                                          (self.outer, "bridge0", [OUTSIDE, OTHER])):
                for a in addresses:
                    ip("-n", ns, "addr", "add", a + "/24", "dev", device)
                ip("-n", ns, "link", "set", device, "up")
            # For the net gofer, which is nobody in a container of root's.
            self.sysctl(self.inner, "net/ipv4/ping_group_range", "0 2147483647")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for s in self.servers:
            s.kill()
            s.wait()
            s.stdout.close()
        for ns in (self.inner, self.outer):
            subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL, timeout=20)
        shutil.rmtree(self.dir, ignore_errors=True)

    def sysctl(self, ns, name, value):
        subprocess.run(["ip", "netns", "exec", ns, "sh", "-c", 'echo "$1" >/proc/sys/"$0"', name,
                        value], check=True, timeout=20)

    def python(self, ns, script, *args, timeout=20):
        """Runs a script in a namespace; its output."""
        return subprocess.run(["ip", "netns", "exec", ns, sys.executable, "-c", script] + list(args),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout
                              ).stdout.decode()

    def serve(self, ns, script, *args):
        p = subprocess.Popen(["ip", "netns", "exec", ns, sys.executable, "-c", script] + list(args),
                             stdout=subprocess.PIPE)
        self.servers.append(p)
        if p.stdout.readline() != b"ready\n":
            raise AssertionError("a server of the test's did not start")
        return p

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path
