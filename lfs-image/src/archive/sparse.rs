//! Sparse files, in the four forms that GNU tar has written: only the runs of data are stored, one after the other.
//!
//! | form | map | size of the file |
//! |---|---|---|
//! | old GNU, typeflag `S` | 4 runs in the header, 21 in each block that follows | `realsize` in the header |
//! | PAX 0.0 | `GNU.sparse.offset`, `GNU.sparse.numbytes`, repeated | `GNU.sparse.size` |
//! | PAX 0.1 | `GNU.sparse.map`, numbers between commas | `GNU.sparse.size` |
//! | PAX 1.0 | in front of the data: decimal lines, padded to a block | `GNU.sparse.realsize` |
//!
//! An entry's size is that of what is stored. bsdtar gives a PAX 1.0 file of 8 GiB or more its full size in the `size`
//! record and the stored one in the header, so of the two the one that agrees with the map counts.
//!
//! Not here: star's form (typeflag `S` in a POSIX header), which is refused.

use super::header::{BLOCK, Header, SparseBlock, SparseField, text, unsigned};
use super::pax::decimal;
use super::source::Source;
use crate::error::{Error, Result};
use crate::tree::{Content, Segment};

/// The most runs of one file.
const MAX_RUNS: usize = 1 << 20;

/// Runs of data: offset in the file, and length.
pub(super) type Map = Vec<(u64, u64)>;

/// What extended headers say of a sparse file.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    any: bool,
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    realsize: Option<u64>,
    numblocks: Option<u64>,
    map: Map,
    /// An offset whose length hasn't come.
    offset: Option<u64>,
}

impl Keys {
    /// Takes in one record; `key` is what follows `GNU.sparse.`.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.any = true;
        match key {
            b"major" => self.major = Some(decimal(value)?),
            b"minor" => self.minor = Some(decimal(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"realsize" => self.realsize = Some(decimal(value)?),
            b"numblocks" => self.numblocks = Some(decimal(value)?),
            b"offset" => {
                if self.offset.replace(decimal(value)?).is_some() {
                    return Err("follows another without a length between them".to_owned());
                }
            }
            b"numbytes" => {
                let offset = self.offset.take().ok_or("has no offset before it")?;
                push(&mut self.map, offset, decimal(value)?)?;
            }
            b"map" => {
                self.map.clear();
                let mut numbers = value.split(|c| *c == b',');
                while let Some(offset) = numbers.next().filter(|text| !text.is_empty() || !value.is_empty()) {
                    let len = numbers.next().ok_or("ends with an offset")?;
                    push(&mut self.map, decimal(offset)?, decimal(len)?)?;
                }
            }
            _ => return Err("is not known".to_owned()),
        }
        Ok(())
    }

    /// At the end of a header.
    pub(super) fn end_header(&self) -> Result<(), String> {
        match self.offset {
            Some(_) => Err("its sparse map ends with an offset".to_owned()),
            None => Ok(()),
        }
    }

    /// Whether the entry is a sparse file.
    pub(super) fn is_sparse(&self) -> bool {
        self.any
    }
}

fn push(map: &mut Map, offset: u64, len: u64) -> Result<(), String> {
    if map.len() >= MAX_RUNS {
        return Err(format!("has more than {MAX_RUNS} runs of data"));
    }
    map.push((offset, len));
    Ok(())
}

/// Reads a file of the PAX forms. `sizes` are what its size may be: the `size` record's, the header's.
pub(super) fn pax(source: &mut dyn Source, keys: &Keys, sizes: [Option<u64>; 2]) -> Result<(Content, u64)> {
    let in_data = match (keys.major.unwrap_or(0), keys.minor.unwrap_or(0)) {
        (0, _) => false,
        (1, 0) => true,
        (major, minor) => {
            return Err(Error::input(format!("its sparse format is {major}.{minor}, which is not known")));
        }
    };
    let size =
        keys.realsize.or(keys.size).ok_or_else(|| Error::input("its sparse map comes without a size"))?;
    let start = source.offset();
    let map = if in_data {
        let most = sizes.into_iter().flatten().max().unwrap_or(0);
        read_map(source, most)?
    } else {
        if keys.numblocks.is_some_and(|n| n != keys.map.len() as u64) {
            return Err(Error::input(format!(
                "its sparse map has {} runs of data, not {}",
                keys.map.len(),
                keys.numblocks.unwrap_or(0)
            )));
        }
        keys.map.clone()
    };
    let in_map = source.offset() - start;
    finish(source, size, &map, in_map, sizes)
}

/// Reads a file of the old GNU form, whose header was just passed.
pub(super) fn old_gnu(source: &mut dyn Source, header: &Header, stored: u64) -> Result<(Content, u64)> {
    let tail = header.gnu();
    let size = unsigned(&tail.realsize, "realsize").map_err(Error::input)?;
    let mut map = Map::new();
    let mut more = take_fields(&tail.sparse, &mut map)? && tail.isextended != 0;
    while more {
        let at = source.offset();
        let Some(block) = source.peek(BLOCK)?.first_chunk::<BLOCK>() else {
            return Err(Error::input(format!("the archive ends early, at byte {at}, in a sparse map")));
        };
        let block: SparseBlock = zerocopy::transmute!(*block);
        source.consume(BLOCK);
        more = take_fields(&block.sparse, &mut map)? && block.isextended != 0;
    }
    finish(source, size, &map, 0, [Some(stored), None])
}

/// Adds runs up to an empty field; says whether there was none.
fn take_fields(fields: &[SparseField], map: &mut Map) -> Result<bool> {
    for field in fields {
        if text(&field.numbytes).is_empty() {
            return Ok(false);
        }
        let run = unsigned(&field.offset, "sparse offset")
            .and_then(|offset| Ok((offset, unsigned(&field.numbytes, "sparse length")?)))
            .map_err(Error::input)?;
        push(map, run.0, run.1).map_err(|fault| Error::input(format!("its sparse map {fault}")))?;
    }
    Ok(true)
}

/// Reads the map in front of the data of a PAX 1.0 file, up to the end of its last block.
fn read_map(source: &mut dyn Source, most: u64) -> Result<Map> {
    let fault = |what: &str| Error::input(format!("its sparse map {what}"));
    let start = source.offset();
    let mut map = Map::new();
    let mut runs = None;
    let mut offset = None;
    let mut digits = Vec::new();
    loop {
        if source.offset() - start >= most {
            return Err(fault("is longer than what is stored"));
        }
        let Some(block) = source.peek(BLOCK)?.first_chunk::<BLOCK>().copied() else {
            return Err(Error::input(format!(
                "the archive ends early, at byte {}, in a sparse map",
                source.offset()
            )));
        };
        source.consume(BLOCK);
        for c in block {
            if c != b'\n' {
                if digits.len() >= 20 {
                    return Err(fault("has a number of more than 20 digits"));
                }
                digits.push(c);
                continue;
            }
            let number = decimal(&digits).map_err(|what| fault(&format!("has a number that {what}")))?;
            digits.clear();
            match (runs, offset.take()) {
                (None, _) => {
                    runs = Some(number);
                    if number > MAX_RUNS as u64 {
                        return Err(fault(&format!("has {number} runs of data, the limit is {MAX_RUNS}")));
                    }
                }
                (Some(_), None) => offset = Some(number),
                (Some(_), Some(offset)) => map.push((offset, number)),
            }
            if runs == Some(map.len() as u64) {
                return Ok(map);
            }
        }
    }
}

/// Passes the data and puts the file together. Returns how much was stored after the header, for the padding.
fn finish(
    source: &mut dyn Source,
    size: u64,
    map: &Map,
    in_map: u64,
    sizes: [Option<u64>; 2],
) -> Result<(Content, u64)> {
    let data = map.iter().try_fold(0_u64, |sum, (_, len)| sum.checked_add(*len));
    let stored = data.and_then(|data| data.checked_add(in_map));
    let (Some(data), Some(stored)) = (data, stored.filter(|stored| sizes.contains(&Some(*stored)))) else {
        return Err(Error::input(format!(
            "its sparse map and data take {} bytes, but it is said to have {} of them",
            stored.map_or("2^64 or more".to_owned(), |n| n.to_string()),
            sizes.into_iter().flatten().map(|n| n.to_string()).collect::<Vec<_>>().join(" or ")
        )));
    };
    let start = source.content(data)?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut passed = 0;
    for (offset, len) in map.iter().copied().filter(|(_, len)| *len > 0) {
        let at =
            start.forward(passed).ok_or_else(|| Error::capacity("the archive is longer than 256 TiB"))?;
        passed += len;
        match segments.last_mut() {
            // What is stored in a row is stored in a row, too.
            Some(last) if last.offset.checked_add(last.len) == Some(offset) => last.len += len,
            _ => segments.push(Segment { offset, len, at }),
        }
    }
    let content = match segments[..] {
        [Segment { offset: 0, len, at }] if len == size => Content::stored(at, size),
        _ => Content::sparse(size, segments)?,
    };
    Ok((content, stored))
}
