//! What everybody may read, and how a revocation reaches those who wait.

use std::time::Duration;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark_credential::Crl;
use countermark_issue::{RevocationReason, ca_facts};
use http::header::IF_NONE_MATCH;
use serde_json::json;

use super::*;
use crate::Target;

#[tokio::test]
async fn the_authority_s_certificates_are_a_bag_that_openssl_takes_apart() {
    let estate = Estate::new().await;
    let chain = estate.get(None, "/.well-known/est/cacerts").await.certificates();
    let signing = estate.shared.desk.signing();
    assert_eq!(chain, [estate.shared.authority.root().clone(), signing.signer.certificate().clone()]);
    // An older intermediate stays as long as it lives.
    estate.fixture.clock.advance(DAY);
    estate.fixture.authority.renew_intermediate().await.unwrap();
    estate.shared.desk.refresh().await.unwrap();
    let renewed = estate.get(None, "/.well-known/est/cacerts").await.certificates();
    assert_eq!((renewed.len(), &renewed[2]), (3, &chain[1]));
    let attributes = estate.get(None, "/.well-known/est/csrattrs").await;
    assert_eq!(attributes.headers["content-type"], "application/csrattrs");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("attrs"), attributes.text()).unwrap();
    let said = openssl(directory.path(), "asn1parse -inform B64 -in attrs");
    let said = said.or_else(|_| openssl(directory.path(), "asn1parse -inform PEM -in attrs")).unwrap();
    assert!(said.contains("id-ecPublicKey") && said.contains("ecdsa-with-SHA256"), "{said}");
}

#[tokio::test]
async fn the_bundle_is_one_that_spiffe_knows() {
    let estate = Estate::new().await;
    let answer = estate.get(None, "/v1/bundle").await;
    let etag = answer.headers["etag"].clone();
    let bundle = answer.json();
    assert_eq!((&bundle["spiffe_sequence"], &bundle["spiffe_refresh_hint"]), (&json!(1), &json!(300)));
    let key = &bundle["keys"][0];
    assert_eq!((&key["use"], &key["kty"], &key["crv"]), (&json!("x509-svid"), &json!("EC"), &json!("P-256")));
    let root = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
    assert_eq!(root, estate.shared.authority.root().as_ref());
    let mut again = get("/v1/bundle");
    again.headers_mut().insert(IF_NONE_MATCH, etag);
    assert_eq!(estate.call(None, again).await.unwrap().status, StatusCode::NOT_MODIFIED);
}

fn waiting(etag: &http::HeaderValue, seconds: u32) -> Request<Full<Bytes>> {
    let mut request = get("/v1/crl");
    request.headers_mut().insert(IF_NONE_MATCH, etag.clone());
    request.headers_mut().insert("prefer", format!("wait={seconds}").parse().unwrap());
    request
}

#[tokio::test]
async fn a_revocation_reaches_those_who_wait_at_once() {
    let estate = Estate::new().await;
    let (admin, fired) = (estate.holder("admin/root-admin").await, estate.holder("agent/fired-bot").await);
    let first = estate.get(None, "/v1/crl").await;
    assert_eq!(first.headers["content-type"], "application/x-pem-file");
    let lists = Crl::many_from_pem(&first.body).unwrap();
    assert_eq!(lists.len(), 2);
    assert!(lists[0].issuer().contains("intermediate") && lists[1].issuer().contains("root"), "{lists:?}");

    let mut poll = estate.connect(None).await.unwrap();
    let asked = call_on(&mut poll, waiting(&first.headers["etag"], 60));
    let revoke = async {
        let body = json!({"serial": fired.leaf().serial().to_string(), "reason": "keyCompromise"});
        estate.post(Some(&admin), "/v1/revocations", &body).await;
    };
    // Nobody waits for a minute here: only a hang would show.
    let (answer, ()) = tokio::join!(asked, revoke);
    let answer = answer.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let lists = Crl::many_from_pem(&answer.body).unwrap();
    assert!(lists[0].revokes(fired.leaf().serial()).is_some());
    assert_ne!(answer.headers["etag"], first.headers["etag"]);

    let unchanged = estate.call(None, waiting(&answer.headers["etag"], 0)).await.unwrap();
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn who_waits_is_answered_when_the_service_ends() {
    let estate = Estate::new().await;
    let etag = estate.get(None, "/v1/crl").await.headers["etag"].clone();
    let mut poll = estate.connect(None).await.unwrap();
    let asked = call_on(&mut poll, waiting(&etag, 60));
    let end = async {
        // The poll is under way when its request has been counted in.
        while estate.shared.waiting.count() == 0 {
            tokio::task::yield_now().await;
        }
        estate.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(asked, end);
    assert_eq!(answer.unwrap().status, StatusCode::NOT_MODIFIED);
    let Estate { shared, task, .. } = estate;
    drop(shared);
    task.await.unwrap();
}

/// RFC 9773 §4.1.
fn certificate_id(estate: &Estate, holder: &Holder) -> String {
    let signing = estate.shared.desk.signing();
    let issuer = signing.issuers.iter().find(|issuer| issuer.certificate == holder.chain[1]).unwrap();
    let authority = ca_facts(&issuer.certificate).unwrap().key_identifier.unwrap();
    let serial = holder.leaf().serial().as_bytes().to_vec();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(authority), URL_SAFE_NO_PAD.encode(serial))
}

#[tokio::test]
async fn the_window_of_renewal_is_early_and_stands_still_when_the_issuer_was_replaced() {
    let estate = Estate::new().await;
    let holder = estate.holder("agent/billing-bot").await;
    let path = format!("/v1/renewal-info/{}", certificate_id(&estate, &holder));
    let answer = estate.get(None, &path).await;
    assert!(answer.headers.contains_key("retry-after"));
    let at = |seconds: u64| START.saturating_add(Duration::from_secs(seconds)).to_string();
    assert_eq!(answer.json()["suggestedWindow"], json!({"start": at(1440), "end": at(1800)}));

    estate
        .fixture
        .authority
        .revoke(&Target::Serial(holder.leaf().serial().clone()), RevocationReason::Superseded)
        .await
        .unwrap();
    // It is not renewed whenever it asks; so it is not told to.
    estate.get(None, &path).await.refused(410, "revoked");

    let other = estate.holder("agent/other-bot").await;
    let path = format!("/v1/renewal-info/{}", certificate_id(&estate, &other));
    estate.fixture.authority.renew_intermediate().await.unwrap();
    estate.shared.desk.refresh().await.unwrap();
    let since = estate.shared.desk.signing().signer.not_before();
    let window = json!({"start": since.to_string(), "end": since.saturating_add(Duration::from_secs(600)).to_string()});
    assert!(since >= START.saturating_sub(Duration::from_secs(60)) && since <= START);
    for _ in 0..3 {
        assert_eq!(estate.get(None, &path).await.json()["suggestedWindow"], window, "whenever it is asked");
        estate.fixture.clock.advance(Duration::from_secs(180));
    }
    for unknown in ["x", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"] {
        estate.get(None, &format!("/v1/renewal-info/{unknown}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn readers_from_one_address_are_counted() {
    let estate = Estate::with(|config| config.rates.reads_per_minute = 2).await;
    for _ in 0..2 {
        assert_eq!(estate.get(None, "/v1/bundle").await.status, StatusCode::OK);
    }
    estate.get(None, "/v1/crl").await.refused(429, "rate_limited");
}
