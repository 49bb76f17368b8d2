"""One run of one tool, and what it took."""

import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field

# A peer that takes longer than PATIENCE seconds gets one turn; after LIMIT seconds it is stopped. All else is waited for.
PATIENCE = 5
LIMIT = 25
ENDLESS = 900


class GaveUp(Exception):
    """The tool was stopped, or failed."""


@dataclass
class Command:
    """What to run."""

    argv: list
    env: dict = field(default_factory=dict)
    # How long it may take.
    limit: float = ENDLESS
    # Run so many times in one turn, which is the mean of them; `out` is removed in between.
    times: int = 1
    out: str = None


@dataclass
class Turn:
    """Seconds, seconds, MiB."""

    wall: float
    cpu: float
    memory: float


def shell(script, *words):
    return Command(["sh", "-c", script, "sh", *words])


def take(command):
    """Runs a command and says what it took."""
    if command.times > 1:
        return take_often(command)
    # A child of this process would begin with this process's memory as its largest: GNU time is small.
    argv = ["time", "-q", "-f", "%M", *command.argv]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    # A group of its own, so that all of it can be stopped.
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **command.env},
        start_new_session=True,
    )
    try:
        words = process.communicate(timeout=command.limit)[1].decode(errors="replace").strip().split("\n")
    except subprocess.TimeoutExpired:
        stop(process)
        raise GaveUp(f"stopped after {command.limit:.0f} s") from None
    except BaseException:
        stop(process)
        raise
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise GaveUp(f"failed: {words[0][:120]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Turn(wall, cpu, int(words[-1]) / 1024)


def take_often(command):
    """For what is over in milliseconds: no process in between, and the mean of many."""
    memory = take(Command(command.argv, command.env)).memory
    environment = {**os.environ, **command.env}
    silence = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in range(3)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = 0
    for _ in range(command.times):
        # A file system may write back at once what takes the place of another file.
        if command.out and os.path.exists(command.out):
            os.unlink(command.out)
        started = time.monotonic()
        child = os.posix_spawnp(command.argv[0], command.argv, environment, file_actions=silence)
        if os.waitpid(child, 0)[1]:
            raise GaveUp("failed")
        wall += time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Turn(wall / command.times, cpu / command.times, memory)


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def warm(path):
    """Into the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def clear(*paths):
    """Nothing of the turn before is left to be written back."""
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)
    os.sync()
