//! Calls of the system that fail while an image is made: it is there whole, or not at all, and the command says why.
//!
//! Each call on the archive, the temporary file and the image fails once, at each place where there is one; is cut short;
//! is interrupted; or is the moment when a signal comes or the archive is changed by somebody.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::fault::{Fault, counted, is_possible};
use crate::support::{both, judge, must, noise, scratch};
use crate::{errors, raw};

const OLD: &str = "what was there before";
/// Calls that write. What reads may fail only with EIO.
const WRITING: &str = "write,pwrite64,copy_file_range,ftruncate,openat,linkat,rename,fchmod,fsync";

/// A folder in which an image is made of an archive, again and again.
struct World {
    folder: tempfile::TempDir,
    /// The archive as it should be, the image as it should be, the count of calls: out of reach.
    safe: tempfile::TempDir,
    archive: PathBuf,
    out: PathBuf,
    whole: Vec<u8>,
    /// Whether there is an image before.
    replaces: bool,
    hidden: bool,
}

/// How an archive is packed, and by what.
const PACKED: [(&str, &[&str]); 5] = [
    ("tar", &["cat"]),
    ("tar.gz", &["gzip", "-n"]),
    ("tar.zst", &["zstd", "-q", "--no-check"]),
    ("tar.xz", &["xz"]),
    ("tar.bz2", &["bzip2"]),
];

impl World {
    fn new(packed: (&str, &[&str]), replaces: bool) -> Self {
        let (folder, safe) = (scratch(), scratch());
        let content = safe.path().join("content");
        std::fs::create_dir_all(content.join("etc")).unwrap();
        for (name, len) in [("a", 300_000), ("b", 5), ("etc/c", 70_000)] {
            std::fs::write(content.join(name), noise(len)).unwrap();
        }
        let tar = safe.path().join("a.tar");
        must(
            Command::new("tar")
                .args(["--mtime=@1000000000", "-cf"])
                .arg(&tar)
                .arg("-C")
                .arg(&content)
                .arg("."),
        );
        let (end, packer) = packed;
        let archive = folder.path().join(format!("a.{end}"));
        let packer =
            Command::new(packer[0]).args(&packer[1..]).stdin(std::fs::File::open(&tar).unwrap()).output();
        std::fs::write(safe.path().join("archive"), packer.unwrap().stdout).unwrap();
        let out = folder.path().join("out.img");
        let mut world = Self { folder, safe, archive, out, whole: Vec::new(), replaces, hidden: false };
        world.reset();
        let reference = world.safe.path().join("reference");
        raw(&world.archive, &reference, &OPTIONS);
        judge::e2fsck(&reference, 0).unwrap();
        world.whole = std::fs::read(reference).unwrap();
        world
    }

    /// The same, but a file that has no name yet can't be had.
    fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// As it is in the beginning.
    fn reset(&self) {
        for name in self.names() {
            std::fs::remove_file(self.folder.path().join(name)).unwrap();
        }
        must(Command::new("cp").arg(self.safe.path().join("archive")).arg(&self.archive));
        // An old file: changes show in its time.
        must(Command::new("touch").args(["-d", "2020-02-02"]).arg(&self.archive));
        if self.replaces {
            std::fs::write(&self.out, OLD).unwrap();
        }
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Makes the image while something goes wrong; how many calls counted.
    fn run(&self, fault: &Fault) -> (Output, usize) {
        self.reset();
        let count = self.safe.path().join("count");
        let fault = if self.hidden { fault.clone().without_tmpfile() } else { fault.clone() };
        let mut command = fault.program(Path::new(env!("CARGO_BIN_EXE_lfs-image")), Some(&count));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", self.folder.path());
        counted(command.arg("raw").args(OPTIONS).arg("--sync").arg(&self.archive).arg(&self.out), &count)
    }

    fn fault(&self) -> Fault {
        Fault::on(self.folder.path())
    }

    /// What is under the image's name: the whole image, what was there before, or nothing.
    #[track_caller]
    fn is_whole(&self, context: &str) -> bool {
        let found = std::fs::read(&self.out).ok();
        if found.as_ref() == Some(&self.whole) {
            return true;
        }
        let before = self.replaces.then(|| OLD.as_bytes().to_vec());
        assert!(found == before, "{context}: something half-made has the image's name");
        false
    }

    /// Nothing else is in the folder.
    #[track_caller]
    fn is_tidy(&self, context: &str) {
        let names = self.names();
        let strange = names.iter().find(|name| **name != "out.img" && !self.archive.ends_with(name));
        assert!(strange.is_none(), "{context}: {names:?} are left behind");
    }

    /// It failed, said why, and left all as it was; or it found another way and the image is whole.
    #[track_caller]
    fn failed(&self, output: &Output, words: &str, context: &str) -> bool {
        let whole = self.is_whole(context);
        self.is_tidy(context);
        match output.status.code() {
            Some(0) => assert!(whole, "{context}: success without an image"),
            Some(1) => {
                let said = errors(output);
                assert!(said.contains("error: ") && said.contains(words), "{context}: {said}");
                // The last thing is to make sure that the folder survives a power cut.
                assert!(!whole || said.contains("error: complete "), "{context}: {said}");
            }
            _ => panic!("{context}: {} {}", output.status, both(output)),
        }
        output.status.code() == Some(1)
    }
}

const OPTIONS: [&str; 6] = ["--boot", "none", "--table", "none", "--size", "16M"];

/// The ways that an image takes: content copied by the kernel, and by way of a temporary file; a file without a name
/// that gets one, and a hidden name.
fn worlds() -> [World; 4] {
    [
        World::new(PACKED[0], true),
        World::new(PACKED[0], false),
        World::new(PACKED[1], true),
        World::new(PACKED[1], false).hidden(),
    ]
}

#[test]
fn any_call_may_fail() {
    if !is_possible() || !judge::require(&["e2fsck"]) {
        return;
    }
    let mut runs = 0;
    for world in worlds() {
        for (calls, error, words) in [
            (WRITING, "ENOSPC", "caused by: No space left"),
            (WRITING, "EDQUOT", "caused by: "),
            (
                "read,pread64,write,pwrite64,copy_file_range,ftruncate,openat,linkat,rename,fchmod,fsync,lseek",
                "EIO",
                "caused by: Input/output error",
            ),
        ] {
            let fault = world.fault().calls(calls);
            let (output, calls) = world.run(&fault);
            assert!(output.status.success() && calls > 8, "{calls} calls: {}", both(&output));
            let mut failed = 0;
            for n in 1..=calls {
                let context = format!("{error} in call {n} of {calls}");
                let (output, _) = world.run(&fault.clone().nth(n).error(error));
                failed += usize::from(world.failed(&output, words, &context));
            }
            // All but those that there is another way for.
            assert!(failed + 4 >= calls, "{failed} of {calls} failed");
            runs += calls;
        }
    }
    eprintln!("{runs} calls failed");
}

/// The kernel may do less than it was asked for, and come back with nothing done because of a signal.
#[test]
fn calls_may_be_cut_and_interrupted() {
    if !is_possible() || !judge::require(&["zstd", "xz", "bzip2", "gzip"]) {
        return;
    }
    for packed in PACKED {
        let world = World::new(packed, true);
        let io = world.fault().calls("read,pread64,write,pwrite64,copy_file_range");
        let mut faults = vec![
            io.clone().cut().every(1),
            io.clone().error("EINTR").every(2),
            io.clone().nth(2).cut().every(3),
        ];
        faults.extend((1..=6).map(|seed| io.clone().by_chance(seed, 40)));
        for fault in faults {
            let (output, calls) = world.run(&fault);
            assert!(calls > 3, "{fault:?}: {calls} calls");
            assert!(output.status.success(), "{fault:?}: {}", both(&output));
            assert!(world.is_whole(&format!("{fault:?}")), "{fault:?}");
            world.is_tidy(&format!("{fault:?}"));
        }
    }
}

/// A kill at the moment of any call. What it may leave, between the naming of a new file and its taking an old one's place,
/// is one hidden file; and where there is no `O_TMPFILE`, such a file at any time.
#[test]
fn a_kill_may_come_at_any_moment() {
    if !is_possible() {
        return;
    }
    for world in worlds() {
        let (_, calls) = world.run(&world.fault());
        let (mut whole, mut left) = (0, 0);
        for n in 1..=calls {
            let context = format!("killed at call {n} of {calls}");
            let (output, _) = world.run(&world.fault().nth(n).signal("KILL"));
            assert_eq!(output.status.signal(), Some(9), "{context}: {}", both(&output));
            whole += usize::from(world.is_whole(&context));
            let partial: Vec<_> =
                world.names().into_iter().filter(|name| name.to_string_lossy().starts_with('.')).collect();
            left += usize::from(!partial.is_empty());
            assert!(
                partial.len() <= 2 && partial.iter().all(|n| n.to_string_lossy().len() < 40),
                "{partial:?}"
            );
        }
        assert!(whole <= 3, "{whole} of {calls} kills came after the image was complete");
        let at_most = if world.hidden { calls } else { usize::from(world.replaces) };
        assert!(left <= at_most, "{left} of {calls} kills left a hidden file");
    }
}

/// Asked to end at the moment of any call, it ends as asked, or was done already.
#[test]
fn a_signal_may_come_at_any_moment() {
    if !is_possible() {
        return;
    }
    for (world, name) in worlds().into_iter().zip(["TERM", "INT", "HUP", "TERM"]) {
        let (_, calls) = world.run(&world.fault());
        for n in 1..=calls {
            let context = format!("{name} at call {n} of {calls}");
            let (output, _) = world.run(&world.fault().nth(n).signal(name));
            let whole = world.is_whole(&context);
            world.is_tidy(&context);
            match output.status.code() {
                Some(0) => assert!(whole, "{context}"),
                Some(130) => assert!(!whole, "{context}"),
                _ => panic!("{context}: {} {}", output.status, both(&output)),
            }
        }
    }
}

/// Somebody cuts, overwrites or appends to the archive at the moment of any read: no image is made of the two.
#[test]
fn an_archive_may_change_at_any_moment() {
    if !is_possible() || !judge::require(&["zstd", "xz", "bzip2", "gzip"]) {
        return;
    }
    let mut runs = 0;
    for packed in PACKED {
        let world = World::new(packed, true);
        let reads = Fault::on(&world.archive).calls("read,pread64,copy_file_range");
        let (_, calls) = world.run(&reads);
        assert!(calls >= 2, "{calls} reads");
        let archive = world.archive.display();
        let (at, end) =
            (world.archive.metadata().unwrap().len() / 2, world.archive.metadata().unwrap().len());
        for change in [
            format!("truncate -s {at} {archive}"),
            format!("truncate -s 0 {archive}"),
            format!("printf changed | dd of={archive} bs=1 seek={at} conv=notrunc status=none"),
            format!("printf changed | dd of={archive} bs=1 seek={end} conv=notrunc status=none"),
        ] {
            // Before the second one nothing is known of it yet.
            for n in 2..=calls {
                let context = format!("{change} at read {n} of {calls}");
                let (output, _) = world.run(&reads.clone().nth(n).command(&change));
                assert!(world.failed(&output, "chang", &context), "{context}: {}", both(&output));
                runs += 1;
            }
        }
    }
    eprintln!("{runs} changes were noticed");
}
