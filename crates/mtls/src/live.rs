//! One live connection as the judge sees it: who, under which generation, and until when.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwap;
use countermark_identity::{Identity, Leaf, UnixTime};
use futures_util::task::AtomicWaker;
use rustls::AlertDescription;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use crate::demand::Demand;
use crate::evidence::{Evidence, judge};
use crate::registry::Shared;
use crate::{PeerEnded, Refusal, TrustGeneration};

/// A connection retires up to this share of its life before its certificate ends.
const EARLY: f64 = 0.05;

/// Shared by the transport, the peer's evidence and the registry.
#[derive(Debug)]
pub struct Live {
    pub(crate) id: u64,
    pub(crate) identity: Identity,
    pub(crate) leaf: Leaf,
    pub(crate) chain: Box<[CertificateDer<'static>]>,
    pub(crate) accepted_under: u64,
    demand: Demand,
    not_after: AtomicU64,
    judged: ArcSwap<TrustGeneration>,
    ended: OnceLock<PeerEnded>,
    retiring: AtomicBool,
    changed: Notify,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// What the other side said when it refused us after our handshake had finished.
    alert: OnceLock<AlertDescription>,
    shared: Arc<Shared>,
}

impl Live {
    pub(crate) fn new(id: u64, evidence: Evidence, demand: Demand, shared: Arc<Shared>) -> Self {
        Self {
            id,
            identity: evidence.identity,
            leaf: evidence.leaf,
            chain: evidence.chain,
            accepted_under: evidence.generation.id(),
            demand,
            not_after: AtomicU64::new(evidence.not_after.as_secs()),
            judged: ArcSwap::new(evidence.generation),
            ended: OnceLock::new(),
            retiring: AtomicBool::new(false),
            changed: Notify::new(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            alert: OnceLock::new(),
            shared,
        }
    }

    pub(crate) fn not_after(&self) -> UnixTime {
        UnixTime::from_secs(self.not_after.load(Ordering::Acquire))
    }

    /// When to wind down: up to 5 % of the life before its end, rolled once by the serial.
    pub(crate) fn retire_at(&self) -> UnixTime {
        let not_after = self.not_after();
        let life = not_after.duration_since(self.leaf.not_before());
        not_after.saturating_sub(lead(life, roll(self.leaf.serial().as_bytes())))
    }

    /// Whether the right still stands: two compares when nothing has moved.
    pub(crate) fn judge(&self) -> Result<(), PeerEnded> {
        if let Some(ended) = self.ended.get() {
            return Err(ended.clone());
        }
        let now = self.shared.clock.now();
        let not_after = self.not_after();
        if now > not_after {
            return Err(self.end(PeerEnded::Expired { not_after }));
        }
        if self.judged.load().is_latest() {
            return Ok(());
        }
        self.judge_in_full(now)
    }

    /// Judges the whole chain: what can end without a newer generation is in there, too, such as a
    /// revocation list that went stale.
    pub(crate) fn judge_in_full(&self, now: UnixTime) -> Result<(), PeerEnded> {
        let latest = Arc::clone(&self.shared.trust.borrow());
        let verdict = judge(&self.leaf, &self.chain, &self.demand, &latest, now);
        self.settle(verdict, latest)
    }

    fn settle(
        &self,
        verdict: Result<(Identity, UnixTime), Refusal>,
        generation: Arc<TrustGeneration>,
    ) -> Result<(), PeerEnded> {
        match verdict {
            Ok((identity, not_after)) if identity == self.identity => {
                self.not_after.fetch_min(not_after.as_secs(), Ordering::AcqRel);
                self.judged.store(generation);
                Ok(())
            }
            Ok((identity, _)) => Err(self.end(PeerEnded::IdentityChanged {
                was: self.identity.spiffe_id().clone(),
                is: identity.spiffe_id().clone(),
            })),
            Err(refusal) => {
                Err(self.end(PeerEnded::Refused { generation: generation.id(), refusal: Arc::new(refusal) }))
            }
        }
    }

    /// Ends the right, once and for all, and wakes whoever waits on the connection.
    pub(crate) fn end(&self, ended: PeerEnded) -> PeerEnded {
        if self.ended.set(ended.clone()).is_ok() {
            if !matches!(ended, PeerEnded::Closed) {
                tracing::info!(identity = %self.identity.spiffe_id(), serial = %self.leaf.serial(), reason = %ended, "connection ended");
            }
            self.shared.forget(self);
            self.changed.notify_waiters();
            self.reader.wake();
            self.writer.wake();
        }
        self.ended.get().cloned().unwrap_or(ended)
    }

    /// Asks for a graceful end: no new work on this connection.
    pub(crate) fn retire(&self) {
        if !self.retiring.swap(true, Ordering::AcqRel) {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn alert(&self) -> Option<AlertDescription> {
        self.alert.get().copied()
    }

    /// Notes the alert that a read or write ended with.
    pub(crate) fn note(&self, error: &io::Error) {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            // The first alert is the reason; what follows it is noise.
            let _ = self.alert.set(*alert);
        }
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Acquire)
    }

    /// Waits until the right has ended.
    pub(crate) async fn ended(&self) -> PeerEnded {
        loop {
            let changed = self.changed.notified();
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            changed.await;
        }
    }

    /// Waits until the connection should wind down.
    pub(crate) async fn retired(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_retiring() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn wake_reader(&self, waker: &Waker) {
        self.reader.register(waker);
    }

    pub(crate) fn wake_writer(&self, waker: &Waker) {
        self.writer.register(waker);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.forget(self);
    }
}

/// By how much a connection retires before its end: from a half of the share to the whole of it, in the whole seconds that
/// certificates count in, and at least two. What retires with its end cuts off whatever is under way.
fn lead(life: Duration, roll: f64) -> Duration {
    let early = life.mul_f64(EARLY * (1.0 + roll) / 2.0);
    Duration::from_secs(early.as_secs().saturating_add(1).max(2))
}

/// A number in [0, 1) that depends on the serial alone: the same after every reconnect.
fn roll(serial: &[u8]) -> f64 {
    // FNV-1a with a finalizer, so that serials that count spread, too; nothing secret depends on it.
    let hash = serial
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = hash ^ (hash >> 33);
    f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{lead, roll};

    #[test]
    fn whatever_is_rolled_a_connection_has_time_to_wind_down() {
        for (life, least, most) in [(45, 2, 3), (3660, 92, 184), (86_460, 2162, 4324)] {
            for roll in [0.0, 0.01, 0.5, 0.999] {
                let lead = lead(Duration::from_secs(life), roll).as_secs();
                assert!((least..=most).contains(&lead), "{lead} of {life} at {roll}");
            }
        }
    }

    #[test]
    fn a_serial_rolls_the_same_number_each_time_and_serials_spread() {
        let rolls: Vec<f64> = (0..1000_u16).map(|serial| roll(&serial.to_be_bytes())).collect();
        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
        assert!((rolls.iter().sum::<f64>() / 1000.0 - 0.5).abs() < 0.05);
        assert_eq!(roll(&[1]).to_bits(), roll(&[1]).to_bits());
        assert!((0.7..0.8).contains(&roll(&[3])));
    }
}
