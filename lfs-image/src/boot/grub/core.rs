//! GRUB's core image for BIOS: kernel and modules, compressed behind the code that unpacks them.
//!
//! ```text
//! core.img = diskboot.img (512, patched by `install`)
//!            lzma_decompress.img (patched here; loaded at 0x8200)
//!            LZMA stream of:  flat kernel.img (linked at 0x9000)
//!                             module info, objects
//! ```
//!
//! Source: the image's own layout, `include/grub/offsets.h` and `util/mkimage.c` of GRUB 2.06 and 2.12.

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};

use super::Grub;
use super::objects::{self, Word};
use crate::boot::lzma;
use crate::boot::root::{le16, le32};
use crate::error::{Error, Result};
use crate::raw::num::{fit, index};

type Elf = elf::FileHeader32<LittleEndian>;

/// Where kernel.img is linked, and where it is unpacked from.
const KERNEL: u64 = 0x9000;
/// Where the decompressor is loaded.
const DECOMPRESSOR: u64 = 0x8200;
/// The end of low memory that a core image may take: decompressor and stream are loaded below it.
const LOAD_END: u64 = 0x78000;
/// The end of what the running kernel may take, its zeroed data included.
const KERNEL_END: u64 = 0x68000;

// Fields of lzma_decompress.img.
const COMPRESSED_SIZE: usize = 0x08;
const UNCOMPRESSED_SIZE: usize = 0x0c;
const REDUNDANCY: u64 = 0x10;
const NO_REED_SOLOMON_LENGTH: u64 = 0x14;

/// A core image that isn't placed on a disk yet.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    /// diskboot.img as it comes.
    pub(super) diskboot: Vec<u8>,
    /// What it loads: decompressor and stream.
    pub(super) body: Vec<u8>,
    pub(super) path: String,
}

impl Core {
    /// Builds a core image that runs `config` and then reads grub.cfg in the directory `prefix`.
    pub(crate) fn build(grub: &Grub<'_>, config: &str, prefix: &str) -> Result<Self> {
        let raw = raw(grub, &grub.modules()?, config, prefix)?;
        let mut body = decompressor(grub)?;
        let stream = lzma::compress(&raw);
        put32(&mut body, COMPRESSED_SIZE, fit(stream.len() as u64, "the core image's size")?);
        put32(&mut body, UNCOMPRESSED_SIZE, fit(raw.len() as u64, "the core image's size")?);
        body.extend(stream);
        let room = LOAD_END - KERNEL;
        if body.len() as u64 > room {
            return Err(Error::capacity(format!(
                "GRUB's core image from {} is {} bytes long, a PC's low memory takes {room}",
                grub.path,
                body.len()
            )));
        }
        Ok(Self { diskboot: grub.read("diskboot.img")?, body, path: grub.path.clone() })
    }
}

/// The core image before compression.
pub(super) fn raw(grub: &Grub<'_>, modules: &[String], config: &str, prefix: &str) -> Result<Vec<u8>> {
    let kernel = grub.read("kernel.img")?;
    let mut raw = flatten(&kernel).map_err(|e| e.context(format!("read {}/kernel.img", grub.path)))?;
    raw.extend(objects::render(grub, modules, config, prefix, Word::Bits32)?);
    Ok(raw)
}

fn decompressor(grub: &Grub<'_>) -> Result<Vec<u8>> {
    let bytes = grub.read("lzma_decompress.img")?;
    let refuse = |what: String| Error::input(format!("{}/lzma_decompress.img {what}", grub.path));
    let room = KERNEL - DECOMPRESSOR;
    if bytes.len() as u64 > room {
        return Err(refuse(format!("is {} bytes long, there is room for {room}", bytes.len())));
    }
    // A far jump over the fields.
    if bytes.first() != Some(&0xea) {
        return Err(refuse("doesn't begin with a far jump: this GRUB's format is unknown".into()));
    }
    match (le32(&bytes, REDUNDANCY), le16(&bytes, NO_REED_SOLOMON_LENGTH)) {
        (Some(0), Some(1..=0xfffe)) => Ok(bytes),
        (redundancy, length) => Err(refuse(format!(
            "has redundancy {redundancy:?} and unprotected length {length:?} in its fields: this GRUB's format \
             is unknown"
        ))),
    }
}

/// kernel.img as it lies in memory from its load address on, without its zeroed data.
fn flatten(file: &[u8]) -> Result<Vec<u8>> {
    let e = LittleEndian;
    let bad = |what: &str| Error::input(format!("{what}: this GRUB's format is unknown"));
    let header = Elf::parse(file).map_err(|_| bad("it is no 32-bit ELF file"))?;
    if header.endian().is_err() || header.e_machine(e) != elf::EM_386 || header.e_type(e) != elf::ET_EXEC {
        return Err(bad("it is no ELF program for i386"));
    }
    let sections = header.sections(e, file).map_err(|_| bad("its section table is damaged"))?;
    let mut flat: Vec<u8> = Vec::new();
    let mut first = None;
    let mut memory_end = KERNEL;
    for section in sections.iter().filter(|s| s.sh_flags(e).contains(elf::SHF_ALLOC)) {
        let (addr, size) = (u64::from(section.sh_addr(e)), u64::from(section.sh_size(e)));
        if addr < KERNEL || addr + size > KERNEL_END {
            return Err(bad(&format!(
                "its section at {addr:#x} of {size} bytes is not between {KERNEL:#x} and {KERNEL_END:#x}"
            )));
        }
        memory_end = memory_end.max(addr + size);
        if section.sh_type(e) == elf::SHT_NOBITS {
            continue;
        }
        first = first.or(Some(addr));
        let data = section.data(e, file).map_err(|_| bad("a section reaches past the end of the file"))?;
        let (from, to) = (index(addr - KERNEL), index(addr - KERNEL + size));
        flat.resize(flat.len().max(to), 0);
        flat[from..to].copy_from_slice(data);
    }
    if first != Some(KERNEL) {
        return Err(bad(&format!("its first section is at {first:x?}, not at {KERNEL:#x}")));
    }
    // The kernel looks for its modules behind `_edata`; so does what we append them to.
    let symbols =
        sections.symbols(e, file, elf::SHT_SYMTAB).map_err(|_| bad("its symbol table is damaged"))?;
    let edata = symbols.iter().find(|s| s.name(e, symbols.strings()).is_ok_and(|name| name == b"_edata"));
    if let Some(edata) = edata.map(|s| u64::from(s.st_value(e))) {
        let end = KERNEL + flat.len() as u64;
        if edata != end {
            return Err(bad(&format!("its data ends at {end:#x}, but it looks for modules at {edata:#x}")));
        }
    }
    Ok(flat)
}

fn put32(bytes: &mut [u8], at: usize, n: u32) {
    bytes[at..at + 4].copy_from_slice(&n.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::files::tests::host;
    use super::super::{Platform, install};
    use super::*;
    use crate::boot::judges;
    use crate::tree::NoStore;
    use crate::tree::Root;
    use std::fs;
    use std::path::Path;

    const CONFIG: &str = "serial --unit=0\nsearch.fs_uuid 0a1b root\n";
    const PREFIX: &str = "(,gpt3)/boot/grub";

    /// grub-mkimage's image of the same modules, in a directory with our input.
    fn judge(grub: &Grub<'_>, dir: &Path, out: &Path) -> Option<Vec<u8>> {
        let config = out.join("config");
        fs::write(&config, CONFIG).unwrap();
        let core = out.join("core.img");
        let mut command = judges::program("grub-mkimage")?;
        command.arg("-d").arg(dir).args(["-O", "i386-pc", "-p", PREFIX, "-c"]).arg(config);
        command.arg("-o").arg(&core).args(grub.modules().unwrap());
        judges::run(&mut command);
        Some(fs::read(core).unwrap())
    }

    #[test]
    fn same_as_grub_mkimage_and_grub_bios_setup() {
        for dir in judges::grub_dirs("i386-pc") {
            let tree = host(dir.to_str().unwrap(), Platform::I386Pc).unwrap();
            let grub = Grub::find(Root::new(&tree, &NoStore), Platform::I386Pc).unwrap();
            let out = tempfile::tempdir().unwrap();
            let Some(theirs) = judge(&grub, &dir, out.path()) else { return };

            // Their encoder is another one: compare what went into it, and the decompressor around it.
            let ours = raw(&grub, &grub.modules().unwrap(), CONFIG, PREFIX).unwrap();
            let decompressor = grub.read("lzma_decompress.img").unwrap().len();
            let body = &theirs[512..];
            let len = |at| le32(body, at).unwrap() as usize;
            let stream = &body[decompressor..decompressor + len(8)];
            assert_eq!(len(12), ours.len());
            assert!(
                lzma::tests::decompress(stream, len(12)).unwrap() == ours,
                "{}: another blob",
                dir.display()
            );
            let core = Core::build(&grub, CONFIG, PREFIX).unwrap();
            assert_eq!(core.body[0xc..decompressor], body[0xc..decompressor]);
            assert_eq!(le32(&core.body, 8), Some(u32::try_from(core.body.len() - decompressor).unwrap()));

            installs_like_grub_bios_setup(&grub, out.path(), &core);
        }
    }

    /// Has grub-bios-setup install our core image, and compares the whole disk.
    fn installs_like_grub_bios_setup(grub: &Grub<'_>, out: &Path, core: &Core) {
        for (script, lba, sectors) in [
            ("label: dos\nlabel-id: 0xdeadbeef\n2048,,L,*\n", 1, 2047),
            ("label: gpt\n2048,2048,21686148-6449-6E6F-744E-656564454649\n4096,,L\n", 2048, 2048),
        ] {
            let disk = out.join("disk.img");
            fs::File::create(&disk).unwrap().set_len(8 << 20).unwrap();
            fs::write(out.join("script"), script).unwrap();
            let Some(mut sfdisk) = judges::program("sfdisk") else { return };
            judges::run(sfdisk.arg("-q").arg(&disk).stdin(fs::File::open(out.join("script")).unwrap()));

            let installed = install::install(grub, core, lba, sectors).unwrap();
            let mut ours = fs::read(&disk).unwrap();
            ours[..440].copy_from_slice(&installed.boot_code);
            ours[index(lba * 512)..][..installed.area.len()].copy_from_slice(&installed.area);

            let files = out.join("files");
            let _ = fs::create_dir(&files);
            fs::write(files.join("boot.img"), grub.read("boot.img").unwrap()).unwrap();
            fs::write(files.join("core.img"), [core.diskboot.as_slice(), &core.body].concat()).unwrap();
            if bios_setup(out, &files, &disk).is_none() {
                return;
            }
            let theirs = fs::read(&disk).unwrap();
            let differing: Vec<usize> = (0..ours.len()).filter(|i| ours[*i] != theirs[*i]).collect();
            assert!(differing.is_empty(), "{}: {script}: at {differing:x?}", grub.path);
        }
    }

    /// grub-bios-setup takes its files only from a filesystem on a block device: one to mount, which takes root.
    fn bios_setup(out: &Path, files: &Path, disk: &Path) -> Option<()> {
        let (image, at) = (out.join("fs.img"), out.join("mounted"));
        let _ = fs::create_dir(&at);
        let _ = fs::remove_file(&image);
        judges::run(
            judges::program("mke2fs")?.args(["-q", "-t", "ext2", "-d"]).arg(files).arg(&image).arg("4M"),
        );
        let mounted =
            judges::program("mount")?.args(["-o", "loop,ro"]).arg(&image).arg(&at).status().unwrap();
        if !mounted.success() {
            judges::skip("a loop mount");
            return None;
        }
        let setup = judges::program("grub-bios-setup").map(|mut setup| {
            setup.args(["--no-rs-codes", "--skip-fs-probe", "--force", "-d"]).arg(&at).arg(disk).output()
        });
        judges::run(judges::program("umount")?.arg(&at));
        let output = setup?.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(())
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let dirs = judges::grub_dirs("i386-pc");
        let Some(dir) = dirs.first() else { return };
        let dir = dir.to_str().unwrap();
        // A file, where in it, what there, and what the refusal says.
        type Case<'a> = (&'a str, usize, &'a [u8], &'a str);
        let cases: [Case<'_>; 8] = [
            ("boot.img", 0x1fe, b"\0", "boot.img ends with 0xaa00, not 0xaa55"),
            ("boot.img", 0x66, b"\x90", "drive check [90, "),
            ("diskboot.img", 0x1fe, b"\0", "diskboot.img of 512 bytes doesn't end with 0x0820"),
            ("lzma_decompress.img", 0x14, b"\xff\xff", "unprotected length Some(65535)"),
            ("lzma_decompress.img", 0x10, b"\x01", "redundancy Some(1)"),
            ("lzma_decompress.img", 0, b"\x90", "doesn't begin with a far jump"),
            ("kernel.img", 18, b"\x3e", "kernel.img"),
            ("moddep.lst", 0, b"?", "moddep.lst"),
        ];
        for (file, at, bytes, says) in cases {
            let mut tree = host(dir, Platform::I386Pc).unwrap();
            let path = format!("usr/lib/grub/i386-pc/{file}");
            let root = Root::new(&tree, &NoStore);
            let mut content = root.read(root.file(&path).unwrap(), file, 1 << 20).unwrap();
            content[at..at + bytes.len()].copy_from_slice(bytes);
            let parent = tree.lookup(b"usr/lib/grub/i386-pc").unwrap();
            let kind = crate::tree::Kind::File(crate::tree::Content::bytes(content));
            tree.insert(parent, file.as_bytes(), crate::tree::Meta::default(), kind).unwrap();

            let grub = Grub::find(Root::new(&tree, &NoStore), Platform::I386Pc).unwrap();
            let result = Core::build(&grub, CONFIG, PREFIX)
                .and_then(|core| install::install(&grub, &core, 1, 2047).map(|_| ()));
            let error = result.unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Input);
            assert!(error.to_string().contains(says), "{file}: {error}");
        }
    }

    #[test]
    fn a_small_gap_and_a_missing_module() {
        let dirs = judges::grub_dirs("i386-pc");
        let Some(dir) = dirs.first() else { return };
        let mut tree = host(dir.to_str().unwrap(), Platform::I386Pc).unwrap();
        let grub = Grub::find(Root::new(&tree, &NoStore), Platform::I386Pc).unwrap();
        let core = Core::build(&grub, CONFIG, PREFIX).unwrap();
        let error = install::install(&grub, &core, 1, 62).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Capacity);
        assert!(error.to_string().ends_with(" sectors, there is room for 62 from sector 1 on"), "{error}");

        let parent = tree.lookup(b"usr/lib/grub/i386-pc").unwrap();
        tree.remove(parent, b"all_video.mod").unwrap();
        let grub = Grub::find(Root::new(&tree, &NoStore), Platform::I386Pc).unwrap();
        assert!(!grub.modules().unwrap().contains(&"all_video".to_owned()), "it is only useful");
        tree.remove(parent, b"biosdisk.mod").unwrap();
        let grub = Grub::find(Root::new(&tree, &NoStore), Platform::I386Pc).unwrap();
        let error = Core::build(&grub, CONFIG, PREFIX).unwrap_err();
        assert_eq!(error.to_string(), "choose modules of /usr/lib/grub/i386-pc");
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "there is no module biosdisk.mod");
    }
}
