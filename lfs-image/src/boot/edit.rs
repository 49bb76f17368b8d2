//! Changes to the root filesystem that go with a loader.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::tree::edit::{Editor, File};
use crate::tree::{Action, Content};

/// One change. Paths begin with `/`; their directories are followed through symbolic links.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A file of root's, mode 0644, in place of what has its name. Directories that are missing are made, mode 0755.
    File { path: String, content: Content },
    /// Another name in place of the one it has.
    Rename { from: String, to: String },
}

impl Edit {
    /// Applies it.
    pub(crate) fn apply(&self, editor: &mut Editor<'_>) -> Result<()> {
        match self {
            Self::File { path, content } => match text(content) {
                Some(text) => editor.write(File::new(path, text, "the boot loader reads it")),
                None => editor.put_quietly(path, content.clone()),
            },
            Self::Rename { from, to } => editor.rename(from, to, "what was there is kept"),
        }
    }
}

/// What was made here and is text, as opposed to files that come from the tree.
fn text(content: &Content) -> Option<&str> {
    content.inline().filter(|bytes| !bytes.is_empty()).and_then(|bytes| str::from_utf8(bytes).ok())
}

/// Applies edits in order. Of files that come from elsewhere in the tree the directories are listed, not each of hundreds.
pub(crate) fn apply(edits: &[Edit], editor: &mut Editor<'_>) -> Result<()> {
    let mut directories: BTreeMap<&str, usize> = BTreeMap::new();
    for edit in edits {
        edit.apply(editor)?;
        if let Edit::File { path, content } = edit
            && text(content).is_none()
        {
            *directories.entry(path.rsplit_once('/').map_or("/", |(dir, _)| dir)).or_default() += 1;
        }
    }
    for (path, files) in directories {
        editor.log(path, Action::Make, "the boot loader's modules", format!("+ {files} files\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::store::Position;
    use crate::raw::time::Timestamp;
    use crate::tree::NoStore;
    use crate::tree::root::Root;
    use crate::tree::root::tests::tree;

    #[test]
    fn files_land_where_links_lead() {
        let mut tree = tree(&[("boot/grub2/grub.cfg", b"old"), ("boot/grub", b"->grub2"), ("etc", b"")]);
        let time = Timestamp::from_secs(5);
        let mut editor = Editor::new(&mut tree, &NoStore, time);
        let stored = Content::stored(Position::new(0, 0).unwrap(), 5);
        let file = |path: &str, content| Edit::File { path: path.into(), content };
        let keep =
            Edit::Rename { from: "/boot/grub/grub.cfg".into(), to: "/boot/grub/grub.cfg.before".into() };
        let edits = [
            keep.clone(),
            file("/boot/grub/grub.cfg", Content::bytes(*b"new")),
            file("/boot/grub/i386-pc/a.mod", stored.clone()),
            file("/boot/grub/i386-pc/b.mod", stored),
        ];
        apply(&edits, &mut editor).unwrap();
        let error = file("/etc/x", Content::bytes(*b"new")).apply(&mut editor).unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "etc in its path is a file");
        assert!(keep.apply(&mut editor).is_ok(), "over the one before");
        assert!(keep.apply(&mut editor).is_err(), "nothing is left to rename");
        let said: Vec<String> = editor.finish().iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 4, "{said:?}");
        assert_eq!(said[2], "make /boot/grub/i386-pc: the boot loader's modules");
        let root = Root::new(&tree, &NoStore);
        let path = "boot/grub2/grub.cfg.before";
        assert_eq!(root.read(root.file(path).unwrap(), path, 9).unwrap(), b"new");
        assert_eq!(tree.node(tree.lookup(path.as_bytes()).unwrap()).names(), 1);
        let dir = tree.lookup(b"boot/grub2/i386-pc").unwrap();
        assert_eq!((tree.node(dir).meta.mode, tree.node(dir).meta.mtime), (0o755, time));
    }
}
