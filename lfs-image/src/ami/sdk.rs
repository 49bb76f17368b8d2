//! [`Ec2`] through EC2's own SDK crate, for those who build it anyway.
//!
//! What is asked again, how long, and what a refusal means are the same as with the query protocol, so the SDK's own retries are
//! off. STS and SSM are spoken by the query client in either case.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId as _;
use aws_sdk_ec2::operation::copy_image::builders::CopyImageFluentBuilder;
use aws_sdk_ec2::operation::modify_image_attribute::builders::ModifyImageAttributeFluentBuilder;
use aws_sdk_ec2::operation::modify_snapshot_attribute::builders::ModifySnapshotAttributeFluentBuilder;
use aws_sdk_ec2::operation::register_image::builders::RegisterImageFluentBuilder;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, BootModeValues, CreateVolumePermission, CreateVolumePermissionModifications,
    EbsBlockDevice, Filter, ImdsSupportValues, LaunchPermission, LaunchPermissionModifications,
    PermissionGroup, ResourceType, SnapshotAttributeName, Tag, TagSpecification, TpmSupportValues,
};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::date_time::Format;

use super::client::{self, MAX_PAGES, NOTHING, PAGE, malformed};
use super::ec2::{Answer, BlockDevice, Copy, DryRun, Ec2, Identity, Image, Registration, Share, Snapshot};
use super::reply;
use super::service::{ANSWER, Again, CONNECT, Line, Name, causes, silent, unreachable};
use crate::ebs::{Aws, patient};
use crate::error::Result;
use crate::raw::num::fit;

/// Speaks to EC2 through its SDK.
#[derive(Clone, Debug)]
pub(crate) struct Client<'a> {
    aws: &'a Aws,
    /// What knows how long to try; and the other services.
    query: client::Client<'a>,
    /// By region.
    sdks: Arc<Mutex<BTreeMap<String, aws_sdk_ec2::Client>>>,
}

/// The time as services have it.
#[derive(Debug)]
struct Clock(Arc<Line>);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.0.now()
    }
}

impl<'a> Client<'a> {
    /// See [`client::Client::new`].
    pub(crate) fn new(aws: &'a Aws, stop: Arc<std::sync::atomic::AtomicBool>) -> Self {
        Self { aws, query: client::Client::new(aws, stop), sdks: Arc::default() }
    }

    /// See [`client::Client::hasty`].
    pub(crate) fn hasty(&self) -> Self {
        Self { query: self.query.hasty(), ..self.clone() }
    }

    /// See [`client::Client::urgent`].
    pub(crate) fn urgent(&self) -> Self {
        Self { query: self.query.urgent(), ..self.clone() }
    }

    fn sdk(&self, region: &str, line: &Arc<Line>) -> aws_sdk_ec2::Client {
        let mut sdks = self.sdks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sdk) = sdks.get(region) {
            return sdk.clone();
        }
        let config = aws_sdk_ec2::config::Builder::from(self.aws.config())
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(patient(CONNECT))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .time_source(Clock(Arc::clone(line)))
            .build();
        let sdk = aws_sdk_ec2::Client::from_conf(config);
        sdks.insert(region.to_owned(), sdk.clone());
        sdk
    }

    /// Makes a call until it is answered, refused for good, or patience is over.
    fn call<T, E, F>(
        &self,
        region: &str,
        operation: &'static str,
        send: impl Fn(aws_sdk_ec2::Client) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let attempt = async |line: &Arc<Line>| {
            let credentials = line.credentials().await.map_err(|e| Again::No(e.into()))?;
            let silence = |why| {
                let endpoint = line.endpoint(Name::Ec2, region);
                Again::Yes(unreachable(Name::Ec2, operation, &endpoint, why))
            };
            let error = match tokio::time::timeout(ANSWER, send(self.sdk(region, line))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(silence(silent())),
            };
            match error {
                SdkError::ServiceError(context) => {
                    let (status, date) = {
                        let raw = context.raw();
                        (raw.status().as_u16(), raw.headers().get("date").map(str::to_owned))
                    };
                    let said = context.err();
                    let words = (
                        said.code().unwrap_or_default().to_owned(),
                        said.message().unwrap_or_default().to_owned(),
                        said.meta().request_id().map(str::to_owned),
                    );
                    let refusal = reply::words(Name::Ec2, operation, region, status, words);
                    Err(line.refused(refusal, date.as_deref(), &credentials))
                }
                SdkError::ConstructionFailure(_) => {
                    Err(Again::No(malformed(operation, region, &causes(&error)).into()))
                }
                error => Err(silence(causes(&error))),
            }
        };
        self.query.insist(operation, region, &attempt)
    }

    /// All pages of a list.
    fn pages<T>(
        &self,
        region: &str,
        operation: &str,
        mut page: impl FnMut(Option<String>, &mut Vec<T>) -> Answer<Option<String>>,
    ) -> Answer<Vec<T>> {
        let mut all = Vec::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            token = match page(token, &mut all) {
                // What was made a moment ago isn't known to all of the service.
                Err(fault) if fault.code().ends_with(".NotFound") => return Ok(all),
                token => token?.filter(|token| !token.is_empty()),
            };
            if token.is_none() {
                return Ok(all);
            }
        }
        Err(malformed(operation, region, &format!("it has more than {MAX_PAGES} pages")).into())
    }
}

/// The id in an answer.
fn id(region: &str, operation: &str, id: Option<String>) -> Answer<String> {
    Ok(id.filter(|id| !id.is_empty()).ok_or_else(|| malformed(operation, region, "no id"))?)
}

impl Ec2 for Client<'_> {
    fn identity(&self) -> Answer<Identity> {
        self.query.identity()
    }

    fn images(&self, region: &str, filters: &[(&str, &str)]) -> Answer<Vec<Image>> {
        self.pages(region, "DescribeImages", |token, all| {
            let answer = self.call(region, "DescribeImages", |ec2| {
                ec2.describe_images()
                    .owners("self")
                    .set_filters(Some(told::filters(filters)))
                    .include_deprecated(true)
                    .max_results(page())
                    .set_next_token(token.clone())
                    .send()
            })?;
            all.extend(answer.images.unwrap_or_default().into_iter().map(heard::image));
            Ok(answer.next_token)
        })
    }

    fn snapshots(&self, region: &str, filters: &[(&str, &str)]) -> Answer<Vec<Snapshot>> {
        self.pages(region, "DescribeSnapshots", |token, all| {
            let answer = self.call(region, "DescribeSnapshots", |ec2| {
                ec2.describe_snapshots()
                    .owner_ids("self")
                    .set_filters(Some(told::filters(filters)))
                    .max_results(page())
                    .set_next_token(token.clone())
                    .send()
            })?;
            all.extend(answer.snapshots.unwrap_or_default().into_iter().map(heard::snapshot));
            Ok(answer.next_token)
        })
    }

    fn register_image(&self, registration: &Registration, snapshot_id: &str) -> Answer<String> {
        let (region, told) = (self.aws.region(), told::Registering::new(registration)?);
        let answer = self.call(region, "RegisterImage", |ec2| {
            told.request(ec2.register_image(), registration, snapshot_id).send()
        })?;
        id(region, "RegisterImage", answer.image_id)
    }

    fn dry_run(&self, region: &str, call: DryRun<'_>) -> Answer<()> {
        let (image, snapshot) = (format!("ami-{NOTHING}"), format!("snap-{NOTHING}"));
        let nobody = ["000000000000".to_owned()];
        let outcome = match call {
            DryRun::RegisterImage(registration) => {
                let told = told::Registering::new(registration)?;
                self.call(region, "RegisterImage", |ec2| {
                    told.request(ec2.register_image(), registration, &snapshot).dry_run(true).send()
                })
                .map(drop)
            }
            DryRun::DeleteSnapshot => self
                .call(region, "DeleteSnapshot", |ec2| {
                    ec2.delete_snapshot().snapshot_id(&snapshot).dry_run(true).send()
                })
                .map(drop),
            DryRun::CopyImage { from, name } => {
                let copy = Copy::tried(name, from, &image);
                self.call(region, "CopyImage", |ec2| told::copy(ec2.copy_image(), &copy).dry_run(true).send())
                    .map(drop)
            }
            DryRun::ModifyImageAttribute => self
                .call(region, "ModifyImageAttribute", |ec2| {
                    let with = Share::Accounts(&nobody);
                    told::share_image(ec2.modify_image_attribute(), &image, with).dry_run(true).send()
                })
                .map(drop),
            DryRun::ModifySnapshotAttribute => self
                .call(region, "ModifySnapshotAttribute", |ec2| {
                    let request = ec2.modify_snapshot_attribute();
                    told::share_snapshot(request, &snapshot, &nobody).dry_run(true).send()
                })
                .map(drop),
            DryRun::EnableImageDeprecation => self
                .call(region, "EnableImageDeprecation", |ec2| {
                    // 2100.
                    let at = DateTime::from_secs(4_102_444_800);
                    ec2.enable_image_deprecation().image_id(&image).deprecate_at(at).dry_run(true).send()
                })
                .map(drop),
        };
        match outcome {
            Err(fault) if fault.code() == "DryRunOperation" => Ok(()),
            Err(fault) => Err(fault),
            Ok(()) => Err(malformed("a dry run", region, "it was no dry run").into()),
        }
    }

    fn copy_image(&self, to: &str, copy: &Copy<'_>) -> Answer<String> {
        let answer = self.call(to, "CopyImage", |ec2| told::copy(ec2.copy_image(), copy).send())?;
        id(to, "CopyImage", answer.image_id)
    }

    fn share_image(&self, region: &str, image_id: &str, with: Share<'_>) -> Answer<()> {
        self.call(region, "ModifyImageAttribute", |ec2| {
            told::share_image(ec2.modify_image_attribute(), image_id, with).send()
        })
        .map(drop)
    }

    fn share_snapshot(&self, region: &str, snapshot_id: &str, accounts: &[String]) -> Answer<()> {
        self.call(region, "ModifySnapshotAttribute", |ec2| {
            told::share_snapshot(ec2.modify_snapshot_attribute(), snapshot_id, accounts).send()
        })
        .map(drop)
    }

    fn deprecate_image(&self, region: &str, image_id: &str, at: &str) -> Answer<()> {
        let time = DateTime::from_str(at, Format::DateTime)
            .map_err(|e| crate::Error::input(format!("`{at}` is no time")).with_source(e))?;
        let answer = self.call(region, "EnableImageDeprecation", |ec2| {
            ec2.enable_image_deprecation().image_id(image_id).deprecate_at(time).send()
        })?;
        if answer.r#return == Some(false) {
            return Err(malformed("EnableImageDeprecation", region, "it wasn't done").into());
        }
        Ok(())
    }

    fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> Answer<()> {
        self.call(region, "DeleteSnapshot", |ec2| ec2.delete_snapshot().snapshot_id(snapshot_id).send())
            .map(drop)
    }

    fn encrypts_by_default(&self) -> Answer<bool> {
        let answer = self.call(self.aws.region(), "GetEbsEncryptionByDefault", |ec2| {
            ec2.get_ebs_encryption_by_default().send()
        })?;
        Ok(answer.ebs_encryption_by_default.unwrap_or_default())
    }

    fn default_key(&self) -> Answer<String> {
        let region = self.aws.region();
        let answer =
            self.call(region, "GetEbsDefaultKmsKeyId", |ec2| ec2.get_ebs_default_kms_key_id().send())?;
        id(region, "GetEbsDefaultKmsKeyId", answer.kms_key_id)
    }

    fn blocks_public_images(&self, region: &str) -> Answer<bool> {
        let answer = self.call(region, "GetImageBlockPublicAccessState", |ec2| {
            ec2.get_image_block_public_access_state().send()
        })?;
        let state = id(region, "GetImageBlockPublicAccessState", answer.image_block_public_access_state)?;
        Ok(state == "block-new-sharing")
    }

    fn put_parameter(&self, region: &str, name: &str, image_id: &str) -> Answer<u64> {
        self.query.put_parameter(region, name, image_id)
    }
}

/// [`PAGE`] as the SDK has it.
fn page() -> i32 {
    i32::try_from(PAGE).unwrap_or(i32::MAX)
}

/// What is sent.
mod told {
    use super::*;

    pub(super) fn filters(filters: &[(&str, &str)]) -> Vec<Filter> {
        filters.iter().map(|(name, value)| Filter::builder().name(*name).values(*value).build()).collect()
    }

    /// Nothing where there are no tags.
    fn tags(of: ResourceType, tags: &[(String, String)]) -> Option<TagSpecification> {
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        let all: Vec<Tag> = tags.iter().map(tag).collect();
        let specification = TagSpecification::builder().resource_type(of);
        (!all.is_empty()).then(|| specification.set_tags(Some(all)).build())
    }

    /// The numbers of a registration, as the SDK has them.
    pub(super) struct Registering {
        volume_gib: Option<i32>,
        iops: Option<i32>,
        throughput: Option<i32>,
    }

    impl Registering {
        pub(super) fn new(registration: &Registration) -> Result<Self> {
            let number = |n: Option<u64>, what| n.map(|n| fit::<i32>(n, what)).transpose();
            Ok(Self {
                volume_gib: number(registration.volume_gib, "volume size")?,
                iops: number(registration.iops, "I/O operations per second")?,
                throughput: number(registration.throughput, "throughput")?,
            })
        }

        pub(super) fn request(
            &self,
            request: RegisterImageFluentBuilder,
            registration: &Registration,
            snapshot_id: &str,
        ) -> RegisterImageFluentBuilder {
            // `Encrypted` must not be told: the snapshot's own state is what counts.
            let ebs = EbsBlockDevice::builder()
                .snapshot_id(snapshot_id)
                .set_volume_size(self.volume_gib)
                .volume_type(registration.volume_type.as_str().into())
                .set_iops(self.iops)
                .set_throughput(self.throughput)
                .delete_on_termination(registration.delete_on_termination);
            let device =
                BlockDeviceMapping::builder().device_name(&registration.root_device).ebs(ebs.build());
            request
                .name(&registration.name)
                .set_description(registration.description.clone())
                .architecture(registration.architecture.into())
                .virtualization_type("hvm")
                .boot_mode(BootModeValues::from(registration.boot_mode))
                .set_tpm_support(registration.tpm.then_some(TpmSupportValues::V20))
                .set_imds_support(registration.imds_v2.then_some(ImdsSupportValues::V20))
                .ena_support(registration.ena)
                .set_sriov_net_support(registration.sriov.then(|| "simple".to_owned()))
                .set_uefi_data(registration.uefi_data.clone())
                .root_device_name(&registration.root_device)
                .block_device_mappings(device.build())
                .set_tag_specifications(tags(ResourceType::Image, &registration.tags).map(|tags| vec![tags]))
        }
    }

    pub(super) fn copy(request: CopyImageFluentBuilder, copy: &Copy<'_>) -> CopyImageFluentBuilder {
        let tags: Vec<_> = [ResourceType::Image, ResourceType::Snapshot]
            .into_iter()
            .filter_map(|of| tags(of, copy.tags))
            .collect();
        request
            .name(copy.name)
            .set_description(copy.description.map(str::to_owned))
            .source_region(copy.from)
            .source_image_id(copy.image_id)
            .client_token(copy.token)
            .set_encrypted(copy.encrypted.then_some(true))
            .set_kms_key_id(copy.kms_key.map(str::to_owned))
            .set_tag_specifications(Some(tags).filter(|tags| !tags.is_empty()))
    }

    pub(super) fn share_image(
        request: ModifyImageAttributeFluentBuilder,
        image_id: &str,
        with: Share<'_>,
    ) -> ModifyImageAttributeFluentBuilder {
        let mut who = LaunchPermissionModifications::builder();
        match with {
            Share::Everybody => {
                who = who.add(LaunchPermission::builder().group(PermissionGroup::All).build());
            }
            Share::Accounts(accounts) => {
                for account in accounts {
                    who = who.add(LaunchPermission::builder().user_id(account).build());
                }
            }
        }
        request.image_id(image_id).launch_permission(who.build())
    }

    pub(super) fn share_snapshot(
        request: ModifySnapshotAttributeFluentBuilder,
        snapshot_id: &str,
        accounts: &[String],
    ) -> ModifySnapshotAttributeFluentBuilder {
        let mut who = CreateVolumePermissionModifications::builder();
        for account in accounts {
            who = who.add(CreateVolumePermission::builder().user_id(account).build());
        }
        request
            .snapshot_id(snapshot_id)
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .create_volume_permission(who.build())
    }
}

/// What is answered.
mod heard {
    use aws_sdk_ec2::types;

    use super::{BlockDevice, Image, Snapshot};

    pub(super) fn image(image: types::Image) -> Image {
        Image {
            id: image.image_id.unwrap_or_default(),
            name: image.name.unwrap_or_default(),
            state: image.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            reason: image.state_reason.and_then(|reason| reason.message),
            public: image.public.unwrap_or_default(),
            architecture: image.architecture.map(|name| name.as_str().to_owned()),
            boot_mode: image.boot_mode.map(|mode| mode.as_str().to_owned()),
            root_device: image.root_device_name,
            tags: tags(image.tags),
            devices: image
                .block_device_mappings
                .unwrap_or_default()
                .into_iter()
                .map(|device| BlockDevice {
                    name: device.device_name.unwrap_or_default(),
                    snapshot_id: device.ebs.and_then(|ebs| ebs.snapshot_id),
                })
                .collect(),
        }
    }

    pub(super) fn snapshot(snapshot: types::Snapshot) -> Snapshot {
        Snapshot {
            id: snapshot.snapshot_id.unwrap_or_default(),
            state: snapshot.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            reason: snapshot.state_message,
            progress: snapshot.progress,
            volume_gib: snapshot.volume_size.and_then(|gib| u64::try_from(gib).ok()),
            encrypted: snapshot.encrypted.unwrap_or_default(),
            kms_key: snapshot.kms_key_id,
            tags: tags(snapshot.tags),
        }
    }

    fn tags(tags: Option<Vec<types::Tag>>) -> Vec<(String, String)> {
        let pair = |tag: types::Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        tags.unwrap_or_default().into_iter().map(pair).collect()
    }
}
