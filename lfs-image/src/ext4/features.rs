//! Which features a filesystem has: what `mke2fs -t ext4` turns on, less what GRUB 2.06 can't read.
//!
//! Left out: `metadata_csum_seed`, `large_dir` and `inline_data` (GRUB 2.06 refuses them), `bigalloc`, `casefold`,
//! `encrypt`, `verity`, quotas. `ea_inode` and `orphan_file` are there when asked for.

use bitflags::bitflags;

bitflags! {
    /// `s_feature_compat`: a kernel that doesn't know these may still write.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub(crate) struct Compat: u32 {
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const RESIZE_INODE = 0x10;
        const DIR_INDEX = 0x20;
        const ORPHAN_FILE = 0x1000;
    }

    /// `s_feature_incompat`: a kernel that doesn't know these must not mount.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub(crate) struct Incompat: u32 {
        const FILETYPE = 0x2;
        const EXTENTS = 0x40;
        const BITS_64 = 0x80;
        const FLEX_BG = 0x200;
        const EA_INODE = 0x400;
    }

    /// `s_feature_ro_compat`: a kernel that doesn't know these must not write.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub(crate) struct RoCompat: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const HUGE_FILE = 0x8;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const METADATA_CSUM = 0x400;
    }
}

/// The features of one filesystem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Features {
    pub(crate) compat: Compat,
    pub(crate) incompat: Incompat,
    pub(crate) ro_compat: RoCompat,
}

impl Features {
    /// Everything that is always on.
    pub(crate) fn base() -> Self {
        Self {
            compat: Compat::EXT_ATTR | Compat::DIR_INDEX,
            incompat: Incompat::FILETYPE | Incompat::EXTENTS | Incompat::BITS_64 | Incompat::FLEX_BG,
            ro_compat: RoCompat::all(),
        }
    }

    /// Their names, as `dumpe2fs` prints them and in its order.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.compat.bits(), self.incompat.bits(), self.ro_compat.bits())
    }
}

/// The names of the features of any ext2, ext3 or ext4, as `dumpe2fs` prints them and in its order.
pub(crate) fn names(compat: u32, incompat: u32, ro_compat: u32) -> Vec<String> {
    let words = [('C', compat, COMPAT), ('I', incompat, INCOMPAT), ('R', ro_compat, RO_COMPAT)];
    let mut names = Vec::new();
    for (letter, bits, known) in words {
        for bit in (0..u32::BITS).filter(|bit| bits >> bit & 1 == 1) {
            let name = known.iter().find(|(number, _)| *number == bit);
            names.push(name.map_or_else(|| format!("FEATURE_{letter}{bit}"), |(_, name)| (*name).to_owned()));
        }
    }
    names
}

const COMPAT: &[(u32, &str)] = &[
    (0, "dir_prealloc"),
    (1, "imagic_inodes"),
    (2, "has_journal"),
    (3, "ext_attr"),
    (4, "resize_inode"),
    (5, "dir_index"),
    (6, "lazy_bg"),
    (8, "snapshot_bitmap"),
    (9, "sparse_super2"),
    (10, "fast_commit"),
    (11, "stable_inodes"),
    (12, "orphan_file"),
];

const INCOMPAT: &[(u32, &str)] = &[
    (0, "compression"),
    (1, "filetype"),
    (2, "needs_recovery"),
    (3, "journal_dev"),
    (4, "meta_bg"),
    (6, "extent"),
    (7, "64bit"),
    (8, "mmp"),
    (9, "flex_bg"),
    (10, "ea_inode"),
    (12, "dirdata"),
    (13, "metadata_csum_seed"),
    (14, "large_dir"),
    (15, "inline_data"),
    (16, "encrypt"),
    (17, "casefold"),
];

const RO_COMPAT: &[(u32, &str)] = &[
    (0, "sparse_super"),
    (1, "large_file"),
    (3, "huge_file"),
    (4, "uninit_bg"),
    (5, "dir_nlink"),
    (6, "extra_isize"),
    (7, "snapshot"),
    (8, "quota"),
    (9, "bigalloc"),
    (10, "metadata_csum"),
    (11, "replica"),
    (12, "read-only"),
    (13, "project"),
    (14, "shared_blocks"),
    (15, "verity"),
    (16, "orphan_present"),
];
