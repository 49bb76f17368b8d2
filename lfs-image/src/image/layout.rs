//! From sizes to partitions.
//!
//! ```text
//! gpt   | table | 1 MiB: BIOS boot | 2 MiB: payload, if needed | ESP, if needed | root filesystem … | backup table |
//! mbr   | table | gap for boot code, 1 MiB: payload, if needed | ESP, if asked for | root filesystem …          |
//! none  | root filesystem …                                                                              |
//! ```
//!
//! Everything starts at a multiple of 1 MiB. The root filesystem comes last, so that it can grow into a larger disk.

use crate::error::{Error, Result};
use crate::ext4::Free;
use crate::raw::num::round_up;
use crate::table::{Gpt, SECTOR};

use super::spec::{ImageSpec, PartitionTable};

/// What partitions are aligned to.
pub(crate) const ALIGN: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Bytes of the BIOS boot partition.
const BIOS_BOOT: u64 = 1 << 20;

/// What a partition is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// Boot code for BIOS on a GPT disk.
    BiosBoot,
    /// The kernel for our own BIOS loader.
    Payload,
    /// The EFI system partition.
    Esp,
    /// The root filesystem.
    Root,
}

impl Role {
    /// The name in the partition table, and for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BiosBoot => "bios-boot",
            Self::Payload => "payload",
            Self::Esp => "esp",
            Self::Root => "root",
        }
    }
}

/// A partition of an image.
///
/// # Examples
///
/// ```
/// use lfs_image::image::{Boot, Role};
/// use lfs_image::tree::NoStore;
/// use lfs_image::{Image, ImageSpec, Tree};
///
/// let image = Image::plan(Tree::new(), &NoStore, &ImageSpec::new().boot(Boot::None))?;
/// let root = image.partitions().iter().find(|p| p.role == Role::Root).expect("every image has one");
/// let partuuid = root.partuuid.as_ref().expect("there is a partition table");
/// println!("root=PARTUUID={partuuid}: mount -o loop,offset={}", root.offset);
/// assert_eq!((root.number, root.offset), (2, 2 << 20));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Partition {
    /// What Linux appends to the name of the disk; 0 where there is no table.
    pub number: u32,
    /// What it is for.
    pub role: Role,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// What `root=PARTUUID=` calls it; none where there is no table.
    pub partuuid: Option<String>,
    /// What `root=UUID=` calls the filesystem in it.
    pub uuid: Option<String>,
}

/// Where partitions lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Layout {
    pub(crate) disk: u64,
    pub(crate) bios_boot: Option<Span>,
    pub(crate) payload: Option<Span>,
    pub(crate) esp: Option<Span>,
    pub(crate) root: Span,
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Span {
    pub(crate) fn end(self) -> u64 {
        self.offset + self.len
    }
}

/// How large the root filesystem is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RootSize {
    /// The disk is what it is.
    Rest,
    /// At least so many bytes.
    AtLeast(u64),
}

impl Layout {
    /// Lays out a disk with a payload and an ESP of so many bytes (0 for none).
    pub(crate) fn new(spec: &ImageSpec, payload: u64, esp: u64, root: RootSize) -> Result<Self> {
        let too_large = || Error::capacity("the disk would be larger than 8 EiB");
        let aligned = |bytes: u64| round_up(bytes, ALIGN).filter(|b| *b < 1 << 63).ok_or_else(too_large);
        let mut next = if spec.table == PartitionTable::None { 0 } else { ALIGN };
        let bios_boot = (spec.table == PartitionTable::Gpt).then(|| {
            next += BIOS_BOOT;
            Span { offset: next - BIOS_BOOT, len: BIOS_BOOT }
        });
        let mut place = |len: u64| -> Result<Option<Span>> {
            if len == 0 {
                return Ok(None);
            }
            let span = Span { offset: next, len: aligned(len)? };
            next = aligned(span.end())?;
            Ok(Some(span))
        };
        let payload = place(payload)?;
        let esp = place(esp)?;
        let tail = if spec.table == PartitionTable::Gpt { Gpt::TAIL * SECTOR } else { 0 };
        let disk = match (spec.size, root) {
            (Some(size), _) => size,
            (None, RootSize::AtLeast(root)) => {
                // The end is aligned like the start.
                let end = aligned(next.checked_add(root).ok_or_else(too_large)?)? + tail;
                round_up(end, GIB).ok_or_else(too_large)?
            }
            (None, RootSize::Rest) => return Err(Error::internal("neither disk nor filesystem has a size")),
        };
        if !disk.is_multiple_of(SECTOR) {
            return Err(Error::input(format!("a disk of {disk} bytes: its size must be a multiple of 512")));
        }
        let usable = disk.saturating_sub(tail);
        let end = if spec.table == PartitionTable::None { usable } else { usable - usable % ALIGN };
        let len = end.checked_sub(next).filter(|len| *len > 0).ok_or_else(|| {
            Error::too_small(format!(
                "a disk of {disk} bytes has no room for a root filesystem, which would start at byte {next}"
            ))
        })?;
        if let RootSize::AtLeast(least) = root
            && len < least
        {
            return Err(Error::too_small(format!(
                "a disk of {disk} bytes leaves {len} bytes for the root filesystem, which needs {least}: {} more",
                least - len
            )));
        }
        Ok(Self { disk, bios_boot, payload, esp, root: Span { offset: next, len } })
    }
}

/// Free space that an exact disk size can't promise.
pub(crate) fn wanted_free(spec: &ImageSpec) -> Result<Free> {
    match spec.free {
        Free::Percent(percent) if percent > 90 => {
            Err(Error::input(format!("{percent} % of the filesystem free: at most 90 % are possible")))
        }
        free => Ok(free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_gpt_disk_is_rounded_up_to_whole_gib() {
        let spec = ImageSpec::new();
        let layout = Layout::new(&spec, 0, 0, RootSize::AtLeast(300 * MIB)).unwrap();
        assert_eq!(layout.disk, GIB);
        assert_eq!(layout.bios_boot, Some(Span { offset: MIB, len: MIB }));
        assert_eq!(layout.root, Span { offset: 2 * MIB, len: GIB - 3 * MIB });
        // One byte more than fits.
        let layout = Layout::new(&spec, 0, 64 * MIB, RootSize::AtLeast(GIB - 67 * MIB + 1)).unwrap();
        assert_eq!((layout.disk, layout.root.offset), (2 * GIB, 66 * MIB));
    }

    #[test]
    fn an_exact_size_is_kept_exact() {
        let spec = ImageSpec::new().size(100 * MIB + 512);
        let layout = Layout::new(&spec, 0, 0, RootSize::Rest).unwrap();
        assert_eq!((layout.disk, layout.root.end()), (100 * MIB + 512, 99 * MIB));
        let error = Layout::new(&spec, 0, 0, RootSize::AtLeast(100 * MIB)).unwrap_err();
        assert!(error.to_string().contains("3145728 more"), "{error}");
        assert!(Layout::new(&ImageSpec::new().size(1000), 0, 0, RootSize::Rest).is_err());
        assert!(Layout::new(&ImageSpec::new().size(2 * MIB), 0, 0, RootSize::Rest).is_err());
        let bare = ImageSpec::new().size(10 * MIB + 512).table(PartitionTable::None);
        assert_eq!(
            Layout::new(&bare, 0, 0, RootSize::Rest).unwrap().root,
            Span { offset: 0, len: 10 * MIB + 512 }
        );
    }

    #[test]
    fn sizes_beyond_all_disks_are_refused() {
        assert!(Layout::new(&ImageSpec::new(), 0, u64::MAX, RootSize::AtLeast(1)).is_err());
        assert!(Layout::new(&ImageSpec::new(), 0, 0, RootSize::AtLeast(u64::MAX)).is_err());
    }
}
