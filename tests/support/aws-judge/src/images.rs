//! Images, and what becomes of them: DescribeImages, DeregisterImage, CopyImage, EnableImageDeprecation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ec2::{Answer, Ask, yes};
use crate::form::{Filter, invalid};
use crate::reply::Fail;
use crate::sharing;
use crate::snapshots;
use crate::state::{State, Token};
use crate::time;
use crate::xml::Xml;

pub(crate) const DESCRIBE: &[&str] = &[
    "ImageId.#",
    "Owner.#",
    "ExecutableBy.#",
    "IncludeDeprecated",
    "IncludeDisabled",
    "MaxResults",
    "NextToken",
    "Filter.#.Name",
    "Filter.#.Value.#",
];

pub(crate) const COPY: &[&str] = &[
    "Name",
    "SourceImageId",
    "SourceRegion",
    "Description",
    "ClientToken",
    "Encrypted",
    "KmsKeyId",
    "CopyImageTags",
    "SnapshotCopyCompletionDurationMinutes",
    "TagSpecification.#.ResourceType",
    "TagSpecification.#.Tag.#.Key",
    "TagSpecification.#.Tag.#.Value",
];

/// An AMI, deregistered or not.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) deregistered: bool,
    pub(crate) started: Instant,
    /// When it becomes available.
    pub(crate) until: Instant,
    /// Or `failed` instead.
    pub(crate) fails: bool,
    pub(crate) created: f64,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) architecture: String,
    pub(crate) virtualization: String,
    pub(crate) boot_mode: Option<String>,
    pub(crate) tpm: Option<String>,
    pub(crate) imds: Option<String>,
    pub(crate) uefi_data: Option<String>,
    pub(crate) ena: bool,
    pub(crate) sriov: Option<String>,
    pub(crate) root_device: String,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) permissions: BTreeSet<String>,
    pub(crate) deprecation: Option<f64>,
    pub(crate) source: Option<(String, String)>,
}

/// A device of an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping {
    pub(crate) device: String,
    pub(crate) snapshot: Option<String>,
    pub(crate) size: u32,
    pub(crate) kind: String,
    pub(crate) delete: bool,
    pub(crate) iops: Option<i64>,
    pub(crate) throughput: Option<i64>,
    pub(crate) encrypted: bool,
    /// The parameters as they came.
    pub(crate) given: BTreeMap<String, String>,
}

impl Image {
    pub(crate) fn state(&self) -> &'static str {
        match (self.deregistered, self.until > Instant::now()) {
            (true, _) => "deregistered",
            (false, true) => "pending",
            (false, false) if self.fails => "failed",
            _ => "available",
        }
    }

    /// Since when.
    pub(crate) fn available(&self) -> Option<Instant> {
        Some(self.until).filter(|until| *until <= Instant::now())
    }

    /// Whether a snapshot can't be deleted because of it.
    pub(crate) fn uses(&self, snapshot: &str) -> bool {
        !self.deregistered && self.snapshots().any(|id| id == snapshot)
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.mappings.iter().filter_map(|mapping| mapping.snapshot.as_deref())
    }
}

pub(crate) fn bad(message: impl std::fmt::Display) -> Fail {
    Fail::new(400, "InvalidParameterValue", message)
}

pub(crate) fn check_name(name: &str) -> Result<(), Fail> {
    let good = (3..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"()[] ./-'@_".contains(&byte));
    let message = "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', \
                   '.', '-', '/' and '_'";
    if good { Ok(()) } else { Err(Fail::new(400, "InvalidAMIName.Malformed", message)) }
}

pub(crate) fn added(state: &mut State, image: Image) -> Xml {
    let mut xml = Xml::default();
    xml.text("imageId", &image.id);
    state.images.push(image);
    xml
}

pub(crate) fn free_name(state: &State, region: &str, name: &str) -> Result<(), Fail> {
    let taken = |image: &&Image| !image.deregistered && image.region == region && image.name == name;
    state.images.iter().find(taken).map_or(Ok(()), |image| {
        let message = format!("AMI name {name} is already in use by AMI {}", image.id);
        Err(Fail::new(400, "InvalidAMIName.Duplicate", message))
    })
}

pub(crate) fn check_id(ask: &Ask<'_>) -> Result<(), Fail> {
    well_formed(ask.form.required("ImageId")?)
}

fn well_formed(id: &str) -> Result<(), Fail> {
    let digits = id.strip_prefix("ami-").unwrap_or_default();
    let good = [8, 17].contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let message = format!("Invalid id: \"{id}\" (expecting \"ami-...\")");
    if good { Ok(()) } else { Err(Fail::new(400, "InvalidAMIID.Malformed", message)) }
}

/// An image that isn't deregistered.
pub(crate) fn find<'a>(state: &'a mut State, region: &str, id: &str) -> Result<&'a mut Image, Fail> {
    let known = |image: &&mut Image| image.id == id && image.region == region && !image.deregistered;
    state.images.iter_mut().find(known).ok_or_else(|| {
        Fail::new(400, "InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))
    })
}

pub(crate) fn describe(state: &mut State, ask: &Ask<'_>) -> Answer {
    let ids = ask.form.list("ImageId");
    for id in &ids {
        well_formed(id)?;
        find(state, ask.region, id)?;
    }
    let filters = Filter::all(ask.form)?;
    let owners = ask.form.list("Owner");
    let account = state.config.account.clone();
    let mut kept = Vec::new();
    for image in &state.images {
        let mut keep = !image.deregistered
            && image.region == ask.region
            && (ids.is_empty() || ids.contains(&image.id))
            && (owners.is_empty() || owners.iter().any(|owner| owner == "self" || *owner == account));
        for filter in &filters {
            keep &= filter.keeps(value(image, &filter.name, &account))?;
        }
        if keep {
            kept.push(image);
        }
    }
    let mut xml = Xml::default();
    xml.items("imagesSet", kept, |xml, image| show(xml, image, &account));
    Ok(xml)
}

fn value(image: &Image, filter: &str, account: &str) -> Option<Vec<String>> {
    let one = |text: &str| Some(vec![text.to_owned()]);
    match filter {
        "image-id" => one(&image.id),
        "name" => one(&image.name),
        "description" => one(&image.description),
        "state" => one(image.state()),
        "architecture" => one(&image.architecture),
        "virtualization-type" => one(&image.virtualization),
        "boot-mode" => Some(image.boot_mode.clone().into_iter().collect()),
        "root-device-name" => one(&image.root_device),
        "root-device-type" => one("ebs"),
        "image-type" => one("machine"),
        "owner-id" => one(account),
        "is-public" => one(&image.permissions.contains("all").to_string()),
        "ena-support" => one(&image.ena.to_string()),
        "block-device-mapping.snapshot-id" => Some(image.snapshots().map(Into::into).collect()),
        "tag-key" => Some(image.tags.keys().cloned().collect()),
        _ => Some(image.tags.get(filter.strip_prefix("tag:")?).cloned().into_iter().collect()),
    }
}

fn show(xml: &mut Xml, image: &Image, account: &str) {
    xml.text("imageId", &image.id)
        .text("imageLocation", format!("{account}/{}", image.name))
        .text("imageState", image.state())
        .text("imageOwnerId", account)
        .text("creationDate", time::iso(image.created))
        .text("isPublic", image.permissions.contains("all"))
        .text("architecture", &image.architecture)
        .text("imageType", "machine")
        .text("name", &image.name)
        .maybe("description", Some(&image.description).filter(|text| !text.is_empty()))
        .text("rootDeviceType", "ebs")
        .text("rootDeviceName", &image.root_device)
        .text("virtualizationType", &image.virtualization)
        .text("hypervisor", "xen")
        .text("platformDetails", "Linux/UNIX")
        .text("usageOperation", "RunInstances")
        .maybe("enaSupport", Some(image.ena).filter(|ena| *ena))
        .maybe("sriovNetSupport", image.sriov.as_ref())
        .maybe("bootMode", image.boot_mode.as_ref())
        .maybe("tpmSupport", image.tpm.as_ref())
        .maybe("imdsSupport", image.imds.as_ref())
        .maybe("deprecationTime", image.deprecation.map(time::iso))
        .maybe("sourceImageId", image.source.as_ref().map(|(id, _)| id))
        .maybe("sourceImageRegion", image.source.as_ref().map(|(_, region)| region));
    xml.items("blockDeviceMapping", &image.mappings, |xml, mapping| {
        xml.text("deviceName", &mapping.device).element("ebs", |xml| {
            xml.maybe("snapshotId", mapping.snapshot.as_ref())
                .text("volumeSize", mapping.size)
                .text("deleteOnTermination", mapping.delete)
                .text("volumeType", &mapping.kind)
                .maybe("iops", mapping.iops)
                .maybe("throughput", mapping.throughput)
                .text("encrypted", mapping.encrypted);
        });
    });
    if !image.tags.is_empty() {
        sharing::show_tags(xml, &image.tags);
    }
}

pub(crate) fn deregister(state: &mut State, ask: &Ask<'_>) -> Answer {
    let id = ask.form.required("ImageId")?;
    let with_snapshots = ask.form.bool("DeleteAssociatedSnapshots")?.unwrap_or(false);
    let image = find(state, ask.region, id)?;
    image.deregistered = true;
    let ids: Vec<String> = image.snapshots().map(Into::into).collect();
    let mut xml = Xml::default();
    xml.text("return", true);
    if with_snapshots {
        let mut results = Vec::new();
        for id in ids {
            let used = state.images.iter().any(|image| image.uses(&id));
            let denied = state.config.denies("ec2:DeleteSnapshot");
            let found = state.snapshot(ask.region, &id);
            let result = match found {
                _ if used => "skipped",
                _ if denied => "missing-permissions",
                None => "client-error",
                Some(snapshot) => {
                    snapshot.deleted = true;
                    "success"
                }
            };
            results.push((id, result));
        }
        xml.items("deleteSnapshotResultSet", results, |xml, (id, result)| {
            xml.text("snapshotId", id).text("returnCode", result);
        });
    }
    Ok(xml)
}

pub(crate) fn check_copy(ask: &Ask<'_>) -> Result<(), Fail> {
    check_name(ask.form.required("Name")?)?;
    well_formed(ask.form.required("SourceImageId")?)?;
    sharing::tags_for(ask.form, "image", &["image", "snapshot"])?;
    Ok(())
}

pub(crate) fn copy(state: &mut State, ask: &Ask<'_>) -> Answer {
    let form = ask.form;
    let (name, id) = (form.required("Name")?, form.required("SourceImageId")?);
    let from = form.required("SourceRegion")?;
    if !state.config.regions.iter().any(|region| region == from) {
        return Err(invalid("SourceRegion", from));
    }
    let parameters = json!({
        "Name": name, "SourceImageId": id, "SourceRegion": from, "Description": form.get("Description"),
        "Encrypted": form.get("Encrypted"), "KmsKeyId": form.get("KmsKeyId"),
    });
    let key = form.get("ClientToken").map(|token| (ask.region.to_owned(), format!("CopyImage:{token}")));
    if let Some(known) = key.as_ref().and_then(|key| state.tokens.get(key)) {
        if known.parameters != parameters {
            let message = "The client token was used by a request with other parameters.";
            return Err(Fail::new(400, "IdempotentParameterMismatch", message));
        }
        let mut xml = Xml::default();
        xml.text("imageId", &known.id);
        return Ok(xml);
    }
    free_name(state, ask.region, name)?;
    let mut image = find(state, from, id)?.clone();
    if image.state() != "available" {
        let message = format!("The image '{id}' is not available.");
        return Err(Fail::new(400, "InvalidAMIID.Unavailable", message));
    }
    let encrypted = form.bool("Encrypted")?.unwrap_or(false);
    let snapshot_tags = sharing::tags_for(form, "snapshot", &["image", "snapshot"])?;
    let new_id = state.id("ami");
    for mapping in &mut image.mappings {
        let Some(source) = &mapping.snapshot else { continue };
        let mut copied =
            snapshots::copy_of(state, from, source, ask.region, encrypted, form.get("KmsKeyId"))?;
        copied.description = format!("Copied for DestinationAmi {new_id} from SourceAmi {id}");
        copied.tags.clone_from(&snapshot_tags);
        mapping.encrypted = copied.encrypted;
        mapping.snapshot = Some(copied.id.clone());
        state.snapshots.push(copied);
    }
    let mut tags = sharing::tags_for(form, "image", &["image", "snapshot"])?;
    if form.bool("CopyImageTags")?.unwrap_or(false) {
        for (key, value) in image.tags {
            tags.entry(key).or_insert(value);
        }
    }
    image.tags = tags;
    image.source = Some((id.into(), from.into()));
    image.id = new_id;
    image.region = ask.region.into();
    image.name = name.into();
    image.created = time::now();
    if let Some(description) = form.get("Description") {
        image.description = description.into();
    }
    image.started = Instant::now();
    image.until = image.started + Duration::from_millis(state.config.copy_ms);
    image.permissions.clear();
    image.deprecation = None;
    if let Some(key) = key {
        state.tokens.insert(key, Token { parameters, id: image.id.clone() });
    }
    Ok(added(state, image))
}

pub(crate) fn deprecate(state: &mut State, ask: &Ask<'_>) -> Answer {
    const YEAR: f64 = 366.0 * 86_400.0;
    let text = ask.form.required("DeprecateAt")?;
    let at = time::parse(text).ok_or_else(|| invalid("DeprecateAt", text))?;
    let image = find(state, ask.region, ask.form.required("ImageId")?)?;
    if at < time::now() {
        return Err(bad("DeprecateAt can't be in the past."));
    }
    if at > time::now() + 10.0 * YEAR {
        return Err(bad("DeprecateAt can be at most ten years from now."));
    }
    if image.permissions.contains("all") && at > image.created + 2.0 * YEAR {
        return Err(bad("DeprecateAt of a public AMI can be at most two years from its creation."));
    }
    image.deprecation = Some((at / 60.0).round() * 60.0);
    yes()
}
