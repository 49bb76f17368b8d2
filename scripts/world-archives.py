#!/usr/bin/env python3
"""world-archives.py FROM TO: gather the archives of unpacked packages into folders by whose they are, uuencoded ones decoded."""

import binascii
import pathlib
import re
import shutil
import subprocess
import sys

PLACES = {
    "libarchive": ("**/libarchive/test/*.uu", "**/libarchive-*/tar/test/*.uu", "**/libarchive-*/cpio/test/*.uu"),
    "go": ("**/archive/tar/testdata/*",),
    "python": ("**/test/*.tar", "**/test/*.tar.xz", "**/archivetestdata/*tar*"),
    "gnu-tar": ("**/tar-1*/tests/**/*.tar*", "**/tar-1*/tests/**/*.tgz"),
}
# What is no tar archive by its name, of libarchive's, which reads everything.
OTHERS = re.compile(r"_(7zip|ar|cab|cpio|iso\w*|lha|mtree|rar5?|xar|zip|zipx|warc|raw|ace|appledouble|rpm|lrzip|lz4|lzop|grzip|uu|Z|lzma|lzip)[_.]|\.(zip|zipx|rar|iso|7z|cab|lha|lzh|xar|cpio|warc|ar|jar|bin|crc|newc|stdout|txt)(\.|$)")


def decode(path):
    """The bytes of a uuencoded file."""
    data, inside = bytearray(), False
    for line in path.read_bytes().splitlines():
        if line.startswith(b"begin "):
            inside = True
        elif line.strip() == b"end":
            break
        elif inside:
            try:
                data += binascii.a2b_uu(line)
            except binascii.Error:
                count = (((line[0] - 32) & 63) * 4 + 5) // 3
                data += binascii.a2b_uu(line[:count])
    return bytes(data)


def main(source, target):
    source, target = pathlib.Path(source), pathlib.Path(target)
    for owner, patterns in PLACES.items():
        folder = target / owner
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted({path for pattern in patterns for path in source.glob(pattern)}):
            if not path.is_file():
                continue
            if path.suffix == ".uu":
                if not OTHERS.search(path.name.removesuffix(".uu")):
                    archive = folder / path.name.removesuffix(".uu")
                    archive.write_bytes(decode(path))
                    if archive.suffix == ".Z":  # what compress made, also unpacked
                        unpacked = subprocess.run(["gzip", "-dc"], input=archive.read_bytes(), stdout=subprocess.PIPE, check=True).stdout
                        archive.with_suffix("").write_bytes(unpacked)
            elif not path.name.endswith((".py", ".txt", ".go")):
                shutil.copyfile(path, folder / path.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
