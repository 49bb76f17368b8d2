//! UUIDs and GUIDs: one value, two byte orders.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A UUID as people write it. ext4 stores these bytes in this order; GPT stores the first three groups
/// little-endian ([`Uuid::to_guid_bytes`]).
///
/// # Examples
///
/// ```
/// use lfs_image::image::Uuid;
///
/// let esp: Uuid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse()?;
/// assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID with these bytes, in the order in which it is written.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes in the order in which they are written (RFC 9562, as ext4 stores them).
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The bytes as a GPT and UEFI store them: the first three groups little-endian (UEFI 2.10, appendix A).
    #[must_use]
    pub const fn to_guid_bytes(self) -> [u8; 16] {
        let b = self.0;
        [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]
    }

    /// The UUID that a GPT stores as these bytes.
    #[must_use]
    pub const fn from_guid_bytes(b: [u8; 16]) -> Self {
        Self([
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
            b[15],
        ])
    }

    /// A version 8 (custom) UUID from 16 bytes of a digest: RFC 9562, 5.8.
    pub(crate) fn from_digest(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::input(format!("`{text}` is not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
        };
        let groups: Vec<&str> = text.split('-').collect();
        if groups.iter().map(|g| g.len()).ne([8, 4, 4, 4, 12]) {
            return Err(bad());
        }
        let digits = groups.concat();
        if !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 16];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guid_byte_order() {
        // The BIOS boot partition's type reads "Hah!IdontNeedEFI" on disk.
        let bios: Uuid = "21686148-6449-6e6f-744e-656564454649".parse().unwrap();
        assert_eq!(&bios.to_guid_bytes(), b"Hah!IdontNeedEFI");
        assert_eq!(Uuid::from_guid_bytes(bios.to_guid_bytes()), bios);
    }

    #[test]
    fn parsing_refuses_what_it_would_not_print() {
        for bad in [
            "",
            "21686148",
            "2168614864496e6f744e656564454649",
            "21686148-6449-6e6f-744e-65656445464g",
            "{21686148-6449-6e6f-744e-656564454649}",
            "+1686148-6449-6e6f-744e-656564454649",
        ] {
            assert!(bad.parse::<Uuid>().is_err(), "{bad}");
        }
        assert_eq!(
            "21686148-6449-6E6F-744E-656564454649".parse::<Uuid>().unwrap().to_string(),
            "21686148-6449-6e6f-744e-656564454649"
        );
    }

    #[test]
    fn digest_uuids_are_version_8() {
        let text = Uuid::from_digest([0xff; 16]).to_string();
        assert_eq!(text, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
