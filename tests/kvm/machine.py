#!/usr/bin/env python3
"""Runs a command in a virtual machine that has a real /dev/kvm, under QEMU's software emulation of AMD-V.

    machine.py --rootfs DIR [--share DIR] [--timeout SECONDS] [--memory MIB] -- COMMAND [ARG...]

The machine runs Debian's kernel. Its root is DIR, read-only, with memory on /tmp, /run and /dev; --share is at /mnt,
read-only. The command's output comes back as it is written, its exit status is this program's. 124: out of time.

Needs qemu-system-x86, busybox-static and cpio; the kernel's package is downloaded once (apt-get download) and unpacked into
$XDG_CACHE_HOME/moat/kvm, not installed.
"""
import argparse
import glob
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading

# In the order of loading: a module behind what it needs.
MODULES = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "netfs", "fscache", "9pnet", "9pnet_virtio", "9p",
           "irqbypass", "ccp", "kvm", "kvm-amd"]
QEMU = "qemu-system-x86_64"
# With protection keys, which the engine must keep from guests.
CPU = "EPYC,+svm,+pku"
OUT_OF_TIME = 124
NO_STATUS = 125
# It takes 7 s. More than once, for a host that is busy beyond measure.
BOOT_SECONDS, BOOTS = 300, 2
CONSOLE_LINES = 60

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b ifconfig lo 127.0.0.1 up
for m in %(modules)s; do $b insmod /modules/$m.ko; done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 root /new
$b mount -t devtmpfs dev /new/dev
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
for d in dev/shm tmp run; do $b mount -t tmpfs tmpfs /new/$d; done
[ -n "%(share)s" ] && $b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 share /new/mnt
$b mount --move /proc /new/proc
$b mount --move /sys /new/sys
$b cp /command /new/run/command
exec $b switch_root /new /bin/sh /run/command
"""

# The command sees a pipe, not a terminal. Its output has a line of its own, since the kernel may write to its console at any
# time. The status goes behind the output, in a line that the command can't be taken for.
COMMAND = """export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
stty raw -echo < /dev/ttyS1
printf '\\n%(mark)s begin\\n' > /dev/ttyS1
{ (%(command)s) < /dev/null 2>&1; echo $? > /run/status; } | cat > /dev/ttyS1
printf '%(mark)s end %%d\\n' $(cat /run/status) > /dev/ttyS1
echo o > /proc/sysrq-trigger
sleep 60
"""


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.path.join(base, "moat/kvm")


def unpacked(package, folder=None):
    """Debian's package, downloaded once and unpacked into the cache, not installed: the folder."""
    cache = cache_dir()
    done = os.path.join(cache, folder or package)
    if not os.path.isdir(done):
        os.makedirs(cache, exist_ok=True)
        if not glob.glob(os.path.join(cache, package + "_*.deb")):
            subprocess.run(["apt-get", "download", "-q", package], cwd=cache, check=True, stdout=sys.stderr)
        deb = glob.glob(os.path.join(cache, package + "_*.deb"))[0]
        part = tempfile.mkdtemp(dir=cache)
        subprocess.run(["dpkg-deb", "-x", deb, part], check=True)
        os.rename(part, done)
        os.remove(deb)
    return done


def kernel():
    """The unpacked kernel package: (vmlinuz, folder of modules)."""
    folder = os.path.join(cache_dir(), "unpacked")
    if not os.path.isdir(folder):
        depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True,
                                 capture_output=True, text=True).stdout
        unpacked([w.split()[1] for w in depends.splitlines() if "Depends:" in w][0], "unpacked")
    return glob.glob(os.path.join(folder, "boot/vmlinuz-*"))[0], glob.glob(os.path.join(folder, "lib/modules/*"))[0]


def make_initramfs(path, modules, share, command, mark):
    """A cpio archive: busybox, the modules, the two scripts."""
    with tempfile.TemporaryDirectory() as top:
        for d in ("bin", "proc", "sys", "new", "modules"):
            os.mkdir(os.path.join(top, d))
        shutil.copy(shutil.which("busybox"), os.path.join(top, "bin/busybox"))
        for m in MODULES:
            found = [f for n in (m, m.replace("_", "-"))
                     for f in glob.glob("%s/kernel/**/%s.ko" % (modules, n), recursive=True)]
            if not found:
                sys.exit("machine.py: %s has no module %s" % (modules, m))
            shutil.copy(found[0], os.path.join(top, "modules", m + ".ko"))
        init = os.path.join(top, "init")
        with open(init, "w") as f:
            f.write(INIT % {"modules": " ".join(MODULES), "share": "1" if share else ""})
        os.chmod(init, 0o755)
        with open(os.path.join(top, "command"), "w") as f:
            f.write(COMMAND % {"mark": mark, "command": command})
        names = subprocess.run(["find", "."], cwd=top, check=True, capture_output=True).stdout
        with open(path, "wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=top, input=names, stdout=out,
                           check=True)


def arguments(doc, timeout):
    """The parser of a test that runs in a machine."""
    p = argparse.ArgumentParser(description=doc.split("\n")[0])
    p.add_argument("--build", required=True)
    p.add_argument("--rootfs", required=True)
    p.add_argument("--timeout", type=int, default=timeout)
    p.add_argument("--cpus", type=int, default=1)
    return p


def run(command, rootfs, share=None, timeout=120, memory=1024, cpus=1, output=None, verbose=False):
    """Boots, runs a shell command, and returns its status. output(bytes) gets what it writes.

    timeout: seconds for the command. A machine that doesn't come up is tried once more, since nothing of the command has run.
    Standard error says why there is no status."""
    for tool in (QEMU, "busybox", "cpio"):
        if not shutil.which(tool):
            sys.exit("machine.py: there is no %s" % tool)
    image, modules = kernel()
    mark = "machine-" + os.urandom(8).hex()
    with tempfile.TemporaryDirectory() as work:
        initramfs, console = os.path.join(work, "initramfs"), os.path.join(work, "console")
        make_initramfs(initramfs, modules, share, command, mark)
        words = [QEMU, "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(cpus), "-m", str(memory),
                 "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-chardev", "file,id=console,append=on,path=" + console, "-serial", "chardev:console", "-serial", "stdio",
                 "-kernel", image, "-initrd", initramfs,
                 "-append", "console=ttyS0 panic=-1 mitigations=off nokaslr" + ("" if verbose else " quiet"),
                 "-virtfs", "local,path=%s,mount_tag=root,security_model=none,readonly=on" % rootfs]
        if share:
            words += ["-virtfs",
                      "local,path=%s,mount_tag=share,security_model=none,readonly=on" % share]
        for _ in range(BOOTS):
            machine = Machine(words, mark, console, timeout, output or write_out)
            status = machine.run()
            if verbose or machine.why:
                with open(console, errors="replace") as f:
                    print("machine.py: %s; the console's last lines:\n%s" %
                          (machine.why or "status %d" % status, "".join(f.readlines()[-CONSOLE_LINES:])), file=sys.stderr, flush=True)
            if machine.begun:
                break
        return status


def write_out(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class Machine:
    """One boot. console: the file that the kernel and QEMU write to."""

    def __init__(self, words, mark, console, timeout, output):
        self.words, self.console, self.timeout, self.output = words, console, timeout, output
        self.first, self.last = (mark + " begin").encode(), (mark + " end ").encode()
        self.begun, self.late = False, False
        self.why = None  # there is no status

    def run(self):
        """The command's status, OUT_OF_TIME or NO_STATUS."""
        status = None
        with open(self.console, "ab") as console:
            p = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=console)

        def stop():
            self.late = True
            p.kill()

        timer = threading.Timer(BOOT_SECONDS, stop)
        timer.start()
        try:
            for line in p.stdout:
                if self.last in line:
                    rest, number = line.split(self.last)
                    self.output(rest)
                    status = int(number)
                elif self.begun:
                    self.output(line)
                elif self.first in line:
                    self.begun = True
                    timer.cancel()
                    timer = threading.Timer(self.timeout, stop)
                    timer.start()
            p.wait()
        finally:
            timer.cancel()
            p.kill()
            p.wait()
        if status is not None:
            return status
        end = "out of time" if self.late else "QEMU ended with %d" % p.returncode
        self.why = ("no status from the command: " if self.begun else "the machine did not come up: ") + end
        return OUT_OF_TIME if self.late else NO_STATUS


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rootfs", required=True)
    p.add_argument("--share")
    p.add_argument("--timeout", type=int, default=120)
    p.add_argument("--memory", type=int, default=1024, help="MiB")
    p.add_argument("--cpus", type=int, default=1)
    p.add_argument("-v", "--verbose", action="store_true", help="the kernel's messages, too, when it has ended")
    p.add_argument("command", nargs="+")
    a = p.parse_args()
    return run(shlex.join(a.command) if len(a.command) > 1 else a.command[0], a.rootfs, a.share, a.timeout, a.memory,
               a.cpus, verbose=a.verbose)


if __name__ == "__main__":
    sys.exit(main())
