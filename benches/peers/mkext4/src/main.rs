//! The `mkext4` crate's own example builder, fed from a tar archive: `mkext4-peer IN.tar OUT.img SIZE`.
//!
//! A whole disk it is not: no partition table, no attributes, and paths have to be UTF-8 with their parents before them.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use mkext4::sink::FileSink;
use mkext4::{FsBuilder, InodeCount, InodeHandle, Meta, Options, ROOT, SpecialKind};
use tar::EntryType;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, archive, out, size] = &arguments[..] else {
        return Err("usage: mkext4-peer IN.tar OUT.img SIZE".into());
    };
    let mut options = Options::new(size.parse()?, *b"mkext4-benchmark", 1_704_067_200);
    if let Ok(inodes) = std::env::var("MKEXT4_INODES") {
        options.inodes = InodeCount::Exact(inodes.parse()?);
    }
    let mut builder = FsBuilder::new(options)?;
    let mut handles: HashMap<String, InodeHandle> = HashMap::from([(String::new(), ROOT)]);
    let mut fills: Vec<(InodeHandle, u64, u64)> = Vec::new();

    let mut reader = tar::Archive::new(BufReader::with_capacity(1 << 20, File::open(archive)?));
    for entry in reader.entries_with_seek()? {
        let mut entry = entry?;
        let path = clean(std::str::from_utf8(&entry.path_bytes())?);
        let mtime = mtime(&mut entry)?;
        let meta = meta(entry.header(), mtime)?;
        let kind = entry.header().entry_type();
        if path.is_empty() {
            builder.set_meta(ROOT, meta)?;
            continue;
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let parent = *handles.get(parent).ok_or_else(|| format!("no parent of {path}"))?;
        let handle = match kind {
            EntryType::Directory => builder.mkdir(parent, name, meta)?,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or("no target")?.into_owned();
                builder.symlink(parent, name, std::str::from_utf8(&target)?, meta)?
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or("no target")?.into_owned();
                let target = clean(std::str::from_utf8(&target)?);
                let handle = *handles.get(&target).ok_or("hard link to nothing")?;
                builder.hardlink(parent, name, handle)?;
                handle
            }
            EntryType::Char | EntryType::Block => {
                let header = entry.header();
                let (major, minor) =
                    (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
                let char = kind == EntryType::Char;
                let kind = if char {
                    SpecialKind::Char { major, minor }
                } else {
                    SpecialKind::Block { major, minor }
                };
                builder.mknod(parent, name, meta, kind)?
            }
            EntryType::Fifo => builder.mknod(parent, name, meta, SpecialKind::Fifo)?,
            _ => {
                let handle = builder.file(parent, name, meta, entry.size())?;
                if entry.size() > 0 {
                    fills.push((handle, entry.raw_file_position(), entry.size()));
                }
                handle
            }
        };
        handles.insert(path, handle);
    }

    let layout = builder.seal()?;
    let mut sink = FileSink::create(Path::new(out), layout.image_len())?;
    let mut writer = layout.writer(&mut sink)?;
    let mut content = BufReader::with_capacity(1 << 20, File::open(archive)?);
    for (handle, position, size) in fills {
        let here = content.stream_position()?;
        content.seek_relative(i64::try_from(position)? - i64::try_from(here)?)?;
        writer.fill(handle, &mut content.by_ref().take(size))?;
    }
    writer.finish()?;
    Ok(())
}

fn clean(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

fn meta(header: &tar::Header, mtime: (i64, u32)) -> Result<Meta, Box<dyn Error>> {
    let mode = u16::try_from(header.mode()? & 0o7777)?;
    Ok(Meta::new(mode, u32::try_from(header.uid()?)?, u32::try_from(header.gid()?)?, mtime))
}

fn mtime<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<(i64, u32), Box<dyn Error>> {
    let plain = (i64::try_from(entry.header().mtime()?)?, 0);
    let Some(extensions) = entry.pax_extensions()? else { return Ok(plain) };
    for extension in extensions {
        let extension = extension?;
        if extension.key() == Ok("mtime") {
            let value = extension.value()?;
            let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
            return Ok((seconds.parse()?, format!("{fraction:0<9.9}").parse()?));
        }
    }
    Ok(plain)
}
