//! Damaged disks, through the command's own reading of filesystems, too.
#![no_main]
#![allow(dead_code)]

#[path = "../bodies/mod.rs"]
mod bodies;
#[path = "../../../lfs-image-cli/src/ext4_raw.rs"]
mod ext4_raw;
#[path = "../../../lfs-image-cli/src/ext4_tree.rs"]
mod ext4_tree;
#[path = "../../../lfs-image-cli/src/ext4_xattrs.rs"]
mod ext4_xattrs;
#[path = "../../../lfs-image-cli/src/usage.rs"]
mod usage;

use bodies::memory::Memory;
use lfs_image::check::check_public;
use lfs_image::host::Target;
use lfs_image::image::Disk;

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::disk::disk(input, &mut filesystems));

/// What `inspect` and `check` make of the root filesystem.
fn filesystems(image: &Memory, disk: Option<&Disk>) {
    let Some(disk) = disk else { return };
    let found = disk.partitions.iter().find_map(|p| Some((p.offset, p.filesystem.as_ref()?.inodes)));
    let Some((offset, inodes)) = found else { return };
    let path = format!("/dev/shm/lfs-image-fuzz-filesystem-{}", std::process::id());
    image.save(path.as_ref()).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _ = usage::of_ext4(&file, offset, inodes, 2);
    let Ok((tree, store)) = ext4_tree::read(&file, offset) else { return };
    for target in [Target::Qemu, Target::Ec2] {
        let _ = disk.check(&tree, &store, target);
    }
    let _ = check_public(&tree, &store);
}
