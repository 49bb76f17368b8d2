//! GRUB's two configurations: the one inside an image, which finds the root filesystem, and grub.cfg on it.

use std::fmt::Write as _;

use super::Platform;
use crate::boot::Disk;
use crate::boot::cmdline;
use crate::error::{Error, Result};
use crate::raw::guid::Uuid;

/// How long the menu waits, in seconds: enough for a key on a serial console.
const TIMEOUT: u32 = 3;

/// Where grub.cfg is, from the root filesystem's root.
pub(crate) const PATH: &str = "/boot/grub/grub.cfg";

/// The directory of grub.cfg as an image knows it before it has looked for anything.
///
/// On a PC that is a partition of the disk that the BIOS booted from (a device that begins with a comma), which serves
/// should the search fail. An EFI image starts with its own partition as root, so there the search must succeed.
pub(crate) fn prefix(platform: Platform, disk: &Disk) -> String {
    match platform {
        Platform::I386Pc => format!("(,{})/boot/grub", partition(disk)),
        Platform::X86_64Efi | Platform::Arm64Efi => "/boot/grub".to_owned(),
    }
}

/// What an image runs first. The parser that reads it knows only commands and variables.
pub(crate) fn early(platform: Platform, disk: &Disk) -> String {
    let mut text = String::new();
    if platform == Platform::I386Pc {
        // EFI's own console is on every screen and serial port already.
        text += "serial --unit=0 --speed=115200\n\
                 terminal_input console serial\n\
                 terminal_output console serial\n";
    }
    // The hint is tried first: where a copy of the disk is attached too, the disk that boots is mostly hd0.
    let _ = writeln!(text, "search.fs_uuid {} root hd0,{}", disk.root_fs, partition(disk));
    text += "set prefix=($root)/boot/grub\n";
    text
}

/// The root partition as GRUB calls it.
fn partition(disk: &Disk) -> String {
    let scheme = if disk.gpt { "gpt" } else { "msdos" };
    format!("{scheme}{}", disk.root_partition)
}

/// A line of the menu.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) title: String,
    /// The kernel's path on the root filesystem.
    pub(crate) kernel: String,
    pub(crate) cmdline: String,
    /// The initial RAM disk's path, if there is one.
    pub(crate) initrd: Option<String>,
}

/// A grub.cfg with these entries; the first one boots unless a key is pressed.
pub(crate) fn menu(entries: &[Entry], root_fs: Uuid) -> Result<String> {
    let mut text = format!(
        "# Made by lfs-image for the disk that it is on. Nothing rewrites it: change what you like.\n\
         set default=0\n\
         set timeout={TIMEOUT}\n\
         \n\
         if [ \"$grub_platform\" = pc ]; then\n\
         \x20 # EFI's own console is on every screen and serial port already.\n\
         \x20 serial --unit=0 --speed=115200\n\
         \x20 terminal_input console serial\n\
         \x20 terminal_output console serial\n\
         fi\n\
         \n\
         search --no-floppy --fs-uuid --set=root {root_fs}\n"
    );
    for entry in entries {
        let _ = write!(
            text,
            "\nmenuentry {} {{\n  linux {} {}\n",
            quote(&entry.title),
            quote(&entry.kernel),
            arguments(&entry.cmdline)?
        );
        if let Some(initrd) = &entry.initrd {
            let _ = writeln!(text, "  initrd {}", quote(initrd));
        }
        text += "}\n";
    }
    Ok(text)
}

/// A command line as arguments of GRUB's `linux`, which puts quotes of its own around arguments with spaces and a
/// backslash before every quote and backslash.
fn arguments(line: &str) -> Result<String> {
    let mut words = Vec::new();
    for parameter in cmdline::parameters(line) {
        // name="a b" and "name=a b" mean the same to the kernel; GRUB makes the second of name=a b.
        let bare = match parameter.split_once('"') {
            None => parameter.to_owned(),
            Some((before, rest)) if before.is_empty() || before.ends_with('=') => {
                format!("{before}{}", rest.strip_suffix('"').unwrap_or(rest))
            }
            Some(_) => parameter.to_owned(),
        };
        if bare.contains(['"', '\'', '\\']) {
            return Err(Error::input(format!(
                "GRUB can't hand the parameter `{parameter}` to a kernel: it changes quotes and backslashes"
            )));
        }
        words.push(quote(&bare));
    }
    Ok(words.join(" "))
}

/// A word of GRUB's script language.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::judges;
    use crate::boot::tests::disk;

    #[test]
    fn the_image_finds_its_filesystem() {
        let disk = disk();
        assert_eq!(prefix(Platform::I386Pc, &disk), "(,gpt3)/boot/grub");
        assert_eq!(
            prefix(Platform::I386Pc, &Disk { gpt: false, root_partition: 1, ..disk.clone() }),
            "(,msdos1)/boot/grub"
        );
        assert_eq!(
            early(Platform::X86_64Efi, &disk),
            "search.fs_uuid 11111111-2222-8333-8444-555555555555 root hd0,gpt3\nset prefix=($root)/boot/grub\n"
        );
        assert!(early(Platform::I386Pc, &disk).starts_with("serial "));
    }

    #[test]
    fn what_grub_makes_of_parameters() {
        assert_eq!(arguments(r#"ro  a="b c" "d=e f" x=$y"#).unwrap(), "ro 'a=b c' 'd=e f' 'x=$y'");
        for bad in [r"a=\n", "a='b c'", r#"a=b"c d""#] {
            assert!(arguments(bad).is_err(), "{bad}");
        }
        assert_eq!(quote("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_menu_is_a_script_that_grub_parses() {
        let entry = |title: &str, initrd: Option<&str>| Entry {
            title: title.into(),
            kernel: "/boot/vmlinuz-6.1 x".into(),
            cmdline: "root=PARTUUID=deadbeef-03 dyndbg=\"file a +p\" ro".into(),
            initrd: initrd.map(str::to_owned),
        };
        let entries = [entry("Anna's Linux, 6.1", Some("/boot/initrd.img-6.1")), entry("older", None)];
        let text = menu(&entries, disk().root_fs).unwrap();
        assert!(
            text.contains("  linux '/boot/vmlinuz-6.1 x' root=PARTUUID=deadbeef-03 'dyndbg=file a +p' ro\n")
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("grub.cfg");
        let Some(mut check) = judges::program("grub-script-check") else { return };
        std::fs::write(&file, &text).unwrap();
        judges::run(check.arg(&file));
        std::fs::write(&file, text.replacen("fi\n", "", 1)).unwrap();
        assert!(!check.status().unwrap().success(), "the judge sees nothing");
    }
}
