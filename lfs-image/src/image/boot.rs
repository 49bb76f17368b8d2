//! What makes the planned disk start: from the specification to the boot rooms and back.

use super::layout::Role;
use super::spec::{Boot, GrubConfig, ImageSpec, PartitionTable};
use crate::boot::cmdline::Host;
use crate::boot::{self, Areas, BootPlan, Disk, Method, Survey};
use crate::configure::{Place, Target, kernel_arguments};
use crate::error::{Error, Result};
use crate::fat;
use crate::raw::guid::Uuid;
use crate::raw::num::lo32;
use crate::raw::seed::Seed;
use crate::raw::time::Timestamp;
use crate::table::SECTOR;
use crate::tree::edit::Editor;

/// Free space of an EFI system partition: room for one more of what is in it would be too much for most, none too little.
const ESP_FREE: u64 = 16 << 20;
/// Sectors before the first partition, and of the BIOS boot partition.
const MIB: u64 = (1 << 20) / SECTOR;

/// Plans how the disk starts and changes the tree accordingly; `None` where nothing is to start it.
pub(super) fn plan(
    editor: &mut Editor<'_>,
    spec: &ImageSpec,
    seed: &Seed,
    root_fs: Uuid,
) -> Result<Option<BootPlan>> {
    let method = match spec.boot {
        Boot::Auto if spec.table == PartitionTable::None => Method::None,
        Boot::Auto => Method::Auto,
        Boot::Grub => Method::Grub,
        Boot::Uki => Method::Uki,
        Boot::Stub => Method::Stub,
        Boot::None => Method::None,
    };
    if method == Method::None {
        return Ok(None);
    }
    if spec.table == PartitionTable::None {
        return Err(Error::input("a disk without a partition table can't start by itself"));
    }
    let gpt = spec.table == PartitionTable::Gpt;
    let mut append: Vec<String> =
        kernel_arguments(editor.root(), &spec.host).into_iter().map(str::to_owned).collect();
    append.extend(spec.append.iter().cloned());
    let options = boot::Options {
        method,
        cmdline: boot::cmdline::Options {
            host: match spec.host.target {
                None | Some(Target::Qemu) => Host::Any,
                Some(Target::Xen) => Host::Xen,
                Some(Target::Ec2) => Host::Ec2,
            },
            serial: spec.host.console,
            replace: spec.cmdline.clone(),
            append,
        },
        grub_cfg: match spec.grub_config {
            GrubConfig::Auto => boot::GrubCfg::Auto,
            GrubConfig::Keep => boot::GrubCfg::Keep,
            GrubConfig::Replace => boot::GrubCfg::Replace,
        },
    };
    let plan = {
        let survey = Survey::look(editor.root(), spec.kernel.as_deref())?;
        let choice = survey.choose(&options, gpt)?;
        let esp = choice.needs_esp() || spec.esp.is_some();
        let disk = disk(spec, seed, choice.needs_payload(), esp, root_fs);
        let areas = if gpt {
            Areas { bios: MIB, bios_sectors: MIB, payload: 2 * MIB }
        } else {
            Areas { bios: 1, bios_sectors: MIB - 1, payload: MIB }
        };
        survey.plan(choice, &options, &disk, areas)?
    };
    boot::apply(&plan.edits, editor)?;
    Ok(Some(plan))
}

/// The disk as loaders and the kernel see it.
fn disk(spec: &ImageSpec, seed: &Seed, payload: bool, esp: bool, root_fs: Uuid) -> Disk {
    let gpt = spec.table == PartitionTable::Gpt;
    let before = [gpt, payload, esp].into_iter().filter(|there| *there).count();
    let root_partition = 1 + lo32(before as u64);
    Disk {
        gpt,
        root_partition,
        root_partuuid: partuuid(gpt, seed, Role::Root, root_partition),
        root_fs,
        root_label: Some(spec.label.clone()).filter(|label| !label.is_empty()),
    }
}

fn partuuid(gpt: bool, seed: &Seed, role: Role, number: u32) -> String {
    if gpt {
        partition_uuid(seed, role).to_string()
    } else {
        format!("{:08x}-{number:02x}", disk_signature(seed))
    }
}

/// The disk as fstab sees it.
pub(super) fn place(spec: &ImageSpec, plan: Option<&BootPlan>, seed: &Seed, root_fs: Uuid) -> Place {
    let payload = plan.is_some_and(|plan| plan.choice.needs_payload());
    let esp = plan.is_some_and(|plan| plan.choice.needs_esp()) || spec.esp.is_some();
    let disk = disk(spec, seed, payload, esp, root_fs);
    Place {
        root: match spec.table {
            PartitionTable::None => format!("UUID={root_fs}"),
            _ => format!("PARTUUID={}", disk.root_partuuid),
        },
        root_uuid: root_fs.to_string(),
        label: disk.root_label,
        // It is the partition right before the root filesystem.
        esp: esp
            .then(|| format!("PARTUUID={}", partuuid(disk.gpt, seed, Role::Esp, disk.root_partition - 1))),
        esp_uuid: None,
    }
}

/// The EFI system partition: how large it is, and what is in it once its place is known.
pub(super) struct Esp<'a> {
    plan: Option<&'a BootPlan>,
    size: fat::Size,
    serial: u32,
    time: Timestamp,
}

impl<'a> Esp<'a> {
    /// Where there is to be one.
    pub(super) fn wanted(
        spec: &ImageSpec,
        plan: Option<&'a BootPlan>,
        seed: &Seed,
        time: Timestamp,
    ) -> Option<Self> {
        let needed = plan.is_some_and(|plan| plan.choice.needs_esp());
        let size = match spec.esp {
            Some(bytes) => fat::Size::Sectors(bytes.div_ceil(1 << 20) * MIB),
            None if needed => fat::Size::Free(ESP_FREE),
            None => return None,
        };
        Some(Self { plan, size, serial: seed.nonzero_u32("esp"), time })
    }

    /// The filesystem on a partition that starts at this byte.
    pub(super) fn at(&self, offset: u64) -> Result<fat::Plan> {
        let files = self.plan.map_or(&[][..], |plan| &plan.esp);
        let files =
            files.iter().map(|file| fat::File { path: file.path.clone(), content: file.content.clone() });
        let options = fat::Options {
            size: self.size,
            hidden_sectors: offset / SECTOR,
            serial: self.serial,
            label: "ESP".into(),
            time: self.time,
        };
        fat::plan(files.collect(), &options).map_err(|e| e.context("the EFI system partition"))
    }
}

/// A partition's own GUID.
pub(super) fn partition_uuid(seed: &Seed, role: Role) -> Uuid {
    seed.uuid(&format!("partition {}", role.name()))
}

/// The signature of a disk with a master boot record.
pub(super) fn disk_signature(seed: &Seed) -> u32 {
    seed.nonzero_u32("disk")
}
