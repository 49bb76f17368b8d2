//! Accounts with passwords.

use crate::error::Result;
use crate::tree::edit::{Editor, File};

/// Whether it is a list of accounts, or what somebody or some program kept of one: `/etc/shadow-`, `/etc/passwd.old`.
pub(super) fn is_file_of(path: &[u8]) -> bool {
    list(path).is_some()
}

/// What a list of accounts is called.
fn list(path: &[u8]) -> Option<&'static str> {
    let name = path.strip_prefix(b"/etc/").filter(|name| !name.contains(&b'/'))?;
    let is_of = |list: &str| {
        name.strip_prefix(list.as_bytes())
            .is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'-' | b'.' | b'~' | b'+'))
    };
    ["passwd", "shadow", "gshadow", "group"].into_iter().find(|list| is_of(list))
}

/// Whether the second field of a line lets somebody in, or could be cracked.
fn is_password(list: &str, field: &str) -> bool {
    // A hash that is locked can still be cracked.
    let hash = field.trim_start_matches(['!', '*']);
    let is_hash = hash.starts_with('$') || hash.starts_with('_') || hash.len() >= 13;
    match list {
        // Nothing says that there is no password; in groups, that none is asked for.
        "passwd" | "shadow" => field.is_empty() || is_hash,
        _ => is_hash,
    }
}

/// Ways of hashing, and how long what follows salt and parameters is. Source: crypt(5).
const HASHES: [(&str, usize); 9] = [
    ("$6$", 86),
    ("$5$", 43),
    ("$1$", 22),
    ("$apr1$", 22),
    ("$y$", 43),
    ("$gy$", 43),
    ("$7$", 43),
    ("$2b$", 53),
    ("$2y$", 53),
];

/// Whether a text has a hash of a password anywhere, as crypt(3) or GRUB makes them.
pub(super) fn has_hash(bytes: &[u8]) -> bool {
    let is_of_hash = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'/' | b'$' | b'=' | b',');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|c| *c == b'$') {
        rest = &rest[at..];
        let word = &rest[..rest.iter().position(|c| !is_of_hash(c)).unwrap_or(rest.len())];
        let last = word.rsplit(|c| *c == b'$').next().unwrap_or_default();
        if HASHES.iter().any(|(start, len)| word.starts_with(start.as_bytes()) && last.len() == *len) {
            return true;
        }
        rest = &rest[1..];
    }
    super::find(bytes, b"grub.pbkdf2.sha512.").is_some_and(|at| {
        let digits = bytes[at + 19..].iter().take_while(|c| c.is_ascii_hexdigit() || **c == b'.').count();
        digits >= 40
    })
}

/// Who has a password by a list of accounts, if anybody.
pub(super) fn find(path: &[u8], bytes: &[u8]) -> Option<(&'static str, String)> {
    let list = list(path)?;
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.next()?))
    });
    let found: Vec<(&str, &str)> = lines.filter(|(_, field)| is_password(list, field)).collect();
    let (first, field) = found.first()?;
    let more = if found.len() > 1 { format!(" and {} more", found.len() - 1) } else { String::new() };
    let what = if field.is_empty() { "no password at all, so anybody gets in" } else { "a password's hash" };
    let is_root = found.iter().any(|(name, _)| *name == "root");
    let id = if is_root && path.ends_with(list.as_bytes()) { "root-password" } else { "password" };
    Some((id, format!("{first}{more}: {what}")))
}

/// Locks every password of a file.
pub(super) fn lock(editor: &mut Editor<'_>, path: &str, why: &str) -> Result<()> {
    let (Some(text), Some(list)) = (editor.read(path)?, list(path.as_bytes())) else { return Ok(()) };
    let mut new = String::with_capacity(text.len());
    for line in text.lines() {
        match line.split_once(':').and_then(|(name, rest)| Some((name, rest.split_once(':')?))) {
            Some((name, (field, rest))) if is_password(list, field) => {
                new.push_str(&format!("{name}:*:{rest}"));
            }
            _ => new.push_str(line),
        }
        new.push('\n');
    }
    editor.write(File::new(path, &new, why).secret())
}
