//! Linear directory blocks.
//!
//! ```text
//! inode rec_len name_len file_type name… | … | last entry reaches the tail | 0 12 0 0xde checksum
//! ```
//!
//! Source: kernel documentation, "Linear (Classic) Directories" (`directory.rst`).

use zerocopy::IntoBytes;

use super::geometry::BLOCK_SIZE;
use super::records::dir::{
    DirEntry, DirEntryTail, EXT4_FT_BLKDEV, EXT4_FT_CHRDEV, EXT4_FT_DIR, EXT4_FT_DIR_CSUM, EXT4_FT_FIFO,
    EXT4_FT_REG_FILE, EXT4_FT_SOCK, EXT4_FT_SYMLINK,
};
use crate::raw::crc::crc32c;
use crate::raw::num::{index, lo8, lo16, lo32};
use crate::tree::Kind;

/// Bytes of the tail.
const TAIL: usize = 12;
/// Bytes of a block that entries may take.
pub(crate) const ROOM: usize = index(BLOCK_SIZE) - TAIL;
/// Bytes that `.` and `..` take.
pub(crate) const DOTS: usize = 24;

/// What a directory block says of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ino: u32,
    pub(crate) file_type: u8,
}

/// Bytes that an entry of this name takes.
pub(crate) fn entry_len(name: &[u8]) -> usize {
    (8 + name.len()).next_multiple_of(4)
}

/// `file_type` of what an entry names.
pub(crate) fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory(_) => EXT4_FT_DIR,
        Kind::File(_) => EXT4_FT_REG_FILE,
        Kind::Symlink(_) => EXT4_FT_SYMLINK,
        Kind::CharDevice(_) => EXT4_FT_CHRDEV,
        Kind::BlockDevice(_) => EXT4_FT_BLKDEV,
        Kind::Fifo => EXT4_FT_FIFO,
        Kind::Socket => EXT4_FT_SOCK,
    }
}

/// The entries `.` and `..`.
pub(crate) fn dots(ino: u32, parent: u32) -> [Named<'static>; 2] {
    [
        Named { name: b".", ino, file_type: EXT4_FT_DIR },
        Named { name: b"..", ino: parent, file_type: EXT4_FT_DIR },
    ]
}

/// Renders one block (zeros before) of a directory whose checksums start from `seed`. The entries must fit.
pub(crate) fn render<'a>(block: &mut [u8], entries: impl Iterator<Item = Named<'a>>, seed: u32) {
    let mut at = 0;
    let mut last = None;
    for entry in entries {
        last = Some(at);
        at += put(&mut block[at..ROOM], &entry, entry_len(entry.name));
    }
    match last {
        // The last entry reaches the tail.
        Some(last) => {
            let len = lo16(lo32((ROOM - last) as u64));
            block[last + 4..last + 6].copy_from_slice(&len.to_le_bytes());
        }
        // An empty block is one unused entry.
        None => {
            put(block, &Named { name: b"", ino: 0, file_type: 0 }, ROOM);
        }
    }
    let tail = DirEntryTail {
        det_reserved_zero1: 0.into(),
        det_rec_len: 12.into(),
        det_reserved_zero2: 0,
        det_reserved_ft: EXT4_FT_DIR_CSUM,
        det_checksum: crc32c(seed, &block[..ROOM]).into(),
    };
    block[ROOM..index(BLOCK_SIZE)].copy_from_slice(tail.as_bytes());
}

/// Writes one entry and says how long it is.
pub(crate) fn put(bytes: &mut [u8], entry: &Named<'_>, len: usize) -> usize {
    let record = DirEntry {
        inode: entry.ino.into(),
        rec_len: lo16(lo32(len as u64)).into(),
        name_len: lo8(lo32(entry.name.len() as u64)),
        file_type: entry.file_type,
    };
    bytes[..8].copy_from_slice(record.as_bytes());
    bytes[8..8 + entry.name.len()].copy_from_slice(entry.name);
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_reaches_the_tail() {
        let mut block = [0; 4096];
        render(&mut block, dots(11, 2).into_iter(), 0);
        assert_eq!(block[..12], [11, 0, 0, 0, 12, 0, 1, 2, b'.', 0, 0, 0]);
        assert_eq!(block[12..22], [2, 0, 0, 0, 0xe8, 0x0f, 2, 2, b'.', b'.']); // 4084 - 12
        assert_eq!(block[4084..4092], [0, 0, 0, 0, 12, 0, 0, 0xde]);
    }

    #[test]
    fn an_empty_block_is_one_unused_entry() {
        let mut block = [0; 4096];
        render(&mut block, std::iter::empty(), 0);
        assert_eq!(block[..8], [0, 0, 0, 0, 0xf4, 0x0f, 0, 0]);
    }
}
