//! Connections: reads requests at the pace and to the point that the script allows, and answers likewise.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Body, Dropped, halves};
use crate::ebs::{self, Route};
use crate::faults::{At, Call, Plan, splitmix};
use crate::form::Form;
use crate::reply::{Fail, Reply, Service};
use crate::report::LogEntry;
use crate::sigv4::{Authorization, Unsigned};
use crate::state::Shared;
use crate::{BLOCK_SIZE, control, ec2, parameters};

/// No more than this of a body that isn't a block.
const LIMIT: usize = 1 << 20;
/// Where a stall or a drop in the request happens.
const EARLY: usize = 64 << 10;

/// Accepts connections until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Without it small answers may wait for an acknowledgement; it can be done without.
        let _ = stream.set_nodelay(true);
        shared.state().connections += 1;
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, shared).await,
                Some(tls) => {
                    // Who doesn't trust us goes away here.
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| handle(Arc::clone(&shared), request));
    // An error here is the client going away, or us dropping it by script.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    if request.uri().path().starts_with("/_judge/") {
        return Ok(control::answer(&shared, request).await);
    }
    let (head, body) = request.into_parts();
    let request_id = request_id();
    let authorization = Authorization::parse(&head.headers);
    let route = Route::of(&head.method, head.uri.path());
    let service = service(&head, route.as_ref(), authorization.as_ref().ok().and_then(Option::as_ref));
    let region = match &authorization {
        Ok(Some(authorization)) => authorization.region.clone(),
        _ => shared.state().config.region.clone(),
    };
    let mut running = Running::begin(&shared);

    // EBS names the operation in the head: faults can strike while the body arrives.
    let mut plan = Plan::default();
    let mut early = None;
    if let (Service::Ebs, Some(route)) = (service, &route) {
        let call = Call {
            service,
            operation: route.operation.into(),
            region: region.clone(),
            subject: route.snapshot.clone(),
            block: route.block,
        };
        plan = running.call(call.clone());
        early = Some(call);
    }
    let is_block = route.as_ref().is_some_and(|route| route.operation == "PutSnapshotBlock");
    let body = match read(&shared, &mut running, body, is_block, &plan).await {
        Ok(body) => body,
        Err(ReadError::Dropped) => return Err(running.drop_it()),
        Err(ReadError::Gone) => return Err(Dropped),
    };

    // The others name it in the body.
    let text = std::str::from_utf8(&body.data).unwrap_or_default();
    let form = match service {
        Service::Ec2 | Service::Sts => {
            Form::parse(if text.is_empty() { head.uri.query().unwrap_or_default() } else { text })
        }
        _ => Some(Form::default()),
    };
    let call = match early {
        Some(call) => call,
        None => {
            let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
            let operation = match service {
                Service::Ebs => "Unknown".to_owned(),
                Service::Ssm => {
                    target.and_then(|name| name.strip_prefix("AmazonSSM.")).unwrap_or("Unknown").into()
                }
                _ => form.as_ref().and_then(|form| form.get("Action")).unwrap_or("Unknown").into(),
            };
            let subject = form.as_ref().and_then(ec2::subject);
            let call = Call { service, operation, region, subject, block: None };
            plan = running.call(call.clone());
            call
        }
    };

    let refusal = signature(&shared, &head, service, &authorization, &body);
    tokio::time::sleep(plan.delay).await;
    let outcome = if let Err(why) = refusal {
        Err(Fail::unsigned(service, why))
    } else if plan.html {
        let page = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>\n<center><h1>503 \
                    Service Temporarily Unavailable</h1></center>\n</body></html>\n";
        return running.finish(Reply::new(503, "text/html", page), &plan, &request_id, false).await;
    } else if let Some(fail) = plan.fail.clone() {
        Err(fail)
    } else if plan.drop == Some(At::Response) {
        return Err(running.drop_it());
    } else {
        if plan.snapshot_error {
            spoil(&shared, &call);
        }
        let ask = Asked { head: &head, route: route.as_ref(), body: &body, form };
        dispatch(&shared, &call, &ask, &plan, &request_id)
    };
    if plan.drop == Some(At::Applied) {
        return Err(running.drop_it());
    }
    let dry = outcome.as_ref().is_err_and(|fail| fail.code == "DryRunOperation");
    let reply = outcome.unwrap_or_else(|fail| {
        note_fatal(&shared, &call, &fail);
        fail.into_reply(service, &request_id)
    });
    running.finish(reply, &plan, &request_id, dry).await
}

/// By the credential's scope; without one by what a request looks like.
fn service(head: &Parts, route: Option<&Route>, authorization: Option<&Authorization>) -> Service {
    let by_looks = || match head.headers.get("x-amz-target") {
        Some(_) => Service::Ssm,
        None if route.is_some() || head.uri.path().starts_with("/snapshots") => Service::Ebs,
        None => Service::Ec2,
    };
    // A path of EBS stays one, whatever it was signed for.
    if route.is_some() {
        return Service::Ebs;
    }
    authorization.and_then(|authorization| Service::of(&authorization.service)).unwrap_or_else(by_looks)
}

fn signature(
    shared: &Shared,
    head: &Parts,
    service: Service,
    authorization: &Result<Option<Authorization>, Unsigned>,
    body: &Received,
) -> Result<(), Unsigned> {
    let mut state = shared.state();
    if !state.config.check_signatures {
        return Ok(());
    }
    let authorization = authorization.as_ref().map_err(|why| *why)?.as_ref().ok_or(Unsigned::Missing)?;
    if authorization.service != service.name() {
        return Err(Unsigned::WrongScope);
    }
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    authorization.verify(&state.config, &head.method, path, query, &head.headers, &body.digest)?;
    let names = head.headers.keys().map(hyper::header::HeaderName::as_str);
    for name in names.filter(|name| name.starts_with("x-amz-")) {
        if !authorization.signed.iter().any(|signed| signed == name) {
            state.violation("unsigned-header", service.name(), name.into());
        }
    }
    Ok(())
}

struct Asked<'a> {
    head: &'a Parts,
    route: Option<&'a Route>,
    body: &'a Received,
    form: Option<Form>,
}

fn dispatch(
    shared: &Shared,
    call: &Call,
    asked: &Asked<'_>,
    plan: &Plan,
    request_id: &str,
) -> Result<Reply, Fail> {
    if asked.body.length > LIMIT {
        return Err(Fail::new(413, "RequestEntityTooLarge", "The request is too large."));
    }
    let form = || {
        let malformed = || Fail::new(400, "MalformedQueryString", "The query string is malformed");
        asked.form.as_ref().ok_or_else(malformed)
    };
    match call.service {
        Service::Ebs => {
            let unknown = || Fail::new(404, "UnknownOperationException", "There is no such operation.");
            let ask = ebs::Ask {
                route: asked.route.ok_or_else(unknown)?,
                region: &call.region,
                query: asked.head.uri.query().unwrap_or_default(),
                headers: &asked.head.headers,
                body: &asked.body.data,
                length: asked.body.length,
                digest: asked.body.digest,
            };
            ebs::answer(shared, &ask, plan)
        }
        Service::Ec2 => {
            let mut state = shared.state();
            let reply = ec2::answer(&mut state, call, form()?, request_id)?;
            state.mislead(call, plan);
            Ok(reply)
        }
        Service::Sts => parameters::sts(&shared.state(), form()?, request_id),
        Service::Ssm => parameters::ssm(&mut shared.state(), call, &asked.body.data),
    }
}

fn spoil(shared: &Shared, call: &Call) {
    let mut state = shared.state();
    let id = call.subject.as_deref().unwrap_or_default();
    if let Some(snapshot) = state.snapshot(&call.region, id) {
        snapshot.phase = crate::state::Phase::Error("An internal error has occurred.".into());
    }
}

/// After such an answer a client has no business here any more.
fn note_fatal(shared: &Shared, call: &Call, fail: &Fail) {
    let transient = ["WRITE_REQUEST_TIMEOUT", "CONFLICTING_BLOCK_UPDATE"];
    let fatal = match fail.status {
        402 | 403 | 409 => fail.short_code() != "ExpiredTokenException",
        _ => {
            fail.code == "ValidationException"
                && !fail.reason.as_deref().is_some_and(|reason| transient.contains(&reason))
        }
    };
    if fatal && call.operation == "PutSnapshotBlock" {
        let mut state = shared.state();
        if let Some(snapshot) = state.snapshot(&call.region, call.subject.as_deref().unwrap_or_default()) {
            snapshot.fatal.get_or_insert_with(Instant::now);
        }
    }
}

fn request_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut state = COUNT.fetch_add(1, Ordering::Relaxed);
    let (a, b) = (splitmix(&mut state), splitmix(&mut state));
    let (c, d) = (a & 0xffff, b >> 48);
    format!("{:08x}-{:04x}-{c:04x}-{d:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, b & 0xffff_ffff_ffff)
}

// ---------------------------------------------------------------------------------------------------------------------
// The body of a request

struct Received {
    /// Empty for a block that needn't be kept.
    data: Vec<u8>,
    length: usize,
    digest: [u8; 32],
}

enum ReadError {
    /// By script.
    Dropped,
    /// The client.
    Gone,
}

async fn read(
    shared: &Shared,
    running: &mut Running,
    mut body: Incoming,
    is_block: bool,
    plan: &Plan,
) -> Result<Received, ReadError> {
    let (rate, keep) = {
        let state = shared.state();
        (state.config.uplink, !(is_block && state.config.discard))
    };
    let mut data = Vec::with_capacity(if is_block && keep { BLOCK_SIZE } else { 0 });
    let mut length = 0;
    let mut sum = Sha256::new();
    let mut stall = plan.stall.filter(|(at, _)| *at == At::Request).map(|(_, time)| time);
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(drop).and_then(|frame| frame.into_data().map_err(drop)) else {
            return Err(ReadError::Gone);
        };
        if let Some(rate) = rate {
            uplink(shared, chunk.len(), rate).await;
        }
        length += chunk.len();
        running.bytes += chunk.len();
        sum.update(&chunk);
        if keep && length <= LIMIT {
            data.extend_from_slice(&chunk);
        }
        if length >= EARLY {
            if plan.drop == Some(At::Request) {
                return Err(ReadError::Dropped);
            }
            if let Some(time) = stall.take() {
                tokio::time::sleep(time).await;
            }
        }
    }
    // A body shorter than that has its fault at the end.
    if plan.drop == Some(At::Request) {
        return Err(ReadError::Dropped);
    }
    if let Some(time) = stall {
        tokio::time::sleep(time).await;
    }
    Ok(Received { data, length, digest: sum.finalize().into() })
}

/// Waits until the line has carried these bytes, after everything before them.
async fn uplink(shared: &Shared, bytes: usize, rate: u64) {
    #[allow(clippy::cast_precision_loss, reason = "a pace, not an account")]
    let time = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
    let until = {
        let mut free = shared.uplink.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(Instant::now()) + time;
        *free
    };
    tokio::time::sleep_until(until.into()).await;
}

// ---------------------------------------------------------------------------------------------------------------------
// The end of a call

/// A call that goes on; if the client goes away it is dropped without an end, and counted so.
struct Running {
    shared: Arc<Shared>,
    call: Option<Call>,
    bytes: usize,
    ended: bool,
}

impl Running {
    fn begin(shared: &Arc<Shared>) -> Self {
        let mut state = shared.state();
        state.requests += 1;
        state.peak_requests = state.peak_requests.max(state.requests);
        Self { shared: Arc::clone(shared), call: None, bytes: 0, ended: false }
    }

    fn call(&mut self, call: Call) -> Plan {
        let plan = self.shared.state().begin(&call);
        self.call = Some(call);
        plan
    }

    fn drop_it(mut self) -> Dropped {
        self.end(None, false, false);
        Dropped
    }

    fn end(&mut self, reply: Option<&Reply>, aborted: bool, dry_run: bool) {
        self.ended = true;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        state.requests = state.requests.saturating_sub(1);
        state.bytes_received += self.bytes as u64;
        let Some(call) = self.call.take() else { return };
        state.end(&call, reply, aborted);
        if let Some(operation) = state.operations.get_mut(&call.operation) {
            operation.bytes += self.bytes as u64;
        }
        if call.block.is_none() && state.log.len() < 10_000 {
            let entry = LogEntry {
                ms: u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                operation: call.operation,
                region: call.region,
                subject: call.subject,
                status: reply.map_or(0, |reply| reply.status),
                code: reply.and_then(|reply| reply.code.clone()),
                dry_run,
            };
            state.log.push(entry);
        } else if let (Some(index), Some(reply)) = (call.block, reply) {
            // From here on the client may know that the block is there.
            let id = call.subject.as_deref().unwrap_or_default();
            let put = call.operation == "PutSnapshotBlock" && reply.status == 201;
            if let Some(snapshot) = state.snapshot(&call.region, id).filter(|_| put)
                && let Some(block) = snapshot.blocks.get_mut(&index)
            {
                block.acknowledged = true;
            }
        }
    }

    async fn finish(
        mut self,
        reply: Reply,
        plan: &Plan,
        request_id: &str,
        dry_run: bool,
    ) -> Result<Response<Body>, Dropped> {
        if let Some((At::Response | At::Applied, time)) = plan.stall {
            tokio::time::sleep(time).await;
        }
        let service = self.call.as_ref().map_or(Service::Ec2, |call| call.service);
        self.end(Some(&reply), false, dry_run);
        let mut response = Response::builder().status(reply.status);
        for (name, value) in &reply.headers {
            response = response.header(*name, value);
        }
        let id_name = if service == Service::Ec2 { "x-amzn-requestid" } else { "x-amzn-RequestId" };
        response = response.header(id_name, request_id).header("server", "aws-judge");
        let pause = plan.stall.filter(|(at, _)| *at == At::Body).map(|(_, time)| time);
        let body = if pause.is_some() || plan.drop == Some(At::Body) {
            response = response.header("content-length", reply.body.len());
            halves(reply.body, pause)
        } else {
            Body::Full(Full::new(reply.body))
        };
        response.body(body).map_err(|_| Dropped)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.end(None, true, false);
        }
    }
}
