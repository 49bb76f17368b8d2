//! Root file systems to test with, made by the scripts and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{cached, must, project, support_file, variable};

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

/// What to boot a tiny root with, of the files that `get-boot-files.sh` fetches.
pub struct Tiny {
    debian: &'static str,
    files: PathBuf,
    options: Vec<String>,
}

impl Tiny {
    /// A kernel for `amd64` or `arm64`, and nothing to start it with.
    pub fn new(debian: &'static str) -> Self {
        let mut tiny = Self { debian, files: boot_files(), options: Vec::new() };
        let kernel = tiny.kernel();
        let name = kernel.file_name().unwrap().to_str().unwrap().to_owned();
        tiny.add(&format!("boot/{name}"), &kernel);
        tiny
    }

    /// GRUB of a release (bookworm has 2.06, trixie 2.12) for a platform.
    #[must_use]
    pub fn grub(mut self, release: &str, platform: &str) -> Self {
        let folder = self.of(release, "usr/lib/grub").join(platform);
        self.options.extend(["--grub".into(), folder.display().to_string()]);
        self
    }

    /// The stub of systemd for unified kernel images.
    #[must_use]
    pub fn systemd_stub(mut self, release: &str) -> Self {
        let name = if self.debian == "amd64" { "linuxx64.efi.stub" } else { "linuxaa64.efi.stub" };
        let path = format!("usr/lib/systemd/boot/efi/{name}");
        let stub = self.of(release, &path);
        self.add(&path, &stub);
        self
    }

    /// An initial RAM disk that can do what the kernel alone can't: start from a virtio disk.
    #[must_use]
    pub fn initrd(mut self, folder: &Path) -> Self {
        let initrd = folder.join("initrd.img");
        let mut command = Command::new("python3");
        command.arg(support_file("tiny_initrd.py")).arg(&initrd).arg("--busybox").arg(self.busybox());
        must(command.arg("--modules").arg(self.of(KERNEL_RELEASE, "lib/modules")));
        let name = self.kernel().file_name().unwrap().to_str().unwrap().replace("vmlinuz", "boot/initrd.img");
        self.add(&name, &initrd);
        self
    }

    /// One more file.
    #[must_use]
    pub fn file(mut self, path: &str, content: &[u8], folder: &Path) -> Self {
        let file = folder.join(path.replace('/', "_"));
        std::fs::write(&file, content).unwrap();
        self.add(path, &file);
        self
    }

    /// Writes the archive.
    pub fn make(&self, folder: &Path) -> PathBuf {
        let archive = folder.join("root.tar");
        let mut command = Command::new("python3");
        command.arg(support_file("tiny_root.py")).arg(&archive).arg("--busybox").arg(self.busybox());
        must(command.args(&self.options));
        archive
    }

    /// The kernel on the host.
    pub fn kernel(&self) -> PathBuf {
        let folder = self.of(KERNEL_RELEASE, "boot");
        std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    /// The kernel's path in the archive.
    pub fn kernel_in_root(&self) -> String {
        format!("/boot/{}", self.kernel().file_name().unwrap().to_str().unwrap())
    }

    pub fn is_arm64(&self) -> bool {
        self.debian == "arm64"
    }

    pub fn has_initrd(&self) -> bool {
        self.options.iter().any(|option| option.starts_with("boot/initrd"))
    }

    fn busybox(&self) -> PathBuf {
        self.of(KERNEL_RELEASE, "bin/busybox")
    }

    fn of(&self, release: &str, path: &str) -> PathBuf {
        self.files.join(release).join(self.debian).join(path)
    }

    fn add(&mut self, path: &str, file: &Path) {
        self.options.extend(["--add".into(), format!("{path}={}", file.display())]);
    }
}

const KERNEL_RELEASE: &str = "bookworm";

/// The folder that `get-boot-files.sh` fills; it is filled if it isn't.
pub fn boot_files() -> PathBuf {
    static FILES: OnceLock<PathBuf> = OnceLock::new();
    let fill = || {
        let folder = variable("LFS_IMAGE_BOOT_FILES").unwrap_or_else(|| cached("boot"));
        must(Command::new(support_file("get-boot-files.sh")).arg(&folder));
        folder
    };
    FILES.get_or_init(fill).clone()
}
