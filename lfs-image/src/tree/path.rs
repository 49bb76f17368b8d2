//! Paths of archive entries: bytes between slashes.
//!
//! A path is taken relative to the root of the image, whatever its first byte: `/usr`, `./usr`, `usr/` and `usr//.` all
//! name `usr`. `..` is refused, because no archiver writes it without being asked to, and what it means depends on
//! symbolic links that may come later.

use super::Tree;
use crate::error::{Error, Result};

/// The longest path of an entry, in bytes.
pub(crate) const MAX_PATH: usize = 65_535;

/// Writes `path` into `out` as names between single slashes; the root directory's is empty.
pub(crate) fn normalize(path: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    if path.len() > MAX_PATH {
        return Err(Error::input(format!("its path is {} bytes long, the limit is {MAX_PATH}", path.len())));
    }
    if path.contains(&0) {
        return Err(Error::input("its path contains a NUL byte"));
    }
    for name in path.split(|c| *c == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err(Error::input("its path contains `..`")),
            _ if name.len() > Tree::MAX_NAME => {
                return Err(Error::input(format!(
                    "its path contains a name of {} bytes, ext4 holds {}",
                    name.len(),
                    Tree::MAX_NAME
                )));
            }
            _ => {}
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(name);
    }
    Ok(())
}

/// A normalized path as the directory's path and the name in it; the name is empty for the root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|c| *c == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// A path as it is shown in messages: escaped, and cut where it is long.
pub(crate) fn show(path: &[u8]) -> String {
    const SHOWN: usize = 512;
    if path.len() <= SHOWN {
        path.escape_ascii().to_string()
    } else {
        format!("{}… ({} bytes)", path[..SHOWN].escape_ascii(), path.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &[u8]) -> Result<Vec<u8>> {
        let mut out = b"left over".to_vec();
        normalize(path, &mut out)?;
        Ok(out)
    }

    #[test]
    fn one_spelling_of_each_path() {
        for path in ["usr/lib", "/usr/lib", "./usr/lib", "usr//lib/", "///./usr/./lib/."] {
            assert_eq!(normal(path.as_bytes()).unwrap(), b"usr/lib", "{path}");
        }
        for root in ["", "/", ".", "./", "//./."] {
            assert_eq!(normal(root.as_bytes()).unwrap(), b"", "{root}");
        }
        assert_eq!(normal(b"...").unwrap(), b"...");
    }

    #[test]
    fn refused_paths() {
        for (path, word) in [
            (b"a/../b".to_vec(), "`..`"),
            (b"..".to_vec(), "`..`"),
            (b"a\0b".to_vec(), "NUL"),
            (vec![b'x'; 256], "256 bytes"),
            (b"a/".repeat(40_000), "80000 bytes"),
        ] {
            assert!(normal(&path).unwrap_err().to_string().contains(word), "{word}");
        }
        assert_eq!(normal(&[b'x'; 255]).unwrap().len(), 255);
    }

    #[test]
    fn splits() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split(b""), (&b""[..], &b""[..]));
    }
}
