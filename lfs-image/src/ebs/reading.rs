//! What a finished snapshot holds: its blocks' numbers, and their content.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::block::{BLOCK_BYTES, Digest};
use super::engine::Engine;
use super::fault::{Call, Fault, Said};

/// The blocks of a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// The volume's size in GiB.
    pub(super) volume_gib: u64,
    /// What the service wants to hear when it is asked for a block.
    pub(super) tokens: BTreeMap<u32, String>,
}

/// A client, and the snapshot that it reads.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) client: aws_sdk_ebs::Client,
    pub(super) region: String,
    pub(super) id: String,
    pub(super) engine: Engine,
}

impl Reading {
    /// All blocks.
    pub(super) async fn list(&self) -> Result<Listing, Fault> {
        let call = Call::ListSnapshotBlocks;
        let mut listing = Listing::default();
        let mut page = None::<String>;
        loop {
            let answer = self
                .engine
                .call(call, || {
                    let request =
                        self.client.list_snapshot_blocks().snapshot_id(&self.id).set_next_token(page.clone());
                    async move { request.send().await.map_err(|e| Fault::of(call, &self.region, e)) }
                })
                .await?;
            if let Some(gib) = answer.volume_size().and_then(|gib| u64::try_from(gib).ok()) {
                listing.volume_gib = gib;
            }
            if let Some(size) = answer.block_size()
                && usize::try_from(size) != Ok(BLOCK_BYTES)
            {
                return Err(Fault::senseless(call, format!("blocks of {size} bytes")));
            }
            for block in answer.blocks() {
                let number = block.block_index().and_then(|index| u32::try_from(index).ok());
                match (number, block.block_token()) {
                    (Some(number), Some(token)) => listing.tokens.insert(number, token.to_owned()),
                    _ => return Err(Fault::senseless(call, "a block without number or token")),
                };
            }
            // Pages may be empty, and others still follow.
            match answer.next_token() {
                Some(token) if !token.is_empty() => {
                    if page.as_deref() == Some(token) {
                        return Err(Fault::senseless(call, "the same page again and again"));
                    }
                    page = Some(token.to_owned());
                }
                _ => return Ok(listing),
            }
        }
    }

    /// A block, which is what its checksum says; and that.
    pub(super) async fn get(&self, number: u32, token: &str) -> Result<(Vec<Bytes>, Digest), Fault> {
        let call = Call::GetSnapshotBlock;
        let index = i32::try_from(number)
            .map_err(|_| Fault::senseless(call, format!("a block of number {number}")))?;
        self.engine
            .call(call, || {
                let request = self
                    .client
                    .get_snapshot_block()
                    .snapshot_id(&self.id)
                    .block_index(index)
                    .block_token(token);
                async move {
                    let answer = request.send().await.map_err(|e| Fault::of(call, &self.region, e))?;
                    let checksum = answer.checksum.unwrap_or_default();
                    let mut body = answer.block_data;
                    let mut parts = Vec::new();
                    let (mut hash, mut len) = (Sha256::new(), 0);
                    while let Some(part) = body.next().await {
                        let part = part.map_err(|e| Fault {
                            said: Some(Said::Words(e.to_string())),
                            ..Fault::passing(format!("{}: the connection failed", call.name()))
                        })?;
                        hash.update(&part);
                        len += part.len();
                        parts.push(part);
                    }
                    let digest = Digest::from(hash.finalize());
                    if len != BLOCK_BYTES || BASE64_STANDARD.encode(digest) != checksum {
                        return Err(Fault::passing(format!(
                            "{}: block {number} arrived damaged: {len} bytes, of SHA-256 {} and not `{}`",
                            call.name(),
                            BASE64_STANDARD.encode(digest),
                            checksum.escape_debug()
                        )));
                    }
                    Ok((parts, digest))
                }
            })
            .await
    }
}
