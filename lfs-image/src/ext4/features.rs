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
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let named = [
            (self.compat.contains(Compat::HAS_JOURNAL), "has_journal"),
            (self.compat.contains(Compat::EXT_ATTR), "ext_attr"),
            (self.compat.contains(Compat::RESIZE_INODE), "resize_inode"),
            (self.compat.contains(Compat::DIR_INDEX), "dir_index"),
            (self.compat.contains(Compat::ORPHAN_FILE), "orphan_file"),
            (self.incompat.contains(Incompat::FILETYPE), "filetype"),
            (self.incompat.contains(Incompat::EXTENTS), "extent"),
            (self.incompat.contains(Incompat::BITS_64), "64bit"),
            (self.incompat.contains(Incompat::FLEX_BG), "flex_bg"),
            (self.incompat.contains(Incompat::EA_INODE), "ea_inode"),
            (self.ro_compat.contains(RoCompat::SPARSE_SUPER), "sparse_super"),
            (self.ro_compat.contains(RoCompat::LARGE_FILE), "large_file"),
            (self.ro_compat.contains(RoCompat::HUGE_FILE), "huge_file"),
            (self.ro_compat.contains(RoCompat::DIR_NLINK), "dir_nlink"),
            (self.ro_compat.contains(RoCompat::EXTRA_ISIZE), "extra_isize"),
            (self.ro_compat.contains(RoCompat::METADATA_CSUM), "metadata_csum"),
        ];
        named.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }
}
