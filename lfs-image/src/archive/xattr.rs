//! Extended attributes in extended headers.
//!
//! `SCHILY.xattr.NAME` carries the value as it is. GNU tar escapes `=` and `%` in the name, since the first `=` ends a
//! record's key; nobody else does, and a name with `%25` or `%3D` in it is read as GNU tar reads it. `LIBARCHIVE.xattr.NAME`
//! has the name URL-encoded and the value in base64; bsdtar writes both. Where they differ the first counts, unless it is
//! the second misread for want of escaping.

use crate::tree::Xattrs;

/// The most bytes of a name and of a value that Linux takes.
const MAX_NAME: usize = 255;
const MAX_VALUE: usize = 65_536;

/// Adds an attribute, unless it is one of macOS's own that no Linux system can hold.
pub(super) fn insert(xattrs: &mut Xattrs, name: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
    // Archives made on a Mac have them on nearly every file, and they mean nothing elsewhere.
    if name.starts_with(b"com.apple.") {
        return Ok(());
    }
    if name.is_empty() || name.len() > MAX_NAME || name.contains(&0) {
        return Err(format!("has an impossible attribute name of {} bytes", name.len()));
    }
    if ![&b"user."[..], b"trusted.", b"security.", b"system."].iter().any(|space| name.starts_with(space)) {
        return Err("is an attribute outside of user, trusted, security and system, which Linux can't hold"
            .to_owned());
    }
    if value.len() > MAX_VALUE {
        return Err(format!("has a value of {} bytes, Linux holds {MAX_VALUE}", value.len()));
    }
    xattrs.insert(name.into(), value.into());
    Ok(())
}

/// The attribute's name as GNU tar decodes it.
pub(super) fn schily_name(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((first, after)) = rest.split_first() {
        (rest, _) = match rest {
            [b'%', b'3', b'D', after @ ..] => (after, name.push(b'=')),
            [b'%', b'2', b'5', after @ ..] => (after, name.push(b'%')),
            _ => (after, name.push(*first)),
        };
    }
    name
}

/// A URL-encoded name.
pub(super) fn libarchive_name(key: &[u8]) -> Result<Vec<u8>, String> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            name.push(*first);
            continue;
        }
        let hex = |c: &u8| char::from(*c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let [high, low, after @ ..] = after else { return Err("has a broken `%` in its name".to_owned()) };
        let (Some(high), Some(low)) = (hex(high), hex(low)) else {
            return Err("has a broken `%` in its name".to_owned());
        };
        name.push(high << 4 | low);
        rest = after;
    }
    Ok(name)
}

/// A name URL-encoded as libarchive does it.
pub(super) fn libarchive_key(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len());
    for c in name {
        match c {
            b'%' | b'=' | 0..=32 | 127.. => key.extend_from_slice(format!("%{c:02X}").as_bytes()),
            _ => key.push(*c),
        }
    }
    key
}

/// Base64 with or without `=` at its end.
pub(super) fn base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = text.trim_ascii();
    let end = text.iter().rposition(|c| *c != b'=').map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 3);
    for group in text[..end].chunks(4) {
        let mut bits: u32 = 0;
        for c in group {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err("is not base64".to_owned()),
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        let [_, three @ ..] = bits.to_be_bytes();
        match group.len() {
            4 => bytes.extend_from_slice(&three),
            3 => bytes.extend_from_slice(&three[..2]),
            2 => bytes.push(three[0]),
            _ => return Err("is not base64".to_owned()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(schily_name(b"user.a%3Db%25c%2e%"), b"user.a=b%c%2e%");
        assert_eq!(libarchive_name(b"user.%c3%A4=%25").unwrap(), b"user.\xc3\xa4=%");
        assert_eq!(libarchive_key(b"user.a=b %"), b"user.a%3Db%20%25");
        assert!(libarchive_name(b"user.%c").is_err());
        assert!(libarchive_name(b"user.%zz").is_err());
    }

    #[test]
    fn base64_values() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zg==", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("/+8=", b"\xff\xef"),
        ] {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes, "{text}");
        }
        assert!(base64(b"Zm9vY").is_err());
        assert!(base64(b"Z!==").is_err());
    }

    #[test]
    fn names_that_linux_can_t_hold() {
        let mut set = Xattrs::new();
        insert(&mut set, b"com.apple.provenance".to_vec(), vec![1]).unwrap();
        assert!(set.is_empty());
        assert!(insert(&mut set, b"whatever".to_vec(), vec![]).is_err());
        assert!(insert(&mut set, [b"user.".as_slice(), &[b'x'; 251]].concat(), vec![]).is_err());
        assert!(insert(&mut set, b"user.x".to_vec(), vec![0; 65_537]).is_err());
        insert(&mut set, b"user.x".to_vec(), vec![0; 65_536]).unwrap();
    }
}
