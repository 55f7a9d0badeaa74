//! What runs beside the task: renewals, hooks, probes, looks at files, writes of state.

use std::sync::Arc;

use countermark_credential::Credential;
use countermark_identity::{Clock, Serial, UnixTime};
use tracing::Instrument as _;

use super::look::Fingerprint;
use super::slot;
use crate::config::CredentialEntry;
use crate::event::Step;
use crate::hook::{self, Attempts};
use crate::issuer::{Listing, Stations};
use crate::machine::{Input, Memory, TrustMark};
use crate::renew::{self, Failure, Refreshed, Renewed, blocking};
use crate::schedule::Life;
use crate::{probe, state};

/// What has ended, and for which slot.
pub(super) struct Done {
    pub(super) id: u64,
    /// For which entry it ran: one that was replaced meanwhile is not told.
    pub(super) entry: Arc<CredentialEntry>,
    pub(super) what: What,
}

pub(super) enum What {
    Hooked {
        hook: usize,
        generation: u64,
        result: Result<(), String>,
    },
    /// Which trust material is there, with the published lists; which those were, unless the work broke off.
    Listed {
        result: Result<Option<TrustMark>, Failure>,
        listing: Option<Listing>,
    },
    /// What the files are now, where they are not what they were, and the credential if it is good.
    Looked(Looked),
    Probed {
        generation: u64,
        result: Result<Serial, String>,
    },
    Refreshed(Result<Refreshed, Failure>),
    Remembered(Result<(), String>),
    Renewed {
        result: Result<Renewed, Failure>,
        seen: Fingerprint,
    },
}

pub(super) struct Looked {
    pub(super) seen: Fingerprint,
    pub(super) found: Input,
    pub(super) held: Option<Arc<Credential>>,
    /// Which trust material counted when the look began.
    pub(super) began: Option<TrustMark>,
}

/// What is looked at, and what was known of it.
pub(super) struct Looking {
    pub(super) id: u64,
    pub(super) entry: Arc<CredentialEntry>,
    pub(super) before: Fingerprint,
    pub(super) life: Option<Life>,
    pub(super) trust: Option<TrustMark>,
}

/// What a job is for, so that one that breaks off is known by name.
#[derive(Clone)]
pub(super) enum Job {
    /// A look at a batch.
    Look,
    /// Everything else is for one slot.
    Of { id: u64, entry: Arc<CredentialEntry>, kind: Kind },
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Hook { hook: usize, generation: u64 },
    Lists,
    Probe { generation: u64 },
    Refresh,
    Remember,
    Renew,
}

impl Job {
    /// What is told of a job that panicked: that it failed, so that it is tried again and holds up nobody.
    pub(super) fn broken(self) -> Option<Done> {
        let Self::Of { id, entry, kind } = self else { return None };
        let cause = "the work broke off; report this: it is a fault of ours".to_owned();
        let failure = Failure::new(Step::Prepare, cause.clone());
        let what = match kind {
            Kind::Hook { hook, generation } => What::Hooked { hook, generation, result: Err(cause) },
            Kind::Lists => What::Listed { result: Err(failure), listing: None },
            Kind::Probe { generation } => What::Probed { generation, result: Err(cause) },
            Kind::Refresh => What::Refreshed(Err(failure)),
            Kind::Remember => What::Remembered(Err(cause)),
            Kind::Renew => What::Renewed { result: Err(failure), seen: Fingerprint::default() },
        };
        Some(Done { id, entry, what })
    }
}

/// What every job works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) stations: Arc<dyn Stations>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) attempts: Attempts,
}

pub(super) async fn renew(id: u64, entry: Arc<CredentialEntry>, tools: Tools) -> Done {
    let span = tracing::debug_span!(target: "countermark_trace", "renewal", credential = %entry.name, identity = %entry.identity);
    let result = renew::renew(Arc::clone(&entry), tools.stations, tools.clock).instrument(span).await;
    let dir = entry.directory.clone();
    let seen = blocking(move || Ok(Fingerprint::of(&dir))).await.unwrap_or_default();
    Done { id, entry, what: What::Renewed { result, seen } }
}

pub(super) async fn refresh(id: u64, entry: Arc<CredentialEntry>, tools: Tools) -> Done {
    let what = What::Refreshed(renew::refresh(Arc::clone(&entry), tools.stations, tools.clock).await);
    Done { id, entry, what }
}

pub(super) async fn lists(id: u64, entry: Arc<CredentialEntry>, listing: Listing, tools: Tools) -> Done {
    let result = renew::take_lists(Arc::clone(&entry), listing.clone(), tools.clock).await;
    Done { id, entry, what: What::Listed { result, listing: Some(listing) } }
}

pub(super) async fn hook(
    id: u64,
    entry: Arc<CredentialEntry>,
    hook: usize,
    generation: u64,
    attempts: Attempts,
) -> Done {
    let result = hook::run(&attempts, Arc::clone(&entry), hook, generation).await;
    Done { id, entry, what: What::Hooked { hook, generation, result } }
}

pub(super) async fn probe(id: u64, entry: Arc<CredentialEntry>, generation: u64) -> Done {
    let result = match &entry.probe {
        Some(probe) => probe::served(probe).await,
        None => Err("there is no probe".to_owned()),
    };
    Done { id, entry, what: What::Probed { generation, result } }
}

pub(super) async fn remember(id: u64, entry: Arc<CredentialEntry>, memory: Memory, hooks: u64) -> Done {
    let dir = entry.directory.clone();
    let write = move || state::write(&dir, &memory, hooks).map_err(|error| error.to_string());
    let result = blocking(write).await;
    Done { id, entry, what: What::Remembered(result) }
}

/// Looks at a batch of directories. Those that are as they were are not told of.
pub(super) async fn look(batch: Vec<Looking>, now: UnixTime) -> Vec<Done> {
    let look = move || {
        let changed = batch.into_iter().filter_map(|Looking { id, entry, before, life, trust: began }| {
            let seen = Fingerprint::of(&entry.directory);
            // What was edited before the hooks could be told is as it was when it was last looked at, and not as they have seen it.
            if seen == before && (seen.trust().is_none() || seen.trust() == began) {
                return None;
            }
            let (issued, serial) = (life.as_ref().map(|life| life.issued), life.as_ref().map(|life| &life.serial));
            let (found, held) = slot::judge(&entry, issued, serial, now);
            Some(Done { id, entry, what: What::Looked(Looked { seen, found, held, began }) })
        });
        Ok(changed.collect())
    };
    blocking(look).await.unwrap_or_default()
}
