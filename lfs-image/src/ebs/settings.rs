//! What a snapshot is to be like, and how hard to try.

use std::time::Duration;

use crate::error::{Error, Result};

/// Bytes in a block of a snapshot: the service takes no other size.
pub const BLOCK: u64 = 512 << 10;

/// What a snapshot is to be like, and how to send it. The default is a snapshot as large as the image needs, encrypted where
/// the account's default says so.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use lfs_image::ebs::{Encryption, Patience, Settings};
///
/// let mut patience = Patience::default();
/// patience.give_up = Duration::from_secs(3600);
/// let settings = Settings::new()
///     .volume_gib(8)
///     .description("my system")
///     .tag("team", "base")
///     .encryption(Encryption::DefaultKey)
///     .patience(patience);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(crate) volume_gib: Option<u64>,
    pub(crate) description: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) encryption: Encryption,
    pub(crate) jobs: Option<usize>,
    pub(crate) omit_zeros: bool,
    pub(crate) patience: Patience,
}

/// How a snapshot is encrypted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Encryption {
    /// As the account's default for the region says.
    #[default]
    Account,
    /// With the account's default key.
    DefaultKey,
    /// With the KMS key of this ARN (`arn:aws:kms:…:key/…`; the service takes no alias).
    Key(String),
}

impl Settings {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The volume's size in GiB. The least, and the default, is the image's size rounded up.
    #[must_use]
    pub fn volume_gib(mut self, gib: u64) -> Self {
        self.volume_gib = Some(gib);
        self
    }

    /// The snapshot's description, up to 255 characters.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// One more tag for the snapshot; up to 50.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// How it is encrypted.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// The most requests at a time; fewer are used where more wouldn't be faster. The default is 128, and there are never
    /// more than 256.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = Some(jobs);
        self
    }

    /// Leaves out all blocks of zeros, allocated or not. A volume that is encrypted, which any volume made of the snapshot may
    /// be, then has noise where the image has zeros that are relied on.
    #[must_use]
    pub fn omit_zeros(mut self, omit: bool) -> Self {
        self.omit_zeros = omit;
        self
    }

    /// How long to try.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// What the service would refuse, found before anything is asked of it.
    pub(super) fn check(&self) -> Result<()> {
        let within = |what: &str, text: &str, least: usize, most: usize| {
            let n = text.chars().count();
            if (least..=most).contains(&n) {
                return Ok(());
            }
            Err(Error::input(format!("{what} has {n} characters, and the service takes {least} to {most}")))
        };
        within("the snapshot's description", &self.description, 0, 255)?;
        if self.tags.len() > 50 {
            return Err(Error::input(format!("{} tags: a snapshot has at most 50", self.tags.len())));
        }
        for (key, value) in &self.tags {
            within(&format!("the tag key `{}`", key.escape_debug()), key, 1, 127)?;
            within(&format!("the value of the tag `{}`", key.escape_debug()), value, 0, 255)?;
        }
        if let Encryption::Key(arn) = &self.encryption
            && !(arn.starts_with("arn:aws") && arn.contains(":kms:") && arn.contains(":key/"))
        {
            return Err(Error::input(format!(
                "`{}` is not the ARN of a KMS key (arn:aws:kms:…:key/…)",
                arn.escape_debug()
            )));
        }
        Ok(())
    }
}

/// How long to try. None of these bounds how long a block may take on a slow line: what counts is that blocks arrive.
///
/// [`Settings`] has an example.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Patience {
    /// An attempt that has had no answer for so long, and for several times as long as answers take otherwise, is given up
    /// and made again. 20 s.
    pub stall: Duration,
    /// The transfer fails when a request has found nothing but passing faults for so long. 10 minutes.
    pub give_up: Duration,
    /// So long after its start, a snapshot that the service doesn't know is one that it doesn't know yet. 2 minutes.
    pub not_found: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(20),
            give_up: Duration::from_secs(600),
            not_found: Duration::from_secs(120),
        }
    }
}
