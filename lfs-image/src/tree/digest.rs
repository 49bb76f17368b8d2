//! A tree as a stream of bytes that says everything about it but the content of its files.

use super::{Data, Kind, NodeId, Tree};
use crate::raw::time::Timestamp;

impl Tree {
    /// Feeds a canonical form of the tree to `update`: the same for equal trees, whatever order or archive they were made
    /// from; different for trees that differ in anything but the bytes of files.
    pub(crate) fn digest(&self, update: &mut dyn FnMut(&[u8])) {
        // Inodes are numbered as they are met, so that hard links show.
        let mut numbers = vec![0u32; self.node_table_len()];
        let mut next = 0;
        let mut todo = vec![NodeId::ROOT];
        let mut record = Vec::new();
        self.digest_node(NodeId::ROOT, &mut record);
        update(&record);
        while let Some(id) = todo.pop() {
            let Some(directory) = self.node(id).as_directory() else { continue };
            let first_below = todo.len();
            update(&(directory.len() as u64).to_le_bytes());
            for (name, child) in directory.iter() {
                record.clear();
                field(&mut record, name);
                let number = &mut numbers[child.index()];
                if *number == 0 {
                    next += 1;
                    *number = next;
                    self.digest_node(child, &mut record);
                } else {
                    record.extend_from_slice(&number.to_le_bytes());
                }
                update(&record);
                if self.node(child).as_directory().is_some() {
                    todo.push(child);
                }
            }
            todo[first_below..].reverse();
        }
    }

    fn digest_node(&self, id: NodeId, record: &mut Vec<u8>) {
        let node = self.node(id);
        let meta = &node.meta;
        record.extend_from_slice(&meta.mode.to_le_bytes());
        record.extend_from_slice(&meta.uid.to_le_bytes());
        record.extend_from_slice(&meta.gid.to_le_bytes());
        let times = meta.times.as_deref().copied().unwrap_or_default();
        for time in [Some(meta.mtime), times.atime, times.ctime, times.crtime] {
            let Timestamp { sec, nsec } = time.unwrap_or(meta.mtime);
            record.extend_from_slice(&sec.to_le_bytes());
            record.extend_from_slice(&nsec.to_le_bytes());
        }
        let xattrs = self.xattrs(meta.xattrs);
        record.extend_from_slice(&(xattrs.len() as u64).to_le_bytes());
        for (name, value) in xattrs {
            field(record, name);
            field(record, value);
        }
        let (kind, first, second): (u8, u64, u64) = match &node.kind {
            Kind::Directory(_) => (1, 0, 0),
            Kind::File(content) => (2, content.size(), 0),
            Kind::Symlink(target) => (3, target.len() as u64, 0),
            Kind::CharDevice(device) => (4, device.major.into(), device.minor.into()),
            Kind::BlockDevice(device) => (5, device.major.into(), device.minor.into()),
            Kind::Fifo => (6, 0, 0),
            Kind::Socket => (7, 0, 0),
        };
        record.push(kind);
        record.extend_from_slice(&first.to_le_bytes());
        record.extend_from_slice(&second.to_le_bytes());
        match &node.kind {
            Kind::Symlink(target) => record.extend_from_slice(target),
            Kind::File(content) => {
                if let Data::Sparse(segments) = &content.data {
                    for segment in segments {
                        record.extend_from_slice(&segment.offset.to_le_bytes());
                        record.extend_from_slice(&segment.len.to_le_bytes());
                    }
                }
                record.extend_from_slice(&u64::MAX.to_le_bytes());
            }
            _ => {}
        }
    }

    /// The newest modification of anything that has a name.
    #[must_use]
    pub fn newest_mtime(&self) -> Timestamp {
        self.mtimes().max().unwrap_or_default()
    }

    /// The oldest modification of anything that has a name.
    #[must_use]
    pub fn oldest_mtime(&self) -> Timestamp {
        self.mtimes().min().unwrap_or_default()
    }

    fn mtimes(&self) -> impl Iterator<Item = Timestamp> {
        self.nodes.iter().filter(|node| node.names > 0).map(|node| node.meta.mtime)
    }
}

/// A length and so many bytes.
fn field(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    record.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Meta};

    fn digest(tree: &Tree) -> Vec<u8> {
        let mut all = Vec::new();
        tree.digest(&mut |bytes| all.extend_from_slice(bytes));
        all
    }

    #[test]
    fn order_of_making_does_not_show_but_links_do() {
        let file = || Kind::File(Content::bytes(*b"x"));
        let mut one = Tree::new();
        one.insert(NodeId::ROOT, b"a", Meta::default(), file()).unwrap();
        let b = one.insert(NodeId::ROOT, b"b", Meta::default(), file()).unwrap();
        let mut two = Tree::new();
        two.insert(NodeId::ROOT, b"b", Meta::default(), file()).unwrap();
        two.insert(NodeId::ROOT, b"a", Meta::default(), file()).unwrap();
        assert_eq!(digest(&one), digest(&two));
        one.link(NodeId::ROOT, b"a", b).unwrap();
        assert_ne!(digest(&one), digest(&two));
    }
}
