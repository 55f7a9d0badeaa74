//! What a handshake costs, both sides together, over an in-memory transport.
//!
//! `cold`: no signature check is remembered. `warm`: the same agent comes again, and the trust
//! remembers the good signatures of its chain. `resumed`: the caller resumes its session.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop there")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use countermark_credential::{DomainTrust, Revocation, Source as _, Trust};
use countermark_identity::SanMap;
use countermark_mtls::{Acceptor, AcceptorConfig, TrustGenerations};
use countermark_testkit::{TestCa, TestSource, anyone};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

struct Met {
    ca: TestCa,
    source: TestSource,
    caller: ClientConfig,
}

impl Met {
    fn new() -> Self {
        let ca = TestCa::new("agents.internal");
        let source = TestSource::new(ca.server("ledger"));
        let caller = anyone(Some(ca.mint(&ca.agent_spec("billing-bot"))));
        Self { ca, source, caller }
    }

    fn trust(&self, revocation: Revocation) -> Arc<Trust> {
        let domain = self.ca.domain_trust();
        let crls = if revocation == Revocation::Required { domain.crls.clone() } else { vec![] };
        Arc::new(Trust::new(vec![DomainTrust { revocation, crls, ..domain }]).unwrap())
    }

    fn acceptor(&self, trust: Arc<Trust>) -> Acceptor {
        let map = Arc::new(SanMap::empty(self.ca.trust_domain().clone()));
        let generations = TrustGenerations::fixed(trust, map).watch();
        let clock = Arc::new(self.ca.clock().clone());
        Acceptor::new(self.source.watch(), generations, clock, AcceptorConfig::default()).unwrap()
    }
}

async fn handshake(acceptor: &Acceptor, caller: Arc<ClientConfig>) -> bool {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let connector = TlsConnector::from(caller);
    let (accepted, connected) = tokio::join!(acceptor.accept(far, remote), connector.connect(name, near));
    let resumed = accepted.unwrap().peer().resumed();
    // The ticket is read, so that the next one can resume.
    drop(connected.unwrap().read_u8().await);
    resumed
}

fn handshakes(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let met = Met::new();
    let mut group = c.benchmark_group("handshake");
    for (name, revocation) in [("crls", Revocation::Required), ("no crls", Revocation::DangerNone)] {
        group.bench_function(format!("full, cold, {name}"), |b| {
            b.to_async(&runtime).iter_batched(
                || (met.acceptor(met.trust(revocation)), Arc::new(met.caller.clone())),
                |(acceptor, caller)| async move { black_box(handshake(&acceptor, caller).await) },
                BatchSize::SmallInput,
            );
        });
        let acceptor = runtime.block_on(async { met.acceptor(met.trust(revocation)) });
        group.bench_function(format!("full, warm, {name}"), |b| {
            let caller = Arc::new(met.caller.clone());
            b.to_async(&runtime).iter(|| handshake(&acceptor, Arc::clone(&caller)));
        });
        group.bench_function(format!("resumed, {name}"), |b| {
            let mut caller = met.caller.clone();
            caller.resumption = Resumption::in_memory_sessions(8);
            let caller = Arc::new(caller);
            runtime.block_on(handshake(&acceptor, Arc::clone(&caller)));
            assert!(runtime.block_on(handshake(&acceptor, Arc::clone(&caller))), "not resumed");
            b.to_async(&runtime).iter(|| handshake(&acceptor, Arc::clone(&caller)));
        });
    }
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
