//! Directories: from a list of paths to what the clusters hold.

use std::collections::BTreeMap;

use zerocopy::little_endian::U16;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::geometry::Geometry;
use super::names::{self, Short};
use super::records::{DirEntry, LongEntry, attr};
use super::{File, Run};
use crate::error::{Error, Result};
use crate::raw::blob::Blob;
use crate::raw::num::{fit, hi16, lo8, lo16};
use crate::raw::time::Timestamp;

/// The files and the directories that lead to them.
#[derive(Debug)]
pub(super) struct Tree {
    /// Directories before what is in them; the root first.
    directories: Vec<Directory>,
    files: Vec<Blob>,
    labelled: bool,
}

#[derive(Debug, Default)]
struct Directory {
    parent: usize,
    /// By the name without its case.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    node: Node,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Directory(usize),
    File(usize),
}

/// Bytes of a directory entry.
const ENTRY: u64 = 32;

/// The most bytes of a directory: fatgen103 has 65,536 entries.
const MAX_DIRECTORY: u64 = 65_536 * ENTRY;

/// UTF-16 units in one long entry.
const LONG: usize = 13;

/// The first cluster, where the root directory is.
const FIRST: u32 = 2;

impl Tree {
    pub(super) fn new(files: Vec<File>, labelled: bool) -> Result<Self> {
        let mut tree = Self { directories: vec![Directory::default()], files: Vec::new(), labelled };
        for File { path, content } in files {
            tree.add(&path, content)?;
        }
        for directory in 0..tree.directories.len() {
            let bytes = tree.directory_bytes(directory);
            if bytes > MAX_DIRECTORY {
                return Err(Error::capacity(format!(
                    "a directory of {} names needs {bytes} bytes, and FAT has {MAX_DIRECTORY} at most",
                    tree.directories[directory].entries.len()
                )));
            }
        }
        Ok(tree)
    }

    fn add(&mut self, path: &str, content: Blob) -> Result<()> {
        if u32::try_from(content.len()).is_err() {
            return Err(Error::capacity(format!(
                "`{}` has {} bytes, and a file on FAT has 4 GiB less one byte at most",
                path.escape_debug(),
                content.len()
            )));
        }
        let mut at = 0;
        let mut rest = path;
        while let Some((name, tail)) = rest.split_once('/') {
            names::check(name, path)?;
            let new = self.directories.len();
            let entry = Entry { name: name.to_owned(), node: Node::Directory(new) };
            match self.directories[at].entries.entry(names::fold(name)).or_insert(entry).node {
                Node::Directory(id) if id == new => {
                    self.directories.push(Directory { parent: at, ..Directory::default() });
                    at = new;
                }
                Node::Directory(id) => at = id,
                Node::File(_) => {
                    return Err(Error::input(format!(
                        "`{}` leads through `{name}`, which is a file",
                        path.escape_debug()
                    )));
                }
            }
            rest = tail;
        }
        names::check(rest, path)?;
        let entry = Entry { name: rest.to_owned(), node: Node::File(self.files.len()) };
        if self.directories[at].entries.insert(names::fold(rest), entry).is_some() {
            return Err(Error::input(format!(
                "`{}` is there twice; upper and lower case are the same to FAT",
                path.escape_debug()
            )));
        }
        self.files.push(content);
        Ok(())
    }

    /// The clusters of this many bytes that all of it needs; `None` beyond any volume.
    pub(super) fn clusters(&self, cluster: u64) -> Option<u64> {
        self.sizes().try_fold(0_u64, |sum, bytes| sum.checked_add(bytes.div_ceil(cluster)))
    }

    /// The bytes of each directory, then of each file.
    fn sizes(&self) -> impl Iterator<Item = u64> {
        let directories = (0..self.directories.len()).map(|id| self.directory_bytes(id));
        directories.chain(self.files.iter().map(Blob::len))
    }

    /// What the clusters hold: directories, then files, in the order in which they were found.
    pub(super) fn runs(self, geometry: &Geometry, label: Short, time: Timestamp) -> Result<Vec<Run>> {
        let mut next = FIRST;
        let mut clusters = Vec::new();
        let mut starts = Vec::new();
        for bytes in self.sizes() {
            let count: u32 = fit(bytes.div_ceil(geometry.cluster_bytes()), "clusters of a file")?;
            // What is empty begins nowhere.
            starts.push(if count == 0 { 0 } else { next });
            clusters.push(count);
            next = next.checked_add(count).ok_or_else(|| Error::capacity("more clusters than FAT32 has"))?;
        }
        let stamp = Stamp::new(time);
        let mut contents = Vec::new();
        for id in 0..self.directories.len() {
            contents.push(Blob::from_bytes(self.render(id, &starts, label, stamp)?));
        }
        contents.extend(self.files);
        let runs = clusters.into_iter().zip(contents).map(|(clusters, content)| Run { clusters, content });
        Ok(runs.filter(|run| run.clusters > 0).collect())
    }

    fn directory_bytes(&self, id: usize) -> u64 {
        // A root without a label and without files still has a cluster.
        let fixed = if id > 0 { 2 } else { 1 };
        let names = self.directories[id].entries.values();
        ENTRY * names.map(|e| 1 + long_entries(&e.name) as u64).sum::<u64>().saturating_add(fixed)
    }

    fn render(&self, id: usize, starts: &[u32], label: Short, stamp: Stamp) -> Result<Vec<u8>> {
        let directory = &self.directories[id];
        let mut bytes = Vec::new();
        let mut push = |short, attributes, start, size| {
            bytes.extend_from_slice(stamp.entry(short, attributes, start, size).as_bytes());
        };
        if id > 0 {
            // The root is cluster 0 to those directly below it.
            let parent = if directory.parent == 0 { 0 } else { starts[directory.parent] };
            push(*b".          ", attr::DIRECTORY, starts[id], 0);
            push(*b"..         ", attr::DIRECTORY, parent, 0);
        } else if self.labelled {
            push(label, attr::VOLUME_ID, 0, 0);
        }
        let shorts = names::shorten(directory.entries.values().map(|e| e.name.as_str()))?;
        for (entry, short) in directory.entries.values().zip(shorts) {
            push_long(&mut bytes, &entry.name, &short);
            let entry = match entry.node {
                Node::Directory(id) => stamp.entry(short, attr::DIRECTORY, starts[id], 0),
                Node::File(id) => {
                    let size = fit(self.files[id].len(), "size of a file")?;
                    stamp.entry(short, attr::ARCHIVE, starts[self.directories.len() + id], size)
                }
            };
            bytes.extend_from_slice(entry.as_bytes());
        }
        Ok(bytes)
    }
}

/// How many long entries a name needs.
fn long_entries(name: &str) -> usize {
    if names::as_is(name).is_some() { 0 } else { name.encode_utf16().count().div_ceil(LONG) }
}

/// The long entries of a name, last piece first.
fn push_long(bytes: &mut Vec<u8>, name: &str, short: &Short) {
    const LAST: u8 = 0x40;
    let count = long_entries(name);
    let units: Vec<u16> = name.encode_utf16().collect();
    for (number, piece) in (1_u8..).zip(units.chunks(LONG)).take(count).collect::<Vec<_>>().into_iter().rev()
    {
        // A zero ends a name that doesn't fill its last entry, ones fill what is left.
        let unit = |at: usize| -> U16 {
            let end = if at == piece.len() { 0 } else { 0xffff };
            piece.get(at).copied().unwrap_or(end).into()
        };
        let entry = LongEntry {
            ldir_ord: if usize::from(number) == count { number | LAST } else { number },
            ldir_name1: std::array::from_fn(unit),
            ldir_attr: attr::LONG_NAME,
            ldir_type: 0,
            ldir_chksum: names::checksum(short),
            ldir_name2: std::array::from_fn(|at| unit(5 + at)),
            ldir_fst_clus_lo: 0.into(),
            ldir_name3: std::array::from_fn(|at| unit(11 + at)),
        };
        bytes.extend_from_slice(entry.as_bytes());
    }
}

/// A time as FAT keeps it: local time, which here is UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    date: u16,
    time: u16,
    /// Hundredths of a second, up to two whole ones: `time` has only every other second.
    hundredths: u8,
}

impl Stamp {
    /// The nearest time that FAT can keep.
    fn new(time: Timestamp) -> Self {
        const FIRST: Timestamp = Timestamp::from_secs(315_532_800); // 1980-01-01T00:00:00Z
        const LAST: Timestamp = Timestamp { sec: 4_354_819_199, nsec: 999_999_999 }; // 2107-12-31T23:59:59Z
        let time = time.clamp(FIRST, LAST);
        let since = u32::try_from(time.sec - FIRST.sec).unwrap_or(0);
        let (mut days, seconds) = (since / 86_400, since % 86_400);
        let mut year = 0;
        // Every fourth year is a leap year but 2100.
        let leap = |year: u32| year.is_multiple_of(4) && year != 120;
        while days >= 365 + u32::from(leap(year)) {
            days -= 365 + u32::from(leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u32::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        let hundredths = seconds % 2 * 100 + time.nsec / 10_000_000;
        Self {
            date: lo16(year << 9 | month << 5 | (days + 1)),
            time: lo16(hour << 11 | minute << 5 | (seconds % 60 / 2)),
            hundredths: lo8(hundredths),
        }
    }

    fn entry(self, short: Short, attributes: u8, start: u32, size: u32) -> DirEntry {
        DirEntry {
            dir_name: short,
            dir_attr: attributes,
            dir_crt_time_tenth: self.hundredths,
            dir_crt_time: self.time.into(),
            dir_crt_date: self.date.into(),
            dir_lst_acc_date: self.date.into(),
            dir_fst_clus_hi: hi16(start).into(),
            dir_wrt_time: self.time.into(),
            dir_wrt_date: self.date.into(),
            dir_fst_clus_lo: lo16(start).into(),
            dir_file_size: size.into(),
            ..DirEntry::new_zeroed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let stamp = |sec| {
            let s = Stamp::new(Timestamp { sec, nsec: 990_000_000 });
            let date = (1980 + (s.date >> 9), s.date >> 5 & 15, s.date & 31);
            (date, (s.time >> 11, s.time >> 5 & 63, s.time % 32 * 2), s.hundredths)
        };
        // `date -u -d @…`
        assert_eq!(stamp(1_700_000_001), ((2023, 11, 14), (22, 13, 20), 199));
        assert_eq!(stamp(951_782_400), ((2000, 2, 29), (0, 0, 0), 99));
        assert_eq!(stamp(4_107_542_399), ((2100, 2, 28), (23, 59, 58), 199));
        assert_eq!(stamp(4_107_542_400), ((2100, 3, 1), (0, 0, 0), 99));
        // What can't be kept becomes the nearest.
        assert_eq!(stamp(0).0, (1980, 1, 1));
        assert_eq!(stamp(-5).1, (0, 0, 0));
        assert_eq!(stamp(5_000_000_000), ((2107, 12, 31), (23, 59, 58), 199));
        assert_eq!(stamp(i64::MAX), ((2107, 12, 31), (23, 59, 58), 199));
    }

    fn refusal(paths: &[&str]) -> String {
        let file = |path: &&str| File { path: (*path).to_owned(), content: Blob::default() };
        Tree::new(paths.iter().map(file).collect(), false).unwrap_err().to_string()
    }

    #[test]
    fn refusals() {
        assert_eq!(
            refusal(&["EFI/a", "efi/A"]),
            "`efi/A` is there twice; upper and lower case are the same to FAT"
        );
        assert_eq!(refusal(&["EFI", "EFI/a"]), "`EFI/a` leads through `EFI`, which is a file");
        assert!(refusal(&["EFI/a", "EFI"]).contains("twice"));
        for path in ["", "/a", "a/", "a//b", "./a", "a/../b"] {
            assert!(refusal(&[path]).contains("names no file"), "{path}");
        }
        let many: Vec<String> = (0..40_000).map(|n| format!("name {n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(refusal(&many).contains("a directory of 40000 names"));
        let mut content = Blob::default();
        content.push_zeros(1 << 32);
        let error = Tree::new(vec![File { path: "big".into(), content }], false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`big` has 4294967296 bytes, and a file on FAT has 4 GiB less one byte at most"
        );
    }
}
