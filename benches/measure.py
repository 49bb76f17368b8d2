#!/usr/bin/env python3
"""Measure tools side by side.

    measure.py --list                                                  the rows there are
    measure.py --tool lfs-image=PATH --only plain-tree --rounds 3      one of them, printed
    measure.py --tool lfs-image=PATH --tool old=PATH --only curve      beside another build of ours

run.sh calls it for the whole table, which goes into README.md (--report).

The tools of a row take turns, so that whatever else the machine does falls on all of them alike. Before each turn its output is
removed and everything is written back; the input is in the page cache. Time is wall-clock until the tool has ended; writing back
is not included, and nobody asks for it. Memory is the largest resident set.
"""

import argparse
import os
import sys
import time

import report
from rows import HERE, PEERS, Bench
from turns import PATIENCE, GaveUp, clear, take, warm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.environ.get("LFS_IMAGE_CACHE") or os.path.join(cache, "lfs-image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", default=os.path.join(cache, "bench"), help="where inputs are made and outputs written")
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="a row, or the first part of its name")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--report", metavar="FILE", help="write the table into this file")
    parser.add_argument("--reasons", default=os.path.join(HERE, "misses.toml"), help="why goals are missed")
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=PROGRAM")
    options = parser.parse_args()
    programs = dict(tool.split("=", 1) for tool in options.tool)
    bench = Bench(options.cache, programs)
    if options.list:
        print("\n".join(bench.rows))
        return
    if "lfs-image" not in programs:
        parser.error("which lfs-image? (--tool lfs-image=PATH)")
    bench.refresh()
    names = [name for name in bench.rows if not options.only or any(name.startswith(only) for only in options.only)]
    if not names:
        parser.error("there is no such row (--list names them)")
    started = time.monotonic()
    measured = []
    for name in names:
        row = bench.row(name)
        measured.append((name, row, *measure(name, row, options.rounds)))
        print(f"{name}: {time.monotonic() - started:.0f} s since the beginning", file=sys.stderr)
        text = report.section(*measured[-1]) + "\n" + report.summary(measured[-1:], report.reasons(options.reasons))
        print(text, file=sys.stderr if options.report else sys.stdout, flush=True)
    if options.report:
        took = time.monotonic() - started
        report.write(options.report, report.whole(measured, programs, report.reasons(options.reasons), took))


def measure(name, row, rounds):
    """Turns of each tool, and what kept the others from having any."""
    results = {tool: [] for tool in row.commands}
    given_up = {tool: "absent" for tool in row.absent}
    try:
        for path in row.inputs:
            warm(path)
        for number in range(min(rounds, row.rounds)):
            for tool, command in row.commands.items():
                if tool in given_up or (number and tool in PEERS and results[tool][0].wall > PATIENCE):
                    continue
                clear(row.out)
                try:
                    results[tool].append(take(command))
                except GaveUp as problem:
                    given_up[tool] = str(problem)
                print(f"  {name} {number + 1} {tool}: {given_up.get(tool) or results[tool][-1]}", file=sys.stderr)
        clear(row.out)
    finally:
        if row.stop:
            row.stop()
    return results, given_up


if __name__ == "__main__":
    main()
