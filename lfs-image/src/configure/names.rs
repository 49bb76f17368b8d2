//! What a machine is called, and what it alone may have.

use super::Notes;
use super::system::{Init, System, program};
use crate::error::{Error, Result};
use crate::tree::edit::{Editor, File};
use crate::tree::{Kind, Root};

/// Seeds of the random generator, as systemd, Debian's and the book's scripts keep them, and busybox.
pub(crate) const SEEDS: [&str; 8] = [
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/random-seed",
    "/var/lib/misc/random-seed",
    "/var/tmp/random-seed",
    "/boot/loader/random-seed",
    "/var/lib/seedrng/seed.credit",
    "/var/lib/seedrng/seed.no-credit",
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

/// A server that lets people in, and how it knows itself.
struct Server {
    program: &'static str,
    /// What makes its host keys.
    keygen: &'static str,
    dir: &'static str,
    is_key: fn(&str) -> bool,
}

const SERVERS: [Server; 2] = [
    Server {
        program: "sshd",
        keygen: "ssh-keygen",
        dir: "/etc/ssh",
        is_key: |name| {
            name.strip_prefix("ssh_host_")
                .is_some_and(|rest| rest.ends_with("_key") || rest.ends_with("_key.pub"))
        },
    },
    Server {
        program: "dropbear",
        keygen: "dropbearkey",
        dir: "/etc/dropbear",
        is_key: |name| {
            name.strip_prefix("dropbear_")
                .is_some_and(|rest| rest.ends_with("_host_key") || rest.ends_with("_host_key.pub"))
        },
    },
];

/// Whether this is the path of an SSH host key, or of its public half.
pub(crate) fn is_host_key(path: &[u8]) -> bool {
    let Some((dir, name)) = std::str::from_utf8(path).ok().and_then(|path| path.rsplit_once('/')) else {
        return false;
    };
    SERVERS.iter().any(|server| server.dir == dir && (server.is_key)(name))
}

/// Takes away what two machines from one image must not share. Says whether host keys are to be made at first boot.
pub(super) fn identity(editor: &mut Editor<'_>, system: &System, notes: &mut Notes) -> Result<bool> {
    machine_id(editor, system.init)?;
    for path in SEEDS {
        editor.remove(path, "each machine has a seed of its own")?;
    }
    let mut makes_keys = false;
    for server in SERVERS {
        if program(editor.root(), server.program).is_none() {
            continue;
        }
        let keys = host_keys(editor.root(), &server);
        let lacks = if program(editor.root(), server.keygen).is_none() {
            format!("there is no {} to make new ones", server.keygen)
        } else if system.init == Init::Other {
            "there is no init that could make new ones at first boot".to_owned()
        } else {
            for key in keys {
                editor.remove(&key, "each machine makes its own at first boot")?;
            }
            makes_keys = true;
            continue;
        };
        if !keys.is_empty() {
            notes
                .warnings
                .push(format!("the SSH host keys stay, which all machines from this image share: {lacks}"));
        }
    }
    Ok(makes_keys)
}

/// The paths of a server's host keys, public halves too.
fn host_keys(root: Root<'_>, server: &Server) -> Vec<String> {
    let names = root.names(server.dir).into_iter().filter_map(|name| std::str::from_utf8(name).ok());
    names.filter(|name| (server.is_key)(name)).map(|name| format!("{}/{name}", server.dir)).collect()
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
    fn keys_of_hosts_go_where_new_ones_come() {
        use crate::raw::time::Timestamp;
        use crate::tree::NoStore;
        use crate::tree::root::tests::tree;

        let keys = [("etc/ssh/ssh_host_rsa_key", &b"k"[..]), ("etc/dropbear/dropbear_rsa_host_key", b"k")];
        let servers = [("usr/sbin/sshd", &b""[..]), ("usr/sbin/dropbear", b"")];
        let keygens = [("usr/bin/ssh-keygen", &b""[..]), ("usr/bin/dropbearkey", b"")];
        let look = |files: &[(&str, &[u8])], init: Init| {
            let mut tree = tree(files);
            let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
            let system = System { init, ..System::of(editor.root()) };
            let mut notes = Notes::default();
            let made = identity(&mut editor, &system, &mut notes).unwrap();
            let left = keys.iter().filter(|(path, _)| editor.exists(path)).count();
            (made, left, notes.warnings.len())
        };
        let all = [keys, servers, keygens].concat();
        assert_eq!(look(&all, Init::SysV), (true, 0, 0));
        assert_eq!(look(&all[..5], Init::Systemd), (true, 1, 1), "without dropbearkey");
        assert_eq!(look(&all, Init::Other), (false, 2, 2));
        assert_eq!(look(&[keys, keygens].concat(), Init::SysV), (false, 2, 0), "nobody uses them");
        assert!(
            is_host_key(b"/etc/dropbear/dropbear_ed25519_host_key")
                && is_host_key(b"/etc/ssh/ssh_host_rsa_key.pub")
        );
        assert!(!is_host_key(b"/etc/ssh/moduli") && !is_host_key(b"/srv/ssh_host_rsa_key"));
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
