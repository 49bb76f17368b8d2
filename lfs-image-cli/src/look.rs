//! What is in an image or an archive, as a tree to look around in.

use std::path::Path;

use lfs_image::archive::Store;
use lfs_image::tree::{Kind, NodeId, ReadAt};
use lfs_image::{Error, ErrorKind, Result, Tree};

use crate::cli::ArchiveArgs;
use crate::commands::inspect::found;
use crate::ext4_tree;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::source::Source;
use crate::ui::Ui;
use crate::usage::show;

/// A root filesystem that is there.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) tree: Tree,
    pub(crate) files: Files,
}

/// Where its content is.
#[derive(Debug)]
pub(crate) enum Files {
    Image(Box<ext4_tree::Files>),
    Archive(Store),
}

impl Files {
    pub(crate) fn store(&self) -> &dyn ReadAt {
        match self {
            Self::Image(files) => &**files,
            Self::Archive(store) => store,
        }
    }
}

impl Look {
    /// Of an image, the largest ext4 filesystem on it; of an archive, what is in it.
    pub(crate) fn at(
        path: &Path,
        archive: &ArchiveArgs,
        ui: Ui,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        if let Some(look) = Self::at_image(path)? {
            return Ok(look);
        }
        let source = Source::open(path, archive)?;
        let (tree, store) = source.read(&archive.options(None), ui, interrupt)?;
        for warning in store.warnings() {
            ui.warn(warning);
        }
        Ok(Self { tree, files: Files::Archive(store) })
    }

    /// Of an image; `None` if it isn't one.
    pub(crate) fn at_image(path: &Path) -> Result<Option<Self>> {
        let Some((file, disk)) = found(path)? else { return Ok(None) };
        let whole = disk.partitions.iter().filter(|p| p.filesystem.is_some()).max_by_key(|p| p.len);
        let fault =
            || Error::new(ErrorKind::Input, format!("{}: there is no ext4 filesystem on it", path.display()));
        let (tree, files) = ext4_tree::read(&file, whole.ok_or_else(fault)?.offset)
            .map_err(|error| error.context(format!("can't read {}", path.display())))?;
        Ok(Some(Self { tree, files: Files::Image(Box::new(files)) }))
    }
}

/// The most symbolic links that a path may lead through, as in Linux.
const MAX_HOPS: usize = 40;

/// The inode at a path inside a tree, and where that is: symbolic links lead where they would if the tree were the root.
/// `last` says whether one at the very end is followed, too.
pub(crate) fn find<'a>(tree: &'a Tree, path: &'a [u8], last: bool) -> Result<(Vec<u8>, NodeId)> {
    let fault = |what: &str| Error::new(ErrorKind::Input, format!("{}: {what}", show(path)));
    let mut at = NodeId::ROOT;
    let mut place: Vec<&[u8]> = Vec::new();
    let mut hops = 0;
    // Names that are still to be walked, the next one last.
    let mut todo: Vec<&[u8]> = Vec::new();
    todo.extend(names(path));
    let follows_last = last || path.ends_with(b"/");
    while let Some(name) = todo.pop() {
        let Some(directory) = tree.node(at).as_directory() else { return Err(fault("it isn't there")) };
        if name == b".." {
            at = directory.parent();
            place.pop();
            continue;
        }
        let id = directory.get(name).ok_or_else(|| fault("it isn't there"))?;
        match &tree.node(id).kind {
            Kind::Symlink(target) if follows_last || !todo.is_empty() => {
                hops += 1;
                if hops > MAX_HOPS {
                    return Err(fault("it leads through more than 40 symbolic links"));
                }
                if target.first() == Some(&b'/') {
                    at = NodeId::ROOT;
                    place.clear();
                }
                todo.extend(names(target));
            }
            _ => {
                at = id;
                place.push(name);
            }
        }
    }
    Ok((place.join(&b'/'), at))
}

/// The names in a path, the first one last.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|c| *c == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// A path as it was typed, as bytes.
pub(crate) fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use lfs_image::tree::{Content, Directory, Meta};

    use super::*;

    #[test]
    fn links_lead_inside() {
        let mut tree = Tree::new();
        let mut add = |parent, name: &[u8], kind| tree.insert(parent, name, Meta::default(), kind).unwrap();
        let link = |target: &[u8]| Kind::Symlink(target.into());
        let usr = add(NodeId::ROOT, b"usr", Kind::Directory(Directory::default()));
        let bin = add(usr, b"bin", Kind::Directory(Directory::default()));
        let sh = add(bin, b"bash", Kind::File(Content::empty()));
        let own = add(bin, b"sh", link(b"bash"));
        add(NodeId::ROOT, b"bin", link(b"/../../usr/bin"));
        add(usr, b"up", link(b"../../../usr/./bin/"));
        add(usr, b"a", link(b"b"));
        add(usr, b"b", link(b"a"));
        let at =
            |path: &[u8], last| find(&tree, path, last).map(|(_, id)| id).map_err(|error| error.to_string());
        for path in [&b"/usr/bin/sh"[..], b"bin/sh", b"usr/up/sh", b"./usr//bin/../bin/./bash", b"../bin/sh"]
        {
            assert_eq!(at(path, true), Ok(sh), "{}", path.escape_ascii());
        }
        assert_eq!(at(b"/bin/sh", false), Ok(own));
        assert_eq!(find(&tree, b"/bin/../bin/sh", false).unwrap().0, b"usr/bin/sh");
        assert_eq!(at(b"/bin", true), Ok(bin));
        assert_eq!(at(b"/bin/", false), Ok(bin));
        assert_eq!(at(b"", true), Ok(NodeId::ROOT));
        for (path, word) in [(&b"/usr/a"[..], "40"), (b"/no", "isn't there"), (b"/bin/sh/x", "isn't there")] {
            assert!(at(path, true).unwrap_err().contains(word));
        }
    }
}
