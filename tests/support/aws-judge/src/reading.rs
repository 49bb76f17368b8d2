//! ListSnapshotBlocks, ListChangedBlocks, GetSnapshotBlock: only of completed snapshots, with tokens that say nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::BLOCK_SIZE;
use crate::ebs::{Ask, bad, check_id};
use crate::faults::Read;
use crate::form;
use crate::reply::{Fail, Reply};
use crate::sigv4::hmac;
use crate::state::{Blocks, Phase, Shared, Snapshot, State};
use crate::time;

/// ListChangedBlocks.
pub(crate) fn changed(state: &mut State, ask: &Ask<'_>, id: &str) -> Result<Reply, Fail> {
    let query = Query::parse(ask.query)?;
    let missing = || bad("FirstSnapshotId must be specified.");
    let first = query.get("firstSnapshotId").ok_or_else(missing)?;
    check_id(first)?;
    list(state, ask, id, Some(first))
}

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

pub(crate) fn get(shared: &Shared, ask: &Ask<'_>, id: &str, index: u32, read: Read) -> Result<Reply, Fail> {
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
    let mut data = data.ok_or_else(|| disk("the data wasn't kept (discard)".into()))?;
    if read != Read::Whole {
        data[BLOCK_SIZE / 3] ^= 1;
    }
    let digest = if read == Read::Altered { Sha256::digest(&data).into() } else { block.digest };
    shared.state().bytes_sent += BLOCK_SIZE as u64;
    Ok(Reply::new(200, "application/octet-stream", data)
        .with("x-amz-Data-Length", BLOCK_SIZE)
        .with("x-amz-Checksum", BASE64.encode(digest))
        .with("x-amz-Checksum-Algorithm", "SHA256"))
}

/// The blocks of a snapshot, or those that differ from a `first` one.
pub(crate) fn list(state: &mut State, ask: &Ask<'_>, id: &str, first: Option<&str>) -> Result<Reply, Fail> {
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
