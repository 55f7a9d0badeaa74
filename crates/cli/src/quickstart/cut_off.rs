//! A right that ends, ends now: what is open when its holder is revoked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use countermark_credential::Credential;

use super::{
    estate::Estate,
    plain::{End, Plain},
    steps::{blocking, dial, refused},
    story::Seen,
    wire,
};

/// A revoked peer is cut off within a second of the CRL; what a loaded machine adds is not guard's.
const CUT_OFF: Duration = Duration::from_secs(3);

/// Revokes intern-bot while it holds an idle connection and an open stream; both must end.
pub(super) async fn revoked(estate: &Estate) -> Seen {
    let credential = estate.intern.credential();
    let (idle, opened) = open(estate, &credential, wire::initialize(estate.address)).await?;
    let session =
        wire::header(&opened, "mcp-session-id").ok_or_else(|| format!("no session: {}", wire::status(&opened)))?;
    let (stream, streaming) = open(estate, &credential, wire::stream(estate.address, session)).await?;
    if wire::header(&streaming, "content-type").is_none_or(|kind| !kind.starts_with("text/event-stream")) {
        return Err(format!("the stream did not open: {}", wire::status(&streaming)));
    }
    let (idle, stream) = (ending(idle), ending(stream));
    let serial = credential.leaf().serial().clone();
    estate.revoke(&serial).await.map_err(|error| crate::failure::sentence(&error))?;
    let begun = Instant::now();
    let mut seen = vec!["it held a connection and a stream; then `ca revoke` wrote the new CRL".to_owned()];
    for (what, waiting) in [("connection", idle), ("stream", stream)] {
        let (end, at) = waiting.await.map_err(|error| error.to_string())?;
        let took = at.saturating_duration_since(begun);
        if !matches!(end, End::Closed | End::Alert(_)) || took > CUT_OFF {
            return Err(format!("the {what} is still open after {took:?}: {end}"));
        }
        seen.push(format!("guard ended the {what} {} ms after the CRL", took.as_millis()));
    }
    let again = refused(estate, Some(credential)).await?;
    seen.extend(again.into_iter().map(|fact| format!("again: {fact}")));
    Ok(seen)
}

/// A connection with one answer on it, which is a success.
async fn open(estate: &Estate, credential: &Arc<Credential>, request: Vec<u8>) -> Result<(Plain, String), String> {
    let mut plain = dial(estate, Some(Arc::clone(credential))).await?;
    let (plain, head) = blocking(move || {
        let head = plain.request(&request);
        (plain, head)
    })
    .await?;
    let head = head.map_err(|end| format!("nothing opens: {end}"))?;
    if wire::status(&head).contains(" 200 ") { Ok((plain, head)) } else { Err(wire::status(&head).to_owned()) }
}

/// How and when it ends.
fn ending(mut plain: Plain) -> tokio::task::JoinHandle<(End, Instant)> {
    tokio::task::spawn_blocking(move || (plain.end(), Instant::now()))
}
