//! Revocation and the CRLs that carry it.

use countermark_issue::RevocationReason;

use super::*;
use crate::{Act, AuthorityError, CRL_LIFE, Filter, Outcome, State, Target};

fn identity(path: &str) -> Target {
    Target::Identity(id(path))
}

#[tokio::test]
async fn by_serial_one_certificate_ends_and_openssl_agrees() {
    let fixture = Fixture::new().await;
    let one = fixture.mint("agent/a").await;
    let two = fixture.mint("agent/a").await;
    let done =
        fixture.authority.revoke(&Target::Serial(one.serial.clone()), RevocationReason::KeyCompromise).await.unwrap();
    assert_eq!(done.revoked.len(), 1);
    assert!(matches!(fixture.verify(&one.chain), Err(ChainError::Revoked { .. })));
    fixture.verify(&two.chain).unwrap();

    let text = openssl(fixture.path(), "crl -in crl.pem -noout -text").unwrap();
    assert!(text.contains("Version 2"), "{text}");
    let pem: String = one.chain[..1].iter().map(|der| countermark_issue::to_pem("CERTIFICATE", der)).collect();
    std::fs::write(fixture.path().join("leaf.crt"), pem).unwrap();
    let verify = format!(
        "verify -crl_check_all -CRLfile crl.pem -attime {} -CAfile root.crt -untrusted intermediate.crt leaf.crt",
        START.as_secs()
    );
    assert!(openssl(fixture.path(), &verify).unwrap_err().contains("certificate revoked"));
}

#[tokio::test]
async fn by_identity_whatever_lives_or_could_be_revived_and_every_sub_agent_ends_and_no_neighbour() {
    let fixture = Fixture::new().await;
    let beyond = fixture.mint("agent/billing-bot").await;
    fixture.clock.advance(Duration::from_secs(74 * 3600));
    // Its key could renew it for three days after its end.
    let expired = fixture.mint("agent/billing-bot").await;
    fixture.clock.advance(Duration::from_secs(2 * 3600));
    let mut ended = Vec::new();
    for path in ["agent/billing-bot", "agent/billing-bot", "agent/billing-bot/sub/1"] {
        ended.push(fixture.mint(path).await);
    }
    let mut neighbours = Vec::new();
    for path in ["agent/billing-bot2", "agent/billing-bo", "server/billing-bot", "agent/billing-bot-sub"] {
        neighbours.push(fixture.mint(path).await);
    }
    let done = fixture.authority.revoke(&identity("agent/billing-bot"), RevocationReason::default()).await.unwrap();
    assert_eq!(done.revoked.len(), 4);
    assert!(done.revoked.iter().any(|record| record.serial == expired.serial));
    assert!(done.revoked.iter().all(|record| record.serial != beyond.serial));
    for issued in &ended {
        assert!(matches!(fixture.verify(&issued.chain), Err(ChainError::Revoked { .. })));
    }
    for issued in &neighbours {
        fixture.verify(&issued.chain).unwrap();
    }
}

#[tokio::test]
async fn asking_twice_keeps_date_and_reason() {
    let fixture = Fixture::new().await;
    let issued = fixture.mint("agent/a").await;
    let target = identity("agent/a");
    fixture.authority.revoke(&target, RevocationReason::KeyCompromise).await.unwrap();
    fixture.clock.advance(Duration::from_secs(60));
    let again = fixture.authority.revoke(&target, RevocationReason::Superseded).await.unwrap();
    assert!(again.revoked.is_empty());
    assert_eq!(again.already.len(), 1);
    let record = &fixture.authority.list(&Filter::default()).await.unwrap()[0];
    assert_eq!(record.state(START), State::Revoked);
    assert_eq!((record.revoked_at, record.reason), (Some(START), Some(RevocationReason::KeyCompromise)));
    let crls = fixture.authority.crls().unwrap();
    let entry = crls[1].revokes(&issued.serial).unwrap();
    assert_eq!(entry.at, START);
}

#[tokio::test]
async fn what_was_never_minted_is_refused_and_written_down() {
    let fixture = Fixture::new().await;
    let before = fixture.numbers();
    let unknown = fixture.authority.revoke(&identity("agent/nobody"), RevocationReason::default()).await;
    assert!(matches!(unknown, Err(AuthorityError::UnknownIdentity(_))));
    let serial = "0102030405060708".parse().unwrap();
    let unknown = fixture.authority.revoke(&Target::Serial(serial), RevocationReason::default()).await;
    assert!(matches!(unknown, Err(AuthorityError::UnknownSerial(_))));
    assert_eq!(fixture.numbers(), before);
    let audit = fixture.authority.audit_trail(2).await.unwrap();
    assert!(audit.iter().all(|line| (line.act, line.outcome) == (Act::Revoke, Outcome::Refused)));
}

#[tokio::test]
async fn every_act_signs_anew_under_a_greater_number_across_restarts() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.numbers(), ["1", "1"]);
    fixture.mint("agent/a").await;
    assert_eq!(fixture.numbers(), ["1", "2"]);
    fixture.reopen().revoke(&identity("agent/a"), RevocationReason::default()).await.unwrap();
    assert_eq!(fixture.numbers(), ["1", "3"]);
    let report = fixture.reopen().crl().await.unwrap();
    assert_eq!(fixture.numbers(), ["1", "4"]);
    assert_eq!(report.crls.len(), 2);
    assert_eq!(report.next_update, START.saturating_add(CRL_LIFE));
}

/// Sixty days, one signature every three: the file is never stale, and a revoked certificate leaves it only when no CRL
/// that could still be believed was signed during its life.
#[tokio::test]
async fn crls_stay_fresh_for_sixty_days() {
    let fixture = Fixture::new().await;
    let day = MintRequest { ttl: Some(DAY), ..request("agent/a") };
    let issued = fixture.authority.mint(&day).await.unwrap();
    fixture.authority.revoke(&Target::Serial(issued.serial.clone()), RevocationReason::default()).await.unwrap();
    let mut last = 0;
    for days in 0..60_u64 {
        let now = fixture.clock.now();
        if days % 3 == 0 {
            fixture.authority.crl().await.unwrap();
        }
        let crls = fixture.authority.crls().unwrap();
        assert_eq!(crls.len(), 2);
        assert!(crls.iter().all(|crl| crl.this_update() <= now && now < crl.next_update()), "day {days}");
        let number: u64 = crls[1].number().unwrap().to_string().parse().unwrap();
        assert!(if days % 3 == 0 { number > last } else { number == last });
        last = number;
        let listed = crls[1].revokes(&issued.serial).is_some();
        let signed = days / 3 * 3;
        assert_eq!(listed, signed <= 8, "day {days}: it ends on day 1 and stays listed for a CRL's life");
        fixture.clock.advance(DAY);
    }
}

#[tokio::test]
async fn a_stale_crl_denies_everyone_and_one_command_mends_it() {
    let fixture = Fixture::new().await;
    let old = std::fs::read(fixture.authority.crl_path()).unwrap();
    fixture.clock.advance(CRL_LIFE + DAY);
    let issued = fixture.mint("agent/a").await;
    fixture.verify(&issued.chain).expect("every mint signs anew");
    std::fs::write(fixture.authority.crl_path(), old).unwrap();
    assert!(matches!(fixture.verify(&issued.chain), Err(ChainError::RevocationUnknown { .. })));
    fixture.reopen().crl().await.unwrap();
    fixture.verify(&issued.chain).unwrap();
}

#[tokio::test]
async fn the_root_lists_an_intermediate_that_is_revoked_and_everything_below_it_falls() {
    let fixture = Fixture::new().await;
    let first = fixture.mint("agent/billing-bot").await;
    let issuer = |listed: &[crate::CertificateRecord], issued: &Issued| {
        listed.iter().find(|record| record.serial == issued.serial).unwrap().issuer.clone()
    };
    let listed = fixture.authority.list(&Filter::default()).await.unwrap();
    let key_id = issuer(&listed, &first);
    let done = fixture.authority.revoke_issuer(&key_id, RevocationReason::KeyCompromise).await.unwrap();
    assert!(done.renewed && done.certificates == 1, "{done:?}");
    let ca = &first.chain[1];
    let serial = countermark_issue::ca_facts(ca).unwrap().serial;
    let crls = fixture.authority.crls().unwrap();
    assert!(crls[0].revokes(&serial).is_some(), "the root's is the first");
    assert!(crls.iter().any(|crl| crl.revokes(&first.serial).is_some()));

    let second = fixture.mint("agent/billing-bot").await;
    assert_ne!(second.chain[1], first.chain[1]);
    fixture.verify(&second.chain).unwrap();
    assert!(matches!(fixture.verify(&first.chain), Err(ChainError::Revoked { .. })));
    // A renewal of the intermediate signs the root's list anew, and forgets nothing.
    fixture.authority.renew_intermediate().await.unwrap();
    assert!(fixture.authority.crls().unwrap()[0].revokes(&serial).is_some());
    let again = fixture.authority.revoke_issuer(&key_id, RevocationReason::Superseded).await.unwrap();
    assert!(!again.renewed && again.certificates == 0);
    assert_eq!(
        fixture.authority.crls().unwrap()[0].revokes(&serial).unwrap().reason,
        crls[0].revokes(&serial).unwrap().reason
    );

    let unknown = fixture.authority.revoke_issuer("00000000", RevocationReason::Superseded).await.unwrap_err();
    assert!(matches!(unknown, AuthorityError::UnknownIssuer(_)), "{unknown}");
    std::fs::remove_file(fixture.path().join("root.key")).unwrap();
    let current = issuer(&fixture.authority.list(&Filter::default()).await.unwrap(), &second);
    let refused = fixture.authority.revoke_issuer(&current, RevocationReason::KeyCompromise).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::RootKeyAbsent(_)), "{refused}");
    fixture.verify(&second.chain).unwrap();
}
