//! What unit tests of these rooms judge by: other people's programs, and GRUB's files from Debian's packages.

#![allow(clippy::disallowed_methods)] // tests may look at their environment

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object as _, ObjectSection as _};

/// Says that a test couldn't judge. That is an error where tests run to decide something.
pub(crate) fn skip(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "a judge is missing: {what}");
    eprintln!("SKIPPED: {what} is missing");
}

/// A program of the host, if it is there.
pub(crate) fn program(name: &str) -> Option<Command> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin", "/usr/lib/grub/i386-pc"].map(PathBuf::from);
    let found = std::env::split_paths(&dirs).chain(extra).map(|dir| dir.join(name)).find(|p| p.is_file());
    if found.is_none() {
        skip(name);
    }
    found.map(Command::new)
}

/// Where `tests/support/get-boot-files.sh` put its files, if it ran: LFS_IMAGE_BOOT_FILES, or `.cache/boot` of the
/// workspace.
pub(crate) fn boot_files() -> Option<PathBuf> {
    let dir = std::env::var_os("LFS_IMAGE_BOOT_FILES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/boot"), PathBuf::from);
    dir.join("bookworm").is_dir().then_some(dir)
}

/// The directories of GRUB's files for a platform that this machine has, by version.
pub(crate) fn grub_dirs(platform: &str) -> Vec<PathBuf> {
    let arch = if platform == "arm64-efi" { "arm64" } else { "amd64" };
    let mut dirs: Vec<PathBuf> = boot_files()
        .into_iter()
        .flat_map(|cache| {
            ["bookworm", "trixie"].map(|s| cache.join(s).join(arch).join("usr/lib/grub").join(platform))
        })
        .chain([Path::new("/usr/lib/grub").join(platform)])
        .filter(|dir| dir.join("kernel.img").is_file())
        .collect();
    // The host's own is one of the cache's on Debian.
    dirs.truncate(2);
    if dirs.is_empty() {
        skip(&format!("GRUB for {platform}"));
    }
    dirs
}

/// Runs a judge to its end; a failure is the test's.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Assembles a source file and gives its `.text`, which must need no relocation.
pub(crate) fn assemble(dir: &str, source: &str, tools: [&str; 2], flags: &[&str]) -> Option<Vec<u8>> {
    let out = tempfile::tempdir().unwrap();
    let (object, binary) = (out.path().join("o"), out.path().join("bin"));
    run(program(tools[0])?.args(flags).arg("-o").arg(&object).arg(Path::new(dir).join(source)));
    run(program(tools[1])?.args(["-O", "binary", "-j", ".text"]).arg(&object).arg(&binary));
    let bytes = std::fs::read(&object).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let relocations = file.section_by_name(".text").unwrap().relocations().count();
    assert_eq!(relocations, 0, "{source} isn't position independent");
    Some(std::fs::read(binary).unwrap())
}

/// Compares a file of carried code with what its sources assemble to (name, source, bytes); with BLESS set, writes it.
pub(crate) fn carried(path: &str, have: &str, code: &[(&str, &str, &[u8])]) {
    let mut want = String::from(
        "//! What the assembly sources beside this file assemble to. A test compares them; with BLESS=1 in its\n\
         //! environment it writes this file.\n",
    );
    for (name, source, bytes) in code {
        use std::fmt::Write as _;
        let _ = write!(
            want,
            "\n/// `{source}`.\n#[rustfmt::skip]\npub(super) const {name}: [u8; {}] = [\n",
            bytes.len()
        );
        for line in bytes.chunks(16) {
            let line: Vec<String> = line.iter().map(|b| format!("0x{b:02x}")).collect();
            let _ = writeln!(want, "    {},", line.join(", "));
        }
        want += "];\n";
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, want).unwrap();
    } else {
        assert!(have == want, "{path} isn't what its sources assemble to; BLESS=1 writes it anew");
    }
}
