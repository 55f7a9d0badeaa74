use countermark_credential::{ChainError, Source};
use countermark_identity::{AdminId, IdentityError, LeafError};
use countermark_mtls::{Acceptor, AcceptorConfig, HandshakeError, Refusal};
use countermark_testkit::{Minted, Spec, TestCa, Wrong, anyone};
use rustls::AlertDescription;

use crate::support::{Estate, knock, knock_as};

/// Knocks and returns why it was refused and what the knocker heard.
async fn refused(estate: &Estate, minted: Minted) -> (HandshakeError, AlertDescription) {
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let (accepted, alert) = knock(&acceptor, Some(minted)).await;
    (accepted.expect_err("accepted"), alert.expect("no alert was heard"))
}

macro_rules! refuses {
    ($(#[$doc:meta])* $name:ident: $mint:expr => $reason:pat, $alert:ident) => {
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            let estate = Estate::new();
            let mint: fn(&TestCa) -> Spec = $mint;
            let minted = estate.ca.mint(&mint(&estate.ca));
            let (error, alert) = refused(&estate, minted).await;
            let HandshakeError::Refused(reason) = &error else { panic!("{error:?}") };
            assert!(matches!(**reason, $reason), "{reason:?}");
            assert_eq!(alert, AlertDescription::$alert);
        }
    };
}

refuses!(a_leaf_with_two_uris: |ca| ca.agent_spec("a").and_uri("spiffe://agents.internal/agent/b")
    => Refusal::Leaf(LeafError::TwoUris { count: 2 }), BadCertificate);
refuses!(a_leaf_with_its_san_twice: |ca| ca.agent_spec("a").wrong(Wrong::DuplicateSan)
    => Refusal::Leaf(LeafError::DuplicateSan | LeafError::DuplicateExtension { .. }), BadCertificate);
refuses!(a_leaf_that_is_an_authority: |ca| ca.agent_spec("a").wrong(Wrong::Authority)
    => Refusal::Leaf(LeafError::Authority), BadCertificate);
refuses!(a_leaf_that_signs_certificates: |ca| ca.agent_spec("a").wrong(Wrong::KeyCertSign)
    => Refusal::Leaf(LeafError::KeyCertSign), BadCertificate);
refuses!(a_leaf_without_key_usage: |ca| ca.agent_spec("a").wrong(Wrong::NoKeyUsage)
    => Refusal::Leaf(LeafError::NoKeyUsage), BadCertificate);
refuses!(a_leaf_without_basic_constraints: |ca| ca.agent_spec("a").wrong(Wrong::NoBasicConstraints)
    => Refusal::Leaf(LeafError::NoBasicConstraints), BadCertificate);
refuses!(a_leaf_not_for_clients: |ca| ca.agent_spec("a").wrong(Wrong::NoClientAuth)
    => Refusal::Leaf(LeafError::ExtendedKeyUsage { .. }), UnsupportedCertificate);
refuses!(a_leaf_with_a_common_name_only: |ca| ca.agent_spec("a").wrong(Wrong::CommonNameOnly)
    => Refusal::Leaf(LeafError::NoSan), BadCertificate);
refuses!(a_leaf_with_a_root_path: |_| Spec::uri("spiffe://agents.internal")
    => Refusal::Leaf(LeafError::RootPath | LeafError::SpiffeId(_)), BadCertificate);
refuses!(a_name_that_only_looks_alike: |_| Spec::uri("spiffe://agents.internal/agent/a%2e")
    => Refusal::Leaf(LeafError::SpiffeId(_)), BadCertificate);
refuses!(a_path_that_is_no_role: |_| Spec::uri("spiffe://agents.internal/ns/crm/sa/bot")
    => Refusal::Identity(IdentityError::UnmappedPath { .. }), BadCertificate);
refuses!(a_dns_name_that_is_not_mapped: |_| Spec::nameless().dns("etl.corp.internal")
    => Refusal::Identity(IdentityError::Unmapped { .. }), BadCertificate);
refuses!(an_expired_leaf: |ca| ca.agent_spec("a").expired()
    => Refusal::Chain(ChainError::Expired { .. }), CertificateExpired);
refuses!(
    /// Both extended key usages stand in the leaf: the role comes from the path.
    a_server_that_calls: |ca| ca.server_spec("ledger") => Refusal::Role { .. }, AccessDenied);
refuses!(an_administrator_that_calls: |_| Spec::uri("spiffe://agents.internal/admin/root")
    => Refusal::Role { .. }, AccessDenied);
refuses!(a_sub_agent: |_| Spec::uri("spiffe://agents.internal/agent/a/sub/1")
    => Refusal::SubAgent { .. }, AccessDenied);
refuses!(a_trust_domain_without_a_bundle: |_| Spec::uri("spiffe://elsewhere.example/agent/a")
    => Refusal::Chain(ChainError::UnknownTrustDomain { .. }), UnknownCA);

#[tokio::test]
async fn a_sub_agent_passes_where_it_is_allowed() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig { accept_sub_agents: true, ..AcceptorConfig::default() });
    let minted = estate.ca.mint(&Spec::uri("spiffe://agents.internal/agent/a/sub/1"));
    let peer = knock(&acceptor, Some(minted)).await.0.unwrap();
    assert!(peer.agent().is_sub_agent());
}

#[tokio::test]
async fn a_mapped_name_stands_for_its_agent() {
    let estate = Estate::new();
    estate.trust.set_map(estate.map(&[("dns:etl.corp.internal", "legacy-etl")]));
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let minted = estate.ca.mint(&Spec::nameless().dns("etl.corp.internal"));
    let peer = knock(&acceptor, Some(minted)).await.0.unwrap();
    assert_eq!(peer.agent().name(), "legacy-etl");
}

#[tokio::test]
async fn nobody_without_a_certificate() {
    let estate = Estate::new();
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let (accepted, alert) = knock(&acceptor, None).await;
    assert!(matches!(accepted, Err(HandshakeError::NoCertificate)), "{accepted:?}");
    assert_eq!(alert, Some(AlertDescription::CertificateRequired));
}

#[tokio::test]
async fn an_agent_of_another_authority_with_our_name() {
    let (estate, other) = (Estate::new(), TestCa::new("agents.internal"));
    let (error, alert) = refused(&estate, other.mint(&other.agent_spec("billing-bot"))).await;
    assert!(error.to_string().contains("no root of agents.internal"), "{error}");
    assert_eq!(alert, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn a_revoked_agent() {
    let estate = Estate::new();
    let minted = estate.ca.mint(&estate.ca.agent_spec("a"));
    let copy = Minted { chain: minted.chain.clone(), key: minted.key.clone_key() };
    estate.ca.revoke(&copy.credential());
    estate.trust.set(estate.ca.trust());
    let (error, alert) = refused(&estate, minted).await;
    let HandshakeError::Refused(reason) = &error else { panic!("{error:?}") };
    assert!(matches!(**reason, Refusal::Chain(ChainError::Revoked { .. })), "{reason:?}");
    assert_eq!(alert, AlertDescription::CertificateRevoked);
}

#[tokio::test]
async fn everybody_while_there_is_no_revocation_list() {
    let estate = Estate::new();
    let without = countermark_credential::DomainTrust { crls: vec![], ..estate.ca.domain_trust() };
    estate.trust.set(std::sync::Arc::new(countermark_credential::Trust::new(vec![without]).unwrap()));
    let (error, alert) = refused(&estate, estate.ca.mint(&estate.ca.agent_spec("a"))).await;
    assert!(error.to_string().contains("countermark ca crl"), "{error}");
    assert_eq!(alert, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn an_empty_trust_accepts_nobody() {
    let estate = Estate::new();
    estate.trust.set(crate::support::nobody());
    let (_, alert) = refused(&estate, estate.ca.mint(&estate.ca.agent_spec("a"))).await;
    assert_eq!(alert, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn the_leaf_counts_and_no_other_certificate_of_the_chain() {
    let estate = Estate::new();
    let mut minted = estate.ca.mint(&estate.ca.agent_spec("intern-bot"));
    let other = estate.ca.mint(&estate.ca.agent_spec("billing-bot"));
    minted.chain.insert(1, other.chain[0].clone());
    let (error, alert) = refused(&estate, minted).await;
    assert!(matches!(error, HandshakeError::Refused(_)), "{error:?}");
    assert_eq!(alert, AlertDescription::BadCertificate);
}

/// The kind of caller is a type: an acceptor of administrators yields nobody else.
#[tokio::test]
async fn an_agent_where_administrators_are_expected() {
    let estate = Estate::new();
    let (source, trust) = (Source::watch(&estate.source), estate.trust.generations());
    let acceptor = Acceptor::<AdminId>::of_callers(source, trust, estate.clock(), AcceptorConfig::default()).unwrap();
    let admin = anyone(Some(estate.ca.mint(&Spec::uri("spiffe://agents.internal/admin/root"))));
    assert_eq!(knock_as(&acceptor, admin).await.0.unwrap().caller().name(), "root");
    let agent = anyone(Some(estate.ca.mint(&estate.ca.agent_spec("billing-bot"))));
    let (accepted, alert) = knock_as(&acceptor, agent).await;
    accepted.unwrap_err();
    assert_eq!(alert, Some(AlertDescription::AccessDenied));
}
