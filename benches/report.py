"""What was measured, as Markdown."""

import datetime
import os
import platform
import re
import statistics
import subprocess
import tomllib

from rows import OURS, median

START, END = "<!-- measured -->\n", "<!-- end -->\n"


def section(_name, row, results, given_up):
    """One table: the tools, and what they took."""
    beside = f" beside {quoted(row.base)} |" if row.base else ""
    each = " for each entry |" if row.entries else ""
    lines = [f"### {row.title}", ""]
    if row.note:
        lines += [row.note, ""]
    lines += [
        f"| | time |{each}{beside} CPU |{each} peak memory |{each} turns |",
        "|---|" + "---|" * (4 + bool(beside) + 3 * bool(each)),
    ]
    base = median(results, row.base, "wall")
    for tool in [*row.commands, *row.absent]:
        turns = results.get(tool)
        if not turns:
            lines.append(f"| {tool} | {given_up[tool]} |" + " |" * (3 + bool(beside) + 3 * bool(each)))
            continue
        entries = row.entries.get(tool)
        cells = [tool, spread([turn.wall for turn in turns], seconds)]
        if entries:
            cells.append(f"{median(results, tool, 'wall') / entries * 1e6:.2f} µs")
        if beside:
            cells.append(f"{median(results, tool, 'wall') / base:.2f} ×")
        cells.append(spread([turn.cpu for turn in turns], seconds))
        if entries:
            cells.append(f"{median(results, tool, 'cpu') / entries * 1e6:.2f} µs")
        cells.append(f"{median(results, tool, 'memory'):,.0f} MiB")
        if entries:
            cells.append(f"{median(results, tool, 'memory') / entries * (1 << 20):,.0f} B")
        lines.append(f"| {' | '.join(cells)} | {len(turns)} |")
    return "\n".join(lines) + "\n"


def quoted(tool):
    return tool if " in " in f" {tool} " else f"`{tool}`"


def spread(values, show):
    middle = statistics.median(values)
    if len(values) == 1:
        return show(middle)
    return f"{show(middle)} ({show(min(values), middle)} to {show(max(values), middle)})"


def seconds(value, scale=None):
    """As many digits as the median has sense for."""
    scale = value if scale is None else scale
    if scale < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if scale < 10 else f"{value:.1f} s"


def outcome(goal, results, given_up):
    """The number, and whether it is as good as it should be; None where nothing can be said."""
    value = goal.value(results)
    if value is not None:
        good = value <= goal.most if goal.most is not None else value >= goal.least
        return number(value, goal.unit), good
    # A peer that was stopped took at least that long.
    for tool, why in given_up.items():
        if re.sub("[^a-z0-9]", "", goal.key) in re.sub("[^a-z0-9]", "", tool):
            stopped = re.fullmatch(r"stopped after (\d+) s", why)
            ours = median(results, OURS, "wall")
            if stopped and ours and goal.least is not None:
                least = int(stopped[1]) / ours
                return f"more than {number(least, goal.unit)}", True if least >= goal.least else None
            return why, None
    return "not measured", None


def number(value, unit):
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}{' ×' if unit == '×' else unit}"


def summary(measured, reasons):
    """All goals in one table, and why some are missed."""
    lines = ["| work | | reached | goal | |", "|---|---|---|---|---|"]
    misses = []
    for name, row, results, given_up in measured:
        for place, goal in enumerate(row.goals):
            reached, good = outcome(goal, results, given_up)
            limit = f"at most {number(goal.most, goal.unit)}" if goal.most is not None else f"at least {number(goal.least, goal.unit)}"
            verdict = {True: "met", False: "**missed**", None: "open"}[good]
            lines.append(f"| {row.title if not place else ''} | {goal.text} | {reached} | {limit} | {verdict} |")
            if good is False:
                why = reasons.get(name, {}).get(goal.key, "the reason is not known yet")
                misses.append(f"- {row.title}, {goal.text}: {reached}, and {limit} was the goal: {why}")
    if misses:
        lines += ["", "Missed:", "", *misses]
    return "\n".join(lines) + "\n"


def reasons(path):
    """By row and goal: `[row]`, then `goal = "because"`."""
    if not os.path.exists(path):
        return {}
    with open(path, "rb") as file:
        return tomllib.load(file)


def whole(measured, programs, why, took):
    sections = [section(*row) for row in measured]
    return "\n".join([heading(programs, took), summary(measured, why), *sections])


def heading(programs, took):
    def field(path, pattern):
        with open(path, encoding="utf-8") as file:
            match = re.search(pattern, file.read(), re.MULTILINE)
        return match.group(1) if match else "?"

    memory = int(field("/proc/meminfo", r"^MemTotal: +(\d+)")) >> 20
    place = subprocess.run(["df", "--output=fstype", os.getcwd()], capture_output=True, text=True).stdout.split()[-1]
    versions = [first_line([programs["lfs-image"], "--version"])]
    if "mke2fs" in programs:
        versions.append(first_line([programs["mke2fs"], "-V"]).split(" (")[0])
    if "mkext4" in programs:
        versions.append("mkext4 0.0.3")
    versions += [first_line([name, "--version"]).replace("*** ", "").split(",")[0] for name in ("cat", "zstd", "gzip", "xz")]
    return (
        f"Measured {datetime.date.today()} in {took / 60:.0f} minutes on {os.cpu_count()} cores of "
        f"{field('/proc/cpuinfo', r'^model name.*: (.*)')}, {memory} GiB of memory, {place}, "
        f"Linux {platform.release().split('-')[0]}; {', '.join(versions)}. "
        "Medians, with the least and the most in brackets.\n"
    )


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).strip().split("\n")[0]


def write(path, text):
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(START)
    after = rest.split(END)[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + START + "\n" + text + "\n" + END + after)
