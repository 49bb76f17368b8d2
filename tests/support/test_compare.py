#!/usr/bin/env python3
"""Prove that compare_tar.py sees: one attribute at a time is spoilt in a good image, and each must be named.

Needs root (loop mounts), GNU tar, e2fsprogs, acl, attr and libcap2-bin. The kernel makes the images; no code of ours does.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ODD = b"caf\xc3\xa9 \xff\xfe"


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout


@contextlib.contextmanager
def mounted(image, mode="rw"):
    with tempfile.TemporaryDirectory(prefix="lfs-image-mount-") as point:
        run("mount", "-o", f"loop,{mode}", image, point)
        try:
            yield os.fsencode(point)
        finally:
            run("umount", point)


@contextlib.contextmanager
def quietly(*paths):
    """Puts the times of these and of their directories back afterwards: only the intended change is left."""
    paths = {*paths, *map(os.path.dirname, paths)}
    before = {path: os.lstat(path) for path in paths if os.path.lexists(path)}
    yield
    for path, status in before.items():
        if os.path.lexists(path):
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def populate(top):
    def at(name):
        return top + b"/" + name

    def write(name, content, mode=0o644):
        with open(at(name), "wb") as file:
            file.write(content)
        os.chmod(at(name), mode)

    os.makedirs(at(b"usr/bin"))
    os.symlink("usr/bin", at(b"bin"))
    os.makedirs(at(b"etc"))
    write(b"etc/passwd", b"root:x:0:0::/:/bin/sh\nadm:x:77:78::/:\n")
    write(b"usr/bin/su", b"program" * 1000, 0o4755)
    write(b"usr/bin/ping", b"ping")
    write(b"empty", b"")
    write(b"twin", b"the same content")
    write(b"other", b"the same content")
    os.link(at(b"usr/bin/su"), at(b"linked"))
    os.symlink("target", at(b"fast"))
    os.symlink("t" * 200, at(b"slow"))
    os.mknod(at(b"null"), 0o020666, os.makedev(1, 3))
    os.mknod(at(b"nvme"), 0o060660, os.makedev(259, 70000))
    os.mkfifo(at(b"fifo"), 0o600)
    write(ODD, b"a name that is not UTF-8")
    write(b"line\nbreak", b"")
    os.chown(at(b"twin"), 70000, 4294967294)
    os.setxattr(at(b"twin"), "user.comment", b"bin\0ary\xff\n")
    os.setxattr(at(b"twin"), "trusted.note", b"x" * 300)
    run("setcap", "cap_net_raw+ep", at(b"usr/bin/ping"))
    run("setfacl", "-m", "u:77:rw,g:78:r", at(b"other"))
    run("setfacl", "-d", "-m", "u:77:rwx", at(b"etc"))
    with open(at(b"sparse"), "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data" * 2048)
    for name, time in ((b"twin", 1234567890_123456789), (b"empty", -1_500000000), (b"etc", 2**33 * 10**9 + 1)):
        os.utime(at(name), ns=(time, time))
    os.utime(at(b"fast"), ns=(5, 7), follow_symlinks=False)


def rewrite(path, change):
    with quietly(path), open(path, "r+b") as file:
        change(file)


def set_byte(file):
    file.seek(5)
    file.write(b"#")


def fill_hole(file):
    file.seek(2 << 20)
    file.write(bytes(4096))


def preallocate(path):
    with quietly(path):
        run("fallocate", "-n", "-o", "1M", "-l", "1M", path)


def break_link(path):
    with quietly(path):
        shutil.copy2(path, path + b".new")
        os.chown(path + b".new", 0, 0)
        os.rename(path + b".new", path)


def replace(path, make):
    status = os.lstat(path)
    with quietly(path):
        os.unlink(path)
        make(path)
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def shift_time(path, amount):
    status = os.lstat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + amount), follow_symlinks=False)


def unmake(path):
    with quietly(path):
        os.unlink(path)


def make(path):
    with quietly(path), open(path, "wb"):
        pass


# What is spoilt, how, and the words that the comparison must find for it.
SPOILERS = [
    ("mode", lambda t: os.chmod(t + b"/usr/bin/su", 0o0755), "/usr/bin/su: mode: archive 4755, file system 0755"),
    ("owner", lambda t: os.chown(t + b"/twin", 70001, -1), "/twin: owner: archive 70000:4294967294"),
    ("group", lambda t: os.chown(t + b"/fast", -1, 1, follow_symlinks=False), "/fast: owner"),
    ("mtime by 1 ns", lambda t: shift_time(t + b"/twin", 1), "/twin: mtime: archive 1234567890.123456789, file system 1234567890.123456790"),
    ("mtime of a link", lambda t: shift_time(t + b"/fast", -1), "/fast: mtime"),
    ("mtime by an epoch", lambda t: shift_time(t + b"/etc", -(2**32) * 10**9), "/etc: mtime"),
    ("content", lambda t: rewrite(t + b"/other", set_byte), "/other: content"),
    ("size", lambda t: rewrite(t + b"/empty", lambda f: f.truncate(1)), "/empty: size: archive 0, file system 1"),
    ("xattr value", lambda t: os.setxattr(t + b"/twin", "user.comment", b"bin\0ary\xfe\n"), "/twin: attribute user.comment"),
    ("xattr gone", lambda t: os.removexattr(t + b"/twin", "trusted.note"), "/twin: attribute trusted.note"),
    ("xattr extra", lambda t: os.setxattr(t + b"/etc", "user.x", b""), "/etc: attribute user.x"),
    ("ACL", lambda t: run("setfacl", "-m", "u:77:r", t + b"/other"), "/other: attribute system.posix_acl_access"),
    ("default ACL", lambda t: run("setfacl", "-k", t + b"/etc"), "/etc: attribute system.posix_acl_default"),
    ("capability", lambda t: run("setcap", "cap_net_raw+p", t + b"/usr/bin/ping"), "/usr/bin/ping: attribute security.capability"),
    ("hard link broken", lambda t: break_link(t + b"/linked"), "identity"),
    ("hard link too many", lambda t: replace(t + b"/empty", lambda p: os.link(t + b"/line\nbreak", p)), "identity"),
    ("symlink target", lambda t: replace(t + b"/slow", lambda p: os.symlink("t" * 199 + "T", p)), "/slow: target"),
    ("device number", lambda t: replace(t + b"/nvme", lambda p: os.mknod(p, 0o060660, os.makedev(259, 4464))), "/nvme: device: archive (259, 70000)"),
    ("device type", lambda t: replace(t + b"/null", lambda p: os.mknod(p, 0o060666, os.makedev(1, 3))), "/null: type: archive character device"),
    ("file for fifo", lambda t: replace(t + b"/fifo", lambda p: os.mknod(p, 0o100600)), "/fifo: type: archive fifo, file system file"),
    ("hole filled", lambda t: rewrite(t + b"/sparse", fill_hole), "/sparse: holes"),
    ("blocks for nothing", lambda t: preallocate(t + b"/other"), "/other: allocated"),
    ("extra file", lambda t: make(t + b"/etc/new"), "/etc/new: extra"),
    ("missing file", lambda t: unmake(t + b"/" + ODD), "missing"),
    ("lost+found", lambda t: os.chmod(t + b"/lost+found", 0o755), "/lost+found: attributes"),
]


class Comparison(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="lfs-image-compare-")
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.source, cls.good = cls.new_image("source"), cls.new_image("good")
        cls.archive = os.path.join(cls.scratch, "archive.tar")
        keep = ["--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
        with mounted(cls.source) as top:
            populate(top)
            run("tar", *keep, "--sparse", "--exclude=./lost+found", "-C", top, "-cf", cls.archive, ".")
        with mounted(cls.good) as top:
            run("tar", *keep, "-C", top, "-xpf", cls.archive)

    @classmethod
    def new_image(cls, name):
        path = os.path.join(cls.scratch, name + ".img")
        run("truncate", "-s", "16M", path)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", path)
        return path

    def compare(self, archive, image, *options):
        """What both ways of looking say."""
        command = [sys.executable, os.path.join(HERE, "compare_tar.py"), *options, archive]
        with mounted(image, "ro") as top:
            kernel = subprocess.run([*command, top], capture_output=True, text=True)
        debugfs = subprocess.run([*command, "--debugfs", image], capture_output=True, text=True)
        return {"kernel": kernel, "debugfs": debugfs}

    def test_equal(self):
        for image in (self.source, self.good):
            for way, result in self.compare(self.archive, image).items():
                with self.subTest(image=image, way=way):
                    self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
                    self.assertIn("no differences", result.stderr)

    def test_each_change_is_seen(self):
        for name, spoil, words in SPOILERS:
            spoilt = os.path.join(self.scratch, "spoilt.img")
            run("cp", "--sparse=always", self.good, spoilt)
            with mounted(spoilt) as top:
                spoil(top)
            for way, result in self.compare(self.archive, spoilt).items():
                with self.subTest(change=name, way=way):
                    self.assertEqual(result.returncode, 1, result.stderr)
                    self.assertIn(words, result.stdout)
                    # The one change and what follows from it, nothing else.
                    self.assertLessEqual(len(result.stdout.splitlines()), 4, result.stdout)

    def test_compressed(self):
        for command, end in (("zstd", ".zst"), ("xz", ".xz"), ("bzip2", ".bz2"), ("gzip", ".gz")):
            run(command, "-qkf", self.archive)
            for way, result in self.compare(self.archive + end, self.good).items():
                with self.subTest(command=command, way=way):
                    self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)

    def test_by_bsdtar(self):
        other = os.path.join(self.scratch, "bsdtar.tar")
        with mounted(self.good, "ro") as top:
            run("bsdtar", "--format=pax", "--xattrs", "--acls", "--numeric-owner", "--exclude=./lost+found", "-C", top, "-cf", other, ".")
        for way, result in self.compare(other, self.good).items():
            with self.subTest(way=way):
                # bsdtar writes half past two before 1970 where it means half past one.
                self.assertEqual(result.stdout, "/empty: mtime: archive -2.500000000, file system -1.500000000\n", result.stderr)

    def test_layers(self):
        """What a second archive replaces, adds and whites out must be asked of the image."""
        layer = os.path.join(self.scratch, "layer")
        os.makedirs(os.path.join(layer, "bin"))
        os.makedirs(os.path.join(layer, "new/deep"))
        for name in (".wh.other", "bin/su", "new/deep/file"):
            with open(os.path.join(layer, name), "w", encoding="ascii") as file:
                file.write(name)
        overlay = os.path.join(self.scratch, "layer.tar")
        run("tar", "--format=posix", "-C", layer, "-cf", overlay, ".wh.other", "bin/su", "new/deep/file")
        result = self.compare(self.archive, self.good, "--whiteouts", "--overlay", overlay)["debugfs"]
        told = [line.split(": archive")[0] for line in result.stdout.splitlines()]
        self.assertEqual(result.returncode, 1)
        for words in ("/other: extra", "/new: missing", "/new/deep: missing", "/new/deep/file: missing", "/usr/bin/su: size", "/linked: links"):
            self.assertIn(words, told)
        self.assertNotIn("/bin: type", told)  # the entry went through the symbolic link

    def test_bad_archive_is_no_verdict(self):
        size = os.path.getsize(self.archive)
        for keep in (size // 2 // 512 * 512 + 100, 10240, 512 * 7):
            short = os.path.join(self.scratch, "short.tar")
            with open(self.archive, "rb") as whole, open(short, "wb") as part:
                part.write(whole.read(keep))
            for result in self.compare(short, self.good).values():
                self.assertEqual(result.returncode, 2, result.stdout)


if __name__ == "__main__":
    unittest.main()
