"""Real clients of OCI runtimes, each started on sockets and folders of its own, in a network and mount
namespace of its own, and stopped by pid."""
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time

import moat
from oci import runtime
from oci.runtime import make_root


def docker_archive(path, name, command=("/bin/sh",)):
    """An image of a small root as `docker save` packs one; every client loads it."""
    with tempfile.TemporaryDirectory() as d:
        make_root(d + "/root")
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as t:
            t.add(d + "/root", arcname=".")
    layer = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created_by": "test"}]}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name],
                            "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as t:
        for member, data in (("layer.tar", layer), ("config.json", config),
                             ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))


def wrapper(folder, command):
    """An executable that is the runtime with its global flags: clients take a path only."""
    path = folder + "/runtime-" + os.path.basename(command[0])
    with open(path, "w") as f:
        f.write("#!/bin/sh\nexec %s \"$@\"\n" % " ".join(command))
    os.chmod(path, 0o755)
    return path


class Client:
    def __init__(self, runtime_command):
        self.folder = tempfile.mkdtemp(prefix="oci-client-")
        self.runtime = wrapper(self.folder, runtime_command)
        self.daemon = None
        self.image = self.folder + "/image.tar"

    def spawn(self, *words):
        # The bridge, its rules and the mounts stay off the host. Our descriptors stay with us.
        log = open(self.folder + "/daemon.log", "wb")
        self.daemon = subprocess.Popen(
            ["unshare", "-m", "-n", "sh", "-c", "ip link set lo up 2>/dev/null; exec \"$@\"", "sh",
             *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={"PATH": os.environ["PATH"]})
        log.close()

    def wait_for(self, test, timeout=60):
        end = time.monotonic() + timeout
        while not test():
            if self.daemon.poll() is not None or time.monotonic() > end:
                with open(self.folder + "/daemon.log", errors="replace") as f:
                    raise AssertionError("the daemon does not come up:\n" + f.read()[-3000:])
            time.sleep(0.1)

    def call(self, words, stdin=b"", timeout=120, **kw):
        p = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=timeout, **kw)
        return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")

    def from_outside(self, *command):
        """Runs a command where the daemon's bridges are."""
        p = subprocess.run(["nsenter", "-n", "-t", str(self.daemon.pid), *command],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=30)
        return p.returncode, p.stdout.decode(errors="replace")

    def close(self):
        if self.daemon and self.daemon.poll() is None:
            os.kill(self.daemon.pid, signal.SIGTERM)
            try:
                self.daemon.wait(20)
            except subprocess.TimeoutExpired:
                os.kill(self.daemon.pid, signal.SIGKILL)
                self.daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Containerd(Client):
    needs = ("containerd", "ctr", "containerd-shim-runc-v2")

    def __init__(self, runtime_command):
        super().__init__(runtime_command)
        self.socket = self.folder + "/c.sock"
        with open(self.folder + "/config.toml", "w") as f:
            f.write('version = 2\nroot = "%s/root"\nstate = "%s/state"\n'
                    % (self.folder, self.folder) + self.configuration() +
                    '[grpc]\naddress = "%s"\n'
                    '[plugins."io.containerd.internal.v1.opt"]\npath = "%s/opt"\n'
                    % (self.socket, self.folder))
        self.spawn("containerd", "-c", self.folder + "/config.toml")
        self.wait_for(lambda: self.ctr("version")[0] == 0)
        docker_archive(self.image, "docker.io/library/small:1")
        status = self.ctr("image", "import", self.image)
        assert status[0] == 0, status

    def configuration(self):
        return 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'

    def ctr(self, *words, **kw):
        return self.call(["ctr", "-a", self.socket, *words], **kw)

    def run(self, *words, **kw):
        return self.ctr("run", "--runtime", "io.containerd.runc.v2", "--runc-binary", self.runtime,
                        *words, **kw)


class Docker(Client):
    needs = ("dockerd", "docker", "containerd")

    def __init__(self, runtime_command):
        super().__init__(runtime_command)
        self.host = "unix://%s/d.sock" % self.folder
        with open(self.folder + "/daemon.json", "w") as f:
            json.dump({"data-root": self.folder + "/data", "exec-root": self.folder + "/exec",
                       "pidfile": self.folder + "/pid", "hosts": [self.host],
                       "bip": "172.31.250.1/24", "runtimes": {"tested": {"path": self.runtime}},
                       "default-runtime": "tested"}, f)
        self.spawn("dockerd", "--config-file", self.folder + "/daemon.json")
        self.wait_for(lambda: self.docker("version")[0] == 0)
        docker_archive(self.image, "small:1")
        status = self.docker("load", "-i", self.image)
        assert status[0] == 0, status

    def docker(self, *words, **kw):
        return self.call(["docker", "-H", self.host, *words], **kw)


class Podman(Client):
    needs = ("podman", "conmon")

    def __init__(self, runtime_command):
        super().__init__(runtime_command)
        with open(self.folder + "/containers.conf", "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024","nproc=4096:4096"]\n'
                    '[engine]\nruntime_supports_json = ["%s"]\n'
                    % os.path.basename(self.runtime))
        docker_archive(self.image, "localhost/small:1")
        status = self.podman("load", "-i", self.image)
        assert status[0] == 0, status

    def podman(self, *words, **kw):
        f = self.folder
        return self.call(
            ["podman", "--root", f + "/root", "--runroot", f + "/run", "--tmpdir", f + "/tmp",
             "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime", self.runtime,
             *words], env=dict(os.environ, CONTAINERS_CONF=f + "/containers.conf"), **kw)


class RootlessPodman(Podman):
    """As a user without rights and without ranges of ids: its namespace knows one user only."""
    needs = Podman.needs + ("setpriv",)
    USER = 65534

    def __init__(self, runtime_command):
        # The runtime's own folder may be closed to that user.
        self.copies = tempfile.mkdtemp(prefix="oci-runtime-")
        os.chmod(self.copies, 0o755)
        copy = shutil.copy(shutil.which(runtime_command[0]), self.copies)
        super().__init__([copy, *runtime_command[1:]])

    def call(self, words, env=None, **kw):
        home = self.folder + "/home"
        if not os.path.exists(home):
            for d in (home, self.folder + "/xdg"):
                os.mkdir(d, 0o700)
            subprocess.run(["chown", "-R", "%d:%d" % (self.USER, self.USER), self.folder],
                           check=True)
        env = dict(env or os.environ, HOME=home, XDG_RUNTIME_DIR=self.folder + "/xdg")
        env.pop("USER", None)
        words = [words[0], "--storage-driver=vfs", *words[1:]]
        return super().call(["setpriv", "--reuid", str(self.USER), "--regid", str(self.USER),
                             "--clear-groups", *words], env=env, cwd=self.folder, **kw)

    def close(self):
        # Ends the process that keeps the user's namespace.
        self.podman("system", "migrate")
        super().close()
        shutil.rmtree(self.copies, ignore_errors=True)


def compare(case, client, script, missing=()):
    """What script sees with runc and with Moat must be the same; `missing`: what it lacks beside programs."""
    missing = [*missing, *(n for n in client.needs + ("runc", "unshare") if not shutil.which(n))]
    if missing or not runtime.available():
        case.skipTest("needs root, busybox-static and %s" % " ".join(missing))
    results = []
    for command in (["runc"], moat.MOAT):
        c, seen = client(command), []
        try:
            script(c, seen)
        finally:
            c.close()
        results.append(seen)
    case.assertEqual(results[1], results[0])
