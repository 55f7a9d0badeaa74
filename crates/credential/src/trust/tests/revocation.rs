use countermark_identity::Serial;

use super::*;

fn unknown(error: ChainError) -> (String, RevocationError) {
    match error {
        ChainError::RevocationUnknown { authority, error } => (authority, error),
        other => panic!("{other}"),
    }
}

#[test]
fn a_revoked_leaf_is_refused_with_date_and_reason() {
    let pki = Pki::new();
    let trust = pki.trust(vec![pki.root.crl(&[]), pki.intermediate.crl(&[pki.credential.leaf()])]);
    let error = verify(&trust, &pki.credential).unwrap_err();
    assert!(matches!(&error, ChainError::Revoked { which: Link::Leaf, reason: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("(keyCompromise)"), "{error}");
}

#[test]
fn a_revoked_intermediate_is_refused() {
    let pki = Pki::new();
    let serial = Authority::parse(&pki.intermediate.der, &td()).unwrap().serial().as_bytes().to_vec();
    let trust = pki.trust(vec![pki.root.crl_of(&[serial], 100), pki.intermediate.crl(&[])]);
    let error = verify(&trust, &pki.credential).unwrap_err();
    assert!(matches!(error, ChainError::Revoked { which: Link::Authority(_), .. }), "{error}");
}

#[test]
fn revocation_is_judged_afresh_on_a_warm_memory() {
    let pki = Pki::new();
    let before = pki.trust(pki.good_crls());
    verify(&before, &pki.credential).unwrap();
    let crls = vec![pki.root.crl(&[]), pki.intermediate.crl(&[pki.credential.leaf()])];
    let domain = DomainTrust { bundle: pki.root.bundle(), crls, revocation: Revocation::Required };
    let after = before.succeed(vec![domain]).unwrap();
    assert!(matches!(verify(&after, &pki.credential), Err(ChainError::Revoked { .. })));
    verify(&before, &pki.credential).unwrap();
}

#[test]
fn a_new_trust_has_the_lists_of_the_intermediates_that_were_met_and_believes_no_more_of_them() {
    let pki = Pki::new();
    let before = pki.trust(pki.good_crls());
    verify(&before, &pki.credential).unwrap();
    let domain = |bundle, crls| vec![DomainTrust { bundle, crls, revocation: Revocation::Required }];
    let after = before.succeed(domain(pki.root.bundle(), pki.good_crls())).unwrap();
    assert_eq!(after.warm(&td()), 1, "the intermediate's, before any handshake");
    verify(&after, &pki.credential).unwrap();
    assert_eq!(after.warm(&td()), 2);
    // Its own list is gone: it is not taken over.
    let unlisted = before.succeed(domain(pki.root.bundle(), vec![pki.root.crl(&[])])).unwrap();
    assert_eq!(unlisted.warm(&td()), 0);
    verify(&unlisted, &pki.credential).unwrap_err();
    // Its root is gone: it is known, and nobody under it is believed.
    let other = Pki::new();
    let elsewhere = before.succeed(domain(other.root.bundle(), pki.good_crls())).unwrap();
    let error = verify(&elsewhere, &pki.credential).unwrap_err();
    assert!(matches!(error, ChainError::UnknownAuthority { .. }), "{error}");
}

#[test]
fn every_authority_of_the_path_needs_a_list() {
    let pki = Pki::new();
    for (crls, missing) in [
        (vec![], "CN=intermediate"),
        (vec![pki.root.crl(&[])], "CN=intermediate"),
        (vec![pki.intermediate.crl(&[])], "CN=root"),
    ] {
        let error = verify(&pki.trust(crls), &pki.credential).unwrap_err();
        assert!(error.to_string().contains("`countermark ca crl`"), "{error}");
        assert_eq!(unknown(error), (missing.to_owned(), RevocationError::Missing));
    }
    verify(&lax(&pki.root), &pki.credential).unwrap();
}

#[test]
fn a_stale_list_is_refused_from_its_next_update_on() {
    let pki = Pki::new();
    let trust = pki.trust(vec![pki.root.crl(&[]), pki.intermediate.crl_of(&[], 10)]);
    let end = UnixTime::from_secs(NOW.as_secs() + 10);
    verify_at(&trust, &pki.credential, UnixTime::from_secs(end.as_secs() - 1)).unwrap();
    let error = verify_at(&trust, &pki.credential, end).unwrap_err();
    assert!(error.to_string().contains("`countermark ca crl`"), "{error}");
    assert_eq!(unknown(error), ("CN=intermediate".to_owned(), RevocationError::Stale { next_update: end, now: end }));
}

#[test]
fn a_list_signed_by_another_key_of_the_same_name_does_not_count() {
    let pki = Pki::new();
    let impostor = Ca::root("other").intermediate("intermediate");
    let trust = pki.trust(vec![pki.root.crl(&[]), impostor.crl(&[])]);
    let error = verify(&trust, &pki.credential).unwrap_err();
    assert_eq!(unknown(error).1, RevocationError::WrongSignature);
}

#[test]
fn two_keys_with_one_name_are_told_apart() {
    let pki = Pki::new();
    let twin = pki.root.intermediate("intermediate");
    // The twin's list has the higher number and stands first; webpki would take it for its name and stop there.
    twin.crl(&[]);
    let crls = vec![twin.crl(&[]), pki.intermediate.crl(&[pki.credential.leaf()]), pki.root.crl(&[])];
    let trust = pki.trust(crls);
    assert!(matches!(verify(&trust, &pki.credential), Err(ChainError::Revoked { .. })));
    verify(&trust, &twin.credential(PATH, &[&twin])).unwrap();
}

#[test]
fn the_highest_number_of_two_lists_counts() {
    let pki = Pki::new();
    let (old, new) = (pki.intermediate.crl(&[]), pki.intermediate.crl(&[pki.credential.leaf()]));
    for crls in [vec![old.clone(), new.clone(), pki.root.crl(&[])], vec![new, old, pki.root.crl(&[])]] {
        assert!(matches!(verify(&pki.trust(crls), &pki.credential), Err(ChainError::Revoked { .. })));
    }
}

#[test]
fn an_authority_without_crl_sign_has_no_list() {
    let root = Ca::root("root");
    let mut params = ca_params("intermediate");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = root.intermediate_with(params.clone());
    let credential = ca.credential(PATH, &[&ca]);
    // `rcgen` itself refuses to sign a list for it: the same key under a certificate that may.
    params.key_usages.push(KeyUsagePurpose::CrlSign);
    let signer = rcgen::Issuer::from_params(&params, ca.issuer.key());
    let der = ca.crl_params(&[]).signed_by(&signer).unwrap();
    let crl = Arc::new(Crl::from_der(der.der()).unwrap());
    let error = verify(&trust(&root, vec![crl, root.crl(&[])], Revocation::Required), &credential).unwrap_err();
    assert_eq!(unknown(error).1, RevocationError::NotCrlSigner);
}

#[test]
fn a_list_of_a_hundred_thousand_is_searched_not_walked() {
    let pki = Pki::new();
    let serials: Vec<_> = (0..100_000_u32).map(|serial| (serial | 0x4000_0000).to_be_bytes().to_vec()).collect();
    let crl = pki.intermediate.crl_of(&serials, 100);
    assert_eq!(crl.len(), 100_000);
    assert!(crl.revokes(&Serial::from_be_bytes(&serials[77_777]).unwrap()).is_some());
    verify(&pki.trust(vec![pki.root.crl(&[]), crl]), &pki.credential).unwrap();
}
