//! A tree as a tar archive: PAX, with all that GNU tar and `lfs-image raw` read back.
//!
//! ```text
//! extended header   what doesn't fit into the old one: long names, large numbers, fractions of seconds, attributes, ACLs
//! header            ustar
//! data              of files; of files with holes a map before it (GNU's format 1.0)
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};

use lfs_image::tree::{Content, Kind, Meta, NodeId, ReadAt, Timestamp, Xattrs};
use lfs_image::{Error, Result, Tree};

const BLOCK: usize = 512;
/// How much is read at once.
const PIECE: u64 = 1 << 20;

/// What an archive holds, and what it can't.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) entries: u64,
    /// Bytes of files, without holes.
    pub(crate) bytes: u64,
    /// Sockets, which no archive holds.
    pub(crate) sockets: u64,
}

/// Writes what is at `roots` and below; each with its whole path. `check` is called now and then and may end it.
pub(crate) fn write(
    tree: &Tree,
    store: &dyn ReadAt,
    roots: &[(Vec<u8>, NodeId)],
    out: &mut dyn Write,
    check: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Written> {
    let mut tar = Tar { out, store, written: Written::default(), check };
    // The first name of what has several.
    let mut named: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    let mut todo: Vec<(Vec<u8>, NodeId)> = roots.iter().rev().cloned().collect();
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id);
        (tar.check)(tar.written.bytes)?;
        tar.written.entries += 1;
        if let Some(first) = named.get(&id) {
            tar.entry(&path, &node.meta, &Xattrs::new(), b'1', Some(first), None)?;
            continue;
        }
        let xattrs = tree.xattrs(node.meta.xattrs);
        match &node.kind {
            Kind::Directory(directory) => {
                let name = if path.is_empty() { b"./".to_vec() } else { [&path[..], b"/"].concat() };
                tar.entry(&name, &node.meta, xattrs, b'5', None, None)?;
                let below = todo.len();
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                todo.extend(directory.iter().map(|(name, id)| ([&path[..], slash, name].concat(), id)));
                todo[below..].reverse();
                continue;
            }
            Kind::File(content) => tar.file(&path, &node.meta, xattrs, content)?,
            Kind::Symlink(target) => tar.entry(&path, &node.meta, xattrs, b'2', Some(target), None)?,
            Kind::CharDevice(device) => {
                tar.entry(&path, &node.meta, xattrs, b'3', None, Some((device.major, device.minor)))?;
            }
            Kind::BlockDevice(device) => {
                tar.entry(&path, &node.meta, xattrs, b'4', None, Some((device.major, device.minor)))?;
            }
            Kind::Fifo => tar.entry(&path, &node.meta, xattrs, b'6', None, None)?,
            Kind::Socket => {
                tar.written.entries -= 1;
                tar.written.sockets += 1;
                continue;
            }
        }
        if node.names() > 1 {
            named.insert(id, path);
        }
    }
    tar.put(&[0; 2 * BLOCK])?;
    tar.out.flush().map_err(failed)?;
    Ok(tar.written)
}

/// What a failed write of an archive is called.
pub(crate) const WRITE: &str = "write the archive";

fn failed(error: io::Error) -> Error {
    Error::io(WRITE, error)
}

struct Tar<'a> {
    out: &'a mut dyn Write,
    store: &'a dyn ReadAt,
    written: Written,
    check: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Tar<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(failed)
    }

    fn pad(&mut self, len: u64) -> Result<()> {
        let over = usize::try_from(len % BLOCK as u64).unwrap_or_default();
        self.put(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    /// Something without content.
    fn entry(
        &mut self,
        path: &[u8],
        meta: &Meta,
        xattrs: &Xattrs,
        kind: u8,
        link: Option<&[u8]>,
        device: Option<(u32, u32)>,
    ) -> Result<()> {
        let records = Records::of(meta, xattrs);
        self.headers(path, meta, records, kind, link, device, 0)
    }

    fn file(&mut self, path: &[u8], meta: &Meta, xattrs: &Xattrs, content: &Content) -> Result<()> {
        let mut records = Records::of(meta, xattrs);
        // Runs that touch are one.
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (start, len) in content.runs() {
            match runs.last_mut() {
                Some((first, so_far)) if *first + *so_far == start => *so_far += len,
                _ => runs.push((start, len)),
            }
        }
        let data: u64 = runs.iter().map(|(_, len)| len).sum();
        if data == content.size() {
            self.headers(path, meta, records, b'0', None, None, data)?;
        } else {
            // The end is named, too, where a hole is the last.
            if runs.last().is_none_or(|(start, len)| start + len < content.size()) {
                runs.push((content.size(), 0));
            }
            let mut map = format!("{}\n", runs.len());
            for (start, len) in &runs {
                map += &format!("{start}\n{len}\n");
            }
            let mut map = map.into_bytes();
            map.resize(map.len().next_multiple_of(BLOCK), 0);
            records.add(b"GNU.sparse.major", b"1");
            records.add(b"GNU.sparse.minor", b"0");
            records.add(b"GNU.sparse.name", path);
            records.add(b"GNU.sparse.realsize", content.size().to_string().as_bytes());
            let base = path.rsplit(|c| *c == b'/').next().unwrap_or_default();
            // What readers see that don't know of holes.
            let name = [b"./GNUSparseFile.0/", &base[..base.len().min(80)]].concat();
            self.headers(&name, meta, records, b'0', None, None, data + map.len() as u64)?;
            self.put(&map)?;
        }
        for (start, len) in runs {
            let mut done = 0;
            while done < len {
                let n = PIECE.min(len - done);
                let bytes = content.read(self.store, start + done, n)?;
                self.put(&bytes)?;
                done += n;
                self.written.bytes += n;
                (self.check)(self.written.bytes)?;
            }
        }
        self.pad(data)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of a header")]
    fn headers(
        &mut self,
        path: &[u8],
        meta: &Meta,
        mut records: Records,
        kind: u8,
        link: Option<&[u8]>,
        device: Option<(u32, u32)>,
        size: u64,
    ) -> Result<()> {
        let link = link.unwrap_or_default();
        if path.len() > 100 {
            records.add(b"path", path);
        }
        if link.len() > 100 {
            records.add(b"linkpath", link);
        }
        if size >= 1 << 33 {
            records.add(b"size", size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], meta.uid), (b"gid", meta.gid)] {
            if id >= 1 << 21 {
                records.add(key, id.to_string().as_bytes());
            }
        }
        if !records.0.is_empty() {
            let plain = Meta::new(0o644, Timestamp::default());
            self.put(&header(b"./PaxHeaders/entry", &plain, b'x', b"", (0, 0), records.0.len() as u64))?;
            self.put(&records.0)?;
            self.pad(records.0.len() as u64)?;
        }
        self.put(&header(path, meta, kind, link, device.unwrap_or_default(), size))
    }
}

/// The 512 bytes; what doesn't fit is cut and in the extended header.
fn header(path: &[u8], meta: &Meta, kind: u8, link: &[u8], device: (u32, u32), size: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut text = |at: usize, bytes: &[u8], most: usize| {
        let len = bytes.len().min(most);
        header[at..at + len].copy_from_slice(&bytes[..len]);
    };
    let octal = |number: u64, digits: usize| {
        let most = (1 << (3 * digits)) - 1;
        format!("{:0digits$o}", if number > most { 0 } else { number }).into_bytes()
    };
    text(0, path, 100);
    text(100, &octal(meta.mode.into(), 7), 7);
    text(108, &octal(meta.uid.into(), 7), 7);
    text(116, &octal(meta.gid.into(), 7), 7);
    text(124, &octal(size, 11), 11);
    text(136, &octal(u64::try_from(meta.mtime.sec).unwrap_or(0), 11), 11);
    text(148, b"        ", 8);
    text(156, &[kind], 1);
    text(157, link, 100);
    text(257, b"ustar\x0000", 8);
    text(329, &octal(device.0.into(), 7), 7);
    text(337, &octal(device.1.into(), 7), 7);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..155].copy_from_slice(&[&octal(sum, 6)[..], b"\0"].concat());
    header
}

/// Records of an extended header.
#[derive(Debug, Default)]
struct Records(Vec<u8>);

impl Records {
    /// Those about attributes of an inode.
    fn of(meta: &Meta, xattrs: &Xattrs) -> Self {
        let mut records = Self::default();
        let Timestamp { sec, nsec } = meta.mtime;
        if nsec > 0 || !(0..1 << 33).contains(&sec) {
            records.add(b"mtime", decimal(meta.mtime).as_bytes());
        }
        let times = meta.times.as_deref().copied().unwrap_or_default();
        for (key, time) in [
            (&b"atime"[..], times.atime),
            (b"ctime", times.ctime),
            (b"LIBARCHIVE.creationtime", times.crtime),
        ] {
            if let Some(time) = time {
                records.add(key, decimal(time).as_bytes());
            }
        }
        for (name, value) in xattrs {
            let list = match &**name {
                b"system.posix_acl_access" => acl(value).map(|list| (&b"SCHILY.acl.access"[..], list)),
                b"system.posix_acl_default" => acl(value).map(|list| (&b"SCHILY.acl.default"[..], list)),
                _ => None,
            };
            match list {
                Some((key, list)) => records.add(key, list.as_bytes()),
                None => records.add(&[b"SCHILY.xattr.", &escaped(name)[..]].concat(), value),
            }
        }
        records
    }

    /// `LENGTH KEY=VALUE\n`, where the length counts itself.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        self.0.extend_from_slice(format!("{len} ").as_bytes());
        for part in [key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }
}

/// Seconds since 1970 with as many decimals as it takes.
fn decimal(Timestamp { sec, nsec }: Timestamp) -> String {
    if nsec == 0 {
        return sec.to_string();
    }
    // A fraction is added to what is before the point; of negative numbers it takes away.
    let (sign, whole, fraction) =
        if sec < 0 { ("-", -(sec + 1), 1_000_000_000 - nsec) } else { ("", sec, nsec) };
    let fraction = format!("{fraction:09}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// A name of an attribute as GNU tar writes it: the first `=` ends a key.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len());
    for c in name {
        match c {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            c => key.push(*c),
        }
    }
    key
}

/// A list of access as text: `user::rw-,user:1000:r--,…`, with numbers for names. `None` if it is none.
fn acl(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 {
        return None;
    }
    let mut list = Vec::new();
    for entry in entries.chunks(8) {
        let [t0, t1, p0, p1, i0, i1, i2, i3] = *entry.first_chunk::<8>()?;
        let (perm, id) = (u16::from_le_bytes([p0, p1]), u32::from_le_bytes([i0, i1, i2, i3]));
        let who = match u16::from_le_bytes([t0, t1]) {
            1 => "user:".to_owned(),
            2 => format!("user:{id}"),
            4 => "group:".to_owned(),
            8 => format!("group:{id}"),
            16 => "mask:".to_owned(),
            32 => "other:".to_owned(),
            _ => return None,
        };
        let may = |bit: u16, c: char| if perm & bit != 0 { c } else { '-' };
        list.push(format!("{who}:{}{}{}", may(4, 'r'), may(2, 'w'), may(1, 'x')));
    }
    Some(list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        for (value, len) in [(1, 11), (88, 98), (89, 99), (90, 101), (987, 998), (988, 999), (989, 1001)] {
            let mut records = Records::default();
            records.add(b"abcde", &vec![b'x'; value]);
            assert_eq!(records.0.len(), len, "{value}");
            assert!(records.0.starts_with(format!("{len} abcde=").as_bytes()));
        }
    }

    #[test]
    fn times_before_1970() {
        for (sec, nsec, text) in [
            (5, 0, "5"),
            (5, 500_000_000, "5.5"),
            (-1, 500_000_000, "-0.5"),
            (-2, 1, "-1.999999999"),
            (-3, 0, "-3"),
        ] {
            assert_eq!(decimal(Timestamp { sec, nsec }), text);
        }
    }
}
