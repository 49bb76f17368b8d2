//! Extended attributes: in the inode where they fit, else in a block that equal sets share, else (when asked for) in
//! inodes of their own.
//!
//! ```text
//! inode: … | magic | entry name | entry name | 0 … values|     offsets count from the first entry
//! block: header | entry name | entry name | 0 …    values|     offsets count from the block; sorted
//! ```
//!
//! Source: kernel documentation, "Extended Attributes" (`attributes.rst`), `fs/ext4/xattr.c`.

use std::collections::BTreeMap;

use zerocopy::{FromZeros, IntoBytes};

use super::acl;
use super::geometry::BLOCK_SIZE;
use super::records::inode::XATTR_SPACE;
use super::records::xattr::{EXT4_XATTR_MAGIC, XattrEntry, XattrHeader};
use crate::error::{Error, Result};
use crate::raw::crc::crc32c;
use crate::raw::num::{fit, index, lo8, lo16, lo32};
use crate::tree::{Tree, XattrSet};

/// `XATTR_SIZE_MAX`: the longest value the kernel reads or writes.
const MAX_VALUE: usize = 65_536;
/// Attribute names that ext4 stores as a number and a rest, longest first where one begins another.
const PREFIXES: [(u8, &[u8]); 8] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (8, b"system.richacl"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
    (10, b"gnu."),
    (7, b"system."),
];
/// Bytes before the entries of a block.
const BLOCK_HEADER: usize = size_of::<XattrHeader>();

/// One attribute, as it is stored.
#[derive(Clone, Debug)]
struct Attribute {
    /// `e_name_index`.
    index: u8,
    /// What follows the prefix.
    name: Box<[u8]>,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Here(Box<[u8]>),
    /// In an inode of its own: which (of [`Sets::ea_values`]), its length, the hash of the value.
    Inode {
        nth: u32,
        len: u32,
        hash: u32,
    },
}

impl Attribute {
    /// Bytes of the entry and the value.
    fn space(&self) -> usize {
        let value = match &self.value {
            Value::Here(value) => value.len().next_multiple_of(4),
            Value::Inode { .. } => 0,
        };
        size_of::<XattrEntry>() + self.name.len().next_multiple_of(4) + value
    }

    /// Blocks sort by this, and so do inodes, for no reason but order.
    fn key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), &self.name)
    }

    /// `e_hash`: over the name, then the words of the value. Source: `ext4_xattr_hash_entry`.
    fn hash(&self) -> u32 {
        let mut hash = 0u32;
        for byte in &self.name {
            hash = hash.rotate_left(5) ^ u32::from(*byte);
        }
        match &self.value {
            Value::Here(value) => {
                for chunk in value.chunks(4) {
                    let mut word = [0; 4];
                    word[..chunk.len()].copy_from_slice(chunk);
                    hash = hash.rotate_left(16) ^ u32::from_le_bytes(word);
                }
                hash
            }
            Value::Inode { hash: value, .. } => hash.rotate_left(16) ^ value,
        }
    }
}

/// Where the attributes of one set are stored.
#[derive(Clone, Debug, Default)]
struct Split {
    inode: Vec<Attribute>,
    block: Vec<Attribute>,
}

/// A value that has an inode of its own.
#[derive(Clone, Debug)]
pub(crate) struct EaValue {
    pub(crate) set: XattrSet,
    pub(crate) bytes: Box<[u8]>,
    /// Goes into the inode's `i_atime`.
    pub(crate) hash: u32,
}

/// All sets of a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets {
    splits: BTreeMap<XattrSet, Split>,
    pub(crate) ea_values: Vec<EaValue>,
}

impl Sets {
    /// Takes one more set; does nothing for one it has. Errors name the attribute, the caller names the file.
    pub(crate) fn add(
        &mut self,
        tree: &Tree,
        set: XattrSet,
        ea_inode: bool,
        checksum_seed: u32,
    ) -> Result<()> {
        if set == XattrSet::EMPTY || self.splits.contains_key(&set) {
            return Ok(());
        }
        let mut all = Vec::new();
        for (name, value) in tree.xattrs(set) {
            all.push(attribute(name, value)?);
        }
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        let mut split = Split::default();
        // The inode's magic and both ends' four zero bytes are not for entries.
        let mut inode_room = XATTR_SPACE - 4 - 4;
        let block_room = index(BLOCK_SIZE) - BLOCK_HEADER - 4;
        for attribute in all {
            if attribute.space() <= inode_room {
                inode_room -= attribute.space();
                split.inode.push(attribute);
            } else {
                split.block.push(attribute);
            }
        }
        loop {
            let space: usize = split.block.iter().map(Attribute::space).sum();
            if space <= block_room {
                break;
            }
            // The largest value moves out, until the rest fits.
            let largest = split.block.iter_mut().max_by_key(|attribute| attribute.space());
            let Some(Attribute { index, name, value }) = largest else { break };
            let Value::Here(bytes) = value else {
                return Err(Error::capacity(format!(
                    "extended attributes: the names alone do not fit into a block of {block_room} bytes"
                )));
            };
            if !ea_inode {
                return Err(Error::capacity(format!(
                    "extended attributes: {space} bytes, and a block has {block_room}; the largest is `{}{}` with a value of \
                     {} (the ext4 feature ea_inode, off by default because GRUB can't read it, lifts this)",
                    prefix(*index).escape_ascii(),
                    name.escape_ascii(),
                    bytes.len()
                )));
            }
            let nth = fit(self.ea_values.len() as u64, "the number of large extended attributes")?;
            let len = fit(bytes.len() as u64, "the length of an extended attribute")?;
            let hash = crc32c(checksum_seed, bytes);
            self.ea_values.push(EaValue { set, bytes: bytes.clone(), hash });
            *value = Value::Inode { nth, len, hash };
        }
        self.splits.insert(set, split);
        Ok(())
    }

    /// Whether the set needs a block.
    pub(crate) fn needs_block(&self, set: XattrSet) -> bool {
        self.splits.get(&set).is_some_and(|split| !split.block.is_empty())
    }

    /// Whether any set does.
    pub(crate) fn any_needs_block(&self) -> bool {
        self.splits.values().any(|split| !split.block.is_empty())
    }

    /// Blocks of the values that have inodes of their own; they are charged to every inode with the set.
    pub(crate) fn ea_blocks(&self, set: XattrSet) -> u64 {
        let Some(split) = self.splits.get(&set) else { return 0 };
        let blocks = |attribute: &Attribute| match attribute.value {
            Value::Inode { len, .. } => u64::from(len).div_ceil(BLOCK_SIZE),
            Value::Here(_) => 0,
        };
        split.inode.iter().chain(&split.block).map(blocks).sum()
    }

    /// Renders what an inode holds itself.
    pub(crate) fn render_inode(&self, set: XattrSet, space: &mut [u8; XATTR_SPACE]) {
        if let Some(split) = self.splits.get(&set).filter(|split| !split.inode.is_empty()) {
            space[..4].copy_from_slice(&EXT4_XATTR_MAGIC.to_le_bytes());
            // e_hash may be left out (0) here, as libext2fs does.
            render(&mut space[4..], 0, &split.inode, |_| 0, 0);
        }
    }

    /// Renders the block of a set that `refcount` inodes share. Inodes of large values start at `first_ea_inode`.
    pub(crate) fn render_block(
        &self,
        set: XattrSet,
        refcount: u32,
        block_number: u64,
        first_ea_inode: u32,
        checksum_seed: u32,
        block: &mut [u8],
    ) {
        let Some(split) = self.splits.get(&set) else { return };
        render(block, BLOCK_HEADER, &split.block, Attribute::hash, first_ea_inode);
        let mut hash = 0u32;
        for entry in split.block.iter().map(Attribute::hash) {
            if entry == 0 {
                hash = 0; // "do not share"
                break;
            }
            hash = hash.rotate_left(16) ^ entry;
        }
        let mut header = XattrHeader::new_zeroed();
        header.h_magic = EXT4_XATTR_MAGIC.into();
        header.h_refcount = refcount.into();
        header.h_blocks = 1.into();
        header.h_hash = hash.into();
        block[..BLOCK_HEADER].copy_from_slice(header.as_bytes());
        let sum = crc32c(crc32c(checksum_seed, &block_number.to_le_bytes()), block);
        header.h_checksum = sum.into();
        block[..BLOCK_HEADER].copy_from_slice(header.as_bytes());
    }
}

/// Entries from `start` on, values from the end down. Value offsets count from the start of `bytes`.
fn render(
    bytes: &mut [u8],
    start: usize,
    attributes: &[Attribute],
    hash: impl Fn(&Attribute) -> u32,
    first_ea_inode: u32,
) {
    let mut at = start;
    let mut end = bytes.len();
    for attribute in attributes {
        let mut entry = XattrEntry::new_zeroed();
        entry.e_name_len = lo8(lo32(attribute.name.len() as u64));
        entry.e_name_index = attribute.index;
        entry.e_hash = hash(attribute).into();
        match &attribute.value {
            Value::Here(value) if value.is_empty() => {}
            Value::Here(value) => {
                end -= value.len().next_multiple_of(4);
                bytes[end..end + value.len()].copy_from_slice(value);
                entry.e_value_offs = lo16(lo32(end as u64)).into();
                entry.e_value_size = lo32(value.len() as u64).into();
            }
            Value::Inode { nth, len, .. } => {
                entry.e_value_inum = (first_ea_inode + nth).into();
                entry.e_value_size = (*len).into();
            }
        }
        bytes[at..at + 16].copy_from_slice(entry.as_bytes());
        bytes[at + 16..at + 16 + attribute.name.len()].copy_from_slice(&attribute.name);
        at += 16 + attribute.name.len().next_multiple_of(4);
    }
}

/// What a number stands for in front of a name.
fn prefix(index: u8) -> &'static [u8] {
    PREFIXES.into_iter().find(|(number, _)| *number == index).map_or(b"", |(_, prefix)| prefix)
}

/// An attribute of a tree as ext4 stores it.
fn attribute(name: &[u8], value: &[u8]) -> Result<Attribute> {
    let shown = || name[..name.len().min(255)].escape_ascii().to_string();
    let (number, prefix) = PREFIXES
        .into_iter()
        .find(
            |(number, prefix)| {
                if matches!(number, 2 | 3 | 8) { name == *prefix } else { name.starts_with(prefix) }
            },
        )
        .ok_or_else(|| {
            Error::input(format!(
                "extended attribute `{}`: ext4 knows only user., trusted., security., system. and gnu. names",
                shown()
            ))
        })?;
    let rest = &name[prefix.len()..];
    if rest.is_empty() && !matches!(number, 2 | 3 | 8) {
        return Err(Error::input(format!("extended attribute `{}` has no name behind its prefix", shown())));
    }
    if rest.len() > 255 || name.contains(&0) {
        return Err(Error::input(format!(
            "extended attribute `{}`: a name is 1 to 255 bytes long and holds no NUL byte",
            shown()
        )));
    }
    if value.len() > MAX_VALUE {
        return Err(Error::capacity(format!(
            "extended attribute `{}` has a value of {} bytes, Linux reads {MAX_VALUE}",
            shown(),
            value.len()
        )));
    }
    let value = if matches!(number, 2 | 3) {
        acl::to_disk(value).map_err(|e| e.context(format!("extended attribute `{}`", shown())))?.into()
    } else {
        value.into()
    };
    Ok(Attribute { index: number, name: rest.into(), value: Value::Here(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Xattrs;

    fn set(tree: &mut Tree, pairs: &[(&str, usize)]) -> XattrSet {
        let xattrs: Xattrs =
            pairs.iter().map(|(name, len)| (name.as_bytes().into(), vec![b'v'; *len].into())).collect();
        tree.intern(xattrs).unwrap()
    }

    #[test]
    fn what_fits_stays_in_the_inode() {
        let mut tree = Tree::new();
        let mut sets = Sets::default();
        // 16 + 8 + 64 = 88 bytes: exactly what an inode has room for.
        let fits = set(&mut tree, &[("security.selinux1", 64)]);
        let spills = set(&mut tree, &[("security.selinux1", 65)]);
        for set in [fits, spills] {
            sets.add(&tree, set, false, 0).unwrap();
        }
        assert!(!sets.needs_block(fits));
        assert!(sets.needs_block(spills));
        let mut space = [0; XATTR_SPACE];
        sets.render_inode(fits, &mut space);
        assert_eq!(space[..4], [0, 0, 2, 0xea]);
        assert_eq!(space[4..12], [8, 6, 28, 0, 0, 0, 0, 0]);
        assert_eq!(space[28..32], [0; 4]);
        assert!(space[32..].iter().all(|c| *c == b'v'));
    }

    #[test]
    fn too_large_is_refused_or_moved_out() {
        let mut tree = Tree::new();
        let large = set(&mut tree, &[("user.a", 3000), ("user.b", 3001)]);
        let error = Sets::default().add(&tree, large, false, 0).unwrap_err().to_string();
        assert!(error.contains("the largest is `user.b` with a value of 3001"), "{error}");
        let mut sets = Sets::default();
        sets.add(&tree, large, true, 0).unwrap();
        assert_eq!(sets.ea_values.len(), 1);
        assert_eq!(sets.ea_blocks(large), 1);
        let huge = set(&mut tree, &[("user.a", MAX_VALUE + 1)]);
        assert!(sets.add(&tree, huge, true, 0).is_err());
    }

    #[test]
    fn names_that_ext4_cannot_hold() {
        for bad in ["", "user.", "os2.x", "users.x", "system", "user.\0"] {
            assert!(attribute(bad.as_bytes(), b"").is_err(), "{bad}");
        }
        assert_eq!(attribute(b"system.nfs4_acl", b"").unwrap().index, 7);
        assert_eq!(attribute(b"security.capability", b"").unwrap().index, 6);
    }
}
