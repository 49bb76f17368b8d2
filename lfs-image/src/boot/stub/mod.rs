//! Our own EFI program: a kernel, its command line and its initial RAM disk in one PE image, and the few hundred bytes
//! of code that start it. It needs nothing from the tarball but a kernel with CONFIG_EFI_STUB.
//!
//! ```text
//! 0x1000  .text     the stub; its last 24 bytes say where the others are
//!         .options  the command line in UTF-16, as EFI hands it on
//!         .linux    the kernel
//!         .initrd   the initial RAM disk, which the kernel asks for (LoadFile2; Linux 5.8)
//! ```
//!
//! The code is written in assembly ([`x86_64.s`](./x86_64.s), [`aarch64.s`](./aarch64.s)) and carried as bytes, so that
//! this crate builds on any host; a test assembles it again and compares. The command line is fixed when the image is
//! made. Not here: Secure Boot (the firmware would refuse the kernel inside, which is not signed).
//!
//! Source: UEFI 2.10, 7.4 (LoadImage, StartImage), 9.1 (EFI_LOADED_IMAGE_PROTOCOL), 13.2 (EFI_LOAD_FILE2_PROTOCOL);
//! Documentation/admin-guide/efi-stub.rst in Linux.

mod code;

use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{Arch, pe};
use crate::error::Result;
use crate::raw::blob::Blob;
use crate::raw::num::index;

/// The size of the headers and the alignment of sections in memory.
const PAGE: u64 = 0x1000;
/// The alignment of sections in the file.
const SECTOR: u64 = 0x200;
/// The bytes at the end of the code that say where the other sections are.
const PARAMETERS: usize = 24;

/// IMAGE_DLLCHARACTERISTICS_NX_COMPAT.
const NX_COMPAT: u16 = 0x100;
/// EXECUTABLE_IMAGE, LARGE_ADDRESS_AWARE, DEBUG_STRIPPED.
const CHARACTERISTICS: u16 = 0x0222;

/// What goes into an image.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) kernel: Blob,
    pub(crate) cmdline: String,
    pub(crate) initrd: Option<Blob>,
}

/// Builds the image.
pub(crate) fn build(arch: Arch, parts: Parts) -> Result<Blob> {
    let code = match arch {
        Arch::X86_64 => code::X86_64.as_slice(),
        Arch::Aarch64 => code::AARCH64.as_slice(),
    };
    let options: Vec<u8> = parts.cmdline.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let mut data = vec![(".options", Blob::from_bytes(options)), (".linux", parts.kernel)];
    data.extend(parts.initrd.map(|initrd| (".initrd", initrd)));

    let field = |n| pe::field(n, "the size of the EFI image");
    let mut rva = PAGE;
    let mut offset = PAGE;
    let mut place = |len: u64| -> Result<pe::Place> {
        let raw = len.next_multiple_of(SECTOR);
        let place = pe::Place {
            rva: field(rva)?,
            virtual_size: field(len)?,
            offset: field(offset)?,
            raw_size: field(raw)?,
        };
        (rva, offset) = ((rva + len).next_multiple_of(PAGE), offset + raw);
        Ok(place)
    };

    let text = place(code.len() as u64)?;
    let mut sections = vec![pe::SectionHeader::new(".text", text, pe::READ | pe::EXECUTE | pe::CODE)];
    let mut parameters = Vec::new();
    for (name, blob) in &data {
        let place = place(blob.len())?;
        parameters.extend(place.rva.to_le_bytes());
        parameters.extend(place.virtual_size.to_le_bytes());
        sections.push(pe::SectionHeader::new(name, place, pe::READ | pe::INITIALIZED_DATA));
    }
    parameters.resize(PARAMETERS, 0);

    let mut image = Blob::from_bytes(headers(arch.machine(), &sections, field(rva)?));
    image.push_bytes([&code[..code.len() - PARAMETERS], &parameters].concat());
    image.pad_to(SECTOR);
    for (_, blob) in data {
        image.append(blob);
        image.pad_to(SECTOR);
    }
    Ok(image)
}

fn headers(machine: u16, sections: &[pe::SectionHeader], size_of_image: u32) -> Vec<u8> {
    let mut dos = pe::DosHeader::new_zeroed();
    dos.e_magic = *b"MZ";
    dos.e_lfanew = 0x40.into();

    let mut coff = pe::CoffHeader::new_zeroed();
    coff.Signature = *b"PE\0\0";
    coff.Machine = machine.into();
    // Four at most: the code and three parts.
    coff.NumberOfSections = u16::try_from(sections.len()).unwrap_or(u16::MAX).into();
    coff.SizeOfOptionalHeader = 0xf0.into();
    coff.Characteristics = CHARACTERISTICS.into();

    let raw = |sections: &[pe::SectionHeader]| -> u32 {
        sections.iter().fold(0, |sum: u32, s| sum.saturating_add(s.SizeOfRawData.get()))
    };
    let mut optional = pe::OptionalHeader::new_zeroed();
    optional.Magic = pe::PE32_PLUS.into();
    optional.SizeOfCode = raw(&sections[..1]).into();
    optional.SizeOfInitializedData = raw(&sections[1..]).into();
    optional.AddressOfEntryPoint = 0x1000.into();
    optional.BaseOfCode = 0x1000.into();
    optional.SectionAlignment = 0x1000.into();
    optional.FileAlignment = 0x200.into();
    optional.SizeOfImage = size_of_image.into();
    optional.SizeOfHeaders = 0x1000.into();
    optional.Subsystem = pe::EFI_APPLICATION.into();
    optional.DllCharacteristics = NX_COMPAT.into();
    optional.NumberOfRvaAndSizes = 16.into();

    let mut bytes = dos.as_bytes().to_vec();
    bytes.extend_from_slice(coff.as_bytes());
    bytes.extend_from_slice(optional.as_bytes());
    bytes.extend_from_slice([pe::DataDirectory::new_zeroed(); pe::DIRECTORIES].as_bytes());
    bytes.extend_from_slice(sections.as_bytes());
    bytes.resize(index(PAGE), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::judges;
    use crate::tree::NoStore;
    use object::read::pe::PeFile64;
    use object::{Object as _, ObjectSection as _};

    #[test]
    fn the_code_is_what_its_source_assembles_to() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/boot/stub");
        let Some(x86_64) = judges::assemble(here, "x86_64.s", ["as", "objcopy"], &["--64"]) else { return };
        let tools = ["aarch64-linux-gnu-as", "aarch64-linux-gnu-objcopy"];
        let Some(aarch64) = judges::assemble(here, "aarch64.s", tools, &[]) else { return };
        judges::carried(
            &format!("{here}/code.rs"),
            include_str!("code.rs"),
            &[("X86_64", "x86_64.s", &x86_64), ("AARCH64", "aarch64.s", &aarch64)],
        );
    }

    #[test]
    fn another_reader_of_pe_sees_the_parts() {
        for (arch, machine) in
            [(Arch::X86_64, object::Architecture::X86_64), (Arch::Aarch64, object::Architecture::Aarch64)]
        {
            for initrd in [None, Some(Blob::from_bytes(*b"initrd"))] {
                let parts = Parts {
                    kernel: Blob::from_bytes(vec![7; 5000]),
                    cmdline: "ro quiet".into(),
                    initrd: initrd.clone(),
                };
                let image = build(arch, parts).unwrap();
                let bytes = image.read(&NoStore, 0, image.len()).unwrap();
                let file = PeFile64::parse(&*bytes).unwrap();
                assert_eq!(file.architecture(), machine);
                assert_eq!(file.entry(), 0x1000);
                let section = |name: &str| file.section_by_name(name).map(|s| s.data().unwrap().to_vec());
                assert_eq!(section(".linux"), Some(vec![7; 5000]));
                assert_eq!(section(".options").unwrap(), b"r\0o\0 \0q\0u\0i\0e\0t\0\0\0");
                assert_eq!(section(".initrd"), initrd.map(|_| b"initrd".to_vec()));
                // The code finds them where the headers say.
                let text = section(".text").unwrap();
                let words: Vec<u32> = text[text.len() - PARAMETERS..]
                    .chunks(4)
                    .map(|w| u32::from_le_bytes(w.try_into().unwrap()))
                    .collect();
                let place = |name: &str| {
                    file.section_by_name(name).map_or([0, 0], |s| {
                        [u32::try_from(s.address()).unwrap(), u32::try_from(s.size()).unwrap()]
                    })
                };
                assert_eq!(words, [place(".options"), place(".linux"), place(".initrd")].concat());
            }
        }
    }

    #[test]
    fn more_than_a_pe_file_holds() {
        let mut kernel = Blob::default();
        kernel.push_zeros(1 << 32);
        let error = build(Arch::X86_64, Parts { kernel, cmdline: String::new(), initrd: None }).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Capacity);
    }
}
