//! What a machine is called, and what it alone may have.

use super::Notes;
use super::system::{Init, System, program};
use crate::error::{Error, Result};
use crate::tree::edit::{Editor, File};
use crate::tree::{Kind, Root};

/// Seeds of the random generator, as systemd, Debian's and the book's scripts keep them.
const SEEDS: [&str; 6] = [
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/random-seed",
    "/var/lib/misc/random-seed",
    "/var/tmp/random-seed",
    "/boot/loader/random-seed",
];

/// Refuses what can't be the name of a host. Source: hostname(7).
pub(super) fn check(name: &str) -> Result<()> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 64 || !name.split('.').all(label) {
        return Err(Error::input(format!(
            "`{}` is no name for a host: letters, digits and `-` between dots, 64 in all",
            name.escape_debug()
        )));
    }
    Ok(())
}

/// /etc/hostname, and where else the name is written down.
pub(super) fn hostname(editor: &mut Editor<'_>, name: &str) -> Result<()> {
    let why = "the host is called so";
    let old = editor.read("/etc/hostname")?;
    let old = old.as_deref().map(str::trim).filter(|old| !old.is_empty() && *old != name).map(str::to_owned);
    editor.write(File::new("/etc/hostname", &format!("{name}\n"), why))?;
    if let Some(text) = editor.read("/etc/sysconfig/network")?
        && text.lines().any(|line| line.starts_with("HOSTNAME="))
    {
        let text: String = text
            .lines()
            .map(|line| match line.starts_with("HOSTNAME=") {
                true => format!("HOSTNAME={name}\n"),
                false => format!("{line}\n"),
            })
            .collect();
        editor.write(File::new("/etc/sysconfig/network", &text, why))?;
    }
    let text = editor.read("/etc/hosts")?.unwrap_or_default();
    editor.write(File::new("/etc/hosts", &hosts(&text, old.as_deref(), Some(name)), why))
}

/// /etc/hostname and /etc/hosts where they are missing.
pub(super) fn defaults(editor: &mut Editor<'_>) -> Result<()> {
    if !editor.exists("/etc/hostname") {
        editor.write(File::new("/etc/hostname", "localhost\n", "there was none"))?;
    }
    let text = editor.read("/etc/hosts")?.unwrap_or_default();
    editor.write(File::new("/etc/hosts", &hosts(&text, None, None), "every program looks localhost up"))
}

/// /etc/hosts with localhost in it, and with a new name in place of the old one.
fn hosts(text: &str, old: Option<&str>, new: Option<&str>) -> String {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = Vec::new();
    let (mut has_local, mut has_local6, mut has_new) = (false, false, false);
    for line in text.lines() {
        let (entry, remark) = line.find('#').map_or((line, ""), |at| line.split_at(at));
        let mut fields = entry.split_ascii_whitespace();
        let Some(address) = fields.next() else {
            lines.push(line.to_owned());
            continue;
        };
        let names: Vec<&str> = fields.collect();
        has_local |= address.starts_with("127.") && names.contains(&"localhost");
        has_local6 |= address == "::1";
        let ours = address.starts_with("127.") || address == "::1";
        let (Some(old), Some(new), true) = (old, new, ours) else {
            has_new |= ours && new.is_some_and(|new| names.contains(&new));
            lines.push(line.to_owned());
            continue;
        };
        let is_old = |name: &str| {
            name != "localhost"
                && (name == old || name == short(old) || name.strip_prefix(&format!("{old}.")).is_some())
        };
        if names.iter().any(|name| is_old(name)) {
            let mut renamed: Vec<String> = Vec::new();
            for name in names {
                let names =
                    if is_old(name) { vec![new.to_owned(), short(new)] } else { vec![name.to_owned()] };
                for name in names {
                    if !renamed.contains(&name) {
                        renamed.push(name);
                    }
                }
            }
            let gap = if remark.is_empty() { "" } else { " " };
            lines.push(format!("{address}\t{}{gap}{remark}", renamed.join(" ")));
            has_new = true;
        } else {
            has_new |= names.contains(&new);
            lines.push(line.to_owned());
        }
    }
    if !has_local {
        lines.insert(0, "127.0.0.1\tlocalhost".to_owned());
    }
    if let Some(new) = new.filter(|new| !has_new && *new != "localhost") {
        let short =
            Some(short(new)).filter(|short| short != new).map(|s| format!(" {s}")).unwrap_or_default();
        let at = lines.iter().position(|line| line.starts_with("127.")).map_or(0, |at| at + 1);
        lines.insert(at, format!("127.0.1.1\t{new}{short}"));
    }
    if !has_local6 && text.trim().is_empty() {
        lines.push("::1\tlocalhost ip6-localhost ip6-loopback".to_owned());
    }
    lines.join("\n") + "\n"
}

/// Takes away what two machines from one image must not share. Says whether host keys are to be made at first boot.
pub(super) fn identity(editor: &mut Editor<'_>, system: &System, notes: &mut Notes) -> Result<bool> {
    machine_id(editor, system.init)?;
    for path in SEEDS {
        editor.remove(path, "each machine has a seed of its own")?;
    }
    if program(editor.root(), "sshd").is_none() {
        return Ok(false);
    }
    let keys = host_keys(editor.root());
    if program(editor.root(), "ssh-keygen").is_none() {
        if !keys.is_empty() {
            notes.warnings.push(
                "the SSH host keys stay, which all machines from this image share: there is no ssh-keygen to make new ones"
                    .into(),
            );
        }
        return Ok(false);
    }
    if system.init == Init::Other {
        if !keys.is_empty() {
            notes.warnings.push(
                "the SSH host keys stay, which all machines from this image share: there is no init that could make new \
                 ones at first boot"
                    .into(),
            );
        }
        return Ok(false);
    }
    for key in keys {
        editor.remove(&key, "each machine makes its own at first boot")?;
    }
    Ok(true)
}

/// The paths of SSH host keys, public halves too.
pub(crate) fn host_keys(root: Root<'_>) -> Vec<String> {
    root.names("/etc/ssh")
        .into_iter()
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| {
            name.strip_prefix("ssh_host_")
                .is_some_and(|rest| rest.ends_with("_key") || rest.ends_with("_key.pub"))
        })
        .map(|name| format!("/etc/ssh/{name}"))
        .collect()
}

/// Source: machine-id(5): an empty file is filled in at boot; none at all would start the first-boot questions, too.
fn machine_id(editor: &mut Editor<'_>, init: Init) -> Result<()> {
    let why = "each machine gets its own at first boot";
    let there = editor.exists("/etc/machine-id");
    if init == Init::Systemd {
        editor.write(File::new("/etc/machine-id", "", why).mode(0o444).secret())?;
    } else if there {
        editor.remove("/etc/machine-id", why)?;
    }
    let dbus = "/var/lib/dbus/machine-id";
    let is_file = editor
        .tree
        .lookup(dbus.as_bytes())
        .is_some_and(|id| matches!(editor.tree.node(id).kind, Kind::File(_)));
    if is_file {
        editor.remove(dbus, why)?;
        if init == Init::Systemd {
            editor.symlink(dbus, "/etc/machine-id", why)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts() {
        for good in ["a", "lfs", "build-7", "a.example.org", "0"] {
            check(good).unwrap();
        }
        for bad in ["", "-a", "a-", "a..b", "a b", "a_b", "ä", ".a", &"x".repeat(64)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_get_the_new_name() {
        let both = "127.0.0.1\tlocalhost\n127.0.1.1\told.example.org old # me\n10.0.0.1 old\n";
        assert_eq!(
            hosts(both, Some("old"), Some("new.org")),
            "127.0.0.1\tlocalhost\n127.0.1.1\tnew.org new # me\n10.0.0.1 old\n"
        );
        assert_eq!(
            hosts("127.0.0.1 localhost\n", None, Some("new")),
            "127.0.0.1 localhost\n127.0.1.1\tnew\n"
        );
        assert_eq!(
            hosts("", None, Some("new.org")),
            "127.0.0.1\tlocalhost\n127.0.1.1\tnew.org new\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        );
        assert_eq!(hosts("127.0.0.1 localhost new\n", None, Some("new")), "127.0.0.1 localhost new\n");
        assert_eq!(hosts("127.0.0.1 localhost\n", Some("x"), None), "127.0.0.1 localhost\n");
    }
}
