//! README.md and docs/: each command in them is run, and what it says is compared.
//!
//! | fence | what becomes of it |
//! |---|---|
//! | `console` | `$ ` lines are run by a shell, in one folder for each page; below is what both channels say |
//! | `sh` | not run: a comment `<!-- not run: why -->` above it names the reason |
//! | `toml NAME` | written to that file |
//! | `json` | is JSON |
//! | `rust` | a comment `<!-- from: FILE -->` above it names the file that it is a part of |
//! | `text` | a picture |
//!
//! In expected output `…` stands for anything in a line, and a line of it for any lines. A comment `<!-- exits with N -->` above
//! a fence is about its last command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{both, must, project, rootfs, scratch};

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    /// Where it begins.
    line: usize,
    /// What is behind the fence.
    kind: String,
    text: String,
    /// The comment above.
    comment: String,
}

/// The blocks of a page. Code that isn't fenced would not be seen, so there is none.
fn blocks(page: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut above = String::new();
    for (n, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                let comment = std::mem::take(&mut above);
                open = Some(Block { line: n + 1, kind: kind.to_owned(), text: String::new(), comment });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text += &format!("{line}\n"),
            (None, None) => {
                let place = format!("{}:{}", page.display(), n + 1);
                assert!(
                    !line.starts_with("    ") || line.trim_start().starts_with(['-', '|']),
                    "{place}: code without a fence"
                );
                if !line.is_empty() {
                    line.clone_into(&mut above);
                }
            }
        }
    }
    assert!(open.is_none(), "{}: a fence isn't closed", page.display());
    blocks
}

/// What is typed and what it says.
fn steps(text: &str) -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if goes_on && let Some((command, _)) = steps.last_mut() {
            *command += &format!("\n{line}");
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push((command.to_owned(), Vec::new()));
        } else {
            steps.last_mut().expect("output before any command").1.push(line.to_owned());
            continue;
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

/// Whether lines are what is expected.
fn matches(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => (0..=lines.len()).any(|n| matches(rest, &lines[n..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, lines)| fits(first.trim_end(), line.trim_end()) && matches(rest, lines)),
    }
}

/// Whether a line is what is expected.
fn fits(expected: &str, line: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A page's folder and environment.
struct Desk {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Desk {
    fn run(&self, page: &Path, block: &Block) {
        let steps = steps(&block.text);
        let exits = block.comment.strip_prefix("<!-- exits with ").and_then(|rest| rest.strip_suffix(" -->"));
        let count = steps.len();
        for (n, (command, expected)) in steps.into_iter().enumerate() {
            let output = self.shell(&command);
            let said = both(&output);
            let lines: Vec<&str> = said.lines().collect();
            let place = format!("{}:{}: `{command}`", page.display(), block.line);
            assert!(matches(&expected, &lines), "{place} says:\n{said}");
            let code = if n + 1 == count { exits.unwrap_or("0") } else { "0" };
            assert_eq!(output.status.code().unwrap().to_string(), code, "{place}");
        }
    }

    fn shell(&self, command: &str) -> std::process::Output {
        let bin = Path::new(env!("CARGO_BIN_EXE_lfs-image")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("bash")
            // Both channels in the order in which a person sees them.
            .args(["-o", "pipefail", "-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
            .env("HOME", self.folder.path())
            .env("COLUMNS", "80")
            .env("LC_ALL", "C.UTF-8")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn link(&self, file: &Path, name: &str) {
        std::os::unix::fs::symlink(file, self.folder.path().join(name)).unwrap();
    }
}

fn page(page: &Path, desk: &Desk) {
    let mut ran = 0;
    for block in blocks(page) {
        let place = format!("{}:{}", page.display(), block.line);
        let words: Vec<&str> = block.kind.split(' ').collect();
        match words[..] {
            ["console"] => {
                desk.run(page, &block);
                ran += 1;
            }
            ["sh"] => assert!(
                block.comment.starts_with("<!-- not run: ") && block.comment.len() > 20,
                "{place}: why isn't it run?"
            ),
            ["toml", name] => {
                block.text.parse::<toml::Table>().unwrap_or_else(|e| panic!("{place}: {e}"));
                std::fs::write(desk.folder.path().join(name), &block.text).unwrap();
            }
            ["json"] => {
                serde_json::from_str::<serde_json::Value>(&block.text)
                    .unwrap_or_else(|e| panic!("{place}: {e}"));
            }
            ["rust"] => {
                let file =
                    block.comment.strip_prefix("<!-- from: ").and_then(|rest| rest.strip_suffix(" -->"));
                let file = std::fs::read_to_string(
                    project().join(file.unwrap_or_else(|| panic!("{place}: from where?"))),
                )
                .unwrap();
                let mut lines = file.lines().map(str::trim);
                for line in block.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                    assert!(lines.any(|other| other == line), "{place}: `{line}` isn't there, or isn't next");
                }
            }
            ["text"] => {}
            _ => panic!("{place}: a fence of the kind `{}`", block.kind),
        }
    }
    assert!(ran > 0, "{}: no command was run", page.display());
}

/// All pages.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![project().join("README.md")];
    let docs = std::fs::read_dir(project().join("docs")).unwrap();
    pages.extend(
        docs.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md")),
    );
    pages.sort();
    pages
}

#[test]
fn every_command_does_what_the_pages_say() {
    let folder = scratch();
    // A system of the kind that the book builds: SysV init, a kernel with its drivers, no initramfs.
    let plain = rootfs::debian("lfs-sysv", folder.path());
    let rootfs = folder.path().join("rootfs.tar.zst");
    must(Command::new("zstd").args(["-q", "-1", "-T0"]).arg(&plain).arg("-o").arg(&rootfs));
    let key = folder.path().join("id_ed25519");
    must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    for path in pages() {
        #[cfg(feature = "push")]
        let aws = aws_judge::Judge::start(aws_judge::Config::default()).unwrap();
        #[cfg(feature = "push")]
        let environment = aws.env();
        #[cfg(not(feature = "push"))]
        let environment = Vec::new();
        let desk = Desk { folder: scratch(), environment };
        for name in ["rootfs.tar.zst", "lfs.tar.zst"] {
            desk.link(&rootfs, name);
        }
        desk.link(&plain, "rootfs.tar");
        std::fs::create_dir(desk.folder.path().join(".ssh")).unwrap();
        desk.link(&key.with_extension("pub"), ".ssh/id_ed25519.pub");
        page(&path, &desk);
        #[cfg(feature = "push")]
        {
            let violations = aws.report().violations;
            assert!(violations.is_empty(), "{}: {violations:?}", path.display());
        }
    }
}

/// Where files of the project are on the web. Pages that are shown elsewhere, as README.md is, link to them there.
const WEB: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// What a page links to: `[text](target)` and `[text][label]`, whose target is in a line `[label]: target`.
fn links(page: &str) -> Vec<&str> {
    let targets: Vec<(&str, &str)> =
        page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect();
    let labels = page.split("][").skip(1).filter_map(|rest| rest.split(']').next());
    // Code has such brackets, too, but no words in them.
    for label in labels.filter(|label| label.starts_with(|c: char| c.is_ascii_lowercase())) {
        assert!(targets.iter().any(|(name, _)| *name == label), "[{label}] is defined nowhere");
    }
    let within = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    within.chain(targets.iter().map(|(_, target)| *target)).collect()
}

/// What is linked is there: files of the project, and headings in them.
#[test]
fn no_link_leads_nowhere() {
    let mut pages = pages();
    for name in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benches/README.md"] {
        pages.push(project().join(name));
    }
    let mut count = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file.strip_prefix(WEB) {
                Some(file) => project().join(file),
                None if file.starts_with("http") => continue,
                None if file.is_empty() => page.clone(),
                None => {
                    // The registry shows it beside none of its files.
                    assert!(!page.ends_with("README.md") || page.ends_with("benches/README.md"), "{link}");
                    page.parent().unwrap().join(file)
                }
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let anchors: Vec<String> = std::fs::read_to_string(&target)
                    .unwrap()
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| anchor(line.trim_start_matches('#').trim()))
                    .collect();
                assert!(
                    anchors.iter().any(|a| a == heading),
                    "{}: {link}, there are {anchors:?}",
                    page.display()
                );
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// A heading as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn a_judge_that_can_fail() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(matches(&lines("a\n…\nz"), &["a", "b", "z"]));
    assert!(matches(&lines("a …b… c"), &["a xxb c"]));
    for (expected, said) in [
        ("a", vec![]),
        ("", vec!["a"]),
        ("a", vec!["b"]),
        ("a…", vec!["ba"]),
        ("a…b", vec!["abc"]),
        ("a\n…\nz", vec!["a", "b"]),
    ] {
        assert!(!matches(&lines(expected), &said), "{expected} {said:?}");
    }
    assert_eq!(links("[a](b.md) [c][d] x[\"y\"][0]\n[d]: e.md#f"), ["b.md", "e.md#f"]);
    assert!(std::panic::catch_unwind(|| links("[c][d]\n[e]: f.md").len()).is_err());
    let desk = Desk { folder: scratch(), environment: Vec::new() };
    let block =
        |text: &str| Block { line: 1, kind: "console".into(), text: text.into(), comment: String::new() };
    desk.run(Path::new("a.md"), &block("$ echo a; \\\n echo b >&2\na\nb\n"));
    for bad in ["$ echo a\n", "$ false\n", "$ echo a\nb\n", "$ true\na\n"] {
        let run = std::panic::AssertUnwindSafe(|| desk.run(Path::new("a.md"), &block(bad)));
        assert!(std::panic::catch_unwind(run).is_err(), "{bad}");
    }
}
