//! Reads a finished snapshot back and compares.

use std::collections::BTreeSet;

use super::client::{Aborting, Aws};
use super::engine::{Engine, Items, random};
use super::fault::Stop;
use super::reading::Reading;
use super::settings::Settings;
use super::upload::Digests;
use super::watch::{Phase, Watch};
use crate::error::{Error, ErrorKind, Result};

/// What of a snapshot is read back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Sample {
    /// Every block.
    #[default]
    All,
    /// So many blocks, chosen by chance.
    Blocks(u64),
}

/// Reads blocks of a completed snapshot and compares them with what was sent. That it has these blocks and no others is
/// checked whatever the sample. Returns how many blocks were read.
///
/// # Errors
///
/// When something differs, the service refuses, or `watch` ends it.
///
/// # Examples
///
/// ```no_run
/// use lfs_image::ebs::{Aws, Connect, RawImage, Sample, Settings, Source, Upload, verify};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (aws, settings) = (Aws::connect(&Connect::new())?, Settings::new());
/// let image = RawImage::open("disk.img")?;
/// let sent = Upload::new(&aws, &settings).run(&Source::raw(&image), &mut ())?;
/// verify(&aws, &sent.snapshot_id, &sent.digests, Sample::Blocks(100), &settings, &mut ())?;
/// # Ok(())
/// # }
/// ```
pub fn verify(
    aws: &Aws,
    snapshot_id: &str,
    digests: &Digests,
    sample: Sample,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<u64> {
    let engine = Engine::new(settings.patience, settings.jobs, 0);
    // One that was completed a moment ago may not be found everywhere yet.
    engine.snapshot_is_new();
    engine.phase(Phase::Verify);
    let reading = Reading {
        client: aws.ebs().clone(),
        region: aws.region().to_owned(),
        id: snapshot_id.to_owned(),
        engine: engine.clone(),
    };
    let listed = aws.wait(&engine, watch, reading.list()).map_err(|stop| stop.error)?;
    let mut listing = listed.map_err(super::fault::Fault::into_error)?;
    let differs = |what: String| Error::new(ErrorKind::Remote, format!("{snapshot_id} {what}"));
    if let Some(block) = digests.0.keys().find(|block| !listing.tokens.contains_key(block)) {
        return Err(differs(format!("has no block {block}, which was sent")));
    }
    if let Some(block) = listing.tokens.keys().find(|block| !digests.0.contains_key(block)) {
        return Err(differs(format!("has a block {block}, which was never sent")));
    }
    let chosen = choose(digests, sample);
    listing.tokens.retain(|block, _| chosen.contains(block));
    engine.total(chosen.len() as u64);
    let blocks = Items::Here(listing.tokens.into_iter().collect());
    let digests = digests.clone();
    let work = {
        let (engine, reading) = (engine.clone(), reading);
        async move {
            engine
                .each(blocks, |(block, token)| {
                    let (reading, expected) = (reading.clone(), digests.0.get(&block).copied());
                    async move {
                        let (_, digest) = reading.get(block, &token).await?;
                        if Some(digest) != expected {
                            let what = format!("{} has another block {block} than was sent", reading.id);
                            return Err(Stop::for_good(Error::new(ErrorKind::Remote, what)));
                        }
                        reading.engine.done(false);
                        Ok(())
                    }
                })
                .await
        }
    };
    let task = Aborting(aws.spawn(work));
    aws.wait_for_task(&engine, watch, task).map_err(|stop| stop.error)?;
    Ok(chosen.len() as u64)
}

/// The blocks to read.
fn choose(digests: &Digests, sample: Sample) -> BTreeSet<u32> {
    let blocks: Vec<u32> = digests.0.keys().copied().collect();
    let most = blocks.len() as u64;
    let wanted = match sample {
        Sample::All => most,
        Sample::Blocks(n) => n.min(most),
    };
    let mut chosen = BTreeSet::new();
    if wanted == most {
        chosen.extend(blocks);
        return chosen;
    }
    // One from each of so many stretches of the same length.
    for n in 0..wanted {
        let (from, to) = (n * most / wanted, (n + 1) * most / wanted);
        chosen.insert(blocks[crate::raw::num::index(from + random() % (to - from))]);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let digests = Digests((0..1000).map(|block| (3 * block, [0; 32])).collect());
        for n in [0, 1, 7, 999, 1000, 5000] {
            let chosen = choose(&digests, Sample::Blocks(n));
            assert_eq!(chosen.len() as u64, n.min(1000));
            assert!(chosen.iter().all(|block| block % 3 == 0));
        }
        assert_eq!(choose(&digests, Sample::All).len(), 1000);
        assert_eq!(choose(&Digests::default(), Sample::Blocks(3)).len(), 0);
    }
}
