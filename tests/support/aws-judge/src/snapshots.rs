//! DescribeSnapshots, DeleteSnapshot, CopySnapshot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ec2::{Answer, Ask, yes};
use crate::form::{Filter, invalid};
use crate::reply::Fail;
use crate::sharing;
use crate::state::{Phase, Snapshot, State};
use crate::time;
use crate::xml::Xml;

pub(crate) const DESCRIBE: &[&str] = &[
    "SnapshotId.#",
    "Owner.#",
    "RestorableBy.#",
    "MaxResults",
    "NextToken",
    "Filter.#.Name",
    "Filter.#.Value.#",
];

pub(crate) const COPY: &[&str] = &[
    "SourceRegion",
    "SourceSnapshotId",
    "Description",
    "DestinationRegion",
    "PresignedUrl",
    "Encrypted",
    "KmsKeyId",
    "CompletionDurationMinutes",
    "TagSpecification.#.ResourceType",
    "TagSpecification.#.Tag.#.Key",
    "TagSpecification.#.Tag.#.Value",
];

/// `snap-` and eight or seventeen hexadecimal digits.
pub(crate) fn well_formed(id: &str) -> Result<(), Fail> {
    let digits = id.strip_prefix("snap-").unwrap_or_default();
    let good = [8, 17].contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let message = format!("Invalid id: \"{id}\" (expecting \"snap-...\")");
    if good { Ok(()) } else { Err(Fail::new(400, "InvalidSnapshotID.Malformed", message)) }
}

pub(crate) fn check_id(ask: &Ask<'_>) -> Result<(), Fail> {
    well_formed(ask.form.required("SnapshotId")?)
}

pub(crate) fn not_found(id: &str) -> Fail {
    Fail::new(400, "InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

pub(crate) fn describe(state: &mut State, ask: &Ask<'_>) -> Answer {
    let ids = ask.form.list("SnapshotId");
    for id in &ids {
        well_formed(id)?;
        state.snapshot(ask.region, id).ok_or_else(|| not_found(id))?;
    }
    let most = ask.form.int("MaxResults")?;
    if most.is_some() && !ids.is_empty() {
        let message = "The parameter SnapshotId cannot be used with the parameter MaxResults";
        return Err(Fail::new(400, "InvalidParameterCombination", message));
    }
    if let Some(most) = most.filter(|most| !(5..=1000).contains(most)) {
        return Err(invalid("MaxResults", &most.to_string()));
    }
    let start = match ask.form.get("NextToken") {
        None => 0,
        Some(token) => token.parse::<usize>().map_err(|_| invalid("NextToken", token))?,
    };
    let owners = ask.form.list("Owner");
    let account = state.config.account.clone();
    let filters = Filter::all(ask.form)?;
    let mut kept = Vec::new();
    for snapshot in &state.snapshots {
        let mut keep = !snapshot.deleted
            && snapshot.region == ask.region
            && (ids.is_empty() || ids.contains(&snapshot.id))
            && (owners.is_empty() || owners.iter().any(|owner| owner == "self" || *owner == account));
        for filter in &filters {
            keep &= filter.keeps(value(snapshot, &filter.name, &account))?;
        }
        if keep {
            kept.push(snapshot);
        }
    }
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let next = (kept.len() > start.saturating_add(most)).then(|| start + most);
    let mut xml = Xml::default();
    xml.items("snapshotSet", kept.into_iter().skip(start).take(most), |xml, snapshot| {
        show(xml, snapshot, &account);
    });
    xml.maybe("nextToken", next);
    Ok(xml)
}

/// What a filter looks at. `None`: there is no such filter.
fn value(snapshot: &Snapshot, filter: &str, account: &str) -> Option<Vec<String>> {
    Some(match filter {
        "snapshot-id" => vec![snapshot.id.clone()],
        "status" => vec![snapshot.status().into()],
        "description" => vec![snapshot.description.clone()],
        "encrypted" => vec![snapshot.encrypted.to_string()],
        "owner-id" => vec![account.into()],
        "volume-size" => vec![snapshot.gib.to_string()],
        "start-time" => vec![time::iso(snapshot.start_time)],
        "progress" => vec![progress(snapshot).into()],
        "tag-key" => snapshot.tags.keys().cloned().collect(),
        _ => snapshot.tags.get(filter.strip_prefix("tag:")?).cloned().into_iter().collect(),
    })
}

fn progress(snapshot: &Snapshot) -> &'static str {
    match snapshot.phase {
        Phase::Completed => "100%",
        Phase::Sealed { .. } => "99%",
        _ => "",
    }
}

fn show(xml: &mut Xml, snapshot: &Snapshot, account: &str) {
    xml.text("snapshotId", &snapshot.id)
        .text("volumeId", "vol-ffffffff")
        .text("status", snapshot.status())
        .text("startTime", time::iso(snapshot.start_time))
        .text("progress", progress(snapshot))
        .text("ownerId", account)
        .text("volumeSize", snapshot.gib)
        .text("description", &snapshot.description)
        .text("encrypted", snapshot.encrypted)
        .text("storageTier", "standard")
        .text("sseType", if snapshot.encrypted { "sse-kms" } else { "none" })
        .maybe("kmsKeyId", snapshot.kms_key.as_ref());
    if let Phase::Error(why) = &snapshot.phase {
        xml.text("statusMessage", why);
    }
    if snapshot.phase == Phase::Completed {
        xml.text("fullSnapshotSizeInBytes", snapshot.all_blocks().len() * crate::BLOCK_SIZE);
    }
    if !snapshot.tags.is_empty() {
        sharing::show_tags(xml, &snapshot.tags);
    }
}

pub(crate) fn delete(state: &mut State, ask: &Ask<'_>) -> Answer {
    let id = ask.form.required("SnapshotId")?;
    state.snapshot(ask.region, id).ok_or_else(|| not_found(id))?;
    if let Some(image) = state.images.iter().find(|image| image.uses(id)) {
        let message = format!("The snapshot {id} is currently in use by {}", image.id);
        return Err(Fail::new(400, "InvalidSnapshot.InUse", message));
    }
    if let Some(snapshot) = state.snapshot(ask.region, id) {
        snapshot.deleted = true;
    }
    yes()
}

pub(crate) fn copy(state: &mut State, ask: &Ask<'_>) -> Answer {
    let (from, id) = (ask.form.required("SourceRegion")?, ask.form.required("SourceSnapshotId")?);
    well_formed(id)?;
    let tags = sharing::tags_for(ask.form, "snapshot", &["snapshot"])?;
    let encrypted = ask.form.bool("Encrypted")?.unwrap_or(false);
    let mut copied = copy_of(state, from, id, ask.region, encrypted, ask.form.get("KmsKeyId"))?;
    copied.description = ask.form.get("Description").unwrap_or_default().into();
    copied.tags = tags;
    let mut xml = Xml::default();
    xml.text("snapshotId", &copied.id);
    state.snapshots.push(copied);
    Ok(xml)
}

/// A copy that will be complete after `copy_ms`.
pub(crate) fn copy_of(
    state: &mut State,
    from: &str,
    id: &str,
    to: &str,
    encrypted: bool,
    key: Option<&str>,
) -> Result<Snapshot, Fail> {
    if !state.config.regions.iter().any(|region| region == from) {
        return Err(invalid("SourceRegion", from));
    }
    let delay = Duration::from_millis(state.config.copy_ms);
    let default = state.config.default_kms_key.clone();
    let always = state.config.encryption_by_default;
    let new = state.id("snap");
    let source = state.snapshot(from, id).ok_or_else(|| not_found(id))?;
    if source.phase != Phase::Completed {
        let message = format!("The snapshot '{id}' is not in the completed state.");
        return Err(Fail::new(400, "IncorrectState", message));
    }
    if key.is_some() && !encrypted {
        let message = "KmsKeyId needs Encrypted to be true.";
        return Err(Fail::new(400, "InvalidParameterDependency", message));
    }
    let mut copy = Snapshot::new(new, to, source.gib);
    // What a volume decrypts is the same for all blocks that were put.
    copy.inherited = Arc::new(source.all_blocks());
    copy.encrypted = source.encrypted || encrypted || always;
    copy.kms_key = copy.encrypted.then(|| key.map_or(default, Into::into));
    copy.phase = Phase::Sealed { until: Instant::now() + delay, fails: false };
    Ok(copy)
}
