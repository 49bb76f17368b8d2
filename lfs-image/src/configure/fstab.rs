//! /etc/fstab: what is mounted from where.
//!
//! Lines that aren't touched stay as they are, to the byte. A line of this disk's gets another first field; one of a device
//! that isn't there is commented out, since mounting it would stop the boot.

use super::spec::Fstab;
use super::system::{Init, System};
use super::{Notes, Place};
use crate::error::Result;
use crate::tree::Root;
use crate::tree::edit::{Editor, File};

const PATH: &str = "/etc/fstab";

/// Filesystems that need no device.
const PSEUDO: [&str; 24] = [
    "proc",
    "sysfs",
    "devpts",
    "tmpfs",
    "devtmpfs",
    "cgroup",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "efivarfs",
    "configfs",
    "fusectl",
    "mqueue",
    "hugetlbfs",
    "pstore",
    "bpf",
    "ramfs",
    "binfmt_misc",
    "rpc_pipefs",
    "nfsd",
    "overlay",
    "usbfs",
    "selinuxfs",
];
/// Filesystems that come from elsewhere.
const NETWORK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "davfs", "sshfs", "afs"];
/// Where an EFI system partition is mounted.
const ESP: [&str; 2] = ["/boot/efi", "/efi"];

pub(super) fn edit(
    editor: &mut Editor<'_>,
    how: Fstab,
    place: &Place,
    system: &System,
    notes: &mut Notes,
) -> Result<()> {
    let old = editor.read(PATH)?;
    let Some(new) = rewrite(old.as_deref(), how, place, system.init, editor.root(), notes) else {
        return Ok(());
    };
    let why = match how {
        Fstab::Whole => "it names what is on this disk",
        _ => "it names the root filesystem of this disk",
    };
    editor.write(File::new(PATH, &new, why))
}

/// A line that mounts something: its fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) source: &'a str,
    pub(crate) point: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) options: &'a str,
}

impl<'a> Line<'a> {
    /// The fields of a line; `None` where it mounts nothing.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let mut fields = line.split_ascii_whitespace();
        let (source, point) = (fields.next()?, fields.next()?);
        Some(Self {
            source,
            point,
            kind: fields.next().unwrap_or("auto"),
            options: fields.next().unwrap_or("defaults"),
        })
    }

    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }

    /// Whether a boot goes on without it.
    fn is_optional(&self) -> bool {
        self.has("nofail") || self.has("noauto")
    }

    /// What is missing where this is mounted at boot, on a disk with these partitions; `None` where it can be mounted.
    pub(crate) fn missing(&self, place: &Place, root: Root<'_>) -> Option<String> {
        let is_pseudo = PSEUDO.contains(&self.kind)
            || NETWORK.contains(&self.kind)
            || self.kind.starts_with("fuse")
            || self.has("_netdev");
        if is_pseudo || self.is_optional() {
            return None;
        }
        let source = unquote(self.source);
        if place.has(&source) {
            return None;
        }
        let tagged = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="];
        if source.starts_with("/dev/") || tagged.iter().any(|tag| source.starts_with(tag)) {
            return Some(format!("{source} isn't on this disk"));
        }
        if source.starts_with('/') {
            return root.find(&source).is_none().then(|| format!("there is no {source}"));
        }
        None
    }
}

/// A field without its quotes around the value of a tag.
fn unquote(field: &str) -> String {
    field.replace('"', "")
}

/// The new text; `None` where nothing changes.
fn rewrite(
    old: Option<&str>,
    how: Fstab,
    place: &Place,
    init: Init,
    root: Root<'_>,
    notes: &mut Notes,
) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut has_root = false;
    let mut mounts = 0;
    for line in old.unwrap_or_default().lines() {
        let Some(fields) = Line::parse(line) else {
            lines.push(line.to_owned());
            continue;
        };
        mounts += 1;
        if fields.point == "/" {
            if has_root {
                comment(&mut lines, line, "another root filesystem");
            } else {
                lines.push(root_line(line, fields, place));
                has_root = true;
            }
            continue;
        }
        if how != Fstab::Whole {
            lines.push(line.to_owned());
            continue;
        }
        match &place.esp {
            Some(esp) if ESP.contains(&fields.point) => {
                lines.push(if place.has(&unquote(fields.source)) {
                    line.to_owned()
                } else {
                    with_source(line, fields, esp)
                });
            }
            _ => match fields.missing(place, root) {
                Some(what) => {
                    notes.notes.push(format!(
                        "{PATH}: {} is not mounted: {what} (the line is commented out)",
                        fields.point
                    ));
                    comment(&mut lines, line, &what);
                }
                None => lines.push(line.to_owned()),
            },
        }
    }
    if !has_root {
        let line = format!("{} / ext4 defaults 0 1", place.root);
        let first = lines.iter().position(|line| Line::parse(line).is_some()).unwrap_or(lines.len());
        lines.insert(first, line);
    }
    if mounts == 0 && init == Init::SysV {
        lines.extend(VIRTUAL.iter().map(|line| (*line).to_owned()));
    }
    let new = lines.join("\n") + "\n";
    (old != Some(new.as_str())).then_some(new)
}

/// What a SysV system mounts by its fstab, and systemd by itself.
const VIRTUAL: [&str; 7] = [
    "proc /proc proc nosuid,noexec,nodev 0 0",
    "sysfs /sys sysfs nosuid,noexec,nodev 0 0",
    "devpts /dev/pts devpts gid=5,mode=620 0 0",
    "tmpfs /run tmpfs defaults 0 0",
    "devtmpfs /dev devtmpfs mode=0755,nosuid 0 0",
    "tmpfs /dev/shm tmpfs nosuid,nodev 0 0",
    "cgroup2 /sys/fs/cgroup cgroup2 nosuid,noexec,nodev 0 0",
];

fn root_line(line: &str, fields: Line<'_>, place: &Place) -> String {
    if !matches!(fields.kind, "ext4" | "auto") {
        // Options of another filesystem's may be unknown to this one.
        return format!("{} / ext4 defaults 0 1", place.root);
    }
    if place.has(&unquote(fields.source)) {
        return line.to_owned();
    }
    with_source(line, fields, &place.root)
}

/// A line with another first field; the others stay where they are as far as there is room.
fn with_source(line: &str, fields: Line<'_>, source: &str) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    let rest = &line.trim_start()[fields.source.len()..];
    let gap = rest.len() - rest.trim_start().len();
    // Columns of spaces move along; a tab does so by itself.
    let shrink = source.len().saturating_sub(fields.source.len());
    let rest = if rest.starts_with("  ") { &rest[shrink.min(gap - 1)..] } else { rest };
    format!("{indent}{source}{rest}")
}

fn comment(lines: &mut Vec<String>, line: &str, why: &str) {
    lines.push(format!("# lfs-image: {why}"));
    lines.push(format!("#{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoStore;
    use crate::tree::root::tests::tree;

    fn place(esp: bool) -> Place {
        Place {
            root: "PARTUUID=r-3".into(),
            root_uuid: "1111".into(),
            esp: esp.then(|| "PARTUUID=e-2".into()),
            label: Some("LFS".into()),
            esp_uuid: None,
        }
    }

    fn whole(old: Option<&str>, how: Fstab, init: Init) -> (Option<String>, usize) {
        let tree = tree(&[("swapfile", b""), ("srv/a/b", b"")]);
        let mut notes = Notes::default();
        let new = rewrite(old, how, &place(true), init, Root::new(&tree, &NoStore), &mut notes);
        (new, notes.notes.len())
    }

    #[test]
    fn the_book_s_own() {
        let old = "# file system  mount-point  type  options  dump  fsck\n\
                   /dev/sda2      /            ext4  defaults  1  1\n\
                   /dev/sda3      swap         swap  pri=1     0  0\n\
                   proc           /proc        proc  nosuid    0  0\n\
                   UUID=AB-CD     /boot/efi    vfat  defaults  0  2\n\
                   /dev/sdb1      /srv         ext4  nofail    0  2\n\
                   /dev/cdrom     /mnt         iso9660 noauto  0  0\n\
                   /swapfile      none         swap  sw        0  0\n\
                   /srv/a         /opt         none  bind      0  0\n\
                   /srv/c         /opt/c       none  bind      0  0\n\
                   host:/x        /x           nfs   hard      0  0\n";
        let (new, notes) = whole(Some(old), Fstab::Whole, Init::SysV);
        assert_eq!(
            new.unwrap(),
            "# file system  mount-point  type  options  dump  fsck\n\
             PARTUUID=r-3   /            ext4  defaults  1  1\n\
             # lfs-image: /dev/sda3 isn't on this disk\n\
             #/dev/sda3      swap         swap  pri=1     0  0\n\
             proc           /proc        proc  nosuid    0  0\n\
             PARTUUID=e-2   /boot/efi    vfat  defaults  0  2\n\
             /dev/sdb1      /srv         ext4  nofail    0  2\n\
             /dev/cdrom     /mnt         iso9660 noauto  0  0\n\
             /swapfile      none         swap  sw        0  0\n\
             /srv/a         /opt         none  bind      0  0\n\
             # lfs-image: there is no /srv/c\n\
             #/srv/c         /opt/c       none  bind      0  0\n\
             host:/x        /x           nfs   hard      0  0\n"
        );
        assert_eq!(notes, 2);
        let (new, notes) = whole(Some(old), Fstab::Root, Init::SysV);
        assert_eq!(new.unwrap(), old.replace("/dev/sda2   ", "PARTUUID=r-3"));
        assert_eq!(notes, 0);
    }

    #[test]
    fn what_is_right_stays_and_what_is_missing_is_made() {
        for right in
            ["PARTUUID=r-3\t/\text4\tnoatime\t0 1\n", "UUID=\"1111\" / auto ro 0 1\n", "LABEL=LFS / ext4\n"]
        {
            assert_eq!(whole(Some(right), Fstab::Whole, Init::Systemd), (None, 0), "{right}");
        }
        let root = "PARTUUID=r-3 / ext4 defaults 0 1\n";
        assert_eq!(whole(None, Fstab::Root, Init::Systemd).0.unwrap(), root);
        assert_eq!(whole(Some("# none\n"), Fstab::Root, Init::Systemd).0.unwrap(), format!("# none\n{root}"));
        assert_eq!(whole(Some("/dev/sda1 / xfs nouuid\n"), Fstab::Root, Init::Systemd).0.unwrap(), root);
        let sysv = whole(None, Fstab::Root, Init::SysV).0.unwrap();
        assert!(sysv.starts_with(root) && sysv.contains("\nproc /proc proc "));
        let two = whole(Some("/dev/a / ext4\n/dev/b / ext4\n"), Fstab::Root, Init::Other).0.unwrap();
        assert_eq!(two, "PARTUUID=r-3 / ext4\n# lfs-image: another root filesystem\n#/dev/b / ext4\n");
        // Without an EFI system partition its line has to go.
        let tree = tree(&[]);
        let old = "PARTUUID=r-3 / ext4\nUUID=AB-CD /efi vfat\n";
        let mut notes = Notes::default();
        let new = rewrite(
            Some(old),
            Fstab::Whole,
            &place(false),
            Init::Other,
            Root::new(&tree, &NoStore),
            &mut notes,
        );
        assert!(new.unwrap().contains("\n#UUID=AB-CD /efi vfat\n"));
    }
}
