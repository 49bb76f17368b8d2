#!/usr/bin/env python3
"""Write a tar archive to measure with: the same bytes every time.

    make-input.py small OUT.tar    200,000 files of 0 to 6 KB in 2,000 directories
    make-input.py large OUT.tar    one file of 2 GiB
    make-input.py wide OUT.tar     100,000 names in one directory
"""

import hashlib
import io
import sys
import tarfile


def noise(seed, size):
    """Bytes that don't compress and hold no zero blocks."""
    return hashlib.shake_128(seed.to_bytes(8, "little")).digest(size)


class Endless(io.RawIOBase):
    """Noise that costs little: one block of it, each time with other first bytes."""

    def __init__(self, size):
        super().__init__()
        self.left, self.count, self.block = size, 0, noise(0, 1 << 20)

    def read(self, size=-1):
        size = min(size if size >= 0 else self.left, self.left, len(self.block))
        self.left -= size
        self.count += 1
        return (self.count.to_bytes(8, "little") + self.block[8:])[:size]


def entry(name, kind=tarfile.REGTYPE, size=0):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, size, 1_700_000_000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info


def small(archive):
    content = noise(1, 1 << 16)
    for directory in range(2000):
        if directory % 100 == 0:
            archive.addfile(entry(f"./part{directory // 100:02}", tarfile.DIRTYPE))
        path = f"./part{directory // 100:02}/directory{directory:04}"
        archive.addfile(entry(path, tarfile.DIRTYPE))
        for number in range(100):
            count = directory * 100 + number
            size = count * 7919 % 6001
            start = count * 104729 % (len(content) - 6001)
            archive.addfile(entry(f"{path}/file{number:03}", size=size), io.BytesIO(content[start : start + size]))


def large(archive):
    archive.addfile(entry("./large", size=2 << 30), Endless(2 << 30))


def wide(archive):
    archive.addfile(entry("./wide", tarfile.DIRTYPE))
    for number in range(100_000):
        archive.addfile(entry(f"./wide/a-name-of-usual-length-{number * 7919 % 100_000:05}"))


def main():
    kinds = {"small": small, "large": large, "wide": wide}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        sys.exit(__doc__)
    with tarfile.open(sys.argv[2], "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(entry(".", tarfile.DIRTYPE))
        kinds[sys.argv[1]](archive)


if __name__ == "__main__":
    main()
