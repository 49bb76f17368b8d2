#!/usr/bin/env python3
"""Count the instructions that a fixed archive takes, and fail where they have become more: a clock that is the same on every
machine.

    gate.py            build the command, count, compare with gate.txt
    gate.py --bless    write the numbers that were counted into gate.txt
    gate.py --top      also say which functions they are in

valgrind's callgrind counts one run of `lfs-image raw` on the archive `gate` of make-input.py. Three numbers are compared, each
with 3 % of tolerance:

- `own`: instructions of the program's own code, Rust's libraries included. A compiler's version changes it.
- `sha`: those of SHA-256, apart, since most processors have an instruction for it that valgrind's lacks.
- `libc`: instructions of the C library, nearly all of them copying, comparing and filling memory. Its version changes it.

The dynamic loader's aren't counted. valgrind shows every machine of an architecture the same processor, so the ways that code
chooses by looking at the processor are the same, too. gate.txt has a number for each version that somebody has blessed. For
a version that it doesn't know, the closest one is compared with 25 % of tolerance, which still finds what does its work
twice; bless the new version then.
"""

import argparse
import collections
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
NUMBERS = os.path.join(HERE, "gate.txt")
PLACES = ("own", "sha", "libc")
TOLERANCE, LOOSE = 0.03, 0.25
PACKAGE = ["-p", "lfs-image-cli", "--no-default-features", "--features", "zstd-c"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bless", action="store_true", help="write the numbers into gate.txt")
    parser.add_argument("--top", action="store_true", help="list functions")
    parser.add_argument("--program", help="count this program, built for release, instead of building one")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        if os.environ.get("CI"):
            sys.exit("error: valgrind is missing, and nothing was counted (scripts/install-judges.sh installs it)")
        print("SKIPPED: valgrind is missing, and no instructions were counted", file=sys.stderr)
        return
    program = options.program or build()
    counted, functions = count(program)
    if options.top:
        for (where, name), cost in functions.most_common(40):
            print(f"{cost:>14,}  {where:<5} {name[:150]}")
    versions = {"own": rustc(), "sha": rustc(), "libc": libc()}
    if options.bless:
        bless({(name, *versions[name]): number for name, number in counted.items()})
    numbers = read()
    faults = [fault for name, number in counted.items() if (fault := compare(numbers, name, versions[name], number))]
    if faults:
        sys.exit("\n".join(["error: a fixed archive takes more instructions than it did, or nobody has said how many", *faults, *HINT]))


HINT = (
    "  where it went: benches/gate.py --top, here and on the commit before",
    "  if it has to be so: benches/gate.py --bless, and say why in the commit",
)


def build():
    subprocess.run(["cargo", "build", "--release", "--locked", *PACKAGE], check=True, cwd=os.path.join(HERE, ".."))
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    found = subprocess.run(metadata, check=True, cwd=os.path.join(HERE, ".."), capture_output=True).stdout
    return os.path.join(json.loads(found)["target_directory"], "release", "lfs-image")


def count(program):
    """Instructions by place, and by function."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, os.path.join(HERE, "make-input.py"), "gate", os.path.join(folder, "gate.tar")], check=True)
        shutil.copy(program, os.path.join(folder, "lfs-image"))
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=counts", "--compress-strings=no"]
        command += ["--compress-pos=no", "./lfs-image", "-q", "raw", "--boot", "none", "gate.tar", "out.img"]
        # Nothing of this machine's or person's: an environment is read, copied and searched, too.
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: valgrind: {done.stderr.strip()}")
        with open(os.path.join(folder, "counts"), encoding="utf-8", errors="replace") as file:
            return parse(file)


def parse(lines):
    """The self cost of each function, from callgrind's format: what a call costs is on the line after `calls=`."""
    functions = collections.Counter()
    where = name = None
    called = False
    for line in lines:
        if line.startswith("ob="):
            where = place(line[3:].strip())
        elif line.startswith("fn="):
            name = line[3:].strip()
        elif line.startswith("calls="):
            called = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            if not called and where:
                functions[where, name] += int(line.split()[1])
            called = False
    counted = collections.Counter()
    for (where, name), cost in functions.items():
        counted["sha" if "sha2::" in name else where] += cost
    if missing := [name for name in PLACES if not counted[name]]:
        sys.exit(f"error: callgrind has counted nothing of {', '.join(missing)}")
    return {name: counted[name] for name in PLACES}, functions


def place(path):
    base = os.path.basename(path)
    if base == "lfs-image":
        return "own"
    return "libc" if re.match(r"libc[.-]", base) else None


def rustc():
    return platform.machine(), "rustc-" + word(["rustc", "--version"], r"(\d+\.\d+\.\d+)")


def libc():
    return platform.machine(), "glibc-" + word(["getconf", "GNU_LIBC_VERSION"], r"(\d+\.\d+)")


def word(command, pattern):
    found = re.search(pattern, subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found.group(1) if found else "unknown"


def read():
    with open(NUMBERS, encoding="utf-8") as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return {(name, machine, version): int(number.replace("_", "")) for name, machine, version, number in rows}


def bless(found):
    with open(NUMBERS, encoding="utf-8") as file:
        comments = [line for line in file if line.startswith("#")]
    numbers = {**read(), **found}
    with open(NUMBERS, "w", encoding="utf-8") as file:
        file.writelines(comments)
        file.writelines(f"{' '.join(key)} {number:_}\n" for key, number in sorted(numbers.items()))


def compare(numbers, name, key, number):
    """Says how it is; returns what is wrong."""
    machine, version = key
    known = {other: count for (kind, where, other), count in numbers.items() if (kind, where) == (name, machine)}
    if not known:
        said = f"{name}: {number:,} instructions, and gate.txt has no number for {machine}"
        print(f"{said} (benches/gate.py --bless)", file=sys.stderr)
        return f"  {said}" if os.environ.get("CI") else None
    closest = version if version in known else max(known, key=lambda other: (distance(other, version), other))
    limit = TOLERANCE if closest == version else LOOSE
    change = number / known[closest] - 1
    said = f"{name}: {number:,} instructions, {change:+.1%} beside {known[closest]:,} of {closest} ({limit:.0%} is the limit)"
    print(said, file=sys.stderr)
    if closest != version:
        print(f"{name}: gate.txt doesn't know {version} yet (benches/gate.py --bless)", file=sys.stderr)
    elif change < -limit:
        print(f"{name}: it has become less: keep it so (benches/gate.py --bless)", file=sys.stderr)
    return f"  {said}" if number > known[closest] * (1 + limit) else None


def distance(other, version):
    """How close two versions are; the larger, the closer."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (other, version)]
    return tuple(-abs(a - b) for a, b in zip(*numbers))


if __name__ == "__main__":
    main()
