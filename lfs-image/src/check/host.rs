//! Whether somebody can use it: fstab, a way in, the network, the console.

use super::{Findings, Severity, Surroundings};
use crate::configure::{
    FstabLine, Init, System, Target, console_device, has_dhcp_client, has_login, is_enabled, program,
    sets_up_network, users,
};
use crate::tree::Root;

pub(super) fn check(
    root: Root<'_>,
    target: Target,
    disk: &Surroundings,
    system: &System,
    findings: &mut Findings,
) {
    mount_points(root, findings);
    fstab(root, disk, findings);
    way_in(root, target, system, findings);
    network(root, target, system, findings);
    if system.init != Init::Other && !has_login(root, system, console_device(Some(target))) {
        let device = console_device(Some(target));
        findings
            .warn(
                "no-serial-login",
                format!("there is no login on {device}, the only console that {} shows", target.name()),
            )
            .mend("--console");
    }
}

fn mount_points(root: Root<'_>, findings: &mut Findings) {
    for path in ["/dev", "/proc", "/sys"] {
        if root.find(path).is_none() {
            findings
                .fatal("mount-point", "there is no such directory to mount it on")
                .at(path)
                .mend("--nodes");
        }
    }
}

fn fstab(root: Root<'_>, disk: &Surroundings, findings: &mut Findings) {
    let Some(place) = &disk.place else { return };
    let path = "/etc/fstab";
    let Some(text) = text(root, path) else {
        findings
            .warn("fstab-missing", "there is none, so the root filesystem may stay read-only")
            .at(path)
            .mend("--fstab root");
        return;
    };
    let lines: Vec<FstabLine<'_>> = text.lines().filter_map(FstabLine::parse).collect();
    for line in &lines {
        if let Some(what) = line.missing(place, root) {
            findings
                .fatal("fstab-missing-device", format!("{} is to be mounted, and {what}", line.point))
                .at(path)
                .mend("--fstab whole, or `nofail` among its options");
        }
    }
    if !lines.iter().any(|line| line.point == "/") {
        findings
            .warn("fstab-no-root", "it doesn't name the root filesystem, which may stay read-only")
            .at(path)
            .mend("--fstab root");
    }
}

fn text(root: Root<'_>, path: &str) -> Option<String> {
    let bytes = root.read(root.file(path)?, path, 1 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether anybody can get in at all, and by which way.
fn way_in(root: Root<'_>, target: Target, system: &System, findings: &mut Findings) {
    let sshd = program(root, "sshd");
    let has_key = users(root).iter().any(|user| {
        let path = format!("{}/.ssh/authorized_keys", user.home.trim_end_matches('/'));
        text(root, &path)
            .is_some_and(|text| text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')))
    });
    let script = root.file("/usr/lib/lfs-image/imds").and_then(|_| text(root, "/usr/lib/lfs-image/imds"));
    let asks_for_key = script.is_some_and(|text| text.contains("\nwith_key=yes\n"))
        || ["cloud-init", "ec2-get-ssh", "amazon-ssm-agent", "afterburn"]
            .iter()
            .any(|name| program(root, name).is_some());
    let by_key = sshd.is_some() && (has_key || asks_for_key && target == Target::Ec2);
    let has_password = text(root, "/etc/shadow").is_some_and(|text| {
        text.lines().any(|line| {
            line.split(':').nth(1).is_some_and(|field| field.is_empty() || field.starts_with('$'))
        })
    });
    let by_console = has_password && has_login(root, system, console_device(Some(target)));
    if sshd.is_none() && !by_console {
        findings
            .fatal("no-way-in", "there is no sshd, and no login by password on the console")
            .mend("install openssh into the tree");
    } else if !by_key && !by_console {
        findings
            .fatal("no-way-in", "sshd is there, and nobody has a key: nor a password on the console")
            .mend("--authorized-key FILE, or --imds-ssh-key for EC2");
    } else if target == Target::Ec2 && !by_key {
        let what = if sshd.is_some() { "nobody has a key" } else { "there is no sshd" };
        findings
            .warn("no-ssh", format!("{what}: the only way in is a password on the serial console"))
            .mend("--imds-ssh-key, or --authorized-key FILE");
    }
    if sshd.is_some() && by_key && !starts_sshd(root, system) {
        findings
            .warn("sshd-not-started", "nothing starts sshd at boot")
            .mend("enable its service in the tree");
    }
}

fn starts_sshd(root: Root<'_>, system: &System) -> bool {
    match system.init {
        Init::Systemd => {
            ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"]
                .iter()
                .any(|unit| is_enabled(root, unit))
                || root.names("/etc/systemd/system").contains(&&b"sshd.service"[..])
        }
        Init::SysV => {
            let levels = ["/etc/rc.d/rc3.d", "/etc/rc3.d", "/etc/rc.d/rc2.d", "/etc/rc2.d"];
            levels.iter().any(|dir| {
                root.names(dir)
                    .iter()
                    .any(|name| name.starts_with(b"S") && name.windows(3).any(|part| part == b"ssh"))
            }) || text(root, "/etc/inittab").is_some_and(|text| text.contains("sshd"))
        }
        Init::Other => true,
    }
}

fn network(root: Root<'_>, target: Target, system: &System, findings: &mut Findings) {
    let severity = if target == Target::Ec2 { Severity::Fatal } else { Severity::Warning };
    if !has_dhcp_client(root, system) {
        findings
            .add(severity, "no-dhcp-client", "no program asks for an address: there is no DHCP client")
            .mend("install dhcpcd into the tree");
    } else if !sets_up_network(root, system) {
        findings
            .add(severity, "network-not-set-up", "no interface is set up to ask for an address by DHCP")
            .mend("--network");
    }
}
