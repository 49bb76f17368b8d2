//! What a test may choose about the account, the service's pace, and the script of faults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::tls::Tls;

/// The account and the service as they are before the first call. `README.md` has a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The only access key that is known.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Requests must carry this token where it is set, and none where it isn't.
    pub session_token: Option<String>,
    /// Whether signatures are verified at all.
    pub check_signatures: bool,
    /// The account's number, twelve digits.
    pub account: String,
    /// The region that `Judge::env` names.
    pub region: String,
    /// All regions of the account.
    pub regions: Vec<String>,
    /// Blocks are checked and then forgotten.
    pub discard: bool,
    /// Whether connections are TLS, and with whose certificate. Only what it starts with counts.
    pub tls: Option<Tls>,
    /// Where the unlinked file with the blocks lies; `TMPDIR` or `/var/tmp` by default.
    pub folder: Option<PathBuf>,
    /// From CompleteSnapshot to `completed`, in milliseconds.
    pub complete_ms: u64,
    /// From RegisterImage to `available`, in milliseconds.
    pub image_ms: u64,
    /// From CopyImage or CopySnapshot to `available` or `completed`, in milliseconds.
    pub copy_ms: u64,
    /// How long a minute of `Timeout` lasts, in milliseconds.
    pub minute_ms: u64,
    /// Whether the account encrypts every new volume.
    pub encryption_by_default: bool,
    /// The key it does so with.
    pub default_kms_key: String,
    /// The customer's keys that exist; empty for every well-formed one.
    pub kms_keys: Vec<String>,
    /// Whether AMIs may not be made public.
    pub block_public_access: bool,
    /// IAM actions that are denied: `ec2:RegisterImage`, or `ebs:*`.
    pub denied: Vec<String>,
    /// Snapshots that may be pending in a region.
    pub pending_quota: usize,
    /// PutSnapshotBlock calls that a snapshot takes in a second.
    pub puts_per_second: usize,
    /// Whether more of them are refused, not only noted.
    pub enforce_rate: bool,
    /// Bytes per second at which all bodies together are read.
    pub uplink: Option<u64>,
    /// Most blocks on a page of ListSnapshotBlocks and ListChangedBlocks.
    pub list_page: usize,
    /// Whether an empty page with a token comes before each page.
    pub empty_pages: bool,
    /// The script.
    pub faults: Vec<Fault>,
}

impl Default for Config {
    fn default() -> Self {
        let regions = ["us-east-1", "us-west-2", "eu-central-1", "eu-west-1", "ap-southeast-2"];
        Self {
            access_key: "AKIAJUDGEEXAMPLE0001".into(),
            secret_key: "judge/secret+key/EXAMPLE0123456789abcdef".into(),
            session_token: None,
            check_signatures: true,
            account: "123456789012".into(),
            region: regions[0].into(),
            regions: regions.map(Into::into).into(),
            discard: false,
            tls: None,
            folder: None,
            complete_ms: 100,
            image_ms: 0,
            copy_ms: 200,
            minute_ms: 60_000,
            encryption_by_default: false,
            default_kms_key: "arn:aws:kms:us-east-1:123456789012:key/00000000-aaaa-bbbb-cccc-000000000001"
                .into(),
            kms_keys: Vec::new(),
            block_public_access: false,
            denied: Vec::new(),
            pending_quota: 100,
            puts_per_second: 1000,
            enforce_rate: false,
            uplink: None,
            list_page: 10_000,
            empty_pages: false,
            faults: Vec::new(),
        }
    }
}

impl Config {
    /// Whether IAM denies an action like `ec2:RegisterImage`.
    pub(crate) fn denies(&self, action: &str) -> bool {
        self.denied.iter().any(|denied| {
            denied == action || denied.strip_suffix('*').is_some_and(|start| action.starts_with(start))
        })
    }

    /// The caller's identity.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/judge", self.account)
    }
}
