#!/usr/bin/env python3
"""Moat's network beside runc's, in one run: real servers and clients, throughput as a ratio to runc's (more is better).

  net_compare.py --moat build/release/moat [--rootfs DIR] [--runs N] [--seconds N] [--where server|client|both]... [NAME...]

server  the server in the sandbox, its client outside, over a pair of virtual interfaces
client  the client in the sandbox, its server outside
both    both in one sandbox, over its loopback

What is outside runs in a container of runc's of its own, in the other network namespace. The runs of the two runtimes alternate;
medians are compared. Needs root, runc, iproute2, and a Debian root file system: `net_compare.py --make-rootfs DIR` makes one from
that of tests/e2e/rootfs.sh.
"""
import argparse
import json
import math
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import netns  # noqa: E402

PACKAGES = "redis-server nginx-light wrk postgresql iperf3 curl"

# Each runs in the foreground until it is killed. /made is what prepare() left.
SERVERS = {
    "redis": "exec redis-server --save '' --appendonly no --protected-mode no --dir /tmp >/dev/null",
    "nginx": "mkdir /tmp/www; head -c 1024 /dev/zero >/tmp/www/1k; head -c 1048576 /dev/zero >/tmp/www/1m; "
             "truncate -s 1G /tmp/www/1g; exec nginx -c /made/nginx.conf",
    "postgres": "cp -a /made/data /tmp/; exec setpriv --reuid=postgres --regid=postgres --clear-groups "
                "/usr/lib/postgresql/*/bin/postgres -D /tmp/data -k /tmp -h '*' >/tmp/log 2>&1",
    "iperf": "exec iperf3 -s >/dev/null 2>&1",
}
NGINX = """daemon off; worker_processes 2; error_log /dev/null; pid /tmp/nginx.pid; user root;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  server { listen 8080; root /tmp/www; } }
"""
# name: server, client, what to read of its output (the last match counts).
LOADS = {
    "redis-p1": ("redis", "redis-benchmark -h $H -n $(({s} * 10000)) -c 50 -P 1 -t set --csv", r'"SET","([0-9.]+)"'),
    "redis-p16": ("redis", "redis-benchmark -h $H -n $(({s} * 100000)) -c 50 -P 16 -t set --csv", r'"SET","([0-9.]+)"'),
    "nginx-1k": ("nginx", "wrk -t1 -c32 -d{s} http://$H:8080/1k", r"Requests/sec: +([0-9.]+)"),
    "nginx-1m": ("nginx", "wrk -t1 -c8 -d{s} http://$H:8080/1m", r"Requests/sec: +([0-9.]+)"),
    "pgbench": ("postgres", "pgbench -h $H -U postgres -n -c 8 -j 2 -T {s} postgres", r"tps = ([0-9.]+)"),
    "iperf": ("iperf", "iperf3 -J -c $H -t {s}", r'(?s)"sum_received":.*?"bits_per_second":\s*([0-9.e+]+)'),
    "iperf-r": ("iperf", "iperf3 -J -R -c $H -t {s}", r'(?s)"sum_received":.*?"bits_per_second":\s*([0-9.e+]+)'),
    "curl-1g": ("nginx", "curl -s -o /dev/null -w 'speed %{{speed_download}}\\n' http://$H:8080/1g", r"speed ([0-9.]+)"),
}
PORTS = {"redis": 6379, "nginx": 8080, "postgres": 5432, "iperf": 5201}
# Until the server is there: some clients wait for ever for one that isn't, others end at once.
RETRY = ("until (: </dev/tcp/$H/{port}) 2>/dev/null; do sleep 0.1; done; "
         "for i in $(seq 300); do out=$({client} 2>&1) && break; sleep 0.1; done; echo \"$out\"")


class Bench:
    def __init__(self, a):
        self.a = a
        self.dir = tempfile.mkdtemp(prefix="net-compare-")
        self.count = 0
        self.made = os.path.join(self.dir, "made")
        os.mkdir(self.made)
        self.runtimes = {"runc": ["runc"], "moat": a.moat.split()}

    def bundle(self, script, host, namespace):
        self.count += 1
        name = "net-compare-%d-%d" % (os.getpid(), self.count)
        d = os.path.join(self.dir, name)
        os.mkdir(d)
        subprocess.run(["runc", "spec"], cwd=d, check=True)
        path = os.path.join(d, "config.json")
        with open(path) as f:
            c = json.load(f)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        c["process"].update(terminal=False, args=["/bin/bash", "-c", script], noNewPrivileges=False,
                            env=["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "H=" + host],
                            rlimits=[{"type": "RLIMIT_NOFILE", "hard": files, "soft": files}])
        every = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]
        c["process"]["capabilities"] = {k: every for k in ("bounding", "effective", "permitted")}
        c["root"] = {"path": self.a.rootfs, "readonly": False}
        c["mounts"] += [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
                        {"destination": "/made", "type": "bind", "source": self.made, "options": ["rbind", "ro"]}]
        if namespace:
            for n in c["linux"]["namespaces"]:
                if n["type"] == "network":
                    n["path"] = "/run/netns/" + namespace
        with open(path, "w") as f:
            json.dump(c, f)
        return name, d

    def start(self, runtime, script, host="", namespace=None):
        name, d = self.bundle(script, host, namespace)
        p = subprocess.Popen(self.runtimes[runtime] + ["run", "--bundle", d, name], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return runtime, name, p

    def stop(self, started):
        runtime, name, p = started
        subprocess.run(self.runtimes[runtime] + ["kill", name, "KILL"], stderr=subprocess.DEVNULL, timeout=30)
        p.communicate(timeout=30)

    def finish(self, started, limit):
        try:
            return started[2].communicate(timeout=limit)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            return "no end within %d s" % limit
        finally:
            if started[2].poll() is None:
                self.stop(started)

    def prepare(self):
        with open(os.path.join(self.made, "nginx.conf"), "w") as f:
            f.write(NGINX)
        data = os.path.join(self.dir, "data")
        os.mkdir(data)
        script = ("cd /tmp; chown postgres /tmp; b=$(echo /usr/lib/postgresql/*/bin); "
                  "as() { setpriv --reuid=postgres --regid=postgres --clear-groups \"$@\"; }; "
                  "as $b/initdb -A trust -D /tmp/data >/dev/null && echo 'host all all all trust' >>/tmp/data/pg_hba.conf && "
                  "as $b/pg_ctl -D /tmp/data -o '-k /tmp' -w start >/dev/null && pgbench -h /tmp -U postgres -i -s 5 postgres 2>/dev/null && "
                  "as $b/pg_ctl -D /tmp/data -w stop >/dev/null && cp -a /tmp/data /out/ && echo made")
        name, d = self.bundle(script, "", None)
        path = os.path.join(d, "config.json")
        with open(path) as f:
            c = json.load(f)
        c["mounts"].append({"destination": "/out", "type": "bind", "source": self.made, "options": ["rbind", "rw"]})
        with open(path, "w") as f:
            json.dump(c, f)
        r = subprocess.run(["runc", "run", "--bundle", d, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=120)
        if not r.stdout.endswith(b"made\n"):
            sys.exit("postgres could not be prepared: " + r.stdout.decode(errors="replace"))

    def once(self, runtime, where, load):
        server, client, pattern = LOADS[load]
        client = RETRY.format(port=PORTS[server], client=client.format(s=self.a.seconds))
        limit = 90 + 10 * self.a.seconds
        if where == "both":
            out = self.finish(self.start(runtime, "(%s) & %s; kill -9 %%1" % (SERVERS[server], client), "127.0.0.1"), limit)
        else:
            with netns.Net() as net:
                inside = where == "server"
                # Clients outside are runc's, and so are servers outside.
                s = self.start(runtime if inside else "runc", SERVERS[server], namespace=net.inner if inside else net.outer)
                c = self.start("runc" if inside else runtime, client, netns.INSIDE if inside else netns.OUTSIDE,
                               net.outer if inside else net.inner)
                try:
                    out = self.finish(c, limit)
                finally:
                    self.stop(s)
        found = re.findall(pattern, out)
        if not found:
            print("   %s %s %s: %s" % (where, load, runtime, out[-400:].strip()), file=sys.stderr, flush=True)
        return float(found[-1]) if found else None

    def compare(self):
        names = self.a.names or list(LOADS)
        for where in self.a.where or ["server", "client", "both"]:
            print("%-8s %-10s %14s %14s %7s" % (where, "", "runc", "moat", "ratio"), flush=True)
            logs = []
            for load in names:
                got = {r: [] for r in self.runtimes}
                for _ in range(self.a.runs):
                    for r in self.runtimes:
                        got[r].append(self.once(r, where, load))
                m = {r: statistics.median(v) if None not in v else None for r, v in got.items()}
                if None in m.values():
                    print("%-8s %-10s failed" % ("", load), flush=True)
                    continue
                logs.append(math.log(m["moat"] / m["runc"]))
                print("%-8s %-10s %14.0f %14.0f %7.2f" % ("", load, m["runc"], m["moat"], math.exp(logs[-1])), flush=True)
            if logs:
                print("%-8s %-10s %14s %14s %7.2f" % ("", "mean", "", "", math.exp(statistics.mean(logs))), flush=True)


def make_rootfs(target):
    base = subprocess.run([os.path.join(HERE, "..", "e2e", "rootfs.sh")], check=True,
                          stdout=subprocess.PIPE).stdout.decode().strip()
    subprocess.run(["cp", "-a", base, target], check=True)
    for name in ("apt/sources.list", "apt/sources.list.d", "resolv.conf"):
        if os.path.exists("/etc/" + name):
            subprocess.run(["cp", "-rL", "/etc/" + name, os.path.join(target, "etc", os.path.dirname(name))], check=True)
    policy = os.path.join(target, "usr/sbin/policy-rc.d")
    with open(policy, "w") as f:
        f.write("#!/bin/sh\nexit 101\n")
    os.chmod(policy, 0o755)
    subprocess.run(["chroot", target, "sh", "-c", "apt-get update -q && DEBIAN_FRONTEND=noninteractive "
                    "apt-get install -y -q --no-install-recommends " + PACKAGES], check=True)
    os.unlink(policy)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--moat", default="build/release/moat", help="the command, with global flags if any")
    p.add_argument("--rootfs", default=os.path.expanduser("~/.cache/moat/netroot"))
    p.add_argument("--make-rootfs", metavar="DIR")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--seconds", type=int, default=2)
    p.add_argument("--where", action="append", choices=["server", "client", "both"])
    p.add_argument("names", nargs="*", metavar="NAME", help="of " + " ".join(LOADS))
    a = p.parse_args()
    if a.make_rootfs:
        make_rootfs(a.make_rootfs)
        return
    # So that whatever ends this, ends the sandboxes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    b = Bench(a)
    try:
        b.prepare()
        b.compare()
    finally:
        shutil.rmtree(b.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
