//! What takes the space, by directory.
//!
//! Bytes are those that files seem to have, holes included; a file with several names counts under each of them. That is
//! what `du --apparent-size --count-links` says, without what directories take themselves.

use lfs_image::Tree;
use lfs_image::tree::{Kind, NodeId};
use serde::Serialize;

/// What is in a directory and below.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Its path, bytes that are no UTF-8 and control characters as `\xNN`.
    pub(crate) path: String,
    /// Names in it and below.
    pub(crate) entries: u64,
    /// Bytes in the files that they name.
    pub(crate) bytes: u64,
}

/// The use of space in a tree, `depth` levels down.
pub(crate) fn of_tree(tree: &Tree, depth: usize) -> Vec<Usage> {
    let mut usage = Slots::new(depth);
    let mut todo = vec![(NodeId::ROOT, Slots::ROOT)];
    while let Some((id, slot)) = todo.pop() {
        let Some(directory) = tree.node(id).as_directory() else { continue };
        for (name, id) in directory.iter() {
            match &tree.node(id).kind {
                Kind::Directory(_) => todo.push((id, usage.directory(slot, name))),
                Kind::File(content) => usage.file(slot, content.size()),
                _ => usage.file(slot, 0),
            }
        }
    }
    usage.finish()
}

/// How many names a tree has, and the bytes in the files that they name.
pub(crate) fn total(tree: &Tree) -> (u64, u64) {
    of_tree(tree, 0).first().map_or((0, 0), |root| (root.entries, root.bytes))
}

/// How many names there are below a directory.
pub(crate) fn total_below(tree: &Tree, directory: NodeId) -> u64 {
    let mut count = 0;
    let mut todo = vec![directory];
    while let Some(id) = todo.pop() {
        for (_, id) in tree.node(id).as_directory().into_iter().flat_map(lfs_image::tree::Directory::iter) {
            count += 1;
            todo.push(id);
        }
    }
    count
}

/// Counts, one for each directory that is shown.
struct Slots {
    depth: usize,
    slots: Vec<Slot>,
}

struct Slot {
    usage: Usage,
    parent: usize,
    depth: usize,
}

impl Slots {
    const ROOT: usize = 0;

    fn new(depth: usize) -> Self {
        let usage = Usage { path: "/".to_owned(), entries: 0, bytes: 0 };
        Self { depth, slots: vec![Slot { usage, parent: Self::ROOT, depth: 0 }] }
    }

    /// Counts a directory, and says where to count what is in it.
    fn directory(&mut self, parent: usize, name: &[u8]) -> usize {
        let above = &mut self.slots[parent];
        above.usage.entries += 1;
        if above.depth == self.depth {
            return parent;
        }
        let path = format!("{}/{}", above.usage.path.trim_end_matches('/'), show(name));
        let depth = above.depth + 1;
        self.slots.push(Slot { usage: Usage { path, entries: 0, bytes: 0 }, parent, depth });
        self.slots.len() - 1
    }

    fn file(&mut self, slot: usize, bytes: u64) {
        let usage = &mut self.slots[slot].usage;
        usage.entries += 1;
        usage.bytes = usage.bytes.saturating_add(bytes);
    }

    /// Directories as in a tree, the largest first.
    fn finish(mut self) -> Vec<Usage> {
        let mut children = vec![Vec::new(); self.slots.len()];
        // What is below comes later.
        for n in (1..self.slots.len()).rev() {
            let (parent, Usage { entries, bytes, .. }) = (self.slots[n].parent, self.slots[n].usage.clone());
            let above = &mut self.slots[parent].usage;
            above.entries += entries;
            above.bytes = above.bytes.saturating_add(bytes);
            children[parent].push(n);
        }
        let mut ordered = Vec::with_capacity(self.slots.len());
        let mut todo = vec![Self::ROOT];
        while let Some(n) = todo.pop() {
            ordered.push(self.slots[n].usage.clone());
            let mut below = std::mem::take(&mut children[n]);
            let key = |n: &usize| {
                let usage = &self.slots[*n].usage;
                (usage.bytes, std::cmp::Reverse(usage.path.clone()))
            };
            // The last one is taken first.
            below.sort_by_cached_key(key);
            todo.append(&mut below);
        }
        ordered
    }
}

/// A name for people: what would confuse a terminal is escaped.
pub(crate) fn show(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        shown.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    shown
}

#[cfg(test)]
mod tests {
    use lfs_image::tree::{Content, Directory, Meta};

    use super::*;

    #[test]
    fn directories_are_counted_with_all_below() {
        let mut tree = Tree::new();
        let mut add = |parent, name: &[u8], kind| tree.insert(parent, name, Meta::default(), kind).unwrap();
        let directory = || Kind::Directory(Directory::default());
        let file = |len| Kind::File(Content::bytes(vec![7; len]));
        let usr = add(NodeId::ROOT, b"usr", directory());
        let lib = add(usr, b"lib", directory());
        let deep = add(lib, b"deep", directory());
        add(deep, b"a", file(1000));
        add(usr, b"b", file(10));
        let etc = add(NodeId::ROOT, b"e\xfft\n\xc3\xa4", directory());
        add(etc, b"link", Kind::Symlink((*b"target").into()));
        add(NodeId::ROOT, b"bin", directory());
        add(NodeId::ROOT, b"c", file(1));
        let list = |depth| -> Vec<(String, u64, u64)> {
            of_tree(&tree, depth).into_iter().map(|u| (u.path, u.entries, u.bytes)).collect()
        };
        let row = |path: &str, entries, bytes| (path.to_owned(), entries, bytes);
        assert_eq!(list(0), [row("/", 9, 1011)]);
        assert_eq!(
            list(1),
            [row("/", 9, 1011), row("/usr", 4, 1010), row("/bin", 0, 0), row("/e\\xfft\\nä", 1, 0)]
        );
        assert_eq!(list(2)[..3], [row("/", 9, 1011), row("/usr", 4, 1010), row("/usr/lib", 2, 1000)]);
        assert_eq!(list(9).len(), 6);
        assert_eq!(total(&tree), (9, 1011));
    }
}
