//! `lfs-image ls`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lfs_image::Tree;
use lfs_image::tree::{Kind, NodeId};
use serde::Serialize;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::look::{Look, bytes, find};
use crate::looking::Ls;
use crate::ui::Ui;
use crate::usage::show;
use crate::when::Utc;

/// The JSON of `ls --json`. Fields are only ever added under the same version.
#[derive(Debug, Serialize)]
struct Listing {
    version: u32,
    file: String,
    entries: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    /// From the root; bytes that are no UTF-8 and control characters as `\xNN`.
    path: String,
    /// `file`, `directory`, `symbolic link`, `character device`, `block device`, `fifo` or `socket`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Octal.
    mode: String,
    links: u32,
    uid: u32,
    gid: u32,
    /// Of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Bytes of the file that are no hole.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<u64>,
    /// In UTC.
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// `MAJOR:MINOR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// Values with bytes that aren't printable escaped.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
}

pub(crate) fn run(args: &Ls, ui: Ui) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let Look { tree, files } = Look::at(&args.file, &args.archive, ui, &interrupt)?;
    let path = bytes(&args.path);
    // A link to a directory is looked into, another one is shown.
    let (place, id) = match find(&tree, path, true) {
        Ok((place, id)) if tree.node(id).as_directory().is_some() => (place, id),
        _ => find(&tree, path, false)?,
    };
    let mut listed = Vec::new();
    if tree.node(id).as_directory().is_some() {
        let mut todo = below(&tree, &place, id);
        while let Some((path, id)) = todo.pop() {
            if args.recursive {
                todo.extend(below(&tree, &path, id));
            }
            listed.push((path, id));
        }
    } else {
        listed.push((place.clone(), id));
    }
    files.store().verify_unchanged()?;
    if ui.json {
        let entries = listed.iter().map(|(path, id)| item(&tree, path, *id)).collect();
        return Ok(ui.json(&Listing { version: 1, file: args.file.display().to_string(), entries })?);
    }
    let mut text = String::new();
    for (path, id) in listed {
        let name = match args.recursive {
            true => format!("/{}", show(&path)),
            false => show(path.rsplit(|c| *c == b'/').next().unwrap_or_default()),
        };
        text += &if args.long { line(&tree, &name, id) } else { format!("{name}\n") };
    }
    Ok(ui.result(text)?)
}

/// What is in a directory, the first name last.
fn below(tree: &Tree, path: &[u8], id: NodeId) -> Vec<(Vec<u8>, NodeId)> {
    let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
    let names = tree.node(id).as_directory().into_iter().flat_map(lfs_image::tree::Directory::iter);
    let mut below: Vec<_> = names.map(|(name, id)| ([path, slash, name].concat(), id)).collect();
    below.reverse();
    below
}

fn line(tree: &Tree, name: &str, id: NodeId) -> String {
    let node = tree.node(id);
    let (kind, size) = match &node.kind {
        Kind::Directory(_) => ('d', String::new()),
        Kind::File(content) => ('-', content.size().to_string()),
        Kind::Symlink(_) => ('l', String::new()),
        Kind::CharDevice(device) => ('c', format!("{}, {}", device.major, device.minor)),
        Kind::BlockDevice(device) => ('b', format!("{}, {}", device.major, device.minor)),
        Kind::Fifo => ('p', String::new()),
        Kind::Socket => ('s', String::new()),
    };
    let meta = &node.meta;
    let xattrs = if tree.xattrs(meta.xattrs).is_empty() { ' ' } else { '+' };
    let whole = lfs_image::tree::Timestamp::from_secs(meta.mtime.sec);
    let mut line = format!(
        "{kind}{}{xattrs} {:>2} {:>5} {:>5} {size:>10} {} {name}",
        permissions(meta.mode),
        node.names(),
        meta.uid,
        meta.gid,
        Utc(whole)
    );
    if let Kind::Symlink(target) = &node.kind {
        // Writing to a string can't fail.
        let _ = write!(line, " -> {}", show(target));
    }
    line + "\n"
}

/// Permission bits as ls(1) shows them.
fn permissions(mode: u16) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn item(tree: &Tree, path: &[u8], id: NodeId) -> Item {
    let node = tree.node(id);
    let meta = &node.meta;
    let mut item = Item {
        path: format!("/{}", show(path)),
        kind: node.kind.noun(),
        mode: format!("{:04o}", meta.mode),
        links: node.names(),
        uid: meta.uid,
        gid: meta.gid,
        size: None,
        data: None,
        mtime: format!("{}Z", Utc(meta.mtime)).replace(' ', "T"),
        target: None,
        device: None,
        xattrs: tree
            .xattrs(meta.xattrs)
            .iter()
            .map(|(name, value)| (show(name), value.escape_ascii().to_string()))
            .collect(),
    };
    match &node.kind {
        Kind::File(content) => {
            item.size = Some(content.size());
            item.data = Some(content.runs().map(|(_, len)| len).sum());
        }
        Kind::Symlink(target) => item.target = Some(show(target)),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            item.device = Some(format!("{}:{}", device.major, device.minor));
        }
        _ => {}
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_as_ls_shows_them() {
        for (mode, text) in [
            (0o644, "rw-r--r--"),
            (0o4755, "rwsr-xr-x"),
            (0o2750, "rwxr-s---"),
            (0o1777, "rwxrwxrwt"),
            (0o7000, "--S--S--T"),
            (0, "---------"),
        ] {
            assert_eq!(permissions(mode), text);
        }
    }
}
