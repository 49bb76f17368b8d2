//! What a tree lacks to run on a target, and what it must not carry when it is public.
//!
//! ```text
//! kernel     a kernel, its drivers: from its configuration, or from lists of modules
//! programs   init and shells, their interpreters and libraries
//! host       fstab, the network, the console
//! way_in     who is let in, and how
//! public     keys, passwords, histories, credentials, logs
//! ```
//!
//! Each finding says what is wrong where, how bad it is, and what would mend it. Nothing is run: a tree is only looked at,
//! so what can be found is what can be seen. Not here: whether services work, whether packages are out of date.

mod config;
mod drivers;
mod host;
mod initramfs;
mod kernel;
mod lzo;
mod programs;
pub(crate) mod public;
mod unpack;
mod way_in;

use std::fmt;

use crate::configure::{Place, System, Target};
use crate::error::Result;
use crate::raw::store::ReadAt;
use crate::tree::{Root, Tree};

pub(crate) use public::scrub;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Severity {
    /// It won't work, or it must not be public.
    Fatal,
    /// It may not work, or not everywhere.
    Warning,
    /// Somebody should know.
    Note,
}

impl Severity {
    /// A word for people and for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that was found in a tree.
///
/// # Examples
///
/// ```
/// use lfs_image::check::Severity;
/// use lfs_image::host::Target;
/// use lfs_image::image::Boot;
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None))?;
/// let findings = image.check(&NoStore, Target::Ec2)?;
/// for finding in &findings {
///     println!("{finding} ({})", finding.mend);
/// }
/// // The worst come first, and names don't change.
/// assert_eq!(findings[0].severity, Severity::Fatal);
/// assert!(findings.iter().any(|finding| finding.id == "kernel-missing"));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A name for this kind of finding that doesn't change, such as `driver-missing`.
    pub id: &'static str,
    /// The path that it is about, from the root of the tree; bytes that aren't printable are escaped.
    pub path: Option<String>,
    /// What is wrong, a clause.
    pub what: String,
    /// What would mend it: an option of the command, for which [`HostSpec`](crate::host::HostSpec) has a field of that name, or
    /// something to do. Empty where nothing is known.
    pub mend: String,
}

/// A line: `fatal driver-missing: …`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.severity.name(), self.id)?;
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// Findings as they come together.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, id: &'static str, what: impl Into<String>) -> &mut Finding {
        self.0.push(Finding { severity, id, path: None, what: what.into(), mend: String::new() });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn fatal(&mut self, id: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(Severity::Fatal, id, what)
    }

    fn warn(&mut self, id: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, id, what)
    }

    fn note(&mut self, id: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(Severity::Note, id, what)
    }

    /// The worst first; what is equally bad stays in order.
    fn finish(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity);
        self.0
    }
}

impl Finding {
    fn at(&mut self, path: impl Into<String>) -> &mut Self {
        self.path = Some(path.into());
        self
    }

    fn mend(&mut self, how: impl Into<String>) -> &mut Self {
        self.mend = how.into();
        self
    }
}

/// The disk that a tree is on, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// What fstab may name; `None` where the tree is on no disk yet.
    pub(crate) place: Option<Place>,
    /// Whether there is a GPT, else an MBR or nothing.
    pub(crate) gpt: bool,
    /// The kernel that starts, if it isn't the newest.
    pub(crate) kernel: Option<String>,
}

/// What a tree lacks to run there, the worst first.
///
/// # Errors
///
/// When its content can't be read.
pub(crate) fn readiness(
    tree: &Tree,
    store: &dyn ReadAt,
    target: Target,
    disk: &Surroundings,
) -> Result<Vec<Finding>> {
    let root = Root::new(tree, store);
    let system = System::of(root);
    let mut findings = Findings::default();
    kernel::check(root, target, disk, &mut findings)?;
    programs::check(root, &system, &mut findings)?;
    host::check(root, target, disk, &system, &mut findings);
    way_in::check(root, target, &system, &mut findings);
    Ok(findings.finish())
}

/// What a tree must not carry when it is public, the worst first.
///
/// # Errors
///
/// When its content can't be read.
///
/// # Examples
///
/// ```
/// use lfs_image::check::check_public;
/// use lfs_image::tree::{Content, Directory, Kind, Meta, NoStore, NodeId};
/// use lfs_image::Tree;
///
/// let mut tree = Tree::new();
/// let etc = tree.insert(NodeId::ROOT, b"etc", Meta::default(), Kind::Directory(Directory::default()))?;
/// let ssh = tree.insert(etc, b"ssh", Meta::default(), Kind::Directory(Directory::default()))?;
/// let key = Content::bytes(*b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n");
/// tree.insert(ssh, b"ssh_host_ed25519_key", Meta::default(), Kind::File(key))?;
/// let findings = check_public(&tree, &NoStore)?;
/// assert!(findings.iter().any(|found| found.path.as_deref() == Some("/etc/ssh/ssh_host_ed25519_key")));
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub fn check_public(tree: &Tree, store: &dyn ReadAt) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    public::check(Root::new(tree, store), &mut findings)?;
    Ok(findings.finish())
}

/// What is to be said about the name or the description of an image that is public, if anything.
///
/// # Examples
///
/// ```
/// assert!(lfs_image::check::check_public_name("my-lfs-12").is_some());
/// assert!(lfs_image::check::check_public_name("my-system-12").is_none());
/// ```
#[must_use]
pub fn check_public_name(text: &str) -> Option<Finding> {
    let folded = text.to_ascii_lowercase().replace(['-', '_'], " ");
    let is_word = |word: &str| folded.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == word);
    if !folded.contains("linux from scratch") && !is_word("lfs") && !is_word("blfs") {
        return None;
    }
    let mut findings = Findings::default();
    findings
        .warn(
            "name",
            format!(
                "`{}` uses the name of the Linux From Scratch project, to which it belongs: what is built by its book isn't \
                 published under it",
                text.escape_debug()
            ),
        )
        .mend("another name and description");
    findings.0.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_belong_to_somebody() {
        for bad in ["My Linux From Scratch 12", "linux-from-scratch", "LFS 12.2", "my-lfs-server", "blfs"] {
            assert!(check_public_name(bad).is_some(), "{bad}");
        }
        for fine in ["web-7", "selfservice", "lfsimage", "Linux"] {
            assert_eq!(check_public_name(fine), None);
        }
    }
}
