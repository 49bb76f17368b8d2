//! Trees of every shape that people have: each becomes a host, or it is said what won't work.

use std::path::Path;

use crate::host_edits::{PLAIN, cat, tarball};
use crate::support::{judge, scratch};
use crate::{errors, lfs_image};

/// A file of the tree, and its text; one that begins with `->` is a symbolic link.
type Files<'a> = Vec<(&'a str, &'a str)>;

/// Makes a host of a tree for EC2; what it warns of.
#[track_caller]
fn made(files: &Files<'_>, options: &[&str], out: &Path, folder: &Path) -> Vec<String> {
    let archive = tarball(folder, files);
    let mut command = lfs_image();
    let output = command
        .arg("raw")
        .args(PLAIN)
        .args(["--target", "ec2", "--imds-ssh-key"])
        .args(options)
        .arg(archive)
        .arg(out)
        .output()
        .unwrap();
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    if judge::require(&["e2fsck"]) {
        judge::e2fsck(out, 0).unwrap();
    }
    said.lines().filter_map(|line| line.trim().strip_prefix("warning: ")).map(str::to_owned).collect()
}

/// The book's system with sysvinit: what init, the scripts and the services need, as far as it is looked at.
fn book<'a>(merged: bool) -> Files<'a> {
    let mut files = vec![
        (
            "etc/inittab",
            "id:3:initdefault:\nsi::sysinit:/etc/rc.d/init.d/rc S\nl3:3:wait:/etc/rc.d/init.d/rc 3\n",
        ),
        ("etc/rc.d/rc3.d/S20network", "->../init.d/network"),
        ("etc/rc.d/rc3.d/S30sshd", "->../init.d/sshd"),
        ("etc/init.d", "->rc.d/init.d"),
        ("etc/rc.d/init.d/network", "#!/bin/sh\n"),
        ("etc/rc.d/init.d/sshd", "#!/bin/sh\n"),
        ("etc/sysconfig/network", "HOSTNAME=book\n"),
        ("etc/sysconfig/ifconfig.eth0", "ONBOOT=yes\nIFACE=eth0\nSERVICE=ipv4-static\nIP=192.168.1.2\n"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("etc/shadow", "root:!:19000:0:99999:7:::\n"),
        ("etc/fstab", "/dev/sda2 / ext4 defaults 1 1\n/dev/sda1 /boot ext2 defaults 1 2\n"),
        ("etc/ssh/sshd_config", "# defaults\n"),
        ("usr/lib/services/ipv4-static", "#!/bin/sh\n"),
    ];
    let programs = [
        "bash",
        "sh",
        "sfdisk",
        "partx",
        "resize2fs",
        "sshd",
        "ssh-keygen",
        "dhcpcd",
        "ifup",
        "agetty",
        "init",
    ];
    let unmerged = [
        "bin/bash",
        "bin/sh",
        "sbin/sfdisk",
        "usr/sbin/partx",
        "sbin/resize2fs",
        "usr/sbin/sshd",
        "usr/bin/ssh-keygen",
        "sbin/dhcpcd",
        "sbin/ifup",
        "sbin/agetty",
        "sbin/init",
    ];
    let merged_names = [
        "usr/bin/bash",
        "usr/bin/sh",
        "usr/sbin/sfdisk",
        "usr/sbin/partx",
        "usr/sbin/resize2fs",
        "usr/sbin/sshd",
        "usr/bin/ssh-keygen",
        "usr/sbin/dhcpcd",
        "usr/sbin/ifup",
        "usr/sbin/agetty",
        "usr/sbin/init",
    ];
    assert_eq!(programs.len(), unmerged.len());
    if merged {
        files.extend(merged_names.map(|path| (path, "ELF")));
        files.extend([("bin", "->usr/bin"), ("sbin", "->usr/sbin"), ("lib", "->usr/lib")]);
    } else {
        files.retain(|(path, _)| !path.starts_with("usr/lib/services"));
        files.extend(unmerged.map(|path| (path, "ELF")));
        files.push(("lib/services/ipv4-static", "#!/bin/sh\n"));
    }
    files
}

#[test]
fn the_book_s_system_becomes_a_host_merged_or_not() {
    if !judge::require(&["debugfs", "tar"]) {
        return;
    }
    for merged in [true, false] {
        let folder = scratch();
        let out = folder.path().join("out.img");
        let warnings = made(&book(merged), &["--hostname", "lfs"], &out, folder.path());
        assert_eq!(warnings, [""; 0], "merged: {merged}");
        let fstab = cat(&out, "/etc/fstab");
        assert!(fstab.starts_with("UUID=") && fstab.contains("\n#/dev/sda1 /boot ext2"), "{fstab}");
        assert!(cat(&out, "/etc/sysconfig/ifconfig.eth0").contains("SERVICE=\"dhcpcd\""));
        assert_eq!(cat(&out, "/etc/sysconfig/network"), "HOSTNAME=lfs\n");
        let services = if merged { "/usr/lib/services/dhcpcd" } else { "/lib/services/dhcpcd" };
        let dhcpcd = if merged { "/usr/sbin/dhcpcd" } else { "/sbin/dhcpcd" };
        assert!(cat(&out, services).contains(&format!("exec {dhcpcd} ")), "{}", cat(&out, services));
        let inittab = cat(&out, "/etc/inittab");
        for words in [
            "agetty -L ttyS0",
            "/usr/lib/lfs-image/grow",
            "/usr/lib/lfs-image/imds",
            "/usr/lib/lfs-image/host-keys",
        ] {
            assert_eq!(inittab.matches(words).count(), 1, "{words}: {inittab}");
        }
        // sshd without PAM lets nobody into an account that is locked with `!`.
        assert_eq!(cat(&out, "/etc/shadow"), "root:*:19000:0:99999:7:::\n");
    }
}

#[test]
fn what_will_not_work_is_said() {
    if !judge::require(&["debugfs", "tar"]) {
        return;
    }
    let without = |names: &[&str]| -> Files<'static> {
        let gone = |path: &str| names.iter().any(|name| path.rsplit('/').next() == Some(*name));
        book(true).into_iter().filter(|(path, _)| !gone(path)).collect()
    };
    let with =
        |names: &[&str], more: &Files<'static>| -> Files<'static> { [without(names), more.clone()].concat() };
    let busybox: Files<'static> = vec![
        ("bin/busybox", "ELF"),
        ("sbin/init", "->../bin/busybox"),
        ("bin/sh", "->busybox"),
        ("etc/inittab", "::sysinit:/etc/init.d/rcS\ntty1::askfirst:/bin/sh\n"),
        ("etc/passwd", "root::0:0::/root:/bin/sh\n"),
    ];
    let dropbear = vec![
        ("usr/sbin/dropbear", "ELF"),
        ("usr/bin/dropbearkey", "ELF"),
        ("etc/dropbear/dropbear_rsa_host_key", "key"),
    ];
    let systemd: Files<'static> = vec![
        ("usr/lib/systemd/systemd", "ELF"),
        ("usr/lib/systemd/system-generators/systemd-getty-generator", "ELF"),
        ("usr/lib/systemd/system/systemd-networkd.service", "[Unit]\n"),
        ("usr/sbin/init", "->../lib/systemd/systemd"),
        (
            "etc/systemd/network/10-eth-static.network",
            "[Match]\nName=enp2s0\n[Network]\nAddress=192.168.0.2/24\n",
        ),
    ];
    let data: Files<'static> = vec![("data/file", "x")];
    // A tree, and a piece of each warning.
    let cases: [(&str, Files<'static>, &[&str]); 11] = [
        (
            "busybox",
            busybox,
            &[
                "no DHCP client",
                "no login on ttyS0",
                "no sfdisk, no partx, no resize2fs",
                "no sshd and no dropbear",
                "no /bin/bash",
            ],
        ),
        ("no bash", without(&["bash"]), &["no /bin/bash, which is to ask for the launch key"]),
        ("no dhcpcd", without(&["dhcpcd"]), &["no dhcpcd, so the network won't come up"]),
        ("no bootscripts", without(&["ipv4-static", "ifup"]), &["the network isn't set up"]),
        ("no sfdisk", without(&["sfdisk"]), &["no sfdisk in the tree"]),
        ("no getty", without(&["agetty"]), &["neither agetty nor getty is in the tree"]),
        ("no inittab", without(&["inittab"]), &["no login on ttyS0", "grow", "launch key"]),
        ("dropbear", with(&["sshd", "ssh-keygen"], &dropbear), &[]),
        (
            "no root",
            with(&["passwd"], &vec![("etc/passwd", "bin:x:1:1::/:/bin/false\n")]),
            &["/etc/passwd has no line for root"],
        ),
        ("systemd", with(&["init", "inittab", "network", "ifup", "ipv4-static"], &systemd), &[]),
        ("data", data, &["isn't made a host", "no sshd", "no /bin/bash"]),
    ];
    for (name, files, wanted) in cases {
        let folder = scratch();
        let out = folder.path().join("out.img");
        let warnings = made(&files, &[], &out, folder.path());
        for words in wanted {
            assert!(
                warnings.iter().any(|warning| warning.contains(words)),
                "{name}: no {words:?} in {warnings:#?}"
            );
        }
        assert_eq!(warnings.is_empty(), wanted.is_empty(), "{name}: {warnings:#?}");
        match name {
            "dropbear" => {
                let there = judge::debugfs(&out, 0, "ls -p /etc/dropbear").unwrap();
                assert!(!there.contains("dropbear_rsa_host_key"), "{there}");
            }
            "systemd" => {
                let network = cat(&out, "/etc/systemd/network/05-dhcp.network");
                assert!(network.contains("DHCP=yes"), "{network}");
                let wants =
                    judge::debugfs(&out, 0, "ls -p /etc/systemd/system/multi-user.target.wants").unwrap();
                for unit in ["systemd-networkd", "lfs-image-grow", "lfs-image-imds", "lfs-image-host-keys"] {
                    assert!(wants.contains(&format!("/{unit}.service/")), "{unit}: {wants}");
                }
            }
            _ => {}
        }
    }
}
