"""moat install and uninstall: configuration files of others are changed with care."""
import json
import os
import tempfile

import moat
from moat import Case


class Install(Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.docker = self.folder.name + "/docker/daemon.json"
        self.containerd = self.folder.name + "/config.toml"
        os.mkdir(self.folder.name + "/docker")
        self.flags = ["--docker-config", self.docker, "--containerd-config", self.containerd]

    def tearDown(self):
        self.folder.cleanup()

    def text(self, path):
        with open(path) as f:
            return f.read()

    def test_there_and_back(self):
        with open(self.docker, "w") as f:
            f.write('{"data-root": "/d", "runtimes": {"other": {"path": "/o"}}}')
        with open(self.containerd, "w") as f:
            f.write("version = 2\n# mine\n")
        before = json.loads(self.text(self.docker)), self.text(self.containerd)
        self.ok(moat.run("install", *self.flags))
        j = json.loads(self.text(self.docker))
        self.assertEqual(j["runtimes"]["moat"]["path"], os.path.realpath(moat.MOAT[0]))
        self.assertEqual(j["data-root"], "/d")
        self.assertIn('BinaryName = "%s"' % os.path.realpath(moat.MOAT[0]),
                      self.text(self.containerd))
        once = self.text(self.docker), self.text(self.containerd)
        self.ok(moat.run("install", *self.flags), "")
        self.assertEqual((self.text(self.docker), self.text(self.containerd)), once)
        self.ok(moat.run("uninstall", *self.flags))
        self.assertEqual((json.loads(self.text(self.docker)), self.text(self.containerd)), before)
        self.assertTrue(os.path.exists(self.docker + ".before-moat"))
        self.ok(moat.run("uninstall", *self.flags), "")

    def test_nothing_there_yet(self):
        self.ok(moat.run("install", *self.flags))
        self.assertIn("moat", json.loads(self.text(self.docker))["runtimes"])
        self.assertFalse(os.path.exists(self.containerd))

    def test_files_that_make_no_sense(self):
        for text in ("{", "[]", '{"runtimes": 5}'):
            with open(self.docker, "w") as f:
                f.write(text)
            self.assertNotEqual(moat.run("install", *self.flags).status, 0)
            self.assertEqual(self.text(self.docker), text)

    def test_runtime_class(self):
        self.assertIn("handler: moat\n", self.ok(moat.run("install", "--runtime-class")).out)
