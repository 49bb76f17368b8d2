//! The hot rooms one by one, through the public API: `cargo bench -p lfs-image-bench`, or with a part of a name behind `--`.
//!
//! The time of a whole image is the business of `benches/run.sh`; this tells which room it is spent in.

#![allow(missing_docs, reason = "criterion's macros make a public function")]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lfs_image::archive::Store;
use lfs_image::image::Boot;
use lfs_image::sink::NullSink;
use lfs_image::tree::{Content, Entry, EntryKind, Merge, Meta, NoStore, Timestamp};
use lfs_image::{Image, ImageSpec, Input, ReadOptions, Result, Tree, read_archives};

const TIME: Timestamp = Timestamp::from_secs(1_700_000_000);
const NAMES: u64 = 50_000;

/// The directory and the name of a file by its number.
type Shape = fn(u64) -> (String, String);

const SHAPES: [(&str, Shape); 2] = [("500 directories", narrow), ("one directory", wide)];

/// Files in directories of a hundred: as most are.
fn narrow(number: u64) -> (String, String) {
    (format!("part{}/directory{}", number / 10_000, number / 100 % 100), format!("file{number:06}"))
}

/// Files in one directory.
fn wide(number: u64) -> (String, String) {
    ("wide".to_owned(), format!("a-name-of-usual-length-{:06}", number * 7919 % NAMES))
}

/// Empty files as an archive has them.
fn entries(path: Shape) -> Vec<Entry> {
    let entry = |number| {
        let (directory, name) = path(number);
        Entry {
            path: format!("./{directory}/{name}").into_bytes(),
            offset: 512 * number,
            meta: Meta::new(0o644, TIME),
            kind: EntryKind::File(Content::empty()),
        }
    };
    (0..NAMES).map(entry).collect()
}

fn merge(entries: Vec<Entry>) -> Result<Tree> {
    let mut merge = Merge::new(Tree::new());
    for entry in entries {
        merge.apply(entry)?;
    }
    merge.finish()
}

/// The same files, and their content, in an archive.
fn archive(path: &Path, size: u64) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::new(File::create(path)?));
    for number in 0..NAMES {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        let (directory, name) = narrow(number);
        let content = io::repeat(u8::try_from(number % 255 + 1).unwrap_or(1)).take(size);
        builder.append_data(&mut header, format!("{directory}/{name}"), content)?;
    }
    builder.finish()
}

fn read(path: &Path) -> Result<(Tree, Store)> {
    let file = File::open(path).map_err(|e| lfs_image::Error::io("open the archive", e))?;
    let options = ReadOptions::new(path.parent().unwrap_or(path));
    read_archives([Input::file("bench.tar", file)], &options, &mut ())
}

fn spec() -> ImageSpec {
    ImageSpec::new().boot(Boot::None)
}

/// From headers to entries to a tree: an archive in the page cache.
fn archives(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group("archive");
    group.throughput(Throughput::Elements(NAMES));
    for (name, size) in [("headers of empty files", 0), ("headers of files of 2 KiB", 2048)] {
        let path = folder.path().join(format!("{size}.tar"));
        archive(&path, size).expect("an archive");
        group.bench_function(name, |bench| bench.iter(|| black_box(read(&path).expect("a tree"))));
    }
    group.finish();
}

fn trees(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tree");
    group.throughput(Throughput::Elements(NAMES));
    for (name, path) in SHAPES {
        let entries = entries(path);
        group.bench_function(BenchmarkId::new("merge", name), |bench| {
            let run = |entries| merge(entries).expect("a tree");
            bench.iter_batched(|| entries.clone(), run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// From a tree to the disk as a value.
fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(NAMES));
    for (name, path) in SHAPES {
        let tree = merge(entries(path)).expect("a tree");
        group.bench_function(name, |bench| {
            let run = |tree| Image::plan(tree, &NoStore, &spec()).expect("a plan");
            bench.iter_batched(|| tree.clone(), run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// From the plan to bytes that nobody keeps.
fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    let write = |image: &Image, store: &Store| {
        black_box(image.write(store, NullSink::default(), &mut ()).expect("written"));
    };
    let none = Store::default();

    // Directory blocks, hash trees where there are many names in one, and inodes.
    group.throughput(Throughput::Elements(NAMES));
    for (name, path) in SHAPES {
        let image = Image::plan(merge(entries(path)).expect("a tree"), &NoStore, &spec()).expect("a plan");
        group.bench_function(name, |bench| bench.iter(|| write(&image, &none)));
    }

    // Superblocks, group descriptors and bitmaps with their checksums: 8,192 groups.
    let spec_of_tib = spec().size(1 << 40);
    let empty = merge(entries(narrow).split_off(usize::try_from(NAMES).unwrap_or(1) - 1)).expect("a tree");
    let image = Image::plan(empty, &NoStore, &spec_of_tib).expect("a plan");
    group.throughput(Throughput::Elements(8192));
    group.bench_function("groups of 1 TiB", |bench| bench.iter(|| write(&image, &none)));
    group.finish();
}

criterion_group! {
    name = rooms;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = archives, trees, plans, writes
}
criterion_main!(rooms);
