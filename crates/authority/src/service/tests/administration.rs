//! What administrators may, and nobody else.

use serde_json::json;

use super::*;

#[tokio::test]
async fn an_administrator_mints_lists_revokes_and_invites() {
    let estate = Estate::new().await;
    let (admin, key) = (estate.holder("admin/root-admin").await, Holder::new().key);
    let csr = countermark_issue::to_pem("CERTIFICATE REQUEST", &key.request().unwrap());
    let body = json!({"role": "server", "name": "ledger", "dns": ["ledger.internal"], "ttl": "2h", "csr": csr});
    let minted = estate.post(Some(&admin), "/v1/certificates", &body).await;
    assert_eq!(minted.status, StatusCode::CREATED, "{}", minted.text());
    let minted = minted.json();
    assert_eq!(minted["spiffe_id"], "spiffe://agents.internal/server/ledger");
    assert_eq!(minted["chain"].as_array().unwrap().len(), 2);
    let line = estate.last(Act::Mint).await;
    assert!(line.detail.unwrap().contains("admin/root-admin"), "who asked is written down");

    let list = estate.get(Some(&admin), "/v1/certificates?agent=server/ledger&state=live").await.json();
    assert_eq!(list["certificates"][0]["serial"], minted["serial"]);
    let row = &list["certificates"][0];
    assert_eq!((row["state"].as_str(), row["role"].as_str()), (Some("live"), Some("server")));

    let revoked = estate.post(Some(&admin), "/v1/revocations", &json!({"agent": "server/ledger"})).await.json();
    assert_eq!(revoked["revoked"], json!([minted["serial"]]));
    assert!(revoked["crl_number"].is_u64(), "{revoked}");
    let list = estate.get(Some(&admin), "/v1/certificates?state=revoked").await.json();
    assert_eq!(list["certificates"].as_array().unwrap().len(), 1);

    let body = json!({"role": "agent", "name": "billing-bot", "valid_for": "15m"});
    let invited = estate.post(Some(&admin), "/v1/invites", &body).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{}", invited.text());
    let file: toml::Table = toml::from_str(invited.json()["invite"].as_str().unwrap()).unwrap();
    assert_eq!(file["url"].as_str(), Some(estate.shared.url.as_str()));
    let root = countermark_identity::Thumbprint::of(estate.shared.authority.root()).to_hex();
    assert_eq!(file["root_sha256"].as_str(), Some(root.as_str()));
    let newcomer = Holder::new();
    let answer = estate.enrol(&basic(file["secret"].as_str().unwrap()), &newcomer.key.request().unwrap()).await;
    assert_eq!(newcomer.with(&answer).leaf().spiffe_id(), Some(&id("agent/billing-bot")));
}

#[tokio::test]
async fn nobody_else_may() {
    let estate = Estate::new().await;
    let (agent, server) = (estate.holder("agent/billing-bot").await, estate.holder("server/ledger").await);
    let body = json!({"role": "agent", "name": "x", "csr": ""});
    for path in ["/v1/certificates", "/v1/revocations", "/v1/invites"] {
        estate.post(None, path, &body).await.refused(401, "certificate_required");
        for holder in [&agent, &server] {
            estate.post(Some(holder), path, &body).await.refused(403, "not_an_administrator");
        }
    }
    estate.get(Some(&agent), "/v1/certificates").await.refused(403, "not_an_administrator");
    estate.get(None, "/v1/certificates").await.refused(401, "certificate_required");
    assert_eq!(estate.last(Act::Invite).await.outcome, Outcome::Refused);
    estate.get(None, "/v1/nowhere").await.refused(401, "certificate_required");
    estate.get(Some(&agent), "/v1/nowhere").await.refused(404, "not_found");
    estate.get(Some(&agent), "/v1/revocations").await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn administrators_are_not_minted_from_afar_and_mistakes_are_explained() {
    let estate = Estate::new().await;
    let admin = estate.holder("admin/root-admin").await;
    let csr = countermark_issue::to_pem("CERTIFICATE REQUEST", &Holder::new().key.request().unwrap());
    let mint = async |body: Value| estate.post(Some(&admin), "/v1/certificates", &body).await;
    mint(json!({"role": "admin", "name": "eve", "csr": csr})).await.refused(403, "admin_refused");
    mint(json!({"role": "robot", "name": "eve", "csr": csr})).await.refused(400, "bad_request");
    mint(json!({"role": "agent", "name": "e ve", "csr": csr})).await.refused(400, "bad_request");
    mint(json!({"role": "agent", "name": "eve", "csr": "x"})).await.refused(400, "bad_request");
    mint(json!({"role": "agent", "name": "eve", "csr": csr, "ttl": "8d"})).await.refused(403, "not_allowed");
    mint(json!({"role": "agent", "name": "eve", "csr": csr, "ttl": "long"})).await.refused(400, "bad_request");
    mint(json!({"role": "agent", "name": "eve", "csr": csr, "dns": ["x.example"]})).await.refused(403, "not_allowed");
    mint(json!({"role": "agent", "name": "eve", "csr": csr, "profile": "../x"})).await.refused(403, "not_allowed");
    mint(json!({"role": "agent", "name": "eve", "csr": csr, "uri": "x"})).await.refused(400, "bad_request");
    let revoke = async |body: Value| estate.post(Some(&admin), "/v1/revocations", &body).await;
    revoke(json!({"serial": "00ff"})).await.refused(404, "not_found");
    revoke(json!({"agent": "nobody"})).await.refused(404, "not_found");
    revoke(json!({"agent": "a", "serial": "00ff"})).await.refused(400, "bad_request");
    revoke(json!({"agent": "a", "reason": "boredom"})).await.refused(400, "bad_request");
    estate.get(Some(&admin), "/v1/certificates?state=odd").await.refused(400, "bad_request");
    estate.get(Some(&admin), "/v1/certificates?color=red").await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_list_comes_in_pages_without_gaps() {
    let estate = Estate::new().await;
    let admin = estate.holder("admin/root-admin").await;
    for name in 0..7 {
        estate.holder(&format!("agent/a{name}")).await;
        estate.fixture.clock.advance(std::time::Duration::from_secs(name % 2));
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = estate.get(Some(&admin), &format!("/v1/certificates?limit=3{after}")).await.json();
        seen.extend(
            page["certificates"].as_array().unwrap().iter().map(|row| row["serial"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let all = estate.fixture.authority.list(&crate::Filter::default()).await.unwrap();
    assert_eq!(seen, all.iter().map(|record| record.serial.to_string()).collect::<Vec<_>>());
    assert_eq!(seen.len(), 9, "seven, the administrator and the service itself");
}

#[tokio::test]
async fn one_identity_does_not_take_everything() {
    let estate = Estate::with(|config| config.rates.identity_per_minute = 2).await;
    let (admin, agent) = (estate.holder("admin/root-admin").await, estate.holder("agent/billing-bot").await);
    for _ in 0..2 {
        assert_eq!(estate.get(Some(&admin), "/v1/certificates").await.status, StatusCode::OK);
    }
    estate.get(Some(&admin), "/v1/certificates").await.refused(429, "rate_limited");
    let csr = Holder::new().key.request().unwrap();
    assert_eq!(estate.reenrol(&agent, &csr).await.unwrap().status, StatusCode::OK, "others go on");
}
