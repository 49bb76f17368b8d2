//! What another reader of ext4, the `ext4-view` crate, finds in our filesystems.

use std::path::Path;

use ext4_view::{Ext4, Metadata, PathBuf};
use lfs_image::image::{Boot, PartitionTable};
use lfs_image::tree::{Content, Directory, Kind, Meta, NodeId, Position, ReadAt, Segment, Timestamp};
use lfs_image::{FileSink, Image, ImageSpec, Tree};

use crate::archive;
use crate::judge::program;

/// A bare filesystem of the tree in a file.
fn write(tree: Tree, store: &(dyn ReadAt + Sync), spec: ImageSpec, out: &Path) {
    let spec = spec.table(PartitionTable::None).boot(Boot::None);
    let image = Image::plan(tree, store, &spec).unwrap();
    image.write(store, FileSink::create(out).unwrap(), &mut ()).unwrap();
    let clean = program("e2fsck").arg("-fn").arg(out).output();
    match clean {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "e2fsck: {error}");
            eprintln!("SKIPPED: e2fsck is missing");
        }
    }
}

/// What differs, by path; and how many inodes were seen.
fn differences(tree: &Tree, store: &dyn ReadAt, view: &Ext4) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let mut count = 0;
    let mut todo = vec![(PathBuf::new("/"), NodeId::ROOT)];
    while let Some((path, id)) = todo.pop() {
        count += 1;
        let shown = path.display().to_string();
        let node = tree.node(id);
        // It knows no times before 1970, and says so of the inode.
        let there = match view.symlink_metadata(&path) {
            Ok(there) => there,
            Err(error) if node.meta.mtime.sec < 0 || early(&node.meta) => {
                assert!(error.to_string().contains("inode"), "{shown}: {error}");
                continue;
            }
            Err(error) => {
                found.push(format!("{shown}: {error}"));
                continue;
            }
        };
        let mut same = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                found.push(format!("{shown}: {what} {ours}, found {theirs}"));
            }
        };
        let stamp = |meta: &Meta| format!("{}.{:09}", meta.mtime.sec, meta.mtime.nsec);
        let stamp_of = |there: &Metadata| {
            format!("{}.{:09}", there.modified().seconds(), there.modified().nanoseconds())
        };
        same("mode", format!("{:o}", node.meta.mode), format!("{:o}", there.mode()));
        same("owner", node.meta.uid.to_string(), there.uid().to_string());
        same("group", node.meta.gid.to_string(), there.gid().to_string());
        same("modified", stamp(&node.meta), stamp_of(&there));
        let kind = there.file_type();
        match &node.kind {
            Kind::Directory(directory) => {
                same(
                    "kind",
                    "directory".to_owned(),
                    if kind.is_dir() { "directory" } else { "?" }.to_owned(),
                );
                let mut theirs: Vec<Vec<u8>> = view
                    .read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().as_ref().to_vec())
                    .filter(|name| !matches!(&name[..], b"." | b".." | b"lost+found"))
                    .collect();
                theirs.sort();
                let ours: Vec<Vec<u8>> = directory
                    .iter()
                    .map(|(name, _)| name.to_vec())
                    .filter(|name| name != b"lost+found")
                    .collect();
                same("entries", format!("{ours:?}"), format!("{theirs:?}"));
                // Each by its name too: that is the hash tree's way.
                todo.extend(directory.iter().map(|(name, child)| (path.join(name), child)));
            }
            Kind::File(content) => {
                same("kind", "file".to_owned(), if kind.is_regular_file() { "file" } else { "?" }.to_owned());
                same("size", content.size().to_string(), there.len().to_string());
                let mut file = view.open(&path).unwrap();
                for (offset, len) in content.runs() {
                    let ours = content.read(store, offset, len).unwrap();
                    let mut theirs = vec![0; ours.len()];
                    file.seek_to(offset).unwrap();
                    let mut at = 0;
                    while at < theirs.len() {
                        let read = file.read_bytes(&mut theirs[at..]).unwrap();
                        assert_ne!(read, 0, "{shown} ends after {at} bytes");
                        at += read;
                    }
                    if ours != theirs {
                        same("content", format!("at {offset}"), "other".to_owned());
                    }
                }
            }
            Kind::Symlink(target) => {
                // It wants a path that could be there; Linux doesn't.
                let possible = target.split(|byte| *byte == b'/').all(|name| name.len() <= 255);
                let theirs = match view.read_link(&path) {
                    Ok(theirs) => theirs,
                    Err(error) => {
                        assert!(!possible, "{shown}: {error}");
                        continue;
                    }
                };
                same("target", format!("{target:?}"), format!("{:?}", theirs.as_ref() as &[u8]));
            }
            Kind::CharDevice(_) => same("kind", "true".to_owned(), kind.is_char_dev().to_string()),
            Kind::BlockDevice(_) => same("kind", "true".to_owned(), kind.is_block_dev().to_string()),
            Kind::Fifo => same("kind", "true".to_owned(), kind.is_fifo().to_string()),
            Kind::Socket => same("kind", "true".to_owned(), kind.is_socket().to_string()),
        }
    }
    (found, count)
}

/// Whether any of its other times is before 1970.
fn early(meta: &Meta) -> bool {
    let Some(times) = &meta.times else { return false };
    [times.atime, times.ctime, times.crtime].into_iter().flatten().any(|time| time.sec < 0)
}

#[test]
fn every_fixture_is_what_another_reader_finds() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.img");
    let mut count = 0;
    for path in archive::fixtures() {
        let (tree, store) = archive::open(&path).unwrap();
        write(tree, &store, ImageSpec::new().size(64 << 20), &out);
        let (tree, store) = archive::open(&path).unwrap();
        let view = Ext4::load_from_path(&out).unwrap();
        let (differences, seen) = differences(&tree, &store, &view);
        assert!(differences.is_empty(), "{}: {differences:#?}", archive::name(&path));
        assert!(seen > 1);
        count += 1;
    }
    assert!(count >= 19);
}

#[test]
fn the_other_reader_sees_a_changed_byte() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.img");
    let path = archive::fixtures().into_iter().find(|path| path.ends_with("gnu-posix.tar")).unwrap();
    let (tree, store) = archive::open(&path).unwrap();
    write(tree, &store, ImageSpec::new().size(64 << 20), &out);
    let (tree, store) = archive::open(&path).unwrap();
    // A byte of some file's content.
    let (content, _) = {
        let mut todo = vec![NodeId::ROOT];
        loop {
            let node = tree.node(todo.pop().unwrap());
            match &node.kind {
                Kind::Directory(directory) => todo.extend(directory.iter().map(|(_, child)| child)),
                Kind::File(content) if content.size() > 4 => {
                    break (content.read(&store, 0, content.size()).unwrap(), ());
                }
                _ => {}
            }
        }
    };
    let mut bytes = std::fs::read(&out).unwrap();
    let at =
        bytes.chunks_exact(4096).position(|block| block.starts_with(&content[..content.len().min(4096)]));
    bytes[at.unwrap() * 4096] ^= 1;
    std::fs::write(&out, bytes).unwrap();
    let (differences, _) = differences(&tree, &store, &Ext4::load_from_path(&out).unwrap());
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains("content at 0"), "{differences:?}");
}

/// Every block of it begins with its number.
struct Numbered;

impl ReadAt for Numbered {
    fn read_exact_at(&self, at: Position, buf: &mut [u8]) -> lfs_image::Result<()> {
        for (byte, offset) in buf.iter_mut().zip(at.offset()..) {
            let number = (offset / 4096).to_le_bytes();
            *byte = usize::try_from(offset % 4096).ok().and_then(|i| number.get(i)).copied().unwrap_or(0);
        }
        Ok(())
    }
}

#[test]
fn a_file_whose_extents_need_a_tree_of_three_levels() {
    // 4 entries in the inode, 340 in a block: more than 4 * 340 * 340 extents.
    let pieces = 463_000;
    let segments: Vec<Segment> = (0..pieces)
        .map(|n| Segment { offset: n * 8192, len: 4096, at: Position::new(0, n * 4096).unwrap() })
        .collect();
    let mut tree = Tree::new();
    let meta = Meta::new(0o644, Timestamp::from_secs(1_700_000_000));
    let content = Content::sparse(pieces * 8192, segments).unwrap();
    let dir = tree.insert(NodeId::ROOT, b"d", meta.clone(), Kind::Directory(Directory::default())).unwrap();
    tree.insert(dir, b"pieces", meta, Kind::File(content)).unwrap();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let out = folder.path().join("out.img");
    write(tree, &Numbered, ImageSpec::new(), &out);
    let view = Ext4::load_from_path(&out).unwrap();
    let mut file = view.open("/d/pieces").unwrap();
    assert_eq!(file.metadata().len(), pieces * 8192);
    for n in (0..pieces).step_by(997).chain([pieces - 1]) {
        let mut block = [0xff; 8];
        file.seek_to(n * 8192).unwrap();
        assert_eq!(file.read_bytes(&mut block).unwrap(), 8);
        assert_eq!(u64::from_le_bytes(block), n);
        file.seek_to(n * 8192 + 4096).unwrap();
        assert_eq!(file.read_bytes(&mut block).unwrap(), 8);
        assert_eq!(block, [0; 8]);
    }
    // The depth is in the inode's extent header.
    let dump = program("debugfs").args(["-R", "dump_extents -n /d/pieces"]).arg(&out).output();
    if let Ok(dump) = dump {
        let text = String::from_utf8_lossy(&dump.stdout).into_owned();
        assert!(
            text.lines().any(|line| line.trim_start().starts_with("0/ 3")),
            "{}",
            &text[..text.len().min(500)]
        );
    }
}
