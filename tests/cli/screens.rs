//! What a terminal of 80 columns and 24 lines shows, kept as `screens/*.txt`: colours are dropped, and numbers of what takes time are
//! `#`. `LFS_IMAGE_BLESS=1` writes down what is shown now.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::fixture;
use crate::support::{judge, must, project, run, scratch};

const COLUMNS: usize = 80;

/// A terminal with one command in it.
struct Screen {
    socket: String,
}

impl Screen {
    fn new(name: &str, folder: &Path, line: &str) -> Self {
        let socket = format!("lfs-image-{}-{name}", std::process::id());
        let bin = Path::new(env!("CARGO_BIN_EXE_lfs-image")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        // What is shown last stays to be looked at.
        let line = format!(
            "PATH={}:{path} TMPDIR=/var/tmp; export PATH TMPDIR; cd {}; clear; {line}; printf '[%s]' $?; sleep 300",
            bin.display(),
            folder.display()
        );
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &socket, "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &line]);
        must(tmux.env_remove("TMUX").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8"));
        Self { socket }
    }

    /// What is shown once the command has ended, which a line of its exit code tells.
    fn wait_for_the_end(&self) -> String {
        let is_code = |line: &str| {
            let code = line.trim_end().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            code.is_some_and(|code| code.parse::<u8>().is_ok())
        };
        self.wait_until("an exit code", |shown| shown.lines().any(is_code))
    }

    /// What is shown once it has these words.
    fn wait_for(&self, word: &str) -> String {
        self.wait_until(word, |shown| shown.contains(word))
    }

    fn wait_until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let shown = must(Command::new("tmux").args(["-L", &self.socket, "capture-pane", "-p"]));
            if is_there(&shown) {
                return shown;
            }
            assert!(Instant::now() < until, "no {what} in:\n{shown}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        run(Command::new("tmux").args(["-L", &self.socket, "kill-server"]));
    }
}

#[track_caller]
fn is_kept(name: &str, shown: &str) {
    let shown: String = shown.trim_end().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for line in shown.lines() {
        assert!(line.chars().count() <= COLUMNS, "{name}: {line}");
    }
    let path = project().join("tests/cli/screens").join(format!("{name}.txt"));
    if std::env::var_os("LFS_IMAGE_BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == kept, "{} shows otherwise:\n{shown}", path.display());
}

/// Numbers, units and how full a bar is.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    for unit in ["KiB", "MiB", "GiB"] {
        out = out.replace(unit, "*iB");
    }
    out.replace("#.#", "#")
}

#[test]
fn screens() {
    if !judge::require(&["tmux"]) {
        return;
    }
    let folder = scratch();
    std::os::unix::fs::symlink(fixture("gnu-posix.tar"), folder.path().join("rootfs.tar")).unwrap();
    for (name, line) in [
        ("help", "lfs-image"),
        ("mistyped", "lfs-image raw --frree 2G rootfs.tar out.img"),
        ("no-kernel", "lfs-image raw rootfs.tar out.img"),
        ("missing", "lfs-image raw nowhere.tar out.img"),
        ("made", "lfs-image raw --boot none --size 64M rootfs.tar out.img"),
        ("listed", "lfs-image ls -l out.img"),
        ("equal", "lfs-image diff --boot none --size 64M rootfs.tar out.img"),
        ("differs", "lfs-image diff rootfs.tar ../nowhere.img"),
    ] {
        let shown = Screen::new(name, folder.path(), line).wait_for_the_end();
        is_kept(name, &shown.replace(&folder.path().display().to_string(), "FOLDER"));
    }
}

/// A bar, on its way: a pipe that nobody empties holds it where it is.
#[test]
fn a_bar_fits_and_tells_the_truth() {
    if !judge::require(&["tmux", "mkfifo"]) {
        return;
    }
    let folder = scratch();
    std::os::unix::fs::symlink(fixture("gnu-posix.tar"), folder.path().join("rootfs.tar")).unwrap();
    must(Command::new("mkfifo").arg(folder.path().join("pipe")));
    // The reader takes a quarter of the image and waits.
    let line = "(head -c 67108864 >/dev/null; sleep 100) <pipe & lfs-image raw --boot none --size 256M rootfs.tar - >pipe";
    let screen = Screen::new("bar", folder.path(), line);
    // What is through is what was taken, give or take what a pipe and a step hold; and the bar is as full as that.
    let until = Instant::now() + Duration::from_secs(120);
    let bar = loop {
        let shown = screen.wait_for("  write  [");
        let bar = shown.lines().rfind(|line| line.contains("  write  [")).unwrap().to_owned();
        let done = bar.split("] ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        assert!(bar.chars().count() <= COLUMNS, "{bar}");
        if bar.contains("MiB/256.00 MiB") && done.is_some_and(|done| (59.0..=65.0).contains(&done)) {
            break bar;
        }
        assert!(Instant::now() < until, "{bar}");
    };
    let cells: String = bar.split(['[', ']']).nth(1).unwrap().to_owned();
    assert_eq!(cells.chars().count(), 24, "{bar}");
    assert!((5..=7).contains(&cells.matches('=').count()), "{bar}");
    let rest = &bar[bar.find(']').unwrap()..];
    let shape = without_numbers(rest);
    assert!(shape.starts_with("] # *iB/# *iB  "), "{shape}");
    assert!(shape.contains("iB/s  ") || shape.contains("B/s  "), "{shape}");
    // How fast and for how long depends on who else is at work.
    let (until_rate, left) = shape.rsplit_once("  ").unwrap();
    let until_rate = until_rate.replace("  # B/s", "  # *iB/s");
    assert!(left.chars().count() <= 4, "{bar}");
    let bar: String = std::iter::repeat_n('=', 6).chain(['>']).chain(std::iter::repeat_n(' ', 17)).collect();
    is_kept("bar", &format!("  write  [{bar}{until_rate}  LEFT"));
}
