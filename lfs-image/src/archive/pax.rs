//! Extended headers (POSIX 1003.1-2001): `x` for the next entry, `g` for all that follow.
//!
//! ```text
//! 30 mtime=1700000000.123456789\n      length of the whole record, space, key, `=`, value, newline
//! ```
//!
//! An `x` header's value goes before a `g` header's, and both before the entry's own header; an empty value in an `x`
//! header brings back the entry's own. A global header may not set what is one entry's alone (its path, size,
//! sparse map or attributes): programs disagree on what that means, and archives were made to exploit it.

use super::sparse::Keys;
use super::xattr;
use crate::raw::time::Timestamp;
use crate::tree::Xattrs;

/// The most bytes of one extended header.
pub(crate) const MAX_HEADER: u64 = 16 << 20;

/// The most bytes of an entry's extended attributes; each may be there twice.
const MAX_XATTRS: usize = 1 << 20;

/// Records of extended headers that mean something here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pax {
    pub(crate) path: Slot<Vec<u8>>,
    pub(crate) linkpath: Slot<Vec<u8>>,
    pub(crate) size: Slot<u64>,
    pub(crate) uid: Slot<u32>,
    pub(crate) gid: Slot<u32>,
    pub(crate) mtime: Slot<Timestamp>,
    pub(crate) atime: Slot<Timestamp>,
    pub(crate) ctime: Slot<Timestamp>,
    pub(crate) crtime: Slot<Timestamp>,
    pub(crate) devmajor: Slot<u32>,
    pub(crate) devminor: Slot<u32>,
    /// star's word for what the typeflag can't express.
    pub(crate) filetype: Slot<Vec<u8>>,
    pub(crate) acl_access: Slot<Vec<u8>>,
    pub(crate) acl_default: Slot<Vec<u8>>,
    /// `SCHILY.xattr.*`, and SELinux contexts.
    pub(crate) xattrs: Xattrs,
    /// `LIBARCHIVE.xattr.*`: the same attributes once more, for programs that don't read the other ones.
    pub(crate) other_xattrs: Xattrs,
    pub(crate) sparse: Keys,
}

/// A value that a header sets, takes back, or says nothing of.
#[derive(Clone, Debug, Default)]
pub(crate) enum Slot<T> {
    #[default]
    Silent,
    Empty,
    Set(T),
}

impl<T: Clone> Slot<T> {
    /// This header's value, or else the wider one's.
    pub(crate) fn over(&self, global: &Self) -> Option<T> {
        match (self, global) {
            (Self::Set(value), _) | (Self::Silent, Self::Set(value)) => Some(value.clone()),
            _ => None,
        }
    }

    /// This header's value.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            _ => None,
        }
    }

    fn set(&mut self, value: &[u8], parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<(), String> {
        *self = if value.is_empty() { Self::Empty } else { Self::Set(parse(value)?) };
        Ok(())
    }
}

impl Pax {
    /// Takes in the records of one header.
    pub(crate) fn read(&mut self, records: &[u8], global: bool) -> Result<(), String> {
        let mut rest = records;
        while !rest.is_empty() {
            let at = records.len() - rest.len();
            let (key, value, after) =
                record(rest).ok_or_else(|| format!("a record of it, at byte {at}, is malformed"))?;
            self.set(key, value, global)
                .map_err(|fault| format!("its record `{}` {fault}", key.escape_ascii()))?;
            rest = after;
        }
        let attributes = self.xattrs.iter().chain(&self.other_xattrs);
        if attributes.map(|(name, value)| name.len() + value.len()).sum::<usize>() > 2 * MAX_XATTRS {
            return Err(format!("its extended attributes have more than {MAX_XATTRS} bytes"));
        }
        self.sparse.end_header()
    }

    fn set(&mut self, key: &[u8], value: &[u8], global: bool) -> Result<(), String> {
        let own = [&b"GNU.sparse."[..], b"SCHILY.xattr.", b"LIBARCHIVE.xattr.", b"RHT."];
        if global
            && (matches!(key, b"path" | b"linkpath" | b"size")
                || own.iter().any(|start| key.starts_with(start)))
        {
            return Err("can't be set for all entries".to_owned());
        }
        match key {
            b"path" => self.path.set(value, bytes)?,
            b"linkpath" => self.linkpath.set(value, bytes)?,
            b"size" => self.size.set(value, decimal)?,
            b"uid" => self.uid.set(value, id)?,
            b"gid" => self.gid.set(value, id)?,
            b"mtime" => self.mtime.set(value, time)?,
            b"atime" => self.atime.set(value, time)?,
            b"ctime" => self.ctime.set(value, time)?,
            b"LIBARCHIVE.creationtime" => self.crtime.set(value, time)?,
            b"SCHILY.devmajor" => self.devmajor.set(value, id)?,
            b"SCHILY.devminor" => self.devminor.set(value, id)?,
            b"SCHILY.filetype" => self.filetype.set(value, bytes)?,
            b"SCHILY.acl.access" => self.acl_access.set(value, bytes)?,
            b"SCHILY.acl.default" => self.acl_default.set(value, bytes)?,
            b"SCHILY.acl.ace" if !value.is_empty() => {
                return Err("is an NFSv4 access control list, which ext4 can't hold".to_owned());
            }
            b"RHT.security.selinux" => {
                // The kernel counts the final NUL, the record doesn't.
                let context = [value, b"\0"].concat();
                xattr::insert(&mut self.xattrs, b"security.selinux".to_vec(), context)?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    xattr::insert(&mut self.xattrs, xattr::schily_name(name), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = xattr::libarchive_name(name)?;
                    xattr::insert(&mut self.other_xattrs, name, xattr::base64(value)?)?;
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value)?;
                }
                // The rest says nothing about a file that an image could hold: comment, charset, uname, inode numbers
                // where it was archived.
            }
        }
        Ok(())
    }

    /// The extended attributes of both kinds of records.
    pub(crate) fn all_xattrs(&mut self) -> Xattrs {
        let mut all = std::mem::take(&mut self.xattrs);
        for (name, value) in &self.other_xattrs {
            // The same attribute in the other kind of record, if bsdtar's spelling of its name was misread there: some
            // versions encode it as they do here, some don't escape the `=` that seems to end it.
            let encoded = xattr::schily_name(&xattr::libarchive_key(name));
            let bare = [name, &b"="[..], value].concat();
            let equals = bare.iter().position(|c| *c == b'=').unwrap_or(0);
            let cut = xattr::schily_name(&bare[..equals]);
            for (misread, value) in [(encoded, &value[..]), (cut, &bare[equals + 1..])] {
                if misread[..] != **name && all.get(&misread[..]).is_some_and(|v| **v == *value) {
                    all.remove(&misread[..]);
                }
            }
        }
        for (name, value) in &self.other_xattrs {
            all.entry(name.clone()).or_insert_with(|| value.clone());
        }
        all
    }
}

/// The first record's key and value, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|c| *c == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space]).ok()?).ok()?;
    if len <= space || len > bytes.len() {
        return None;
    }
    let (record, after) = bytes.split_at(len);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|c| *c == b'=').filter(|at| *at > 0)?;
    Some((&record[..equals], &record[equals + 1..], after))
}

fn bytes(value: &[u8]) -> Result<Vec<u8>, String> {
    Ok(value.to_vec())
}

/// A number in decimal digits and nothing else.
pub(super) fn decimal(value: &[u8]) -> Result<u64, String> {
    let fault = || format!("is not a number: `{}`", value[..value.len().min(40)].escape_ascii());
    if value.is_empty() {
        return Err(fault());
    }
    value.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0')).ok_or_else(fault)?;
        number.checked_mul(10).and_then(|n| n.checked_add(digit)).ok_or_else(fault)
    })
}

fn id(value: &[u8]) -> Result<u32, String> {
    let number = decimal(value)?;
    u32::try_from(number).map_err(|_| format!("is {number}, which no Linux system can hold"))
}

/// Seconds with a fraction, to the nanosecond below: `-1.5` is half a second before -1.
fn time(value: &[u8]) -> Result<Timestamp, String> {
    let fault = || format!("is not a time: `{}`", value[..value.len().min(40)].escape_ascii());
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let point = digits.iter().position(|c| *c == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(fault());
    }
    let sec = decimal(whole).ok().and_then(|sec| i64::try_from(sec).ok()).ok_or_else(fault)?;
    let nsec = (0..9).fold(0, |n, i| n * 10 + u32::from(fraction.get(i).map_or(0, |digit| digit - b'0')));
    if !negative {
        return Ok(Timestamp { sec, nsec });
    }
    let beyond = fraction.get(9..).is_some_and(|rest| rest.iter().any(|digit| *digit != b'0'));
    let nsec = nsec + u32::from(beyond);
    // Neither can overflow: `sec` is not negative.
    Ok(if nsec == 0 {
        Timestamp { sec: -sec, nsec }
    } else {
        Timestamp { sec: -sec - 1, nsec: 1_000_000_000 - nsec }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax::default();
        pax.read(records, false).map(|()| pax)
    }

    #[test]
    fn records_are_measured() {
        assert_eq!(read(b"10 path=a\n12 path=abc\n").unwrap().path.get().unwrap(), b"abc");
        assert_eq!(read(b"14 path=a=\nb=\n").unwrap().path.get().unwrap(), b"a=\nb=");
        for bad in [
            &b"11 path=a\n"[..],
            b"8 path=a\n",
            b"10 path=a.",
            b"path=a\n",
            b"10path=a\n",
            b" 10 path=a\n",
            b"-1 path=a\n",
            b"99999999999999999999 path=a\n",
            b"5 a\n",
            b"5 =a\n",
            b"1 ",
            b"10 path=a\n\0",
        ] {
            assert!(read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn times() {
        for (text, sec, nsec) in [
            ("0", 0, 0),
            ("1700000000.123456789", 1_700_000_000, 123_456_789),
            ("1.5", 1, 500_000_000),
            ("1.9999999999", 1, 999_999_999),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
            ("-1.0000000001", -2, 999_999_999),
            ("-0.9999999999", -1, 0),
            ("7.", 7, 0),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(Timestamp { sec, nsec }), "{text}");
        }
        for bad in ["", "-", ".5", "1.5.5", "1e3", "--1", "9223372036854775808", "1,5", "+1"] {
            assert!(time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_value_brings_back_the_header_s_own() {
        let mut global = Pax::default();
        global.read(b"9 uid=77\n9 gid=88\n", true).unwrap();
        let local = read(b"7 uid=\n").unwrap();
        assert_eq!(local.uid.over(&global.uid), None);
        assert_eq!(local.gid.over(&global.gid), Some(88));
        assert!(global.read(b"10 size=1\n", true).unwrap_err().contains("can't be set for all"));
    }
}
