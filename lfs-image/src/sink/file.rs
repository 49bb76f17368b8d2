//! An image into a file.
//!
//! A file appears under its name when it is complete, and space that holds no data is left as holes. A device is
//! written in place, where zeros have to be written because old bytes are there. Pipes and the like get a stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::partial::Partial;
use super::{Reached, StreamSink, each_zeros};
use crate::error::{Error, Result};
use crate::raw::sink::{Sink, copy_in_chunks};
use crate::raw::store::{Position, ReadAt};

/// Writes an image to a path.
///
/// A regular file gets its name when the image is complete. Until then a file that had it stays as it is, and a failure
/// leaves nothing behind. Zeros and unallocated space become holes. A symbolic link is followed: what it points to
/// is replaced. Block devices are written in place, unallocated space skipped; they must not be in use. Pipes and
/// character devices get every byte in order.
///
/// # Examples
///
/// ```
/// use lfs_image::sink::Sink as _;
/// use lfs_image::FileSink;
///
/// # let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("disk.img");
/// let mut sink = FileSink::create(&path)?;
/// sink.begin(1 << 30)?;
/// sink.data(0, b"boot")?;
/// sink.unallocated(4, (1 << 30) - 4)?;
/// assert!(!path.exists());
/// sink.finish()?;
/// assert_eq!(path.metadata().unwrap().len(), 1 << 30);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Debug)]
pub struct FileSink {
    /// As the caller gave it, for messages.
    path: PathBuf,
    target: Target,
    reached: Reached,
    sync: bool,
    /// Whether copying inside the kernel works, as far as is known.
    in_kernel: bool,
    /// Whether the filesystem may share blocks between files.
    shares: bool,
}

#[derive(Debug)]
enum Target {
    Regular(Partial),
    Device(File),
    Stream(StreamSink<File>),
}

impl FileSink {
    /// A sink for an image at `path`.
    ///
    /// # Errors
    ///
    /// When `path` is a directory, or can't be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |e| Error::io(format!("create {}", path.display()), e);
        let target = match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            Ok(meta) if meta.file_type().is_block_device() => {
                Target::Device(open_device(path).map_err(failed)?)
            }
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                Target::Stream(StreamSink::new(file))
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            Err(_) if !is_name(path) => return Err(failed(io::ErrorKind::NotADirectory.into())),
            _ => Target::Regular(follow(path).and_then(Partial::create).map_err(failed)?),
        };
        let kind = match &target {
            Target::Device(_) => "block device",
            Target::Stream(_) => "stream",
            Target::Regular(_) => "file",
        };
        let shares = matches!(&target, Target::Regular(partial) if shares_blocks(partial.file()));
        tracing::debug!(path = %path.display(), kind, shares, "output; whether its filesystem lets files share blocks");
        Ok(Self {
            path: path.to_owned(),
            target,
            reached: Reached::default(),
            sync: false,
            in_kernel: true,
            shares,
        })
    }

    /// Whether [`finish`](Sink::finish) waits until file and name are on stable storage. Devices always do.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// The file that has to be removed if this sink is never dropped, as when the process is killed. Where the kernel
    /// and the filesystem can do without, there is none.
    #[must_use]
    pub fn temporary(&self) -> Option<&Path> {
        match &self.target {
            Target::Regular(partial) => partial.hidden(),
            Target::Device(_) | Target::Stream(_) => None,
        }
    }

    /// What `result` was doing: it wrote bytes that follow those reached.
    fn wrote(&mut self, result: io::Result<()>, offset: u64, len: u64) -> Result<()> {
        result.map_err(|e| {
            let (path, of) = (self.path.display(), self.reached.len);
            Error::io(format!("write {path} ({offset} of {of} bytes written)"), e)
        })?;
        self.reached.advance(offset, len)
    }
}

/// Whether a path ends with what can be a file's name.
fn is_name(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    !matches!(bytes.rsplit(|c| *c == b'/').next(), None | Some(b"" | b"." | b".."))
}

impl Sink for FileSink {
    /// Where the image is, symbolic links resolved.
    type Receipt = PathBuf;

    fn begin(&mut self, len: u64) -> Result<()> {
        self.reached = Reached::begin(len);
        let failed = |e| Error::io(format!("make {} {len} bytes long", self.path.display()), e);
        match &mut self.target {
            Target::Regular(partial) => partial.file().set_len(len).map_err(failed),
            Target::Stream(stream) => stream.begin(len),
            Target::Device(device) => {
                let size = device.seek(SeekFrom::End(0)).map_err(failed)?;
                // Not every system tells the size of a device this way.
                if size < len && (cfg!(target_os = "linux") || size > 0) {
                    return Err(Error::capacity(format!(
                        "{} has {size} bytes, the image {len}",
                        self.path.display()
                    )));
                }
                Ok(())
            }
        }
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let result = match &mut self.target {
            Target::Regular(partial) => partial.file().write_all_at(bytes, offset),
            Target::Device(device) => device.write_all_at(bytes, offset),
            Target::Stream(stream) => return stream.data(offset, bytes),
        };
        self.wrote(result, offset, bytes.len() as u64)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> Result<()> {
        let result = match &mut self.target {
            // The file is new, and as long as the image from the beginning.
            Target::Regular(_) => Ok(()),
            Target::Device(device) if zero_range(device, offset, len) => Ok(()),
            Target::Device(_) => {
                let mut at = offset;
                return each_zeros(len, |zeros| {
                    self.data(at, zeros)?;
                    at += zeros.len() as u64;
                    Ok(())
                });
            }
            Target::Stream(stream) => return stream.zeros(offset, len),
        };
        self.wrote(result, offset, len)
    }

    fn unallocated(&mut self, offset: u64, len: u64) -> Result<()> {
        match &mut self.target {
            Target::Regular(_) | Target::Device(_) => self.reached.advance(offset, len),
            Target::Stream(stream) => stream.unallocated(offset, len),
        }
    }

    /// Where blocks can't be shared, the kernel copies page after page, which takes longer than reading and writing in
    /// larger pieces (measured on ext4 and tmpfs).
    fn copies(&self) -> bool {
        self.in_kernel && self.shares
    }

    fn copy(&mut self, offset: u64, store: &dyn ReadAt, at: Position, len: u64) -> Result<()> {
        let mut done = 0;
        let file = match &self.target {
            Target::Regular(partial) => Some(partial.file()),
            Target::Device(device) => Some(device),
            Target::Stream(_) => None,
        };
        if let Some(file) = file
            && let Some((source, from)) = store.file(at).filter(|_| self.in_kernel)
        {
            let (copied, result) = copy_range(source, from, file, offset, len);
            done = copied;
            match result {
                // The source may have ended early, or be of a kind that can't be copied: reading will tell.
                Ok(able) => self.in_kernel = able,
                Err(e) => self.wrote(Err(e), offset + done, 0)?,
            }
            self.reached.advance(offset, done)?;
        }
        if done == len {
            return Ok(());
        }
        let rest =
            at.forward(done).ok_or_else(|| Error::internal("content reaches past the end of its source"))?;
        copy_in_chunks(self, offset + done, store, rest, len - done)
    }

    fn finish(self) -> Result<PathBuf> {
        let (path, reached) = (self.path, self.reached);
        let failed = |e| Error::io(format!("complete {}", path.display()), e);
        match self.target {
            Target::Regular(partial) => {
                reached.finish()?;
                partial.complete(self.sync).map_err(failed)
            }
            Target::Stream(stream) => {
                stream.finish()?;
                Ok(path)
            }
            Target::Device(device) => {
                reached.finish()?;
                // The last close would write what is cached too, and keep its errors to itself.
                device.sync_all().map_err(failed)?;
                Ok(path)
            }
        }
    }
}

/// Where writing to `path` leads: the end of its chain of symbolic links, which needn't exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    const HOPS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..HOPS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // Not a link, or nothing at all.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other(format!("more than {HOPS} symbolic links")))
}

/// Opens a device nobody else uses: one that is mounted is refused.
fn open_device(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(target_os = "linux")]
    options.custom_flags(rustix::fs::OFlags::EXCL.bits().cast_signed());
    options.open(path)
}

/// Zeros on a device without sending them; `false` where it can't.
#[cfg(target_os = "linux")]
fn zero_range(device: &File, offset: u64, len: u64) -> bool {
    use rustix::fs::FallocateFlags;
    let how = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(device, how, offset, len).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn zero_range(_device: &File, _offset: u64, _len: u64) -> bool {
    false
}

/// Whether files on this filesystem may share blocks, or a server copies without sending the bytes.
#[cfg(target_os = "linux")]
fn shares_blocks(file: &File) -> bool {
    // linux/magic.h: btrfs, XFS, bcachefs, ZFS, NFS, SMB.
    const SHARING: [u32; 6] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e, 0x2fc1_2fc1, 0x6969, 0xfe53_4d42];
    rustix::fs::fstatfs(file)
        .is_ok_and(|fs| SHARING.iter().any(|magic| i128::from(*magic) == i128::from(fs.f_type)))
}

#[cfg(not(target_os = "linux"))]
fn shares_blocks(_: &File) -> bool {
    false
}

/// Copies inside the kernel. Gives the bytes that were copied, and whether it is worth trying again for other content;
/// an error is one of the destination or the disk.
#[cfg(target_os = "linux")]
fn copy_range(
    source: &File,
    mut from: u64,
    file: &File,
    mut offset: u64,
    len: u64,
) -> (u64, io::Result<bool>) {
    use crate::raw::num::index;
    use rustix::io::Errno;
    let mut left = len;
    let result = loop {
        if left == 0 {
            break Ok(true);
        }
        // One call moves no more than this anyway.
        let n = index(left.min(1 << 30));
        match rustix::fs::copy_file_range(source, Some(&mut from), file, Some(&mut offset), n) {
            // The source ends here, or only seems to: reading will tell.
            Ok(0) => break Ok(true),
            Ok(n) => left -= n as u64,
            Err(Errno::INTR) => {}
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOSYS
                | Errno::OPNOTSUPP
                | Errno::BADF
                | Errno::PERM
                | Errno::TXTBSY,
            ) => break Ok(false),
            Err(e) => break Err(e.into()),
        }
    };
    (len - left, result)
}

#[cfg(not(target_os = "linux"))]
fn copy_range(_: &File, _: u64, _: &File, _: u64, _: u64) -> (u64, io::Result<bool>) {
    (0, Ok(false))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
