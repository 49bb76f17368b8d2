//! Whether there is a kernel, and whether it has what a target needs.

use super::drivers::{Known, needs};
use super::{Findings, Surroundings, config, initramfs};
use crate::boot::kernel::{self, Kernel};
use crate::boot::{Arch, userland};
use crate::configure::{Target, program};
use crate::error::{Error, Result};
use crate::tree::Root;

pub(super) fn check(
    root: Root<'_>,
    target: Target,
    disk: &Surroundings,
    findings: &mut Findings,
) -> Result<()> {
    let found = match &disk.kernel {
        Some(path) => kernel::find_at(root, path),
        None => kernel::find(root).and_then(|mut kernels| {
            if kernels.is_empty() {
                Err(Error::internal("no kernel and no error"))
            } else {
                Ok(kernels.remove(0))
            }
        }),
    };
    let kernel = match found {
        Ok(kernel) => kernel,
        Err(error) => {
            findings
                .fatal("kernel-missing", error.to_string())
                .mend("put a kernel into /boot, called vmlinuz-VERSION");
            return Ok(());
        }
    };
    image(root, target, &kernel, findings);
    let mut known = Known::new(config::of(root, &kernel)?);
    known.initramfs = match &kernel.initrd {
        None => Some(Default::default()),
        Some(initrd) => match initramfs::modules(root, initrd) {
            Ok(modules) => Some(modules),
            Err(error) => {
                findings
                    .note("initramfs-unread", format!("what is in the initial RAM disk isn't known: {error}"))
                    .at(&initrd.path);
                None
            }
        },
    };
    let release = kernel.image.release.as_ref().or(kernel.version.as_ref());
    if let Some(release) = release {
        known.read_modules(root, release);
    }
    if !known.is_something() {
        findings
            .warn(
                "config-unknown",
                "its configuration isn't known, so nothing can be said about its drivers: there is neither a config file \
                 beside it, nor one in it (CONFIG_IKCONFIG), nor a list of modules",
            )
            .at(&kernel.path)
            .mend("put the kernel's .config into /boot as config-VERSION");
        return Ok(());
    }
    let gpt = disk.place.is_some().then_some(disk.gpt);
    let needs = needs(target, gpt, kernel.image.arch);
    for need in &needs {
        known.check(need, kernel.initrd.is_some(), findings);
    }
    let loader = ["systemd-udevd", "udevd", "mdev"].iter().find(|name| program(root, name).is_some());
    let udevd = ["/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd", "/lib/udev/udevd"];
    let has_loader = loader.is_some()
        || udevd.iter().any(|path| root.find(path).is_some())
        || ["/etc/sysconfig/modules", "/etc/modules"].iter().any(|path| lists_something(root, path));
    if known.loads_modules(&needs) && !has_loader {
        findings
            .warn(
                "modules-unloaded",
                "the network's driver is a module, and the tree has no udev that would load it",
            )
            .mend("install udev, or build the driver into the kernel");
    }
    if known.config.as_ref().is_some_and(|config| config.get("DEVTMPFS_MOUNT") != "y")
        && kernel.initrd.is_none()
        && root.find("/dev/console").is_none()
    {
        findings
            .warn("no-console-node", "init has no /dev/console: the kernel doesn't mount devtmpfs by itself")
            .mend("--nodes, or a kernel with CONFIG_DEVTMPFS_MOUNT=y");
    }
    Ok(())
}

/// Whether a file has a line that is no remark.
fn lists_something(root: Root<'_>, path: &str) -> bool {
    let bytes =
        root.file(path).and_then(|content| root.read(content, path, 1 << 20).ok()).unwrap_or_default();
    bytes
        .split(|c| *c == b'\n')
        .map(<[u8]>::trim_ascii)
        .any(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn image(root: Root<'_>, target: Target, kernel: &Kernel, findings: &mut Findings) {
    if let Some((path, machine)) = userland::machine(root)
        && !userland::runs(&kernel.image, machine)
    {
        let name = userland::name(machine);
        findings
            .fatal("kernel-arch", format!("{path} is for {name}, which this kernel doesn't run"))
            .at(&kernel.path)
            .mend("a kernel for the machine that the tree's programs are for");
    }
    if !kernel.image.efi_stub {
        let uefi_only = kernel.image.arch == Arch::Aarch64;
        let severity = if uefi_only && target == Target::Ec2 {
            super::Severity::Fatal
        } else {
            super::Severity::Warning
        };
        findings
            .add(severity, "efi-stub", "UEFI can't start it by itself: it was built without CONFIG_EFI_STUB")
            .at(&kernel.path)
            .mend("build the kernel with CONFIG_EFI_STUB=y");
    }
}
