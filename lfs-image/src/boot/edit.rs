//! Changes to the root filesystem that go with a loader.

use super::root::Root;
use crate::error::{Error, Result};
use crate::raw::store::NoStore;
use crate::raw::time::Timestamp;
use crate::tree::{Content, Directory, Kind, Meta, NodeId, Tree};

/// One change. Paths begin with `/`; their directories are followed through symbolic links.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A file of root's, mode 0644, in place of what has its name. Directories that are missing are made, mode 0755.
    File { path: String, content: Content },
    /// Another name in place of the one it has.
    Rename { from: String, to: String },
}

impl Edit {
    /// Applies it; what is made gets this time.
    pub(crate) fn apply(&self, tree: &mut Tree, time: Timestamp) -> Result<()> {
        let wrap = |e: Error, path: &str| e.context(format!("write {path} in the root filesystem"));
        match self {
            Self::File { path, content } => {
                let (dir, name) = parent(tree, path, time).map_err(|e| wrap(e, path))?;
                let (meta, kind) = (Meta::new(0o644, time), Kind::File(content.clone()));
                tree.insert(dir, name, meta, kind).map_err(|e| wrap(e, path))?;
            }
            Self::Rename { from, to } => {
                let (from_dir, from_name) = parent(tree, from, time).map_err(|e| wrap(e, from))?;
                let (to_dir, to_name) = parent(tree, to, time).map_err(|e| wrap(e, to))?;
                let id = tree
                    .node(from_dir)
                    .as_directory()
                    .and_then(|directory| directory.get(from_name))
                    .ok_or_else(|| Error::internal(format!("there is no {from} to rename")))?;
                tree.link(to_dir, to_name, id).map_err(|e| wrap(e, to))?;
                tree.remove(from_dir, from_name)?;
            }
        }
        Ok(())
    }
}

/// The directory of a path and the name in it. Directories that are missing are made.
fn parent<'p>(tree: &mut Tree, path: &'p str, time: Timestamp) -> Result<(NodeId, &'p [u8])> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at = NodeId::ROOT;
    let mut so_far = String::new();
    for part in dir.split('/').filter(|part| !part.is_empty()) {
        so_far = format!("{so_far}/{part}");
        at = match Root::new(tree, &NoStore).find(&so_far) {
            Some(id) => id,
            None => {
                let kind = Kind::Directory(Directory::default());
                tree.insert(at, part.as_bytes(), Meta::new(0o755, time), kind)?
            }
        };
        if tree.node(at).as_directory().is_none() {
            return Err(Error::input(format!("{so_far} is a {}", tree.node(at).kind.noun())));
        }
    }
    Ok((at, name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::root::tests::tree;

    fn file(path: &str) -> Edit {
        Edit::File { path: path.into(), content: Content::bytes(*b"new") }
    }

    #[test]
    fn files_land_where_links_lead() {
        let mut tree = tree(&[("boot/grub2/grub.cfg", b"old"), ("boot/grub", b"->grub2"), ("etc", b"")]);
        let time = Timestamp::from_secs(5);
        let keep =
            Edit::Rename { from: "/boot/grub/grub.cfg".into(), to: "/boot/grub/grub.cfg.before".into() };
        keep.apply(&mut tree, time).unwrap();
        file("/boot/grub/grub.cfg").apply(&mut tree, time).unwrap();
        file("/boot/grub/i386-pc/a.mod").apply(&mut tree, time).unwrap();
        for (path, bytes) in [
            ("boot/grub2/grub.cfg", b"new"),
            ("boot/grub2/grub.cfg.before", b"old"),
            ("boot/grub2/i386-pc/a.mod", b"new"),
        ] {
            let root = Root::new(&tree, &NoStore);
            assert_eq!(root.read(root.file(path).unwrap(), path, 9).unwrap(), bytes, "{path}");
            assert_eq!(tree.node(tree.lookup(path.as_bytes()).unwrap()).names(), 1);
        }
        let dir = tree.lookup(b"boot/grub2/i386-pc").unwrap();
        assert_eq!((tree.node(dir).meta.mode, tree.node(dir).meta.mtime), (0o755, time));
        let error = file("/etc/x").apply(&mut tree, time).unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "/etc is a file");
        assert!(keep.apply(&mut tree, time).is_ok(), "over the one before");
        assert!(keep.apply(&mut tree, time).is_err(), "nothing is left to rename");
    }
}
