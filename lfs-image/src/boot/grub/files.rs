//! GRUB's directories in a tree: one for each platform, with its images, modules and lists.

use super::moddep::Dependencies;
use crate::boot::root::Root;
use crate::error::{Error, Result};
use crate::tree::{Content, NodeId};

/// No image or module of GRUB comes near this many bytes.
const MAX_FILE: u64 = 8 << 20;

/// What GRUB was built for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Platform {
    I386Pc,
    X86_64Efi,
    Arm64Efi,
}

impl Platform {
    /// The name of its directory.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::I386Pc => "i386-pc",
            Self::X86_64Efi => "x86_64-efi",
            Self::Arm64Efi => "arm64-efi",
        }
    }

    /// The files without which no image can be made.
    fn needed(self) -> &'static [&'static str] {
        match self {
            Self::I386Pc => {
                &["boot.img", "diskboot.img", "lzma_decompress.img", "kernel.img", "moddep.lst", "normal.mod"]
            }
            Self::X86_64Efi | Self::Arm64Efi => &["kernel.img", "moddep.lst", "normal.mod"],
        }
    }

    /// The modules without which no image is made, and those that are taken where this GRUB has them.
    fn modules(self) -> (Vec<&'static str>, Vec<&'static str>) {
        match self {
            Self::I386Pc => ([&["biosdisk"], &REQUIRED[..]].concat(), USEFUL.to_vec()),
            Self::X86_64Efi | Self::Arm64Efi => (REQUIRED.to_vec(), [&USEFUL[..], &["efi_gop"]].concat()),
        }
    }
}

/// What an image must be able to do without reading a module from the disk: find the root filesystem, read its
/// configuration from ext4, show a menu and start a kernel.
const REQUIRED: [&str; 8] =
    ["part_msdos", "part_gpt", "ext2", "linux", "normal", "configfile", "search", "search_fs_uuid"];

/// What makes an image more useful, to a configuration and to a person at its prompt.
const USEFUL: [&str; 18] = [
    "serial",
    "terminal",
    "minicmd",
    "ls",
    "cat",
    "echo",
    "test",
    "boot",
    "halt",
    "reboot",
    "gzio",
    "fat",
    "search_label",
    "loadenv",
    "sleep",
    "probe",
    "regexp",
    "all_video",
];

/// Where installations keep GRUB's directories, most likely first. grub-install's copies come last: they lack the
/// images unless somebody put them there.
const PLACES: [&str; 7] = [
    "/usr/lib/grub",
    "/usr/lib64/grub",
    "/usr/share/grub",
    "/usr/local/lib/grub",
    "/usr/share/grub2",
    "/boot/grub",
    "/boot/grub2",
];

/// GRUB's files for one platform.
#[derive(Clone, Debug)]
pub(crate) struct Grub<'a> {
    pub(crate) platform: Platform,
    /// The directory's path from the root.
    pub(crate) path: String,
    dir: NodeId,
    root: Root<'a>,
}

impl<'a> Grub<'a> {
    /// Finds the files for a platform. The error says where it looked, or what an incomplete directory lacks.
    pub(crate) fn find(root: Root<'a>, platform: Platform) -> Result<Self> {
        let mut incomplete = Vec::new();
        for place in PLACES {
            let path = format!("{place}/{}", platform.name());
            let Some(dir) = root.find(&path).filter(|id| root.tree.node(*id).as_directory().is_some()) else {
                continue;
            };
            let grub = Self { platform, path, dir, root };
            let missing: Vec<&str> =
                platform.needed().iter().copied().filter(|name| grub.content(name).is_none()).collect();
            if missing.is_empty() {
                return Ok(grub);
            }
            incomplete.push(format!("{} lacks {}", grub.path, missing.join(", ")));
        }
        let name = platform.name();
        Err(Error::input(if incomplete.is_empty() {
            format!(
                "there is no GRUB for {name}: looked for {}",
                PLACES.map(|p| format!("{p}/{name}")).join(", ")
            )
        } else {
            format!("GRUB for {name} is incomplete: {}", incomplete.join("; "))
        }))
    }

    /// Reads one of its files whole.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = format!("{}/{name}", self.path);
        let content = self.content(name).ok_or_else(|| Error::input(format!("there is no {path}")))?;
        self.root.read(content, &path, MAX_FILE)
    }

    /// The names of the modules to build in, each behind those it needs.
    pub(crate) fn modules(&self) -> Result<Vec<String>> {
        let path = format!("{}/moddep.lst", self.path);
        let there = |name: &str| self.content(&format!("{name}.mod")).is_some();
        let dependencies =
            Dependencies::parse(&self.read("moddep.lst")?).map_err(|e| e.context(format!("read {path}")))?;
        let (mut wanted, useful) = self.platform.modules();
        // A useful module whose own needs aren't met is left out; a required one is an error below.
        wanted.extend(useful.into_iter().filter(|name| dependencies.closure(&[name], there).is_ok()));
        dependencies
            .closure(&wanted, there)
            .map_err(|e| e.context(format!("choose modules of {}", self.path)))
    }

    /// What grub-install copies beside grub.cfg, as (name, content): the modules and the lists by which a
    /// configuration finds them. None where this already is that place.
    pub(crate) fn copies(&self) -> Vec<(String, Content)> {
        if Some(self.dir) == self.root.find(format!("/boot/grub/{}", self.platform.name())) {
            return Vec::new();
        }
        let Some(directory) = self.root.tree.node(self.dir).as_directory() else { return Vec::new() };
        directory
            .iter()
            .filter_map(|(name, _)| {
                let name = str::from_utf8(name).ok()?;
                let wanted = name.ends_with(".mod") || name.ends_with(".lst");
                Some((name.to_owned(), self.content(name).filter(|_| wanted)?.clone()))
            })
            .collect()
    }

    fn content(&self, name: &str) -> Option<&'a Content> {
        self.root.file(format!("{}/{name}", self.path))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::boot::root::tests::tree;
    use crate::tree::NoStore;
    use crate::tree::Tree;

    /// A directory of the host (or of the cache of the boot tests) as a tree with GRUB in `usr/lib/grub`.
    pub(crate) fn host(dir: &str, platform: Platform) -> Option<Tree> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).ok()? {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = entry.file_name().into_string().unwrap();
                files.push((
                    format!("usr/lib/grub/{}/{name}", platform.name()),
                    std::fs::read(entry.path()).unwrap(),
                ));
            }
        }
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        Some(tree(&files))
    }

    #[test]
    fn refusals() {
        let empty = tree(&[]);
        let error = Grub::find(Root::new(&empty, &NoStore), Platform::I386Pc).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no GRUB for i386-pc: looked for /usr/lib/grub/i386-pc, "),
            "{error}"
        );
        let partial = tree(&[
            ("boot/grub/i386-pc/normal.mod", b"x"),
            ("boot/grub/i386-pc/moddep.lst", b"x"),
            ("boot/grub/i386-pc/core.img", b"x"),
        ]);
        let error = Grub::find(Root::new(&partial, &NoStore), Platform::I386Pc).unwrap_err().to_string();
        assert_eq!(
            error,
            "GRUB for i386-pc is incomplete: /boot/grub/i386-pc lacks boot.img, diskboot.img, \
             lzma_decompress.img, kernel.img"
        );
    }

    #[test]
    fn copies_are_what_a_configuration_may_load() {
        let files: [(&str, &[u8]); 6] = [
            ("kernel.img", b"k"),
            ("moddep.lst", b""),
            ("normal.mod", b"n"),
            ("command.lst", b"c"),
            ("config.h", b""),
            ("modinfo.sh", b""),
        ];
        let place = |dir: &str| {
            let paths: Vec<String> = files.iter().map(|(n, _)| format!("{dir}/{n}")).collect();
            let files: Vec<(&str, &[u8])> =
                paths.iter().zip(&files).map(|(p, (_, b))| (p.as_str(), *b)).collect();
            tree(&files)
        };
        let names = |tree: &Tree| {
            let grub = Grub::find(Root::new(tree, &NoStore), Platform::X86_64Efi).unwrap();
            grub.copies().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&place("usr/lib/grub/x86_64-efi")), ["command.lst", "moddep.lst", "normal.mod"]);
        assert!(names(&place("boot/grub/x86_64-efi")).is_empty());
    }
}
