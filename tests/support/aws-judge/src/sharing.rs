//! Tags, and who else may use an image or a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use crate::ec2::{Answer, Ask, yes};
use crate::form::{Form, invalid};
use crate::images;
use crate::reply::Fail;
use crate::snapshots;
use crate::state::State;
use crate::xml::Xml;

pub(crate) const IMAGE: &[&str] = &[
    "ImageId",
    "Attribute",
    "OperationType",
    "UserId.#",
    "UserGroup.#",
    "OrganizationArn.#",
    "OrganizationalUnitArn.#",
    "LaunchPermission.Add.#.UserId",
    "LaunchPermission.Add.#.Group",
    "LaunchPermission.Add.#.OrganizationArn",
    "LaunchPermission.Add.#.OrganizationalUnitArn",
    "LaunchPermission.Remove.#.UserId",
    "LaunchPermission.Remove.#.Group",
    "LaunchPermission.Remove.#.OrganizationArn",
    "LaunchPermission.Remove.#.OrganizationalUnitArn",
    "Description.Value",
    "ImdsSupport.Value",
    "Value",
];

pub(crate) const SNAPSHOT: &[&str] = &[
    "SnapshotId",
    "Attribute",
    "OperationType",
    "UserId.#",
    "UserGroup.#",
    "CreateVolumePermission.Add.#.UserId",
    "CreateVolumePermission.Add.#.Group",
    "CreateVolumePermission.Remove.#.UserId",
    "CreateVolumePermission.Remove.#.Group",
];

/// `Tag.1.Key` and so on below a prefix.
fn tags(form: &Form, prefix: &str) -> Result<BTreeMap<String, String>, Fail> {
    let mut tags = BTreeMap::new();
    for tag in form.structures(&format!("{prefix}Tag")) {
        let key = form.required(&format!("{tag}Key"))?;
        let value = form.get(&format!("{tag}Value")).unwrap_or_default();
        if key.starts_with("aws:") {
            let message = "Tag keys starting with 'aws:' are reserved for internal use";
            return Err(Fail::new(400, "InvalidParameterValue", message));
        }
        if key.chars().count() > 128 || value.chars().count() > 256 {
            let message = "Tag keys have at most 128 characters, values at most 256";
            return Err(Fail::new(400, "InvalidParameterValue", message));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            let message = format!("Duplicate tag key '{key}' specified.");
            return Err(Fail::new(400, "InvalidParameterValue", message));
        }
    }
    if tags.len() > 50 {
        return Err(Fail::new(400, "TagLimitExceeded", "The maximum number of Tags for a resource is 50."));
    }
    Ok(tags)
}

/// The tags that TagSpecification has for a type of resource; other types than `allowed` are refused.
pub(crate) fn tags_for(form: &Form, kind: &str, allowed: &[&str]) -> Result<BTreeMap<String, String>, Fail> {
    let mut all = BTreeMap::new();
    for prefix in form.structures("TagSpecification") {
        let given = form.required(&format!("{prefix}ResourceType"))?;
        if !allowed.contains(&given) {
            let message = format!("'{given}' is not a valid taggable resource type for this operation.");
            return Err(Fail::new(400, "InvalidParameterValue", message));
        }
        let tags = tags(form, &prefix)?;
        if given == kind {
            all.extend(tags);
        }
    }
    Ok(all)
}

pub(crate) fn show_tags(xml: &mut Xml, tags: &BTreeMap<String, String>) {
    xml.items("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key).text("value", value);
    });
}

pub(crate) fn create_tags(state: &mut State, ask: &Ask<'_>) -> Answer {
    let new = tags(ask.form, "")?;
    let ids = ask.form.list("ResourceId");
    let limit = |tags: &BTreeMap<String, String>| {
        let count = tags.keys().chain(new.keys()).collect::<BTreeSet<_>>().len();
        let message = "The maximum number of Tags for a resource is 50.";
        if count > 50 { Err(Fail::new(400, "TagLimitExceeded", message)) } else { Ok(()) }
    };
    for id in &ids {
        if id.starts_with("ami-") {
            limit(&images::find(state, ask.region, id)?.tags)?;
        } else if id.starts_with("snap-") {
            snapshots::well_formed(id)?;
            limit(&state.snapshot(ask.region, id).ok_or_else(|| snapshots::not_found(id))?.tags)?;
        } else {
            return Err(Fail::new(400, "InvalidID", format!("The ID '{id}' is not valid")));
        }
    }
    for id in &ids {
        if id.starts_with("ami-") {
            images::find(state, ask.region, id)?.tags.extend(new.clone());
        } else if let Some(snapshot) = state.snapshot(ask.region, id) {
            snapshot.tags.extend(new.clone());
        }
    }
    yes()
}

/// Who is added and who is removed. Groups and ARNs are told apart by their looks.
fn changes(form: &Form, structure: &str) -> Result<(Vec<String>, Vec<String>), Fail> {
    let one = |way: &str| -> Result<Vec<String>, Fail> {
        let mut who = Vec::new();
        for prefix in form.structures(&format!("{structure}.{way}")) {
            for name in ["UserId", "Group", "OrganizationArn", "OrganizationalUnitArn"] {
                who.extend(form.get(&format!("{prefix}{name}")).map(ToOwned::to_owned));
            }
        }
        Ok(who)
    };
    let (mut add, mut remove) = (one("Add")?, one("Remove")?);
    let mut flat = form.list("UserId");
    for name in ["UserGroup", "OrganizationArn", "OrganizationalUnitArn"] {
        flat.extend(form.list(name));
    }
    if !flat.is_empty() {
        match form.required("OperationType")? {
            "add" => add.extend(flat),
            "remove" => remove.extend(flat),
            other => return Err(invalid("OperationType", other)),
        }
    }
    for who in add.iter().chain(&remove) {
        let account = who.len() == 12 && who.bytes().all(|byte| byte.is_ascii_digit());
        let organization = who.starts_with("arn:aws") && who.contains(":organizations::");
        if !account && !organization && who != "all" {
            let message = format!("Invalid user id: \"{who}\"");
            return Err(Fail::new(400, "InvalidUserID.Malformed", message));
        }
    }
    Ok((add, remove))
}

pub(crate) fn modify_image(state: &mut State, ask: &Ask<'_>) -> Answer {
    let form = ask.form;
    let id = form.required("ImageId")?;
    let (add, remove) = changes(form, "LaunchPermission")?;
    let public = add.iter().any(|who| who == "all");
    if public && state.config.block_public_access {
        let message = "You can't publicly share this image because block public access for AMIs is enabled for this \
                       account in this Region.";
        return Err(Fail::new(400, "OperationNotPermitted", message));
    }
    let default = state.config.default_kms_key.clone();
    let image = images::find(state, ask.region, id)?.clone();
    for snapshot in image.snapshots() {
        let Some(snapshot) = state.snapshot(ask.region, snapshot) else { continue };
        let by_default = snapshot.kms_key.as_ref() == Some(&default);
        if snapshot.encrypted && (public || (by_default && !add.is_empty())) {
            let message = "The image has encrypted snapshots and can't be shared in this way.";
            return Err(Fail::new(400, "InvalidParameter", message));
        }
    }
    let imds = form.get("ImdsSupport.Value");
    if let Some(other) = imds.filter(|value| *value != "v2.0") {
        return Err(invalid("ImdsSupport", other));
    }
    let image = images::find(state, ask.region, id)?;
    image.permissions.extend(add);
    image.permissions.retain(|who| !remove.contains(who));
    if let Some(text) = form.get("Description.Value") {
        image.description = text.into();
    }
    if let Some(imds) = imds {
        image.imds = Some(imds.into());
    }
    yes()
}

pub(crate) fn image_attribute(state: &mut State, ask: &Ask<'_>) -> Answer {
    let id = ask.form.required("ImageId")?;
    let image = images::find(state, ask.region, id)?;
    let mut xml = Xml::default();
    xml.text("imageId", id);
    let value = |xml: &mut Xml, name: &str, text: Option<&String>| {
        xml.element(name, |xml| {
            xml.maybe("value", text);
        });
    };
    match ask.form.required("Attribute")? {
        "launchPermission" => {
            xml.items("launchPermission", &image.permissions, |xml, who| {
                xml.text(kind(who), who);
            });
        }
        "description" => value(&mut xml, "description", Some(&image.description)),
        "bootMode" => value(&mut xml, "bootMode", image.boot_mode.as_ref()),
        "tpmSupport" => value(&mut xml, "tpmSupport", image.tpm.as_ref()),
        "imdsSupport" => value(&mut xml, "imdsSupport", image.imds.as_ref()),
        "uefiData" => value(&mut xml, "uefiData", image.uefi_data.as_ref()),
        "sriovNetSupport" => value(&mut xml, "sriovNetSupport", image.sriov.as_ref()),
        other => return Err(invalid("Attribute", other)),
    }
    Ok(xml)
}

fn kind(who: &str) -> &'static str {
    match who {
        "all" => "group",
        arn if arn.contains(":ou/") => "organizationalUnitArn",
        arn if arn.starts_with("arn:") => "organizationArn",
        _ => "userId",
    }
}

pub(crate) fn modify_snapshot(state: &mut State, ask: &Ask<'_>) -> Answer {
    let id = ask.form.required("SnapshotId")?;
    let (add, remove) = changes(ask.form, "CreateVolumePermission")?;
    let default = state.config.default_kms_key.clone();
    let snapshot = state.snapshot(ask.region, id).ok_or_else(|| snapshots::not_found(id))?;
    let by_default = snapshot.kms_key.as_ref() == Some(&default);
    if !add.is_empty() && (by_default || (snapshot.encrypted && add.iter().any(|who| who == "all"))) {
        let message = "Encrypted snapshots with EBS default key cannot be shared, and none publicly";
        return Err(Fail::new(400, "OperationNotPermitted", message));
    }
    for who in add {
        if !snapshot.shared_with.contains(&who) {
            snapshot.shared_with.push(who);
        }
    }
    snapshot.shared_with.retain(|who| !remove.contains(who));
    yes()
}

pub(crate) fn snapshot_attribute(state: &mut State, ask: &Ask<'_>) -> Answer {
    let id = ask.form.required("SnapshotId")?;
    let attribute = ask.form.required("Attribute")?;
    if attribute != "createVolumePermission" {
        return Err(invalid("Attribute", attribute));
    }
    let snapshot = state.snapshot(ask.region, id).ok_or_else(|| snapshots::not_found(id))?;
    let mut xml = Xml::default();
    xml.text("snapshotId", id).items("createVolumePermission", &snapshot.shared_with, |xml, who| {
        xml.text(kind(who), who);
    });
    Ok(xml)
}
