//! POSIX ACLs: from what `getxattr(2)` gives to what ext4 stores.
//!
//! Both are a version number and a list of entries. The system call's form (version 2, `posix_acl_xattr.h`) spends eight
//! bytes on each entry; ext4's (version 1, `fs/ext4/acl.h`) leaves the id out where it means nothing.

use crate::error::{Error, Result};

const XATTR_VERSION: u32 = 2;
const EXT4_ACL_VERSION: u32 = 1;
const ACL_USER_OBJ: u16 = 0x01;
const ACL_USER: u16 = 0x02;
const ACL_GROUP_OBJ: u16 = 0x04;
const ACL_GROUP: u16 = 0x08;
const ACL_MASK: u16 = 0x10;
const ACL_OTHER: u16 = 0x20;

/// The value that ext4 stores for an attribute `system.posix_acl_access` or `system.posix_acl_default`.
pub(crate) fn to_disk(value: &[u8]) -> Result<Vec<u8>> {
    let bad = |why: String| Error::input(format!("a POSIX ACL of {} bytes {why}", value.len()));
    let (version, entries) = value.split_first_chunk::<4>().ok_or_else(|| bad("is cut short".into()))?;
    if u32::from_le_bytes(*version) != XATTR_VERSION {
        return Err(bad(format!("has version {}, not {XATTR_VERSION}", u32::from_le_bytes(*version))));
    }
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(bad("is not a whole number of entries".into()));
    }
    let mut disk = EXT4_ACL_VERSION.to_le_bytes().to_vec();
    for [t0, t1, p0, p1, id @ ..] in entries {
        let (tag, perm) = (u16::from_le_bytes([*t0, *t1]), u16::from_le_bytes([*p0, *p1]));
        if perm > 7 {
            return Err(bad(format!("has an entry with permissions {perm:#o}")));
        }
        disk.extend_from_slice(&[*t0, *t1, *p0, *p1]);
        match tag {
            ACL_USER | ACL_GROUP => disk.extend_from_slice(id),
            ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_MASK | ACL_OTHER => {}
            _ => return Err(bad(format!("has an entry with the unknown tag {tag:#x}"))),
        }
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_only_where_they_mean_something() {
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, perm, id) in
            [(1u16, 7u16, u32::MAX), (2, 4, 1000), (4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 5, u32::MAX)]
        {
            value.extend(tag.to_le_bytes());
            value.extend(perm.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        let disk = to_disk(&value).unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(disk[..16], [1, 0, 0, 0, 1, 0, 7, 0, 2, 0, 4, 0, 0xe8, 3, 0, 0]);
        assert!(to_disk(&value[..value.len() - 1]).is_err());
        assert!(to_disk(&[1, 0, 0, 0]).is_err());
        value[4] = 3;
        assert!(to_disk(&value).is_err());
    }
}
