//! Points in time as tar and ext4 know them.

/// Seconds since 1970-01-01 UTC, negative before, and nanoseconds (0 to 999,999,999) to add.
///
/// # Examples
///
/// ```
/// use lfs_image::tree::Timestamp;
///
/// let half_a_second_before_1970 = Timestamp { sec: -1, nsec: 500_000_000 };
/// assert!(half_a_second_before_1970 < Timestamp::default());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub sec: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nsec: u32,
}

impl Timestamp {
    /// The earliest time an ext4 inode can hold: 1901-12-13T20:45:52Z.
    pub const MIN: Self = Self { sec: -0x8000_0000, nsec: 0 };
    /// The latest time an ext4 inode can hold: 2446-05-10T22:38:55.999999999Z.
    pub const MAX: Self = Self { sec: 0x3_7fff_ffff, nsec: 999_999_999 };

    /// A time of whole seconds.
    #[must_use]
    pub const fn from_secs(sec: i64) -> Self {
        Self { sec, nsec: 0 }
    }

    /// This time, or the nearest one that ext4 can hold.
    #[must_use]
    pub fn clamped(self) -> Self {
        let Self { sec, nsec } = self.clamp(Self::MIN, Self::MAX);
        Self { sec, nsec: nsec.min(Self::MAX.nsec) }
    }
}
