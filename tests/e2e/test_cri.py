"""Pods by way of containerd's CRI plugin, as the kubelet asks for them: the same with runc and with
Moat."""
import importlib.util
import os
import re
import unittest

import moat
from clients import compare
from cri import CNI, GATEWAY, Cri
from moat import until

SLEEP = ["/bin/sh", "-c", "echo up; echo to the error stream >&2; sleep 1000"]
WEB = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/data"]
GET = ["/bin/busybox", "wget", "-qO-"]


def pod_script(c, seen):
    config = c.pod_config("one", [(8080, 18080)])
    pod = c.run_pod(config)
    web = c.start(pod, config, "web", WEB)
    side = c.start(pod, config, "side", SLEEP)
    seen += [c.state(web), c.state(side)]
    # The network is the pod's, processes and files are the container's own.
    seen.append(c.execute(side, *GET, "http://127.0.0.1:8080/file"))
    seen.append(c.execute(side, "/bin/sh", "-c", "echo only here >/data/file; cat /data/file"))
    seen.append(c.execute(side, *GET, "http://127.0.0.1:8080/file"))
    seen.append(c.execute(side, "/bin/sh", "-c", "hostname; echo $$ >/tmp/n; cat /proc/1/comm"))
    seen.append(c.execute(web, "/bin/cat", "/proc/1/comm"))
    # From the node: by the pod's address and by the port that is mapped.
    seen.append(c.from_outside("busybox", "wget", "-qO-",
                               "http://%s:8080/file" % c.pod_address(pod)))
    seen.append(c.from_outside("busybox", "wget", "-qO-", "http://%s:18080/file" % GATEWAY))
    # Probes.
    seen.append(c.execute(web, "/bin/sh", "-c", "echo o; echo e >&2; exit 5"))
    seen.append([c.execute(web, "/bin/true")[0] for _ in range(10)])
    try:
        seen.append(c.execute(web, "/bin/sleep", "100", timeout=1))
    except Exception as e:  # grpc's own class
        seen.append(e.code().name)
    seen.append(sorted(c.log("side")))  # two pipes
    # One container ends and comes back; the others live on.
    c.ask("StopContainer", {1: side, 2: 0})
    seen += [c.state(side), c.state(web)]
    c.ask("RemoveContainer", {1: side})
    side = c.start(pod, config, "side", ["/bin/sh", "-c", "echo again; exit 7"], attempt=1)
    seen += [c.wait_end(side), c.log("side", 1), c.state(web)]
    side = c.start(pod, config, "side", SLEEP, attempt=2)
    seen.append(c.execute(side, *GET, "http://127.0.0.1:8080/file"))
    c.ask("StopContainer", {1: web, 2: 0})
    seen.append(c.execute(side, "/bin/cat", "/data/file"))
    c.remove_pod(pod)


def shared_pids_script(c, seen):
    config = c.pod_config("two", shared_pid=True)
    pod = c.run_pod(config)
    first = c.start(pod, config, "first", ["/bin/sh", "-c", "sleep 1001 & exec sleep 1002"],
                    shared_pid=True)
    second = c.start(pod, config, "second", ["/bin/sleep", "1003"], shared_pid=True)

    def sleepers():
        lines = c.execute(second, "/bin/ps", "-o", "args")[1].splitlines()
        return sorted(line for line in lines if re.match("(/bin/)?sleep 1", line))
    # Both, and the pod's own process, which is the first.
    seen.append(sleepers())
    seen.append(c.execute(second, "/bin/cat", "/proc/1/cmdline"))
    seen.append(c.execute(second, "/bin/sh", "-c",
                          "kill -9 $(ps -o pid,args | grep '[s]leep 1002' | cut -c1-6)"))
    seen.append(c.wait_end(first))
    # What the first one had left is gone with it.
    until(lambda: len(sleepers()), 1)
    seen.append(sleepers())
    c.remove_pod(pod)


def limits_script(c, seen):
    config = c.pod_config("three")
    pod = c.run_pod(config)
    small = c.start(pod, config, "small", ["/bin/sleep", "1000"],
                    limits={1: 100000, 2: 50000, 3: 512, 4: 64 << 20})
    seen.append(c.execute(small, "/bin/true"))
    c.ask("UpdateContainerResources", {1: small, 2: {3: 256, 4: 80 << 20}})
    seen.append(c.state(small))
    c.remove_pod(pod)


class Pods(moat.Case):
    maxDiff = 6000

    def compare(self, script):
        missing = []
        if importlib.util.find_spec("grpc") is None:
            missing.append("python3-grpcio")
        if not os.path.exists(CNI + "/portmap"):
            missing.append("containernetworking-plugins")
        compare(self, Cri, script, missing)

    def test_pod(self):
        self.compare(pod_script)

    def test_shared_processes(self):
        self.compare(shared_pids_script)

    def test_limits(self):
        self.compare(limits_script)


if __name__ == "__main__":
    unittest.main()
