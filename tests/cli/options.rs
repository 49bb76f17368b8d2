//! Options arrive in the image.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{judge, must, scratch};
use crate::{errors, fixture, lfs_image, raw};

/// What dumpe2fs says of a bare filesystem made with these options.
fn dump(out: &Path, options: &[&str]) -> String {
    let mut all = vec!["--table", "none", "--size", "256M"];
    all.extend(options);
    raw(&fixture("gnu-posix.tar"), out, &all);
    judge::e2fsck(out, 0).unwrap();
    judge::dumpe2fs(out, 0).unwrap()
}

#[test]
fn of_the_filesystem() {
    if !judge::require(&["e2fsck", "dumpe2fs"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    let uuid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let said = dump(
        &out,
        &[
            "--label",
            "höhle",
            "--uuid",
            uuid,
            "--reserved",
            "12.5",
            "--inodes",
            "12345",
            "--journal",
            "8M",
            "--time",
            "@1000000000",
        ],
    );
    let field = |name| judge::field(&said, name);
    assert_eq!(field("Filesystem volume name"), "höhle");
    assert_eq!(field("Filesystem UUID"), uuid);
    assert_eq!(field("Block count"), "65536");
    assert_eq!(field("Reserved block count"), "8192");
    assert!((12_345..12_345 + 32).contains(&field("Inode count").parse().unwrap()), "{said}");
    assert_eq!(field("Total journal blocks"), "2048");
    assert!(field("Filesystem created").contains("2001"), "{said}");

    let said = dump(&out, &["--journal", "none", "--reserved", "0", "--inode-ratio", "8k"]);
    let field = |name| judge::field(&said, name);
    assert!(!field("Filesystem features").contains("has_journal"));
    assert_eq!(field("Reserved block count"), "0");
    assert_eq!(field("Inode count"), "32768");
}

#[test]
fn of_the_time() {
    if !judge::require(&["dumpe2fs"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    let made = |epoch: Option<&str>, options: &[&str]| {
        let mut command = lfs_image();
        command.env("TZ", "UTC").args(["raw", "--table", "none", "--size", "64M"]).args(options);
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        must(command.arg(fixture("gnu-posix.tar")).arg(&out));
        judge::field(&judge::dumpe2fs(&out, 0).unwrap(), "Filesystem created").to_owned()
    };
    assert!(made(Some("1234567890"), &[]).contains("2009"));
    assert!(made(Some("1234567890"), &["--time", "@34567890"]).contains("1971"));
    let newest = made(None, &[]);
    assert!(!newest.contains("2009") && !newest.contains("1971"), "{newest}");
    let output =
        lfs_image().env("SOURCE_DATE_EPOCH", "today").args(["raw", "a.tar", "out.img"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
}

/// e2fsck finds fault with a filesystem that was written after its own clock.
#[test]
fn a_time_in_the_future_is_warned_of() {
    if !judge::require(&["e2fsck"]) {
        return;
    }
    let folder = scratch();
    let (archive, out) = (folder.path().join("future.tar"), folder.path().join("out.img"));
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let mut tar = Command::new("tar");
    must(tar.args(["--mtime=2101-01-01", "-cf"]).arg(&archive).arg("-C").arg(folder.path()).arg("file"));
    let made = |options: &[&str]| {
        let mut command = lfs_image();
        command.args(["raw", "--boot", "none", "--table", "none", "--size", "16M"]).args(options);
        let output = command.arg(&archive).arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        (errors(&output).contains("is in the future"), judge::e2fsck(&out, 0).is_ok())
    };
    assert_eq!(made(&[]), (true, false));
    assert_eq!(made(&["--time", "1234567890"]), (false, true));
}

/// What ext4 can't hold becomes the nearest that it can, and that is said.
#[test]
fn times_out_of_range_are_warned_of() {
    if !judge::require(&["debugfs"]) {
        return;
    }
    let folder = scratch();
    let (archive, out) = (folder.path().join("times.tar"), folder.path().join("out.img"));
    std::fs::write(folder.path().join("file"), "x").unwrap();
    for (year, second, stored) in
        [("1800", "@-5364662400", "0x80000000:00000000"), ("2500", "@16725225600", "0x7fffffff:ee6b27ff")]
    {
        let mut tar = Command::new("tar");
        tar.args(["--format=posix", &format!("--mtime={year}-01-01 UTC"), "-cf"]).arg(&archive);
        must(tar.arg("-C").arg(folder.path()).arg("file"));
        let mut raw = lfs_image();
        raw.args(["raw", "--boot", "none", "--table", "none", "--size", "16M", "--time", "0"]);
        let output = raw.arg(&archive).arg(&out).output().unwrap();
        let said = errors(&output);
        assert!(output.status.success() && said.contains("warning: ext4 holds times"), "{said}");
        assert!(said.contains(&format!("{second} becomes the nearest")), "{said}");
        let inode = must(Command::new("debugfs").args(["-R", "stat /file"]).arg(&out));
        assert!(inode.contains(&format!("mtime: {stored}")), "{inode}");
    }
}

#[test]
fn of_the_disk() {
    if !judge::require(&["sfdisk", "sgdisk"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    for (options, len) in [
        (&["--size", "1.5G"][..], 3 << 29),
        (&["--size", "512MB"], 512_000_000),
        (&["--table", "mbr", "--free", "1G"], 2 << 30),
        (&["--free", "90%", "--esp", "64M"], 1 << 30),
    ] {
        let mut all = vec!["--boot", "none"];
        all.extend(options);
        raw(&fixture("gnu-posix.tar"), &out, &all);
        assert_eq!(out.metadata().unwrap().len(), len, "{options:?}");
        judge::sfdisk(&out).unwrap();
        let partitions = judge::partitions(&out).unwrap();
        judge::e2fsck(&out, partitions.last().unwrap().offset).unwrap();
        if let Some(esp) = partitions.iter().find(|partition| partition.name == "esp") {
            assert!(esp.len >= 64 << 20);
            judge::vfat(&out, esp.offset, esp.len).unwrap();
        }
    }
}

#[test]
fn of_archives() {
    if !judge::require(&["tar", "debugfs"]) {
        return;
    }
    let folder = scratch();
    let tar = |name: &str, script: &str| {
        let top = folder.path().join(format!("{name}.d"));
        std::fs::create_dir(&top).unwrap();
        must(Command::new("sh").args(["-c", script]).current_dir(&top));
        let archive = folder.path().join(name);
        must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&top).arg("."));
        archive
    };
    let base = tar("base.tar", "mkdir -p usr/bin; ln -s usr/bin bin; echo 1 > usr/bin/a");
    let over = tar("over.tar", "mkdir bin; echo 2 > bin/b");
    let top = tar("top.tar", "mkdir -p usr/bin; echo 3 > usr/bin/b");
    let out = folder.path().join("out.img");
    let options = ["--table", "none", "--size", "64M", "--keep-directory-symlink", "--overlay"];
    let all = [&options[..], &[over.to_str().unwrap(), "--overlay", top.to_str().unwrap()]].concat();
    raw(&base, &out, &all);
    judge::e2fsck(&out, 0).unwrap();
    assert_eq!(judge::debugfs(&out, 0, "cat /usr/bin/b").unwrap(), "3\n");
    assert!(judge::debugfs(&out, 0, "stat /bin").unwrap().contains("Type: symlink"));
    // Without it, the directory takes the link's place.
    raw(&base, &out, &[&options[..4], &["--overlay", over.to_str().unwrap()]].concat());
    assert!(judge::debugfs(&out, 0, "stat /bin").unwrap().contains("Type: directory"));
}

#[test]
fn stdin_may_be_a_file_or_a_pipe() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let digest = |stdin: Stdio| {
        let output = lfs_image()
            .args(["raw", "--digest", "--table", "none", "--size", "64M", "-"])
            .arg(&out)
            .stdin(stdin)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = std::fs::File::open(fixture("gnu-posix.tar")).unwrap();
    let redirected = digest(file.into());
    let mut cat = Command::new("cat").arg(fixture("gnu-posix.tar")).stdout(Stdio::piped()).spawn().unwrap();
    let piped = digest(cat.stdout.take().unwrap().into());
    cat.wait().unwrap();
    assert_eq!(redirected, piped);
    assert!(redirected.starts_with("sha256:") && redirected.lines().count() == 2);
}

#[test]
fn verbose_is_a_log() {
    let folder = scratch();
    // With something that is called like a kernel.
    let archive = folder.path().join("a.tar");
    std::fs::copy(fixture("gnu-posix.tar"), &archive).unwrap();
    std::fs::create_dir(folder.path().join("boot")).unwrap();
    std::fs::write(folder.path().join("boot/vmlinuz-6.1"), "no kernel").unwrap();
    must(Command::new("tar").arg("-rf").arg(&archive).arg("-C").arg(folder.path()).arg("boot"));
    let run_with = |kind: &[&str], options: &[&str], log: Option<&str>| {
        let mut command = lfs_image();
        command.args(["raw", "--size", "64M"]).args(kind).args(options).arg(&archive);
        if let Some(log) = log {
            command.env("RUST_LOG", log);
        }
        errors(&command.arg(folder.path().join("out.img")).output().unwrap())
    };
    let run =
        |options: &[&str], log: Option<&str>| run_with(&["--table", "none", "--boot", "none"], options, log);
    assert!(run(&["-v"], None).contains("lfs_image"));
    assert!(!run(&[], None).contains("lfs_image"));
    assert!(run(&[], Some("debug")).contains("lfs_image"));
    assert!(!run(&["-v"], Some("off")).contains("lfs_image"));
    // What was done, how long it took, and with more of it the small steps.
    let (once, twice) = (run(&["-v"], None), run(&["-vv"], None));
    for words in ["its content stays where it is", "entries=", "partition", "features=", "close time.busy="] {
        assert!(once.contains(words), "no {words} in {once}");
    }
    assert!(twice.lines().count() > once.lines().count() + 5, "{twice}");
    assert!(twice.contains("region") && !once.contains("region"));
    let part = run_with(&["--boot", "stub"], &[], Some("lfs_image::boot=trace"));
    assert!(part.contains("TRACE lfs_image::boot"), "{part}");
    assert!(run(&["-v"], Some("a=b=c")).contains("warning: RUST_LOG"));
}
