//! Opens archives and reads them.

use std::fs::{File, Metadata};
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use lfs_image::archive::Store;
use lfs_image::{Error, Input, ReadOptions, Result, Tree, read_archives};

use crate::cli::ArchiveArgs;
use crate::failure::{Failure, Step};
use crate::interrupt::Interrupt;
use crate::meter::Meter;
use crate::spec::is_pipe;
use crate::ui::Ui;

/// Archives that can be opened: the first one and its overlays.
#[derive(Debug)]
pub(crate) struct Source {
    /// As they were typed.
    pub(crate) names: Vec<String>,
    files: Vec<File>,
}

impl Source {
    /// Opens everything, so that a mistyped name is found before hours of work.
    pub(crate) fn open(first: &Path, args: &ArchiveArgs) -> Result<Self> {
        let paths: Vec<&Path> = args.inputs(first).collect();
        let names = paths.iter().map(|path| name(path)).collect();
        let files = paths.iter().map(|path| open(path)).collect::<Result<_>>()?;
        Ok(Self { names, files })
    }

    /// Reads them into one tree.
    pub(crate) fn read(
        self,
        options: &ReadOptions,
        ui: Ui,
        interrupt: &Interrupt,
    ) -> Result<(Tree, Store), Failure> {
        let _span = tracing::debug_span!("read").entered();
        let meter = Meter::new(ui, interrupt, "read");
        let inputs = self.names.into_iter().zip(self.files).map(|(name, file)| Input::file(name, file));
        read_archives(inputs, options, &mut |_, done, total| meter.at(done, total))
            .map_err(|error| Step::Read { spool_dir: &options.spool_dir }.explain(error))
    }
}

/// Refuses an output that is one of the files that are read, by whatever name.
pub(crate) fn keep_apart<'a>(out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let Ok(Some(replaced)) = out.metadata().as_ref().map(identity) else { return Ok(()) };
    for input in inputs {
        let meta = if is_pipe(input) { stdin_metadata() } else { input.metadata() };
        if meta.is_ok_and(|meta| identity(&meta) == Some(replaced)) {
            let (input, out) = (name(input), out.display());
            let which = if input == out.to_string() { input } else { format!("{out} ({input})") };
            let what = format!("{which} is read, and what is written would replace it");
            return Err(Error::new(lfs_image::ErrorKind::Input, what));
        }
    }
    Ok(())
}

/// What tells a file from others, if writing to it takes something away.
fn identity(meta: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    is_seekable(meta).then(|| (meta.dev(), meta.ino()))
}

fn stdin_metadata() -> std::io::Result<Metadata> {
    std::io::stdin().as_fd().try_clone_to_owned().map(File::from)?.metadata()
}

/// What a path is called in messages.
pub(crate) fn name(path: &Path) -> String {
    if is_pipe(path) { "stdin".to_owned() } else { path.display().to_string() }
}

fn open(path: &Path) -> Result<File> {
    if !is_pipe(path) {
        return File::open(path).map_err(|e| Error::io(format!("open {}", path.display()), e));
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Error::new(lfs_image::ErrorKind::Input, "stdin is a terminal, not an archive"));
    }
    // Unbuffered: a plain archive that is redirected is read where it stands.
    stdin.as_fd().try_clone_to_owned().map(File::from).map_err(|e| Error::io("open stdin", e))
}

/// That something is there to be read, before anything else is done.
#[cfg(feature = "push")]
pub(crate) fn look_at(path: &Path) -> Result<()> {
    if !is_pipe(path) && open(path)?.metadata().is_ok_and(|meta| meta.is_dir()) {
        let what = format!("{} is a directory, neither an image nor an archive", path.display());
        return Err(Error::new(lfs_image::ErrorKind::Input, what));
    }
    Ok(())
}

/// Whether a file that begins so is an archive, whatever else it may look like by chance: gzip, zstd, xz, bzip2 or tar.
pub(crate) fn is_archive(head: &[u8]) -> bool {
    COMPRESSED.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"];
/// How much of a file is looked at for that.
pub(crate) const HEAD: u64 = 512;

/// Whether what is in a file can be looked at twice.
pub(crate) fn is_seekable(meta: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    meta.is_file() || meta.file_type().is_block_device()
}
