"""What limits do: to a container that is within them, at them, and stopped or watched from outside."""
import json
import os
import subprocess
import time

from oci.cases import beside, case, field

HOG = "busybox awk 'BEGIN { s = sprintf(\"%1000s\", \"\"); while (1) s = s s }'"


# What runs at, or below, a limit of some dozens of MiB.
OF_MEMORY = ["config_memory_limit_of_a_child", "config_memory_limit_of_the_container", "config_oom_score_adj_chooses",
             "a_larger_memory_limit", "events_of_memory"]


def memory(mib):
    def change(c, d):
        c["linux"]["resources"]["memory"] = {"limit": mib << 20, "swap": mib << 20}
    return change


# Memory that the program touches itself, and memory that a system call fills.
field("memory_limit_of_a_child", HOG + " 2>/dev/null; echo $?; "
      "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?; echo still here",
      memory(64))
field("memory_limit_of_the_container", "exec " + HOG, memory(32))
# Not the one that wants memory, nor the largest.
field("oom_score_adj_chooses", "sh -c 'echo 1000 >/proc/self/oom_score_adj; exec busybox awk "
      "\"BEGIN { s = sprintf(\\\"%20000000s\\\", \\\"\\\"); system(\\\"echo >/tmp/up; sleep 5\\\") }\"' & p=$!; "
      "while ! [ -e /tmp/up ]; do sleep 0.1; done; " + HOG + " 2>/dev/null; echo $?; wait $p 2>/dev/null; echo $?", memory(64))
field("sysctl", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced "
      "/proc/sys/net/core/somaxconn",
      lambda c, d: c["linux"].update(sysctl={"net.ipv4.ip_forward": "1", "net.core.somaxconn": "300",
                                             "kernel.shm_rmid_forced": "1"}))


@case
def a_larger_memory_limit(r):
    cid, _ = r.started(change=memory(32))
    take = ["exec", cid, "/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=80M", "count=1"]
    seen = [r.call(*take)[0]]
    r.ok("update", "--resources=-", cid,
         stdin=json.dumps({"memory": {"limit": 200 << 20, "swap": 200 << 20}}).encode())
    return seen + [r.call(*take)[0], r.status(cid)]


@case
def events_of_memory(r):
    cid, _ = r.started(["/bin/sh", "-c", "while ! [ -e /tmp/go ]; do sleep 0.1; done; %s; exec sleep 1000" % HOG], memory(64))
    p = subprocess.Popen(r.command + ["--root", r.root, "events", "--interval", "1s", cid],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        kinds = set()
        end = time.monotonic() + 20
        while "oom" not in kinds and time.monotonic() < end:
            event = json.loads(p.stdout.readline())
            if not kinds:
                r.ok("exec", cid, "/bin/touch", "/tmp/go")
            kinds.add(event["type"])
            if event["id"] != cid:
                return event
        return sorted(kinds)
    finally:
        p.kill()
        p.stdout.close()


def group_file(pid, controller, name):
    with open("/proc/%d/cgroup" % pid) as f:
        for line in f:
            _, names, path = line.strip().split(":", 2)
            if controller in names.split(","):
                with open("/sys/fs/cgroup/%s%s/%s" % (controller, path, name)) as g:
                    return g.read().strip()
    return None


@case
def resources_on_the_host(r):
    def change(c, d):
        c["linux"]["resources"].update(
            cpu={"shares": 300, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"},
            memory={"limit": 100 << 20, "swap": 100 << 20, "reservation": 50 << 20})
    _, pid = r.started(change=change)
    return [group_file(pid, *at) for at in (
        ("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"),
        ("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.mems"), ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"), ("memory", "memory.soft_limit_in_bytes"))]


@case
def a_limit_that_makes_no_sense(r):
    def change(c, d):
        c["linux"]["resources"]["cpu"] = {"cpus": "700-800"}
    d, cid = r.bundle(change=change)
    return [r.detached("create", "--bundle", d, cid) != 0, r.call("state", cid)[0]]


@case
def pausing_one_of_two(r):
    count = ["/bin/sh", "-c", "while :; do echo x >>/tmp/n; sleep 0.02; done"]
    one, first = r.started(count)
    two, pid = r.started(count, beside(first, "network", "ipc"))

    r.wait_for_lines(one, "tmp/n")
    r.wait_for_lines(two, "tmp/n")
    r.ok("pause", two)
    seen = [r.status(one), r.status(two), r.call("exec", two, "/bin/true")[0], r.error()]
    before = r.lines(two, "tmp/n")
    seen += [r.wait_for_lines(one, "tmp/n", r.lines(one, "tmp/n") + 20),
             r.lines(two, "tmp/n") == before]
    r.ok("resume", two)
    seen += [r.status(two), r.wait_for_lines(two, "tmp/n", before)]
    r.ok("pause", two)
    return seen + [r.call("delete", "--force", two)[0], r.reap(pid), r.status(one)]


@case
def log_formats(r):
    seen = []
    for kind in ("json", "text"):
        path = "%s/log-%s" % (r.folder, kind)
        subprocess.run(r.command + ["--root", r.root, "--log", path, "--log-format", kind, "state",
                                    "none"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        with open(path) as f:
            text = f.read()
        if kind == "json":
            entry = json.loads(text)
            seen.append([sorted(entry), entry["level"], entry["msg"]])
        else:
            seen.append(["level=error" in text, "msg=\"container does not exist\"" in text])
    return seen


@case
def features(r):
    f = json.loads(r.ok("features"))
    return [set(f["hooks"]) >= {"prestart", "createRuntime", "createContainer", "startContainer",
                                "poststart", "poststop"},
            set(f["mountOptions"]) >= {"bind", "rbind", "ro", "nosuid", "noexec", "nodev", "rslave"},
            set(f["linux"]["namespaces"]) >= {"pid", "network", "ipc", "uts", "mount", "user"},
            "CAP_CHOWN" in f["linux"]["capabilities"], f["linux"]["cgroup"]["v1"],
            f["linux"]["seccomp"]["enabled"], os.path.exists(r.root)]


def propagation(c, d):
    os.mkdir(d + "/shared")
    c["linux"]["rootfsPropagation"] = "slave"
    for kind in ("private", "rslave", "shared", "unbindable"):
        c["mounts"].append({"destination": "/mnt/" + kind, "type": "bind", "source": d + "/shared",
                            "options": ["rbind", kind]})


field("propagation", "touch /mnt/private/f; ls /mnt/rslave /mnt/shared /mnt/unbindable", propagation)
field("tmpfs_options", "stat -c '%a %u:%g' /mnt/t; dd if=/dev/zero of=/mnt/t/f bs=64k count=3 2>/dev/null; "
      "echo $?; grep ' /mnt/t ' /proc/mounts | grep -o 'nodev\\|noexec\\|size=[0-9]*k' | sort",
      lambda c, d: c["mounts"].append(
          {"destination": "/mnt/t", "type": "tmpfs", "source": "t",
           "options": ["noexec", "nodev", "size=128k", "mode=1750", "uid=7", "gid=8"]}))


@case
def broken_configurations(r):
    """Each is refused, and leaves nothing."""
    changes = [
        lambda c, d: c["process"].pop("args"),
        lambda c, d: c["process"].update(cwd="relative"),
        lambda c, d: c["process"].update(cwd="/no/such/folder/that/can't/be\0"),
        lambda c, d: c.update(root={"path": "no/such"}),
        lambda c, d: c["linux"]["namespaces"].append({"type": "nonsense"}),
        lambda c, d: c["linux"]["namespaces"].append({"type": "pid"}),
        lambda c, d: c["process"].update(rlimits=[{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]),
        lambda c, d: c["mounts"].append({"destination": "/mnt", "type": "bind", "source": "/no/such",
                                         "options": ["bind"]}),
        lambda c, d: c.update(process=None),
    ]
    seen = []
    for change in changes:
        d, cid = r.bundle(change=change)
        seen.append([r.detached("create", "--bundle", d, cid) != 0, r.call("state", cid)[0]])
    d, cid = r.bundle()
    for text in ("", "{", "[]", "{\"process\": 3}"):
        with open(d + "/config.json", "w") as f:
            f.write(text)
        seen.append([r.detached("create", "--bundle", d, cid) != 0, r.call("state", cid)[0]])
    return seen
