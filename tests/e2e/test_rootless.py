"""Containers of users without rights: with ranges of ids by newuidmap(1), and with their own alone."""
import os
import shutil
import subprocess
import tempfile
import unittest

import moat
from oci import ids, runtime

USER, FIRST = 4321, 500000
# What the machine says of the user, for these processes only.
SEEN_AS = ("mount --bind $0/passwd /etc/passwd && mount --bind $0/subid /etc/subuid && "
           "mount --bind $0/subid /etc/subgid && "
           "exec setpriv --reuid %d --regid %d --clear-groups \"$@\"" % (USER, USER))
SCRIPT = ("cat /proc/self/uid_map /proc/self/setgroups; id -u; id -G; "
          "stat -c '%n %u:%g' / /data/sub /data/foreign /dev/null; cat /data/foreign /data/secret; "
          "touch /data/new && chown 3:4 /data/new; stat -c '%u:%g' /data/new; exit 7")


class Rootless(moat.Case):
    maxDiff = 4000

    def setUp(self):
        needs = ("runc", "newuidmap", "newgidmap", "setpriv", "unshare")
        if not runtime.available() or not all(map(shutil.which, needs)):
            self.skipTest("needs root, busybox-static and %s" % ", ".join(needs))
        self.folder = tempfile.mkdtemp(prefix="oci-user-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        os.chmod(self.folder, 0o755)
        with open("/etc/passwd") as f, open(self.folder + "/passwd", "w") as out:
            out.write(f.read() + "e2e:x:%d:%d::/:/bin/sh\n" % (USER, USER))
        with open(self.folder + "/subid", "w") as f:
            f.write("e2e:%d:65536\n" % FIRST)

    def seen(self, command, maps):
        # The runtime's own folder may be closed to that user.
        copy = shutil.copy(shutil.which(command[0]), self.folder)
        r = runtime.Runtime(os.path.basename(copy), [
            "unshare", "-m", "sh", "-c", SEEN_AS, self.folder, copy, *command[1:]])

        def change(c, d):
            ids.in_user_namespace(c, d, maps)
            os.chown(d + "/rootfs/data/sub", maps[-1][1], maps[-1][1])
            with open(d + "/rootfs/data/secret", "w") as f:
                f.write("secret\n")
            os.chmod(d + "/rootfs/data/secret", 0)
            os.chown(d + "/rootfs/data/secret", USER, USER)
            del c["linux"]["resources"]
            for m in c["mounts"]:
                m["options"] = [o for o in m["options"] if o != "gid=5"]
        try:
            d, cid = r.bundle(["/bin/sh", "-c", SCRIPT], change)
            subprocess.run(["chown", "%d:%d" % (USER, USER), r.folder, d], check=True)
            status, out, err = r.call("run", "--bundle", d, cid)
            new = d + "/rootfs/data/new"
            return [status, out, err, os.path.exists(new) and os.stat(new)[4:6]]
        finally:
            r.close()

    def compare(self, maps):
        # `run` would keep what the container writes in memory.
        self.assertEqual(self.seen([*moat.MOAT, "--overlay=none"], maps), self.seen(["runc"], maps))

    def test_ranges_of_ids(self):
        self.compare(((0, USER, 1), (1, FIRST, 65536)))

    def test_one_id(self):
        self.compare(((0, USER, 1),))

    def test_ranges_of_others(self):
        status, _, err, _ = self.seen(moat.MOAT, ((0, USER, 1), (1, FIRST + 100000, 10)))
        self.assertEqual(status, 1)
        self.assertIn("/etc/subuid", err)


if __name__ == "__main__":
    unittest.main()
