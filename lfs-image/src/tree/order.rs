//! Inodes put into the order in which a walk meets them.
//!
//! Everything after the merge (digest, numbering, placing, writing) walks the tree in one order. An archive's own order
//! is often another, and then each of these steps would jump about in memory once for every inode.

use super::{NodeId, Tree};

impl Tree {
    /// Renumbers the inodes: a directory's entries together, in byte order of their names, before anything below them.
    /// Inodes without names are dropped. Ids that were given out before mean nothing afterwards, but the root's.
    pub(super) fn sort_nodes(&mut self) {
        // The new number of each inode; those without names are not met and come last.
        const UNMET: u32 = u32::MAX;
        let mut numbers = vec![UNMET; self.nodes.len()];
        numbers[NodeId::ROOT.index()] = 0;
        let mut next = 1;
        let mut todo = vec![NodeId::ROOT];
        while let Some(id) = todo.pop() {
            let Some(directory) = self.node(id).as_directory() else { continue };
            let first_below = todo.len();
            for (_, child) in directory.iter() {
                let number = &mut numbers[child.index()];
                if *number == UNMET {
                    *number = next;
                    next += 1;
                }
                if self.node(child).as_directory().is_some() {
                    todo.push(child);
                }
            }
            // The stack gives back what came last.
            todo[first_below..].reverse();
        }
        let named = next;
        for number in numbers.iter_mut().filter(|number| **number == UNMET) {
            *number = next;
            next += 1;
        }
        for node in &mut self.nodes {
            if let super::Kind::Directory(directory) = &mut node.kind {
                directory.parent = NodeId(numbers[directory.parent.index()]);
                for id in directory.entries.values_mut() {
                    *id = NodeId(numbers[id.index()]);
                }
            }
        }
        // Every swap brings one inode home.
        for at in 0..numbers.len() {
            while numbers[at] as usize != at {
                let home = numbers[at] as usize;
                self.nodes.swap(at, home);
                numbers.swap(at, home);
            }
        }
        self.nodes.truncate(named as usize);
        self.unused = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Directory, Kind, Meta};

    #[test]
    fn walks_meet_inodes_in_order_and_the_tree_is_the_same() {
        let mut tree = Tree::new();
        let meta = Meta::default;
        let file = |n: u8| Kind::File(Content::bytes(vec![n; usize::from(n)]));
        let dir = || Kind::Directory(Directory::default());
        let z = tree.insert(NodeId::ROOT, b"z", meta(), dir()).unwrap();
        let late = tree.insert(z, b"late", meta(), file(3)).unwrap();
        let gone = tree.insert(NodeId::ROOT, b"gone", meta(), dir()).unwrap();
        tree.insert(gone, b"below", meta(), file(1)).unwrap();
        let b = tree.insert(NodeId::ROOT, b"b", meta(), dir()).unwrap();
        let deep = tree.insert(b, b"deep", meta(), dir()).unwrap();
        tree.insert(deep, b"deeper", meta(), dir()).unwrap();
        tree.link(NodeId::ROOT, b"a", late).unwrap();
        tree.remove(NodeId::ROOT, b"gone").unwrap();
        let digest = |tree: &Tree| {
            let mut all = Vec::new();
            tree.digest(&mut |bytes| all.extend_from_slice(bytes));
            all
        };
        let before = digest(&tree);
        tree.sort_nodes();
        assert_eq!(digest(&tree), before);
        assert_eq!(tree.node_table_len(), 6);
        let ids = [&b""[..], b"a", b"b", b"z", b"b/deep", b"b/deep/deeper"].map(|path| tree.lookup(path));
        assert_eq!(ids, [0, 1, 2, 3, 4, 5].map(|n| Some(NodeId(n))));
        assert_eq!(tree.lookup(b"z/late"), Some(NodeId(1)));
        let deep = tree.lookup(b"b/deep").unwrap();
        assert_eq!(tree.node(deep).as_directory().unwrap().parent(), tree.lookup(b"b").unwrap());
        assert_eq!(tree.node(NodeId(1)).names(), 2);
    }
}
