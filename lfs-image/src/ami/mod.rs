//! Machine images: a snapshot becomes an AMI, is copied, shared and announced.
//!
//! ```text
//! firmware   what can start the image           ─┐
//! spec       what is asked for, and EC2's rules  ├─▶ preflight   before the first byte: may it, can it, what will it cost
//!                                                │   register    RegisterImage, once, and the waiting
//!                                               ─┘   publish     copies, permissions, deprecation, a parameter
//! ec2        the dozen calls as one trait
//! client     ... spoken as EC2's query protocol:  query (form out), xml and reply (answer in), service (signed, retried)
//! sdk        ... or through `aws-sdk-ec2`, with the cargo feature of that name
//! refusal    ... and why one comes to nothing
//! ```
//!
//! EC2's Rust SDK has 1.24 million lines and takes 7.5 GB to compile; the calls used here take some hundred, on the crates for
//! signatures and HTTP that the SDK for EBS brings along anyway. Who builds that SDK in any case can have the calls go through it;
//! both pass the same tests.
//!
//! # Examples
//!
//! ```no_run
//! use std::sync::{Arc, atomic::AtomicBool};
//! use lfs_image::image::Firmware;
//! use lfs_image::ami::{AmiSpec, Registrar};
//! use lfs_image::ebs::{Aws, Connect};
//!
//! let aws = Aws::connect(&Connect::new())?;
//! let registrar = Registrar::new(&aws, Arc::new(AtomicBool::new(false)));
//! let mut firmware = Firmware::default();
//! firmware.bios = true;
//! registrar.wait_for_snapshot("snap-0123456789abcdef0", &mut |_| Ok(()))?;
//! let ami = registrar.register(&AmiSpec::new("my-system-1"), &firmware, "snap-0123456789abcdef0", 8, &mut |_| Ok(()))?;
//! println!("{}", ami.id);
//! # Ok::<(), lfs_image::Error>(())
//! ```

mod client;
mod ec2;
mod firmware;
mod preflight;
mod publish;
mod query;
mod refusal;
mod register;
mod reply;
#[cfg(feature = "aws-sdk-ec2")]
mod sdk;
mod service;
mod spec;
mod wait;
mod xml;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use ec2::Identity;
pub use preflight::{Checks, Estimate, Preflight};
pub use publish::{Publication, Published};
pub use register::{Ami, Taken};
pub use spec::{
    AmiSpec, Architecture, BootMode, DIGEST_TAG, TAG, check_account, check_description, check_key,
    check_name, check_parameter, check_region, check_tags, nameable,
};
pub use wait::Waiting;

#[cfg(not(feature = "aws-sdk-ec2"))]
use client::Client;
use ec2::Ec2 as _;
#[cfg(feature = "aws-sdk-ec2")]
use sdk::Client;

use crate::ebs::{Aws, SnapshotState, Snapshots};
use crate::error::Result;
use crate::image::Firmware;

/// Makes machine images of snapshots, in one account and region.
///
/// # Examples
///
/// From an image to an AMI, which can be killed at any moment and run again:
///
/// ```no_run
/// use std::sync::{Arc, atomic::AtomicBool};
///
/// use lfs_image::ami::{AmiSpec, Registrar};
/// use lfs_image::ebs::{Aws, Connect, Settings, Source, Upload};
/// # use lfs_image::tree::NoStore;
/// # use lfs_image::{Image, ImageSpec, Tree};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (aws, settings) = (Aws::connect(&Connect::new())?, Settings::new());
/// let registrar = Registrar::new(&aws, Arc::new(AtomicBool::new(false)));
/// # let (tree, store) = (Tree::new(), NoStore);
/// let image = Image::plan(tree, &store, &ImageSpec::new())?;
/// let sent = Upload::new(&aws, &settings)
///     .journal("push.journal".as_ref())
///     .snapshots(&registrar)
///     .run(&Source::plan(&image, &store), &mut ())?;
/// registrar.wait_for_snapshot(&sent.snapshot_id, &mut |_| Ok(()))?;
/// // The tag tells this content from another under the same name.
/// let (spec, firmware) = (AmiSpec::new("my-system-1").marked(&sent.fingerprint), image.firmware());
/// let ami = registrar.register(&spec, &firmware, &sent.snapshot_id, sent.volume_gib, &mut |_| Ok(()))?;
/// sent.forget_journal()?;
/// println!("{}", ami.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Registrar<'a> {
    aws: &'a Aws,
    client: Client<'a>,
}

impl<'a> Registrar<'a> {
    /// A registrar that ends what it is doing soon after `stop` is set.
    #[must_use]
    pub fn new(aws: &'a Aws, stop: Arc<AtomicBool>) -> Self {
        Self { aws, client: Client::new(aws, stop) }
    }

    /// Who is asking: needs no permission, so it tells whether there are credentials that work.
    ///
    /// # Errors
    ///
    /// When there are no credentials, or the service doesn't take them.
    pub fn identity(&self) -> Result<Identity> {
        Ok(self.client.hasty().identity()?)
    }

    /// The account's image of this name.
    ///
    /// # Errors
    ///
    /// When the service doesn't tell.
    pub fn image_named(&self, name: &str) -> Result<Option<Taken>> {
        Ok(register::named(&self.client.hasty(), self.aws.region(), name)?)
    }

    /// The snapshot that the root volume of an image is made of; none where there is no such image of this account's.
    ///
    /// # Errors
    ///
    /// When the service doesn't tell.
    pub fn root_snapshot(&self, image_id: &str) -> Result<Option<String>> {
        let images = self.client.hasty().images(self.aws.region(), &[("image-id", image_id)])?;
        Ok(images.first().and_then(|image| image.root_snapshot()).map(str::to_owned))
    }

    /// Looks for everything that would make the whole fail, before anything is sent. Changes nothing.
    ///
    /// # Errors
    ///
    /// With the first thing that is in the way.
    pub fn preflight(&self, checks: &Checks<'_>) -> Result<Preflight> {
        preflight::run(&self.client.hasty(), self.aws.region(), checks)
    }

    /// Waits until a snapshot is complete.
    ///
    /// # Errors
    ///
    /// When the service gives it up, doesn't know it, or takes hours; when `wait` says so.
    pub fn wait_for_snapshot(
        &self,
        snapshot_id: &str,
        wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
    ) -> Result<()> {
        wait::for_snapshot(&self.client, self.aws.region(), snapshot_id, wait)
    }

    /// Registers a snapshot, and waits until the image is available. What was registered before under the name, of the
    /// same snapshot, counts.
    ///
    /// # Errors
    ///
    /// When the service refuses or the specification contradicts itself; when `wait` says so.
    pub fn register(
        &self,
        spec: &AmiSpec,
        firmware: &Firmware,
        snapshot_id: &str,
        volume_gib: u64,
        wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
    ) -> Result<Ami> {
        let registration = spec.registration(firmware, volume_gib)?;
        register::run(&self.client, self.aws.region(), &registration, snapshot_id, wait)
    }

    /// Waits until an image can be launched.
    ///
    /// # Errors
    ///
    /// When it never can be; when `wait` says so.
    pub fn wait_for_image(
        &self,
        image_id: &str,
        wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
    ) -> Result<()> {
        wait::for_image(&self.client, self.aws.region(), image_id, wait).map(drop)
    }

    /// Copies an image, shares and announces it. What was done before counts; copies are told from others by
    /// [`Publication::digest`], which both runs have to give, as [`AmiSpec::marked`] of the image itself. `published` is filled with what is
    /// done, also after an error.
    ///
    /// # Errors
    ///
    /// When the service refuses; when `wait` says so.
    pub fn publish(
        &self,
        ami: &Ami,
        spec: &AmiSpec,
        publication: &Publication,
        published: &mut Published,
        wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
    ) -> Result<()> {
        publish::run(&self.client, self.aws.region(), ami, spec, publication, published, wait)
    }
}

impl Snapshots for Registrar<'_> {
    fn state(&self, snapshot_id: &str) -> Result<Option<SnapshotState>> {
        let found = self.client.snapshots(self.aws.region(), &[("snapshot-id", snapshot_id)])?;
        Ok(found.first().map(|snapshot| match snapshot.state.as_str() {
            "completed" => SnapshotState::Completed,
            "error" => SnapshotState::Error,
            _ => SnapshotState::Pending,
        }))
    }

    fn delete(&self, snapshot_id: &str) -> Result<()> {
        match self.client.urgent().delete_snapshot(self.aws.region(), snapshot_id) {
            Err(fault) if fault.code() == "InvalidSnapshot.NotFound" => Ok(()),
            outcome => Ok(outcome?),
        }
    }
}

/// A time such as `2027-01-01T00:00:00Z`, as EC2 takes it, from seconds since 1970.
///
/// # Errors
///
/// When there is no such time within four digits of years.
///
/// # Examples
///
/// ```
/// use lfs_image::ami::{seconds, utc};
///
/// assert_eq!(utc(1_798_761_600)?, "2027-01-01T00:00:00Z");
/// assert_eq!(seconds("2027-01-01"), Some(1_798_761_600));
/// # Ok::<(), lfs_image::Error>(())
/// ```
pub fn utc(seconds: i64) -> Result<String> {
    use aws_smithy_types::date_time::Format;
    aws_smithy_types::DateTime::from_secs(seconds)
        .fmt(Format::DateTime)
        .map_err(|e| crate::error::Error::input(format!("{seconds} seconds after 1970")).with_source(e))
}

/// Seconds since 1970 of a time such as `2027-01-01T00:00:00Z` or a day such as `2027-01-01`; none where it is neither. [`utc`] has an
/// example.
#[must_use]
pub fn seconds(time: &str) -> Option<i64> {
    use aws_smithy_types::date_time::Format;
    let time = if time.len() == 10 { format!("{time}T00:00:00Z") } else { time.to_owned() };
    Some(aws_smithy_types::DateTime::from_str(&time, Format::DateTime).ok()?.secs())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(super::utc(1_798_761_600).unwrap(), "2027-01-01T00:00:00Z");
        assert_eq!(super::seconds("2027-01-01"), Some(1_798_761_600));
        assert_eq!(super::seconds("2027-01-01T00:00:01Z"), Some(1_798_761_601));
        assert_eq!(super::seconds("tomorrow"), None);
    }
}
