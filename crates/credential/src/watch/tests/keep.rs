//! What is broken does not replace what is good; what is gone is withdrawn.

use super::*;

#[test]
fn nothing_changes_when_nothing_changed() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    estate.judge(&first.trust).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.credential.is_none() && changes.trust.is_none() && changes.status.is_ready());
}

#[test]
fn the_next_generation_is_published() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    let next = estate.deliver(PATH);
    let changes = reload(&mut reloader);
    assert_ne!(first.credential.leaf().thumbprint(), next.leaf().thumbprint());
    assert_eq!(changes.credential.unwrap().leaf().thumbprint(), next.leaf().thumbprint());
    assert_eq!(changes.status.generation.unwrap().number(), 2);
}

#[test]
fn a_broken_credential_keeps_the_last_good_and_recovers() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    let path = estate.dir().join("credential-bundle.pem");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.credential.is_none() && !changes.status.is_ready());
    assert!(reason(&changes.status.credential).contains("cut off"));
    fs::write(&path, good).unwrap();
    assert!(reload(&mut reloader).status.is_ready());
}

#[test]
fn another_identity_is_not_taken_over() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    let other = estate.intermediate.credential("/agent/other", &[&estate.intermediate]);
    fs::write(estate.dir().join("credential-bundle.pem"), other.to_pem().expose()).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.credential.is_none());
    assert!(reason(&changes.status.credential).contains("/agent/other"));
}

#[test]
fn an_expired_credential_does_not_replace_the_last_good() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    let mut params = crate::testing::leaf_params(PATH);
    params.not_after = crate::testing::at(-10);
    let old = estate.intermediate.credential_with(params, &[]);
    fs::write(estate.dir().join("credential-bundle.pem"), old.to_pem().expose()).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.credential.is_none() && reason(&changes.status.credential).contains("expired"));
}

#[test]
fn a_credential_that_no_peer_could_believe_is_not_published() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    let stranger = Ca::root("stranger").credential(PATH, &[]);
    let incomplete = estate.intermediate.credential(PATH, &[]);
    for bad in [stranger, incomplete] {
        fs::write(estate.dir().join("credential-bundle.pem"), bad.to_pem().expose()).unwrap();
        let changes = reload(&mut reloader);
        assert!(changes.credential.is_none());
        assert!(reason(&changes.status.credential).contains("no root of agents.internal"));
    }
    // At the start there is no better one: it is published, and not ready.
    let (_, second) = estate.start();
    assert!(!second.status.is_ready());
    assert!(first.status.is_ready());
}

#[test]
fn a_new_root_and_a_credential_below_it_come_together() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    let root = Ca::root("new root");
    let both = vec![estate.root.der.clone(), root.der.clone()];
    let delivery = Delivery {
        credential: Arc::new(root.credential(PATH, &[])),
        bundles: vec![Bundle::new(td(), both).unwrap().with_sequence(6)],
        crls: vec![DomainCrls { trust_domain: td(), crls: vec![root.crl(&[])] }],
    };
    deliver(&estate.dir(), &delivery, NOW).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.status.is_ready() && changes.credential.is_some() && changes.trust.is_some());
}

#[test]
fn a_broken_list_keeps_the_last_good() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    let path = crl_path(&estate.dir());
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..100]).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.trust.is_none() && reason(&changes.status.trust).contains("agents.internal.crl.pem"));
    fs::write(&path, good).unwrap();
    let changes = reload(&mut reloader);
    assert!(matches!(estate.judge(&changes.trust.unwrap()), Err(ChainError::Revoked { .. })));
    assert!(changes.status.is_ready());
}

#[test]
fn a_list_that_a_stranger_signed_is_refused() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    let stranger = Ca::root("intermediate");
    for _ in 0..9 {
        stranger.crl(&[]);
    }
    estate.deliver_trust(&[estate.bundle()], vec![estate.root.crl(&[]), stranger.crl(&[])]);
    let changes = reload(&mut reloader);
    assert!(changes.trust.is_none() && reason(&changes.status.trust).contains("not signed by it"));
    // Its high number did not become the floor.
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    let changes = reload(&mut reloader);
    assert!(changes.status.is_ready() && estate.judge(&changes.trust.unwrap()).is_err());
}

#[test]
fn a_broken_bundle_keeps_the_last_good_of_its_trust_domain_alone() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    fs::write(estate.dir().join("trust/current/agents.internal.trust-bundle.pem"), "broken").unwrap();
    let changes = reload(&mut reloader);
    assert!(!changes.status.is_ready());
    // The revocation that came with it counts.
    assert!(matches!(estate.judge(&changes.trust.unwrap()), Err(ChainError::Revoked { .. })));
}

#[test]
fn a_bundle_that_is_gone_is_withdrawn_at_once() {
    let estate = Estate::new();
    let mut params = ca_params("federated");
    params.subject_alt_names.clear();
    let other =
        Bundle::new("other.internal".parse().unwrap(), vec![Ca::root("x").intermediate_with(params).der]).unwrap();
    estate.deliver_trust(&[estate.bundle(), other.clone()], estate.good_crls());
    let (mut reloader, first) = estate.start();
    assert_eq!(first.trust.trust_domains().count(), 2);
    estate.deliver_trust(&[other], estate.good_crls());
    let changes = reload(&mut reloader);
    assert!(matches!(estate.judge(&changes.trust.unwrap()), Err(ChainError::UnknownTrustDomain { .. })));
    assert!(changes.status.is_ready());
    estate.deliver_trust(&[], Vec::new());
    let changes = reload(&mut reloader);
    assert_eq!(changes.trust.unwrap().trust_domains().count(), 0);
    assert!(reason(&changes.status.trust).contains("nobody is believed"));
}

#[test]
fn a_directory_that_cannot_be_read_withdraws_nothing() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    fs::remove_dir_all(estate.dir().join("trust/versions/1")).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.trust.is_none() && !changes.status.is_ready());
}

#[test]
fn lists_that_are_gone_deny() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    estate.deliver_trust(&[estate.bundle()], Vec::new());
    let trust = reload(&mut reloader).trust.unwrap();
    let error = estate.judge(&trust).unwrap_err();
    assert!(matches!(error, ChainError::RevocationUnknown { error: RevocationError::Missing, .. }), "{error}");
    assert!(reason(&reload(&mut reloader).status.trust).contains("`countermark ca crl`"));
    let lax = BTreeMap::from([(td(), Revocation::DangerNone)]);
    let changes = reloader.reload(lax, NOW);
    estate.judge(&changes.trust.unwrap()).unwrap();
    assert!(changes.status.is_ready());
}

#[test]
fn a_list_that_grew_stale_shows_without_a_change_of_files() {
    let estate = Estate::new();
    estate.deliver_trust(&[estate.bundle()], vec![estate.root.crl(&[]), estate.intermediate.crl_of(&[], 10)]);
    let (mut reloader, first) = estate.start();
    assert!(first.status.is_ready());
    let changes = reloader.reload(BTreeMap::new(), UnixTime::from_secs(NOW.as_secs() + 10));
    assert!(changes.trust.is_none() && reason(&changes.status.trust).contains("stale"));
}

#[test]
fn a_revoked_or_expired_credential_of_ours_shows() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    let late = UnixTime::from_secs(NOW.as_secs() + 3601);
    assert!(reason(&reloader.reload(BTreeMap::new(), late).status.credential).contains("expired"));
    estate.deliver_trust(
        &[estate.bundle()],
        vec![estate.root.crl(&[]), estate.intermediate.crl(&[first.credential.leaf()])],
    );
    assert!(reason(&reload(&mut reloader).status.credential).contains("revoked"));
}

#[test]
fn a_file_of_lists_overrides_that_of_the_directory() {
    let estate = Estate::new();
    let crl = estate.path("crl.pem");
    fs::write(&crl, pem(&estate.revoking_crls())).unwrap();
    let (mut reloader, first) = estate.start_with(DirectoryConfig { crl: Some(crl.clone()), ..estate.config() });
    assert!(matches!(estate.judge(&first.trust), Err(ChainError::Revoked { .. })));
    // Gone is no completed switch: the last good stays, and the directory's own list does not come back.
    fs::remove_file(&crl).unwrap();
    let changes = reload(&mut reloader);
    assert!(changes.trust.is_none() && reason(&changes.status.trust).contains("crl.pem"));
    fs::write(&crl, pem(&estate.good_crls())).unwrap();
    let changes = reload(&mut reloader);
    estate.judge(&changes.trust.unwrap()).unwrap();
    assert!(changes.status.is_ready());
}

#[test]
fn a_missing_override_denies_from_the_start() {
    let estate = Estate::new();
    let (_, first) = estate.start_with(DirectoryConfig { crl: Some(estate.path("none.pem")), ..estate.config() });
    assert!(!first.status.is_ready());
    assert!(matches!(estate.judge(&first.trust), Err(ChainError::RevocationUnknown { .. })));
}

#[test]
fn the_first_reading_must_give_a_credential_and_a_bundle() {
    let estate = Estate::new();
    let start = || Reloader::start(estate.config(), NOW).map(drop).unwrap_err();
    let bundle = estate.dir().join("trust/current/agents.internal.trust-bundle.pem");
    let good = fs::read(&bundle).unwrap();
    fs::write(&bundle, "broken").unwrap();
    assert!(matches!(start(), WatchError::Trust { .. }));
    fs::remove_file(&bundle).unwrap();
    assert!(matches!(start(), WatchError::Load(LoadError::NoTrust { .. })));
    fs::write(&bundle, good).unwrap();
    let late = UnixTime::from_secs(NOW.as_secs() + 4000);
    assert!(matches!(Reloader::start(estate.config(), late), Err(WatchError::Load(LoadError::Expired { .. }))));
}

#[test]
fn a_root_that_the_verifier_cannot_use_holds_nothing_else_up() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    estate.judge(&first.trust).unwrap();
    // A CA certificate in shape, and longer than the path verification reads.
    let mut params = ca_params("partner");
    params.subject_alt_names = vec![crate::testing::uri("spiffe://partner.example")];
    params.custom_extensions =
        vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![0; 70_000])];
    let key = rcgen::KeyPair::generate().unwrap();
    let partner = params.self_signed(&key).unwrap();
    let version = estate.dir().join("trust/current");
    fs::write(version.join("partner.example.trust-bundle.pem"), partner.pem()).unwrap();
    fs::write(crl_path(&estate.dir()), pem(&estate.revoking_crls())).unwrap();
    let changes = reload(&mut reloader);
    assert!(reason(&changes.status.trust).contains("partner.example"));
    assert!(matches!(estate.judge(&changes.trust.unwrap()), Err(ChainError::Revoked { .. })));
    assert!(!reload(&mut reloader).status.is_ready(), "the fault stays to be seen");
}

#[test]
fn a_file_that_cannot_be_read_is_in_nobody_elses_way_and_not_withdrawn() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    estate.judge(&first.trust).unwrap();
    let version = estate.dir().join("trust/current");
    // A directory cannot be read as a file, whoever reads it; and `Partner` is no trust domain.
    fs::create_dir(version.join("partner.example.crl.pem")).unwrap();
    fs::write(version.join("Partner.trust-bundle.pem"), "").unwrap();
    let bundle = version.join("agents.internal.trust-bundle.pem");
    fs::remove_file(&bundle).unwrap();
    fs::create_dir(&bundle).unwrap();
    fs::write(crl_path(&estate.dir()), pem(&estate.revoking_crls())).unwrap();
    let changes = reload(&mut reloader);
    assert!(matches!(estate.judge(&changes.trust.unwrap()), Err(ChainError::Revoked { .. })));
    for name in ["partner.example.crl.pem", "Partner.trust-bundle.pem", "agents.internal.trust-bundle.pem"] {
        assert!(reason(&changes.status.trust).contains(name), "{name}");
    }
}

#[test]
fn an_authority_that_ends_soon_is_said_and_still_good() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    assert_eq!(first.status.ending, Vec::<String>::new());
    // Roots and intermediates of the estate live for a year from yesterday on.
    let late = NOW.saturating_add(StdDuration::from_secs(86_400 * 250));
    let status = reloader.reload(BTreeMap::new(), late).status;
    assert_eq!(status.ending.len(), 2, "{:?}", status.ending);
    assert!(status.ending.iter().any(|line| line.contains("CN=intermediate") && line.contains("ca renew")));
}

#[test]
fn the_lists_are_verified_before_the_trust_is_published() {
    let estate = Estate::new();
    let (mut reloader, first) = estate.start();
    assert_eq!(first.trust.warm(&td()), 2, "the root's and the intermediate's, by our own chain");
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    let trust = reload(&mut reloader).trust.unwrap();
    assert_eq!(trust.warm(&td()), 2, "no handshake pays for them");
}
