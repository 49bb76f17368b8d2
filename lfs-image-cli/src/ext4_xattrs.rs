//! Extended attributes of an ext4 filesystem that is there: in inodes, in blocks of their own, in inodes of their own.
//!
//! Source: kernel documentation, "Extended Attributes" (`attributes.rst`), and `fs/ext4/acl.h`.

use lfs_image::tree::Xattrs;
use lfs_image::{Error, Result};

use crate::ext4_raw::{Inode, Raw, le16, le32};

const MAGIC: u32 = 0xea02_0000;
/// Before the entries of a block.
const HEADER: usize = 32;
/// The longest value that Linux takes.
const MAX_VALUE: u64 = 65_536;

/// The attributes of an inode, lists of access as `getxattr(2)` gives them.
pub(crate) fn read(raw: &Raw, inode: &Inode) -> Result<Xattrs> {
    let mut found = Xattrs::new();
    let start = 128 + inode.extra();
    if let Some(space) = inode.bytes.get(start..)
        && le32(space, 0) == MAGIC
    {
        let space = &space[4..];
        entries(raw, inode, space, space, &mut found)?;
    }
    let number = inode.attribute_block();
    if number != 0 {
        let block = raw.attribute_block(number)?;
        if le32(&block, 0) != MAGIC {
            return Err(inode.fault(&format!("block {number} holds no attributes")));
        }
        entries(raw, inode, &block[HEADER..], &block, &mut found)?;
    }
    Ok(found)
}

/// Entries up to the zeros that end them. Offsets of values count from the start of `values`.
fn entries(raw: &Raw, inode: &Inode, mut rest: &[u8], values: &[u8], found: &mut Xattrs) -> Result<()> {
    let fault = |what: &str| inode.fault(&format!("an extended attribute {what}"));
    while rest.len() >= 4 && le32(rest, 0) != 0 {
        let (Some(head), Some(name)) = (rest.get(..16), rest.get(16..16 + usize::from(rest[0]))) else {
            return Err(fault("is cut short"));
        };
        let (prefix, size) = (head[1], le32(head, 8));
        let value = match le32(head, 4) {
            0 => {
                let start = usize::from(le16(head, 2));
                let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
                end.and_then(|end| values.get(start..end))
                    .ok_or_else(|| fault("has its value elsewhere"))?
                    .to_vec()
            }
            number => {
                let left = raw.values_left.get().checked_sub(size.into());
                raw.values_left.set(left.ok_or_else(|| fault("is shared more often than makes sense"))?);
                let value = raw.content(&raw.inode(number)?, MAX_VALUE)?;
                if value.len() as u64 != u64::from(size) {
                    return Err(fault("has a value of another length"));
                }
                value
            }
        };
        let name = [self::prefix(prefix).ok_or_else(|| fault("has an unknown kind of name"))?, name].concat();
        let value = if matches!(prefix, 2 | 3) { acl(inode, &value)? } else { value };
        found.insert(name.into(), value.into());
        rest = rest.get((16 + usize::from(head[0])).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// What a name begins with.
fn prefix(number: u8) -> Option<&'static [u8]> {
    Some(match number {
        0 => b"",
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        7 => b"system.",
        8 => b"system.richacl",
        10 => b"gnu.",
        _ => return None,
    })
}

/// A list of access: ext4 leaves out ids where they mean nothing, `getxattr(2)` doesn't.
fn acl(inode: &Inode, disk: &[u8]) -> Result<Vec<u8>> {
    let fault = || -> Error { inode.fault("its list of access (ACL) is damaged") };
    let (version, mut rest) = disk.split_first_chunk::<4>().ok_or_else(fault)?;
    if *version != 1_u32.to_le_bytes() {
        return Err(fault());
    }
    let mut value = 2_u32.to_le_bytes().to_vec();
    while let Some((entry, after)) = rest.split_first_chunk::<4>() {
        value.extend_from_slice(entry);
        rest = after;
        if matches!(le16(entry, 0), 2 | 8) {
            let (id, after) = rest.split_first_chunk::<4>().ok_or_else(fault)?;
            value.extend_from_slice(id);
            rest = after;
        } else {
            value.extend_from_slice(&u32::MAX.to_le_bytes());
        }
    }
    if rest.is_empty() { Ok(value) } else { Err(fault()) }
}
