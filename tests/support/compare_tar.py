#!/usr/bin/env python3
"""Compare a tar archive, entry by entry, with the file system that was made of it.

    compare_tar.py [OPTION]... ARCHIVE MOUNTPOINT              the kernel's view; owners and all attributes need root
    compare_tar.py [OPTION]... ARCHIVE --debugfs IMAGE[?offset=N]   debugfs's view, needs no root

Every difference is one line on stdout: path, what differs, what the archive says, what the file system says. Exit code 0: none;
1: some; 2: the comparison couldn't be made.

Compared: type, mode, owner, size, content, mtime in ns (atime and ctime on request), link identity and counts, device
numbers, symlink targets, every extended attribute byte for byte, POSIX ACLs (the mount also through getfacl), capabilities
(the mount also through getcap), and holes: no hole of the archive may have become data. Names are bytes. Nothing may be in
the tree that the archive doesn't have, apart from lost+found and directories that its paths imply.

This knows nothing of lfs-image: Python's tarfile reads the archive, and the rules of how entries merge are written again here.
"""

import argparse
import collections
import os
import re
import stat
import subprocess
import sys
import tarfile
import tempfile
from decimal import Decimal

from archive_tree import Archive, Digest, Refused, acl_from_bytes, acl_from_text, is_extended, shown

BLOCK = 4096


# --- What the file system says -------------------------------------------------------------------------------------------


class Found:
    """One name in the file system."""

    __slots__ = (
        "kind mode uid gid size mtime atime ctime inode links rdev target digest data extents blocks xattrs".split()
    )


KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class Mounted:
    """A file system through the kernel."""

    def __init__(self, root):
        self.top = os.fsencode(os.path.realpath(root))
        self.device = os.lstat(self.top).st_dev
        self.problems = []

    def entries(self):
        todo = [b""]
        while todo:
            path = todo.pop()
            found = self.look(path)
            yield path, found
            if found.kind == "directory":
                todo.extend(path + b"/" + name for name in sorted(os.listdir(self.top + path), reverse=True))

    def look(self, path):
        full = self.top + path if path else self.top
        status = os.lstat(full)
        if status.st_dev != self.device:
            raise Refused(f"something is mounted on {shown(path)}")
        found = Found()
        found.kind = KINDS[stat.S_IFMT(status.st_mode)]
        found.mode = stat.S_IMODE(status.st_mode)
        found.uid, found.gid, found.size = status.st_uid, status.st_gid, status.st_size
        found.mtime, found.atime, found.ctime = status.st_mtime_ns, status.st_atime_ns, status.st_ctime_ns
        found.inode, found.links = status.st_ino, status.st_nlink
        found.rdev = (os.major(status.st_rdev), os.minor(status.st_rdev))
        found.target = os.readlink(full) if found.kind == "symlink" else None
        found.blocks = status.st_blocks * 512
        found.digest, found.data = self.content(full, status.st_size) if found.kind == "file" else (None, None)
        found.xattrs = {}
        for name in os.listxattr(full, follow_symlinks=False):
            raw = os.getxattr(full, name, follow_symlinks=False)
            name = os.fsencode(name)
            found.xattrs[name] = acl_from_bytes(raw) if name.startswith(b"system.posix_acl_") else raw
        return found

    @staticmethod
    def content(full, size):
        digest, data, offset = Digest(), [], 0
        with open(full, "rb", buffering=0) as file:
            while offset < size:
                try:
                    start = os.lseek(file.fileno(), offset, os.SEEK_DATA)
                except OSError:  # ENXIO: no more data
                    break
                offset = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                data.append((start, offset))
                file.seek(start)
                digest.read(file.read, start, offset)
        return digest.finish(), data

    def cross_check(self, archive, report):
        """The same once more with the tools that a person would use."""
        # -s leaves out files without an extended ACL.
        text = run(["getfacl", "-R", "-P", "-n", "-s", "--absolute-names", self.top])
        shown_acls = {}
        for paragraph in text.split(b"\n\n"):
            path, access, default = None, [], []
            for line in paragraph.split(b"\n"):
                if line.startswith(b"# file: "):
                    path = unescape(line[len(b"# file: ") :])
                elif line.startswith(b"default:"):
                    default.append(line[len(b"default:") :])
                elif line and not line.startswith(b"#"):
                    access.append(line)
            if path is None:
                continue
            path = path[len(self.top) :]
            access = acl_from_text(b"\n".join(access), {}, {})
            if is_extended(access):
                shown_acls[path, b"system.posix_acl_access"] = access
            if default:
                shown_acls[path, b"system.posix_acl_default"] = acl_from_text(b"\n".join(default), {}, {})
        expected = {
            (path, name): value
            for path, node in archive.nodes()
            for name, value in node.xattrs.items()
            if name.startswith(b"system.posix_acl_")
        }
        for key in sorted(expected.keys() | shown_acls.keys()):
            if expected.get(key) != shown_acls.get(key):
                report(key[0], f"{key[1].decode()} by getfacl", expected.get(key), shown_acls.get(key))

        capable = set()
        for line in run(["getcap", "-r", self.top]).split(b"\n"):
            if line:
                capable.add(line.rsplit(b" ", 1)[0][len(self.top) :])
        wanted = {path for path, node in archive.nodes() if b"security.capability" in node.xattrs}
        for path in sorted(capable ^ wanted):
            report(path, "capabilities by getcap", path in wanted, path in capable)


class Debugged:
    """A file system through debugfs: a batch of commands by inode number, so that no name is ever quoted."""

    EXTENT = re.compile(rb"\((\d+)(?:-(\d+))?(\[u\])?\):(\d+)")
    LISTED = re.compile(rb"^/(\d+)/(\d+)/(-?\d+)/(-?\d+)/([^/]*)/(\d*)/$", re.MULTILINE)

    def __init__(self, image):
        self.image = image
        path, _, offset = image.partition("?offset=")
        self.file, self.offset = open(path, "rb"), int(offset or 0)

    def entries(self):
        names = {b"": 2}
        level = [(b"", 2)]
        while level:
            below = []
            for (path, _), text in zip(level, self.ask([f"ls -p <{inode}>" for _, inode in level])):
                for inode, mode, _, _, name, _ in self.LISTED.findall(text):
                    # Inode 0 is the unused rest of a block.
                    if int(inode) == 0 or name in (b".", b".."):
                        continue
                    names[path + b"/" + name] = int(inode)
                    if stat.S_ISDIR(int(mode, 8)):
                        below.append((path + b"/" + name, int(inode)))
            level = below
        inodes = sorted(set(names.values()))
        with tempfile.TemporaryDirectory(prefix="compare-tar-") as scratch:
            found = dict(zip(inodes, map(self.parse, self.ask([f"stat <{inode}>" for inode in inodes]))))
            self.read_xattrs(found, scratch)
            self.read_links(found, scratch)
            for path in sorted(names):
                one = found[names[path]]
                one.inode = names[path]
                if one.kind == "file" and one.digest is None:
                    self.read_content(one)
                yield path, one

    def ask(self, commands):
        """One answer for each command."""
        if not commands:
            return []
        text = "".join(command + "\n" for command in commands).encode()
        with tempfile.NamedTemporaryFile(prefix="compare-tar-") as script:
            script.write(text)
            script.flush()
            done = subprocess.run(["debugfs", "-f", script.name, self.image], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        complaints = [line for line in done.stderr.split(b"\n") if line and not line.startswith(b"debugfs 1.")]
        if done.returncode or complaints:
            raise Refused(f"debugfs: {b' '.join(complaints[:3]).decode(errors='replace')}")
        answers, at = [], 0
        for command in commands:
            prompt = b"debugfs: " + command.encode() + b"\n"
            if not done.stdout.startswith(prompt, at):
                raise Refused(f"debugfs did not echo {command!r}")
            at += len(prompt)
            following = done.stdout.find(b"\ndebugfs: ", at - 1)
            end = len(done.stdout) if following < 0 else following + 1
            answers.append(done.stdout[at:end])
            at = end
        return answers

    @staticmethod
    def parse(text):
        def field(pattern, base=10):
            match = re.search(pattern, text, re.MULTILINE)
            return int(match.group(1), base) if match else None

        def time(name):
            match = re.search(rb"^ *" + name + rb": 0x([0-9a-f]+)(?::([0-9a-f]+))? --", text, re.MULTILINE)
            seconds = int(match.group(1), 16)
            extra = int(match.group(2) or b"0", 16)
            if seconds >= 1 << 31:
                seconds -= 1 << 32
            return (seconds + ((extra & 3) << 32)) * 10**9 + (extra >> 2)

        found = Found()
        kind = re.search(rb"Type: (.*?) +Mode: ", text).group(1).decode()
        found.kind = {"regular": "file", "character special": "character device", "block special": "block device", "FIFO": "fifo"}.get(kind, kind)
        found.mode = field(rb"Mode: +(\d+)", 8) & 0o7777
        # Printed as signed numbers.
        found.uid, found.gid = (field(name + rb": +(-?\d+)") % 2**32 for name in (rb"^User", rb"Group"))
        found.size, found.links = field(rb"Size: (\d+)$"), field(rb"^Links: (\d+)")
        found.blocks = field(rb"Blockcount: (\d+)") * 512
        found.mtime, found.atime, found.ctime = time(b"mtime"), time(b"atime"), time(b"ctime")
        device = re.search(rb"Device major/minor number: (\d+):(\d+)", text)
        found.rdev = (int(device.group(1)), int(device.group(2))) if device else (0, 0)
        fast = re.search(rb'^Fast link dest: "(.*)"$', text, re.MULTILINE | re.DOTALL)
        found.target = fast.group(1) if fast else None
        found.digest, found.data = None, None
        if found.kind == "file":
            found.data, found.extents = [], []
            extents = text.partition(b"\nEXTENTS:\n")[2]
            for first, last, unwritten, physical in Debugged.EXTENT.findall(extents):
                if not unwritten:
                    first, last = int(first), int(last or first)
                    found.extents.append((first, last, int(physical)))
                    end = min((last + 1) * BLOCK, found.size)
                    if found.data and found.data[-1][1] == first * BLOCK:
                        found.data[-1] = (found.data[-1][0], end)
                    else:
                        found.data.append((first * BLOCK, end))
        names = text.partition(b"\nExtended attributes:\n")[2]
        found.xattrs = dict.fromkeys(re.findall(rb"^  (\S.*?) \(\d+\)(?: = |$)", names.partition(b"\nInode checksum")[0], re.MULTILINE))
        return found

    def read_xattrs(self, found, scratch):
        wanted = [(inode, name) for inode, one in found.items() for name in one.xattrs]
        file = os.path.join(scratch, "xattr")
        self.ask([f'ea_get -f {file}{i} <{inode}> "{name.decode()}"' for i, (inode, name) in enumerate(wanted)])
        for i, (inode, name) in enumerate(wanted):
            with open(f"{file}{i}", "rb") as value:
                raw = value.read()
            os.unlink(f"{file}{i}")
            found[inode].xattrs[name] = acl_from_bytes(raw) if name.startswith(b"system.posix_acl_") else raw

    def read_links(self, found, scratch):
        slow = [inode for inode, one in found.items() if one.kind == "symlink" and one.target is None]
        self.ask([f"dump <{inode}> {scratch}/link{inode}" for inode in slow])
        for inode in slow:
            with open(f"{scratch}/link{inode}", "rb") as file:
                found[inode].target = file.read()

    def read_content(self, found):
        """The blocks that debugfs says the file has, from the image."""
        digest = Digest()
        for first, last, physical in found.extents:
            start, end = first * BLOCK, min((last + 1) * BLOCK, found.size)
            self.file.seek(self.offset + physical * BLOCK)
            if digest.read(self.file.read, start, end) < end:
                raise Refused(f"the image ends before block {physical}")
        found.digest = digest.finish()

    def cross_check(self, archive, report):
        pass


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Refused(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def unescape(name):
    return re.sub(rb"\\([0-7]{3}|\\)", lambda match: b"\\" if match.group(1) == b"\\" else bytes([int(match.group(1), 8)]), name)


# --- The comparison ------------------------------------------------------------------------------------------------------


def compare(archive, system, options):
    differences = []

    def report(path, what, expected, actual):
        differences.append(f"{shown(path or b'/')}: {what}: archive {plain(expected)}, file system {plain(actual)}")

    expected = dict(archive.nodes())
    names = collections.Counter(id(node) for node in expected.values())
    seen, inodes, nodes = set(), {}, {}
    for path, found in system.entries():
        node = expected.get(path)
        if node is None:
            if path == b"/lost+found":
                check_lost_found(path, found, report)
            else:
                report(path, "extra", "has nothing", f"has a {found.kind}")
            continue
        seen.add(path)
        compare_one(path, node, found, options, report)
        if node.kind == "directory":
            subdirectories = sum(child.kind == "directory" for child in node.children.values())
            if not path and b"lost+found" not in node.children:
                subdirectories += 1
            if found.links != 2 + subdirectories and not (found.links == 1 and subdirectories >= 64998):
                report(path, "links", 2 + subdirectories, found.links)
        elif found.links != names[id(node)]:
            report(path, "links", names[id(node)], found.links)
        # Two names are one inode in the file system exactly when they are one in the archive.
        other, number = inodes.setdefault(found.inode, (path, id(node)))
        if number != id(node):
            report(path, "identity", "has its own inode", f"shares inode {found.inode} with {shown(other)}")
        other, number = nodes.setdefault(id(node), (path, found.inode))
        if number != found.inode:
            report(path, "identity", f"is the same file as {shown(other)}", "has two inodes")
    for path in sorted(expected.keys() - seen):
        report(path, "missing", f"has a {expected[path].kind}", "has nothing")
    system.cross_check(archive, report)
    return differences, len(expected)


def check_lost_found(path, found, report):
    if (found.kind, found.mode, found.uid, found.gid) != ("directory", 0o700, 0, 0):
        report(path, "attributes", "leaves it to us: directory 0700 0:0", f"{found.kind} {found.mode:04o} {found.uid}:{found.gid}")


def compare_one(path, node, found, options, report):
    if node.kind != found.kind:
        report(path, "type", node.kind, found.kind)
        return
    loose = node.implied and (options.loose_parents or not path)
    # A symbolic link has no permissions of its own: Linux always shows 0777.
    mode = 0o777 if node.kind == "symlink" else node.mode
    if mode != found.mode and not loose:
        report(path, "mode", f"{mode:04o}", f"{found.mode:04o}")
    if (node.uid, node.gid) != (found.uid, found.gid):
        report(path, "owner", f"{node.uid}:{node.gid}", f"{found.uid}:{found.gid}")
    for time in ("mtime", *options.times):
        wanted = getattr(node, time)
        if wanted is not None and wanted != getattr(found, time) and not loose:
            report(path, time, seconds(wanted), seconds(getattr(found, time)))
    if node.target != found.target:
        report(path, "target", node.target, found.target)
    if node.rdev is not None and node.rdev != found.rdev:
        report(path, "device", node.rdev, found.rdev)
    for name in sorted(node.xattrs.keys() | found.xattrs.keys()):
        if node.xattrs.get(name) != found.xattrs.get(name):
            report(path, f"attribute {shown(name)}", node.xattrs.get(name), found.xattrs.get(name))
    if node.kind == "symlink" and found.size != len(node.target):
        report(path, "size", len(node.target), found.size)
    if node.kind == "file":
        if node.size != found.size:
            report(path, "size", node.size, found.size)
        elif node.digest != found.digest:
            report(path, "content", f"digest {node.digest[:16]}", f"digest {found.digest[:16]}")
        compare_holes(path, node, found, report)


def compare_holes(path, node, found, report):
    if node.segments is not None:
        # Blocks that the archive has data for. A block of zeros may be a hole in the file system: the content is the same.
        allowed = []
        for offset, length in node.segments:
            first, end = offset // BLOCK * BLOCK, -(-(offset + length) // BLOCK) * BLOCK
            if allowed and allowed[-1][1] >= first:
                allowed[-1] = (allowed[-1][0], max(end, allowed[-1][1]))
            else:
                allowed.append((first, end))
        for start, end in found.data:
            if not any(first <= start and end <= last for first, last in allowed):
                report(path, "holes", f"has data at {allowed[:4]}", f"has data at {(start, end)}")
                break
    # Blocks beyond the data: the extent tree's, one of attributes. Anything more was allocated for nothing.
    data = sum(-(-end // BLOCK) - start // BLOCK for start, end in found.data)
    most = (data + 1 + (len(found.data) + data // 32768) // 4) * BLOCK
    if found.blocks > most:
        report(path, "allocated", f"needs at most {most} bytes", f"takes {found.blocks} bytes")


def seconds(value):
    return f"{Decimal(value) / 10**9:.9f}"


def plain(value):
    if isinstance(value, bytes):
        return repr(value[:64])[1:] + ("…" if len(value) > 64 else "")
    return str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("mountpoint", nargs="?")
    parser.add_argument("--debugfs", metavar="IMAGE", help="read this image with debugfs instead of a mounted tree")
    parser.add_argument("--overlay", action="append", default=[], metavar="ARCHIVE", help="applied after the first, in order")
    parser.add_argument("--whiteouts", action="store_true", help="overlays carry OCI whiteouts")
    parser.add_argument("--times", default="", help="also compare: atime,ctime (where the archive has them)")
    parser.add_argument("--loose-parents", action="store_true", help="any mode and mtime for directories that paths imply")
    parser.add_argument("--most", type=int, default=200, help="list at most so many differences")
    options = parser.parse_args()
    options.times = [time for time in options.times.split(",") if time]
    if (options.mountpoint is None) == (options.debugfs is None):
        parser.error("give either MOUNTPOINT or --debugfs IMAGE")
    try:
        archive = Archive()
        archive.read(options.archive, False)
        for overlay in options.overlay:
            archive.read(overlay, options.whiteouts)
        archive.finish()
        system = Debugged(options.debugfs) if options.debugfs else Mounted(options.mountpoint)
        differences, count = compare(archive, system, options)
    except (Refused, tarfile.TarError, OSError, subprocess.CalledProcessError) as problem:
        print(f"compare_tar: {problem}", file=sys.stderr)
        return 2
    sys.stdout.buffer.write("".join(line + "\n" for line in differences[: options.most]).encode("utf-8", "replace"))
    print(f"compared {count} entries: {len(differences) or 'no'} differences", file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
