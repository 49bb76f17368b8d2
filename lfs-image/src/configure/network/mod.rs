//! An address by DHCP on the first network interface, in the way of the tree.
//!
//! ```text
//! Linux From Scratch   /etc/sysconfig/ifconfig.eth0 with SERVICE="dhcpcd", /lib/services/dhcpcd; or dhclient
//! systemd-networkd     /etc/systemd/network/05-dhcp.network, and the service is enabled
//! ifupdown             /etc/network/interfaces (`ifupdown`)
//! NetworkManager …     nothing: it does so by itself
//! ```
//!
//! Interfaces are called otherwise on other machines (ens5, enp0s3, eth0): what names one is no setup for all. Where files have
//! to name one, the kernel is told to call it eth0.

mod ifupdown;

use super::Notes;
use super::system::{DHCPCD_ETH0, Init, Network, System, is_enabled, is_masked, program, starts, unit};
use crate::error::Result;
use crate::tree::Root;
use crate::tree::edit::{Editor, File};

const WHY: &str = "the first network interface gets its address by DHCP";

/// Programs that ask for an address.
const CLIENTS: [&str; 4] = ["dhcpcd", "dhclient", "udhcpc", "pump"];

/// What the kernel has to be told so that the first interface is called eth0, where files name it.
pub(super) fn kernel_argument(root: Root<'_>, system: &System) -> Option<&'static str> {
    let names_it = match system.network {
        Network::Sysconfig | Network::Ifupdown => true,
        Network::Manager => is_enabled(root, DHCPCD_ETH0),
        Network::Networkd | Network::Unknown => false,
    };
    names_it.then_some("net.ifnames=0")
}

/// Whether the tree has what it takes to ask for an address.
pub(crate) fn has_client(root: Root<'_>, system: &System) -> bool {
    match system.network {
        Network::Networkd | Network::Manager => true,
        Network::Sysconfig => program(root, "dhcpcd").is_some() || program(root, "dhclient").is_some(),
        Network::Ifupdown | Network::Unknown => CLIENTS.iter().any(|name| program(root, name).is_some()),
    }
}

/// Whether an interface asks for an address by what the tree says now; which one, only the machine can tell.
pub(crate) fn is_set_up(root: Root<'_>, system: &System) -> bool {
    match system.network {
        Network::Sysconfig => root.names("/etc/sysconfig").into_iter().any(|name| {
            let path = format!("/etc/sysconfig/{}", String::from_utf8_lossy(name));
            name.starts_with(b"ifconfig.") && text(root, &path).is_some_and(|text| by_dhcp(&text))
        }),
        Network::Networkd => {
            is_enabled(root, NETWORKD)
                && networkd_says(root, &|text| networkd_by_dhcp(text) && !is_for_containers(text))
        }
        Network::Ifupdown => ifupdown::is_set_up(root),
        Network::Manager => true,
        Network::Unknown => false,
    }
}

/// Whether something brings interfaces up at boot.
pub(crate) fn is_started(root: Root<'_>, system: &System) -> bool {
    match (system.network, system.init) {
        (Network::Sysconfig, _) => starts(root, "network"),
        (Network::Ifupdown, Init::SysV) => starts(root, "networking"),
        (Network::Ifupdown, Init::Systemd) => {
            is_enabled(root, "networking.service") || unit(root, "networking.service").is_none()
        }
        // They are told from what starts them.
        _ => true,
    }
}

pub(super) fn edit(editor: &mut Editor<'_>, system: &System, notes: &mut Notes) -> Result<()> {
    if !has_client(editor.root(), system) {
        notes.warnings.push(match system.network {
            Network::Sysconfig => {
                "there is no dhcpcd, so the network won't come up: install it into the tree".into()
            }
            _ => {
                format!("there is no DHCP client (one of {}): the network won't come up", CLIENTS.join(", "))
            }
        });
    }
    match system.network {
        Network::Sysconfig => sysconfig(editor, notes),
        Network::Networkd => networkd(editor),
        Network::Ifupdown => ifupdown::edit(editor, WHY),
        Network::Manager => Ok(()),
        Network::Unknown => {
            notes.warnings.push(
                "the network isn't set up: there is none of LFS's network scripts, systemd-networkd, ifupdown, NetworkManager, \
                 ConnMan, a service of dhcpcd's"
                    .into(),
            );
            Ok(())
        }
    }
}

fn text(root: Root<'_>, path: &str) -> Option<String> {
    let bytes = root.read(root.file(path)?, path, 1 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a file of /etc/sysconfig starts a DHCP client at boot.
fn by_dhcp(text: &str) -> bool {
    let value = |key: &str| {
        text.lines()
            .rev()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
            .map(|v| v.trim_matches(['"', '\'']))
    };
    let service = value("SERVICE").unwrap_or_default();
    matches!(value("ONBOOT"), Some("yes" | "true"))
        && (service.contains("dhcp") || service.contains("dhclient"))
}

fn sysconfig(editor: &mut Editor<'_>, notes: &mut Notes) -> Result<()> {
    // The book's scripts call a service by the name of the program.
    let clients = [("dhcpcd", IFCONFIG, DHCPCD), ("dhclient", IFCONFIG_DHCLIENT, DHCLIENT)];
    let found = clients
        .into_iter()
        .find_map(|(name, ifconfig, service)| Some((name, ifconfig, service, program(editor.root(), name)?)));
    let path = "/etc/sysconfig/ifconfig.eth0";
    if !editor.read(path)?.is_some_and(|text| by_dhcp(&text)) {
        editor.write(File::new(path, found.as_ref().map_or(IFCONFIG, |found| found.1), WHY))?;
    }
    let services = ["/lib/services", "/usr/lib/services"].into_iter().find(|dir| editor.exists(dir));
    if let Some((name, _, service, program)) = found {
        let path = format!("{}/{name}", services.unwrap_or("/lib/services"));
        if !editor.exists(&path) {
            let script = service.replace("@program@", &program);
            let why = format!("ifup calls it for SERVICE=\"{name}\"");
            editor.write(File::new(&path, &script, &why).mode(0o754))?;
        }
    }
    if program(editor.root(), "ifup").is_none() {
        notes.warnings.push(
            "there is no ifup to read /etc/sysconfig/ifconfig.eth0 (it comes with LFS-Bootscripts)".into(),
        );
    }
    Ok(())
}

/// Source: the book's General Network Configuration, and the pages of its sequel on dhcpcd and dhclient.
const IFCONFIG: &str =
    "ONBOOT=\"yes\"\nIFACE=\"eth0\"\nSERVICE=\"dhcpcd\"\nDHCP_START=\"-b -q\"\nDHCP_STOP=\"-k\"\n";
const IFCONFIG_DHCLIENT: &str =
    "ONBOOT=\"yes\"\nIFACE=\"eth0\"\nSERVICE=\"dhclient\"\nDHCP_START=\"-nw\"\nDHCP_STOP=\"-r\"\n";

/// The services of the book's network scripts, which call them with an interface, and `up` or `down`.
const DHCPCD: &str = "\
#!/bin/sh
# dhcpcd for ifup and ifdown: called with an interface, and up or down. Written by lfs-image.
. \"${IFCONFIG:-/etc/sysconfig/ifconfig.$1}\"
case $2 in
up) exec @program@ ${DHCP_START:--b -q} \"$1\" ;;
down) exec @program@ ${DHCP_STOP:--k} \"$1\" ;;
*) echo \"usage: $0 INTERFACE up|down\" >&2; exit 1 ;;
esac
";
const DHCLIENT: &str = "\
#!/bin/sh
# dhclient for ifup and ifdown: called with an interface, and up or down. Written by lfs-image.
. \"${IFCONFIG:-/etc/sysconfig/ifconfig.$1}\"
mkdir -p /var/lib/dhclient
files=\"-pf /run/dhclient-$1.pid -lf /var/lib/dhclient/$1.leases\"
case $2 in
up) exec @program@ $files ${DHCP_START:--nw} \"$1\" ;;
down) exec @program@ $files ${DHCP_STOP:--r} \"$1\" ;;
*) echo \"usage: $0 INTERFACE up|down\" >&2; exit 1 ;;
esac
";

/// Whether a .network file asks for IPv4 addresses.
fn networkd_by_dhcp(text: &str) -> bool {
    text.lines().any(|line| {
        let value =
            line.trim().strip_prefix("DHCP").map(str::trim_start).and_then(|rest| rest.strip_prefix('='));
        matches!(value.map(str::trim), Some("yes" | "true" | "1" | "on" | "ipv4" | "both" | "v4"))
    })
}

/// Whether it is one of systemd's own, for the inside or outside of containers.
fn is_for_containers(text: &str) -> bool {
    text.lines().any(|line| {
        ["Virtualization=", "Driver=veth", "Name=host0", "Name=ve-", "Name=vz-", "Name=vt-", "Name=vb-"]
            .iter()
            .any(|key| line.starts_with(key))
    })
}

const NETWORKD: &str = "systemd-networkd.service";

/// Whether a file of networkd's says something.
fn networkd_says(root: Root<'_>, what: &dyn Fn(&str) -> bool) -> bool {
    ["/etc/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"].iter().any(|dir| {
        root.names(dir).into_iter().filter(|name| name.ends_with(b".network")).any(|name| {
            text(root, &format!("{dir}/{}", String::from_utf8_lossy(name))).is_some_and(|text| what(&text))
        })
    })
}

/// Whether the first network interface of any machine matches what a .network file is for.
fn is_for_any(text: &str, names: &[&str]) -> bool {
    let mut section = "";
    let mut is_general = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, value)) =
            line.split_once('=').filter(|_| section == "[Match]" && !line.starts_with('#'))
        else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "Name" => {
                let patterns: Vec<&str> = value.split_ascii_whitespace().collect();
                if !names.iter().all(|name| patterns.iter().any(|pattern| fits(pattern, name))) {
                    return false;
                }
            }
            "Type" if value == "ether" => {}
            "Kind" if value == "!*" => {}
            _ => return false,
        }
        is_general = true;
    }
    is_general
}

/// Whether a name is as a pattern with one `*` at its end, or without any, says.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |front| name.starts_with(front))
}

fn networkd(editor: &mut Editor<'_>) -> Result<()> {
    // Without the policy of their names they are called as the kernel calls them.
    let names: &[&str] = if is_masked(editor.root(), "/etc/systemd/network", "99-default.link") {
        &["eth0"]
    } else {
        &["ens5", "enp0s3"]
    };
    if !networkd_says(editor.root(), &|text| networkd_by_dhcp(text) && is_for_any(text, names)) {
        editor.write(File::new("/etc/systemd/network/05-dhcp.network", DHCP_NETWORK, WHY))?;
    }
    enable(editor, NETWORKD, "multi-user.target.wants", WHY)?;
    enable(editor, "systemd-networkd.socket", "sockets.target.wants", WHY)
}

/// Source: systemd.network(5). Kind=!* leaves out bridges, tunnels and the like.
const DHCP_NETWORK: &str = "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n";

/// Links a unit of systemd's into a directory of those that are started.
pub(super) fn enable(editor: &mut Editor<'_>, name: &str, wants: &str, why: &str) -> Result<()> {
    let Some(path) = unit(editor.root(), name) else { return Ok(()) };
    if is_enabled(editor.root(), name) {
        return Ok(());
    }
    editor.symlink(&format!("/etc/systemd/system/{wants}/{name}"), &path, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::time::Timestamp;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    /// The files after the edit, and how many warnings there were.
    fn edited(network: Network, files: &[(&str, &[u8])], path: &str) -> (Option<String>, usize, bool) {
        let mut tree = tree(files);
        let system = System { init: Init::Other, init_path: None, network };
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        let mut notes = Notes::default();
        edit(&mut editor, &system, &mut notes).unwrap();
        let text = editor.read(path).unwrap();
        // A second time there is nothing to do.
        edit(&mut editor, &system, &mut Notes::default()).unwrap();
        assert_eq!(editor.read(path).unwrap(), text);
        (text, notes.warnings.len(), is_set_up(editor.root(), &system))
    }

    #[test]
    fn the_book_s_way() {
        let path = "/etc/sysconfig/ifconfig.eth0";
        let tools = [("usr/sbin/dhcpcd", &b""[..]), ("sbin/ifup", b""), ("lib/services/ipv4-static", b"")];
        let mut files = tools.to_vec();
        files.push((&path[1..], b"ONBOOT=yes\nIFACE=eth0\nSERVICE=ipv4-static\nIP=192.168.1.2\n"));
        assert_eq!(edited(Network::Sysconfig, &files, path), (Some(IFCONFIG.into()), 0, true));
        let service = edited(Network::Sysconfig, &files, "/lib/services/dhcpcd").0.unwrap();
        assert!(service.contains("exec /usr/sbin/dhcpcd ${DHCP_START:--b -q} \"$1\""), "{service}");
        let dhcp = b"ONBOOT=yes\nSERVICE=\"dhcpcd\"\nDHCP_START=x\n";
        files[3].1 = dhcp;
        let text = edited(Network::Sysconfig, &files, path).0.unwrap();
        assert_eq!(text.as_bytes(), dhcp);
        assert_eq!(edited(Network::Sysconfig, &[], path).1, 2, "no dhcpcd and no ifup");
        files[0].0 = "sbin/dhclient";
        files.truncate(3);
        assert_eq!(edited(Network::Sysconfig, &files, path), (Some(IFCONFIG_DHCLIENT.into()), 0, true));
        let service = edited(Network::Sysconfig, &files, "/lib/services/dhclient").0.unwrap();
        assert!(service.contains("exec /sbin/dhclient $files ${DHCP_START:--nw} \"$1\""), "{service}");
    }

    #[test]
    fn networkd_s_way() {
        let path = "/etc/systemd/network/05-dhcp.network";
        let unit = ("lib/systemd/system/systemd-networkd.service", &b""[..]);
        let fixed =
            ("etc/systemd/network/10-eth-static.network", &b"[Network]\nAddress=192.168.0.2/24\n"[..]);
        let container = (
            "lib/systemd/network/80-container-host0.network",
            &b"[Match]\nVirtualization=container\n[Network]\nDHCP=yes\n"[..],
        );
        let files = [unit, fixed, container];
        assert_eq!(edited(Network::Networkd, &files, path), (Some(DHCP_NETWORK.into()), 0, true));
        let kernel_s = ("etc/systemd/network/99-default.link", &b"->/dev/null"[..]);
        for (own, more, stays) in [
            ("[Match]\nName=en*\n[Network]\nDHCP = ipv4\n", None, true),
            ("[Match]\nName=eth* en*\n\n[Network]\nDHCP=yes\n", None, true),
            ("[Match]\nType=ether\n[Network]\nDHCP=yes\n", None, true),
            // The name of another machine's interface, and the book's where udev isn't asked.
            ("[Match]\nName=enp3s0\n[Network]\nDHCP=yes\n", None, false),
            ("[Match]\nName=eth0\n[Network]\nDHCP=yes\n", None, false),
            ("[Match]\nName=eth0\n[Network]\nDHCP=yes\n", Some(kernel_s), true),
            ("[Match]\nMACAddress=00:01:02:03:04:05\n[Network]\nDHCP=yes\n", None, false),
        ] {
            let mut files = vec![unit, ("etc/systemd/network/a.network", own.as_bytes())];
            files.extend(more);
            let wanted = (!stays).then(|| DHCP_NETWORK.to_owned());
            assert_eq!(edited(Network::Networkd, &files, path), (wanted, 0, true), "{own}");
        }
    }
}
