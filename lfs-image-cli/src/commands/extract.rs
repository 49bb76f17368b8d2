//! `lfs-image extract`: a tree as a tar archive or as files.

use std::fs::{File, Permissions};
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lfs_image::tree::{Kind, NodeId};
use lfs_image::{Error, ErrorKind, Result, Tree};
use serde::Serialize;
use tempfile::{Builder, NamedTempFile};

use crate::failure::{Failure, Step};
use crate::files_out;
use crate::interrupt::Interrupt;
use crate::look::{Look, bytes, find};
use crate::looking::Extract;
use crate::meter::Meter;
use crate::size::{Count, Human};
use crate::source::keep_apart;
use crate::spec::is_pipe;
use crate::tar_out;
use crate::ui::Ui;

/// The JSON of `extract --json`. Fields are only ever added under the same version.
#[derive(Debug, Serialize)]
struct Extracted {
    version: u32,
    out: String,
    entries: u64,
    /// Bytes of files, without holes.
    bytes: u64,
    /// What is not in it, a clause each.
    left_out: Vec<String>,
}

pub(crate) fn run(args: &Extract, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    keep_apart(&args.out, args.archive.inputs(&args.file))?;
    // The temporary name of what is to be there means nothing to anybody.
    if !is_pipe(&args.out) {
        let failed = |e| Error::io(format!("write {}", args.out.display()), e);
        std::fs::metadata(folder(&args.out)).map_err(failed)?;
    }
    let out = if args.files { Out::folder(&args.out)? } else { Out::archive(&args.out, ui.json)? };
    interrupt.guard(out.temporary());
    let look = Look::at(&args.file, &args.archive, ui, &interrupt)?;
    let tree = &look.tree;
    let roots = roots(tree, &args.paths)?;
    let total = bytes_in(tree, &roots);
    let meter = Meter::new(ui, &interrupt, "write");
    let mut check = |done| meter.at(done, Some(total));
    let store = look.files.store();
    let (entries, bytes, left_out) = match out {
        Out::Folder { temporary, out } => {
            // Nobody else gets into the outer one.
            let inner = temporary.path().join("files");
            std::fs::create_dir(&inner).map_err(|e| Error::io(format!("make {}", inner.display()), e))?;
            let made = files_out::write(tree, store, &roots, &inner, &mut check)?;
            look.files.store().verify_unchanged()?;
            // An empty directory that is there is replaced in one step.
            let failed = |e| Error::io(format!("move what was made to {}", out.display()), e);
            move_directory(&inner, &out).map_err(failed)?;
            (made.entries, made.bytes, left_of_files(&made))
        }
        Out::File { temporary, out } => {
            let mut file = BufWriter::with_capacity(1 << 20, temporary);
            let made = tar_out::write(tree, store, &roots, &mut file, &mut check).map_err(explain)?;
            look.files.store().verify_unchanged()?;
            let file = file.into_inner().map_err(|e| Error::io(tar_out::WRITE, e.into_error()))?;
            let failed = |e: tempfile::PersistError| Error::io(format!("write {}", out.display()), e.error);
            file.persist(&out).map_err(failed)?;
            (made.entries, made.bytes, left_of_tar(&made))
        }
        Out::Stream(file) => {
            let mut file = BufWriter::with_capacity(1 << 20, file);
            let made = tar_out::write(tree, store, &roots, &mut file, &mut check).map_err(explain)?;
            file.flush().map_err(|e| Error::io(tar_out::WRITE, e))?;
            look.files.store().verify_unchanged()?;
            (made.entries, made.bytes, left_of_tar(&made))
        }
    };
    interrupt.guard(None);
    drop(meter);
    for left in &left_out {
        ui.warn(format_args!("not in it: {left}"));
    }
    let to = if is_pipe(&args.out) { "stdout".to_owned() } else { args.out.display().to_string() };
    ui.step("write", format_args!("{to:<14}  {} entries, {}", Count(entries), Human(bytes)));
    if ui.json {
        ui.json(&Extracted { version: 1, out: to, entries, bytes, left_out })?;
    }
    Ok(())
}

/// Moves a directory that may be one that its owner can't write to, which the system would refuse.
fn move_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    let wanted = from.metadata()?.permissions();
    std::fs::set_permissions(from, Permissions::from_mode(wanted.mode() | 0o700))?;
    std::fs::rename(from, to)?;
    std::fs::set_permissions(to, wanted)
}

fn explain(error: Error) -> Failure {
    Step::Extract.explain(error)
}

/// Where it goes.
enum Out {
    Folder { temporary: tempfile::TempDir, out: PathBuf },
    File { temporary: NamedTempFile, out: PathBuf },
    Stream(File),
}

impl Out {
    fn folder(out: &Path) -> Result<Self, Failure> {
        if let Ok(mut entries) = out.read_dir() {
            if entries.next().is_some() {
                let what = format!("{} is not empty", out.display());
                return Err(Failure {
                    hint: Some("name a directory that isn't there yet".to_owned()),
                    ..Failure::from(Error::new(ErrorKind::Input, what))
                });
            }
        } else if out.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::Input, format!("{} is no directory", out.display())).into());
        }
        let failed = |e| Error::io(format!("make a directory beside {}", out.display()), e);
        let temporary = Builder::new().prefix(".lfs-image-").tempdir_in(folder(out)).map_err(failed)?;
        Ok(Self::Folder { temporary, out: out.to_owned() })
    }

    fn archive(out: &Path, json: bool) -> Result<Self, Failure> {
        if is_pipe(out) {
            let stdout = std::io::stdout();
            let fault = match (stdout.is_terminal(), json) {
                (true, _) => "stdout is a terminal, and an archive is nothing to look at",
                (_, true) => "--json prints to stdout, where the archive goes",
                _ => {
                    let stdout =
                        stdout.as_fd().try_clone_to_owned().map_err(|e| Error::io("open stdout", e))?;
                    return Ok(Self::Stream(File::from(stdout)));
                }
            };
            return Err(Failure {
                hint: Some("give a file for OUT, or send stdout to a program".to_owned()),
                ..Failure::from(Error::new(ErrorKind::Input, fault))
            });
        }
        let failed = |e| Error::io(format!("write {}", out.display()), e);
        match out.metadata() {
            Ok(meta) if meta.is_dir() => {
                return Err(Failure {
                    hint: Some("`--files` makes files in a directory".to_owned()),
                    ..Failure::from(Error::new(ErrorKind::Input, format!("{} is a directory", out.display())))
                });
            }
            // A pipe or a device takes it as it comes.
            Ok(meta) if !meta.is_file() => {
                return Ok(Self::Stream(File::options().write(true).open(out).map_err(failed)?));
            }
            _ => {}
        }
        let temporary = Builder::new()
            .prefix(".lfs-image-")
            // The umask takes away what it takes away of any file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder(out))
            .map_err(failed)?;
        Ok(Self::File { temporary, out: out.to_owned() })
    }

    fn temporary(&self) -> Option<PathBuf> {
        match self {
            Self::Folder { temporary, .. } => Some(temporary.path().to_owned()),
            Self::File { temporary, .. } => Some(temporary.path().to_owned()),
            Self::Stream(_) => None,
        }
    }
}

/// The folder that something is in.
fn folder(out: &Path) -> PathBuf {
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What is to be taken, by paths without links on the way; what is below another one is there already.
fn roots(tree: &Tree, paths: &[PathBuf]) -> Result<Vec<(Vec<u8>, NodeId)>> {
    if paths.is_empty() {
        return Ok(vec![(Vec::new(), NodeId::ROOT)]);
    }
    let mut roots = paths.iter().map(|path| find(tree, bytes(path), false)).collect::<Result<Vec<_>>>()?;
    roots.sort_by(|(a, _), (b, _)| a.split(|c| *c == b'/').cmp(b.split(|c| *c == b'/')));
    roots.dedup_by(|(path, _), (above, _)| {
        above.is_empty()
            || path.strip_prefix(&above[..]).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    });
    Ok(roots)
}

/// Bytes of data that will be written.
fn bytes_in(tree: &Tree, roots: &[(Vec<u8>, NodeId)]) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    let mut todo: Vec<NodeId> = roots.iter().map(|(_, id)| *id).collect();
    let mut bytes = 0_u64;
    while let Some(id) = todo.pop() {
        let node = tree.node(id);
        match &node.kind {
            Kind::Directory(directory) => todo.extend(directory.iter().map(|(_, id)| id)),
            Kind::File(content) if node.names() == 1 || seen.insert(id) => {
                bytes = content.runs().fold(bytes, |bytes, (_, len)| bytes.saturating_add(len));
            }
            _ => {}
        }
    }
    bytes
}

fn left_of_tar(made: &tar_out::Written) -> Vec<String> {
    let sockets =
        (made.sockets > 0).then(|| format!("{} (no archive holds them)", several(made.sockets, "socket")));
    sockets.into_iter().collect()
}

fn left_of_files(made: &files_out::Made) -> Vec<String> {
    let counted = [
        (made.special, "device, pipe or socket", "devices, pipes or sockets"),
        (made.owners, "name's owner", "names' owners"),
        (made.set_id, "set-user-ID or set-group-ID bit", "set-user-ID or set-group-ID bits"),
        (made.xattrs, "extended attribute", "extended attributes"),
    ];
    counted
        .into_iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, one, more)| format!("{} {}", Count(n), if n == 1 { one } else { more }))
        .collect()
}

fn several(n: u64, what: &str) -> String {
    format!("{} {what}{}", Count(n), if n == 1 { "" } else { "s" })
}
