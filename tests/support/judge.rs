//! Programs that know the formats and say what they think of an image.
//!
//! An offset is where a partition begins in the image, in bytes; 0 for a bare file system.

use std::path::Path;
use std::process::Command;

use super::{Complaint, Verdict, both, path, run, scratch};

/// Whether all these programs are there. Says `SKIPPED` where one is missing, and fails where `CI` is set.
#[must_use]
#[track_caller]
pub fn require(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !is_installed(program)).collect();
    missing.is_empty()
        || skip(&format!("{missing:?} not installed (scripts/install-judges.sh installs them)"))
}

/// Whether this may mount loop devices.
#[must_use]
#[track_caller]
pub fn require_mounts() -> bool {
    super::mount::are_possible() || skip("loop mounts need root")
}

/// Says that a test can't run here; returns `false`. Fails where `CI` is set.
#[track_caller]
pub fn skip(why: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "a test can't run: {why}");
    eprintln!("SKIPPED: {why} ({})", std::panic::Location::caller());
    false
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&path()).any(|folder| folder.join(program).is_file())
}

/// What a clean `e2fsck` counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fsck {
    pub inodes_used: u64,
    pub inodes: u64,
    pub blocks_used: u64,
    pub blocks: u64,
}

/// `e2fsck -fn` that exits with 0 and says nothing but its passes and its summary.
pub fn e2fsck(image: &Path, offset: u64) -> Verdict<Fsck> {
    const PASSES: [&str; 5] = [
        "Pass 1: Checking inodes, blocks, and sizes",
        "Pass 2: Checking directory structure",
        "Pass 3: Checking directory connectivity",
        "Pass 4: Checking reference counts",
        "Pass 5: Checking group summary information",
    ];
    let output = run(Command::new("e2fsck").arg("-fn").arg(at(image, offset)));
    let complaint = || Complaint(format!("e2fsck -fn: {}\n{}", output.status, both(&output)));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let (summary, passes) =
        text.lines().collect::<Vec<_>>().split_last().map_or_else(Default::default, |(s, p)| {
            ((*s).to_owned(), p.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
        });
    let only_its_name = errors.lines().all(|line| line.starts_with("e2fsck 1."));
    if !output.status.success() || !only_its_name || passes != PASSES {
        return Err(complaint());
    }
    parse_summary(&summary).ok_or_else(complaint)
}

/// `name: 11/16384 files (0.0% non-contiguous), 9513/65536 blocks`
fn parse_summary(line: &str) -> Option<Fsck> {
    let (rest, blocks) = line.strip_suffix(" blocks")?.rsplit_once(", ")?;
    let (files, _) = rest.split_once(" files (")?;
    let (_, files) = files.rsplit_once(": ")?;
    let pair = |text: &str| {
        let (used, all) = text.split_once('/')?;
        Some((used.parse().ok()?, all.parse().ok()?))
    };
    let ((inodes_used, inodes), (blocks_used, blocks)) = (pair(files)?, pair(blocks)?);
    Some(Fsck { inodes_used, inodes, blocks_used, blocks })
}

/// `dumpe2fs -h`, as text.
pub fn dumpe2fs(image: &Path, offset: u64) -> Verdict<String> {
    quiet(Command::new("dumpe2fs").arg("-h").arg(at(image, offset)), "dumpe2fs 1.")
}

/// One line of `dumpe2fs -h`: `field(text, "Filesystem features")`.
#[track_caller]
pub fn field<'a>(dump: &'a str, name: &str) -> &'a str {
    let value = dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no field {name:?} in:\n{dump}")).trim()
}

/// What `debugfs` answers to one request.
pub fn debugfs(image: &Path, offset: u64, request: &str) -> Verdict<String> {
    quiet(Command::new("debugfs").arg("-R").arg(request).arg(at(image, offset)), "debugfs 1.")
}

/// Both e2fsprogs programs that answer on stdout, name themselves on stderr and put complaints there.
fn quiet(command: &mut Command, name: &str) -> Verdict<String> {
    let output = run(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && errors.lines().all(|line| line.starts_with(name)) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Complaint(format!("{command:?}: {}\n{}", output.status, both(&output))))
}

fn at(image: &Path, offset: u64) -> String {
    let path = image.to_str().expect("test images have plain names");
    if offset == 0 { path.to_owned() } else { format!("{path}?offset={offset}") }
}

/// `sgdisk -v`: no problems, and no caution either.
pub fn sgdisk(image: &Path) -> Verdict {
    let output = run(Command::new("sgdisk").arg("-v").arg(image));
    let text = both(&output);
    let worried =
        ["Caution", "Warning", "Problem:", "Error", "Invalid"].iter().any(|word| text.contains(word));
    if output.status.success() && text.contains("No problems found.") && !worried {
        return Ok(());
    }
    Err(Complaint(format!("sgdisk -v: {}\n{text}", output.status)))
}

/// `sfdisk --verify`, for either kind of table.
pub fn sfdisk(image: &Path) -> Verdict {
    let output = run(Command::new("sfdisk").arg("--verify").arg(image));
    let text = both(&output);
    let expected = ["Header version:", "Using ", "A total of ", "Remaining ", "No errors detected."];
    let heading = format!("{}:", image.display());
    let strange = text.lines().find(|line| {
        !line.is_empty() && *line != heading && !expected.iter().any(|start| line.starts_with(start))
    });
    if output.status.success() && text.contains("No errors detected.") && strange.is_none() {
        return Ok(());
    }
    Err(Complaint(format!("sfdisk --verify: {}\n{text}", output.status)))
}

/// One partition as `sfdisk --dump` shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Partition {
    /// Where it begins in the image, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// A GUID in capitals on GPT, `83` and its like on MBR.
    pub kind: String,
    /// The partition's own GUID on GPT, in capitals.
    pub uuid: String,
    pub name: String,
    pub bootable: bool,
}

/// The partitions that `sfdisk` sees.
pub fn partitions(image: &Path) -> Verdict<Vec<Partition>> {
    let output = run(Command::new("sfdisk").arg("--dump").arg(image));
    if !output.status.success() {
        return Err(Complaint(format!("sfdisk --dump: {}", both(&output))));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines =
        text.lines().filter_map(|line| line.split_once(" : ").filter(|(_, rest)| rest.contains("start=")));
    Ok(lines.map(|(_, rest)| parse_partition(rest)).collect())
}

fn parse_partition(line: &str) -> Partition {
    let mut partition = Partition::default();
    for part in line.split(", ").flat_map(|part| part.split(',')) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim() {
            "start" => partition.offset = value.parse::<u64>().unwrap() * 512,
            "size" => partition.len = value.parse::<u64>().unwrap() * 512,
            "type" => partition.kind = value.to_owned(),
            "uuid" => partition.uuid = value.to_owned(),
            "name" => partition.name = value.trim_matches('"').to_owned(),
            "bootable" => partition.bootable = true,
            _ => {}
        }
    }
    partition
}

/// `fsck.vfat -n` on a copy of the partition: it knows no offsets.
pub fn vfat(image: &Path, offset: u64, len: u64) -> Verdict {
    let folder = scratch();
    let partition = folder.path().join("fat.img");
    copy_out(image, offset, len, &partition);
    let output = run(Command::new("fsck.vfat").arg("-n").arg(&partition));
    let text = both(&output);
    let summary = format!("{}: ", partition.display());
    let strange = text.lines().find(|line| !line.starts_with("fsck.fat ") && !line.starts_with(&summary));
    if output.status.success() && strange.is_none() {
        return Ok(());
    }
    Err(Complaint(format!("fsck.vfat -n: {}\n{text}", output.status)))
}

/// Copies a piece of an image into a file of its own.
pub fn copy_out(image: &Path, offset: u64, len: u64, to: &Path) {
    let (offset, len) = (format!("skip={offset}"), format!("count={len}"));
    let flags = ["bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none"];
    super::must(
        Command::new("dd")
            .arg(format!("if={}", image.display()))
            .arg(format!("of={}", to.display()))
            .args([&*offset, &*len])
            .args(flags),
    );
    let file = std::fs::OpenOptions::new().write(true).open(to).unwrap();
    file.set_len(len["count=".len()..].parse().unwrap()).unwrap();
}
