//! The archive against the file system made of it, entry by entry: `compare_tar.py`.

use std::path::Path;
use std::process::Command;

use super::mount::Mount;
use super::{Complaint, Verdict, both, judge, run, support_file};

/// Programs that the comparison calls.
pub const NEEDS: &[&str] = &["python3", "debugfs", "getfacl", "getcap", "zstd", "xz", "bzip2", "gzip"];

/// Both ways: through debugfs, and through the kernel where mounting is possible. `options` are `compare_tar.py`'s.
pub fn image(archive: &Path, image: &Path, offset: u64, options: &[&str]) -> Verdict {
    debugfs(archive, image, offset, options)?;
    if judge::require_mounts() {
        let mount = Mount::read_only(image, offset);
        mounted(archive, mount.path(), options)?;
        mount.finish()?;
    }
    Ok(())
}

/// Through the kernel; complete as root only.
pub fn mounted(archive: &Path, root: &Path, options: &[&str]) -> Verdict {
    compare(Command::new("python3").arg(support_file("compare_tar.py")).args(options).arg(archive).arg(root))
}

/// Through debugfs, without root.
pub fn debugfs(archive: &Path, image: &Path, offset: u64, options: &[&str]) -> Verdict {
    let place = format!("{}?offset={offset}", image.display());
    let script = support_file("compare_tar.py");
    compare(Command::new("python3").arg(script).args(options).arg(archive).args(["--debugfs", &place]))
}

fn compare(command: &mut Command) -> Verdict {
    let output = run(command.env("PYTHONDONTWRITEBYTECODE", "1"));
    if output.status.success() {
        return Ok(());
    }
    Err(Complaint(format!("{command:?}: {}\n{}", output.status, both(&output))))
}
