//! RegisterImage: which images may be made of which snapshots.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::ec2::{Answer, Ask};
use crate::form::{Form, invalid};
use crate::images::{Image, Mapping, added, bad, check_name, free_name};
use crate::reply::Fail;
use crate::sharing;
use crate::snapshots;
use crate::state::{Phase, State};
use crate::time;

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

fn combination(message: impl std::fmt::Display) -> Fail {
    Fail::new(400, "InvalidParameterCombination", message)
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
    let started = Instant::now();
    let image = Image {
        id: state.id("ami"),
        region: ask.region.into(),
        deregistered: false,
        started,
        until: started + Duration::from_millis(state.config.image_ms),
        fails: false,
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
