//! Names of directory entries.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// The longest name that needs no memory of its own.
const SHORT: usize = 30;

/// A name of up to 255 bytes, in 32 bytes where it is short: of millions of names, few are long, and looking for one
/// compares those around it without leaving the directory's own memory.
#[derive(Clone)]
pub(super) enum Name {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Name {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        match u8::try_from(name.len()) {
            Ok(len) if name.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..name.len()].copy_from_slice(name);
                Self::Short(len, bytes)
            }
            _ => Self::Long(name.into()),
        }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_bytes() {
        assert_eq!(size_of::<Name>(), 32);
        let names: Vec<Vec<u8>> = (1..=255).map(|len| vec![b'n'; len]).collect();
        for name in &names {
            assert_eq!(Name::from(name.as_slice()).as_bytes(), name);
        }
        let ordered = [&b"a"[..], b"a\0", b"aa", &[b'b'; 29], &[b'b'; 30], &[b'b'; 31], b"c", &[0xff; 40]];
        assert!(ordered.map(Name::from).is_sorted());
    }
}
