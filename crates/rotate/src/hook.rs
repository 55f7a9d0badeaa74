//! What is done after a switch, each bounded in time.

mod attempts;
mod command;
mod signal;

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use tokio::net::TcpStream;

pub(crate) use self::attempts::Attempts;
use self::attempts::Place;
use crate::config::{CredentialEntry, HookEntry, HookKind};
use crate::sink;

/// Runs one hook for a generation.
pub(crate) async fn run(
    attempts: &Attempts,
    entry: Arc<CredentialEntry>,
    hook: usize,
    generation: u64,
) -> Result<(), String> {
    let Some(HookEntry { kind, timeout, .. }) = entry.hooks.get(hook).cloned() else { return Ok(()) };
    let of_hook = |path: &Path| Place::Hook(entry.directory.clone(), path.to_owned());
    match kind {
        HookKind::Keystore => {
            let place = Place::Delivery(entry.directory.clone());
            attempts.within(place, timeout, move || sink::renew_keystore(&entry, generation)).await
        }
        HookKind::Projected { dir } => {
            let place = Place::Delivery(dir.clone());
            attempts.within(place, timeout, move || sink::project(&entry, generation, &dir)).await
        }
        HookKind::Secret(secret) => {
            let place = Place::Delivery(secret.path.clone());
            attempts.within(place, timeout, move || sink::manifest(&entry, generation, &secret)).await
        }
        HookKind::Run { command, env } => command::run(&entry, generation, &command, &env, timeout).await,
        HookKind::SignalPid { pid_file, signal } => {
            attempts.within(of_hook(&pid_file), timeout, move || signal::pid_file(&pid_file, signal)).await
        }
        HookKind::SignalUnit { unit, signal } => signal::unit(&entry, generation, &unit, signal, timeout).await,
        HookKind::Request { method, url } => match tokio::time::timeout(timeout, request(&method, &url)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("{url} did not answer within {timeout:?}")),
        },
        HookKind::Touch { path } => attempts.within(of_hook(&path), timeout, move || touch(&path)).await,
    }
}

async fn request(method: &Method, url: &Uri) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{method} {url}: {error}");
    let authority = url.authority().ok_or_else(|| failed(&"no host"))?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream =
        TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(|error| failed(&error))?;
            answer.await
        }
    };
    let status = answer.map_err(|error| failed(&error))?.status();
    if status.is_success() { Ok(()) } else { Err(failed(&format!("the answer is {status}"))) }
}

fn touch(path: &Path) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot touch {}: {error}", path.display());
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|error| failed(&error))?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(&file, &Timestamps { last_access: now, last_modification: now }).map_err(|error| failed(&error))
}

/// How long what was killed may take to be gone.
const REAP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
