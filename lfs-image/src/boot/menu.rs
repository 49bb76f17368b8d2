//! The grub.cfg that is on the disk: the tree's own where it can work there, else a new one with the old one beside it.

use super::grub::config::{self, Entry};
use super::grub::judge;
use super::kernel::Kernel;
use super::plan::{BootPlan, Options};
use super::root::Root;
use super::{Arch, Disk, Edit};
use crate::error::{Error, Result};
use crate::tree::Content;

/// No grub.cfg and no os-release comes near this size.
const MAX_TEXT: u64 = 1 << 20;

/// What becomes of a grub.cfg that is in the tree already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum GrubCfg {
    /// It stays if it can work on this disk, else it is replaced and kept beside the new one.
    #[default]
    Auto,
    /// It stays.
    Keep,
    /// It is replaced and kept beside the new one.
    Replace,
}

/// Leaves grub.cfg, or has it replaced by a menu of these kernels.
pub(super) fn plan(
    plan: &mut BootPlan,
    root: Root<'_>,
    kernels: &[Kernel],
    options: &Options,
    disk: &Disk,
) -> Result<()> {
    let there = root.file(config::PATH);
    let reasons = match (there, options.grub_cfg) {
        (None, GrubCfg::Keep) => {
            return Err(Error::input(format!("there is no {} to keep", config::PATH)));
        }
        (Some(_), GrubCfg::Keep) => {
            plan.notes.push(format!("{} stays as it is, as asked", config::PATH));
            return Ok(());
        }
        (None, _) => vec!["there is none".to_owned()],
        (Some(_), GrubCfg::Replace) => vec!["that was asked for".to_owned()],
        (Some(_), GrubCfg::Auto) if !options.cmdline.is_default() => {
            vec!["it can't know the command line that was asked for".to_owned()]
        }
        (Some(content), GrubCfg::Auto) => {
            let text = root.read(content, config::PATH, MAX_TEXT)?;
            let text = String::from_utf8_lossy(&text);
            let arch = kernels.first().map_or(Arch::X86_64, |kernel| kernel.image.arch);
            let demands = options.cmdline.demands(arch);
            let lacks = demands.iter().filter(|words| !words.iter().any(|word| text.contains(word)));
            let lacks = lacks.map(|words| format!("it lacks {}", words.join(" or ")));
            judge::judge(&text, disk, root).into_iter().chain(lacks).collect()
        }
    };
    let Some(first) = reasons.first() else {
        plan.notes.push(format!("{} stays: it names nothing that isn't on this disk", config::PATH));
        return Ok(());
    };
    let more = match reasons.len() {
        1 => String::new(),
        n => format!(", and {} more", n - 1),
    };
    plan.notes.push(format!("{} is written anew: {first}{more}", config::PATH));
    if there.is_some() {
        let kept = free_name(root, &format!("{}.before", config::PATH));
        plan.notes.push(format!("what {} was is kept as {kept}", config::PATH));
        plan.edits.push(Edit::Rename { from: config::PATH.into(), to: kept });
    }
    let os = os_release(root).as_deref().and_then(pretty_name).unwrap_or_else(|| "Linux".to_owned());
    let entries: Vec<Entry> = kernels
        .iter()
        .map(|kernel| Entry {
            title: kernel.version.as_ref().map_or_else(|| os.clone(), |v| format!("{os}, Linux {v}")),
            kernel: kernel.path.clone(),
            cmdline: plan.cmdline.clone(),
            initrd: kernel.initrd.as_ref().map(|i| i.path.clone()),
        })
        .collect();
    let text = config::menu(&entries, disk.root_fs)?;
    plan.edits.push(Edit::File { path: config::PATH.into(), content: Content::bytes(text.into_bytes()) });
    Ok(())
}

/// A path like this one at which there is nothing.
fn free_name(root: Root<'_>, path: &str) -> String {
    let mut name = path.to_owned();
    let mut n = 1;
    while root.find(&name).is_some() {
        n += 1;
        name = format!("{path}-{n}");
    }
    name
}

/// What a tree says of itself in os-release.
pub(super) fn os_release(root: Root<'_>) -> Option<Vec<u8>> {
    let content = root.file("/etc/os-release").or_else(|| root.file("/usr/lib/os-release"))?;
    root.read(content, "/etc/os-release", MAX_TEXT).ok()
}

/// PRETTY_NAME of an os-release file.
fn pretty_name(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches(['"', '\'']);
    (!name.is_empty() && name.len() <= 100 && !name.contains(|c: char| c.is_control()))
        .then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::cmdline::Host;
    use super::super::grub::Platform;
    use super::super::grub::files::tests::host;
    use super::super::judges;
    use super::super::kernel::tests::bzimage;
    use super::super::plan::tests::{plan, plan_with, written};
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::Tree;
    use crate::tree::edit::Editor;

    const FINE: &str = "linux /boot/vmlinuz-6.10.1 root=PARTUUID=aaaaaaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee ro\n";

    /// A tree with GRUB and three kernels, or `None` where there is no GRUB to test with.
    fn tree(grub_cfg: Option<&str>) -> Option<Tree> {
        let dirs = judges::grub_dirs("i386-pc");
        let mut tree = host(dirs.first()?.to_str().unwrap(), Platform::I386Pc).unwrap();
        let kernels = ["6.9.2", "6.10.1", "6.10.0-rc7"].map(|version| (version, bzimage(version, true)));
        let mut files =
            vec![("/etc/os-release".to_owned(), b"NAME=x\nPRETTY_NAME=\"Linux From Scratch\"\n".to_vec())];
        files.extend(kernels.map(|(version, bytes)| (format!("/boot/vmlinuz-{version}"), bytes)));
        files.push(("/boot/initrd.img-6.9.2".to_owned(), b"ram".to_vec()));
        files.extend(grub_cfg.map(|text| (config::PATH.to_owned(), text.as_bytes().to_vec())));
        for (path, bytes) in files {
            let edit = Edit::File { path, content: Content::bytes(bytes) };
            edit.apply(&mut Editor::new(&mut tree, &NoStore, Default::default())).unwrap();
        }
        Some(tree)
    }

    #[test]
    fn one_entry_for_each_kernel_the_newest_first() {
        let Some(tree) = tree(None) else { return };
        let entries = |plan: &BootPlan| {
            let text = written(plan, config::PATH).unwrap();
            let words = ["menuentry", "linux", "initrd"];
            let lines = text
                .lines()
                .filter(|line| words.contains(&line.split_whitespace().next().unwrap_or_default()));
            lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        let by_age = entries(&plan(&tree, &Options::default()).unwrap());
        let root = "root=PARTUUID=aaaaaaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee rootwait ro console=tty0 \
                    console=ttyS0,115200n8";
        assert_eq!(
            by_age,
            [
                "menuentry 'Linux From Scratch, Linux 6.10.1' {".to_owned(),
                format!("linux /boot/vmlinuz-6.10.1 {root}"),
                "menuentry 'Linux From Scratch, Linux 6.10.0-rc7' {".to_owned(),
                format!("linux /boot/vmlinuz-6.10.0-rc7 {root}"),
                "menuentry 'Linux From Scratch, Linux 6.9.2' {".to_owned(),
                format!("linux /boot/vmlinuz-6.9.2 {root}"),
                "initrd /boot/initrd.img-6.9.2".to_owned(),
            ]
        );
        // One that was named comes first, whatever its age, and isn't listed twice.
        let named = plan_with(&tree, &Options::default(), Some("boot/vmlinuz-6.9.2")).unwrap();
        assert_eq!(named.kernel, "/boot/vmlinuz-6.9.2");
        assert_eq!(entries(&named), [&by_age[4..], &by_age[..4]].concat());
    }

    #[test]
    fn what_becomes_of_one_that_is_there() {
        let patient = FINE.replace(" ro\n", " ro nvme_core.io_timeout=4294967295\n");
        let sda = FINE.replace("PARTUUID=aaaaaaaa-bbbb-8ccc-8ddd-eeeeeeeeeeee", "/dev/sda2");
        let hd = format!("set root=(hd0,2)\n{FINE}");
        let gone = FINE.replace("6.10.1", "5.0");
        let auto = Options::default;
        let keep = || Options { grub_cfg: GrubCfg::Keep, ..auto() };
        let replace = || Options { grub_cfg: GrubCfg::Replace, ..auto() };
        let ec2 = || {
            let mut options = auto();
            options.cmdline.host = Host::Ec2;
            options
        };
        let quiet = || {
            let mut options = auto();
            options.cmdline.append.push("quiet".into());
            options
        };
        let serial = |host| {
            let mut options = auto();
            (options.cmdline.serial, options.cmdline.host) = (true, host);
            options
        };
        let tells = FINE.replace(" ro\n", " ro console=hvc0\n");
        // What is there, what was asked for, whether it is replaced, and what is said.
        type Case<'a> = (&'a str, Options, bool, &'a str);
        let cases: [Case<'_>; 15] = [
            (FINE, auto(), false, "stays: it names nothing that isn't on this disk"),
            (FINE, keep(), false, "stays as it is, as asked"),
            (FINE, replace(), true, "is written anew: that was asked for"),
            (FINE, quiet(), true, "is written anew: it can't know the command line that was asked for"),
            (FINE, ec2(), true, "is written anew: it lacks nvme_core.io_timeout=4294967295"),
            (&patient, ec2(), false, "stays: it names nothing"),
            (FINE, serial(Host::Any), true, "is written anew: it lacks console=ttyS0"),
            (&tells, serial(Host::Any), true, "is written anew: it lacks console=ttyS0"),
            (&tells, serial(Host::Xen), false, "stays: it names nothing"),
            (&sda, auto(), true, "is written anew: line 1: root=/dev/sda2 names a device of another machine"),
            (&sda, keep(), false, "stays as it is, as asked"),
            (&hd, auto(), true, "is written anew: line 1: it takes (hd0,2) for the root filesystem"),
            (&hd, keep(), false, "stays as it is, as asked"),
            (&gone, auto(), true, "is written anew: line 1: there is no file /boot/vmlinuz-5.0"),
            ("", auto(), true, "is written anew: it starts no kernel"),
        ];
        for (text, options, replaced, says) in cases {
            let Some(tree) = tree(Some(text)) else { return };
            let plan = plan(&tree, &options).unwrap();
            let note = format!("{} {says}", config::PATH);
            assert!(plan.notes.iter().any(|n| n.starts_with(&note)), "{text} {:?}", plan.notes);
            assert_eq!(written(&plan, config::PATH).is_some(), replaced, "{text}");
            let kept = format!("what {0} was is kept as {0}.before", config::PATH);
            assert_eq!(plan.notes.contains(&kept), replaced, "{text}");
            let mut after = tree.clone();
            for edit in &plan.edits {
                edit.apply(&mut Editor::new(&mut after, &NoStore, Default::default())).unwrap();
            }
            let old = if replaced { "/boot/grub/grub.cfg.before" } else { config::PATH };
            let root = Root::new(&after, &NoStore);
            let bytes = root.read(root.file(old).unwrap(), old, MAX_TEXT).unwrap();
            assert_eq!(bytes, text.as_bytes(), "{old}");
        }
    }

    #[test]
    fn what_is_kept_must_be_there_and_takes_no_name() {
        let Some(bare) = tree(None) else { return };
        let keep = Options { grub_cfg: GrubCfg::Keep, ..Options::default() };
        let error = plan(&bare, &keep).unwrap_err().to_string();
        assert_eq!(error, "there is no /boot/grub/grub.cfg to keep");
        let Some(mut tree) = tree(Some("")) else { return };
        let taken = Edit::File { path: "/boot/grub/grub.cfg.before".into(), content: Content::bytes(*b"x") };
        taken.apply(&mut Editor::new(&mut tree, &NoStore, Default::default())).unwrap();
        let plan = plan(&tree, &Options::default()).unwrap();
        let to = plan.edits.iter().find_map(|edit| match edit {
            Edit::Rename { to, .. } => Some(to.as_str()),
            Edit::File { .. } => None,
        });
        assert_eq!(to, Some("/boot/grub/grub.cfg.before-2"));
    }

    #[test]
    fn modules_are_copied_beside_it() {
        let Some(tree) = tree(None) else { return };
        let plan = plan(&tree, &Options::default()).unwrap();
        assert!(written(&plan, "/boot/grub/i386-pc/command.lst").is_some());
        assert!(
            plan.edits.iter().any(
                |edit| matches!(edit, Edit::File { path, .. } if path == "/boot/grub/i386-pc/normal.mod")
            )
        );
    }
}
