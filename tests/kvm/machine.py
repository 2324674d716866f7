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

# In the order of loading: a module behind what it needs.
MODULES = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "netfs", "fscache", "9pnet", "9pnet_virtio", "9p",
           "irqbypass", "ccp", "kvm", "kvm-amd"]
CPU = "EPYC,+svm"
OUT_OF_TIME = 124
NO_STATUS = 125

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

# The command sees a pipe, not a terminal. The status goes behind the output, in a line that the command can't be taken for.
COMMAND = """export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
stty -onlcr < /dev/ttyS0
printf '\\n%(mark)s begin\\n' > /dev/ttyS0
{ (%(command)s) < /dev/null 2>&1; echo $? > /run/status; } | cat > /dev/ttyS0
printf '%(mark)s end %%d\\n' $(cat /run/status) > /dev/ttyS0
echo o > /proc/sysrq-trigger
sleep 60
"""


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return os.path.join(base, "moat/kvm")


def kernel():
    """The unpacked kernel package: (vmlinuz, folder of modules)."""
    cache = cache_dir()

    def find():
        images = glob.glob(os.path.join(cache, "unpacked/boot/vmlinuz-*"))
        return (images[0], glob.glob(os.path.join(cache, "unpacked/lib/modules/*"))[0]) if images else None

    if not find():
        os.makedirs(cache, exist_ok=True)
        depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True,
                                 capture_output=True, text=True).stdout
        package = [w.split()[1] for w in depends.splitlines() if "Depends:" in w][0]
        if not glob.glob(os.path.join(cache, package + "_*.deb")):
            subprocess.run(["apt-get", "download", package], cwd=cache, check=True)
        deb = glob.glob(os.path.join(cache, package + "_*.deb"))[0]
        part = tempfile.mkdtemp(dir=cache)
        subprocess.run(["dpkg-deb", "-x", deb, part], check=True)
        os.rename(part, os.path.join(cache, "unpacked"))
    return find()


def make_initramfs(path, modules, share, command, mark):
    """A cpio archive: busybox, the modules, the two scripts."""
    with tempfile.TemporaryDirectory() as top:
        for d in ("bin", "proc", "sys", "new", "modules"):
            os.mkdir(os.path.join(top, d))
        shutil.copy(shutil.which("busybox"), os.path.join(top, "bin/busybox"))
        for m in MODULES:
            found = [f for n in (m, m.replace("_", "-"))
                     for f in glob.glob("%s/kernel/**/%s.ko" % (modules, n), recursive=True)]
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
    """Boots, runs a shell command, and returns its status. output(bytes) gets what it writes."""
    image, modules = kernel()
    output = output or (lambda b: (sys.stdout.buffer.write(b), sys.stdout.buffer.flush()))
    mark = "machine-" + os.urandom(8).hex()
    with tempfile.TemporaryDirectory() as work:
        initramfs = os.path.join(work, "initramfs")
        make_initramfs(initramfs, modules, share, command, mark)
        words = ["timeout", "--kill-after=5", str(timeout), "qemu-system-x86_64",
                 "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(cpus), "-m", str(memory),
                 "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                 "-kernel", image, "-initrd", initramfs,
                 "-append", "console=ttyS0 panic=-1 mitigations=off nokaslr" + ("" if verbose else " quiet"),
                 "-virtfs", "local,path=%s,mount_tag=root,security_model=none,readonly=on" % rootfs]
        if share:
            words += ["-virtfs",
                      "local,path=%s,mount_tag=share,security_model=none,readonly=on" % share]
        p = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        begun, status = False, None
        begin, end = (mark + " begin").encode(), (mark + " end ").encode()
        try:
            for line in p.stdout:
                if end in line:
                    rest, number = line.split(end)
                    output(rest)
                    status = int(number)
                elif begun and status is None:
                    output(line)
                elif begin in line:
                    begun = True
                elif verbose:
                    output(line)
        finally:
            p.kill()
            p.wait()
        if status is not None:
            return status
        return OUT_OF_TIME if p.returncode in (124, -9, 137) else NO_STATUS


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rootfs", required=True)
    p.add_argument("--share")
    p.add_argument("--timeout", type=int, default=120)
    p.add_argument("--memory", type=int, default=1024, help="MiB")
    p.add_argument("--cpus", type=int, default=1)
    p.add_argument("-v", "--verbose", action="store_true", help="the kernel's messages too")
    p.add_argument("command", nargs="+")
    a = p.parse_args()
    return run(shlex.join(a.command) if len(a.command) > 1 else a.command[0], a.rootfs, a.share, a.timeout, a.memory,
               a.cpus, verbose=a.verbose)


if __name__ == "__main__":
    sys.exit(main())
