//! Options that make a tree a host, for every command that takes a tarball: what can be typed, and what it means.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use lfs_image::host::{Fstab, HostSpec, OwnFile, Target};
use lfs_image::tree::Content;
use lfs_image::{Error, ErrorKind, Result};

/// What the tree is made into.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Host")]
pub(crate) struct HostArgs {
    /// Where the image is to run, which sets everything below; `none` changes nothing that isn't asked for. Without it,
    /// what booting needs: the root filesystem in fstab, device nodes, mount points
    #[arg(long, value_enum)]
    pub(crate) target: Option<TargetName>,

    /// Options from a file: `hostname = "lfs"`, `overlay = ["a.tar"]`, `network = true`; those on the command line win
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// How much of /etc/fstab is rewritten
    #[arg(long, value_enum)]
    fstab: Option<FstabLines>,

    /// Make device nodes and mount points that are missing
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    nodes: Option<Switch>,

    /// Name the host
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Remove machine-id, SSH host keys and random seed, which each machine gets anew at first boot
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    fresh_identity: Option<Switch>,

    /// Let the first network interface get its address by DHCP
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    network: Option<Switch>,

    /// Have a login on the serial console
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    console: Option<Switch>,

    /// Grow the root filesystem to the size of its disk at boot, with sfdisk and resize2fs from the tree
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    grow: Option<Switch>,

    /// Let in who has one of the keys in this file, as root or as the one that --user names; may be given more than once
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    authorized_key: Vec<PathBuf>,

    /// Who is let in by keys; made if missing, with the right to use sudo where it is there
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// At first boot in EC2, let in who has the key that the instance was launched with
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    imds_ssh_key: Option<Switch>,

    /// At first boot in EC2, run the script in the instance's user data
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    user_data: Option<Switch>,

    /// Put a file into the tree; without a mode it is 0755 or 0644, as it can be executed here or not, and root's
    #[arg(long, value_name = "SRC:DST[:MODE[:UID:GID]]")]
    copy: Vec<String>,

    /// Remove a path from the tree; may be given more than once
    #[arg(long, value_name = "PATH")]
    remove: Vec<String>,

    /// Remove all that must not be public (keys, histories, logs, credentials), and lock root's password
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    scrub: Option<Switch>,

    /// Lock root's password: nobody gets in by it
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    lock_root: Option<Switch>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum TargetName {
    /// Nowhere in particular: the tree stays as it is
    None,
    /// QEMU, and clouds that are QEMU
    Qemu,
    /// Xen
    Xen,
    /// Amazon EC2
    Ec2,
}

impl TargetName {
    pub(crate) fn target(self) -> Option<Target> {
        match self {
            Self::None => None,
            Self::Qemu => Some(Target::Qemu),
            Self::Xen => Some(Target::Xen),
            Self::Ec2 => Some(Target::Ec2),
        }
    }
}

/// A place where an image runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Place {
    /// QEMU, and clouds that are QEMU
    Qemu,
    /// Xen
    Xen,
    /// Amazon EC2
    Ec2,
}

impl From<Place> for Target {
    fn from(place: Place) -> Self {
        match place {
            Place::Qemu => Self::Qemu,
            Place::Xen => Self::Xen,
            Place::Ec2 => Self::Ec2,
        }
    }
}

impl From<Place> for TargetName {
    fn from(place: Place) -> Self {
        match place {
            Place::Qemu => Self::Qemu,
            Place::Xen => Self::Xen,
            Place::Ec2 => Self::Ec2,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FstabLines {
    /// None
    Keep,
    /// The root filesystem's
    Root,
    /// Those of this disk; what names another is commented out
    Whole,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Switch {
    Yes,
    No,
}

/// The largest file that is held in memory on its way into the image.
const MAX_FILE: u64 = 64 << 20;

impl HostArgs {
    /// The host that was asked for; `default` where no target is named. Files are read.
    pub(crate) fn spec(&self, default: Option<TargetName>) -> Result<HostSpec> {
        let mut spec = match self.target.or(default) {
            Some(TargetName::None) => HostSpec::nothing(),
            Some(name) => name.target().map_or_else(HostSpec::nothing, HostSpec::target),
            None => HostSpec::default(),
        };
        if let Some(lines) = self.fstab {
            spec.fstab = match lines {
                FstabLines::Keep => Fstab::Keep,
                FstabLines::Root => Fstab::Root,
                FstabLines::Whole => Fstab::Whole,
            };
        }
        for (switch, place) in [
            (self.nodes, &mut spec.nodes),
            (self.fresh_identity, &mut spec.identity),
            (self.network, &mut spec.network),
            (self.console, &mut spec.console),
            (self.grow, &mut spec.grow),
            (self.imds_ssh_key, &mut spec.imds_ssh_key),
            (self.user_data, &mut spec.user_data),
            (self.scrub, &mut spec.scrub),
            (self.lock_root, &mut spec.lock_root),
        ] {
            if let Some(switch) = switch {
                *place = switch == Switch::Yes;
            }
        }
        spec.hostname.clone_from(&self.hostname);
        spec.user.clone_from(&self.user);
        spec.remove.clone_from(&self.remove);
        for path in &self.authorized_key {
            let text = String::from_utf8(read(path)?)
                .map_err(|_| input(format!("{} is no text: an authorized_keys file is", path.display())))?;
            spec.authorized_keys.push(text);
        }
        for copy in &self.copy {
            spec.files.push(own_file(copy)?);
        }
        Ok(spec)
    }

    /// The files that are read.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Path> {
        let copied = self.copy.iter().filter_map(|copy| copy.split(':').next()).map(Path::new);
        self.config.iter().chain(&self.authorized_key).map(AsRef::as_ref).chain(copied)
    }

    pub(crate) fn fault(&self) -> Option<&'static str> {
        let scrubs = self.scrub == Some(Switch::Yes);
        (scrubs && !self.authorized_key.is_empty()).then_some(
            "--scrub removes keys that let people in, and --authorized-key puts one there; what is public gets its key at \
             launch (--imds-ssh-key)",
        )
    }
}

fn input(message: String) -> Error {
    Error::new(ErrorKind::Input, message)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io(format!("read {}", path.display()), e);
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.is_dir() {
        return Err(input(format!("{} is a directory: --overlay takes a tarball of one", path.display())));
    }
    if meta.len() > MAX_FILE {
        let (path, len) = (path.display(), meta.len());
        return Err(input(format!(
            "{path} has {len} bytes: what is larger than 64 MiB goes into an --overlay"
        )));
    }
    std::fs::read(path).map_err(failed)
}

/// `SRC:DST[:MODE[:UID:GID]]`
fn own_file(text: &str) -> Result<OwnFile> {
    let fault = |what: &str| input(format!("--copy {text}: {what}"));
    let mut parts = text.split(':');
    let (Some(from), Some(to)) =
        (parts.next().filter(|p| !p.is_empty()), parts.next().filter(|p| !p.is_empty()))
    else {
        return Err(fault("it has to be SRC:DST[:MODE[:UID:GID]]"));
    };
    let (mode, uid, gid) = (parts.next(), parts.next(), parts.next());
    if parts.next().is_some() || uid.is_some() != gid.is_some() {
        return Err(fault("it has to be SRC:DST[:MODE[:UID:GID]]"));
    }
    let from = Path::new(from);
    let bytes = read(from)?;
    let mode = match mode {
        Some(mode) => u16::from_str_radix(mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| fault("its mode has to be octal, at most 7777"))?,
        None => {
            use std::os::unix::fs::PermissionsExt as _;
            let runs = from.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0);
            if runs { 0o755 } else { 0o644 }
        }
    };
    let number = |id: Option<&str>| match id {
        // The last one is the kernel's word for "none".
        Some(id) => id
            .parse::<u32>()
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| fault("owners are numbers, 4294967294 at most")),
        None => Ok(0),
    };
    let mut file = OwnFile::new(to, Content::bytes(bytes), mode);
    (file.meta.uid, file.meta.gid) = (number(uid)?, number(gid)?);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        let from = file.path().to_str().unwrap();
        let copy = |rest: &str| own_file(&format!("{from}:{rest}"));
        let own = copy("/x/y:4750:7:8").unwrap();
        assert_eq!((&*own.path, own.meta.mode, own.meta.uid, own.meta.gid), ("/x/y", 0o4750, 7, 8));
        for (mode, wanted) in [(0o600, 0o644), (0o700, 0o755)] {
            std::fs::set_permissions(from, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(copy("/x").unwrap().meta.mode, wanted);
        }
        for bad in [
            "/x:644:4294967295:0",
            "/x:644:0:4294967295",
            "/x:644:-1:0",
            "/x:8",
            "/x:10000",
            "/x:644:1",
            "",
            "/x:644:1:2:3",
        ] {
            assert!(copy(bad).is_err(), "{bad}");
        }
        assert!(own_file("").is_err() && own_file("a").is_err() && own_file(":b").is_err());
        assert!(own_file("/etc:/x").unwrap_err().to_string().contains("--overlay"));
    }
}
