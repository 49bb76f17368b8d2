#!/usr/bin/env python3
"""Measure tools side by side and write a table: called by run.sh.

The tools take turns, so that whatever else the machine does falls on all of them alike. Before each turn its output is removed and
everything is written back; the input is in the page cache. Time is wall-clock until the tool has ended, writing back not included;
memory is the largest resident set.
"""

import argparse
import datetime
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tarfile
import time

# A tool that takes longer than this gets one turn, and this much.
PATIENCE = 60
LIMIT = 60
INPUTS = {
    "demo": "a real Debian with systemd (the demo's tarball)",
    "small": "200,000 files of 0 to 6 KB",
    "large": "one file of 2 GiB",
    "wide": "100,000 names in one directory",
}
START, END = "<!-- measured -->\n", "<!-- end -->\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=PROGRAM")
    options = parser.parse_args()
    programs = dict(tool.split("=", 1) for tool in options.tool)
    sections = [heading(programs)]
    for name, title in INPUTS.items():
        sections.append(measure(options, name, title, programs))
        print(sections[-1], file=sys.stderr)
    write(options.report, "\n".join(sections))


def measure(options, name, title, programs):
    archive = os.path.join(options.inputs, name + ".tar")
    out = os.path.join(options.inputs, "out.img")
    with tarfile.open(archive) as tar:
        entries = sum(1 for _ in tar)
    # The others have to be told a size: the one that lfs-image found, and inodes for every entry.
    ours = [programs["lfs-image"], "-q", "raw", archive, out]
    if name != "demo":
        ours += ["--boot", "none"]  # there is no kernel in the others
    run(ours)
    size = os.path.getsize(out)
    inodes = max(entries * 5 // 4, size // 16384)
    commands = {
        "cat": (["sh", "-c", 'cat "$1" >"$2"', "sh", archive, out], {}),
        "lfs-image": (ours, {}),
    }
    if "mkext4" in programs:
        commands["mkext4"] = ([programs["mkext4"], archive, out, str(size)], {"MKEXT4_INODES": str(inodes)})
    if "mke2fs" in programs:
        command = [programs["mke2fs"], "-q", "-F", "-t", "ext4", "-N", str(inodes), "-d", archive, out, f"{size // 1024}k"]
        commands["mke2fs -d"] = (command, {})
    results = {tool: [] for tool in commands}
    given_up = {}
    with open(archive, "rb") as file:  # into the page cache
        while file.read(1 << 24):
            pass
    for number in range(options.rounds):
        for tool, (command, environment) in commands.items():
            if tool in given_up or (number and results[tool][0][0] > PATIENCE):
                continue
            if os.path.exists(out):
                os.unlink(out)
            os.sync()
            try:
                results[tool].append(turn(command, environment))
            except RuntimeError as problem:
                given_up[tool] = str(problem)
            print(f"  {name} {number + 1} {tool}: {results[tool][-1:] or given_up[tool]}", file=sys.stderr)
    if os.path.exists(out):
        os.unlink(out)
    return table(title, archive, entries, results, given_up)


def turn(command, environment):
    """Wall seconds, CPU seconds, MiB."""
    # A child of this process would begin with this process's memory as its largest: GNU time is small.
    command = ["time", "-f", "%U %S %M", *command]
    started = time.monotonic()
    # A group of its own, so that all of it can be stopped.
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **environment}, start_new_session=True
    )
    try:
        words = process.communicate(timeout=LIMIT)[1].decode(errors="replace").strip().split("\n")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise RuntimeError(f"stopped after {LIMIT} s") from None
    elapsed = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"failed: {words[0][:80]}")
    user, system, memory = words[-1].split()
    return elapsed, float(user) + float(system), int(memory) / 1024


def table(title, archive, entries, results, given_up):
    lines = [
        f"### {title[0].upper()}{title[1:]}",
        "",
        f"{entries:,} entries, {os.path.getsize(archive) / (1 << 20):,.0f} MiB.",
        "",
        "| | median | beside `cat` | CPU | peak memory |",
        "|---|---|---|---|---|",
    ]
    base = statistics.median(wall for wall, _, _ in results["cat"])
    for tool, turns in results.items():
        if tool in given_up:
            lines.append(f"| {tool} | {given_up[tool]} | | | |")
            continue
        wall, cpu, memory = (statistics.median(column) for column in zip(*turns))
        lines.append(f"| {tool} | {wall:.2f} s | {wall / base:.1f} × | {cpu:.2f} s | {memory:,.0f} MiB |")
    return "\n".join(lines) + "\n"


def heading(programs):
    def field(path, pattern):
        with open(path, encoding="utf-8") as file:
            match = re.search(pattern, file.read(), re.MULTILINE)
        return match.group(1) if match else "?"

    memory = int(field("/proc/meminfo", r"^MemTotal: +(\d+)")) >> 20
    place = subprocess.run(["df", "--output=fstype", os.getcwd()], capture_output=True, text=True).stdout.split()[-1]
    versions = [run([programs["lfs-image"], "--version"]).split("\n")[0]]
    if "mke2fs" in programs:
        versions.append(run([programs["mke2fs"], "-V"]).split("\n")[0].split(" (")[0])
    if "mkext4" in programs:
        versions.append("mkext4 0.0.3")
    return (
        f"Measured {datetime.date.today()} on {os.cpu_count()} cores of {field('/proc/cpuinfo', r'^model name.*: (.*)')}, "
        f"{memory} GiB of memory, {place}, Linux {platform.release().split('-')[0]}; {', '.join(versions)}.\n"
    )


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).strip()


def write(report, text):
    with open(report, encoding="utf-8") as file:
        before, rest = file.read().split(START)
    after = rest.split(END)[1]
    with open(report, "w", encoding="utf-8") as file:
        file.write(before + START + "\n" + text + "\n" + END + after)


if __name__ == "__main__":
    main()
