//! StartSnapshot: what a snapshot may be, and the table of encryption outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::BLOCK_SIZE;
use crate::config::Config;
use crate::ebs::{Ask, bad, check_id};
use crate::reply::{Fail, Reply};
use crate::state::{Phase, Snapshot, State, Token};

pub(crate) fn start(state: &mut State, ask: &Ask<'_>) -> Result<Reply, Fail> {
    const MEMBERS: [&str; 8] = [
        "VolumeSize",
        "ParentSnapshotId",
        "Tags",
        "Description",
        "ClientToken",
        "Encrypted",
        "KmsKeyArn",
        "Timeout",
    ];
    let malformed = || Fail::new(400, "SerializationException", "The request body is not valid JSON.");
    let body: Value = serde_json::from_slice(ask.body).map_err(|_| malformed())?;
    let members = body.as_object().ok_or_else(malformed)?;
    for name in members.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        state.violation("unknown-member", "StartSnapshot", name.clone());
    }
    let text = |name: &str| match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(malformed()),
    };
    let number = |name: &str| match &body[name] {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_i64().map(Some).ok_or_else(malformed),
        _ => Err(malformed()),
    };
    let encrypted = match &body["Encrypted"] {
        Value::Null => None,
        Value::Bool(encrypted) => Some(*encrypted),
        _ => return Err(malformed()),
    };
    let size = number("VolumeSize")?
        .ok_or_else(|| Fail::validation("INVALID_VOLUME_SIZE", "VolumeSize must be specified."))?;
    let gib = u32::try_from(size)
        .ok()
        .filter(|size| (1..=65_536).contains(size))
        .ok_or_else(|| Fail::validation("INVALID_VOLUME_SIZE", "VolumeSize must be from 1 to 65536 GiB."))?;
    let timeout = number("Timeout")?;
    if timeout.is_some_and(|timeout| !(10..=4320).contains(&timeout)) {
        return Err(bad("Timeout must be from 10 to 4320 minutes."));
    }
    let description = text("Description")?;
    if description.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > 255) {
        return Err(bad("Description must have 1 to 255 characters."));
    }
    let token = text("ClientToken")?;
    if token.as_ref().is_some_and(|token| {
        token.is_empty() || token.len() > 64 || !token.bytes().all(|byte| byte.is_ascii_graphic())
    }) {
        return Err(bad("ClientToken must have 1 to 64 ASCII characters without spaces."));
    }
    let tags = tags(&body["Tags"])?;
    let kms = text("KmsKeyArn")?;
    let parent = text("ParentSnapshotId")?;

    let key = token.clone().map(|token| (ask.region.to_owned(), format!("StartSnapshot:{token}")));
    if let Some(known) = key.as_ref().and_then(|key| state.tokens.get(key)).cloned() {
        if known.parameters != body {
            let message = "The request uses the same client token as a previous, but non-identical request.";
            return Err(Fail::new(409, "ConflictException", message));
        }
        let gone = state.snapshots.iter().any(|snapshot| snapshot.id == known.id && snapshot.deleted);
        if gone {
            state.violation("token-of-deleted", "StartSnapshot", known.id.clone());
        }
        state.settle();
        let found = state.snapshots.iter().find(|snapshot| snapshot.id == known.id);
        return found
            .map(|snapshot| started(&state.config, snapshot))
            .ok_or_else(|| Fail::no_snapshot(&known.id));
    }

    let parent = match parent {
        None => None,
        Some(id) => {
            check_id(&id)?;
            let parent = state.snapshot(ask.region, &id).ok_or_else(|| Fail::no_snapshot(&id))?.clone();
            if parent.phase != Phase::Completed {
                let message = format!("The parent snapshot {id} is not completed.");
                return Err(Fail::validation("INVALID_SNAPSHOT_ID", message));
            }
            if gib < parent.gib {
                let message = format!("VolumeSize is smaller than the parent's {} GiB.", parent.gib);
                return Err(Fail::validation("INVALID_VOLUME_SIZE", message));
            }
            Some(parent)
        }
    };
    let kms_key = key_of(&state.config, parent.as_ref(), encrypted, kms)?;
    state.settle();
    let pending = state.snapshots.iter().filter(|snapshot| {
        !snapshot.deleted && snapshot.region == ask.region && snapshot.status() == "pending"
    });
    if pending.count() >= state.config.pending_quota {
        let message = "You have reached the limit for concurrent pending snapshots.";
        return Err(Fail::new(400, "ConcurrentLimitExceededException", message));
    }

    let mut snapshot = Snapshot::new(state.id("snap"), ask.region, gib);
    snapshot.description = description.unwrap_or_default();
    snapshot.tags = tags;
    snapshot.timeout = timeout;
    snapshot.client_token = token;
    snapshot.encrypted = kms_key.is_some();
    snapshot.kms_key = kms_key;
    if let Some(parent) = parent {
        snapshot.inherited = Arc::new(parent.all_blocks());
        snapshot.root = parent.root;
        snapshot.parent = Some(parent.id);
    }
    if let Some(key) = key {
        state.tokens.insert(key, Token { parameters: body, id: snapshot.id.clone() });
    }
    let reply = started(&state.config, &snapshot);
    state.snapshots.push(snapshot);
    Ok(reply)
}

fn started(config: &Config, snapshot: &Snapshot) -> Reply {
    let tags: Vec<_> = snapshot.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    let mut body = json!({
        "SnapshotId": snapshot.id,
        "OwnerId": config.account,
        "Status": snapshot.status(),
        "StartTime": snapshot.start_time,
        "VolumeSize": snapshot.gib,
        "BlockSize": BLOCK_SIZE,
        "Tags": tags,
        "SseType": if snapshot.encrypted { "sse-kms" } else { "none" },
    });
    let optional = [
        ("Description", Some(&snapshot.description).filter(|text| !text.is_empty())),
        ("ParentSnapshotId", snapshot.parent.as_ref()),
        ("KmsKeyArn", snapshot.kms_key.as_ref()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    Reply::json(201, &body)
}

fn tags(value: &Value) -> Result<BTreeMap<String, String>, Fail> {
    let wrong = |message: &str| Fail::validation("INVALID_TAG", message);
    let list = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Array(list) => list,
        _ => return Err(wrong("Tags must be a list.")),
    };
    if list.len() > 50 {
        return Err(wrong("A snapshot can have at most 50 tags."));
    }
    let mut tags = BTreeMap::new();
    for tag in list {
        let key = tag["Key"].as_str().ok_or_else(|| wrong("A tag needs a key."))?;
        let value = tag["Value"].as_str().unwrap_or_default();
        if key.is_empty() || key.chars().count() > 127 || value.chars().count() > 255 {
            return Err(wrong("A tag's key has 1 to 127 characters, its value at most 255."));
        }
        if key.starts_with("aws:") {
            return Err(wrong("Tag keys starting with 'aws:' are reserved."));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(wrong("A tag key was given twice."));
        }
    }
    Ok(tags)
}

/// The user guide's table of encryption outcomes: the key, or none for an unencrypted snapshot.
fn key_of(
    config: &Config,
    parent: Option<&Snapshot>,
    encrypted: Option<bool>,
    kms: Option<String>,
) -> Result<Option<String>, Fail> {
    if let Some(parent) = parent {
        if encrypted.is_some() {
            return Err(bad("You can't specify Encrypted and ParentSnapshotId in the same request."));
        }
        if kms.is_some() {
            return Err(bad("You can't specify KmsKeyArn and ParentSnapshotId in the same request."));
        }
        if !parent.encrypted && config.encryption_by_default {
            return Err(bad("Encryption by default is enabled and the parent snapshot is not encrypted."));
        }
        return Ok(parent.kms_key.clone());
    }
    if let Some(arn) = &kms {
        let fields: Vec<_> = arn.splitn(6, ':').collect();
        let good = match fields[..] {
            ["arn", partition, "kms", _, account, key] => {
                partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && key.strip_prefix("key/").is_some_and(|id| !id.is_empty())
            }
            _ => false,
        };
        if !good || !(config.kms_keys.is_empty() || config.kms_keys.contains(arn)) {
            return Err(Fail::validation("INVALID_CUSTOMER_KEY", "The KMS key is not valid."));
        }
    }
    match encrypted {
        Some(false) if kms.is_some() => Err(bad("KmsKeyArn needs Encrypted.")),
        Some(false) if config.encryption_by_default => {
            Err(bad("Encryption by default is enabled; you can't create unencrypted snapshots."))
        }
        Some(false) => Ok(None),
        Some(true) => Ok(Some(kms.unwrap_or_else(|| config.default_kms_key.clone()))),
        None if kms.is_some() => Ok(kms),
        None => Ok(config.encryption_by_default.then(|| config.default_kms_key.clone())),
    }
}
