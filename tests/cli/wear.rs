//! Images in use: booted, grown, written to.

use std::time::Duration;

use crate::raw;
use crate::support::qemu::Machine;
use crate::support::{grow, judge, rootfs, scratch};

#[test]
fn a_real_distribution_boots_to_its_login_prompt() {
    for (variant, prompt) in [("debian-systemd", "login:"), ("lfs-sysv", "login:")] {
        let folder = scratch();
        let archive = rootfs::debian(variant, folder.path());
        let out = folder.path().join("out.img");
        let said = raw(&archive, &out, &["--boot", "none"]);
        let root = said.split(' ').next().unwrap();
        let kit = rootfs::kit("amd64");
        let machine = Machine::new(&out).kernel(&kit.kernel, &format!("{root} rw console=ttyS0 panic=5"));
        if !machine.is_there() {
            return;
        }
        machine.start().wait_for(prompt, Duration::from_secs(300));
    }
}

#[test]
fn an_image_grows_and_wears() {
    if !judge::require(&["resize2fs", "sgdisk", "sfdisk"]) {
        return;
    }
    let folder = scratch();
    let archive = rootfs::debian("lfs-sysv", folder.path());
    let out = folder.path().join("out.img");
    raw(&archive, &out, &["--boot", "none"]);
    let kit = rootfs::kit("amd64");
    if !Machine::new(&out).is_there() {
        return;
    }
    // A thousand times its size, under a running kernel.
    grow::online_in_guest(&out, 1000 << 30, &kit.kernel).unwrap();
    raw(&archive, &out, &["--boot", "none"]);
    grow::offline(&out, 5 << 30).unwrap();
}
