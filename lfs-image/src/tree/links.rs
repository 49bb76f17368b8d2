//! Hard links whose target comes later in the archive.
//!
//! Such a name is held by a placeholder inode, so that every later entry treats it as the name it is: it can be
//! replaced, and other hard links can bind to it. At the end of the archive the names that are still there are given
//! to the inode that the target's path names by then. A placeholder whose names were all replaced makes room for
//! another inode like any other, so what is kept for it means nothing unless its place still holds one.

use std::collections::BTreeMap;

use super::path::show;
use super::{Device, Kind, Meta, NodeId, Tree};
use crate::error::{Error, Result};

/// What a placeholder is: a device that no archive can name.
const PLACEHOLDER: Kind = Kind::CharDevice(Device { major: u32::MAX, minor: u32::MAX });

/// Whether an inode is a placeholder.
pub(super) fn is_placeholder(kind: &Kind) -> bool {
    matches!(kind, Kind::CharDevice(Device { major: u32::MAX, minor: u32::MAX }))
}

/// Hard links that wait for their targets.
#[derive(Debug, Default)]
pub(super) struct Forward {
    by_placeholder: BTreeMap<NodeId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// The entry, for messages.
    entry: String,
    /// The target's path, normalized.
    target: Vec<u8>,
    /// The names that the inode is to get: directory and name in it.
    names: Vec<(NodeId, Box<[u8]>)>,
}

impl Forward {
    /// Names a placeholder for a link to the path `target`.
    pub(super) fn wait(
        &mut self,
        tree: &mut Tree,
        parent: NodeId,
        name: &[u8],
        target: &[u8],
        entry: String,
    ) -> Result<()> {
        let id = tree.insert(parent, name, Meta::default(), PLACEHOLDER)?;
        let names = vec![(parent, name.into())];
        self.by_placeholder.insert(id, Waiting { entry, target: target.to_vec(), names });
        Ok(())
    }

    /// Gives a placeholder one more name.
    pub(super) fn bind(&mut self, tree: &mut Tree, parent: NodeId, name: &[u8], id: NodeId) -> Result<()> {
        tree.link(parent, name, id)?;
        if let Some(waiting) = self.by_placeholder.get_mut(&id) {
            waiting.names.push((parent, name.into()));
        }
        Ok(())
    }

    /// Gives every name that still waits its inode. `find` says which inode a path names.
    pub(super) fn resolve(
        &mut self,
        tree: &mut Tree,
        mut find: impl FnMut(&mut Tree, &[u8]) -> Result<NodeId>,
    ) -> Result<()> {
        let waiting = std::mem::take(&mut self.by_placeholder);
        let mut known: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let is_there = |tree: &Tree, id: NodeId| {
            let node = tree.node(id);
            node.names() > 0 && is_placeholder(&node.kind)
        };
        for (placeholder, link) in &waiting {
            if !is_there(tree, *placeholder) {
                continue; // every name of it was replaced
            }
            // A chain of links that wait for each other ends at an inode, or nowhere.
            let mut chain = vec![*placeholder];
            let mut target = &link.target;
            let inode = loop {
                let found = find(tree, target).map_err(|error| {
                    Error::input(format!("{}: a hard link to `{}`", link.entry, show(&link.target)))
                        .with_source(error)
                })?;
                if let Some(inode) = known.get(&found) {
                    break *inode;
                }
                let Some(next) = waiting.get(&found).filter(|_| is_there(tree, found)) else { break found };
                if chain.len() > waiting.len() {
                    return Err(Error::input(format!(
                        "{}: a hard link to `{}`, which leads back to itself",
                        link.entry,
                        show(&link.target)
                    )));
                }
                chain.push(found);
                target = &next.target;
            };
            if tree.node(inode).as_directory().is_some() {
                return Err(Error::input(format!(
                    "{}: a hard link to `{}`, which is a directory",
                    link.entry,
                    show(&link.target)
                )));
            }
            known.extend(chain.into_iter().map(|id| (id, inode)));
        }
        for (placeholder, link) in waiting {
            let Some(inode) = known.get(&placeholder) else { continue };
            for (parent, name) in link.names {
                let held = tree.node(parent).as_directory().and_then(|directory| directory.get(&name));
                if held == Some(placeholder) {
                    tree.link(parent, &name, *inode).map_err(|error| error.context(link.entry.clone()))?;
                }
            }
        }
        Ok(())
    }
}
