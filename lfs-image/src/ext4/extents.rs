//! Extent trees: from runs of blocks to the 60 bytes of `i_block` and, where they don't suffice, tree blocks.
//!
//! ```text
//! i_block: header, up to 4 extents             or   header, up to 4 indexes
//!                                                            |
//!                                              block: header, up to 340 extents or indexes, checksum
//! ```
//!
//! Source: kernel documentation, "Extent Tree" (`ifork.rst`). Tree blocks follow the data they map: leaves first, then
//! the levels above them. All are written full.

use zerocopy::{FromZeros, IntoBytes};

use super::geometry::{BLOCK_SIZE, Geometry, Runs};
use super::records::extent::{EXT_INIT_MAX_LEN, EXT4_EXT_MAGIC, Extent, ExtentHeader, ExtentIdx};
use crate::raw::crc::crc32c;
use crate::raw::num::{hi16, hi32, index, lo16, lo32};

/// Entries of `i_block`.
const ROOT_ENTRIES: usize = 4;
/// Entries of a tree block, which leave 4 bytes for the checksum.
const BLOCK_ENTRIES: usize = 340;

/// A run of a file's blocks: logical block, physical block, length (at most 32,768).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) len: u64,
}

/// The extents of logical ranges (start and length in blocks, ascending) whose data lies in `runs`, one after the other.
pub(crate) fn map<'a>(
    ranges: impl Iterator<Item = (u64, u64)> + 'a,
    runs: Runs<'a>,
) -> impl Iterator<Item = Mapped> + 'a {
    let mut ranges = ranges;
    let mut runs = runs;
    let mut range = (0, 0);
    let mut run = super::geometry::Run { start: 0, len: 0 };
    std::iter::from_fn(move || {
        if range.1 == 0 {
            range = ranges.next()?;
        }
        if run.len == 0 {
            run = runs.next()?;
        }
        let len = range.1.min(run.len).min(u64::from(EXT_INIT_MAX_LEN));
        let mapped = Mapped { logical: range.0, physical: run.start, len };
        range = (range.0 + len, range.1 - len);
        run = super::geometry::Run { start: run.start + len, len: run.len - len };
        Some(mapped)
    })
}

/// Tree blocks that `extents` extents need beside `i_block`.
pub(crate) fn tree_blocks(extents: usize) -> u64 {
    let mut total = 0;
    let mut entries = extents;
    while entries > ROOT_ENTRIES {
        entries = entries.div_ceil(BLOCK_ENTRIES);
        total += entries as u64;
    }
    total
}

/// A rendered tree: what goes into the inode, and the tree blocks in the order of their places.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) i_block: [u8; 60],
    pub(crate) blocks: Vec<Box<[u8]>>,
}

/// Renders the tree of an inode whose checksums start from `seed` ([`super::inode_seed`]) and whose tree blocks lie from
/// `tree_start` on.
pub(crate) fn render(extents: &[Mapped], geometry: &Geometry, tree_start: u64, seed: u32) -> Tree {
    if extents.len() <= ROOT_ENTRIES {
        return Tree { i_block: root(extents.iter().copied()), blocks: Vec::new() };
    }
    let mut places =
        geometry.runs(tree_start, tree_blocks(extents.len())).flat_map(|run| run.start..run.start + run.len);
    let mut blocks = Vec::new();
    let mut depth = 0;
    // Each entry is 12 bytes and begins with the logical block, at every level.
    let mut entries: Vec<[u8; 12]> = extents.iter().map(leaf_entry).collect();
    while entries.len() > ROOT_ENTRIES {
        let mut above = Vec::with_capacity(entries.len().div_ceil(BLOCK_ENTRIES));
        for (chunk, place) in entries.chunks(BLOCK_ENTRIES).zip(&mut places) {
            let mut block = vec![0; index(BLOCK_SIZE)].into_boxed_slice();
            fill(&mut block, chunk, BLOCK_ENTRIES, depth);
            let tail = index(BLOCK_SIZE) - 4;
            let sum = crc32c(seed, &block[..tail]);
            block[tail..].copy_from_slice(&sum.to_le_bytes());
            blocks.push(block);
            above.push(index_entry(&chunk[0], place));
        }
        entries = above;
        depth += 1;
    }
    let mut i_block = [0; 60];
    fill(&mut i_block, &entries, ROOT_ENTRIES, depth);
    Tree { i_block, blocks }
}

/// The `i_block` of up to four extents.
pub(crate) fn root(extents: impl Iterator<Item = Mapped>) -> [u8; 60] {
    let mut entries = [[0; 12]; ROOT_ENTRIES];
    let mut count = 0;
    for (entry, extent) in entries.iter_mut().zip(extents) {
        *entry = leaf_entry(&extent);
        count += 1;
    }
    let mut i_block = [0; 60];
    fill(&mut i_block, &entries[..count], ROOT_ENTRIES, 0);
    i_block
}

fn leaf_entry(extent: &Mapped) -> [u8; 12] {
    let record = Extent {
        ee_block: lo32(extent.logical).into(),
        // At most 32,768, and 32,768 itself means initialised.
        ee_len: lo16(lo32(extent.len)).into(),
        ee_start_hi: lo16(hi32(extent.physical)).into(),
        ee_start_lo: lo32(extent.physical).into(),
    };
    zerocopy::transmute!(record)
}

fn index_entry(first: &[u8; 12], block: u64) -> [u8; 12] {
    let mut record = ExtentIdx::new_zeroed();
    record.ei_block = u32::from_le_bytes([first[0], first[1], first[2], first[3]]).into();
    record.ei_leaf_lo = lo32(block).into();
    record.ei_leaf_hi = lo16(hi32(block)).into();
    zerocopy::transmute!(record)
}

fn fill(bytes: &mut [u8], entries: &[[u8; 12]], max: usize, depth: u16) {
    let header = ExtentHeader {
        eh_magic: EXT4_EXT_MAGIC.into(),
        eh_entries: lo16(lo32(entries.len() as u64)).into(),
        eh_max: lo16(lo32(max as u64)).into(),
        eh_depth: depth.into(),
        eh_generation: 0.into(),
    };
    debug_assert!(entries.len() <= max && hi16(lo32(max as u64)) == 0);
    bytes[..12].copy_from_slice(header.as_bytes());
    for (slot, entry) in bytes[12..].chunks_exact_mut(12).zip(entries) {
        slot.copy_from_slice(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_runs() {
        let geometry = Geometry::new(8 << 18, 524_288).unwrap();
        let start = geometry.next_free(0); // 9249; group 1's backup begins at 32,768 and is 1025 long
        let mapped: Vec<Mapped> =
            map([(0, 23_000), (50_000, 40_000)].into_iter(), geometry.runs(start, 63_000)).collect();
        assert_eq!(
            mapped,
            [
                Mapped { logical: 0, physical: 9249, len: 23_000 },
                Mapped { logical: 50_000, physical: 32_249, len: 519 },
                Mapped { logical: 50_519, physical: 33_793, len: 32_768 },
                Mapped { logical: 83_287, physical: 66_561, len: 6713 },
            ]
        );
    }

    #[test]
    fn trees_get_deeper_when_they_must() {
        for (extents, blocks) in [
            (0, 0),
            (4, 0),
            (5, 1),
            (340, 1),
            (341, 2),
            (1360, 4),
            (1361, 5 + 1),
            (340 * 340 * 4 + 1, 1361 + 5 + 1),
        ] {
            assert_eq!(tree_blocks(extents), blocks, "{extents}");
        }
    }

    #[test]
    fn an_empty_file_has_a_valid_header() {
        let geometry = Geometry::new(32_768, 16).unwrap();
        let tree = render(&[], &geometry, 0, 0);
        assert_eq!(tree.i_block[..12], [0x0a, 0xf3, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    }
}
