//! What came of a push, or would come of it: as JSON for scripts.

use lfs_image::ami::{Ami, Estimate, Identity, Preflight, Published};
use lfs_image::ebs::{BLOCK, Uploaded};
use serde::Serialize;

use crate::commands::check::Found;

/// The JSON of `--json`. Sizes are bytes. Fields are only ever added under the same version.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pushed {
    /// Of this schema.
    version: u32,
    /// Whether nothing was sent.
    dry_run: bool,
    /// What was pushed.
    source: String,
    /// Who pushed it.
    account: String,
    identity: String,
    region: String,
    /// Whether the image was there already, with this content.
    pub(crate) reused: bool,
    /// None where a snapshot is all that was wanted.
    pub(crate) image: Option<Image>,
    pub(crate) snapshot: Snapshot,
    /// The image in other regions.
    copies: Vec<Copy>,
    shared_with: Vec<String>,
    public: bool,
    deprecated_at: Option<String>,
    parameter: Option<String>,
    estimate: Option<EstimateReport>,
    /// What was looked at and found fine before the first byte.
    checks: Vec<String>,
    /// What a person should know of.
    pub(crate) warnings: Vec<String>,
    /// What `check` says of it for EC2.
    pub(crate) findings: Vec<Found>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Image {
    /// None where nothing was sent.
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) boot_mode: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) id: Option<String>,
    /// Bytes of the volume.
    pub(crate) volume: u64,
    /// Blocks of 512 KiB that it has.
    pub(crate) blocks: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
    /// Of the blocks, those that an earlier run had sent.
    pub(crate) kept_blocks: u64,
    /// Requests that were made again.
    pub(crate) retries: u64,
    /// Blocks that were read back and compared.
    pub(crate) verified_blocks: Option<u64>,
    /// None where it isn't known.
    pub(crate) encrypted: Option<bool>,
    /// What identifies the content.
    pub(crate) digest: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Copy {
    region: String,
    image: String,
    snapshot: String,
}

#[derive(Clone, Debug, Serialize)]
struct EstimateReport {
    blocks: u64,
    bytes: u64,
    /// US dollars for the requests, by the documentation's example.
    dollars: f64,
    /// Seconds that it takes at the service's fastest.
    seconds_at_least: f64,
    seconds_at_100_mbit: f64,
}

const VERSION: u32 = 1;

impl Pushed {
    pub(crate) fn new(source: String, identity: &Identity, region: &str, dry_run: bool) -> Self {
        Self {
            version: VERSION,
            dry_run,
            source,
            account: identity.account.clone(),
            identity: identity.arn.clone(),
            region: region.to_owned(),
            reused: false,
            image: None,
            snapshot: Snapshot::default(),
            copies: Vec::new(),
            shared_with: Vec::new(),
            public: false,
            deprecated_at: None,
            parameter: None,
            estimate: None,
            checks: Vec::new(),
            warnings: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// What was pushed.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn checked(&mut self, found: &Preflight) {
        let Estimate { blocks, bytes, microdollars, least_millis, millis_at_100_mbit, .. } = found.estimate;
        self.estimate = Some(EstimateReport {
            blocks,
            bytes,
            dollars: fraction(microdollars, 1_000_000),
            seconds_at_least: fraction(least_millis, 1000),
            seconds_at_100_mbit: fraction(millis_at_100_mbit, 1000),
        });
        self.checks.clone_from(&found.passed);
        self.warnings.extend_from_slice(&found.warnings);
        self.snapshot.encrypted = found.encrypted;
    }

    pub(crate) fn uploaded(&mut self, uploaded: &Uploaded) {
        self.snapshot.id = Some(uploaded.snapshot_id.clone());
        self.snapshot.volume = uploaded.volume_gib << 30;
        self.snapshot.blocks = uploaded.blocks;
        self.snapshot.bytes = uploaded.blocks.saturating_mul(BLOCK);
        self.snapshot.kept_blocks = uploaded.kept;
        self.snapshot.retries = uploaded.retries;
        self.snapshot.digest = Some(uploaded.fingerprint.clone());
    }

    pub(crate) fn registered(&mut self, ami: &Ami) {
        self.snapshot.id = Some(ami.snapshot_id.clone());
        if let Some(image) = &mut self.image {
            image.id = Some(ami.id.clone());
        }
    }

    pub(crate) fn published(
        &mut self,
        published: &Published,
        args: &crate::aws::PublishArgs,
        deprecated_at: Option<&str>,
    ) {
        let copies = published.images.iter().filter(|(region, _)| *region != self.region);
        self.copies = copies
            .map(|(region, ami)| Copy {
                region: region.clone(),
                image: ami.id.clone(),
                snapshot: ami.snapshot_id.clone(),
            })
            .collect();
        self.shared_with.clone_from(&args.share_with);
        self.public = args.public;
        self.parameter.clone_from(&args.ssm_parameter);
        self.deprecated_at = deprecated_at.map(str::to_owned);
    }
}

/// Exact enough for money and time.
fn fraction(n: u64, of: u32) -> f64 {
    let whole = u32::try_from(n / u64::from(of)).unwrap_or(u32::MAX);
    let rest = u32::try_from(n % u64::from(of)).unwrap_or(0);
    f64::from(whole) + f64::from(rest) / f64::from(of)
}
