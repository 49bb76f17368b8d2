//! The names in a directory, and its checksums.

use std::collections::BTreeSet;

use lfs_image::Result;

use crate::ext4_extents::Extent;
use crate::ext4_raw::{Inode, Raw, checksum, le16, le32};

/// What a block ends with where there are checksums, and what the node of a hash tree looks like: no inode.
const NOTHING: u32 = 0;
/// The type of the entry that holds a checksum.
const TAIL: u8 = 0xde;

impl Raw {
    /// The names in a directory and the inodes that they mean. Blocks that were `seen` already are an error: a directory is
    /// never in two places.
    pub(crate) fn directory(&self, inode: &Inode, seen: &mut BTreeSet<u64>) -> Result<Vec<(Vec<u8>, u32)>> {
        let mut names = Vec::new();
        for Extent { physical, len, .. } in self.extents(inode)? {
            for number in physical..physical.saturating_add(len) {
                if !seen.insert(number) {
                    return Err(inode.fault(&format!("block {number} is in another directory, too")));
                }
                let block = self.block(number)?;
                if inode.seed.is_some_and(|seed| !is_whole(&block, seed)) {
                    return Err(inode.fault(&format!("block {number}: the checksum of its names is wrong")));
                }
                let mut at = 0;
                while at < block.len() {
                    let entry = &block[at..];
                    // The largest length doesn't fit into its field where blocks have 64 KiB.
                    let len = match le16(entry, 4) {
                        0 | u16::MAX if block.len() == 1 << 16 => block.len(),
                        len => usize::from(len),
                    };
                    let name_len = usize::from(entry.get(6).copied().unwrap_or_default());
                    if len < 8 || len > entry.len() || 8 + name_len > len {
                        return Err(
                            inode.fault(&format!("the entry at byte {at} of block {number} is damaged"))
                        );
                    }
                    let name = &entry[8..8 + name_len];
                    match le32(entry, 0) {
                        NOTHING => {}
                        _ if matches!(name, b"." | b"..") => {}
                        child => names.push((name.to_vec(), child)),
                    }
                    at += len;
                }
            }
        }
        Ok(names)
    }
}

/// Whether a block's checksum is right.
fn is_whole(block: &[u8], seed: u32) -> bool {
    let Some(tail) = block.len().checked_sub(12) else { return false };
    if le32(block, tail) == NOTHING
        && le16(block, tail + 4) == 12
        && block.get(tail + 6..tail + 8) == Some(&[0, TAIL])
    {
        return le32(block, tail + 8) == checksum(seed, &block[..tail]);
    }
    // The node of a hash tree: behind what looks like entries stand how many pairs there can be and are, then the pairs, and the
    // checksum behind the room for all.
    let at = if usize::from(le16(block, 4)) == block.len() { 8 } else { 32 };
    let (limit, count) = (usize::from(le16(block, at)), usize::from(le16(block, at + 2)));
    let tail = at + 8 * limit;
    if count > limit || tail + 8 > block.len() {
        return false;
    }
    let pairs = checksum(seed, &block[..at + 8 * count]);
    let reserved = checksum(pairs, &block[tail..tail + 4]);
    le32(block, tail + 4) == checksum(reserved, &[0; 4])
}
