//! The rules by which archive entries become a tree.

use lfs_image::tree::{Content, Entry, EntryKind, Kind, Merge, Meta, Node, Timestamp};
use lfs_image::{ErrorKind, Result, Tree};

fn meta(mode: u16, sec: i64) -> Meta {
    Meta::new(mode, Timestamp::from_secs(sec))
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.into(), offset: 512, meta: meta(0o644, 7), kind }
}

fn dir(path: &str) -> Entry {
    Entry { meta: meta(0o700, 9), ..entry(path, EntryKind::Directory) }
}

fn file(path: &str, size: usize) -> Entry {
    entry(path, EntryKind::File(Content::bytes(vec![b'x'; size])))
}

fn symlink(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink(target.into()))
}

fn hard(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::HardLink(target.into()))
}

fn merge(entries: impl IntoIterator<Item = Entry>) -> Result<Tree> {
    let mut merge = Merge::new(Tree::new());
    for entry in entries {
        merge.apply(entry)?;
    }
    merge.finish()
}

/// Layers with whiteouts on.
fn layers<const N: usize>(layers: [Vec<Entry>; N]) -> Result<Tree> {
    let mut merge = Merge::new(Tree::new()).whiteouts(true);
    for layer in layers {
        for entry in layer {
            merge.apply(entry)?;
        }
        merge.end_layer()?;
    }
    merge.finish()
}

fn node<'a>(tree: &'a Tree, path: &str) -> &'a Node {
    tree.node(tree.lookup(path.as_bytes()).unwrap_or_else(|| panic!("no {path}")))
}

fn size(tree: &Tree, path: &str) -> u64 {
    match &node(tree, path).kind {
        Kind::File(content) => content.size(),
        other => panic!("{path} is a {}", other.noun()),
    }
}

/// Every path with what it is; names of one inode share a number.
fn list(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![(String::new(), lfs_image::tree::NodeId::ROOT)];
    while let Some((path, id)) = todo.pop() {
        for (name, child) in tree.node(id).as_directory().unwrap().iter() {
            let path = format!("{path}/{}", name.escape_ascii());
            let node = tree.node(child);
            lines.push(format!("{path} {} x{}", node.kind.noun(), node.names()));
            if node.as_directory().is_some() {
                todo.push((path, child));
            }
        }
    }
    lines.sort();
    lines
}

/// All causes of an error in one line.
fn chain(error: &lfs_image::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[track_caller]
fn refused(entries: impl IntoIterator<Item = Entry>, words: &[&str]) {
    let error = merge(entries).unwrap_err();
    let text = chain(&error);
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn missing_parents_are_made_and_updated_later() {
    let tree = merge([file("a/b/c", 1), dir("./a/")]).unwrap();
    assert_eq!(node(&tree, "a").meta, meta(0o700, 9));
    assert_eq!(node(&tree, "a/b").meta, meta(0o755, 7));
    assert_eq!(size(&tree, "a/b/c"), 1);
}

#[test]
fn the_root_takes_attributes_of_its_entry() {
    let tree = merge([dir("./"), file("/f", 1)]).unwrap();
    assert_eq!(node(&tree, "/").meta, meta(0o700, 9));
    assert_eq!(list(&tree), ["/f file x1"]);
    refused([file("./", 1)], &["root of the image"]);
    refused([symlink("/", "x")], &["root of the image"]);
}

#[test]
fn an_entry_below_a_symlinked_directory_lands_where_the_link_leads() {
    let tree = merge([
        dir("usr/bin"),
        symlink("bin", "usr/bin"),
        symlink("abs", "/usr/./bin/"),
        symlink("usr/up", "../../../usr//bin"),
        symlink("chain", "abs"),
        file("bin/sh", 1),
        file("abs/a", 2),
        file("usr/up/u", 3),
        file("chain/c/d", 4),
        hard("chain/h", "bin/sh"),
    ])
    .unwrap();
    assert_eq!(size(&tree, "usr/bin/sh"), 1);
    assert_eq!(size(&tree, "usr/bin/a"), 2);
    assert_eq!(size(&tree, "usr/bin/u"), 3);
    assert_eq!(size(&tree, "usr/bin/c/d"), 4);
    assert_eq!(tree.lookup(b"usr/bin/h"), tree.lookup(b"usr/bin/sh"));
}

#[test]
fn links_that_lead_nowhere_are_refused() {
    refused([symlink("bin", "usr/bin"), file("bin/sh", 1)], &["bin/sh", "byte 512", "usr/bin", "not exist"]);
    refused([symlink("a", "b"), symlink("b", "a"), file("a/x", 1)], &["more than 40"]);
    refused([file("f", 1), symlink("l", "f"), file("l/x", 1)], &["`l`", "not a directory"]);
    let mut long: Vec<Entry> = (1..=41).map(|n| symlink(&format!("l{n}"), &format!("l{}", n - 1))).collect();
    long.insert(0, dir("l0"));
    long.push(file("l40/x", 1));
    assert!(merge(long.clone()).is_ok());
    long.push(file("l41/x", 1));
    refused(long, &["more than 40"]);
}

/// As the kernel counts: in the whole path, or a path of nothing but links would take as long as it likes.
#[test]
fn links_are_counted_in_the_whole_path() {
    let path = |links: usize, name: &str| "here/".repeat(links) + name;
    let here = [dir("d"), symlink("here", "."), symlink("d/here", "./.././d")];
    let tree = merge([&here[..], &[file(&path(40, "f"), 1), file(&path(3, "g"), 2)]].concat()).unwrap();
    assert_eq!((size(&tree, "f"), size(&tree, "g")), (1, 2));
    refused([&here[..], &[file(&path(41, "f"), 1)]].concat(), &["more than 40"]);
    // What the last path led through doesn't count for the next one.
    let many = (0..100).map(|n| file(&path(n % 40, &n.to_string()), 1));
    assert!(merge(here.iter().cloned().chain(many)).is_ok());
}

#[test]
fn the_last_entry_wins_for_every_pair_of_types() {
    use lfs_image::tree::Device;
    let device = Device { major: 1, minor: 3 };
    let kinds: Vec<(EntryKind, &str)> = vec![
        (EntryKind::Directory, "directory"),
        (EntryKind::File(Content::bytes(*b"x")), "file"),
        (EntryKind::Symlink(b"elsewhere".to_vec()), "symbolic link"),
        (EntryKind::HardLink(b"other".to_vec()), "file"),
        (EntryKind::CharDevice(device), "character device"),
        (EntryKind::BlockDevice(device), "block device"),
        (EntryKind::Fifo, "fifo"),
        (EntryKind::Socket, "socket"),
    ];
    for (first, _) in &kinds {
        for (second, noun) in &kinds {
            let tree = merge([
                dir("elsewhere"),
                file("other", 1),
                entry("p", first.clone()),
                entry("p", second.clone()),
            ])
            .unwrap();
            assert_eq!(node(&tree, "p").kind.noun(), *noun);
            let others = if matches!(second, EntryKind::HardLink(_)) { 2 } else { 1 };
            assert_eq!(node(&tree, "other").names(), others, "{first:?} {second:?}");
        }
    }
}

#[test]
fn directory_a_then_file_a_drops_what_was_below() {
    let tree = merge([dir("a/"), file("a/f", 1), hard("g", "a/f"), file("a", 2)]).unwrap();
    assert_eq!(list(&tree), ["/a file x1", "/g file x1"]);
}

#[test]
fn directory_over_directory_keeps_children() {
    let tree = merge([file("a/f", 1), dir("a"), dir("lost+found")]).unwrap();
    assert_eq!(list(&tree), ["/a directory x1", "/a/f file x1", "/lost+found directory x1"]);
}

#[test]
fn bin_symlink_then_bin_directory() {
    let entries = [dir("usr/bin"), symlink("bin", "usr/bin"), dir("bin/"), file("bin/sh", 1)];
    let tree = merge(entries.clone()).unwrap();
    assert_eq!(
        list(&tree),
        ["/bin directory x1", "/bin/sh file x1", "/usr directory x1", "/usr/bin directory x1"]
    );
    let mut kept = Merge::new(Tree::new()).keep_directory_symlinks(true);
    for entry in entries {
        kept.apply(entry).unwrap();
    }
    let tree = kept.finish().unwrap();
    assert_eq!(size(&tree, "usr/bin/sh"), 1);
    assert_eq!(node(&tree, "usr/bin").meta, meta(0o700, 9));
}

#[test]
fn a_replaced_symlink_is_not_followed_from_memory() {
    let tree = merge([
        dir("one"),
        dir("two"),
        symlink("l", "one"),
        file("l/a", 1),
        symlink("l", "two"),
        file("l/b", 1),
        file("l", 1),
        dir("l"),
        file("l/c", 1),
    ])
    .unwrap();
    assert_eq!(size(&tree, "one/a"), 1);
    assert_eq!(size(&tree, "two/b"), 1);
    assert_eq!(size(&tree, "l/c"), 1);
}

#[test]
fn file_f_twice() {
    let tree = merge([file("f", 1), file("f", 2)]).unwrap();
    assert_eq!(size(&tree, "f"), 2);
    assert_eq!(list(&tree).len(), 1);
}

#[test]
fn f_then_g_hardlink_to_f_then_f_again() {
    let tree = merge([file("f", 1), hard("g", "f"), file("f", 2)]).unwrap();
    assert_eq!((size(&tree, "f"), size(&tree, "g")), (2, 1));
    assert_eq!(node(&tree, "g").names(), 1);
}

#[test]
fn hardlink_before_its_target() {
    let tree = merge([hard("d/g", "./f"), hard("h", "d/g"), file("f", 3), hard("f2", "/f")]).unwrap();
    let f = tree.lookup(b"f");
    for path in ["d/g", "h", "f2"] {
        assert_eq!(tree.lookup(path.as_bytes()), f, "{path}");
    }
    assert_eq!(node(&tree, "f").names(), 4);
}

#[test]
fn chains_of_links_before_their_targets() {
    let n = 2_000;
    let links = (0..n).map(|i| hard(&format!("l{i}"), &format!("l{}", i + 1)));
    let tree = merge(links.chain([file(&format!("l{n}"), 1)])).unwrap();
    assert_eq!(node(&tree, "l0").names(), n + 1);
}

#[test]
fn a_waiting_link_can_be_replaced() {
    let tree = merge([hard("g", "nothing"), file("g", 1)]).unwrap();
    assert_eq!(list(&tree), ["/g file x1"]);
    // `h` was bound to what `g` was then.
    let tree = merge([hard("g", "f"), hard("h", "g"), file("g", 1), file("f", 2)]).unwrap();
    assert_eq!((size(&tree, "g"), size(&tree, "h")), (1, 2));
    assert_eq!(list(&tree), ["/f file x2", "/g file x1", "/h file x2"]);
    let tree = merge([hard("d/g", "f"), file("d", 1), file("f", 2)]).unwrap();
    assert_eq!(list(&tree), ["/d file x1", "/f file x1"]);
}

#[test]
fn hardlink_to_a_symlink() {
    let tree = merge([symlink("l", "nowhere"), hard("m", "l")]).unwrap();
    assert_eq!(list(&tree), ["/l symbolic link x2", "/m symbolic link x2"]);
}

#[test]
fn hardlink_to_itself_changes_nothing() {
    let tree = merge([file("f", 1), hard("./f", "f")]).unwrap();
    assert_eq!(list(&tree), ["/f file x1"]);
}

#[test]
fn impossible_hard_links() {
    refused([hard("g", "f")], &["`g`", "byte 512", "`f`", "not exist"]);
    refused([dir("d"), hard("g", "d")], &["`g`", "is a directory"]);
    refused([hard("g", "d"), dir("d")], &["`g`", "is a directory"]);
    refused([hard("g", "/")], &["`g`", "is a directory"]);
    refused([hard("g", "../f")], &["`g`", "`..`"]);
    refused([hard("f", "f")], &["back to itself"]);
    refused([hard("a", "b"), hard("b", "c"), hard("c", "a")], &["back to itself"]);
    refused([file("f", 1), hard("g", "f/x")], &["`f`", "not a directory"]);
}

#[test]
fn links_have_a_limit() {
    let links = |n| (0..n).map(|i| hard(&format!("l{i}"), "f"));
    assert!(merge([file("f", 0)].into_iter().chain(links(64_999))).is_ok());
    let error = merge([file("f", 0)].into_iter().chain(links(65_000))).unwrap_err();
    assert!(chain(&error).contains("65000 hard links"), "{}", chain(&error));
    assert_eq!(error.kind(), ErrorKind::Capacity);
    // The same limit for links that came before their target.
    let error = merge(links(65_000).chain([file("f", 0)])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Capacity);
}

#[test]
fn refused_paths_name_the_entry() {
    refused([file("a/../b", 1)], &["a/../b", "byte 512", "`..`"]);
    refused([file("a\0b", 1)], &["a\\x00b", "NUL"]);
    refused([file(&"n".repeat(256), 1)], &["256 bytes"]);
    refused([file("f", 1), file("f/x", 1)], &["f/x", "is a file, not a directory"]);
    refused([symlink("l", "")], &["`l`", "empty"]);
    refused([symlink("l", &"t".repeat(4096))], &["`l`", "4096 bytes"]);
}

#[test]
fn a_path_of_thirty_thousand_names() {
    let deep = "d/".repeat(32_000);
    let tree = merge([file(&format!("{deep}f"), 1), file(&format!("{deep}g"), 2)]).unwrap();
    assert_eq!(size(&tree, &format!("{deep}g")), 2);
    // Going down one by one doesn't start from the root each time, nor does dropping it all recurse.
    let mut down: Vec<Entry> = (1..3_000).map(|n| dir(&"e/".repeat(n))).collect();
    down.push(file("e", 1));
    assert_eq!(list(&merge(down).unwrap()), ["/e file x1"]);
}

#[test]
fn whiteouts_are_names_like_any_other_unless_asked_for() {
    let tree = merge([file("a", 1), file(".wh.a", 0)]).unwrap();
    assert_eq!(list(&tree), ["/.wh.a file x1", "/a file x1"]);
}

#[test]
fn whiteouts_remove_from_lower_layers_only() {
    let lower = || vec![file("d/a", 1), file("d/b", 1), file("e/x/y", 1), file("k", 1)];
    // In either order within the layer.
    for upper in [
        vec![file("d/.wh.a", 0), file("d/a", 5), file("d/.wh.b", 0), file(".wh.e", 0), file(".wh.none", 0)],
        vec![file(".wh.e", 0), file(".wh.none", 0), file("d/a", 5), file("d/.wh.b", 0), file("d/.wh.a", 0)],
    ] {
        let tree = layers([lower(), upper]).unwrap();
        assert_eq!(list(&tree), ["/d directory x1", "/d/a file x1", "/k file x1"]);
        assert_eq!(size(&tree, "d/a"), 5);
    }
}

#[test]
fn opaque_directories_hide_what_is_below() {
    let lower = || vec![file("d/s/a", 1), file("d/b", 1), dir("d")];
    for upper in [
        vec![dir("d"), file("d/.wh..wh..opq", 0), file("d/s/new", 5)],
        vec![file("d/s/new", 5), dir("d"), file("d/.wh..wh..opq", 0)],
    ] {
        let tree = layers([lower(), upper]).unwrap();
        assert_eq!(list(&tree), ["/d directory x1", "/d/s directory x1", "/d/s/new file x1"]);
        // Not the lower layer's `d/s`: a parent made anew.
        assert_eq!(node(&tree, "d/s").meta, meta(0o755, 7));
    }
}

#[test]
fn odd_whiteouts() {
    // Nothing is below the first layer; AUFS's own names are of no use to an image.
    let tree = layers([vec![file("a", 1), file(".wh.a", 0), file(".wh..wh.plnk/1", 0)]]).unwrap();
    assert_eq!(list(&tree), ["/a file x1"]);
    // A whiteout below something that isn't a directory hides nothing.
    let tree = layers([vec![file("a", 1)], vec![file("a/.wh.b", 0), file("c/.wh..wh..opq", 0)]]).unwrap();
    assert_eq!(list(&tree), ["/a file x1"]);
    for bad in [".wh.", "d/.wh..", "d/.wh..."] {
        let error = layers([vec![], vec![file(bad, 0)]]).unwrap_err();
        assert!(chain(&error).contains("names nothing"), "{bad}");
    }
    // Layers without whiteouts on: last wins, and links bind per layer.
    let tree = layers([vec![hard("g", "f"), file("f", 1)], vec![file("f", 2), hard("h", "g")]]).unwrap();
    assert_eq!((size(&tree, "g"), size(&tree, "f"), size(&tree, "h")), (1, 2, 1));
}
