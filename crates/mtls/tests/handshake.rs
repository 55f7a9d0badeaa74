use std::sync::Arc;

use countermark_mtls::{AcceptorConfig, HandshakeError, provider};
use countermark_testkit::{anyone, anyone_over};
use rustls::client::Resumption;
use rustls::version::TLS12;
use rustls::{AlertDescription, ClientConfig};

use crate::support::{Estate, knock_as, nobody};

fn tls12_only(estate: &Estate) -> ClientConfig {
    let minted = estate.ca.mint(&estate.ca.agent_spec("billing-bot"));
    let mut config = anyone_over(&[&TLS12], Some(minted));
    config.resumption = Resumption::in_memory_sessions(8);
    config
}

#[tokio::test]
async fn tls_1_2_is_refused_by_default() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let (accepted, alert) = knock_as(&acceptor, tls12_only(&estate)).await;
    assert!(matches!(accepted, Err(HandshakeError::Tls(_))), "{accepted:?}");
    assert_eq!(alert, Some(AlertDescription::ProtocolVersion));
}

/// CVE-2025-23419 and its kin: a resumption that skips the check.
#[tokio::test]
async fn tls_1_2_where_it_was_asked_for_judges_resumed_peers_too() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig { tls12: true, ..AcceptorConfig::default() });
    let config = tls12_only(&estate);
    assert!(!knock_as(&acceptor, config.clone()).await.0.unwrap().resumed());
    assert!(knock_as(&acceptor, config.clone()).await.0.unwrap().resumed());
    estate.ca.clock().advance(std::time::Duration::from_secs(3700));
    let error = knock_as(&acceptor, config).await.0.expect_err("an expired agent resumed");
    assert!(error.to_string().contains("expired"), "{error}");
}

/// A client that resumes, as foreign ones do.
fn resuming(estate: &Estate) -> ClientConfig {
    let minted = estate.ca.mint(&estate.ca.agent_spec("billing-bot"));
    let mut config = anyone(Some(minted));
    config.resumption = Resumption::in_memory_sessions(8);
    config
}

#[tokio::test]
async fn a_session_is_resumed_within_a_generation() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let config = resuming(&estate);
    assert!(!knock_as(&acceptor, config.clone()).await.0.unwrap().resumed());
    let peer = knock_as(&acceptor, config).await.0.unwrap();
    assert!(peer.resumed());
    assert_eq!(peer.agent().name(), "billing-bot");
}

#[tokio::test]
async fn a_resumed_peer_is_judged_for_time_again() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let config = resuming(&estate);
    knock_as(&acceptor, config.clone()).await.0.unwrap();
    estate.ca.clock().advance(std::time::Duration::from_secs(3700));
    let (accepted, _) = knock_as(&acceptor, config).await;
    let error = accepted.expect_err("an expired agent resumed");
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn a_change_of_trust_forces_a_full_handshake_that_refuses() {
    let estate = Estate::new();
    let trust = estate.trust.generations();
    let mut moved = trust.clone();
    let acceptor = countermark_mtls::Acceptor::new(
        countermark_credential::Source::watch(&estate.source),
        trust,
        estate.clock(),
        AcceptorConfig::default(),
    )
    .unwrap();
    let config = resuming(&estate);
    knock_as(&acceptor, config.clone()).await.0.unwrap();
    estate.trust.set(estate.ca.trust());
    moved.changed().await.unwrap();
    assert!(!knock_as(&acceptor, config.clone()).await.0.unwrap().resumed());
    estate.trust.set(nobody());
    moved.changed().await.unwrap();
    let (accepted, alert) = knock_as(&acceptor, config).await;
    accepted.unwrap_err();
    assert_eq!(alert, Some(AlertDescription::UnknownCA));
}

#[tokio::test]
async fn a_change_of_credential_forces_a_full_handshake() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let config = resuming(&estate);
    knock_as(&acceptor, config.clone()).await.0.unwrap();
    estate.source.set(estate.ca.server("ledger"));
    assert!(!knock_as(&acceptor, config.clone()).await.0.unwrap().resumed());
    assert!(knock_as(&acceptor, config).await.0.unwrap().resumed());
}

#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let stolen = estate.ca.mint(&estate.ca.agent_spec("billing-bot")).chain;
    let own = estate.ca.mint(&estate.ca.agent_spec("intern-bot")).key;
    let key = provider().key_provider.load_private_key(own).unwrap();
    let certified = rustls::sign::CertifiedKey::new(stolen, key);
    let mut config = anyone(None);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let (accepted, alert) = knock_as(&acceptor, config).await;
    assert!(matches!(accepted, Err(HandshakeError::Tls(_))), "{accepted:?}");
    assert_eq!(alert, Some(AlertDescription::DecryptError));
}

#[tokio::test]
async fn the_post_quantum_group_is_agreed_on() {
    let estate = Estate::new();
    let met = countermark_testkit::pair(&estate.ca, "billing-bot", "ledger").await;
    assert_eq!(met.server.key_exchange(), Some(rustls::NamedGroup::X25519MLKEM768));
}
