//! Hosts made of tarballs, as EC2 would start them: an NVMe disk larger than the image, an address by DHCP, instance
//! metadata behind 169.254.169.254, and nobody at the console.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::raw;
use crate::support::qemu::{Guest, Machine};
use crate::support::{both, judge, must, rootfs, run, scratch, support_file};

const GIB: u64 = 1 << 30;

/// An instance: its disk, its metadata, and the key that it is launched with.
struct Instance {
    folder: PathBuf,
    disk: PathBuf,
    port: u16,
}

impl Instance {
    /// A copy of an image on a larger volume, launched with a key.
    fn launch(folder: &Path, name: &str, image: &Path, key: &Path) -> Self {
        let folder = folder.join(name);
        let metadata = folder.join("imds/meta-data");
        std::fs::create_dir_all(metadata.join("public-keys/0")).unwrap();
        std::fs::write(metadata.join("instance-id"), format!("i-{name}")).unwrap();
        std::fs::copy(key.with_extension("pub"), metadata.join("public-keys/0/openssh-key")).unwrap();
        std::fs::write(folder.join("imds/user-data"), "#!/bin/sh\necho ran >>/root/user-data-ran\n").unwrap();
        // QEMU's option takes a command without arguments, as far as commas and spaces go.
        let server = folder.join("imds-server");
        let script = support_file("imds.py");
        let text = format!("#!/bin/sh\nexec python3 '{}' '{}/imds'\n", script.display(), folder.display());
        std::fs::write(&server, text).unwrap();
        must(Command::new("chmod").arg("+x").arg(&server));
        let disk = folder.join("disk.img");
        must(Command::new("cp").arg("--sparse=always").arg(image).arg(&disk));
        std::fs::File::options().write(true).open(&disk).unwrap().set_len(3 * GIB).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, disk, port }
    }

    fn boot(&self) -> Guest {
        // The metadata's address has to be inside of the network, and the guest's own must not be link-local.
        let net = format!(
            "user,id=n0,net=169.254.0.0/15,host=169.255.2.2,dns=169.255.2.3,dhcpstart=169.255.2.15,\
             hostfwd=tcp:127.0.0.1:{}-:22,guestfwd=tcp:169.254.169.254:80-cmd:{}/imds-server",
            self.port,
            self.folder.display()
        );
        let machine = Machine::new(&self.disk).keep_writes();
        machine.extra(&["-netdev", &net, "-device", "virtio-net-pci,netdev=n0"]).start()
    }

    fn ssh(&self, key: &Path, command: &str) -> Output {
        self.ssh_as("root", key, command)
    }

    fn ssh_as(&self, user: &str, key: &Path, command: &str) -> Output {
        let port = self.port.to_string();
        let options = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            "-p",
            &port,
        ];
        run(Command::new("ssh")
            .arg("-i")
            .arg(key)
            .args(options)
            .arg(format!("{user}@127.0.0.1"))
            .arg(command))
    }

    /// What a command prints, once the key lets somebody in.
    #[track_caller]
    fn ask(&self, key: &Path, command: &str) -> String {
        self.ask_as("root", key, command)
    }

    #[track_caller]
    fn ask_as(&self, user: &str, key: &Path, command: &str) -> String {
        // A minute where the machine has nothing else to do.
        let until = Instant::now() + Duration::from_secs(600);
        loop {
            let output = self.ssh_as(user, key, command);
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            assert!(Instant::now() < until, "nobody gets in: {}", both(&output));
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// Switches it off; what its console said.
    fn switch_off(&self, key: &Path, guest: Guest) -> String {
        let _ = self.ssh(key, "sync; nohup sh -c 'sleep 1; poweroff' >/dev/null 2>&1 &");
        guest.wait_for_power_off(Duration::from_secs(120))
    }

    fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("imds/log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

fn key(folder: &Path, name: &str) -> PathBuf {
    let key = folder.join(name);
    must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    key
}

/// What must stay as it is from one boot to the next, as text.
const STATE: &str = "cat /etc/ssh/ssh_host_*_key.pub; cat /root/.ssh/authorized_keys /root/user-data-ran; \
                     cat /var/lib/lfs-image/*; cat /sys/class/block/nvme0n1p*/size; cat /proc/cmdline; \
                     cd / && find etc root usr/lib/lfs-image -xdev -type f ! -name 'resolv.conf*' ! -name adjtime \
                     -exec md5sum {} + | sort; find etc -type l | sort";

/// A kind of system to make a host of.
struct Kind {
    variant: &'static str,
    hostname: &'static str,
    /// The partition table, which first boots grow.
    table: &'static str,
    /// Waits until the boot is through; prints what failed.
    failed: &'static str,
    /// What its scripts say on the console when they fail.
    complaint: &'static str,
}

/// Boots two copies of an image, and one of them twice.
fn is_a_host(kind: &Kind) {
    let Kind { hostname, failed, .. } = *kind;
    if !judge::require(&["mmdebstrap", "ssh", "ssh-keygen", "python3", "sgdisk", "sfdisk", "e2fsck"]) {
        return;
    }
    let folder = scratch();
    let archive = rootfs::debian(kind.variant, folder.path());
    let image = folder.path().join("out.img");
    let options =
        ["--target", "ec2", "--imds-ssh-key", "--user-data", "--hostname", hostname, "--table", kind.table];
    raw(&archive, &image, &options);
    if !Machine::new(&image).is_there() {
        return;
    }
    let (mine, other) = (key(folder.path(), "mine"), key(folder.path(), "other"));
    let first = Instance::launch(folder.path(), "1", &image, &mine);
    let second = Instance::launch(folder.path(), "2", &image, &mine);

    let wait = format!("{failed}; until [ -e /root/user-data-ran ]; do sleep 1; done");
    // One after the other: only so many machines may run at a time.
    let state = [&first, &second].map(|instance| {
        let guest = instance.boot();
        // Everything has been done that is to be done, and nothing failed.
        assert_eq!(instance.ask(&mine, &wait), "");
        assert_eq!(instance.ssh(&other, "true").status.code(), Some(255), "another key lets nobody in");
        assert_eq!(instance.ask(&mine, "hostname").trim(), hostname);
        let size: u64 = instance.ask(&mine, "df -B1 --output=size / | tail -n 1").trim().parse().unwrap();
        assert!(size > 5 * GIB / 2, "the root filesystem has {size} bytes on a disk of 3 GiB");
        let requests = instance.requests();
        assert_eq!(requests.first().map(String::as_str), Some("PUT /latest/api/token 200"), "{requests:?}");
        assert!(requests.contains(&"GET /latest/meta-data/public-keys/0/openssh-key 200".to_owned()));
        assert!(requests.iter().all(|request| !request.ends_with("401")), "{requests:?}");
        let state = instance.ask(&mine, STATE);
        let id = instance.ask(&mine, "cat /etc/machine-id 2>/dev/null; true");
        let console = instance.switch_off(&mine, guest);
        let complaints: Vec<&str> = console.lines().filter(|line| complains(line, kind.complaint)).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        assert!(console.contains("lfs-image-grow: partition "), "what grows says so: {console}");
        (state, id)
    });
    let [(first_state, first_id), (second_state, second_id)] = state;
    assert!(first_id.is_empty() && second_id.is_empty() || first_id != second_id, "both are {first_id}");
    let state = [first_state, second_state];
    let host_keys = |state: &str| -> BTreeSet<String> {
        state
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|w| w.starts_with("AAAA"))
            .map(str::to_owned)
            .collect()
    };
    let launch_key = std::fs::read_to_string(mine.with_extension("pub")).unwrap();
    let launch_key = BTreeSet::from([launch_key.split(' ').nth(1).unwrap().to_owned()]);
    let shared: BTreeSet<String> =
        host_keys(&state[0]).intersection(&host_keys(&state[1])).cloned().collect();
    assert_eq!(shared, launch_key, "two machines share nothing else");
    assert!(host_keys(&state[0]).len() >= 3, "{}", state[0]);

    // A second boot changes nothing.
    let before = first.requests().len();
    let guest = first.boot();
    assert_eq!(first.ask(&mine, STATE), state[0]);
    let until = Instant::now() + Duration::from_secs(120);
    while first.requests().len() < before + 2 {
        assert!(Instant::now() < until, "it does not ask who it is: {:?}", first.requests());
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(first.ask(&mine, failed), "");
    let asked: Vec<String> = first.requests().split_off(before);
    assert_eq!(asked, ["PUT /latest/api/token 200", "GET /latest/meta-data/instance-id 200"]);
    assert_eq!(first.ask(&mine, STATE), state[0]);
    let console = first.switch_off(&mine, guest);
    assert!(!console.contains("lfs-image-grow: partition "), "it has grown already: {console}");
    // The table and the filesystem are sound on the larger disk.
    let partitions = judge::partitions(&first.disk).unwrap();
    let root = partitions.last().unwrap();
    assert!(root.offset + root.len > 3 * GIB - (4 << 20), "{root:?}");
    judge::sfdisk(&first.disk).unwrap();
    if kind.table == "gpt" {
        // It warns of an end that isn't aligned, which is the end of the disk.
        let verdict = must(Command::new("sgdisk").arg("-v").arg(&first.disk));
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
    judge::e2fsck(&first.disk, root.offset).unwrap();
}

/// Whether a line of the console says that something of ours, or a service, failed.
fn complains(line: &str, complaint: &str) -> bool {
    let is_ours = line.contains("lfs-image-")
        && ["could not", "no answer", "did not", "no launch key"].iter().any(|w| line.contains(w));
    is_ours || line.contains(complaint) && (complaint == "FAILED" || line.contains("failed"))
}

#[test]
fn an_lfs_tree_becomes_a_host() {
    is_a_host(&Kind {
        variant: "lfs-sysv",
        hostname: "lfs-1",
        table: "mbr",
        failed: "pidof dhcpcd sshd >/dev/null || echo down",
        complaint: "lfs-sysv: ",
    });
}

#[test]
fn a_debian_tree_becomes_a_host() {
    is_a_host(&Kind {
        variant: "debian-systemd",
        hostname: "debian-1",
        table: "gpt",
        failed: "systemctl is-system-running --wait >/dev/null; systemctl --failed --plain --no-legend",
        complaint: "FAILED",
    });
}
