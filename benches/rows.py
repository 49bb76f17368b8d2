"""The rows of the table: what is run against what, and what is aimed at."""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field

from turns import LIMIT, Command, clear, shell, warm

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = "lfs-image"
MKE2FS = "mke2fs -d"
DRY = "lfs-image --dry-run"
# The tools beside ours, and the program that each one is.
PEERS = {"mkext4": "mkext4", "tar2ext4": "tar2ext4", MKE2FS: "mke2fs"}
PACKERS = {"zstd": ("zst", ["zstd", "-T0"]), "gzip": ("gz", ["gzip", "-n"]), "xz": ("xz", ["xz", "-2", "-T0"])}
CURVE = (10_000, 100_000, 1_000_000, 3_000_000)
# Turns of the rows in which one takes long. They differ by a few per cent; the whole table is to take less than 20 minutes.
ROUNDS = {("tree", "xz"): 1, ("tree", "gzip"): 2, ("rootfs", "xz"): 3}
# GiB: the largest of these that fits twice on the disk.
HUGE = (20, 10, 5, 2)
# Requests at a time; and in a second, which the service takes for a snapshot.
JOBS, RATE = 8, 1000


@dataclass
class Goal:
    """A number that is to be at most, or at least, so much: `value` makes it of the turns of each tool, or None."""

    key: str
    text: str
    value: object
    most: float = None
    least: float = None
    unit: str = "×"


@dataclass
class Row:
    title: str
    commands: dict
    goals: list
    # The tool that the others are shown beside.
    base: str = "cat"
    inputs: list = field(default_factory=list)
    out: str = None
    # At most so many turns for each tool.
    rounds: int = 99
    note: str = ""
    absent: list = field(default_factory=list)
    # How many entries each tool works on, where that is what the row is about.
    entries: dict = field(default_factory=dict)
    # Called after the last turn.
    stop: object = None


def median(results, tool, what):
    turns = results.get(tool)
    return statistics.median(getattr(turn, what) for turn in turns) if turns else None


def ratio(what, tool, base):
    def value(results):
        above, below = median(results, tool, what), median(results, base, what)
        return above / below if above is not None and below else None

    return value


def memory_goal(each, entries):
    return Goal(
        "memory",
        f"memory: 64 MiB and {each} bytes for each entry",
        lambda results: median(results, OURS, "memory"),
        most=64 + each * entries / (1 << 20),
        unit=" MiB",
    )


class Bench:
    """Where things are, and the rows made of them."""

    def __init__(self, cache, programs):
        # All that is in it was made here.
        self.folder, self.programs = os.path.join(cache, "inputs"), programs
        self.out = os.path.join(self.folder, "out.img")
        self.rows = {
            **{f"plain-{name}": (self.plain, name) for name in ("rootfs", "tree")},
            **{f"{packer}-{name}": (self.packed, name, packer) for packer in PACKERS for name in ("rootfs", "tree")},
            "small": (self.smaller, "200,000 small files (0 to 4 KiB)", "million-200000"),
            "names": (self.smaller, "100,000 names in one directory", "wide-100000"),
            "file": (self.smaller, "One file of 2 GiB", "huge-2"),
            "million": (self.million,),
            "wide": (self.wide,),
            "sparse": (self.sparse,),
            "push": (self.push,),
            "start": (self.start,),
            "curve": (self.curve,),
            # The last: it drives everything else out of the page cache.
            "huge": (self.huge,),
        }

    def refresh(self):
        """Inputs that another version of make-input.py has made are made anew."""
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(HERE, "make-input.py"), "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        note = os.path.join(self.folder, "make-input.sha256")
        if os.path.exists(note):
            with open(note, encoding="utf-8") as file:
                if file.read().strip() == digest:
                    return
        for name in os.listdir(self.folder):
            if not name.startswith("rootfs"):
                os.unlink(os.path.join(self.folder, name))
        with open(note, "w", encoding="utf-8") as file:
            file.write(digest + "\n")

    def row(self, name):
        make, *words = self.rows[name]
        row = make(*words)
        if "old" in self.programs:
            # Another build of ours, run on the same.
            for tool, command in list(row.commands.items()):
                if command.argv and command.argv[0] == self.programs[OURS]:
                    argv = [self.programs["old"], *command.argv[1:]]
                    row.commands[f"{tool} (old)"] = Command(argv, command.env, command.limit, command.times, command.out)
        return row

    def input(self, name):
        """The path of an input, which is made if it isn't there."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            print(f"making {name}", file=sys.stderr)
            base, _, ending = name.partition(".tar")
            if ending:
                packer = next(argv for suffix, argv in PACKERS.values() if suffix == ending[1:])
                with open(path + ".part", "wb") as file:
                    subprocess.run([*packer, "-c", self.input(base + ".tar")], stdout=file, check=True)
            elif base == "rootfs":
                subprocess.run([os.path.join(HERE, "../scripts/make-rootfs.sh"), path + ".part"], check=True)
            else:
                subprocess.run([sys.executable, os.path.join(HERE, "make-input.py"), base, path + ".part"], check=True)
            os.rename(path + ".part", path)
        return path

    def ours(self, archive, *options):
        # Only the root filesystem has a kernel.
        boot = [] if os.path.basename(archive).startswith("rootfs") else ["--boot", "none"]
        return Command([self.programs[OURS], "-q", "raw", archive, self.out, *boot, *options])

    def cat(self, archive):
        return shell('cat "$1" >"$2"', archive, self.out)

    def describe(self, archive):
        """Size and number of entries of the image, as ours finds them."""
        clear(self.out)
        argv = self.ours(archive, "--dry-run", "--json").argv
        report = json.loads(subprocess.run(argv, capture_output=True, check=True, text=True).stdout)
        return report["size"], report["input"]["entries"]

    def peers(self, archive):
        """What else makes ext4 of a tarball. Where it has to be told a size and a number of inodes, it is told ours."""
        size, entries = self.describe(archive)
        inodes = max(entries * 5 // 4, size // 16384)
        program = {tool: self.programs.get(name) for tool, name in PEERS.items()}
        commands = {
            "mkext4": Command([program["mkext4"], archive, self.out, str(size)], {"MKEXT4_INODES": str(inodes)}),
            "tar2ext4": Command([program["tar2ext4"], "-i", archive, "-o", self.out]),
            MKE2FS: Command(
                [program[MKE2FS], "-q", "-F", "-t", "ext4", "-N", str(inodes), "-d", archive, self.out, f"{size // 1024}k"]
            ),
        }
        for command in commands.values():
            command.limit = LIMIT
        return {tool: command for tool, command in commands.items() if program[tool]}

    def absent(self):
        return [tool for tool, name in PEERS.items() if name not in self.programs]

    def content(self, archive):
        """What a section says of its input."""
        _, entries = self.describe(archive)
        return f"{entries:,} entries, {os.path.getsize(archive) / (1 << 20):,.0f} MiB."

    def plain(self, name):
        archive = self.input(name + ".tar")
        goals = [
            Goal("wall", "time of `cat`", ratio("wall", OURS, "cat"), most=1.2),
            Goal("cpu", "CPU of `cat`", ratio("cpu", OURS, "cat"), most=1.2),
            Goal("mke2fs", "faster than mke2fs -d", ratio("wall", MKE2FS, OURS), least=8),
            Goal("tar2ext4", "faster than tar2ext4", ratio("wall", "tar2ext4", OURS), least=3),
            Goal("mkext4", "faster than mkext4", ratio("wall", "mkext4", OURS), least=3),
        ]
        commands = {"cat": self.cat(archive), OURS: self.ours(archive)}
        if name == "rootfs":
            commands[DRY] = self.ours(archive, "--dry-run")
            goals.append(Goal("dry-run", "planning alone, of the full run", self.percent("wall", DRY, OURS), most=10, unit="%"))
        return Row(
            {"rootfs": "A Debian root filesystem, plain tar", "tree": "A tree of 70,000 entries, plain tar"}[name],
            {**commands, **self.peers(archive)},
            goals,
            inputs=[archive],
            out=self.out,
            note=self.content(archive),
            absent=self.absent(),
        )

    def packed(self, name, packer):
        archive = self.input(f"{name}.tar.{PACKERS[packer][0]}")
        what = f"{packer} -dc"
        return Row(
            {"rootfs": "A Debian root filesystem, ", "tree": "A tree of 70,000 entries, "}[name] + packer,
            {what: shell(f'{what} "$1" >"$2"', archive, self.out), OURS: self.ours(archive)},
            [Goal("wall", f"time of `{what}`", ratio("wall", OURS, what), most=1.3 if packer == "zstd" else 1.1)],
            base=what,
            inputs=[archive],
            out=self.out,
            rounds=ROUNDS.get((name, packer), 99),
            note=f"{os.path.getsize(archive) / (1 << 20):,.0f} MiB, {os.path.getsize(self.input(name + '.tar')) / (1 << 20):,.0f} unpacked.",
        )

    def smaller(self, title, name):
        """One kind of work at a time, of a size that the peers can take, too."""
        archive = self.input(name + ".tar")
        _, entries = self.describe(archive)
        return Row(
            title,
            {"cat": self.cat(archive), OURS: self.ours(archive), **self.peers(archive)},
            [
                Goal("wall", "time of `cat`", ratio("wall", OURS, "cat"), most=2),
                Goal("mke2fs", "faster than mke2fs -d", ratio("wall", MKE2FS, OURS), least=5),
                memory_goal(500, entries),
            ],
            inputs=[archive],
            out=self.out,
            note=self.content(archive),
            absent=self.absent(),
        )

    def million(self):
        archive = self.input("million.tar")
        _, entries = self.describe(archive)
        return Row(
            "1,000,000 small files (0 to 4 KiB)",
            {
                "cat": self.cat(archive),
                OURS: self.ours(archive),
                DRY: self.ours(archive, "--dry-run"),
                **self.peers(archive),
            },
            [
                Goal("wall", "time of `cat`", ratio("wall", OURS, "cat"), most=1.5),
                memory_goal(250, entries),
                Goal("dry-run", "planning alone, of the full run", self.percent("wall", DRY, OURS), most=40, unit="%"),
            ],
            inputs=[archive],
            out=self.out,
            note=self.content(archive),
            absent=self.absent(),
        )

    def wide(self):
        wide, spread = self.input("wide.tar"), self.input("spread.tar")
        names = "in one directory", "in 1,000 directories"
        return Row(
            "1,000,000 names in one directory",
            {names[1]: self.ours(spread), names[0]: self.ours(wide), "cat": self.cat(wide)},
            [Goal("wall", "time of the same names in 1,000 directories", ratio("wall", *names), most=2)],
            base=names[1],
            inputs=[wide, spread],
            out=self.out,
            note=f"Empty files, {os.path.getsize(wide) / (1 << 20):,.0f} MiB.",
        )

    def huge(self):
        names = {gib: f"huge-{gib}.tar" for gib in HUGE}
        there = {gib: os.path.exists(os.path.join(self.folder, name)) for gib, name in names.items()}
        free = shutil.disk_usage(self.folder).free >> 30
        gib = next((gib for gib in HUGE if free > gib * (2 - there[gib]) + 5), HUGE[-1])
        archive = self.input(names[gib])
        notes = []
        if gib < HUGE[0]:
            notes.append(f"The disk has no room for {HUGE[0]} GiB twice.")
        if gib > 8:
            notes.append("More than the page cache holds: the disk is measured, too.")
        return Row(
            f"One file of {gib} GiB",
            {"cat": self.cat(archive), OURS: self.ours(archive)},
            [Goal("wall", "time of `cat`", ratio("wall", OURS, "cat"), most=1.1)],
            inputs=[archive],
            out=self.out,
            rounds=1,
            note=" ".join(notes),
        )

    def push(self):
        """An upload beside a client that sends the same blocks and does nothing else, to a server that forgets them."""
        names = ("push", "discard-server", "bare-client")
        what, bare, paced = "lfs-image push", "bare client", f"bare client, {RATE} requests a second"
        title = "Push of the plan to a server on loopback that discards"
        goals = [
            Goal("bare", "throughput of a bare client", self.percent("wall", bare, what), least=80, unit="%"),
            Goal(
                "paced",
                f"throughput of a bare client that keeps to the service's {RATE} requests a second",
                self.percent("wall", paced, what),
                least=80,
                unit="%",
            ),
        ]
        if not all(name in self.programs for name in names):
            return Row(title, {}, goals, base=bare, absent=[what, bare])
        program, server, client = (self.programs[name] for name in names)
        archive, image = self.input("tree.tar"), os.path.join(self.folder, "push.img")
        blocks = os.path.join(self.folder, "push.blocks")
        options = ["--boot", "none", "--target", "ec2"]
        clear(image)
        subprocess.run([self.programs[OURS], "-q", "raw", archive, image, *options], check=True, stdout=subprocess.DEVNULL)
        process = subprocess.Popen([server, blocks], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = process.stdout.readline().strip()
        environment = {
            "AWS_ACCESS_KEY_ID": "AKIABENCHEXAMPLE0001",
            "AWS_SECRET_ACCESS_KEY": "bench/secret+key/EXAMPLE",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        push = [program, "-q", "push", archive, *options, "--snapshot-only", "--no-resume", "--force"]
        push += ["--jobs", str(JOBS), "--endpoint-url", f"http://127.0.0.1:{port}"]
        # The first one also leaves the list of its blocks.
        subprocess.run(push, check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
        with open(blocks, encoding="utf-8") as file:
            count = sum(1 for _ in file)
        warm(image)
        bare_client = [client, port, image, blocks, str(JOBS)]

        def stop():
            process.stdin.close()
            process.wait(timeout=10)
            clear(image, blocks)

        return Row(
            title,
            {bare: Command(bare_client), paced: Command([*bare_client, str(RATE)]), what: Command(push, environment)},
            goals,
            base=bare,
            inputs=[archive, image],
            out=self.out,
            note=f"{count:,} blocks of 512 KiB, {JOBS} at a time, from the plain tar; the bare client reads them from an image.",
            stop=stop,
        )

    @staticmethod
    def percent(what, tool, base):
        def value(results):
            part = ratio(what, tool, base)(results)
            return part and part * 100

        return value

    def sparse(self):
        sparse, dense = self.input("sparse.tar"), self.input("dense.tar")
        names = "1 TiB with 1,024 pieces of 1 MiB", "1 GiB without holes"
        return Row(
            "One file of 1 TiB with 1 GiB of data",
            {"cat": self.cat(sparse), names[0]: self.ours(sparse), names[1]: self.ours(dense)},
            [
                Goal("wall", "time of `cat` of the archive", ratio("wall", names[0], "cat"), most=1.1),
                Goal("holes", "time of the data without holes", ratio("wall", *names), most=1.1),
            ],
            inputs=[sparse, dense],
            out=self.out,
        )

    def start(self):
        version, tiny = Command([self.programs[OURS], "--version"]), self.ours(self.input("tiny.tar"))
        nothing = Command(["true"])
        for command in (version, tiny, nothing):
            command.times, command.out = 20, self.out

        def thousandths(tool):
            def value(results):
                wall = median(results, tool, "wall")
                return wall and wall * 1000

            return value

        return Row(
            "Start-up",
            {"true": nothing, "lfs-image --version": version, "smallest tarball": tiny},
            [
                Goal("version", "`lfs-image --version`", thousandths("lfs-image --version"), most=10, unit=" ms"),
                Goal("tiny", "the smallest tarball", thousandths("smallest tarball"), most=50, unit=" ms"),
            ],
            base="true",
            out=self.out,
            note="Each turn is the mean of 20 runs.",
        )

    def curve(self):
        names = {f"{entries:,} entries": entries for entries in CURVE}
        archives = {name: self.input(f"curve-{entries}.tar") for name, entries in names.items()}
        second, last = list(names)[1], list(names)[-1]

        def steepness(what):
            def value(results):
                above, below = median(results, last, what), median(results, second, what)
                return above and below and (above / names[last]) / (below / names[second])

            return value

        return Row(
            "Cost as work grows",
            {name: self.ours(archive) for name, archive in archives.items()},
            [
                Goal(key, f"{text} of an entry among 3,000,000, beside one among 100,000", steepness(key), most=1.25)
                for key, text in (("wall", "time"), ("cpu", "CPU"), ("memory", "memory"))
            ],
            base="",
            inputs=list(archives.values()),
            out=self.out,
            note="Directories of 100 entries: files of 0 to 4 KiB, empty ones, symbolic and hard links.",
            entries=names,
        )
