//! Bodies of answers, of which the script may want only half.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
pub(crate) enum Body {
    Full(Full<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(full) => {
                Pin::new(full).poll_frame(context).map_err(|never: Infallible| match never {})
            }
            Self::Stream(chunks) => {
                chunks.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
pub(crate) struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("dropped by script")
    }
}

impl std::error::Error for Dropped {}

/// The first half; then after a pause the rest, or never.
pub(crate) fn halves(body: Bytes, pause: Option<Duration>) -> Body {
    let (send, chunks) = mpsc::channel(2);
    tokio::spawn(async move {
        let half = body.len() / 2;
        // A client that is gone doesn't need it.
        let _ = send.send(Ok(body.slice(..half))).await;
        match pause {
            Some(time) => {
                tokio::time::sleep(time).await;
                let _ = send.send(Ok(body.slice(half..))).await;
            }
            None => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = send.send(Err(io::Error::other("dropped by script"))).await;
            }
        }
    });
    Body::Stream(chunks)
}
