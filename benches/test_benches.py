#!/usr/bin/env python3
"""Tests of what measures and counts: a gate that lets everything through looks like one that has nothing to find."""

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import unittest

import gate
import report
from rows import Goal, Row, ratio
from turns import Command, GaveUp, Turn, take

HERE = os.path.dirname(os.path.abspath(__file__))
# As callgrind writes it: two functions of the program of which one calls the C library, and one inlined elsewhere.
COUNTS = """\
version: 1
positions: line
events: Ir
summary: 2000

ob=/tmp/x/lfs-image
fl=main.rs
fn=lfs_image::main
10 100
fi=inlined.rs
3 20
fe=main.rs
cob=/lib/x86_64-linux-gnu/libc.so.6
cfn=__memcpy_avx_unaligned_erms
calls=4 0
11 1000
12 5

fn=sha2::sha256::soft::compress
20 300

ob=/lib/x86_64-linux-gnu/libc.so.6
fl=???
fn=__memcpy_avx_unaligned_erms
0 1000

ob=/lib64/ld-linux-x86-64.so.2
fn=do_lookup_x
0 575

totals: 2000
"""


class Gate(unittest.TestCase):
    def test_counts_are_read(self):
        counted, functions = gate.parse(io.StringIO(COUNTS))
        self.assertEqual(counted, {"own": 125, "sha": 300, "libc": 1000})
        self.assertEqual(functions["own", "lfs_image::main"], 125)

    def test_nothing_counted_is_a_fault(self):
        with self.assertRaises(SystemExit):
            gate.parse(io.StringIO(COUNTS.replace("lfs-image", "other")))

    def compare(self, number, version="rustc-1.95.0", machine="x86_64"):
        numbers = {("own", "x86_64", "rustc-1.95.0"): 1000, ("own", "x86_64", "rustc-1.89.0"): 10}
        with contextlib.redirect_stderr(io.StringIO()) as said:
            fault = gate.compare(numbers, "own", (machine, version), number)
        return fault, said.getvalue()

    def test_more_is_a_fault_and_less_is_not(self):
        self.assertIsNone(self.compare(1030)[0])
        self.assertIn("+3.1%", self.compare(1031)[0])
        fault, said = self.compare(900)
        self.assertIsNone(fault)
        self.assertIn("it has become less", said)

    def test_an_unknown_version_is_compared_with_the_closest(self):
        self.assertIsNone(self.compare(1200, "rustc-1.96.1")[0])
        self.assertIn("+30.0%", self.compare(1300, "rustc-1.96.1")[0])

    def test_an_unknown_machine_fails_where_it_counts(self):
        before = os.environ.pop("CI", None)
        try:
            self.assertIsNone(self.compare(1000, machine="riscv64")[0])
            os.environ["CI"] = "true"
            self.assertIn("no number for riscv64", self.compare(1000, machine="riscv64")[0])
        finally:
            os.environ.pop("CI", None)
            if before is not None:
                os.environ["CI"] = before

    def test_the_archive_is_the_same_everywhere(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "gate.tar")
            subprocess.run([sys.executable, os.path.join(HERE, "make-input.py"), "gate", path], check=True)
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        # Another archive needs other numbers in gate.txt.
        self.assertEqual(digest, "29603c44ad80013330e96d801c2f03c6e037fabae1f012bc64b51e7578354c25")


class Table(unittest.TestCase):
    def row(self, ours, given_up=None):
        goals = [
            Goal("wall", "time of `cat`", ratio("wall", "lfs-image", "cat"), most=1.2),
            Goal("mke2fs", "faster than mke2fs -d", ratio("wall", "mke2fs -d", "lfs-image"), least=8),
        ]
        row = Row("A tree", {"cat": Command(["cat"]), "lfs-image": Command(["lfs-image"])}, goals, absent=["mke2fs -d"])
        results = {"cat": [Turn(wall, 0.5, 1) for wall in (1.0, 2.0, 9.0)], "lfs-image": [Turn(ours, 0.5, 8)]}
        return "plain", row, results, given_up or {"mke2fs -d": "absent"}

    def test_goals_are_judged_by_medians(self):
        met = report.summary([self.row(2.4)], {})
        self.assertIn("| 1.20 × | at most 1.20 × | met |", met)
        self.assertNotIn("Missed", met)
        missed = report.summary([self.row(2.5)], {"plain": {"wall": "there is a reason"}})
        self.assertIn("| 1.25 × | at most 1.20 × | **missed** |", missed)
        self.assertIn("there is a reason", missed)

    def test_absent_peers_are_never_guessed(self):
        self.assertIn("| absent | at least 8.00 × | open |", report.summary([self.row(1)], {}))
        self.assertIn("| mke2fs -d | absent |", report.section(*self.row(1)))

    def test_what_was_stopped_took_at_least_so_long(self):
        stopped = {"mke2fs -d": "stopped after 40 s"}
        self.assertIn("| more than 20.0 × | at least 8.00 × | met |", report.summary([self.row(2, stopped)], {}))
        self.assertIn("| more than 4.00 × | at least 8.00 × | open |", report.summary([self.row(10, stopped)], {}))

    def test_turns_end(self):
        with self.assertRaisesRegex(GaveUp, "stopped after"):
            take(Command(["sleep", "60"], limit=0.2))
        with self.assertRaisesRegex(GaveUp, "failed"):
            take(Command(["false"]))


if __name__ == "__main__":
    unittest.main()
