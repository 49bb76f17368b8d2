//! Tables before other people's eyes: sgdisk and sfdisk make the same bytes and find no fault, gptman and mbrman read
//! the same partitions, and each of them notices when a byte is wrong.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::raw::guid::Uuid;
use crate::raw::num::index;

const DISK: u64 = 1 << 18;

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn entries() -> Vec<Entry> {
    let entry = |number, type_guid, partition_guid, first_lba, last_lba, name: &str| Entry {
        number,
        type_guid,
        partition_guid: uuid(partition_guid),
        first_lba,
        last_lba,
        attributes: Attributes::empty(),
        name: name.to_owned(),
    };
    vec![
        entry(1, types::BIOS_BOOT, "aaaaaaaa-0001-4ccc-8ddd-eeeeeeeeeeee", 2048, 4095, "bios"),
        entry(2, types::EFI_SYSTEM, "aaaaaaaa-0002-4ccc-8ddd-eeeeeeeeeeee", 4096, 135_167, "EFI système"),
        Entry {
            attributes: Attributes::LEGACY_BIOS_BOOTABLE | Attributes::GROW_FILESYSTEM,
            ..entry(
                5,
                types::LINUX_FILESYSTEM,
                "aaaaaaaa-0003-4ccc-8ddd-eeeeeeeeeeee",
                135_168,
                DISK - 2049,
                "root",
            )
        },
    ]
}

fn gpt(disk_sectors: u64) -> Gpt {
    let entries = entries();
    let entries = if disk_sectors < DISK { &entries[..1] } else { &entries };
    Gpt::plan(disk_sectors, uuid("11111111-2222-4333-8444-555555555555"), entries).unwrap()
}

fn mbr() -> Mbr {
    let part = |bootable, kind, first_lba, sectors| Some(Primary { bootable, kind, first_lba, sectors });
    Mbr::plan(
        1 << 32,
        0xdead_beef,
        [
            part(false, kinds::EFI_SYSTEM, 2048, 2048),
            part(true, kinds::LINUX, 4096, 20_000_000),
            None,
            part(false, kinds::LINUX, 30_000_000, 4_000_000_000),
        ],
    )
    .unwrap()
}

/// A sparse file of this many sectors with these bytes at these sectors.
fn disk(dir: &Path, sectors: u64, pieces: &[(u64, &[u8])]) -> std::path::PathBuf {
    use std::os::unix::fs::FileExt as _;
    let path = dir.join("disk.img");
    let file = fs::File::create(&path).unwrap();
    file.set_len(sectors * SECTOR).unwrap();
    for (lba, bytes) in pieces {
        file.write_all_at(bytes, lba * SECTOR).unwrap();
    }
    path
}

fn gpt_disk(dir: &Path, gpt: &Gpt) -> std::path::PathBuf {
    disk(dir, gpt.disk_sectors(), &[(0, &gpt.head(&[0; CODE])), (gpt.tail_lba(), &gpt.tail())])
}

fn part(path: &Path, lba: u64, sectors: u64) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; index(sectors * SECTOR)];
    fs::File::open(path).unwrap().read_exact_at(&mut bytes, lba * SECTOR).unwrap();
    bytes
}

fn image(gpt: &Gpt) -> Vec<u8> {
    let mut bytes = gpt.head(&[0; CODE]);
    bytes.resize(index(gpt.tail_lba() * SECTOR), 0);
    bytes.extend(gpt.tail());
    bytes
}

/// Runs a judge; `None`, loudly, where it isn't installed.
fn judge(program: &str, args: &[&str], path: &Path) -> Option<(bool, String)> {
    let run = Command::new(program).args(args).arg(path).env("LC_ALL", "C.UTF-8").output();
    let Ok(output) = run else {
        #[allow(clippy::disallowed_methods)] // a test asks how loud to be
        let ci = std::env::var_os("CI").is_some();
        assert!(!ci, "{program} is not installed");
        eprintln!("SKIPPED: {program} is not installed");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn read_back(bytes: &[u8]) -> Result<Option<Table>> {
    read(bytes.len() as u64 / SECTOR, &|at, buf| {
        buf.copy_from_slice(&bytes[index(at)..][..buf.len()]);
        Ok(())
    })
}

#[test]
fn sgdisk_makes_the_same_table() {
    // Below cylinder 1024, beyond it, and beyond 2 TiB.
    for sectors in [40_960, DISK, 20_000_000, 5_000_000_000] {
        let dir = tempfile::tempdir().unwrap();
        let ours = gpt(sectors);
        let path = disk(dir.path(), sectors, &[]);
        let mut args = vec!["-o", "-U", "11111111-2222-4333-8444-555555555555", "-a", "1"];
        let all = entries();
        let count = if sectors < DISK { 1 } else { 3 };
        let words: Vec<String> = all[..count]
            .iter()
            .flat_map(|e| {
                [
                    format!("-n{}:{}:{}", e.number, e.first_lba, e.last_lba),
                    format!("-t{}:{}", e.number, e.type_guid),
                    format!("-u{}:{}", e.number, e.partition_guid),
                    format!("-c{}:{}", e.number, e.name),
                ]
            })
            .collect();
        args.extend(words.iter().map(String::as_str));
        if count == 3 {
            args.extend(["-A5:set:2", "-A5:set:59"]);
        }
        let Some((ok, text)) = judge("sgdisk", &args, &path) else { return };
        assert!(ok, "{text}");
        assert!(part(&path, 0, 34) == ours.head(&[0; CODE]), "head, {sectors} sectors");
        assert!(part(&path, sectors - 33, 33) == ours.tail(), "tail, {sectors} sectors");
    }
}

#[test]
fn sgdisk_and_sfdisk_find_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    for sectors in [40_960, DISK, 5_000_000_000] {
        let path = gpt_disk(dir.path(), &gpt(sectors));
        assert!(sgdisk_is_content(&path).unwrap_or(true));
        assert!(sfdisk_is_content(&path).unwrap_or(true));
    }
    // Each of them, with one byte wrong in each of the four parts.
    for sector in [1, 2, DISK - 33, DISK - 1] {
        use std::os::unix::fs::FileExt as _;
        let path = gpt_disk(dir.path(), &gpt(DISK));
        let mut bytes = part(&path, sector, 1);
        bytes[60] ^= 1;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&bytes, sector * SECTOR).unwrap();
        assert!(!sgdisk_is_content(&path).unwrap_or(false), "sector {sector}");
        assert!(!sfdisk_is_content(&path).unwrap_or(false), "sector {sector}");
    }
}

/// sgdisk says "No problems found" of damaged tables too, below its warning.
fn sgdisk_is_content(path: &Path) -> Option<bool> {
    let (ok, text) = judge("sgdisk", &["-v"], path)?;
    println!("{text}");
    Some(ok && text.contains("No problems found") && !text.contains("Caution") && !text.contains("Warning"))
}

fn sfdisk_is_content(path: &Path) -> Option<bool> {
    let (ok, text) = judge("sfdisk", &["--verify"], path)?;
    println!("{text}");
    Some(ok && text.contains("No errors detected") && !text.contains("corrupt"))
}

#[test]
fn a_moved_table_is_sound_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt_disk(dir.path(), &gpt(DISK).for_disk(3 * DISK).unwrap());
    assert!(sgdisk_is_content(&path).unwrap_or(true));
}

#[test]
fn sfdisk_makes_the_same_classic_table() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), 1 << 32, &[]);
    let script = "label: dos\nlabel-id: 0xdeadbeef\nunit: sectors\n1: start=2048,size=2048,type=ef\n\
                  2: start=4096,size=20000000,type=83,bootable\n4: start=30000000,size=4000000000,type=83\n";
    fs::File::create(dir.path().join("script")).unwrap().write_all(script.as_bytes()).unwrap();
    let run = Command::new("sfdisk")
        .args(["-q", "--no-tell-kernel"])
        .arg(&path)
        .stdin(fs::File::open(dir.path().join("script")).unwrap())
        .status();
    match run {
        Ok(status) => {
            assert!(status.success());
            assert!(part(&path, 0, 1) == mbr().sector(&[0; CODE]), "sector 0");
        }
        Err(_) => assert!(judge("sfdisk", &["--version"], &path).is_none()),
    }
    let path = disk(dir.path(), 1 << 32, &[(0, &mbr().sector(&[0; CODE]))]);
    assert!(sfdisk_is_content(&path).unwrap_or(true));
    // The second partition begins where the first does.
    let mut wrong = mbr().sector(&[0; CODE]);
    wrong[446 + 16 + 9] = 0x08;
    let path = disk(dir.path(), 1 << 32, &[(0, &wrong)]);
    assert!(!sfdisk_is_content(&path).unwrap_or(false));
}

#[test]
fn gptman_reads_the_same_partitions() {
    let bytes = image(&gpt(DISK));
    let theirs = gptman::GPT::find_from(&mut Cursor::new(&bytes)).unwrap();
    assert_eq!(theirs.sector_size, 512);
    assert_eq!(theirs.header.disk_guid, gpt(DISK).disk_guid().to_guid_bytes());
    let used: Vec<_> = theirs.iter().filter(|(_, p)| p.is_used()).collect();
    assert_eq!(used.len(), entries().len());
    for ((number, theirs), ours) in used.iter().zip(entries()) {
        assert_eq!(*number, ours.number);
        assert_eq!((theirs.starting_lba, theirs.ending_lba), (ours.first_lba, ours.last_lba));
        assert_eq!(theirs.partition_name.as_str(), ours.name);
        assert_eq!(theirs.attribute_bits, ours.attributes.bits());
        assert_eq!(theirs.partition_type_guid, ours.type_guid.to_guid_bytes());
        assert_eq!(theirs.unique_partition_guid, ours.partition_guid.to_guid_bytes());
    }
    let mut wrong = bytes;
    wrong[512 + 30] ^= 1;
    assert!(gptman::GPT::read_from(&mut Cursor::new(&wrong), 512).is_ok(), "the backup stands in");
    let end = wrong.len();
    wrong[end - 512 + 30] ^= 1;
    assert!(gptman::GPT::read_from(&mut Cursor::new(&wrong), 512).is_err());
}

#[test]
fn mbrman_reads_the_same_partitions() {
    let theirs = mbrman::MBRHeader::read_from(&mut Cursor::new(mbr().sector(&[0x90; CODE]))).unwrap();
    assert_eq!(theirs.disk_signature, 0xdead_beef_u32.to_le_bytes());
    assert_eq!(theirs.bootstrap_code, [0x90; CODE]);
    let found = [&theirs.partition_1, &theirs.partition_2, &theirs.partition_3, &theirs.partition_4]
        .map(|p| (p.sys, p.boot == mbrman::BOOT_ACTIVE, p.starting_lba, p.sectors));
    assert_eq!(
        found,
        [
            (0xef, false, 2048, 2048),
            (0x83, true, 4096, 20_000_000),
            (0, false, 0, 0),
            (0x83, false, 30_000_000, 4_000_000_000)
        ]
    );
}

#[test]
fn our_reader_reads_what_we_write() {
    let bytes = image(&gpt(DISK));
    let table = read_back(&bytes).unwrap().unwrap();
    assert_eq!(table.problems, [""; 0]);
    let found: Vec<_> = table.partitions.iter().map(|p| (p.number, p.first_lba, p.sectors)).collect();
    assert_eq!(found, [(1, 2048, 2048), (2, 4096, 131_072), (5, 135_168, DISK - 2048 - 135_168)]);
    assert_eq!(table.partitions[1].name, "EFI système");
    assert_eq!(table.partitions[1].kind, PartitionKind::Gpt(types::EFI_SYSTEM));
    assert_eq!(table.partitions[2].partuuid, "aaaaaaaa-0003-4ccc-8ddd-eeeeeeeeeeee");
    assert!(table.partitions[2].bootable && !table.partitions[1].bootable);
    let Label::Gpt(read) = table.label else { panic!("not a GPT") };
    assert_eq!(image(&read), bytes);

    let mut bytes = vec![0; 1 << 20];
    let small = Mbr::plan(
        2048,
        7,
        [None, Some(Primary { bootable: true, kind: 0x83, first_lba: 63, sectors: 100 }), None, None],
    );
    bytes[..512].copy_from_slice(&small.unwrap().sector(&[0; CODE]));
    let table = read_back(&bytes).unwrap().unwrap();
    assert!(matches!(table.label, Label::Mbr(7)));
    assert_eq!(
        table.partitions,
        [Partition {
            number: 2,
            kind: PartitionKind::Mbr(0x83),
            partuuid: "00000007-02".into(),
            first_lba: 63,
            sectors: 100,
            bootable: true,
            name: String::new()
        }]
    );
    assert!(read_back(&vec![0; 4096]).unwrap().is_none());
}

#[test]
fn the_backup_stands_in_for_the_primary() {
    let good = image(&gpt(DISK));
    let mut bytes = good.clone();
    bytes[1024 + 40] ^= 1;
    let table = read_back(&bytes).unwrap().unwrap();
    assert_eq!(table.partitions, read_back(&good).unwrap().unwrap().partitions);
    assert!(table.problems[0].starts_with("the primary GPT is unusable: its entries have the CRC"));
    let Label::Gpt(read) = table.label else { panic!("not a GPT") };
    assert_eq!(image(&read), good);

    let end = bytes.len();
    bytes[end - 512] = b'X';
    let error = read_back(&bytes).unwrap_err().to_string();
    assert!(error.starts_with("neither the GPT at sector 1"), "{error}");

    // Copied to a larger disk, and cut short.
    let mut bytes = good.clone();
    bytes.resize(good.len() * 2, 0);
    let table = read_back(&bytes).unwrap().unwrap();
    assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
    let Label::Gpt(read) = table.label else { panic!("not a GPT") };
    assert_eq!(read.disk_sectors(), DISK);
    assert!(read_back(&good[..good.len() - 512 * 4000]).unwrap_err().to_string().contains("partition 5"));
}

#[test]
fn damaged_tables_never_panic() {
    // Every byte of the first sectors changed, with the CRCs made right again so that the damage is believed.
    let good = image(&gpt(40_960));
    for at in (0..512).chain(512..604).chain(1024..1152) {
        for value in [0x00, 0x01, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let _ = read_back(&bytes);
            let count = u32::from_le_bytes(bytes[512 + 80..512 + 84].try_into().unwrap()).min(1024);
            let array = crate::raw::crc::crc32(&bytes[1024..1024 + count as usize * 128]);
            bytes[512 + 88..512 + 92].copy_from_slice(&array.to_le_bytes());
            bytes[512 + 16..512 + 20].fill(0);
            let header = crate::raw::crc::crc32(&bytes[512..604]);
            bytes[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
            if let Ok(Some(Table { label: Label::Gpt(gpt), .. })) = read_back(&bytes) {
                let _ = gpt.for_disk(40_961).map(|gpt| (gpt.head(&[0; CODE]).len(), gpt.tail().len()));
            }
        }
    }
}
