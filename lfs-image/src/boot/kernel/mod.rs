//! Linux kernels as files: what a file is, for which machine, and by which ways it can be started.
//!
//! ```text
//! x86 bzImage   0x1f1 SetupHeader "HdrS"; "MZ" at 0 and a PE header where CONFIG_EFI_STUB is set
//! arm64 Image   "ARM\x64" at 56; "MZ" and PE likewise
//! EFI zboot     "MZ", "zimg" at 4: a PE program that unpacks an Image
//! ```
//!
//! Source: Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst, and
//! drivers/firmware/efi/libstub/zboot-header.S in Linux. Only the front of a file is read.

mod find;
pub(crate) mod version;

pub(crate) use find::{Initrd, Kernel, find, find_at};

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::root::c_string;
use super::{Arch, pe};
use crate::error::{Error, Result};

/// How much of a kernel's front [`Image::parse`] wants to see.
pub(crate) const HEAD: u64 = 64 << 10;

/// The setup header of the x86 boot protocol, from byte 0x1f1 of the file on.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SetupHeader {
    pub(crate) setup_sects: u8,
    pub(crate) root_flags: U16,
    pub(crate) syssize: U32,
    pub(crate) ram_size: U16,
    pub(crate) vid_mode: U16,
    pub(crate) root_dev: U16,
    pub(crate) boot_flag: U16,

    pub(crate) jump: U16,
    pub(crate) header: [u8; 4],
    pub(crate) version: U16,
    pub(crate) realmode_swtch: U32,
    pub(crate) start_sys_seg: U16,
    pub(crate) kernel_version: U16,

    pub(crate) type_of_loader: u8,
    pub(crate) loadflags: u8,
    pub(crate) setup_move_size: U16,
    pub(crate) code32_start: U32,
    pub(crate) ramdisk_image: U32,
    pub(crate) ramdisk_size: U32,

    pub(crate) bootsect_kludge: U32,
    pub(crate) heap_end_ptr: U16,
    pub(crate) ext_loader_ver: u8,
    pub(crate) ext_loader_type: u8,
    pub(crate) cmd_line_ptr: U32,
    pub(crate) initrd_addr_max: U32,

    pub(crate) kernel_alignment: U32,
    pub(crate) relocatable_kernel: u8,
    pub(crate) min_alignment: u8,
    pub(crate) xloadflags: U16,
    pub(crate) cmdline_size: U32,
    pub(crate) hardware_subarch: U32,

    pub(crate) hardware_subarch_data: U64,
    pub(crate) payload_offset: U32,
    pub(crate) payload_length: U32,

    pub(crate) setup_data: U64,
    pub(crate) pref_address: U64,

    pub(crate) init_size: U32,
    pub(crate) handover_offset: U32,
}

impl SetupHeader {
    /// Where it begins in a kernel file.
    pub(crate) const AT: usize = 0x1f1;
    /// LOADED_HIGH of `loadflags`: the protected-mode code belongs at 0x100000.
    pub(crate) const LOADED_HIGH: u8 = 1 << 0;
    /// CAN_USE_HEAP of `loadflags`: `heap_end_ptr` is set.
    pub(crate) const CAN_USE_HEAP: u8 = 1 << 7;
    /// XLF_KERNEL_64 of `xloadflags`.
    const KERNEL_64: u16 = 1 << 0;
}

const _: () = assert!(size_of::<SetupHeader>() == 0x268 - SetupHeader::AT);
const _: () = assert!(offset_of!(SetupHeader, boot_flag) == 0x1fe - SetupHeader::AT);
const _: () = assert!(offset_of!(SetupHeader, type_of_loader) == 0x210 - SetupHeader::AT);
const _: () = assert!(offset_of!(SetupHeader, cmd_line_ptr) == 0x228 - SetupHeader::AT);
const _: () = assert!(offset_of!(SetupHeader, xloadflags) == 0x236 - SetupHeader::AT);
const _: () = assert!(offset_of!(SetupHeader, init_size) == 0x260 - SetupHeader::AT);

/// The oldest boot protocol that is understood here: Linux 2.6.31 (2009), the first with `init_size`.
const PROTOCOL: u16 = 0x020a;

/// What a kernel file is.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) arch: Arch,
    pub(crate) format: Format,
    /// Whether UEFI of the same word size can start it: it was built with CONFIG_EFI_STUB.
    pub(crate) efi_stub: bool,
    /// Whether it runs a 64-bit userland.
    pub(crate) is_64_bit: bool,
    /// The release that it reports, where the file says so uncompressed (bzImage does).
    pub(crate) release: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// x86, with its setup header.
    BzImage(Box<SetupHeader>),
    /// arm64, uncompressed.
    Image,
    /// A PE program around a compressed image.
    Zboot,
}

impl Image {
    /// Looks at the front ([`HEAD`] bytes or all) of a file. The error says what it is instead of a kernel that can
    /// be started from a disk.
    pub(crate) fn parse(head: &[u8]) -> Result<Self> {
        if let Some(name) = compression(head) {
            return Err(Error::input(format!(
                "it is compressed with {name}, and nothing at boot unpacks it: use the unpacked image, or build \
                 the kernel with CONFIG_EFI_ZBOOT"
            )));
        }
        if head.starts_with(b"\x7fELF") {
            return Err(Error::input(
                "it is an ELF file (vmlinux): use arch/x86/boot/bzImage or arch/arm64/boot/Image of the same build",
            ));
        }
        if head.get(4..8) == Some(b"zimg") {
            return Self::zboot(head);
        }
        if head.get(0x202..0x206) == Some(b"HdrS") {
            return Self::bzimage(head);
        }
        if head.get(56..60) == Some(b"ARM\x64") {
            return Ok(Self {
                arch: Arch::Aarch64,
                format: Format::Image,
                efi_stub: pe::machine(head) == Some(pe::MACHINE_ARM64),
                is_64_bit: true,
                release: None,
            });
        }
        Err(Error::input(
            "it is no Linux kernel for x86 or arm64: neither HdrS at 0x202, ARM\\x64 at 56, nor zimg at 4",
        ))
    }

    fn bzimage(head: &[u8]) -> Result<Self> {
        let bytes = head.get(SetupHeader::AT..).unwrap_or_default();
        let (setup, _) = SetupHeader::read_from_prefix(bytes).map_err(|_| {
            Error::input(format!("it ends inside its setup header, after {} bytes", head.len()))
        })?;
        let protocol = setup.version.get();
        if protocol < PROTOCOL {
            return Err(Error::input(format!(
                "its boot protocol is {}.{:02}, older than the 2.10 of Linux 2.6.31",
                protocol >> 8,
                protocol & 0xff
            )));
        }
        if setup.boot_flag.get() != 0xaa55 {
            return Err(Error::input(format!("its boot flag is {:#06x}, not 0xaa55", setup.boot_flag)));
        }
        let release = match setup.kernel_version.get() {
            0 => None,
            at => release(c_string(head, usize::from(at) + 0x200)),
        };
        let machine = pe::machine(head);
        let efi_stub = machine == Some(pe::MACHINE_AMD64);
        // XLF_KERNEL_64 came with protocol 2.12; before that only a PE header tells.
        let is_64_bit = setup.xloadflags.get() & SetupHeader::KERNEL_64 != 0 || efi_stub;
        Ok(Self {
            arch: Arch::X86_64,
            format: Format::BzImage(Box::new(setup)),
            efi_stub,
            is_64_bit,
            release,
        })
    }

    fn zboot(head: &[u8]) -> Result<Self> {
        let arch = match pe::machine(head) {
            Some(pe::MACHINE_AMD64) => Arch::X86_64,
            Some(pe::MACHINE_ARM64) => Arch::Aarch64,
            Some(other) => {
                return Err(Error::input(format!(
                    "it is an EFI program for machine {other:#06x}, not x86-64 or arm64"
                )));
            }
            None => return Err(Error::input("it has zimg at 4 but no PE header")),
        };
        Ok(Self { arch, format: Format::Zboot, efi_stub: true, is_64_bit: true, release: None })
    }

    /// The setup header of a bzImage.
    pub(crate) fn setup(&self) -> Option<&SetupHeader> {
        match &self.format {
            Format::BzImage(setup) => Some(setup),
            Format::Image | Format::Zboot => None,
        }
    }
}

/// The release in a bzImage's version string: its first word.
fn release(text: &[u8]) -> Option<String> {
    let word = text.split(|c| *c == b' ').next()?;
    (!word.is_empty() && word.len() <= 64 && word.iter().all(u8::is_ascii_graphic))
        .then(|| String::from_utf8_lossy(word).into_owned())
}

fn compression(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => "lz4",
        [0x89, b'L', b'Z', b'O', ..] => "lzop",
        [0x5d, 0x00, 0x00, ..] => "lzma",
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use zerocopy::FromZeros as _;

    /// The front of a bzImage of Linux 6.1, with a PE header if `efi`.
    pub(crate) fn bzimage(release: &str, efi: bool) -> Vec<u8> {
        let mut bytes = vec![0x90; 0x8000];
        let mut setup = SetupHeader::new_zeroed();
        setup.setup_sects = 39;
        setup.boot_flag = 0xaa55.into();
        setup.header = *b"HdrS";
        setup.version = 0x020f.into();
        setup.kernel_version = 0x3000.into();
        setup.loadflags = 1;
        setup.initrd_addr_max = 0x7fff_ffff.into();
        setup.xloadflags = 0x7f.into();
        setup.cmdline_size = 2047.into();
        setup.pref_address = 0x100_0000.into();
        setup.init_size = 0x337_8000.into();
        bytes[SetupHeader::AT..0x268].copy_from_slice(setup.as_bytes());
        let text = format!("{release} (me@here) #1 SMP\0");
        bytes[0x3200..0x3200 + text.len()].copy_from_slice(text.as_bytes());
        bytes[..0x40].fill(0);
        if efi {
            bytes[..2].copy_from_slice(b"MZ");
            bytes[0x3c] = 0x82;
            bytes[0x82..0x88].copy_from_slice(b"PE\0\0\x64\x86");
        }
        bytes
    }

    /// The front of an arm64 Image.
    pub(crate) fn arm64() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[56..60].copy_from_slice(b"ARM\x64");
        bytes[0x3c] = 64;
        bytes[64..70].copy_from_slice(b"PE\0\0\x64\xaa");
        bytes
    }

    #[test]
    fn kinds() {
        let image = Image::parse(&bzimage("6.1.0-50-cloud-amd64", true)).unwrap();
        assert_eq!((image.arch, image.efi_stub, image.is_64_bit), (Arch::X86_64, true, true));
        assert_eq!(image.release.as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(image.setup().unwrap().setup_sects, 39);
        assert!(!Image::parse(&bzimage("6.1", false)).unwrap().efi_stub);

        let image = Image::parse(&arm64()).unwrap();
        assert_eq!((image.arch, image.efi_stub), (Arch::Aarch64, true));

        let mut zboot = arm64();
        zboot[4..8].copy_from_slice(b"zimg");
        assert!(matches!(Image::parse(&zboot).unwrap().format, Format::Zboot));
    }

    #[test]
    fn refusals_say_what_it_is() {
        let refusal = |bytes: &[u8]| Image::parse(bytes).unwrap_err().to_string();
        assert!(refusal(b"\x1f\x8b\x08").contains("compressed with gzip"));
        assert!(refusal(b"\x7fELF\x02").contains("vmlinux"));
        assert!(refusal(b"").contains("no Linux kernel"));
        assert!(
            refusal(&bzimage("6.1", true)[..0x230]).contains("ends inside its setup header, after 560 bytes")
        );
        let mut old = bzimage("2.6.30", false);
        old[0x206] = 9;
        assert!(refusal(&old).contains("its boot protocol is 2.09"), "{}", refusal(&old));
        let mut bad = bzimage("6.1", true);
        bad[0x1fe] = 0;
        assert!(refusal(&bad).contains("0xaa00"));
    }

    #[test]
    fn a_version_outside_the_head_is_no_version() {
        let mut bytes = bzimage("6.1", true);
        bytes.truncate(0x3200);
        assert_eq!(Image::parse(&bytes).unwrap().release, None);
        assert_eq!(release(b"6.1\x01 x"), None);
        assert_eq!(release(b" x"), None);
    }
}
