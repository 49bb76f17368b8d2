//! Whether it comes up as a host: fstab, the network, the console.

use super::{Findings, Severity, Surroundings};
use crate::configure::{
    FstabLine, Init, System, Target, console_device, has_dhcp_client, has_login, network_starts,
    sets_up_network,
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
    fstab(root, disk, system, findings);
    network(root, target, system, findings);
    if let (Init::Other, Some(init)) = (system.init, system.init_path) {
        findings
            .warn(
                "init-unknown",
                "it is neither systemd nor sysvinit with /etc/inittab: what it starts at boot isn't known, nor is anything \
                 added to it",
            )
            .at(init);
    }
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

fn fstab(root: Root<'_>, disk: &Surroundings, system: &System, findings: &mut Findings) {
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
                .fatal("fstab-missing-device", format!("{} is to be mounted, and {what}", line.point()))
                .at(path)
                .mend("--fstab whole, or `nofail` among its options");
        } else if system.init != Init::Systemd && line.lacks_point(root) {
            // systemd makes such a directory.
            findings
                .warn("fstab-no-directory", format!("there is no directory {} to mount on", line.point()))
                .at(path)
                .mend("make the directory in the tree");
        }
    }
    if !lines.iter().any(|line| line.point() == "/") {
        findings
            .warn("fstab-no-root", "it doesn't name the root filesystem, which may stay read-only")
            .at(path)
            .mend("--fstab root");
    }
}

pub(super) fn text(root: Root<'_>, path: &str) -> Option<String> {
    let bytes = root.read(root.file(path)?, path, 1 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
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
    } else if !network_starts(root, system) {
        findings
            .add(severity, "network-not-started", "nothing starts the network at boot")
            .mend("enable its service in the tree");
    }
}
