//! The calls that a machine image takes, as one trait: what speaks it is exchangeable.

use super::refusal::Fault;

/// The result of a call.
pub(crate) type Answer<T> = Result<T, Fault>;

/// The calls of EC2, STS and SSM that a machine image takes. A region is given where it may be another than one's own.
///
/// Calls answer when they are done, after as many attempts as may help. A dry run asks whether it would be allowed.
pub(crate) trait Ec2 {
    /// sts:GetCallerIdentity: who is asking.
    fn identity(&self) -> Answer<Identity>;

    /// ec2:DescribeImages: the account's own images that match all the filters; none where it says that there is
    /// no such image.
    fn images(&self, region: &str, filters: &[(&str, &str)]) -> Answer<Vec<Image>>;

    /// ec2:DescribeSnapshots: the account's own snapshots that match all the filters; none where it says that there
    /// is no such snapshot.
    fn snapshots(&self, region: &str, filters: &[(&str, &str)]) -> Answer<Vec<Snapshot>>;

    /// ec2:RegisterImage: the new image's id.
    fn register_image(&self, registration: &Registration, snapshot_id: &str) -> Answer<String>;

    /// Whether a call would be allowed.
    fn dry_run(&self, region: &str, call: DryRun<'_>) -> Answer<()>;

    /// ec2:CopyImage: the new image's id in a region.
    fn copy_image(&self, to: &str, copy: &Copy<'_>) -> Answer<String>;

    /// ec2:ModifyImageAttribute: lets accounts, or everybody, launch an image.
    fn share_image(&self, region: &str, image_id: &str, with: Share<'_>) -> Answer<()>;

    /// ec2:ModifySnapshotAttribute: lets accounts make volumes of a snapshot.
    fn share_snapshot(&self, region: &str, snapshot_id: &str, accounts: &[String]) -> Answer<()>;

    /// ec2:EnableImageDeprecation: from a time such as `2027-01-01T00:00:00Z`, lists leave an image out.
    fn deprecate_image(&self, region: &str, image_id: &str, at: &str) -> Answer<()>;

    /// ec2:DeleteSnapshot.
    fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> Answer<()>;

    /// ec2:GetEbsEncryptionByDefault: whether new volumes and snapshots are encrypted unless somebody says otherwise.
    fn encrypts_by_default(&self) -> Answer<bool>;

    /// ec2:GetEbsDefaultKmsKeyId: what they are encrypted with.
    fn default_key(&self) -> Answer<String>;

    /// ec2:GetImageBlockPublicAccessState: whether images can't be made public.
    fn blocks_public_images(&self, region: &str) -> Answer<bool>;

    /// ssm:PutParameter: an image's id under a name. The version that it became.
    fn put_parameter(&self, region: &str, name: &str, image_id: &str) -> Answer<u64>;
}

/// Who is asking.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// The account's number.
    pub account: String,
    /// The user or the role.
    pub arn: String,
}

/// A machine image, as far as it matters here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `pending`, `available`, `failed` and others.
    pub(crate) state: String,
    /// Why it is in this state.
    pub(crate) reason: Option<String>,
    pub(crate) public: bool,
    pub(crate) architecture: Option<String>,
    pub(crate) boot_mode: Option<String>,
    pub(crate) root_device: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) devices: Vec<BlockDevice>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BlockDevice {
    pub(crate) name: String,
    pub(crate) snapshot_id: Option<String>,
}

impl Image {
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The snapshot that the root volume is made of.
    pub(crate) fn root_snapshot(&self) -> Option<&str> {
        let root = |device: &&BlockDevice| Some(&device.name) == self.root_device.as_ref();
        let device = self.devices.iter().find(root).or(self.devices.first())?;
        device.snapshot_id.as_deref()
    }
}

/// A snapshot, as far as it matters here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    /// `pending`, `completed`, `error` and others.
    pub(crate) state: String,
    /// Why it is in this state.
    pub(crate) reason: Option<String>,
    /// `42%`
    pub(crate) progress: Option<String>,
    pub(crate) volume_gib: Option<u64>,
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
}

/// What RegisterImage is told. The service's own defaults (i386, paravirtual) are of 2006: nothing is left to them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) architecture: &'static str,
    pub(crate) boot_mode: &'static str,
    pub(crate) tpm: bool,
    pub(crate) imds_v2: bool,
    pub(crate) ena: bool,
    pub(crate) sriov: bool,
    pub(crate) root_device: String,
    /// Of launched volumes; none is the snapshot's own size.
    pub(crate) volume_gib: Option<u64>,
    pub(crate) volume_type: String,
    pub(crate) iops: Option<u64>,
    /// MiB/s.
    pub(crate) throughput: Option<u64>,
    pub(crate) delete_on_termination: bool,
    /// UEFI's variables, as EC2 takes them.
    pub(crate) uefi_data: Option<String>,
}

/// What CopyImage is told.
#[derive(Clone, Debug)]
pub(crate) struct Copy<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: Option<&'a str>,
    pub(crate) from: &'a str,
    pub(crate) image_id: &'a str,
    /// The same token makes the same copy.
    pub(crate) token: &'a str,
    /// Encrypt the copy, with a key of its region or the default one.
    pub(crate) encrypted: bool,
    pub(crate) kms_key: Option<&'a str>,
    pub(crate) tags: &'a [(String, String)],
}

impl<'a> Copy<'a> {
    /// One that is only tried.
    pub(crate) fn tried(name: &'a str, from: &'a str, image_id: &'a str) -> Self {
        let (description, kms_key) = (None, None);
        Self { name, description, from, image_id, token: "dry-run", encrypted: false, kms_key, tags: &[] }
    }
}

/// Whom an image is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Share<'a> {
    Accounts(&'a [String]),
    Everybody,
}

/// A call that is only tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DryRun<'a> {
    RegisterImage(&'a Registration),
    DeleteSnapshot,
    CopyImage { from: &'a str, name: &'a str },
    ModifyImageAttribute,
    ModifySnapshotAttribute,
    EnableImageDeprecation,
}
