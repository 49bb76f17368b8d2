//! Loop mounts: the kernel's view of an image. Root only.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Complaint, Verdict, must, run};

/// A mounted image; unmounted with the value.
pub struct Mount {
    point: tempfile::TempDir,
    mounted: bool,
}

/// Whether mounting an image works here. Tried once.
pub fn are_possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let folder = super::scratch();
        let image = folder.path().join("probe.img");
        std::fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let made = run(Command::new("mke2fs").args(["-q", "-F"]).arg(&image)).status.success();
        made && Mount::try_new(&image, 0, "ro").is_ok()
    })
}

impl Mount {
    /// The kernel may write nothing, not even its journal: a file system that isn't clean doesn't mount.
    #[track_caller]
    pub fn read_only(image: &Path, offset: u64) -> Self {
        Self::try_new(image, offset, "ro").unwrap()
    }

    /// For tests that change the image.
    #[track_caller]
    pub fn read_write(image: &Path, offset: u64) -> Self {
        Self::try_new(image, offset, "rw").unwrap()
    }

    fn try_new(image: &Path, offset: u64, mode: &str) -> Verdict<Self> {
        let point = tempfile::Builder::new().prefix("lfs-image-mount-").tempdir().unwrap();
        let mut this = Self { point, mounted: false };
        // Not to be had in every container; then the counters have to do.
        let _ = std::fs::write("/dev/kmsg", this.marker());
        let options = format!("loop,offset={offset},{mode}");
        let output =
            run(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(image).arg(this.path()));
        if output.status.success() {
            this.mounted = true;
            return Ok(this);
        }
        Err(Complaint(format!("mount {}: {}", image.display(), super::both(&output))))
    }

    /// Where the tree begins.
    pub fn path(&self) -> &Path {
        self.point.path()
    }

    /// The loop device under it.
    pub fn device(&self) -> PathBuf {
        let device = must(Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(self.path()));
        PathBuf::from(device.trim())
    }

    /// Unmounts, and fails if the kernel said more about it than that it mounted and unmounted it.
    pub fn finish(mut self) -> Verdict {
        let device = self.device();
        let name = device.file_name().unwrap().to_str().unwrap().to_owned();
        let counters = Path::new("/sys/fs/ext4").join(&name);
        let count = |file| std::fs::read_to_string(counters.join(file)).unwrap_or_default().trim().to_owned();
        let (errors, warnings) = (count("errors_count"), count("warning_count"));
        self.unmount();
        if (errors.as_str(), warnings.as_str()) != ("0", "0") {
            return Err(Complaint(format!(
                "the kernel met {errors} errors and gave {warnings} warnings (see dmesg)"
            )));
        }
        // Errors of a read-only device are counted nowhere, only logged.
        let log = must(&mut Command::new("dmesg"));
        let since = log.rsplit_once(&self.marker()).map_or("", |(_, since)| since);
        let about = [format!("EXT4-fs ({name}): "), format!("(device {name}): "), format!("JBD2: {name}")];
        // The last is said of each filesystem with an orphan file on a device that is read-only.
        let usual = [
            "mounted filesystem",
            "unmounting filesystem",
            "write access unavailable, skipping orphan cleanup",
        ];
        let strange = since.lines().filter(|line| about.iter().any(|words| line.contains(words)));
        let strange: Vec<_> =
            strange.filter(|line| !usual.iter().any(|words| line.contains(words))).collect();
        if strange.is_empty() { Ok(()) } else { Err(Complaint(strange.join("\n"))) }
    }

    /// A line of the kernel's log that stands before everything about this mount.
    fn marker(&self) -> String {
        format!("lfs-image test mounts {}.", self.point.path().display())
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            must(Command::new("umount").arg(self.point.path()));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && !run(Command::new("umount").arg(self.point.path())).status.success() {
            // Something still looks at it: let it go when that ends.
            run(Command::new("umount").arg("-l").arg(self.point.path()));
        }
    }
}
