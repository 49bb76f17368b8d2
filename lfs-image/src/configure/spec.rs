//! What a tree is to be made into.

use crate::tree::{Content, Meta};

/// Where an image is to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// QEMU, and clouds that are QEMU with virtio devices.
    Qemu,
    /// Xen, with hardware or paravirtualized boot.
    Xen,
    /// Amazon EC2: Nitro instances, and the older ones on Xen.
    Ec2,
}

impl Target {
    /// The name of the target, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Xen => "xen",
            Self::Ec2 => "ec2",
        }
    }
}

/// How much of /etc/fstab is rewritten.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fstab {
    /// Nothing.
    Keep,
    /// The line of the root filesystem; a file without one gets one.
    #[default]
    Root,
    /// The lines of all partitions of this disk; what names other devices is commented out.
    Whole,
}

/// A file of somebody's own, put into the tree before anything else is done to it.
///
/// # Examples
///
/// ```
/// use lfs_image::host::{HostSpec, OwnFile};
/// use lfs_image::tree::Content;
///
/// let mut key = OwnFile::new("/etc/app/key", Content::bytes(*b"0123\n"), 0o640);
/// key.meta.gid = 100;
/// let mut host = HostSpec::default();
/// host.files.push(key);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OwnFile {
    /// Its path in the tree.
    pub path: String,
    /// Its content.
    pub content: Content,
    /// Its owner and permissions; the time is the image's.
    pub meta: Meta,
}

impl OwnFile {
    /// A file of root's with these permission bits.
    #[must_use]
    pub fn new(path: impl Into<String>, content: Content, mode: u16) -> Self {
        Self { path: path.into(), content, meta: Meta { mode, ..Meta::default() } }
    }
}

/// What a tree is to be made into before it becomes an image: a list of edits to make or not to make.
///
/// The default is what booting needs: the root filesystem's line in /etc/fstab, device nodes and mount points that are
/// missing; and that only in a tree that has an init or a kernel that is started. [`HostSpec::target`] is a cloud host.
///
/// # Examples
///
/// ```
/// use lfs_image::host::{HostSpec, Target};
/// use lfs_image::ImageSpec;
///
/// let mut host = HostSpec::target(Target::Ec2);
/// host.hostname = Some("build-7".into());
/// host.imds_ssh_key = true;
/// let spec = ImageSpec::new().host(host);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostSpec {
    /// Where it is to run, which says what its console and its disks are called.
    pub target: Option<Target>,
    /// /etc/fstab.
    pub fstab: Fstab,
    /// Device nodes and mount points that are missing.
    pub nodes: bool,
    /// What one machine alone may have (machine-id, SSH host keys, random seed) is removed and made anew at first boot.
    pub identity: bool,
    /// /etc/hostname and /etc/hosts.
    pub hostname: Option<String>,
    /// The first network interface asks for its address by DHCP.
    pub network: bool,
    /// A login on the serial console.
    pub console: bool,
    /// The root filesystem grows to the size of its disk at boot.
    pub grow: bool,
    /// Who is let in by keys; made if missing, with the right to become root where sudo is there. Root without it.
    pub user: Option<String>,
    /// Public keys, one or more lines as in authorized_keys.
    pub authorized_keys: Vec<String>,
    /// The key that an EC2 instance is launched with is fetched at first boot.
    pub imds_ssh_key: bool,
    /// A script in an EC2 instance's user data is run at first boot.
    pub user_data: bool,
    /// Files to put into the tree.
    pub files: Vec<OwnFile>,
    /// Paths to remove from the tree, before anything is put there.
    pub remove: Vec<String>,
    /// All that must not be public is removed, and root's password is locked.
    pub scrub: bool,
    /// Root's password is locked.
    pub lock_root: bool,
}

impl Default for HostSpec {
    fn default() -> Self {
        Self { fstab: Fstab::Root, nodes: true, ..Self::nothing() }
    }
}

impl HostSpec {
    /// No edits.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            target: None,
            fstab: Fstab::Keep,
            nodes: false,
            identity: false,
            hostname: None,
            network: false,
            console: false,
            grow: false,
            user: None,
            authorized_keys: Vec::new(),
            imds_ssh_key: false,
            user_data: false,
            files: Vec::new(),
            remove: Vec::new(),
            scrub: false,
            lock_root: false,
        }
    }

    /// A host there: fstab, network, console, a growing root filesystem, and nothing that another machine has, too.
    #[must_use]
    pub fn target(target: Target) -> Self {
        Self {
            target: Some(target),
            fstab: Fstab::Whole,
            nodes: true,
            identity: true,
            network: true,
            console: true,
            grow: true,
            ..Self::nothing()
        }
    }

    /// Whether anything was asked for beyond what booting needs.
    pub(crate) fn is_asked_for(&self) -> bool {
        let Self { target, fstab, identity, hostname, network, console, grow, .. } = self;
        target.is_some()
            || *fstab == Fstab::Whole
            || *identity
            || hostname.is_some()
            || *network
            || *console
            || *grow
            || self.user.is_some()
            || !self.authorized_keys.is_empty()
            || self.imds_ssh_key
            || self.user_data
            || !self.files.is_empty()
            || !self.remove.is_empty()
            || self.scrub
            || self.lock_root
    }

    /// What is asked for beyond what booting needs, as text to derive identifiers from; the files' content is left out, as that
    /// of the tree's files is.
    pub(crate) fn canonical(&self) -> String {
        if !self.is_asked_for() {
            return String::new();
        }
        let files: Vec<_> = self.files.iter().map(|f| (&f.path, f.content.size(), &f.meta)).collect();
        format!(
            " host={:?}",
            (
                (self.target, self.fstab, self.nodes, self.identity, &self.hostname, self.network),
                (self.console, self.grow, &self.user, &self.authorized_keys, self.imds_ssh_key),
                (self.user_data, files, &self.remove, self.scrub, self.lock_root),
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_booting_needs_does_not_change_identifiers() {
        assert_eq!(HostSpec::default().canonical(), "");
        assert_eq!(HostSpec::nothing().canonical(), "");
        let ec2 = HostSpec::target(Target::Ec2).canonical();
        assert!(!ec2.is_empty() && ec2 != HostSpec::target(Target::Xen).canonical());
    }
}
