//! `bare-client PORT IMAGE BLOCKS JOBS [RATE]`: sends the blocks of a raw image that the file BLOCKS lists, JOBS at a time and
//! at most RATE in a second, and does nothing else: no checksums, no signatures, no journal. Uploads are measured beside it.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

const BLOCK: usize = 512 << 10;

type Fault = Box<dyn Error + Send + Sync>;

struct Work {
    port: u16,
    image: File,
    blocks: Vec<u32>,
    next: AtomicUsize,
    /// From one block to the next.
    pause: Duration,
    start: Instant,
}

fn main() -> Result<(), Fault> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (port, image, blocks, jobs, rate) = match &words[..] {
        [port, image, blocks, jobs] => (port, image, blocks, jobs, None),
        [port, image, blocks, jobs, rate] => (port, image, blocks, jobs, Some(rate)),
        _ => return Err("usage: bare-client PORT IMAGE BLOCKS JOBS [RATE]".into()),
    };
    let pause = rate.map(|rate| rate.parse().map(|rate: u32| Duration::from_secs(1) / rate.max(1)));
    let blocks: Result<_, _> = std::fs::read_to_string(blocks)?.lines().map(str::parse).collect();
    let jobs: usize = jobs.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let work = Arc::new(Work {
            port: port.parse()?,
            image: File::open(image)?,
            blocks: blocks?,
            next: AtomicUsize::new(0),
            pause: pause.transpose()?.unwrap_or_default(),
            start: Instant::now(),
        });
        let tasks: Vec<_> = (0..jobs).map(|_| tokio::spawn(send(Arc::clone(&work)))).collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

/// One connection's share.
async fn send(work: Arc<Work>) -> Result<(), Fault> {
    let stream = TcpStream::connect(("127.0.0.1", work.port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    loop {
        let place = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(number) = work.blocks.get(place) else { return Ok(()) };
        if !work.pause.is_zero() {
            tokio::time::sleep_until(work.start + work.pause * u32::try_from(place)?).await;
        }
        let mut data = vec![0; BLOCK];
        let mut filled = 0;
        // The last block may go beyond the image's end.
        while filled < BLOCK {
            let offset = u64::from(*number) * BLOCK as u64 + filled as u64;
            match work.image.read_at(&mut data[filled..], offset)? {
                0 => break,
                n => filled += n,
            }
        }
        let request = Request::put(format!("/snapshots/snap-0/blocks/{number}"))
            .header("host", "127.0.0.1")
            .header("content-type", "application/octet-stream")
            .body(Full::new(Bytes::from(data)))?;
        sender.ready().await?;
        let reply = sender.send_request(request).await?;
        if reply.status() != StatusCode::CREATED {
            return Err(format!("block {number}: {}", reply.status()).into());
        }
        reply.into_body().collect().await?;
    }
}
