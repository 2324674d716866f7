"""Mounts that show other owners (uidMappings of a mount, idmap): runc 1.1 has none to compare with."""
import json
import os
import unittest

import moat
from oci import ids, runtime


class IdMap(moat.Case):
    def setUp(self):
        if not runtime.available():
            self.skipTest("needs root and busybox-static")
        runtime.become_subreaper()
        self.runtime = runtime.Runtime("moat", moat.MOAT)
        self.addCleanup(self.runtime.close)

    def shared(self, d, owner):
        os.mkdir(d + "/shared")
        with open(d + "/shared/f", "w") as f:
            f.write("text\n")
        for name in ("/shared", "/shared/f"):
            os.chown(d + name, owner, owner)

    def test_maps_of_a_mount(self):
        ranges = [{"containerID": 1000, "hostID": 5, "size": 10}]

        def change(c, d):
            self.shared(d, 1003)
            c["mounts"].append({"destination": "/mnt/s", "type": "bind", "source": d + "/shared",
                                "options": ["bind"], "uidMappings": ranges, "gidMappings": ranges})
        got = self.runtime.output(["/bin/sh", "-c", "stat -c '%u:%g' /mnt/s /mnt/s/f; "
                                   "echo more >>/mnt/s/f; cat /mnt/s/f; chown 7:6 /mnt/s/f; "
                                   "stat -c %u /mnt/s/f"],
                                  change)
        if "owners of uidMappings" in str(got[1]):
            self.skipTest("the file system of %s can't: %s" % (self.runtime.folder, got[1]))
        f = os.stat(self.runtime.folder + "/b1/shared/f")
        self.assertEqual((*got, f.st_uid, f.st_gid),
                         (0, "8:8\n8:8\ntext\nmore\n7\n", 1002, 1001))

    def test_those_of_the_container(self):
        def change(c, d):
            ids.in_user_namespace(c, d)
            self.shared(d, 12)
            c["mounts"].append({"destination": "/mnt/s", "type": "bind", "source": d + "/shared",
                                "options": ["rbind", "ridmap"]})
        got = self.runtime.output(["/bin/sh", "-c", "stat -c '%u:%g' /mnt/s /mnt/s/f; "
                                   "chown 0 /mnt/s/f && cat /mnt/s/f"], change)
        if "owners of uidMappings" in str(got[1]):
            self.skipTest("the file system of %s can't: %s" % (self.runtime.folder, got[1]))
        f = os.stat(self.runtime.folder + "/b1/shared/f")
        self.assertEqual((*got, f.st_uid), (0, "12:12\n12:12\ntext\n", 0))

    def test_nonsense(self):
        for mount in ({"type": "tmpfs", "source": "t", "options": ["idmap"]},
                      {"type": "bind", "source": "/tmp", "options": ["bind", "idmap"]},
                      {"type": "bind", "source": "/tmp", "options": ["bind"],
                       "uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]}):
            d, cid = self.runtime.bundle(
                change=lambda c, d, m=mount: c["mounts"].append(dict(m, destination="/mnt/s")))
            self.assertEqual(self.runtime.detached("create", "--bundle", d, cid), 1, json.dumps(mount))


if __name__ == "__main__":
    unittest.main()
