use countermark_identity::TrustDomain;

use super::*;
use crate::bundle::BundleError;
use crate::testing::ca_params;

fn crls(estate: &Estate) -> Vec<DomainCrls> {
    vec![DomainCrls { trust_domain: td(), crls: vec![estate.root.crl(&[])] }]
}

#[test]
fn trust_moves_without_the_credential() {
    let estate = Estate::delivered();
    let before = estate.thumbprint();
    let bundle = estate.root.bundle().with_sequence(2);
    deliver_trust(&estate.dir(), std::slice::from_ref(&bundle), &crls(&estate)).unwrap();
    let loaded = estate.load().unwrap();
    assert_eq!(loaded.bundles[0].sequence(), Some(2));
    assert_eq!(loaded.crls[0].crls[0].number(), Some(crate::CrlNumber::from(2)));
    assert_eq!(estate.thumbprint(), before);
    assert_eq!(fs::read_link(estate.dir().join("trust/current")).unwrap(), Path::new("versions/2"));
    // Foreign readers of the stable names see the new roots, too.
    for name in [BUNDLE, "ca.crt"] {
        assert_eq!(fs::read_to_string(estate.dir().join(name)).unwrap(), bundle.to_pem());
    }
}

#[test]
fn what_is_there_stays_where_what_comes_later_is_older() {
    let estate = Estate::delivered();
    let (old, new) = (crls(&estate), crls(&estate));
    let bundle = |sequence| estate.root.bundle().with_sequence(sequence);
    let as_others =
        |bundle, crls: &[DomainCrls]| deliver_own_trust(&estate.dir(), bundle, crls[0].crls.clone(), Access::default());
    let holds = |sequence, crls: &[DomainCrls]| {
        let loaded = estate.load().unwrap();
        assert_eq!(loaded.bundles[0].sequence(), Some(sequence));
        assert_eq!(loaded.crls[0].crls[0].number(), crls[0].crls[0].number());
    };
    assert!(as_others(bundle(2), &new).unwrap());
    assert!(!as_others(bundle(1), &old).unwrap());
    holds(2, &new);
    assert!(as_others(bundle(3), &old).unwrap());
    holds(3, &new);
    let delivery = Delivery { bundles: vec![bundle(2)], crls: old.clone(), ..estate.delivery(PATH) };
    let manner = Manner { keeps_newer: true, ..Manner::default() };
    deliver_as(&estate.dir(), &delivery, &manner, NOW).unwrap();
    holds(3, &new);
    // What has no sequence says nothing about when it is from.
    assert!(as_others(estate.root.bundle(), &new).unwrap());
    assert_eq!(estate.load().unwrap().bundles[0].sequence(), None);
    assert!(as_others(bundle(1), &new).unwrap());
    holds(1, &new);
    // Whoever delivers on purpose may go back.
    deliver_trust(&estate.dir(), &[bundle(2)], &old).unwrap();
    holds(2, &old);
}

#[test]
fn a_list_by_a_key_that_its_authority_has_no_more_does_not_stay() {
    let estate = Estate::delivered();
    deliver_trust(&estate.dir(), &[estate.root.bundle()], &crls(&estate)).unwrap();
    let anew = Ca::root("root");
    let list = anew.crl(&[]);
    assert!(deliver_own_trust(&estate.dir(), anew.bundle(), vec![list.clone()], Access::default()).unwrap());
    assert_eq!(load_trust(&estate.dir()).unwrap().crls[0].crls[0].der(), list.der());
}

#[test]
fn the_same_material_is_not_written_again() {
    let estate = Estate::delivered();
    let lists = crls(&estate);
    for _ in 0..2 {
        deliver_trust(&estate.dir(), &[estate.root.bundle()], &lists).unwrap();
    }
    assert_eq!(fs::read_link(estate.dir().join("trust/current")).unwrap(), Path::new("versions/2"));
}

#[test]
fn a_trust_domain_that_is_left_out_is_withdrawn() {
    let estate = Estate::delivered();
    let other = Ca::root("other");
    let mut params = ca_params("federated");
    params.subject_alt_names.clear();
    let federated = Bundle::new("other.internal".parse().unwrap(), vec![other.intermediate_with(params).der]).unwrap();
    deliver_trust(&estate.dir(), &[estate.root.bundle(), federated], &crls(&estate)).unwrap();
    assert_eq!(estate.load().unwrap().bundles.len(), 2);
    let link = estate.dir().join("other.internal.trust-bundle.pem");
    assert!(link.exists());
    deliver_trust(&estate.dir(), &[estate.root.bundle()], &crls(&estate)).unwrap();
    assert_eq!(estate.load().unwrap().bundles.len(), 1);
    assert!(!link.is_symlink());
}

/// A reader of trust that is overtaken by two switches reads what counts then; it never fails, nor misses a part.
#[test]
fn readers_of_trust_are_never_left_without_it() {
    let estate = Estate::delivered();
    let lists = crls(&estate);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut readings = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(load_trust(&estate.dir()).unwrap().crls.len(), 1);
                readings += 1;
            }
            readings
        });
        for sequence in 1..300 {
            deliver_trust(&estate.dir(), &[estate.root.bundle().with_sequence(sequence)], &lists).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 10);
    });
}

#[test]
fn what_was_read_of_a_version_that_no_longer_counts_is_read_again() {
    let mut links = ["versions/1", "versions/3", "versions/3"].into_iter();
    let mut resolve = || Ok(links.next().unwrap().into());
    let read = super::super::trust::settled(&mut resolve, |base| base.to_owned()).unwrap();
    assert_eq!((read.as_path(), links.next()), (Path::new("versions/3"), None));
}

#[test]
fn two_versions_are_kept_and_no_more() {
    let estate = Estate::delivered();
    for _ in 0..5 {
        deliver_trust(&estate.dir(), &[estate.root.bundle()], &crls(&estate)).unwrap();
    }
    assert_eq!(names(estate.dir().join("trust/versions")), ["5", "6"]);
}

#[test]
fn a_directory_without_a_bundle_believes_nobody() {
    let estate = Estate::delivered();
    deliver_trust(&estate.dir(), &[], &[]).unwrap();
    assert!(matches!(estate.load(), Err(LoadError::NoTrust { .. })));
}

#[test]
fn a_missing_link_does_not_lead_to_what_is_elsewhere() {
    let estate = Estate::delivered();
    fs::remove_file(estate.dir().join("trust/current")).unwrap();
    assert!(matches!(estate.load(), Err(LoadError::Io { .. })));
    // The generation has a bundle of its own, which may be one that was withdrawn.
    fs::remove_dir_all(estate.dir().join("trust")).unwrap();
    let gone = estate.load().unwrap_err();
    assert!(matches!(gone, LoadError::TrustGone { .. }) && gone.to_string().contains("into a new one"), "{gone}");
    // As the error says.
    fs::create_dir(estate.dir().join("trust")).unwrap();
    fs::write(estate.dir().join("trust").join(BUNDLE), estate.root.bundle().to_pem()).unwrap();
    assert_eq!(estate.load().unwrap().bundles[0].roots(), estate.root.bundle().roots());
}

#[test]
fn what_cannot_be_found_for_want_of_a_link_is_not_delivered_over() {
    let estate = Estate::delivered();
    let partner = Bundle::new("partner.example".parse().unwrap(), estate.root.bundle().roots().to_vec());
    fs::write(
        estate.dir().join("trust/current/partner.example.trust-bundle.pem"),
        partner.map_or_else(|_| "broken".to_owned(), |partner| partner.to_pem()),
    )
    .unwrap();
    let lists = crls(&estate)[0].crls.clone();
    let deliver_own = || deliver_own_trust(&estate.dir(), estate.root.bundle(), lists.clone(), Access::default());
    fs::remove_file(estate.dir().join("trust/current")).unwrap();
    assert!(matches!(deliver_own(), Err(DeliveryError::Partners { .. })));
    let manner = Manner { keeps_partners: true, ..Manner::default() };
    let next = deliver_as(&estate.dir(), &estate.delivery(PATH), &manner, NOW);
    assert!(matches!(next, Err(DeliveryError::Partners { .. })));
    assert!(!estate.dir().join("trust/current").is_symlink());
    // Where nothing was delivered there is nobody to withdraw, also where a first delivery was cut off.
    fs::remove_dir_all(estate.dir()).unwrap();
    fs::create_dir_all(estate.dir().join("trust/versions/1")).unwrap();
    assert!(deliver_own().unwrap());
}

#[test]
fn what_stands_in_the_way_of_trust_is_no_trust_that_was_never_there() {
    for delivered in [false, true] {
        let estate = if delivered { Estate::delivered() } else { Estate::plain() };
        let (dir, trust) = (estate.dir(), estate.dir().join("trust"));
        let in_the_way: [&dyn Fn(); 2] =
            [&|| fs::write(&trust, "a file").unwrap(), &|| std::os::unix::fs::symlink("elsewhere", &trust).unwrap()];
        let _moved_away = fs::rename(&trust, dir.join("before"));
        for stands in in_the_way {
            stands();
            let refused = [salvage_partners(&dir, &td()).unwrap_err(), load_trust(&dir).unwrap_err()];
            assert!(refused.iter().all(|error| matches!(error, LoadError::Io { path, .. } if *path == trust)));
            assert!(refused[0].to_string().contains("not a directory"), "{}", refused[0]);
            fs::remove_file(&trust).unwrap();
        }
        assert!(salvage_partners(&dir, &td()).is_ok(), "who removes it altogether withdraws every partner");
    }
}

#[test]
fn broken_trust_names_its_file() {
    let estate = Estate::delivered();
    let (bundle, crl) = (estate.dir().join("trust/current").join(BUNDLE), estate.dir().join("trust/current").join(CRL));
    let good = fs::read(&bundle).unwrap();
    fs::write(&bundle, &good[..good.len() / 2]).unwrap();
    let error = estate.load().unwrap_err();
    assert!(matches!(&error, LoadError::Bundle { source: BundleError::Pem(PemError::CutOff), .. }), "{error}");
    assert!(error.to_string().contains(BUNDLE), "{error}");
    fs::write(&bundle, good).unwrap();
    fs::write(&crl, "").unwrap();
    assert!(matches!(estate.load(), Err(LoadError::Crl { .. })));
}

#[test]
fn a_file_name_that_is_no_trust_domain_is_refused() {
    let estate = Estate::delivered();
    fs::write(estate.dir().join("trust/current/Agents Internal.trust-bundle.pem"), "").unwrap();
    assert!(matches!(estate.load(), Err(LoadError::FileName { .. })));
}

#[test]
fn a_list_beside_the_directory_is_read_in_pem_and_der() {
    let estate = Estate::new();
    let path = estate.temp.path().join("crl");
    let crl = estate.root.crl(&[]);
    for content in [crl.to_pem().into_bytes(), crl.der().to_vec()] {
        fs::write(&path, content).unwrap();
        assert_eq!(read_crls(&path).unwrap()[0].number(), crl.number());
    }
    assert!(matches!(read_crls(&estate.temp.path().join("missing")), Err(LoadError::Io { .. })));
}

#[test]
fn what_is_there_of_partners_stays_and_nothing_else_of_them_comes() {
    let estate = Estate::delivered();
    let dir = estate.dir();
    let [there, delivered]: [TrustDomain; 2] = ["there.example", "delivered.example"].map(|name| name.parse().unwrap());
    let partner = |trust_domain: &TrustDomain| {
        let mut params = ca_params("partner");
        params.subject_alt_names.clear();
        let root = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Bundle::new(trust_domain.clone(), vec![root.der().clone()]).unwrap()
    };
    fs::write(dir.join("trust/current").join(bundle_name(&there)), partner(&there).to_pem()).unwrap();
    let delivery = Delivery { bundles: vec![estate.root.bundle(), partner(&delivered)], ..estate.delivery(PATH) };
    let manner = Manner { keeps_partners: true, ..Manner::default() };
    deliver_as(&dir, &delivery, &manner, NOW).unwrap();
    let known = || -> Vec<_> {
        let loaded = load_trust(&dir).unwrap();
        loaded.bundles.iter().map(|bundle| bundle.trust_domain().clone()).collect()
    };
    assert_eq!(known(), [td(), there.clone()]);
    fs::write(dir.join("trust/current").join(bundle_name(&there)), "-----BEGIN").unwrap();
    let lists = crls(&estate)[0].crls.clone();
    deliver_own_trust(&dir, estate.root.bundle(), lists.clone(), Access::default()).unwrap();
    assert_eq!(known(), [td(), there.clone()], "as it was before somebody broke it");
    fs::remove_file(dir.join("trust/current").join(bundle_name(&there))).unwrap();
    deliver_own_trust(&dir, estate.root.bundle(), lists, Access::default()).unwrap();
    assert_eq!(known(), [td()]);
}
