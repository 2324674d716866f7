"""Where Moat is meant to differ from runc: case -> (reason, what Moat shows)."""

DIFFERENCES = {
    "config_sysctl": (
        "a sandbox forwards nothing and keeps its shared memory: a warning names what can't be set",
        (1, "0\ncat: can't open '/proc/sys/kernel/shm_rmid_forced': No such file or directory\n"
            "300\n")),
    "exec_of_a_process_file": (
        "runc 1.1 forgets the umask of an exec's process",
        (0, "bar\n5\n6 7 8\n/data\n77\nCapEff:\t0000000000000000\n"
         "CapBnd:\t0000000000000020\nNoNewPrivs:\t1\n0077\n", "")),
    "hooks_in_order": (
        "runc 1.1 tells a poststart hook that the container is only created",
        ["prestart arg value", "createRuntime arg value", "createContainer arg value",
         "poststart arg value", "poststop arg value", ["prestart", "creating", True, True, True],
         ["poststart", "running", True, True, True], ["poststop", "stopped", True, True, True]]),
    "hooks_that_fail": (
        "runc waits for children of a hook that was killed for its timeout",
        [1, 1, 1, 1, 1, 1, 1, True, 0, 0, 1]),
}
