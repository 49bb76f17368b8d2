//! Opens archives and reads them.

use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

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
        let paths: Vec<&Path> =
            std::iter::once(first).chain(args.overlay.iter().map(PathBuf::as_path)).collect();
        let names = paths.iter().map(|path| name(path)).collect();
        let files = paths.iter().map(|path| open(path)).collect::<Result<_>>()?;
        Ok(Self { names, files })
    }

    /// Whether one of the archives is the file at `path`.
    pub(crate) fn has(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(other) = path.metadata() else { return false };
        self.files.iter().any(|file| {
            file.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == (other.dev(), other.ino()))
        })
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
        read_archives(inputs, options, &mut |done, total| meter.at(done, total))
            .map_err(|error| Step::Read { spool_dir: &options.spool_dir }.explain(error))
    }
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

/// Whether a file that begins so is an archive, whatever else it may look like by chance: gzip, zstd, xz, bzip2 or tar.
pub(crate) fn is_archive(head: &[u8]) -> bool {
    COMPRESSED.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"];
/// How much of a file is looked at for that.
pub(crate) const HEAD: u64 = 512;

/// Whether what is in a file can be looked at twice.
pub(crate) fn is_seekable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    meta.is_file() || meta.file_type().is_block_device()
}
