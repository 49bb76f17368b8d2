//! GRUB from the tarball's own files: what grub-mkimage, grub-install and grub-bios-setup make of them.
//!
//! ```text
//! usr/lib/grub/i386-pc                          usr/lib/grub/{x86_64,arm64}-efi
//!   boot.img            -> boot sector            kernel.img (ELF64) + *.mod  -> PE program on the ESP
//!   diskboot.img  \
//!   lzma_decompress.img > core image in the gap or BIOS boot partition
//!   kernel.img + *.mod /
//! ```
//!
//! `files` finds those directories, `moddep` picks the modules, `core` and `efi` make the images, `install` places
//! the BIOS one on the disk, `config` writes both configurations, and `judge` says whether a grub.cfg that is there
//! already can work on this disk.
//!
//! Known are GRUB 2.06 and 2.12, whose formats are the same. Every assumption about a file is checked, so that
//! another GRUB is refused rather than installed broken. Not here: Reed-Solomon parity (optional, as `grub-bios-setup
//! --no-rs-codes` shows), memory disks, Secure Boot, embedding in a filesystem by block lists.

pub(crate) mod config;
pub(crate) mod core;
pub(crate) mod efi;
pub(crate) mod files;
pub(crate) mod install;
pub(crate) mod judge;
mod moddep;
mod objects;

pub(crate) use files::{Grub, Platform};
