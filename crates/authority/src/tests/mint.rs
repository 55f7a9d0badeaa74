//! Minting: what comes out, what is written down, what is refused.

use std::fs;

use countermark_credential::{Credential, Issuer as _};
use countermark_identity::Role;
use countermark_issue::{CsrError, Profile, PublicKeyError, SignError};

use super::*;
use crate::{Act, AuthorityError, Filter, IdentityIssuer, Outcome, State};

#[tokio::test]
async fn a_minted_chain_is_believed_and_stands_in_the_inventory() {
    let fixture = Fixture::new().await;
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let request =
        MintRequest { subject_key: SubjectKey::Public(key.public_key().clone()), ..request("agent/billing-bot") };
    let issued = fixture.authority.mint(&request).await.unwrap();
    fixture.verify(&issued.chain).unwrap();
    assert_eq!(issued.not_after, START.saturating_add(Duration::from_secs(3600)));
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
    Credential::new(issued.chain.clone(), key.into()).unwrap();

    let listed = fixture.authority.list(&Filter::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].serial, issued.serial);
    assert_eq!(listed[0].identity, id("agent/billing-bot"));
    assert_eq!(listed[0].state(START), State::Live);
    assert_eq!(listed[0].state(issued.not_after.saturating_add(DAY)), State::Expired);
    assert_eq!(listed[0].thumbprint, Some(countermark_identity::Thumbprint::of(&issued.chain[0])));

    let audit = fixture.authority.audit_trail(10).await.unwrap();
    assert_eq!((audit[0].act, audit[0].outcome), (Act::Mint, Outcome::Done));
    assert_eq!(audit[0].serial, Some(issued.serial.to_string()));
    assert_eq!(audit.last().map(|line| line.act), Some(Act::Init));
}

#[tokio::test]
async fn every_refusal_is_written_down() {
    let fixture = Fixture::new().await;
    let long = MintRequest { ttl: Some(DAY * 2), ..request("agent/a") };
    let refused = fixture.authority.mint(&long).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Sign(SignError::TooLong { .. })), "{refused}");
    let foreign = MintRequest { identity: "spiffe://other.internal/agent/a".parse().unwrap(), ..request("agent/a") };
    let refused = fixture.authority.mint(&foreign).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::ForeignIdentity { .. }), "{refused}");
    let nobody = MintRequest { identity: id("ns/crm/sa/bot"), ..request("agent/a") };
    let refused = fixture.authority.mint(&nobody).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Subject(_)), "{refused}");
    let garbage = MintRequest { subject_key: SubjectKey::Csr(b"garbage".to_vec()), ..request("agent/a") };
    let refused = fixture.authority.mint(&garbage).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Csr(CsrError::NotPem)), "{refused}");

    let audit = fixture.authority.audit_trail(4).await.unwrap();
    assert!(audit.iter().all(|line| (line.act, line.outcome) == (Act::Mint, Outcome::Refused)), "{audit:?}");
    assert!(audit[3].detail.as_deref().unwrap().contains("86400 s is the most"), "{audit:?}");
    assert!(fixture.authority.list(&Filter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_request_by_openssl_is_certified_and_a_weak_one_refused() {
    let fixture = Fixture::new().await;
    let directory = fixture.directory.path();
    openssl(
        directory,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -sha512 -nodes -keyout k.pem -subj /CN=x -out r.pem",
    )
    .unwrap();
    let csr = SubjectKey::Csr(fs::read(directory.join("r.pem")).unwrap());
    let issued = fixture.authority.mint(&MintRequest { subject_key: csr, ..request("server/ledger") }).await.unwrap();
    fixture.verify(&issued.chain).unwrap();
    openssl(directory, "req -new -newkey rsa:2048 -nodes -keyout k.pem -subj /CN=x -out r.pem").unwrap();
    let csr = SubjectKey::Csr(fs::read(directory.join("r.pem")).unwrap());
    let refused = fixture.authority.mint(&MintRequest { subject_key: csr, ..request("server/ledger") }).await;
    assert!(matches!(refused, Err(AuthorityError::Csr(CsrError::PublicKey(PublicKeyError::RsaBits(2048))))));
}

#[tokio::test]
async fn as_an_issuer_it_mints_for_one_identity_whatever_is_asked_for() {
    let fixture = Fixture::new().await;
    let directory = fixture.directory.path();
    let command = "req -new -newkey ed25519 -nodes -keyout k.pem -subj /CN=admin -outform DER -out r.der \
        -addext subjectAltName=URI:spiffe://agents.internal/admin/evil";
    openssl(directory, command).unwrap();
    let issuer = IdentityIssuer::new(Arc::new(fixture.reopen()), id("agent/a")).with_ttl(Duration::from_secs(600));
    let chain = issuer.issue(&fs::read(directory.join("r.der")).unwrap()).await.unwrap();
    let leaf = Leaf::parse(&chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id(), Some(&id("agent/a")));
    assert_eq!(leaf.not_after(), START.saturating_add(Duration::from_secs(600)));
    assert!(issuer.issue(b"garbage").await.is_err());
}

#[tokio::test]
async fn the_directory_s_profile_decides() {
    let fixture = Fixture::new().await;
    let path = fixture.path().join("profiles/agent.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("max_ttl = \"24h\"", "max_ttl = \"2h\"")).unwrap();
    let three = MintRequest { ttl: Some(Duration::from_secs(3 * 3600)), ..request("agent/a") };
    let refused = fixture.authority.mint(&three).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Sign(SignError::TooLong { .. })), "{refused}");

    fs::write(&path, text.replace("max_ttl", "mx_ttl")).unwrap();
    let broken = fixture.authority.mint(&request("agent/a")).await.unwrap_err().to_string();
    assert!(broken.contains("agent.toml: line 1") && broken.contains("mx_ttl"), "{broken}");
    fs::copy(fixture.path().join("profiles/server.toml"), &path).unwrap();
    let swapped = fixture.authority.mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(swapped, AuthorityError::ProfileRole { .. }), "{swapped}");
    fs::remove_file(&path).unwrap();
    let gone = fixture.authority.mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(gone, AuthorityError::Io { act: "read", .. }), "a lost profile is not silently the embedded one");
}

#[tokio::test]
async fn two_at_once_never_share_a_serial_or_a_number_and_the_newest_crl_stays() {
    let fixture = Fixture::new().await;
    let one = Arc::new(fixture.reopen());
    let two = Arc::new(fixture.reopen());
    let mut tasks = Vec::new();
    for count in 0..20 {
        let authority = Arc::clone(if count % 2 == 0 { &one } else { &two });
        tasks.push(tokio::spawn(async move { authority.mint(&request("agent/a")).await.unwrap().serial }));
    }
    let mut serials = std::collections::BTreeSet::new();
    for task in tasks {
        serials.insert(task.await.unwrap());
    }
    assert_eq!(serials.len(), 20);
    assert_eq!(fixture.authority.list(&Filter::default()).await.unwrap().len(), 20);
    assert_eq!(fixture.numbers(), ["1", "21"], "init's and one for each");
}

#[tokio::test]
async fn a_profile_of_one_s_own_is_used_and_must_be_of_the_role() {
    let fixture = Fixture::new().await;
    let text = Profile::embedded_text(Role::Agent).replace("default_ttl = \"1h\"", "default_ttl = \"10m\"");
    let own = Profile::parse(&text).unwrap();
    let issued = fixture.authority.mint_with_profile(&request("agent/a"), &own).await.unwrap();
    assert_eq!(issued.not_after, START.saturating_add(Duration::from_secs(600)));
    let refused = fixture.authority.mint_with_profile(&request("server/ledger"), &own).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Sign(SignError::Role { .. })), "{refused}");
}
