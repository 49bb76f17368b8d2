//! Virtual machines that boot an image and talk over the serial line.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What to boot and how. The guest writes into a throw-away layer unless [`Machine::keep_writes`] is asked for.
#[derive(Clone, Debug)]
pub struct Machine {
    disks: Vec<PathBuf>,
    arm64: bool,
    uefi: bool,
    bus: &'static str,
    memory: u32,
    kernel: Option<(PathBuf, String)>,
    keep_writes: bool,
    extra: Vec<String>,
}

impl Machine {
    /// A PC with a BIOS and the image as an NVMe disk, as EC2's machines have it.
    pub fn new(image: &Path) -> Self {
        Self {
            disks: vec![image.to_owned()],
            arm64: false,
            uefi: false,
            bus: "nvme",
            memory: 1024,
            kernel: None,
            keep_writes: false,
            extra: Vec::new(),
        }
    }

    /// Programs and firmware that this machine needs.
    pub fn is_there(&self) -> bool {
        let program = if self.arm64 { "qemu-system-aarch64" } else { "qemu-system-x86_64" };
        let files: &[&str] = match (self.arm64, self.uefi) {
            (true, _) => &[ARM_FIRMWARE],
            (false, true) => &[OVMF_CODE, OVMF_VARS],
            (false, false) => &[],
        };
        let missing = files.iter().find(|file| !Path::new(file).is_file());
        super::judge::require(&[program])
            && missing.is_none_or(|file| super::judge::skip(&format!("{file} is missing")))
    }

    /// UEFI firmware in place of the BIOS.
    #[must_use]
    pub fn uefi(mut self) -> Self {
        self.uefi = true;
        self
    }

    /// A 64-bit ARM machine, always with UEFI.
    #[must_use]
    pub fn arm64(mut self) -> Self {
        (self.arm64, self.uefi) = (true, true);
        self
    }

    /// `nvme`, `virtio` or `ide`.
    #[must_use]
    pub fn bus(mut self, bus: &'static str) -> Self {
        self.bus = bus;
        self
    }

    /// Another disk.
    #[must_use]
    pub fn disk(mut self, image: &Path) -> Self {
        self.disks.push(image.to_owned());
        self
    }

    /// This kernel and command line, past the firmware and boot loader.
    #[must_use]
    pub fn kernel(mut self, kernel: &Path, command_line: &str) -> Self {
        self.kernel = Some((kernel.to_owned(), command_line.to_owned()));
        self
    }

    /// MiB of memory.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// The guest's writes go into the image.
    #[must_use]
    pub fn keep_writes(mut self) -> Self {
        self.keep_writes = true;
        self
    }

    /// More arguments for QEMU.
    #[must_use]
    pub fn extra(mut self, arguments: &[&str]) -> Self {
        self.extra.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Switches it on.
    pub fn start(&self) -> Guest {
        let folder = super::scratch();
        let line = self.command_line(folder.path());
        Guest::start(&line, folder)
    }

    fn command_line(&self, folder: &Path) -> Vec<String> {
        let mut line: Vec<String> = Vec::new();
        let mut add = |text: &str| line.extend(text.split(' ').map(str::to_owned));
        // TCG everywhere: firmware hangs under some nested KVMs, and a test must run the same on every machine.
        if self.arm64 {
            add("qemu-system-aarch64 -machine virt -cpu max,pauth-impdef=on -accel tcg");
            // With a kernel given, QEMU boots it itself: no firmware.
            if self.kernel.is_none() {
                add(&format!("-bios {ARM_FIRMWARE}"));
            }
        } else {
            add("qemu-system-x86_64 -machine pc -cpu max -accel tcg");
        }
        if self.uefi && !self.arm64 {
            let variables = folder.join("vars.fd");
            std::fs::copy(OVMF_VARS, &variables).unwrap();
            add(&format!("-drive if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}"));
            add(&format!("-drive if=pflash,format=raw,unit=1,file={}", variables.display()));
        }
        add(&format!(
            "-m {} -smp 2 -display none -serial stdio -monitor none -no-reboot -nic none",
            self.memory
        ));
        for (number, disk) in self.disks.iter().enumerate() {
            let snapshot = if self.keep_writes { "off" } else { "on" };
            let file = disk.display();
            add(&format!(
                "-drive file={file},format=raw,if=none,id=d{number},snapshot={snapshot},discard=unmap"
            ));
            let device = match self.bus {
                "nvme" => format!("nvme,serial=disk{number}"),
                "virtio" => "virtio-blk-pci".to_owned(),
                "ide" => "ide-hd".to_owned(),
                other => panic!("no bus {other:?}"),
            };
            // 0 is what `-kernel` takes.
            add(&format!("-device {device},drive=d{number},bootindex={}", number + 1));
        }
        if let Some((kernel, command_line)) = &self.kernel {
            line.extend(["-kernel".to_owned(), kernel.display().to_string()]);
            line.extend(["-append".to_owned(), command_line.clone()]);
        }
        line.extend(self.extra.iter().cloned());
        line
    }
}

const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const ARM_FIRMWARE: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";

/// A running machine; switched off with the value.
pub struct Guest {
    child: Child,
    keyboard: ChildStdin,
    console: Arc<Console>,
    /// How much of the console has been waited past.
    seen: usize,
    _folder: tempfile::TempDir,
    _seat: Seat,
}

impl Guest {
    /// Switches a machine on as somebody's shell would: a command line of QEMU's. The guest's writes are thrown away.
    pub fn of_shell(line: &str) -> Self {
        let line = format!("exec {line} -accel tcg -no-reboot -snapshot");
        Self::start(&["sh".to_owned(), "-c".to_owned(), line], super::scratch())
    }

    fn start(line: &[String], folder: tempfile::TempDir) -> Self {
        let seat = Seat::take();
        // With its parent gone a machine would run for ever.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let console = Arc::new(Console::default());
        for pipe in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let console = Arc::clone(&console);
            std::thread::spawn(move || console.listen(pipe));
        }
        let keyboard = child.stdin.take().unwrap();
        Self { child, keyboard, console, seen: 0, _folder: folder, _seat: seat }
    }

    /// Waits until the console shows these words after what was waited for before; what came up to and with them.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str, at_most: Duration) -> String {
        self.wait_for_any(&[words], at_most).1
    }

    /// The same for the first of several: which it was, and what came.
    #[track_caller]
    pub fn wait_for_any(&mut self, words: &[&str], at_most: Duration) -> (usize, String) {
        let until = Instant::now() + at_most * patience();
        let mut text = self.console.text.lock().unwrap();
        loop {
            let fresh = &text.bytes[self.seen..];
            let hit = words
                .iter()
                .enumerate()
                .filter_map(|(i, w)| Some((find(fresh, w.as_bytes())? + w.len(), i)))
                .min();
            if let Some((end, which)) = hit {
                let passed = plain(&fresh[..end]);
                self.seen += end;
                return (which, passed);
            }
            let left = until.saturating_duration_since(Instant::now());
            if text.open == 0 || left.is_zero() {
                let why = if left.is_zero() { "in time" } else { "before the machine stopped" };
                panic!("the guest did not say {words:?} {why}; the console's end:\n{}", tail(&text.bytes));
            }
            text = self.console.changed.wait_timeout(text, left).unwrap().0;
        }
    }

    /// Types a line, slowly enough for a UART.
    pub fn type_line(&mut self, line: &str) {
        for chunk in format!("{line}\n").as_bytes().chunks(8) {
            self.keyboard.write_all(chunk).unwrap();
            self.keyboard.flush().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Logs in at the prompt and leaves a shell that [`Guest::shell`] can use.
    #[track_caller]
    pub fn log_in(&mut self, user: &str, password: &str, at_most: Duration) {
        self.wait_for("login: ", at_most);
        self.type_line(user);
        self.wait_for("assword: ", Duration::from_secs(60));
        self.type_line(password);
        // Whatever the prompt looks like, an answer proves the shell. The quotes keep the echo from looking like it.
        std::thread::sleep(Duration::from_secs(2));
        self.type_line("export PS1= TERM=dumb; stty -echo; echo SHELL'-'READY");
        self.wait_for("SHELL-READY", Duration::from_secs(120));
    }

    /// Runs a command in a shell on the console; its exit status and what it printed.
    #[track_caller]
    pub fn shell(&mut self, command: &str, at_most: Duration) -> (i32, String) {
        self.type_line(&format!("echo BEGIN'-'OUTPUT; {command}; echo END'-'STATUS=$?."));
        self.wait_for("BEGIN-OUTPUT", at_most);
        let output = self.wait_for("END-STATUS=", at_most);
        let status = self.wait_for(".", at_most);
        let output = output.trim_end_matches("END-STATUS=").trim().replace('\r', "");
        (status.trim_end_matches('.').parse().expect("a number"), output)
    }

    /// Waits until the machine has switched itself off; the whole console.
    #[track_caller]
    pub fn wait_for_power_off(mut self, at_most: Duration) -> String {
        let until = Instant::now() + at_most * patience();
        while self.child.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < until,
                "the guest did not switch off; the console's end:\n{}",
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.log()
    }

    /// All that the console has shown.
    pub fn log(&self) -> String {
        plain(&self.console.text.lock().unwrap().bytes)
    }

    fn tail(&self) -> String {
        tail(&self.console.text.lock().unwrap().bytes)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Slow machines multiply every bound: `LFS_IMAGE_TEST_PATIENCE=3`.
fn patience() -> u32 {
    std::env::var("LFS_IMAGE_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[derive(Default)]
struct Console {
    text: Mutex<Text>,
    changed: Condvar,
}

struct Text {
    bytes: Vec<u8>,
    /// Pipes that may still bring something.
    open: u32,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: Vec::new(), open: 2 }
    }
}

impl Console {
    fn listen(&self, mut pipe: Box<dyn Read + Send>) {
        let mut buffer = [0; 4096];
        loop {
            let read = pipe.read(&mut buffer).unwrap_or(0);
            let mut text = self.text.lock().unwrap();
            text.bytes.extend_from_slice(&buffer[..read]);
            if read == 0 {
                text.open -= 1;
            }
            drop(text);
            self.changed.notify_all();
            if read == 0 {
                return;
            }
        }
    }
}

fn find(text: &[u8], words: &[u8]) -> Option<usize> {
    text.windows(words.len()).position(|window| window == words)
}

/// Text without terminal control sequences.
fn plain(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest: VecDeque<u8> = bytes.iter().copied().collect();
    while let Some(byte) = rest.pop_front() {
        if byte != 0x1b {
            out.push(byte);
            continue;
        }
        if rest.pop_front() == Some(b'[') {
            while rest.pop_front().is_some_and(|byte| !(0x40..=0x7e).contains(&byte)) {}
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn tail(bytes: &[u8]) -> String {
    plain(&bytes[bytes.len().saturating_sub(6000)..])
}

/// One of the few machines that may run at a time: emulation takes a whole core each.
struct Seat;

static SEATS: (Mutex<u32>, Condvar) = (Mutex::new(2), Condvar::new());

impl Seat {
    fn take() -> Self {
        let mut free = SEATS.1.wait_while(SEATS.0.lock().unwrap(), |free| *free == 0).unwrap();
        *free -= 1;
        Self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *SEATS.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        SEATS.1.notify_one();
    }
}
