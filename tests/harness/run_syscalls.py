#!/usr/bin/env python3
"""Runs the behaviour tests natively and in Moat, and compares the outcomes.

Every program of tests/syscalls runs as it is (engine "native") and as
`MOAT --platform=ENGINE do -- PROGRAM`. A case agrees when its outcome is the native one. Cases that
are known to differ stand with a reason in tests/syscalls/expectations.json; one of them that
agrees after all is a failure too, so the list can't rot. A case that hangs or ends its program
counts as failed, and the program goes on with the next one.

Writes compat-matrix/results/ENGINE.json. Exit status 1 on any unexpected difference.
"""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Crash(Exception):
    pass


def programs(build):
    found = []
    for name in sorted(os.listdir(build)):
        path = os.path.join(build, name)
        if name.endswith("_test") and os.path.isfile(path) and os.access(path, os.X_OK):
            found.append(path)
    return found


def list_cases(program):
    """The program's cases in order, as gtest lists them natively."""
    out = subprocess.run([program, "--gtest_list_tests"], stdout=subprocess.PIPE, timeout=60,
                         stdin=subprocess.DEVNULL, check=True).stdout.decode()
    cases, suite = [], ""
    for line in out.splitlines():
        line = line.split("#")[0].rstrip()
        if not line:
            continue
        if line.startswith(" "):
            cases.append(suite + line.strip())
        elif line.endswith("."):
            suite = line
    return [c for c in cases if not c.split(".")[1].startswith("DISABLED_")]


def run_some(command, cases, timeout, env):
    """Runs the given cases in one process: yields result dictionaries, for the last one possibly
    with outcome "fail" for a hang or a crash. What wasn't reached isn't reported."""
    argv = command + ["--gtest_filter=" + ":".join(cases)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=env, start_new_session=True)
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    selector.register(process.stderr, selectors.EVENT_READ)
    streams = {process.stdout: b"", process.stderr: b""}
    current, results, hung = None, [], False
    deadline = time.monotonic() + timeout
    while selector.get_map():
        left = deadline - time.monotonic()
        if left <= 0:
            hung = True
            break
        ready = selector.select(min(left, 1.0))
        if not ready and process.poll() is not None:
            break  # something that it left behind keeps the pipes open
        for key, _ in ready:
            data = os.read(key.fileobj.fileno(), 65536)
            if not data:
                selector.unregister(key.fileobj)
                continue
            streams[key.fileobj] += data
            if key.fileobj is process.stderr:
                streams[key.fileobj] = streams[key.fileobj][-4000:]
                continue
            *lines, streams[key.fileobj] = streams[key.fileobj].split(b"\n")
            for line in lines:
                at = line.find(b"@@")
                if at < 0:
                    continue
                line = line[at:]
                if line.startswith(b"@@start "):
                    current = line[8:].decode().strip()
                    deadline = time.monotonic() + timeout
                elif line.startswith(b"@@end "):
                    try:
                        results.append(json.loads(line[6:]))
                    except ValueError:
                        results.append({"name": current, "calls": [], "outcome": "fail",
                                        "message": "unreadable report: %r" % line[:200]})
                    current = None
                    deadline = time.monotonic() + timeout
    if hung:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        status = process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    process.stdout.close()
    process.stderr.close()
    stderr = streams[process.stderr].decode(errors="replace").strip()
    if current is not None or not results:
        what = "no end within %d s" % timeout if hung else "the program ended with %s" % (
            "signal %d" % -status if status < 0 else "status %d" % status)
        if stderr:
            what += "; standard error ends: " + stderr[-1500:]
        results.append({"name": current or cases[0], "calls": [], "outcome": "fail",
                        "message": what})
    return results


def run_program(command, cases, timeout, env, give_up):
    """All cases of one program, restarted after each case that took it down."""
    left, done, bad = list(cases), {}, 0
    while left:
        if bad >= give_up:
            for name in left:
                done[name] = {"name": name, "calls": [], "outcome": "fail",
                              "message": "not run: %d cases before it ended the program" % bad}
            break
        got = run_some(command, left, timeout, env)
        new = [r for r in got if r["name"] in left]
        if not new:
            new = [{"name": left[0], "calls": [], "outcome": "fail", "message": "no report"}]
        for r in new:
            done[r["name"]] = r
        left = [c for c in left if c not in done]
        if left:
            bad += 1
    return [done[c] for c in cases]


def known_calls():
    """The names of the system calls: the table's rows."""
    with open(os.path.join(ROOT, "syscalls/table/linux.def")) as f:
        return set(re.findall(r"^(?:SYSCALL|REFUSED)\((\w+)", f.read(), re.M))


def load_expectations(path, engine):
    with open(path) as f:
        rows = json.load(f).get(engine, [])
    for row in rows:
        if not row.get("case") or not row.get("reason"):
            sys.exit("%s: every row needs a case and a reason: %r" % (path, row))
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", required=True, help="folder with the test programs")
    p.add_argument("--moat", help="the moat binary with its flags, as one string")
    p.add_argument("--engines", default="native", help="list of native, systrap, ptrace")
    p.add_argument("--filter", default="", help="only cases whose program/Suite.Case matches")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--timeout", type=int, default=60, help="seconds that one case may take")
    p.add_argument("--give-up", type=int, default=25,
                   help="stop a program after so many cases that ended it")
    p.add_argument("--expectations",
                   default=os.path.join(ROOT, "tests/syscalls/expectations.json"))
    p.add_argument("--results", default=os.path.join(ROOT, "compat-matrix/results"))
    p.add_argument("--volumes", action="store_true",
                   help="hand the build folder to the sandbox with --volume, for when the root "
                        "isn't the host's")
    p.add_argument("--quiet", action="store_true", help="don't print the messages of failures")
    args = p.parse_args()

    build = os.path.abspath(args.build)
    if not os.path.isdir(build):
        sys.exit("%s: no such folder; build the target syscall_tests first" % build)
    if os.path.isdir(os.path.join(build, "tests/syscalls")):
        build = os.path.join(build, "tests/syscalls")
    engines = args.engines.split(",")
    if any(e != "native" for e in engines) and not args.moat:
        sys.exit("--moat is needed for the engines other than native")

    pattern = re.compile(args.filter)
    plan = []
    for program in programs(build):
        name = os.path.basename(program)
        cases = [c for c in list_cases(program) if pattern.search(name + "/" + c)]
        if cases:
            plan.append((program, cases))
    if not plan:
        sys.exit("no test programs in %s (or none matches): build the target syscall_tests" % build)

    env = {k: v for k, v in os.environ.items() if not k.startswith("GTEST_")}
    env["MOAT_TEST_REPORT"] = "1"

    outcomes, failed, passed = {}, 0, 0
    # The native run is what the others are compared with: always first.
    order = ["native"] + [e for e in engines if e != "native"]
    for engine in order:
        def command(program):
            if engine == "native":
                return [program]
            moat = shlex.split(args.moat)
            extra = ["--env", "MOAT_TEST_REPORT=1", "--net-raw"]
            if args.volumes:
                extra += ["--volume", "%s:%s:ro" % (build, build)]
            return moat + ["--platform=" + engine, "do"] + extra + ["--", program]

        begin = time.monotonic()
        rows = []
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            jobs = [pool.submit(run_program, command(program), cases, args.timeout, env,
                                args.give_up) for program, cases in plan]
            for (program, _), job in zip(plan, jobs):
                got = job.result()
                base = os.path.basename(program)
                for r in got:
                    r["program"] = base
                rows += got
                counts = {o: sum(r["outcome"] == o for r in got) for o in ("pass", "fail", "skip")}
                print("%-8s %-24s %3d passed %3d failed %3d skipped" % (
                    engine, base, counts["pass"], counts["fail"], counts["skip"]), flush=True)
        outcomes[engine] = {r["name"]: r for r in rows}
        for name, r in outcomes[engine].items():
            if not r["calls"] and name in outcomes["native"]:
                r["calls"] = outcomes["native"][name]["calls"]

        if engine in engines:
            os.makedirs(args.results, exist_ok=True)
            path = os.path.join(args.results, engine + ".json")
            cases = [{k: r[k] for k in ("name", "calls", "outcome")} for r in rows]
            if args.filter and os.path.exists(path):  # a part: keep the others' results
                try:
                    with open(path) as f:
                        old = json.load(f)["cases"]
                except (ValueError, KeyError):
                    old = []
                fresh = {c["name"] for c in cases}
                cases = [c for c in old if c["name"] not in fresh] + cases
            with open(path + ".new", "w") as f:
                json.dump({"engine": engine, "cases": sorted(cases, key=lambda c: c["name"])}, f,
                          indent=1)
                f.write("\n")
            os.rename(path + ".new", path)

        expected = load_expectations(args.expectations, engine)
        calls = known_calls()
        for r in rows:
            name = r["name"]
            problem = ""
            known = next((e for e in expected if fnmatch.fnmatchcase(name, e["case"])), None)
            if engine == "native":
                wrong = r["outcome"] == "fail"
                unknown = [c for c in r["calls"] if calls and c not in calls]
                if not r["calls"] and r["outcome"] == "pass":
                    problem = "says not which calls it covers"
                elif unknown:
                    problem = "unknown call names: " + ", ".join(unknown)
            else:
                native = outcomes["native"][name]["outcome"]
                wrong = r["outcome"] != native
                if wrong and (native == "fail" or (native, r["outcome"]) == ("skip", "pass")):
                    # Counted in the native run already; or this host lacks what Moat has.
                    wrong = False
            if wrong and not known:
                problem = r["outcome"] if engine == "native" else "%s, natively %s" % (
                    r["outcome"], outcomes["native"][name]["outcome"])
            elif known and not wrong and not known.get("flaky"):
                problem = "agrees, but is listed as known to differ (%s)" % known["reason"]
            if engine not in engines:
                if problem:
                    print("native   %s: %s" % (name, problem))
                continue
            if problem:
                failed += 1
                print("FAIL %-8s %s/%s: %s" % (engine, r["program"], name, problem))
                if r.get("message") and not args.quiet:
                    print("    " + r["message"].strip().replace("\n", "\n    "))
            else:
                passed += 1
        print("%s: %d cases in %.1f s" % (engine, len(rows), time.monotonic() - begin), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
