//! The steps, in the order in which they are told.

use std::sync::Arc;

use countermark_credential::Credential;
use serde_json::{Value, json};

use super::{
    audit, cut_off,
    estate::Estate,
    plain::{End, Plain},
    story::{Seen, Story, quoted},
    tokens, traffic, wire,
};
use crate::{failure::Outcome, rpc::Answer};

/// Tells every step; each one is attempted whatever became of the ones before it.
pub(super) async fn tell(story: &mut Story, estate: &mut Estate) -> Outcome<()> {
    story.tell("billing-bot posts an entry and reads the balance", allowed(estate).await)?;
    story.tell("intern-bot tries to post an entry", denied(estate).await)?;
    story.tell("each sees its own list of tools", lists(estate).await)?;
    story.tell("someone without a certificate", nobody(estate).await)?;
    story.tell("someone with a certificate of another authority", stranger(estate).await)?;
    story.tell("billing-bot with a certificate that has expired", expired(estate).await)?;
    story.tell("intern-bot is revoked while it is connected", cut_off::revoked(estate).await)?;
    story.tell("billing-bot is rotated in the middle of traffic", traffic::rotated(estate).await)?;
    tokens::tell(story, estate).await
}

async fn allowed(estate: &Estate) -> Seen {
    let billing = &estate.billing;
    let posted = billing.call("post_entry", json!({"memo": "invoice 1", "cents": 12_500})).await?;
    let balance = billing.call("read_balance", json!({})).await?;
    let (Answer::Result(_), Answer::Result(balance)) = (&posted, &balance) else {
        return Err(format!("refused: {posted:?}, {balance:?}"));
    };
    let cents = balance.pointer("/structuredContent/cents").and_then(Value::as_i64);
    if cents != Some(12_500) {
        return Err(format!("the balance is not what was posted: {balance}"));
    }
    let mut seen = vec!["posted; the balance is 12500 cents".to_owned()];
    seen.extend(audit_of(estate, "billing-bot", "post_entry", "permit")?);
    Ok(seen)
}

async fn denied(estate: &Estate) -> Seen {
    let answer = estate.intern.call("post_entry", json!({"memo": "a rise", "cents": -100_000})).await?;
    let Answer::Error { code, message, data } = answer else {
        return Err(format!("it was let through: {answer:?}"));
    };
    let mut seen = vec![format!("denied: {message} ({code})")];
    let decision = data.get("decision").and_then(Value::as_str).unwrap_or_default().to_owned();
    let line = audit::last(&estate.audit, |line| audit::is(line, "decision", &decision));
    let line = line.ok_or_else(|| format!("the audit has no decision `{decision}`"))?;
    seen.push(quoted(audit::shown(&line)));
    let balance = estate.intern.call("read_balance", json!({})).await?;
    match balance {
        Answer::Result(balance) if balance.pointer("/structuredContent/cents") == Some(&json!(12_500)) => {
            seen.push("nothing was posted: it may read, and reads 12500 cents".to_owned());
            Ok(seen)
        }
        other => Err(format!("the balance moved, or cannot be read: {other:?}")),
    }
}

async fn lists(estate: &Estate) -> Seen {
    let (billing, intern) = (estate.billing.tools().await?, estate.intern.tools().await?);
    if billing != ["list_entries", "post_entry", "read_balance"] || intern != ["list_entries", "read_balance"] {
        return Err(format!("billing-bot sees {billing:?}, intern-bot sees {intern:?}"));
    }
    Ok(vec![
        format!("billing-bot: {}", billing.join(", ")),
        format!("intern-bot:  {}", intern.join(", ")),
        "the server has a fourth, drop_ledger, which is granted to nobody".to_owned(),
    ])
}

async fn nobody(estate: &Estate) -> Seen {
    refused(estate, None).await
}

async fn stranger(estate: &Estate) -> Seen {
    let credential = estate.stranger().await.map_err(|error| crate::failure::sentence(&error))?;
    let mut seen = refused(estate, Some(Arc::clone(&credential))).await?;
    seen.push(format!("it said {}, signed by somebody else", credential.spiffe_id().map_or("-", |id| id.as_str())));
    Ok(seen)
}

async fn expired(estate: &Estate) -> Seen {
    let credential = Arc::clone(&estate.expired);
    let ended = credential.leaf().not_after();
    let mut seen = refused(estate, Some(credential)).await?;
    seen.push(format!("it ended on {ended}, and was good until then"));
    Ok(seen)
}

/// A whole attempt that must end with a TLS alert.
pub(super) async fn refused(estate: &Estate, credential: Option<Arc<Credential>>) -> Seen {
    let mut plain = dial(estate, credential).await?;
    let request = wire::list(estate.address);
    match blocking(move || plain.request(&request)).await? {
        Ok(head) => Err(format!("the server answered: {}", wire::status(&head))),
        Err(End::Alert(alert)) => Ok(vec![format!("no connection: TLS alert {alert:?}")]),
        Err(end) => Err(format!("it ended without a reason: {end}")),
    }
}

pub(super) async fn dial(estate: &Estate, credential: Option<Arc<Credential>>) -> Result<Plain, String> {
    let (address, roots) = (estate.address, estate.roots.clone());
    blocking(move || Plain::connect(address, &roots, credential.as_deref())).await?.map_err(|error| error.to_string())
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// The newest audit line of that call.
fn audit_of(estate: &Estate, agent: &str, tool: &str, outcome: &str) -> Result<Option<String>, String> {
    let fits = |line: &Value| {
        audit::is(line, "agent", agent) && audit::is(line, "name", tool) && audit::is(line, "outcome", outcome)
    };
    let line =
        audit::last(&estate.audit, fits).ok_or_else(|| format!("the audit has no {outcome} of {tool} for {agent}"))?;
    Ok(Some(quoted(audit::shown(&line))))
}
