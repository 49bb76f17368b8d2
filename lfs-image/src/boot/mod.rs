//! What makes a disk start.

pub(crate) mod cmdline;
pub(crate) mod grub;
pub(crate) mod kernel;
mod lzma;
mod pe;
mod root;

#[cfg(test)]
mod judges;

pub(crate) use root::Root;

/// The part of sector 0 that holds code: the disk signature follows.
pub(crate) const BOOT_CODE: usize = 440;

/// A machine that a kernel is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}
