//! Waiting for the service, a second at a time: the SDK's own waiters ask every fifteen.

use std::time::Duration;

use tokio::time::Instant;

use super::ec2::{Ec2, Image};
use crate::error::{Error, ErrorKind, Result};

/// Between two questions.
const POLL: Duration = Duration::from_secs(1);
/// Between two questions about what takes minutes.
const SLOW_POLL: Duration = Duration::from_secs(2);
/// Between two looks at whether somebody wants to stop.
const TICK: Duration = Duration::from_millis(50);
/// What the service made isn't known to all of it at once.
const UNKNOWN: Duration = Duration::from_secs(120);
/// A snapshot or an image takes seconds; a copy to the other end of the world, an hour.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What is waited for: what [`Registrar`](super::Registrar)'s closures hear, many times a second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Waiting<'a> {
    /// A snapshot's or an image's id.
    pub id: &'a str,
    /// Where it is.
    pub region: &'a str,
    /// The service's word for how it is: `pending`.
    pub state: &'a str,
    /// How far it is, if the service tells: `42%`.
    pub progress: Option<&'a str>,
}

/// What is known of a thing.
enum State<T> {
    Done(T),
    Failed { state: String, reason: Option<String> },
    Pending { state: String, progress: Option<String> },
    Unknown,
}

pub(super) fn for_snapshot(
    ec2: &dyn Ec2,
    region: &str,
    id: &str,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
) -> Result<()> {
    until(region, id, POLL, wait, &mut || {
        let found = ec2.snapshots(region, &[("snapshot-id", id)])?;
        Ok(match found.into_iter().next() {
            None => State::Unknown,
            Some(snapshot) => match snapshot.state.as_str() {
                "completed" => State::Done(()),
                "error" => State::Failed { state: snapshot.state, reason: snapshot.reason },
                _ => State::Pending { state: snapshot.state, progress: snapshot.progress },
            },
        })
    })
}

pub(super) fn for_image(
    ec2: &dyn Ec2,
    region: &str,
    id: &str,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
) -> Result<Image> {
    for_one(ec2, region, id, POLL, wait)
}

/// A copy is made by reading snapshots across the world.
pub(super) fn for_copy(
    ec2: &dyn Ec2,
    region: &str,
    id: &str,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
) -> Result<Image> {
    for_one(ec2, region, id, SLOW_POLL, wait)
}

fn for_one(
    ec2: &dyn Ec2,
    region: &str,
    id: &str,
    poll: Duration,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
) -> Result<Image> {
    until(region, id, poll, wait, &mut || {
        let found = ec2.images(region, &[("image-id", id)])?;
        Ok(match found.into_iter().next() {
            None => State::Unknown,
            Some(image) => match image.state.as_str() {
                "available" => State::Done(image),
                "pending" | "transient" => State::Pending { state: image.state, progress: None },
                _ => State::Failed { state: image.state, reason: image.reason },
            },
        })
    })
}

fn until<T>(
    region: &str,
    id: &str,
    poll: Duration,
    wait: &mut dyn FnMut(&Waiting<'_>) -> Result<()>,
    ask: &mut dyn FnMut() -> Result<State<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let (state, progress) = match ask()? {
            State::Done(thing) => return Ok(thing),
            State::Failed { state, reason } => {
                let reason = reason.unwrap_or_else(|| "the service doesn't say why".to_owned());
                let what = format!("{id} in {region} became `{state}`: {reason}");
                return Err(Error::new(ErrorKind::Remote, what));
            }
            State::Unknown if started.elapsed() > UNKNOWN => {
                let what = format!("{id} is not known in {region}, for two minutes already");
                return Err(Error::new(ErrorKind::Remote, what));
            }
            State::Unknown => ("unknown".to_owned(), None),
            State::Pending { state, progress } => (state, progress),
        };
        if started.elapsed() > LIMIT {
            let what = format!("{id} in {region} is still `{state}` after {} hours", LIMIT.as_secs() / 3600);
            return Err(Error::new(ErrorKind::Remote, what));
        }
        let waiting = Waiting { id, region, state: &state, progress: progress.as_deref() };
        let asked = Instant::now();
        while asked.elapsed() < poll {
            wait(&waiting)?;
            std::thread::sleep(TICK);
        }
    }
}
