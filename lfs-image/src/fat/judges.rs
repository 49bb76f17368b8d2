//! Volumes before other people's eyes: fsck.vfat finds no fault, mtools, the fatfs crate and, where we may ask it, the
//! kernel read the files that were put in; and fsck.vfat notices when a byte is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::raw::num::index;
use crate::raw::out::Out;
use crate::raw::out::tests::Memory;
use crate::tree::{NoStore, Position, ReadAt};

/// Content by position: no two stretches of it are alike.
struct Numbers;

impl ReadAt for Numbers {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        for (byte, n) in buf.iter_mut().zip(at.offset()..) {
            *byte = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).try_into().unwrap();
        }
        Ok(())
    }
}

fn stored(len: u64) -> Blob {
    let mut blob = Blob::default();
    blob.push_stored(Position::new(0, len * 3).unwrap(), len);
    blob
}

fn files() -> Vec<File> {
    let file = |path: &str, content| File { path: path.to_owned(), content };
    let mut mixed = Blob::from_bytes(*b"MZ");
    mixed.push_zeros(70_000);
    mixed.push_stored(Position::new(0, 9).unwrap(), 200_000);
    let mut files = vec![
        file("EFI/BOOT/BOOTX64.EFI", stored(1_234_567)),
        file("EFI/BOOT/grub.cfg", Blob::from_bytes(*b"configfile\n")),
        file("efi/boot/BOOTAA64.EFI", mixed),
        file("EFI/Linux/lfs-6.12.1 (default).efi", stored(512)),
        file("EFI/Linux/lfs-6.12.1 (rescue).efi", stored(513)),
        file("EFI/Linux/LFS-61~1.EFI", stored(511)),
        file("EFI/Linux/lfs-61~2.efi", stored(1)),
        file("empty", Blob::default()),
        file("a/b/c/d/e/f.g", stored(4096)),
        file("notes/Zoë spielt 日本語.txt", Blob::from_bytes(*b"hi")),
        file(&format!("notes/{}", "n".repeat(255)), stored(3)),
        file("notes/thirteen.char", stored(4)),
        file("notes/twelve.chars", stored(5)),
        file("startup.nsh", Blob::from_bytes(*b"\\EFI\\BOOT\\BOOTX64.EFI\r\n")),
    ];
    files.extend((0..400).map(|n| file(&format!("many/file number {n}"), stored(n))));
    files
}

fn options(size: Size) -> Options {
    Options {
        size,
        hidden_sectors: 4096,
        serial: 0x1234_abcd,
        label: "LFS ESP".to_owned(),
        time: Timestamp::from_secs(1_700_000_000),
    }
}

fn render(plan: &Plan) -> Memory {
    let mut memory = Memory::default();
    let mut written = |_| Ok(());
    let mut out = Out::new(&mut memory, &mut written);
    plan.emit(&mut out, &Numbers).unwrap();
    out.flush().unwrap();
    assert_eq!(memory.bytes.len() as u64, plan.sectors() * SECTOR);
    memory
}

/// Every file by the path it should be found under.
fn expected() -> BTreeMap<String, Vec<u8>> {
    let content = |blob: &Blob| blob.read(&Numbers, 0, blob.len()).unwrap();
    files().iter().map(|f| (f.path.replace("efi/boot", "EFI/BOOT"), content(&f.content))).collect()
}

fn write(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("esp.img");
    fs::write(&path, bytes).unwrap();
    path
}

/// Runs a judge; `None`, loudly, where it isn't installed.
pub(super) fn judge(command: &mut Command) -> Option<(bool, String)> {
    let Ok(output) = command.env("LC_ALL", "C.UTF-8").output() else {
        let program = command.get_program().display();
        #[allow(clippy::disallowed_methods)] // a test asks how loud to be
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Whether fsck.vfat has nothing to say but what it always says.
fn fsck_is_content(image: &Path) -> Option<bool> {
    let (ok, text) = judge(Command::new("fsck.vfat").args(["-n", "-v"]).arg(image))?;
    println!("{text}");
    if text.contains("differences") {
        return Some(false);
    }
    let (_, findings) = text.split_once("sectors total\n").unwrap_or_default();
    let usual = |line: &str| {
        line.starts_with("Checking for unused clusters")
            || line.starts_with("Checking free cluster summary")
            || line.contains(" files, ")
    };
    Some(ok && !findings.is_empty() && findings.lines().all(usual))
}

fn fatfs_walk(bytes: Vec<u8>) -> (BTreeMap<String, Vec<u8>>, String, u32) {
    type Dir<'a> = fatfs::Dir<'a, Cursor<Vec<u8>>>;
    fn walk(dir: &Dir<'_>, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in dir.iter().map(|e| e.unwrap()) {
            let name = entry.file_name();
            if entry.is_dir() && name != "." && name != ".." {
                walk(&entry.to_dir(), &format!("{prefix}{name}/"), found);
            } else if entry.is_file() {
                let mut content = Vec::new();
                entry.to_file().read_to_end(&mut content).unwrap();
                assert_eq!(entry.len(), content.len() as u64);
                assert_eq!(entry.modified().date.year, 2023);
                found.insert(format!("{prefix}{name}"), content);
            }
        }
    }
    let volume = fatfs::FileSystem::new(Cursor::new(bytes), fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.fat_type(), fatfs::FatType::Fat32);
    let mut found = BTreeMap::new();
    walk(&volume.root_dir(), "", &mut found);
    (
        found,
        volume.read_volume_label_from_root_dir().unwrap().unwrap(),
        volume.stats().unwrap().free_clusters(),
    )
}

fn sizes() -> Vec<Size> {
    vec![
        Size::Free(0),
        Size::Free(20 << 20),
        Size::Sectors(66_613),
        Size::Sectors(131_072),
        // Clusters of 4 KiB, and a size that isn't a multiple of them.
        Size::Sectors(532_480 + 13),
    ]
}

#[test]
fn fsck_finds_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    for size in sizes() {
        let image = write(dir.path(), &render(&plan(files(), &options(size)).unwrap()).bytes);
        assert!(fsck_is_content(&image).unwrap_or(true), "{size:?}");
    }
    // Nothing in it, no label; and a file that fills it to the last cluster.
    let bare = Options { label: String::new(), ..options(Size::Sectors(66_613)) };
    let empty = plan(Vec::new(), &bare).unwrap();
    assert!(fsck_is_content(&write(dir.path(), &render(&empty).bytes)).unwrap_or(true));
    let full = vec![File { path: "full".to_owned(), content: stored(empty.free()) }];
    let full = plan(full, &bare).unwrap();
    assert_eq!(full.free(), 0);
    assert!(fsck_is_content(&write(dir.path(), &render(&full).bytes)).unwrap_or(true));
    let more = vec![File { path: "full".to_owned(), content: stored(empty.free() + 1) }];
    assert_eq!(
        plan(more, &bare).unwrap_err().to_string(),
        "the files need 65542 clusters of 512 bytes, and a volume of 66613 sectors has 65541"
    );
}

#[test]
fn fsck_notices_damage() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(files(), &options(Size::Free(0))).unwrap();
    let good = render(&plan).bytes;
    let fat = index(u64::from(plan.geometry.reserved) * SECTOR);
    let data = index(plan.geometry.data() * SECTOR);
    let boot = data + good[data..].windows(11).position(|w| w == b"BOOTX64 EFI").unwrap();
    let spots = [
        ("backup of the boot sector", 6 * 512 + 67),
        ("free clusters", 512 + 488),
        ("FAT", fat + 4 * 40),
        ("second FAT", fat + index(u64::from(plan.geometry.fat) * SECTOR) + 4 * 2),
        ("first cluster of a file", boot + 26),
        ("size of a file", boot + 29),
        ("checksum of a long name", boot + 32 + 13),
    ];
    for (what, at) in spots {
        let mut bytes = good.clone();
        bytes[at] ^= 0x15;
        let image = write(dir.path(), &bytes);
        assert!(!fsck_is_content(&image).unwrap_or(false), "{what}");
    }
}

#[test]
fn fatfs_reads_what_was_put_in() {
    for size in sizes() {
        let plan = plan(files(), &options(size)).unwrap();
        let (found, label, free) = fatfs_walk(render(&plan).bytes);
        assert!(found.keys().eq(expected().keys()), "{:?}", found.keys());
        assert!(found == expected());
        assert_eq!(label, "LFS ESP");
        assert_eq!(u64::from(free) * plan.geometry.cluster_bytes(), plan.free());
    }
}

#[test]
fn mtools_reads_what_was_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(files(), &options(Size::Free(1 << 20))).unwrap();
    let image = write(dir.path(), &render(&plan).bytes);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let Some((ok, text)) =
        judge(Command::new("mcopy").args(["-s", "-Q", "-i"]).arg(&image).arg("::*").arg(&out))
    else {
        return;
    };
    assert!(ok, "{text}");
    assert!(read_tree(&out) == expected());
    let (ok, text) = judge(Command::new("mdir").arg("-i").arg(&image).arg("::EFI/Linux")).unwrap();
    assert!(ok, "{text}");
    for line in ["Volume Serial Number is 1234-ABCD", "LFS-61~1 EFI       511", "LFS-61~2 EFI         1"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("LFS-61~3 EFI       512 2023-11-14  22:13  lfs-6.12.1 (default).efi"), "{text}");
}

#[test]
fn the_kernel_reads_what_was_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let image = write(dir.path(), &render(&plan(files(), &options(Size::Free(0))).unwrap()).bytes);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let mount =
        Command::new("mount").args(["-t", "vfat", "-o", "ro,loop,utf8"]).args([&image, &out]).output();
    if !mount.is_ok_and(|m| m.status.success()) {
        eprintln!("SKIPPED: no right, or no driver, to mount a FAT volume");
        return;
    }
    let found = read_tree(&out);
    Command::new("umount").arg(&out).status().unwrap();
    assert!(found == expected());
}

fn read_tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                let path = entry.path();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn only_free_clusters_are_unallocated() {
    let plan = plan(files(), &options(Size::Sectors(131_072))).unwrap();
    let memory = render(&plan);
    let last = memory.calls.last().unwrap();
    let used = plan.geometry.data() * SECTOR + u64::from(plan.used_clusters) * plan.geometry.cluster_bytes();
    assert_eq!(*last, ("unallocated", used, plan.sectors() * SECTOR - used));
    assert_eq!(memory.calls.iter().filter(|call| call.0 == "unallocated").count(), 1);
}

#[test]
fn the_order_of_the_files_decides_nothing_but_their_places() {
    let plan_of = |files| render(&plan(files, &options(Size::Free(0))).unwrap());
    assert!(plan_of(files()).bytes == plan_of(files()).bytes);
    let mut reversed = files();
    reversed.retain(|f| !f.path.starts_with("efi"));
    let kept = reversed.clone();
    reversed.reverse();
    let names = |memory: Memory| fatfs_walk(memory.bytes).0;
    assert!(names(plan_of(reversed)) == names(plan_of(kept)));
}

#[test]
fn impossible_requests() {
    let refusal = |options: &Options| plan(Vec::new(), options).unwrap_err().to_string();
    let small = refusal(&options(Size::Sectors(65_536)));
    assert_eq!(small, "a volume of 65536 sectors is too small for FAT32, which needs 66613 (33 MiB)");
    assert!(refusal(&options(Size::Free(u64::MAX))).contains("2 TiB"));
    assert!(refusal(&options(Size::Sectors(1 << 33))).contains("2 TiB"));
    let far = Options { hidden_sectors: 1 << 32, ..options(Size::Free(0)) };
    assert!(refusal(&far).contains("2 TiB"));
    let mut huge = Vec::new();
    for n in 0..1000 {
        let mut content = Blob::default();
        content.push_zeros(u64::from(u32::MAX));
        huge.push(File { path: format!("{n}"), content });
    }
    assert!(plan(huge, &options(Size::Free(0))).unwrap_err().to_string().contains("2 TiB"));
    let mut memory = Memory::default();
    let mut written = |_| Ok(());
    let plan = plan(files(), &options(Size::Free(0))).unwrap();
    let error = plan.emit(&mut Out::new(&mut memory, &mut written), &NoStore).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Misuse);
}
