//! The disk that an instance sees.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use crate::BLOCK_SIZE;
use crate::faults::splitmix;
use crate::state::{Place, Shared, Snapshot};

/// What blocks that were never put read as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum View {
    /// Zeros: neither the snapshot nor the volume is encrypted.
    Plain,
    /// Noise: nothing that was encrypted is decrypted. The same noise each time.
    Encrypted,
}

/// One block of a volume.
pub(crate) fn block(shared: &Shared, snapshot: &Snapshot, index: u32, view: View) -> io::Result<Vec<u8>> {
    match snapshot.block(index) {
        Some(block) => {
            let missing = || io::Error::other("the data wasn't kept (discard)");
            shared.blocks.get(block.place)?.ok_or_else(missing)
        }
        None if view == View::Encrypted => Ok(noise(index)),
        None => Ok(vec![0; BLOCK_SIZE]),
    }
}

/// All of them.
pub(crate) fn write(shared: &Shared, snapshot: &Snapshot, view: View, out: &mut dyn Write) -> io::Result<()> {
    (0..snapshot.block_count()).try_for_each(|index| out.write_all(&block(shared, snapshot, index, view)?))
}

/// The same, sparse.
pub(crate) fn save(shared: &Shared, snapshot: &Snapshot, view: View, file: &File) -> io::Result<()> {
    let size = BLOCK_SIZE as u64;
    file.set_len(u64::from(snapshot.block_count()) * size)?;
    for index in 0..snapshot.block_count() {
        let absent = snapshot.block(index).is_none_or(|block| block.place == Place::Zeros);
        if absent && (view == View::Plain || snapshot.block(index).is_some()) {
            continue;
        }
        file.write_all_at(&block(shared, snapshot, index, view)?, u64::from(index) * size)?;
    }
    Ok(())
}

/// Deterministic, never all zeros.
fn noise(index: u32) -> Vec<u8> {
    let mut state = u64::from(index).wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x6a75_6467_6500_0001;
    let mut bytes = Vec::with_capacity(BLOCK_SIZE);
    while bytes.len() < BLOCK_SIZE {
        bytes.extend_from_slice(&splitmix(&mut state).to_le_bytes());
    }
    bytes
}
