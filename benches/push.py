#!/usr/bin/env python3
"""Measure uploads to a checking server side by side and write a table: called by push.sh.

The tools take turns, each with a server of its own, new and empty. It checks every signature and every block, throws the blocks away,
takes 20 to 60 ms for each, and refuses more than 1000 of them in a second, as AWS does. It runs on the same machine, so its work is in the
times. Time is wall-clock until the snapshot is complete; memory is the largest resident set.
"""

import argparse
import datetime
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import urllib.request

START, END = "<!-- push -->\n", "<!-- end of push -->\n"
DISKS = {
    "empty": "An 8 GiB disk with a Debian on it: 366 MiB of files, the rest free",
    "full": "A 4 GiB disk that is full",
}
GIB = 1 << 30


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fill", metavar="TAR", help="only make the content of the full disk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inputs")
    parser.add_argument("--report")
    parser.add_argument("--judge")
    parser.add_argument("--lfs-image")
    parser.add_argument("--coldsnap")
    options = parser.parse_args()
    if options.fill:
        return fill(options.fill)
    sections = [heading(options)]
    for disk, title in DISKS.items():
        for tls in False, True:
            sections.append(measure(options, disk, title, tls))
            print(sections[-1], file=sys.stderr)
    write(options.report, "\n".join(sections))


def fill(path):
    """A tarball with one file of noise that leaves next to nothing free on a disk of 4 GiB."""

    class Noise(io.RawIOBase):
        def read(self, size=-1):
            return os.urandom(min(size, 1 << 20))

    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("noise")
        entry.size = 4 * GIB - (176 << 20)
        archive.addfile(entry, Noise())


def commands(options, disk):
    image = os.path.join(options.inputs, disk + ".img")
    ours = [options.lfs_image, "-q", "push", "--snapshot-only"]
    theirs = [options.coldsnap, "--region", "us-east-1", "--endpoint", "URL", "upload", "--no-progress", "--wait"]
    all = {"coldsnap": theirs + [image]}
    if disk == "empty":
        all["coldsnap --omit-zero-blocks"] = theirs + ["--omit-zero-blocks", image]
    all["lfs-image push"] = ours + [image]
    if disk == "empty":
        tarball = os.path.join(options.inputs, "root.tar")
        all["lfs-image push, from the tarball"] = ours + ["--target", "none", "--size", "8G", tarball]
    return all


def measure(options, disk, title, tls):
    with open(os.path.join(options.inputs, disk + ".img"), "rb") as file:  # into the page cache
        while file.read(1 << 24):
            pass
    results = {}
    for number in range(options.rounds):
        for tool, command in commands(options, disk).items():
            result = turn(options, command, tls)
            print(f"{disk}, {'TLS' if tls else 'plain'}, {number}: {tool}: {result}", file=sys.stderr)
            results.setdefault(tool, []).append(result)
    lines = [f"### {title}, over {'TLS' if tls else 'plain HTTP'}", ""]
    lines += ["| | median | beside coldsnap | CPU | peak memory | blocks sent | bytes sent |", "|---|---|---|---|---|---|---|"]
    theirs = statistics.median(result["seconds"] for result in results["coldsnap"])
    for tool, all in results.items():
        of = lambda key: statistics.median(result[key] for result in all)
        lines.append(
            f"| {tool} | {of('seconds'):.2f} s | {of('seconds') / theirs:.2f} × | {of('cpu'):.2f} s | "
            f"{max(result['memory'] for result in all) >> 20} MiB | {of('puts'):,.0f} | {of('bytes') / (1 << 20):,.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def turn(options, command, tls):
    """One upload to a server of its own."""
    delay = {"op": "PutSnapshotBlock", "do": "delay", "min_ms": 20, "max_ms": 60, "seed": 1}
    config = {"discard": True, "enforce_rate": True, "complete_ms": 0, "faults": [delay]}
    environment = {"PATH": os.environ["PATH"], "HOME": options.inputs}
    if tls:
        authority, certificate, key = (os.path.join(options.inputs, name) for name in ("authority.pem", "server.pem", "server.key"))
        config["tls"] = {"certificate": certificate, "key": key}
        environment |= {"AWS_CA_BUNDLE": authority, "SSL_CERT_FILE": authority}
    server = subprocess.Popen([options.judge, "--config", json.dumps(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        judge = json.loads(server.stdout.readline())
        command = [judge["url"] if word == "URL" else word for word in command]
        began = datetime.datetime.now()
        client = subprocess.Popen(command, env=environment | judge["env"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(client.pid, 0)
        seconds = (datetime.datetime.now() - began).total_seconds()
        client.returncode = os.waitstatus_to_exitcode(status)
        if client.returncode:
            sys.exit(f"{command} failed: {client.returncode}")
        report = ask(judge, tls, options)
    finally:
        server.stdin.close()
        server.wait()
    (snapshot,) = report["snapshots"]
    assert snapshot["state"] == "completed", snapshot
    # Going too fast is told to the client; anything else it would be wrong to measure.
    wrong = [violation for violation in report["violations"] if violation["kind"] != "put-rate"]
    assert not wrong, wrong
    return {
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss << 10,
        "puts": report["operations"]["PutSnapshotBlock"]["calls"],
        "bytes": report["bytes_received"],
    }


def ask(judge, tls, options):
    context = None
    if tls:
        import ssl

        context = ssl.create_default_context(cafile=os.path.join(options.inputs, "authority.pem"))
    with urllib.request.urlopen(judge["url"] + "/_judge/report", context=context) as answer:
        return json.load(answer)


def heading(options):
    ours = subprocess.run([options.lfs_image, "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    # It doesn't tell itself.
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts/get-coldsnap.sh")) as file:
        theirs = next(line.strip().removeprefix("VERSION=") for line in file if line.startswith("VERSION="))
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return (
        f"Measured {datetime.date.today()} on {os.cpu_count()} cores of {cpu}, Linux {platform.release()}; "
        f"{ours}, coldsnap {theirs}, {options.rounds} rounds.\n"
    )


def write(path, text):
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if START not in old:
        old += "\n" + INTRODUCTION + START + END
    before, rest = old.split(START, 1)
    after = rest.split(END, 1)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + START + "\n" + text + "\n" + END + after)


INTRODUCTION = """## Uploads

`make bench-push` measures `lfs-image push` beside [coldsnap](https://github.com/awslabs/coldsnap), the uploader of EBS snapshots that
others use, against the checking server of the tests (`benches/push.py` says how), and rewrites the part below. What is aimed at: twice as
fast on a disk that is mostly empty, never slower on a full one, at most 150 MiB of memory. `--omit-zero-blocks` is for comparison only:
a volume made of that snapshot reads as noise where its account encrypts.

"""

main()
