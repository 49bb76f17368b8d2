//! Whether anybody can get in at all, and by which way: a key, a password, on the network or the console.

use super::Findings;
use super::host::text;
use crate::configure::{
    Init, SERVERS, System, Target, User, console_device, has_login, is_enabled, program, starts, users,
};
use crate::tree::Root;

pub(super) fn check(root: Root<'_>, target: Target, system: &System, findings: &mut Findings) {
    let users = users(root);
    if !users.iter().any(|user| user.name == "root") {
        findings
            .warn("no-root", "it has no line for root, so nobody can become root, and services that start as root may fail")
            .at("/etc/passwd")
            .mend("a line `root:x:0:0:root:/root:/bin/bash`");
    }
    let server = SERVERS.into_iter().find(|server| program(root, server).is_some());
    let rules = Rules::of(root, server);
    // Who is let in by a key that is there, or that comes at first boot.
    let with_key: Vec<&User> = users.iter().filter(|user| has_key(root, target, user)).collect();
    let elsewhere = ["cloud-init", "ec2-get-ssh", "amazon-ssm-agent", "afterburn"];
    let by_others = target == Target::Ec2 && elsewhere.iter().any(|name| program(root, name).is_some());
    let by_key = server.is_some() && (by_others || with_key.iter().any(|user| rules.key_lets_in(user)));
    let with_password: Vec<&User> = users.iter().filter(|user| has_password(root, user)).collect();
    let by_console = !with_password.is_empty() && has_login(root, system, console_device(Some(target)));
    let by_password = server.is_some() && with_password.iter().any(|user| rules.password_lets_in(user));

    let server_name = server.unwrap_or("sshd");
    if server.is_none() && !by_console {
        findings
            .fatal("no-way-in", "there is no sshd, and no login by password on the console")
            .mend("install openssh into the tree");
    } else if !by_key && !by_console && !by_password {
        let (what, mend) = match with_key.first() {
            Some(user) if user.uid == 0 => (
                "root alone has a key, and sshd's PermitRootLogin is `no`: nor is there a password on the console".to_owned(),
                "--user NAME, or `PermitRootLogin prohibit-password` in /etc/ssh/sshd_config",
            ),
            _ => (
                format!("{server_name} is there, and nobody has a key: nor a password on the console"),
                "--authorized-key FILE, or --imds-ssh-key for EC2",
            ),
        };
        findings.fatal("no-way-in", what).mend(mend);
    } else if target == Target::Ec2 && !by_key {
        let what = match (server, by_password) {
            (None, _) => "there is no sshd: the only way in is a password on the serial console",
            (_, true) => "nobody has a key: the only way in is a password",
            (_, false) => "nobody has a key: the only way in is a password on the serial console",
        };
        findings.warn("no-ssh", what).mend("--imds-ssh-key, or --authorized-key FILE");
    }
    if by_key && !starts_server(root, system, server_name) {
        findings
            .warn("sshd-not-started", format!("nothing starts {server_name} at boot"))
            .mend("enable its service in the tree");
    }
}

fn has_key(root: Root<'_>, target: Target, user: &User) -> bool {
    let path = format!("{}/.ssh/authorized_keys", user.home.trim_end_matches('/'));
    let there = text(root, &path)
        .is_some_and(|text| text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    let comes = || {
        text(root, "/usr/lib/lfs-image/imds").is_some_and(|script| {
            script.contains("\nwith_key=yes\n") && script.contains(&format!("\nauthorized_keys={path}\n"))
        })
    };
    there || target == Target::Ec2 && comes()
}

/// Whether somebody has a password, or needs none.
fn has_password(root: Root<'_>, user: &User) -> bool {
    let field = |path: &str| {
        let text = text(root, path)?;
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(&user.name)).then(|| fields.next().unwrap_or_default().to_owned())
        })
    };
    let is_one = |field: &str| {
        field.is_empty() || field.starts_with('$') || field.len() == 13 && !field.starts_with(['*', '!'])
    };
    match field("/etc/passwd") {
        Some(own) if own == "x" => field("/etc/shadow").is_some_and(|field| is_one(&field)),
        Some(own) => is_one(&own),
        None => false,
    }
}

/// Whom sshd lets in. Source: sshd_config(5); the first value of a keyword counts.
#[derive(Debug)]
struct Rules {
    root: String,
    keys: bool,
    passwords: bool,
}

impl Rules {
    fn of(root: Root<'_>, server: Option<&str>) -> Self {
        let mut rules = Self { root: String::new(), keys: true, passwords: true };
        if server != Some("sshd") {
            rules.root = "yes".to_owned();
            return rules;
        }
        let mut texts = Vec::new();
        let main = text(root, "/etc/ssh/sshd_config").unwrap_or_default();
        // What it includes is read where it says so, which is at its top.
        if main
            .lines()
            .any(|line| line.trim_start().to_ascii_lowercase().starts_with("include /etc/ssh/sshd_config.d/"))
        {
            let names =
                root.names("/etc/ssh/sshd_config.d").into_iter().filter(|name| name.ends_with(b".conf"));
            texts.extend(names.filter_map(|name| {
                text(root, &format!("/etc/ssh/sshd_config.d/{}", String::from_utf8_lossy(name)))
            }));
        }
        texts.push(main);
        let value = |keyword: &str| {
            texts.iter().find_map(|text| {
                let lines = text.lines().map(str::trim);
                // Behind a Match it is for some.
                lines.take_while(|line| !line.to_ascii_lowercase().starts_with("match ")).find_map(|line| {
                    let (word, value) = line.split_once(|c: char| c.is_whitespace() || c == '=')?;
                    let value = value.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '"');
                    word.eq_ignore_ascii_case(keyword).then(|| value.to_ascii_lowercase())
                })
            })
        };
        rules.root = value("PermitRootLogin").unwrap_or_else(|| "prohibit-password".to_owned());
        rules.keys = value("PubkeyAuthentication").is_none_or(|value| value != "no");
        rules.passwords = value("PasswordAuthentication").is_none_or(|value| value != "no");
        rules
    }

    fn key_lets_in(&self, user: &User) -> bool {
        self.keys && (user.uid != 0 || self.root != "no")
    }

    fn password_lets_in(&self, user: &User) -> bool {
        self.passwords && (user.uid != 0 || self.root == "yes")
    }
}

fn starts_server(root: Root<'_>, system: &System, server: &str) -> bool {
    let names: &[&str] = if server == "sshd" { &["ssh", "sshd"] } else { &["dropbear"] };
    match system.init {
        Init::Systemd => names.iter().any(|name| {
            let service = format!("{name}.service");
            is_enabled(root, &service)
                || is_enabled(root, &format!("{name}.socket"))
                || *name == "sshd" && root.names("/etc/systemd/system").contains(&service.as_bytes())
        }),
        Init::SysV => {
            names.iter().any(|name| starts(root, name))
                || text(root, "/etc/inittab").is_some_and(|text| text.contains(server))
        }
        Init::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    const PASSWD: (&str, &[u8]) =
        ("etc/passwd", b"root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n");
    const INIT: (&str, &[u8]) = ("sbin/init", b"ELF");
    const INITTAB: (&str, &[u8]) = ("etc/inittab", b"s0:2345:respawn:/sbin/agetty ttyS0\n");
    const SSHD: (&str, &[u8]) = ("usr/sbin/sshd", b"ELF");
    const STARTS: (&str, &[u8]) = ("etc/rc.d/rc3.d/S30sshd", b"->../init.d/sshd");
    const ROOT_KEY: (&str, &[u8]) = ("root/.ssh/authorized_keys", b"ssh-ed25519 AAAA me\n");
    const MY_KEY: (&str, &[u8]) = ("home/me/.ssh/authorized_keys", b"ssh-ed25519 AAAA me\n");

    fn found(target: Target, files: &[(&str, &[u8])]) -> Vec<String> {
        let tree = tree(files);
        let root = Root::new(&tree, &NoStore);
        let mut findings = Findings::default();
        check(root, target, &System::of(root), &mut findings);
        findings.finish().into_iter().map(|finding| finding.id.to_owned()).collect()
    }

    #[test]
    fn ways_in() {
        let off = (
            "etc/ssh/sshd_config",
            &b"# PermitRootLogin yes\nPermitRootLogin no\nMatch User x\nPermitRootLogin yes\n"[..],
        );
        let no_keys = ("etc/ssh/sshd_config", &b"PubkeyAuthentication=no\n"[..]);
        let included = ("etc/ssh/sshd_config.d/10-x.conf", &b"PermitRootLogin prohibit-password\n"[..]);
        let includes =
            ("etc/ssh/sshd_config", &b"Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin no\n"[..]);
        let root_hash = ("etc/shadow", &b"root:$6$a$b:1::::::\nme:!:1::::::\n"[..]);
        let my_hash = ("etc/shadow", &b"root:*:1::::::\nme:$y$a$b:1::::::\n"[..]);
        let dropbear = ("usr/sbin/dropbear", &b"ELF"[..]);
        let starts_dropbear = ("etc/rc.d/rc3.d/S30dropbear", &b""[..]);
        let script = (
            "usr/lib/lfs-image/imds",
            &b"#!\nauthorized_keys=/root/.ssh/authorized_keys\nwith_key=yes\n"[..],
        );
        let base = [PASSWD, INIT, INITTAB];
        let with = |more: &[(&'static str, &'static [u8])]| [&base[..], more].concat();
        let none: [&str; 0] = [];
        for (files, wanted) in [
            (with(&[SSHD, STARTS, ROOT_KEY]), &none[..]),
            (with(&[SSHD, ROOT_KEY]), &["sshd-not-started"]),
            (with(&[SSHD, STARTS, script]), &none),
            (with(&[SSHD, STARTS, script, off]), &["no-way-in"]),
            (with(&[SSHD, STARTS, ROOT_KEY, off]), &["no-way-in"]),
            (with(&[SSHD, STARTS, ROOT_KEY, off, root_hash]), &["no-ssh"]),
            (with(&[SSHD, STARTS, MY_KEY, off]), &none),
            (with(&[SSHD, STARTS, MY_KEY, no_keys]), &["no-way-in"]),
            (with(&[SSHD, STARTS, ROOT_KEY, includes, included]), &none),
            (with(&[SSHD, STARTS]), &["no-way-in"]),
            (with(&[SSHD, STARTS, my_hash]), &["no-ssh"]),
            (with(&[root_hash]), &["no-ssh"]),
            (with(&[]), &["no-way-in"]),
            (with(&[dropbear, starts_dropbear, ROOT_KEY, off]), &none),
            (with(&[dropbear, ROOT_KEY]), &["sshd-not-started"]),
            (vec![INIT, INITTAB, SSHD, STARTS, ROOT_KEY], &["no-way-in", "no-root"]),
        ] {
            assert_eq!(found(Target::Ec2, &files), wanted, "{files:?}");
        }
        // A password on the network is a way in without any console.
        let files = [PASSWD, INIT, ("etc/inittab", b""), SSHD, STARTS, my_hash];
        assert_eq!(found(Target::Qemu, &files), none);
        assert_eq!(
            found(Target::Qemu, &with(&[SSHD, STARTS, script])),
            ["no-way-in"],
            "there is no such service there"
        );
    }
}
