//! `lfs-image cat`.

use lfs_image::tree::Kind;
use lfs_image::{Error, ErrorKind};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::look::{Look, bytes, find};
use crate::looking::Cat;
use crate::ui::Ui;

/// How much is read at once.
const PIECE: u64 = 1 << 20;

pub(crate) fn run(args: &Cat, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let Look { tree, files } = Look::at(&args.file, &args.archive, ui, &interrupt)?;
    let mut found = Vec::new();
    for path in &args.paths {
        let (_, id) = find(&tree, bytes(path), true)?;
        match &tree.node(id).kind {
            Kind::File(content) => found.push(content),
            other => {
                let what = format!("{} is a {}, not a file", path.display(), other.noun());
                return Err(Error::new(ErrorKind::Input, what).into());
            }
        }
    }
    for content in found {
        let mut at = 0;
        while at < content.size() {
            interrupt.check()?;
            let n = PIECE.min(content.size() - at);
            ui.bytes(&content.read(files.store(), at, n)?)?;
            at += n;
        }
    }
    Ok(files.store().verify_unchanged()?)
}
