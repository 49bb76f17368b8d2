//! System calls that fail, stop short, or happen at the wrong moment: what `fault.c` does, from Rust.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::{judge, must, support_file};

/// What is to go wrong. Without any, calls are counted.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    options: Vec<String>,
}

impl Fault {
    /// Nothing yet, with calls on files whose path has `part` in it.
    pub fn on(part: &Path) -> Self {
        Self::default().option("-p", part.display())
    }

    /// Only these calls, with commas between them.
    #[must_use]
    pub fn calls(self, names: &str) -> Self {
        self.option("-s", names)
    }

    /// The first call that is hit, from 1.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        self.option("-n", n)
    }

    /// And every so manyth after it.
    #[must_use]
    pub fn every(self, step: usize) -> Self {
        self.option("-i", step)
    }

    /// Besides, all files have names: there is no `O_TMPFILE`.
    #[must_use]
    pub fn without_tmpfile(mut self) -> Self {
        self.options.push("-T".to_owned());
        self
    }

    /// It fails with this error.
    #[must_use]
    pub fn error(self, name: &str) -> Self {
        self.option("-E", name)
    }

    /// It does half of what it was asked for.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.options.push("-c".to_owned());
        self
    }

    /// So many percent of reads and writes, by chance, are cut or interrupted.
    #[must_use]
    pub fn by_chance(self, seed: u64, percent: u32) -> Self {
        self.option("-r", format!("{seed},{percent}"))
    }

    /// A signal comes first.
    #[must_use]
    pub fn signal(self, name: &str) -> Self {
        self.option("-k", name)
    }

    /// A shell's command comes first, while the program stands still.
    #[must_use]
    pub fn command(self, command: &str) -> Self {
        self.option("-x", command)
    }

    fn option(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.options.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// A program under these conditions; arguments and environment are still to come.
    pub fn program(&self, program: &Path, count: Option<&Path>) -> Command {
        let mut command = Command::new(tool().expect("`is_possible` was asked"));
        command.args(&self.options);
        if let Some(count) = count {
            command.arg("-o").arg(count);
        }
        command.arg("--").arg(program);
        command
    }
}

/// Runs a command that `Fault::program` made with a file for the count; and the number of calls that counted.
pub fn counted(command: &mut Command, count: &Path) -> (Output, usize) {
    let output = command.output().unwrap();
    let text =
        std::fs::read_to_string(count).unwrap_or_else(|_| panic!("no count: {}", super::both(&output)));
    (output, text.trim().parse().unwrap())
}

/// Whether this machine can do that. Says so and fails in CI where it can't.
#[must_use]
#[track_caller]
pub fn is_possible() -> bool {
    judge::require(&["cc"]) && (tool().is_some() || judge::skip("no seccomp and ptrace, or not x86-64 Linux"))
}

/// The program, compiled and tried once.
fn tool() -> Option<&'static PathBuf> {
    static TOOL: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (new, tool) = (folder.join(format!("fault-{}", std::process::id())), folder.join("fault"));
        must(Command::new("cc").args(["-O1", "-o"]).arg(&new).arg(support_file("fault.c")));
        // Other test programs may be running the old one.
        std::fs::rename(&new, &tool).unwrap();
        let tried = Command::new(&tool).args(["-s", "read", "--", "/bin/true"]).status();
        tried.is_ok_and(|status| status.success()).then_some(tool)
    };
    TOOL.get_or_init(make).as_ref()
}
