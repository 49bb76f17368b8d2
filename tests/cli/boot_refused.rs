//! What can't start is refused with its reason, before anything is written.

use std::path::Path;

use crate::support::rootfs::Tiny;
use crate::support::{both, must, scratch};
use crate::{errors, fixture, lfs_image, raw};

/// A file of the tarball that is changed: its path, and what becomes of its bytes.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>));

/// Makes a tarball of another, with one file changed.
fn changed(archive: &Path, folder: &Path, (path, change): Change<'_>) -> std::path::PathBuf {
    let tree = folder.join("tree");
    let _ = std::fs::remove_dir_all(&tree);
    std::fs::create_dir(&tree).unwrap();
    let skip = ["--exclude=./dev/*", "--no-same-owner"];
    must(std::process::Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&tree).args(skip));
    let file = tree.join(path);
    let mut bytes = std::fs::read(&file).unwrap();
    change(&mut bytes);
    if bytes.is_empty() {
        std::fs::remove_file(&file).unwrap();
    } else {
        std::fs::write(&file, bytes).unwrap();
    }
    let out = folder.join("changed.tar");
    must(std::process::Command::new("tar").arg("-cf").arg(&out).arg("-C").arg(&tree).arg("."));
    out
}

/// What `raw` says when it refuses; no image is there then.
#[track_caller]
fn refusal(archive: &Path, options: &[&str]) -> String {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let output = lfs_image().arg("raw").args(options).arg(archive).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{options:?}: {}", both(&output));
    assert!(output.stdout.is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
    errors(&output)
}

#[test]
fn no_kernel() {
    let said = refusal(&fixture("gnu-posix.tar"), &[]);
    assert!(said.contains("there is no kernel: looked for /boot/vmlinuz*, "), "{said}");
    let folder = scratch();
    let archive = Tiny::new("amd64").make(folder.path());
    let said = refusal(&archive, &["--kernel", "boot/other"]);
    assert!(said.contains("boot/other"), "{said}");
    let no_kernel = Tiny::new("amd64").kernel_in_root();
    let garbled = changed(&archive, folder.path(), (&no_kernel[1..], &|bytes| bytes.truncate(100)));
    let said = refusal(&garbled, &[]);
    assert!(said.contains("not usable: /boot/vmlinuz-"), "{said}");
}

#[test]
fn a_kernel_that_the_firmware_cannot_start() {
    let folder = scratch();
    let archive = Tiny::new("amd64").systemd_stub("bookworm").make(folder.path());
    let kernel = Tiny::new("amd64").kernel_in_root();
    // Without its stub a kernel doesn't begin like an EFI program.
    let bare = changed(&archive, folder.path(), (&kernel[1..], &|bytes| bytes[..2].fill(0)));
    let said = refusal(&bare, &["--boot", "uki"]);
    assert!(said.contains("the kernel is built without CONFIG_EFI_STUB"), "{said}");
    // For the BIOS alone it will do.
    let out = folder.path().join("out.img");
    let made = raw(&bare, &out, &["--json", "--size", "256M"]);
    assert!(made.contains("UEFI doesn't start it: "), "{made}");

    let arm = Tiny::new("arm64").make(folder.path());
    let said = refusal(&arm, &["--table", "mbr"]);
    assert!(said.contains("BIOS: arm64 machines have none"), "{said}");
    let said = refusal(&arm, &["--boot", "grub"]);
    assert!(said.contains("there is no GRUB for arm64-efi: looked for /usr/lib/grub/arm64-efi"), "{said}");
}

#[test]
fn a_grub_that_is_not_understood() {
    let folder = scratch();
    let archive = Tiny::new("amd64").grub("bookworm", "i386-pc").make(folder.path());
    let garble: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes[..16].fill(b'?');
    let half: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes.truncate(bytes.len() / 2);
    let arm: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes[18] = 40;
    let gone: &dyn Fn(&mut Vec<u8>) = &Vec::clear;
    // The file, what is wrong with it, and what is said.
    let cases = [
        ("kernel.img", garble, "it is no 32-bit ELF file: this GRUB's format is unknown"),
        ("kernel.img", half, "this GRUB's format is unknown"),
        ("kernel.img", arm, "it is no ELF program for i386: this GRUB's format is unknown"),
        ("kernel.img", gone, "GRUB for i386-pc is incomplete: /usr/lib/grub/i386-pc lacks kernel.img"),
        ("boot.img", half, "boot.img is 256 bytes long, not 512: this GRUB's format is unknown"),
        ("diskboot.img", half, "diskboot.img of 256 bytes doesn't end with 0x0820"),
        ("lzma_decompress.img", garble, "doesn't begin with a far jump: this GRUB's format is unknown"),
        ("moddep.lst", garble, "moddep.lst"),
        ("ext2.mod", gone, "there is no module ext2.mod"),
        ("biosdisk.mod", gone, "there is no module biosdisk.mod"),
    ];
    for (file, wrong, says) in cases {
        let path = format!("usr/lib/grub/i386-pc/{file}");
        let archive = changed(&archive, folder.path(), (&path, wrong));
        let said = refusal(&archive, &["--boot", "grub", "--table", "mbr"]);
        assert!(said.contains(says), "{file}: {said}");
    }
}

#[test]
fn too_little_room() {
    let folder = scratch();
    let archive = Tiny::new("amd64").initrd(folder.path()).make(folder.path());
    let said = refusal(&archive, &["--esp", "1M"]);
    assert!(said.contains("the EFI system partition"), "{said}");
    // FAT32 is possible from about 33 MiB on, and a RAM disk of 40 MiB doesn't fit there.
    let kernel = Tiny::new("amd64").kernel_in_root();
    let large = kernel[1..].replace("vmlinuz", "initrd.img");
    let large = Tiny::new("amd64").file(&large, &vec![b'x'; 40 << 20], folder.path()).make(folder.path());
    let said = refusal(&large, &["--esp", "40M"]);
    assert!(said.contains("the files need ") && said.contains("the EFI system partition"), "{said}");
    // The disk has room for what starts it, and then not for its root filesystem.
    let said = refusal(&large, &["--size", "100M"]);
    assert!(said.contains("has no room for a root filesystem"), "{said}");
}

#[test]
fn a_kernel_for_another_machine_than_its_userland() {
    let folder = scratch();
    let archive = Tiny::new("amd64").make(folder.path());
    let foreign: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes[18] = 183;
    let foreign = changed(&archive, folder.path(), ("bin/busybox", foreign));
    let out = folder.path().join("out.img");
    let output = lfs_image().args(["raw", "--size", "256M"]).arg(&foreign).arg(&out).output().unwrap();
    let said = errors(&output);
    assert!(output.status.success() && said.contains(" is for arm64, which /boot/vmlinuz-"), "{said}");
}
