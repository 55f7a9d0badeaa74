use countermark_mtls::AcceptorConfig;
use countermark_testkit::{Spec, TestCa};
use rustls::AlertDescription;

use crate::support::{Estate, knock};

#[tokio::test]
async fn a_federated_agent_verifies_under_its_own_bundle() {
    let (estate, partner) = (Estate::new(), TestCa::new("partner.example"));
    estate.trust.set(estate.ca.trust_with(&[&partner]));
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let peer = knock(&acceptor, Some(partner.mint(&partner.agent_spec("a")))).await.0.unwrap();
    assert_eq!(peer.agent().spiffe_id().as_str(), "spiffe://partner.example/agent/a");
}

/// spiffe/spiffe#375: with pooled roots this gets in.
#[tokio::test]
async fn a_federated_authority_cannot_mint_our_agents() {
    let (estate, partner) = (Estate::new(), TestCa::new("partner.example"));
    estate.trust.set(estate.ca.trust_with(&[&partner]));
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let forged = partner.mint(&Spec::uri("spiffe://agents.internal/agent/billing-bot"));
    let (accepted, alert) = knock(&acceptor, Some(forged)).await;
    accepted.unwrap_err();
    assert_eq!(alert, Some(AlertDescription::UnknownCA));
}

#[tokio::test]
async fn a_federated_authority_cannot_mint_our_mapped_names() {
    let (estate, partner) = (Estate::new(), TestCa::new("partner.example"));
    estate.trust.set(estate.ca.trust_with(&[&partner]));
    estate.trust.set_map(estate.map(&[("dns:etl.corp.internal", "legacy-etl")]));
    let acceptor = estate.acceptor(AcceptorConfig::default());
    let forged = partner.mint(&Spec::nameless().dns("etl.corp.internal"));
    let (accepted, alert) = knock(&acceptor, Some(forged)).await;
    accepted.unwrap_err();
    assert_eq!(alert, Some(AlertDescription::UnknownCA));
}
