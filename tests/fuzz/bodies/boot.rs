//! Kernels, GRUB's files, stubs, RAM disks and the files of /etc, whole or damaged, as a tree that is to boot.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lfs_image::check::check_public;
use lfs_image::host::{Fstab, HostSpec, Target};
use lfs_image::image::{Boot, GrubConfig, PartitionTable};
use lfs_image::tree::{Content, Directory, Kind, Meta, NoStore, NodeId, Timestamp};
use lfs_image::{Image, ImageSpec, Tree};

use super::archive::said;
use super::draw::Draw;
use super::memory::Memory;

/// Where files come that something looks into.
const PATHS: [&str; 64] = [
    "boot/vmlinuz-6.1.2",
    "boot/vmlinuz",
    "boot/Image-6.2",
    "boot/initrd.img-6.1.2",
    "boot/initramfs-6.1.2.img",
    "boot/config-6.1.2",
    "boot/grub/grub.cfg",
    "usr/lib/grub/i386-pc/boot.img",
    "usr/lib/grub/i386-pc/diskboot.img",
    "usr/lib/grub/i386-pc/lzma_decompress.img",
    "usr/lib/grub/i386-pc/kernel.img",
    "usr/lib/grub/i386-pc/moddep.lst",
    "usr/lib/grub/x86_64-efi/kernel.img",
    "usr/lib/grub/x86_64-efi/moddep.lst",
    "usr/lib/grub/arm64-efi/kernel.img",
    "usr/lib/grub/arm64-efi/moddep.lst",
    "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
    "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
    "etc/os-release",
    "etc/fstab",
    "etc/inittab",
    "etc/passwd",
    "etc/shadow",
    "etc/group",
    "etc/gshadow",
    "etc/hosts",
    "etc/hostname",
    "etc/machine-id",
    "etc/securetty",
    "etc/sudoers",
    "etc/network/interfaces",
    "etc/sysconfig/network",
    "etc/sysconfig/ifconfig.eth0",
    "etc/systemd/system/a.service",
    "etc/systemd/network/10-eth.network",
    "etc/ssh/sshd_config",
    "etc/ssh/ssh_host_rsa_key",
    "root/.ssh/authorized_keys",
    "root/.bash_history",
    "sbin/init",
    "bin/sh",
    "bin/bash",
    "usr/lib/systemd/systemd",
    "lib64/ld-linux-x86-64.so.2",
    "lib/ld-linux-aarch64.so.1",
    "lib/libc.so.6",
    "lib/modules/6.1.2/modules.builtin",
    "lib/modules/6.1.2/modules.dep",
    "lib/modules/6.1.2/kernel/drivers/nvme/host/nvme.ko",
    "lib/modules/6.1.2/vmlinuz",
    "lib/services/ipv4-static",
    "lib/services/dhcpcd",
    "sbin/dhcpcd",
    "sbin/sfdisk",
    "sbin/resize2fs",
    "usr/sbin/sshd",
    "usr/sbin/agetty",
    "usr/bin/sudo",
    "opt/.env",
    "srv/key.pem",
    "var/log/wtmp",
    "home/a/.aws/credentials",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d/a.conf",
];

/// Modules of GRUB's that have to be there: what is in them doesn't matter.
const MODULES: [&str; 12] = [
    "biosdisk",
    "ext2",
    "part_gpt",
    "part_msdos",
    "normal",
    "linux",
    "search",
    "search_fs_uuid",
    "configfile",
    "serial",
    "terminal",
    "efi_gop",
];

/// Plans disks of a tree, writes those that can start, and looks at what they lack.
pub fn boot(input: &[u8]) {
    let mut draw = Draw(input);
    let flags = draw.number(2);
    let tree = tree(&mut draw);
    let spec = spec(flags);
    let store = NoStore;
    match check_public(&tree, &store) {
        Ok(findings) => assert!(findings.len() < 10_000),
        Err(error) => said(&error),
    }
    let image = match Image::plan(tree.clone(), &store, &spec) {
        Ok(image) => image,
        Err(error) => {
            said(&error);
            match Image::plan(tree, &store, &spec.boot(Boot::None)) {
                Ok(image) => image,
                Err(error) => return said(&error),
            }
        }
    };
    for target in [Target::Qemu, Target::Xen, Target::Ec2] {
        match image.check(&store, target) {
            Ok(findings) => assert!(findings.len() < 10_000),
            Err(error) => said(&error),
        }
    }
    let bytes = image.write(&store, Memory::default(), &mut ()).unwrap();
    super::fsck::fsck(&bytes, image.partitions().last().unwrap().offset);
}

fn spec(flags: u64) -> ImageSpec {
    let of = |shift: u32, n: u64| usize::try_from((flags >> shift) % n).unwrap();
    let mut spec = ImageSpec::new()
        .boot([Boot::Auto, Boot::Grub, Boot::Uki, Boot::Stub][of(0, 4)])
        .table([PartitionTable::Gpt, PartitionTable::Mbr][of(2, 2)])
        .grub_config([GrubConfig::Auto, GrubConfig::Keep, GrubConfig::Replace][of(3, 3)])
        .size(96 << 20);
    let mut host = match of(6, 5) {
        0 => HostSpec::default(),
        1 => HostSpec::nothing(),
        n => HostSpec::target([Target::Qemu, Target::Xen, Target::Ec2][n - 2]),
    };
    if flags & 1 << 10 != 0 {
        host.hostname = Some("lfs".to_owned());
        host.user = Some("a".to_owned());
        host.authorized_keys = vec![
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA a".to_owned(),
        ];
    }
    host.scrub = flags & 1 << 11 != 0;
    host.lock_root = flags & 1 << 12 != 0;
    host.imds_ssh_key = flags & 1 << 13 != 0;
    host.user_data = flags & 1 << 13 != 0;
    if flags & 1 << 14 != 0 {
        host.fstab = Fstab::Whole;
    }
    if flags & 1 << 15 != 0 {
        spec = spec.append("quiet").kernel("/boot/vmlinuz");
    }
    spec.host(host)
}

fn tree(draw: &mut Draw) -> Tree {
    let mut tree = Tree::new();
    let modules = draw.byte();
    for (bit, platform) in ["i386-pc", "x86_64-efi", "arm64-efi"].iter().enumerate() {
        if modules >> bit & 1 == 1 {
            for module in MODULES {
                put(
                    &mut tree,
                    &format!("usr/lib/grub/{platform}/{module}.mod"),
                    Kind::File(Content::bytes(*b"module")),
                );
            }
        }
    }
    for _ in 0..64 {
        if draw.is_done() {
            break;
        }
        let path = draw.of(&PATHS);
        let kind = match draw.below(8) {
            0 => Kind::Symlink(format!("/{}", draw.of(&PATHS)).into_bytes().into()),
            1 => Kind::Directory(Directory::default()),
            2 => {
                let len = usize::try_from(draw.below(512)).unwrap();
                Kind::File(Content::bytes(draw.bytes(len)))
            }
            // A hole of any size.
            3 if draw.one_in(8) => Kind::File(Content::sparse(draw.number(6), Vec::new()).unwrap()),
            _ => Kind::File(Content::bytes(damaged(path, draw))),
        };
        put(&mut tree, path, kind);
    }
    tree
}

/// What is usually in a file of this name, damaged in some places.
fn damaged(path: &str, draw: &mut Draw) -> Vec<u8> {
    let templates = templates();
    let fitting = templates.iter().find(|(name, _)| path == name);
    let bytes = if draw.one_in(16) || fitting.is_none() {
        let number = usize::try_from(draw.below(256)).unwrap();
        templates.get(number % templates.len().max(1)).map(|(_, bytes)| bytes)
    } else {
        fitting.map(|(_, bytes)| bytes)
    };
    let mut bytes = bytes.cloned().unwrap_or_default();
    for _ in 0..draw.below(8) {
        if bytes.is_empty() {
            break;
        }
        let span = draw.of(&[64, 512, 4096, 1 << 24]);
        let at = usize::try_from(draw.below(span)).unwrap() % bytes.len();
        match draw.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let len = usize::try_from(draw.below(64)).unwrap();
                bytes.splice(at..at, draw.bytes(len).to_vec());
            }
            n => {
                let len = [1, 1, 1, 2, 4, 4, 8, 16][usize::try_from(n).unwrap()];
                for (to, from) in bytes[at..].iter_mut().zip(draw.bytes(len)) {
                    *to = *from;
                }
            }
        }
    }
    bytes
}

fn put(tree: &mut Tree, path: &str, kind: Kind) {
    let meta = Meta::new(0o755, Timestamp::from_secs(1_700_000_000));
    let mut at = NodeId::ROOT;
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in directories.split('/').filter(|part| !part.is_empty()) {
        let found = tree.node(at).as_directory().and_then(|directory| directory.get(part.as_bytes()));
        at = match found.filter(|id| tree.node(*id).as_directory().is_some()) {
            Some(id) => id,
            None => {
                tree.insert(at, part.as_bytes(), meta.clone(), Kind::Directory(Directory::default())).unwrap()
            }
        };
    }
    tree.insert(at, name.as_bytes(), meta, kind).unwrap();
}

/// Files as they are on hosts, by the path that they have here: `LFS_IMAGE_BOOT_FILES` has GRUB, stubs and kernels (of which the
/// front and some of the rest will do), and the rest is made up.
fn templates() -> &'static [(String, Vec<u8>)] {
    static TEMPLATES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        if let Some(folder) = std::env::var_os("LFS_IMAGE_BOOT_FILES") {
            let folder = Path::new(&folder).join("bookworm");
            for (arch, paths) in [
                (
                    "amd64",
                    &[
                        "i386-pc/boot.img",
                        "i386-pc/diskboot.img",
                        "i386-pc/lzma_decompress.img",
                        "i386-pc/kernel.img",
                        "x86_64-efi/kernel.img",
                    ][..],
                ),
                ("arm64", &["arm64-efi/kernel.img"][..]),
            ] {
                for path in paths {
                    let path = format!("usr/lib/grub/{path}");
                    if let Ok(bytes) = std::fs::read(folder.join(arch).join(&path)) {
                        all.push((path, bytes));
                    }
                }
            }
            for (arch, name, path) in [
                (
                    "amd64",
                    "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
                    "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
                ),
                (
                    "arm64",
                    "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
                    "usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
                ),
                ("amd64", "boot", "boot/vmlinuz-6.1.2"),
                ("arm64", "boot", "boot/Image-6.2"),
                ("amd64", "bin/busybox", "bin/sh"),
            ] {
                if let Some(mut bytes) = file_of(&folder.join(arch).join(name)) {
                    bytes.truncate(200 << 10);
                    all.push((path.to_owned(), bytes));
                }
            }
        }
        let depends = MODULES.map(|module| format!("{module}: normal serial\n")).concat();
        for platform in ["i386-pc", "x86_64-efi", "arm64-efi"] {
            all.push((format!("usr/lib/grub/{platform}/moddep.lst"), depends.clone().into_bytes()));
        }
        all.extend(TEXTS.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())));
        all.push(("boot/initrd.img-6.1.2".to_owned(), cpio()));
        all.push(("lib/libc.so.6".to_owned(), elf()));
        all.push(("sbin/init".to_owned(), elf()));
        all
    })
}

fn file_of(path: &Path) -> Option<Vec<u8>> {
    let file: PathBuf = if path.is_dir() {
        let mut files: Vec<_> =
            std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        files.into_iter().next()?
    } else {
        path.to_owned()
    };
    std::fs::read(file).ok()
}

const TEXTS: [(&str, &str); 12] = [
    (
        "boot/grub/grub.cfg",
        "set default=0\nsearch --no-floppy --fs-uuid --set=root 0a1b\nmenuentry 'lfs' {\n  set root=(hd0,gpt2)\n  linux /boot/vmlinuz-6.1.2 root=/dev/sda2 ro\n  initrd /boot/initrd.img-6.1.2\n}\nsource /boot/x.cfg\nif [ \"$a\" = b ]; then echo \\\"; fi\n",
    ),
    (
        "etc/fstab",
        "# a\n/dev/sda1 / ext4 defaults 1 1\nUUID=0a1b /boot\\040x vfat ro 0 0\nproc /proc proc nosuid 0 0\n",
    ),
    (
        "etc/inittab",
        "id:3:initdefault:\nsi::sysinit:/etc/rc.d/init.d/rc S\n1:2345:respawn:/sbin/agetty --noclear tty1 9600\n",
    ),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\na:x:1000:1000::/home/a:/bin/sh\n"),
    ("etc/shadow", "root:$6$salt$hash:19000:0:99999:7:::\na:!:19000::::::\n"),
    ("etc/group", "root:x:0:\nwheel:x:97:a\n"),
    ("etc/os-release", "NAME=\"Linux From Scratch\"\nVERSION='12.0'\nID=lfs\n"),
    ("etc/network/interfaces", "auto lo eth0\niface eth0 inet dhcp\nsource interfaces.d/*\n"),
    ("etc/sysconfig/ifconfig.eth0", "ONBOOT=yes\nIFACE=eth0\nSERVICE=ipv4-static\nIP=192.168.1.2\n"),
    ("etc/sudoers", "root ALL=(ALL) ALL\n%wheel ALL=(ALL) NOPASSWD: ALL\n@includedir /etc/sudoers.d\n"),
    (
        "boot/config-6.1.2",
        "CONFIG_EXT4_FS=y\nCONFIG_BLK_DEV_NVME=m\n# CONFIG_EFI_STUB is not set\nCONFIG_CMDLINE=\"a\"\n",
    ),
    ("lib/modules/6.1.2/modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/drivers/nvme/host/nvme.ko\n"),
];

/// A RAM disk with one module in it.
fn cpio() -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in ["lib/modules/6.1.2/kernel/ext4.ko", "TRAILER!!!"] {
        let fields = [1, 0o100_644, 0, 0, 1, 0, 4, 0, 0, 0, 0, name.len() + 1, 0];
        bytes.extend_from_slice(b"070701");
        bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(b"data");
    }
    bytes
}

/// A program that wants an interpreter and a library.
fn elf() -> Vec<u8> {
    let mut bytes = vec![0; 64 + 3 * 56];
    bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
    bytes[20] = 1;
    bytes[32] = 64;
    bytes[52..54].copy_from_slice(&64_u16.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56] = 3;
    let mut segment = |n: usize, kind: u32, at: usize, len: usize| {
        let header = &mut bytes[64 + 56 * n..][..56];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        for place in [8, 16, 24] {
            header[place..place + 8].copy_from_slice(&(at as u64).to_le_bytes());
        }
        for place in [32, 40] {
            header[place..place + 8].copy_from_slice(&(len as u64).to_le_bytes());
        }
    };
    let interpreter = b"/lib64/ld-linux-x86-64.so.2\0";
    let strings = b"\0libc.so.6\0/lib:$ORIGIN/x\0";
    let (at_interpreter, at_strings) = (232, 232 + interpreter.len());
    let at_dynamic = (at_strings + strings.len()).next_multiple_of(8);
    // DT_STRTAB, DT_STRSZ, DT_NEEDED, DT_RUNPATH, DT_NULL
    let dynamic = [5, at_strings as u64, 10, strings.len() as u64, 1, 1, 29, 11, 0, 0];
    segment(0, 1, 0, at_dynamic + dynamic.len() * 8);
    segment(1, 3, at_interpreter, interpreter.len());
    segment(2, 2, at_dynamic, dynamic.len() * 8);
    bytes.resize(at_interpreter, 0);
    bytes.extend_from_slice(interpreter);
    bytes.extend_from_slice(strings);
    bytes.resize(at_dynamic, 0);
    bytes.extend(dynamic.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}
