//! Invites over EST: once, by one key, for one identity, and nothing that a request says about itself.

use countermark_identity::Role;

use super::*;

#[tokio::test]
async fn an_invite_enrols_its_identity_and_the_same_key_gets_the_same_answer_again() {
    let estate = Estate::new().await;
    let secret = estate.invite("agent/billing-bot").await;
    let (newcomer, other) = (Holder::new(), Holder::new());
    let first = estate.enrol(&basic(&secret), &newcomer.key.request().unwrap()).await;
    let newcomer = newcomer.with(&first);
    assert_eq!(newcomer.leaf().spiffe_id(), Some(&id("agent/billing-bot")));
    assert_eq!(newcomer.chain.len(), 1, "only the certificate that was issued (RFC 7030 §4.2.3)");
    assert_eq!(estate.last(Act::Join).await.identity.as_deref(), Some(id("agent/billing-bot").as_str()));

    let again = estate.enrol(&basic(&secret), &newcomer.key.request().unwrap()).await;
    assert_eq!(again.certificates(), newcomer.chain, "a lost answer strands nobody");
    let thief = estate.enrol(&basic(&secret), &other.key.request().unwrap()).await;
    thief.refused_text(403, "another key");
    assert_eq!(estate.last(Act::Join).await.outcome, Outcome::Refused);

    // It lives: the next certificate comes by the first.
    let renewed = estate.reenrol(&newcomer, &other.key.request().unwrap()).await.unwrap();
    assert_eq!(other.with(&renewed).leaf().spiffe_id(), Some(&id("agent/billing-bot")));
    estate.fixture.clock.advance(std::time::Duration::from_secs(3700));
    let late = estate.enrol(&basic(&secret), &newcomer.key.request().unwrap()).await;
    late.refused_text(403, "used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_who_race_for_an_invite_exactly_one_wins() {
    let estate = Arc::new(Estate::new().await);
    let secret = estate.invite("agent/billing-bot").await;
    let racers = 1000;
    let mut racing = tokio::task::JoinSet::new();
    for lane in 0..20 {
        let (estate, secret) = (Arc::clone(&estate), secret.clone());
        racing.spawn(async move {
            let mut send = estate.connect(None).await.unwrap();
            let (mut won, mut lost) = (0, 0);
            for _ in 0..racers / 20 {
                let csr = KeyPair::generate(KeyType::P256).unwrap().request().unwrap();
                let mut request = post("/.well-known/est/simpleenroll", STANDARD.encode(csr));
                request.headers_mut().insert(AUTHORIZATION, basic(&secret).parse().unwrap());
                match call_on(&mut send, request).await.unwrap().status.as_u16() {
                    200 => won += 1,
                    403 => lost += 1,
                    other => panic!("{other} in lane {lane}"),
                }
            }
            (won, lost)
        });
    }
    let (mut won, mut lost) = (0, 0);
    while let Some(lane) = racing.join_next().await {
        let lane = lane.unwrap();
        won += lane.0;
        lost += lane.1;
    }
    assert_eq!((won, lost), (1, racers - 1));
    let filter = crate::Filter { identity: Some(id("agent/billing-bot")), ..crate::Filter::default() };
    assert_eq!(estate.fixture.authority.list(&filter).await.unwrap().len(), 1, "one row, not a row for each");
}

#[tokio::test]
async fn an_invite_that_expired_or_never_was_enrols_nobody() {
    let estate = Estate::new().await;
    let secret = estate.invite("agent/billing-bot").await;
    let csr = Holder::new().key.request().unwrap();
    estate.fixture.clock.advance(std::time::Duration::from_secs(901));
    estate.enrol(&basic(&secret), &csr).await.refused_text(403, "expired");
    estate.enrol(&basic("bm8"), &csr).await.refused_text(401, "no such invite");
    for malformed in ["Basic !", "Basic bm8=", "Digest x", "Basic"] {
        estate.enrol(malformed, &csr).await.refused_text(401, "Authorization");
    }
    let bare = estate.call(None, post("/.well-known/est/simpleenroll", csr)).await.unwrap();
    bare.refused_text(401, "takes an invite");
    assert!(bare.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn revoking_an_identity_ends_its_open_invites_and_no_neighbour_s() {
    let estate = Estate::new().await;
    estate.holder("agent/fired-bot").await;
    let (fired, neighbour) = (estate.invite("agent/fired-bot").await, estate.invite("agent/fired-bot-2").await);
    let target = crate::Target::Identity(id("agent/fired-bot"));
    estate.fixture.authority.revoke(&target, countermark_issue::RevocationReason::KeyCompromise).await.unwrap();
    let csr = Holder::new().key.request().unwrap();
    estate.enrol(&basic(&fired), &csr).await.refused_text(403, "expired");
    assert_eq!(estate.enrol(&basic(&neighbour), &csr).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_secret_is_nowhere_in_the_inventory() {
    let estate = Estate::new().await;
    let secret = estate.invite("agent/billing-bot").await;
    for file in std::fs::read_dir(estate.fixture.path()).unwrap().filter_map(Result::ok) {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn administrators_and_foreigners_are_not_invited() {
    let estate = Estate::new().await;
    let refused = |path: &str| InviteRequest { identity: id(path), ..estate.invite_request("agent/a") };
    let authority = &estate.fixture.authority;
    let admin = authority.invite(&refused("admin/root"), "a test").await.unwrap_err();
    assert!(matches!(admin, AuthorityError::NotInvited(_)), "{admin}");
    let foreign =
        InviteRequest { identity: "spiffe://other/agent/a".parse().unwrap(), ..estate.invite_request("agent/a") };
    assert!(matches!(authority.invite(&foreign, "a test").await, Err(AuthorityError::ForeignIdentity { .. })));
    let long = InviteRequest { valid_for: DAY * 8, ..estate.invite_request("agent/a") };
    assert!(matches!(authority.invite(&long, "a test").await, Err(AuthorityError::InviteTooLong(_))));
    let profile = InviteRequest { profile: Some("../root".to_owned()), ..estate.invite_request("agent/a") };
    assert!(matches!(authority.invite(&profile, "a test").await, Err(AuthorityError::ProfileName(_))));
    assert_eq!(authority.named_profile("server", Role::Server).unwrap().role(), Role::Server);
    assert!(matches!(authority.named_profile("server", Role::Agent), Err(AuthorityError::ProfileRole { .. })));
}

/// Made by OpenSSL, with everything in it that a request might want for itself.
fn greedy(algorithm: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let config = "[req]\ndistinguished_name=dn\nprompt=no\nreq_extensions=ext\n[dn]\nCN=root\n[ext]\n\
        basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n\
        subjectAltName=URI:spiffe://agents.internal/admin/root,DNS:evil.example\n";
    std::fs::write(directory.path().join("greedy.cnf"), config).unwrap();
    let command =
        format!("req -new -config greedy.cnf -newkey {algorithm} -nodes -keyout key.pem -outform DER -out csr.der");
    openssl(directory.path(), &command).unwrap();
    std::fs::read(directory.path().join("csr.der")).unwrap()
}

#[tokio::test]
async fn a_request_chooses_nothing_but_its_key() {
    let estate = Estate::new().await;
    let secret = estate.invite("agent/billing-bot").await;
    let csr = greedy("ec -pkeyopt ec_paramgen_curve:P-256");
    let chain = estate.enrol(&basic(&secret), &csr).await.certificates();
    let leaf = Leaf::parse(&chain[0]).unwrap();
    assert_eq!(leaf.sans().len(), 1, "{:?}", leaf.sans());
    assert_eq!(leaf.spiffe_id(), Some(&id("agent/billing-bot")));
}

#[tokio::test]
async fn requests_that_are_weak_broken_or_huge_are_refused_and_spend_no_invite() {
    let estate = Estate::new().await;
    let secret = estate.invite("agent/billing-bot").await;
    estate.enrol(&basic(&secret), &greedy("rsa:1024")).await.refused_text(400, "1024");
    estate.enrol(&basic(&secret), &greedy("ec -pkeyopt ec_paramgen_curve:secp224r1")).await.refused_text(400, "curve");
    let good = Holder::new();
    let mut tampered = good.key.request().unwrap();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    estate.enrol(&basic(&secret), &tampered).await.refused_text(400, "signature");
    estate.enrol(&basic(&secret), b"\x30\x03garbage").await.refused_text(400, "PKCS#10");
    let mut request = post("/.well-known/est/simpleenroll", vec![b'A'; 10 * 1024 * 1024]);
    request.headers_mut().insert(AUTHORIZATION, basic(&secret).parse().unwrap());
    match estate.call(None, request).await {
        Ok(answer) => drop(answer.refused_text(413, "64 KiB")),
        // The answer may come before ten megabytes have left, and the connection with it.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let fine = estate.enrol(&basic(&secret), &good.key.request().unwrap()).await;
    assert_eq!(fine.certificates().len(), 1);
}

#[tokio::test]
async fn every_form_of_a_body_is_read() {
    let estate = Estate::new().await;
    let (holder, key) = (estate.holder("agent/billing-bot").await, Holder::new().key);
    let der = key.request().unwrap();
    let pem = countermark_issue::to_pem("CERTIFICATE REQUEST", &der);
    let lines = cms::base64_lines(&der).replace('\n', "\r\n");
    for body in [der.clone(), pem.into_bytes(), lines.into_bytes(), STANDARD.encode(&der).into_bytes()] {
        let request = post("/.well-known/est/simplereenroll", body);
        assert_eq!(estate.call(Some(&holder), request).await.unwrap().certificates().len(), 1);
    }
}

#[tokio::test]
async fn too_many_from_one_address_are_told_when_to_come_back() {
    let estate = Estate::with(|config| config.rates.address_per_minute = 2).await;
    let csr = Holder::new().key.request().unwrap();
    for _ in 0..2 {
        assert_eq!(estate.enrol(&basic("bm8"), &csr).await.status, StatusCode::UNAUTHORIZED);
    }
    let third = estate.enrol(&basic("bm8"), &csr).await;
    third.refused_text(429, "try again");
    assert!(third.headers.contains_key("retry-after"));
}
