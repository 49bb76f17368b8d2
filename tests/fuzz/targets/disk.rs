//! Damaged disks, through the command's own reading of filesystems, too.
#![no_main]
#![allow(dead_code)]

#[path = "../bodies/mod.rs"]
mod bodies;
#[path = "../../../lfs-image-cli/src/ext4_dirs.rs"]
mod ext4_dirs;
#[path = "../../../lfs-image-cli/src/ext4_extents.rs"]
mod ext4_extents;
#[path = "../../../lfs-image-cli/src/ext4_raw.rs"]
mod ext4_raw;
#[path = "../../../lfs-image-cli/src/ext4_tree.rs"]
mod ext4_tree;
#[path = "../../../lfs-image-cli/src/ext4_xattrs.rs"]
mod ext4_xattrs;
#[path = "../filesystems.rs"]
mod filesystems;
#[path = "../../../lfs-image-cli/src/usage.rs"]
mod usage;

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::disk::disk(input, &mut filesystems::filesystems));
