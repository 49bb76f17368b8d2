//! A tree as files of this system, without root: what only root can make is left out and counted.
//!
//! Names can't lead astray: a directory that this made is the only thing it goes into, each name is made once and must be new,
//! and nobody else gets into the folder before it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lfs_image::tree::{Content, Kind, Meta, NodeId, ReadAt, Timestamp};
use lfs_image::{Error, Result, Tree};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

/// How much is read at once.
const PIECE: u64 = 1 << 20;

/// What was made, and what is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Devices and sockets.
    pub(crate) special: u64,
    /// Files and directories that another user or group owns in the tree.
    pub(crate) owners: u64,
    /// Bits that lend the owner's rights.
    pub(crate) set_id: u64,
    pub(crate) xattrs: u64,
}

/// Makes what is at `roots` and below in a folder that is there, empty and nobody else's. `check` may end it.
pub(crate) fn write(
    tree: &Tree,
    store: &dyn ReadAt,
    roots: &[(Vec<u8>, NodeId)],
    folder: &Path,
    check: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Made> {
    let mut files = Files { store, made: Made::default(), check };
    let mut named: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
    // A directory's time and permissions come last: making files in it needs and changes them.
    let mut directories = Vec::new();
    let mut todo: Vec<(Vec<u8>, NodeId)> = roots.iter().rev().cloned().collect();
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id);
        let place = folder.join(std::ffi::OsStr::from_bytes(&path));
        let failed = |e| Error::io(format!("make {}", place.display()), e);
        (files.check)(files.made.bytes)?;
        if let Some(first) = named.get(&id) {
            fs::hard_link(first, &place).map_err(failed)?;
            files.made.entries += 1;
            continue;
        }
        // With a path alone, what leads to it is made as needed.
        if let Some(parent) = place.parent().filter(|_| !path.is_empty()) {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match &node.kind {
            Kind::Directory(directory) => {
                if !path.is_empty() {
                    fs::create_dir(&place).map_err(failed)?;
                }
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                let below = todo.len();
                todo.extend(directory.iter().map(|(name, id)| ([&path[..], slash, name].concat(), id)));
                todo[below..].reverse();
                directories.push((place.clone(), id));
            }
            Kind::File(content) => {
                files
                    .file(&place, content, &node.meta)
                    .map_err(|e| e.context(place.display().to_string()))?;
            }
            Kind::Symlink(target) => {
                symlink(std::ffi::OsStr::from_bytes(target), &place).map_err(failed)?;
                let time = timespec(node.meta.mtime);
                let times = Timestamps {
                    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                    last_modification: time,
                };
                rustix::fs::utimensat(CWD, &place, &times, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| failed(e.into()))?;
            }
            Kind::Fifo | Kind::Socket | Kind::CharDevice(_) | Kind::BlockDevice(_) => {
                files.made.special += 1;
                continue;
            }
        }
        files.made.entries += 1;
        files.made.owners += u64::from((node.meta.uid, node.meta.gid) != ids());
        files.made.set_id += u64::from(node.meta.mode & 0o6000 != 0);
        files.made.xattrs += tree.xattrs(node.meta.xattrs).len() as u64;
        if node.names() > 1 {
            named.insert(id, place);
        }
    }
    for (place, id) in directories.into_iter().rev() {
        let meta = &tree.node(id).meta;
        let failed = |e| Error::io(format!("set the permissions of {}", place.display()), e);
        let directory = File::open(&place).map_err(failed)?;
        directory.set_times(FileTimes::new().set_modified(time(meta.mtime))).map_err(failed)?;
        directory.set_permissions(permissions(meta)).map_err(failed)?;
    }
    Ok(files.made)
}

struct Files<'a> {
    store: &'a dyn ReadAt,
    made: Made,
    check: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Files<'_> {
    fn file(&mut self, place: &Path, content: &Content, meta: &Meta) -> Result<()> {
        let failed = |e| Error::io("write it", e);
        let mut file = File::create_new(place).map_err(failed)?;
        file.set_len(content.size()).map_err(failed)?;
        for (start, len) in content.runs() {
            let mut done = 0;
            while done < len {
                let n = PIECE.min(len - done);
                let bytes = content.read(self.store, start + done, n)?;
                file.write_all_at(&bytes, start + done).map_err(failed)?;
                done += n;
                self.made.bytes += n;
                (self.check)(self.made.bytes)?;
            }
        }
        file.flush().map_err(failed)?;
        file.set_times(FileTimes::new().set_modified(time(meta.mtime))).map_err(failed)?;
        file.set_permissions(permissions(meta)).map_err(failed)
    }
}

/// Bits that lend the rights of an owner who isn't the one in the tree would be a hole.
fn permissions(meta: &Meta) -> Permissions {
    Permissions::from_mode(u32::from(meta.mode & 0o1777))
}

fn time(Timestamp { sec, nsec }: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(sec.unsigned_abs());
    let base = if sec < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    base.and_then(|base| base.checked_add(Duration::from_nanos(nsec.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn timespec(Timestamp { sec, nsec }: Timestamp) -> Timespec {
    Timespec { tv_sec: sec, tv_nsec: nsec.into() }
}

/// Who runs this.
fn ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}
