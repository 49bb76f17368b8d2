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

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::{HeaderMap, Method};
use serde_json::json;

use crate::faults::Plan;
use crate::form;
use crate::reply::{Fail, Reply, Service};
use crate::sigv4::hex;
use crate::state::{Block, Phase, Place, Shared, State};
use crate::{BLOCK_SIZE, reading, start};

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
            return Err(Fail::denied(Service::Ebs, &state.config.arn(), &action, &resource));
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
        "StartSnapshot" => start::start(&mut shared.state(), ask),
        "PutSnapshotBlock" => put(shared, ask, id, block),
        "CompleteSnapshot" => complete(&mut shared.state(), ask, id, plan),
        "GetSnapshotBlock" => reading::get(shared, ask, id, block, plan.read),
        "ListSnapshotBlocks" => reading::list(&mut shared.state(), ask, id, None),
        _ => reading::changed(&mut shared.state(), ask, id),
    }
}

pub(crate) fn check_id(id: &str) -> Result<(), Fail> {
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

pub(crate) fn bad(message: impl std::fmt::Display) -> Fail {
    Fail::validation("INVALID_PARAMETER_VALUE", message)
}

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
