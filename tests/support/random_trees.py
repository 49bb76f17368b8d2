#!/usr/bin/env python3
"""Pack random trees with writers of tar that are not ours.

    random_trees.py FOLDER --writer WRITER --seed SEED --cases N

writes FOLDER/base.tar, and FOLDER/over.tar where the writer makes layers. Each case is a tree of its own in a directory of its own;
case K of a seed is always the same. Writers: python (entries in any order, with replacements, links to what comes later, and ways
through symbolic links), layers (python, and a second archive with whiteouts), gnu, gnu-old, bsd (a folder on disk, packed; owners and
devices need root).
"""

import argparse
import io
import os
import random
import shutil
import subprocess
import tarfile

NAMES = ["a", "b", "cc", "ä", "日本", "with space", "new\nline", "x" * 255, "-dash", "%41", "=", "q'\"\\", "\udcff\udc80", "UPPER", "upper", ".hidden", "tab\t"]
SIZES = [0, 1, 59, 60, 511, 512, 513, 4095, 4096, 4097, 12_288, 40_000]
TARGETS = ["x", "y" * 59, "y" * 60, "y" * 61, "/etc/" + "z" * 200, "../" * 20 + "b", "w" * 99, "w" * 101, "v/" * 2000 + "v", "\udcfe"]
MODES = [0o644, 0o755, 0o600, 0o4755, 0o2775, 0o1777, 0, 0o7777, 0o444]
IDS = [0, 0, 0, 1, 1000, 65_534, 65_536, 2_097_151, 2_097_152, 4_000_000_000]
# None beyond 2038: e2fsck complains of filesystems from the future.
TIMES = ["1700000000", "0", "1", "1234567890.123456789", "-1", "-1.5", "-2147483648", "1700000000.000000001", "999999999.999999999",
         "2147483648", "4294967296.5", "15032385535"]
XATTRS = ["user.a", "user.name with space", "user.ö", "trusted.t", "security.s", "user." + "n" * 200, "user.a=b", "user.a%b"]


def content(rng, size):
    return rng.randbytes(min(size, 64)) * (size // 64 + 1) if size else b""


class Python:
    """Entries by Python's tarfile."""

    def __init__(self, path):
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape")

    def entry(self, rng, name, kind, size=0, linkname="", sparse=None):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, linkname
        info.mode, info.uid, info.gid = rng.choice(MODES), rng.choice(IDS), rng.choice(IDS)
        info.mtime = 1
        info.pax_headers = {"mtime": rng.choice(TIMES)}
        if rng.random() < 0.2:
            info.pax_headers["atime"] = rng.choice(TIMES)
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = rng.choice([(1, 3), (0, 0), (255, 255), (256, 7), (4095, 1_048_575)])
        if kind not in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            for key in rng.sample(XATTRS, rng.choice([0, 0, 0, 0, 1, 2, 5])):
                if key.startswith("user.") and kind not in (tarfile.REGTYPE, tarfile.DIRTYPE):
                    continue  # Linux doesn't show them
                escaped = key.replace("%", "%25").replace("=", "%3D")
                info.pax_headers["SCHILY.xattr." + escaped] = rng.choice(["", "v", "x" * 100, "\0\udcff\n=", "long" * 120])
            if rng.random() < 0.1:
                info.pax_headers["SCHILY.acl.access"] = "user::rwx,user:{}:r--,group::r-x,mask::rw-,other::---".format(rng.choice([1, 77, 4_000_000_000]))
        data = content(rng, size)[:size]
        if sparse is not None:
            size, runs = sparse
            data = b"".join(content(rng, length)[:length] for _, length in runs)
            info.pax_headers |= {"GNU.sparse.size": str(size), "GNU.sparse.numblocks": str(len(runs)), "GNU.sparse.map": ",".join(f"{o},{n}" for o, n in runs)}
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))


def runs(rng):
    """A sparse file's size and data."""
    at, all = 0, []
    for _ in range(rng.randrange(1, 7)):
        at += rng.choice([0, 1, 4095, 4096, 8192, 100_000, 1 << 30])
        length = rng.choice([1, 512, 4096, 5000])
        all.append((at, length))
        at += length
    return at + rng.choice([0, 1, 4096, 1 << 33]), all


def python_case(archive, rng, top, count):
    """Entries that never break a rule: nothing is used as a directory that is none any more."""
    directories, others = [top], {}
    archive.entry(rng, top, tarfile.DIRTYPE)
    late = []
    for number in range(count):
        parent = rng.choice(directories)
        name = f"{parent}/{rng.choice(NAMES)}" if rng.random() < 0.8 else f"{parent}/n{number}"
        spelled = rng.choice(["", "", "", "./", "/"]) + name
        kind = rng.choice("ddffffffssschpbll")
        if name in directories:
            if kind == "d":
                archive.entry(rng, spelled, tarfile.DIRTYPE)
                continue
            # A directory with all below it goes; links to what was there stay what they are.
            directories = [d for d in directories if d != name and not d.startswith(name + "/")]
            others = {path: k for path, k in others.items() if not path.startswith(name + "/")}
            late = [path for path in late if not path.startswith(name + "/")]
            if not directories:
                return others, directories, late
        if name in late:
            late.remove(name)
        if kind == "d":
            others.pop(name, None)
            if rng.random() < 0.2:
                # Parents that no entry says anything of.
                name = spelled = f"{parent}/i{number}/p/q"
                directories += [f"{parent}/i{number}", f"{parent}/i{number}/p"]
            archive.entry(rng, spelled, tarfile.DIRTYPE)
            if name not in directories:
                directories.append(name)
            continue
        if kind == "l":
            wanted = [path for path, k in others.items() if k != "link"]
            if wanted and rng.random() < 0.6:
                archive.entry(rng, spelled, tarfile.LNKTYPE, linkname=rng.choice(wanted))
                others[name] = "link"
            else:
                # Its target comes at the end of all.
                archive.entry(rng, spelled, tarfile.LNKTYPE, linkname=f"{top}/late")
                others[name] = "link"
                late.append(name)
            continue
        if kind == "s" and rng.random() < 0.3 and len(directories) > 1:
            # A way to a directory, and something on the way.
            archive.entry(rng, spelled, tarfile.SYMTYPE, linkname="/" + rng.choice([d for d in directories if not d.startswith(name + "/")]))
            others[name] = "symlink"
            archive.entry(rng, f"{name}/via{number}", tarfile.REGTYPE, 3)
            continue
        if kind == "f" and rng.random() < 0.2:
            archive.entry(rng, spelled, tarfile.REGTYPE, sparse=runs(rng))
        else:
            type = {"f": tarfile.REGTYPE, "s": tarfile.SYMTYPE, "c": tarfile.CHRTYPE, "h": tarfile.REGTYPE, "p": tarfile.FIFOTYPE, "b": tarfile.BLKTYPE}[kind]
            archive.entry(rng, spelled, type, rng.choice(SIZES) if kind in "fh" else 0, linkname=rng.choice(TARGETS) if kind == "s" else "")
        others[name] = kind
    archive.entry(rng, f"{top}/late", tarfile.REGTYPE, 5)
    others[f"{top}/late"] = "f"
    return others, directories, late


def layer_case(archive, rng, top, others, directories):
    """Whiteouts first, then entries of names that none of them has."""
    hidden = set()
    gone = lambda path: any(path.startswith(directory + "/") for directory in hidden)
    for directory in directories:
        if rng.random() < 0.2 and not gone(directory):
            archive.entry(rng, directory + "/.wh..wh..opq", tarfile.REGTYPE)
            hidden.add(directory)
    for path in list(others):
        if rng.random() < 0.3 and not gone(path) and len(os.fsencode(os.path.basename(path))) < 250:
            archive.entry(rng, os.path.dirname(path) + "/.wh." + os.path.basename(path), tarfile.REGTYPE)
    for number in range(rng.randrange(6)):
        archive.entry(rng, f"{top}/layer{number}", rng.choice([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]))
    for directory in directories:
        if rng.random() < 0.3 and not gone(directory):
            archive.entry(rng, directory, tarfile.DIRTYPE)
            # A directory of that name may have others below it, of which more is said.
            if directory + "/upper" not in directories:
                archive.entry(rng, directory + "/upper", tarfile.REGTYPE, rng.choice(SIZES))


def disk_case(rng, top, count):
    """A tree in a folder, as far as whoever runs this may make it."""
    top = os.fsencode(top)
    is_root = os.geteuid() == 0
    os.mkdir(top)
    directories, files = [top], []
    for number in range(count):
        name = rng.choice(NAMES) if rng.random() < 0.7 else f"n{number}"
        path = rng.choice(directories) + b"/" + os.fsencode(name)
        if os.path.lexists(path):
            continue
        kind = rng.choice("ddfffffsshcpb" if is_root else "ddfffffsshp")
        if len(path) > 3500:
            continue
        if kind == "d":
            os.mkdir(path)
            directories.append(path)
        elif kind == "s":
            os.symlink(os.fsencode(rng.choice(TARGETS)[:4000]), path)
        elif kind == "h" and files:
            os.link(rng.choice(files), path, follow_symlinks=False)
            continue
        elif kind in "cb":
            device = os.makedev(*rng.choice([(1, 3), (255, 255), (256, 7), (4000, 300_000)]))
            os.mknod(path, (0o020000 if kind == "c" else 0o060000) | 0o600, device)
        elif kind == "p":
            os.mkfifo(path)
        else:
            with open(path, "wb") as file:
                if rng.random() < 0.25:
                    size, pieces = runs(rng)
                    for offset, length in pieces:
                        file.seek(offset)
                        file.write(content(rng, length)[:length])
                    file.truncate(size)
                else:
                    size = rng.choice(SIZES)
                    file.write(content(rng, size)[:size])
        if kind in "fhcpb":
            files.append(path)
    everything = [os.path.join(folder, name) for folder, below, names in os.walk(top) for name in below + names]
    for path in sorted(everything, reverse=True) + [top]:
        is_link = os.path.islink(path)
        if is_root:
            os.lchown(path, rng.choice(IDS), rng.choice(IDS))
        if not is_link:
            os.chmod(path, rng.choice(MODES) | (0 if is_root else 0o700))
            if is_root:
                for key in rng.sample(XATTRS, rng.choice([0, 0, 0, 0, 1, 3])):
                    if key.startswith("user.") and not (os.path.isfile(path) or os.path.isdir(path)):
                        continue
                    os.setxattr(path, os.fsencode(key), rng.choice([b"", b"v", b"x" * 100, b"\0\xff\n=", b"long" * 120]))
        whole, _, part = rng.choice(TIMES).partition(".")
        fraction = int(part.ljust(9, "0") or 0)
        nanoseconds = int(whole) * 10**9 + (-fraction if whole.startswith("-") else fraction)
        os.utime(path, ns=(10**18, nanoseconds), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--writer", choices=["python", "layers", "gnu", "gnu-old", "bsd"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int, required=True)
    options = parser.parse_args()
    base = os.path.join(options.folder, "base.tar")
    cases = [(f"t{n:05}", random.Random(f"{options.seed}/{n}/{options.writer}")) for n in range(options.cases)]
    if options.writer in ("python", "layers"):
        archive = Python(base)
        made = [(rng, top, *python_case(archive, rng, top, rng.randrange(1, 30))) for top, rng in cases]
        archive.tar.close()
        if options.writer == "layers":
            over = Python(os.path.join(options.folder, "over.tar"))
            for rng, top, others, directories, _ in made:
                layer_case(over, rng, top, others, directories)
            over.entry(random.Random(0), "over", tarfile.REGTYPE)
            over.tar.close()
        return
    trees = os.path.join(options.folder, "trees")
    os.mkdir(trees)
    for top, rng in cases:
        disk_case(rng, os.path.join(trees, top), rng.randrange(1, 30))
    rng = random.Random(options.seed)
    # What the kernel doesn't list unless asked for is what nobody can pack: trusted.* needs root, security.* its own.
    command = {
        "gnu": ["tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "-S", f"--sparse-version={rng.choice(['0.0', '0.1', '1.0'])}"],
        "gnu-old": ["tar", "--format=gnu", "-S"],
        "bsd": ["bsdtar", "--format=pax", "--xattrs", "--acls", "--read-sparse"],
    }[options.writer]
    subprocess.run([*command, "--numeric-owner", "-cf", base, "-C", trees, "."], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    shutil.rmtree(trees)


if __name__ == "__main__":
    main()
