//! The two CRCs of a disk: ext4's CRC-32C and GPT's CRC-32.

/// ext4's running CRC-32C: the raw register, with neither the initial nor the final inversion that the usual
/// CRC-32C adds. Start with `!0` or a seed; feed the result back in to go on.
///
/// Source: kernel documentation, "Checksums" (`Documentation/filesystems/ext4/checksums.rst`).
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// The CRC-32 of GPT headers and entry arrays (UEFI 2.10, 5.3.2).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        // The catalogue's check value of CRC-32C is e3069283, after its final inversion.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
