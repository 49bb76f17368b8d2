//! A tree and a specification drawn from bytes, to an image, and everything that must be true of it.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use lfs_image::host::HostSpec;
use lfs_image::image::{Boot, Disk, Free, InodeCount, Journal, PartitionTable};
use lfs_image::tree::{
    Content, Device, Directory, Kind, Meta, NodeId, Position, ReadAt, Segment, Times, Timestamp, XattrSet,
};
use lfs_image::{Image, ImageSpec, Result, Tree};

use super::archive::said;
use super::draw::Draw;
use super::memory::Memory;
use super::{fsck, same};

/// After the latest second that ext4 knows, as e2fsck complains of filesystems from the future; and the latest one in its lower 32
/// bits, which are all that e2fsck 1.47.0 compares.
const END_OF_TIME: &str = "17179869183";

/// Content that is a function of its position.
#[derive(Debug)]
pub struct Pattern;

impl ReadAt for Pattern {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> Result<()> {
        for (at, byte) in (at.offset()..).zip(buf) {
            // Never zero, so that nothing takes it for a hole; different in every block.
            *byte = (at ^ at >> 12).to_le_bytes()[0] | 1;
        }
        Ok(())
    }
}

/// Makes the image and checks it in memory; every so often (`LFS_IMAGE_FUZZ_E2FSCK` says how often) by e2fsck, too.
pub fn tree(input: &[u8]) {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    static INTERVAL: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let interval = *INTERVAL.get_or_init(|| {
        std::env::var("LFS_IMAGE_FUZZ_E2FSCK").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
    });
    let Some((image, bytes)) = make(input) else { return };
    if RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(interval) {
        let name = format!("/dev/shm/lfs-image-fuzz-{}.img", std::process::id());
        let complaints = e2fsck(Path::new(&name), &image, &bytes);
        std::fs::remove_file(&name).unwrap();
        assert!(complaints.is_empty(), "{complaints}");
    }
}

/// The image that the bytes are, checked, unless they are refused.
pub fn make(input: &[u8]) -> Option<(Image, Rc<Memory>)> {
    let mut draw = Draw(input);
    let spec = spec(&mut draw);
    let tree = draw_tree(&mut draw);
    let image = match Image::plan(tree, &Pattern, &spec) {
        Ok(image) => image,
        Err(error) => {
            said(&error);
            return None;
        }
    };
    let mut end = 0;
    for region in image.regions() {
        assert!(region.offset == end && region.len > 0, "{region:?} where {end} was to be");
        end += region.len;
    }
    assert_eq!(end, image.len());
    let bytes = Rc::new(image.write(&Pattern, Memory::default(), &mut ()).unwrap());
    let root = image.partitions().last().unwrap();
    fsck::fsck(&bytes, root.offset);
    // `ext4-view` doesn't read that feature.
    let ea_inode = image.filesystem().features.iter().any(|feature| feature == "ea_inode");
    if !ea_inode && has_known_times(image.tree()) {
        same::same(image.tree(), &Pattern, &bytes, root.offset);
    }
    let read_at = |offset: u64, buf: &mut [u8]| {
        assert!(bytes.read(offset, buf), "{} bytes at {offset} are behind the end", buf.len());
        Ok(())
    };
    let disk = Disk::read(bytes.len, &read_at).unwrap().unwrap();
    assert_eq!(disk.problems, [""; 0]);
    assert_eq!(disk.partitions.last().unwrap().filesystem, Some(image.filesystem()));
    Some((image, bytes))
}

/// Whether `ext4-view` knows all times of a tree: it takes what is from before 1970, and every other 68 years from 2038 on, for
/// corrupt.
fn has_known_times(tree: &Tree) -> bool {
    let mut todo = vec![NodeId::ROOT];
    while let Some(id) = todo.pop() {
        let node = tree.node(id);
        let times = node.meta.times.as_deref().copied().unwrap_or_default();
        let all = [Some(node.meta.mtime), times.atime, times.ctime, times.crtime];
        if all.into_iter().flatten().any(|time| time.clamped().sec & 0x8000_0000 != 0) {
            return false;
        }
        todo.extend(node.as_directory().into_iter().flat_map(Directory::iter).map(|(_, id)| id));
    }
    true
}

/// What e2fsck says beyond its usual words.
pub fn e2fsck(path: &Path, image: &Image, bytes: &Memory) -> String {
    bytes.save(path).unwrap();
    let place = format!("{}?offset={}", path.display(), image.partitions().last().unwrap().offset);
    let sbin = "/usr/bin:/bin:/usr/sbin:/sbin";
    let output = Command::new("e2fsck")
        .args(["-fn", &place])
        .env("PATH", sbin)
        .env("E2FSCK_TIME", END_OF_TIME)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let usual = |line: &&str| line.starts_with("Pass ") || line.contains(" files (");
    let mut rest: String = said.lines().filter(|line| !usual(line)).collect::<Vec<_>>().join("\n");
    if !output.status.success() {
        rest += &format!("\n{}", output.status);
    }
    rest
}

fn spec(draw: &mut Draw) -> ImageSpec {
    let mut spec = ImageSpec::new().boot(Boot::None).table(draw.of(&[
        PartitionTable::None,
        PartitionTable::Gpt,
        PartitionTable::Mbr,
    ]));
    if draw.one_in(8) {
        spec =
            spec.free(draw.of(&[Free::Bytes(0), Free::Percent(1), Free::Percent(70), Free::Bytes(1 << 30)]));
    } else {
        spec = spec.size(draw.of(&[16, 64, 24, 9, 129, 300, 1100]) * (1 << 20) + draw.below(9) * 512);
    }
    spec =
        spec.journal(draw.of(&[Journal::None, Journal::Auto, Journal::Blocks(1024), Journal::Blocks(9000)]));
    spec = spec.inodes(draw.of(&[
        InodeCount::Auto,
        InodeCount::Ratio(4096),
        InodeCount::Ratio(1 << 26),
        InodeCount::AtLeast(60),
        InodeCount::AtLeast(20_000),
    ]));
    let flags = draw.byte();
    spec = spec.ea_inode(flags & 1 != 0).orphan_file(flags & 6 == 6);
    if flags & 8 != 0 {
        spec = spec.host(HostSpec::nothing());
    }
    if flags & 0x30 == 0x30 {
        spec = spec.esp(draw.of(&[1, 34 << 20, 40 << 20]));
    }
    if flags & 0x40 != 0 {
        spec = spec.reserved(draw.of(&[0, 1, 5000])).label("0123456789abcdef");
    }
    if flags & 0x80 != 0 {
        spec = spec.time(time(draw));
    }
    spec
}

/// A tree that is being made.
struct Maker<'a, 'b> {
    draw: &'b mut Draw<'a>,
    tree: Tree,
    /// Everything that was ever named.
    names: Vec<(NodeId, Vec<u8>, NodeId)>,
    sets: Vec<XattrSet>,
    position: u64,
}

fn draw_tree(draw: &mut Draw) -> Tree {
    let mut maker =
        Maker { draw, tree: Tree::new(), names: Vec::new(), sets: vec![XattrSet::EMPTY], position: 0 };
    for _ in 0..2000 {
        if maker.draw.is_done() {
            break;
        }
        maker.step();
    }
    maker.tree
}

impl Maker<'_, '_> {
    fn step(&mut self) {
        let parent = self.directory();
        match self.draw.below(16) {
            0..=2 => self.add(parent, Kind::Directory(Directory::default())),
            3..=6 => {
                let content = self.content();
                self.add(parent, Kind::File(content));
            }
            7 => {
                let len = self.draw.of(&[1, 5, 59, 60, 61, 255, 1024, 4095]);
                let fill = self.draw.byte() | 1;
                let mut target = vec![fill; len];
                // `ext4-view` wants names that could be.
                target.iter_mut().step_by(200).for_each(|c| *c = b'/');
                self.add(parent, Kind::Symlink(target.into()));
            }
            8 => {
                let major = self.draw.of(&[0, 1, 255, 256, 4095]);
                let device = Device { major, minor: self.draw.of(&[0, 3, 255, 256, 0xf_ffff]) };
                let kind =
                    if self.draw.one_in(2) { Kind::CharDevice(device) } else { Kind::BlockDevice(device) };
                self.add(parent, kind);
            }
            9 => {
                let kind = if self.draw.one_in(2) { Kind::Fifo } else { Kind::Socket };
                self.add(parent, kind);
            }
            10 | 11 => {
                let Some((_, _, id)) = self.some_name() else { return };
                let node = self.tree.node(id);
                if node.names() > 0 && node.as_directory().is_none() {
                    let name = self.name();
                    self.tree.link(parent, &name, id).unwrap();
                    self.names.push((parent, name, id));
                }
            }
            12 => self.many(parent),
            13 => {
                let Some((parent, name, _)) = self.some_name() else { return };
                // Its directory may be gone.
                let _ = self.tree.remove(parent, &name);
            }
            14 => {
                // Something else under a name that is there.
                let Some((parent, name, _)) = self.some_name() else { return };
                if self.tree.node(parent).as_directory().is_some() {
                    let meta = self.meta();
                    let content = self.content();
                    let id = self.tree.insert(parent, &name, meta, Kind::File(content)).unwrap();
                    self.names.push((parent, name, id));
                }
            }
            _ => self.xattrs(),
        }
    }

    /// A directory that is there.
    fn directory(&mut self) -> NodeId {
        match self.draw.below(3) {
            0 => NodeId::ROOT,
            _ => match self.some_name() {
                Some((_, _, id)) if self.tree.node(id).as_directory().is_some() => id,
                Some((parent, ..)) if self.tree.node(parent).as_directory().is_some() => parent,
                _ => NodeId::ROOT,
            },
        }
    }

    fn some_name(&mut self) -> Option<(NodeId, Vec<u8>, NodeId)> {
        let count = self.names.len() as u64;
        // The youngest ones are at hand.
        let back = if self.draw.one_in(2) { self.draw.below(3) } else { self.draw.below(count.max(1)) };
        let index = count.checked_sub(1 + back)?;
        Some(self.names[usize::try_from(index).unwrap()].clone())
    }

    fn add(&mut self, parent: NodeId, kind: Kind) {
        let (name, meta) = (self.name(), self.meta());
        let id = self.tree.insert(parent, &name, meta, kind).unwrap();
        self.names.push((parent, name, id));
    }

    /// Enough names for a hash tree.
    fn many(&mut self, parent: NodeId) {
        let count = self.draw.of(&[20, 90, 300, 700]);
        let len = self.draw.of(&[4, 12, 100, 250]);
        let seed = self.draw.byte();
        let meta = self.meta();
        for n in 0..count {
            let mut name = format!("{n:03x}").into_bytes();
            name.resize(len, seed.wrapping_add(name[2]).max(b'0'));
            self.tree.insert(parent, &name, meta.clone(), Kind::File(Content::empty())).unwrap();
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let len = self.draw.of(&[1, 2, 3, 8, 20, 254, 255]);
        let mut name = self.draw.bytes(len.min(8)).to_vec();
        let fill = name.last().copied().unwrap_or(b'x');
        if len > 8 {
            name.resize(len, fill);
        }
        name.iter_mut().filter(|c| matches!(**c, 0 | b'/')).for_each(|c| *c = b'_');
        if matches!(&name[..], b"" | b"." | b"..") { b"dot".to_vec() } else { name }
    }

    fn meta(&mut self) -> Meta {
        let draw = &mut *self.draw;
        let flags = draw.byte();
        let mut meta = Meta::new(draw.of(&[0o755, 0o644, 0o7777, 0, 0o4711]), time(draw));
        if flags & 1 != 0 {
            meta.uid = draw.of(&[1, 65_535, 65_536, u32::MAX - 1]);
            meta.gid = draw.of(&[0, 100, 65_534, 1 << 20]);
        }
        if flags & 6 == 6 {
            let times = Times {
                atime: Some(time(draw)).filter(|_| flags & 8 != 0),
                ctime: Some(time(draw)).filter(|_| flags & 16 != 0),
                crtime: Some(time(draw)).filter(|_| flags & 32 != 0),
            };
            meta.times = Some(Box::new(times));
        }
        if flags & 0xc0 == 0xc0 {
            meta.xattrs = draw.of(&self.sets);
        }
        meta
    }

    /// A set of attributes for what comes.
    fn xattrs(&mut self) {
        let draw = &mut *self.draw;
        let names = [
            &b"user.a"[..],
            b"user.b",
            b"user.",
            b"trusted.overlay.opaque",
            b"security.selinux",
            b"security.capability",
            b"system.x",
        ];
        let count = draw.below(6);
        let set = (0..count)
            .map(|_| {
                let mut name = draw.of(&names).to_vec();
                if draw.one_in(4) {
                    let len = draw.of(&[20, 100, 255]);
                    name.resize(len, draw.byte().max(1));
                }
                let len = draw.of(&[0, 1, 4, 20, 60, 100, 500, 2000, 4000, 9000, 65_536]);
                (name.into_boxed_slice(), vec![draw.byte(); len].into_boxed_slice())
            })
            .collect();
        let set = self.tree.intern(set).unwrap();
        self.sets.push(set);
    }

    fn content(&mut self) -> Content {
        match self.draw.below(8) {
            0 => Content::empty(),
            1 | 2 => Content::bytes(self.draw.bytes(20)),
            3 => self.stored(1),
            4 | 5 => {
                let len = self.draw.of(&[4095, 4096, 4097, 8192, 70_000, 300_000]);
                self.stored(len)
            }
            6 => {
                let mut at = 0;
                let mut segments = Vec::new();
                for _ in 0..1 + self.draw.below(6) {
                    at += self.draw.of(&[0, 1, 511, 4096, 4097, 1 << 20, 1 << 32, (1 << 43) + 7]);
                    let len = self.draw.of(&[1, 512, 4096, 4095, 9000]);
                    segments.push(self.segment(at, len));
                    at += len;
                }
                let size = at + self.draw.of(&[0, 1, 4096, 1 << 41]);
                Content::sparse(size, segments).unwrap()
            }
            // Pieces in a row: more extents than an inode holds, or than a block does.
            _ => {
                let (count, step) =
                    (self.draw.of(&[4, 5, 340, 341, 1500]), self.draw.of(&[4097, 8192, 9000]));
                let segments: Vec<_> = (0..count).map(|n| self.segment(n * step, 10)).collect();
                Content::sparse(count * step, segments).unwrap()
            }
        }
    }

    fn stored(&mut self, len: u64) -> Content {
        let segment = self.segment(0, len);
        Content::stored(segment.at, len)
    }

    fn segment(&mut self, offset: u64, len: u64) -> Segment {
        let at = Position::new(0, self.position).unwrap();
        self.position += len;
        Segment { offset, len, at }
    }
}

fn time(draw: &mut Draw) -> Timestamp {
    let seconds: &[i64] = if draw.one_in(32) {
        &[-1, -0x8000_0000, i64::MIN, 0x8000_0000]
    } else {
        &[1_700_000_000, 0, 0x7fff_ffff, 0x1_0000_0000, 0x3_7fff_ffff, i64::MAX]
    };
    Timestamp { sec: draw.of(seconds), nsec: draw.of(&[0, 1, 999_999_999, 500_000_000]) }
}
