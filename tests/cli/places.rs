//! Where images can't go, or not as files do: full and read-only filesystems, limits, folders, devices, pipes.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{both, judge, must, noise, run, scratch};
use crate::{errors, fixture, lfs_image, raw};

const OLD: &str = "what was there before";
const PLAIN: [&str; 6] = ["--boot", "none", "--table", "none", "--size", "32M"];

/// An archive with 8 MiB of noise.
fn large(folder: &Path) -> PathBuf {
    std::fs::write(folder.join("f"), noise(8 << 20)).unwrap();
    let archive = folder.join("f.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(folder).arg("f"));
    archive
}

fn make(archive: &Path, out: &Path) -> Output {
    lfs_image().arg("raw").args(PLAIN).arg(archive).arg(out).output().unwrap()
}

/// It failed, said why, and what was in the folder is as it was.
#[track_caller]
fn refused(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", both(output));
    assert!(output.stdout.is_empty());
    let said = errors(output);
    assert!(said.contains("error: ") && said.contains(words), "{said}");
}

#[track_caller]
fn is_as_it_was(folder: &Path) {
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut names: Vec<_> = names.into_iter().filter(|name| name != "lost+found").collect();
    names.sort();
    assert_eq!(names, ["out.img"], "something is left behind");
    assert_eq!(std::fs::read_to_string(folder.join("out.img")).unwrap(), OLD);
}

/// Something mounted; unmounted with the value.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(arguments: &[&str]) -> Self {
        let point = scratch();
        must(Command::new("mount").args(arguments).arg(point.path()));
        std::fs::write(point.path().join("out.img"), OLD).unwrap();
        Self(point)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(self.0.path()));
    }
}

/// A loop device over a file; let go of with the value.
struct Loop(PathBuf);

impl Loop {
    fn new(behind: &Path) -> Self {
        Self(must(Command::new("losetup").args(["--find", "--show"]).arg(behind)).trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

#[test]
fn a_filesystem_that_is_full_or_fills_up() {
    if !judge::require_mounts() {
        return;
    }
    let folder = scratch();
    let archive = large(folder.path());
    let disk = folder.path().join("disk");
    std::fs::File::create(&disk).unwrap().set_len(6 << 20).unwrap();
    must(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(&disk));
    let loop_options = ["-o", "loop", disk.to_str().unwrap()];
    for full in [Mounted::new(&["-t", "tmpfs", "-o", "size=4M", "none"]), Mounted::new(&loop_options)] {
        let out = full.path().join("out.img");
        refused(&make(&archive, &out), "No space left");
        is_as_it_was(full.path());
        // What there is room for is made in place of the old one.
        let small = lfs_image()
            .args(["raw", "--boot", "none", "--table", "none", "--size", "16M"])
            .arg(fixture("gnu-ustar.tar"))
            .arg(&out)
            .output()
            .unwrap();
        assert!(small.status.success(), "{}", both(&small));
        judge::e2fsck(&out, 0).unwrap();
    }
}

#[test]
fn a_limit_on_the_size_of_files() {
    if !judge::require(&["prlimit"]) {
        return;
    }
    let (folder, source) = (scratch(), scratch());
    let archive = large(source.path());
    let packed = source.path().join("f.tar.gz");
    std::fs::write(&packed, Command::new("gzip").arg("-c").arg(&archive).output().unwrap().stdout).unwrap();
    let out = folder.path().join("out.img");
    std::fs::write(&out, OLD).unwrap();
    for archive in [&archive, &packed] {
        let command = lfs_image().get_program().to_owned();
        let output = Command::new("prlimit")
            .args(["--fsize=4000000", "--core=0", "--"])
            .arg(command)
            .arg("raw")
            .args(PLAIN)
            .arg(archive)
            .arg(&out)
            .output()
            .unwrap();
        refused(&output, "File too large");
        is_as_it_was(folder.path());
    }
}

#[test]
fn a_place_that_can_not_be_written() {
    let folder = scratch();
    let archive = fixture("gnu-posix.tar");
    // A folder, one that isn't there, a file in place of one.
    refused(&make(&archive, folder.path()), "is a directory");
    refused(&make(&archive, &folder.path().join("no/out.img")), "No such file");
    let file = folder.path().join("file");
    std::fs::write(&file, OLD).unwrap();
    refused(&make(&archive, &file.join("out.img")), "Not a directory");
    refused(&make(&archive, Path::new("/dev/full")), "No space left");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), OLD);
    if !judge::require_mounts() {
        return;
    }
    let read_only = Mounted::new(&["-t", "tmpfs", "none"]);
    must(Command::new("mount").args(["-o", "remount,ro"]).arg(read_only.path()));
    let output = make(&archive, &read_only.path().join("out.img"));
    refused(&output, "Read-only file system");
    is_as_it_was(read_only.path());
}

#[test]
fn a_device_is_written_in_place() {
    if !judge::require_mounts() || !judge::require(&["losetup", "e2fsck"]) {
        return;
    }
    let folder = scratch();
    let disk = folder.path().join("disk");
    std::fs::write(&disk, vec![0xff; 40 << 20]).unwrap();
    let device = Loop::new(&disk);
    let archive = large(folder.path());
    let output = make(&archive, &device.0);
    assert!(output.status.success(), "{}", both(&output));
    judge::e2fsck(&device.0, 0).unwrap();

    // One that is too small, or in use, is refused before a byte is written.
    let before = std::fs::read(&disk).unwrap();
    let output = lfs_image()
        .arg("raw")
        .args(["--boot", "none", "--size", "64M"])
        .arg(&archive)
        .arg(&device.0)
        .output()
        .unwrap();
    refused(&output, "has 41943040 bytes, the image 67108864");
    let mounted = scratch();
    must(Command::new("mount").arg("-o").arg("ro").arg(&device.0).arg(mounted.path()));
    let output = make(&archive, &device.0);
    let unmounted = run(Command::new("umount").arg(mounted.path()));
    refused(&output, "busy");
    assert!(unmounted.status.success());
    assert!(std::fs::read(&disk).unwrap() == before);
}

/// Sectors that can't be written, as the device mapper has them.
#[test]
fn a_device_that_fails() {
    if !judge::require_mounts() || !judge::require(&["losetup", "dmsetup"]) {
        return;
    }
    let folder = scratch();
    let disk = folder.path().join("disk");
    std::fs::File::create(&disk).unwrap().set_len(40 << 20).unwrap();
    let device = Loop::new(&disk);
    let name = format!("lfs-image-test-{}", std::process::id());
    let lower = device.0.display();
    // 3 MiB are good, then 64 KiB are not.
    let table = format!("0 6144 linear {lower} 0\n6144 128 error\n6272 75648 linear {lower} 6272\n");
    let made = run(Command::new("dmsetup").args(["create", &name, "--table", &table]));
    if !made.status.success() {
        eprintln!("SKIPPED: no device mapper here: {}", both(&made));
        return;
    }
    let output = make(&large(folder.path()), &Path::new("/dev/mapper").join(&name));
    must(Command::new("dmsetup").args(["remove", "--retry", &name]));
    refused(&output, "Input/output error");
}

/// Nobody reads the other end: asked to stop, it stops.
#[test]
fn a_pipe_that_is_full() {
    let mut child = lfs_image()
        .args(["raw", "--boot", "none", "--size", "64M"])
        .arg(fixture("gnu-posix.tar"))
        .arg("-")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 4096];
    stdout.read_exact(&mut first).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it ended without writing all");
    must(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

/// An archive through a pipe that closes before its end: in its middle, and in that of a compressed one.
#[test]
fn an_archive_that_stops_coming() {
    let folder = scratch();
    let archive = large(folder.path());
    let packed = Command::new("gzip").arg("-c").arg(&archive).output().unwrap().stdout;
    let out = folder.path().join("out/out.img");
    std::fs::create_dir(folder.path().join("out")).unwrap();
    std::fs::write(&out, OLD).unwrap();
    for bytes in [std::fs::read(&archive).unwrap(), packed] {
        for part in [600, bytes.len() / 2, bytes.len() - 12_000] {
            let mut child = lfs_image()
                .arg("raw")
                .args(PLAIN)
                .arg("-")
                .arg(&out)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&bytes[..part]).unwrap();
            refused(&child.wait_with_output().unwrap(), "ends early");
            is_as_it_was(out.parent().unwrap());
        }
    }
}

/// A file for each signal, descriptor and name that is left out: nothing of it is in the folder of temporary files.
#[test]
fn temporary_files_have_no_name_and_one_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = scratch();
    let packed = Command::new("gzip").arg("-c").arg(large(folder.path())).output().unwrap().stdout;
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let out = folder.path().join("out.img");
    // Whatever the umask.
    let program = lfs_image().get_program().to_owned();
    let mut child = Command::new("sh")
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(program)
        .arg("raw")
        .args(PLAIN)
        .arg("--spool-dir")
        .arg(&spool)
        .arg("-")
        .arg(&out)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&packed[..packed.len() / 2]).unwrap();
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let until = Instant::now() + Duration::from_secs(20);
    let found = loop {
        let spooled = std::fs::read_dir(&fds).unwrap().map(|entry| entry.unwrap().path()).find(|fd| {
            let leads_to = std::fs::read_link(fd).unwrap_or_default();
            leads_to.starts_with(&spool) && fd.metadata().is_ok_and(|meta| meta.len() > 1 << 20)
        });
        if let Some(fd) = spooled {
            break fd;
        }
        assert!(Instant::now() < until, "there is no temporary file");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(found.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0, "it has a name");
    stdin.write_all(&packed[packed.len() / 2..]).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    judge::e2fsck(&out, 0).unwrap();
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
}

/// What was replaced, or taken away, by whatever means, isn't in the image's bytes, nor behind the end of a file in its last
/// block.
#[test]
fn what_is_replaced_or_removed_is_gone() {
    let folder = scratch();
    let at = |name: &str| folder.path().join(name);
    let word = |n: u32| format!("CANARY-{n:02}");
    // More than a block each, and less.
    let content = |n: u32| format!("{}{}", word(n), "-".repeat(if n.is_multiple_of(2) { 9000 } else { 20 }));
    let script = r#"
import io, sys, tarfile
out, *entries = sys.argv[1:]
with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
    for entry in entries:
        kind, name, text = entry.split("=", 2)
        info = tarfile.TarInfo(name)
        if kind == "file":
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        elif kind == "attribute":
            info.pax_headers = {"SCHILY.xattr.user.word": text}
            tar.addfile(info)
        else:
            info.type = {"link": tarfile.LNKTYPE, "symlink": tarfile.SYMTYPE, "folder": tarfile.DIRTYPE}[kind]
            info.linkname = text
            tar.addfile(info)
"#;
    if !judge::require(&["python3", "gzip"]) {
        return;
    }
    let tar = |name: &str, entries: &[String]| {
        must(Command::new("python3").args(["-c", script]).arg(at(name)).args(entries));
    };
    let file = |name: &str, n: u32| format!("file={name}={}", content(n));
    tar(
        "base.tar",
        &[
            // Replaced by the same archive: by a file, a longer one, a directory, a link, an entry of a name.
            file("a", 1),
            file("a", 50),
            file("b", 2),
            file("b", 51),
            file("c", 3),
            "folder=c=".into(),
            file("d", 4),
            "symlink=d=nowhere".into(),
            format!("attribute=e={}", word(5)),
            file("e", 52),
            "symlink=f=CANARY-06".into(),
            file("f", 53),
            // Replaced and removed by the layer.
            file("g", 7),
            file("h", 8),
            "link=h2=h".into(),
            "folder=i=".into(),
            file("i/CANARY-09", 10),
            "folder=j=".into(),
            file("j/k", 11),
            // Removed by options.
            file("m", 12),
            "folder=n=".into(),
            file("n/CANARY-13", 14),
            format!("attribute=o={}", "x".repeat(10) + &word(15)),
            // Edited.
            file("etc/hostname", 16),
            // Stays.
            file("stays", 54),
            "link=stays2=stays".into(),
        ],
    );
    tar(
        "layer.tar",
        &[
            file("g", 55),
            "file=.wh.h=".into(),
            "file=.wh.h2=".into(),
            "file=.wh.i=".into(),
            "file=j/.wh..wh..opq=".into(),
            file("j/l", 56),
        ],
    );
    std::fs::write(
        at("base.tar.gz"),
        Command::new("gzip").arg("-c").arg(at("base.tar")).output().unwrap().stdout,
    )
    .unwrap();
    let words = |image: &Path| -> std::collections::BTreeSet<String> {
        let bytes = std::fs::read(image).unwrap();
        bytes
            .windows(9)
            .filter(|w| w.starts_with(b"CANARY-"))
            .map(|w| String::from_utf8_lossy(&w[7..]).into_owned())
            .collect()
    };
    let stays: std::collections::BTreeSet<String> = (50..57).map(|n| n.to_string()).collect();
    for base in ["base.tar", "base.tar.gz"] {
        let out = at("out.img");
        let layer = at("layer.tar");
        let mut options = PLAIN.to_vec();
        options.extend(["--overlay", layer.to_str().unwrap(), "--whiteouts", "--hostname", "other"]);
        options.extend(["--remove", "/m", "--remove", "/n", "--remove", "/o"]);
        raw(&at(base), &out, &options);
        judge::e2fsck(&out, 0).unwrap();
        assert_eq!(words(&out), stays, "{base}");
        // The search finds what is there.
        raw(&at(base), &out, &PLAIN);
        assert!(words(&out).len() > 10, "{:?}", words(&out));
    }
}
