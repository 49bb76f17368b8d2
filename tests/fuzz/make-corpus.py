#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets into corpus/: small, and the same every time. (The archives of fixtures/tar are seeds, too.)"""

import bz2
import gzip
import io
import lzma
import pathlib
import random
import tarfile

HERE = pathlib.Path(__file__).resolve().parent / "corpus"


def save(target, name, data):
    path = HERE / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def header(name, kind=b"0", size=0, link=b"", prefix=b"", magic=b"ustar\x0000", extra=b"", mode=0o644):
    block = bytearray(512)
    block[: len(name)] = name
    block[100:148] = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, 1_000_000_000)
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = magic
    block[345 : 345 + len(prefix)] = prefix
    block[386 : 386 + len(extra)] = extra
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def data(content):
    return content + bytes(-len(content) % 512)


def pax(records, kind=b"x"):
    body = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        if len(str(length)) + rest != length:
            length += 1
        body += b"%d %s=%s\n" % (length, key, value)
    return header(b"PaxHeader", kind, len(body)) + data(body)


def archives():
    gnu = b"ustar  \0"
    end = bytes(1024)
    file = header(b"f", size=3) + data(b"abc")
    seeds = {
        "file": file,
        "links": file + header(b"h", b"1", link=b"f") + header(b"later", b"1", link=b"g") + header(b"g") + header(b"s", b"2", link=b"f"),
        "ways": header(b"usr/bin", b"5") + header(b"bin", b"2", link=b"usr/bin") + header(b"bin/sh", size=2) + data(b"#!"),
        "loop": header(b"a", b"2", link=b"b") + header(b"b", b"2", link=b"a") + header(b"a/x"),
        "devices": header(b"c", b"3") + header(b"b", b"4") + header(b"p", b"6"),
        "long": header(b"././@LongLink", b"L", 300, magic=gnu) + data(b"x/" * 149 + b"y\0") + header(b"x", magic=gnu),
        "pax": pax([(b"path", b"long/" * 30), (b"mtime", b"-1.5"), (b"uid", b"4000000000"), (b"SCHILY.xattr.user.a", b"1=2")]) + header(b"x"),
        "global": pax([(b"mtime", b"7.25"), (b"gid", b"9")], b"g") + file,
        "xattrs": pax([(b"LIBARCHIVE.xattr.user.b%3D", b"Zm9v"), (b"SCHILY.acl.access", b"user::rw-,user:7:r--,group::r--,mask::r--,other::---")]) + header(b"x"),
        "capability": pax([(b"SCHILY.xattr.security.capability", b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0")]) + header(b"ping"),
        "sparse-0.0": pax([(b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.offset", b"4096"), (b"GNU.sparse.numbytes", b"3")]) + file,
        "sparse-0.1": pax([(b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.map", b"0,1,4096,2"), (b"GNU.sparse.name", b"n")]) + file,
        "sparse-1.0": pax([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"n"), (b"GNU.sparse.realsize", b"9000")])
        + header(b"x", size=515) + data(b"1\n4096\n3\n") + data(b"abc"),
        "sparse-old": header(b"x", b"S", 3, magic=gnu, extra=b"%011o\0%011o\0" % (4096, 3) + bytes(72) + b"\0" + b"%011o\0" % 9000) + data(b"abc"),
        "whiteouts": header(b"d/a") + header(b"d/b") + header(b"d/.wh.a") + header(b"d/.wh..wh..opq"),
        "socket": pax([(b"SCHILY.filetype", b"socket")]) + header(b"s"),
        "many": b"".join(header(b"d/%d" % n) for n in range(12)),
        "replaced": header(b"a", b"5") + header(b"a/b") + header(b"a", b"2", link=b"c") + header(b"a", size=3) + data(b"xyz"),
        "v7": header(b"dir/", b"\0", magic=bytes(8)) + header(b"dir/f", b"\0", 3, magic=bytes(8)) + data(b"abc"),
        "dump": header(b"d", b"D", 6, magic=gnu) + data(b"Yf\0\0\0\0") + header(b"label", b"V", magic=gnu) + header(b"d/f", magic=gnu),
    }
    for name, body in seeds.items():
        # The last byte: 0 has checksums mended, 2 whiteouts, 4 kept links, 8 two layers.
        flags = {"whiteouts": 10, "ways": 4}.get(name, 0)
        save("archive", name, body + end + bytes([flags]))
    plain = seeds["file"] + seeds["links"] + end
    for name, packed in [("gzip", gzip.compress(plain, mtime=0)), ("bzip2", bz2.compress(plain)), ("xz", lzma.compress(plain))]:
        save("archive", name, packed + b"\1")
        save("archive", name + "-twice", packed[:-1] + packed[-1:] * 2 + packed + b"\1")
    # A zstd frame of one raw block.
    save("archive", "zstd", b"\x28\xb5\x2f\xfd\x60" + (1024 - 256).to_bytes(2, "little") + (1 | 1024 << 3).to_bytes(3, "little") + file + b"\1")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ["ä" * 60, "x" * 200]:
            tar.addfile(tarfile.TarInfo(name))
    save("archive", "python", stream.getvalue()[:6144] + b"\0")


def trees(numbers):
    for n in range(24):
        save("tree", f"{n:02}", numbers.randbytes([40, 120, 400, 900][n % 4]))


def disks(numbers):
    for base in range(5):
        save("disk", f"whole-{base}", bytes([base]))
        for n in range(4):
            save("disk", f"damaged-{base}-{n}", bytes([base]) + numbers.randbytes([8, 30, 90, 300][n]))
    # One place after the other, mended.
    for place in range(13):
        save("disk", f"place-{place:02}", bytes([0, place, 0, 1, 1, 0, 7, 0, 14]))


def boots(numbers):
    def whole(*paths):
        return b"".join(bytes([path, 4, 0, 0]) for path in paths)

    def seed(name, flags, modules, body):
        save("boot", name, flags.to_bytes(2, "big") + bytes([modules]) + body)

    host = [18, 19, 20, 21, 22, 23, 29, 30, 32, 39, 40]
    for table in [0, 4]:
        for target in range(5):
            seed(f"grub-{table}-{target}", 1 | table | target << 6, 3, whole(0, 7, 8, 9, 10, 11, 12, 13, 6, 3, 45, 46, *host))
    seed("grub-arm64", 1, 4, whole(2, 14, 15, *host))
    seed("uki", 2, 0, whole(0, 16, 3, 18, *host))
    seed("uki-arm64", 2, 0, whole(2, 17, 18))
    seed("stub", 3, 0, whole(0, 3, 5, *host))
    seed("stub-arm64", 3 | 4 << 6, 0, whole(2, 3, *host))
    seed("everything", 0xFC00 | 4 << 6, 7, whole(*range(64)))
    for n in range(10):
        seed(f"random-{n}", numbers.randrange(1 << 16), numbers.randrange(8), whole(0, 7, 8, 9, 10, 11) + numbers.randbytes(200))


def configs():
    seeds = [
        'size = "8G"\nlabel = "x"\nsync = true\nreserved = 2\n[host]\nnetwork = false\nremove = ["/a", "/b"]\n',
        'table = "mbr"\nfree = "20%"\nesp = "64MiB"\nboot = "none"\n',
        'append = ["quiet", "a=b"]\ntarget = "ec2"\nhostname = "h"\ninodes = 1000\njournal = "none"\n',
        'uuid = "0a1b2c3d-0000-4000-8000-000000000000"\ntime = 1700000000\nmax-size = 1e3\n[a.b.c]\ndigest = true\n',
        "size = -1\nlabel = '''\nx'''\nfree = 1979-05-27\n[[array]]\nx = {y = [1, [2]]}\n",
    ]
    for n, text in enumerate(seeds):
        save("config", f"{n}.toml", text.encode())


if __name__ == "__main__":
    numbers = random.Random(7)
    archives()
    trees(numbers)
    disks(numbers)
    boots(numbers)
    configs()
