"""The programs that people run, from the Debian root file system."""
import os
import unittest

import moat
from moat import Case, root_flags, sh


class Programs(Case):
    def guest(self, needs, script, out=None, **kw):
        """Runs the script where the root file system holds all programs that it needs."""
        if not moat.ROOTFS:
            self.skipTest("no root file system; see rootfs.sh")
        for program in needs.split():
            if not any(os.path.lexists(os.path.join(moat.ROOTFS, d, program))
                       for d in ("usr/bin", "usr/sbin", "bin", "sbin")):
                self.skipTest("the root file system holds no %s; see rootfs.sh" % program)
        return self.ok(sh(script, flags=root_flags(), **kw), out)

    def test_shell_and_coreutils(self):
        self.guest("find", "cd $(mktemp -d); for i in 1 2 3; do echo $i >f$i; done; cat f*; ls; "
                   "rm f*; find . -type f | wc -l", "1\n2\n3\nf1\nf2\nf3\n0\n")

    def test_python(self):
        self.guest("python3", "python3 -c 'import os, subprocess, threading; "
                   "t = threading.Thread(target=print, args=(\"thread\",)); t.start(); t.join(); "
                   "print(subprocess.check_output([\"echo\", \"child\"]).decode().strip(), "
                   "os.uname().sysname)'", "thread\nchild Linux\n")

    def test_perl_forks(self):
        self.guest("perl", "perl -e 'for (1..5) { my $p = fork; exit $_ unless $p; waitpid $p, 0; "
                   "print $? >> 8, \"\\n\" }'", "1\n2\n3\n4\n5\n")

    def test_compiler(self):
        self.guest("gcc", "cd /tmp; echo 'int puts(const char*); int main() "
                   "{ puts(\"compiled\"); }' >a.c; gcc -O1 a.c -o a && ./a", "compiled\n")

    def test_make_of_a_project(self):
        self.guest("gcc make", r"""
cd $(mktemp -d)
sum=
for i in $(seq 12); do
  echo "int f$i(int x) { return x * $i; }" >f$i.c
  echo "int f$i(int);" >>all.h
  sum="$sum + f$i(1)"
done
echo '#include "all.h"' >main.c
echo "int main(void) { return 0 $sum; }" >>main.c
cat >Makefile <<'END'
objects = $(patsubst %.c,%.o,$(sort $(wildcard *.c)))
p: $(objects)
	gcc -o $@ $(objects)
%.o: %.c all.h
	@gcc -O1 -c -o $@ $<
END
make -s -j2; ./p; echo $?
make -j2
touch f3.c; make -sj2 -n; make -sj2 && make -q && echo current
""", "78\nmake: 'p' is up to date.\n"
                   "gcc -O1 -c -o f3.o f3.c\ngcc -o p " +
                   " ".join(sorted("f%d.o" % i for i in range(1, 13)) + ["main.o"]) +
                   "\ncurrent\n")

    def test_git(self):
        self.guest("git", r"""
cd $(mktemp -d); export HOME=$PWD
git config --global user.email a@b; git config --global user.name n
git init -q -b main one; cd one
for i in 1 2 3 4 5; do seq $i 300 >f$i; git add .; git commit -qm c$i; done
git checkout -q -b side HEAD~2; echo s >s; git add s; git commit -qm side
git checkout -q main; git merge -q -m merged side
cd ..; git clone -q --no-local one two; git clone -q --bare one bare.git; cd two
git log --format=%s | sort | paste -sd' '
git gc -q --prune=now; git fsck --strict 2>&1; git count-objects | cut -d' ' -f1
echo x >f1; git stash -q; git stash pop -q; git diff --stat | tail -1
git commit -qam last; git push -q ../bare.git HEAD:refs/heads/pushed
git -C ../bare.git log -1 --format=%s pushed
""", "c1 c2 c3 c4 c5 merged side\n0\n 1 file changed, 1 insertion(+), 300 deletions(-)\nlast\n")

    def test_sqlite(self):
        self.guest("sqlite3", "cd /tmp; sqlite3 db 'create table t(a); insert into t values(1),(2);"
                   " select sum(a) from t'", "3\n")

    def test_sqlite_of_several_processes(self):
        for mode in ("wal", "delete"):
            self.guest("sqlite3", r"""
cd $(mktemp -d); sqlite3 d 'pragma journal_mode=%s; create table t(p, i);' >mode
for p in 1 2 3 4; do
  (for i in $(seq 25); do echo "insert into t values($p, $i);"; done |
    sqlite3 -cmd '.timeout 60000' d) &
done
wait
sqlite3 d 'select count(*), sum(i), count(distinct p) from t; pragma integrity_check'
""" % mode, "100|1300|4\nok\n")

    def test_tar_and_xz(self):
        self.guest("tar xz", "cd /tmp; mkdir d; seq 1 5000 >d/f; ln -s f d/l; chmod 640 d/f; "
                   "tar cf - d | xz -T2 | xz -dc | tar xf - --transform s/d/e/; cmp d/f e/f && "
                   "readlink e/l; stat -c %a e/f", "f\n640\n")

    def test_node(self):
        self.guest("node", "node -e 'const {Worker} = require(\"worker_threads\");"
                   "const a = new Int32Array(new SharedArrayBuffer(4)); let n = 3;"
                   "for (let i = 0; i < 3; i++)"
                   "  new Worker(`const a = require(\"worker_threads\").workerData;"
                   "    for (let i = 0; i < 10000; i++) Atomics.add(a, 0, 1)`,"
                   "    {eval: true, workerData: a})"
                   "    .on(\"exit\", () => { if (--n == 0) console.log(a[0]) })'", "30000\n")

    def test_node_network(self):
        self.guest("node", r"""
cat >/tmp/n.js <<'END'
const http = require("http"), net = require("net"), dgram = require("dgram");
const agent = new http.Agent({keepAlive: true});
const server = http.createServer((q, r) => {
  let n = 0;
  q.on("data", d => n += d.length).on("end", () => r.end(q.method + " " + n + " " + "x".repeat(n)));
});
const post = (port, n) => new Promise((ok, bad) => {
  const q = http.request({port, host: "127.0.0.1", method: "POST", agent}, r => {
    let text = ""; r.on("data", d => text += d).on("end", () => ok(text));
  });
  q.on("error", bad); q.end(Buffer.alloc(n));
});
server.listen(0, async () => {
  const port = server.address().port;
  const all = await Promise.all([...Array(50).keys()].map(i => post(port, i * 5000)));
  console.log("http", all.every((t, i) => t === "POST " + i * 5000 + " " + "x".repeat(i * 5000)));
  agent.destroy(); server.close();
  const echo = net.createServer({allowHalfOpen: true}, s => s.pipe(s)).listen(0, "::1", () => {
    const c = net.connect(echo.address().port, "::1");
    let got = 0;
    c.on("data", d => got += d.length).on("end", () => { console.log("net", got); echo.close(); udp(); });
    c.end(Buffer.alloc(3 << 20));
  });
});
function udp() {
  const a = dgram.createSocket("udp4"), b = dgram.createSocket("udp4");
  a.on("message", (m, from) => a.send("re: " + m, from.port, from.address));
  b.on("message", m => { console.log("udp", String(m)); a.close(); b.close(); refused(); });
  a.bind(0, "127.0.0.1", () => b.send("hello", a.address().port, "127.0.0.1"));
}
function refused() {
  net.connect(1, "127.0.0.1").on("error", e => console.log(e.code));
}
END
node /tmp/n.js""", "http true\nnet 3145728\nudp re: hello\nECONNREFUSED\n")

    def test_perl_network(self):
        self.guest("perl", r"""
cat >/tmp/n.pl <<'END'
use strict; use IO::Socket::INET; use IO::Select; use Socket;
my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", ReuseAddr => 1) or die "$@";
my $pid = fork;
if (!$pid) {
  for (1 .. 3) {
    my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1:" . $l->sockport, Timeout => 5) or die "$@";
    print $c "line $_\n"; shutdown $c, 1; print scalar <$c>; close $c;
  }
  exit 7;
}
for (1 .. 3) { my $s = $l->accept; my $t = <$s>; print $s "got $t"; close $s; }
waitpid $pid, 0; print $? >> 8, "\n";
my $a = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1") or die;
my $b = IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1:" . $a->sockport) or die;
$b->send("ping"); $a->recv(my $m, 99); $a->send("$m pong"); $b->recv($m, 99); print "$m\n";
print join(",", map { inet_ntoa $_ } (gethostbyname "localhost")[4]), "\n";
print IO::Socket::INET->new(PeerAddr => "127.0.0.1:1") ? "?" : $!{ECONNREFUSED} ? "refused" : $!, "\n";
print scalar(IO::Select->new($l)->can_read(0.1)) ? "?" : "idle", "\n";
END
perl /tmp/n.pl""", "got line 1\ngot line 2\ngot line 3\n7\nping pong\n127.0.0.1\nrefused\nidle\n")

    def test_redis_over_a_local_socket(self):
        self.guest("redis-server redis-benchmark", r"""
cd $(mktemp -d); redis-server --port 0 --unixsocket $PWD/s --save '' --dir $PWD >log & p=$!
for i in $(seq 100); do [ -S s ] && break; sleep 0.05; done
redis-cli -s s set k v; redis-cli -s s get k
redis-benchmark -s $PWD/s -n 5000 -c 20 -P 4 --threads 2 -q -t set,get,incr,lpush |
  tr '\r' '\n' | grep -c 'requests per second'
redis-cli -s s llen mylist
redis-cli -s s bgsave >/dev/null
for i in $(seq 100); do [ -s dump.rdb ] && break; sleep 0.05; done
[ -s dump.rdb ] && echo saved; redis-cli -s s shutdown nosave; wait $p; echo $?
""", "OK\nv\n4\n5000\nsaved\n0\n")

    def test_ps_and_top(self):
        r = self.guest("ps top", "sleep 100 & ps ax; top -bn1 | head -3; kill %1 2>&- || kill $!")
        self.assertIn("sleep 100", r.out)
        self.assertIn("load average", r.out)

    def test_bad_system_calls_leave_it_up(self):
        # sysinval counts as pathological, because it can take a machine down.
        r = self.guest("stress-ng", "stress-ng --pathological --sysinval 2 --sysbadaddr 2 "
                       "--timeout 5 2>&1; echo still here; ps axo comm= | grep -c ^stress; :",
                       timeout=180)
        self.assertIn("dispatching hogs: 2 sysinval, 2 sysbadaddr", r.out)
        self.assertIn("successful run completed", r.out)
        self.assertEqual(r.out.splitlines()[-2:], ["still here", "0"], r)


if __name__ == "__main__":
    unittest.main()
