"""containerd, docker and podman driving the runtime: the same script with runc and with Moat must show
the same."""
import os
import re
import time
import unittest

import moat
from clients import Containerd, Docker, Podman, RootlessPodman, compare
from moat import until


def containerd_script(c, seen):
    def ctr(*words, **kw):
        status, out, err = c.ctr(*words, **kw)
        seen.append((words[:2], status, out, bool(err)))

    image = "docker.io/library/small:1"
    seen.append(c.run("--rm", image, "one", "/bin/sh", "-c", "echo out; echo $HOSTNAME; exit 3"))
    seen.append(c.run("--rm", image, "missing", "/no/such")[0])
    seen.append(c.run("-d", image, "two", "/bin/sleep", "1000")[0])
    ctr("task", "exec", "--exec-id", "e1", "two", "/bin/sh", "-c", "echo in; exit 4")
    status, out, _ = c.ctr("task", "ps", "two")
    seen.append((status, len(out.splitlines())))
    ctr("task", "pause", "two")
    seen.append([re.split(r"\s+", line)[2] for line in c.ctr("task", "ls")[1].splitlines()[1:]])
    ctr("task", "resume", "two")
    status, out, _ = c.ctr("task", "metrics", "two")
    seen.append((status, "memory.usage_in_bytes" in out))
    ctr("task", "kill", "-s", "SIGKILL", "two")
    time.sleep(1)
    ctr("task", "delete", "two")
    ctr("container", "delete", "two")
    ctr("task", "ls")
    # A terminal, by way of script(1).
    words = ["ctr", "-a", c.socket, "run", "--rm", "-t", "--runtime", "io.containerd.runc.v2",
             "--runc-binary", c.runtime, image, "three", "/bin/sh", "-c",
             "[ -t 0 ] && [ -t 1 ] && echo is a terminal"]
    status, out, _ = c.call(["script", "-qec", " ".join("'%s'" % w for w in words), "/dev/null"])
    seen.append((status, "is a terminal" in out))


def docker_script(c, seen):
    def docker(*words, **kw):
        status, out, err = c.docker(*words, **kw)
        seen.append((words[0], status, out, err and err.split(":")[0]))

    docker("run", "--rm", "small:1", "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    docker("run", "--rm", "-i", "small:1", "/bin/cat", stdin=b"through\n")
    seen.append(c.docker("run", "--rm", "small:1", "/no/such")[0])
    seen.append(c.docker("run", "-d", "--name", "one", "-m", "300m", "small:1", "/bin/sh", "-c",
                         "echo logged; echo kept >/written; sleep 1000")[0])
    time.sleep(1)
    docker("logs", "one")
    docker("exec", "-e", "A=b", "-w", "/data", "-u", "1000", "one", "/bin/sh", "-c",
           "echo $A; pwd; id -u; exit 4")
    docker("exec", "-i", "one", "/bin/cat", stdin=b"through exec\n")
    docker("pause", "one")
    docker("inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "one")
    docker("unpause", "one")
    docker("update", "-m", "200m", "--memory-swap", "200m", "one")
    seen.append("CMD" in c.docker("top", "one")[1])
    status, out, _ = c.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", "one")
    seen.append((status, out.split()[0], out.split()[-1]))
    target = c.folder + "/copied"
    seen.append(c.docker("cp", "one:/written", target)[0])
    with open(target) as f:
        seen.append(f.read())
    docker("stop", "-t", "1", "one")
    docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one")
    docker("start", "one")
    docker("kill", "one")
    docker("wait", "one")
    docker("rm", "one")
    build = c.folder + "/build"
    os.mkdir(build)
    with open(build + "/Dockerfile", "w") as f:
        f.write("FROM small:1\nRUN echo built >/made\nCMD [\"/bin/cat\", \"/made\"]\n")
    seen.append(c.docker("build", "-q", "-t", "built", "--network=none", build)[0])
    docker("run", "--rm", "built")


def podman_script(c, seen):
    def podman(*words, **kw):
        status, out, err = c.podman(*words, **kw)
        seen.append((words[0], status, out, bool(err)))

    net = "--network=none"
    podman("run", "--rm", net, "small:1", "/bin/sh", "-c", "echo out; exit 3")
    podman("run", "--rm", "-i", net, "small:1", "/bin/cat", stdin=b"through\n")
    seen.append(c.podman("run", "--rm", net, "small:1", "/no/such")[0])
    seen.append(c.podman("run", "-d", "--name", "one", net, "small:1", "/bin/sleep", "1000")[0])
    podman("exec", "one", "/bin/sh", "-c", "echo in; exit 4")
    podman("pause", "one")
    podman("inspect", "-f", "{{.State.Status}}", "one")
    podman("unpause", "one")
    podman("inspect", "-f", "{{.State.Status}}", "one")
    podman("kill", "one")
    podman("wait", "one")
    podman("rm", "-f", "one")


WEB = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/data"]
GET = ["/bin/busybox", "wget", "-qO-"]


def rootless_script(c, seen):
    def podman(*words, **kw):
        status, out, err = c.podman(*words, **kw)
        seen.append((words[0], status, out if "-d" not in words else "", bool(err)))

    net = "--network=none"
    podman("run", "--rm", net, "small:1", "/bin/sh", "-c", "echo out; id -u; exit 3")
    podman("run", "-d", "--name", "one", net, "small:1", "/bin/sleep", "1000")
    podman("exec", "one", "/bin/sh", "-c", "echo kept >/written; echo in; exit 4")
    podman("exec", "one", "/bin/cat", "/written")
    podman("kill", "one")
    podman("wait", "one")
    podman("start", "one")
    podman("exec", "one", "/bin/cat", "/written")
    podman("rm", "-f", "-t", "0", "one")


def docker_network_script(c, seen):
    def docker(*words, **kw):
        status, out, err = c.docker(*words, **kw)
        seen.append((words[0], status, out, err and err.split(":")[0]))

    served = (0, "content\n")
    seen.append(c.docker("network", "create", "together")[0])
    seen.append(c.docker("run", "-d", "--name", "web", "--network", "together",
                         "--network-alias", "also", "small:1", *WEB)[0])
    address = c.docker("inspect", "-f", "{{.NetworkSettings.Networks.together.IPAddress}}",
                       "web")[1].strip()
    seen.append(until(lambda: c.docker("run", "--rm", "--network", "together", "small:1", *GET,
                                       "http://%s:8080/file" % address)[:2], served))
    # By name: docker's resolver is on the loopback of the container's own network. The answers to
    # the two questions of nslookup come in any order.
    for name in ("web", "also", "nobody"):
        status, out, _ = c.docker("exec", "web", "/bin/busybox", "nslookup", name)
        seen.append((status, sorted(out.splitlines())))
        docker("run", "--rm", "--network", "together", "small:1", *GET, "http://%s:8080/file" % name)
    # Another container's network: its loopback too.
    docker("run", "--rm", "--network", "container:web", "small:1", *GET,
           "http://127.0.0.1:8080/file")
    docker("run", "--rm", "--network", "none", "small:1", "/bin/true")
    docker("exec", "web", *GET, "http://127.0.0.1:8080/file")
    seen.append(c.docker("run", "-d", "--name", "published", "-p", "18081:8080", "small:1",
                         *WEB)[0])
    seen.append(until(lambda: c.from_outside("busybox", "wget", "-qO-",
                                             "http://127.0.0.1:18081/file"), served))
    docker("rm", "-f", "web", "published")
    docker("network", "rm", "together")


def podman_pod_script(c, seen):
    def podman(*words, **kw):
        status, out, err = c.podman(*words, **kw)
        seen.append((words[:2], status, re.sub("[0-9a-f]{12,}", "ID", out), bool(err)))

    podman("pod", "create", "--name", "pod", "--network", "none", "--infra-image", "small:1",
           "--infra-command", "/bin/sleep 10000")
    podman("run", "-d", "--pod", "pod", "--name", "web", "small:1", *WEB)
    podman("run", "--rm", "--pod", "pod", "small:1", *GET, "http://127.0.0.1:8080/file")
    podman("run", "-d", "--pod", "pod", "--name", "side", "small:1", "/bin/sleep", "1000")
    podman("exec", "side", *GET, "http://127.0.0.1:8080/file")
    podman("exec", "side", "/bin/cat", "/proc/1/comm")
    podman("pod", "ps", "--format", "{{.Name}} {{.Status}} {{.NumberOfContainers}}")
    podman("kill", "side")
    podman("wait", "side")
    podman("exec", "web", "/bin/true")
    podman("restart", "-t", "0", "side")
    podman("exec", "side", *GET, "http://127.0.0.1:8080/file")
    podman("pod", "rm", "-f", "-t", "0", "pod")
    podman("ps", "-aq")


class Clients(moat.Case):
    maxDiff = 6000

    def test_containerd(self):
        compare(self, Containerd, containerd_script)

    def test_docker(self):
        compare(self, Docker, docker_script)

    def test_docker_networks(self):
        compare(self, Docker, docker_network_script)

    def test_podman_pods(self):
        compare(self, Podman, podman_pod_script)

    def test_rootless_podman(self):
        compare(self, RootlessPodman, rootless_script)

    def test_podman(self):
        compare(self, Podman, podman_script)


if __name__ == "__main__":
    unittest.main()
