//! Where a certificate is optional: nobody is told apart from somebody by a type, and a bad certificate helps nobody.

use countermark_credential::{ChainError, Source as _};
use countermark_identity::Identity;
use countermark_mtls::{Acceptor, AcceptorConfig, Anyone, HandshakeError, Refusal, Visitor};
use countermark_testkit::{Spec, TestCa, anyone};
use rustls::AlertDescription;

use crate::support::{Estate, knock_as, nobody};

fn acceptor(estate: &Estate) -> Acceptor<Anyone> {
    let trust = estate.trust.generations();
    Acceptor::of_callers(estate.source.watch(), trust, estate.clock(), AcceptorConfig::default()).unwrap()
}

#[tokio::test]
async fn nobody_is_anonymous_and_again_after_a_resumption() {
    let estate = Estate::new();
    let (acceptor, stranger) = (acceptor(&estate), anyone(None));
    for _ in 0..2 {
        let (visitor, _) = knock_as(&acceptor, stranger.clone()).await;
        assert!(matches!(visitor.unwrap(), Visitor::Anonymous(_)));
    }
    assert!(acceptor.registry().is_empty(), "there is no right that could end");
}

#[tokio::test]
async fn every_role_is_known_by_its_certificate() {
    let estate = Estate::new();
    let acceptor = acceptor(&estate);
    for path in ["agent/billing-bot", "server/ledger", "admin/root"] {
        let id = format!("spiffe://agents.internal/{path}");
        let minted = estate.ca.mint(&Spec::uri(&id));
        let (visitor, _) = knock_as(&acceptor, anyone(Some(minted))).await;
        let Visitor::Verified(peer) = visitor.unwrap() else { panic!("{path} is anonymous") };
        assert_eq!(peer.caller().spiffe_id().as_str(), id);
        assert!(matches!(
            (path, peer.caller()),
            ("agent/billing-bot", Identity::Agent(_))
                | ("server/ledger", Identity::Server(_))
                | (_, Identity::Admin(_))
        ));
    }
}

#[tokio::test]
async fn a_certificate_that_is_refused_makes_nobody_anonymous() {
    let estate = Estate::new();
    let acceptor = acceptor(&estate);
    let stranger = TestCa::with_clock("agents.internal", estate.ca.clock().clone());
    let specs = [
        (estate.ca.mint(&estate.ca.agent_spec("a").expired()), AlertDescription::CertificateExpired),
        (estate.ca.mint(&Spec::uri("spiffe://agents.internal/agent/a/sub/1")), AlertDescription::AccessDenied),
        (stranger.mint(&stranger.agent_spec("a")), AlertDescription::UnknownCA),
    ];
    for (minted, expected) in specs {
        let (visitor, alert) = knock_as(&acceptor, anyone(Some(minted))).await;
        assert!(matches!(visitor, Err(HandshakeError::Refused(_))), "{visitor:?}");
        assert_eq!(alert, Some(expected));
    }
    let minted = estate.ca.mint(&estate.ca.agent_spec("fired-bot"));
    estate.ca.revoke(&countermark_credential::Credential::new(minted.chain.clone(), minted.key.clone_key()).unwrap());
    let mut generations = estate.trust.generations();
    estate.trust.set(estate.ca.trust());
    generations.changed().await.unwrap();
    let (visitor, alert) = knock_as(&acceptor, anyone(Some(minted))).await;
    let Err(HandshakeError::Refused(refusal)) = visitor else { panic!("{visitor:?}") };
    assert!(matches!(&*refusal, Refusal::Chain(ChainError::Revoked { .. })), "{refusal}");
    assert_eq!(alert, Some(AlertDescription::CertificateRevoked));
}

#[tokio::test]
async fn the_right_of_somebody_ends_as_everywhere() {
    let estate = Estate::new();
    let minted = estate.ca.mint(&estate.ca.agent_spec("billing-bot"));
    let acceptor = acceptor(&estate);
    let (visitor, _) = knock_as(&acceptor, anyone(Some(minted))).await;
    let Visitor::Verified(peer) = visitor.unwrap() else { panic!("anonymous") };
    estate.trust.set(nobody());
    peer.ended().await;
    assert!(peer.judge().is_err());
}
