//! What a machine does for itself when it boots: host keys, growing, the launch key and the script of an EC2 instance.
//!
//! Each is a script in /usr/lib/lfs-image that does nothing where it did its work already, so that it may run at every boot.
//!
//! ```text
//! systemd    a unit in /etc/systemd/system, wanted by multi-user.target
//! sysvinit   a line of /etc/inittab: `bootwait` after the sysinit scripts and before the runlevel's, where the network
//!            isn't needed; else `once` in the runlevels
//! ```

use super::Notes;
use super::spec::HostSpec;
use super::system::{Init, System, program};
use crate::error::Result;
use crate::raw::time::Timestamp;
use crate::tree::Meta;
use crate::tree::edit::{Editor, File};

/// Where the scripts are, and what they remember.
const SCRIPTS: &str = "/usr/lib/lfs-image";
const STATE: &str = "/var/lib/lfs-image";

/// Something that runs at boot.
struct Service {
    name: &'static str,
    what: &'static str,
    script: String,
    why: &'static str,
    /// Lines of the unit's first section.
    order: &'static str,
    /// Lines of its second section.
    service: &'static str,
    /// The id and the action of inittab's line.
    inittab: (&'static str, &'static str),
}

/// SSH host keys that are missing are made before sshd starts.
pub(super) fn host_keys(editor: &mut Editor<'_>, system: &System, notes: &mut Notes) -> Result<()> {
    let service = Service {
        name: "host-keys",
        what: "Make SSH host keys",
        script: include_str!("host-keys.sh").to_owned(),
        why: "each machine makes its own SSH host keys at first boot",
        order: "After=local-fs.target systemd-random-seed.service\nBefore=ssh.service sshd.service ssh.socket sshd.socket \
                dropbear.service dropbear.socket\n",
        service: "",
        inittab: ("lk", "bootwait"),
    };
    install(editor, system, notes, &service)
}

/// The root filesystem grows to the size of its disk.
pub(super) fn grow(editor: &mut Editor<'_>, system: &System, notes: &mut Notes) -> Result<()> {
    let missing: Vec<&str> = ["sfdisk", "partx", "resize2fs"]
        .into_iter()
        .filter(|name| program(editor.root(), name).is_none())
        .collect();
    if !missing.is_empty() {
        notes.warnings.push(format!(
            "the root filesystem won't grow to the size of its disk: there is no {} in the tree",
            missing.join(", no ")
        ));
        return Ok(());
    }
    let service = Service {
        name: "grow",
        what: "Grow the root filesystem to the size of its disk",
        script: include_str!("grow.sh").to_owned(),
        why: "the root filesystem grows to the size of its disk at boot",
        order: "After=local-fs.target\n",
        service: "",
        inittab: ("lg", "bootwait"),
    };
    install(editor, system, notes, &service)?;
    editor.directory(
        STATE,
        Meta::new(0o755, Timestamp::default()),
        "what was done at first boot is remembered there",
    )
}

/// An EC2 instance asks for its launch key and its user data.
pub(super) fn imds(
    editor: &mut Editor<'_>,
    system: &System,
    spec: &HostSpec,
    authorized_keys: &str,
    notes: &mut Notes,
) -> Result<()> {
    if editor.root().file("/bin/bash").is_none() {
        notes.warnings.push("there is no /bin/bash, which is to ask for the launch key".into());
        return Ok(());
    }
    let why = match (spec.imds_ssh_key, spec.user_data) {
        (true, true) => {
            "an EC2 instance lets in who has its launch key, and runs the script in its user data"
        }
        (true, false) => "an EC2 instance lets in who has its launch key",
        _ => "an EC2 instance runs the script in its user data",
    };
    let service = Service {
        name: "imds",
        what: "Ask the instance metadata service of EC2",
        script: script(spec.imds_ssh_key, spec.user_data, authorized_keys),
        why,
        order: "After=local-fs.target network.target\nWants=network.target\n",
        service: "TimeoutStartSec=infinity\n",
        inittab: ("li", "once"),
    };
    install(editor, system, notes, &service)?;
    editor.directory(
        STATE,
        Meta::new(0o755, Timestamp::default()),
        "what was done at first boot is remembered there",
    )
}

/// The script that asks for a key, for user data, or for both.
fn script(with_key: bool, with_user_data: bool, authorized_keys: &str) -> String {
    let what = match (with_key, with_user_data) {
        (true, true) => "its launch key is and what its user data says",
        (true, false) => "its launch key is",
        _ => "its user data says",
    };
    let answer = |yes| if yes { "yes" } else { "no" };
    include_str!("imds.sh")
        .replace("@what@", what)
        .replace("@authorized_keys@", authorized_keys)
        .replace("@with_key@", answer(with_key))
        .replace("@with_user_data@", answer(with_user_data))
}

fn install(editor: &mut Editor<'_>, system: &System, notes: &mut Notes, service: &Service) -> Result<()> {
    let script = format!("{SCRIPTS}/{}", service.name);
    match system.init {
        Init::Other => {
            notes.warnings.push(format!(
                "{} needs systemd, or sysvinit with /etc/inittab, and the tree has neither",
                service.why
            ));
            return Ok(());
        }
        Init::Systemd => {
            let name = format!("lfs-image-{}.service", service.name);
            let unit = format!(
                "[Unit]\nDescription={}\n{}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={script}\n\
                 StandardOutput=journal+console\n{}\n[Install]\nWantedBy=multi-user.target\n",
                service.what, service.order, service.service
            );
            let path = format!("/etc/systemd/system/{name}");
            editor.write(File::new(&path, &unit, service.why))?;
            let link = format!("/etc/systemd/system/multi-user.target.wants/{name}");
            editor.symlink(&link, &format!("../{name}"), service.why)?;
        }
        Init::SysV => {
            let text = editor.read("/etc/inittab")?.unwrap_or_default();
            if !text.contains(&script) {
                let (id, action) = service.inittab;
                let id = super::inittab_id(&text, id);
                // It is run by a shell, which sees to the console.
                let line = format!("{id}:2345:{action}:{script} >/dev/console 2>&1\n");
                let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                editor.write(File::new("/etc/inittab", &format!("{text}{end}{line}"), service.why))?;
            }
        }
    }
    editor.write(File::new(&script, &service.script, service.why).mode(0o755))
}

#[cfg(test)]
mod asking;
#[cfg(test)]
mod growing;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    #[test]
    fn services_are_installed_once() {
        for (files, started) in [
            (&[("sbin/init", &b"ELF"[..]), ("etc/inittab", b"id:3:initdefault:")][..], "/etc/inittab"),
            (
                &[("sbin/init", b"->/lib/systemd/systemd"), ("lib/systemd/systemd", b"ELF")],
                "/etc/systemd/system/multi-user.target.wants/lfs-image-grow.service",
            ),
        ] {
            let mut all = files.to_vec();
            for program in ["bin/bash", "sbin/sfdisk", "usr/bin/partx", "sbin/resize2fs"] {
                all.push((program, b"ELF"));
            }
            let mut tree = tree(&all);
            let system = System::of(crate::tree::Root::new(&tree, &NoStore));
            let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
            let mut notes = Notes::default();
            let spec = HostSpec { imds_ssh_key: true, ..HostSpec::nothing() };
            let mut texts = Vec::new();
            for _ in 0..2 {
                grow(&mut editor, &system, &mut notes).unwrap();
                host_keys(&mut editor, &system, &mut notes).unwrap();
                imds(&mut editor, &system, &spec, "/root/.ssh/authorized_keys", &mut notes).unwrap();
                texts.push(editor.read(started).unwrap().unwrap());
            }
            assert_eq!(texts[0], texts[1]);
            assert!(texts[0].contains("/usr/lib/lfs-image/grow"), "{}", texts[0]);
            let script = editor.read("/usr/lib/lfs-image/imds").unwrap().unwrap();
            assert!(
                script.contains("\nwith_key=yes\nwith_user_data=no\n") && !script.contains("@with"),
                "{script}"
            );
            assert_eq!(notes, Notes::default());
        }
    }

    #[test]
    fn host_keys_are_made_where_there_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for dir in ["bin", "etc/ssh"] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        // Programs that note how they are called, and make a file of it.
        let stub = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(
                at("bin").join(name),
                format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{text}\n", at("log").display()),
            )
            .unwrap();
            std::fs::set_permissions(at("bin").join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        stub("sshd", "");
        stub("ssh-keygen", &format!("echo key >{}", at("etc/ssh/ssh_host_rsa_key").display()));
        let etc = format!("{}/", at("etc").display());
        let path = format!("PATH={}:", at("bin").display());
        let script = include_str!("host-keys.sh").replace("/etc/", &etc).replace("PATH=", &path);
        let run = || {
            let status = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
            (status.code(), std::fs::read_to_string(at("log")).unwrap_or_default())
        };
        assert_eq!(run(), (Some(0), "ssh-keygen -A\n".into()));
        assert_eq!(run().1, "ssh-keygen -A\n", "a second time there is nothing to do");
        stub("dropbear", "");
        stub("dropbearkey", "[ $2 != ed25519 ] || exit 1; echo key >\"$4\"");
        let (code, log) = run();
        assert_eq!((code, log.lines().count()), (Some(0), 4), "an old one can't make every kind: {log}");
        assert!(at("etc/dropbear/dropbear_ecdsa_host_key").exists(), "{log}");
        assert_eq!(run().1, log);
        stub("dropbearkey", "exit 1");
        std::fs::remove_dir_all(at("etc/dropbear")).unwrap();
        assert_eq!(run().0, Some(1));
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut tree = tree(&[("sbin/init", b"ELF"), ("etc/inittab", b""), ("sbin/sfdisk", b"")]);
        let system = System::of(crate::tree::Root::new(&tree, &NoStore));
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        let mut notes = Notes::default();
        grow(&mut editor, &system, &mut notes).unwrap();
        assert!(notes.warnings[0].ends_with("there is no partx, no resize2fs in the tree"), "{notes:?}");
        assert!(editor.finish().is_empty());
    }
}
