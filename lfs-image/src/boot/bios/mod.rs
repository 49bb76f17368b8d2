//! Our own BIOS loader: a boot sector and a second stage that read a kernel from a partition of its own, by a list of
//! sectors, and enter it. It needs nothing from the tarball but a kernel.
//!
//! ```text
//! sector 0          first stage (440 bytes), which reads:
//! gap or BIOS boot  second stage (2 sectors), list (6 sectors)
//! payload partition real-mode part of the kernel with its header filled in
//!                   command line
//!                   the rest of the kernel
//!                   initial RAM disk
//! ```
//!
//! The code is written in assembly ([`loader.s`](./loader.s)), which has the map of memory, and carried as bytes; a
//! test assembles it again and compares. There is no menu, and a kernel that the guest installs later isn't started:
//! the payload is what was there when the image was made.
//!
//! Source: Documentation/arch/x86/boot.rst in Linux (protocol 2.10 and later); INT 13h extensions: EDD-3.

mod code;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::kernel::SetupHeader;
use super::{BOOT_CODE, cmdline};
use crate::error::{Error, Result};
use crate::raw::blob::Blob;
use crate::raw::num::{fit, index};
use crate::raw::store::ReadAt;

const SECTOR: u64 = 512;
/// What the first stage reads: the second stage and the list.
pub(crate) const STAGE2_SECTORS: u64 = 8;

// Places in the carried code, as `loader.s` sets them.
const FIRST_LBA: usize = 0x1a0;
const MEMORY: usize = 0x204;

// Addresses in the machine's memory, as `loader.s` sets them.
const SETUP: u32 = 0x10000;
const SETUP_END: u32 = 0x18000;
const STACK_END: u16 = 0xe000;
const CMDLINE: u32 = 0x1e000;
const HIGH: u32 = 0x10_0000;

/// An entry of the list.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes, Unaligned)]
#[repr(C)]
struct Entry {
    lba: U64,
    sectors: U32,
    address: U32,
}

const _: () = assert!(size_of::<Entry>() == 16);
// Four entries and the end of the list fit.
const _: () = assert!(code::LOADER.len() + 5 * size_of::<Entry>() <= 8 * 512);

/// What is loaded.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) kernel: Blob,
    pub(crate) setup: SetupHeader,
    pub(crate) cmdline: String,
    pub(crate) initrd: Option<Blob>,
}

/// What the disk gets, and what a machine needs.
#[derive(Debug)]
pub(crate) struct Loader {
    /// The part of sector 0 before the disk signature.
    pub(crate) boot_code: [u8; BOOT_CODE],
    /// [`STAGE2_SECTORS`] sectors.
    pub(crate) stage2: Vec<u8>,
    /// The content of the payload partition, in whole sectors.
    pub(crate) payload: Blob,
    /// Where in memory ends what is loaded and what the kernel unpacks to, in bytes. Less RAM than that isn't enough.
    pub(crate) memory: u64,
}

/// Builds the loader: the second stage goes to `stage2`, the payload to `payload`, both numbers of sectors of the disk.
pub(crate) fn build(store: &dyn ReadAt, parts: Parts, stage2: u64, payload: u64) -> Result<Loader> {
    let Parts { kernel, mut setup, cmdline, initrd } = parts;
    let refuse = |what: String| Error::input(format!("the BIOS loader can't start this kernel: {what}"));

    // Old kernels say 0 for 4.
    let sectors = if setup.setup_sects == 0 { 4 } else { u64::from(setup.setup_sects) };
    let real_len = (sectors + 1) * SECTOR;
    if real_len > u64::from(SETUP_END - SETUP) || real_len >= kernel.len() {
        return Err(refuse(format!(
            "its real-mode part is {real_len} bytes, of the file's {}",
            kernel.len()
        )));
    }
    if setup.loadflags & SetupHeader::LOADED_HIGH == 0 {
        return Err(refuse("it wants to be loaded below 1 MiB".into()));
    }
    let most = usize::try_from(setup.cmdline_size.get()).unwrap_or(usize::MAX).min(cmdline::MAX);
    if cmdline.len() > most {
        return Err(Error::capacity(format!(
            "the kernel command line is {} bytes long, this kernel takes {most}",
            cmdline.len()
        )));
    }

    // The RAM disk goes behind everything the kernel touches before it has looked at its memory.
    let rest = kernel.slice(real_len, kernel.len() - real_len)?;
    let loaded = u64::from(HIGH) + rest.len().next_multiple_of(SECTOR);
    let unpacked = setup
        .pref_address
        .get()
        .max(u64::from(HIGH))
        .checked_add(u64::from(setup.init_size.get()))
        .filter(|end| *end < 1 << 32)
        .ok_or_else(|| refuse(format!("it unpacks to {:#x}, beyond 4 GiB", setup.pref_address)))?;
    let initrd_at = loaded.max(unpacked).next_multiple_of(1 << 20);
    let mut memory = loaded.max(unpacked);

    setup.vid_mode = 0xffff.into(); // the mode that the screen is in
    setup.type_of_loader = 0xff; // none that has a number
    setup.loadflags |= SetupHeader::CAN_USE_HEAP;
    setup.heap_end_ptr = (STACK_END - 0x200).into();
    setup.cmd_line_ptr = CMDLINE.into();
    setup.ramdisk_image = 0.into();
    setup.ramdisk_size = 0.into();
    if let Some(initrd) = &initrd {
        let end = initrd_at + initrd.len().next_multiple_of(SECTOR);
        let max = u64::from(setup.initrd_addr_max.get());
        if end > max + 1 {
            return Err(Error::capacity(format!(
                "the initial RAM disk of {} bytes would end at {end:#x}, this kernel looks for it below {max:#x}",
                initrd.len()
            )));
        }
        setup.ramdisk_image = U32::new(fit(initrd_at, "the RAM disk's address")?);
        setup.ramdisk_size = U32::new(fit(initrd.len(), "the RAM disk's size")?);
        memory = end;
    }

    let mut real = kernel.read(store, 0, real_len)?;
    real[SetupHeader::AT..SetupHeader::AT + size_of::<SetupHeader>()].copy_from_slice(setup.as_bytes());
    let mut text = cmdline.into_bytes();
    text.push(0);

    let mut all = Blob::default();
    let mut list = Vec::new();
    let high = fit(initrd_at, "the RAM disk's address")?;
    let pieces = [(SETUP, Blob::from_bytes(real)), (CMDLINE, Blob::from_bytes(text)), (HIGH, rest)];
    for (address, blob) in pieces.into_iter().chain(initrd.map(|initrd| (high, initrd))) {
        let sectors = fit(blob.len().div_ceil(SECTOR), "the payload's number of sectors")?;
        list.push(Entry {
            lba: (payload + all.len() / SECTOR).into(),
            sectors: U32::new(sectors),
            address: address.into(),
        });
        all.append(blob);
        all.pad_to(SECTOR);
    }

    let (first, second) = code::LOADER.split_at(index(SECTOR));
    let mut boot_code = [0; BOOT_CODE];
    boot_code.copy_from_slice(&first[..BOOT_CODE]);
    boot_code[FIRST_LBA..FIRST_LBA + 8].copy_from_slice(&stage2.to_le_bytes());
    let mut stage2 = second.to_vec();
    let memory_at = MEMORY - index(SECTOR);
    stage2[memory_at..memory_at + 4].copy_from_slice(&fit::<u32>(memory, "the end of memory")?.to_le_bytes());
    stage2.extend_from_slice(list.as_bytes());
    stage2.resize(index(STAGE2_SECTORS * SECTOR), 0);
    Ok(Loader { boot_code, stage2, payload: all, memory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::judges;
    use crate::boot::kernel::Image;
    use crate::boot::kernel::tests::bzimage;
    use crate::tree::NoStore;

    fn parts(cmdline: &str, initrd: Option<u64>) -> Parts {
        let bytes = bzimage("6.1", true);
        let setup = *Image::parse(&bytes).unwrap().setup().unwrap();
        let initrd = initrd.map(|len| {
            let mut blob = Blob::default();
            blob.push_zeros(len);
            blob
        });
        Parts { kernel: Blob::from_bytes(bytes), setup, cmdline: cmdline.into(), initrd }
    }

    #[test]
    fn the_code_is_what_its_source_assembles_to() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/boot/bios");
        let Some(loader) = judges::assemble(here, "loader.s", ["as", "objcopy"], &["--32"]) else { return };
        judges::carried(
            &format!("{here}/code.rs"),
            include_str!("code.rs"),
            &[("LOADER", "loader.s", &loader)],
        );
    }

    #[test]
    fn the_list_covers_the_payload() {
        let loader = build(&NoStore, parts("ro", Some(1000)), 2048, 4096).unwrap();
        let word = |at: usize, len: usize| {
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(&loader.stage2[at..at + len]);
            u64::from_le_bytes(bytes)
        };
        let list: Vec<[u64; 3]> = (0..5)
            .map(|i| 1024 + 16 * i)
            .map(|at| [word(at, 8), word(at + 8, 4), word(at + 12, 4)])
            .collect();
        // 40 sectors of real-mode part; the kernel unpacks to 16 MiB and takes 0x3378000 there.
        assert_eq!(
            list,
            [
                [4096, 40, 0x10000],
                [4136, 1, 0x1e000],
                [4137, 24, 0x10_0000],
                [4161, 2, 0x440_0000],
                [0, 0, 0]
            ]
        );
        assert_eq!(loader.payload.len(), 67 * 512);
        assert_eq!(loader.memory, 0x440_0400);
        assert_eq!(word(4, 4), 0x440_0400);
        assert_eq!(loader.boot_code[FIRST_LBA..FIRST_LBA + 8], 2048_u64.to_le_bytes());

        let head = loader.payload.read(&NoStore, 0, 0x268).unwrap();
        assert_eq!(head[0x210], 0xff);
        assert_eq!(head[0x211], 0x81);
        assert_eq!(head[0x218..0x220], [0, 0, 0x40, 4, 0xe8, 3, 0, 0]);
        assert_eq!(head[0x224..0x226], [0, 0xde]);
        assert_eq!(head[0x228..0x22c], [0, 0xe0, 1, 0]);
        assert_eq!(loader.payload.read(&NoStore, 40 * 512, 4).unwrap(), b"ro\0\0");
    }

    #[test]
    fn limits() {
        let refusal = |parts| build(&NoStore, parts, 1, 2048).err().unwrap().to_string();
        assert!(
            refusal(parts(&"x".repeat(2048), None)).contains("is 2048 bytes long, this kernel takes 2047")
        );
        assert!(refusal(parts("", Some(1 << 31))).contains("this kernel looks for it below 0x7fffffff"));
        let mut low = parts("", None);
        low.setup.loadflags = 0;
        assert!(refusal(low).contains("below 1 MiB"));
        let mut long = parts("", None);
        long.setup.setup_sects = 64;
        assert!(refusal(long).contains("its real-mode part is 33280 bytes, of the file's 32768"));
        let mut far = parts("", None);
        far.setup.pref_address = u64::MAX.into();
        assert!(refusal(far).contains("beyond 4 GiB"));
        let mut cut = parts("", None);
        cut.kernel = Blob::from_bytes(vec![0; 40 * 512]);
        assert!(refusal(cut).contains("of the file's 20480"));
    }
}
