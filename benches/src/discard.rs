//! `discard-server BLOCKS`: answers what an upload of a snapshot asks, and reads and forgets its blocks. What it costs to receive
//! is all that it costs.
//!
//! It prints its port, serves until its standard input ends, and when a snapshot is complete writes the numbers of its blocks
//! to the file BLOCKS, one a line. It checks nothing: judging uploads is the work of the tests' aws-judge.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// The one snapshot that there ever is.
const SNAPSHOT: &str = "snap-0123456789abcdef0";

struct State {
    file: PathBuf,
    blocks: Mutex<Vec<u32>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: discard-server BLOCKS")?.into();
    let state = Arc::new(State { file, blocks: Mutex::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?.port())?;
    stdout.flush()?;
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&state)));
        }
    });
    io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink())?;
    // Connections that are open don't keep it.
    runtime.shutdown_background();
    Ok(())
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    // Small answers wait otherwise; it can be done without.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, request).await) }
    });
    // An error here is the client going away.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(1 << 20)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let checksum = request.headers().get("x-amz-checksum").cloned();
    let method = request.method().clone();
    if method == Method::PUT {
        let mut body = request.into_body();
        while !body.is_end_stream() {
            if !matches!(body.frame().await, Some(Ok(_))) {
                break;
            }
        }
        let Some(number) = path.rsplit('/').next().and_then(|number| number.parse().ok()) else {
            return reply(400, "text/plain", "no block");
        };
        state.blocks.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        let mut reply = reply(201, "application/json", "{}");
        let headers = reply.headers_mut();
        if let Some(checksum) = checksum {
            headers.insert("x-amz-checksum", checksum);
        }
        headers.insert("x-amz-checksum-algorithm", hyper::header::HeaderValue::from_static("SHA256"));
        return reply;
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let text = body.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
    match (path.as_str(), action(&text)) {
        ("/snapshots", _) => {
            state.blocks.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let body = format!(
                r#"{{"SnapshotId":"{SNAPSHOT}","OwnerId":"123456789012","Status":"pending","StartTime":1700000000,"VolumeSize":1,"BlockSize":524288}}"#
            );
            reply(201, "application/json", body)
        }
        (path, _) if path.starts_with("/snapshots/completion/") => match write(state) {
            Ok(()) => reply(202, "application/json", r#"{"Status":"completed"}"#),
            Err(error) => reply(500, "text/plain", error.to_string()),
        },
        (_, "GetCallerIdentity") => xml(
            "GetCallerIdentity",
            "<GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/bench</Arn>\
             <UserId>AIDABENCHEXAMPLE00001</UserId><Account>123456789012</Account></GetCallerIdentityResult>",
        ),
        (_, "DescribeSnapshots") if text.contains(SNAPSHOT) => xml(
            "DescribeSnapshots",
            &format!(
                "<snapshotSet><item><snapshotId>{SNAPSHOT}</snapshotId><status>completed</status><progress>100%\
                 </progress></item></snapshotSet>"
            ),
        ),
        (_, "DescribeSnapshots") => xml("DescribeSnapshots", "<snapshotSet/>"),
        (path, other) => reply(400, "text/plain", format!("{method} {path} {other} isn't expected here")),
    }
}

/// The numbers of the blocks that came, in order.
fn write(state: &State) -> io::Result<()> {
    let mut blocks = state.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    blocks.sort_unstable();
    let lines: String = blocks.iter().map(|number| format!("{number}\n")).collect();
    std::fs::write(&state.file, lines)
}

fn action(form: &str) -> &str {
    form.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default()
}

fn xml(action: &str, result: &str) -> Response<Full<Bytes>> {
    reply(200, "text/xml", format!("<{action}Response><requestId>0</requestId>{result}</{action}Response>"))
}

fn reply(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *reply.status_mut() = status;
    }
    reply.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    reply
}
