"""A client of the container runtime interface (CRI, runtime.v1): gRPC over the socket of a containerd
of its own, messages by the field numbers of Kubernetes' cri-api."""
import os
import time

from clients import Containerd, docker_archive

CNI = "/usr/lib/cni"
NETWORK = """{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni-test", "isGateway": true, "ipMasq": true,
  "ipam": {"type": "host-local", "dataDir": "%s", "ranges": [[{"subnet": "10.213.7.0/24"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
"""
GATEWAY = "10.213.7.1"


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def encode(fields):
    """A protobuf message of {number: value}: strings, bytes, numbers, messages (dicts), lists of
    them, and maps (as ("map", dict))."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, tuple):
            value = [{1: k, 2: v} for k, v in value[1].items()]
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, int):
                out += varint(number << 3) + varint(v)
                continue
            v = encode(v) if isinstance(v, dict) else v.encode() if isinstance(v, str) else v
            out += varint(number << 3 | 2) + varint(len(v)) + v
    return out


def decode(data):
    """{number: last value} of a message; nested ones stay bytes."""
    fields, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n
    while at < len(data):
        key = number()
        if key & 7 == 0:
            fields[key >> 3] = number()
        elif key & 7 == 2:
            length = number()
            fields[key >> 3] = data[at:at + length]
            at += length
        else:
            raise ValueError("wire type %d" % (key & 7))
    return fields


class Cri(Containerd):
    needs = Containerd.needs + ("iptables", "nsenter")

    def __init__(self, runtime_command):
        import grpc
        super().__init__(runtime_command)
        self.channel = grpc.insecure_channel("unix:" + self.socket)
        self.parent = "/cri-test-%d" % os.getpid()
        for name, command in (("pause", ["/bin/sleep", "1000000"]), ("small", ["/bin/sh"])):
            path = "%s/%s.tar" % (self.folder, name)
            docker_archive(path, "docker.io/library/%s:1" % name, command)
            status = self.ctr("-n", "k8s.io", "image", "import", path)
            assert status[0] == 0, status
        self.pods = []
        end = time.monotonic() + 30
        # Conditions of Status: RuntimeReady, NetworkReady.
        while b"NetworkReady\x10\x01" not in self.ask("Status", {}):
            if time.monotonic() > end:
                raise AssertionError("no network: %r" % self.ask("Status", {}))
            time.sleep(0.2)

    def configuration(self):
        for d in ("cni", "logs", "cni-state"):
            os.mkdir("%s/%s" % (self.folder, d))
        with open(self.folder + "/cni/10-pods.conflist", "w") as f:
            f.write(NETWORK % (self.folder + "/cni-state"))
        return """
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:1"
restrict_oom_score_adj = true
disable_apparmor = true
tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "%s"
conf_dir = "%s/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "tested"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
BinaryName = "%s"
Root = "%s/runtime"
""" % (CNI, self.folder, self.runtime, self.folder)

    def ask(self, method, fields, timeout=60):
        call = self.channel.unary_unary("/runtime.v1.RuntimeService/" + method)
        return call(encode(fields), timeout=timeout)

    def pod_config(self, name, ports=(), shared_pid=False):
        return {1: {1: name, 2: "uid-" + name, 3: "default", 4: 0}, 2: "host-" + name,
                3: self.folder + "/logs",
                5: [{2: inside, 3: outside} for inside, outside in ports],
                8: {1: self.parent, 2: {1: {2: 0 if shared_pid else 1}}}}

    def run_pod(self, config):
        pod = decode(self.ask("RunPodSandbox", {1: config, 2: "tested"}))[1].decode()
        self.pods.append(pod)
        return pod

    def pod_address(self, pod):
        status = decode(decode(self.ask("PodSandboxStatus", {1: pod}))[1])
        return decode(status[5])[1].decode()

    def start(self, pod, config, name, command, attempt=0, shared_pid=False, limits=None):
        c = {1: {1: name, 2: attempt}, 2: {1: "docker.io/library/small:1"}, 3: command,
             11: "%s-%d.log" % (name, attempt),
             15: {1: limits or {}, 2: {3: {2: 0 if shared_pid else 1}}}}
        cid = decode(self.ask("CreateContainer", {1: pod, 2: c, 3: config}))[1].decode()
        self.ask("StartContainer", {1: cid})
        return cid

    def state(self, cid):
        """(running, exit code)"""
        status = decode(decode(self.ask("ContainerStatus", {1: cid}))[1])
        return status.get(3, 0) == 1, status.get(7, 0)

    def wait_end(self, cid):
        end = time.monotonic() + 20
        while self.state(cid)[0]:
            assert time.monotonic() < end, "the container does not end"
            time.sleep(0.05)
        return self.state(cid)[1]

    def execute(self, cid, *command, timeout=0):
        """(exit code, standard output, standard error)"""
        r = decode(self.ask("ExecSync", {1: cid, 2: list(command), 3: timeout}))
        return r.get(3, 0), r.get(1, b"").decode(), r.get(2, b"").decode()

    def log(self, name, attempt=0):
        with open("%s/logs/%s-%d.log" % (self.folder, name, attempt)) as f:
            return [line.rstrip("\n").split(" ", 3)[1:] for line in f]

    def remove_pod(self, pod):
        self.ask("StopPodSandbox", {1: pod})
        self.ask("RemovePodSandbox", {1: pod})
        self.pods.remove(pod)

    def close(self):
        for pod in list(self.pods):
            self.remove_pod(pod)
        self.channel.close()
        super().close()
