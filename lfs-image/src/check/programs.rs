//! Whether what starts first can start: programs, their interpreters and their libraries, as the dynamic linker finds them.
//!
//! Source: ld.so(8), elf(5), execve(2). Not here: what programs load later (PAM, NSS, plugins).

use std::collections::{BTreeSet, VecDeque};

use object::elf;
use object::read::elf::ProgramHeader as _;

use super::Findings;
use crate::configure::{Init, System};
use crate::error::Result;
use crate::tree::Root;

/// The largest program or library that is looked into.
const MAX: u64 = 256 << 20;
/// How many interpreters a script may have that are scripts themselves (Linux's limit).
const MAX_SCRIPTS: usize = 4;

/// Where the dynamic linker looks without being told, and where Debian's and Fedora's do.
const LIBRARIES: [&str; 10] = [
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib",
    "/usr/lib/systemd",
];

pub(super) fn check(root: Root<'_>, system: &System, findings: &mut Findings) -> Result<()> {
    let Some(init) = system.init_path else {
        findings
            .fatal("init-missing", "there is no init: none of /sbin/init, /etc/init, /bin/init")
            .mend("install sysvinit or systemd into the tree");
        return Ok(());
    };
    let mut programs = vec![init];
    // Scripts of init's, and logins.
    programs.extend(["/bin/sh", "/bin/bash"].iter().filter(|path| root.find(path).is_some()));
    if root.find("/bin/sh").is_none() && system.init != Init::Systemd {
        findings
            .fatal("shell-missing", "there is no /bin/sh, which init runs its scripts with")
            .mend("install bash");
    }
    let mut seen = BTreeSet::new();
    for program in programs {
        run(root, program, &mut seen, findings)?;
    }
    Ok(())
}

/// Follows what it takes to run a program.
fn run(root: Root<'_>, program: &str, seen: &mut BTreeSet<String>, findings: &mut Findings) -> Result<()> {
    let mut path = program.to_owned();
    for _ in 0..MAX_SCRIPTS {
        if !seen.insert(path.clone()) {
            return Ok(());
        }
        let Some(id) = root.find(&path) else {
            let what = if path == program {
                "it leads nowhere".to_owned()
            } else {
                format!("{path}, which runs it, is missing")
            };
            findings.fatal("interpreter-missing", what).at(program).mend("install what it is a part of");
            return Ok(());
        };
        let Some(content) = root.content(id) else {
            findings.fatal("not-a-program", "it is no file").at(&path);
            return Ok(());
        };
        let head = root.head(&content.to_blob(), 4096)?;
        if root.tree.node(id).meta.mode & 0o111 == 0 {
            findings
                .fatal("not-executable", "it can't be executed by its mode")
                .at(&path)
                .mend("chmod +x in the tree");
        }
        if let Some(rest) = head.strip_prefix(b"#!") {
            let line = rest.split(|c| *c == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).trim().to_owned();
            path = line.split_ascii_whitespace().next().unwrap_or_default().to_owned();
            continue;
        }
        if head.starts_with(b"\x7fELF") {
            return link(root, program, &path, seen, findings);
        }
        findings.fatal("not-a-program", "it is neither an ELF program nor a script").at(&path);
        return Ok(());
    }
    Ok(())
}

/// What a program or a library asks the dynamic linker for.
#[derive(Debug, Default)]
struct Wants {
    interpreter: Option<String>,
    libraries: Vec<String>,
    run_path: Vec<String>,
    class: u8,
}

fn link(
    root: Root<'_>,
    program: &str,
    path: &str,
    seen: &mut BTreeSet<String>,
    findings: &mut Findings,
) -> Result<()> {
    let configured = configured(root);
    let mut todo = VecDeque::from([path.to_owned()]);
    // A library that is loaded already is found by its name alone.
    let mut loaded: BTreeSet<String> = BTreeSet::new();
    let mut missing = BTreeSet::new();
    while let Some(path) = todo.pop_front() {
        let Some(content) = root.file(&path).filter(|content| content.size() <= MAX) else { continue };
        let bytes = root.read(content, &path, MAX)?;
        let Some(wants) = wants(&bytes) else {
            findings.warn("elf-damaged", "its program headers make no sense").at(&path);
            continue;
        };
        if let Some(interpreter) = &wants.interpreter
            && root.file(interpreter).is_none()
        {
            findings
                .fatal("interpreter-missing", format!("its dynamic linker {interpreter} is missing"))
                .at(&path)
                .mend("install the C library into the tree");
        }
        let origin = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for library in &wants.libraries {
            if loaded.contains(library) {
                continue;
            }
            let own =
                wants.run_path.iter().map(|dir| dir.replace("${ORIGIN}", origin).replace("$ORIGIN", origin));
            let dirs = own.chain(configured.iter().cloned()).chain(LIBRARIES.map(str::to_owned));
            let found = if library.contains('/') {
                Some(library.clone()).filter(|path| root.file(path).is_some())
            } else {
                dirs.map(|dir| format!("{dir}/{library}")).find(|path| class(root, path) == Some(wants.class))
            };
            match found {
                Some(path) => {
                    loaded.insert(library.clone());
                    if seen.insert(path.clone()) {
                        todo.push_back(path);
                    }
                }
                None if missing.insert(library.clone()) => {
                    let by = if path == program { String::new() } else { format!(" (for {path})") };
                    findings
                        .fatal("library-missing", format!("its library {library} is missing{by}"))
                        .at(program)
                        .mend("install the library into the tree");
                }
                None => {}
            }
        }
    }
    Ok(())
}

/// Whether an ELF file is for 32 (1) or 64 bits (2).
fn class(root: Root<'_>, path: &str) -> Option<u8> {
    let head = root.head(&root.file(path)?.to_blob(), 16).ok()?;
    head.starts_with(b"\x7fELF").then(|| head.get(4).copied())?
}

/// Directories of /etc/ld.so.conf and what it includes.
fn configured(root: Root<'_>) -> Vec<String> {
    let mut dirs = Vec::new();
    let mut files = VecDeque::from(["/etc/ld.so.conf".to_owned()]);
    let mut seen = BTreeSet::new();
    while let Some(path) = files.pop_front() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Some(text) = root.file(&path).and_then(|content| root.read(content, &path, 1 << 20).ok()) else {
            continue;
        };
        for line in String::from_utf8_lossy(&text).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.strip_prefix("include ") {
                Some(pattern) => {
                    let (dir, name) = pattern.trim().rsplit_once('/').unwrap_or(("/etc", pattern.trim()));
                    let (front, back) = name.split_once('*').unwrap_or((name, ""));
                    for name in root.names(dir).into_iter().filter_map(|name| std::str::from_utf8(name).ok())
                    {
                        if name.starts_with(front) && name.ends_with(back) {
                            files.push_back(format!("{dir}/{name}"));
                        }
                    }
                }
                None if line.starts_with('/') => dirs.push(line.trim_end_matches('/').to_owned()),
                None => {}
            }
        }
    }
    dirs
}

fn wants(bytes: &[u8]) -> Option<Wants> {
    match bytes.get(4)? {
        1 => wants_of::<elf::FileHeader32<object::Endianness>>(bytes, 1),
        2 => wants_of::<elf::FileHeader64<object::Endianness>>(bytes, 2),
        _ => None,
    }
}

fn wants_of<Elf: object::read::elf::FileHeader<Endian = object::Endianness>>(
    bytes: &[u8],
    class: u8,
) -> Option<Wants> {
    use object::read::elf::Dyn as _;
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let mut wants = Wants { class, ..Wants::default() };
    for segment in segments {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, bytes) {
            wants.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
        }
    }
    let Some(dynamic) = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).ok().flatten())
    else {
        return Some(wants);
    };
    let value = |tag: elf::DynamicTag| {
        dynamic
            .iter()
            .find(|entry| entry.tag(endian) == tag)
            .map(|entry| -> u64 { entry.d_val(endian).into() })
    };
    let Some(strings) = value(elf::DT_STRTAB) else { return Some(wants) };
    // Addresses are of the program in memory.
    let string = |offset: u64| {
        let address = strings.checked_add(offset)?;
        let segment = segments.iter().find(|segment| {
            let start: u64 = segment.p_vaddr(endian).into();
            let len: u64 = segment.p_filesz(endian).into();
            segment.p_type(endian) == elf::PT_LOAD && address >= start && address - start < len
        })?;
        let at = address - segment.p_vaddr(endian).into() + segment.p_offset(endian).into();
        let rest = bytes.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|c| *c == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    for entry in dynamic {
        let offset: u64 = entry.d_val(endian).into();
        match entry.tag(endian) {
            elf::DT_NEEDED => wants.libraries.extend(string(offset)),
            elf::DT_RUNPATH | elf::DT_RPATH => {
                wants.run_path.extend(string(offset)?.split(':').map(str::to_owned));
            }
            elf::DT_NULL => break,
            _ => {}
        }
    }
    Some(wants)
}
