//! PE32+ headers: how UEFI programs are wrapped, and how kernels say that they are one.
//!
//! ```text
//! 0            DosHeader: "MZ", at 0x3c the offset of what follows
//! e_lfanew     "PE\0\0", CoffHeader
//!              OptionalHeader (PE32+) with 16 data directories
//!              SectionHeader × NumberOfSections
//! SizeOfHeaders … raw data of the sections
//! ```
//!
//! Spec: Microsoft PE Format; UEFI 2.10, 2.1.1. Only what UEFI images need: no PE32, no imports, no signatures.

#![allow(non_snake_case)] // the spec's field names

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::raw::num::{fit, index};

pub(crate) const MACHINE_AMD64: u16 = 0x8664;
pub(crate) const MACHINE_ARM64: u16 = 0xaa64;

/// PE32+, the 64-bit optional header.
pub(crate) const PE32_PLUS: u16 = 0x20b;
/// IMAGE_SUBSYSTEM_EFI_APPLICATION.
pub(crate) const EFI_APPLICATION: u16 = 10;

// Section characteristics.
pub(crate) const CODE: u32 = 0x0000_0020;
pub(crate) const INITIALIZED_DATA: u32 = 0x0000_0040;
pub(crate) const DISCARDABLE: u32 = 0x0200_0000;
pub(crate) const EXECUTE: u32 = 0x2000_0000;
pub(crate) const READ: u32 = 0x4000_0000;
pub(crate) const WRITE: u32 = 0x8000_0000;

/// IMAGE_DOS_HEADER.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct DosHeader {
    pub(crate) e_magic: [u8; 2],
    pub(crate) reserved: [u8; 58],
    pub(crate) e_lfanew: U32,
}

/// The signature and IMAGE_FILE_HEADER.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct CoffHeader {
    pub(crate) Signature: [u8; 4],
    pub(crate) Machine: U16,
    pub(crate) NumberOfSections: U16,
    pub(crate) TimeDateStamp: U32,
    pub(crate) PointerToSymbolTable: U32,

    pub(crate) NumberOfSymbols: U32,
    pub(crate) SizeOfOptionalHeader: U16,
    pub(crate) Characteristics: U16,
}

/// IMAGE_OPTIONAL_HEADER64.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct OptionalHeader {
    pub(crate) Magic: U16,
    pub(crate) MajorLinkerVersion: u8,
    pub(crate) MinorLinkerVersion: u8,
    pub(crate) SizeOfCode: U32,
    pub(crate) SizeOfInitializedData: U32,
    pub(crate) SizeOfUninitializedData: U32,

    pub(crate) AddressOfEntryPoint: U32,
    pub(crate) BaseOfCode: U32,
    pub(crate) ImageBase: U64,

    pub(crate) SectionAlignment: U32,
    pub(crate) FileAlignment: U32,
    pub(crate) MajorOperatingSystemVersion: U16,
    pub(crate) MinorOperatingSystemVersion: U16,
    pub(crate) MajorImageVersion: U16,
    pub(crate) MinorImageVersion: U16,

    pub(crate) MajorSubsystemVersion: U16,
    pub(crate) MinorSubsystemVersion: U16,
    pub(crate) Win32VersionValue: U32,
    pub(crate) SizeOfImage: U32,
    pub(crate) SizeOfHeaders: U32,

    pub(crate) CheckSum: U32,
    pub(crate) Subsystem: U16,
    pub(crate) DllCharacteristics: U16,
    pub(crate) SizeOfStackReserve: U64,

    pub(crate) SizeOfStackCommit: U64,
    pub(crate) SizeOfHeapReserve: U64,

    pub(crate) SizeOfHeapCommit: U64,
    pub(crate) LoaderFlags: U32,
    pub(crate) NumberOfRvaAndSizes: U32,
}

/// IMAGE_DATA_DIRECTORY.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct DataDirectory {
    pub(crate) VirtualAddress: U32,
    pub(crate) Size: U32,
}

/// IMAGE_SECTION_HEADER.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SectionHeader {
    pub(crate) Name: [u8; 8],
    pub(crate) VirtualSize: U32,
    pub(crate) VirtualAddress: U32,

    pub(crate) SizeOfRawData: U32,
    pub(crate) PointerToRawData: U32,
    pub(crate) PointerToRelocations: U32,
    pub(crate) PointerToLinenumbers: U32,

    pub(crate) NumberOfRelocations: U16,
    pub(crate) NumberOfLinenumbers: U16,
    pub(crate) Characteristics: U32,
}

/// The 16 data directories that follow an [`OptionalHeader`].
pub(crate) const DIRECTORIES: usize = 16;
/// The index of the base relocation table among them.
pub(crate) const BASERELOC: usize = 5;

const _: () = assert!(size_of::<DosHeader>() == 64 && offset_of!(DosHeader, e_lfanew) == 0x3c);
const _: () = assert!(size_of::<CoffHeader>() == 24);
const _: () = assert!(size_of::<OptionalHeader>() == 112);
const _: () = assert!(offset_of!(OptionalHeader, SizeOfImage) == 56);
const _: () = assert!(offset_of!(OptionalHeader, CheckSum) == 64);
const _: () = assert!(size_of::<SectionHeader>() == 40);

impl SectionHeader {
    /// A section of this name and place.
    pub(crate) fn new(name: &str, place: Place, characteristics: u32) -> Self {
        let mut header = Self::new_zeroed();
        for (to, from) in header.Name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        header.VirtualSize = place.virtual_size.into();
        header.VirtualAddress = place.rva.into();
        header.SizeOfRawData = place.raw_size.into();
        header.PointerToRawData = place.offset.into();
        header.Characteristics = characteristics.into();
        header
    }
}

/// Where a section is, in memory and in the file, all in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) rva: u32,
    pub(crate) virtual_size: u32,
    pub(crate) offset: u32,
    pub(crate) raw_size: u32,
}

/// The headers of a PE32+ file.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// Offset of the [`CoffHeader`].
    pub(crate) coff_at: u64,
    pub(crate) coff: CoffHeader,
    /// Offset of the [`OptionalHeader`].
    pub(crate) optional_at: u64,
    pub(crate) optional: OptionalHeader,
    /// Offset of the first [`SectionHeader`].
    pub(crate) sections_at: u64,
    pub(crate) sections: Vec<SectionHeader>,
}

impl Headers {
    /// The headers at the beginning of a file, of which `head` is the first part.
    pub(crate) fn parse(head: &[u8]) -> Result<Self> {
        let coff_at = coff_offset(head).ok_or_else(|| Error::input("there is no PE header"))?;
        let coff: CoffHeader = record(head, coff_at, "the COFF header")?;
        let optional_at = coff_at + size_of::<CoffHeader>() as u64;
        let optional: OptionalHeader = record(head, optional_at, "the optional header")?;
        if optional.Magic.get() != PE32_PLUS {
            return Err(Error::input(format!(
                "the optional header's magic is {:#x}, not PE32+'s {PE32_PLUS:#x}",
                optional.Magic
            )));
        }
        let sections_at = optional_at + u64::from(coff.SizeOfOptionalHeader.get());
        let mut sections = Vec::new();
        for i in 0..u64::from(coff.NumberOfSections.get()) {
            let at = sections_at + i * size_of::<SectionHeader>() as u64;
            sections.push(record(head, at, "a section header")?);
        }
        Ok(Self { coff_at, coff, optional_at, optional, sections_at, sections })
    }
}

/// The machine that a PE file says it is for; `None` where it isn't one.
pub(crate) fn machine(head: &[u8]) -> Option<u16> {
    let at = coff_offset(head)?;
    let coff: CoffHeader = record(head, at, "").ok()?;
    Some(coff.Machine.get())
}

/// The offset of the PE signature, where there is one.
fn coff_offset(head: &[u8]) -> Option<u64> {
    let (dos, _) = DosHeader::read_from_prefix(head).ok()?;
    let at = u64::from(dos.e_lfanew.get());
    (dos.e_magic == *b"MZ" && head.get(index(at)..)?.starts_with(b"PE\0\0")).then_some(at)
}

fn record<T: FromBytes>(head: &[u8], at: u64, what: &str) -> Result<T> {
    let bytes = head.get(index(at)..).unwrap_or_default();
    T::read_from_prefix(bytes)
        .map(|(record, _)| record)
        .map_err(|_| Error::input(format!("the file ends inside {what} at byte {at}")))
}

/// `n` as a 32-bit PE field, `field` in the error.
pub(crate) fn field(n: u64, field: &str) -> Result<u32> {
    fit(n, field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_foreign_files() {
        assert!(machine(b"").is_none());
        assert!(machine(b"MZ").is_none());
        let mut bytes = vec![0; 64];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(machine(&bytes).is_none());
        bytes[0x3c] = 64;
        bytes[0x3d..].fill(0);
        bytes.extend(b"PE\0\0");
        assert!(machine(&bytes).is_none(), "cut in the COFF header");
        assert_eq!(
            Headers::parse(&bytes).unwrap_err().to_string(),
            "the file ends inside the COFF header at byte 64"
        );
        bytes.resize(64 + 24, 0x64);
        assert_eq!(machine(&bytes), Some(0x6464));
    }
}
