//! Images in use: booted, grown, written to.

use std::time::Duration;

use crate::raw;
use crate::support::qemu::Machine;
use crate::support::{grow, judge, rootfs, scratch, wear};

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

/// fio and dbench in a guest: the filesystem filled to its last block and emptied, grown while it is written to, and without
/// power in the middle of it all, the journal replayed by e2fsck and by the kernel. Clean after each.
#[test]
fn a_filesystem_wears_well() {
    if !judge::require(&["e2fsck", "sgdisk", "sfdisk", "dumpe2fs", "mmdebstrap"]) {
        return;
    }
    let folder = scratch();
    let archive = rootfs::debian("wear", folder.path());
    let out = folder.path().join("out.img");
    raw(&archive, &out, &["--boot", "none", "--size", "640M"]);
    let kit = rootfs::kit("amd64");
    if !Machine::new(&out).is_there() {
        return;
    }
    for phase in ["stress", "fill"] {
        wear::phase(&out, phase, &kit.kernel).unwrap();
    }
    grow::enlarge(&out, 3 << 30);
    let grown = wear::phase(&out, "grow", &kit.kernel).unwrap();
    assert!(grown.blocks > 700_000, "{grown:?}");
    // More of them where there is time: `LFS_IMAGE_CUTS=20`.
    let cuts = std::env::var("LFS_IMAGE_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut replays = 0;
    for n in 0..cuts {
        let needed = wear::cut(&out, &kit.kernel, Duration::from_millis(500 + 700 * n));
        if needed {
            replays += 1;
            wear::replayed_by_e2fsck(&out).unwrap();
        }
        wear::phase(&out, "replay", &kit.kernel).unwrap();
    }
    assert!(replays > 0, "no cut came in the middle of anything");
    eprintln!("{replays} journals of {cuts} cuts were replayed twice");
}
