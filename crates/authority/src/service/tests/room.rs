//! What strangers can take, and what they cannot.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A connection on which bytes are written by hand.
async fn raw(estate: &Estate) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let mut config = anyone(None);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = tokio::net::TcpStream::connect(estate.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
}

/// The header of an enrolment whose body never comes.
fn header(authorization: &str) -> String {
    format!(
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n{authorization}\r\n"
    )
}

#[tokio::test]
async fn the_header_is_judged_before_the_body_is_read() {
    let estate = Estate::new().await;
    let mut refused = raw(&estate).await;
    let begun = Instant::now();
    refused.write_all(header("").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    refused.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // One that may be good is read on: nothing is said before its body is there.
    let mut read = raw(&estate).await;
    let secret = estate.invite("agent/billing-bot").await;
    read.write_all(header(&format!("authorization: {}\r\n", basic(&secret))).as_bytes()).await.unwrap();
    let waited = tokio::time::timeout(begun.elapsed() + Duration::from_millis(500), read.read_exact(&mut answer)).await;
    assert!(waited.is_err(), "{answer:?}");
}

#[tokio::test]
async fn bodies_of_strangers_have_a_budget_that_those_who_renew_do_not_share() {
    let estate = Estate::new().await;
    let holder = estate.holder("agent/billing-bot").await;
    let secret = estate.invite("agent/new-bot").await;
    let csr = Holder::new().key.request().unwrap();
    let all = estate.shared.bodies.strangers().available_permits();
    let taken = estate.shared.bodies.strangers().acquire_many(u32::try_from(all).unwrap()).await.unwrap();
    let busy = estate.enrol(&basic(&secret), &csr).await;
    busy.refused_text(503, "too many requests are being read");
    assert_eq!(busy.headers["retry-after"], "1");
    assert_eq!(estate.reenrol(&holder, &csr).await.unwrap().status, StatusCode::OK);
    drop(taken);
    assert_eq!(estate.enrol(&basic(&secret), &csr).await.status, StatusCode::OK);
    assert_eq!(estate.shared.bodies.strangers().available_permits(), all, "what was read is given back");
}

#[tokio::test]
async fn one_address_holds_so_many_connections_and_no_more() {
    let estate = Estate::with(|config| config.connections_per_source = Some(3)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(raw(&estate).await);
    }
    assert!(estate.connect(None).await.is_err());
    held.pop();
    let begun = Instant::now();
    while estate.connect(None).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "what was let go of is not given back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let metrics = estate.shared.metrics.text().unwrap();
    assert!(metrics.contains("too_many_connections"), "{metrics}");
}

#[tokio::test]
async fn what_is_refused_to_strangers_is_counted_and_not_kept() {
    let estate = Estate::new().await;
    let csr = Holder::new().key.request().unwrap();
    for _ in 0..5 {
        estate.enrol(&basic("a guess"), &csr).await.refused_text(401, "no such invite");
    }
    assert!(estate.audited(Act::Join).await.is_empty());
    let metrics = estate.shared.metrics.text().unwrap();
    assert!(metrics.contains("reason=\"invite_unknown\"} 5"), "{metrics}");
    // Somebody with a certificate is no stranger.
    let agent = estate.holder("agent/billing-bot").await;
    estate.post(Some(&agent), "/v1/invites", &Value::Null).await.refused(403, "not_an_administrator");
    assert_eq!(estate.last(Act::Invite).await.outcome, Outcome::Refused);
}

#[tokio::test]
async fn a_list_of_certificates_is_read_by_its_index() {
    let estate = Estate::new().await;
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM certificate WHERE TRUE ORDER BY issued_at DESC, serial LIMIT 5";
    let rows = sqlx::query(plan).fetch_all(&mut store::raw(&estate).await).await.unwrap();
    let said: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, "detail")).collect();
    assert!(said.iter().any(|line| line.contains("certificate_by_issuance")), "{said:?}");
    assert!(said.iter().all(|line| !line.contains("TEMP B-TREE")), "{said:?}");
}
