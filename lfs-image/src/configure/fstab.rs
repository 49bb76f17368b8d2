//! /etc/fstab: what is mounted from where.
//!
//! Lines that aren't touched stay as they are, to the byte. A line of this disk's gets another first field; one of a device
//! that isn't there is commented out, since mounting it would stop the boot.

use super::spec::Fstab;
use super::system::{Init, System};
use super::{Notes, Place};
use crate::error::Result;
use crate::raw::time::Timestamp;
use crate::tree::edit::{Editor, File};
use crate::tree::{Meta, Root, text};

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
    editor.write(File::new(PATH, &new, why))?;
    for line in new.lines().filter_map(Line::parse).filter(|line| place.has(&line.source())) {
        let point = line.point();
        if point.starts_with('/') && point != "/" {
            editor.directory(
                &point,
                Meta::new(0o755, Timestamp::default()),
                "a filesystem is mounted on it",
            )?;
        }
    }
    Ok(())
}

/// A line that mounts something: its fields as they are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    source: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
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

    /// What is mounted: a path, or a tag as `UUID=…`.
    pub(crate) fn source(&self) -> String {
        let source = unescape(self.source);
        match source.split_once('=') {
            Some((tag, value)) if !tag.contains('/') => format!("{tag}={}", value.trim_matches(['"', '\''])),
            _ => source,
        }
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> String {
        let point = unescape(self.point);
        match point.trim_end_matches('/') {
            "" if point.starts_with('/') => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        }
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
        let source = self.source();
        if place.has(&source) || self.binds() && VOLATILE.iter().any(|dir| source.starts_with(dir)) {
            return None;
        }
        let tagged = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="];
        if source.starts_with("/dev/") || tagged.iter().any(|tag| source.starts_with(tag)) {
            return Some(format!("{source} isn't on this disk"));
        }
        if source.starts_with('/') {
            return root.find(text::encode(&source)).is_none().then(|| format!("there is no {source}"));
        }
        None
    }

    /// Whether the directory to mount it on is missing, and nothing makes it before.
    pub(crate) fn lacks_point(&self, root: Root<'_>) -> bool {
        let point = self.point();
        point.starts_with('/')
            && !self.is_optional()
            && !VOLATILE.iter().any(|dir| point.starts_with(dir))
            && root.find(text::encode(&point)).is_none()
    }

    fn binds(&self) -> bool {
        self.has("bind") || self.has("rbind")
    }
}

/// Directories whose content comes with the boot.
const VOLATILE: [&str; 6] = ["/dev/", "/proc/", "/sys/", "/run/", "/var/run/", "/tmp/"];

/// A field with its octal escapes read, by which blanks are written. Source: fstab(5), getmntent(3).
fn unescape(field: &str) -> String {
    let bytes = text::encode(field);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.first_chunk::<3>().filter(|digits| digits.iter().all(|c| matches!(c, b'0'..=b'7')));
        let number = digits.map(|digits| digits.iter().fold(0_u16, |sum, c| sum * 8 + u16::from(c - b'0')));
        match number.and_then(|number| u8::try_from(number).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    text::decode(&out)
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
        if fields.point() == "/" {
            if has_root {
                comment(&mut lines, line, "another root filesystem");
            } else {
                lines.push(root_line(line, fields, place));
                has_root = true;
            }
            continue;
        }
        if how != Fstab::Whole {
            if let Some(what) = fields.missing(place, root) {
                notes.warnings.push(format!(
                    "{PATH}: {} is to be mounted, and {what}: the boot may stop there (--fstab whole comments it out)",
                    fields.point()
                ));
            }
            lines.push(line.to_owned());
            continue;
        }
        match &place.esp {
            Some(esp) if ESP.contains(&&*fields.point()) => {
                lines.push(if place.has(&fields.source()) {
                    line.to_owned()
                } else {
                    with_source(line, fields, esp)
                });
            }
            _ => match fields.missing(place, root) {
                Some(what) => {
                    let point = fields.point();
                    let held =
                        if point == "/boot" { "; what is in /boot is on the root filesystem" } else { "" };
                    notes.notes.push(format!(
                        "{PATH}: {point} is not mounted: {what} (the line is commented out){held}"
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
    if place.has(&fields.source()) {
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
    use crate::tree::NoStore;
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
        let tree = tree(&[("swapfile", b""), ("srv/a/b", b""), ("srv/my files/x", b"")]);
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

    #[test]
    fn fields_as_people_write_them() {
        // What each line becomes: it stays, it goes, or another text.
        const STAYS: &str = "=";
        const GOES: &str = "#";
        for (line, wanted) in [
            (
                "\t/dev/sda2\t/\text4\tdefaults\t1\t1\t# system",
                "\tPARTUUID=r-3\t/\text4\tdefaults\t1\t1\t# system",
            ),
            ("/dev/root // ext4", "PARTUUID=r-3 // ext4"),
            ("LABEL=lfs / ext4 ro", "PARTUUID=r-3 / ext4 ro"),
            ("LABEL=\"LFS\" / ext4 ro", STAYS),
            ("LABEL=LFS\\040root / ext4 ro", "PARTUUID=r-3 / ext4 ro"),
            ("PARTUUID=R-3 / ext4", STAYS),
            ("/dev/disk/by-uuid/1111 / ext4", STAYS),
            ("/dev/disk/by-label/other / ext4", "PARTUUID=r-3 / ext4"),
            ("/dev/mapper/vg-root / btrfs subvol=@", "PARTUUID=r-3 / ext4 defaults 0 1"),
            ("/dev/sda1 /boot/efi/ vfat umask=0077 0 1", "PARTUUID=e-2 /boot/efi/ vfat umask=0077 0 1"),
            ("LABEL=ESP /efi vfat", "PARTUUID=e-2 /efi vfat"),
            ("/dev/sda1 /boot ext2 defaults 1 2", GOES),
            ("LABEL=swap none swap sw", GOES),
            ("/swapfile none swap sw", STAYS),
            ("/swap\\040file none swap sw", GOES),
            ("/srv/my\\040files /mnt/my\\040files none bind", STAYS),
            ("/srv/no\\040files /mnt/x none bind", GOES),
            ("/dev/shm /var/lib/shm none bind", STAYS),
            ("server:/home /home nfs4 rw,_netdev 0 0", STAYS),
            ("//server/share /mnt/share cifs credentials=/etc/cifs 0 0", STAYS),
            ("user@host:/x /mnt/x fuse.sshfs defaults", STAYS),
            ("/dev/sdb1 /data ext4 _netdev", STAYS),
            ("tmpfs /tmp tmpfs size=2G,mode=1777 0 0", STAYS),
            ("none /proc proc", STAYS),
            ("cgroup2 /sys/fs/cgroup cgroup2 nosuid 0 0", STAYS),
            ("PARTLABEL=home /home ext4 noauto,nofail", STAYS),
            ("PARTLABEL=home /home ext4 noatime", GOES),
            ("  # /dev/sdz1 /z ext4", STAYS),
            ("nonsense", STAYS),
            ("", STAYS),
        ] {
            let root = if line.contains(" / ") || line.contains("\t/\t") || line.contains(" // ") {
                ""
            } else {
                "PARTUUID=r-3 / ext4 defaults 0 1\n"
            };
            let old = format!("{root}{line}\n");
            let new = whole(Some(&old), Fstab::Whole, Init::SysV).0.unwrap_or_else(|| old.clone());
            let new = new.strip_prefix(root).unwrap();
            match wanted {
                STAYS => assert_eq!(new, format!("{line}\n")),
                GOES => assert!(
                    new.ends_with(&format!("\n#{line}\n")) && new.starts_with("# lfs-image: "),
                    "{new}"
                ),
                wanted => assert_eq!(new, format!("{wanted}\n")),
            }
        }
    }

    #[test]
    fn what_stays_broken_is_said_and_mount_points_are_made() {
        let mut tree = tree(&[("etc/fstab", b"/dev/a / ext4\n/dev/b /b ext4\n/dev/c /boot/efi vfat\n")]);
        let system = System::of(Root::new(&tree, &NoStore));
        let mut editor = Editor::new(&mut tree, &NoStore, Timestamp::default());
        let mut notes = Notes::default();
        edit(&mut editor, Fstab::Root, &place(true), &system, &mut notes).unwrap();
        assert_eq!(notes.warnings.len(), 2, "{notes:?}");
        assert!(
            notes.warnings[0].contains("/b is to be mounted, and /dev/b isn't on this disk"),
            "{notes:?}"
        );
        edit(&mut editor, Fstab::Whole, &place(true), &system, &mut notes).unwrap();
        assert!(editor.exists("/boot/efi") && !editor.exists("/b"));
        assert_eq!((notes.warnings.len(), notes.notes.len()), (2, 1), "{notes:?}");
    }
}
