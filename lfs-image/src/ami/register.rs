//! RegisterImage, so that doing it twice is doing it once.
//!
//! The call has no token to tell a repetition by. But a name is unique in its account and region: when the name is taken by an
//! image of the very snapshot, an earlier answer was lost.

use super::ec2::{Ec2, Image, Registration};
use super::refusal::Fault;
use super::spec::DIGEST_TAG;
use super::wait::{self, Waiting};
use crate::error::{Error, ErrorKind, Result};

/// A machine image.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ami {
    /// `ami-…`
    pub id: String,
    /// Its name.
    pub name: String,
    /// The snapshot that it starts from.
    pub snapshot_id: String,
}

/// An image that has a name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Taken {
    /// The image.
    pub ami: Ami,
    /// What its tag says is in it, see [`DIGEST_TAG`].
    pub digest: Option<String>,
    /// The architecture it was registered with.
    pub architecture: String,
    /// The boot mode it was registered with; empty for an instance's default.
    pub boot_mode: String,
}

impl Taken {
    fn new(image: Image) -> Self {
        let snapshot_id = image.root_snapshot().unwrap_or_default().to_owned();
        let digest = image.tag(DIGEST_TAG).map(str::to_owned);
        Self {
            digest,
            architecture: image.architecture.unwrap_or_default(),
            boot_mode: image.boot_mode.unwrap_or_default(),
            ami: Ami { id: image.id, name: image.name, snapshot_id },
        }
    }
}

/// The account's image of a name. Filters know wildcards, so what is found is looked at.
pub(super) fn named(ec2: &dyn Ec2, region: &str, name: &str) -> Result<Option<Taken>, Fault> {
    let images = ec2.images(region, &[("name", &literal(name))])?;
    Ok(images.into_iter().find(|image| image.name == name).map(Taken::new))
}

/// A name that means itself in a filter. None of the filters' own characters can be in a name, but there is no harm.
fn literal(name: &str) -> String {
    name.replace('\\', "\\\\").replace('*', "\\*").replace('?', "\\?")
}

pub(super) fn run(
    ec2: &dyn Ec2,
    region: &str,
    registration: &Registration,
    snapshot_id: &str,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
) -> Result<Ami> {
    let id = match ec2.register_image(registration, snapshot_id) {
        Ok(id) => id,
        Err(fault) if fault.code() == "InvalidAMIName.Duplicate" => {
            match named(ec2, region, &registration.name)? {
                Some(taken) if taken.ami.snapshot_id == snapshot_id => taken.ami.id,
                _ => return Err(Error::from(fault).context(format!("can't register {snapshot_id}"))),
            }
        }
        Err(fault) => return Err(Error::from(fault).context(format!("can't register {snapshot_id}"))),
    };
    let failed = |error: Error| match error.kind() {
        ErrorKind::Interrupted => error,
        _ => error.context(format!("{id} was registered, but can't be used")),
    };
    wait::for_image(ec2, region, &id, wait).map_err(failed)?;
    Ok(Ami { id, name: registration.name.clone(), snapshot_id: snapshot_id.to_owned() })
}
