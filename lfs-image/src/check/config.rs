//! A kernel's configuration: from a file beside it, or from the kernel itself.
//!
//! With CONFIG_IKCONFIG the kernel carries its own configuration, as a gzip stream between `IKCFG_ST` and `IKCFG_ED`, in the
//! part of a bzImage that is itself compressed. Source: kernel/configs.c and scripts/extract-ikconfig in Linux.

use std::collections::BTreeMap;

use super::unpack::unpack;
use crate::boot::kernel::{Format, Image, Kernel};
use crate::error::Result;
use crate::raw::num::index;
use crate::tree::Root;
use crate::tree::root::le32;

/// No configuration comes near this size.
const MAX_TEXT: u64 = 4 << 20;
/// The largest kernel that is unpacked.
const MAX_KERNEL: u64 = 256 << 20;

/// What a kernel was built with.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// Where this is from, for people.
    pub(super) from: String,
    values: BTreeMap<String, String>,
}

impl Config {
    pub(super) fn parse(from: impl Into<String>, text: &str) -> Self {
        let values = text
            .lines()
            .filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='))
            .map(|(symbol, value)| (symbol.to_owned(), value.trim().to_owned()));
        Self { from: from.into(), values: values.collect() }
    }

    /// `y`, `m`, or nothing.
    pub(super) fn get(&self, symbol: &str) -> &str {
        self.values.get(symbol).map_or("", String::as_str)
    }
}

/// The configuration of a kernel, if it can be found.
pub(super) fn of(root: Root<'_>, kernel: &Kernel) -> Result<Option<Config>> {
    let dir = kernel.path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut paths = Vec::new();
    for version in [kernel.version.as_ref(), kernel.image.release.as_ref()].into_iter().flatten() {
        paths.extend([
            format!("{dir}/config-{version}"),
            format!("/boot/config-{version}"),
            format!("/usr/lib/modules/{version}/config"),
            format!("/lib/modules/{version}/config"),
        ]);
    }
    if let Some((dir, _)) = kernel.path.rsplit_once("/vmlinuz") {
        paths.push(format!("{dir}/config"));
    }
    for path in paths {
        let Some(content) = root.file(&path) else { continue };
        let text = String::from_utf8_lossy(&root.read(content, &path, MAX_TEXT)?).into_owned();
        let config = Config::parse(&path, &text);
        if !config.values.is_empty() {
            return Ok(Some(config));
        }
    }
    Ok(embedded(root, kernel)
        .map(|text| Config::parse(format!("{}'s own configuration", kernel.path), &text)))
}

/// The configuration that is in the kernel itself.
fn embedded(root: Root<'_>, kernel: &Kernel) -> Option<String> {
    let blob = kernel.content.to_blob();
    if blob.len() > MAX_KERNEL {
        return None;
    }
    let packed = match payload(&kernel.image, &root.head(&blob, 64).ok()?) {
        Some((at, len)) if at.checked_add(len)? <= blob.len() => blob.read(root.store, at, len).ok()?,
        // An arm64 Image is not compressed.
        _ => blob.read(root.store, 0, blob.len()).ok()?,
    };
    let mut search = Search::default();
    unpack(packed, &mut |bytes| search.feed(bytes)).ok()?;
    let mut text = Vec::new();
    unpack(search.found?, &mut |bytes| {
        text.extend_from_slice(bytes);
        text.len() > index(MAX_TEXT)
    })
    .ok()?;
    String::from_utf8(text).ok()
}

/// Where the compressed part of a kernel is: its offset in the file and its length.
fn payload(image: &Image, head: &[u8]) -> Option<(u64, u64)> {
    if matches!(image.format, Format::Zboot) {
        // Source: drivers/firmware/efi/libstub/zboot-header.S in Linux.
        return Some((le32(head, 8)?.into(), le32(head, 12)?.into()));
    }
    let setup = image.setup()?;
    // Source: Documentation/arch/x86/boot.rst: 0 means 4.
    let sectors = u64::from(if setup.setup_sects == 0 { 4 } else { setup.setup_sects });
    let at = (sectors + 1) * 512 + u64::from(setup.payload_offset.get());
    let len = u64::from(setup.payload_length.get());
    (len > 0).then_some((at, len))
}

/// Looks for what is between two marks in a stream.
#[derive(Debug, Default)]
struct Search {
    tail: Vec<u8>,
    inside: bool,
    found: Option<Vec<u8>>,
}

impl Search {
    const START: &[u8] = b"IKCFG_ST";
    const END: &[u8] = b"IKCFG_ED";

    /// Says whether it is found, or can't be any more.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        loop {
            let mark = if self.inside { Self::END } else { Self::START };
            let at = self.tail.windows(mark.len()).position(|window| window == mark);
            match at {
                Some(at) if self.inside => {
                    self.tail.truncate(at);
                    self.found = Some(std::mem::take(&mut self.tail));
                    return true;
                }
                // The marks are strings of the program that looks for them, too: a stream begins as gzip does.
                Some(at) if self.tail.len() < at + mark.len() + 2 => {
                    self.tail.drain(..at);
                    return false;
                }
                Some(at) => {
                    self.tail.drain(..at + mark.len());
                    self.inside = self.tail.starts_with(b"\x1f\x8b");
                }
                None if self.inside => return self.tail.len() > index(MAX_TEXT),
                None => {
                    let keep = self.tail.len().min(mark.len() - 1);
                    self.tail.drain(..self.tail.len() - keep);
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let config =
            Config::parse("x", "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=\"a=b\"\n\nB=n\n");
        assert_eq!(
            (config.get("A"), config.get("B"), config.get("C"), config.get("D")),
            ("", "y", "m", "\"a=b\"")
        );
    }

    #[test]
    fn a_kernel_tells_its_own() {
        use crate::boot::kernel::tests::{arm64, bzimage};
        use crate::boot::kernel::{SetupHeader, find};
        use crate::check::unpack::tests::{PROGRAMS, packed};
        use crate::tree::NoStore;
        use crate::tree::root::tests::tree;

        let Some(config) = packed("gzip -c", b"CONFIG_EXT4_FS=y\nCONFIG_BLK_DEV_NVME=m\n") else { return };
        let inside = [&[7; 300_000][..], b"IKCFG_ST", &config, b"IKCFG_ED", &[8; 1000]].concat();
        let tells = |kernel: &[u8], what: &str| {
            let tree = tree(&[("boot/vmlinuz", kernel)]);
            let root = Root::new(&tree, &NoStore);
            let found = of(root, &find(root).unwrap()[0]).unwrap().unwrap();
            assert_eq!(
                (found.get("EXT4_FS"), found.get("BLK_DEV_NVME"), found.get("X")),
                ("y", "m", ""),
                "{what}"
            );
        };
        tells(&[&arm64()[..], &inside].concat(), "arm64's Image");
        for program in PROGRAMS {
            let Some(payload) = packed(program, &inside) else { continue };
            let mut kernel = bzimage("6.1.2", true);
            let at = 40 * 512 + 0x100;
            kernel.resize(at, 0);
            kernel.extend(&payload);
            // offset_of! of the fields, as the boot protocol has them.
            kernel[0x248..0x24c].copy_from_slice(&0x100_u32.to_le_bytes());
            kernel[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
            assert_eq!(SetupHeader::AT, 0x1f1);
            tells(&kernel, program);
            let mut zboot = arm64();
            zboot[4..8].copy_from_slice(b"zimg");
            let at = u32::try_from(zboot.len()).unwrap();
            zboot[8..12].copy_from_slice(&at.to_le_bytes());
            zboot[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
            tells(&[&zboot[..], &payload].concat(), program);
        }
    }

    #[test]
    fn marks_are_found_wherever_pieces_end() {
        let stream = b"xxIKCFG_STyyIKCFG_ST\x1f\x8bgzipIKCFG_EDzz";
        for size in 1..stream.len() {
            let mut search = Search::default();
            for piece in stream.chunks(size) {
                if search.feed(piece) {
                    break;
                }
            }
            assert_eq!(search.found.as_deref(), Some(&b"\x1f\x8bgzip"[..]), "in pieces of {size}");
        }
    }
}
