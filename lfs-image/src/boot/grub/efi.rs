//! GRUB as one EFI program: kernel.img relocated into a PE image, its modules behind it.
//!
//! ```text
//! 0x1000     .text    executable sections of kernel.img
//!            .data    its other sections, zeroed data included (kept in the file)
//!            mods     module info, objects; the kernel finds this section by name
//!            .reloc   base relocations: one DIR64 for each absolute address in kernel.img
//! ```
//!
//! Every section has one offset in the file and in memory, at multiples of 4 KiB. kernel.img is a relocatable ELF64
//! file; modules go in as they are, because GRUB relocates those itself.
//!
//! Source: `util/mkimage.c` and `util/grub-mkimagexx.c` of GRUB 2.06 and 2.12; the psABIs of x86-64 and AArch64 for
//! the relocations. Not here: Secure Boot (SBAT, signatures).

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, Rela as _, SectionHeader as _, Sym as _};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::objects::{self, Word};
use super::{Grub, Platform};
use crate::boot::pe;
use crate::error::{Error, Result};
use crate::raw::num::{hi32, index, lo16, lo32};

type Elf = elf::FileHeader64<LittleEndian>;

/// The alignment of everything, and the size of the headers.
const PAGE: u64 = 0x1000;

/// No GRUB kernel comes near this size in memory.
const MAX_KERNEL: u64 = 16 << 20;

/// Builds the program. It runs `config`, then reads grub.cfg in the directory `prefix`.
pub(crate) fn build(grub: &Grub<'_>, config: &str, prefix: &str) -> Result<Vec<u8>> {
    let file = grub.read("kernel.img")?;
    let kernel = Kernel::load(&file, grub.platform)
        .map_err(|e| e.context(format!("read {}/kernel.img", grub.path)))?;
    let mods = objects::render(grub, &grub.modules()?, config, prefix, Word::Bits64)?;
    assemble(grub.platform, &kernel, &mods)
}

/// kernel.img relocated to run at the image's base.
#[derive(Debug)]
struct Kernel {
    /// Its bytes from RVA 0x1000 on, zeroed data included.
    bytes: Vec<u8>,
    /// The length of the executable part.
    exec: u64,
    /// The entry point's RVA.
    entry: u64,
    /// RVAs of absolute addresses, in the order in which they were met.
    absolute: Vec<u64>,
}

fn unknown(what: &str) -> Error {
    Error::input(format!("{what}: this GRUB's format is unknown"))
}

impl Kernel {
    fn load(file: &[u8], platform: Platform) -> Result<Self> {
        let e = LittleEndian;
        let machine = match platform {
            Platform::X86_64Efi => elf::EM_X86_64,
            Platform::Arm64Efi => elf::EM_AARCH64,
            Platform::I386Pc => return Err(Error::internal("an EFI image for i386-pc")),
        };
        let header = Elf::parse(file).map_err(|_| unknown("it is no 64-bit ELF file"))?;
        if header.endian().is_err() || header.e_machine(e) != machine || header.e_type(e) != elf::ET_REL {
            return Err(unknown("it is no relocatable ELF file for this platform"));
        }
        let sections = header.sections(e, file).map_err(|_| unknown("its section table is damaged"))?;

        let layout = Layout::of(
            sections.iter().map(|s| (s.sh_flags(e), s.sh_type(e), s.sh_size(e), s.sh_addralign(e))),
        )?;
        let mut kernel =
            Self { bytes: vec![0; index(layout.size)], exec: layout.exec, entry: 0, absolute: Vec::new() };
        for (section, place) in sections.iter().zip(&layout.places) {
            let Some(at) = place.filter(|_| section.sh_type(e) != elf::SHT_NOBITS) else { continue };
            let data =
                section.data(e, file).map_err(|_| unknown("a section reaches past the end of the file"))?;
            kernel.bytes[index(at)..index(at) + data.len()].copy_from_slice(data);
        }

        let table =
            sections.symbols(e, file, elf::SHT_SYMTAB).map_err(|_| unknown("its symbol table is damaged"))?;
        let mut values = Vec::new();
        for symbol in table.iter() {
            let name = symbol.name(e, table.strings()).map_err(|_| unknown("a symbol has no name"))?;
            let shndx = symbol.st_shndx(e);
            let value = match shndx {
                elf::SHN_UNDEF => match name {
                    b"" => Some(0),
                    // As grub-mkimage has them: without the headers' size.
                    b"__bss_start" => Some(layout.bss),
                    b"_end" => Some(layout.size),
                    _ => None,
                },
                elf::SHN_ABS => Some(symbol.st_value(e)),
                _ => layout.places.get(usize::from(shndx.0)).copied().flatten().and_then(|at| {
                    let value = symbol.st_value(e).checked_add(at + PAGE)?;
                    Some(value).filter(|value| *value < 2 * MAX_KERNEL)
                }),
            };
            if matches!(name, b"_start" | b"start") && shndx != elf::SHN_UNDEF && kernel.entry == 0 {
                kernel.entry = value.unwrap_or_default();
            }
            values.push((name, value));
        }
        if kernel.entry == 0 {
            return Err(unknown("it has no symbol _start"));
        }

        for section in sections.iter().filter(|s| s.sh_type(e) == elf::SHT_REL) {
            let target = section.sh_info(e) as usize;
            if layout.places.get(target).is_some_and(Option::is_some) {
                return Err(unknown("it has relocations without addends"));
            }
        }
        for section in sections.iter() {
            let Some((rela, _)) =
                section.rela(e, file).map_err(|_| unknown("its relocations are damaged"))?
            else {
                continue;
            };
            let target = section.sh_info(e) as usize;
            let Some(at) = layout.places.get(target).copied().flatten() else { continue };
            for entry in rela {
                let symbol = entry.r_sym(e, false) as usize;
                let (name, value) =
                    values.get(symbol).copied().ok_or_else(|| unknown("a relocation names no symbol"))?;
                let value = value
                    .ok_or_else(|| unknown(&format!("it needs the symbol `{}`", name.escape_ascii())))?;
                let offset = entry.r_offset(e).saturating_add(at);
                let sum = value.wrapping_add_signed(entry.r_addend(e));
                kernel.relocate(machine, entry.r_type(e, false), offset, sum)?;
            }
        }
        Ok(kernel)
    }

    /// Applies one relocation at `offset`: `sum` is S + A of the psABI, and P is `offset` behind the headers.
    fn relocate(
        &mut self,
        machine: elf::Machine,
        kind: elf::RelocationType,
        offset: u64,
        sum: u64,
    ) -> Result<()> {
        if offset >= self.bytes.len() as u64 {
            return Err(unknown(&format!("a relocation is at {offset:#x}, behind its end")));
        }
        let place = offset + PAGE;
        let distance = sum.wrapping_sub(place).cast_signed();
        let outside = || unknown(&format!("relocation {} at {place:#x} reaches outside", kind.0));
        if let (elf::EM_X86_64, elf::R_X86_64_64) | (elf::EM_AARCH64, elf::R_AARCH64_ABS64) = (machine, kind)
        {
            let word = self.bytes.get_mut(index(offset)..).and_then(<[u8]>::first_chunk_mut::<8>);
            let word = word.ok_or_else(outside)?;
            *word = u64::from_le_bytes(*word).wrapping_add(sum).to_le_bytes();
            self.absolute.push(place);
            return Ok(());
        }
        let word = self.bytes.get_mut(index(offset)..).and_then(<[u8]>::first_chunk_mut::<4>);
        let word = word.ok_or_else(outside)?;
        let old = u32::from_le_bytes(*word);
        let new = match (machine, kind) {
            (elf::EM_X86_64, elf::R_X86_64_PC32 | elf::R_X86_64_PLT32) => {
                let distance = i32::try_from(distance).map_err(|_| outside())?;
                old.wrapping_add_signed(distance)
            }
            (elf::EM_AARCH64, elf::R_AARCH64_JUMP26 | elf::R_AARCH64_CALL26) => {
                if distance % 4 != 0 || !(-(1 << 27)..1 << 27).contains(&distance) {
                    return Err(outside());
                }
                old & 0xfc00_0000 | lo32((distance >> 2).cast_unsigned()) & 0x03ff_ffff
            }
            (elf::EM_AARCH64, elf::R_AARCH64_ADR_PREL_PG_HI21) => {
                let pages = (sum >> 12).wrapping_sub(place >> 12).cast_signed();
                if !(-(1 << 20)..1 << 20).contains(&pages) {
                    return Err(outside());
                }
                let pages = lo32(pages.cast_unsigned());
                old & 0x9f00_001f | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5
            }
            (elf::EM_AARCH64, elf::R_AARCH64_ADD_ABS_LO12_NC) => low12(old, lo32(sum) & 0xfff),
            (elf::EM_AARCH64, elf::R_AARCH64_LDST64_ABS_LO12_NC) => low12(old, (lo32(sum) & 0xfff) >> 3),
            _ => return Err(unknown(&format!("it has a relocation of type {}", kind.0))),
        };
        *word = new.to_le_bytes();
        Ok(())
    }
}

/// Puts a 12-bit immediate into an AArch64 instruction.
fn low12(instruction: u32, immediate: u32) -> u32 {
    instruction & !(0xfff << 10) | immediate << 10
}

/// Where kernel.img's sections go. Offsets count from behind the headers.
#[derive(Debug)]
struct Layout {
    places: Vec<Option<u64>>,
    exec: u64,
    bss: u64,
    size: u64,
}

impl Layout {
    /// Places sections, each given as flags, type, size and alignment: executable ones, then data, then zeroed data.
    fn of(sections: impl Iterator<Item = (elf::SectionFlags, elf::SectionType, u64, u64)>) -> Result<Self> {
        let sections: Vec<_> = sections.collect();
        let mut places = vec![None; sections.len()];
        let mut at = 0;
        let mut place = |want: &dyn Fn(elf::SectionFlags, elf::SectionType) -> bool,
                         at: &mut u64|
         -> Result<()> {
            for (place, (flags, kind, size, align)) in places.iter_mut().zip(&sections) {
                if !flags.contains(elf::SHF_ALLOC) || !want(*flags, *kind) {
                    continue;
                }
                // The alignment is that of the address in memory, which is PAGE further on.
                let start = (*at + PAGE).checked_next_multiple_of((*align).max(1)).map(|n| n - PAGE);
                let end = start.and_then(|start| start.checked_add(*size)).filter(|end| *end <= MAX_KERNEL);
                let end = end.ok_or_else(|| unknown("its sections don't fit in 16 MiB"))?;
                *place = start;
                *at = end;
            }
            Ok(())
        };
        let exec = |flags: elf::SectionFlags| flags.contains(elf::SHF_EXECINSTR);
        place(&|flags, _| exec(flags), &mut at)?;
        at = at.next_multiple_of(PAGE);
        let exec_size = at;
        place(&|flags, kind| !exec(flags) && kind != elf::SHT_NOBITS, &mut at)?;
        let bss = at;
        place(&|flags, kind| !exec(flags) && kind == elf::SHT_NOBITS, &mut at)?;
        Ok(Self { places, exec: exec_size, bss, size: at.next_multiple_of(PAGE) })
    }
}

/// Wraps it all in PE headers.
fn assemble(platform: Platform, kernel: &Kernel, mods: &[u8]) -> Result<Vec<u8>> {
    let size = kernel.bytes.len() as u64;
    let mods_size = (mods.len() as u64).next_multiple_of(PAGE);
    let reloc = base_relocations(&kernel.absolute);
    let reloc_at = PAGE + size + mods_size;
    let end = reloc_at + reloc.len() as u64;
    let field = |n| pe::field(n, "the size of GRUB's EFI image");

    let same = |at: u64, len: u64| -> Result<pe::Place> {
        Ok(pe::Place {
            rva: field(at)?,
            virtual_size: field(len)?,
            offset: field(at)?,
            raw_size: field(len)?,
        })
    };
    use pe::{CODE, DISCARDABLE, EXECUTE, INITIALIZED_DATA, READ, WRITE};
    let sections = [
        pe::SectionHeader::new(".text", same(PAGE, kernel.exec)?, READ | EXECUTE | CODE),
        pe::SectionHeader::new(
            ".data",
            same(PAGE + kernel.exec, size - kernel.exec)?,
            READ | WRITE | INITIALIZED_DATA,
        ),
        pe::SectionHeader::new("mods", same(PAGE + size, mods_size)?, READ | WRITE | INITIALIZED_DATA),
        pe::SectionHeader::new(
            ".reloc",
            same(reloc_at, end - reloc_at)?,
            READ | DISCARDABLE | INITIALIZED_DATA,
        ),
    ];

    let mut dos = pe::DosHeader::new_zeroed();
    dos.e_magic = *b"MZ";
    dos.e_lfanew = 0x80.into();

    let mut coff = pe::CoffHeader::new_zeroed();
    coff.Signature = *b"PE\0\0";
    coff.Machine = match platform {
        Platform::Arm64Efi => pe::MACHINE_ARM64,
        Platform::X86_64Efi | Platform::I386Pc => pe::MACHINE_AMD64,
    }
    .into();
    coff.NumberOfSections = 4.into();
    // 2015-01-01, the fixed time that grub-mkimage writes.
    coff.TimeDateStamp = 1_420_070_400.into();
    coff.SizeOfOptionalHeader = 0xf0.into();
    coff.Characteristics = 0x020e.into();

    let mut optional = pe::OptionalHeader::new_zeroed();
    optional.Magic = pe::PE32_PLUS.into();
    optional.SizeOfCode = field(kernel.exec)?.into();
    optional.SizeOfInitializedData = field(reloc_at - PAGE - kernel.exec)?.into();
    optional.AddressOfEntryPoint = field(kernel.entry)?.into();
    optional.BaseOfCode = field(PAGE)?.into();
    optional.SectionAlignment = field(PAGE)?.into();
    optional.FileAlignment = field(PAGE)?.into();
    optional.SizeOfImage = field(end)?.into();
    optional.SizeOfHeaders = field(PAGE)?.into();
    optional.Subsystem = pe::EFI_APPLICATION.into();
    optional.SizeOfStackReserve = 0x10000.into();
    optional.SizeOfStackCommit = 0x10000.into();
    optional.SizeOfHeapReserve = 0x10000.into();
    optional.SizeOfHeapCommit = 0x10000.into();
    optional.NumberOfRvaAndSizes = 16.into();

    let mut directories = [pe::DataDirectory::new_zeroed(); pe::DIRECTORIES];
    directories[pe::BASERELOC].VirtualAddress = field(reloc_at)?.into();
    directories[pe::BASERELOC].Size = field(end - reloc_at)?.into();

    let mut image = dos.as_bytes().to_vec();
    image.resize(0x80, 0);
    image.extend_from_slice(coff.as_bytes());
    image.extend_from_slice(optional.as_bytes());
    image.extend_from_slice(directories.as_bytes());
    image.extend_from_slice(sections.as_bytes());
    image.resize(index(PAGE), 0);
    image.extend_from_slice(&kernel.bytes);
    image.extend_from_slice(mods);
    image.resize(index(reloc_at), 0);
    image.extend(reloc);
    Ok(image)
}

/// Base relocation blocks, one whenever the address leaves the page of the last: page, size, then a type and offset
/// for each address. Blocks are padded to 8 bytes with entries that mean nothing, the last one to a whole page.
fn base_relocations(addresses: &[u64]) -> Vec<u8> {
    const DIR64: u16 = 10;
    const HEADER: usize = 8;
    let mut blocks: Vec<(u64, Vec<u16>)> = Vec::new();
    for address in addresses {
        let page = address & !(PAGE - 1);
        if blocks.last().is_none_or(|(last, _)| *last != page) {
            blocks.push((page, Vec::new()));
        }
        if let Some((_, entries)) = blocks.last_mut() {
            entries.push(DIR64 << 12 | lo16(lo32(address - page)));
        }
    }
    let mut table = Vec::new();
    let last = blocks.len().saturating_sub(1);
    for (i, (page, mut entries)) in blocks.into_iter().enumerate() {
        let mut size = (HEADER + 2 * entries.len()).next_multiple_of(8);
        if i == last {
            size = (table.len() + size).next_multiple_of(index(PAGE)) - table.len();
        }
        entries.resize((size - HEADER) / 2, 0);
        debug_assert_eq!(hi32(page), 0);
        table.extend(lo32(page).to_le_bytes());
        table.extend(lo32(size as u64).to_le_bytes());
        table.extend(entries.into_iter().flat_map(u16::to_le_bytes));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::host;
    use super::*;
    use crate::boot::judges;
    use crate::tree::NoStore;
    use crate::tree::Root;
    use std::fs;

    #[test]
    fn same_as_grub_mkimage() {
        const CONFIG: &str = "search.fs_uuid 0a1b root\n";
        for platform in [Platform::X86_64Efi, Platform::Arm64Efi] {
            for dir in judges::grub_dirs(platform.name()) {
                let tree = host(dir.to_str().unwrap(), platform).unwrap();
                let grub = Grub::find(Root::new(&tree, &NoStore), platform).unwrap();
                let ours = build(&grub, CONFIG, "/boot/grub").unwrap();

                let out = tempfile::tempdir().unwrap();
                let (config, image) = (out.path().join("config"), out.path().join("image.efi"));
                fs::write(&config, CONFIG).unwrap();
                let Some(mut command) = judges::program("grub-mkimage") else { return };
                command.arg("-d").arg(&dir).args(["-O", platform.name(), "-p", "/boot/grub", "-c"]);
                judges::run(command.arg(config).arg("-o").arg(&image).args(grub.modules().unwrap()));
                let theirs = fs::read(image).unwrap();

                assert_eq!(ours.len(), theirs.len(), "{}", dir.display());
                // Up to 0x80 there is the program that MS-DOS would run: a text, and none here.
                let differing: Vec<usize> = (0..ours.len()).filter(|i| ours[*i] != theirs[*i]).collect();
                assert!(differing.iter().all(|i| *i < 0x80), "{}: {differing:x?}", dir.display());
                assert_eq!((&ours[..2], &ours[0x3c..0x40]), (&theirs[..2], &theirs[0x3c..0x40]));
            }
        }
    }

    #[test]
    fn relocations_end_at_a_page_and_pad_to_words() {
        let table = base_relocations(&[0x1008, 0x1010, 0x1018, 0x2000, 0x1020]);
        assert_eq!(table.len(), 0x1000);
        assert_eq!(table[..16], [0, 0x10, 0, 0, 16, 0, 0, 0, 8, 0xa0, 0x10, 0xa0, 0x18, 0xa0, 0, 0]);
        assert_eq!(table[16..32], [0, 0x20, 0, 0, 16, 0, 0, 0, 0, 0xa0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(table[32..42], [0, 0x10, 0, 0, 0xe0, 0x0f, 0, 0, 0x20, 0xa0]);
        assert!(base_relocations(&[]).is_empty());
    }

    #[test]
    fn damaged_kernels_are_refused() {
        let dirs = judges::grub_dirs("x86_64-efi");
        let Some(dir) = dirs.first() else { return };
        let good = fs::read(dir.join("kernel.img")).unwrap();
        assert!(Kernel::load(&good, Platform::X86_64Efi).is_ok());
        assert!(Kernel::load(&good, Platform::Arm64Efi).is_err());
        // No byte of the headers, and no end of the file, makes it panic.
        for at in (0..64).chain(good.len() - 2000..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = Kernel::load(&bad, Platform::X86_64Efi);
        }
        // Every relocation of the last table on its own, thrown far away.
        for at in (good.len() / 2..good.len()).step_by(61) {
            let mut bad = good.clone();
            bad[at..(at + 8).min(good.len())].fill(0xff);
            let _ = Kernel::load(&bad, Platform::X86_64Efi);
        }
        for len in (0..good.len()).step_by(997) {
            let _ = Kernel::load(&good[..len], Platform::X86_64Efi);
        }
    }
}
