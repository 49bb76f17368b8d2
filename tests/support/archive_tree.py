"""The tree that a tar archive describes, read by Python's tarfile: what compare_tar.py expects to find.

The rules of how entries merge into a tree are written here a second time, on purpose: this is a judge.
"""

import base64
import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
import urllib.parse
from decimal import ROUND_FLOOR, Decimal

MAX_HOPS = 40


class Refused(Exception):
    """The archive breaks a rule, or the comparison can't be made."""


class Digest:
    """Of a file's content, whatever its holes: of its blocks that aren't all zeros, with their places.

    Only the parts that may hold something are given to it, in ascending order and without overlap; where they begin and end doesn't
    matter. So a file of terabytes with a few blocks of data takes as long as these blocks.
    """

    BLOCK = 4096
    ZEROS = bytes(BLOCK)

    def __init__(self):
        self.sum = hashlib.sha256()
        self.start = 0
        self.block = b""

    def read(self, read, start, end):
        """Takes the bytes from `start` to `end`, by calling `read(n)` for as many as are left."""
        while start < end:
            chunk = read(min(1 << 20, end - start))
            if not chunk:
                return start
            self.update(start, chunk)
            start += len(chunk)
        return start

    def update(self, start, data):
        end = self.start + len(self.block)
        if end < start < self.start + self.BLOCK and self.block:
            self.block += bytes(start - end)
        elif end != start:
            self.flush()
            self.start = start - start % self.BLOCK
            self.block = bytes(start % self.BLOCK)
        data = self.block + data
        whole = len(data) // self.BLOCK * self.BLOCK
        for at in range(0, whole, self.BLOCK):
            self.add(self.start + at, data[at : at + self.BLOCK])
        self.start += whole
        self.block = data[whole:]

    def flush(self):
        if self.block:
            self.add(self.start, self.block.ljust(self.BLOCK, b"\0"))
        self.block = b""

    def add(self, start, block):
        if block != self.ZEROS:
            self.sum.update(start.to_bytes(8, "little") + block)

    def finish(self):
        self.flush()
        return self.sum.hexdigest()


def shown(name):
    return name.decode("utf-8", "backslashreplace").replace("\n", "\\n")


class Node:
    """One inode as the archive describes it."""

    def __init__(self, kind, mode=0o755, uid=0, gid=0, mtime=0):
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.atime = None
        self.ctime = None
        self.size = 0
        self.digest = None
        self.text = b""
        self.segments = None  # [(offset, length)] of a sparse file's data
        self.target = None
        self.rdev = None
        self.xattrs = {}
        self.acls = {}
        self.children = {} if kind == "directory" else None
        self.parent = None
        self.implied = False
        self.layer = 0


class Archive:
    """The tree that the archives, applied in order, describe."""

    def __init__(self):
        self.root = Node("directory")
        self.root.parent = self.root
        self.root.implied = True
        self.pending = []
        self.layer = 0
        self.users = {b"root": 0}
        self.groups = {b"root": 0}

    def read(self, path, whiteouts):
        with open_tar(path) as archive:
            for member in archive:
                self.apply(archive, member, whiteouts)
        self.resolve()
        self.layer += 1

    def resolve(self):
        """Links to what came later in the archive, at its end: those that are still there."""
        # A link may name a link that is resolved later: go on until nothing moves.
        while self.pending:
            rest = []
            for parts, target, placeholder in self.pending:
                directory = placeholder.parent
                if directory.children.get(parts[-1]) is not placeholder:
                    continue
                node = self.lookup(target)
                if node is None or node.kind == "pending":
                    rest.append((parts, target, placeholder))
                else:
                    directory.children[parts[-1]] = node
            if len(rest) == len(self.pending):
                raise Refused(f"hard link to nothing: {shown(b'/'.join(rest[0][0]))}")
            self.pending = rest

    def finish(self):
        self.name_acls()

    def apply(self, archive, member, whiteouts):
        # tarfile prefers GNU tar's stand-in of a path to the file's own.
        name = os.fsencode(member.pax_headers.get("GNU.sparse.name", member.name))
        parts = components(name)
        node = make_node(archive, member)
        node.layer = self.layer
        mtime = node.mtime
        if not parts:
            if node.kind != "directory":
                raise Refused("the root is not a directory")
            self.root = update(self.root, node)
            return
        if parts in ([b"etc", b"passwd"], [b"etc", b"group"]) and node.kind == "file":
            table = self.users if parts[1] == b"passwd" else self.groups
            for line in node.text.split(b"\n"):
                fields = line.split(b":")
                if len(fields) > 2 and fields[2].isdigit():
                    table.setdefault(fields[0], int(fields[2]))
        if whiteouts and parts[-1].startswith(b".wh."):
            directory = self.directory(parts[:-1], mtime)
            if parts[-1] == b".wh..wh..opq":
                for gone in [n for n, c in directory.children.items() if c.layer < self.layer]:
                    del directory.children[gone]
            else:
                directory.children.pop(parts[-1][4:], None)
            return
        if node.kind == "hard link":
            target = components(node.target)
            found = self.lookup(target)
            if found is None or found.kind == "pending":
                placeholder = Node("pending", mtime=mtime)
                placeholder.layer = self.layer
                self.place(parts, placeholder, mtime)
                placeholder.parent = self.directory(parts[:-1], mtime)
                self.pending.append((parts, target, placeholder))
            elif found.kind == "directory":
                raise Refused(f"hard link to a directory: {shown(name)}")
            else:
                self.place(parts, found, mtime)
            return
        self.place(parts, node, mtime)

    def place(self, parts, node, mtime):
        directory = self.directory(parts[:-1], mtime)
        old = directory.children.get(parts[-1])
        if old is not None and old.kind == node.kind == "directory":
            update(old, node)
            return
        if node.kind == "directory":
            node.parent = directory
        directory.children[parts[-1]] = node

    def directory(self, parts, mtime):
        """The directory at this path, made with its parents where there is none."""
        return self.walk(parts, mtime)

    def lookup(self, parts):
        directory = self.walk(parts[:-1], None)
        return None if directory is None else directory.children.get(parts[-1])

    def walk(self, parts, mtime):
        here, todo, hops = self.root, list(reversed(parts)), 0
        while todo:
            part = todo.pop()
            if part == b"..":
                here = here.parent
                continue
            child = here.children.get(part)
            if child is None:
                if mtime is None:
                    return None
                child = Node("directory", mtime=mtime)
                child.implied, child.parent, child.layer = True, here, self.layer
                here.children[part] = child
            if child.kind == "symlink":
                hops += 1
                if hops > MAX_HOPS:
                    raise Refused(f"too many symbolic links in {shown(b'/'.join(parts))}")
                if child.target.startswith(b"/"):
                    here = self.root
                todo.extend(reversed([p for p in child.target.split(b"/") if p not in (b"", b".")]))
            elif child.kind == "directory":
                here = child
            else:
                raise Refused(f"a {child.kind} is used as a directory: {shown(b'/'.join(parts))}")
        return here

    def nodes(self):
        """Every path with its node, parents first."""
        todo = [(b"", self.root)]
        while todo:
            path, node = todo.pop()
            yield path, node
            if node.kind == "directory":
                for name in sorted(node.children, reverse=True):
                    todo.append((path + b"/" + name, node.children[name]))

    def name_acls(self):
        for _, node in self.nodes():
            for name, text in node.acls.items():
                if name in node.xattrs:
                    continue  # which has numbers where the text may have names
                acl = acl_from_text(text, self.users, self.groups)
                if name.endswith(b"default") or is_extended(acl):
                    node.xattrs[name] = acl
            node.acls = {}
            # Linux shows the mask in the group's place; bsdtar's mode field still has the group's own.
            for tag, who, permissions in node.xattrs.get(b"system.posix_acl_access", ()):
                shift = {"user": 6, "mask": 3, "other": 0}.get(tag)
                if who is None and shift is not None:
                    node.mode = node.mode & ~(7 << shift) | permissions << shift


def update(old, new):
    """A directory over a directory: new attributes, the same children."""
    for field in ("mode", "uid", "gid", "mtime", "atime", "ctime", "xattrs", "acls", "implied", "layer"):
        setattr(old, field, getattr(new, field))
    return old


def components(name):
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Refused(f"'..' in the path {shown(name)}")
    return parts


def make_node(archive, member):
    kind = {
        tarfile.REGTYPE: "file",
        tarfile.AREGTYPE: "file",
        tarfile.CONTTYPE: "file",
        tarfile.GNUTYPE_SPARSE: "file",
        tarfile.DIRTYPE: "directory",
        tarfile.SYMTYPE: "symlink",
        tarfile.LNKTYPE: "hard link",
        tarfile.CHRTYPE: "character device",
        tarfile.BLKTYPE: "block device",
        tarfile.FIFOTYPE: "fifo",
    }.get(member.type)
    if kind is None:
        raise Refused(f"entry {shown(os.fsencode(member.name))} has the unknown type {member.type!r}")
    if kind == "file" and member.name.endswith("/"):
        kind = "directory"  # ustar's older way to say so
    pax = member.pax_headers
    # tarfile gives mtime as a float; the text still has every digit.
    node = Node(kind, member.mode & 0o7777, member.uid, member.gid, nanoseconds(pax.get("mtime", member.mtime)))
    node.atime = nanoseconds(pax["atime"]) if "atime" in pax else None
    node.ctime = nanoseconds(pax["ctime"]) if "ctime" in pax else None
    if kind in ("symlink", "hard link"):
        node.target = os.fsencode(member.linkname)
    if kind in ("character device", "block device"):
        node.rdev = (member.devmajor, member.devminor)
    if kind == "file":
        read_content(archive, member, node)
    read_attributes(pax, node)
    return node


def read_content(archive, member, node):
    node.size = member.size
    if member.sparse is None:
        pieces = [(0, member.size)]
    else:
        node.segments = [(offset, length) for offset, length in member.sparse if length]
        pieces = [(offset, offset + length) for offset, length in node.segments]
    digest = Digest()
    with archive.extractfile(member) as content:
        if os.path.basename(member.name) in ("passwd", "group"):
            node.text = content.read()
            content.seek(0)
        for start, end in pieces:
            content.seek(start)
            reached = digest.read(content.read, start, end)
            if reached != end:
                raise Refused(f"{shown(os.fsencode(member.name))} ends after {reached} of {node.size} bytes")
    node.digest = digest.finish()


def read_attributes(pax, node):
    for key, value in pax.items():
        raw = value.encode("utf-8", "surrogateescape")
        if key.startswith("SCHILY.xattr."):
            written = key[len("SCHILY.xattr.") :]
            name = written.encode("utf-8", "surrogateescape")
            if "LIBARCHIVE.xattr." + written in pax:  # bsdtar's, who escapes more than GNU tar
                name = urllib.parse.unquote_to_bytes(name)
            else:
                name = name.replace(b"%3D", b"=").replace(b"%25", b"%")
        elif key.startswith("LIBARCHIVE.xattr."):
            name = urllib.parse.unquote_to_bytes(key[len("LIBARCHIVE.xattr.") :])
            raw = base64.b64decode(raw + b"=" * (-len(raw) % 4))
        elif key in ("SCHILY.acl.access", "SCHILY.acl.default"):
            node.acls[b"system.posix_acl_" + key.rsplit(".", 1)[1].encode()] = raw
            continue
        else:
            continue
        node.xattrs[name] = acl_from_bytes(raw) if name.startswith(b"system.posix_acl_") else raw


def nanoseconds(value):
    return int((Decimal(str(value)) * 10**9).to_integral_value(ROUND_FLOOR))


class Member(tarfile.TarInfo):
    """tarfile takes a damaged or cut header for the end of the archive; here only the end mark is the end."""

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except (tarfile.TruncatedHeaderError, tarfile.EmptyHeaderError, tarfile.InvalidHeaderError) as problem:
            raise Refused(f"bad archive at offset {archive.offset}: {problem}") from None


def open_tar(path):
    with open(path, "rb") as file:
        magic = file.read(6)
    for start, command in (
        (b"\x1f\x8b", ["gzip", "-dc"]),
        (b"\x28\xb5\x2f\xfd", ["zstd", "-dcq"]),
        (b"\xfd7zXZ\0", ["xz", "-dc"]),
        (b"BZh", ["bzip2", "-dc"]),
    ):
        if magic.startswith(start):
            source = tempfile.TemporaryFile(prefix="compare-tar-")
            subprocess.run([*command, path], stdout=source, check=True)
            source.seek(0)
            break
    else:
        source = open(path, "rb")
    return tarfile.open(fileobj=source, mode="r:", tarinfo=Member, encoding="utf-8", errors="surrogateescape")


# --- ACLs: a sorted tuple of (tag, id or None, permissions) --------------------------------------------------------------

ACL_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
ACL_NAMED = (0x02, 0x08)


def acl_from_bytes(raw):
    """Both forms: getxattr's (version 2) and ext4's on disk (version 1), which debugfs shows."""
    version = int.from_bytes(raw[:4], "little")
    entries, at = [], 4
    while at < len(raw):
        tag = int.from_bytes(raw[at : at + 2], "little")
        permissions = int.from_bytes(raw[at + 2 : at + 4], "little")
        long = version == 2 or tag in ACL_NAMED
        who = int.from_bytes(raw[at + 4 : at + 8], "little") if tag in ACL_NAMED else None
        if tag not in ACL_TAGS or at + (8 if long else 4) > len(raw):
            return ("not an ACL", raw)
        entries.append((ACL_TAGS[tag], who, permissions))
        at += 8 if long else 4
    return tuple(sorted(entries, key=repr))


def acl_from_text(text, users, groups):
    entries = []
    for entry in re.split(rb"[,\n]", text):
        entry = entry.split(b"#")[0].strip()
        if not entry:
            continue
        fields = entry.split(b":")
        tag, name, letters = fields[0].decode(), fields[1], fields[2]
        tag = {"u": "user", "g": "group", "m": "mask", "o": "other"}.get(tag, tag)
        who = None
        if name:
            table = users if tag == "user" else groups
            if len(fields) > 3 and fields[3].isdigit():
                who = int(fields[3])
            elif name.isdigit():
                who = int(name)
            elif name in table:
                who = table[name]
            else:
                raise Refused(f"the ACL names {shown(name)}, whom the archive's /etc/{'passwd' if tag == 'user' else 'group'} doesn't know")
        permissions = sum(bit for bit, letter in ((4, b"r"), (2, b"w"), (1, b"x")) if letter in letters)
        entries.append((tag, who, permissions))
    return tuple(sorted(entries, key=repr))


def is_extended(acl):
    """Whether it says more than the nine permission bits do."""
    return any(tag == "mask" or who is not None for tag, who, _ in acl)
