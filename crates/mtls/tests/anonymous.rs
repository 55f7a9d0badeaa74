//! Clients without a certificate, and the two looks that believe nobody.

use countermark_mtls::{
    AnonymousClient, ClientConfig, ClientError, ExpectedServer, HandshakeError, danger_fetch_unverified,
    danger_served_certificate,
};
use countermark_testkit::TestCa;
use rustls::AlertDescription;

use crate::support::{Estate, TRUST_DOMAIN, get};

fn anonymous(estate: &Estate, trust_of: &TestCa, expected: &str) -> AnonymousClient {
    let trust = trust_of.trusted().generations();
    let own = TRUST_DOMAIN.parse().unwrap();
    let expected = ExpectedServer::Name(expected.to_owned());
    AnonymousClient::new(own, trust, expected, estate.clock(), ClientConfig::default()).unwrap()
}

#[tokio::test]
async fn without_a_certificate_the_server_is_verified_all_the_same() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let client = anonymous(&estate, &estate.ca, "other");
    let ClientError::Handshake(refused) = client.request(get(&server.url("/who"))).await.unwrap_err() else { panic!() };
    assert!(matches!(&*refused, HandshakeError::Refused(_)), "{refused}");
    let stranger = TestCa::with_clock(TRUST_DOMAIN, estate.ca.clock().clone());
    let client = anonymous(&estate, &stranger, "ledger");
    let ClientError::Handshake(refused) = client.request(get(&server.url("/who"))).await.unwrap_err() else { panic!() };
    assert!(matches!(&*refused, HandshakeError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_none() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let client = anonymous(&estate, &estate.ca, "ledger");
    let refused = client.request(get(&server.url("/who"))).await.unwrap_err();
    assert_eq!(refused.alert(), Some(AlertDescription::CertificateRequired), "{refused:?}");
}

#[tokio::test]
async fn the_served_certificate_is_told_whoever_serves_it() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let config = ClientConfig::default();
    let address = server.address.to_string();
    let served = danger_served_certificate(&address, "any.name", &config).await.unwrap();
    let presented = countermark_credential::Source::watch(&estate.source).borrow().chain()[0].clone();
    assert_eq!(served, presented);
    assert!(danger_served_certificate("127.0.0.1:1", "localhost", &config).await.is_err());
}

#[tokio::test]
async fn an_unverified_fetch_takes_https_and_a_bounded_answer_alone() {
    let config = ClientConfig::default();
    for url in ["http://127.0.0.1:1/x", "/x"] {
        let refused = danger_fetch_unverified(&url.parse().unwrap(), 10, &config).await.unwrap_err();
        assert!(refused.to_string().contains("not an https URL"), "{refused}");
    }
    let estate = Estate::new();
    let server = estate.serve().await;
    let url = server.url("/who").parse().unwrap();
    assert!(danger_fetch_unverified(&url, 10, &config).await.is_err(), "this one answers only whom it knows");
}
