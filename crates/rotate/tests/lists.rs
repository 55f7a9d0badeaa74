//! Following the lists of the real authority, also where it refuses us.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countermark_credential::directory;
use countermark_identity::UnixTime;
use countermark_rotate::config::CredentialEntry;
use countermark_rotate::enrol::Enrolment;
use countermark_rotate::issuer::{Coming, Listing, Lists, Present, Remote, Station, Stations};
use countermark_rotate::{Rotation, Setup};
use tokio_util::sync::CancellationToken;

use crate::estate::{Estate, PATIENCE};

/// The stations of the network, and how often lists were asked for by way of them.
struct Counting {
    remote: Remote,
    asked: Arc<AtomicUsize>,
}

struct Counted {
    lists: Box<dyn Lists>,
    asked: Arc<AtomicUsize>,
}

impl Stations for Counting {
    fn station<'a>(&'a self, entry: &'a CredentialEntry, present: &'a Present, now: UnixTime) -> Coming<'a, Station> {
        self.remote.station(entry, present, now)
    }

    fn lists<'a>(
        &'a self,
        entry: &'a CredentialEntry,
        present: &'a Present,
        now: UnixTime,
    ) -> Coming<'a, Option<Box<dyn Lists>>> {
        Box::pin(async move {
            let lists = self.remote.lists(entry, present, now).await?;
            let asked = Arc::clone(&self.asked);
            Ok(lists.map(|lists| Box::new(Counted { lists, asked }) as Box<dyn Lists>))
        })
    }
}

impl Lists for Counted {
    fn next(&mut self) -> Coming<'_, Option<Listing>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.lists.next()
    }
}

#[tokio::test]
async fn who_is_revoked_asks_ever_more_seldom_and_hears_of_others_all_the_same() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let other = estate.dir("other-bot");
    let invite = estate.invite("spiffe://agents.internal/agent/other-bot").await;
    estate.join(Enrolment::by_invite(invite, other.clone())).await.unwrap();
    let victim = directory::read(&other).unwrap().credential.leaf().serial().clone();
    let (asked, clock) = (Arc::new(AtomicUsize::new(0)), Arc::new(estate.clock.clone()));
    let setup = Setup {
        config: estate.config("authority", ""),
        stations: Arc::new(Counting { remote: Remote::new(clock.clone()), asked: Arc::clone(&asked) }),
        clock,
        observers: Vec::new(),
    };
    let (rotation, _handle) = Rotation::start(setup).unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(rotation.run(shutdown.clone()));
    let names = |serial| {
        let loaded = directory::load_trust(&dir).unwrap();
        loaded.crls.iter().flat_map(|domain| &domain.crls).any(|crl| crl.revokes(serial).is_some())
    };
    let own = directory::read(&dir).unwrap().credential.leaf().serial().clone();
    estate.revoke().await;
    let begun = Instant::now();
    while !names(&own) {
        assert!(begun.elapsed() < PATIENCE, "the directory never hears of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(8)).await;
    let rate = asked.load(Ordering::SeqCst) - before;
    // After about 1, 2, 4 and 8 s; each second twice, before.
    assert!((1..=5).contains(&rate), "{rate} in 8 s");
    let target = countermark_authority::Target::Identity("spiffe://agents.internal/agent/other-bot".parse().unwrap());
    estate.authority().revoke(&target, countermark_issue::RevocationReason::KeyCompromise).await.unwrap();
    while !names(&victim) {
        assert!(begun.elapsed() < PATIENCE * 2, "the directory never hears of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
}
