//! Tar archives made by hand, block by block, right or wrong.

use std::io::{Cursor, Read};

use lfs_image::archive::Store;
use lfs_image::tree::Kind;
use lfs_image::{Input, ReadOptions, Result, Tree, read_archives};

/// A tar header that can be bent.
#[derive(Clone)]
pub struct Header(pub [u8; 512]);

impl Header {
    /// A POSIX header of a file, mode 0644, of root, dated 1,000,000,000.
    pub fn new(name: &str, typeflag: u8, size: u64) -> Self {
        let mut header = Self([0; 512]);
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header.0[156] = typeflag;
        header
            .bytes(0, name.as_bytes())
            .octal(100, 8, 0o644)
            .octal(108, 8, 0)
            .octal(116, 8, 0)
            .octal(124, 12, size)
            .octal(136, 12, 1_000_000_000)
    }

    pub fn bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn octal(self, at: usize, len: usize, value: u64) -> Self {
        let digits = format!("{value:0width$o}", width = len - 1);
        self.bytes(at, &digits.as_bytes()[..len - 1])
    }

    pub fn link(self, target: &str) -> Self {
        self.bytes(157, target.as_bytes())
    }

    pub fn gnu(self) -> Self {
        self.bytes(257, b"ustar  \0")
    }

    /// The block, its checksum right.
    pub fn block(self) -> Vec<u8> {
        let header = self.bytes(148, b"        ");
        let sum: u32 = header.0.iter().map(|byte| u32::from(*byte)).sum();
        header.bytes(148, format!("{sum:06o}\0 ").as_bytes()).0.to_vec()
    }
}

/// Blocks in a row.
#[derive(Clone, Default)]
pub struct Tarball(pub Vec<u8>);

impl Tarball {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(mut self, header: Header) -> Self {
        self.0.extend(header.block());
        self
    }

    /// Data, padded to a block.
    pub fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn entry(self, name: &str, typeflag: u8, data: &[u8]) -> Self {
        self.header(Header::new(name, typeflag, data.len() as u64)).data(data)
    }

    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name, b'0', data)
    }

    pub fn link(self, name: &str, typeflag: u8, target: &str) -> Self {
        self.header(Header::new(name, typeflag, 0).link(target))
    }

    /// An extended header with these records.
    pub fn pax(self, typeflag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            data.extend(record(key.as_bytes(), value));
        }
        self.entry("PaxHeader", typeflag, &data)
    }

    pub fn zeros(mut self, blocks: usize) -> Self {
        self.0.resize(self.0.len() + 512 * blocks, 0);
        self
    }

    pub fn end(self) -> Vec<u8> {
        self.zeros(2).0
    }
}

/// A record of an extended header.
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..).map(|digits| rest + digits).find(|len| len.to_string().len() + rest == *len).unwrap();
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Gives out a few bytes at a time.
pub struct Short<R>(pub R);

impl<R: Read> Read for Short<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = buf.len().min(7);
        self.0.read(&mut buf[..len])
    }
}

/// The options of most tests.
pub fn options() -> ReadOptions {
    ReadOptions::new(std::env::temp_dir())
}

/// Reads an archive that comes through a pipe.
pub fn read(archive: impl Into<Vec<u8>>) -> Result<(Tree, Store)> {
    read_archives([Input::reader("a.tar", Cursor::new(archive.into()))], &options(), &mut ())
}

/// Reads an archive in a file.
pub fn read_file(archive: &[u8]) -> Result<(Tree, Store)> {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    file.rewind().unwrap();
    read_archives([Input::file("a.tar", file)], &options(), &mut ())
}

/// The content of a file.
pub fn content(tree: &Tree, store: &Store, path: &str) -> Vec<u8> {
    let id = tree.lookup(path.as_bytes()).unwrap_or_else(|| panic!("no {path}"));
    match &tree.node(id).kind {
        Kind::File(content) => content.read(store, 0, content.size()).unwrap(),
        other => panic!("{path} is a {}", other.noun()),
    }
}

/// All causes of an error in one line.
pub fn chain(error: &lfs_image::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
