//! The script that grows the root filesystem, run by this machine's shell on tables in files.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const GIB: u64 = 1 << 30;

/// A disk in a file, and what the kernel would say of it.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// A disk with partitions of these starts and sizes in sectors; the last one is the root filesystem's.
    fn new(label: &str, len: u64, partitions: &[(u64, u64)]) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        for dir in ["bin", "dev", "sys/dev/block", "state"] {
            std::fs::create_dir_all(machine.at(dir)).unwrap();
        }
        std::fs::File::create(machine.at("dev/d0")).unwrap().set_len(len).unwrap();
        let lines = partitions.iter().map(|(start, size)| format!("start={start}, size={size}\n"));
        machine.sfdisk(&[], &format!("label: {label}\n{}", lines.collect::<String>()));
        // These ask the kernel: one tells it of the table, the other of the filesystem.
        let (disk, n) = (machine.at("dev/d0").display().to_string(), partitions.len());
        let size = machine.at(&format!("sys/disk/d0/d0p{n}/size"));
        let tell = format!(
            "sfdisk --dump {disk} 2>/dev/null | sed -n 's/.*size= *\\([0-9]*\\).*/\\1/p' | tail -n 1 >{}",
            size.display()
        );
        for (program, text) in [("partx", tell.as_str()), ("resize2fs", "")] {
            let log = machine.at("log").display().to_string();
            let path = machine.at("bin").join(program);
            std::fs::write(&path, format!("#!/bin/sh\necho {program} \"$@\" >>{log}\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(
            format!("../../disk/d0/d0p{}", partitions.len()),
            machine.at("sys/dev/block/9:1"),
        )
        .unwrap();
        std::fs::write(machine.at("mountinfo"), "1 0 9:1 / / rw - ext4 /dev/root rw\n").unwrap();
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sfdisk(&self, options: &[&str], input: &str) -> String {
        let mut command = Command::new("sfdisk");
        command.arg("-q").args(options).arg(self.at("dev/d0")).env("PATH", PATH);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "sfdisk");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts and sizes of the partitions by the table.
    fn partitions(&self) -> Vec<(u64, u64)> {
        let number = |line: &str, key: &str| {
            let rest = line.split(key).nth(1)?;
            rest.split(',').next()?.trim().parse().ok()
        };
        let dump = self.sfdisk(&["--dump"], "");
        dump.lines().filter_map(|line| Some((number(line, "start=")?, number(line, "size=")?))).collect()
    }

    fn boot(&self) -> String {
        let write = |path: &str, value: u64| {
            let path = self.at(&format!("sys/disk/{path}"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{value}\n")).unwrap();
        };
        write("d0/size", self.at("dev/d0").metadata().unwrap().len() / 512);
        for (n, (start, size)) in (1..).zip(self.partitions()) {
            write(&format!("d0/d0p{n}/partition"), n);
            write(&format!("d0/d0p{n}/start"), start);
            write(&format!("d0/d0p{n}/size"), size);
        }
        let here = |path: &Path| path.display().to_string();
        let script = include_str!("grow.sh")
            .replace("PATH=", &format!("PATH={}:", here(&self.at("bin"))))
            .replace("/proc/self/mountinfo", &here(&self.at("mountinfo")))
            .replace("/sys/", &format!("{}/", here(&self.at("sys"))))
            .replace("\"/dev/", &format!("\"{}/", here(&self.at("dev"))))
            .replace("/var/lib/lfs-image", &here(&self.at("state")));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }

    /// How often the other programs were called.
    fn calls(&self) -> (usize, usize) {
        let log = std::fs::read_to_string(self.at("log")).unwrap_or_default();
        let count = |name: &str| log.lines().filter(|line| line.starts_with(name)).count();
        (count("partx"), count("resize2fs"))
    }
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn is_there() -> bool {
    let found = PATH.split(':').any(|dir| Path::new(dir).join("sfdisk").exists());
    assert!(found || option_env!("CI").is_none(), "sfdisk isn't installed");
    if !found {
        eprintln!("SKIPPED: sfdisk isn't there");
    }
    found
}

#[test]
fn the_last_partition_grows_to_the_end_and_once() {
    if !is_there() {
        return;
    }
    // Sectors of 2^32 bytes and more: an MBR can't count them.
    let most = u64::from(u32::MAX);
    for (label, partitions, len, end) in [
        ("gpt", &[(2048, 2048), (4096, 1_000_000)][..], 3 * GIB, 3 * GIB / 512 - 33),
        ("dos", &[(2048, 1_000_000)], 3 * GIB, 3 * GIB / 512),
        ("dos", &[(2048, 2048), (4096, 1_000_000)], 100 * GIB, 100 * GIB / 512),
        ("dos", &[(2048, 1_048_576_000)], 2200 * GIB, most),
        ("dos", &[(2048, 1_048_576_000)], 4096 * GIB, most),
        ("gpt", &[(2048, 1_048_576_000)], 4096 * GIB, 4096 * GIB / 512 - 33),
    ] {
        let machine = Machine::new(
            label,
            GIB.max(partitions.iter().map(|(at, len)| (at + len + 64) * 512).max().unwrap()),
            partitions,
        );
        std::fs::File::options().write(true).open(machine.at("dev/d0")).unwrap().set_len(len).unwrap();
        let said = machine.boot();
        let after = machine.partitions();
        let (start, size) = *after.last().unwrap();
        assert!(start + size <= end && start + size + 4096 > end, "{label} of {len}: {after:?}, {said}");
        assert_eq!(start, partitions.last().unwrap().0);
        assert_eq!(after[..after.len() - 1], partitions[..partitions.len() - 1]);
        assert_eq!(machine.calls(), (1, 1), "{said}");
        // There is nothing to do any more.
        assert_eq!(machine.boot(), "");
        assert_eq!((machine.partitions(), machine.calls()), (after, (1, 1)));
    }
}

#[test]
fn what_has_no_room_stays() {
    if !is_there() {
        return;
    }
    // The root filesystem is the first of two.
    let machine = Machine::new("gpt", 3 * GIB, &[(2_000_000, 2048), (2048, 1_000_000)]);
    let before = machine.partitions();
    machine.boot();
    assert_eq!(
        (machine.partitions(), machine.calls()),
        (before, (0, 1)),
        "the filesystem may be smaller than its partition"
    );
    assert_eq!((machine.boot(), machine.calls()), (String::new(), (0, 1)));
}
