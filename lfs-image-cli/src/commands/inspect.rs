//! `lfs-image inspect`: what is in an image, or what would come of a tarball.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;
use ext4_view::{Ext4, Ext4Read, PathBuf as Ext4Path};
use lfs_image::{DiskTable, Kind, NodeId, Tree};
use serde_json::json;

use super::{input, raw};
use crate::cli::InspectArgs;
use crate::progress::Bar;
use crate::size::show;
use crate::ui::Ui;

pub(crate) fn run(args: &InspectArgs, ui: &Ui) -> anyhow::Result<()> {
    let mut file = File::open(&args.file).with_context(|| format!("open {}", args.file.display()))?;
    let mut head = Vec::new();
    file.by_ref()
        .take(4096)
        .read_to_end(&mut head)
        .with_context(|| format!("read {}", args.file.display()))?;
    let is = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    let filesystem = is(1024 + 0x38, &[0x53, 0xef]);
    // A tar archive has its own signature where a disk may have 0x55aa by chance.
    let tar = is(257, b"ustar");
    if !tar && (filesystem || is(510, &[0x55, 0xaa])) { image(args, &file, ui) } else { tarball(args, ui) }
}

fn tarball(args: &InspectArgs, ui: &Ui) -> anyhow::Result<()> {
    let mut bar = Bar::new(ui);
    let planned = input::plan(&args.file, &args.image, std::env::temp_dir(), &mut bar)?;
    bar.clear();
    let image = &planned.image;
    let usage = tree_usage(image.tree(), args.usage);
    if ui.json {
        let mut object = raw::describe(image);
        if args.plan {
            object["regions"] = image
                .regions()
                .iter()
                .map(|r| json!({"offset": r.offset, "len": r.len, "what": r.what}))
                .collect();
        }
        object["usage"] = usage.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect();
        return ui.result(object);
    }
    if args.plan {
        ui.result(image.to_string().trim_end())?;
    } else {
        let filesystem = image.filesystem();
        ui.result(format_args!("disk       {}", show(image.len())))?;
        for partition in image.partitions() {
            ui.result(format_args!(
                "{:>4}       {:<9} {:>10} at {:>9}  {}",
                partition.number,
                partition.role.name(),
                show(partition.len),
                show(partition.offset),
                partition.partuuid
            ))?;
        }
        ui.result(format_args!("features   {}", filesystem.features.join(" ")))?;
    }
    print_usage(&usage, ui)
}

fn image(args: &InspectArgs, file: &File, ui: &Ui) -> anyhow::Result<()> {
    let len = file.metadata().context("look at the image")?.len();
    let table = DiskTable::read(file, len)?;
    let mut object = json!({ "version": 1, "size": len });
    let mut roots = Vec::new();
    match &table {
        Some(table) => {
            if !ui.json {
                ui.result(format_args!("disk       {} {} {}", show(len), table.kind, table.id))?;
                for problem in &table.problems {
                    ui.note(format_args!("warning: {problem}"));
                }
            }
            object["table"] = json!(table.kind);
            object["disk_id"] = json!(table.id);
            object["problems"] = json!(table.problems);
            object["partitions"] = table
                .partitions
                .iter()
                .map(|p| json!({"number": p.number, "offset": p.offset, "len": p.len, "partuuid": p.partuuid, "type": p.kind, "name": p.name}))
                .collect();
            for p in &table.partitions {
                if !ui.json {
                    ui.result(format_args!(
                        "{:>4}       {:<9} {:>10} at {:>9}  {} {}",
                        p.number,
                        p.name,
                        show(p.len),
                        show(p.offset),
                        p.partuuid,
                        p.kind
                    ))?;
                }
                roots.push(p.offset);
            }
        }
        None => roots.push(0),
    }
    for offset in roots {
        let Some(superblock) = superblock(file, offset)? else { continue };
        if !ui.json {
            ui.result(format_args!("ext4 at {}: {superblock}", show(offset)))?;
        }
        let reader = Part { file: file.try_clone().context("open the image again")?, offset };
        let filesystem =
            Ext4::load(Box::new(reader)).with_context(|| format!("the filesystem at byte {offset}"))?;
        let usage = image_usage(&filesystem, args.usage, ui)?;
        object["filesystem"] = json!({ "offset": offset, "uuid": superblock.uuid, "label": superblock.label,
            "blocks": superblock.blocks, "free_blocks": superblock.free_blocks,
            "inodes": superblock.inodes, "free_inodes": superblock.free_inodes });
        object["usage"] = usage.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect();
        if !ui.json {
            print_usage(&usage, ui)?;
        }
    }
    if ui.json { ui.result(object) } else { Ok(()) }
}

/// The few fields of an ext4 superblock that say how full it is.
struct Superblock {
    uuid: String,
    label: String,
    blocks: u64,
    free_blocks: u64,
    inodes: u64,
    free_inodes: u64,
}

fn superblock(file: &File, offset: u64) -> anyhow::Result<Option<Superblock>> {
    let mut bytes = [0; 1024];
    if file.read_exact_at(&mut bytes, offset + 1024).is_err() || bytes[0x38..0x3a] != [0x53, 0xef] {
        return Ok(None);
    }
    let le =
        |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let wide = |lo, hi| le(lo) | le(hi) << 32;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&bytes[0x68..0x78]);
    let label = bytes[0x78..0x88].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(Superblock {
        uuid: lfs_image::Uuid::from_bytes(uuid).to_string(),
        label: String::from_utf8_lossy(label).into_owned(),
        blocks: wide(0x4, 0x150),
        free_blocks: wide(0xc, 0x158),
        inodes: le(0),
        free_inodes: le(0x10),
    }))
}

impl std::fmt::Display for Superblock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uuid {}", self.uuid)?;
        if !self.label.is_empty() {
            write!(f, ", label {}", self.label)?;
        }
        let (blocks, inodes) = ((self.free_blocks, self.blocks), (self.free_inodes, self.inodes));
        write!(f, ", {} of {} blocks and {} of {} inodes free", blocks.0, blocks.1, inodes.0, inodes.1)
    }
}

/// A part of a file.
struct Part {
    file: File,
    offset: u64,
}

impl Ext4Read for Part {
    fn read(
        &mut self,
        start: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        let at = self.offset.checked_add(start).ok_or("an offset beyond all files")?;
        Ok(self.file.read_exact_at(dst, at)?)
    }
}

/// Bytes of files below each directory down to a depth.
type Usage = BTreeMap<String, u64>;

fn tree_usage(tree: &Tree, depth: usize) -> Usage {
    let mut usage = Usage::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut todo = vec![(NodeId::ROOT, vec!["/".to_owned()])];
    while let Some((id, above)) = todo.pop() {
        for (name, child) in tree.node(id).as_directory().into_iter().flat_map(lfs_image::Directory::iter) {
            match &tree.node(child).kind {
                Kind::Directory(_) => {
                    todo.push((child, below(&above, &String::from_utf8_lossy(name), depth)));
                }
                Kind::File(content) if tree.node(child).names() == 1 || seen.insert(child) => {
                    add(&mut usage, &above, content.size());
                }
                _ => {}
            }
        }
    }
    usage
}

fn image_usage(filesystem: &Ext4, depth: usize, ui: &Ui) -> anyhow::Result<Usage> {
    let mut usage = Usage::new();
    let mut todo = vec![(Ext4Path::new("/"), vec!["/".to_owned()])];
    while let Some((path, above)) = todo.pop() {
        for entry in
            filesystem.read_dir(&path).with_context(|| format!("read directory {}", path.display()))?
        {
            let entry = entry.with_context(|| format!("read directory {}", path.display()))?;
            let name = entry.file_name();
            if matches!(name.as_ref(), b"." | b"..") {
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // The reader knows no times before 1970, which ext4 and Linux do.
                Err(error) => {
                    ui.note(format_args!("warning: {} is not counted: {error}", entry.path().display()));
                    continue;
                }
            };
            if metadata.is_dir() {
                todo.push((entry.path(), below(&above, &String::from_utf8_lossy(name.as_ref()), depth)));
            } else if metadata.file_type().is_regular_file() {
                add(&mut usage, &above, metadata.len());
            }
        }
    }
    Ok(usage)
}

fn below(above: &[String], name: &str, depth: usize) -> Vec<String> {
    let mut paths = above.to_vec();
    if paths.len() <= depth {
        let last = paths.last().map_or("", String::as_str).trim_end_matches('/');
        paths.push(format!("{last}/{name}"));
    }
    paths
}

fn add(usage: &mut Usage, paths: &[String], bytes: u64) {
    for path in paths {
        *usage.entry(path.clone()).or_default() += bytes;
    }
}

fn print_usage(usage: &Usage, ui: &Ui) -> anyhow::Result<()> {
    for (path, bytes) in usage {
        ui.result(format_args!("{:>10}  {}", show(*bytes), Path::new(path).display()))?;
    }
    Ok(())
}
