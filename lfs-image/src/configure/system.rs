//! What kind of system a tree holds: its init, its way of configuring networks, its programs.

use crate::tree::{Kind, Root};

/// What starts services.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Init {
    Systemd,
    /// sysvinit with /etc/inittab.
    SysV,
    /// Something else, or nothing.
    Other,
}

/// What configures network interfaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Network {
    /// Linux From Scratch: a file for each interface in /etc/sysconfig.
    Sysconfig,
    Networkd,
    /// Debian: /etc/network/interfaces.
    Ifupdown,
    /// A service that asks for addresses by DHCP on every interface unless told otherwise: NetworkManager, ConnMan, dhcpcd
    /// by itself.
    Manager,
    Unknown,
}

/// What a tree holds.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) init: Init,
    /// The path of the program that the kernel starts, if there is one.
    pub(crate) init_path: Option<&'static str>,
    pub(crate) network: Network,
}

/// Where systemd's own program is.
pub(crate) const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
/// What the kernel tries to start, in its order, and what of a /usr-merged tree's.
const INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
/// Where programs are looked for.
pub(crate) const BINS: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// Where units of systemd are, in the order of their weight.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

impl System {
    pub(crate) fn of(root: Root<'_>) -> Self {
        let init_path = INITS[..3].iter().copied().find(|path| root.find(path).is_some());
        let id = init_path.and_then(|path| root.find(path));
        let is_one_of = |paths: &[&str]| paths.iter().any(|path| id.is_some() && root.find(path) == id);
        // Where the program is missing, the link to it tells what it should be.
        // busybox has an inittab of another language.
        let busybox = BINS.map(|dir| format!("{dir}/busybox"));
        let init = if is_one_of(&SYSTEMD) || id.is_none() && links_to_systemd(root) {
            Init::Systemd
        } else if root.file("/etc/inittab").is_some() && !is_one_of(&busybox.each_ref().map(String::as_str)) {
            Init::SysV
        } else {
            Init::Other
        };
        Self { init, init_path, network: network(root, init) }
    }
}

fn links_to_systemd(root: Root<'_>) -> bool {
    let init = root.find("/sbin").and_then(|id| root.tree.node(id).as_directory()?.get(b"init"));
    init.is_some_and(
        |id| matches!(&root.tree.node(id).kind, Kind::Symlink(target) if target.ends_with(b"/systemd")),
    )
}

fn network(root: Root<'_>, init: Init) -> Network {
    let wanted = |unit: &str| init == Init::Systemd && is_enabled(root, unit);
    if wanted("systemd-networkd.service") {
        return Network::Networkd;
    }
    if MANAGERS.iter().any(|name| wanted(&format!("{name}.service"))) || wanted(DHCPCD_ETH0) {
        return Network::Manager;
    }
    if init == Init::SysV && root.names("/lib/services").iter().any(|name| name.starts_with(b"ipv4-static"))
        || init == Init::SysV && program(root, "ifup").is_some() && root.find("/etc/sysconfig").is_some()
    {
        return Network::Sysconfig;
    }
    if root.file("/etc/network/interfaces").is_some() || program(root, "ifquery").is_some() {
        return Network::Ifupdown;
    }
    if init == Init::SysV && MANAGERS.iter().any(|name| starts(root, &name.to_ascii_lowercase())) {
        return Network::Manager;
    }
    if init == Init::Systemd && unit(root, "systemd-networkd.service").is_some() {
        return Network::Networkd;
    }
    Network::Unknown
}

/// Services that see to the network all by themselves, by their units' names.
const MANAGERS: [&str; 4] = ["NetworkManager", "connman", "dhcpcd", "wicked"];
/// dhcpcd for one interface, as Beyond Linux From Scratch has it.
pub(crate) const DHCPCD_ETH0: &str = "dhcpcd@eth0.service";

/// Whether sysvinit's scripts start something at boot: a link `S20NAME`, as the book has them or as Debian.
pub(crate) fn starts(root: Root<'_>, name: &str) -> bool {
    let levels = ["S", "2", "3", "4", "5"];
    levels.iter().flat_map(|level| [format!("/etc/rc.d/rc{level}.d"), format!("/etc/rc{level}.d")]).any(
        |dir| {
            root.names(&dir).iter().any(|link| {
                link.strip_prefix(b"S").is_some_and(|rest| {
                    let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
                    rest[digits..].eq_ignore_ascii_case(name.as_bytes())
                })
            })
        },
    )
}

/// The path of a program; `None` where there is no file of that name.
pub(crate) fn program(root: Root<'_>, name: &str) -> Option<String> {
    BINS.iter().map(|dir| format!("{dir}/{name}")).find(|path| root.file(path).is_some())
}

/// The path of a unit of systemd's.
pub(crate) fn unit(root: Root<'_>, name: &str) -> Option<String> {
    UNITS.iter().map(|dir| format!("{dir}/{name}")).find(|path| root.file(path).is_some())
}

/// Whether something wants a unit, so that it starts at boot. Links are looked at, not followed: their targets are paths of
/// the running system.
pub(crate) fn is_enabled(root: Root<'_>, unit: &str) -> bool {
    if is_masked(root, UNITS[0], unit) {
        return false;
    }
    UNITS.iter().any(|dir| {
        root.names(dir)
            .into_iter()
            .filter(|name| name.ends_with(b".wants") || name.ends_with(b".requires"))
            .any(|wants| {
                let wants = format!("{dir}/{}", String::from_utf8_lossy(wants));
                root.names(wants).contains(&unit.as_bytes())
            })
    })
}

/// Whether a name in a directory of systemd's is a link to /dev/null, which stands for all others of that name.
pub(crate) fn is_masked(root: Root<'_>, dir: &str, name: &str) -> bool {
    let found = root.find(dir).and_then(|id| root.tree.node(id).as_directory()?.get(name.as_bytes()));
    found.is_some_and(
        |id| matches!(&root.tree.node(id).kind, Kind::Symlink(target) if **target == *b"/dev/null"),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    fn of(files: &[(&str, &[u8])]) -> (Init, Network) {
        let tree = tree(files);
        let system = System::of(Root::new(&tree, &NoStore));
        (system.init, system.network)
    }

    #[test]
    fn systems() {
        let systemd = [
            ("usr/lib/systemd/systemd", &b"ELF"[..]),
            ("lib", b"->usr/lib"),
            ("sbin/init", b"->/lib/systemd/systemd"),
        ];
        assert_eq!(of(&systemd), (Init::Systemd, Network::Unknown));
        let with = |more: &[(&'static str, &'static [u8])]| {
            let mut files = systemd.to_vec();
            files.extend(more);
            of(&files).1
        };
        let networkd = ("usr/lib/systemd/system/systemd-networkd.service", &b""[..]);
        assert_eq!(with(&[networkd]), Network::Networkd);
        assert_eq!(with(&[networkd, ("etc/network/interfaces", b"")]), Network::Ifupdown);
        let wanted = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service";
        let link = (wanted, &b"->/lib/systemd/system/systemd-networkd.service"[..]);
        assert_eq!(with(&[networkd, ("etc/network/interfaces", b""), link]), Network::Networkd);
        let masked = ("etc/systemd/system/systemd-networkd.service", &b"->/dev/null"[..]);
        assert_eq!(with(&[networkd, masked, link, ("etc/network/interfaces", b"")]), Network::Ifupdown);

        let sysv = [("sbin/init", &b"ELF"[..]), ("etc/inittab", b""), ("lib/services/ipv4-static", b"")];
        assert_eq!(of(&sysv), (Init::SysV, Network::Sysconfig));
        for (link, busybox) in [("/bin/busybox", "bin/busybox"), ("../usr/bin/busybox", "usr/bin/busybox")] {
            let link = format!("->{link}");
            assert_eq!(
                of(&[("sbin/init", link.as_bytes()), (busybox, b""), ("etc/inittab", b"")]).0,
                Init::Other
            );
        }
        let by_itself = [("sbin/init", &b"ELF"[..]), ("etc/inittab", b""), ("etc/rc3.d/S12dhcpcd", b"")];
        assert_eq!(of(&by_itself), (Init::SysV, Network::Manager));
        let eth0 = ("etc/systemd/system/multi-user.target.wants/dhcpcd@eth0.service", &b""[..]);
        assert_eq!(with(&[networkd, eth0]), Network::Manager);
        assert_eq!(of(&[]), (Init::Other, Network::Unknown));
    }
}
