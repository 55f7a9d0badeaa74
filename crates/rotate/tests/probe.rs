//! What the consumer serves decides whether a rotation succeeded.

use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Credential;
use countermark_identity::Clock as _;
use countermark_mtls::{Acceptor, AcceptorConfig, TrustGenerations};
use countermark_rotate::{Event, Observe, Rotation, Setup, Told, issuer::Remote};
use countermark_testkit::{TestCa, TestSource};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::estate::{Estate, PATIENCE};

struct Ear(mpsc::UnboundedSender<Event>);

impl Observe for Ear {
    fn told(&self, told: &Told) {
        let _ = self.0.send(told.event.clone());
    }
}

/// A consumer that demands client certificates, as guard does, and serves what it was last given.
async fn consumer(estate: &Estate, first: Arc<Credential>) -> (TestSource, String) {
    let source = TestSource::new(first);
    let ca = TestCa::with_clock("agents.internal", estate.clock.clone());
    let map = countermark_identity::SanMap::empty(ca.trust_domain().clone());
    let trust = TrustGenerations::fixed(ca.trust(), Arc::new(map)).watch();
    let watch = countermark_credential::Source::watch(&source);
    let acceptor: Acceptor =
        Acceptor::new(watch, trust, Arc::new(estate.clock.clone()), AcceptorConfig::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, remote)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { drop(acceptor.accept(stream, remote).await) });
        }
    });
    (source, address)
}

#[tokio::test]
async fn a_rotation_succeeds_when_the_consumer_serves_it_and_not_before() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let held = || countermark_credential::directory::read(&dir).unwrap().credential;
    let (source, address) = consumer(&estate, held()).await;
    let (sender, mut events) = mpsc::unbounded_channel();
    let clock = Arc::new(estate.clock.clone());
    let setup = Setup {
        config: estate.config("authority", &format!("probe = {{ address = \"{address}\" }}\n")),
        stations: Arc::new(Remote::new(clock.clone())),
        clock,
        observers: vec![Arc::new(Ear(sender))],
    };
    let (rotation, handle) = Rotation::start(setup).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(rotation.run(shutdown.clone()));
    let mut next = async |wanted: fn(&Event) -> bool| {
        let wait = async {
            loop {
                let event = events.recv().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    };
    let first = next(|event| matches!(event, Event::Succeeded { .. })).await;
    assert_eq!(first, Event::Succeeded { generation: 1, proven: true });
    let old = held();
    handle.renew("billing-bot").await.unwrap();
    let told = next(|event| matches!(event, Event::ServedSerialMismatch { .. } | Event::Succeeded { .. })).await;
    let Event::ServedSerialMismatch { delivered, served, .. } = told else { panic!("{told:?}") };
    assert_eq!(served, *old.leaf().serial());
    assert_eq!(delivered, *held().leaf().serial());
    let status = handle.credential("billing-bot").await.unwrap().unwrap();
    assert_eq!(status.duties[0].served.as_deref(), Some(old.leaf().serial().to_string().as_str()));
    source.set(held());
    let told = next(|event| matches!(event, Event::Succeeded { .. })).await;
    assert_eq!(told, Event::Succeeded { generation: 2, proven: true });
    assert!(
        handle.credential("billing-bot").await.unwrap().unwrap().last_success.unwrap() <= estate.clock.now().as_secs()
    );
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}
