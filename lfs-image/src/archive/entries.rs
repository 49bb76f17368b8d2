//! From the blocks of an archive to entries.
//!
//! What extended headers (`x`, `g`) and GNU tar's long names (`L`, `K`) say is gathered until the entry that they belong to
//! comes; a size in there is that entry's and no other header's. An archive ends with two blocks of zeros, or at the end
//! of its file, which is no sign that it was cut: some writers leave the zeros off. What follows them is ignored. A single
//! block of zeros ends it only if no header follows, because then it is a hole in a damaged archive.
//!
//! Typeflags beyond POSIX: `D` (GNU tar's incremental dumps) is a directory whose list of names is passed over; `V` (volume
//! label) is passed over; `S` and the PAX sparse files are in [`sparse`](super::sparse); `M` (continued from another volume)
//! and everything unknown is refused. User and group names are not used: the numbers are the image's own.

use super::header::{BLOCK, Dialect, Header, number, text, unsigned, unsigned32};
use super::pax::{MAX_HEADER, Pax};
use super::source::Source;
use super::{acl, sparse};
use crate::error::{Error, Result};
use crate::raw::num::index;
use crate::raw::time::Timestamp;
use crate::tree::{Content, Device, Entry, EntryKind, MAX_PATH, Meta, Times, Xattrs, show};

/// The most bytes of a GNU long name: the longest path and its NUL.
const MAX_LONG_NAME: u64 = MAX_PATH as u64 + 1;

/// The most headers in a row that are no entries: more never end, or mean no good.
const MAX_IN_A_ROW: u32 = 1024;

/// What is said of a disk where an archive should be.
pub(super) const BOOT_SECTOR: &str = "it begins with a boot sector: a disk image, not a tar archive";

/// Whether a first block that is no header is that of a disk.
pub(super) fn is_boot_sector(block: &[u8]) -> bool {
    block.get(510..512) == Some(&[0x55, 0xaa])
}

/// Reads the entries of one archive.
pub(super) struct Entries<'a> {
    source: &'a mut dyn Source,
    global: Pax,
    /// What was said of the next entry.
    local: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// Whether an extended header was seen, so that the archive is in pax format.
    is_pax: bool,
    /// Whether there was an entry.
    any: bool,
    /// Where the archive stops without an end marker.
    stops: Option<u64>,
    buf: Vec<u8>,
}

impl<'a> Entries<'a> {
    /// The entries of the archive that begins where `source` is.
    pub(super) fn new(source: &'a mut dyn Source) -> Self {
        Self {
            source,
            global: Pax::default(),
            local: None,
            long_name: None,
            long_link: None,
            is_pax: false,
            any: false,
            stops: None,
            buf: Vec::new(),
        }
    }

    /// Where the archive stops without an end marker: it may have been cut there.
    pub(super) fn stops(&self) -> Option<u64> {
        self.stops
    }

    /// The next entry and its extended attributes, up to the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<(Entry, Xattrs)>> {
        for _ in 0..MAX_IN_A_ROW {
            let at = self.source.offset();
            let Some(header) = self.header(at)? else {
                if self.local.is_some() || self.long_name.is_some() || self.long_link.is_some() {
                    return Err(Error::input(format!(
                        "the archive ends early, at byte {at}: the entry of an extended header is missing"
                    )));
                }
                self.source.drain().map_err(|error| match self.any {
                    true => error,
                    false => error.context("the archive has no entries"),
                })?;
                return Ok(None);
            };
            let named = |error: Error| error.context(format!("the header at byte {at}"));
            match header.typeflag {
                b'x' | b'X' => {
                    self.extended(&header, MAX_HEADER).map_err(named)?;
                    if self.local.is_some() {
                        return Err(named(Error::input("a second extended header for the same entry")));
                    }
                    let mut local = Pax::default();
                    local.read(&self.buf, false).map_err(|fault| named(Error::input(fault)))?;
                    self.local = Some(local);
                    self.is_pax = true;
                }
                b'g' => {
                    self.extended(&header, MAX_HEADER).map_err(named)?;
                    self.global.read(&self.buf, true).map_err(|fault| named(Error::input(fault)))?;
                    self.is_pax = true;
                }
                b'L' | b'K' => {
                    self.extended(&header, MAX_LONG_NAME).map_err(named)?;
                    let name = Some(text(&self.buf).to_vec());
                    *(if header.typeflag == b'L' { &mut self.long_name } else { &mut self.long_link }) = name;
                }
                b'V' => {
                    let size = unsigned(&header.size, "size").map_err(|fault| named(Error::input(fault)))?;
                    self.pass(size).map_err(named)?;
                }
                _ => {
                    let local = self.local.take().unwrap_or_default();
                    let (path, link) = self.names(&header, &local);
                    self.any = true;
                    return match self.entry(&header, local, &path, link) {
                        Ok((meta, kind, xattrs)) => {
                            Ok(Some((Entry { path, offset: at, meta, kind }, xattrs)))
                        }
                        Err(error) => Err(error.context(format!("entry `{}` at byte {at}", show(&path)))),
                    };
                }
            }
        }
        Err(Error::input(format!(
            "{MAX_IN_A_ROW} headers in a row, up to byte {}, that belong to an entry which doesn't come",
            self.source.offset()
        )))
    }

    /// How much of the input was read, and how much there is.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        self.source.progress()
    }

    /// The next header; none at the archive's end.
    fn header(&mut self, at: u64) -> Result<Option<Header>> {
        let Some(block) = self.block()? else {
            // GNU tar takes it without a word, and programs make such archives.
            self.stops = Some(at);
            return Ok(None);
        };
        if block == [0; BLOCK] {
            if let Some(next) = self.source.peek(BLOCK)?.first_chunk::<BLOCK>()
                && *next != [0; BLOCK]
                && Header::read(next).is_ok()
            {
                return Err(Error::input(format!(
                    "a block of zeros at byte {at}, where a header should be: more entries follow it"
                )));
            }
            return Ok(None);
        }
        Header::read(&block).map(Some).map_err(|fault| match at {
            0 if is_boot_sector(&block) => Error::input(BOOT_SECTOR),
            _ => Error::input(format!("the block at byte {at} is not a tar header: {fault}")),
        })
    }

    /// The next block; none at the end of the file.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let at = self.source.offset();
        let bytes = self.source.peek(BLOCK)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(block) = bytes.first_chunk::<BLOCK>().copied() else {
            return Err(Error::input(format!(
                "the archive ends early: {} bytes are left at byte {at}, less than a header",
                bytes.len()
            )));
        };
        self.source.consume(BLOCK);
        Ok(Some(block))
    }

    /// Reads what an extended header holds, and its padding.
    fn extended(&mut self, header: &Header, most: u64) -> Result<()> {
        let size = unsigned(&header.size, "size").map_err(Error::input)?;
        if size > most {
            return Err(Error::input(format!("an extended header of {size} bytes, the limit is {most}")));
        }
        self.buf.clear();
        let mut left = index(size);
        while left > 0 {
            let bytes = self.source.peek(left.min(64 << 10))?;
            let n = bytes.len();
            if n == 0 {
                return Err(Error::input("the archive ends early, in an extended header"));
            }
            self.buf.extend_from_slice(bytes);
            self.source.consume(n);
            left -= n;
        }
        self.padding(size)
    }

    /// The path and the link target of an entry, by whoever knows them best.
    fn names(&mut self, header: &Header, local: &Pax) -> (Vec<u8>, Vec<u8>) {
        let (long_name, long_link) = (self.long_name.take(), self.long_link.take());
        let path = local.sparse.name.clone().or_else(|| local.path.get().cloned()).or(long_name);
        let link = local.linkpath.get().cloned().or(long_link);
        (path.unwrap_or_else(|| header.path()), link.unwrap_or_else(|| header.link().to_vec()))
    }

    fn entry(
        &mut self,
        header: &Header,
        mut local: Pax,
        path: &[u8],
        link: Vec<u8>,
    ) -> Result<(Meta, EntryKind, Xattrs)> {
        let mut meta = self.meta(header, &local).map_err(Error::input)?;
        let mut xattrs = local.all_xattrs();
        let filetype = local.filetype.over(&self.global.filetype);
        let kind = match header.typeflag {
            b'0' | b'\0' | b'7' | b'S' if filetype.as_deref() == Some(b"socket") => {
                let size = self.size(header, &local)?;
                self.pass(size)?;
                EntryKind::Socket
            }
            // V7 had no typeflag for directories, and some of its writers gave them sizes.
            b'0' | b'\0' | b'7' if path.ends_with(b"/") => {
                let size = self.size(header, &local)?;
                if size > 0 && self.is_data_next()? {
                    self.pass(size)?;
                }
                EntryKind::Directory
            }
            b'0' | b'\0' | b'7' if local.sparse.is_sparse() => {
                let sizes = [local.size.get().copied(), unsigned(&header.size, "size").ok()];
                let (content, stored) = sparse::pax(self.source, &local.sparse, sizes)?;
                self.padding(stored)?;
                EntryKind::File(content)
            }
            b'0' | b'\0' | b'7' => {
                let size = self.size(header, &local)?;
                EntryKind::File(self.content(size)?)
            }
            b'S' if header.dialect() == Dialect::Gnu => {
                let size = self.size(header, &local)?;
                let (content, stored) = sparse::old_gnu(self.source, header, size)?;
                self.padding(stored)?;
                EntryKind::File(content)
            }
            b'1' => {
                self.hard_link_data(header, &local)?;
                EntryKind::HardLink(link)
            }
            // A size is of no meaning from here on, whatever some writers put there.
            b'2' => {
                // Nobody can change or check them.
                meta.mode = 0o777;
                EntryKind::Symlink(link)
            }
            b'3' => EntryKind::CharDevice(self.device(header, &local).map_err(Error::input)?),
            b'4' => EntryKind::BlockDevice(self.device(header, &local).map_err(Error::input)?),
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'D' => {
                let size = self.size(header, &local)?;
                self.pass(size)?;
                EntryKind::Directory
            }
            b'M' => return Err(Error::input("it is continued from another volume, which can't be read")),
            b'A' => return Err(Error::input("it is a Solaris access control list, which ext4 can't hold")),
            b'S' => return Err(Error::input("it is a sparse file in star's form, which is not supported")),
            unknown => {
                return Err(Error::input(format!(
                    "its typeflag is `{}`, which is unknown",
                    unknown.escape_ascii()
                )));
            }
        };
        // A hard link's attributes are those of its target.
        if !matches!(kind, EntryKind::HardLink(_) | EntryKind::Symlink(_)) {
            let texts = [
                local.acl_access.over(&self.global.acl_access),
                local.acl_default.over(&self.global.acl_default),
            ];
            let is_directory = matches!(kind, EntryKind::Directory);
            acl::apply(&mut xattrs, &mut meta, is_directory, texts).map_err(Error::input)?;
        }
        if matches!(kind, EntryKind::HardLink(_)) {
            xattrs.clear();
        }
        Ok((meta, kind, xattrs))
    }

    fn meta(&self, header: &Header, local: &Pax) -> Result<Meta, String> {
        let global = &self.global;
        let owner = |value: Option<u32>, field: &[u8], name: &str| {
            let id = value.map_or_else(|| unsigned32(field, name), Ok)?;
            // The kernel's word for "none".
            if id == u32::MAX { Err(format!("its {name} is 4294967295, which is nobody's")) } else { Ok(id) }
        };
        let mtime = match local.mtime.over(&global.mtime) {
            Some(mtime) => mtime,
            None => Timestamp::from_secs(number(&header.mtime, "mtime")?),
        };
        let times = Times {
            atime: local.atime.over(&global.atime),
            ctime: local.ctime.over(&global.ctime),
            crtime: local.crtime.over(&global.crtime),
        };
        // Old archives have the file type here, too, which makes 16 bits.
        let mode = number(&header.mode, "mode")?;
        let mode = u16::try_from(mode).map_err(|_| format!("its mode field is {mode}, which is no mode"))?;
        Ok(Meta {
            mode: mode & 0o7777,
            uid: owner(local.uid.over(&global.uid), &header.uid, "uid")?,
            gid: owner(local.gid.over(&global.gid), &header.gid, "gid")?,
            mtime,
            times: (times != Times::default()).then(|| Box::new(times)),
            ..Meta::default()
        })
    }

    fn size(&self, header: &Header, local: &Pax) -> Result<u64> {
        match local.size.get() {
            Some(size) => Ok(*size),
            None => unsigned(&header.size, "size").map_err(Error::input),
        }
    }

    fn device(&self, header: &Header, local: &Pax) -> Result<Device, String> {
        let part = |value: Option<u32>, field: &[u8], name: &str, limit: u32| {
            let number = value.map_or_else(|| unsigned32(field, name), Ok)?;
            if number < limit {
                Ok(number)
            } else {
                Err(format!("its {name} is {number}, Linux has less than {limit}"))
            }
        };
        Ok(Device {
            major: part(local.devmajor.over(&self.global.devmajor), &header.devmajor, "devmajor", 1 << 12)?,
            minor: part(local.devminor.over(&self.global.devminor), &header.devminor, "devminor", 1 << 20)?,
        })
    }

    fn content(&mut self, size: u64) -> Result<Content> {
        if size == 0 {
            return Ok(Content::empty());
        }
        let at = self.source.content(size)?;
        self.padding(size)?;
        Ok(Content::stored(at, size))
    }

    /// Passes data and padding.
    fn pass(&mut self, size: u64) -> Result<()> {
        self.source.skip(size)?;
        self.padding(size)
    }

    /// Passes what fills the last block of `size` bytes.
    fn padding(&mut self, size: u64) -> Result<()> {
        match size % BLOCK as u64 {
            0 => Ok(()),
            part => self.source.skip(BLOCK as u64 - part),
        }
    }

    /// Passes the data of a hard link. POSIX lets it have the file's once more in pax archives; in older formats its
    /// size is that of the file, and no data follows.
    fn hard_link_data(&mut self, header: &Header, local: &Pax) -> Result<()> {
        let size = self.size(header, local)?;
        let has_data = match header.dialect() {
            _ if size == 0 => false,
            _ if self.is_pax => true,
            Dialect::Gnu | Dialect::V7 => false,
            Dialect::Ustar | Dialect::Star => self.is_data_next()?,
        };
        if has_data { self.pass(size) } else { Ok(()) }
    }

    /// Whether neither a header nor the archive's end comes next.
    fn is_data_next(&mut self) -> Result<bool> {
        let next = self.source.peek(BLOCK)?.first_chunk::<BLOCK>();
        Ok(next.is_some_and(|block| *block != [0; BLOCK] && Header::read(block).is_err()))
    }
}
