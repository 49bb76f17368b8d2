//! From an image to a snapshot: start, blocks, completion; and what becomes of it when that fails.
//!
//! With a journal, an upload that was killed, interrupted, or stopped by something that can be cured goes on where it was
//! when it is run again. So its snapshot stays, pending, for up to a day ([`TIMEOUT_MINUTES`]), unless not one block has
//! arrived. Without a journal, or when going on makes no sense (the image has changed, the service refuses the request
//! as invalid), the snapshot is deleted, if there is somebody who can ([`Upload::snapshots`]). If that can't be done, [`Failure::left`]
//! names what is left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_sdk_ebs::types::Tag;

use super::block::{BLOCK_BYTES, Digest};
use super::client::Aws;
use super::engine::{Engine, random};
use super::fault::{Call, Class, Fault, Stop};
use super::journal::{self, Journal, Replay};
use super::run::{Ledger, Run};
use super::settings::{Encryption, Settings};
use super::source::{Source, Survey};
use super::watch::Watch;
use super::{SnapshotState, Snapshots};
use crate::error::{Error, ErrorKind, Result};
use crate::raw::num::fit;

/// So long after the last block the service gives up a snapshot that nobody completes.
const TIMEOUT_MINUTES: i32 = 24 * 60;
/// An upload that is about to be run.
///
/// # Examples
///
/// From a raw image to a snapshot; killed and run again, it goes on where it was:
///
/// ```no_run
/// use std::path::Path;
///
/// use lfs_image::ebs::{Aws, Connect, RawImage, Settings, Source, Transfer, Upload, Watch};
///
/// struct Quiet;
///
/// impl Watch for Quiet {
///     fn at(&mut self, _transfer: &Transfer) -> lfs_image::Result<()> {
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let image = RawImage::open("out.img")?;
/// let aws = Aws::connect(&Connect::new())?;
/// let settings = Settings::new().description("my system");
/// let upload = Upload::new(&aws, &settings).journal(Path::new("out.img.push"));
/// let uploaded = upload.run(&Source::raw(&image), &mut Quiet)?;
/// uploaded.forget_journal()?;
/// println!("{}", uploaded.snapshot_id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Upload<'a> {
    pub(super) aws: &'a Aws,
    pub(super) settings: &'a Settings,
    pub(super) journal: Option<&'a Path>,
    pub(super) identity: &'a str,
    pub(super) snapshots: Option<&'a dyn Snapshots>,
}

impl std::fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("settings", self.settings)
            .field("journal", &self.journal)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A snapshot that the service has been told is complete. It may take it a while to say so itself
/// ([`SnapshotState::Completed`]).
///
/// [`Upload`] has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The snapshot: `snap-…`.
    pub snapshot_id: String,
    /// The volume's size in GiB.
    pub volume_gib: u64,
    /// Blocks in the snapshot, of [`BLOCK`](super::BLOCK) bytes each.
    pub blocks: u64,
    /// Of those, the ones that earlier runs had sent.
    pub kept: u64,
    /// Attempts that were made again.
    pub retries: u64,
    /// What identifies the content: see [`Source::fingerprint`].
    pub fingerprint: String,
    /// The blocks and their digests.
    pub digests: Digests,
    pub(super) journal: Option<PathBuf>,
}

/// The blocks of a snapshot and the SHA-256 of each: what [`verify`](super::verify) compares with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Digests(pub(super) BTreeMap<u32, Digest>);

impl Uploaded {
    /// Removes the journal. Until then, running the same upload again gives the same snapshot at once, so this comes last,
    /// when there is an image or whatever else the snapshot is for.
    ///
    /// # Errors
    ///
    /// When the file can't be removed.
    pub fn forget_journal(&self) -> Result<()> {
        self.journal.as_deref().map_or(Ok(()), journal::remove)
    }
}

/// An upload that failed.
///
/// # Examples
///
/// ```no_run
/// use lfs_image::ebs::{Aws, Connect, RawImage, Settings, Source, Upload};
///
/// let (aws, settings) = (Aws::connect(&Connect::new())?, Settings::new());
/// let image = RawImage::open("disk.img")?;
/// if let Err(failure) = Upload::new(&aws, &settings).run(&Source::raw(&image), &mut ()) {
///     eprintln!("{failure}");
///     if let Some(left) = failure.left {
///         eprintln!("{} is there still; `{}` removes it", left.snapshot_id, left.command());
///     }
/// }
/// # Ok::<(), lfs_image::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// The snapshot that is still there.
    pub left: Option<Leftover>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, left: None }
    }
}

/// A pending snapshot that an upload left behind; [`Failure`] has an example.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Leftover {
    /// The snapshot: `snap-…`.
    pub snapshot_id: String,
    /// Where it is.
    pub region: String,
    /// Whether the same upload, run again, goes on with it.
    pub resumable: bool,
}

impl Leftover {
    /// The command that removes it.
    #[must_use]
    pub fn command(&self) -> String {
        format!("aws ec2 delete-snapshot --region {} --snapshot-id {}", self.region, self.snapshot_id)
    }
}

impl<'a> Upload<'a> {
    /// An upload without a journal, which nobody can go on with, and without [`snapshots`](Self::snapshots), so that whatever fails
    /// leaves its snapshot behind, pending, until the service gives it up.
    #[must_use]
    pub fn new(aws: &'a Aws, settings: &'a Settings) -> Self {
        Self { aws, settings, journal: None, identity: "", snapshots: None }
    }

    /// Where to keep what has to be known to go on after a kill. One file for each image and region.
    #[must_use]
    pub fn journal(mut self, path: &'a Path) -> Self {
        self.journal = Some(path);
        self
    }

    /// What tells this image from others, for the journal: an upload of another one begins anew. Raw images are told apart
    /// by themselves (file, size, time); for plans it takes something like [`Image::disk_id`](crate::Image::disk_id). That
    /// blocks are the same is checked in any case.
    #[must_use]
    pub fn identity(mut self, text: &'a str) -> Self {
        self.identity = text;
        self
    }

    /// Who asks EC2 about snapshots and deletes them: `ami::Registrar`, or one's own. Without it nothing is deleted, and a journal's word
    /// is taken for the state of its snapshot.
    #[must_use]
    pub fn snapshots(mut self, snapshots: &'a dyn Snapshots) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// Makes the snapshot.
    ///
    /// # Errors
    ///
    /// When the image can't be read or doesn't fit, the service refuses, nothing arrives for a long time, or `watch` ends
    /// it; and what of it is left behind.
    pub fn run(&self, source: &Source<'_>, watch: &mut dyn Watch) -> Result<Uploaded, Failure> {
        self.settings.check()?;
        let survey = source.survey(self.settings)?;
        let engine = Engine::new(self.settings.patience, self.settings.jobs, survey.blocks);
        watch.at(&engine.transfer())?;
        let (mut run, complete) = self.prepare(source, survey, &engine, watch)?;
        match run.transfer(source, watch, complete) {
            Ok(uploaded) => Ok(uploaded),
            Err(stop) => Err(run.fail(stop)),
        }
    }

    /// The snapshot, new or found in the journal, and whether the service has been told that it is complete.
    fn prepare<'r>(
        &'r self,
        source: &Source<'_>,
        survey: Survey,
        engine: &Engine,
        watch: &mut dyn Watch,
    ) -> Result<(Run<'r>, bool), Failure> {
        let header = self.header(source, survey);
        let mut journal = None;
        let mut replay = None;
        if let Some(path) = self.journal {
            let (open, found) = Journal::open(path)?;
            journal = Some(open);
            replay = found;
        }
        let mut token = None;
        let mut complete = false;
        if let Some(found) = replay.take() {
            let (same, its_token) = match found.header.split_once('\n') {
                Some((its_token, settings)) => (settings == header, its_token.to_owned()),
                None => (false, String::new()),
            };
            let state = match (&found.snapshot, self.snapshots) {
                (Some(id), Some(snapshots)) => snapshots.state(id)?,
                // Sending blocks will tell.
                (Some(_), None) if found.complete => Some(SnapshotState::Completed),
                (Some(_), None) => Some(SnapshotState::Pending),
                (None, _) => None,
            };
            match state {
                Some(SnapshotState::Completed) if same && found.complete => {
                    complete = true;
                    replay = Some(found);
                }
                Some(SnapshotState::Pending) if same => {
                    complete = found.complete;
                    replay = Some(found);
                }
                // What is there is of no use.
                Some(SnapshotState::Pending | SnapshotState::Error) => self.discard(&found)?,
                // The service may have started one, and we never heard.
                None if same && found.snapshot.is_none() => token = Some(its_token),
                _ => {}
            }
        }
        let (id, kept, complete) = match replay {
            Some(Replay { snapshot: Some(id), done, .. }) => {
                tracing::info!(snapshot = id, blocks = done.len(), "going on");
                (id, done, complete)
            }
            _ => {
                let token = token.unwrap_or_else(|| format!("lfs-image-{:016x}{:016x}", random(), random()));
                if let Some(journal) = &mut journal {
                    journal.begin(&format!("{token}\n{header}"))?;
                }
                let id = match self.start(survey, &token, engine, watch) {
                    Ok(id) => id,
                    Err(stop) => {
                        // Nothing was started, or nobody can tell: the token in the journal finds it again.
                        if let (Some(journal), false) = (journal, stop.curable) {
                            journal.remove()?;
                        }
                        return Err(stop.error.into());
                    }
                };
                engine.snapshot_is_new();
                if let Some(journal) = &mut journal
                    && let Err(error) = journal.snapshot(&id)
                {
                    let left =
                        Leftover { snapshot_id: id, region: self.aws.region().to_owned(), resumable: false };
                    return Err(Failure { error, left: Some(left) });
                }
                (id, BTreeMap::new(), false)
            }
        };
        let ledger = Ledger { kept, digests: BTreeMap::new(), journal };
        let run =
            Run { upload: self, id, survey, engine: engine.clone(), ledger: Arc::new(Mutex::new(ledger)) };
        Ok((run, complete))
    }

    /// What has to be the same for an upload to go on, as lines of text.
    fn header(&self, source: &Source<'_>, survey: Survey) -> String {
        let settings = self.settings;
        let mut lines = vec![
            format!("region {}", self.aws.region()),
            format!("endpoint {}", self.aws.config().endpoint_url().unwrap_or_default()),
            format!("image {:?} {:?} {}", self.identity, source.identity(), source.len()),
            format!("volume {} GiB, {} blocks", survey.volume_gib, survey.blocks),
            format!("omit zeros {}", settings.omit_zeros),
            format!("encryption {:?}", settings.encryption),
            format!("description {:?}", settings.description),
        ];
        lines.extend(settings.tags.iter().map(|(key, value)| format!("tag {key:?} {value:?}")));
        lines.join("\n")
    }

    /// Deletes a snapshot that an earlier upload began.
    fn discard(&self, found: &Replay) -> Result<(), Failure> {
        let Some(id) = &found.snapshot else { return Ok(()) };
        let left =
            || Leftover { snapshot_id: id.clone(), region: self.aws.region().to_owned(), resumable: false };
        let Some(snapshots) = self.snapshots else {
            let error = Error::input(format!(
                "the journal is that of an upload of another image, or with other settings, to {id}"
            ));
            return Err(Failure { error, left: Some(left()) });
        };
        snapshots.delete(id).map_err(|error| {
            let error = error.context(format!("delete {id}, which an earlier upload began"));
            Failure { error, left: Some(left()) }
        })
    }

    fn start(
        &self,
        survey: Survey,
        token: &str,
        engine: &Engine,
        watch: &mut dyn Watch,
    ) -> Result<String, Stop> {
        let settings = self.settings;
        let (encrypted, key) = match &settings.encryption {
            Encryption::Account => (None, None),
            Encryption::DefaultKey => (Some(true), None),
            Encryption::Key(arn) => (Some(true), Some(arn.clone())),
        };
        let tags: Vec<Tag> =
            settings.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let size = fit::<u32>(survey.volume_gib, "volume size").map_err(Stop::for_good)?;
        let request = self
            .aws
            .ebs()
            .start_snapshot()
            .volume_size(size.into())
            .client_token(token)
            .timeout(TIMEOUT_MINUTES)
            .set_description(Some(settings.description.clone()).filter(|text| !text.is_empty()))
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()))
            .set_encrypted(encrypted)
            .set_kms_key_arn(key);
        let call = Call::StartSnapshot;
        let region = self.aws.region();
        let started = engine.call(call, || {
            let request = request.clone();
            async move { request.send().await.map_err(|e| Fault::of(call, region, e)) }
        });
        let answer = self.aws.wait(engine, watch, started)?.map_err(|fault| match fault.class {
            // It said no: there is nothing that could be found again.
            Class::Final => Stop::for_good(fault.into_error()),
            _ => Stop::curable(fault.into_error()),
        })?;
        // Other sizes than the only one that the service has are a test server's.
        if let Some(size) = answer.block_size()
            && usize::try_from(size) != Ok(BLOCK_BYTES)
        {
            tracing::warn!(size, "the service says it has blocks of another size than {BLOCK_BYTES} bytes");
        }
        let id = answer.snapshot_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| Stop {
            error: Error::new(ErrorKind::Remote, "StartSnapshot: the answer has no snapshot id"),
            curable: true,
        })
    }
}
