//! Growing an image: offline, under this machine's kernel, and in a guest that then lives on it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::judge::{self, Fsck};
use super::mount::Mount;
use super::qemu::Machine;
use super::{Complaint, Verdict, both, must, path, run, scratch, support_file};

/// Makes the image longer and, where there is a partition table, its last partition with it: what a person does after
/// restoring a snapshot to a larger volume. Returns where the root file system is and how long it may become.
pub fn enlarge(image: &Path, len: u64) -> (u64, u64) {
    std::fs::OpenOptions::new().write(true).open(image).unwrap().set_len(len).unwrap();
    let Ok(partitions) = judge::partitions(image) else { return (0, len) };
    let gpt = !partitions[0].uuid.is_empty();
    if gpt {
        must(Command::new("sgdisk").arg("-e").arg(image));
    }
    let number = partitions.len().to_string();
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args(["--no-reread", "--no-tell-kernel", "-N", &number]).arg(image).env("PATH", path());
    let mut child = sfdisk.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b", +\n").unwrap();
    assert!(child.wait().unwrap().success(), "sfdisk did not grow partition {number}");
    judge::sfdisk(image).unwrap();
    let last = judge::partitions(image).unwrap().pop().unwrap();
    (last.offset, last.len)
}

/// `resize2fs` on the unmounted file system. Without force: it has to look freshly checked.
pub fn offline(image: &Path, len: u64) -> Verdict<Fsck> {
    let (offset, room) = enlarge(image, len);
    let place = format!("{}?offset={offset}", image.display());
    let output = run(Command::new("resize2fs").arg(&place).arg(format!("{}K", room / 4096 * 4)));
    if !output.status.success() {
        return Err(Complaint(format!("resize2fs: {}", both(&output))));
    }
    filled(image, offset, room)
}

/// Whether this machine's kernel lets us grow a mounted file system: root in a container may mount and yet not do this.
#[must_use]
pub fn may_grow_here() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let may = u64::from_str_radix(effective, 16).unwrap() >> CAP_SYS_RESOURCE & 1 == 1;
    if !may {
        // No reason to fail: a guest's kernel does the same in `online_in_guest`.
        eprintln!("SKIPPED: growing a loop mount needs CAP_SYS_RESOURCE");
    }
    may
}

/// `resize2fs` on a loop mount: this machine's kernel grows it, and then its directories are used.
pub fn online_here(image: &Path, len: u64) -> Verdict<Fsck> {
    let (offset, room) = enlarge(image, len);
    let mount = Mount::read_write(image, offset);
    let output = run(Command::new("resize2fs").arg(mount.device()).arg(format!("{}K", room / 4096 * 4)));
    if !output.status.success() {
        return Err(Complaint(format!("resize2fs: {}", both(&output))));
    }
    use_directories(mount.path());
    mount.finish()?;
    filled(image, offset, room)
}

/// Boots the image with `kernel` past any boot loader, grows it there and uses it (`guest-grow.sh`); the image keeps it
/// all. The root needs a shell, coreutils and `resize2fs`: any real system.
pub fn online_in_guest(image: &Path, len: u64, kernel: &Path) -> Verdict<Fsck> {
    let (offset, room) = enlarge(image, len);
    let folder = scratch();
    // The script comes on a second disk, so that the image isn't touched by anything but its own kernel.
    let script = folder.path().join("script.img");
    let mut text = std::fs::read(support_file("guest-grow.sh")).unwrap();
    text.resize(1 << 20, b'\n');
    std::fs::write(&script, text).unwrap();
    let partition = if offset == 0 { String::new() } else { format!("p{}", judge::partitions(image)?.len()) };
    let init = "init=/bin/sh -- -c \"mount -t devtmpfs devtmpfs /dev; exec sh /dev/nvme1n1\"";
    let command_line = format!("root=/dev/nvme0n1{partition} rw console=ttyS0 panic=5 {init}");
    let machine = Machine::new(image).disk(&script).kernel(kernel, &command_line).keep_writes();
    let mut guest = machine.start();
    let (outcome, told) =
        guest.wait_for_any(&["GROW-DONE", "GROW-FAILED", "Kernel panic"], Duration::from_secs(600));
    if outcome != 0 {
        return Err(Complaint(format!("growing in the guest failed:\n{told}")));
    }
    guest.wait_for_power_off(Duration::from_secs(120));
    filled(image, offset, room)
}

/// Clean, and as large as its room.
fn filled(image: &Path, offset: u64, room: u64) -> Verdict<Fsck> {
    let fsck = judge::e2fsck(image, offset)?;
    if fsck.blocks * 4096 + (1 << 20) < room {
        return Err(Complaint(format!("{} blocks don't fill {room} bytes", fsck.blocks)));
    }
    Ok(fsck)
}

/// New names in every directory, half of them gone again, and a thousand in the root.
pub fn use_directories(root: &Path) {
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
        let count = if directory == root { 1000 } else { 4 };
        let name = |i| directory.join(format!("a new name, number {i}"));
        for i in 0..count {
            std::fs::write(name(i), format!("{i}")).unwrap();
        }
        for i in (0..count).step_by(2) {
            std::fs::remove_file(name(i)).unwrap();
        }
    }
}
