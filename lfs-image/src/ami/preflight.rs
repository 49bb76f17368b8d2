//! What is in the way of a push, found before its first byte.
//!
//! EC2 tells of most of its calls whether they would be allowed; the EBS direct APIs tell of none, but refuse the first block
//! as fast. Where asking itself is not allowed, nothing is known and the push goes on.

use super::ec2::{DryRun, Ec2};
use super::firmware;
use super::publish::Publication;
use super::refusal::Fault;
use super::register::{Taken, named};
use super::spec::AmiSpec;
use crate::ebs::{BLOCK, Encryption};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Firmware;

/// PutSnapshotBlock requests of one snapshot in a second: quota L-1774F84A, which can't be raised.
const BLOCKS_PER_SECOND: u64 = 1000;
/// Millionths of a dollar for a PutSnapshotBlock request: the documentation's example, which differs from region to region.
const MICRODOLLARS_PER_BLOCK: u64 = 6;
/// Pending snapshots of an account: quota L-94D7AB7D.
const PENDING_SNAPSHOTS: usize = 100;
/// Public images of an account in a region: quota L-0E3CBAB9, unless it was raised.
const PUBLIC_IMAGES: usize = 5;
/// The largest volume.
const MAX_GIB: u64 = 65_536;

/// What is about to be done.
///
/// # Examples
///
/// ```no_run
/// use std::sync::{Arc, atomic::AtomicBool};
///
/// use lfs_image::ami::{AmiSpec, Checks, Publication, Registrar};
/// use lfs_image::ebs::{Aws, Connect, Encryption};
/// use lfs_image::image::Firmware;
///
/// let aws = Aws::connect(&Connect::new())?;
/// let registrar = Registrar::new(&aws, Arc::new(AtomicBool::new(false)));
/// let mut firmware = Firmware::default();
/// firmware.bios = true;
/// let found = registrar.preflight(&Checks {
///     ami: Some((&AmiSpec::new("my-system-1"), &firmware)),
///     publication: &Publication::new().share_with("123456789012"),
///     encryption: &Encryption::Account,
///     blocks: 500,
///     volume_gib: 8,
/// })?;
/// println!("{} millionths of a dollar; {:?}", found.estimate.microdollars, found.warnings);
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Checks<'a> {
    /// The image to register; none where a snapshot is all that is wanted.
    pub ami: Option<(&'a AmiSpec, &'a Firmware)>,
    /// What is to become of it.
    pub publication: &'a Publication,
    /// How the snapshot is to be encrypted.
    pub encryption: &'a Encryption,
    /// Blocks to send.
    pub blocks: u64,
    /// The size of the volume.
    pub volume_gib: u64,
}

/// What was found; [`Checks`] has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preflight {
    /// The image that has the name already. It is for the caller to find out whether it has the same content.
    pub taken: Option<Taken>,
    /// Whether the snapshot will be encrypted; none where the account's default isn't known.
    pub encrypted: Option<bool>,
    /// What it will take.
    pub estimate: Estimate,
    /// What was looked at and is fine, a few words each.
    pub passed: Vec<String>,
    /// What a person should know of, a clause each.
    pub warnings: Vec<String>,
}

/// What an upload takes.
///
/// # Examples
///
/// ```
/// use lfs_image::ami::Estimate;
///
/// // 250 MiB.
/// let estimate = Estimate::new(500);
/// assert_eq!((estimate.bytes, estimate.microdollars), (250 << 20, 3000));
/// assert_eq!(estimate.millis_at_100_mbit, 20_971);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// Requests with a block each.
    pub blocks: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The price of the requests in millionths of a US dollar, by the documentation's example. The snapshot is billed by what
    /// it stores, apart from this.
    pub microdollars: u64,
    /// Milliseconds that the service's own limit for a snapshot takes, however fast the line.
    pub least_millis: u64,
    /// Milliseconds on a line of 100 Mbit/s.
    pub millis_at_100_mbit: u64,
}

impl Estimate {
    /// Of so many blocks.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        let bytes = blocks.saturating_mul(BLOCK);
        let least_millis = blocks.saturating_mul(1000) / BLOCKS_PER_SECOND;
        // 100 Mbit/s are 12,500 bytes in a millisecond.
        let millis_at_100_mbit = (bytes / 12_500).max(least_millis);
        let microdollars = blocks.saturating_mul(MICRODOLLARS_PER_BLOCK);
        Self { blocks, bytes, microdollars, least_millis, millis_at_100_mbit }
    }
}

pub(super) fn run(ec2: &dyn Ec2, region: &str, checks: &Checks<'_>) -> Result<Preflight> {
    let mut found = Preflight {
        taken: None,
        encrypted: None,
        estimate: Estimate::new(checks.blocks),
        passed: Vec::new(),
        warnings: Vec::new(),
    };
    if checks.volume_gib > MAX_GIB {
        let what = format!("a volume of {} GiB, and they have at most {MAX_GIB}", checks.volume_gib);
        return Err(Error::capacity(what));
    }
    encryption(ec2, checks, &mut found)?;
    quota(ec2, region, &mut found)?;
    if let Some((spec, firmware)) = checks.ami {
        let registration = spec.registration(firmware, checks.volume_gib)?;
        found.taken = named(ec2, region, &registration.name)?;
        let name = &registration.name;
        match &found.taken {
            Some(taken) => found.passed.push(format!("the name {name} has {}", taken.ami.id)),
            None => found.passed.push(format!("the name {name} is free")),
        }
        tried(ec2, region, DryRun::RegisterImage(&registration), &mut found)?;
        if let Some(lacks) = firmware_lacks(spec, firmware) {
            found.warnings.push(lacks);
        }
        publication(ec2, region, name, checks.publication, &mut found)?;
    }
    match ec2.dry_run(region, DryRun::DeleteSnapshot) {
        Err(fault) if fault.is_denied() => found.warnings.push(
            "ec2:DeleteSnapshot may be denied, unless a policy allows it by tags, which can't be tried: what a push that fails \
             leaves behind would have to be deleted by somebody else"
                .to_owned(),
        ),
        _ => {}
    }
    Ok(found)
}

fn firmware_lacks(spec: &AmiSpec, firmware: &Firmware) -> Option<String> {
    let (architecture, boot_mode) = spec.target(firmware).ok()?;
    let lacks = firmware::lacks(firmware, architecture, boot_mode)?;
    Some(format!("the image will say {} and {}, but {lacks}", architecture.name(), boot_mode.name()))
}

/// Encrypted snapshots can't be public, nor shared if their key can't be.
fn encryption(ec2: &dyn Ec2, checks: &Checks<'_>, found: &mut Preflight) -> Result<()> {
    let by_default = match ec2.encrypts_by_default() {
        Ok(by_default) => Some(by_default),
        Err(fault) if is_fatal(&fault) && !fault.is_denied() => return Err(fault.into()),
        Err(_) => None,
    };
    found.encrypted = match checks.encryption {
        Encryption::Account => by_default,
        _ => Some(true),
    };
    let publication = checks.publication;
    if found.encrypted == Some(true) && publication.public {
        return Err(Error::input(match checks.encryption {
            Encryption::Account => {
                "the account encrypts all snapshots by default, and an image of an encrypted snapshot can't be public"
            }
            _ => "an image of an encrypted snapshot can't be public",
        }));
    }
    let own_key = matches!(checks.encryption, Encryption::Key(_));
    if found.encrypted == Some(true) && !own_key && !publication.share_with.is_empty() {
        match ec2.default_key() {
            Ok(key) if key.contains("alias/aws/ebs") => {
                return Err(Error::input(
                    "the snapshot will be encrypted with AWS's own key (alias/aws/ebs), which can't be shared: it takes a key \
                     of the account's",
                ));
            }
            _ => {}
        }
    }
    if own_key && !publication.share_with.is_empty() {
        found
            .warnings
            .push("the accounts that share the image need to be allowed to use its key, too".to_owned());
    }
    match found.encrypted {
        Some(true) => found.passed.push("the snapshot will be encrypted".to_owned()),
        Some(false) => found.passed.push("the snapshot won't be encrypted".to_owned()),
        None => {}
    }
    Ok(())
}

/// Whether there is room for one more pending snapshot; and whether their state can be asked for, which waiting needs.
fn quota(ec2: &dyn Ec2, region: &str, found: &mut Preflight) -> Result<()> {
    let pending = ec2.snapshots(region, &[("status", "pending")])?.len();
    if pending >= PENDING_SNAPSHOTS {
        let what = format!(
            "{pending} snapshots are pending in {region}, and there can be {PENDING_SNAPSHOTS} (quota L-94D7AB7D)"
        );
        return Err(Error::new(ErrorKind::Remote, what));
    }
    found.passed.push(match pending {
        0 => "no other snapshot is pending".to_owned(),
        n => format!("{n} of {PENDING_SNAPSHOTS} snapshots are pending"),
    });
    Ok(())
}

/// That a call would be allowed.
fn tried(ec2: &dyn Ec2, region: &str, call: DryRun<'_>, found: &mut Preflight) -> Result<()> {
    let name = match call {
        DryRun::RegisterImage(_) => "RegisterImage",
        DryRun::DeleteSnapshot => "DeleteSnapshot",
        DryRun::CopyImage { .. } => "CopyImage",
        DryRun::ModifyImageAttribute => "ModifyImageAttribute",
        DryRun::ModifySnapshotAttribute => "ModifySnapshotAttribute",
        DryRun::EnableImageDeprecation => "EnableImageDeprecation",
    };
    match ec2.dry_run(region, call) {
        Ok(()) => found.passed.push(format!("ec2:{name} is allowed in {region}")),
        Err(fault) if is_fatal(&fault) => return Err(fault.into()),
        // It complains of the ids that nothing has, or that the name is taken.
        Err(Fault::Refused(refusal)) if refusal.code.starts_with("Invalid") => {}
        Err(fault) => found.warnings.push(format!("ec2:{name} could not be tried: {}", Error::from(fault))),
    }
    Ok(())
}

/// That what comes after registering can be done.
fn publication(
    ec2: &dyn Ec2,
    home: &str,
    name: &str,
    publication: &Publication,
    found: &mut Preflight,
) -> Result<()> {
    for region in &publication.copy_to {
        if region == home {
            return Err(Error::input(format!("the image will be in {home}, and can't be copied there")));
        }
        if let Some(taken) = named(ec2, region, name)?
            && found.taken.is_none()
        {
            return Err(Error::input(format!(
                "the name `{name}` has an image in {region} already, {}",
                taken.ami.id
            )));
        }
        tried(ec2, region, DryRun::CopyImage { from: home, name }, found)?;
    }
    let regions = || std::iter::once(home).chain(publication.copy_to.iter().map(String::as_str));
    if publication.public {
        for region in regions() {
            match ec2.blocks_public_images(region) {
                Ok(true) => {
                    return Err(Error::input(format!(
                        "the account blocks public images in {region} (block public access for AMIs)"
                    )));
                }
                Err(fault) if is_fatal(&fault) && !fault.is_denied() => return Err(fault.into()),
                _ => {}
            }
            let public = ec2.images(region, &[("is-public", "true")])?.len();
            if public >= PUBLIC_IMAGES {
                found.warnings.push(format!(
                    "there are {public} public images in {region} already, and the quota (L-0E3CBAB9) is {PUBLIC_IMAGES} unless it was raised"
                ));
            }
        }
    }
    for region in regions() {
        if publication.public || !publication.share_with.is_empty() {
            tried(ec2, region, DryRun::ModifyImageAttribute, found)?;
        }
        if !publication.share_with.is_empty() {
            tried(ec2, region, DryRun::ModifySnapshotAttribute, found)?;
        }
        if publication.deprecate_at.is_some() {
            tried(ec2, region, DryRun::EnableImageDeprecation, found)?;
        }
    }
    Ok(())
}

/// Whether a refusal tells that the whole can't succeed: who is not let in, or can't reach the service.
fn is_fatal(fault: &Fault) -> bool {
    match fault {
        Fault::Failed(_) => true,
        Fault::Refused(refusal) => refusal.is_denied() || refusal.is_unauthenticated(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_what_the_documentation_says() {
        let one_gib = Estimate::new(2048);
        assert_eq!((one_gib.microdollars, one_gib.least_millis), (12_288, 2048));
        assert_eq!(one_gib.millis_at_100_mbit, 85_899);
        assert_eq!(Estimate::new(u64::MAX).bytes, u64::MAX);
    }
}
