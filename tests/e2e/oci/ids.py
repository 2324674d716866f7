"""User namespaces: ids of a container that are others on the host."""
import os

from oci.cases import case, field

FIRST = 100000  # the host's id that stands for the container's root


def own(root, first=FIRST):
    """Gives a root file system to the container's root."""
    for folder, dirs, files in os.walk(root):
        for name in dirs + files + ["."]:
            os.lchown(os.path.join(folder, name), first, first)


def in_user_namespace(c, d, maps=((0, FIRST, 65536),)):
    # The runtime's set-up looks for the root as the container's root.
    os.chmod(os.path.dirname(d), 0o755)
    os.chmod(d, 0o755)
    own(d + "/rootfs", maps[0][1])
    with open(d + "/rootfs/data/foreign", "w") as f:
        f.write("the host's\n")
    os.chmod(d + "/rootfs/data/foreign", 0o600)
    with open(d + "/rootfs/data/closed", "w") as f:
        f.write("closed\n")
    os.chmod(d + "/rootfs/data/closed", 0)
    os.chown(d + "/rootfs/data/closed", maps[0][1] + 7, maps[0][1])
    c["linux"]["namespaces"].append({"type": "user"})
    ranges = [{"containerID": a, "hostID": b, "size": n} for a, b, n in maps]
    c["linux"].update(uidMappings=ranges, gidMappings=ranges)


SHOWN = ("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -G; "
         "stat -c '%n %u:%g' / /data /data/foreign /data/closed /dev/null /dev/pts /proc/self /sys; "
         "cat /data/foreign; cat /data/closed; "
         "touch /data/new && chown 5:6 /data/new && stat -c '%u:%g' /data/new; "
         "chown 70000 /data/new; mknod /data/node c 1 3; echo $?; "
         "mount -t tmpfs -o uid=3,size=64k t /mnt; stat -c '%u:%g' /mnt; "
         "grep ^Cap /proc/self/status; hostname other; hostname")


field("owners_of_written_files", "echo more >>/data/file; chown 7:6 /data/file; "
      "stat -c '%u:%g' /data/file; chown 9 /data/file; stat -c '%u:%g' /data/file")


@case
def user_namespace(r):
    status, text = r.output(["/bin/sh", "-c", SHOWN], in_user_namespace)
    new = os.stat("%s/b%d/rootfs/data/new" % (r.folder, r.serial))
    return [status, text, new.st_uid, new.st_gid]


@case
def user_namespace_of_several_ranges(r):
    def change(c, d):
        in_user_namespace(c, d, ((0, 200000, 10), (1000, 300000, 5)))
        os.chown(d + "/rootfs/data/sub", 300003, 300003)
        c["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5]}
    return r.output(["/bin/sh", "-c", "cat /proc/self/uid_map; id -u; id -G; ls -ldn /data/sub | "
                     "tr -s ' ' | cut -d' ' -f3,4; touch /nope; echo x >/tmp/x"], change)


@case
def execs_in_a_user_namespace(r):
    cid, _ = r.started(change=in_user_namespace)
    show = ["/bin/sh", "-c", "id -u; id -G; stat -c '%u:%g' /proc/self; touch /tmp/a; "
            "cat /data/closed"]
    return [r.call("exec", cid, *show), r.call("exec", "--user", "7:8", cid, *show),
            r.call("exec", "--user", "70000", cid, *show)[0] != 0]


@case
def user_namespaces_that_make_no_sense(r):
    def without_maps(c, d):
        c["linux"]["namespaces"].append({"type": "user"})

    def without_namespace(c, d):
        in_user_namespace(c, d)
        c["linux"]["namespaces"].pop()

    def without_root(c, d):
        in_user_namespace(c, d, ((1, FIRST, 5),))

    def overlapping(c, d):
        in_user_namespace(c, d, ((0, FIRST, 10), (5, FIRST + 100, 10)))
    seen = []
    for change in (without_maps, without_namespace, without_root, overlapping):
        d, cid = r.bundle(change=change)
        seen += [r.detached("create", "--bundle", d, cid) != 0, r.call("state", cid)[0]]
    return seen
