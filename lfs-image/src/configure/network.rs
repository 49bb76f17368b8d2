//! An address by DHCP on the first network interface, in the way of the tree.
//!
//! ```text
//! Linux From Scratch   /etc/sysconfig/ifconfig.eth0 with SERVICE="dhcpcd", /lib/services/dhcpcd
//! systemd-networkd     /etc/systemd/network/05-dhcp.network, and the service is enabled
//! ifupdown             /etc/network/interfaces
//! NetworkManager       nothing: it does so by itself
//! ```

use super::Notes;
use super::system::{Init, Network, System, is_enabled, program, unit};
use crate::error::Result;
use crate::tree::Root;
use crate::tree::edit::{Editor, File};

const WHY: &str = "the first network interface gets its address by DHCP";

/// Programs that ask for an address.
const CLIENTS: [&str; 4] = ["dhcpcd", "dhclient", "udhcpc", "pump"];

/// What the kernel has to be told so that the first interface is called eth0, where files name it.
pub(super) fn kernel_argument(system: &System) -> Option<&'static str> {
    matches!(system.network, Network::Sysconfig | Network::Ifupdown).then_some("net.ifnames=0")
}

/// Whether the tree has what it takes to ask for an address.
pub(crate) fn has_client(root: Root<'_>, system: &System) -> bool {
    match system.network {
        Network::Networkd | Network::Manager => true,
        Network::Sysconfig => program(root, "dhcpcd").is_some() || program(root, "dhclient").is_some(),
        Network::Ifupdown | Network::Unknown => CLIENTS.iter().any(|name| program(root, name).is_some()),
    }
}

/// Whether an interface asks for an address by what the tree says now.
pub(crate) fn is_set_up(root: Root<'_>, system: &System) -> bool {
    let says = |dir: &str, suffix: &[u8], test: &dyn Fn(&str) -> bool| {
        root.names(dir).into_iter().filter(|name| name.ends_with(suffix)).any(|name| {
            let path = format!("{dir}/{}", String::from_utf8_lossy(name));
            text(root, &path).is_some_and(|text| test(&text))
        })
    };
    match system.network {
        Network::Sysconfig => root.names("/etc/sysconfig").into_iter().any(|name| {
            let path = format!("/etc/sysconfig/{}", String::from_utf8_lossy(name));
            name.starts_with(b"ifconfig.") && text(root, &path).is_some_and(|text| by_dhcp(&text))
        }),
        Network::Networkd => ["/etc/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"]
            .iter()
            .any(|dir| says(dir, b".network", &|text| networkd_by_dhcp(text) && !is_for_containers(text))),
        Network::Ifupdown => {
            text(root, "/etc/network/interfaces").is_some_and(|text| ifupdown_by_dhcp(&text))
                || says("/etc/network/interfaces.d", b"", &ifupdown_by_dhcp)
        }
        Network::Manager => true,
        Network::Unknown => false,
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
        Network::Ifupdown => ifupdown(editor),
        Network::Manager => Ok(()),
        Network::Unknown => {
            notes.warnings.push(
                "the network isn't set up: there is none of LFS's network scripts, systemd-networkd, ifupdown, NetworkManager"
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
    let path = "/etc/sysconfig/ifconfig.eth0";
    if !editor.read(path)?.is_some_and(|text| by_dhcp(&text)) {
        editor.write(File::new(path, IFCONFIG, WHY))?;
    }
    let services = ["/lib/services", "/usr/lib/services"].into_iter().find(|dir| editor.exists(dir));
    if let Some(dhcpcd) = program(editor.root(), "dhcpcd")
        && !editor.exists("/lib/services/dhcpcd")
    {
        let path = format!("{}/dhcpcd", services.unwrap_or("/lib/services"));
        let script = DHCPCD.replace("@dhcpcd@", &dhcpcd);
        editor.write(File::new(&path, &script, "ifup calls it for SERVICE=\"dhcpcd\"").mode(0o754))?;
    }
    if program(editor.root(), "ifup").is_none() {
        notes.warnings.push(
            "there is no ifup to read /etc/sysconfig/ifconfig.eth0 (it comes with LFS-Bootscripts)".into(),
        );
    }
    Ok(())
}

/// Source: the book's General Network Configuration, and the dhcpcd page of its sequel.
const IFCONFIG: &str =
    "ONBOOT=\"yes\"\nIFACE=\"eth0\"\nSERVICE=\"dhcpcd\"\nDHCP_START=\"-b -q\"\nDHCP_STOP=\"-k\"\n";

/// The service of the book's network scripts, which call it with an interface, and `up` or `down`.
const DHCPCD: &str = "\
#!/bin/sh
# dhcpcd for ifup and ifdown: called with an interface, and up or down. Written by lfs-image.
. \"${IFCONFIG:-/etc/sysconfig/ifconfig.$1}\"
case $2 in
up) exec @dhcpcd@ ${DHCP_START:--b -q} \"$1\" ;;
down) exec @dhcpcd@ ${DHCP_STOP:--k} \"$1\" ;;
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

fn networkd(editor: &mut Editor<'_>) -> Result<()> {
    let system = System { init: Init::Systemd, init_path: None, network: Network::Networkd };
    if !is_set_up(editor.root(), &system) {
        editor.write(File::new("/etc/systemd/network/05-dhcp.network", DHCP_NETWORK, WHY))?;
    }
    enable(editor, "systemd-networkd.service", "multi-user.target.wants", WHY)?;
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

/// Whether any interface is configured by DHCP.
fn ifupdown_by_dhcp(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(words[..], ["iface", name, "inet", "dhcp", ..] if name != "lo")
    })
}

fn ifupdown(editor: &mut Editor<'_>) -> Result<()> {
    let system = System { init: Init::Other, init_path: None, network: Network::Ifupdown };
    if is_set_up(editor.root(), &system) {
        return Ok(());
    }
    let path = "/etc/network/interfaces";
    let mut text = editor.read(path)?.unwrap_or_else(|| "auto lo\niface lo inet loopback\n".to_owned());
    // What eth0 was configured by is in the way.
    let mut ours = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["iface", name, ..] => ours = name == "eth0",
            ["auto" | "mapping" | "source" | "source-directory", ..] => ours = false,
            [first, ..] if first.starts_with("allow-") => ours = false,
            _ => {}
        }
        lines.push(if ours && !line.trim().is_empty() { format!("#{line}") } else { line.to_owned() });
    }
    let has_auto = lines.iter().any(|line| {
        let mut words = line.split_ascii_whitespace();
        matches!(words.next(), Some("auto" | "allow-hotplug")) && words.any(|word| word == "eth0")
    });
    if !has_auto {
        lines.push("\nauto eth0".to_owned());
    }
    lines.push("iface eth0 inet dhcp".to_owned());
    text = lines.join("\n") + "\n";
    editor.write(File::new(path, &text, WHY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoStore;
    use crate::raw::time::Timestamp;
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
        let own = ("etc/systemd/network/a.network", &b"[Match]\nName=en*\n[Network]\nDHCP = ipv4\n"[..]);
        assert_eq!(edited(Network::Networkd, &[unit, own], path), (None, 0, true));
    }

    #[test]
    fn ifupdown_s_way() {
        let path = "/etc/network/interfaces";
        let client = ("sbin/dhclient", &b""[..]);
        let old = b"auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet static\n  address 10.0.0.1/8\n";
        let (text, warnings, set_up) = edited(Network::Ifupdown, &[client, (&path[1..], old)], path);
        assert_eq!(
            text.unwrap(),
            "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\n#iface eth0 inet static\n#  address 10.0.0.1/8\niface eth0 inet dhcp\n"
        );
        assert_eq!((warnings, set_up), (0, true));
        let (text, warnings, _) = edited(Network::Ifupdown, &[], path);
        assert!(text.unwrap().ends_with("\nauto eth0\niface eth0 inet dhcp\n"));
        assert_eq!(warnings, 1);
    }
}
