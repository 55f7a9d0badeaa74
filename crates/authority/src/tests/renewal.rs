//! Intermediates: when they are renewed, what lives on, and what an absent root key means.

use std::fs;

use countermark_issue::INTERMEDIATE_LIFE;

use super::*;
use crate::{Act, AuthorityError, Outcome, Warning};

/// The intermediates' directories, without the link.
fn issuers(fixture: &Fixture) -> usize {
    fs::read_dir(fixture.path().join("issuers")).unwrap().count() - 1
}

/// Sixty days around two thirds of the intermediate's life, one certificate a day.
#[tokio::test]
async fn it_is_renewed_at_two_thirds_and_nobody_notices() {
    let fixture = Fixture::new().await;
    let due = INTERMEDIATE_LIFE / 3 * 2;
    fixture.clock.advance(due - DAY * 30);
    let first = fs::read_link(fixture.path().join("issuers/current")).unwrap();
    let mut yesterday: Option<Issued> = None;
    let mut renewed_on = None;
    for day in 0..60 {
        let request = MintRequest { ttl: Some(DAY), ..request("agent/a") };
        let issued = fixture.authority.mint(&request).await.unwrap();
        fixture.verify(&issued.chain).unwrap();
        if let Some(yesterday) = yesterday.take() {
            fixture.verify(&yesterday.chain).unwrap_or_else(|error| panic!("day {day}: {error}"));
        }
        let current = fs::read_link(fixture.path().join("issuers/current")).unwrap();
        if current != first && renewed_on.is_none() {
            renewed_on = Some(day);
            assert_eq!(fixture.authority.crls().unwrap().len(), 3, "the old one's leaves live on");
        }
        assert!(issued.warnings.is_empty(), "day {day}: {:?}", issued.warnings);
        yesterday = Some(issued);
        fixture.clock.advance(DAY);
    }
    assert_eq!(renewed_on, Some(30));
    assert_eq!(issuers(&fixture), 2, "once");
    let crls = fixture.authority.crls().unwrap();
    assert_eq!(crls.len(), 2, "no leaf of the old one lives");
    let status = fixture.authority.status().unwrap();
    assert_eq!(crls[0].next_update(), status.intermediate_ends, "the root's CRL lives as long as the intermediate");
    assert_eq!(crls[0].number().unwrap().to_string(), "2");
    let trail = fixture.authority.audit_trail(200).await.unwrap();
    let renewals = trail.iter().filter(|line| (line.act, line.outcome) == (Act::Renew, Outcome::Done)).count();
    assert_eq!(renewals, 1);
}

#[tokio::test]
async fn without_the_root_s_key_it_warns_and_goes_on_until_the_key_comes_back() {
    let fixture = Fixture::new().await;
    let (key, away) = (fixture.path().join("root.key"), fixture.directory.path().join("safe.key"));
    fs::rename(&key, &away).unwrap();
    assert!(fixture.mint("agent/a").await.warnings.is_empty());
    let refused = fixture.authority.renew_intermediate().await.unwrap_err();
    assert!(matches!(refused, AuthorityError::RootKeyAbsent(_)), "{refused}");
    let line = &fixture.authority.audit_trail(1).await.unwrap()[0];
    assert_eq!((line.act, line.outcome), (Act::Renew, Outcome::Refused));

    fixture.clock.advance(INTERMEDIATE_LIFE / 3 * 2);
    let issued = fixture.mint("agent/a").await;
    let status = fixture.authority.status().unwrap();
    assert_eq!(issued.warnings, [Warning::IntermediateEnds(status.intermediate_ends)]);
    assert_eq!(status.warnings, issued.warnings);
    assert!(!status.root_key_present);
    assert_eq!(issuers(&fixture), 1);
    fixture.verify(&issued.chain).unwrap();

    fs::rename(&away, &key).unwrap();
    assert!(fixture.mint("agent/a").await.warnings.is_empty());
    assert_eq!(issuers(&fixture), 2);
}

#[tokio::test]
async fn a_root_key_that_does_not_open_is_a_warning_for_a_mint_and_an_error_for_a_renewal() {
    let fixture = Fixture::new().await;
    fs::write(fixture.path().join("root.key"), b"garbage").unwrap();
    assert!(matches!(fixture.authority.renew_intermediate().await, Err(AuthorityError::Key { .. })));
    fixture.clock.advance(INTERMEDIATE_LIFE / 3 * 2);
    let issued = fixture.mint("agent/a").await;
    assert!(matches!(issued.warnings[..], [Warning::RenewalFailed { .. }]), "{:?}", issued.warnings);
}

#[tokio::test]
async fn by_hand_it_is_renewed_at_once_and_other_processes_follow() {
    let fixture = Fixture::new().await;
    let other = fixture.reopen();
    let before = other.mint(&request("agent/a")).await.unwrap();
    let renewal = fixture.authority.renew_intermediate().await.unwrap();
    assert_eq!(renewal.ends, START.saturating_add(INTERMEDIATE_LIFE));
    let after = other.mint(&request("agent/a")).await.unwrap();
    assert_eq!(after.chain[1], renewal.certificate);
    assert_ne!(after.chain[1], before.chain[1]);
    fixture.verify(&before.chain).unwrap();
    fixture.verify(&after.chain).unwrap();
    let revoked = other
        .revoke(&crate::Target::Serial(before.serial.clone()), countermark_issue::RevocationReason::Superseded)
        .await
        .unwrap();
    assert_eq!(revoked.revoked.len(), 1);
    assert!(matches!(fixture.verify(&before.chain), Err(ChainError::Revoked { .. })));
    openssl(fixture.path(), &format!("verify -attime {} -CAfile root.crt intermediate.crt", START.as_secs())).unwrap();
}

#[tokio::test]
async fn a_sealed_authority_seals_its_new_intermediate() {
    let directory = tempfile::tempdir().unwrap();
    let protection = KeyProtection::Passphrase(secret("correct"));
    let authority = Authority::init(directory.path(), &domain(), protection, Hand::new()).await.unwrap();
    authority.renew_intermediate().await.unwrap();
    let key = fs::read_to_string(directory.path().join("intermediate.key")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    openssl(directory.path(), "pkey -in intermediate.key -passin pass:correct -noout").unwrap();
}

#[tokio::test]
async fn near_the_end_of_the_root_it_warns_and_does_not_renew_in_vain() {
    let fixture = Fixture::new().await;
    let status = fixture.authority.status().unwrap();
    fixture.clock.advance(status.root_ends.duration_since(START) - DAY * 100);
    let renewal = fixture.authority.renew_intermediate().await.unwrap();
    assert_eq!(renewal.ends, status.root_ends);
    assert_eq!(renewal.warnings, [Warning::RootEnds(status.root_ends)]);
    fixture.clock.advance(DAY * 90);
    let count = issuers(&fixture);
    let issued = fixture.mint("agent/a").await;
    assert_eq!(issued.warnings, [Warning::RootEnds(status.root_ends)]);
    assert_eq!(issuers(&fixture), count, "a new one would end no later");
}
