//! Servers that are known by their host and by roots that somebody names, as any https server is.

use countermark_mtls::{ClientConfig, HostClient, HostClientError};
use countermark_testkit::TestCa;
use rustls::AlertDescription;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Estate, Listener, TRUST_DOMAIN, get};

fn client(estate: &Estate, own: &TestCa, roots: &[CertificateDer<'_>]) -> Result<HostClient, HostClientError> {
    let credential = own.agent("billing-bot");
    HostClient::danger_without_revocation(&credential, roots, estate.clock(), &ClientConfig::default())
}

async fn asked(client: &HostClient, server: &Listener, host: &str) -> Result<usize, HostClientError> {
    let url = server.url("/who").replace("localhost", host);
    Ok(client.request(get(&url), 64 * 1024).await?.into_body().len())
}

#[tokio::test]
async fn a_server_is_known_by_its_host_under_the_roots_that_are_named() {
    let estate = Estate::new();
    let server = estate.serve().await;
    let roots = estate.ca.bundle().roots().to_vec();
    let ours = client(&estate, &estate.ca, &roots).unwrap();
    assert!(asked(&ours, &server, "localhost").await.unwrap() > 0);
    assert!(asked(&ours, &server, "127.0.0.1").await.unwrap() > 0);
    let url = server.url("/who");
    let long = ours.request(get(&url), 1).await.unwrap_err();
    assert!(
        matches!(&long, HostClientError::Request(cause) if cause.to_string().contains("more than 1 bytes")),
        "{long}"
    );
    let stranger = TestCa::with_clock(TRUST_DOMAIN, estate.ca.clock().clone());
    let others = client(&estate, &estate.ca, stranger.bundle().roots()).unwrap();
    let refused = asked(&others, &server, "localhost").await.unwrap_err();
    assert!(matches!(&refused, HostClientError::Refused(_)), "{refused}");
    let unknown = client(&estate, &stranger, &roots).unwrap();
    let refused = asked(&unknown, &server, "localhost").await.unwrap_err();
    let alert = AlertDescription::UnknownCA;
    assert!(matches!(&refused, HostClientError::RefusedByServer { alert: found } if *found == alert), "{refused}");
}

#[tokio::test]
async fn without_a_root_or_without_https_nobody_is_asked() {
    let estate = Estate::new();
    assert!(matches!(client(&estate, &estate.ca, &[]), Err(HostClientError::NoRoot)));
    let broken = CertificateDer::from(vec![0x30, 0x00]);
    assert!(matches!(client(&estate, &estate.ca, &[broken]), Err(HostClientError::Root(_))));
    let ours = client(&estate, &estate.ca, estate.ca.bundle().roots()).unwrap();
    for url in ["http://127.0.0.1:1/x", "/x"] {
        let refused = ours.request(get(url), 10).await.unwrap_err();
        assert!(matches!(refused, HostClientError::NotHttps { .. }), "{refused}");
    }
    let refused = ours.request(get("https://127.0.0.1:1/x"), 10).await.unwrap_err();
    assert!(refused.to_string().starts_with("cannot connect to 127.0.0.1:1: "), "{refused}");
}

/// A server that answers the first message of a handshake by this alert.
async fn alerting(alert: AlertDescription) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        stream.read_exact(&mut rest).await.unwrap();
        stream.write_all(&[21, 3, 3, 0, 2, 2, u8::from(alert)]).await.unwrap();
    });
    format!("https://127.0.0.1:{port}/x")
}

#[tokio::test]
async fn who_has_not_seen_our_certificate_is_not_said_to_have_refused_it() {
    let estate = Estate::new();
    let ours = client(&estate, &estate.ca, estate.ca.bundle().roots()).unwrap();
    for (alert, said) in [
        (AlertDescription::ProtocolVersion, "the server speaks no TLS 1.3; let it speak TLS 1.3"),
        (
            AlertDescription::HandshakeFailure,
            "no cipher suite, key exchange or signature algorithm of TLS 1.3 in common",
        ),
        (AlertDescription::AccessDenied, "the server refused our certificate"),
    ] {
        let refused = ours.request(get(&alerting(alert).await), 10).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}
