//! A file that has no name until it is complete.
//!
//! On Linux it is made with `O_TMPFILE` and nothing of it is left behind even by a kill; elsewhere, and on filesystems
//! that can't do that, it has a hidden name beside the final one, which is removed when it is dropped.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file on its way to its name.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    /// The name it will have.
    place: PathBuf,
    /// The name it has, if any.
    hidden: Option<Hidden>,
}

/// A hidden name, removed when it is dropped.
#[derive(Debug)]
struct Hidden(PathBuf);

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = fs::remove_file(&self.0);
    }
}

impl Partial {
    /// A file that will be at `place`, on the same filesystem.
    pub(super) fn create(place: PathBuf) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed(parent(&place)) {
            return Ok(Self { file, place, hidden: None });
        }
        Self::create_hidden(place)
    }

    fn create_hidden(place: PathBuf) -> io::Result<Self> {
        let open =
            |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(0o666).open(path);
        let (hidden, file) = with_hidden_name(&place, open)?;
        Ok(Self { file, place, hidden: Some(hidden) })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The name that is removed if it isn't completed.
    pub(super) fn hidden(&self) -> Option<&Path> {
        self.hidden.as_ref().map(|hidden| hidden.0.as_path())
    }

    /// Gives it its name, in place of any file that has it. The new file may be read by whom the old one could be.
    pub(super) fn complete(self, sync: bool) -> io::Result<PathBuf> {
        let old = fs::metadata(&self.place).ok();
        if let Some(old) = &old {
            self.file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        if sync {
            self.file.sync_all()?;
        }
        let hidden = match self.hidden {
            Some(hidden) => Some(hidden),
            None if old.is_none() && name(&self.file, &self.place).is_ok() => None,
            None => Some(with_hidden_name(&self.place, |path| name(&self.file, path))?.0),
        };
        if let Some(hidden) = hidden {
            fs::rename(&hidden.0, &self.place)?;
            // That name is gone.
            std::mem::forget(hidden);
        }
        if sync {
            File::open(parent(&self.place))?.sync_all()?;
        }
        Ok(self.place)
    }
}

/// Tries hidden names beside `place` until `make` finds one free.
fn with_hidden_name<T>(place: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Hidden, T)> {
    let name = place.file_name().unwrap_or_default().as_bytes();
    // Names have 255 bytes at most.
    let name = &name[..name.len().min(200)];
    let pid = std::process::id();
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for n in 0..100 {
        let hidden = [b".", name, format!(".{pid}-{n}.partial").as_bytes()].concat();
        let hidden = parent(place).join(OsString::from_vec(hidden));
        result = make(&hidden).map(|made| (hidden, made));
        if !matches!(&result, Err(e) if e.kind() == io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    result.map(|(hidden, made)| (Hidden(hidden), made))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file in `directory` without a name, if that can be had and named later.
#[cfg(target_os = "linux")]
fn unnamed(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open(
        directory,
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o666),
    );
    let file = File::from(file.ok()?);
    // Giving it a name goes through /proc, which a bare chroot doesn't have.
    fs::metadata(by_number(&file)).ok()?;
    Some(file)
}

#[cfg(target_os = "linux")]
fn by_number(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Gives an unnamed file a name that nothing else has.
#[cfg(target_os = "linux")]
fn name(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    Ok(rustix::fs::linkat(CWD, by_number(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn name(_file: &File, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Create = fn(PathBuf) -> io::Result<Partial>;

    fn names(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_left_of_what_is_not_completed() {
        for create in [Partial::create as Create, Partial::create_hidden] {
            let dir = tempfile::tempdir().unwrap();
            let partial = create(dir.path().join("out.img")).unwrap();
            partial.file().write_all(b"half").unwrap();
            assert_eq!(partial.hidden().is_some(), names(dir.path()).len() == 1);
            drop(partial);
            assert_eq!(names(dir.path()), [""; 0]);
        }
    }

    #[test]
    fn completing_replaces_and_keeps_the_mode() {
        for create in [Partial::create as Create, Partial::create_hidden] {
            let dir = tempfile::tempdir().unwrap();
            let place = dir.path().join("out.img");
            for (round, sync) in [false, true].into_iter().enumerate() {
                let partial = create(place.clone()).unwrap();
                write!(partial.file(), "round {round}").unwrap();
                assert_eq!(place.exists(), round > 0);
                assert_eq!(partial.complete(sync).unwrap(), place);
                assert_eq!(fs::read_to_string(&place).unwrap(), format!("round {round}"));
                assert_eq!(names(dir.path()), ["out.img"]);
                if round == 0 {
                    // As open(2) gives it: never executable.
                    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o111, 0);
                    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
                } else {
                    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o600);
                }
            }
        }
    }

    #[test]
    fn long_names_and_taken_hidden_names() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x".repeat(255));
        let first = Partial::create_hidden(place.clone()).unwrap();
        let second = Partial::create_hidden(place.clone()).unwrap();
        assert_ne!(first.hidden(), second.hidden());
        second.complete(false).unwrap();
        first.complete(false).unwrap();
        assert_eq!(names(dir.path()).len(), 1);
        // In a directory that isn't there.
        assert!(Partial::create(dir.path().join("no/where")).is_err());
    }
}
