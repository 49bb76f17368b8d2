//! Where the journals of uploads are kept, and what earlier uploads left.
//!
//! A raw image's is beside it. An archive's is in the folder where programs keep what outlives them, under a name that tells its
//! region, where the archive is, and which disk it becomes:
//!
//! ```text
//! eu-west-1-1f0c22a9-3B9ACA00….push
//! ```

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lfs_image::ebs::{self, SnapshotState, Snapshots};
use lfs_image::{Error, Result};

use crate::failure::Failure;

/// How many hexadecimal digits tell where an archive is.
const PLACE: usize = 8;

/// The journal of a raw image.
pub(crate) fn beside(image: &Path, region: &str) -> PathBuf {
    let mut beside = image.as_os_str().to_owned();
    beside.push(format!(".{region}.push"));
    beside.into()
}

/// The journal of an archive that becomes the disk `id`, without a path where it comes through a pipe; `None` where there is no folder
/// for it.
pub(crate) fn of_archive(archive: Option<&Path>, region: &str, id: &str) -> Result<Option<PathBuf>, Failure> {
    let Some(folder) = state_folder() else { return Ok(None) };
    std::fs::create_dir_all(&folder).map_err(|e| Failure {
        error: Error::io(format!("make {} for the journal", folder.display()), e),
        hint: Some("`--resume-file` names another file, `--no-resume` does without".to_owned()),
        left: Vec::new(),
    })?;
    let place = archive.and_then(|path| path.canonicalize().ok());
    let place = place.map(|path| format!("-{:0PLACE$x}", crc32c::crc32c(path.as_os_str().as_bytes())));
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    Ok(Some(folder.join(format!("{region}{}-{id}.push", place.unwrap_or_default()))))
}

/// The snapshots that earlier uploads of the same archive left, when it held something else or had other options: an upload with the
/// journal `own` doesn't go on with those. Journals of snapshots that are no more are removed.
///
/// # Errors
///
/// When nobody tells what became of a snapshot.
pub(crate) fn others(own: &Path, snapshots: &dyn Snapshots) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let (Some(folder), Some(series)) = (own.parent(), series(own)) else { return Ok(left) };
    let Ok(entries) = folder.read_dir() else { return Ok(left) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path == own || self::series(&path) != Some(series) {
            continue;
        }
        // What can't be read, or is at work, is nobody's remains.
        let Ok(Some(id)) = ebs::unfinished(&path) else { continue };
        match snapshots.state(&id)? {
            None | Some(SnapshotState::Error) => drop(std::fs::remove_file(&path)),
            _ => left.push(id),
        }
    }
    left.sort();
    Ok(left)
}

/// What the names of the journals of one archive's uploads to one region begin with, whatever the archive holds.
fn series(journal: &Path) -> Option<&str> {
    let (series, _) = journal.file_name()?.to_str()?.strip_suffix(".push")?.rsplit_once('-')?;
    let (_, place) = series.rsplit_once('-')?;
    (place.len() == PLACE && place.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(series)
}

/// Where programs keep what outlives them.
fn state_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("lfs-image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_of_one_archive_and_region() {
        let of = |name| series(Path::new(name)).map(str::to_owned);
        assert_eq!(of("/s/eu-west-1-1f0c22a9-3B9ACA00.push").as_deref(), Some("eu-west-1-1f0c22a9"));
        // Out of a pipe; without a disk's id; another file.
        assert_eq!(of("/s/eu-west-1-3B9ACA00.push"), None);
        assert_eq!(of("/s/eu-west-1-1f0c22a9-.push").as_deref(), Some("eu-west-1-1f0c22a9"));
        assert_eq!(of("/s/eu-west-1-1f0c22a9-3B9ACA00.pull"), None);
        assert_eq!(beside(Path::new("a/x.img"), "eu-west-1"), Path::new("a/x.img.eu-west-1.push"));
    }
}
