//! The names of modules in an initial RAM disk.
//!
//! It is a row of cpio archives ("newc"), the first ones plain (microcode), the last one compressed.
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst in Linux.

use std::collections::BTreeSet;

use super::unpack::unpack;
use crate::boot::kernel::Initrd;
use crate::error::{Error, Result};
use crate::tree::Root;

/// The largest one that is looked into, packed.
const MAX: u64 = 512 << 20;
/// How much of one is looked into, unpacked; and the most modules that are counted.
const MAX_UNPACKED: u64 = 4 << 30;
const MAX_MODULES: usize = 100_000;
/// Bytes of a header.
const HEADER: usize = 110;

/// Modules by the name that the kernel gives them: `nvme_core` for `…/nvme-core.ko.xz`.
pub(super) fn modules(root: Root<'_>, initrd: &Initrd) -> Result<BTreeSet<String>> {
    let blob = initrd.content.to_blob();
    if blob.len() > MAX {
        return Err(Error::input(format!("{} is {} bytes long", initrd.path, blob.len())));
    }
    let mut packed = blob.read(root.store, 0, blob.len())?;
    let mut list = List::default();
    let mut plain = 0;
    while packed[plain..].starts_with(b"07070") {
        plain += list.feed_plain(&packed[plain..]);
    }
    packed.drain(..plain);
    if !packed.is_empty() {
        let mut inner = List::default();
        unpack(packed, &mut |bytes| inner.feed(bytes))
            .map_err(|e| e.context(format!("read {}", initrd.path)))?;
        list.modules.append(&mut inner.modules);
    }
    Ok(list.modules)
}

/// A module's name from its path.
pub(super) fn module_name(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

/// Reads headers of cpio as they come, and skips content.
#[derive(Debug, Default)]
struct List {
    modules: BTreeSet<String>,
    buf: Vec<u8>,
    skip: u64,
    unpacked: u64,
}

impl List {
    /// Reads one plain archive with the zeros behind it; says where that ends.
    fn feed_plain(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some((name, data)) = header(&bytes[at..]) {
            let next =
                at.saturating_add(data.0).saturating_add(usize::try_from(data.1).unwrap_or(usize::MAX));
            let trailer = name == b"TRAILER!!!";
            self.modules.extend(std::str::from_utf8(name).ok().and_then(module_name));
            at = next.min(bytes.len());
            if trailer {
                while bytes.get(at) == Some(&0) {
                    at += 1;
                }
                return at;
            }
        }
        // What isn't understood isn't looked at.
        bytes.len()
    }

    /// Takes a piece; has enough when there is more than any RAM disk has.
    fn feed(&mut self, mut bytes: &[u8]) -> bool {
        self.unpacked += bytes.len() as u64;
        let step = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= step as u64;
        bytes = &bytes[step..];
        self.buf.extend_from_slice(bytes);
        let buf = std::mem::take(&mut self.buf);
        let mut at = 0;
        loop {
            // Zeros are between archives.
            at += buf[at..].iter().take_while(|byte| **byte == 0).count();
            let Some((name, (head, len))) = header(&buf[at..]) else { break };
            self.modules.extend(std::str::from_utf8(name).ok().and_then(module_name));
            let there = (buf.len() - at - head) as u64;
            if there < len {
                self.skip = len - there;
                at = buf.len();
                break;
            }
            at += head + usize::try_from(len).unwrap_or(usize::MAX);
        }
        let rest = &buf[at..];
        let is_other = rest.len() > HEADER + 8192 || (rest.len() >= 6 && !rest.starts_with(b"07070"));
        self.buf = rest.to_vec();
        is_other || self.unpacked >= MAX_UNPACKED || self.modules.len() >= MAX_MODULES
    }
}

/// The name of the entry whose header is in front, how long the header with the name is, and how long its data, both with
/// what pads them to 4 bytes.
fn header(bytes: &[u8]) -> Option<(&[u8], (usize, u64))> {
    if bytes.len() < HEADER || !bytes.starts_with(b"07070") {
        return None;
    }
    let field = |n: usize| {
        let digits = std::str::from_utf8(bytes.get(6 + 8 * n..14 + 8 * n)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (size, name_size) = (field(6)?, usize::try_from(field(11)?).ok()?);
    if name_size > 4096 {
        return None;
    }
    let name = bytes.get(HEADER..HEADER + name_size)?;
    let head = (HEADER + name_size).next_multiple_of(4);
    bytes.get(..head)?;
    Some((name.strip_suffix(b"\0").unwrap_or(name), (head, u64::from(size).next_multiple_of(4))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    fn entry(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"070701".to_vec();
        let mut fields = [0_usize; 13];
        (fields[6], fields[11]) = (data.len(), name.len() + 1);
        for field in fields {
            bytes.extend(format!("{field:08x}").bytes());
        }
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let tree = tree(&[("boot/initrd", bytes)]);
        let root = Root::new(&tree, &NoStore);
        let initrd =
            Initrd { path: "/boot/initrd".into(), content: root.file("boot/initrd").unwrap().clone() };
        modules(root, &initrd).unwrap().into_iter().collect()
    }

    #[test]
    fn archives_in_a_row() {
        let mut early = [entry("kernel/x86/microcode/a.bin", &[7; 1001]), entry("TRAILER!!!", b"")].concat();
        early.resize(early.len().next_multiple_of(512), 0);
        let main = [
            entry("lib/modules/6.1/kernel/drivers/nvme/host/nvme-core.ko", &[1; 200_000]),
            entry("lib/modules/6.1/ena.ko.xz", b"x"),
            entry("init", b"#!"),
            entry("TRAILER!!!", b""),
        ]
        .concat();
        assert_eq!(names(&[&early[..], &main].concat()), ["ena", "nvme_core"]);
        for size in [1, 7, 110, 4096] {
            let mut list = List::default();
            for piece in main.chunks(size) {
                assert!(!list.feed(piece));
            }
            assert_eq!(list.modules.len(), 2, "in pieces of {size}");
        }
        assert!(names(b"07070 and nothing that makes sense").is_empty());
        assert!(names(b"").is_empty());
    }
    /// Work that grows with the square of their number would take hours.
    #[test]
    fn a_hundred_thousand_archives_in_a_row() {
        let mut many = entry("TRAILER!!!", b"").repeat(200_000);
        many.extend(entry("lib/modules/6.1/late.ko", b"x"));
        assert_eq!(names(&many), ["late"]);
        let mut list = List::default();
        for piece in many.chunks(128 << 10) {
            assert!(!list.feed(piece));
        }
        assert_eq!(list.modules.len(), 1);
    }

    #[test]
    fn what_is_unpacked_has_an_end() {
        let mut list = List { unpacked: MAX_UNPACKED - 4096, ..List::default() };
        assert!(list.feed(&[0; 4096]));
        let many: Vec<u8> = (0..MAX_MODULES).flat_map(|n| entry(&format!("{n}.ko"), b"")).collect();
        assert!(List::default().feed(&many));
    }
}
