"""Python's own tests of what it asks of the system, as package libpython3.11-testsuite has them."""
import os
import unittest

import moat
from moat import Case, do, root_flags

MODULES = """
    test_concurrent_futures test_epoll test_fcntl test_file test_fileio test_glob test_gzip test_io test_json
    test_mmap test_multiprocessing_fork test_multiprocessing_spawn test_os test_pathlib
    test_poll test_posix test_pty test_pwd test_re test_resource test_select test_selectors
    test_shutil test_signal test_subprocess test_tarfile test_tempfile test_thread test_threading
    test_time test_unicode_file test_wait3 test_wait4 test_zipfile""".split()

# Without a network outside: what they want of the internet is then skipped, here as natively.
NETWORK_MODULES = """
    test_asyncio test_asyncore test_ftplib test_httplib test_ipaddress test_smtpd test_smtplib
    test_socket test_socketserver test_ssl test_telnetlib test_urllib test_urllib2_localnet""".split()

# Cases whose outcome is known to differ from the native one.
KNOWN = {
    "test_fcntl": "test_fcntl_64_bit",    # F_NOTIFY: as Linux without CONFIG_DNOTIFY
    "test_shutil": "test_disk_usage",     # wants used blocks: an overlay above tmpfs has none
}


@unittest.skipUnless(os.environ.get("MOAT_E2E_SLOW"), "an hour; with --slow")
class PythonsOwnTests(Case):
    def module(self, name):
        if not moat.ROOTFS:
            self.skipTest("no root file system; see rootfs.sh")
        if not os.path.exists(os.path.join(moat.ROOTFS, "usr/lib/python3.11/test/support")):
            self.skipTest("the root file system holds no libpython3.11-testsuite; see rootfs.sh")
        without = KNOWN.get(name, "").split()
        network = name in NETWORK_MODULES
        # Not as process 1: that ignores signals, and orphans become its children.
        self.ok(do("/bin/sh", "-c", 'python3 -m test -u all,%s-urlfetch,-largefile,-cpu '
                   '--timeout 800 "$@" 2>&1; exit $?' % ("" if network else "-network,"),
                   "sh", name,
                   *[a for w in without for a in ("-i", "*%s*" % w)],
                   flags=root_flags() + ["--env", "LANG=C.UTF-8", "--cwd", "/tmp"] +
                   (["--network=none"] if network else []), timeout=900))


def add(name):
    setattr(PythonsOwnTests, name, lambda self: self.module(name))


for module in MODULES + NETWORK_MODULES:
    add(module)

if __name__ == "__main__":
    unittest.main()
