//! Root file systems to test with, made by the scripts and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{must, project, support_file};

/// A real system made of Debian's packages: `debian-systemd` or `lfs-sysv`. Login root, password lfs.
pub fn debian(variant: &str, folder: &Path) -> PathBuf {
    let archive = folder.join(format!("{variant}.tar"));
    must(Command::new(project().join("scripts/make-rootfs.sh")).arg(&archive).arg(variant));
    archive
}

/// A kernel and busybox.
pub struct Kit {
    pub kernel: PathBuf,
    pub busybox: PathBuf,
}

/// Debian's cloud kernel, with ext4 and NVMe built in, and a static busybox: `amd64` or `arm64`.
pub fn kit(arch: &str) -> Kit {
    let folder = must(Command::new(project().join("scripts/get-kernel.sh")).arg(arch));
    let folder = Path::new(folder.trim());
    Kit { kernel: folder.join("vmlinuz"), busybox: folder.join("busybox") }
}

/// A few MiB that boot in seconds: busybox, device nodes, and an init that prints `TINY-ROOT-UP` and gives a shell on the
/// console. With `options` as `tiny_root.py` takes them.
pub fn tiny(arch: &str, folder: &Path, options: &[&str]) -> PathBuf {
    let archive = folder.join(format!("tiny-{arch}.tar"));
    let kit = kit(arch);
    let mut command = Command::new("python3");
    command.arg(support_file("tiny_root.py")).arg(&archive).arg("--busybox").arg(&kit.busybox);
    must(command.arg("--kernel").arg(&kit.kernel).args(options));
    archive
}
