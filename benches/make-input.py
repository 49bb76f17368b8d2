#!/usr/bin/env python3
"""Write a tar archive to measure with: the same bytes every time.

    make-input.py KIND OUT.tar

    tree       70,000 entries as a distribution has them, 1.5 GB that compress like text
    million    1,000,000 files of 0 to 4 KiB
    wide       1,000,000 names in one directory
    spread     the same names in 1,000 directories
    huge       one file of 20 GiB; huge-N is one of N GiB
    sparse     one file of 1 TiB that holds 1 GiB of data
    dense      the same data without the holes
    curve-N    N entries of mixed kinds
    tiny       one file of six bytes
    gate       5,000 entries of all kinds, for counting instructions
"""

import array
import hashlib
import re
import sys

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
FILE, LINK, SYMLINK, DIRECTORY, PAX = b"0", b"1", b"2", b"5", b"x"


def noise(seed, size):
    """Bytes that don't compress and hold no zero blocks."""
    return hashlib.shake_128(seed.to_bytes(8, "little")).digest(size)


def text(size):
    """Bytes that compress to a third, as those of a distribution do, and repeat in no window of a compressor."""
    letters = noise(2, 1 << 16).translate(bytes(b"etaoinshrdlucmfwypvbgkqjxzETAOIN_(/"[n % 35] for n in range(256)))
    cuts = noise(3, 1 << 12)
    words = [letters[n * 8 : n * 8 + 4 + cuts[n] % 8] + b" " for n in range(1 << 12)]
    picks = array.array("I", noise(4, size // 5 * 4))
    # The product of three numbers: few words are frequent, most are rare.
    return b"".join(words[(n & 0x7FF) * (n >> 11 & 0x3FF) * (n >> 21) >> 20] for n in picks)[:size]


class Writer:
    """An archive in ustar's format, some ten times faster than tarfile."""

    def __init__(self, file):
        self.file = file
        self.frames = {}

    def add(self, name, kind=FILE, data=b"", target=b"", size=None, mode=None):
        """Adds an entry. Where `size` is given, the caller writes the data, and `pad`s it."""
        size = len(data) if size is None else size
        frame = self.frames.get((kind, mode))
        if frame is None:
            bits = mode or {DIRECTORY: 0o755, SYMLINK: 0o777}.get(kind, 0o644)
            owner = b"%07o\0%07o\0%07o\0" % (bits, 0, 0)
            # The checksum counts itself as spaces.
            kinds = b"%011o\0" % 1_700_000_000 + b" " * 8 + kind
            magic = b"ustar\x0000"
            frame = self.frames[kind, mode] = owner, kinds, magic, sum(owner) + sum(kinds) + sum(magic)
        owner, kinds, magic, total = frame
        length = b"%011o\0" % size if size < 8 * GIB else b"\x80" + size.to_bytes(11, "big")
        total += sum(name) + sum(length) + sum(target)
        header = b"".join((name.ljust(100, b"\0"), owner, length, kinds, target.ljust(100, b"\0"), magic))
        header = header[:148] + b"%06o\0 " % total + header[156:]
        self.file.write(header.ljust(512, b"\0"))
        if data:
            self.file.write(data)
            self.pad(len(data))

    def pad(self, size):
        self.file.write(bytes(-size % 512))

    def pax(self, records):
        """An extended header for the next entry."""
        body = b""
        for key, value in records.items():
            rest = b" %s=%s\n" % (key.encode(), value)
            length = len(rest)
            while len(b"%d" % length) + len(rest) != length:
                length = len(b"%d" % length) + len(rest)
            body += b"%d" % length + rest
        self.add(b"./PaxHeaders/x", PAX, body)

    def endless(self, size, seed=0):
        """Noise that costs little: one block of it, each time with other first bytes."""
        block = noise(seed, MIB)
        for count in range(0, size, MIB):
            self.file.write((count.to_bytes(8, "little") + block[8:])[: size - count])

    def end(self):
        self.file.write(bytes(1024))


def tree(tar, entries=70_000, content=1_460_000_000):
    pool = memoryview(text(48 * MIB))
    numbers = array.array("I", noise(5, entries * 4))
    sizes = array.array("I", noise(6, entries * 4))
    directories, written = 0, 0
    for number in range(entries - 1):
        pick = numbers[number] % 100
        if number % 12 == 0:
            share = b"./usr/share%02d" % ((directories - 1) // 700)
            if directories == 0:
                folder = b"./usr"
            elif directories % 700 == 1:
                folder = share
            else:
                folder = b"%s/package-%05d" % (share, directories)
            tar.add(folder, DIRECTORY)
            directories += 1
        elif pick < 8:
            tar.add(b"%s/lib%05d.so" % (folder, number), SYMLINK, target=b"../lib/lib%05d.so.1.2.3" % number)
        else:
            # Log-uniform from 64 bytes to 128 KiB, and a few large ones.
            size = int(2 ** (6 + 11 * sizes[number] / 2**32))
            if pick == 99:
                size *= 50
            size = min(size, 12 * MIB)
            start = numbers[number] % (len(pool) - size)
            tar.add(b"%s/file-of-some-kind-%05d" % (folder, number), data=pool[start : start + size])
            written += size
            if pick == 98:
                tar.add(
                    b"%s/again-%05d" % (folder, number),
                    LINK,
                    target=b"%s/file-of-some-kind-%05d" % (folder, number),
                )
    # What is left is in one file, so that the sum is always the same.
    left = max(content - written, 0)
    tar.add(b"./usr/large", size=left)
    while left:
        part = pool[: min(left, len(pool))]
        tar.file.write(part)
        left -= len(part)
    tar.pad(max(content - written, 0))


def million(tar, files=1_000_000):
    content = memoryview(noise(1, 64 * KIB))
    for number in range(files):
        if number % 10_000 == 0:
            part = b"./part%03d" % (number // 10_000)
            tar.add(part, DIRECTORY)
        if number % 100 == 0:
            folder = b"%s/directory%02d" % (part, number // 100 % 100)
            tar.add(folder, DIRECTORY)
        size = number * 7919 % (4 * KIB + 1)
        start = number * 104729 % (60 * KIB - 1)
        tar.add(b"%s/file%02d" % (folder, number % 100), data=content[start : start + size])


def wide(tar, names=1_000_000):
    tar.add(b"./wide", DIRECTORY)
    for number in range(names):
        tar.add(b"./wide/a-name-of-usual-length-%06d" % (number * 7919 % names))


def spread(tar, names=1_000_000):
    for number in range(names):
        if number % 1000 == 0:
            tar.add(b"./spread%03d" % (number // 1000), DIRECTORY)
        tar.add(b"./spread%03d/a-name-of-usual-length-%06d" % (number // 1000, number * 7919 % names))


def huge(tar, gib=20):
    tar.add(b"./huge", size=gib * GIB)
    tar.endless(gib * GIB)


def sparse(tar):
    sparse_file(tar, b"./sparse", [(n * GIB, MIB) for n in range(KIB)], TIB)


def sparse_file(tar, name, pieces, size):
    """A file with holes as GNU tar writes it since 2008: the map comes before the data."""
    pieces = [*pieces, (size, 0)]
    table = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % piece for piece in pieces)
    table += bytes(-len(table) % 512)
    stored = len(table) + sum(length for _, length in pieces)
    tar.pax(
        {
            "GNU.sparse.major": b"1",
            "GNU.sparse.minor": b"0",
            "GNU.sparse.name": name,
            "GNU.sparse.realsize": b"%d" % size,
            **({"size": b"%d" % stored} if stored >= 8 * GIB else {}),
        }
    )
    tar.add(b"./GNUSparseFile.0/x", size=stored)
    tar.file.write(table)
    tar.endless(stored - len(table))
    tar.pad(stored)


def dense(tar):
    tar.add(b"./dense", size=GIB)
    tar.endless(GIB)


def curve(tar, entries):
    """Of a hundred entries one is a directory; of the rest three tenths have content."""
    content = memoryview(noise(1, 64 * KIB))
    for number in range(entries - 1):
        if number % 10_000 == 0:
            part = b"./part%03d" % (number // 10_000)
            tar.add(part, DIRECTORY)
        elif number % 100 == 0 or number == 1:
            folder = b"%s/directory%02d" % (part, number // 100 % 100)
            tar.add(folder, DIRECTORY)
        elif number % 10 in (3, 4, 5):
            size = number * 7919 % (4 * KIB + 1)
            start = number * 104729 % (60 * KIB - 1)
            tar.add(b"%s/file%06d" % (folder, number), data=content[start : start + size])
        elif number % 10 in (6, 7):
            tar.add(b"%s/link%06d" % (folder, number), SYMLINK, target=b"../file%06d" % number)
        elif number % 10 == 8 and number > 10:
            tar.add(b"%s/also%06d" % (folder, number), LINK, target=b"%s/file%06d" % (folder, number - 3))
        else:
            tar.add(b"%s/empty%06d" % (folder, number))


def tiny(tar):
    tar.add(b"./motd", data=b"hello\n")


def gate(tar):
    content = memoryview(noise(7, 64 * KIB))
    tar.add(b"./wide", DIRECTORY)
    for number in range(1500):
        tar.add(b"./wide/a-name-of-usual-length-%06d" % (number * 7919 % 1500))
    for number in range(3350):
        if number % 50 == 0:
            folder = b"./usr/part%02d/directory%02d" % (number // 500, number // 50 % 10)
            tar.add(folder, DIRECTORY)
        name = b"%s/file%04d" % (folder, number)
        kind = number % 10
        if kind < 6:
            if number % 40 == 1:
                tar.pax({"SCHILY.xattr.user.note": content[: number % 90 + 1].tobytes().hex().encode(), "mtime": b"1700000000.123456789"})
            size = number * 7919 % (16 * KIB)
            tar.add(name, data=content[number : number + size], mode=0o755 if kind == 5 else None)
        elif kind == 6:
            tar.add(name, LINK, target=b"%s/file%04d" % (folder, number - 3))
        elif kind < 9:
            tar.add(name, SYMLINK, target=b"../directory00/file%04d" % number)
        else:
            long = b"%s/%s%04d" % (folder, b"a-long-name-" * 12, number)
            tar.pax({"path": long})
            tar.add(long[:100], data=b"long\n")
    sparse_file(tar, b"./sparse", [(n * MIB, 16 * KIB) for n in range(300)], GIB)
    tar.add(b"./large", size=8 * MIB)
    tar.endless(8 * MIB)


def main():
    kinds = {make.__name__: make for make in (tree, million, wide, spread, huge, sparse, dense, curve, tiny, gate)}
    wanted = re.fullmatch(r"([a-z]+)(?:-(\d+))?", sys.argv[1]) if len(sys.argv) == 3 else None
    if not wanted or wanted[1] not in kinds:
        sys.exit(__doc__)
    numbers = [int(wanted[2])] if wanted[2] else []
    with open(sys.argv[2], "wb", buffering=4 * MIB) as file:
        tar = Writer(file)
        if wanted[1] != "tiny":
            tar.add(b"./", DIRECTORY)
        kinds[wanted[1]](tar, *numbers)
        tar.end()


if __name__ == "__main__":
    main()
