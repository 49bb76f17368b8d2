//! A tree against the filesystem that was made of it, as `ext4-view` reads it. It verifies the checksums of what it meets:
//! superblock, descriptors, inodes, extents, directories.

use std::collections::BTreeMap;
use std::rc::Rc;

use ext4_view::{Ext4, Ext4Read};
use lfs_image::Tree;
use lfs_image::tree::{Kind, NodeId, ReadAt};

use super::memory::Memory;

struct At(Rc<Memory>, u64);

impl Ext4Read for At {
    fn read(&mut self, start: u64, dst: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.0.read(self.1 + start, dst) { Ok(()) } else { Err("behind the end".into()) }
    }
}

/// Files up to this size are compared whole.
const WHOLE: u64 = 16 << 20;
/// How much of others is compared around each end of each run of data.
const PIECE: u64 = 8192;

/// Compares them; panics where they differ.
pub fn same(tree: &Tree, store: &dyn ReadAt, image: &Rc<Memory>, offset: u64) {
    let ext4 = Ext4::load(Box::new(At(Rc::clone(image), offset))).unwrap();
    let mut todo = vec![(NodeId::ROOT, b"/".to_vec())];
    while let Some((id, path)) = todo.pop() {
        // What the reader has no words for.
        if path.len() > 4000 {
            continue;
        }
        let directory = tree.node(id).as_directory().unwrap();
        let mut found: BTreeMap<Vec<u8>, ext4_view::DirEntry> = BTreeMap::new();
        for entry in ext4.read_dir(&path[..]).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().as_ref().to_vec();
            if name != b"." && name != b".." {
                assert!(found.insert(name, entry).is_none(), "a name is there twice");
            }
        }
        for (name, child) in directory.iter() {
            let child_path = [&path[..], if path == b"/" { b"" } else { b"/" }, name].concat();
            let shown = child_path.escape_ascii().to_string();
            let entry = found.remove(name).unwrap_or_else(|| panic!("{shown} is missing"));
            if child_path.len() <= 4000 {
                node(tree, store, child, &ext4, &child_path, &entry, &shown);
            }
            if tree.node(child).as_directory().is_some() {
                todo.push((child, child_path));
            }
        }
        assert!(found.is_empty(), "too much in {}: {:?}", path.escape_ascii(), found.keys());
    }
}

fn node(
    tree: &Tree,
    store: &dyn ReadAt,
    id: NodeId,
    ext4: &Ext4,
    path: &[u8],
    entry: &ext4_view::DirEntry,
    shown: &str,
) {
    let wanted = tree.node(id);
    let found = entry.metadata().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let kind = found.file_type();
    let agrees = match &wanted.kind {
        Kind::Directory(_) => kind.is_dir(),
        Kind::File(_) => kind.is_regular_file(),
        Kind::Symlink(_) => kind.is_symlink(),
        Kind::CharDevice(_) => kind.is_char_dev(),
        Kind::BlockDevice(_) => kind.is_block_dev(),
        Kind::Fifo => kind.is_fifo(),
        Kind::Socket => kind.is_socket(),
    };
    assert!(agrees, "{shown} is a {}", wanted.kind.noun());
    let meta = &wanted.meta;
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (meta.mode, meta.uid, meta.gid), "{shown}");
    match &wanted.kind {
        Kind::Symlink(target) => {
            assert_eq!(ext4.read_link(path).unwrap().as_ref(), &**target, "{shown}");
        }
        Kind::File(content) => {
            assert_eq!(found.len(), content.size(), "{shown}");
            if content.size() <= WHOLE {
                let bytes = ext4.read(path).unwrap();
                assert!(bytes == content.read(store, 0, content.size()).unwrap(), "{shown} differs");
                return;
            }
            let mut file = ext4.open(path).unwrap();
            let mut compare = |at: u64, len: u64| {
                let len = len.min(content.size() - at);
                let mut bytes = vec![0; usize::try_from(len).unwrap()];
                file.seek_to(at).unwrap();
                let mut done = 0;
                while done < bytes.len() {
                    let n = file.read_bytes(&mut bytes[done..]).unwrap();
                    assert!(n > 0, "{shown} ends early");
                    done += n;
                }
                assert!(bytes == content.read(store, at, len).unwrap(), "{shown} differs at {at}");
            };
            compare(0, PIECE);
            // With what is around each run. The reader seeks block by block, so not too far.
            for (at, len) in content.runs().take_while(|(at, _)| *at < 4 * WHOLE).take(20) {
                compare(at.saturating_sub(PIECE), PIECE.min(at));
                compare(at, len.min(PIECE));
                compare((at + len).saturating_sub(PIECE), 2 * PIECE);
            }
        }
        _ => {}
    }
}
