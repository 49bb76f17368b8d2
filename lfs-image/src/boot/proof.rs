//! Proof by booting: disks with what these rooms make, a tiny root filesystem, and QEMU's firmwares.
//!
//! Everything else on these disks (tables, ext4, FAT) comes from other programs. The files to boot are those of
//! `tests/support/get-boot-files.sh`. Each boot takes from 10 seconds to a minute, so the tests are ignored unless
//! asked for: `cargo test -p lfs-image --lib boot::proof -- --ignored`.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::raw::blob::Blob;
use crate::raw::num::index;
use crate::raw::out::Out;
use crate::raw::out::tests::Memory;
use crate::tree::edit::Editor;
use crate::{Content, Kind, Meta, NoStore, NodeId, Tree};

const SECTOR: u64 = 512;
/// First sectors of the partitions of a GPT: BIOS boot, ESP, payload, root (the third, to keep its number).
const BIOS_BOOT: u64 = 2048;
const ESP: u64 = 4096;
const PAYLOAD: u64 = ESP + ESP_SECTORS;
const PAYLOAD_SECTORS: u64 = 64 << 11;
const ESP_SECTORS: u64 = 160 << 11;
const ROOT_SECTORS: u64 = 96 << 11;

/// A disk that is being made: the tree that boots, and what goes around it.
struct Machine {
    arch: Arch,
    cache: PathBuf,
    dir: tempfile::TempDir,
    tree: Tree,
    gpt: bool,
}

impl Machine {
    /// With the kernel of an architecture, and GRUB of a platform if asked for.
    fn new(arch: Arch, gpt: bool) -> Option<Self> {
        let Some(cache) = judges::boot_files() else {
            judges::skip("the files of tests/support/get-boot-files.sh");
            return None;
        };
        let machine = Self { arch, cache, dir: tempfile::tempdir().unwrap(), tree: Tree::new(), gpt };
        Some(machine.with_dir("bookworm", "boot", "boot"))
    }

    fn debian(&self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// Copies the files of a directory of the cache into the tree.
    fn with_dir(mut self, suite: &str, from: &str, to: &str) -> Self {
        let from = self.cache.join(suite).join(self.debian()).join(from);
        for entry in fs::read_dir(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let path = format!("{to}/{}", entry.file_name().to_str().unwrap());
                self.put(&path, Content::bytes(fs::read(entry.path()).unwrap()));
            }
        }
        self
    }

    fn put(&mut self, path: &str, content: Content) {
        let mut names: Vec<&str> = path.split('/').filter(|n| !n.is_empty()).collect();
        let file = names.pop().unwrap();
        let mut at = NodeId::ROOT;
        for name in names {
            let have = self.tree.node(at).as_directory().unwrap().get(name.as_bytes());
            at = have.unwrap_or_else(|| {
                let kind = Kind::Directory(Default::default());
                self.tree.insert(at, name.as_bytes(), Meta::new(0o755, Default::default()), kind).unwrap()
            });
        }
        let meta = Meta::new(0o644, Default::default());
        self.tree.insert(at, file.as_bytes(), meta, Kind::File(content)).unwrap();
    }

    fn root(&self) -> Root<'_> {
        Root::new(&self.tree, &NoStore)
    }

    fn disk(&self) -> Disk {
        if self.gpt {
            tests::disk()
        } else {
            Disk { gpt: false, root_partition: 1, root_partuuid: "deadbeef-01".into(), ..tests::disk() }
        }
    }

    /// The root filesystem's directory on the host: the tree's /boot, busybox and an init that reports.
    fn root_dir(&self) -> PathBuf {
        let dir = self.dir.path().join("root");
        for name in ["bin", "sbin", "dev", "proc", "sys", "boot/grub"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let busybox = self.cache.join("bookworm").join(self.debian()).join("bin/busybox");
        fs::copy(busybox, dir.join("bin/busybox")).unwrap();
        let init = "#!/bin/busybox sh\n\
                    /bin/busybox mount -t devtmpfs dev /dev; /bin/busybox mount -t proc proc /proc\n\
                    /bin/busybox mount -t sysfs sys /sys\n\
                    [ -d /sys/firmware/efi ] && echo PROOF-EFI || echo PROOF-BIOS\n\
                    echo \"PROOF-CMDLINE $(/bin/busybox cat /proc/cmdline)\"\n\
                    [ -e /initrd-was-here ] && echo PROOF-INITRD\n\
                    echo PROOF-END; /bin/busybox poweroff -f\n";
        fs::write(dir.join("sbin/init"), init).unwrap();
        judges::run(Command::new("chmod").arg("755").arg(dir.join("sbin/init")).arg(dir.join("bin/busybox")));
        judges::run(Command::new("mknod").arg(dir.join("dev/console")).args(["c", "5", "1"]));
        copy_out(&self.tree, self.tree.lookup(b"boot").unwrap(), &dir.join("boot"));
        dir
    }

    /// Writes the disk image.
    fn build(&self, boot: &Boot) -> PathBuf {
        let path = self.dir.path().join("disk.img");
        let root_at = if self.gpt { PAYLOAD + PAYLOAD_SECTORS } else { 2048 + PAYLOAD_SECTORS };
        let sectors = root_at + ROOT_SECTORS + 2048;
        let disk = fs::File::create(&path).unwrap();
        disk.set_len(sectors * SECTOR).unwrap();
        let facts = self.disk();
        if self.gpt {
            let end = root_at + ROOT_SECTORS - 1;
            judges::run(judges::program("sgdisk").unwrap().args([
                format!("-n1:{BIOS_BOOT}:{}", ESP - 1),
                "-t1:ef02".into(),
                format!("-n2:{ESP}:{}", PAYLOAD - 1),
                "-t2:ef00".into(),
                format!("-n4:{PAYLOAD}:{}", root_at - 1),
                format!("-n3:{root_at}:{end}"),
                "-t3:8300".into(),
                format!("-u3:{}", facts.root_partuuid),
                path.to_str().unwrap().into(),
            ]));
        } else {
            let script = format!("label: dos\nlabel-id: 0xdeadbeef\n{root_at},{ROOT_SECTORS},L,*\n");
            let script_path = self.dir.path().join("script");
            fs::write(&script_path, script).unwrap();
            let mut sfdisk = judges::program("sfdisk").unwrap();
            judges::run(sfdisk.arg("-q").arg(&path).stdin(fs::File::open(script_path).unwrap()));
        }

        let root = self.dir.path().join("root.img");
        let mut mke2fs = judges::program("mke2fs").unwrap();
        mke2fs.args(["-q", "-t", "ext4", "-b", "4096", "-U", &facts.root_fs.to_string(), "-d"]);
        judges::run(mke2fs.arg(self.root_dir()).arg(&root).arg(format!("{}k", ROOT_SECTORS / 2)));
        place(&disk, root_at, &fs::read(&root).unwrap());

        if !boot.esp.is_empty() {
            let esp = self.dir.path().join("esp.img");
            fs::File::create(&esp).unwrap().set_len(ESP_SECTORS * SECTOR).unwrap();
            judges::run(judges::program("mkfs.fat").unwrap().args(["-F", "32"]).arg(&esp));
            judges::run(judges::program("mmd").unwrap().arg("-i").arg(&esp).args(["::EFI", "::EFI/BOOT"]));
            for file in &boot.esp {
                let EspFile { path: name, content: blob } = file;
                let file = self.dir.path().join("esp-file");
                fs::write(&file, bytes(blob)).unwrap();
                judges::run(
                    judges::program("mcopy").unwrap().arg("-i").arg(&esp).arg(file).arg(format!("::{name}")),
                );
            }
            place(&disk, ESP, &fs::read(&esp).unwrap());
        }
        if let Some(code) = &boot.boot_code {
            place(&disk, 0, code);
        }
        if let Some((lba, area)) = &boot.area {
            place(&disk, *lba, area);
        }
        if let Some((lba, payload)) = &boot.payload {
            place(&disk, *lba, &bytes(payload));
        }
        path
    }

    /// Boots the disk under a firmware, and expects the marker that userland prints there.
    fn boots(&self, boot: &Boot, efi: bool, expect: &[&str]) {
        let disk = self.build(boot);
        self.starts(&disk, efi, expect);
    }

    fn starts(&self, disk: &Path, efi: bool, expect: &[&str]) {
        let Some(mut qemu) = self.qemu(efi) else { return };
        self.attach(&mut qemu, disk);
        let said = serial(&mut qemu, Duration::from_secs(180));
        let firmware = if efi { "PROOF-EFI" } else { "PROOF-BIOS" };
        for marker in [firmware, "PROOF-END"].iter().chain(expect) {
            assert!(said.contains(marker), "no {marker} in:\n{said}");
        }
    }

    fn attach(&self, qemu: &mut Command, disk: &Path) {
        qemu.arg("-drive").arg(format!("file={},format=raw,if=none,id=d0", disk.display()));
        qemu.args(["-device", "nvme,drive=d0,serial=x,bootindex=0"]);
    }

    fn qemu(&self, efi: bool) -> Option<Command> {
        let (program, machine, cpu, code, vars) = match self.arch {
            Arch::X86_64 => {
                let (code, vars) = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd");
                ("qemu-system-x86_64", "q35", "max", code, vars)
            }
            Arch::Aarch64 => {
                let (code, vars) = ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd");
                ("qemu-system-aarch64", "virt", "cortex-a72", code, vars)
            }
        };
        let mut qemu = judges::program(program)?;
        qemu.args(["-machine", machine, "-cpu", cpu, "-accel", "tcg", "-m", "1024", "-display", "none"]);
        qemu.args(["-serial", "stdio", "-monitor", "none", "-no-reboot", "-net", "none"]);
        if efi {
            if !Path::new(code).is_file() {
                judges::skip(code);
                return None;
            }
            let own_vars = self.dir.path().join("vars.fd");
            fs::copy(vars, &own_vars).unwrap();
            qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={code}"));
            qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={}", own_vars.display()));
        }
        Some(qemu)
    }
}

/// What the rooms made.
struct Boot {
    choice: Choice,
    boot_code: Option<[u8; BOOT_CODE]>,
    area: Option<(u64, Vec<u8>)>,
    esp: Vec<EspFile>,
    payload: Option<(u64, Blob)>,
}

fn place(mut disk: &fs::File, lba: u64, bytes: &[u8]) {
    disk.seek(SeekFrom::Start(lba * SECTOR)).unwrap();
    disk.write_all(bytes).unwrap();
}

fn bytes(blob: &Blob) -> Vec<u8> {
    let mut memory = Memory::default();
    let mut written = |_| Ok(());
    let mut out = Out::new(&mut memory, &mut written);
    blob.emit(&mut out, &NoStore).unwrap();
    out.flush().unwrap();
    assert_eq!(memory.bytes.len(), index(blob.len()));
    memory.bytes
}

fn copy_out(tree: &Tree, dir: NodeId, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (name, id) in tree.node(dir).as_directory().unwrap().iter() {
        let to = to.join(str::from_utf8(name).unwrap());
        match &tree.node(id).kind {
            Kind::Directory(_) => copy_out(tree, id, &to),
            Kind::File(content) => fs::write(to, bytes(&content.to_blob())).unwrap(),
            other => panic!("a {}", other.noun()),
        }
    }
}

/// Runs a machine until it ends by itself or says its last word; gives what it said.
fn serial(qemu: &mut Command, limit: Duration) -> String {
    let mut child =
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = stdout.read(&mut buf) {
            let _ = sender.send(buf[..n].to_vec());
        }
    });
    let mut said = Vec::new();
    // The limit is one of silence.
    while let Ok(more) = receiver.recv_timeout(limit) {
        said.extend(more);
        if String::from_utf8_lossy(&said).contains("PROOF-END") {
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    reader.join().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

/// Plans and installs what a method makes of the machine's tree, whose edits are applied.
fn plan(machine: &mut Machine, method: Method) -> Boot {
    let areas = if machine.gpt {
        Areas { bios: BIOS_BOOT, bios_sectors: ESP - BIOS_BOOT, payload: PAYLOAD }
    } else {
        Areas { bios: 1, bios_sectors: 2047, payload: 2048 }
    };
    let append = vec!["panic=5".to_owned()];
    let options =
        Options { method, cmdline: cmdline::Options { append, ..Default::default() }, ..Options::default() };
    let survey = Survey::look(machine.root(), None).unwrap();
    let choice = survey.choose(&options, machine.gpt).unwrap();
    let plan = survey.plan(choice, &options, &machine.disk(), areas).unwrap();
    eprintln!("{:?} {:?}: {:#?}", machine.arch, method, plan.notes);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    apply(&plan.edits, &mut Editor::new(&mut machine.tree, &NoStore, Default::default())).unwrap();
    let _ = fs::remove_dir_all(machine.dir.path().join("root"));
    Boot {
        choice: plan.choice,
        boot_code: plan.boot_code,
        area: plan.bios_area.map(|area| (areas.bios, area)),
        esp: plan.esp,
        payload: plan.payload.map(|payload| (areas.payload, payload)),
    }
}

/// GRUB from a suite of Debian, on one disk for both firmwares, and in the gap of a master boot record.
fn grub_from(suite: &str) {
    let Some(machine) = Machine::new(Arch::X86_64, true) else { return };
    let mut machine = machine.with_dir(suite, "usr/lib/grub/i386-pc", "usr/lib/grub/i386-pc").with_dir(
        suite,
        "usr/lib/grub/x86_64-efi",
        "usr/lib/grub/x86_64-efi",
    );
    let lfs = b"set root=(hd0,2)\nlinux /boot/vmlinuz-6.1 root=/dev/sda2 ro\n";
    machine.put("boot/grub/grub.cfg", Content::bytes(*lfs));
    let boot = plan(&mut machine, Method::Auto);
    assert_eq!((boot.choice.bios, boot.choice.efi), (Some(Bios::Grub), Some(Efi::Grub)));
    let disk = machine.build(&boot);
    machine.starts(&disk, false, &["panic=5"]);
    machine.starts(&disk, true, &["panic=5"]);

    machine.gpt = false;
    let boot = plan(&mut machine, Method::Auto);
    machine.boots(&boot, false, &["root=PARTUUID=deadbeef-01"]);
}

#[test]
#[ignore = "boots machines"]
fn grub_2_06() {
    grub_from("bookworm");
}

#[test]
#[ignore = "boots machines"]
fn grub_2_12() {
    grub_from("trixie");
}

#[test]
#[ignore = "boots machines"]
fn grub_arm64() {
    for suite in ["bookworm", "trixie"] {
        let Some(machine) = Machine::new(Arch::Aarch64, true) else { return };
        let mut machine = machine.with_dir(suite, "usr/lib/grub/arm64-efi", "usr/lib/grub/arm64-efi");
        let boot = plan(&mut machine, Method::Auto);
        assert_eq!(boot.choice.efi, Some(Efi::Grub));
        machine.boots(&boot, true, &["panic=5"]);
    }
}

/// A disk that starts by nothing of ours must not pass for one that does.
#[test]
#[ignore = "boots machines"]
fn the_judge_sees_a_broken_byte() {
    let Some(machine) = Machine::new(Arch::X86_64, true) else { return };
    let mut machine = machine.with_dir("bookworm", "usr/lib/grub/i386-pc", "usr/lib/grub/i386-pc");
    let mut boot = plan(&mut machine, Method::Grub);
    if let Some((_, area)) = &mut boot.area {
        area[20_000] ^= 1; // in the LZMA stream
    }
    let disk = machine.build(&boot);
    let Some(mut qemu) = machine.qemu(false) else { return };
    machine.attach(&mut qemu, &disk);
    let said = serial(&mut qemu, Duration::from_secs(30));
    assert!(!said.contains("PROOF-END"), "{said}");
}

/// A RAM disk that leaves a mark on the root filesystem and goes on there.
fn initrd(machine: &Machine) -> Vec<u8> {
    let dir = machine.dir.path().join("initrd");
    for name in ["bin", "dev", "proc", "new"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    let busybox = machine.cache.join("bookworm").join(machine.debian()).join("bin/busybox");
    fs::copy(busybox, dir.join("bin/busybox")).unwrap();
    let init = "#!/bin/busybox sh\n\
                b=/bin/busybox; $b mount -t devtmpfs dev /dev; $b mount -t ext4 /dev/nvme0n1p3 /new\n\
                $b touch /new/initrd-was-here; exec $b switch_root /new /sbin/init\n";
    fs::write(dir.join("init"), init).unwrap();
    judges::run(Command::new("chmod").arg("755").arg(dir.join("init")).arg(dir.join("bin/busybox")));
    judges::run(Command::new("mknod").arg(dir.join("dev/console")).args(["c", "5", "1"]));
    judges::run(Command::new("sh").arg("-c").arg("find . | cpio -o -H newc --quiet").current_dir(dir))
}

/// Boots what a method makes, without a RAM disk and with one, under the firmwares that it is for.
fn own(machine: &mut Machine, method: Method, firmwares: &[bool]) {
    for with_initrd in [false, true] {
        let mut expect = vec!["panic=5"];
        if with_initrd {
            let kernel = kernel::find(machine.root()).unwrap().remove(0);
            let initrd = Content::bytes(initrd(machine));
            machine.put(&format!("boot/initrd.img-{}", kernel.version.unwrap()), initrd);
            expect.push("PROOF-INITRD");
        }
        let boot = plan(machine, method);
        for efi in firmwares {
            machine.boots(&boot, *efi, &expect);
            fs::remove_dir_all(machine.dir.path().join("root")).unwrap();
        }
    }
}

#[test]
#[ignore = "boots machines"]
fn own_loaders_x86_64() {
    let Some(mut machine) = Machine::new(Arch::X86_64, true) else { return };
    own(&mut machine, Method::Auto, &[false, true]);
}

#[test]
#[ignore = "boots machines"]
fn own_loader_behind_a_master_boot_record() {
    let Some(mut machine) = Machine::new(Arch::X86_64, false) else { return };
    let boot = plan(&mut machine, Method::Stub);
    machine.boots(&boot, false, &["root=PARTUUID=deadbeef-01"]);
}

#[test]
#[ignore = "boots machines"]
fn own_stub_aarch64() {
    let Some(mut machine) = Machine::new(Arch::Aarch64, true) else { return };
    own(&mut machine, Method::Auto, &[true]);
}

fn uki_on(arch: Arch, suite: &str) {
    let Some(machine) = Machine::new(arch, true) else { return };
    let mut machine = machine.with_dir(suite, "usr/lib/systemd/boot/efi", "usr/lib/systemd/boot/efi");
    machine.put("etc/os-release", Content::bytes(*b"ID=lfs\n"));
    own(&mut machine, Method::Uki, &[true]);
}

#[test]
#[ignore = "boots machines"]
fn uki_x86_64() {
    uki_on(Arch::X86_64, "bookworm");
    uki_on(Arch::X86_64, "trixie");
}

#[test]
#[ignore = "boots machines"]
fn uki_aarch64() {
    uki_on(Arch::Aarch64, "bookworm");
    uki_on(Arch::Aarch64, "trixie");
}
