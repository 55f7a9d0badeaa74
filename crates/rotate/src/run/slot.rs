//! One credential in the task: its entry, its machine, its claim on the directory.

use std::fmt::Write as _;
use std::sync::Arc;

use countermark_credential::Credential;
use countermark_credential::directory::{self, Claim};
use countermark_identity::{TrustDomain, UnixTime};
use tokio::sync::watch;

use super::StartError;
use super::look::Fingerprint;
use crate::config::{CredentialEntry, IssuerKind};
use crate::event::Event;
use crate::machine::{Duties, Input, Machine, Memory, TrustMark};
use crate::renew;
use crate::schedule::{self, Life};
use crate::state;

pub(super) struct Slot {
    pub(super) entry: Arc<CredentialEntry>,
    pub(super) machine: Machine,
    pub(super) seen: Fingerprint,
    /// Readers in this process, if there are any.
    pub(super) published: Option<watch::Sender<Arc<Credential>>>,
    /// What the hooks are, so that others are not taken for done.
    pub(super) hooks: u64,
    claim: Arc<Claim>,
}

/// A slot and what is to be done with it first.
pub(super) struct Opened {
    pub(super) slot: Slot,
    pub(super) found: Input,
    pub(super) told: Option<Event>,
}

impl Slot {
    /// Claims the directory, sweeps it, and looks at what is there.
    pub(super) fn open(
        entry: Arc<CredentialEntry>,
        claim: Option<Arc<Claim>>,
        now: UnixTime,
    ) -> Result<Opened, StartError> {
        let claimed = |source| StartError::Claim { credential: Arc::clone(&entry.name), source };
        let claim = match claim {
            Some(claim) => claim,
            None => Arc::new(Claim::acquire(&entry.directory).map_err(claimed)?),
        };
        require_identity(&entry)?;
        directory::sweep(&entry.directory, now).map_err(claimed)?;
        let hooks = fingerprint_of_hooks(&entry);
        let (mut memory, told) = match state::read(&entry.directory, hooks) {
            Ok(memory) => (memory, None),
            Err(error) => (Memory::default(), Some(Event::StateFailed { cause: error.to_string() })),
        };
        let moved = take_trust(&mut memory, &entry).then_some(Event::TrustMoved);
        let told = told.or(moved);
        let seen = Fingerprint::of(&entry.directory);
        let issued = memory.issued.filter(|_| memory.serial.is_some());
        let found = match renew::own_there(&entry) {
            // A kill may have come between trust and credential: what does not stand under the roots beside it is renewed at once.
            Ok(Some(_)) => judge(&entry, issued, memory.serial.as_ref(), now).0,
            // A first one may stand alone.
            _ => find(&entry, issued, memory.serial.as_ref()),
        };
        let machine = Machine::new(duties(&entry), &memory);
        let slot = Self { entry, machine, seen, published: None, hooks, claim };
        Ok(Opened { slot, found, told })
    }

    /// The hooks that have to do with trust material.
    pub(super) fn hooks_of_trust(&self) -> Vec<usize> {
        hooks_of_trust(&self.entry).collect()
    }

    pub(super) fn claim(&self) -> Arc<Claim> {
        Arc::clone(&self.claim)
    }
}

/// Lets no hook count as done that has not seen the trust material that is there: it may have been delivered and the process ended
/// before that was written down, or a hand edited it while nobody looked. Says whether there are others than were remembered.
fn take_trust(memory: &mut Memory, entry: &CredentialEntry) -> bool {
    let there = TrustMark::of(&entry.directory);
    let moved = memory.generation.is_some() && memory.trust != there;
    if moved {
        memory.hooks_done.retain(|done| !hooks_of_trust(entry).any(|hook| hook == *done));
    }
    memory.trust = there;
    moved
}

fn hooks_of_trust(entry: &CredentialEntry) -> impl Iterator<Item = usize> {
    entry.hooks.iter().enumerate().filter(|(_, hook)| hook.on.trust()).map(|(index, _)| index)
}

/// What the directory holds now.
pub(super) fn find(
    entry: &CredentialEntry,
    issued: Option<UnixTime>,
    serial: Option<&countermark_identity::Serial>,
) -> Input {
    let (life, generation, fault) = match directory::read(&entry.directory) {
        Ok(held) if entry.identity.is_of(held.credential.leaf()) && other_domain(entry).is_none() => {
            let leaf = held.credential.leaf();
            let issued = issued.filter(|_| serial == Some(leaf.serial()));
            (Some(Life::of(leaf, issued)), held.generation.map(directory::Generation::number), None)
        }
        Ok(held) => {
            let found = held.credential.leaf().called();
            let fault = match other_domain(entry) {
                Some(other) => format!("the roots beside it are those of {other}"),
                None => format!("it is the credential of {found}"),
            };
            (None, None, Some(fault))
        }
        Err(error) => (None, None, Some(error.to_string())),
    };
    Input::Found { life, generation, fault }
}

/// Whose roots vouch for what is there, where that is not whose it should be: names alone do not say.
fn other_domain(entry: &CredentialEntry) -> Option<TrustDomain> {
    directory::own_domain(&entry.directory).filter(|own| own != entry.identity.trust_domain())
}

/// What the directory holds now, and the credential if nobody has to doubt it: what was put there by hand is judged as what an
/// issuer answers is.
pub(super) fn judge(
    entry: &CredentialEntry,
    issued: Option<UnixTime>,
    serial: Option<&countermark_identity::Serial>,
    now: UnixTime,
) -> (Input, Option<Arc<Credential>>) {
    let found = find(entry, issued, serial);
    let Input::Found { life: Some(_), .. } = &found else { return (found, None) };
    match renew::good(entry, now) {
        Ok(credential) => (found, Some(credential)),
        Err(fault) => (Input::Found { life: None, generation: None, fault: Some(fault) }, None),
    }
}

/// Refuses a directory that is somebody else's; one that cannot be read is mended by the next renewal.
fn require_identity(entry: &CredentialEntry) -> Result<(), StartError> {
    let Ok(held) = directory::read(&entry.directory) else { return Ok(()) };
    let leaf = held.credential.leaf();
    let Err(why) = entry.identity.require(leaf) else { return Ok(()) };
    Err(StartError::OtherIdentity {
        credential: Arc::clone(&entry.name),
        dir: entry.directory.clone(),
        found: leaf.called(),
        wanted: entry.identity.clone(),
        why: Box::new(why),
    })
}

fn duties(entry: &CredentialEntry) -> Duties {
    Duties {
        seed: schedule::seed(entry.identity.to_string().as_bytes()),
        hooks: entry.hooks.len(),
        deliveries: entry.hooks.iter().take_while(|hook| hook.kind.delivers()).count(),
        probe: entry.probe.is_some(),
        repeats: entry.probe.as_ref().is_some_and(|probe| probe.repeat_hooks),
        refresh: !matches!(entry.issuer.kind, IssuerKind::Est { bundle: None, crl: None, .. }),
    }
}

fn fingerprint_of_hooks(entry: &CredentialEntry) -> u64 {
    let mut text = String::new();
    // Whether they are repeated makes no others of them.
    let probe = entry.probe.as_ref().map(|probe| (&probe.address, &probe.server_name, probe.timeout));
    let _infallible = write!(text, "{:?} {probe:?}", entry.hooks);
    schedule::seed(text.as_bytes())
}
