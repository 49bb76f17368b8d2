//! RegisterImage and what becomes of images.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::ec2::{Answer, Ask, yes};
use crate::form::{Filter, Form, invalid};
use crate::reply::Fail;
use crate::sharing;
use crate::snapshots;
use crate::state::{Phase, State, Token};
use crate::time;
use crate::xml::Xml;

pub(crate) const REGISTER: &[&str] = &[
    "Name",
    "Description",
    "Architecture",
    "VirtualizationType",
    "RootDeviceName",
    "BootMode",
    "TpmSupport",
    "UefiData",
    "ImdsSupport",
    "EnaSupport",
    "SriovNetSupport",
    "ImageLocation",
    "KernelId",
    "RamdiskId",
    "BillingProduct.#",
    "BlockDeviceMapping.#.DeviceName",
    "BlockDeviceMapping.#.VirtualName",
    "BlockDeviceMapping.#.NoDevice",
    "BlockDeviceMapping.#.Ebs.SnapshotId",
    "BlockDeviceMapping.#.Ebs.VolumeSize",
    "BlockDeviceMapping.#.Ebs.VolumeType",
    "BlockDeviceMapping.#.Ebs.DeleteOnTermination",
    "BlockDeviceMapping.#.Ebs.Iops",
    "BlockDeviceMapping.#.Ebs.Throughput",
    "BlockDeviceMapping.#.Ebs.Encrypted",
    "BlockDeviceMapping.#.Ebs.KmsKeyId",
    "BlockDeviceMapping.#.Ebs.OutpostArn",
    "TagSpecification.#.ResourceType",
    "TagSpecification.#.Tag.#.Key",
    "TagSpecification.#.Tag.#.Value",
];

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
    /// When it becomes available.
    pub(crate) until: Option<Instant>,
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
    pub(crate) fn settle(&mut self) {
        self.until = self.until.filter(|until| *until > Instant::now());
    }

    pub(crate) fn state(&self) -> &'static str {
        match (self.deregistered, self.until) {
            (true, _) => "deregistered",
            (false, Some(until)) if until > Instant::now() => "pending",
            _ => "available",
        }
    }

    /// Whether a snapshot can't be deleted because of it.
    pub(crate) fn uses(&self, snapshot: &str) -> bool {
        !self.deregistered && self.snapshots().any(|id| id == snapshot)
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.mappings.iter().filter_map(|mapping| mapping.snapshot.as_deref())
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// RegisterImage

fn bad(message: impl std::fmt::Display) -> Fail {
    Fail::new(400, "InvalidParameterValue", message)
}

fn combination(message: impl std::fmt::Display) -> Fail {
    Fail::new(400, "InvalidParameterCombination", message)
}

fn check_name(name: &str) -> Result<(), Fail> {
    let good = (3..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"()[] ./-'@_".contains(&byte));
    let message = "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', \
                   '.', '-', '/' and '_'";
    if good { Ok(()) } else { Err(Fail::new(400, "InvalidAMIName.Malformed", message)) }
}

/// One of these, or an error in EC2's words.
fn one_of(form: &Form, name: &str, values: &[&str]) -> Result<Option<String>, Fail> {
    match form.get(name) {
        Some(value) if !values.contains(&value) => Err(invalid(name, value)),
        value => Ok(value.map(Into::into)),
    }
}

pub(crate) fn check_register(ask: &Ask<'_>) -> Result<(), Fail> {
    let form = ask.form;
    check_name(form.required("Name")?)?;
    if form.get("Description").is_some_and(|text| text.chars().count() > 255) {
        return Err(bad("Description can have at most 255 characters."));
    }
    let architecture = one_of(form, "Architecture", &["i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"])?;
    let hvm = one_of(form, "VirtualizationType", &["hvm", "paravirtual"])?.is_some_and(|kind| kind == "hvm");
    let boot = one_of(form, "BootMode", &["legacy-bios", "uefi", "uefi-preferred"])?;
    let tpm = one_of(form, "TpmSupport", &["v2.0"])?;
    one_of(form, "ImdsSupport", &["v2.0"])?;
    one_of(form, "SriovNetSupport", &["simple"])?;
    let arm = architecture.as_deref() == Some("arm64");
    if tpm.is_some() && boot.as_deref() != Some("uefi") {
        return Err(combination("TpmSupport v2.0 requires BootMode uefi."));
    }
    if tpm.is_some() && arm {
        return Err(combination("TpmSupport is not supported for the architecture arm64."));
    }
    if arm && boot.as_deref().is_some_and(|boot| boot != "uefi") {
        return Err(combination("The architecture arm64 requires BootMode uefi."));
    }
    if !hvm
        && (boot.is_some() || arm || form.bool("EnaSupport")? == Some(true) || form.has("SriovNetSupport"))
    {
        return Err(combination("This is supported for the virtualization type hvm only."));
    }
    if let Some(data) = form.get("UefiData") {
        use base64::Engine as _;
        if base64::engine::general_purpose::STANDARD.decode(data).is_err() || data.len() > 64_000 {
            return Err(bad("UefiData is not valid."));
        }
        if boot.as_deref().is_none_or(|boot| boot == "legacy-bios") {
            return Err(combination("UefiData requires a BootMode with UEFI."));
        }
    }
    sharing::tags_for(form, "image", &["image"])?;
    Ok(())
}

pub(crate) fn register(state: &mut State, ask: &Ask<'_>) -> Answer {
    let form = ask.form;
    let name = form.required("Name")?;
    free_name(state, ask.region, name)?;
    let root_device = form.get("RootDeviceName").unwrap_or_default().to_owned();
    if form.get("ImageLocation").is_none() && root_device.is_empty() {
        let message = "The request must contain the parameter RootDeviceName or ImageLocation";
        return Err(Fail::new(400, "MissingParameter", message));
    }
    let mappings = mappings(state, ask)?;
    let root = mappings.iter().find(|mapping| mapping.device == root_device);
    if root.is_none_or(|mapping| mapping.snapshot.is_none()) {
        let message = format!("No snapshot is mapped to the root device {root_device}");
        return Err(Fail::new(400, "InvalidBlockDeviceMapping", message));
    }
    for (parameter, kind) in
        [("Architecture", "default-architecture"), ("VirtualizationType", "default-virtualization")]
    {
        if form.get(parameter).is_none() {
            state.violation(kind, "RegisterImage", name.into());
        }
    }
    let until = Instant::now() + Duration::from_millis(state.config.image_ms);
    let image = Image {
        id: state.id("ami"),
        region: ask.region.into(),
        deregistered: false,
        until: Some(until),
        created: time::now(),
        name: name.into(),
        description: form.get("Description").unwrap_or_default().into(),
        architecture: form.get("Architecture").unwrap_or("i386").into(),
        virtualization: form.get("VirtualizationType").unwrap_or("paravirtual").into(),
        boot_mode: form.get("BootMode").map(Into::into),
        tpm: form.get("TpmSupport").map(Into::into),
        imds: form.get("ImdsSupport").map(Into::into),
        uefi_data: form.get("UefiData").map(Into::into),
        ena: form.bool("EnaSupport")?.unwrap_or(false),
        sriov: form.get("SriovNetSupport").map(Into::into),
        root_device,
        mappings,
        tags: sharing::tags_for(form, "image", &["image"])?,
        permissions: BTreeSet::new(),
        deprecation: None,
        source: None,
    };
    Ok(added(state, image))
}

fn added(state: &mut State, image: Image) -> Xml {
    let mut xml = Xml::default();
    xml.text("imageId", &image.id);
    state.images.push(image);
    xml
}

fn free_name(state: &State, region: &str, name: &str) -> Result<(), Fail> {
    let taken = |image: &&Image| !image.deregistered && image.region == region && image.name == name;
    state.images.iter().find(taken).map_or(Ok(()), |image| {
        let message = format!("AMI name {name} is already in use by AMI {}", image.id);
        Err(Fail::new(400, "InvalidAMIName.Duplicate", message))
    })
}

fn mappings(state: &mut State, ask: &Ask<'_>) -> Result<Vec<Mapping>, Fail> {
    let form = ask.form;
    let mut mappings: Vec<Mapping> = Vec::new();
    for prefix in form.structures("BlockDeviceMapping") {
        let device = form.required(&format!("{prefix}DeviceName"))?.to_owned();
        if mappings.iter().any(|mapping| mapping.device == device) {
            let message = format!("The device '{device}' is used in more than one block-device mapping");
            return Err(Fail::new(400, "InvalidBlockDeviceMapping", message));
        }
        let given = REGISTER
            .iter()
            .filter_map(|pattern| pattern.strip_prefix("BlockDeviceMapping.#."))
            .filter_map(|name| Some((name.to_owned(), form.get(&format!("{prefix}{name}"))?.to_owned())))
            .collect();
        let ebs = |name: &str| form.get(&format!("{prefix}Ebs.{name}"));
        let int = |name: &str| form.int(&format!("{prefix}Ebs.{name}"));
        let mut mapping = Mapping {
            device,
            snapshot: ebs("SnapshotId").map(Into::into),
            kind: ebs("VolumeType").unwrap_or("standard").into(),
            delete: form.bool(&format!("{prefix}Ebs.DeleteOnTermination"))?.unwrap_or(true),
            iops: int("Iops")?,
            throughput: int("Throughput")?,
            encrypted: form.bool(&format!("{prefix}Ebs.Encrypted"))?.unwrap_or(false),
            given,
            ..Mapping::default()
        };
        if form.has(&format!("{prefix}Ebs.")) {
            volume(state, ask.region, &mut mapping, int("VolumeSize")?)?;
        }
        mappings.push(mapping);
    }
    Ok(mappings)
}

/// The rules of EbsBlockDevice.
fn volume(state: &mut State, region: &str, mapping: &mut Mapping, size: Option<i64>) -> Result<(), Fail> {
    if mapping.given.contains_key("Ebs.KmsKeyId") {
        return Err(bad("KmsKeyId is not supported in the block device mappings of RegisterImage."));
    }
    let least = match &mapping.snapshot {
        None => None,
        Some(id) => {
            snapshots::well_formed(id)?;
            if mapping.given.contains_key("Ebs.Encrypted") {
                let message = "Parameter encrypted is invalid. You cannot specify the encrypted flag if specifying a \
                               snapshot id in a block device mapping.";
                return Err(Fail::new(400, "InvalidParameter", message));
            }
            let snapshot = state.snapshot(region, id).ok_or_else(|| snapshots::not_found(id))?;
            if snapshot.phase != Phase::Completed {
                let message = format!("The snapshot '{id}' is in the state {}.", snapshot.status());
                return Err(Fail::new(400, "IncorrectState", message));
            }
            mapping.encrypted = snapshot.encrypted;
            Some(snapshot.gib)
        }
    };
    let device = mapping.device.clone();
    let wrong = |message: String| Fail::new(400, "InvalidBlockDeviceMapping", message);
    mapping.size = match (size, least) {
        (None, None) => {
            return Err(wrong(format!("Either snapshot ID or volume size must be provided for: {device}")));
        }
        (None, Some(least)) => least,
        (Some(size), least) => {
            let size = u32::try_from(size).map_err(|_| bad(format!("Volume of {size}GiB is not valid")))?;
            if let Some(least) = least.filter(|least| size < *least) {
                let id = mapping.snapshot.as_deref().unwrap_or_default();
                return Err(wrong(format!(
                    "Volume of size {size}GB is smaller than snapshot '{id}', expect size >= {least}GB"
                )));
            }
            size
        }
    };
    let sizes = match mapping.kind.as_str() {
        "gp2" => 1..=16_384,
        "gp3" => 1..=65_536,
        "io1" => 4..=16_384,
        "io2" => 4..=65_536,
        "st1" | "sc1" => 125..=16_384,
        "standard" => 1..=1024,
        other => return Err(invalid("volumeType", other)),
    };
    if !sizes.contains(&mapping.size) {
        return Err(bad(format!("Volume of {}GiB is not valid for the type {}", mapping.size, mapping.kind)));
    }
    let iops = match mapping.kind.as_str() {
        "gp3" => Some(3_000..=80_000),
        "io1" => Some(100..=64_000),
        "io2" => Some(100..=256_000),
        _ => None,
    };
    match (mapping.iops, iops) {
        (Some(_), None) => {
            return Err(combination(format!(
                "The parameter iops is not supported for {} volumes.",
                mapping.kind
            )));
        }
        (Some(given), Some(range)) if !range.contains(&given) => {
            return Err(bad(format!("Iops of {given} is not valid.")));
        }
        (None, Some(_)) if mapping.kind != "gp3" => {
            return Err(Fail::new(400, "MissingParameter", "The request must contain the parameter iops"));
        }
        _ => {}
    }
    if let Some(given) = mapping.throughput {
        if mapping.kind != "gp3" {
            let message = format!("The parameter throughput is not supported for {} volumes.", mapping.kind);
            return Err(combination(message));
        }
        if !(125..=2000).contains(&given) {
            return Err(bad(format!("Throughput of {given} MiB/s is not valid.")));
        }
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------------
// The others

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
    image.until = Some(Instant::now() + Duration::from_millis(state.config.copy_ms));
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
