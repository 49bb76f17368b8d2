//! What can be typed of AWS: the options of `push` and `pull`, and what they mean together.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use lfs_image::ami::{self, AmiSpec, Publication};
use lfs_image::ebs::{Connect, Encryption, Settings};
use lfs_image::{Error, ErrorKind, Result};

use crate::cli::{ArchiveArgs, ImageArgs};
use crate::host::HostArgs;
use crate::values;

/// Make a machine image (AMI) on AWS of a raw image, or straight from a root filesystem tarball.
///
/// The image goes block by block into a new EBS snapshot, which is registered: there is no staging instance, no S3 bucket and no
/// service role. A tarball becomes the image that `raw` would make of it, without being one in between; which of the two it is
/// is told by its content. Only blocks that are allocated are sent.
///
/// Everything that could be in the way is looked for before the first byte. A push that is killed goes on where it was when the
/// same command is run again; one that was done returns the same image. stdout gets the image's id.
#[derive(Args, Debug)]
#[command(after_long_help = PUSH_EXAMPLES)]
pub(crate) struct Push {
    /// A raw image, or the root filesystem's archive; `-` is an archive from stdin
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image_file: PathBuf,

    #[command(flatten)]
    pub(crate) aws: AwsArgs,

    #[command(flatten)]
    pub(crate) ami: AmiArgs,

    #[command(flatten)]
    pub(crate) snapshot: SnapshotArgs,

    #[command(flatten)]
    pub(crate) publish: PublishArgs,

    /// Check everything and tell what it would cost, but send nothing
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,

    /// Push in spite of what `check --for ec2` finds fatal
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) image: ImageArgs,

    #[command(flatten)]
    pub(crate) host: HostArgs,

    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
}

const PUSH_EXAMPLES: &str = "\
Options under Disk, Boot, Filesystem, Host and Archives are for tarballs, as in `raw`, with `--target ec2` as the default.

Examples:
  lfs-image push out.img
  lfs-image push --name my-system-1 --tag release=12.4 rootfs.tar.zst
  lfs-image push --dry-run --json out.img | jq .estimate
  lfs-image push --encrypt --copy-to us-east-1,ap-south-1 \\
    --share-with 123456789012 out.img
  lfs-image push --public --confirm-public --deprecate-after 1y \\
    --ssm-parameter /my-system/latest out.img
  aws ec2 run-instances --image-id \"$(lfs-image push out.img)\"";

/// Fetch a snapshot into a raw image.
///
/// Blocks that the snapshot doesn't have become holes. The image appears under its name when it is complete; a pull that is
/// killed goes on where it was. stdout gets the path.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  lfs-image pull snap-0123456789abcdef0 out.img
  lfs-image pull --region us-east-1 ami-0123456789abcdef0 out.img")]
pub(crate) struct Pull {
    /// The snapshot, or an image of yours whose root volume's snapshot it is to be
    #[arg(value_name = "SNAPSHOT")]
    pub(crate) snapshot: String,

    /// The image to write
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) aws: AwsArgs,

    /// The most requests at a time; there are fewer where more wouldn't be faster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Download")]
    pub(crate) jobs: Option<u16>,
}

/// How AWS is reached.
#[derive(Args, Debug)]
pub(crate) struct AwsArgs {
    /// The region; without it, what AWS_REGION or the profile says
    #[arg(long, value_parser = region, help_heading = "AWS")]
    pub(crate) region: Option<String>,

    /// The profile of the aws command's configuration
    #[arg(long, help_heading = "AWS")]
    pub(crate) profile: Option<String>,

    /// Where the services are, instead of at AWS: one URL for all of them
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, help_heading = "AWS")]
    pub(crate) endpoint_url: Option<String>,

    /// A file of certificates (PEM) to trust, instead of what AWS_CA_BUNDLE, the profile or the machine says
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "AWS")]
    pub(crate) ca_bundle: Option<PathBuf>,
}

/// What a machine image is to be like.
#[derive(Args, Debug)]
pub(crate) struct AmiArgs {
    /// The image's name, new in its account and region; without it, one made of the file's and the disk's
    #[arg(long, value_parser = ami_name, help_heading = "Machine image")]
    pub(crate) name: Option<String>,

    /// What the image is, up to 255 characters; also the snapshot's
    #[arg(long, value_name = "TEXT", value_parser = description, help_heading = "Machine image")]
    pub(crate) description: Option<String>,

    /// A tag for the image, the snapshot and all copies; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag, help_heading = "Machine image")]
    pub(crate) tag: Vec<(String, String)>,

    /// The architecture; without it, that of what starts the disk
    #[arg(long, value_enum, help_heading = "Machine image")]
    pub(crate) architecture: Option<Architecture>,

    /// The firmware of instances; without it, whatever can start the disk
    #[arg(long, value_enum, help_heading = "Machine image")]
    pub(crate) boot_mode: Option<BootMode>,

    /// Whether instances have a TPM 2.0 [default: on where possible: x86-64 with boot mode uefi]
    #[arg(long, value_enum, help_heading = "Machine image")]
    pub(crate) tpm: Option<Switch>,

    /// Whether the metadata service takes IMDSv2 requests alone; that can't be taken back
    #[arg(long, value_enum, default_value_t = Switch::On, help_heading = "Machine image")]
    pub(crate) imdsv2: Switch,

    /// Whether the image has a driver for the Elastic Network Adapter
    #[arg(long, value_enum, default_value_t = Switch::On, help_heading = "Machine image")]
    pub(crate) ena: Switch,

    /// Whether the image has a driver for the network interface of older Intel instances
    #[arg(long, value_enum, default_value_t = Switch::On, help_heading = "Machine image")]
    pub(crate) sriov: Switch,

    /// A file with UEFI's variables in base64: keys for Secure Boot
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Machine image")]
    pub(crate) uefi_data: Option<PathBuf>,

    /// What EC2 calls the root volume
    #[arg(long, value_name = "NAME", default_value = "/dev/xvda", help_heading = "Machine image")]
    pub(crate) root_device: String,

    /// The type of root volumes
    #[arg(long, value_name = "TYPE", default_value = "gp3", help_heading = "Machine image")]
    pub(crate) volume_type: String,

    /// I/O operations per second of root volumes
    #[arg(long, value_name = "N", help_heading = "Machine image")]
    pub(crate) iops: Option<u64>,

    /// Throughput of root volumes in MiB/s
    #[arg(long, value_name = "N", help_heading = "Machine image")]
    pub(crate) throughput: Option<u64>,

    /// Whether root volumes go with their instances
    #[arg(long, value_enum, default_value_t = Switch::On, help_heading = "Machine image")]
    pub(crate) delete_on_termination: Switch,
}

/// What a snapshot is to be like, and how it gets there.
#[derive(Args, Debug)]
pub(crate) struct SnapshotArgs {
    /// Make the snapshot and register no image: stdout gets the snapshot's id
    #[arg(long, help_heading = "Snapshot", conflicts_with_all = [
        "name", "architecture", "boot_mode", "tpm", "uefi_data", "iops", "throughput", "copy_to", "share_with", "public",
        "deprecate_after", "ssm_parameter"])]
    pub(crate) snapshot_only: bool,

    /// The size of the volume, in whole GiB; without it, the disk's, rounded up
    #[arg(long, value_name = "SIZE", value_parser = values::nonzero_size, help_heading = "Snapshot")]
    pub(crate) volume_size: Option<u64>,

    /// Encrypt the snapshot with the account's default key
    #[arg(long, help_heading = "Snapshot")]
    pub(crate) encrypt: bool,

    /// Encrypt the snapshot with this key of KMS
    #[arg(long, value_name = "ARN", help_heading = "Snapshot")]
    pub(crate) kms_key: Option<String>,

    /// Don't send blocks of zeros, even allocated ones. On encrypted volumes, which are made of any snapshot where the
    /// account says so, they are noise, and filesystems break
    #[arg(long, help_heading = "Snapshot")]
    pub(crate) omit_zeros: bool,

    /// Read the finished snapshot back and compare: `all` of it, or so many blocks
    #[arg(long, value_name = "all|N", value_parser = sample, help_heading = "Snapshot")]
    pub(crate) verify: Option<Verify>,

    /// The most requests at a time; there are fewer where more wouldn't be faster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Snapshot")]
    pub(crate) jobs: Option<u16>,

    /// Where a push keeps what it needs to go on after it was killed [default: beside a raw image, else in the folder for the
    /// state of programs]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Snapshot")]
    pub(crate) resume_file: Option<PathBuf>,

    /// Keep no such file: delete the snapshot if the push fails or is interrupted
    #[arg(long, conflicts_with = "resume_file", help_heading = "Snapshot")]
    pub(crate) no_resume: bool,
}

/// Who else is to have it.
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// Regions to copy the image to
    #[arg(long, value_name = "REGION", value_delimiter = ',', value_parser = region, help_heading = "Publish")]
    pub(crate) copy_to: Vec<String>,

    /// Accounts that may launch the image, and copy its snapshot
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',', value_parser = account, help_heading = "Publish")]
    pub(crate) share_with: Vec<String>,

    /// Let everybody in the world launch the image, and read all that is in it
    #[arg(long, requires = "confirm_public", help_heading = "Publish")]
    pub(crate) public: bool,

    /// Say that --public is meant
    #[arg(long, requires = "public", help_heading = "Publish")]
    pub(crate) confirm_public: bool,

    /// When lists of images begin to leave it out: after 90d, 12w or 2y, or at a day such as 2027-01-01
    #[arg(long, value_name = "TIME", value_parser = after, help_heading = "Publish")]
    pub(crate) deprecate_after: Option<After>,

    /// Write the image's id to this parameter of Systems Manager, in each region
    #[arg(long, value_name = "NAME", value_parser = parameter, help_heading = "Publish")]
    pub(crate) ssm_parameter: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Architecture {
    #[value(name = "x86_64")]
    X86_64,
    Arm64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BootMode {
    LegacyBios,
    Uefi,
    UefiPreferred,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

/// How much of a snapshot to read back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verify {
    All,
    Blocks(u64),
}

/// A time to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    Days(i64),
    /// Seconds since 1970.
    At(i64),
}

impl AwsArgs {
    pub(crate) fn connect(&self) -> Connect {
        let mut connect = Connect::new();
        if let Some(region) = &self.region {
            connect = connect.region(region);
        }
        if let Some(profile) = &self.profile {
            connect = connect.profile(profile);
        }
        if let Some(url) = &self.endpoint_url {
            connect = connect.endpoint_url(url);
        }
        if let Some(file) = &self.ca_bundle {
            connect = connect.ca_bundle(file);
        }
        connect
    }
}

impl AmiArgs {
    /// The image that was asked for, under a name.
    pub(crate) fn spec(&self, name: &str) -> Result<AmiSpec> {
        let mut spec = AmiSpec::new(name)
            .imds_v2(self.imdsv2.is_on())
            .ena(self.ena.is_on())
            .sriov(self.sriov.is_on())
            .root_device(&self.root_device)
            .volume_type(&self.volume_type)
            .delete_on_termination(self.delete_on_termination.is_on());
        if let Some(text) = &self.description {
            spec = spec.description(text);
        }
        for (key, value) in &self.tag {
            spec = spec.tag(key, value);
        }
        if let Some(architecture) = self.architecture {
            spec = spec.architecture(match architecture {
                Architecture::X86_64 => ami::Architecture::X86_64,
                Architecture::Arm64 => ami::Architecture::Arm64,
            });
        }
        if let Some(mode) = self.boot_mode {
            spec = spec.boot_mode(match mode {
                BootMode::LegacyBios => ami::BootMode::LegacyBios,
                BootMode::Uefi => ami::BootMode::Uefi,
                BootMode::UefiPreferred => ami::BootMode::UefiPreferred,
            });
        }
        if let Some(tpm) = self.tpm {
            spec = spec.tpm(tpm.is_on());
        }
        if let Some(iops) = self.iops {
            spec = spec.iops(iops);
        }
        if let Some(mib) = self.throughput {
            spec = spec.throughput(mib);
        }
        if let Some(path) = &self.uefi_data {
            let failed = |e| Error::io(format!("read {}", path.display()), e);
            spec = spec.uefi_data(std::fs::read_to_string(path).map_err(failed)?.trim());
        }
        Ok(spec)
    }
}

impl SnapshotArgs {
    pub(crate) fn encryption(&self) -> Encryption {
        match &self.kms_key {
            Some(arn) => Encryption::Key(arn.clone()),
            None if self.encrypt => Encryption::DefaultKey,
            None => Encryption::Account,
        }
    }

    /// The snapshot that was asked for, described so.
    pub(crate) fn settings(&self, description: &str, tags: &[(String, String)]) -> Settings {
        let (key, value) = ami::TAG;
        let mut settings = Settings::new()
            .description(description)
            .tag(key, value)
            .encryption(self.encryption())
            .omit_zeros(self.omit_zeros);
        for (key, value) in tags {
            settings = settings.tag(key, value);
        }
        if let Some(bytes) = self.volume_size {
            settings = settings.volume_gib(bytes >> 30);
        }
        if let Some(jobs) = self.jobs {
            settings = settings.jobs(jobs.into());
        }
        settings
    }
}

impl PublishArgs {
    /// What is to become of the image, at `now` in seconds since 1970.
    pub(crate) fn publication(&self, encryption: Encryption, now: i64) -> Result<Publication> {
        let mut publication = Publication::new().public(self.public).encryption(encryption);
        for region in &self.copy_to {
            publication = publication.copy_to(region);
        }
        for account in &self.share_with {
            publication = publication.share_with(account);
        }
        if let Some(name) = &self.ssm_parameter {
            publication = publication.parameter(name);
        }
        if let Some(after) = self.deprecate_after {
            let at = match after {
                After::Days(days) => now.saturating_add(days.saturating_mul(DAY)),
                After::At(seconds) => seconds,
            };
            let (years, whose) = if self.public { (2, "a public image") } else { (10, "an image") };
            if at <= now || at > now + years * 366 * DAY {
                return Err(Error::new(
                    ErrorKind::Input,
                    format!("{whose} can be deprecated within {years} years, and {} isn't", ami::utc(at)?),
                ));
            }
            // EC2 knows minutes.
            publication = publication.deprecate_at(ami::utc(at - at.rem_euclid(60))?);
        }
        Ok(publication)
    }
}

const DAY: i64 = 86_400;

impl Push {
    pub(crate) fn fault(&self) -> Option<String> {
        if self.snapshot.volume_size.is_some_and(|bytes| !bytes.is_multiple_of(1 << 30)) {
            return Some("a volume's size (--volume-size) is whole GiB".to_owned());
        }
        if self.publish.public && (self.snapshot.encrypt || self.snapshot.kms_key.is_some()) {
            return Some("an image of an encrypted snapshot can't be public".to_owned());
        }
        let copies = &self.publish.copy_to;
        if let Some(twice) = copies.iter().enumerate().find(|(n, region)| copies[..*n].contains(region)) {
            return Some(format!("--copy-to names {} twice", twice.1));
        }
        if let Err(error) = ami::check_tags(&self.ami.tag) {
            return Some(error.to_string());
        }
        let host = || self.host.fault();
        self.image.fault().or_else(host).or_else(|| self.archive.fault(&self.image_file)).map(str::to_owned)
    }
}

fn region(text: &str) -> Result<String, String> {
    checked(text, ami::check_region)
}

fn account(text: &str) -> Result<String, String> {
    checked(text, ami::check_account)
}

fn ami_name(text: &str) -> Result<String, String> {
    checked(text, ami::check_name)
}

fn description(text: &str) -> Result<String, String> {
    checked(text, ami::check_description)
}

fn parameter(text: &str) -> Result<String, String> {
    checked(text, ami::check_parameter)
}

fn checked(text: &str, check: fn(&str) -> Result<()>) -> Result<String, String> {
    check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is KEY=VALUE")?;
    let tag = (key.to_owned(), value.to_owned());
    ami::check_tags(std::slice::from_ref(&tag)).map_err(|error| error.to_string())?;
    Ok(tag)
}

fn sample(text: &str) -> Result<Verify, String> {
    match text {
        "all" => Ok(Verify::All),
        n => match n.parse() {
            Ok(0) | Err(_) => Err("it takes `all` or a number of blocks".to_owned()),
            Ok(n) => Ok(Verify::Blocks(n)),
        },
    }
}

fn after(text: &str) -> Result<After, String> {
    if let Some(seconds) = ami::seconds(text) {
        return Ok(After::At(seconds));
    }
    let wrong = || "it takes a time to wait such as 90d, 12w or 2y, or a day such as 2027-01-01".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let days = match unit {
        'd' => 1,
        'w' => 7,
        'y' => 365,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let number: u16 = number.and_then(|n| n.parse().ok()).filter(|n| *n > 0).ok_or_else(wrong)?;
    Ok(After::Days(i64::from(number) * days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(after("90d"), Ok(After::Days(90)));
        assert_eq!(after("2y"), Ok(After::Days(730)));
        assert_eq!(after("2027-01-01"), Ok(After::At(1_798_761_600)));
        for wrong in ["", "d", "0d", "-1d", "1.5y", "90", "ü", "99999d", "2027-13-01"] {
            assert!(after(wrong).is_err(), "{wrong}");
        }
        assert_eq!(sample("all"), Ok(Verify::All));
        assert_eq!(sample("7"), Ok(Verify::Blocks(7)));
        assert!(sample("0").is_err() && sample("some").is_err());
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(tag("a").is_err() && tag("=b").is_err() && tag("aws:a=b").is_err());
    }
}
