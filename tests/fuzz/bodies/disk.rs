//! Damaged disks, read as `inspect` does and, with the feature `ebs`, as a push of a raw file does.

use std::cell::Cell;
use std::sync::OnceLock;

use lfs_image::image::{Boot, Disk, PartitionTable};
use lfs_image::tree::{Content, Device, Directory, Kind, Meta, NodeId, Position, Segment, Timestamp};
use lfs_image::{Error, ErrorKind, Image, ImageSpec, Tree};

use super::archive::said;
use super::draw::Draw;
use super::memory::{Memory, PAGE};
use super::tree::Pattern;

/// What a disk that is damaged was before, and where there is something to damage.
struct Base {
    image: Memory,
    /// Where partitions begin.
    esp: Option<u64>,
    root: u64,
    is_gpt: bool,
}

/// The most that may be read of any disk to tell what is on it, in calls and in bytes.
const MOST: (u64, u64) = (200_000, 64 << 20);

/// Damages a disk and looks at it; `more` sees the damaged one and what was found on it.
pub fn disk(input: &[u8], more: &mut dyn FnMut(&Memory, Option<&Disk>)) {
    let image = damaged(input);
    let (calls, bytes) = (Cell::new(0_u64), Cell::new(0_u64));
    let read_at = |offset: u64, buf: &mut [u8]| {
        calls.set(calls.get() + 1);
        bytes.set(bytes.get() + buf.len() as u64);
        assert!(calls.get() <= MOST.0 && bytes.get() <= MOST.1, "it reads and reads");
        // A file that ends gives that error.
        if image.read(offset, buf) { Ok(()) } else { Err(Error::new(ErrorKind::Io, "behind the end")) }
    };
    let disk = match Disk::read(image.len, &read_at) {
        Ok(disk) => disk,
        Err(error) => {
            said(&error);
            None
        }
    };
    if let Some(disk) = &disk {
        for partition in &disk.partitions {
            assert!(partition.offset.checked_add(partition.len).is_some(), "{partition:?}");
        }
        assert!(disk.problems.len() < 10_000 && disk.partitions.len() < 10_000);
    }
    #[cfg(feature = "ebs")]
    push(&image);
    more(&image, disk.as_ref());
}

/// What a push would send of it.
#[cfg(feature = "ebs")]
fn push(image: &Memory) {
    use lfs_image::ebs::{RawImage, Settings, Source};
    let path =
        format!("/dev/shm/lfs-image-fuzz-disk-{}-{:?}", std::process::id(), std::thread::current().id());
    image.save(path.as_ref()).unwrap();
    let raw = RawImage::open(&path);
    std::fs::remove_file(&path).unwrap();
    match raw {
        Ok(raw) => {
            assert_eq!(raw.len(), image.len);
            match Source::raw(&raw).survey(&Settings::new()) {
                Ok(survey) => assert!(survey.blocks <= image.len.div_ceil(lfs_image::ebs::BLOCK) + 1),
                Err(error) => said(&error),
            }
        }
        Err(error) => said(&error),
    }
}

/// The disk that the bytes are.
pub fn damaged(input: &[u8]) -> Memory {
    let mut draw = Draw(input);
    let bases = bases();
    let Some(base) = bases.get(usize::from(draw.byte()) % (bases.len() + 1)) else {
        // Any bytes at all.
        let mut image = Memory::of_len((draw.number(2) + 1) * 512);
        image.put(0, draw.0);
        return image;
    };
    let mut image = base.image.clone();
    for _ in 0..64 {
        if draw.is_done() {
            break;
        }
        let esp = base.esp.unwrap_or(0);
        let at = match draw.below(17) {
            0 => 440,
            1 => 512,
            2 => 1024,
            3 => image.len.saturating_sub(512),
            4 => image.len.saturating_sub(33 * 512),
            5 => esp,
            6 => esp + 32 * 512,
            7 => esp + draw.number(3) % (40 << 20),
            8 | 9 => base.root + 1024,
            10 => base.root + PAGE,
            11 => base.root + PAGE * draw.below(64),
            12 => base.root + PAGE * draw.below(2000),
            13 => draw.number(4) % image.len.max(1),
            14 => {
                mend(&mut image, base);
                continue;
            }
            // Without its feature no checksum is looked at, so that what lies behind is reached.
            15 => {
                let at = base.root + 1024 + 0x64;
                let mut features = [0; 4];
                if image.read(at, &mut features) {
                    features[1] &= !4;
                    image.put(at, &features);
                }
                continue;
            }
            _ => {
                let len = draw.number(3) * 512 + draw.below(2);
                image.len = image.len.min(len.max(1));
                continue;
            }
        };
        let at = at + draw.below(1024);
        let len = draw.of(&[1, 2, 4, 8, 16, 64]);
        image.put(at, draw.bytes(len));
    }
    image
}

fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let gpt = ImageSpec::new().esp(40 << 20).size(64 << 20);
        vec![
            base(&gpt),
            base(&gpt.clone().table(PartitionTable::Mbr)),
            base(&ImageSpec::new().table(PartitionTable::None).size(20 << 20)),
            base(&ImageSpec::new().size(400 << 20).orphan_file(true)),
        ]
    })
}

fn base(spec: &ImageSpec) -> Base {
    let mut tree = Tree::new();
    let meta = Meta::new(0o755, Timestamp::from_secs(1_700_000_000));
    let boot =
        tree.insert(NodeId::ROOT, b"boot", meta.clone(), Kind::Directory(Directory::default())).unwrap();
    for n in 0..200 {
        let name = format!("file-{n}-{}", "x".repeat(n % 90));
        tree.insert(boot, name.as_bytes(), meta.clone(), Kind::File(Content::bytes(vec![7; 10 * n])))
            .unwrap();
    }
    let mut add =
        |name: &[u8], meta: &Meta, kind| tree.insert(NodeId::ROOT, name, meta.clone(), kind).unwrap();
    add(b"link", &meta, Kind::Symlink(b"boot/file-0-".as_slice().into()));
    add(b"long", &meta, Kind::Symlink(b"boot/".repeat(40).into()));
    add(b"null", &meta, Kind::CharDevice(Device { major: 1, minor: 3 }));
    // So many pieces that their extents take a tree.
    let piece = |n: u64| Segment { offset: n << 14, len: 4096, at: Position::new(0, n << 12).unwrap() };
    add(
        b"sparse",
        &meta,
        Kind::File(Content::sparse(400 << 14, (0..400).map(piece).collect::<Vec<_>>()).unwrap()),
    );
    let mut old = meta;
    old.mtime = Timestamp::from_secs(-1_000_000_000);
    let attributes = [
        (b"user.large".as_slice().into(), vec![7; 2000].into()),
        (b"user.a".as_slice().into(), vec![7; 9].into()),
    ];
    old.xattrs = tree.intern(attributes.into_iter().collect()).unwrap();
    tree.insert(NodeId::ROOT, b"attributes", old, Kind::Directory(Directory::default())).unwrap();
    let image = Image::plan(tree, &Pattern, &spec.clone().boot(Boot::None)).unwrap();
    let mut bytes = image.write(&Pattern, Memory::default(), &mut ()).unwrap();
    bytes.quiet();
    let start = |role| image.partitions().iter().find(|p| p.role == role).map(|p| p.offset);
    Base {
        image: bytes,
        esp: start(lfs_image::image::Role::Esp),
        root: start(lfs_image::image::Role::Root).unwrap(),
        is_gpt: image.disk_id().is_some_and(|id| id.len() == 36),
    }
}

/// Makes checksums right, so that what is wrong behind them is met.
fn mend(image: &mut Memory, base: &Base) {
    let le = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    if base.is_gpt && image.len > 4096 {
        for header_at in [512, image.len - 512] {
            let mut header = image.get(header_at, 512);
            let entries_at = u64::from(le(&header, 72)) * 512;
            let len = u64::from(le(&header, 80)) * u64::from(le(&header, 84));
            let mut entries = vec![0; usize::try_from(len.min(1 << 20)).unwrap()];
            if image.read(entries_at, &mut entries) {
                header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
            }
            header[16..20].fill(0);
            let size = usize::try_from(le(&header, 12)).unwrap().min(512);
            let sum = crc32fast::hash(&header[..size]).to_le_bytes();
            header[16..20].copy_from_slice(&sum);
            image.put(header_at, &header);
        }
    }
    let mut sb = vec![0; 1024];
    if !image.read(base.root + 1024, &mut sb) {
        return;
    }
    image.put(base.root + 1024 + 0x3fc, &ext4_sum(!0, &sb[..0x3fc]).to_le_bytes());
    let seed = ext4_sum(!0, &sb[0x68..0x78]);
    for group in 0..16_u32 {
        let at = base.root + PAGE + 64 * u64::from(group);
        let mut d = vec![0; 64];
        if !image.read(at, &mut d) || d.iter().all(|b| *b == 0) {
            break;
        }
        for (place, low, high, bits) in [(0, 0x18, 0x38, le(&sb, 0x20)), (4, 0x1a, 0x3a, le(&sb, 0x28))] {
            let mut bitmap = vec![0; usize::try_from(bits / 8).unwrap().min(4096)];
            if image.read(base.root + PAGE * u64::from(le(&d, place)), &mut bitmap) {
                let sum = ext4_sum(seed, &bitmap).to_le_bytes();
                d[low..low + 2].copy_from_slice(&sum[..2]);
                d[high..high + 2].copy_from_slice(&sum[2..]);
            }
        }
        d[0x1e..0x20].fill(0);
        let sum = ext4_sum(ext4_sum(seed, &group.to_le_bytes()), &d).to_le_bytes();
        d[0x1e..0x20].copy_from_slice(&sum[..2]);
        image.put(at, &d);
    }
}

/// CRC-32C as ext4 chains it: without the inversion at the end.
fn ext4_sum(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}
