//! From a choice to bytes: boot code, EFI files, and the edits of the tree that go with them.

use super::choose::{Bios, Choice, Efi, Facts, Method, choose};
use super::grub::{Grub, Platform, config, core::Core, install};
use super::kernel::{self, Format, Image, Kernel, version};
use super::menu::{self, GrubCfg};
use super::root::Root;
use super::{Arch, BOOT_CODE, Disk, Edit, bios, cmdline, stub, uki, userland};
use crate::error::{Error, Result};
use crate::raw::blob::Blob;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) method: Method,
    pub(crate) cmdline: cmdline::Options,
    pub(crate) grub_cfg: GrubCfg,
}

/// Where on the disk loaders are, in sectors of 512 bytes. Known before anything else is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Areas {
    /// The first sector of the BIOS boot partition, or 1 for the gap behind a master boot record.
    pub(crate) bios: u64,
    /// How many sectors there are from there on.
    pub(crate) bios_sectors: u64,
    /// The first sector of the payload partition, where one is needed.
    pub(crate) payload: u64,
}

/// What a tree has to boot with.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    root: Root<'a>,
    /// The one that boots, then the others from the newest on.
    kernels: Vec<Kernel>,
    grub_pc: Result<Grub<'a>>,
    grub_efi: Result<Grub<'a>>,
    systemd_stub: Result<uki::Stub>,
}

/// A file of the EFI system partition.
#[derive(Clone, Debug)]
pub(crate) struct EspFile {
    /// Its path, with `/` between names of the 8.3 form.
    pub(crate) path: String,
    pub(crate) content: Blob,
}

/// All that makes a disk start.
#[derive(Debug)]
pub(crate) struct BootPlan {
    pub(crate) arch: Arch,
    pub(crate) choice: Choice,
    /// The kernel that starts by default.
    pub(crate) kernel: String,
    pub(crate) cmdline: String,
    /// Sector 0 up to the disk signature.
    pub(crate) boot_code: Option<[u8; BOOT_CODE]>,
    /// Whole sectors from [`Areas::bios`] on.
    pub(crate) bios_area: Option<Vec<u8>>,
    /// The payload partition, in whole sectors from [`Areas::payload`] on.
    pub(crate) payload: Option<Blob>,
    /// The files of the EFI system partition.
    pub(crate) esp: Vec<EspFile>,
    /// What changes in the root filesystem.
    pub(crate) edits: Vec<Edit>,
    /// Why it is so, for a person.
    pub(crate) notes: Vec<String>,
    /// What may go wrong, for a person.
    pub(crate) warnings: Vec<String>,
}

impl<'a> Survey<'a> {
    /// Looks for kernels and loaders. `kernel` names one, in place of the newest.
    pub(crate) fn look(root: Root<'a>, kernel: Option<&str>) -> Result<Self> {
        let mut kernels = match kernel {
            None => kernel::find(root)?,
            Some(path) => {
                let mut kernels = vec![kernel::find_at(root, path)?];
                kernels.extend(kernel::find(root).unwrap_or_default());
                kernels
            }
        };
        let arch = kernels[0].image.arch;
        let first = kernels[0].path.clone();
        let same = |k: &Kernel| k.path == first;
        let mut seen = false;
        // Only kernels for the same machine share a menu; one that was named isn't listed twice.
        kernels.retain(|k| k.image.arch == arch && !(same(k) && std::mem::replace(&mut seen, true)));
        let efi = match arch {
            Arch::X86_64 => Platform::X86_64Efi,
            Arch::Aarch64 => Platform::Arm64Efi,
        };
        Ok(Self {
            root,
            kernels,
            grub_pc: Grub::find(root, Platform::I386Pc),
            grub_efi: Grub::find(root, efi),
            systemd_stub: uki::Stub::find(root, arch),
        })
    }

    /// The machine that its kernels are for.
    pub(crate) fn arch(&self) -> Arch {
        self.kernel().image.arch
    }

    /// The kernel that boots: there is always one.
    fn kernel(&self) -> &Kernel {
        &self.kernels[0]
    }

    /// What [`choose`] wants to know.
    pub(crate) fn facts(&self) -> Facts {
        let kernel = self.kernel();
        let Image { arch, format, efi_stub, is_64_bit, release } = &kernel.image;
        let told = release.as_ref().or(kernel.version.as_ref());
        Facts {
            arch: *arch,
            kernel: kernel.path.clone(),
            bzimage: matches!(format, Format::BzImage(_)),
            efi_stub: *efi_stub,
            is_64_bit: *is_64_bit,
            zboot: matches!(format, Format::Zboot),
            old_initrd: kernel.initrd.is_some()
                && told.is_some_and(|v| {
                    v.starts_with(|c: char| c.is_ascii_digit())
                        && version::compare(v.as_bytes(), b"5.8").is_lt()
                }),
            grub_pc: said(&self.grub_pc, |grub| &grub.path),
            grub_efi: said(&self.grub_efi, |grub| &grub.path),
            systemd_stub: said(&self.systemd_stub, |stub| &stub.path),
        }
    }

    /// Chooses how the disk starts: which partitions it needs follows from that.
    pub(crate) fn choose(&self, options: &Options, gpt: bool) -> Result<Choice> {
        choose(&self.facts(), options.method, gpt)
    }

    /// Makes everything that was chosen.
    pub(crate) fn plan(
        &self,
        choice: Choice,
        options: &Options,
        disk: &Disk,
        areas: Areas,
    ) -> Result<BootPlan> {
        let kernel = self.kernel();
        let cmdline = cmdline::assemble(self.arch(), &disk.root_partuuid, &options.cmdline)?;
        let mut plan = BootPlan {
            arch: self.arch(),
            kernel: kernel.path.clone(),
            cmdline,
            boot_code: None,
            bios_area: None,
            payload: None,
            esp: Vec::new(),
            edits: Vec::new(),
            notes: std::iter::once(self.told()).chain(choice.reasons.iter().cloned()).collect(),
            warnings: Vec::new(),
            choice,
        };
        self.check_userland(&mut plan);
        match plan.choice.bios {
            Some(Bios::Grub) => self.bios_grub(&mut plan, disk, areas)?,
            Some(Bios::Loader) => self.bios_loader(&mut plan, areas)?,
            None => {}
        }
        match plan.choice.efi {
            Some(Efi::Grub) => self.efi_grub(&mut plan, disk)?,
            Some(Efi::Uki) => self.efi_uki(&mut plan)?,
            Some(Efi::Stub) => self.efi_stub(&mut plan)?,
            None => {}
        }
        if plan.choice.uses_grub() {
            menu::plan(&mut plan, self.root, &self.kernels, options, disk)?;
        }
        if plan.payload.is_some() || matches!(plan.choice.efi, Some(Efi::Uki | Efi::Stub)) {
            let rest = if plan.choice.uses_grub() {
                "; what GRUB starts is read from the root filesystem"
            } else {
                ""
            };
            plan.notes.push(format!(
                "{} and its command line are copied outside of the root filesystem: a kernel installed later isn't \
                 started from there{rest}",
                plan.kernel
            ));
        }
        Ok(plan)
    }

    /// What boots, for a person.
    fn told(&self) -> String {
        let kernel = self.kernel();
        let others = match self.kernels.len() {
            1 => "",
            _ => ", the first of several kernels",
        };
        match &kernel.initrd {
            Some(initrd) => format!("{} starts with the RAM disk {}{others}", kernel.path, initrd.path),
            None => format!("{} starts without a RAM disk{others}", kernel.path),
        }
    }

    fn check_userland(&self, plan: &mut BootPlan) {
        let Some((path, machine)) = userland::machine(self.root) else { return };
        if !userland::runs(&self.kernel().image, machine) {
            let name = userland::name(machine);
            plan.warnings.push(format!("{path} is for {name}, which {} doesn't run", plan.kernel));
        }
    }

    fn bios_grub(&self, plan: &mut BootPlan, disk: &Disk, areas: Areas) -> Result<()> {
        let grub = there(&self.grub_pc)?;
        let early = config::early(grub.platform, disk);
        let core = Core::build(grub, &early, &config::prefix(grub.platform, disk))?;
        let installed = install::install(grub, &core, areas.bios, areas.bios_sectors)?;
        plan.boot_code = Some(installed.boot_code);
        plan.bios_area = Some(installed.area);
        copy_modules(plan, grub);
        Ok(())
    }

    fn efi_grub(&self, plan: &mut BootPlan, disk: &Disk) -> Result<()> {
        let grub = there(&self.grub_efi)?;
        let early = config::early(grub.platform, disk);
        let image = super::grub::efi::build(grub, &early, &config::prefix(grub.platform, disk))?;
        plan.esp_program(Blob::from_bytes(image));
        copy_modules(plan, grub);
        Ok(())
    }

    fn bios_loader(&self, plan: &mut BootPlan, areas: Areas) -> Result<()> {
        if areas.bios_sectors < bios::STAGE2_SECTORS {
            return Err(Error::capacity(format!(
                "the BIOS loader takes {} sectors, there is room for {} from sector {} on",
                bios::STAGE2_SECTORS,
                areas.bios_sectors,
                areas.bios
            )));
        }
        let setup =
            self.kernel().image.setup().ok_or_else(|| Error::internal("a BIOS loader without a bzImage"))?;
        let parts = bios::Parts {
            kernel: self.kernel().content.to_blob(),
            setup: *setup,
            cmdline: plan.cmdline.clone(),
            initrd: self.initrd(),
        };
        let loader = bios::build(self.root.store, parts, areas.bios, areas.payload)?;
        plan.boot_code = Some(loader.boot_code);
        plan.bios_area = Some(loader.stage2);
        plan.payload = Some(loader.payload);
        let mib = loader.memory.div_ceil(1 << 20);
        plan.notes.push(format!("under BIOS it needs a machine with more than {mib} MiB of memory"));
        Ok(())
    }

    fn efi_uki(&self, plan: &mut BootPlan) -> Result<()> {
        let parts = uki::Parts {
            kernel: self.kernel().content.to_blob(),
            cmdline: plan.cmdline.clone(),
            initrd: self.initrd(),
            release: self.kernel().image.release.clone(),
            os_release: menu::os_release(self.root),
        };
        plan.esp_program(uki::build(self.root, plan.arch, there(&self.systemd_stub)?, parts)?);
        Ok(())
    }

    fn efi_stub(&self, plan: &mut BootPlan) -> Result<()> {
        let parts = stub::Parts {
            kernel: self.kernel().content.to_blob(),
            cmdline: plan.cmdline.clone(),
            initrd: self.initrd(),
        };
        plan.esp_program(stub::build(plan.arch, parts)?);
        Ok(())
    }

    fn initrd(&self) -> Option<Blob> {
        self.kernel().initrd.as_ref().map(|initrd| initrd.content.to_blob())
    }
}

impl BootPlan {
    fn esp_program(&mut self, content: Blob) {
        self.esp.push(EspFile { path: self.arch.fallback().into(), content });
    }
}

/// As grub-install does: a configuration may load any module.
fn copy_modules(plan: &mut BootPlan, grub: &Grub<'_>) {
    let dir = format!("/boot/grub/{}", grub.platform.name());
    let copies = grub.copies();
    if !copies.is_empty() {
        plan.notes.push(format!("{} modules and lists of {} are copied to {dir}", copies.len(), grub.path));
    }
    plan.edits.extend(
        copies.into_iter().map(|(name, content)| Edit::File { path: format!("{dir}/{name}"), content }),
    );
}

/// A result as [`choose`] takes it: where something is, or why it isn't.
fn said<T>(found: &Result<T>, path: impl Fn(&T) -> &String) -> Result<String, String> {
    found.as_ref().map(|t| path(t).clone()).map_err(ToString::to_string)
}

/// What was chosen must have been found.
fn there<T>(found: &Result<T>) -> Result<&T> {
    found.as_ref().map_err(|e| Error::internal(format!("what isn't there was chosen: {e}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::kernel::tests::{arm64, bzimage};
    use super::super::root::tests::tree;
    use super::super::tests::disk;
    use super::*;
    use crate::raw::store::NoStore;
    use crate::tree::Tree;

    const AREAS: Areas = Areas { bios: 2048, bios_sectors: 2048, payload: 4096 };

    pub(in crate::boot) fn plan(tree: &Tree, options: &Options) -> Result<BootPlan> {
        plan_with(tree, options, None)
    }

    /// With a kernel that was named.
    pub(in crate::boot) fn plan_with(
        tree: &Tree,
        options: &Options,
        kernel: Option<&str>,
    ) -> Result<BootPlan> {
        let survey = Survey::look(Root::new(tree, &NoStore), kernel)?;
        let choice = survey.choose(options, true)?;
        survey.plan(choice, options, &disk(), AREAS)
    }

    /// The text that it writes to a path.
    pub(in crate::boot) fn written(plan: &BootPlan, path: &str) -> Option<String> {
        plan.edits.iter().find_map(|edit| match edit {
            Edit::File { path: p, content } if p == path => {
                let blob = content.to_blob();
                Some(String::from_utf8(blob.read(&NoStore, 0, blob.len()).unwrap()).unwrap())
            }
            _ => None,
        })
    }

    #[test]
    fn nothing_but_a_kernel() {
        let kernel = bzimage("6.10.1", true);
        let tree = tree(&[("boot/vmlinuz-6.10.1", &kernel), ("boot/initrd.img-6.10.1", b"ram")]);
        let plan = plan(&tree, &Options::default()).unwrap();
        assert_eq!((plan.choice.bios, plan.choice.efi), (Some(Bios::Loader), Some(Efi::Stub)));
        assert_eq!(plan.esp.len(), 1);
        assert_eq!(plan.esp[0].path, "EFI/BOOT/BOOTX64.EFI");
        assert_eq!(plan.bios_area.as_ref().unwrap().len(), 8 * 512);
        assert!(plan.payload.is_some() && plan.boot_code.is_some() && plan.edits.is_empty());
        assert!(plan.notes.iter().any(|note| note.contains("/boot/initrd.img-6.10.1")), "{:?}", plan.notes);
        assert!(plan.notes.last().unwrap().contains("isn't started from there"));
        assert!(plan.warnings.is_empty());
    }

    #[test]
    fn a_foreign_userland_is_reported() {
        let program = |machine: u8| {
            let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
            elf.resize(64, 0);
            elf[18] = machine;
            elf
        };
        for (kernel, machine, warned) in [
            (bzimage("6.1", true), 62, false),
            (bzimage("6.1", true), 183, true),
            (arm64(), 183, false),
            (arm64(), 62, true),
        ] {
            let tree = tree(&[
                ("boot/Image-6.1", &kernel),
                ("usr/bin/bash", &program(machine)),
                ("bin", b"->usr/bin"),
            ]);
            let plan = plan(&tree, &Options::default()).unwrap();
            assert_eq!(!plan.warnings.is_empty(), warned, "{:?}", plan.warnings);
        }
    }
}
