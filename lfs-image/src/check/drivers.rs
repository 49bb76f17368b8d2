//! Which drivers a target needs, and where a tree has them.

use std::collections::BTreeSet;

use super::config::Config;
use super::initramfs::module_name;
use super::{Findings, Severity};
use crate::boot::Arch;
use crate::configure::Target;
use crate::tree::Root;

/// A driver: the symbol of its configuration, and its module; empty for what can't be a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driver {
    symbol: &'static str,
    module: &'static str,
}

const fn driver(symbol: &'static str, module: &'static str) -> Driver {
    Driver { symbol, module }
}

/// When a driver has to be there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum When {
    /// Before the root filesystem: built in, or in the initial RAM disk.
    Root,
    /// When services start: from the root filesystem, too.
    Services,
    /// From the first moment: built in.
    Always,
}

/// Something that a target needs: all drivers of one of the groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    what: &'static str,
    any_of: &'static [&'static [Driver]],
    when: When,
    severity: Severity,
    /// What fails without it.
    without: &'static str,
}

const EXT4: Need = Need {
    what: "ext4",
    any_of: &[&[driver("EXT4_FS", "ext4")]],
    when: When::Root,
    severity: Severity::Fatal,
    without: "the root filesystem can't be mounted",
};
const DEVTMPFS: Need = Need {
    what: "devtmpfs",
    any_of: &[&[driver("DEVTMPFS", "")]],
    when: When::Always,
    severity: Severity::Fatal,
    without: "there are no device nodes for disks and terminals",
};
const SERIAL: Need = Need {
    what: "a console on the serial port",
    any_of: &[&[driver("SERIAL_8250_CONSOLE", "")], &[driver("SERIAL_AMBA_PL011_CONSOLE", "")]],
    when: When::Always,
    severity: Severity::Warning,
    without: "nothing shows how it starts",
};
const GPT: Need = Need {
    what: "GUID partition tables",
    any_of: &[&[driver("EFI_PARTITION", "")]],
    when: When::Always,
    severity: Severity::Fatal,
    without: "the root filesystem's partition isn't found",
};
const MBR: Need = Need {
    what: "MBR partition tables",
    any_of: &[&[driver("MSDOS_PARTITION", "")]],
    when: When::Always,
    severity: Severity::Fatal,
    without: "the root filesystem's partition isn't found",
};

const VIRTIO_PCI: Driver = driver("VIRTIO_PCI", "virtio_pci");
const NVME: Driver = driver("BLK_DEV_NVME", "nvme");
const XEN_BLOCK: Driver = driver("XEN_BLKDEV_FRONTEND", "xen_blkfront");
const XEN_NET: Driver = driver("XEN_NETDEV_FRONTEND", "xen_netfront");

const EC2: [Need; 4] = [
    Need {
        what: "NVMe disks",
        any_of: &[&[NVME]],
        when: When::Root,
        severity: Severity::Fatal,
        without: "instances of the Nitro system don't find their root volume",
    },
    Need {
        what: "the Elastic Network Adapter (ENA)",
        any_of: &[&[driver("ENA_ETHERNET", "ena")]],
        when: When::Services,
        severity: Severity::Fatal,
        without: "instances of the Nitro system have no network",
    },
    Need {
        what: "Xen's disks",
        any_of: &[&[XEN_BLOCK]],
        when: When::Root,
        severity: Severity::Note,
        without: "instances of the older, Xen-based types (t2, m4) don't find their root volume",
    },
    Need {
        what: "Xen's network",
        any_of: &[&[XEN_NET], &[driver("IXGBEVF", "ixgbevf")]],
        when: When::Services,
        severity: Severity::Note,
        without: "instances of the older, Xen-based types (t2, m4) have no network",
    },
];
const QEMU: [Need; 2] = [
    Need {
        what: "a disk of QEMU's (virtio, NVMe, AHCI or IDE)",
        any_of: &[
            &[VIRTIO_PCI, driver("VIRTIO_BLK", "virtio_blk")],
            &[VIRTIO_PCI, driver("SCSI_VIRTIO", "virtio_scsi"), driver("BLK_DEV_SD", "sd_mod")],
            &[NVME],
            &[driver("SATA_AHCI", "ahci"), driver("BLK_DEV_SD", "sd_mod")],
            &[driver("ATA_PIIX", "ata_piix"), driver("BLK_DEV_SD", "sd_mod")],
        ],
        when: When::Root,
        severity: Severity::Fatal,
        without: "the root filesystem isn't found",
    },
    Need {
        what: "a network card of QEMU's (virtio or e1000)",
        any_of: &[
            &[VIRTIO_PCI, driver("VIRTIO_NET", "virtio_net")],
            &[driver("E1000", "e1000")],
            &[driver("E1000E", "e1000e")],
        ],
        when: When::Services,
        severity: Severity::Warning,
        without: "there is no network",
    },
];
const XEN: [Need; 3] = [
    Need {
        what: "Xen's disks",
        any_of: &[&[XEN_BLOCK], &[driver("ATA_PIIX", "ata_piix"), driver("BLK_DEV_SD", "sd_mod")]],
        when: When::Root,
        severity: Severity::Fatal,
        without: "the root filesystem isn't found",
    },
    Need {
        what: "Xen's network",
        any_of: &[&[XEN_NET], &[driver("E1000", "e1000")], &[driver("8139CP", "8139cp")]],
        when: When::Services,
        severity: Severity::Warning,
        without: "there is no network",
    },
    Need {
        what: "Xen's console",
        any_of: &[&[driver("HVC_XEN", "")]],
        when: When::Always,
        severity: Severity::Warning,
        without: "`xl console` shows nothing of guests without emulated devices",
    },
];

/// What a target needs of a kernel.
pub(super) fn needs(target: Target, gpt: Option<bool>, arch: Arch) -> Vec<Need> {
    let mut needs = vec![EXT4, DEVTMPFS];
    match gpt {
        Some(true) => needs.push(GPT),
        Some(false) => needs.push(MBR),
        None => {}
    }
    match target {
        Target::Ec2 => {
            needs.extend(&EC2[..2]);
            // There is none of them with an ARM processor.
            if arch == Arch::X86_64 {
                needs.extend(&EC2[2..]);
            }
            needs.push(SERIAL);
        }
        Target::Qemu => {
            needs.extend(QEMU);
            needs.push(SERIAL);
        }
        Target::Xen => needs.extend(XEN),
    }
    needs
}

/// Where a driver is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Where {
    /// Nobody knows.
    Unknown,
    BuiltIn,
    /// In the initial RAM disk.
    Initramfs,
    /// Only in the root filesystem.
    Modules,
    /// It was built as a module that is nowhere.
    Lost,
    /// It wasn't built.
    Absent,
}

/// What is known of a kernel's drivers.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) config: Option<Config>,
    /// Names of what is built in and could be a module, if there is a list.
    builtin: Option<BTreeSet<String>>,
    /// Names of modules in the root filesystem.
    modules: BTreeSet<String>,
    /// Names of modules in the initial RAM disk: `None` if it can't be read, empty if there is none.
    pub(super) initramfs: Option<BTreeSet<String>>,
}

impl Known {
    pub(super) fn new(config: Option<Config>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Reads the lists of /lib/modules.
    pub(super) fn read_modules(&mut self, root: Root<'_>, release: &str) {
        let Some(dir) = ["/usr/lib/modules", "/lib/modules"]
            .iter()
            .map(|dir| format!("{dir}/{release}"))
            .find(|dir| root.find(dir).is_some())
        else {
            return;
        };
        let list = format!("{dir}/modules.builtin");
        self.builtin = root
            .file(&list)
            .and_then(|content| root.read(content, &list, 4 << 20).ok())
            .map(|text| String::from_utf8_lossy(&text).lines().filter_map(module_name).collect());
        let Some(top) = root.find(&dir) else { return };
        let mut todo = vec![top];
        while let Some(id) = todo.pop() {
            let Some(directory) = root.tree.node(id).as_directory() else { continue };
            for (name, id) in directory.iter() {
                if root.tree.node(id).as_directory().is_some() {
                    todo.push(id);
                } else if let Some(name) = std::str::from_utf8(name).ok().and_then(module_name) {
                    self.modules.insert(name);
                }
            }
        }
    }

    /// Whether anything is known.
    pub(super) fn is_something(&self) -> bool {
        self.config.is_some() || self.builtin.is_some()
    }

    fn find(&self, driver: Driver) -> Where {
        let in_initramfs = || match &self.initramfs {
            Some(modules) => modules.contains(driver.module),
            None => true,
        };
        let as_module = || {
            if in_initramfs() {
                Where::Initramfs
            } else if self.modules.contains(driver.module) {
                Where::Modules
            } else {
                Where::Lost
            }
        };
        match (&self.config, &self.builtin) {
            (Some(config), _) => match config.get(driver.symbol) {
                "y" => Where::BuiltIn,
                "m" => as_module(),
                _ => Where::Absent,
            },
            (None, _) if driver.module.is_empty() => Where::Unknown,
            (None, Some(builtin)) if builtin.contains(driver.module) => Where::BuiltIn,
            (None, Some(_)) => match as_module() {
                Where::Lost => Where::Absent,
                found => found,
            },
            (None, None) => Where::Unknown,
        }
    }

    /// Says what is missing of something needed.
    pub(super) fn check(&self, need: &Need, has_initramfs: bool, findings: &mut Findings) {
        let good = |place: Where| match need.when {
            When::Always => matches!(place, Where::Unknown | Where::BuiltIn),
            When::Root => matches!(place, Where::Unknown | Where::BuiltIn | Where::Initramfs),
            When::Services => place <= Where::Modules,
        };
        if need.any_of.iter().any(|group| group.iter().all(|driver| good(self.find(*driver)))) {
            return;
        }
        // The first group is the one that people mean.
        let Some(worst) = need.any_of.first().and_then(|group| group.iter().max_by_key(|d| self.find(**d)))
        else {
            return;
        };
        let symbol = worst.symbol;
        let module = worst.module;
        let (why, mend) = match self.find(*worst) {
            Where::Modules if has_initramfs => (
                format!("its module {module} is not in the initial RAM disk"),
                format!("CONFIG_{symbol}=y, or {module} in the initial RAM disk"),
            ),
            Where::Modules => (
                format!(
                    "it is a module ({module}), and without an initial RAM disk nothing loads it in time"
                ),
                format!("CONFIG_{symbol}=y, or an initial RAM disk"),
            ),
            Where::Lost => (
                format!("it was built as a module, and {module}.ko is not in the tree"),
                format!("CONFIG_{symbol}=y, or `make modules_install`"),
            ),
            _ => (
                match &self.config {
                    Some(config) => format!("CONFIG_{symbol} is not set in {}", config.from),
                    None => format!("there is neither CONFIG_{symbol} nor a module {module}"),
                },
                format!("CONFIG_{symbol}=y"),
            ),
        };
        let kernel = "build a kernel with ";
        findings
            .add(
                need.severity,
                "driver-missing",
                format!("no driver for {}: {why}; {}", need.what, need.without),
            )
            .mend(format!("{kernel}{mend}"));
    }

    /// Whether a driver of the network's is a module that has to be loaded from the root filesystem.
    pub(super) fn loads_modules(&self, needs: &[Need]) -> bool {
        needs.iter().filter(|need| need.when == When::Services && need.severity != Severity::Note).any(
            |need| {
                let groups = need.any_of.iter().map(|group| group.iter().map(|d| self.find(*d)).max());
                groups.flatten().min() == Some(Where::Modules)
            },
        )
    }
}
