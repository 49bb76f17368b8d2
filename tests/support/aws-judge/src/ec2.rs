//! EC2's Query protocol: a form in, XML out.
//!
//! Source: service model `ec2` 2016-11-15, whose names of parameters and elements these are; the API reference's table of
//! error codes.

use crate::faults::Call;
use crate::form::Form;
use crate::reply::{Fail, Reply, Service};
use crate::state::State;
use crate::xml::Xml;
use crate::{images, register, sharing, snapshots};

/// A call whose signature is good.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) form: &'a Form,
    pub(crate) region: &'a str,
}

/// What a call puts between its opening and closing tags.
pub(crate) type Answer = Result<Xml, Fail>;

/// What calls know, need and do.
struct Entry {
    name: &'static str,
    /// Patterns of its parameters.
    known: &'static [&'static str],
    required: &'static [&'static str],
    /// Refuses what can be refused without looking at the account: before DryRun answers.
    check: fn(&Ask<'_>) -> Result<(), Fail>,
    run: fn(&mut State, &Ask<'_>) -> Answer,
}

const FILTERS: [&str; 2] = ["Filter.#.Name", "Filter.#.Value.#"];

macro_rules! entries {
    ($($name:literal: $known:expr, $required:expr, $check:expr, $run:expr;)*) => {
        &[$(Entry { name: $name, known: $known, required: $required, check: $check, run: $run }),*]
    };
}

const ENTRIES: &[Entry] = entries! {
    "DescribeSnapshots": snapshots::DESCRIBE, &[], |_| Ok(()), snapshots::describe;
    "DeleteSnapshot": &["SnapshotId"], &["SnapshotId"], snapshots::check_id, snapshots::delete;
    "CopySnapshot": snapshots::COPY, &["SourceRegion", "SourceSnapshotId"], |_| Ok(()), snapshots::copy;
    "CreateTags": &["ResourceId.#", "Tag.#.Key", "Tag.#.Value"], &["ResourceId.1", "Tag.1.Key"], |_| Ok(()), sharing::create_tags;
    "RegisterImage": register::REGISTER, &["Name"], register::check_register, register::register;
    "DescribeImages": images::DESCRIBE, &[], |_| Ok(()), images::describe;
    "DeregisterImage": &["ImageId", "DeleteAssociatedSnapshots"], &["ImageId"], images::check_id, images::deregister;
    "CopyImage": images::COPY, &["Name", "SourceImageId", "SourceRegion"], images::check_copy, images::copy;
    "ModifyImageAttribute": sharing::IMAGE, &["ImageId"], images::check_id, sharing::modify_image;
    "DescribeImageAttribute": &["ImageId", "Attribute"], &["ImageId", "Attribute"], images::check_id, sharing::image_attribute;
    "ModifySnapshotAttribute": sharing::SNAPSHOT, &["SnapshotId"], snapshots::check_id, sharing::modify_snapshot;
    "DescribeSnapshotAttribute": &["SnapshotId", "Attribute"], &["SnapshotId", "Attribute"], snapshots::check_id, sharing::snapshot_attribute;
    "EnableImageDeprecation": &["ImageId", "DeprecateAt"], &["ImageId", "DeprecateAt"], images::check_id, images::deprecate;
    "GetEbsEncryptionByDefault": &[], &[], |_| Ok(()), encryption_by_default;
    "GetEbsDefaultKmsKeyId": &[], &[], |_| Ok(()), default_key;
    "GetImageBlockPublicAccessState": &[], &[], |_| Ok(()), public_access;
    "DescribeRegions": &["RegionName.#", "AllRegions", FILTERS[0], FILTERS[1]], &[], |_| Ok(()), regions;
};

/// The snapshot or image that a call is about, for faults and the log.
pub(crate) fn subject(form: &Form) -> Option<String> {
    let names = [
        "SnapshotId",
        "SnapshotId.1",
        "ImageId",
        "ImageId.1",
        "SourceImageId",
        "SourceSnapshotId",
        "ResourceId.1",
        "BlockDeviceMapping.1.Ebs.SnapshotId",
    ];
    names.iter().find_map(|name| form.get(name)).map(Into::into)
}

/// Does it.
pub(crate) fn answer(state: &mut State, call: &Call, form: &Form, request_id: &str) -> Result<Reply, Fail> {
    if form.get("Version") != Some("2016-11-15") {
        let version = form.get("Version").unwrap_or("null");
        let message = format!("The API version {version} is not known.");
        return Err(Fail::new(400, "NoSuchVersion", message));
    }
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == call.operation) else {
        let message = format!("The action {} is not valid for this web service.", call.operation);
        return Err(Fail::new(400, "InvalidAction", message));
    };
    let ask = Ask { form, region: &call.region };
    form.only(entry.known)?;
    for name in entry.required {
        form.required(name)?;
    }
    let dry = form.bool("DryRun")?.unwrap_or(false);
    (entry.check)(&ask)?;
    let action = format!("ec2:{}", entry.name);
    if state.config.denies(&action) {
        return Err(Fail::denied(Service::Ec2, &state.config.arn(), &action, "*"));
    }
    if form.has("TagSpecification.") && state.config.denies("ec2:CreateTags") {
        return Err(Fail::denied(Service::Ec2, &state.config.arn(), "ec2:CreateTags", "*"));
    }
    if dry {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Fail::new(412, "DryRunOperation", message));
    }
    state.settle();
    let xml = (entry.run)(state, &ask)?;
    let name = entry.name;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{name}Response \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n    <requestId>{request_id}</requestId>\n    \
         {}\n</{name}Response>",
        xml.into_string()
    );
    Ok(Reply::new(200, "text/xml;charset=UTF-8", body))
}

/// `<return>true</return>`.
pub(crate) fn yes() -> Answer {
    let mut xml = Xml::default();
    xml.text("return", true);
    Ok(xml)
}

fn encryption_by_default(state: &mut State, _: &Ask<'_>) -> Answer {
    let mut xml = Xml::default();
    let on = state.config.encryption_by_default;
    xml.text("ebsEncryptionByDefault", on).text("sseType", if on { "sse-kms" } else { "none" });
    Ok(xml)
}

fn default_key(state: &mut State, _: &Ask<'_>) -> Answer {
    let mut xml = Xml::default();
    xml.text("kmsKeyId", &state.config.default_kms_key);
    Ok(xml)
}

fn public_access(state: &mut State, _: &Ask<'_>) -> Answer {
    let mut xml = Xml::default();
    let word = if state.config.block_public_access { "block-new-sharing" } else { "unblocked" };
    xml.text("imageBlockPublicAccessState", word).text("managedBy", "account");
    Ok(xml)
}

fn regions(state: &mut State, ask: &Ask<'_>) -> Answer {
    let names = ask.form.list("RegionName");
    if let Some(unknown) = names.iter().find(|name| !state.config.regions.contains(name)) {
        let message = format!("Invalid value for 'region': {unknown}");
        return Err(Fail::new(400, "InvalidParameterValue", message));
    }
    let filters = crate::form::Filter::all(ask.form)?;
    let mut kept = Vec::new();
    for region in &state.config.regions {
        let mut keep = names.is_empty() || names.contains(region);
        for filter in &filters {
            keep &= filter.keeps(match filter.name.as_str() {
                "region-name" => Some(vec![region.clone()]),
                "opt-in-status" => Some(vec!["opt-in-not-required".into()]),
                _ => None,
            })?;
        }
        if keep {
            kept.push(region);
        }
    }
    let mut xml = Xml::default();
    xml.items("regionInfo", kept, |xml, region| {
        xml.text("regionName", region)
            .text("regionEndpoint", format!("ec2.{region}.amazonaws.com"))
            .text("optInStatus", "opt-in-not-required");
    });
    Ok(xml)
}
