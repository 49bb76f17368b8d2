//! How to start an image, as `inspect` says it: what it prints is run.

use std::path::Path;
use std::time::Duration;

use crate::support::qemu::Guest;
use crate::support::rootfs::Tiny;
use crate::support::{judge, must, scratch};
use crate::{fixture, lfs_image, raw};

/// What `inspect` prints below the first heading that begins so, as it is printed.
#[track_caller]
fn below(text: &str, heading: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(heading));
    lines.next().unwrap_or_else(|| panic!("no {heading:?} in:\n{text}"));
    lines.take_while(|line| line.starts_with("  ")).map(|line| format!("{line}\n")).collect()
}

/// Starts a machine with the command line below a heading; it comes up.
#[track_caller]
fn starts(text: &str, heading: &str, firmware: &str) {
    let line = below(text, heading);
    let mut guest = Guest::of_shell(line.trim());
    guest.wait_for("TINY-ROOT-UP", Duration::from_secs(180));
    guest.wait_for(firmware, Duration::from_secs(60));
}

fn json(file: &Path) -> serde_json::Value {
    serde_json::from_str(&must(lfs_image().args(["--json", "inspect"]).arg(file))).unwrap()
}

/// What there is to run: (firmware, program) of QEMU, (guest, by) of Xen.
fn ways(said: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let list = |name: &str| said["run"][name].as_array().cloned().unwrap_or_default();
    let qemu = list("qemu").into_iter().map(|q| (text(&q["firmware"]), text(&q["command"][0])));
    let xen = list("xen").into_iter().map(|x| (text(&x["guest"]), text(&x["by"])));
    qemu.chain(xen).collect()
}

#[test]
fn a_disk_for_both_firmwares_starts_as_inspect_says() {
    if !judge::require(&["qemu-system-x86_64"]) {
        return;
    }
    let folder = scratch();
    // A name that shells and QEMU would take apart.
    let out = folder.path().join("a disk, both's.img");
    let tiny = Tiny::new("amd64").grub("bookworm", "i386-pc").grub("bookworm", "x86_64-efi");
    let archive = tiny.make(folder.path());
    raw(&archive, &out, &["--size", "512M"]);
    let said = json(&out);
    let (pc, xen) =
        ("qemu-system-x86_64".to_owned(), |guest: &str, by: &str| (guest.to_owned(), by.to_owned()));
    let expected = [
        ("bios".to_owned(), pc.clone()),
        ("uefi".to_owned(), pc),
        xen("hvm", "bios"),
        xen("hvm", "uefi"),
        xen("pv", "pygrub"),
        xen("pvh", "pvgrub2"),
    ];
    assert_eq!(ways(&said), expected);
    assert_eq!(ways(&json(&archive)), expected, "what an archive would become starts no other way");
    let text = must(lfs_image().arg("inspect").arg(&out));
    let hvm = below(&text, "xl.cfg, HVM guest by BIOS");
    let of_json = said["run"]["xen"][0]["xl_cfg"].as_str().unwrap();
    assert_eq!(hvm.lines().map(str::trim_start).collect::<Vec<_>>(), of_json.lines().collect::<Vec<_>>());
    assert!(
        hvm.contains(&format!("disk = [ \"format=raw, vdev=xvda, access=rw, target={}\" ]", out.display())),
        "{hvm}"
    );
    assert!(hvm.contains("  name = \"a_disk__both_s\"\n  type = \"hvm\"\n  firmware = \"bios\"\n"), "{hvm}");
    starts(&text, "QEMU, BIOS", "firmware: BIOS");
    starts(&text, "QEMU, UEFI", "firmware: UEFI");
}

#[test]
fn an_arm64_disk_starts_as_inspect_says() {
    if !judge::require(&["qemu-system-aarch64"]) {
        return;
    }
    let folder = scratch();
    let out = folder.path().join("out.img");
    raw(&Tiny::new("arm64").make(folder.path()), &out, &["--size", "512M"]);
    assert_eq!(ways(&json(&out)), [("uefi".to_owned(), "qemu-system-aarch64".to_owned())]);
    let text = must(lfs_image().arg("inspect").arg(&out));
    assert!(!text.contains("xl.cfg"), "{text}");
    starts(&text, "QEMU, UEFI, 64-bit ARM", "firmware: UEFI");
}

#[test]
fn own_loaders_need_no_grub_cfg_and_get_no_pygrub() {
    let folder = scratch();
    let out = folder.path().join("out.img");
    let archive = Tiny::new("amd64").make(folder.path());
    raw(&archive, &out, &["--table", "mbr", "--size", "256M"]);
    let expected =
        [("bios".to_owned(), "qemu-system-x86_64".to_owned()), ("hvm".to_owned(), "bios".to_owned())];
    assert_eq!(ways(&json(&out)), expected);
}

#[test]
fn what_nothing_starts_is_not_run() {
    let folder = scratch();
    for table in ["gpt", "none"] {
        let out = folder.path().join(table);
        raw(&fixture("gnu-posix.tar"), &out, &["--table", table, "--boot", "none", "--size", "64M"]);
        assert!(json(&out)["run"].is_null());
    }
    assert!(json(&fixture("gnu-posix.tar"))["run"].is_null());
}
