//! Bytes of an archive to a tree, and on to a disk.

use std::collections::BTreeMap;
use std::io::{Cursor, Seek as _, Write as _};

use lfs_image::archive::Store;
use lfs_image::image::{Boot, PartitionTable};
use lfs_image::sink::NullSink;
use lfs_image::tree::{Content, Kind, NodeId, ReadAt};
use lfs_image::{Image, ImageSpec, Input, ReadOptions, Result, Tree, read_archives};

/// The most that is unpacked.
const MAX_SIZE: u64 = 8 << 20;

/// Reads the bytes as an archive, in a file and through a pipe: both give the same tree, or both are refused. The tree can then
/// be made into a disk, or is refused for a reason that names itself.
///
/// Nearly every change of a tar header makes its checksum wrong, so unless the last byte is odd the checksums are mended first.
pub fn archive(input: &[u8]) {
    let mut bytes = input.to_vec();
    let flags = bytes.pop().unwrap_or(1);
    if flags & 1 == 0 {
        mend(&mut bytes);
    }
    let options = options(flags);
    let layers = |make: &dyn Fn(&str, &[u8]) -> Input| -> Vec<Input> {
        match bytes.len() / 2 / 512 * 512 {
            // The same bytes as two layers.
            half if flags & 8 != 0 && half > 0 => vec![make("a", &bytes[..half]), make("b", &bytes[half..])],
            _ => vec![make("a", &bytes)],
        }
    };
    let in_file = read(layers(&|name, bytes| Input::file(name, file(bytes))), &options);
    let piped = read(layers(&|name, bytes| Input::reader(name, Cursor::new(bytes.to_vec()))), &options);
    let ((tree, store), (other, other_store)) = match (in_file, piped) {
        (Ok(in_file), Ok(piped)) => (in_file, piped),
        (Err(a), Err(b)) => {
            said(&a);
            return said(&b);
        }
        // A pipe's content is bounded, a file's is there already.
        (Ok(_), Err(b)) if b.kind() == lfs_image::ErrorKind::Capacity => return said(&b),
        (a, b) => panic!("a file and a pipe differ: {:?} and {:?}", a.err(), b.err()),
    };
    let listing = of_tree(&tree, &store);
    assert!(listing == of_tree(&other, &other_store), "a file and a pipe give different trees");
    store.verify_unchanged().unwrap();
    let spec = ImageSpec::new().table(PartitionTable::None).boot(Boot::None).size(64 << 20).ea_inode(true);
    match Image::plan(tree, &store, &spec) {
        Ok(image) => drop(image.write(&store, NullSink::default(), &mut ()).unwrap()),
        Err(error) => said(&error),
    }
}

fn options(flags: u8) -> ReadOptions {
    let mut options = ReadOptions::new("/dev/shm");
    options.max_size = Some(MAX_SIZE);
    options.whiteouts = flags & 2 != 0;
    options.keep_directory_symlinks = flags & 4 != 0;
    options
}

fn read(inputs: Vec<Input>, options: &ReadOptions) -> Result<(Tree, Store)> {
    read_archives(inputs, options, &mut ())
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// An error has something to say, and not too much.
pub fn said(error: &lfs_image::Error) {
    assert!(error.kind() != lfs_image::ErrorKind::Internal, "{error:?}");
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        let text = error.to_string();
        assert!(!text.is_empty() && text.len() < 16_384, "{} bytes of words", text.len());
        source = error.source();
    }
}

/// Makes the checksums of headers right, as far as one header leads to the next.
pub fn mend(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + 512) {
        at += 512;
        if block.iter().all(|byte| *byte == 0)
            || block.starts_with(b"\x1f\x8b")
            || block.starts_with(b"\x28\xb5")
        {
            continue;
        }
        let sum = block[..148].iter().chain(&block[156..]).map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = block[124..136].iter().take_while(|c| matches!(c, b'0'..=b'7'));
        let size = digits.fold(0_usize, |n, c| n << 3 | usize::from(c - b'0'));
        // A link's size counts for nothing.
        if !matches!(block[156], b'1'..=b'6') {
            at = at.saturating_add(size.next_multiple_of(512));
        }
    }
}

/// A tree as lines, to compare it with another one: path by path, inodes by the order in which they are met.
fn of_tree(tree: &Tree, store: &dyn ReadAt) -> Vec<String> {
    let mut lines = Vec::new();
    let mut numbers = BTreeMap::new();
    let mut todo = vec![(Vec::new(), NodeId::ROOT)];
    while let Some((name, id)) = todo.pop() {
        let next = numbers.len();
        let number = *numbers.entry(id).or_insert(next);
        let node = tree.node(id);
        let what = match &node.kind {
            Kind::Directory(directory) => {
                todo.extend(directory.iter().map(|(name, id)| (name.to_vec(), id)));
                format!("{} entries", directory.len())
            }
            Kind::File(content) => of_content(content, store),
            Kind::Symlink(target) => target.escape_ascii().to_string(),
            Kind::CharDevice(device) | Kind::BlockDevice(device) => format!("{device:?}"),
            Kind::Fifo | Kind::Socket => String::new(),
        };
        let (noun, names) = (node.kind.noun(), node.names());
        let mut meta = node.meta.clone();
        let xattrs = tree.xattrs(std::mem::take(&mut meta.xattrs));
        lines.push(format!("{} {number} {noun} {names} {meta:?} {xattrs:?} {what}", name.escape_ascii()));
    }
    lines
}

fn of_content(content: &Content, store: &dyn ReadAt) -> String {
    let mut text = format!("{} bytes", content.size());
    for (at, len) in content.runs().take(1000) {
        // All of a small archive is there.
        let bytes = content.read(store, at, len.min(1 << 20)).unwrap();
        text += &format!(" {at}+{len} {:08x}", crc32c::crc32c(&bytes));
    }
    text
}
