//! What was typed, as the library wants it.

use std::path::Path;
use std::time::SystemTime;

use lfs_image::image::{Boot, GrubConfig, InodeCount, PartitionTable};
use lfs_image::tree::Timestamp;
use lfs_image::{Image, ImageSpec, ReadOptions};

use crate::cli::{ArchiveArgs, BootMethod, Check, GrubCfg, ImageArgs, Inspect, Raw, Table};

impl ImageArgs {
    /// The image that was asked for.
    pub(crate) fn spec(&self) -> ImageSpec {
        let mut spec = ImageSpec::new()
            .table(self.table())
            .boot(match self.boot {
                BootMethod::Auto => Boot::Auto,
                BootMethod::Grub => Boot::Grub,
                BootMethod::Uki => Boot::Uki,
                BootMethod::Stub => Boot::Stub,
                BootMethod::None => Boot::None,
            })
            .grub_config(match self.grub_cfg {
                GrubCfg::Auto => GrubConfig::Auto,
                GrubCfg::Keep => GrubConfig::Keep,
                GrubCfg::Replace => GrubConfig::Replace,
            })
            .inodes(match (self.inodes, self.inode_ratio) {
                (Some(inodes), _) => InodeCount::AtLeast(inodes),
                (None, Some(ratio)) => InodeCount::Ratio(ratio),
                (None, None) => InodeCount::Auto,
            })
            .journal(self.journal)
            .ea_inode(self.ea_inode)
            .orphan_file(self.orphan_file);
        for arguments in &self.append {
            spec = spec.append(arguments);
        }
        if let Some(line) = &self.cmdline {
            spec = spec.cmdline(line);
        }
        if let Some(kernel) = &self.kernel {
            spec = spec.kernel(kernel);
        }
        if let Some(size) = self.size {
            spec = spec.size(size);
        }
        if let Some(free) = self.free {
            spec = spec.free(free);
        }
        if let Some(esp) = self.esp {
            spec = spec.esp(esp);
        }
        if let Some(label) = &self.label {
            spec = spec.label(label);
        }
        if let Some(uuid) = self.uuid {
            spec = spec.uuid(uuid);
        }
        if let Some(reserved) = self.reserved {
            spec = spec.reserved(reserved);
        }
        if let Some(time) = self.time {
            spec = spec.time(time);
        }
        spec
    }

    /// What is odd about the times in an image.
    pub(crate) fn time_warnings(&self, image: &Image) -> Vec<String> {
        let (oldest, newest) = (image.tree().oldest_mtime(), image.tree().newest_mtime());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut warnings = Vec::new();
        // A filesystem is as old as the newest that is in it; e2fsck finds fault with one that was written more than a day after
        // its own clock.
        if self.time.is_none()
            && u64::try_from(newest.sec).is_ok_and(|newest| newest > now.saturating_add(86400))
        {
            warnings
                .push(format!("its newest time, @{}, is in the future: e2fsck will complain", newest.sec));
        }
        for time in [oldest, newest] {
            if time != time.clamped() {
                let (least, most) = (Timestamp::MIN.sec, Timestamp::MAX.sec);
                warnings.push(format!(
                    "ext4 holds times from @{least} (1901) to @{most} (2446): @{} becomes the nearest of them",
                    time.sec
                ));
            }
        }
        warnings
    }

    /// The partition table that was asked for.
    pub(crate) fn table(&self) -> PartitionTable {
        match self.table {
            Table::Gpt => PartitionTable::Gpt,
            Table::Mbr => PartitionTable::Mbr,
            Table::None => PartitionTable::None,
        }
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        (self.esp.is_some() && matches!(self.table, Table::None)).then_some(
            "an EFI system partition (--esp) needs a partition table, and --table none asks for none",
        )
    }
}

impl ArchiveArgs {
    /// How archives are to be read, on the way to `out` if that is a file.
    pub(crate) fn options(&self, out: Option<&Path>) -> ReadOptions {
        let spool_dir = self.spool_dir.clone().or_else(|| folder(out?)).unwrap_or_else(std::env::temp_dir);
        let mut options = ReadOptions::new(spool_dir);
        options.max_size = self.max_size;
        options.whiteouts = self.whiteouts;
        options.keep_directory_symlinks = self.keep_directory_symlink;
        options
    }

    /// The archives, the one that others are put over first.
    pub(crate) fn inputs<'a>(&'a self, first: &'a Path) -> impl Iterator<Item = &'a Path> {
        std::iter::once(first).chain(self.overlay.iter().map(AsRef::as_ref))
    }

    pub(crate) fn fault(&self, first: &Path) -> Option<&'static str> {
        let pipes = self.inputs(first).filter(|path| is_pipe(path));
        (pipes.count() > 1).then_some("only one archive can come from stdin")
    }
}

impl Raw {
    pub(crate) fn fault(&self, json: bool) -> Option<&'static str> {
        let piped = self.out.as_deref().is_some_and(is_pipe);
        if piped && json && !self.dry_run {
            return Some(
                "--json prints to stdout, where the image goes: the same with --dry-run tells about it",
            );
        }
        self.image.fault().or_else(|| self.host.fault()).or_else(|| self.archive.fault(&self.rootfs))
    }
}

impl Inspect {
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.image.fault().or_else(|| self.host.fault()).or_else(|| self.archive.fault(&self.file))
    }
}

impl Check {
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.image.fault().or_else(|| self.host.fault()).or_else(|| self.archive.fault(&self.file))
    }
}

/// Whether a path stands for stdin or stdout.
pub(crate) fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The folder of a file that is there or will be; none for pipes and devices.
fn folder(out: &Path) -> Option<std::path::PathBuf> {
    if is_pipe(out) || out.metadata().is_ok_and(|meta| !meta.is_file()) {
        return None;
    }
    let out = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let folder = out.parent()?;
    Some(if folder.as_os_str().is_empty() { ".".into() } else { folder.to_owned() })
}
