//! Where else an image is to be, who may use it, and where it is announced.

use sha2::{Digest as _, Sha256};

use super::ec2::{Copy, Ec2, Share};
use super::register::{Ami, named};
use super::spec::AmiSpec;
use super::wait::{self, Waiting};
use crate::ebs::Encryption;
use crate::error::{Error, Result};

/// What is to become of an image once it is there.
///
/// # Examples
///
/// ```
/// use lfs_image::ami::{Publication, utc};
///
/// let publication = Publication::new()
///     .copy_to("eu-west-1")
///     .share_with("123456789012")
///     .deprecate_at(utc(1_830_297_600)?)
///     .parameter("/images/base");
/// assert_eq!(publication.deprecated_at(), Some("2028-01-01T00:00:00Z"));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Publication {
    pub(super) copy_to: Vec<String>,
    pub(super) share_with: Vec<String>,
    pub(super) public: bool,
    pub(super) deprecate_at: Option<String>,
    pub(super) parameter: Option<String>,
    pub(super) encryption: Encryption,
    pub(super) digest: Option<String>,
}

impl Publication {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more region to have it.
    #[must_use]
    pub fn copy_to(mut self, region: impl Into<String>) -> Self {
        self.copy_to.push(region.into());
        self
    }

    /// One more account that may launch it and copy its snapshot.
    #[must_use]
    pub fn share_with(mut self, account: impl Into<String>) -> Self {
        self.share_with.push(account.into());
        self
    }

    /// Whether everybody may launch it.
    #[must_use]
    pub fn public(mut self, public: bool) -> Self {
        self.public = public;
        self
    }

    /// When lists begin to leave it out, see [`utc`](super::utc).
    #[must_use]
    pub fn deprecate_at(mut self, time: impl Into<String>) -> Self {
        self.deprecate_at = Some(time.into());
        self
    }

    /// When lists begin to leave it out.
    #[must_use]
    pub fn deprecated_at(&self) -> Option<&str> {
        self.deprecate_at.as_deref()
    }

    /// The parameter of SSM that names it, in each region.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>) -> Self {
        self.parameter = Some(name.into());
        self
    }

    /// How the snapshot is encrypted: so are its copies, with a key of their region.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// What is in the image, as [`Uploaded::fingerprint`](crate::ebs::Uploaded::fingerprint) says: copies have the same tag, by which
    /// they are found again.
    #[must_use]
    pub fn digest(mut self, digest: impl Into<String>) -> Self {
        self.digest = Some(digest.into());
        self
    }
}

/// What was done of a [`Publication`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// The image and its copies, by region. A copy's snapshot is empty until it is complete.
    pub images: Vec<(String, Ami)>,
    /// Regions where all of it is done.
    pub complete: Vec<String>,
}

pub(super) fn run(
    ec2: &dyn Ec2,
    home: &str,
    ami: &Ami,
    spec: &AmiSpec,
    publication: &Publication,
    published: &mut Published,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
) -> Result<()> {
    *published = Published { images: vec![(home.to_owned(), ami.clone())], complete: Vec::new() };
    // All copies are made at the same time.
    for region in &publication.copy_to {
        let copy = copy(ec2, home, region, ami, spec, publication)
            .map_err(|error| error.context(format!("can't copy {} to {region}", ami.id)))?;
        published.images.push((region.clone(), copy));
    }
    for (region, image) in &mut published.images {
        if region != home {
            let copied = wait::for_copy(ec2, region, &image.id, wait)?;
            image.snapshot_id = copied.root_snapshot().unwrap_or_default().to_owned();
        }
    }
    for (region, image) in published.images.clone() {
        announce(ec2, &region, &image, publication)
            .map_err(|error| error.context(format!("can't publish {} in {region}", image.id)))?;
        published.complete.push(region);
    }
    Ok(())
}

/// Starts a copy, unless there is one.
fn copy(
    ec2: &dyn Ec2,
    home: &str,
    region: &str,
    ami: &Ami,
    spec: &AmiSpec,
    publication: &Publication,
) -> Result<Ami> {
    if let Some(taken) = named(ec2, region, &ami.name)? {
        if taken.digest.is_some() && taken.digest == publication.digest {
            return Ok(taken.ami);
        }
        return Err(Error::input(format!(
            "the name `{}` has another image there, {}",
            ami.name, taken.ami.id
        )));
    }
    let key = copy_key(&publication.encryption, region);
    let id = ec2.copy_image(
        region,
        &Copy {
            name: &ami.name,
            description: spec.description.as_deref(),
            from: home,
            image_id: &ami.id,
            token: &token(&[home, region, &ami.id, &ami.name]),
            encrypted: publication.encryption != Encryption::Account,
            kms_key: key.as_deref(),
            tags: &spec.tags,
        },
    )?;
    Ok(Ami { id, name: ami.name.clone(), snapshot_id: String::new() })
}

/// Keys are of one region, but those that AWS made for several have the same id in each.
fn copy_key(encryption: &Encryption, region: &str) -> Option<String> {
    let Encryption::Key(arn) = encryption else { return None };
    let mut parts: Vec<&str> = arn.split(':').collect();
    if parts.len() != 6 || !parts[5].starts_with("key/mrk-") {
        return None;
    }
    parts[3] = region;
    Some(parts.join(":"))
}

/// The same for the same copy, and 64 characters long.
fn token(of: &[&str]) -> String {
    let digest = Sha256::digest(of.join("\n"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn announce(ec2: &dyn Ec2, region: &str, image: &Ami, publication: &Publication) -> Result<()> {
    let accounts = &publication.share_with;
    if !accounts.is_empty() {
        // Who sees the image may want its snapshot, so that comes first.
        ec2.share_snapshot(region, &image.snapshot_id, accounts)?;
        ec2.share_image(region, &image.id, Share::Accounts(accounts))?;
    }
    if publication.public {
        ec2.share_image(region, &image.id, Share::Everybody)?;
    }
    if let Some(time) = &publication.deprecate_at {
        ec2.deprecate_image(region, &image.id, time)?;
    }
    if let Some(name) = &publication.parameter {
        ec2.put_parameter(region, name, &image.id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_keys_of_their_region() {
        let key = |arn: &str| copy_key(&Encryption::Key(arn.to_owned()), "us-east-1");
        assert_eq!(key("arn:aws:kms:eu-west-1:123456789012:key/0000"), None);
        assert_eq!(
            key("arn:aws:kms:eu-west-1:123456789012:key/mrk-00").as_deref(),
            Some("arn:aws:kms:us-east-1:123456789012:key/mrk-00")
        );
        assert_eq!(copy_key(&Encryption::DefaultKey, "us-east-1"), None);
    }

    #[test]
    fn tokens_are_the_copies_own() {
        let one = token(&["a", "b", "c"]);
        assert_eq!((one.len(), &one), (64, &token(&["a", "b", "c"])));
        assert_ne!(one, token(&["a", "b", "d"]));
    }
}
