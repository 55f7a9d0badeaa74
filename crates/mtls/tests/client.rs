use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::Source as _;
use countermark_mtls::{
    AcceptorConfig, Client, ClientConfig, ClientError, ExpectedServer, HandshakeError, LongPoll, LongPollError,
    Refusal, ServeConfig, VerifiedServer,
};
use countermark_testkit::{Spec, TestCa, TestSource, Wrong, any_server};
use http_body_util::BodyExt as _;
use rustls::AlertDescription;
use tokio_rustls::TlsAcceptor;

use crate::support::{Estate, PATIENCE, SOON, get, text};

#[tokio::test]
async fn one_handshake_carries_many_requests() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let client = estate.client(&TestSource::new(estate.ca.agent("billing-bot")), http2);
        for _ in 0..5 {
            let answer = client.request(get(&server.url("/who"))).await.unwrap();
            let answered = answer.extensions().get::<VerifiedServer>().unwrap();
            assert_eq!(answered.server().name(), "ledger");
            assert_eq!(text(answer).await, "billing-bot");
        }
        assert_eq!(server.acceptor.registry().len(), 1);
    }
}

#[tokio::test]
async fn a_revoked_server_loses_its_pooled_connections_and_streams() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let client = estate.client(&TestSource::new(estate.ca.agent("billing-bot")), http2);
        let stream = client.request(get(&server.url("/stream"))).await.unwrap();
        let mut stream = stream.into_body();
        stream.frame().await.unwrap().unwrap();
        text(client.request(get(&server.url("/who"))).await.unwrap()).await;
        estate.ca.revoke(&estate.source.watch().borrow());
        estate.callers_trust.set(estate.ca.trust());
        let ended = tokio::time::timeout(SOON, stream.frame()).await.unwrap().unwrap().unwrap_err();
        assert!(matches!(ended, ClientError::Ended(_)), "{ended:?}");
        let refused = client.request(get(&server.url("/who"))).await.unwrap_err();
        let ClientError::Handshake(refused) = refused else { panic!("{refused:?}") };
        assert!(refused.to_string().contains("was revoked at"), "{refused}");
        tokio::time::timeout(SOON, async {
            while !client.registry().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("a connection to a revoked server is alive");
    }
}

#[tokio::test]
async fn a_new_credential_is_used_at_once_and_the_old_requests_finish() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let source = TestSource::new(estate.ca.agent("billing-bot"));
        let client = estate.client(&source, http2);
        let mut stream = client.request(get(&server.url("/stream"))).await.unwrap().into_body();
        stream.frame().await.unwrap().unwrap();
        let next = estate.ca.agent("billing-bot");
        source.set(Arc::clone(&next));
        let answer = client.request(get(&server.url("/serial"))).await.unwrap();
        assert_eq!(text(answer).await, next.leaf().serial().to_string());
        estate.event("more");
        let event = tokio::time::timeout(PATIENCE, stream.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(event.into_data().unwrap(), "more");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_the_server_closed_costs_no_request() {
    let estate = Estate::new();
    let limits = ServeConfig { idle_timeout: Duration::from_millis(50), ..ServeConfig::default() };
    let server = estate.serve_with(AcceptorConfig::default(), limits).await;
    for http2 in [false, true] {
        let client = estate.client(&TestSource::new(estate.ca.agent("billing-bot")), http2);
        for _ in 0..3 {
            let answer = client.request(get(&server.url("/who"))).await.unwrap();
            assert_eq!(text(answer).await, "billing-bot");
            tokio::time::timeout(PATIENCE, async {
                while !server.acceptor.registry().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await
            .unwrap();
        }
    }
}

#[tokio::test]
async fn the_servers_refusal_is_named() {
    for http2 in [false, true] {
        let estate = Estate::new();
        let server = estate.serve().await;
        let agent = estate.ca.agent("billing-bot");
        estate.ca.revoke(&agent);
        estate.trust.set(estate.ca.trust());
        let client = estate.client(&TestSource::new(agent), http2);
        let refused = client.request(get(&server.url("/who"))).await.unwrap_err();
        assert_eq!(refused.alert(), Some(AlertDescription::CertificateRevoked), "{refused:?}");
    }
}

#[tokio::test]
async fn only_https_is_spoken() {
    let estate = Estate::new();
    let client = estate.client(&TestSource::new(estate.ca.agent("a")), true);
    let refused = client.request(get("http://localhost:1/")).await.unwrap_err();
    assert!(matches!(refused, ClientError::NotHttps { .. }), "{refused:?}");
}

/// Meets a server that presents this leaf.
async fn meets(expected: ExpectedServer, host: &str, spec: fn(&TestCa) -> Spec) -> Result<(), HandshakeError> {
    let estate = Estate::new();
    let client = Client::new(
        TestSource::new(estate.ca.agent("billing-bot")).watch(),
        estate.callers_trust.generations(),
        expected,
        estate.clock(),
        ClientConfig::default(),
    )
    .unwrap();
    let server = TlsAcceptor::from(Arc::new(any_server(estate.ca.mint(&spec(&estate.ca)))));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (_, met) = tokio::join!(server.accept(far), client.connect(near, host));
    met.map(drop)
}

fn name(name: &str) -> ExpectedServer {
    ExpectedServer::Name(name.to_owned())
}

fn ledger(ca: &TestCa) -> Spec {
    ca.server_spec("ledger")
}

#[tokio::test]
async fn the_expected_server_is_met() {
    meets(name("ledger"), "anything.example", ledger).await.unwrap();
    let id = "spiffe://agents.internal/server/ledger".parse().unwrap();
    meets(ExpectedServer::Id(id), "anything.example", ledger).await.unwrap();
    meets(ExpectedServer::Host, "localhost", ledger).await.unwrap();
    meets(ExpectedServer::Host, "LOCALHOST", ledger).await.unwrap();
    meets(ExpectedServer::Host, &IpAddr::V4(Ipv4Addr::LOCALHOST).to_string(), ledger).await.unwrap();
}

macro_rules! refuses {
    ($name:ident: $expected:expr, $host:expr, $spec:expr => $reason:pat) => {
        #[tokio::test]
        async fn $name() {
            let error = meets($expected, $host, $spec).await.unwrap_err();
            let HandshakeError::Refused(reason) = &error else { panic!("{error:?}") };
            assert!(matches!(**reason, $reason), "{reason:?}");
        }
    };
}

refuses!(another_server: name("vault"), "localhost", ledger => Refusal::WrongServer { .. });
refuses!(another_id: ExpectedServer::Id("spiffe://agents.internal/server/vault".parse().unwrap()), "localhost", ledger
    => Refusal::WrongServer { .. });
refuses!(another_host: ExpectedServer::Host, "evil.example", ledger => Refusal::WrongServer { .. });
refuses!(a_wildcard_names_no_host: ExpectedServer::Host, "a.corp.internal",
    |ca| ca.server_spec("ledger").dns("*.corp.internal") => Refusal::WrongServer { .. });
refuses!(an_agent_that_answers: name("ledger"), "localhost", |ca| ca.agent_spec("ledger") => Refusal::NotAServer { .. });
refuses!(an_agent_with_the_hosts_name: ExpectedServer::Host, "localhost",
    |ca| ca.agent_spec("ledger").dns("localhost") => Refusal::NotAServer { .. });
refuses!(an_expired_server: name("ledger"), "localhost", |ca| ca.server_spec("ledger").expired() => Refusal::Chain(_));
refuses!(a_leaf_not_for_servers: name("ledger"), "localhost",
    |ca| ca.server_spec("ledger").wrong(Wrong::NoServerAuth) => Refusal::Leaf(_));
refuses!(another_trust_domain: name("ledger"), "localhost",
    |_| Spec::uri("spiffe://elsewhere.example/server/ledger") => Refusal::Chain(_));

/// A federated server with the expected bare name is not the expected one.
#[tokio::test]
async fn a_bare_name_never_matches_another_trust_domain() {
    let (estate, partner) = (Estate::new(), TestCa::new("partner.example"));
    estate.callers_trust.set(estate.ca.trust_with(&[&partner]));
    let client = estate.client(&TestSource::new(estate.ca.agent("a")), true);
    let server = TlsAcceptor::from(Arc::new(any_server(partner.mint(&partner.server_spec("ledger")))));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (_, met) = tokio::join!(server.accept(far), client.connect(near, "localhost"));
    let error = met.unwrap_err();
    let HandshakeError::Refused(reason) = &error else { panic!("{error:?}") };
    assert!(matches!(**reason, Refusal::WrongServer { .. }), "{reason:?}");
}

#[tokio::test]
async fn a_long_poll_takes_a_version_once_and_no_more_than_it_may() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let client = || estate.client(&TestSource::new(estate.ca.agent("billing-bot")), true);
    let mut poll = LongPoll::new(client(), server.url("/who").parse().unwrap(), 1024);
    assert!(poll.next().await.unwrap().is_some_and(|body| body.ends_with(b"billing-bot")));
    // The same again, and without waiting: it is asked in half a minute, not at once.
    assert!(tokio::time::timeout(Duration::from_millis(300), poll.next()).await.is_err());
    let mut poll = LongPoll::new(client(), server.url("/who").parse().unwrap(), 3);
    assert!(matches!(poll.next().await.unwrap_err(), LongPollError::TooLarge { limit: 3 }));
    server.shutdown.cancel();
    let mut poll = LongPoll::new(client(), "https://localhost:1/who".parse().unwrap(), 3);
    assert!(matches!(poll.next().await.unwrap_err(), LongPollError::Client { .. }));
}
