//! What the command makes of the root filesystem of a disk that is damaged: its own reader, from its own sources.

use std::sync::atomic::{AtomicU64, Ordering};

use lfs_image::check::check_public;
use lfs_image::host::Target;
use lfs_image::image::Disk;
use lfs_image::tree::{Directory, Kind, NodeId};

use crate::bodies::memory::Memory;
use crate::{ext4_tree, usage};

/// The most of a file that is read.
const HEAD: u64 = 64 << 10;

/// Reads it as `ls`, `inspect` and `check` do, and the head of each file.
pub fn filesystems(image: &Memory, disk: Option<&Disk>) {
    let Some(disk) = disk else { return };
    let Some(offset) = disk.partitions.iter().find_map(|p| p.filesystem.as_ref().map(|_| p.offset)) else {
        return;
    };
    let path = format!(
        "/dev/shm/lfs-image-fuzz-filesystem-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    image.save(path.as_ref()).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let Ok((tree, store)) = ext4_tree::read(&file, offset) else { return };
    drop(usage::of_tree(&tree, 2));
    let mut todo = vec![NodeId::ROOT];
    while let Some(id) = todo.pop() {
        let node = tree.node(id);
        todo.extend(node.as_directory().into_iter().flat_map(Directory::iter).map(|(_, id)| id));
        if let Kind::File(content) = &node.kind {
            let _ = content.read(&store, 0, content.size().min(HEAD));
        }
    }
    for target in [Target::Qemu, Target::Ec2] {
        let _ = disk.check(&tree, &store, target);
    }
    // It reads all there is, which takes ten times as long as everything before.
    static RUNS: AtomicU64 = AtomicU64::new(0);
    if RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(32) {
        let _ = check_public(&tree, &store);
    }
}
