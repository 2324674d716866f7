#!/usr/bin/env python3
"""Writes the compatibility matrix: the rows of syscalls/table joined with test results.

    matrix.py            rewrites compat-matrix/generated/ (matrix.json, matrix.md, matrix.html)
    matrix.py --check    exit status 1 if these files don't match the rows, or if a row that says full
                         has no test that passed natively and in Moat (when results are there)
    matrix.py --missing  prints the full rows without such a test

Results are compat-matrix/results/ENGINE.json, written by tests/harness/run_syscalls.py; they are not
kept in the repository, so what depends on them isn't compared by --check.
"""
import argparse
import glob
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LEVELS = {"kFull": "full", "kPartial": "partial", "kStub": "stub", "kRefused": "refused"}
SUPPORT = {"kFull": "full", "kIgnored": "ignored", "kRefused": "refused"}
MEANING = {
    "full": "behaves as Linux does",
    "partial": "some flags or options are missing; the values say which",
    "stub": "arguments are checked, the effect is the note's",
    "refused": "always fails with the errno that Linux has when it lacks the call",
}


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def constants():
    """The values of syscalls/abi that are plain numbers, by name."""
    found = {}
    for path in sorted(glob.glob(os.path.join(ROOT, "syscalls/abi/*.h"))):
        with open(path) as f:
            for m in re.finditer(r"inline constexpr \w+ k(\w+) =\s*([-\w]+);", f.read()):
                text = m.group(2)
                try:
                    value = int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text, 0)
                except ValueError:
                    continue
                found[m.group(1)] = value
    return found


def rows():
    out = []
    pattern = re.compile(
        r'^(SYSCALL|REFUSED)\((\w+), (\d+), (\w+), k(\w+),\s*"([^"]*)"\)$', re.M)
    text = read("syscalls/table/linux.def")
    for kind, name, nr, family, what, note in pattern.findall(text):
        row = {"name": name, "nr": int(nr), "family": family, "note": note}
        if kind == "REFUSED":
            row["level"] = "refused"
            row["errno"] = what
        else:
            row["level"] = LEVELS["k" + what]
        row["values"] = []
        out.append(row)
    expected = len(re.findall(r"^(?:SYSCALL|REFUSED)\(", text, re.M))
    if expected != len(out):
        sys.exit("linux.def: %d rows, of which %d could be read" % (expected, len(out)))
    values = constants()
    sets, uses = {}, {}
    text = read("syscalls/table/features.def")
    for kind, args in re.findall(r"^(SET|VALUE|USES)\(([^)]*)\)$", text, re.M):
        a = [x.strip() for x in args.split(",")]
        if kind == "SET":
            sets[a[0]] = []
        elif kind == "VALUE":
            sets[a[0]].append({"name": a[1], "value": values.get(a[1]), "support": SUPPORT[a[2]]})
        else:
            uses.setdefault(a[0], []).append((int(a[1]), a[2]))
    for row in out:
        for arg, name in sorted(uses.get(row["name"], [])):
            row["values"].append({"argument": arg, "set": name, "values": sets[name]})
    return out


def load_results(folder):
    """{call: {case: {engine: outcome}}} and the engines."""
    calls, engines = {}, []
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path) as f:
            data = json.load(f)
        engine = data["engine"]
        engines.append(engine)
        for case in data["cases"]:
            for call in case.get("calls", []):
                calls.setdefault(call, {}).setdefault(case["name"], {})[engine] = case["outcome"]
    # Cases that died tell no calls; the native run knows them.
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path) as f:
            data = json.load(f)
        outcome = {c["name"]: c["outcome"] for c in data["cases"]}
        for cases in calls.values():
            for name, by_engine in cases.items():
                if name in outcome:
                    by_engine.setdefault(data["engine"], outcome[name])
    return calls, sorted(engines, key=lambda e: (e != "native", e))


def proven(cases):
    """A case passed natively and on some engine."""
    return any(o.get("native") == "pass" and any(v == "pass" for e, v in o.items() if e != "native")
               for o in cases.values())


def build(table, calls, engines):
    out = []
    for row in table:
        row = dict(row)
        cases = calls.get(row["name"], {})
        row["tests"] = [{"name": n, "outcomes": cases[n]} for n in sorted(cases)]
        out.append(row)
    return {"engines": engines, "levels": MEANING, "calls": out}


def without_tests(matrix):
    return {"levels": matrix["levels"],
            "calls": [{k: v for k, v in r.items() if k != "tests"} for r in matrix["calls"]]}


def count(table):
    return {level: sum(r["level"] == level for r in table) for level in MEANING}


def markdown(table):
    n = count(table)
    lines = ["# System calls", "",
             "Made by `compat-matrix/gen/matrix.py` from `syscalls/table`; do not edit. "
             "`matrix.html` is the same to search and filter, with the values of flags and options.",
             "", "| level | calls | meaning |", "|---|---|---|"]
    for level, meaning in MEANING.items():
        lines.append("| %s | %d | %s |" % (level, n[level], meaning))
    for family in sorted({r["family"] for r in table}):
        lines += ["", "## " + family, "", "| call | number | level | note | not supported |",
                  "|---|---|---|---|---|"]
        for r in table:
            if r["family"] != family:
                continue
            level = r["level"] + (" (%s)" % r["errno"] if "errno" in r else "")
            lacking = [v["name"] for s in r["values"] for v in s["values"]
                       if v["support"] == "refused"]
            lines.append("| %s | %d | %s | %s | %s |" %
                         (r["name"], r["nr"], level, r["note"], " ".join(lacking)))
    return "\n".join(lines) + "\n"


def html(matrix):
    with open(os.path.join(HERE, "page.html")) as f:
        page = f.read()
    data = json.dumps(matrix, separators=(",", ":"), sort_keys=True).replace("</", "<\\/")
    return page.replace("/*DATA*/null", data)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--check", action="store_true")
    p.add_argument("--missing", action="store_true")
    p.add_argument("--results", default=os.path.join(ROOT, "compat-matrix/results"))
    p.add_argument("--out", default=os.path.join(ROOT, "compat-matrix/generated"))
    args = p.parse_args()
    table = rows()
    calls, engines = load_results(args.results)
    # Without results of an engine there is nothing to hold against the rows.
    judged = "native" in engines and len(engines) > 1
    unproven = [r["name"] for r in table
                if r["level"] == "full" and not proven(calls.get(r["name"], {}))]
    if args.missing:
        for name in unproven:
            cases = calls.get(name, {})
            print(name + ("" if cases else "  (no test)"))
        return 0
    files = {k: os.path.join(args.out, "matrix." + k) for k in ("json", "md", "html")}
    matrix = build(table, calls, engines)
    if not args.check:
        os.makedirs(args.out, exist_ok=True)
        with open(files["json"], "w") as f:
            json.dump(matrix, f, indent=1, sort_keys=True)
            f.write("\n")
        with open(files["md"], "w") as f:
            f.write(markdown(table))
        with open(files["html"], "w") as f:
            f.write(html(matrix))
        n = count(table)
        print(", ".join("%d %s" % (n[level], level) for level in MEANING) +
              "; %d full rows without a passing test" % len(unproven))
        return 0
    bad = []
    try:
        with open(files["json"]) as f:
            old = json.load(f)
        if without_tests(old) != without_tests(matrix):
            bad.append("matrix.json is stale")
        with open(files["md"]) as f:
            if f.read() != markdown(table):
                bad.append("matrix.md is stale")
        with open(files["html"]) as f:
            if f.read() != html(old):
                bad.append("matrix.html is stale")
    except (OSError, ValueError, KeyError) as e:
        bad.append("compat-matrix/generated can't be read: %s" % e)
    if any("stale" in b or "read" in b for b in bad):
        bad.append("run compat-matrix/gen/matrix.py and commit the result")
    if judged:
        for name in unproven:
            bad.append("%s says full, but no test of it passed natively and in Moat" % name)
        known = {r["name"] for r in table}
        for name in sorted(set(calls) - known):
            bad.append("tests cover %s, which is no system call" % name)
        for row in table:
            if row["level"] != "refused":
                continue
            for case, outcomes in sorted(calls.get(row["name"], {}).items()):
                # A test of the refusal itself says so by its name.
                if proven({case: outcomes}) and not re.search(r"Enosys|Refusal", case):
                    bad.append("%s is refused, but %s passes" % (row["name"], case))
    for b in bad:
        print("compat-matrix: " + b)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
