//! What a machine image is to be like, and the rules that EC2 would refuse it by: asked here, before anything is sent.
//!
//! Source: EC2's API reference, RegisterImage, CreateTags; SSM's, PutParameter.

use super::ec2::Registration;
use super::firmware;
use crate::error::{Error, Result};
use crate::image::Firmware;

/// Marks what this program made: policies may allow to delete just that.
pub const TAG: (&str, &str) = ("lfs-image", "1");
/// The tag of an image that says what is in it.
pub const DIGEST_TAG: &str = "lfs-image:digest";

/// What kind of instance an image is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// Intel and AMD.
    X86_64,
    /// Graviton.
    Arm64,
}

impl Architecture {
    /// What EC2 calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// What firmware an instance starts with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BootMode {
    /// A BIOS.
    LegacyBios,
    /// UEFI.
    Uefi,
    /// UEFI where the instance has it, else a BIOS.
    UefiPreferred,
}

impl BootMode {
    /// What EC2 calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LegacyBios => "legacy-bios",
            Self::Uefi => "uefi",
            Self::UefiPreferred => "uefi-preferred",
        }
    }
}

/// What a machine image is to be like. What isn't said follows from the image, or is what is best today: a gp3 volume that goes
/// with its instance, ENA, IMDSv2 alone, and a TPM where one is possible.
///
/// # Examples
///
/// ```
/// use lfs_image::ami::{AmiSpec, Architecture, BootMode};
/// use lfs_image::image::Firmware;
///
/// let spec = AmiSpec::new("my-system-1").description("what I built").boot_mode(BootMode::Uefi).tpm(false);
/// let mut firmware = Firmware::default();
/// firmware.uefi_x86_64 = true;
/// assert_eq!(spec.target(&firmware)?, (Architecture::X86_64, BootMode::Uefi));
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AmiSpec {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) architecture: Option<Architecture>,
    pub(super) boot_mode: Option<BootMode>,
    pub(super) tpm: Option<bool>,
    pub(super) imds_v2: bool,
    pub(super) ena: bool,
    pub(super) sriov: bool,
    pub(super) root_device: String,
    pub(super) volume_type: String,
    pub(super) iops: Option<u64>,
    pub(super) throughput: Option<u64>,
    pub(super) delete_on_termination: bool,
    pub(super) uefi_data: Option<String>,
}

impl AmiSpec {
    /// An image of this name, which must be new in its account and region.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            tags: Vec::new(),
            architecture: None,
            boot_mode: None,
            tpm: None,
            imds_v2: true,
            ena: true,
            sriov: true,
            root_device: "/dev/xvda".to_owned(),
            volume_type: "gp3".to_owned(),
            iops: None,
            throughput: None,
            delete_on_termination: true,
            uefi_data: None,
        }
    }

    /// What it is, in up to 255 characters.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// One more tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// The architecture, whatever the image says.
    #[must_use]
    pub fn architecture(mut self, architecture: Architecture) -> Self {
        self.architecture = Some(architecture);
        self
    }

    /// The boot mode, whatever the image says.
    #[must_use]
    pub fn boot_mode(mut self, mode: BootMode) -> Self {
        self.boot_mode = Some(mode);
        self
    }

    /// Whether instances have a TPM 2.0. Without a word they have where that is possible: on x86-64 with boot mode `uefi`.
    #[must_use]
    pub fn tpm(mut self, tpm: bool) -> Self {
        self.tpm = Some(tpm);
        self
    }

    /// Whether the metadata service answers requests with a token alone (IMDSv2). It does; that can't be taken back.
    #[must_use]
    pub fn imds_v2(mut self, only: bool) -> Self {
        self.imds_v2 = only;
        self
    }

    /// Whether the image has the driver of the Elastic Network Adapter, which every current instance needs.
    #[must_use]
    pub fn ena(mut self, ena: bool) -> Self {
        self.ena = ena;
        self
    }

    /// Whether the image has the driver of the Intel network interface of older instances.
    #[must_use]
    pub fn sriov(mut self, sriov: bool) -> Self {
        self.sriov = sriov;
        self
    }

    /// What EC2 calls the root volume. Linux has its own name for it.
    #[must_use]
    pub fn root_device(mut self, name: impl Into<String>) -> Self {
        self.root_device = name.into();
        self
    }

    /// The type of root volumes.
    #[must_use]
    pub fn volume_type(mut self, name: impl Into<String>) -> Self {
        self.volume_type = name.into();
        self
    }

    /// I/O operations per second of root volumes.
    #[must_use]
    pub fn iops(mut self, iops: u64) -> Self {
        self.iops = Some(iops);
        self
    }

    /// The throughput of root volumes in MiB/s.
    #[must_use]
    pub fn throughput(mut self, mib: u64) -> Self {
        self.throughput = Some(mib);
        self
    }

    /// Whether a root volume goes with its instance.
    #[must_use]
    pub fn delete_on_termination(mut self, delete: bool) -> Self {
        self.delete_on_termination = delete;
        self
    }

    /// UEFI's variables as EC2 takes them (base64): keys for Secure Boot.
    #[must_use]
    pub fn uefi_data(mut self, data: impl Into<String>) -> Self {
        self.uefi_data = Some(data.into());
        self
    }

    /// Architecture and boot mode of an image that these can start.
    ///
    /// # Errors
    ///
    /// When nothing can start it, when it could be of two architectures, or when what was asked for doesn't exist.
    pub fn target(&self, firmware: &Firmware) -> Result<(Architecture, BootMode)> {
        firmware::choose(firmware, self.architecture, self.boot_mode)
    }

    /// The same with the tags of what this crate makes, and of what is in it, as
    /// [`Uploaded::fingerprint`](crate::ebs::Uploaded::fingerprint) says: by it a later run finds that the image is there.
    #[must_use]
    pub fn marked(self, digest: &str) -> Self {
        let (key, value) = TAG;
        self.tag(key, value).tag(DIGEST_TAG, digest)
    }

    /// What is told to EC2 of an image that these can start.
    pub(super) fn registration(&self, firmware: &Firmware, volume_gib: u64) -> Result<Registration> {
        check_name(&self.name)?;
        check_description(self.description.as_deref().unwrap_or_default())?;
        check_tags(&self.tags)?;
        let (architecture, boot_mode) = self.target(firmware)?;
        let possible = architecture == Architecture::X86_64 && boot_mode == BootMode::Uefi;
        if self.tpm == Some(true) && !possible {
            return Err(Error::input(format!(
                "a TPM needs x86-64 and the boot mode uefi, and this image is {} and {}",
                architecture.name(),
                boot_mode.name()
            )));
        }
        if self.uefi_data.is_some() && boot_mode == BootMode::LegacyBios {
            return Err(Error::input(
                "UEFI's variables are of no use to an image with the boot mode legacy-bios",
            ));
        }
        check_volume(&self.volume_type, self.iops, self.throughput)?;
        if self.volume_type.starts_with("io") && volume_gib < 4 {
            let kind = &self.volume_type;
            return Err(Error::input(format!(
                "{kind} volumes have at least 4 GiB, and this one would have {volume_gib}"
            )));
        }
        Ok(Registration {
            name: self.name.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
            architecture: architecture.name(),
            boot_mode: boot_mode.name(),
            tpm: self.tpm.unwrap_or(possible),
            imds_v2: self.imds_v2,
            ena: self.ena,
            // arm64 instances never had that interface.
            sriov: self.sriov && architecture == Architecture::X86_64,
            root_device: self.root_device.clone(),
            volume_gib: Some(volume_gib),
            volume_type: self.volume_type.clone(),
            iops: self.iops,
            throughput: self.throughput,
            delete_on_termination: self.delete_on_termination,
            uefi_data: self.uefi_data.clone(),
        })
    }
}

/// A name that an image can have: 3 to 128 letters, digits, blanks and `( ) [ ] . / - ' @ _`.
///
/// # Errors
///
/// When it is none, and why.
///
/// # Examples
///
/// ```
/// use lfs_image::ami::{check_name, nameable};
///
/// assert!(check_name("out (2).img").is_ok());
/// assert!(check_name("größer").is_err());
/// assert!(check_name(&nameable("größer")).is_ok());
/// ```
pub fn check_name(name: &str) -> Result<()> {
    if !(3..=128).contains(&name.len()) {
        let len = name.len();
        return Err(Error::input(format!("an image's name has 3 to 128 characters, and `{name}` has {len}")));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(*c))) {
        Some(c) => Err(Error::input(format!(
            "an image's name has letters, digits, blanks and ( ) [ ] . / - ' @ _ in it, and `{name}` has {c:?}"
        ))),
        None => Ok(()),
    }
}

/// A name that an image can have, made of any text; [`check_name`] has an example.
#[must_use]
pub fn nameable(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "()[]./-'@_".contains(c) { c } else { '-' };
    let mut name: String = text.chars().map(fit).take(100).collect();
    while name.len() < 3 {
        name.push('_');
    }
    name
}

/// A description of an image and a snapshot: up to 255 characters.
///
/// # Errors
///
/// When it is longer.
pub fn check_description(text: &str) -> Result<()> {
    let len = text.chars().count();
    if len > 255 {
        return Err(Error::input(format!("a description has up to 255 characters, and this one has {len}")));
    }
    Ok(())
}

/// Tags that a snapshot and an image can have, beside those that are set anyway: up to 48 with keys of 1 to 127 and values of
/// up to 255 characters.
///
/// # Errors
///
/// When they can't.
pub fn check_tags(tags: &[(String, String)]) -> Result<()> {
    for (n, (key, value)) in tags.iter().enumerate() {
        let what = if key.is_empty() {
            "has no key".to_owned()
        } else if key.chars().count() > 127 {
            "has a key of more than 127 characters".to_owned()
        } else if value.chars().count() > 255 {
            "has a value of more than 255 characters".to_owned()
        } else if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            "is one of AWS's own".to_owned()
        } else if tags[..n].iter().any(|(other, _)| other == key) {
            "is there twice".to_owned()
        } else {
            continue;
        };
        return Err(Error::input(format!("the tag `{key}` {what}")));
    }
    if tags.len() > 48 {
        return Err(Error::input(format!(
            "there can be 48 tags besides two that are set anyway, and these are {}",
            tags.len()
        )));
    }
    Ok(())
}

/// Performance that a type of volume can be asked for.
fn check_volume(kind: &str, iops: Option<u64>, throughput: Option<u64>) -> Result<()> {
    if throughput.is_some() && kind != "gp3" {
        return Err(Error::input(format!(
            "only gp3 volumes have a throughput to choose, and these are {kind}"
        )));
    }
    match (kind, iops) {
        ("gp3", Some(iops)) if !(3000..=80_000).contains(&iops) => {
            Err(Error::input(format!("gp3 volumes do 3000 to 80000 operations per second, not {iops}")))
        }
        ("io1" | "io2", None) => {
            Err(Error::input(format!("{kind} volumes have to be told their operations per second")))
        }
        ("gp3" | "io1" | "io2", _) | ("gp2" | "standard", None) => Ok(()),
        ("gp2" | "standard", Some(_)) => {
            Err(Error::input(format!("{kind} volumes have no operations per second to choose")))
        }
        _ => Err(Error::input(format!("root volumes are gp3, gp2, io2, io1 or standard, not {kind}"))),
    }?;
    match throughput {
        Some(mib) if !(125..=2000).contains(&mib) => {
            Err(Error::input(format!("gp3 volumes do 125 to 2000 MiB/s, not {mib}")))
        }
        _ => Ok(()),
    }
}

/// The number of an account.
///
/// # Errors
///
/// When it isn't twelve digits.
pub fn check_account(text: &str) -> Result<()> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::input(format!("an account has a number of twelve digits, and `{text}` is none")))
}

/// The name of a region.
///
/// # Errors
///
/// When no region could be called so.
pub fn check_region(text: &str) -> Result<()> {
    let mut parts = text.rsplit('-');
    let number = parts.next().unwrap_or_default();
    let words: Vec<_> = parts.collect();
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    if is_number && (2..=4).contains(&words.len()) && words.iter().all(is_word) {
        return Ok(());
    }
    Err(Error::input(format!("a region is called like eu-central-1, and `{text}` isn't")))
}

/// The name of a parameter of SSM.
///
/// # Errors
///
/// When no parameter can be called so.
pub fn check_parameter(name: &str) -> Result<()> {
    let what = if name.is_empty() || name.len() > 1011 {
        "has 1 to 1011 characters"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b)) {
        "has letters, digits, and _ . - / in it"
    } else if name.contains('/') && !name.starts_with('/') {
        "starts with / if there is one in it"
    } else if name.split('/').filter(|part| !part.is_empty()).count() > 15 {
        "has at most 15 levels"
    } else if ["aws", "ssm"]
        .iter()
        .any(|p| name.trim_start_matches('/').get(..3).is_some_and(|start| start.eq_ignore_ascii_case(p)))
    {
        "doesn't start with `aws` or `ssm`"
    } else {
        return Ok(());
    };
    Err(Error::input(format!("a parameter's name {what}, and this one is `{name}`")))
}

/// The ARN of a key of KMS, in a region.
///
/// # Errors
///
/// When it is something else, such as an alias, or of another region.
pub fn check_key(arn: &str, region: &str) -> Result<()> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts[..] {
        ["arn", partition, "kms", of, account, key]
            if partition.starts_with("aws")
                && account.len() == 12
                && key.strip_prefix("key/").is_some_and(|id| !id.is_empty()) =>
        {
            if of == region {
                return Ok(());
            }
            Err(Error::input(format!("the key {arn} is of {of}, and the snapshot will be in {region}")))
        }
        _ => Err(Error::input(format!(
            "a key is named by its ARN, arn:aws:kms:REGION:ACCOUNT:key/ID (an alias isn't taken), and this is `{arn}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_ec2_does() {
        for name in ["abc", "Linux 12.4 (x86_64) [a]/'b'@c-d_e", &"x".repeat(128)] {
            check_name(name).unwrap();
        }
        for name in ["", "ab", "a:b", "ümlaut", "a\tb", "a+b", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for text in ["", "a", "rootfs.tar: the 2nd", "höhle"] {
            check_name(&nameable(text)).unwrap();
        }
        assert_eq!(nameable("root fs+1"), "root-fs-1");
    }

    #[test]
    fn tags_accounts_regions_parameters_and_keys() {
        let tags = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        check_tags(&tags(&[("a", ""), ("b", "ü")])).unwrap();
        for (list, why) in [
            (tags(&[("", "x")]), "no key"),
            (tags(&[("aws:x", "x")]), "AWS's own"),
            (tags(&[("a", "x"), ("a", "y")]), "twice"),
            (tags(&[(&"k".repeat(128), "x")]), "127"),
            (tags(&[("k", &"v".repeat(256))]), "255"),
            ((0..49).map(|n| (n.to_string(), String::new())).collect(), "48"),
        ] {
            assert!(check_tags(&list).unwrap_err().to_string().contains(why));
        }
        assert!(check_account("123456789012").is_ok() && check_account("12345678901a").is_err());
        for region in ["eu-central-1", "us-gov-west-1", "ap-southeast-7", "us-isob-east-1", "cn-north-1"] {
            check_region(region).unwrap();
        }
        for region in ["", "eu", "eu-central", "EU-central-1", "eu-central-1a", "eu--1", "eu-central-123"] {
            assert!(check_region(region).is_err(), "{region}");
        }
        for name in ["lfs", "/lfs/latest", "/a/b.c_d-e"] {
            check_parameter(name).unwrap();
        }
        for name in ["", "a/b", "/aws/x", "ssm-x", "a b", &"/x".repeat(16)] {
            assert!(check_parameter(name).is_err(), "{name}");
        }
        let key = "arn:aws:kms:eu-west-1:123456789012:key/0000";
        check_key(key, "eu-west-1").unwrap();
        assert!(check_key(key, "us-east-1").unwrap_err().to_string().contains("is of eu-west-1"));
        for bad in ["alias/x", "arn:aws:kms:eu-west-1:123456789012:alias/x", "0000-0000"] {
            assert!(check_key(bad, "eu-west-1").unwrap_err().to_string().contains("alias"), "{bad}");
        }
    }

    #[test]
    fn nothing_illegal_is_registered() {
        let hybrid = Firmware { bios: true, uefi_x86_64: true, uefi_aarch64: false };
        let uefi = Firmware { bios: false, ..hybrid };
        let arm = Firmware { uefi_aarch64: true, ..Firmware::default() };
        let spec = AmiSpec::new("lfs");
        let of = |spec: &AmiSpec, firmware: &Firmware| spec.registration(firmware, 8);
        // EC2 refuses a TPM with uefi-preferred.
        let registration = of(&spec, &hybrid).unwrap();
        assert_eq!((registration.boot_mode, registration.tpm), ("uefi-preferred", false));
        assert!(
            (registration.ena, registration.imds_v2, registration.delete_on_termination)
                == (true, true, true)
        );
        assert_eq!((registration.volume_type.as_str(), registration.volume_gib), ("gp3", Some(8)));
        assert!(of(&spec, &uefi).unwrap().tpm);
        let arm = of(&spec, &arm).unwrap();
        assert_eq!((arm.architecture, arm.boot_mode, arm.tpm, arm.sriov), ("arm64", "uefi", false, false));
        for (spec, firmware) in [
            (spec.clone().tpm(true), &hybrid),
            (spec.clone().boot_mode(BootMode::LegacyBios).uefi_data("x"), &hybrid),
            (spec.clone().volume_type("st1"), &hybrid),
            (spec.clone().volume_type("io2"), &hybrid),
            (spec.clone().volume_type("gp2").iops(100), &hybrid),
            (spec.clone().volume_type("gp2").throughput(125), &hybrid),
            (spec.clone().iops(100), &hybrid),
            (spec.clone().throughput(2001), &hybrid),
            (spec.clone().description("x".repeat(256)), &hybrid),
            (AmiSpec::new("x"), &hybrid),
            (spec.clone(), &Firmware::default()),
        ] {
            assert!(of(&spec, firmware).is_err(), "{spec:?}");
        }
        assert!(of(&spec.clone().boot_mode(BootMode::Uefi).tpm(true), &hybrid).unwrap().tpm);
    }
}
