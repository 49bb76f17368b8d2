//! Files that are edited as text, whatever their encoding: bytes that are no UTF-8 are carried through edits as characters of
//! a private area (from U+F780 on), and are the same bytes afterwards.

/// What a byte from 0x80 on is added to.
const PRIVATE: u32 = 0xf700;

/// A text of these bytes; [`encode`] makes the bytes of it again.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let carry = |bytes: &[u8], text: &mut String| {
        text.extend(bytes.iter().filter_map(|byte| char::from_u32(PRIVATE + u32::from(*byte))));
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // What looks like a byte that is carried is carried byte by byte.
            match carried(c) {
                Some(_) => carry(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
                None => text.push(c),
            }
        }
        carry(chunk.invalid(), &mut text);
    }
    text
}

/// The bytes of a text.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match carried(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// A text for people: what isn't UTF-8 is shown as such.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|c| if carried(c).is_some() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The byte that a character stands for.
fn carried(c: char) -> Option<u8> {
    u8::try_from(u32::from(c).checked_sub(PRIVATE)?).ok().filter(|byte| *byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let every: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        for bytes in
            [&b"plain"[..], "ä€😀".as_bytes(), b"latin-1: \xe4\xf6", "\u{f7e4}\u{f6ff}".as_bytes(), &every]
        {
            assert_eq!(encode(&decode(bytes)), bytes);
        }
        assert_eq!(decode("ä".as_bytes()), "ä");
        assert_eq!(shown(&decode(b"a\xe4b")), "a\u{fffd}b");
    }
}
