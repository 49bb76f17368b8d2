//! POSIX access control lists: the text of `SCHILY.acl.*`, and the form that `getxattr(2)` gives.
//!
//! ```text
//! user::rw-,user:alice:r--:1000,group::r--,mask::r--,other::---     entries between commas or newlines
//! 2u32  then for each entry: tag u16, permissions u16, id u32       little-endian, sorted
//! ```
//!
//! Names are those of the image, so they are looked up in its own `/etc/passwd` and `/etc/group` once all of it is
//! there. A fourth field (star, bsdtar) or a number in the name's place needs no looking up.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::raw::store::ReadAt;
use crate::tree::{Content, Kind, Meta, NodeId, Tree, Xattrs, show};

/// The attributes that hold lists.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Where lists in text form wait until names can be looked up: names that no attribute can have.
const WAITING: [(&[u8], &[u8]); 2] = [(b"\0acl access", ACCESS), (b"\0acl default", DEFAULT)];

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

/// Whose permissions an entry has, with the numbers of the attribute's form.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Tag {
    Owner = 1,
    User = 2,
    OwnerGroup = 4,
    Group = 8,
    Mask = 16,
    Other = 32,
}

impl Tag {
    const ALL: [Self; 6] = [Self::Owner, Self::User, Self::OwnerGroup, Self::Group, Self::Mask, Self::Other];

    fn number(self) -> u16 {
        match self {
            Self::Owner => 1,
            Self::User => 2,
            Self::OwnerGroup => 4,
            Self::Group => 8,
            Self::Mask => 16,
            Self::Other => 32,
        }
    }
}

/// A list: permissions by tag and id, where only users and groups have an id. Sorted as the kernel wants it.
type List = BTreeMap<(Tag, u32), u16>;

/// Finds the id of a user (`true`) or group by name.
type Lookup<'a> = &'a dyn Fn(bool, &[u8]) -> Option<u32>;

/// Puts an entry's lists in order: checks those among its attributes, adds those in text form, and makes its permission
/// bits agree, as the kernel does.
pub(super) fn apply(
    xattrs: &mut Xattrs,
    meta: &mut Meta,
    is_directory: bool,
    texts: [Option<Vec<u8>>; 2],
) -> Result<(), String> {
    for ((waiting, name), text) in WAITING.into_iter().zip(texts) {
        let text = text.filter(|text| !text.trim_ascii().is_empty());
        let list = if let Some(value) = xattrs.remove(name) {
            decode(&value)
        } else if let Some(text) = &text {
            parse(text, &|_, _| None)
        } else {
            continue;
        };
        let what = name.escape_ascii();
        if name == DEFAULT && !is_directory {
            return Err(format!("has {what}, which only a directory can have"));
        }
        match list {
            Ok(list) => set(xattrs, meta, name, &list).map_err(|fault| format!("its {what} {fault}"))?,
            Err(Fault::Unknown(_)) => {
                let text = text.unwrap_or_default();
                // The permission bits don't depend on ids.
                let list = parse(&text, &|_, name| Some(placeholder(name)));
                let list = list.map_err(|fault| format!("its {what} {}", fault.text()))?;
                set(&mut Xattrs::new(), meta, name, &list).map_err(|fault| format!("its {what} {fault}"))?;
                xattrs.insert(waiting.into(), text.into());
            }
            Err(fault) => return Err(format!("its {what} {}", fault.text())),
        }
    }
    Ok(())
}

/// Some number for a name whose number isn't known yet.
fn placeholder(name: &[u8]) -> u32 {
    crc32c::crc32c(name) & 0x7fff_ffff
}

/// Adds a list to attributes.
fn set(xattrs: &mut Xattrs, meta: &mut Meta, name: &[u8], list: &List) -> Result<(), String> {
    check(list)?;
    let is_access = name == ACCESS;
    if is_access {
        let get = |tag| list.get(&(tag, NO_ID)).copied().unwrap_or(0);
        let group = list.get(&(Tag::Mask, NO_ID)).copied().unwrap_or_else(|| get(Tag::OwnerGroup));
        meta.mode = meta.mode & !0o777 | get(Tag::Owner) << 6 | group << 3 | get(Tag::Other);
    }
    // A list of the three classes alone says what the permission bits say.
    if !is_access || list.len() > 3 {
        xattrs.insert(name.into(), encode(list).into());
    }
    Ok(())
}

/// Looks up the names in lists that waited for it, in the tree's own user database.
pub(super) fn resolve(tree: &mut Tree, store: &dyn ReadAt) -> Result<()> {
    let waits = |xattrs: &Xattrs| WAITING.iter().any(|(waiting, _)| xattrs.contains_key(*waiting));
    if !tree.sets().any(waits) {
        return Ok(());
    }
    let users = database(tree, store, b"etc/passwd")?;
    let groups = database(tree, store, b"etc/group")?;
    let lookup = |user: bool, name: &[u8]| if user { users.get(name) } else { groups.get(name) }.copied();
    for (path, id) in paths(tree) {
        let set = tree.node(id).meta.xattrs;
        if !waits(tree.xattrs(set)) {
            continue;
        }
        let mut xattrs = tree.xattrs(set).clone();
        for (waiting, name) in WAITING {
            let Some(text) = xattrs.remove(waiting) else { continue };
            let list =
                parse(&text, &lookup).and_then(|list| check(&list).map(|()| list).map_err(Fault::Wrong));
            let list = list.map_err(|fault| {
                Error::input(format!("`{}`: its {} {}", show(&path), name.escape_ascii(), fault.text()))
            })?;
            xattrs.insert(name.into(), encode(&list).into());
        }
        let set = tree.intern(xattrs)?;
        tree.meta_mut(id).xattrs = set;
    }
    Ok(())
}

/// Every inode with attributes, with one of its paths.
fn paths(tree: &Tree) -> Vec<(Vec<u8>, NodeId)> {
    let mut found = Vec::new();
    let mut todo = vec![(Vec::new(), NodeId::ROOT)];
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id);
        for (name, child) in node.as_directory().into_iter().flat_map(crate::tree::Directory::iter) {
            let child_node = tree.node(child);
            if child_node.meta.xattrs != Default::default() || child_node.as_directory().is_some() {
                todo.push(([&path[..], if path.is_empty() { b"" } else { b"/" }, name].concat(), child));
            }
        }
        if node.meta.xattrs != Default::default() {
            found.push((path, id));
        }
    }
    found
}

/// Names and numbers from a file of lines `name:password:number:…`.
fn database(tree: &Tree, store: &dyn ReadAt, path: &[u8]) -> Result<BTreeMap<Vec<u8>, u32>> {
    const MOST: u64 = 16 << 20;
    let mut ids = BTreeMap::from([(b"root".to_vec(), 0)]);
    let Some(Kind::File(content)) = tree.lookup(path).map(|id| &tree.node(id).kind) else { return Ok(ids) };
    let read = |content: &Content| content.to_blob().read(store, 0, content.size().min(MOST));
    for line in read(content)?.split(|c| *c == b'\n') {
        let mut fields = line.split(|c| *c == b':');
        if let (Some(name), Some(_), Some(number)) = (fields.next(), fields.next(), fields.next())
            && let Some(number) = id(number)
        {
            // The first one counts, as in the C library.
            ids.entry(name.to_vec()).or_insert(number);
        }
    }
    Ok(ids)
}

/// What is wrong with a list.
#[derive(Debug, Eq, PartialEq)]
enum Fault {
    /// A name that nobody knows.
    Unknown(String),
    Wrong(String),
}

impl Fault {
    fn text(&self) -> String {
        match self {
            Self::Unknown(name) => {
                format!(
                    "names `{name}`, which is neither a number nor in the image's /etc/passwd or /etc/group"
                )
            }
            Self::Wrong(text) => text.clone(),
        }
    }
}

/// Reads the text form.
fn parse(text: &[u8], lookup: Lookup<'_>) -> Result<List, Fault> {
    let mut list = List::new();
    for line in text.split(|c| matches!(c, b',' | b'\n')) {
        let line = line.split(|c| *c == b'#').next().unwrap_or_default().trim_ascii();
        if line.is_empty() {
            continue;
        }
        let wrong = |what: &str| Fault::Wrong(format!("has an entry that {what}: `{}`", show(line)));
        let mut fields: Vec<&[u8]> = line.split(|c| *c == b':').map(<[u8]>::trim_ascii).collect();
        if matches!(fields[0], b"default" | b"d") {
            fields.remove(0);
        }
        let (tag, name, permissions, number) = match fields[..] {
            [tag, permissions] => (tag, &b""[..], permissions, None),
            [tag, name, permissions] => (tag, name, permissions, None),
            [tag, name, permissions, number] => (tag, name, permissions, Some(number)),
            _ => return Err(wrong("has not three or four fields")),
        };
        let (tag, user) = match (tag, name.is_empty()) {
            (b"user" | b"u", true) => (Tag::Owner, true),
            (b"user" | b"u", false) => (Tag::User, true),
            (b"group" | b"g", true) => (Tag::OwnerGroup, false),
            (b"group" | b"g", false) => (Tag::Group, false),
            (b"mask" | b"m", true) => (Tag::Mask, false),
            (b"other" | b"o", true) => (Tag::Other, false),
            _ => return Err(wrong("is of an unknown kind")),
        };
        let mut bits = 0;
        for c in permissions {
            bits |= match c {
                b'r' => 4,
                b'w' => 2,
                b'x' => 1,
                b'-' => 0,
                _ => return Err(wrong("has unknown permissions")),
            };
        }
        let number = match (tag, number) {
            (Tag::User | Tag::Group, Some(number)) => id(number).ok_or_else(|| wrong("has a bad id"))?,
            (Tag::User | Tag::Group, None) => match id(name).or_else(|| lookup(user, name)) {
                Some(number) => number,
                None => return Err(Fault::Unknown(show(name))),
            },
            _ => NO_ID,
        };
        if list.insert((tag, number), bits).is_some() {
            return Err(wrong("comes twice"));
        }
    }
    Ok(list)
}

fn id(text: &[u8]) -> Option<u32> {
    let number = super::pax::decimal(text).ok()?;
    u32::try_from(number).ok().filter(|number| *number != NO_ID)
}

/// Reads the attribute's form.
fn decode(value: &[u8]) -> Result<List, Fault> {
    let wrong = |what: String| Fault::Wrong(what);
    let fault = || wrong(format!("is {} bytes of something else than an access control list", value.len()));
    let (version, entries) = value.split_first_chunk().ok_or_else(fault)?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return Err(fault());
    }
    let mut list = List::new();
    for [t0, t1, p0, p1, id @ ..] in entries {
        let number = u16::from_le_bytes([*t0, *t1]);
        let bits = u16::from_le_bytes([*p0, *p1]);
        let Some(tag) = Tag::ALL.into_iter().find(|tag| tag.number() == number) else {
            return Err(wrong(format!("has an entry with the unknown tag {number}")));
        };
        if bits > 7 {
            return Err(wrong(format!("has an entry with the unknown permissions {bits:#x}")));
        }
        let id = if matches!(tag, Tag::User | Tag::Group) { u32::from_le_bytes(*id) } else { NO_ID };
        if list.insert((tag, id), bits).is_some() {
            return Err(wrong("has the same entry twice".to_owned()));
        }
    }
    Ok(list)
}

/// Refuses what the kernel would.
fn check(list: &List) -> Result<(), String> {
    let has = |tag| list.contains_key(&(tag, NO_ID));
    for (tag, what) in [(Tag::Owner, "user::"), (Tag::OwnerGroup, "group::"), (Tag::Other, "other::")] {
        if !has(tag) {
            return Err(format!("has no `{what}` entry"));
        }
    }
    let named = |(tag, _): &(Tag, u32)| matches!(tag, Tag::User | Tag::Group);
    if list.keys().any(named) && !has(Tag::Mask) {
        return Err("names users or groups without a `mask::` entry".to_owned());
    }
    if list.keys().any(|key| named(key) && key.1 == NO_ID) {
        return Err("has an entry for the impossible id 4294967295".to_owned());
    }
    Ok(())
}

fn encode(list: &List) -> Vec<u8> {
    let mut value = VERSION.to_le_bytes().to_vec();
    for ((tag, id), bits) in list {
        value.extend_from_slice(&tag.number().to_le_bytes());
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(_: bool, _: &[u8]) -> Option<u32> {
        None
    }

    #[test]
    fn the_text_forms() {
        let want = List::from([
            ((Tag::Owner, NO_ID), 6),
            ((Tag::User, 1000), 4),
            ((Tag::OwnerGroup, NO_ID), 4),
            ((Tag::Group, 4), 5),
            ((Tag::Mask, NO_ID), 5),
            ((Tag::Other, NO_ID), 0),
        ]);
        for text in [
            "user::rw-,user:alice:r--:1000,group::r--,group:adm:r-x:4,mask::r-x,other::---",
            "user::rw-\nuser:1000:r--\t#effective:r--\ngroup::r--\ngroup:4:r-x\nmask::r-x\nother::---\n",
            "u::rw,u:1000:r,g::r,g:4:rx,m:rx,o:",
            "default:user::rw-,d:user:1000:r--,d:group::r--,d:group:4:r-x,d:mask::r-x,d:other::---",
        ] {
            assert_eq!(parse(text.as_bytes(), &nobody).unwrap(), want, "{text}");
        }
        assert_eq!(decode(&encode(&want)).unwrap(), want);
    }

    #[test]
    fn names_need_a_database() {
        let text = b"user::rw-,user:alice:r--,group::r--,mask::r--,other::---";
        assert_eq!(parse(text, &nobody).unwrap_err(), Fault::Unknown("alice".to_owned()));
        let known = |user: bool, name: &[u8]| (user && name == b"alice").then_some(7);
        assert!(parse(text, &known).unwrap().contains_key(&(Tag::User, 7)));
    }

    #[test]
    fn impossible_lists() {
        let apply = |text: &str| {
            let texts = [Some(text.as_bytes().to_vec()), None];
            apply(&mut Xattrs::new(), &mut Meta::default(), false, texts)
        };
        for (text, fault) in [
            ("user::rw-", "no `group::`"),
            ("user::rw-,group::r--,other::r--,user:7:r--", "without a `mask::`"),
            ("user::rw-,user::r--,group::r--,other::r--", "comes twice"),
            ("user::rwz,group::r--,other::r--", "unknown permissions"),
            ("owner::rwx,group::r--,other::r--", "unknown kind"),
            ("user:1:2:3:4", "three or four"),
        ] {
            let text = apply(text).unwrap_err();
            assert!(text.contains(fault), "{text}");
        }
        assert!(decode(b"").is_err());
        assert!(decode(&[2, 0, 0, 0, 1]).is_err());
        assert!(decode(&[1, 0, 0, 0]).is_err());
        assert!(decode(&[2, 0, 0, 0, 3, 0, 7, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn the_permission_bits_follow() {
        let mut meta = Meta { mode: 0o4644, ..Meta::default() };
        let mut xattrs = Xattrs::new();
        let text = b"user::rwx,group::r-x,other::--x".to_vec();
        apply(&mut xattrs, &mut meta, false, [Some(text), None]).unwrap();
        assert_eq!((meta.mode, xattrs.len()), (0o4751, 0));
        let text = b"user::rw-,user:9:rwx,group::r-x,mask::-w-,other::---".to_vec();
        apply(&mut xattrs, &mut meta, false, [Some(text), None]).unwrap();
        assert_eq!((meta.mode, xattrs.len()), (0o4620, 1));
    }
}
