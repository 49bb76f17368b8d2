//! `ls`, `cat`, `extract`, `diff`: what is in an image is what it was made of, and what is wrong with it harms nobody.

use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::support::{both, compare, judge, must, rootfs, scratch};
use crate::{errors, fixture, lfs_image, raw};

/// A disk of nothing but what is in the archive.
const PLAIN: [&str; 6] = ["--boot", "none", "--target", "none", "--size", "64M"];
/// Where its filesystem begins.
const OFFSET: u64 = 2 << 20;

fn fixtures() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "tar")).collect();
    all.sort();
    assert!(all.len() >= 19);
    all
}

#[test]
fn every_fixture_comes_out_as_it_went_in() {
    let folder = scratch();
    let (image, back, again) =
        (folder.path().join("a.img"), folder.path().join("b.tar"), folder.path().join("b.img"));
    for archive in fixtures() {
        let name = archive.file_name().unwrap().to_str().unwrap();
        raw(&archive, &image, &PLAIN);
        let said = must(lfs_image().arg("diff").args(&PLAIN[..4]).arg(&archive).arg(&image));
        assert_eq!(said, "", "{name}");
        must(lfs_image().args(["-q", "extract"]).arg(&image).arg(&back));
        raw(&back, &again, &PLAIN);
        // Holes are whole blocks on a disk, and may be anything in an archive: the second time nothing changes.
        if name.contains("sparse") {
            let first = std::fs::read(&again).unwrap();
            must(lfs_image().args(["-q", "extract"]).arg(&again).arg(&back));
            raw(&back, &again, &PLAIN);
            assert!(first == std::fs::read(&again).unwrap(), "{name}");
        } else {
            must(Command::new("cmp").arg(&image).arg(&again));
        }
        // Somebody else's reader of archives, against somebody else's reader of images.
        if judge::require(compare::NEEDS) {
            compare::debugfs(&back, &again, OFFSET, &[]).unwrap();
        }
    }
}

/// An archive made by Python: lines of its program, in which `add(name, **fields)` adds an entry.
fn tar(folder: &Path, name: &str, lines: &str) -> std::path::PathBuf {
    let out = folder.join(name);
    let program = format!(
        "import io, sys, tarfile\n\
         tar = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)\n\
         def add(name, data=b'', **fields):\n \
         \x20info = tarfile.TarInfo(name); info.mtime = 1000; info.size = len(data)\n \
         \x20for key, value in fields.items(): setattr(info, key, value)\n \
         \x20tar.addfile(info, io.BytesIO(data))\n\
         {lines}\ntar.close()\n"
    );
    must(Command::new("python3").args(["-c", &program]).arg(&out));
    out
}

const BASE: &str = "\
add('d', type=tarfile.DIRTYPE, mode=0o755)
add('d/gone')
add('f', b'hello')
add('size', b'12')
add('mode', mode=0o644)
add('owner')
add('time')
add('link', type=tarfile.SYMTYPE, linkname='f')
add('node', type=tarfile.CHRTYPE, devmajor=1, devminor=3)
add('type')
add('one', b'1')
add('two', type=tarfile.LNKTYPE, linkname='one')
add('x', pax_headers={'SCHILY.xattr.user.a': '1', 'SCHILY.xattr.user.b': '1'})
";

const CHANGED: &str = "\
add('d', type=tarfile.DIRTYPE, mode=0o755)
add('d/new', b'123')
add('f', b'help!')
add('size', b'123')
add('mode', mode=0o4644)
add('owner', uid=7, gid=8)
add('time', pax_headers={'mtime': '1000.000000001'})
add('link', type=tarfile.SYMTYPE, linkname='g')
add('node', type=tarfile.CHRTYPE, devmajor=1, devminor=5)
add('type', type=tarfile.DIRTYPE)
add('one', b'1')
add('two', b'1')
add('x', pax_headers={'SCHILY.xattr.user.b': '2', 'SCHILY.xattr.user.c': '3'})
";

const DIFFERENCES: &str = "\
- /d/gone: file of 0 bytes
+ /d/new: file of 3 bytes
~ /f: content differs from byte 3 on
~ /link: target f -> g
~ /mode: mode 0644 -> 4644
~ /node: device 1:3 -> 1:5
~ /owner: owner 0:0 -> 7:8
~ /size: size 2 -> 3
~ /time: mtime 1970-01-01 00:16:40 -> 1970-01-01 00:16:40.000000001
~ /two: links the same file as /one -> a file of its own
~ /type: type file -> directory
~ /x: xattr user.a 1 -> none, xattr user.b 1 -> 2, xattr user.c none -> 3
";

#[test]
fn diff_sees_everything_that_can_differ() {
    let folder = scratch();
    let (base, changed) = (tar(folder.path(), "base.tar", BASE), tar(folder.path(), "changed.tar", CHANGED));
    let (first, second) = (folder.path().join("first.img"), folder.path().join("second.img"));
    raw(&base, &first, &PLAIN);
    raw(&changed, &second, &PLAIN);
    let diff = |options: &[&str], a: &Path, b: &Path| {
        let output = lfs_image().arg("diff").args(options).arg(a).arg(b).output().unwrap();
        (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code().unwrap(), errors(&output))
    };
    // Images say the same as their archives, in any combination.
    for (a, b) in [(&base, &changed), (&first, &second), (&base, &second), (&first, &changed)] {
        let (said, code, errors) = diff(&["--plain"], a, b);
        assert_eq!((&*said, code), (DIFFERENCES, 1));
        assert!(errors.ends_with("error: 12 names differ\n"), "{errors}");
    }
    let (said, code, errors) = diff(&[], &first, &first);
    assert_eq!((&*said, code), ("", 0));
    assert_eq!(errors, "  equal  14 names\n");
    let ignore =
        ["mode", "owner", "mtime", "content", "links", "xattrs"].map(|what| ["--ignore", what]).concat();
    let (said, _, _) = diff(&ignore, &base, &changed);
    assert_eq!(said.lines().count(), 6, "{said}");
    let (said, _, _) = diff(&["--json"], &base, &changed);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["version"], &said["equal"]), (&1.into(), &false.into()));
    assert_eq!(said["differences"].as_array().unwrap().len(), 12);
    assert_eq!(said["differences"][0]["change"], "removed");
    assert_eq!(said["differences"][4]["fields"][0]["second"], "4644");
}

#[test]
fn the_demo_is_its_tarball() {
    let folder = scratch();
    let archive = rootfs::debian("debian-systemd", folder.path());
    let image = folder.path().join("out.img");
    raw(&archive, &image, &[]);
    let output = lfs_image().arg("diff").arg(&archive).arg(&image).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", both(&output));
    // What `raw` edited shows when it is asked for.
    let output = lfs_image().args(["diff", "--plain"]).arg(&archive).arg(&image).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.starts_with("~ /etc/fstab:")), "{said}");
}

#[test]
fn files_come_out_without_root() {
    let folder = scratch();
    let image = folder.path().join("a.img");
    raw(&fixture("gnu-xattrs.tar"), &image, &PLAIN);
    let out = folder.path().join("out");
    let extract = |to: &Path| lfs_image().args(["extract", "--files"]).arg(&image).arg(to).output().unwrap();
    assert!(extract(&out).status.success());
    // What is there is never touched, and nothing is left of what failed.
    let output = extract(&out);
    assert!(!output.status.success() && errors(&output).contains("is not empty"), "{}", errors(&output));
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    assert!(!extract(&file).status.success());
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let names = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with('.')), "{names:?}");

    let archive = tar(
        folder.path(),
        "set.tar",
        "add('s', b'x', mode=0o6755, uid=7)\nadd('h', type=tarfile.LNKTYPE, linkname='s')\n\
         add('c', type=tarfile.CHRTYPE, devmajor=1, devminor=3)\nadd('ro', type=tarfile.DIRTYPE, mode=0o555)\n\
         add('ro/f', mode=0o000)\nadd('out', type=tarfile.SYMTYPE, linkname='/etc')\nadd('late', pax_headers={'mtime': '-1.5'})\n",
    );
    let out = folder.path().join("set");
    let output = lfs_image().args(["extract", "--files"]).arg(&archive).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let said = errors(&output);
    for left in ["1 device, pipe or socket", "1 set-user-ID or set-group-ID bit"] {
        assert!(said.contains(&format!("not in it: {left}\n")), "{said}");
    }
    let meta = |name: &str| out.join(name).symlink_metadata().unwrap();
    assert_eq!((meta("s").permissions().mode() & 0o7777, meta("s").uid()), (0o755, meta("late").uid()));
    assert_eq!(meta("s").ino(), meta("h").ino());
    assert_eq!(
        (meta("ro").permissions().mode() & 0o7777, meta("ro/f").permissions().mode() & 0o7777),
        (0o555, 0)
    );
    assert_eq!(std::fs::read_link(out.join("out")).unwrap(), Path::new("/etc"));
    assert_eq!((meta("late").mtime(), meta("late").mtime_nsec()), (-2, 500_000_000));
    assert!(!out.join("c").exists());

    // Parts of it, by paths that lead through links.
    let archive = tar(
        folder.path(),
        "parts.tar",
        "add('usr/bin/sh', b'#!', mode=0o755)\nadd('usr/bin/ls', b'ls')\nadd('bin', type=tarfile.SYMTYPE, linkname='usr/bin')\n",
    );
    let parts = folder.path().join("parts.out");
    must(lfs_image().args(["extract", "--files"]).arg(&archive).arg(&parts).args(["/bin/sh", "usr/bin/sh"]));
    assert!(parts.join("usr/bin/sh").exists() && !parts.join("usr/bin/ls").exists());
    let listed = must(
        Command::new("bash")
            .args(["-c", "\"$0\" extract -q \"$1\" - bin /usr | tar -t"])
            .args([env!("CARGO_BIN_EXE_lfs-image"), archive.to_str().unwrap()]),
    );
    assert_eq!(listed, "bin\nusr/\nusr/bin/\nusr/bin/ls\nusr/bin/sh\n");
    assert_eq!(must(lfs_image().arg("cat").arg(&archive).args(["bin/sh", "/bin/ls"])), "#!ls");
    assert_eq!(must(lfs_image().arg("ls").arg(&archive).arg("bin")), "ls\nsh\n");
    let output = lfs_image().arg("cat").arg(&archive).arg("/usr").output().unwrap();
    assert_eq!(errors(&output), "error: /usr is a directory, not a file\n");
}

/// A filesystem that somebody else made, of files that are here.
pub(crate) fn mke2fs(folder: &Path, options: &[&str]) -> std::path::PathBuf {
    let tree = folder.join("tree");
    if !tree.exists() {
        std::fs::create_dir_all(tree.join("dir/below")).unwrap();
        std::fs::write(tree.join("dir/below/small"), "small\n").unwrap();
        std::fs::write(tree.join("large"), vec![b'x'; 700_000]).unwrap();
        std::os::unix::fs::symlink("dir/below/small", tree.join("link")).unwrap();
        std::os::unix::fs::symlink(format!("/{}", "long/".repeat(30)), tree.join("long")).unwrap();
        let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
        sparse.write_all_at(b"end", 5_000_000).unwrap();
    }
    let image = folder.join("other.img");
    let _ = std::fs::remove_file(&image);
    must(Command::new("mke2fs").args(["-q", "-F"]).args(options).arg("-d").arg(&tree).arg(&image).arg("32M"));
    image
}

#[test]
fn filesystems_of_others() {
    if !judge::require(&["mke2fs", "debugfs"]) {
        return;
    }
    let folder = scratch();
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "^metadata_csum,^64bit"],
    ] {
        let image = mke2fs(folder.path(), options);
        let out = folder.path().join("out");
        must(lfs_image().args(["-q", "extract", "--files"]).arg(&image).arg(&out));
        must(
            Command::new("diff")
                .args(["-r", "--no-dereference", "-x", "lost+found"])
                .arg(folder.path().join("tree"))
                .arg(&out),
        );
        assert_eq!(std::fs::read_link(out.join("long")).unwrap().as_os_str().len(), 151);
        must(Command::new("rm").arg("-rf").arg(&out));
    }
}
