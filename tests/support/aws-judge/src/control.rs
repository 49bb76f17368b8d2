//! `/_judge/…`: what a program that isn't Rust looks at and changes.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::answer::Body;
use crate::config::Config;
use crate::faults::{Armed, Fault};
use crate::judge;
use crate::reply::Reply;
use crate::state::Shared;
use crate::volume::{self, View};

pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path().trim_start_matches("/_judge/").to_owned();
    let (what, id) = path.split_once('/').unwrap_or((&path, ""));
    let reply = match (head.method.as_str(), what) {
        ("GET", "report") => ok(&json!(judge::report(shared))),
        ("GET", "snapshot") => {
            judge::snapshot(shared, id).map_or_else(|| none(id), |found| ok(&json!(found)))
        }
        ("GET", "volume") => {
            let encrypted = head.uri.query().is_some_and(|query| query.contains("encrypted=1"));
            let view = if encrypted { View::Encrypted } else { View::Plain };
            match stream(shared, id, view) {
                Some(response) => return response,
                None => none(id),
            }
        }
        ("GET", "faults") => {
            let state = shared.state();
            ok(&json!(
                state
                    .script
                    .iter()
                    .map(|armed| json!({"fault": armed.fault, "fired": armed.fired}))
                    .collect::<Vec<_>>()
            ))
        }
        ("PUT", "faults") => set(parse_faults(&body).map(|faults| arm(shared, faults))),
        ("DELETE", "faults") => {
            arm(shared, Vec::new());
            ok(&json!({}))
        }
        ("GET", "config") => ok(&json!(shared.state().config)),
        ("PUT", "config") => set(configure(shared, &body)),
        _ => none(&path),
    };
    let mut response = Response::new(Body::Full(Full::new(reply.body)));
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or_default();
    response
}

fn ok(value: &Value) -> Reply {
    Reply::json(200, value)
}

fn none(what: &str) -> Reply {
    Reply::json(404, &json!({"error": format!("there is no {what}")}))
}

fn set(result: Result<(), String>) -> Reply {
    match result {
        Ok(()) => ok(&json!({})),
        Err(error) => Reply::json(400, &json!({"error": error})),
    }
}

/// A list, or `{"faults": […]}`.
pub(crate) fn parse_faults(json: &[u8]) -> Result<Vec<Fault>, String> {
    let mut value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if value.is_object() {
        value = value["faults"].take();
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Replaces the script. What was fatal under the old one may not be any more, so whoever comes back has a reason.
pub(crate) fn arm(shared: &Shared, faults: Vec<Fault>) {
    let mut state = shared.state();
    state.config.faults.clone_from(&faults);
    state.script = faults.into_iter().map(Armed::new).collect();
    state.snapshots.iter_mut().for_each(|snapshot| snapshot.fatal = None);
}

fn configure(shared: &Shared, json: &[u8]) -> Result<(), String> {
    let changes: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let changes = changes.as_object().ok_or("not an object")?;
    let mut state = shared.state();
    let mut config = json!(state.config);
    for (name, value) in changes {
        config[name] = value.clone();
    }
    let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
    if changes.contains_key("faults") {
        state.script = config.faults.iter().cloned().map(Armed::new).collect();
    }
    state.config = config;
    Ok(())
}

fn stream(shared: &Arc<Shared>, id: &str, view: View) -> Option<Response<Body>> {
    let snapshot = judge::find(shared, id)?;
    let (send, chunks) = mpsc::channel(4);
    let shared = Arc::clone(shared);
    let length = u64::from(snapshot.block_count()) * crate::BLOCK_SIZE as u64;
    tokio::task::spawn_blocking(move || {
        for index in 0..snapshot.block_count() {
            let block = volume::block(&shared, &snapshot, index, view).map(Bytes::from);
            let failed = block.is_err();
            if send.blocking_send(block).is_err() || failed {
                return;
            }
        }
    });
    Response::builder()
        .header("content-type", "application/octet-stream")
        .header("content-length", length)
        .body(Body::Stream(chunks))
        .ok()
}
