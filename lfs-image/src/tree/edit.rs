//! Changes to a tree that remember what they did.
//!
//! Whoever changes the tree that came from the archive does it through an [`Editor`], so that each change can be shown
//! to the person whose tree it is: what, why, and how as a diff.

use std::fmt;

use super::diff::unified;
use super::path::show;
use super::root::Root;
use super::text;
use super::{Content, Device, Directory, Kind, Meta, NodeId, Tree};
use crate::error::{Error, Result};
use crate::raw::store::ReadAt;
use crate::raw::time::Timestamp;

/// The longest file that is edited as text.
const MAX_TEXT: u64 = 1 << 20;
/// How many symbolic links one path may lead through (Linux's limit).
const MAX_HOPS: u32 = 40;

/// What a [`Change`] does to its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// There was nothing.
    Make,
    /// There is something else now.
    Change,
    /// There is nothing any more.
    Remove,
}

impl Action {
    /// A word for people and for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Change => "change",
            Self::Remove => "remove",
        }
    }
}

/// A change of the root filesystem that wasn't in any archive.
///
/// # Examples
///
/// ```
/// use lfs_image::host::HostSpec;
/// use lfs_image::image::Boot;
/// use lfs_image::tree::{Action, NoStore};
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let mut host = HostSpec::nothing();
/// host.hostname = Some("build-7".into());
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None).host(host))?;
/// let edit = image.edits().iter().find(|edit| edit.path == "/etc/hostname").expect("it was asked for");
/// assert_eq!(edit.action, Action::Make);
/// assert!(edit.diff.contains("+build-7"));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The path, from the root of the image; bytes that aren't printable are escaped.
    pub path: String,
    /// What happens to it.
    pub action: Action,
    /// What it is for, a clause.
    pub why: String,
    /// How, as lines of a unified diff; of what is no text, or secret, a line in words.
    pub diff: String,
}

/// A line: `change /etc/fstab: the root filesystem is on this partition`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.action.name(), self.path, self.why)
    }
}

/// A tree that is being changed.
pub(crate) struct Editor<'a> {
    pub(crate) tree: &'a mut Tree,
    pub(crate) store: &'a dyn ReadAt,
    /// What is made gets this time.
    time: Timestamp,
    changes: Vec<Change>,
}

impl fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// A file to write: its content, and its attributes where there was none before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
    pub(crate) mode: u16,
    pub(crate) why: &'a str,
    /// Whether its content isn't to be shown.
    pub(crate) secret: bool,
}

impl<'a> File<'a> {
    /// A file that anybody may read and root may write.
    pub(crate) fn new(path: &'a str, text: &'a str, why: &'a str) -> Self {
        Self { path, text, mode: 0o644, why, secret: false }
    }

    pub(crate) fn mode(mut self, mode: u16) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl<'a> Editor<'a> {
    pub(crate) fn new(tree: &'a mut Tree, store: &'a dyn ReadAt, time: Timestamp) -> Self {
        Self { tree, store, time, changes: Vec::new() }
    }

    /// What was done, in order.
    pub(crate) fn finish(self) -> Vec<Change> {
        self.changes
    }

    /// The time of what is made.
    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }

    /// The tree as it is now, to look into.
    pub(crate) fn root(&self) -> Root<'_> {
        Root::new(self.tree, self.store)
    }

    /// Whether a path leads to anything.
    pub(crate) fn exists(&self, path: impl AsRef<[u8]>) -> bool {
        self.root().find(path).is_some()
    }

    /// The text of a file, as [`text`] carries it; `None` where there is no file.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>> {
        let root = self.root();
        let Some(content) = root.file(path) else { return Ok(None) };
        Ok(Some(text::decode(&root.read(content, path, MAX_TEXT)?)))
    }

    /// Writes a file. One that is there keeps its attributes; one that says the same already isn't touched.
    pub(crate) fn write(&mut self, file: File<'_>) -> Result<()> {
        let wrap = |e: Error| e.context(format!("write {} in the root filesystem", file.path));
        self.write_text(file).map_err(wrap)
    }

    fn write_text(&mut self, file: File<'_>) -> Result<()> {
        let (dir, name) = self.place(file.path.as_bytes(), true)?;
        let there = self.child(dir, &name);
        let mut meta = Meta::new(file.mode, self.time);
        let new = text::encode(file.text);
        let mut old = None;
        if let Some(id) = there {
            match &self.tree.node(id).kind {
                Kind::File(content) => {
                    meta = Meta { mtime: self.time, times: None, ..self.tree.node(id).meta.clone() };
                    let bytes = self.root().read(content, file.path, MAX_TEXT)?;
                    if bytes == new {
                        return Ok(());
                    }
                    old = Some(text::decode(&bytes));
                }
                Kind::Directory(_) => return Err(Error::input("it is a directory")),
                _ => old = Some(String::new()),
            }
        }
        let len = new.len();
        let kind = Kind::File(Content::bytes(new));
        self.tree.insert(dir, &name, meta.clone(), kind)?;
        let diff = if file.secret {
            format!("{} {len} bytes that aren't shown\n", sign(there.is_some()))
        } else if old.as_deref().unwrap_or_default().is_empty() && file.text.is_empty() {
            format!("+ empty file {}\n", attributes(&meta))
        } else {
            text::shown(&unified(file.path, old.as_deref(), Some(file.text)))
        };
        self.log(file.path, if there.is_some() { Action::Change } else { Action::Make }, file.why, diff);
        Ok(())
    }

    /// Puts a file of somebody's there, with exactly these attributes.
    pub(crate) fn put(&mut self, path: &str, content: Content, meta: Meta, why: &str) -> Result<()> {
        let wrap = |e: Error| e.context(format!("write {} in the root filesystem", show(path.as_bytes())));
        let (dir, name) = self.place(path.as_bytes(), true).map_err(wrap)?;
        let there = self.child(dir, &name);
        if there.is_some_and(|id| self.tree.node(id).as_directory().is_some()) {
            return Err(wrap(Error::input("it is a directory")));
        }
        let (size, shown) = (content.size(), attributes(&meta));
        self.tree.insert(dir, &name, meta, Kind::File(content)).map_err(wrap)?;
        let action = if there.is_some() { Action::Change } else { Action::Make };
        self.log(path, action, why, format!("+ file of {size} bytes {shown}\n"));
        Ok(())
    }

    /// Puts a file of root's there, mode 0644, without listing it: whoever calls lists what it does in few words.
    pub(crate) fn put_quietly(&mut self, path: &str, content: Content) -> Result<()> {
        let wrap = |e: Error| e.context(format!("write {path} in the root filesystem"));
        let (dir, name) = self.place(path.as_bytes(), true).map_err(wrap)?;
        self.tree.insert(dir, &name, Meta::new(0o644, self.time), Kind::File(content)).map_err(wrap)?;
        Ok(())
    }

    /// Makes a directory, unless something is there; those above it are made, too, mode 0755.
    pub(crate) fn directory(&mut self, path: &str, meta: Meta, why: &str) -> Result<()> {
        self.make(path, meta, Kind::Directory(Directory::default()), why)
    }

    /// Makes a character device, unless something is there that isn't an empty file: containers leave such where the device
    /// was.
    pub(crate) fn device(&mut self, path: &str, mode: u16, device: (u32, u32), why: &str) -> Result<()> {
        if self.root().file(path).is_some_and(|content| content.size() == 0) {
            self.remove(path, "a device belongs there")?;
        }
        let device = Device { major: device.0, minor: device.1 };
        self.make(path, Meta::new(mode, self.time), Kind::CharDevice(device), why)
    }

    /// Makes a symbolic link, unless something is there.
    pub(crate) fn symlink(&mut self, path: &str, target: &str, why: &str) -> Result<()> {
        self.make(path, Meta::new(0o777, self.time), Kind::Symlink(target.as_bytes().into()), why)
    }

    fn make(&mut self, path: &str, mut meta: Meta, kind: Kind, why: &str) -> Result<()> {
        let wrap = |e: Error| e.context(format!("make {path} in the root filesystem"));
        // What a link leads to isn't made: whoever made the link knows why.
        let (dir, name) = self.place(path.as_bytes(), false).map_err(wrap)?;
        if self.child(dir, &name).is_some() {
            return Ok(());
        }
        meta.mtime = self.time;
        let what = match &kind {
            Kind::Symlink(target) => format!("+ symbolic link to {}\n", show(target)),
            Kind::CharDevice(d) => {
                format!("+ character device {}:{} {}\n", d.major, d.minor, attributes(&meta))
            }
            other => format!("+ {} {}\n", other.noun(), attributes(&meta)),
        };
        self.tree.insert(dir, &name, meta, kind).map_err(wrap)?;
        self.log(path, Action::Make, why, what);
        Ok(())
    }

    /// Removes what has this path, and all below it; a symbolic link at its end itself. Says whether there was anything.
    pub(crate) fn remove(&mut self, path: impl AsRef<[u8]>, why: &str) -> Result<bool> {
        let path = path.as_ref();
        let (dir, name) = path
            .iter()
            .rposition(|c| *c == b'/')
            .map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
        let Some(dir) = self.root().find(dir) else { return Ok(false) };
        let Some(id) = self.child(dir, name) else { return Ok(false) };
        let diff = match &self.tree.node(id).kind {
            Kind::File(content) => format!("- file of {} bytes\n", content.size()),
            Kind::Symlink(target) => format!("- symbolic link to {}\n", show(target)),
            Kind::Directory(_) => {
                format!("- directory and {} names below it\n", self.count_below(id))
            }
            other => format!("- {}\n", other.noun()),
        };
        self.tree.remove(dir, name)?;
        self.log(&format!("/{}", show(path).trim_start_matches('/')), Action::Remove, why, diff);
        Ok(true)
    }

    fn count_below(&self, id: NodeId) -> usize {
        let mut todo = vec![id];
        let mut count = 0;
        while let Some(id) = todo.pop() {
            let Some(directory) = self.tree.node(id).as_directory() else { continue };
            count += directory.len();
            todo.extend(directory.iter().map(|(_, id)| id));
        }
        count
    }

    /// Gives something another name in place of the one it has, and in place of what has that.
    pub(crate) fn rename(&mut self, from: &str, to: &str, why: &str) -> Result<()> {
        let wrap = |e: Error| e.context(format!("write {to} in the root filesystem"));
        let (from_dir, from_name) = self.place(from.as_bytes(), false).map_err(wrap)?;
        let (to_dir, to_name) = self.place(to.as_bytes(), false).map_err(wrap)?;
        let id = self
            .child(from_dir, &from_name)
            .ok_or_else(|| Error::internal(format!("there is no {from} to rename")))?;
        self.tree.link(to_dir, &to_name, id).map_err(wrap)?;
        self.tree.remove(from_dir, &from_name)?;
        self.log(to, Action::Make, why, format!("+ what was {from}\n"));
        Ok(())
    }

    /// Notes a change that was made in another way.
    pub(crate) fn log(&mut self, path: &str, action: Action, why: &str, diff: String) {
        let path = format!("/{}", path.trim_start_matches('/'));
        self.changes.push(Change { path, action, why: why.to_owned(), diff });
    }

    fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        self.tree.node(dir).as_directory()?.get(name)
    }

    /// The directory that holds the name at the end of a path, and that name. Directories that are missing are made, mode
    /// 0755; symbolic links are followed, one at the end if `follow`.
    pub(crate) fn place(&mut self, path: &[u8], follow: bool) -> Result<(NodeId, Vec<u8>)> {
        let names = |path: &[u8]| -> Vec<Vec<u8>> {
            path.split(|c| *c == b'/')
                .rev()
                .filter(|name| !matches!(*name, b"" | b"."))
                .map(<[u8]>::to_vec)
                .collect()
        };
        let mut todo = names(path);
        let mut trail = vec![NodeId::ROOT];
        let mut hops = 0;
        while let Some(name) = todo.pop() {
            let at = trail.last().copied().unwrap_or(NodeId::ROOT);
            if name == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let child = self.child(at, &name);
            let last = todo.is_empty();
            match child.map(|id| (id, &self.tree.node(id).kind)) {
                Some((_, Kind::Symlink(target))) if !last || follow => {
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err(Error::input(format!("more than {MAX_HOPS} symbolic links in its path")));
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    todo.extend(names(target));
                }
                _ if last => return Ok((at, name)),
                Some((id, Kind::Directory(_))) => trail.push(id),
                Some((_, other)) => {
                    return Err(Error::input(format!("{} in its path is a {}", show(&name), other.noun())));
                }
                None => {
                    let kind = Kind::Directory(Directory::default());
                    trail.push(self.tree.insert(at, &name, Meta::new(0o755, self.time), kind)?);
                }
            }
        }
        Err(Error::input("its path names a directory"))
    }
}

fn sign(there: bool) -> char {
    if there { '~' } else { '+' }
}

/// `0644 root:root`, ids where they aren't root's.
fn attributes(meta: &Meta) -> String {
    format!("mode {:04o} owner {}:{}", meta.mode, meta.uid, meta.gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NoStore;
    use crate::tree::root::tests::tree;

    const TIME: Timestamp = Timestamp::from_secs(5);

    #[test]
    fn files_are_written_where_links_lead() {
        let mut tree = tree(&[("etc/real", b"a\nb\n"), ("etc/link", b"->real"), ("etc/far", b"->/run/x/y")]);
        let mut editor = Editor::new(&mut tree, &NoStore, TIME);
        editor.write(File::new("/etc/link", "a\nc\n", "so")).unwrap();
        editor.write(File::new("/etc/link", "a\nc\n", "again")).unwrap();
        editor.write(File::new("/etc/far", "new\n", "so").mode(0o600)).unwrap();
        assert_eq!(editor.read("/etc/real").unwrap().as_deref(), Some("a\nc\n"));
        assert_eq!(editor.read("/run/x/y").unwrap().as_deref(), Some("new\n"));
        assert!(editor.remove("/etc/link", "so").unwrap());
        assert!(!editor.remove("/etc/link", "so").unwrap());
        let changes = editor.finish();
        assert_eq!(changes.len(), 3);
        assert_eq!(changes[0].diff, "--- /etc/link\n+++ /etc/link\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        assert_eq!(changes[2].to_string(), "remove /etc/link: so");
        assert!(tree.lookup(b"etc/real").is_some());
    }

    #[test]
    fn what_is_there_stays() {
        let mut tree =
            tree(&[("dev/console", b""), ("dev/null", b"data"), ("tmp", b"->var/tmp"), ("f", b"")]);
        let mut editor = Editor::new(&mut tree, &NoStore, TIME);
        editor.device("/dev/console", 0o600, (5, 1), "so").unwrap();
        editor.device("/dev/null", 0o666, (1, 3), "so").unwrap();
        editor.directory("/tmp", Meta::new(0o1777, TIME), "so").unwrap();
        editor.directory("/proc", Meta::new(0o555, TIME), "so").unwrap();
        assert!(editor.write(File::new("/f/g", "", "so")).is_err());
        assert!(editor.write(File::new("/proc", "", "so")).is_err());
        let said: Vec<String> = editor.finish().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["remove /dev/console: a device belongs there", "make /dev/console: so", "make /proc: so"]
        );
        let console = tree.lookup(b"dev/console").unwrap();
        assert!(matches!(tree.node(console).kind, Kind::CharDevice(Device { major: 5, minor: 1 })));
    }

    #[test]
    fn what_is_no_utf_8_stays_as_it_is() {
        let mut tree = tree(&[("etc/fstab", b"# f\xfcr\n/dev/a / ext4\n")]);
        let mut editor = Editor::new(&mut tree, &NoStore, TIME);
        let text = editor.read("/etc/fstab").unwrap().unwrap().replace("/dev/a", "/dev/b");
        editor.write(File::new("/etc/fstab", &text, "so")).unwrap();
        let content = editor.root().file("/etc/fstab").unwrap();
        assert_eq!(editor.root().read(content, "", 99).unwrap(), b"# f\xfcr\n/dev/b / ext4\n");
        assert!(editor.finish()[0].diff.contains(" # f\u{fffd}r\n-/dev/a"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut tree = tree(&[("etc/shadow", b"root:$6$abc\n")]);
        let mut editor = Editor::new(&mut tree, &NoStore, TIME);
        editor.write(File::new("/etc/shadow", "root:!\n", "so").secret()).unwrap();
        let changes = editor.finish();
        assert!(!changes[0].diff.contains("abc"), "{}", changes[0].diff);
    }
}
