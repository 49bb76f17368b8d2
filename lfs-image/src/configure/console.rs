//! A login on the console that a cloud shows: the serial port, or Xen's.

use super::Notes;
use super::spec::Target;
use super::system::{Init, System, program};
use crate::error::Result;
use crate::tree::Root;
use crate::tree::edit::{Editor, File};

const WHY: &str = "there is a login on the serial console";

/// What starts logins on the console that the kernel names.
const GENERATORS: [&str; 2] = [
    "/usr/lib/systemd/system-generators/systemd-getty-generator",
    "/lib/systemd/system-generators/systemd-getty-generator",
];

/// The console's device.
pub(crate) fn device(target: Option<Target>) -> &'static str {
    match target {
        Some(Target::Xen) => "hvc0",
        _ => "ttyS0",
    }
}

pub(super) fn edit(
    editor: &mut Editor<'_>,
    target: Option<Target>,
    system: &System,
    notes: &mut Notes,
) -> Result<()> {
    let device = device(target);
    match system.init {
        Init::SysV => inittab(editor, device, notes)?,
        Init::Systemd => systemd(editor, device)?,
        Init::Other => notes.warnings.push(format!(
            "there may be no login on {device}: the tree has neither systemd nor sysvinit with /etc/inittab"
        )),
    }
    // Where this file is, root may log in on the terminals that it lists.
    if let Some(text) = editor.read("/etc/securetty")?
        && !text.lines().any(|line| line.trim() == device)
    {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        editor.write(File::new("/etc/securetty", &format!("{text}{end}{device}\n"), WHY))?;
    }
    Ok(())
}

/// Whether there is a login on a terminal.
pub(crate) fn has_login(root: Root<'_>, system: &System, device: &str) -> bool {
    match system.init {
        Init::SysV => root
            .file("/etc/inittab")
            .and_then(|content| root.read(content, "/etc/inittab", 1 << 20).ok())
            .is_some_and(|text| inittab_has(&String::from_utf8_lossy(&text), device)),
        Init::Systemd => {
            let unit = format!("serial-getty@{device}.service");
            GENERATORS.iter().any(|path| root.file(path).is_some()) || super::system::is_enabled(root, &unit)
        }
        Init::Other => false,
    }
}

/// Source: inittab(5): `id:runlevels:action:process`.
fn inittab_has(text: &str, device: &str) -> bool {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        let mut fields = line.splitn(4, ':').skip(1);
        let (Some(levels), Some(action), Some(process)) = (fields.next(), fields.next(), fields.next())
        else {
            return false;
        };
        let is_normal = levels.is_empty() || levels.contains(['2', '3', '4', '5']);
        is_normal
            && matches!(action, "respawn" | "once" | "wait")
            && process.split(|c: char| c.is_whitespace() || c == '/').any(|word| word == device)
    })
}

fn inittab(editor: &mut Editor<'_>, device: &str, notes: &mut Notes) -> Result<()> {
    let path = "/etc/inittab";
    let text = editor.read(path)?.unwrap_or_default();
    if inittab_has(&text, device) {
        return Ok(());
    }
    let Some(getty) = program(editor.root(), "agetty").or_else(|| program(editor.root(), "getty")) else {
        notes
            .warnings
            .push(format!("there is no login on {device}: neither agetty nor getty is in the tree"));
        return Ok(());
    };
    let arguments = if getty.ends_with("/agetty") {
        format!("-L {device} 115200 vt100")
    } else {
        format!("-L 115200 {device} vt100")
    };
    let id = super::inittab_id(&text, if device == "hvc0" { "h0" } else { "s0" });
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    editor.write(File::new(path, &format!("{text}{end}{id}:2345:respawn:{getty} {arguments}\n"), WHY))
}

fn systemd(editor: &mut Editor<'_>, device: &str) -> Result<()> {
    if GENERATORS.iter().any(|path| editor.root().file(path).is_some()) {
        return Ok(());
    }
    let template = ["/usr/lib/systemd/system", "/lib/systemd/system"]
        .iter()
        .map(|dir| format!("{dir}/serial-getty@.service"))
        .find(|path| editor.exists(path));
    let Some(template) = template else { return Ok(()) };
    let link = format!("/etc/systemd/system/getty.target.wants/serial-getty@{device}.service");
    editor.symlink(&link, &template, WHY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::time::Timestamp;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    #[test]
    fn a_getty_in_inittab() {
        let old = "1:2345:respawn:/sbin/agetty --noclear tty1 9600\n#s1:2345:respawn:/sbin/agetty ttyS0\ns0:6:once:/bin/true\n\
                   s2:3:off:/sbin/agetty ttyS0\ns3:S:respawn:/sbin/sulogin /dev/ttyS0\n";
        let mut tree = tree(&[
            ("sbin/init", b"ELF"),
            ("etc/inittab", old.as_bytes()),
            ("usr/sbin/agetty", b"ELF"),
            ("etc/securetty", b"tty1"),
        ]);
        let system = System::of(Root::new(&tree, &NoStore));
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        let mut notes = Notes::default();
        for _ in 0..2 {
            edit(&mut editor, Some(Target::Ec2), &system, &mut notes).unwrap();
            let text = editor.read("/etc/inittab").unwrap().unwrap();
            assert_eq!(text, format!("{old}s01:2345:respawn:/usr/sbin/agetty -L ttyS0 115200 vt100\n"));
            assert_eq!(editor.read("/etc/securetty").unwrap().unwrap(), "tty1\nttyS0\n");
            assert!(has_login(editor.root(), &system, "ttyS0"));
        }
        edit(&mut editor, Some(Target::Xen), &system, &mut notes).unwrap();
        let text = editor.read("/etc/inittab").unwrap().unwrap();
        assert!(text.ends_with("\nh0:2345:respawn:/usr/sbin/agetty -L hvc0 115200 vt100\n"));
        assert!(notes.warnings.is_empty());
    }
}
