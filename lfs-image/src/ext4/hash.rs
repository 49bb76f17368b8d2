//! The hash of directory names: half-MD4 with a seed.
//!
//! Source: kernel documentation, "Hash Tree Directories"; the function is `ext4fs_dirhash` in `fs/ext4/hash.c`: MD4's
//! first three rounds on half of its input words, over the name in pieces of 32 bytes. Name bytes are widened as
//! signed, as x86 does; the superblock's `s_flags` says so.

/// A name's place in a hash tree.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct DirHash {
    /// What the tree is indexed by; bit 0 is clear, the index uses it to mark collisions.
    pub(crate) major: u32,
    /// Orders names of equal major hash.
    pub(crate) minor: u32,
}

/// The hash of a name under a seed of four little-endian words; a seed of zeros means MD4's own start values.
pub(crate) fn half_md4(seed: &[u8; 16], name: &[u8]) -> DirHash {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    if *seed != [0; 16] {
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
    }
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = &rest[rest.len().min(32)..];
    }
    // The largest hash means "end of directory" to the kernel, so no name may have it.
    let major = match state[1] & !1 {
        0xffff_fffe => 0xffff_fffc,
        major => major,
    };
    DirHash { major, minor: state[2] }
}

/// Up to 32 bytes as 8 words; what is missing is filled with the length (of all that is left) in every byte.
fn words(name: &[u8]) -> [u32; 8] {
    // Names are at most 255 bytes long.
    let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let pad = len | len << 8;
    let pad = pad | pad << 16;
    let mut words = [pad; 8];
    for (word, chunk) in words.iter_mut().zip(name.chunks(4)) {
        for byte in chunk {
            *word = (*word << 8).wrapping_add_signed(i32::from(byte.cast_signed()));
        }
    }
    words
}

fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    const ROUNDS: [(u32, [usize; 8], [u32; 4]); 3] = [
        (0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (round, (constant, order, shifts)) in ROUNDS.iter().enumerate() {
        for (step, index) in order.iter().enumerate() {
            let mixed = match round {
                0 => d ^ (b & (c ^ d)),
                1 => (b & c).wrapping_add((b ^ c) & d),
                _ => b ^ c ^ d,
            };
            let sum = a.wrapping_add(mixed).wrapping_add(input[*index]).wrapping_add(*constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values by `debugfs -R 'dx_hash -h half_md4 NAME'`, e2fsprogs 1.47.0 on x86-64. Seeds are judged by
    /// the kernel's lookups in whole images.
    #[test]
    fn vectors() {
        for (name, major, minor) in [
            ("a", 0xd5fa_7d7a, 0xacb4_8187),
            ("vmlinuz-6.1.0-56-cloud-amd64", 0x900c_9f0e, 0x9dbf_63be),
            ("a-name-that-is-longer-than-thirty-two-bytes-by-some-way", 0xdc94_65d6, 0xe9b7_f844),
            ("h\u{e9}", 0x4eff_ee6a, 0x146c_b2ad),
        ] {
            assert_eq!(half_md4(&[0; 16], name.as_bytes()), DirHash { major, minor }, "{name}");
        }
    }
}
