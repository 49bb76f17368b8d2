//! What must be true of an ext4 filesystem of 4 KiB blocks, read anew from its bytes: no block has two owners, the bitmaps say
//! who owns what, counts add up, links are as many as names. Not as thorough as e2fsck, but a thousand times as fast.
//!
//! Checksums of bitmaps are verified here; those of everything else by `ext4-view` in [`super::same`].
//!
//! Source: Documentation/filesystems/ext4 in Linux.

use std::collections::BTreeMap;

use super::memory::Memory;

const BLOCK: u64 = 4096;
const ROOT: u64 = 2;
const RESIZE: u64 = 7;
const JOURNAL: u64 = 8;

fn le(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// A number in two halves.
fn halves(bytes: &[u8], (low, low_len): (usize, usize), (high, high_len): (usize, usize)) -> u64 {
    le(bytes, low, low_len) | le(bytes, high, high_len) << (8 * low_len)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    Fixed(&'static str),
    Inode(u64),
    Attributes,
}

struct Check<'a> {
    image: &'a Memory,
    offset: u64,
    blocks: u64,
    ea_inode: bool,
    /// Block by block, who owns it.
    owners: Vec<Option<Owner>>,
    /// References of blocks of attributes: how many there are.
    attributes: BTreeMap<u64, u64>,
    links: BTreeMap<u64, u64>,
}

/// Checks the filesystem at `offset` of an image; panics with what is wrong.
pub fn fsck(image: &Memory, offset: u64) {
    let sb = image.get(offset + 1024, 1024);
    assert_eq!(le(&sb, 0x38, 2), 0xef53);
    assert_eq!((le(&sb, 0x14, 4), le(&sb, 0x18, 4)), (0, 2), "first block, size of blocks");
    let blocks = halves(&sb, (0x04, 4), (0x150, 4));
    let [inodes, per_group, inodes_per_group] = [0x00, 0x20, 0x28].map(|at| le(&sb, at, 4));
    let (inode_size, desc_size, first_ino) = (le(&sb, 0x58, 2), le(&sb, 0xfe, 2), le(&sb, 0x54, 4));
    assert_eq!((inode_size, desc_size), (256, 64));
    assert!(blocks * BLOCK <= image.len - offset, "the filesystem is longer than its place");
    let groups = blocks.div_ceil(per_group);
    assert_eq!(inodes, groups * inodes_per_group);
    let seed = sum(!0, &sb[0x68..0x78]);
    let orphans = le(&sb, 0x280, 4);
    let mut check = Check {
        image,
        offset,
        blocks,
        ea_inode: le(&sb, 0x60, 4) & 0x400 != 0,
        owners: vec![None; size(blocks)],
        attributes: BTreeMap::new(),
        links: BTreeMap::new(),
    };

    let desc_blocks = (groups * desc_size).div_ceil(BLOCK);
    let reserved_gdt = le(&sb, 0xce, 2);
    let descriptors = check.read(BLOCK, desc_blocks * BLOCK);
    let desc = |group: u64| {
        let at = size(group * desc_size);
        descriptors[at..at + 64].to_vec()
    };
    let table_blocks = inodes_per_group * inode_size / BLOCK;
    for group in 0..groups {
        if has_super(group) {
            check.claim(group * per_group, 1 + desc_blocks + reserved_gdt, Owner::Fixed("descriptors"));
        }
        let d = desc(group);
        check.claim(halves(&d, (0, 4), (0x20, 4)), 1, Owner::Fixed("block bitmap"));
        check.claim(halves(&d, (4, 4), (0x24, 4)), 1, Owner::Fixed("inode bitmap"));
        check.claim(halves(&d, (8, 4), (0x28, 4)), table_blocks, Owner::Fixed("inode table"));
    }

    let mut all_free_inodes = 0;
    let mut kept = Vec::new();
    for group in 0..groups {
        let d = desc(group);
        let flags = le(&d, 0x12, 2);
        let unused = halves(&d, (0x1c, 2), (0x32, 2));
        let free = halves(&d, (0x0e, 2), (0x2e, 2));
        all_free_inodes += free;
        if flags & 1 != 0 {
            assert_eq!(
                (free, unused),
                (inodes_per_group, inodes_per_group),
                "group {group} is uninitialised"
            );
            assert_eq!(halves(&d, (0x10, 2), (0x30, 2)), 0);
            continue;
        }
        let bitmap = check.read(halves(&d, (4, 4), (0x24, 4)) * BLOCK, BLOCK);
        assert_eq!(
            u64::from(sum(seed, &bitmap[..size(inodes_per_group / 8)])),
            halves(&d, (0x1a, 2), (0x3a, 2)),
            "inode bitmap of group {group}"
        );
        let mut used = 0;
        let mut directories = 0;
        for index in 0..inodes_per_group {
            let is_used = bitmap[size(index / 8)] >> (index % 8) & 1 == 1;
            if !is_used {
                continue;
            }
            assert!(index < inodes_per_group - unused, "a used inode in the unused part of group {group}");
            used += 1;
            let ino = group * inodes_per_group + index + 1;
            let at = halves(&d, (8, 4), (0x28, 4)) * BLOCK + index * inode_size;
            let inode = check.read(at, inode_size);
            directories += u64::from(le(&inode, 0, 2) & 0xf000 == 0x4000);
            check.inode(ino, &inode);
            kept.push((ino, inode));
        }
        for index in inodes_per_group..BLOCK * 8 {
            assert_eq!(bitmap[size(index / 8)] >> (index % 8) & 1, 1, "padding");
        }
        assert_eq!(free, inodes_per_group - used, "free inodes of group {group}");
        assert_eq!(halves(&d, (0x10, 2), (0x30, 2)), directories, "directories of group {group}");
    }
    assert_eq!(all_free_inodes, le(&sb, 0x10, 4), "free inodes");

    for (block, references) in &check.attributes {
        let header = check.read(block * BLOCK, 32);
        assert_eq!(le(&header, 0, 4), 0xea02_0000, "block {block} of attributes");
        assert_eq!(le(&header, 4, 4), *references, "references of block {block}");
    }
    for (ino, inode) in &kept {
        let is_named = *ino == ROOT || *ino >= first_ino && *ino != orphans;
        // Values of attributes have no names.
        if is_named && le(inode, 0x20, 4) & 0x20_0000 == 0 {
            let (links, names) = (le(inode, 0x1a, 2), check.links.get(ino).copied().unwrap_or(0));
            let is_directory = le(inode, 0, 2) & 0xf000 == 0x4000;
            assert!(
                links == names || is_directory && links == 1 && names > 65_000,
                "{ino}: {links} links, {names} names"
            );
        }
    }
    for ino in check.links.keys() {
        assert!(kept.iter().any(|(kept, _)| kept == ino), "a name of the unused inode {ino}");
    }

    let mut all_free = 0;
    for group in 0..groups {
        let d = desc(group);
        let (start, end) = (group * per_group, blocks.min((group + 1) * per_group));
        let owners = &check.owners[size(start)..size(end)];
        let owned = owners.iter().flatten().count() as u64;
        let free = halves(&d, (0x0c, 2), (0x2c, 2));
        assert_eq!(free, end - start - owned, "free blocks of group {group}");
        all_free += free;
        if le(&d, 0x12, 2) & 2 != 0 {
            let fixed = |owner: &Owner| matches!(owner, Owner::Fixed(_));
            assert!(owners.iter().flatten().all(fixed), "group {group} has no bitmap");
            continue;
        }
        let bitmap = check.read(halves(&d, (0, 4), (0x20, 4)) * BLOCK, BLOCK);
        assert_eq!(
            u64::from(sum(seed, &bitmap[..size(per_group / 8)])),
            halves(&d, (0x18, 2), (0x38, 2)),
            "block bitmap of group {group}"
        );
        for index in 0..per_group {
            let set = bitmap[size(index / 8)] >> (index % 8) & 1 == 1;
            let block = start + index;
            let owner = check.owners.get(size(block)).copied().flatten();
            assert_eq!(set, block >= end || owner.is_some(), "block {block}, whose owner is {owner:?}");
        }
    }
    assert_eq!(all_free, halves(&sb, (0x0c, 4), (0x158, 4)), "free blocks");
}

/// CRC-32C as ext4 chains it: without the inversion at the end.
fn sum(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

fn has_super(group: u64) -> bool {
    let power = |base: u64| {
        let mut n = base;
        while n < group {
            n *= base;
        }
        n == group
    };
    group <= 1 || power(3) || power(5) || power(7)
}

impl Check<'_> {
    fn read(&self, at: u64, len: u64) -> Vec<u8> {
        self.image.get(self.offset + at, len)
    }

    fn claim(&mut self, start: u64, len: u64, owner: Owner) {
        assert!(start + len <= self.blocks, "{owner:?}: blocks {start}+{len} of {}", self.blocks);
        for (block, slot) in (start..).zip(&mut self.owners[size(start)..size(start + len)]) {
            if let Some(other) = slot.replace(owner) {
                panic!("block {block} belongs to {other:?} and to {owner:?}");
            }
        }
    }

    fn inode(&mut self, ino: u64, inode: &[u8]) {
        let (mode, flags) = (le(inode, 0, 2), le(inode, 0x20, 4));
        let bytes = halves(inode, (4, 4), (0x6c, 4));
        let mut owned = 0;
        let acl = halves(inode, (0x68, 4), (0x76, 2));
        if acl != 0 {
            owned += 1;
            let references = self.attributes.entry(acl).or_default();
            *references += 1;
            if *references == 1 {
                self.claim(acl, 1, Owner::Attributes);
            }
        }
        let mut data = Vec::new();
        if flags & 0x8_0000 != 0 {
            owned += self.extents(ino, &inode[0x28..0x28 + 60], &mut data);
        } else if ino == RESIZE {
            // Its other blocks are the reserved descriptors, if there are any.
            let block = le(inode, 0x28 + 4 * 13, 4);
            self.claim(block, u64::from(block != 0), Owner::Inode(ino));
            return;
        } else {
            assert!(
                ino < 11 || mode & 0xf000 != 0x8000 && mode & 0xf000 != 0x4000,
                "inode {ino} has no extents"
            );
        }
        let blocks = halves(inode, (0x1c, 4), (0x74, 2));
        let unit = if flags & 0x4_0000 != 0 { 1 } else { BLOCK / 512 };
        // The values of its attributes count, too, where they are in inodes of their own.
        let is_right = if self.ea_inode { blocks >= owned * unit } else { blocks == owned * unit };
        assert!(is_right, "{blocks} blocks of inode {ino}, not {}", owned * unit);
        let end = data.last().map_or(0, |(logical, len, _)| logical + len);
        assert!(
            end <= bytes.div_ceil(BLOCK) || ino == JOURNAL,
            "inode {ino} of {bytes} bytes has data at block {end}"
        );
        if mode & 0xf000 == 0x4000 {
            assert_eq!((end * BLOCK, bytes % BLOCK), (bytes, 0), "directory {ino}");
            for (_, len, start) in data {
                for block in start..start + len {
                    self.directory(ino, block);
                }
            }
        }
    }

    /// The extents below a root or an index block: logical block, length, first block. Returns how many blocks they take.
    fn extents(&mut self, ino: u64, node: &[u8], all: &mut Vec<(u64, u64, u64)>) -> u64 {
        let [magic, entries, max, depth] = [0, 2, 4, 6].map(|at| le(node, at, 2));
        assert!(magic == 0xf30a && entries <= max && depth <= 5, "extents of inode {ino}");
        let mut owned = 0;
        for n in 0..size(entries) {
            let entry = &node[12 + 12 * n..24 + 12 * n];
            let logical = le(entry, 0, 4);
            let before = all.last().map_or(0, |(logical, len, _)| logical + len);
            assert!(logical >= before, "extents of inode {ino} descend: {logical} after {before}");
            if depth > 0 {
                let block = halves(entry, (4, 4), (8, 2));
                self.claim(block, 1, Owner::Inode(ino));
                let child = self.read(block * BLOCK, BLOCK);
                assert_eq!(le(&child, 6, 2), depth - 1, "depth of extents of inode {ino}");
                let len = all.len();
                owned += 1 + self.extents(ino, &child, all);
                assert_eq!(all.get(len).map(|(first, ..)| *first), Some(logical), "index of inode {ino}");
                continue;
            }
            let (len, start) = (le(entry, 4, 2), halves(entry, (8, 4), (6, 2)));
            assert!((1..=32_768).contains(&len), "an extent of inode {ino} of {len} blocks");
            self.claim(start, len, Owner::Inode(ino));
            all.push((logical, len, start));
            owned += len;
        }
        owned
    }

    fn directory(&mut self, ino: u64, block: u64) {
        let bytes = self.read(block * BLOCK, BLOCK);
        let mut at = 0;
        while at < bytes.len() {
            let (child, len, name_len) = (le(&bytes, at, 4), le(&bytes, at + 4, 2), le(&bytes, at + 6, 1));
            assert!(len >= 8 + name_len && len % 4 == 0, "an entry of {len} bytes in inode {ino}");
            if child != 0 {
                *self.links.entry(child).or_default() += 1;
            }
            at += size(len);
        }
        assert_eq!(at, bytes.len(), "entries of inode {ino}");
    }
}
