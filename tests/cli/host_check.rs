//! What `check` finds in real trees with one thing broken each, and in trees with secrets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{both, judge, must, rootfs, scratch};
use crate::{lfs_image, raw};

/// The findings of `check --json` but its notes, as `severity id`; and its exit code.
#[track_caller]
fn findings(file: &Path, options: &[&str]) -> (BTreeSet<String>, i32) {
    let output = lfs_image().args(["check", "--json"]).args(options).arg(file).output().unwrap();
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", both(&output)));
    let all = said["findings"].as_array().unwrap();
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let worth = all.iter().filter(|finding| finding["severity"] != "note");
    let worth =
        worth.map(|finding| format!("{} {}", text(finding, "severity"), text(finding, "id"))).collect();
    (worth, output.status.code().unwrap())
}

/// Each tree with one thing broken: the right finding, and no other.
#[track_caller]
fn table(tree: &Path, options: &[&str], cases: &[(&[&str], &[&str])]) {
    for (broken, wanted) in cases {
        let (found, code) = findings(tree, &[options, broken].concat());
        let wanted: BTreeSet<String> = wanted.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(found, wanted, "{broken:?}");
        let fatal = wanted.iter().any(|id| id.starts_with("fatal"));
        assert_eq!(code, i32::from(fatal), "{broken:?}");
    }
}

/// A file of a tarball's, changed.
fn changed(archive: &Path, path: &str, to: &Path, change: impl Fn(&str) -> String) {
    let text = must(Command::new("tar").arg("-xOf").arg(archive).arg(path));
    std::fs::write(to, change(&text)).unwrap();
}

/// The release of the kernel in a tarball.
fn release(archive: &Path) -> String {
    let names = must(Command::new("tar").arg("-tf").arg(archive).arg("--wildcards").arg("./boot/config-*"));
    names.lines().next().unwrap().trim().trim_start_matches("./boot/config-").to_owned()
}

#[test]
fn an_lfs_tree_with_one_thing_broken() {
    if !judge::require(&["mmdebstrap", "tar"]) {
        return;
    }
    let folder = scratch();
    let tree = rootfs::debian("lfs-sysv", folder.path());
    let release = release(&tree);
    let config = format!("/boot/config-{release}");
    let at = |name: &str| folder.path().join(name);
    let copy = |name: &str, to: &str| format!("{}:{to}", at(name).display());
    let without = |name: &str, symbol: &str| {
        changed(&tree, &format!(".{config}"), &at(name), |text| {
            text.lines().filter(|line| !line.starts_with(symbol)).map(|line| format!("{line}\n")).collect()
        });
        copy(name, &config)
    };
    let (no_nvme, no_ena) = (without("a", "CONFIG_BLK_DEV_NVME="), without("b", "CONFIG_ENA_ETHERNET="));
    let no_devtmpfs = without("c", "CONFIG_DEVTMPFS=");
    changed(&tree, &format!(".{config}"), &at("d"), |text| text.replace("BLK_DEV_NVME=y", "BLK_DEV_NVME=m"));
    let nvme_module = copy("d", &config);
    std::fs::write(at("fstab"), "/dev/sdb1 /data ext4 defaults 0 2\n").unwrap();
    let fstab = copy("fstab", "/etc/fstab");
    std::fs::write(at("sshd_config"), "PermitRootLogin no\n").unwrap();
    let no_root_login = copy("sshd_config", "/etc/ssh/sshd_config");
    std::fs::write(at("passwd"), "bin:x:1:1:bin:/dev/null:/usr/bin/false\n").unwrap();
    let no_root = copy("passwd", "/etc/passwd");
    std::fs::write(at("data"), "tmpfs /data tmpfs defaults 0 0\n").unwrap();
    let data = copy("data", "/etc/fstab");
    let kernel = format!("/boot/vmlinuz-{release}-lfs-12.0");
    let ena = format!("/usr/lib/modules/{release}/kernel/drivers/net/ethernet/amazon/ena/ena.ko");
    let modules = format!("/usr/lib/modules/{release}");
    table(
        &tree,
        &["--for", "ec2", "--imds-ssh-key"],
        &[
            (&[], &[]),
            (&["--remove", "/usr/sbin/dhcpcd"], &["fatal no-dhcp-client"]),
            (&["--remove", &kernel], &["fatal kernel-missing"]),
            (&["--remove", "/usr/sbin/sshd"], &["warning no-ssh"]),
            (&["--remove", "/usr/sbin/init"], &["fatal init-missing"]),
            (&["--remove", "/usr/lib/x86_64-linux-gnu/libc.so.6"], &["fatal library-missing"]),
            (&["--remove", "/usr/lib64/ld-linux-x86-64.so.2"], &["fatal interpreter-missing"]),
            (&["--copy", &fstab, "--fstab", "root"], &["fatal fstab-missing-device"]),
            // The line is commented out.
            (&["--copy", &fstab], &[]),
            (&["--copy", &no_nvme], &["fatal driver-missing"]),
            (&["--copy", &nvme_module], &["fatal driver-missing"]),
            (&["--copy", &no_ena], &["fatal driver-missing"]),
            (&["--copy", &no_devtmpfs], &["fatal driver-missing"]),
            (&["--remove", &ena], &["fatal driver-missing"]),
            // The lists of modules say enough.
            (&["--remove", &config], &[]),
            (&["--remove", &config, "--remove", &modules], &["warning config-unknown"]),
            (&["--remove", "/lib/systemd/systemd-udevd"], &["warning modules-unloaded"]),
            (&["--remove", "/proc", "--nodes=no"], &["fatal mount-point"]),
            (&["--network=no"], &["fatal network-not-set-up"]),
            (&["--remove", "/etc/rc.d/rc3.d/S30sshd"], &["warning sshd-not-started"]),
            (&["--remove", "/etc/rc.d/rc3.d/S20network"], &["fatal network-not-started"]),
            (&["--remove", "/usr/bin/bash"], &["warning no-ssh"]),
            (&["--remove", "/dev", "--nodes=no"], &["fatal mount-point", "warning no-console-node"]),
            (&["--copy", &no_root_login], &["warning no-ssh"]),
            (&["--copy", &no_root_login, "--lock-root"], &["fatal no-way-in"]),
            (&["--copy", &no_root_login, "--user", "me"], &[]),
            (&["--copy", &no_root], &["warning no-root", "fatal no-way-in"]),
            (&["--copy", &data, "--fstab", "keep"], &["warning fstab-no-directory", "warning fstab-no-root"]),
            (&["--remove", "/etc/fstab", "--fstab", "keep"], &["warning fstab-missing"]),
            (
                &["--remove", "/etc/inittab"],
                &["fatal network-not-set-up", "fatal no-way-in", "warning init-unknown"],
            ),
        ],
    );
    table(&tree, &["--for", "ec2"], &[(&[], &["warning no-ssh"]), (&["--lock-root"], &["fatal no-way-in"])]);
}

#[test]
fn a_debian_tree_for_each_target() {
    if !judge::require(&["mmdebstrap", "tar"]) {
        return;
    }
    let folder = scratch();
    let tree = rootfs::debian("debian-systemd", folder.path());
    let release = release(&tree);
    let config = format!("/boot/config-{release}");
    let changed_config = folder.path().join("config");
    changed(&tree, &format!(".{config}"), &changed_config, |text| {
        text.replace("CONFIG_BLK_DEV_NVME=y", "# CONFIG_BLK_DEV_NVME is not set")
    });
    let no_nvme = format!("{}:{config}", changed_config.display());
    let initrd = format!("/boot/initrd.img-{release}");
    table(&tree, &["--for", "qemu"], &[(&[], &[]), (&["--copy", &no_nvme], &[])]);
    // Its drivers for Xen are modules, which are in the initial RAM disk.
    table(&tree, &["--for", "xen"], &[(&[], &[]), (&["--remove", &initrd], &["fatal driver-missing"])]);
    table(
        &tree,
        &["--for", "ec2", "--imds-ssh-key"],
        &[
            (&[], &[]),
            (&["--copy", &no_nvme], &["fatal driver-missing"]),
            (&["--remove", "/usr/lib/systemd/systemd"], &["fatal init-missing"]),
        ],
    );
    // An image is judged as it is, read by another reader.
    let out = folder.path().join("out.img");
    raw(&tree, &out, &["--target", "ec2", "--imds-ssh-key"]);
    table(&out, &["--for", "ec2"], &[(&[], &[])]);
    raw(&tree, &out, &[]);
    let (found, code) = findings(&out, &["--for", "ec2"]);
    assert_eq!((found.contains("fatal network-not-set-up"), code), (true, 1), "{found:?}");
    assert_eq!(findings(&out, &["--for", "ec2", "--force"]).1, 0);
}

/// Paths, and what is in the files: each with a word that is nowhere else.
fn secrets() -> Vec<(&'static str, String)> {
    let key = |kind: &str, word: &str| {
        format!("-----BEGIN {kind}PRIVATE KEY-----\n{word}\n-----END {kind}PRIVATE KEY-----\n")
    };
    vec![
        ("root/.ssh/id_ed25519", key("OPENSSH ", "CANARY-01")),
        ("etc/ssl/private/server.key", key("", "CANARY-02")),
        ("etc/ssh/ssh_host_rsa_key", key("RSA ", "CANARY-03")),
        ("root/.ssh/authorized_keys", "ssh-ed25519 AAAA CANARY-04\n".into()),
        ("etc/shadow", "root:$6$CANARY-05$x:19000:0:99999:7:::\nbin:*:19000::::::\n".into()),
        ("etc/shadow-", "root:$6$CANARY-06$x:19000:0:99999:7:::\n".into()),
        ("root/.bash_history", "mysql -p CANARY-07\n".into()),
        ("home/me/.zsh_history", ": 1:0;CANARY-08\n".into()),
        ("root/.aws/credentials", "[default]\naws_access_key_id = CANARY-09\n".into()),
        ("home/me/.netrc", "machine x password CANARY-10\n".into()),
        ("opt/app/settings", "token: ghp_0123456789abcdefghijABCDEFGHIJ012345 CANARY-11\n".into()),
        ("etc/app/env", "AWS_KEY=AKIAABCDEFGHIJKLMNOP CANARY-12\n".into()),
        ("etc/machine-id", "CANARY-130123456789abcdef01234567\n".into()),
        ("var/lib/dhcpcd/eth0.lease", "CANARY-14".into()),
        ("var/log/auth.log", "Accepted publickey for root from 203.0.113.7 CANARY-15\n".into()),
        ("var/log/journal/0123/system.journal", "LPKSHHRH CANARY-16".into()),
        ("var/lib/systemd/random-seed", "CANARY-17".into()),
        ("root/.ssh/known_hosts", "build.example.org CANARY-18\n".into()),
        (
            "srv/gcp.json",
            "{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nCANARY-19\\n-----END\"}\n".into(),
        ),
        ("etc/dropbear/dropbear_rsa_host_key", "\0\0\0\u{7}ssh-rsa CANARY-20".into()),
        ("etc/wireguard/wg0.conf", format!("PrivateKey = {}=\n# CANARY-21\n", "k".repeat(43))),
        ("srv/app/.git/config", "url = https://me:hunter2@example.org/ CANARY-22\n".into()),
        ("var/backups/shadow.bak", format!("me:$y$j9T$ab$cd${}:1:: CANARY-23\n", "h".repeat(43))),
        ("var/lib/dbus/machine-id", "CANARY-240123456789abcdef01234567\n".into()),
        ("var/mail/root", "From x CANARY-25\n".into()),
        ("root/.local/state/bash/history", "CANARY-26\n".into()),
        ("root/store.p12", "0\u{1} CANARY-27".into()),
        ("etc/shadow.old", "me:!$6$CANARY-28$x:19000:0:99999:7:::\n".into()),
        ("swapfile", format!("{:4086}SWAPSPACE2 CANARY-29", "")),
        ("usr/local/etc/app", "xoxb-1234567890-abcdefghij CANARY-30\n".into()),
        (
            "etc/app/deploy.sh",
            "export AWS_SECRET_ACCESS_KEY='0123456789abcdefghijABCDEFGHIJ0123456789' # CANARY-31\n".into(),
        ),
        ("root/.npmrc", "//registry/:_authToken=CANARY-32\n".into()),
        ("var/lib/systemd/coredump/core.x", "CANARY-33".into()),
    ]
}

#[test]
fn nothing_secret_is_left_after_a_scrub() {
    if !judge::require(&["tar", "e2fsck"]) {
        return;
    }
    let folder = scratch();
    let top = folder.path().join("tree");
    let secrets = secrets();
    for (path, text) in &secrets {
        let path = top.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::write(top.join("etc/motd"), "CANARY-FINE\n").unwrap();
    // Another name of a secret is one, too.
    std::fs::hard_link(top.join("home/me/.netrc"), top.join("srv/innocent")).unwrap();
    let archive: PathBuf = folder.path().join("tree.tar");
    must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&top).arg("."));

    // Each is found where it is, in the archive and in the image.
    let out = folder.path().join("out.img");
    let options = ["--table", "none", "--size", "64M", "--boot", "none"];
    raw(&archive, &out, &options);
    let mut wanted: Vec<String> = secrets.iter().map(|(path, _)| format!("/{path}")).collect();
    wanted.sort();
    let innocent = "/srv/innocent".to_owned();
    for file in [&archive, &out] {
        let mut command = lfs_image();
        let output =
            command.args(["check", "--json", "--for", "ec2", "--public"]).arg(file).output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = said["findings"].as_array().unwrap();
        let mends = |f: &&serde_json::Value| f["mend"].as_str().unwrap().contains("--scrub");
        let mut found: Vec<String> =
            all.iter().filter(mends).map(|f| f["path"].as_str().unwrap().to_owned()).collect();
        found.sort();
        let other_name = found.iter().position(|path| *path == innocent).map(|at| found.remove(at));
        assert!(other_name.is_some(), "{}", file.display());
        assert_eq!(found, wanted, "{}", file.display());
        assert!(all.iter().any(|finding| finding["id"] == "licences"));
    }
    let words = |image: &Path| {
        let bytes = std::fs::read(image).unwrap();
        let word = b"CANARY-";
        bytes
            .windows(word.len() + 2)
            .filter(|w| w.starts_with(word))
            .map(|w| w[7..].to_vec())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(words(&out).len(), secrets.len() + 1, "the search finds what is there");

    let mut scrub = options.to_vec();
    scrub.push("--scrub");
    raw(&archive, &out, &scrub);
    judge::e2fsck(&out, 0).unwrap();
    assert_eq!(words(&out), BTreeSet::from([b"FI".to_vec()]));
    assert_eq!(
        judge::debugfs(&out, 0, "cat /etc/shadow").unwrap().lines().next(),
        Some("root:*:19000:0:99999:7:::")
    );
    let output = lfs_image().args(["check", "--for", "ec2", "--public"]).arg(&out).output().unwrap();
    assert!(!both(&output).contains("--scrub"), "{}", both(&output));
    let name = ["check", "--for", "ec2", "--public", "--name", "LFS 12.0"];
    let output = lfs_image().args(name).arg(&out).output().unwrap();
    assert!(both(&output).contains("Linux From Scratch project"), "{}", both(&output));
}
