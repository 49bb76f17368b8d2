//! The EBS direct APIs: REST and JSON.
//!
//! ```text
//!   POST /snapshots                         StartSnapshot
//!   PUT  /snapshots/ID/blocks/INDEX         PutSnapshotBlock
//!   POST /snapshots/completion/ID           CompleteSnapshot
//!   GET  /snapshots/ID/blocks               ListSnapshotBlocks
//!   GET  /snapshots/ID/blocks/INDEX?blockToken=…   GetSnapshotBlock
//!   GET  /snapshots/ID/changedblocks?firstSnapshotId=…   ListChangedBlocks
//! ```
//!
//! Source: service model `ebs` 2019-11-02; the user guide's pages on idempotency, checksums and encryption outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::BLOCK_SIZE;
use crate::config::Config;
use crate::faults::Plan;
use crate::form;
use crate::reply::{Fail, Reply};
use crate::sigv4::{hex, hmac};
use crate::state::{Block, Blocks, Phase, Place, Shared, Snapshot, State, Token};
use crate::time;

/// What a path asks for.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) operation: &'static str,
    pub(crate) snapshot: Option<String>,
    pub(crate) block: Option<u32>,
    /// The index as it was written, if it isn't one.
    bad_block: Option<String>,
}

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let path = form::decode(path, false)?;
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let (operation, snapshot, block) = match (method.as_str(), &parts[..]) {
            ("POST", ["snapshots"]) => ("StartSnapshot", None, None),
            ("POST", ["snapshots", "completion", id]) => ("CompleteSnapshot", Some(*id), None),
            ("GET", ["snapshots", id, "blocks"]) => ("ListSnapshotBlocks", Some(*id), None),
            ("GET", ["snapshots", id, "changedblocks"]) => ("ListChangedBlocks", Some(*id), None),
            ("GET", ["snapshots", id, "blocks", block]) => ("GetSnapshotBlock", Some(*id), Some(*block)),
            ("PUT", ["snapshots", id, "blocks", block]) => ("PutSnapshotBlock", Some(*id), Some(*block)),
            _ => return None,
        };
        let number = block.and_then(|block| block.parse::<i32>().ok()).and_then(|n| u32::try_from(n).ok());
        Some(Self {
            operation,
            snapshot: snapshot.map(Into::into),
            block: number,
            bad_block: block.filter(|_| number.is_none()).map(Into::into),
        })
    }
}

/// A request whose signature is good.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) route: &'a Route,
    pub(crate) region: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) length: usize,
    pub(crate) digest: [u8; 32],
}

/// Does it.
pub(crate) fn answer(shared: &Shared, ask: &Ask<'_>, plan: &Plan) -> Result<Reply, Fail> {
    let id = ask.route.snapshot.as_deref().unwrap_or_default();
    {
        let state = shared.state();
        let action = format!("ebs:{}", ask.route.operation);
        if state.config.denies(&action) {
            let name = if id.is_empty() { "*" } else { id };
            let resource = format!("arn:aws:ec2:{}::snapshot/{name}", ask.region);
            return Err(Fail::denied(crate::reply::Service::Ebs, &state.config.arn(), &action, &resource));
        }
    }
    if ask.route.operation != "StartSnapshot" {
        check_id(id)?;
    }
    if let Some(block) = &ask.route.bad_block {
        return Err(Fail::validation("INVALID_BLOCK", format!("The block index {block} is not valid.")));
    }
    let block = ask.route.block.unwrap_or_default();
    match ask.route.operation {
        "StartSnapshot" => start(&mut shared.state(), ask),
        "PutSnapshotBlock" => put(shared, ask, id, block),
        "CompleteSnapshot" => complete(&mut shared.state(), ask, id, plan),
        "GetSnapshotBlock" => get(shared, ask, id, block),
        "ListSnapshotBlocks" => list(&mut shared.state(), ask, id, None),
        _ => {
            let query = Query::parse(ask.query)?;
            let first = query.get("firstSnapshotId").map(ToOwned::to_owned).ok_or_else(|| {
                Fail::validation("INVALID_PARAMETER_VALUE", "FirstSnapshotId must be specified.")
            })?;
            check_id(&first)?;
            list(&mut shared.state(), ask, id, Some(&first))
        }
    }
}

fn check_id(id: &str) -> Result<(), Fail> {
    let digits = id.strip_prefix("snap-").unwrap_or_default();
    let good = !digits.is_empty()
        && id.len() <= 64
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if good {
        Ok(())
    } else {
        Err(Fail::validation("INVALID_SNAPSHOT_ID", format!("Invalid snapshot id: {id}")))
    }
}

fn bad(message: impl std::fmt::Display) -> Fail {
    Fail::validation("INVALID_PARAMETER_VALUE", message)
}

// ---------------------------------------------------------------------------------------------------------------------
// StartSnapshot

fn start(state: &mut State, ask: &Ask<'_>) -> Result<Reply, Fail> {
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

// ---------------------------------------------------------------------------------------------------------------------
// PutSnapshotBlock, CompleteSnapshot

fn header<'a>(ask: &'a Ask<'_>, name: &str) -> Option<&'a str> {
    ask.headers.get(name).and_then(|value| value.to_str().ok())
}

fn needed<'a>(ask: &'a Ask<'_>, name: &str) -> Result<&'a str, Fail> {
    header(ask, name).ok_or_else(|| bad(format!("The header {name} must be specified.")))
}

fn digest(text: &str) -> Result<[u8; 32], Fail> {
    let bytes = BASE64.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| bad("The checksum is not the Base64 of 32 bytes."))
}

fn put(shared: &Shared, ask: &Ask<'_>, id: &str, index: u32) -> Result<Reply, Fail> {
    const OPERATION: &str = "PutSnapshotBlock";
    let keep = {
        let mut state = shared.state();
        let limit = state.config.puts_per_second;
        let enforce = state.config.enforce_rate;
        let Some(snapshot) = state.snapshot(ask.region, id) else { return Err(Fail::no_snapshot(id)) };
        let now = Instant::now();
        let fatal = snapshot.fatal.map(|fatal| now - fatal).filter(|ago| *ago > Duration::from_secs(1));
        snapshot.recent.push_back(now);
        while snapshot.recent.front().is_some_and(|first| now - *first >= Duration::from_secs(1)) {
            snapshot.recent.pop_front();
        }
        let rate = snapshot.recent.len();
        snapshot.peak = snapshot.peak.max(rate);
        let phase = snapshot.phase.clone();
        let count = snapshot.block_count();
        if let Some(ago) = fatal {
            state.violation("put-after-fatal", OPERATION, format!("{id} block {index}, {ago:?} later"));
        }
        // Once for each second that is too full.
        if rate == limit + 1 {
            state.violation("put-rate", OPERATION, format!("{id}: more than {limit} in a second"));
        }
        if rate > limit && enforce {
            let message =
                "The number of API requests has exceeded the maximum allowed limit for the snapshot.";
            return Err(Fail::reason(400, "RequestThrottledException", "RESOURCE_LEVEL_THROTTLE", message));
        }
        if phase != Phase::Pending {
            if !matches!(phase, Phase::Error(_)) {
                state.violation("put-after-complete", OPERATION, format!("{id} block {index}"));
            }
            let message = format!("The snapshot {id} is not in the pending state.");
            return Err(Fail::validation("INVALID_SNAPSHOT_ID", message));
        }
        if index >= count {
            let message = format!("The block index {index} is outside the volume of {count} blocks.");
            return Err(Fail::validation("INVALID_BLOCK", message));
        }
        !state.config.discard
    };
    let length = needed(ask, "x-amz-data-length")?;
    if length != BLOCK_SIZE.to_string() {
        return Err(bad(format!("The data length {length} is not {BLOCK_SIZE}.")));
    }
    if let Some(progress) = header(ask, "x-amz-progress")
        && !progress.parse::<u8>().is_ok_and(|progress| progress <= 100)
    {
        return Err(bad("Progress must be from 0 to 100."));
    }
    if needed(ask, "x-amz-checksum-algorithm")? != "SHA256" {
        return Err(bad("The checksum algorithm must be SHA256."));
    }
    let given = digest(needed(ask, "x-amz-checksum")?)?;
    if ask.length != BLOCK_SIZE {
        let message = format!("Failed to read block data: {} bytes instead of {BLOCK_SIZE}", ask.length);
        return Err(bad(message));
    }
    if given != ask.digest {
        return Err(bad("The checksum provided does not match the block data."));
    }
    let place = if keep {
        let place = shared.blocks.put(ask.body);
        place.map_err(|error| {
            Fail::new(500, "InternalServerException", format!("the judge's disk: {error}"))
        })?
    } else {
        Place::Nowhere
    };

    let mut state = shared.state();
    let Some(snapshot) = state.snapshot(ask.region, id).filter(|snapshot| snapshot.phase == Phase::Pending)
    else {
        return Err(Fail::validation("INVALID_SNAPSHOT_ID", "The snapshot is not in the pending state."));
    };
    snapshot.touched = Instant::now();
    snapshot.puts += 1;
    let before = snapshot.blocks.get(&index).copied();
    snapshot.resent += u64::from(before.is_some_and(|block| block.acknowledged));
    let puts = before.map_or(0, |block| block.puts) + 1;
    let acknowledged = before.is_some_and(|block| block.acknowledged);
    snapshot.blocks.insert(index, Block { digest: given, place, puts, acknowledged });
    if let Some(before) = before.filter(|before| before.digest != given) {
        let detail = format!("{id} block {index}: {} and then {}", hex(&before.digest), hex(&given));
        state.violation("block-changed", OPERATION, detail);
    }
    Ok(Reply::json(201, &json!({}))
        .with("x-amz-Checksum", BASE64.encode(given))
        .with("x-amz-Checksum-Algorithm", "SHA256"))
}

fn complete(state: &mut State, ask: &Ask<'_>, id: &str, plan: &Plan) -> Result<Reply, Fail> {
    let delay = plan.completion.unwrap_or(Duration::from_millis(state.config.complete_ms));
    let snapshot = state.snapshot(ask.region, id).ok_or_else(|| Fail::no_snapshot(id))?;
    if let Phase::Error(why) = &snapshot.phase {
        return Err(Fail::validation("INVALID_SNAPSHOT_ID", format!("The snapshot {id} failed: {why}")));
    }
    let count = needed(ask, "x-amz-changedblockscount")?;
    let count: i32 = count.parse().map_err(|_| bad("ChangedBlocksCount is not a number."))?;
    let own = snapshot.blocks.len();
    if usize::try_from(count) != Ok(own) {
        return Err(bad(format!("ChangedBlocksCount is {count}, but {own} blocks were written.")));
    }
    let checksum = header(ask, "x-amz-checksum");
    if let Some(given) = checksum {
        if header(ask, "x-amz-checksum-algorithm").is_none_or(|algorithm| algorithm != "SHA256") {
            return Err(bad("The checksum algorithm must be SHA256."));
        }
        if header(ask, "x-amz-checksum-aggregation-method").is_none_or(|method| method != "LINEAR") {
            return Err(bad("The checksum aggregation method must be LINEAR."));
        }
        if digest(given)? != snapshot.linear() {
            return Err(bad("The aggregated checksum does not match the blocks that were written."));
        }
    }
    if snapshot.phase == Phase::Pending {
        snapshot.phase = Phase::Sealed { until: Instant::now() + delay, fails: plan.fail_completion };
    }
    let status = snapshot.status();
    if checksum.is_none() {
        state.violation("complete-without-checksum", "CompleteSnapshot", id.into());
    }
    Ok(Reply::json(202, &json!({"Status": status})))
}

// ---------------------------------------------------------------------------------------------------------------------
// Reading

/// A query string in which `+` is no space.
#[derive(Debug)]
struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(text: &str) -> Result<Self, Fail> {
        let pairs = form::pairs(text, false).ok_or_else(|| bad("The query is not valid."))?;
        Ok(Self(pairs.into_iter().collect()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn int(&self, name: &str) -> Result<Option<u32>, Fail> {
        let number = |text: &str| text.parse().map_err(|_| bad(format!("{name} is not valid.")));
        self.get(name).map(number).transpose()
    }
}

/// A completed snapshot: the only kind that can be read.
fn readable<'a>(state: &'a mut State, region: &str, id: &str) -> Result<&'a Snapshot, Fail> {
    let snapshot = state.snapshot(region, id).ok_or_else(|| Fail::no_snapshot(id))?;
    if snapshot.phase == Phase::Completed {
        return Ok(snapshot);
    }
    let message = format!("The snapshot {id} is not completed.");
    Err(Fail::validation("INVALID_SNAPSHOT_ID", message))
}

/// Tokens are another one for each list, and say nothing.
fn token(parts: &[&str], nonce: u64) -> String {
    let nonce = format!("{nonce:016x}");
    let mac = hmac(nonce.as_bytes(), parts.join("|").as_bytes());
    BASE64.encode([nonce.as_bytes(), &mac[..20]].concat())
}

fn is_token(text: &str, parts: &[&str]) -> bool {
    let bytes = BASE64.decode(text).unwrap_or_default();
    let nonce = bytes.get(..16).and_then(|nonce| std::str::from_utf8(nonce).ok());
    nonce
        .and_then(|nonce| u64::from_str_radix(nonce, 16).ok())
        .is_some_and(|nonce| token(parts, nonce) == text)
}

fn get(shared: &Shared, ask: &Ask<'_>, id: &str, index: u32) -> Result<Reply, Fail> {
    let query = Query::parse(ask.query)?;
    let block = {
        let mut state = shared.state();
        let snapshot = readable(&mut state, ask.region, id)?;
        let wrong = || Fail::validation("INVALID_BLOCK_TOKEN", "The block token is not valid.");
        let given = query.get("blockToken").ok_or_else(wrong)?;
        if !is_token(given, &["block", id, &index.to_string()]) {
            return Err(wrong());
        }
        let block = snapshot.block(index).copied();
        block.ok_or_else(|| Fail::validation("INVALID_BLOCK", "There is no such block."))?
    };
    let disk = |message: String| Fail::new(500, "InternalServerException", message);
    let data = shared.blocks.get(block.place).map_err(|error| disk(error.to_string()))?;
    let data = data.ok_or_else(|| disk("the data wasn't kept (discard)".into()))?;
    shared.state().bytes_sent += BLOCK_SIZE as u64;
    Ok(Reply::new(200, "application/octet-stream", data)
        .with("x-amz-Data-Length", BLOCK_SIZE)
        .with("x-amz-Checksum", BASE64.encode(block.digest))
        .with("x-amz-Checksum-Algorithm", "SHA256"))
}

/// The blocks of a snapshot, or those that differ from a `first` one.
fn list(state: &mut State, ask: &Ask<'_>, id: &str, first: Option<&str>) -> Result<Reply, Fail> {
    let query = Query::parse(ask.query)?;
    let snapshot = readable(state, ask.region, id)?;
    let (ours, root, gib) = (snapshot.all_blocks(), snapshot.root.clone(), snapshot.gib);
    let (theirs, what) = match first {
        None => (Blocks::new(), "list".to_owned()),
        Some(first) => {
            let other = readable(state, ask.region, first)?;
            if other.root != root {
                let message = format!("The snapshots {first} and {id} are not related.");
                return Err(Fail::validation("UNRELATED_SNAPSHOTS", message));
            }
            (other.all_blocks(), format!("changed {first}"))
        }
    };
    let most = query.int("maxResults")?.unwrap_or(10_000);
    if !(100..=10_000).contains(&most) {
        return Err(bad("MaxResults must be from 100 to 10000."));
    }
    let mut from = query.int("startingBlockIndex")?.unwrap_or(0);
    let mut empty = state.config.empty_pages;
    if let Some(given) = query.get("pageToken") {
        let wrong = || Fail::validation("INVALID_PAGE_TOKEN", "The page token is not valid.");
        let text =
            BASE64.decode(given).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
        let (at, mac) = text.split_once(' ').ok_or_else(wrong)?;
        if !is_token(mac, &["page", id, &what, at]) {
            return Err(wrong());
        }
        let (at, full) = at.split_once('-').ok_or_else(wrong)?;
        from = at.parse().map_err(|_| wrong())?;
        empty &= full != "full";
    }
    let differs = |index: u32| {
        let digest = |blocks: &Blocks| blocks.get(&index).map(|block| block.digest);
        first.is_none() || digest(&ours) != digest(&theirs)
    };
    let mut indexes: Vec<u32> =
        ours.keys().chain(theirs.keys()).copied().filter(|&index| index >= from).collect();
    indexes.sort_unstable();
    indexes.dedup();
    indexes.retain(|&index| differs(index));
    let page =
        if empty { 0 } else { state.config.list_page.min(usize::try_from(most).unwrap_or(usize::MAX)) };
    let rest = indexes.split_off(page.min(indexes.len()));

    let nonce = crate::faults::splitmix(&mut u64::from(from).wrapping_add(nonce()));
    let block_token = |id: &str, index: u32| token(&["block", id, &index.to_string()], nonce);
    let blocks: Vec<Value> = indexes
        .iter()
        .map(|&index| match first {
            None => json!({"BlockIndex": index, "BlockToken": block_token(id, index)}),
            Some(first) => {
                let mut changed = json!({"BlockIndex": index});
                if theirs.contains_key(&index) {
                    changed["FirstBlockToken"] = json!(block_token(first, index));
                }
                if ours.contains_key(&index) {
                    changed["SecondBlockToken"] = json!(block_token(id, index));
                }
                changed
            }
        })
        .collect();
    let mut body = json!({
        "ExpiryTime": time::now() + 7.0 * 86_400.0,
        "VolumeSize": gib,
        "BlockSize": BLOCK_SIZE,
    });
    body[if first.is_some() { "ChangedBlocks" } else { "Blocks" }] = json!(blocks);
    let next = rest.first().copied();
    if let Some(next) = next {
        let at = format!("{next}-{}", if empty { "full" } else { "any" });
        let mac = token(&["page", id, &what, &at], nonce);
        body["NextToken"] = json!(BASE64.encode(format!("{at} {mac}")));
    }
    Ok(Reply::json(200, &body))
}

fn nonce() -> u64 {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
