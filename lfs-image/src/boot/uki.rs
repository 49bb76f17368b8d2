//! A unified kernel image: kernel, command line and initial RAM disk as further sections of the tarball's systemd stub.
//!
//! ```text
//! headers      room for a few more section headers behind the stub's own
//! stub         .text, .data, .reloc …, as they were; a symbol table behind them is cut off
//! .osrel       /etc/os-release
//! .cmdline     UTF-8, no NUL
//! .uname       the kernel's release
//! .initrd
//! .linux       the kernel, last, because it may unpack itself in place behind its own end
//! ```
//!
//! Source: UAPI.5 Unified Kernel Image; systemd-stub(7). Checked with the stubs of systemd 252 and 257, of which the
//! first complains of sections that overlap in pages though its own alignment is 512. Not here: signing, PCR
//! signatures, profiles, device trees, microcode.

use zerocopy::IntoBytes as _;

use super::Arch;
use super::pe::{self, Headers, SectionHeader};
use super::root::Root;
use crate::error::{Error, Result};
use crate::raw::blob::Blob;
use crate::raw::num::index;
use crate::tree::Content;

/// No stub comes near this size.
const MAX_STUB: u64 = 8 << 20;
/// The pages in which the stub's sections may not overlap.
const PAGE: u64 = 0x1000;

/// A systemd stub in a tree.
#[derive(Clone, Debug)]
pub(crate) struct Stub {
    pub(crate) path: String,
    content: Content,
}

impl Stub {
    /// Finds the stub for an architecture. The error says where it looked.
    pub(crate) fn find(root: Root<'_>, arch: Arch) -> Result<Self> {
        let name = match arch {
            Arch::X86_64 => "linuxx64.efi.stub",
            Arch::Aarch64 => "linuxaa64.efi.stub",
        };
        let places = ["/usr/lib/systemd/boot/efi", "/lib/systemd/boot/efi", "/usr/lib64/systemd/boot/efi"];
        let paths = places.map(|place| format!("{place}/{name}"));
        for path in &paths {
            if let Some(content) = root.file(path) {
                return Ok(Self { path: path.clone(), content: content.clone() });
            }
        }
        Err(Error::input(format!("there is no systemd stub: looked for {}", paths.join(", "))))
    }
}

/// What goes into an image besides the stub.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) kernel: Blob,
    pub(crate) cmdline: String,
    pub(crate) initrd: Option<Blob>,
    /// The kernel's release, where it is known.
    pub(crate) release: Option<String>,
    /// The content of /etc/os-release, where there is one.
    pub(crate) os_release: Option<Vec<u8>>,
}

/// Builds the image.
pub(crate) fn build(root: Root<'_>, arch: Arch, stub: &Stub, parts: Parts) -> Result<Blob> {
    let bytes = root.read(&stub.content, &stub.path, MAX_STUB)?;
    let mut data: Vec<(&str, Blob)> = Vec::new();
    data.extend(parts.os_release.map(|text| (".osrel", Blob::from_bytes(text))));
    data.push((".cmdline", Blob::from_bytes(parts.cmdline.into_bytes())));
    data.extend(parts.release.map(|text| (".uname", Blob::from_bytes(text.into_bytes()))));
    data.extend(parts.initrd.map(|initrd| (".initrd", initrd)));
    data.push((".linux", parts.kernel));
    // A section without content has no place in memory.
    data.retain(|(_, blob)| blob.len() > 0);
    append(&bytes, arch, data)
        .map_err(|e| e.context(format!("build a unified kernel image on {}", stub.path)))
}

fn append(stub: &[u8], arch: Arch, data: Vec<(&str, Blob)>) -> Result<Blob> {
    let mut headers = Headers::parse(stub)?;
    let machine = headers.coff.Machine.get();
    if machine != arch.machine() {
        return Err(Error::input(format!(
            "the stub is for machine {machine:#06x}, not {:#06x}",
            arch.machine()
        )));
    }
    let file_alignment = u64::from(headers.optional.FileAlignment.get());
    let alignment = u64::from(headers.optional.SectionAlignment.get());
    if !file_alignment.is_power_of_two() || !alignment.is_power_of_two() {
        return Err(Error::input(format!("its alignments are {file_alignment:#x} and {alignment:#x}")));
    }

    let mut end = 0;
    let mut raw_end = 0;
    let mut room = u64::from(headers.optional.SizeOfHeaders.get());
    for section in &headers.sections {
        let size = section.VirtualSize.get().max(section.SizeOfRawData.get());
        end = end.max(u64::from(section.VirtualAddress.get()) + u64::from(size));
        let raw = u64::from(section.PointerToRawData.get());
        if raw > 0 {
            room = room.min(raw);
            raw_end = raw_end.max(raw + u64::from(section.SizeOfRawData.get()));
        }
    }
    let table_end =
        headers.sections_at + ((headers.sections.len() + data.len()) * size_of::<SectionHeader>()) as u64;
    if table_end > room {
        return Err(Error::capacity(format!(
            "its headers have {room} bytes, {table_end} are needed for {} more sections",
            data.len()
        )));
    }
    let body = usize::try_from(raw_end)
        .ok()
        .and_then(|raw_end| stub.get(..raw_end))
        .filter(|body| body.len() as u64 >= table_end)
        .ok_or_else(|| Error::input(format!("its sections end at byte {raw_end} of {}", stub.len())))?;
    let field = |n| pe::field(n, "the size of the unified kernel image");
    let mut image = Blob::default();
    let mut offset = raw_end.next_multiple_of(file_alignment);
    let mut added = 0;
    for (name, blob) in &data {
        let rva = end.next_multiple_of(alignment.max(PAGE));
        let raw_size = blob.len().next_multiple_of(file_alignment);
        // The stub takes a part's length from VirtualSize.
        let place = pe::Place {
            rva: field(rva)?,
            virtual_size: field(blob.len())?,
            offset: field(offset)?,
            raw_size: field(raw_size)?,
        };
        headers.sections.push(SectionHeader::new(name, place, pe::READ | pe::INITIALIZED_DATA));
        (end, offset, added) = (rva + blob.len(), offset + raw_size, added + raw_size);
    }
    let count = headers.sections.len() as u64;
    headers.coff.NumberOfSections = crate::raw::num::fit::<u16>(count, "the number of sections")?.into();
    headers.coff.PointerToSymbolTable = 0.into();
    headers.coff.NumberOfSymbols = 0.into();
    let optional = &mut headers.optional;
    let initialized = u64::from(optional.SizeOfInitializedData.get()) + added;
    optional.SizeOfInitializedData = field(initialized)?.into();
    optional.SizeOfImage = field(end.next_multiple_of(alignment))?.into();
    optional.CheckSum = 0.into();

    let mut body = body.to_vec();
    put(&mut body, headers.coff_at, headers.coff.as_bytes());
    put(&mut body, headers.optional_at, headers.optional.as_bytes());
    put(&mut body, headers.sections_at, headers.sections.as_bytes());
    image.push_bytes(body);
    image.pad_to(file_alignment);
    for (_, blob) in data {
        image.append(blob);
        image.pad_to(file_alignment);
    }
    Ok(image)
}

/// Overwrites bytes that are known to be there: the headers were read from the same places, and their table's end was
/// checked.
fn put(bytes: &mut [u8], at: u64, new: &[u8]) {
    bytes[index(at)..][..new.len()].copy_from_slice(new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::judges;
    use crate::tree::NoStore;
    use object::read::pe::PeFile64;
    use object::{Object as _, ObjectSection as _};

    fn stubs() -> Vec<(Arch, Vec<u8>)> {
        let Some(cache) = judges::boot_files() else {
            judges::skip("the systemd stubs");
            return Vec::new();
        };
        let mut stubs = Vec::new();
        for suite in ["bookworm", "trixie"] {
            for (arch, path) in [
                (Arch::X86_64, "amd64/usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
                (Arch::Aarch64, "arm64/usr/lib/systemd/boot/efi/linuxaa64.efi.stub"),
            ] {
                stubs.push((arch, std::fs::read(cache.join(suite).join(path)).unwrap()));
            }
        }
        stubs
    }

    fn parts() -> Vec<(&'static str, Blob)> {
        vec![
            (".osrel", Blob::from_bytes(*b"ID=lfs\n")),
            (".cmdline", Blob::from_bytes(*b"ro")),
            (".linux", Blob::from_bytes(vec![9; 10_000])),
        ]
    }

    #[test]
    fn the_stub_stays_and_the_parts_are_found() {
        for (arch, stub) in stubs() {
            let image = append(&stub, arch, parts()).unwrap();
            let bytes = image.read(&NoStore, 0, image.len()).unwrap();
            let (before, after) = (PeFile64::parse(&*stub).unwrap(), PeFile64::parse(&*bytes).unwrap());
            assert_eq!(after.entry(), before.entry());
            for section in before.sections() {
                let same = after.section_by_name(section.name().unwrap()).unwrap();
                assert_eq!(same.address(), section.address());
                assert!(same.data().unwrap() == section.data().unwrap());
            }
            for (name, blob) in parts() {
                let section = after.section_by_name(name).unwrap();
                assert_eq!(section.data().unwrap(), blob.read(&NoStore, 0, blob.len()).unwrap());
                assert_eq!(section.size(), blob.len());
            }
            // No two sections share a page.
            let mut end = 0;
            for section in after.sections().skip(before.sections().count()) {
                assert!(section.address() >= end && section.address() % PAGE == 0);
                end = section.address() + section.size();
            }
            assert!(image.len() < stub.len() as u64 + 16_000);
        }
    }

    #[test]
    fn refusals() {
        for (arch, stub) in stubs() {
            let other = if arch == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 };
            assert!(append(&stub, other, parts()).err().unwrap().to_string().contains("is for machine"));
            let many = (0..1000).map(|_| (".more", Blob::from_bytes(*b"x"))).collect();
            assert_eq!(append(&stub, arch, many).err().unwrap().kind(), crate::ErrorKind::Capacity);
            let headers = Headers::parse(&stub).unwrap();
            for at in 0..index(headers.sections_at) + 40 * headers.sections.len() {
                let mut bad = stub.clone();
                bad[at] ^= 0xff;
                let _ = append(&bad, arch, parts());
            }
            for len in (0..stub.len()).step_by(499) {
                let _ = append(&stub[..len], arch, parts());
            }
        }
    }
}
