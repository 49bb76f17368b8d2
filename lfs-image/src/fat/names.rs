//! Names: long ones, the 8.3 aliases behind them, labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

/// An 8.3 name as it is stored: base and extension padded with spaces.
pub(super) type Short = [u8; 11];

/// The most UTF-16 units in a name.
const MAX_UNITS: usize = 255;

/// What a name may be: fatgen103, "Long Directory Entries". Path is for the message.
pub(super) fn check(name: &str, path: &str) -> Result<()> {
    let refuse = |why: &str| {
        let path = path.escape_debug();
        Err(Error::input(format!("the name `{}` in `{path}` {why}", name.escape_debug())))
    };
    if name.is_empty() || name == "." || name == ".." {
        return refuse("names no file");
    }
    if name.chars().any(|c| c < ' ' || c == '\x7f' || "\"*/:<>?\\|".contains(c)) {
        return refuse("has a character that FAT names can't have");
    }
    if name.ends_with(['.', ' ']) {
        return refuse("ends with a dot or a space, which FAT drops");
    }
    if name.encode_utf16().count() > MAX_UNITS {
        return refuse("has more than 255 UTF-16 units");
    }
    Ok(())
}

/// The name without its case: two names of one directory must differ in this.
pub(super) fn fold(name: &str) -> String {
    // Only what has one upper-case letter has a case here.
    let upper = |c: char| {
        let mut upper = c.to_uppercase();
        upper.next().filter(|_| upper.next().is_none()).unwrap_or(c)
    };
    name.chars().map(upper).collect()
}

/// The stored form of a volume label; `NO NAME` is none.
pub(super) fn label(label: &str) -> Result<Short> {
    let text = if label.is_empty() { "NO NAME" } else { label };
    let fits = |b: u8| allowed(b) || b == b' ';
    if text.len() > 11 || !text.bytes().all(fits) || text.starts_with(' ') {
        return Err(Error::input(format!(
            "the label `{}` is not 1 to 11 characters of upper-case letters, digits and $%'-_@~`!(){{}}^#&",
            label.escape_debug()
        )));
    }
    let mut short = [b' '; 11];
    short[..text.len()].copy_from_slice(text.as_bytes());
    Ok(short)
}

/// The 8.3 names of a directory, in the order of its names. A name that loses no more than its case on the way gets just
/// that; the others get what is left, so the result depends on the names and their order alone.
pub(super) fn shorten<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<Short>> {
    let mut taken: BTreeSet<Short> = names.clone().filter_map(|name| Basis::new(name).plain()).collect();
    let mut next = BTreeMap::new();
    names
        .map(|name| {
            let basis = Basis::new(name);
            if let Some(short) = basis.plain() {
                return Ok(short);
            }
            let next: &mut u32 = next.entry(basis.stem()).or_insert(1);
            while *next < 1_000_000 {
                let short = basis.numbered(*next);
                *next += 1;
                if taken.insert(short) {
                    return Ok(short);
                }
            }
            Err(Error::capacity(format!("`{}` has no 8.3 name left", name.escape_debug())))
        })
        .collect()
}

/// The 8.3 name that is exactly this name.
pub(super) fn as_is(name: &str) -> Option<Short> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = |part: &str, most| part.len() <= most && part.bytes().all(allowed);
    let dot_is_needed = name.len() == base.len() || !extension.is_empty();
    (!base.is_empty() && fits(base, 8) && fits(extension, 3) && dot_is_needed)
        .then(|| short(base.as_bytes(), extension.as_bytes()))
}

/// What long entries carry to prove that they belong to their 8.3 name: fatgen103, `ChkSum`.
pub(super) fn checksum(short: &Short) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// What may be in an 8.3 name.
fn allowed(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'0'..=b'9') || b"$%'-_@~`!(){}^#&".contains(&byte)
}

fn short(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..][..extension.len()].copy_from_slice(extension);
    short
}

/// A long name on its way to an 8.3 one: fatgen103, "The Basis-Name Generation Algorithm".
struct Basis {
    base: Vec<u8>,
    extension: Vec<u8>,
    /// Whether something was lost besides case.
    lossy: bool,
}

impl Basis {
    fn new(name: &str) -> Self {
        let trimmed = name.trim_start_matches(['.', ' ']);
        let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
        let mut lossy = trimmed.len() != name.len();
        let mut reduce = |part: &str, most: usize| {
            let mut bytes = Vec::new();
            for c in part.chars() {
                match u8::try_from(c.to_ascii_uppercase()) {
                    Ok(b' ' | b'.') => lossy = true,
                    Ok(byte) if allowed(byte) => bytes.push(byte),
                    _ => {
                        lossy = true;
                        bytes.push(b'_');
                    }
                }
            }
            lossy |= bytes.len() > most;
            bytes.truncate(most);
            bytes
        };
        let (base, extension) = (reduce(base, 8), reduce(extension, 3));
        Self { base, extension, lossy }
    }

    /// Without a number, where nothing was lost.
    fn plain(&self) -> Option<Short> {
        (!self.lossy && !self.base.is_empty()).then(|| short(&self.base, &self.extension))
    }

    fn numbered(&self, n: u32) -> Short {
        let tail = format!("~{n}");
        let kept = self.base.len().min(8 - tail.len());
        short(&[&self.base[..kept], tail.as_bytes()].concat(), &self.extension)
    }

    /// What names have in common that compete for numbers.
    fn stem(&self) -> (Vec<u8>, Vec<u8>) {
        (self.base[..self.base.len().min(6)].to_vec(), self.extension.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let shorts = shorten(names.iter().copied()).unwrap();
        shorts.iter().map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
    }

    #[test]
    fn names_that_are_short_already() {
        for (name, stored) in [
            ("BOOTX64.EFI", "BOOTX64 EFI"),
            ("EFI", "EFI        "),
            ("A.B", "A       B  "),
            ("12345678.123", "12345678123"),
            ("FOO~1", "FOO~1      "),
        ] {
            assert_eq!(as_is(name).unwrap(), *stored.as_bytes());
        }
        for name in ["", "efi", "123456789", "A.1234", "A.B.C", ".A", "A.", "A B", "A+B", "É"] {
            assert!(as_is(name).is_none(), "{name}");
        }
    }

    #[test]
    fn aliases() {
        // As mtools names them, but for the last, which it calls "__".
        assert_eq!(
            shorts(&[
                "grub.cfg",
                "Long name one.txt",
                "long name two.txt",
                "LONGNA~1.TXT",
                ".hidden",
                "a+b",
                "日本"
            ]),
            [
                "GRUB    CFG",
                "LONGNA~2TXT",
                "LONGNA~3TXT",
                "LONGNA~1TXT",
                "HIDDEN~1   ",
                "A_B~1      ",
                "__~1       "
            ]
        );
        assert_eq!(shorts(&["archive.tar.gz", "vmlinuz-6.12"]), ["ARCHIV~1GZ ", "VMLINU~112 "]);
        assert_eq!(shorts(&["+.", ". ."].map(|n| n.trim_end_matches('.'))), ["_~1        ", "~1         "]);
    }

    #[test]
    fn thousands_of_names_that_look_alike() {
        let names: Vec<String> = (0..20_000).map(|n| format!("configuration {n}.conf")).collect();
        let shorts = shorten(names.iter().map(String::as_str)).unwrap();
        assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(&shorts[9], b"CONFI~10CON");
        assert_eq!(&shorts[19_999], b"CO~20000CON");
    }

    #[test]
    fn refusals() {
        let refusal = |name| check(name, "p").unwrap_err().to_string();
        assert_eq!(refusal("a:b"), "the name `a:b` in `p` has a character that FAT names can't have");
        for name in ["", ".", "..", "a\0", "a\n", "a\\b", "a/b", "x.", "x ", "|"] {
            assert!(check(name, "p").is_err(), "{name:?}");
        }
        assert!(check(&"é".repeat(255), "p").is_ok());
        assert!(check(&"é".repeat(256), "p").is_err());
        assert!(check(&"😀".repeat(128), "p").is_err());
        assert!(label("ESP").is_ok());
        assert!(label("LFS BOOT").is_ok());
        for bad in ["esp", "TWELVE CHARS", "É", " A", "A.B"] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn case_folds() {
        assert_eq!(fold("Zoë.Efi"), fold("ZOË.eFI"));
        assert_eq!(fold("straße"), "STRAßE");
    }

    #[test]
    fn checksums() {
        // `mcopy -i disk.img "readme first.txt" ::` wrote this one.
        assert_eq!(checksum(b"README~1TXT"), 0x6b);
    }
}
