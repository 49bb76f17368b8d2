//! What a test may look at afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// By the operation's name: `PutSnapshotBlock`, `RegisterImage`, …
    pub operations: BTreeMap<String, OperationReport>,
    /// All that were ever started, in order.
    pub snapshots: Vec<SnapshotReport>,
    /// All that were ever registered or copied, in order.
    pub images: Vec<ImageReport>,
    /// What SSM holds.
    pub parameters: Vec<ParameterReport>,
    /// What a good client doesn't do.
    pub violations: Vec<Violation>,
    /// The calls that aren't about single blocks, in order; at most ten thousand.
    pub log: Vec<LogEntry>,
    /// Bytes of all request bodies, complete or not.
    pub bytes_received: u64,
    /// Bytes of answers to GetSnapshotBlock.
    pub bytes_sent: u64,
    /// Most requests at the same moment.
    pub peak_requests: usize,
    /// Connections that were opened.
    pub connections: u64,
}

impl Report {
    /// One operation; zeros if it was never called.
    #[must_use]
    pub fn operation(&self, name: &str) -> OperationReport {
        self.operations.get(name).cloned().unwrap_or_default()
    }

    /// Snapshots that weren't deleted.
    #[must_use]
    pub fn live_snapshots(&self) -> Vec<&SnapshotReport> {
        self.snapshots.iter().filter(|snapshot| !snapshot.deleted).collect()
    }

    /// Images that weren't deregistered.
    #[must_use]
    pub fn live_images(&self) -> Vec<&ImageReport> {
        self.images.iter().filter(|image| !image.deregistered).collect()
    }

    /// The one snapshot that wasn't deleted.
    ///
    /// # Panics
    /// If there are others or none.
    #[must_use]
    pub fn only_snapshot(&self) -> &SnapshotReport {
        let live = self.live_snapshots();
        assert_eq!(live.len(), 1, "snapshots: {live:?}");
        live[0]
    }

    /// The one image that wasn't deregistered.
    ///
    /// # Panics
    /// If there are others or none.
    #[must_use]
    pub fn only_image(&self) -> &ImageReport {
        let live = self.live_images();
        assert_eq!(live.len(), 1, "images: {live:?}");
        live[0]
    }
}

/// How often an operation was called, and how it ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OperationReport {
    /// Requests whose head arrived.
    pub calls: u64,
    /// Answered with 2xx.
    pub ok: u64,
    /// Answers that were refusals, by code, whether the client's fault or scripted.
    pub errors: BTreeMap<String, u64>,
    /// Connections dropped by script.
    pub dropped: u64,
    /// Requests that the client didn't finish.
    pub aborted: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Most at the same moment.
    pub peak: usize,
}

/// A snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SnapshotReport {
    /// `snap-…`
    pub id: String,
    /// Where it lies.
    pub region: String,
    /// `pending`, `completed`, `error`.
    pub state: String,
    /// Why it is in `error`.
    pub state_message: Option<String>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Whether CompleteSnapshot was accepted.
    pub sealed: bool,
    /// GiB.
    pub volume_size: u32,
    /// As given.
    pub description: String,
    /// As given.
    pub tags: BTreeMap<String, String>,
    /// Whether it is.
    pub encrypted: bool,
    /// The key's ARN.
    pub kms_key: Option<String>,
    /// The snapshot it builds on.
    pub parent: Option<String>,
    /// The client's token.
    pub client_token: Option<String>,
    /// Minutes, as given.
    pub timeout: Option<i64>,
    /// Blocks put into it, each once.
    pub block_count: usize,
    /// Successful puts, all of them.
    pub puts: u64,
    /// Successful puts of a block that had been acknowledged before.
    pub resent: u64,
    /// Most puts of one block.
    pub most_puts: u32,
    /// Most puts within a second.
    pub peak_puts_per_second: usize,
    /// Accounts it is shared with.
    pub shared_with: Vec<String>,
    /// Only from `Judge::snapshot`: its own blocks, not its ancestors'.
    pub blocks: Vec<BlockReport>,
}

/// One block of a snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BlockReport {
    /// In units of 512 KiB.
    pub index: u32,
    /// Hexadecimal.
    pub sha256: String,
    /// Successful puts.
    pub puts: u32,
}

/// An AMI.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImageReport {
    /// `ami-…`
    pub id: String,
    /// Where it lies.
    pub region: String,
    /// `pending`, `available`, `deregistered`.
    pub state: String,
    /// Whether it is gone.
    pub deregistered: bool,
    /// As given.
    pub name: String,
    /// As given.
    pub description: String,
    /// As given or by default.
    pub architecture: String,
    /// As given or by default.
    pub virtualization: String,
    /// As given.
    pub boot_mode: Option<String>,
    /// As given.
    pub tpm_support: Option<String>,
    /// As given.
    pub imds_support: Option<String>,
    /// As given, base64.
    pub uefi_data: Option<String>,
    /// As given.
    pub ena_support: bool,
    /// As given.
    pub sriov: Option<String>,
    /// As given.
    pub root_device: String,
    /// All parameters of RegisterImage's mappings as they came, `1.Ebs.VolumeType` and so on.
    pub mappings: BTreeMap<String, String>,
    /// Snapshots that it needs.
    pub snapshots: Vec<String>,
    /// As given.
    pub tags: BTreeMap<String, String>,
    /// Accounts, ARNs, or `all`.
    pub launch_permissions: Vec<String>,
    /// ISO 8601.
    pub deprecation_time: Option<String>,
    /// For a copy, the image it was made from.
    pub source: Option<String>,
}

/// A parameter of SSM.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ParameterReport {
    /// Where it lies.
    pub region: String,
    /// As given.
    pub name: String,
    /// As given.
    pub value: String,
    /// `String` and so on.
    pub kind: String,
    /// `text` or `aws:ec2:image`.
    pub data_type: String,
    /// From 1.
    pub version: u64,
}

/// Something that a good client doesn't do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Violation {
    /// `README.md` lists them.
    pub kind: String,
    /// In which call.
    pub operation: String,
    /// Evidence.
    pub detail: String,
}

/// One call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogEntry {
    /// Milliseconds since the server started.
    pub ms: u64,
    /// Its name.
    pub operation: String,
    /// The region it was signed for.
    pub region: String,
    /// The snapshot or image it is about.
    pub subject: Option<String>,
    /// The answer's, 0 if there was none.
    pub status: u16,
    /// The error's.
    pub code: Option<String>,
    /// Whether it only asked for permission.
    pub dry_run: bool,
}
