//! Hash tree directories, written full in one go.
//!
//! ```text
//! block 0: . .. | hash version, levels | limit count block | hash block | …      (507 entries)
//!    blocks 1..: fake entry | limit count block | hash block | …                 (510 entries; only above 507 leaves)
//!       leaves: linear blocks, names sorted by hash
//! ```
//!
//! An index entry's hash is the smallest in its leaf; bit 0 says that names with that hash are in the leaf before it, too.
//! The first entry of an index block has no hash: `limit` and `count` take its place. Source: kernel documentation, "Hash
//! Tree Directories" (`directory.rst`), and `fs/ext4/namei.c` where they differ: an interior node's count lies at byte 8.
//!
//! Left out: a third level, which needs the feature `large_dir`.

use zerocopy::IntoBytes;

use super::dirs::{self, Named, ROOM, entry_len};
use super::geometry::BLOCK_SIZE;
use super::hash::half_md4;
use super::records::dir::{DxCountLimit, DxEntry, DxRootInfo, DxTail};
use super::records::superblock::DX_HASH_HALF_MD4;
use crate::error::{Error, Result};
use crate::raw::crc::crc32c;
use crate::raw::num::{index, lo16, lo32};
use crate::tree::Directory;

/// Index entries of the first block: 32 bytes are before them, 8 behind.
const ROOT_LIMIT: usize = (index(BLOCK_SIZE) - 32 - 8) / 8;
/// Index entries of an interior block.
const NODE_LIMIT: usize = (index(BLOCK_SIZE) - 8 - 8) / 8;

/// How the names of one large directory are spread over leaves.
#[derive(Clone, Debug)]
pub(crate) struct HashTree {
    /// Hash of each name, and which it is in byte order of the names; sorted by hash.
    order: Vec<(u32, u32)>,
    /// Where in `order` each leaf starts.
    leaves: Vec<u32>,
}

impl HashTree {
    /// Sorts and packs the names of a directory.
    pub(crate) fn new(directory: &Directory, hash_seed: &[u8; 16]) -> Result<Self> {
        let too_many = || {
            Error::capacity(format!(
                "a directory of {} entries: more than {} blocks of names need the ext4 feature large_dir",
                directory.len(),
                ROOT_LIMIT * NODE_LIMIT
            ))
        };
        let mut sorted = Vec::with_capacity(directory.len());
        for ((name, _), nth) in directory.iter().zip(0u32..) {
            sorted.push((half_md4(hash_seed, name), nth, name.len()));
        }
        if sorted.len() != directory.len() {
            return Err(too_many());
        }
        sorted.sort_unstable();
        let mut leaves = vec![0];
        let mut room = ROOM;
        for ((_, _, len), at) in sorted.iter().zip(0u32..) {
            let len = (8 + len).next_multiple_of(4);
            if len > room {
                leaves.push(at);
                room = ROOM;
            }
            room -= len;
        }
        if leaves.len() > ROOT_LIMIT * NODE_LIMIT {
            return Err(too_many());
        }
        Ok(Self { order: sorted.into_iter().map(|(hash, nth, _)| (hash.major, nth)).collect(), leaves })
    }

    /// Interior blocks between the first block and the leaves.
    fn nodes(&self) -> usize {
        if self.leaves.len() <= ROOT_LIMIT { 0 } else { self.leaves.len().div_ceil(NODE_LIMIT) }
    }

    /// Blocks of the whole directory.
    pub(crate) fn blocks(&self) -> u64 {
        (1 + self.nodes() + self.leaves.len()) as u64
    }

    /// The hash under which a leaf is found.
    fn leaf_hash(&self, leaf: usize) -> u32 {
        let first = self.leaves[leaf] as usize;
        let hash = self.order[first].0;
        let continued = first > 0 && self.order[first - 1].0 == hash;
        hash | u32::from(continued)
    }

    /// Renders block after block, in order, of a directory whose checksums start from `seed`. `names` are the entries in
    /// byte order; `next` hands out a zeroed block.
    pub(crate) fn render<F>(
        &self,
        dots: &[Named<'_>; 2],
        names: &[Named<'_>],
        seed: u32,
        mut next: F,
    ) -> Result<()>
    where
        F: FnMut(&mut dyn FnMut(&mut [u8])) -> Result<()>,
    {
        let nodes = self.nodes();
        let leaf_block = |leaf: usize| lo32((1 + nodes + leaf) as u64);
        let leaf_entry = |leaf: usize| (self.leaf_hash(leaf), leaf_block(leaf));
        let all: Vec<usize> = (0..self.leaves.len()).collect();
        next(&mut |block| {
            let [dot, dotdot] = dots;
            let at = dirs::put(block, dot, entry_len(dot.name));
            dirs::put(&mut block[at..], dotdot, index(BLOCK_SIZE) - at);
            let info = DxRootInfo {
                reserved_zero: 0.into(),
                hash_version: DX_HASH_HALF_MD4,
                info_length: 8,
                indirect_levels: u8::from(nodes > 0),
                unused_flags: 0,
            };
            block[24..32].copy_from_slice(info.as_bytes());
            if nodes == 0 {
                put_index(block, 32, ROOT_LIMIT, all.iter().map(|leaf| leaf_entry(*leaf)), seed);
            } else {
                let entries =
                    (0..nodes).map(|node| (self.leaf_hash(node * NODE_LIMIT), lo32(1 + node as u64)));
                put_index(block, 32, ROOT_LIMIT, entries, seed);
            }
        })?;
        if nodes > 0 {
            for leaves in all.chunks(NODE_LIMIT) {
                next(&mut |block| {
                    dirs::put(block, &Named { name: b"", ino: 0, file_type: 0 }, index(BLOCK_SIZE));
                    put_index(block, 8, NODE_LIMIT, leaves.iter().map(|leaf| leaf_entry(*leaf)), seed);
                })?;
            }
        }
        for leaf in 0..self.leaves.len() {
            let end = self.leaves.get(leaf + 1).map_or(self.order.len(), |end| *end as usize);
            let part = &self.order[self.leaves[leaf] as usize..end];
            next(&mut |block| dirs::render(block, part.iter().map(|(_, nth)| names[*nth as usize]), seed))?;
        }
        Ok(())
    }
}

/// Writes the index entries (hash and block) from byte `at` on, and the checksum in the last 8 bytes.
fn put_index(
    block: &mut [u8],
    at: usize,
    limit: usize,
    entries: impl ExactSizeIterator<Item = (u32, u32)>,
    seed: u32,
) {
    let count = entries.len();
    for (n, (hash, child)) in entries.enumerate() {
        let bytes = &mut block[at + 8 * n..at + 8 * n + 8];
        if n == 0 {
            let first = DxCountLimit {
                limit: lo16(lo32(limit as u64)).into(),
                count: lo16(lo32(count as u64)).into(),
                block: child.into(),
            };
            bytes.copy_from_slice(first.as_bytes());
        } else {
            bytes.copy_from_slice(DxEntry { hash: hash.into(), block: child.into() }.as_bytes());
        }
    }
    // The sum covers the entries in use, then the tail as it is while its sum is zero.
    let sum = crc32c(crc32c(seed, &block[..at + 8 * count]), &[0; 8]);
    let tail = DxTail { dt_reserved: 0.into(), dt_checksum: sum.into() };
    block[at + 8 * limit..at + 8 * limit + 8].copy_from_slice(tail.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tree;
    use crate::tree::{Kind, Meta, NodeId};

    #[test]
    fn leaves_are_sorted_and_full() {
        let mut tree = Tree::new();
        for n in 0..2000 {
            tree.insert(NodeId::ROOT, format!("file-{n:06}").as_bytes(), Meta::default(), Kind::Fifo)
                .unwrap();
        }
        let directory = tree.node(NodeId::ROOT).as_directory().unwrap();
        let htree = HashTree::new(directory, &[1; 16]).unwrap();
        assert!(htree.order.is_sorted_by_key(|(hash, _)| *hash));
        // 20 bytes each, 204 to a leaf.
        assert_eq!(htree.leaves.len(), 10);
        assert_eq!(htree.blocks(), 11);
    }
}
