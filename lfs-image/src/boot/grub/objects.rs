//! What follows GRUB's kernel in an image: a header and a list of objects (modules, configuration, prefix).
//!
//! Source: `include/grub/kernel.h` of GRUB, `struct grub_module_info{32,64}` and `struct grub_module_header`.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::Grub;
use crate::error::Result;
use crate::raw::num::fit;

/// "mimg".
const MAGIC: u32 = 0x676d_696d;

const ELF: u32 = 0;
const CONFIG: u32 = 2;
const PREFIX: u32 = 3;

/// `struct grub_module_info32`.
#[derive(Debug, Immutable, IntoBytes, Unaligned)]
#[repr(C)]
struct ModuleInfo32 {
    magic: U32,
    offset: U32,
    size: U32,
}

/// `struct grub_module_info64`.
#[derive(Debug, Immutable, IntoBytes, Unaligned)]
#[repr(C)]
struct ModuleInfo64 {
    magic: U32,
    padding: U32,
    offset: U64,
    size: U64,
}

/// `struct grub_module_header`.
#[derive(Debug, Immutable, IntoBytes, Unaligned)]
#[repr(C)]
struct ModuleHeader {
    r#type: U32,
    size: U32,
}

/// The word size of the machine: it sets the header's form and the alignment of objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    Bits32,
    Bits64,
}

/// Renders header and objects: the modules in this order, the configuration (run before anything else) and the prefix
/// (the directory of grub.cfg).
pub(super) fn render(
    grub: &Grub<'_>,
    modules: &[String],
    config: &str,
    prefix: &str,
    word: Word,
) -> Result<Vec<u8>> {
    let mut objects = Vec::new();
    for name in modules {
        push(&mut objects, ELF, &grub.read(&format!("{name}.mod"))?, word)?;
    }
    push(&mut objects, CONFIG, &[config.as_bytes(), b"\0"].concat(), word)?;
    push(&mut objects, PREFIX, &[prefix.as_bytes(), b"\0"].concat(), word)?;

    let len = objects.len() as u64;
    let header = match word {
        Word::Bits32 => {
            const SIZE: u32 = 12;
            let size = fit(u64::from(SIZE) + len, "the size of GRUB's modules")?;
            let info = ModuleInfo32 { magic: MAGIC.into(), offset: SIZE.into(), size: U32::new(size) };
            info.as_bytes().to_vec()
        }
        Word::Bits64 => {
            const SIZE: u64 = 24;
            let (offset, size) = (SIZE.into(), (SIZE + len).into());
            ModuleInfo64 { magic: MAGIC.into(), padding: 0.into(), offset, size }.as_bytes().to_vec()
        }
    };
    Ok([header, objects].concat())
}

fn push(objects: &mut Vec<u8>, kind: u32, payload: &[u8], word: Word) -> Result<()> {
    let align = match word {
        Word::Bits32 => 4,
        Word::Bits64 => 8,
    };
    let padded = payload.len().next_multiple_of(align);
    let size: u32 = fit((size_of::<ModuleHeader>() + padded) as u64, "the size of a GRUB module")?;
    let header = ModuleHeader { r#type: kind.into(), size: size.into() };
    objects.extend_from_slice(header.as_bytes());
    objects.extend_from_slice(payload);
    objects.resize(objects.len() + padded - payload.len(), 0);
    Ok(())
}
