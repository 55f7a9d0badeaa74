//! Renewal by the current certificate, and by one that has expired.

use std::time::Duration;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark_issue::RevocationReason;
use serde_json::json;

use super::*;
use crate::{Target, service::revive};

#[tokio::test]
async fn a_renewal_repeats_identity_names_profile_and_life() {
    let estate = Estate::new().await;
    let profile = std::fs::read_to_string(estate.fixture.path().join("profiles/server.toml")).unwrap();
    let profile = profile.replace("default_ttl = \"1h\"", "default_ttl = \"2h\"");
    std::fs::write(estate.fixture.path().join("profiles/two-hours.toml"), profile).unwrap();
    let request = InviteRequest {
        profile: Some("two-hours".to_owned()),
        dns: vec!["ledger.internal".to_owned()],
        ip: vec!["10.0.0.7".parse().unwrap()],
        ..estate.invite_request("server/ledger")
    };
    let invite = estate.fixture.authority.invite(&request, "a test").await.unwrap();
    let file: toml::Table = toml::from_str(invite.text.expose()).unwrap();
    let first = Holder::new();
    let answer = estate.enrol(&basic(file["secret"].as_str().unwrap()), &first.key.request().unwrap()).await;
    let first = first.with(&answer);
    let second = Holder::new();
    let answer = estate.reenrol(&first, &second.key.request().unwrap()).await.unwrap();
    let second = second.with(&answer);
    let (old, new) = (first.leaf(), second.leaf());
    assert_eq!(new.sans(), old.sans());
    assert_eq!(new.sans().len(), 3, "{:?}", new.sans());
    assert_eq!(new.not_after().duration_since(START), Duration::from_secs(7200));
    assert_ne!(new.serial(), old.serial());
    assert_ne!(new.spki_der(), old.spki_der());
    let row = estate.last(Act::Reenrol).await;
    assert!(row.detail.unwrap().contains(&old.serial().to_string()));
}

#[tokio::test]
async fn nobody_renews_another_or_without_a_certificate() {
    let estate = Estate::new().await;
    let csr = Holder::new().key.request().unwrap();
    let anonymous = estate.call(None, post("/.well-known/est/simplereenroll", csr.clone())).await.unwrap();
    anonymous.refused_text(401, "takes the certificate");
    // Whatever a request names, the certificate decides.
    let intern = estate.holder("agent/intern-bot").await;
    let renewed = Holder::new().with(&estate.reenrol(&intern, &csr).await.unwrap());
    assert_eq!(renewed.leaf().spiffe_id(), Some(&id("agent/intern-bot")));
    // A certificate of our own root that the inventory does not know is a stranger's.
    let stranger = estate.holder("agent/stranger").await;
    let forget = "UPDATE certificate SET thumbprint = NULL WHERE identity LIKE '%/stranger'";
    store::sql(&estate, forget).await;
    estate.reenrol(&stranger, &csr).await.unwrap().refused_text(403, "does not know");
    assert_eq!(estate.last(Act::Reenrol).await.outcome, Outcome::Refused);
}

#[tokio::test]
async fn who_is_revoked_is_refused_by_the_handshake_and_on_kept_connections() {
    let estate = Estate::new().await;
    let holder = estate.holder("agent/fired-bot").await;
    let csr = Holder::new().key.request().unwrap();
    let mut kept = estate.connect(Some(&holder)).await.unwrap();
    let request = || post("/.well-known/est/simplereenroll", STANDARD.encode(&csr));
    assert_eq!(call_on(&mut kept, request()).await.unwrap().status, StatusCode::OK);
    let target = Target::Identity(id("agent/fired-bot"));
    // As another process does it: the service learns of it by the files.
    estate.fixture.authority.revoke(&target, RevocationReason::KeyCompromise).await.unwrap();
    if let Ok(answer) = call_on(&mut kept, request()).await {
        answer.refused_text(403, "revoked");
    }
    estate.shared.reload_lists();
    let refused = estate.reenrol(&holder, &csr).await.unwrap_err();
    assert!(refused.to_string().contains("CertificateRevoked") || !refused.to_string().is_empty(), "{refused}");
}

/// curl and libest present what simpleenroll answered, and that is the certificate alone.
#[tokio::test]
async fn whoever_presents_the_certificate_alone_is_known_by_the_authority_s_own_intermediates() {
    let estate = Estate::new().await;
    let alone = |holder: Holder| Holder { chain: holder.chain[..1].to_vec(), ..holder };
    let (older, fired) =
        (alone(estate.holder("agent/billing-bot").await), alone(estate.holder("agent/fired-bot").await));
    let csr = Holder::new().key.request().unwrap();
    assert_eq!(estate.reenrol(&older, &csr).await.unwrap().status, StatusCode::OK);
    // Those that signed before, too, and the one that signs since, also where its lists were read before it was known.
    estate.fixture.clock.advance(Duration::from_secs(60));
    estate.fixture.authority.renew_intermediate().await.unwrap();
    let newer = alone(estate.holder("agent/intern-bot").await);
    estate.shared.desk.refresh().await.unwrap();
    assert!(estate.shared.reload_lists());
    for holder in [&older, &newer] {
        assert_eq!(estate.reenrol(holder, &csr).await.unwrap().status, StatusCode::OK);
    }
    let target = Target::Identity(id("agent/fired-bot"));
    estate.fixture.authority.revoke(&target, RevocationReason::KeyCompromise).await.unwrap();
    estate.shared.reload_lists();
    assert!(estate.reenrol(&fired, &csr).await.is_err(), "revocation is judged as ever");
    // Whom another of that name signed is nobody.
    let foreign = countermark_testkit::TestCa::with_clock("agents.internal", countermark_testkit::MockClock::at(START));
    let Minted { chain, .. } = foreign.mint(&foreign.agent_spec("billing-bot"));
    assert!(estate.reenrol(&Holder { chain, ..Holder::new() }, &csr).await.is_err());
}

#[tokio::test]
async fn a_life_that_the_profile_no_longer_permits_is_cut() {
    let estate = Estate::new().await;
    let holder = estate.holder("agent/billing-bot").await;
    let path = estate.fixture.path().join("profiles/agent.toml");
    let profile = std::fs::read_to_string(&path).unwrap();
    let profile = profile.replace("default_ttl = \"1h\"", "default_ttl = \"10m\"").replace("\"24h\"", "\"10m\"");
    std::fs::write(&path, profile).unwrap();
    let answer = estate.reenrol(&holder, &Holder::new().key.request().unwrap()).await.unwrap();
    let leaf = Leaf::parse(&answer.certificates()[0]).unwrap();
    assert_eq!(leaf.not_after().duration_since(START), Duration::from_secs(600));
}

/// The proof of an expired certificate's key, and what may be wrong with it.
async fn proof(estate: &Estate, old: &Holder, csr: &[u8]) -> Value {
    let answer = estate.get(None, "/v1/nonce").await.json();
    assert_eq!(answer["authority"], "spiffe://agents.internal/server/authority");
    let nonce: [u8; 32] = URL_SAFE_NO_PAD.decode(answer["nonce"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signature = old.key.sign(&revive::message(&nonce, answer["authority"].as_str().unwrap(), csr)).unwrap();
    json!({
        "nonce": answer["nonce"], "chain": old.chain.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>(),
        "csr": STANDARD.encode(csr), "signature": STANDARD.encode(signature),
    })
}

const EXPIRED: &str = "/v1/renew-expired";

#[tokio::test]
async fn an_expired_certificate_is_renewed_by_its_key_for_three_days_and_once_a_nonce() {
    let estate = Estate::new().await;
    let (old, new) = (estate.holder("agent/laptop-bot").await, Holder::new());
    let csr = new.key.request().unwrap();
    estate.fixture.clock.advance(Duration::from_secs(3600) + DAY * 3);
    assert!(estate.reenrol(&old, &csr).await.is_err(), "no handshake accepts an expired certificate");
    let body = proof(&estate, &old, &csr).await;
    let answer = estate.post(None, EXPIRED, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let chain = answer.json()["chain"].as_array().unwrap().clone();
    assert!(chain.len() == 2 && chain[0].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(estate.last(Act::Revive).await.identity.as_deref(), Some(id("agent/laptop-bot").as_str()));

    estate.post(None, EXPIRED, &body).await.refused(403, "bad_nonce");
    estate.fixture.clock.advance(Duration::from_secs(1));
    let late = proof(&estate, &old, &csr).await;
    estate.post(None, EXPIRED, &late).await.refused(403, "beyond_grace");
    assert_eq!(estate.last(Act::Revive).await.outcome, Outcome::Refused);
}

#[tokio::test]
async fn an_expired_certificate_proves_nothing_without_its_key_its_row_or_a_fresh_nonce() {
    let estate = Estate::new().await;
    let (old, other) = (estate.holder("agent/laptop-bot").await, estate.holder("agent/other-bot").await);
    let csr = Holder::new().key.request().unwrap();
    estate.fixture.clock.advance(Duration::from_secs(4000));

    let thief = Holder { key: Holder::new().key, chain: old.chain.clone() };
    estate.post(None, EXPIRED, &proof(&estate, &thief, &csr).await).await.refused(403, "bad_signature");
    let mut swapped = proof(&estate, &old, &csr).await;
    swapped["csr"] = json!(STANDARD.encode(Holder::new().key.request().unwrap()));
    estate.post(None, EXPIRED, &swapped).await.refused(403, "bad_signature");
    let mut other_chain = proof(&estate, &old, &csr).await;
    other_chain["chain"] = json!([STANDARD.encode(&other.chain[0])]);
    estate.post(None, EXPIRED, &other_chain).await.refused(403, "bad_signature");
    let mut invented = proof(&estate, &old, &csr).await;
    invented["nonce"] = json!(URL_SAFE_NO_PAD.encode([7; 32]));
    estate.post(None, EXPIRED, &invented).await.refused(403, "bad_nonce");
    let stale = proof(&estate, &old, &csr).await;
    estate.fixture.clock.advance(Duration::from_secs(61));
    estate.post(None, EXPIRED, &stale).await.refused(403, "bad_nonce");

    let foreign = countermark_testkit::TestCa::with_clock("agents.internal", countermark_testkit::MockClock::at(START));
    let minted = foreign.mint(&foreign.agent_spec("laptop-bot"));
    let mut unknown = proof(&estate, &old, &csr).await;
    unknown["chain"] = json!([STANDARD.encode(&minted.chain[0])]);
    estate.post(None, EXPIRED, &unknown).await.refused(403, "unknown_certificate");

    estate
        .fixture
        .authority
        .revoke(&Target::Serial(old.leaf().serial().clone()), RevocationReason::KeyCompromise)
        .await
        .unwrap();
    estate.post(None, EXPIRED, &proof(&estate, &old, &csr).await).await.refused(403, "revoked");
    for garbage in [json!({}), json!({"nonce": "", "chain": [], "csr": "", "signature": "", "more": 1})] {
        estate.post(None, EXPIRED, &garbage).await.refused(400, "bad_request");
    }
}

/// Whoever renews without a pause while the identity is revoked ends up with nothing that lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_renewal_slips_past_a_revocation() {
    let estate = Arc::new(Estate::new().await);
    let first = estate.holder("agent/fired-bot").await;
    let renewals = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let chased = tokio::spawn({
        let (estate, renewals) = (Arc::clone(&estate), Arc::clone(&renewals));
        async move {
            // Past TLS, as fast as it goes: each follows the one before it.
            let mut serial = first.leaf().serial().clone();
            loop {
                let wanted = desk::Wanted {
                    identity: id("agent/fired-bot"),
                    public_key: first.key.public_key().clone(),
                    profile: None,
                    life: desk::Life::Asked(None),
                    dns: Vec::new(),
                    ip: Vec::new(),
                };
                let ground = desk::Ground { act: Act::Reenrol, detail: None, invite: None, after: Some(serial) };
                match estate.shared.desk.issue(wanted, ground, START).await {
                    Ok(handed) => serial = handed.serial,
                    Err(desk::DeskError::Revoked) => return,
                    Err(error) => panic!("{error}"),
                }
                renewals.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    while renewals.load(std::sync::atomic::Ordering::SeqCst) < 5 {
        tokio::task::yield_now().await;
    }
    let target = Target::Identity(id("agent/fired-bot"));
    let revocation = estate.fixture.authority.revoke(&target, RevocationReason::KeyCompromise).await.unwrap();
    chased.await.unwrap();
    let filter = crate::Filter { identity: Some(id("agent/fired-bot")), ..crate::Filter::default() };
    let all = estate.fixture.authority.list(&filter).await.unwrap();
    assert!(all.iter().all(|record| record.revoked_at.is_some()), "something still lives");
    assert_eq!(revocation.revoked.len(), all.len(), "and every one is in the answer");
    let lists = estate.fixture.authority.crls().unwrap();
    assert!(all.iter().all(|record| lists.iter().any(|list| list.revokes(&record.serial).is_some())));
}

#[tokio::test]
async fn whoever_is_revoked_by_identity_cannot_come_back_by_what_has_ended() {
    let estate = Estate::new().await;
    let older = estate.holder("agent/laptop-bot").await;
    estate.fixture.clock.advance(Duration::from_secs(2 * 3600));
    let newer = estate.holder("agent/laptop-bot").await;
    estate.fixture.clock.advance(Duration::from_secs(2 * 3600));
    let target = Target::Identity(id("agent/laptop-bot"));
    estate.fixture.authority.revoke(&target, RevocationReason::KeyCompromise).await.unwrap();
    let csr = Holder::new().key.request().unwrap();
    for old in [&older, &newer] {
        estate.post(None, EXPIRED, &proof(&estate, old, &csr).await).await.refused(403, "revoked");
    }
}

#[tokio::test]
async fn administrators_do_not_prolong_themselves() {
    let estate = Estate::new().await;
    let admin = estate.holder("admin/root-admin").await;
    let csr = Holder::new().key.request().unwrap();
    estate.reenrol(&admin, &csr).await.unwrap().refused_text(403, "mint admin");
    estate.fixture.clock.advance(Duration::from_secs(26 * 3600));
    estate.post(None, EXPIRED, &proof(&estate, &admin, &csr).await).await.refused(403, "admin_refused");
}
