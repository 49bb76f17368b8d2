//! What the author of a program that uses the crate may ask for that can't be, or get wrong: an error that says so, and no image that is
//! not what it says.

use lfs_image::host::{HostSpec, OwnFile};
use lfs_image::image::{Boot, Free, InodeCount, Partition, PartitionTable};
use lfs_image::sink::{DigestSink, NullSink, Sink as _};
use lfs_image::tree::{
    Content, Device, Entry, EntryKind, Kind, Merge, Meta, NoStore, NodeId, Position, Segment, Timestamp,
    Xattrs,
};
use lfs_image::{Error, ErrorKind, FileSink, Image, ImageSpec, Result, Tree};

use crate::support::judge;
use crate::tarball::{Tarball, chain, read_file};

/// A filesystem alone.
fn bare() -> ImageSpec {
    ImageSpec::new().boot(Boot::None).table(PartitionTable::None)
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content::bytes(bytes))
}

fn plan(tree: Tree, spec: &ImageSpec) -> Result<Image> {
    Image::plan(tree, &NoStore, spec)
}

/// The image in a file, with nothing for e2fsck to find.
#[track_caller]
fn sound(image: &Image) -> tempfile::NamedTempFile {
    let out = tempfile::NamedTempFile::new().unwrap();
    image.write(&NoStore, FileSink::create(out.path()).unwrap(), &mut ()).unwrap();
    let root = image.partitions().iter().map(|Partition { offset, .. }| *offset).next_back().unwrap();
    if judge::require(&["e2fsck"]) {
        judge::e2fsck(out.path(), root).unwrap();
    }
    out
}

#[track_caller]
fn refused(result: Result<impl Sized>, kind: ErrorKind, words: &str) {
    let error = result.err().expect("it was taken");
    let said = chain(&error);
    assert_eq!(error.kind(), kind, "{said}");
    assert!(said.contains(words), "`{words}` is missing in: {said}");
}

#[test]
fn more_than_ext4_has() {
    for inodes in [1 << 32, u64::MAX / 2, u64::MAX - 15, u64::MAX] {
        let spec = bare().inodes(InodeCount::AtLeast(inodes));
        refused(plan(Tree::new(), &spec), ErrorKind::Capacity, "inodes: ext4 numbers 4294967295 at most");
        refused(plan(Tree::new(), &spec.size(64 << 20)), ErrorKind::Capacity, "at most");
    }
    for free in [16 << 40, 1 << 62, u64::MAX] {
        refused(plan(Tree::new(), &bare().free(Free::Bytes(free))), ErrorKind::Capacity, "more than 16 TiB");
    }
    refused(
        plan(Tree::new(), &bare().size(1 << 20).inodes(InodeCount::AtLeast(1 << 20))),
        ErrorKind::TooSmall,
        "",
    );
    refused(plan(Tree::new(), &bare().size(16 << 40)), ErrorKind::Capacity, "one less than 16 TiB");
}

#[test]
fn a_ratio_of_inodes_makes_the_filesystem_large_enough() {
    for (names, ratio, most) in [(20_000, 16_384, 1 << 30), (0, 1 << 20, 1 << 30), (0, 64 << 20, 2 << 30)] {
        let mut tree = Tree::new();
        for n in 0..names {
            tree.insert(NodeId::ROOT, format!("{n}").as_bytes(), Meta::default(), Kind::Fifo).unwrap();
        }
        let image = plan(tree, &bare().inodes(InodeCount::Ratio(ratio))).unwrap();
        assert!(image.len() <= most, "{} bytes for {names} names", image.len());
        assert!(image.filesystem().inodes >= names + 11, "{:?}", image.filesystem());
        sound(&image);
    }
    let error = plan(Tree::new(), &bare().size(64 << 20).inodes(InodeCount::Ratio(64 << 20)));
    refused(error, ErrorKind::Capacity, "an inode for every 67108864 bytes are 1 and the content needs 11");
}

#[test]
fn lost_and_found_is_a_directory_of_its_own() {
    let with = |edit: &dyn Fn(&mut HostSpec)| {
        let mut host = HostSpec::nothing();
        edit(&mut host);
        plan(Tree::new(), &bare().size(64 << 20).host(host))
    };
    // There is none yet, and there will be one.
    refused(with(&|host| host.remove.push("lost+found".into())), ErrorKind::Input, "there is no lost+found");
    let own = OwnFile::new("lost+found", Content::bytes(*b"x"), 0o644);
    refused(with(&|host| host.files.push(own.clone())), ErrorKind::Input, "lost+found");
    let mut tree = Tree::new();
    let there = tree.make_directories(b"lost+found", Timestamp::default()).unwrap();
    tree.insert(there, b"f", Meta::default(), file(b"x")).unwrap();
    let mut host = HostSpec::nothing();
    host.remove.push("/lost+found/".into());
    let image = plan(tree, &bare().size(64 << 20).host(host)).unwrap();
    assert!(image.tree().lookup(b"lost+found").is_some() && image.tree().lookup(b"lost+found/f").is_none());
    sound(&image);
    for path in ["", "/", "//"] {
        refused(with(&|host| host.remove.push(path.into())), ErrorKind::Input, "it is the root");
    }
}

#[test]
fn own_files_have_the_time_of_the_image() {
    let mut host = HostSpec::nothing();
    host.files.push(OwnFile::new("etc/own", Content::bytes(*b"x"), 0o600));
    let time = Timestamp::from_secs(1_700_000_000);
    let image = plan(Tree::new(), &bare().size(64 << 20).time(time).host(host)).unwrap();
    for path in ["etc", "etc/own"] {
        let id = image.tree().lookup(path.as_bytes()).unwrap();
        assert_eq!(image.tree().node(id).meta.mtime, time, "{path}");
    }
}

#[test]
fn times_at_the_edge() {
    let odd = Timestamp { sec: 5, nsec: u32::MAX };
    assert_eq!(odd.clamped(), Timestamp { sec: 5, nsec: 999_999_999 });
    for time in [Timestamp::MIN, Timestamp::from_secs(-1000), Timestamp::from_secs(-1), odd] {
        let mut tree = Tree::new();
        tree.meta_mut(NodeId::ROOT).mtime = time;
        tree.insert(NodeId::ROOT, b"f", Meta::new(0o644, time), file(b"x")).unwrap();
        let image = plan(tree, &bare().size(64 << 20)).unwrap();
        let out = sound(&image);
        if judge::require(&["debugfs"]) && time == odd {
            let stat = judge::debugfs(out.path(), 0, "stat /f").unwrap();
            assert!(stat.contains("mtime: 0x00000005:ee6b27fc"), "{stat}");
        }
    }
}

#[test]
fn content_that_is_elsewhere() {
    let text = Content::bytes(*b"abc");
    refused(text.read(&NoStore, 2, 5), ErrorKind::Misuse, "read of 5 bytes at 2 from content of 3");
    let end = Position::new(3, (1 << 48) - 100).unwrap();
    let far = Kind::File(Content::stored(end, 101));
    let mut tree = Tree::new();
    refused(
        tree.insert(NodeId::ROOT, b"f", Meta::default(), far),
        ErrorKind::Misuse,
        "101 bytes from byte 281474976710556 of source 3",
    );
    assert!(tree.insert(NodeId::ROOT, b"f", Meta::default(), Kind::File(Content::stored(end, 100))).is_ok());
    let segment = Segment { offset: 0, len: 101, at: end };
    refused(Content::sparse(200, [segment]), ErrorKind::Input, "past 256 TiB");
    // A tree with the store of another one.
    let archive = |size: usize| read_file(&Tarball::new().file("f", &vec![7; size]).end()).unwrap();
    let ((tree, store), (_, other)) = (archive(100_000), archive(5));
    let image = Image::plan(tree, &store, &bare().size(64 << 20)).unwrap();
    let wrong = image.write(&other, DigestSink::new(NullSink::default()), &mut ());
    refused(wrong, ErrorKind::Misuse, "a read of");
    assert!(image.write(&store, DigestSink::new(NullSink::default()), &mut ()).is_ok());
}

#[test]
fn ids_and_sets_that_mean_nothing_here() {
    let mut tree = Tree::new();
    let gone = tree.make_directories(b"gone", Timestamp::default()).unwrap();
    let kept = tree.insert(NodeId::ROOT, b"f", Meta::default(), file(b"x")).unwrap();
    tree.remove(NodeId::ROOT, b"gone").unwrap();
    let mut larger = Tree::new();
    let mut foreign = NodeId::ROOT;
    for name in [b"a", b"b", b"c", b"d"] {
        foreign = larger.insert(NodeId::ROOT, name, Meta::default(), file(b"x")).unwrap();
    }
    let set = larger.intern(Xattrs::from([(b"user.a"[..].into(), b"1"[..].into())])).unwrap();
    for id in [gone, foreign] {
        refused(tree.insert(id, b"n", Meta::default(), Kind::Fifo), ErrorKind::Misuse, "directory");
        refused(tree.remove(id, b"n"), ErrorKind::Misuse, "directory");
        refused(tree.link(NodeId::ROOT, b"n", id), ErrorKind::Misuse, "hard link");
        refused(tree.link(id, b"n", kept), ErrorKind::Misuse, "directory");
    }
    let meta = Meta { xattrs: set, ..Meta::default() };
    refused(tree.insert(NodeId::ROOT, b"n", meta, Kind::Fifo), ErrorKind::Misuse, "another tree");
    // A directory's entries would be named twice, or in a circle.
    let whole = tree.node(NodeId::ROOT).kind.clone();
    refused(tree.insert(NodeId::ROOT, b"n", Meta::default(), whole), ErrorKind::Misuse, "with entries in it");
    tree.meta_mut(kept).xattrs = set;
    refused(plan(tree, &bare().size(64 << 20)), ErrorKind::Misuse, "the extended attributes of `/f`");
}

#[test]
fn sinks_that_are_used_wrongly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keep.img");
    std::fs::write(&path, "precious").unwrap();
    refused(FileSink::create(&path).unwrap().finish(), ErrorKind::Misuse, "before it begins");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    refused(NullSink::default().finish(), ErrorKind::Misuse, "before it begins");
    let mut sink = NullSink::default();
    sink.begin(u64::MAX).unwrap();
    sink.zeros(0, u64::MAX).unwrap();
    refused(sink.zeros(0, u64::MAX), ErrorKind::Misuse, "has reached");
    for name in ["new/", "new/.", "new/.."] {
        refused(FileSink::create(folder.path().join(name)), ErrorKind::Io, "create");
    }
    refused(FileSink::create(""), ErrorKind::Io, "create");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_merge_that_failed_gives_no_tree() {
    let entry = |path: &str, kind| Entry { path: path.into(), offset: 0, meta: Meta::default(), kind };
    let mut merge = Merge::new(Tree::new());
    merge.apply(entry("a", EntryKind::HardLink(b"nowhere".to_vec()))).unwrap();
    refused(merge.end_layer(), ErrorKind::Input, "nowhere");
    refused(merge.finish(), ErrorKind::Misuse, "there is no tree");
    // What stands for a link that waits can't be asked for.
    let none = EntryKind::CharDevice(Device { major: u32::MAX, minor: u32::MAX });
    let mut merge = Merge::new(Tree::new());
    refused(merge.apply(entry("b", none)), ErrorKind::Input, "no system has");
    let none: Result<(), Error> = merge.finish().map(|tree| assert!(tree.lookup(b"b").is_none()));
    none.unwrap();
}

#[test]
fn attributes_that_do_not_fit_are_named() {
    let mut tree = Tree::new();
    let all = [("user.large", 4044), ("security.small", 40)];
    let all = all.map(|(name, len)| (name.as_bytes().into(), vec![b'x'; len].into_boxed_slice()));
    let meta = Meta { xattrs: tree.intern(Xattrs::from(all)).unwrap(), ..Meta::default() };
    tree.insert(NodeId::ROOT, b"f", meta, Kind::Fifo).unwrap();
    let told = plan(tree, &bare().size(64 << 20));
    refused(told, ErrorKind::Capacity, "the largest is `user.large` with a value of 4044");
}
