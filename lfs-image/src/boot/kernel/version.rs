//! Which of two kernels is newer, by the versions in their names.
//!
//! A version is read as numbers and words; everything else only separates them. Numbers compare by value, so 6.10
//! is newer than 6.9. A release candidate is older than its release, and what an installation kept as `.old` is
//! older than what it installed.

use std::cmp::Ordering;

/// A number or a word of a version, or the end of it; in ascending order.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Token<'a> {
    /// A word that makes a version older than the one without it.
    Candidate(&'a [u8]),
    Kept,
    End,
    Word(&'a [u8]),
    /// A number without its leading zeros: its digits decide only between numbers of one length.
    Number(usize, &'a [u8]),
}

/// Compares two versions: `Less` is older.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    loop {
        let (x, y) = (next(&mut a_rest), next(&mut b_rest));
        match x.cmp(&y) {
            // Versions that read alike (6.1 and 6-1) still have one order.
            Ordering::Equal if x == Token::End => return a.cmp(b),
            Ordering::Equal => {}
            other => return other,
        }
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Token<'a> {
    if let Some(at) = rest.iter().position(u8::is_ascii_alphanumeric) {
        *rest = &rest[at..];
    } else {
        *rest = &[];
    }
    let Some(first) = rest.first() else { return Token::End };
    let same = |c: &u8| if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
    let len = rest.iter().take_while(|c| same(c)).count();
    let (token, tail) = rest.split_at(len);
    *rest = tail;
    if first.is_ascii_digit() {
        let zeros = token.iter().take_while(|c| **c == b'0').count();
        return Token::Number(len - zeros, &token[zeros..]);
    }
    match token {
        b"rc" | b"pre" | b"alpha" | b"beta" => Token::Candidate(token),
        b"old" | b"bak" => Token::Kept,
        _ => Token::Word(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending() {
        let order = [
            "0-rescue-2c5b6a",
            "4.19.0-27-amd64",
            "6.1.0-9-amd64",
            "6.1.0-50-cloud-amd64",
            "6.9.3-lfs-12.1",
            "6.10-rc1",
            "6.10~rc2",
            "6.10-rc7",
            "6.10-rc10",
            "6.10.old",
            "6.10",
            "6.10-lfs-12.2",
            "6.10.0-rc3",
            "6.10.0",
            "6.10.3-lfs-12.2.old",
            "6.10.3-lfs-12.2",
            "6.10.14-lfs-12.2",
            "6.10.14-lfs-12.10",
            "6.16.1",
            "6.16.1-lfs-12.4",
            "6.16.2.fc39.x86_64",
            "20250101000000000000000000000000000000",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(compare(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn like_sort_by_version() {
        // What `sort -V` says of names without words that date a version back.
        for (older, newer) in
            [("6.1", "6.1.1"), ("6.01", "6.2"), ("5.15.100", "5.15.101"), ("6.1-9", "6.1-10")]
        {
            assert_eq!(compare(older.as_bytes(), newer.as_bytes()), Ordering::Less);
        }
        assert_eq!(compare(b"6.1", b"6.1"), Ordering::Equal);
        assert_ne!(compare(b"6.1", b"6-1"), Ordering::Equal);
    }
}
