//! Which kernels a tree holds, newest first, each with its initial RAM disk.

use std::cmp::Ordering;

use super::{HEAD, Image, version};
use crate::boot::root::Root;
use crate::error::{Error, Result};
use crate::tree::{Content, NodeId};

/// A kernel in a tree.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// Its path from the root, which begins with `/`.
    pub(crate) path: String,
    pub(crate) image: Image,
    pub(crate) content: Content,
    /// What its name says after `vmlinuz-`, else what the file says.
    pub(crate) version: Option<String>,
    pub(crate) initrd: Option<Initrd>,
    id: NodeId,
}

/// An initial RAM disk in a tree.
#[derive(Clone, Debug)]
pub(crate) struct Initrd {
    /// Its path from the root, which begins with `/`.
    pub(crate) path: String,
    pub(crate) content: Content,
}

/// What kernels are called, before `-VERSION` or alone.
const NAMES: [&str; 6] = ["vmlinuz", "vmlinux", "bzImage", "Image", "kernel", "linux"];

/// Where kernels are looked for, in words for a person.
const PLACES: &str = "/boot/vmlinuz*, /boot/vmlinux*, /boot/bzImage*, /boot/Image*, /boot/kernel*, /boot/linux*, the \
                      same names in /, and vmlinuz in /usr/lib/modules/* and /lib/modules/*";

/// All kernels of a tree that something at boot can start, the newest first. The error says where it looked and why
/// what it found there is none.
pub(crate) fn find(root: Root<'_>) -> Result<Vec<Kernel>> {
    let mut kernels: Vec<Kernel> = Vec::new();
    let mut refused = Vec::new();
    for path in candidates(root) {
        let looked = look(root, &path);
        tracing::trace!(path, found = ?looked.as_ref().map(|found| found.as_ref().map(|k| &k.version)), "a kernel?");
        match looked {
            Ok(Some(kernel)) => match kernels.iter_mut().find(|k| k.id == kernel.id) {
                // /boot/vmlinuz is often another name of the newest: keep the name that says more.
                Some(same) if kernel.path.len() > same.path.len() => *same = kernel,
                Some(_) => {}
                None => kernels.push(kernel),
            },
            Ok(None) => {}
            Err(error) => refused.push(format!("{path}: {error}")),
        }
    }
    if kernels.is_empty() {
        let found =
            if refused.is_empty() { String::new() } else { format!("; not usable: {}", refused.join("; ")) };
        return Err(Error::input(format!("there is no kernel: looked for {PLACES}{found}")));
    }
    kernels.sort_by(newer_first);
    Ok(kernels)
}

/// The kernel at a path that a person gave.
pub(crate) fn find_at(root: Root<'_>, path: &str) -> Result<Kernel> {
    let path = format!("/{}", path.trim_start_matches('/'));
    look(root, &path)
        .map_err(|e| Error::input(format!("`{path}` can't be booted: {e}")))?
        .ok_or_else(|| Error::input(format!("there is no file `{path}` to boot")))
}

fn newer_first(a: &Kernel, b: &Kernel) -> Ordering {
    let version = |k: &Kernel| k.version.clone().unwrap_or_default();
    version::compare(version(b).as_bytes(), version(a).as_bytes()).then_with(|| a.path.cmp(&b.path))
}

/// Paths of files that are called like kernels.
fn candidates(root: Root<'_>) -> Vec<String> {
    let mut paths = Vec::new();
    for dir in ["/boot/", "/"] {
        for name in root.names(dir) {
            if let Some(name) = printable(name).filter(|name| named_like_a_kernel(name)) {
                paths.push(format!("{dir}{name}"));
            }
        }
    }
    // Kernels that were never installed to /boot, as Fedora and Arch keep them.
    if paths.iter().all(|path| root.file(path).is_none()) {
        for dir in ["/usr/lib/modules/", "/lib/modules/"] {
            for name in root.names(dir).into_iter().filter_map(printable) {
                paths.push(format!("{dir}{name}/vmlinuz"));
            }
        }
    }
    paths
}

fn named_like_a_kernel(name: &str) -> bool {
    NAMES.iter().any(|prefix| match name.strip_prefix(prefix) {
        Some("") => true,
        // vmlinuz-6.1, vmlinuz.old, Image.gz; but not kernel.config or linux.txt
        Some(rest) => rest.starts_with('-') || (rest.starts_with('.') && prefix.ends_with(['z', 'e', 'x'])),
        None => false,
    })
}

/// A name that can be written into a loader's configuration.
fn printable(name: &[u8]) -> Option<&str> {
    let name = str::from_utf8(name).ok()?;
    (!name.contains(|c: char| c.is_control())).then_some(name)
}

/// The kernel at a path; `None` where there is no file, an error where it is none.
fn look(root: Root<'_>, path: &str) -> Result<Option<Kernel>> {
    let Some(id) = root.find(path) else { return Ok(None) };
    let Some(content) = root.content(id) else { return Ok(None) };
    let image = Image::parse(&root.head(&content.to_blob(), HEAD)?)?;
    let named = named_version(path);
    let initrd = find_initrd(root, path, named, image.release.as_deref());
    let version = named.map(str::to_owned).or_else(|| image.release.clone());
    Ok(Some(Kernel { path: path.to_owned(), image, content: content.clone(), version, initrd, id }))
}

/// What a kernel's name says after the dash; of one in /lib/modules/VERSION, that.
fn named_version(path: &str) -> Option<&str> {
    let (dir, name) = path.rsplit_once('/')?;
    if let Some((_, version)) = dir.split_once("/modules/") {
        return Some(version);
    }
    NAMES.iter().find_map(|prefix| name.strip_prefix(prefix)?.strip_prefix('-')).filter(|v| !v.is_empty())
}

fn find_initrd(root: Root<'_>, kernel: &str, named: Option<&str>, release: Option<&str>) -> Option<Initrd> {
    let own = kernel.rsplit_once('/').map_or("", |(dir, _)| dir);
    let dirs: &[&str] = if own.contains("/modules/") { &[own, "/boot"] } else { &[own] };
    let mut names = Vec::new();
    for version in [named, release].into_iter().flatten() {
        names.extend([
            format!("initrd.img-{version}"),
            format!("initramfs-{version}.img"),
            format!("initrd-{version}"),
            format!("initrd-{version}.img"),
            format!("initramfs-{version}"),
            format!("initramfs.img-{version}"),
        ]);
    }
    // A kernel without a version goes with a RAM disk without one; inside /lib/modules/VERSION both have none.
    if named.is_none() || own.contains("/modules/") {
        names.extend(["initrd.img", "initramfs.img", "initrd", "initramfs", "initrd.gz"].map(str::to_owned));
    }
    for dir in dirs {
        for name in &names {
            let path = format!("{dir}/{name}");
            if let Some(content) = root.file(&path).filter(|c| c.size() > 0) {
                return Some(Initrd { path, content: content.clone() });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::bzimage;
    use super::*;
    use crate::boot::root::tests::tree;
    use crate::tree::NoStore;

    fn found(files: &[(&str, &[u8])]) -> Vec<(String, Option<String>)> {
        let tree = tree(files);
        find(Root::new(&tree, &NoStore))
            .unwrap()
            .into_iter()
            .map(|k| (k.path, k.initrd.map(|i| i.path)))
            .collect()
    }

    #[test]
    fn newest_first_with_its_own_initrd() {
        let (old, new) = (bzimage("6.9.3", true), bzimage("6.10.1", true));
        let kernels = found(&[
            ("boot/vmlinuz-6.9.3-lfs-12.1", &old),
            ("boot/vmlinuz-6.10.1-lfs-12.2", &new),
            ("boot/initrd.img-6.9.3-lfs-12.1", b"x"),
            ("boot/initrd.img", b"wrong"),
            ("boot/vmlinuz", b"->vmlinuz-6.10.1-lfs-12.2"),
            ("vmlinuz", b"->boot/vmlinuz"),
            ("boot/vmlinux-6.10.1", b"\x7fELF"),
            ("boot/System.map-6.10.1", b"T"),
            ("boot/kernel.config", b"CONFIG"),
        ]);
        assert_eq!(
            kernels,
            [
                ("/boot/vmlinuz-6.10.1-lfs-12.2".into(), None),
                ("/boot/vmlinuz-6.9.3-lfs-12.1".into(), Some("/boot/initrd.img-6.9.3-lfs-12.1".into()))
            ]
        );
    }

    #[test]
    fn styles_of_initrd_names() {
        let k = bzimage("6.1.2", true);
        for (kernel, initrd) in [
            ("boot/vmlinuz-6.1.2", "boot/initramfs-6.1.2.img"),
            ("boot/vmlinuz-6.1.2", "boot/initrd-6.1.2"),
            ("boot/vmlinuz-linux", "boot/initramfs-linux.img"),
            ("boot/vmlinuz-lts", "boot/initramfs-lts"),
            ("boot/bzImage", "boot/initrd.img-6.1.2"),
            ("boot/vmlinuz", "boot/initrd.img"),
            ("usr/lib/modules/6.1.2/vmlinuz", "boot/initramfs-6.1.2.img"),
            ("usr/lib/modules/6.1.2/vmlinuz", "usr/lib/modules/6.1.2/initrd"),
        ] {
            let kernels = found(&[(kernel, &k), (initrd, b"x")]);
            assert_eq!(kernels, [(format!("/{kernel}"), Some(format!("/{initrd}")))]);
            assert_eq!(found(&[(kernel, &k), (initrd, b"")])[0].1, None, "an empty file is no RAM disk");
        }
    }

    #[test]
    fn the_file_tells_the_version_where_the_name_does_not() {
        let (old, new) = (bzimage("6.9.0", true), bzimage("6.10.0", true));
        let kernels =
            found(&[("boot/bzImage", &new), ("boot/vmlinuz-6.9", &old), ("boot/vmlinuz.old", &old)]);
        assert_eq!(kernels[0].0, "/boot/bzImage");
    }

    #[test]
    fn refusals_name_where_they_looked() {
        let tree = tree(&[("boot/Image.gz", b"\x1f\x8b"), ("boot/vmlinuz-5", b"hello"), ("etc/x", b"")]);
        let root = Root::new(&tree, &NoStore);
        let error = find(root).unwrap_err().to_string();
        assert!(error.starts_with("there is no kernel: looked for /boot/vmlinuz*, "), "{error}");
        assert!(error.contains("/boot/Image.gz: it is compressed with gzip"), "{error}");
        assert!(error.contains("/boot/vmlinuz-5: it is no Linux kernel"), "{error}");
        let error = find_at(root, "boot/vmlinuz-5").unwrap_err().to_string();
        assert!(error.starts_with("`/boot/vmlinuz-5` can't be booted: it is no Linux"), "{error}");
        let error = find_at(root, "/boot/none").unwrap_err().to_string();
        assert_eq!(error, "there is no file `/boot/none` to boot");
    }
}
