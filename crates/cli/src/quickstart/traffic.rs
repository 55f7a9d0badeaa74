//! Rotation under load: callers that never pause, and a certificate that changes beneath them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{agent::Agent, audit, estate::Estate, story::Seen};
use crate::rpc::Answer;

const CALLERS: usize = 4;
const ROTATIONS: usize = 3;
/// Calls that must follow each rotation before the next one.
const CALLS_BETWEEN: u64 = 40;

/// What the callers counted.
#[derive(Debug, Default)]
struct Count {
    done: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

/// Rotates billing-bot while it is calling; not one call may fail.
pub(super) async fn rotated(estate: &Estate) -> Seen {
    let before = audit::lines(&estate.audit).len();
    let count = Arc::new(Count::default());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(estate.billing.clone(), Arc::clone(&count)));
    }
    let rotated = rotate(estate, &count).await;
    count.stop.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    while let Some(joined) = callers.join_next().await {
        failures.extend(joined.map_err(|error| error.to_string())?);
    }
    rotated?;
    let (done, failed) = (count.done.load(Ordering::Relaxed), count.failed.load(Ordering::Relaxed));
    if failed > 0 {
        return Err(format!("{failed} of {} calls failed: {}", done + failed, failures.join("; ")));
    }
    let serials: BTreeSet<String> = audit::lines(&estate.audit)
        .iter()
        .skip(before)
        .filter(|line| audit::is(line, "agent", "billing-bot"))
        .filter_map(|line| line.get("serial")?.as_str().map(str::to_owned))
        .collect();
    if serials.len() <= ROTATIONS {
        return Err(format!("the audit saw {} serials after {ROTATIONS} rotations", serials.len()));
    }
    Ok(vec![
        format!("{done} calls by {CALLERS} callers over {} certificates, 0 failed", serials.len()),
        format!(
            "serials in the audit: {}",
            serials.iter().map(|serial| shortened(serial)).collect::<Vec<_>>().join(", ")
        ),
    ])
}

async fn rotate(estate: &Estate, count: &Count) -> Result<(), String> {
    for _ in 0..ROTATIONS {
        settled(count).await?;
        let next = estate.rotate_billing().await.map_err(|error| crate::failure::sentence(&error))?;
        estate.billing.follow(&next).await?;
    }
    settled(count).await
}

/// Waits until the callers have made some more calls.
async fn settled(count: &Count) -> Result<(), String> {
    let goal = count.done.load(Ordering::Relaxed) + CALLS_BETWEEN;
    let reached = async {
        while count.done.load(Ordering::Relaxed) < goal && count.failed.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.map_err(|_| "the callers stand still".to_owned())
}

async fn call(agent: Agent, count: Arc<Count>) -> Option<String> {
    let mut first = None;
    while !count.stop.load(Ordering::Relaxed) {
        match agent.call("read_balance", json!({})).await {
            Ok(Answer::Result(result)) if result.get("isError") != Some(&Value::Bool(true)) => {
                count.done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(other) => {
                count.failed.fetch_add(1, Ordering::Relaxed);
                first.get_or_insert_with(|| format!("{other:?}"));
            }
            Err(error) => {
                count.failed.fetch_add(1, Ordering::Relaxed);
                first.get_or_insert(error);
            }
        }
    }
    first
}

fn shortened(serial: &str) -> String {
    format!("{}…", serial.get(..8).unwrap_or(serial))
}
