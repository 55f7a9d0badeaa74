//! Deliveries for other readers, in further forms, and into directories that somebody broke.

use std::os::unix::fs::MetadataExt as _;

use countermark_identity::{Secret, TrustDomain};

use super::*;
use crate::testing::ca_params;

fn manner(access: Access) -> Manner {
    let extras = vec![Extra { name: "combined.pem", content: Secret::new(b"both".to_vec()) }];
    Manner { access, extras, ..Manner::default() }
}

#[test]
fn owner_group_and_mode_are_those_that_were_asked_for_at_every_write() {
    let estate = Estate::new();
    let dir = estate.dir();
    let root = rustix::process::geteuid().is_root();
    let (owner, group) = if root { (Some(65534), Some(65534)) } else { (None, None) };
    let access = Access::new(owner, group, 0o640).unwrap();
    for number in 1..=2 {
        deliver_as(&dir, &estate.delivery(PATH), &manner(access), NOW).unwrap();
        for name in ["tls.key", "tls.crt", "ca.crt", "credential-bundle.pem", "combined.pem", BUNDLE] {
            let file = fs::metadata(dir.join(name)).unwrap();
            assert_eq!(file.mode() & 0o7777, 0o640, "{name} of {number}");
            assert_eq!(file.uid() == 65534 && file.gid() == 65534, root, "{name} of {number}");
        }
        for folder in ["", "generations", &format!("generations/{number}"), "trust", "trust/versions/1"] {
            let folder = fs::metadata(dir.join(folder)).unwrap();
            assert_eq!(folder.mode() & 0o7777, if root { 0o755 } else { 0o750 });
            assert_ne!(folder.uid(), 65534, "who may read a key may not put another in its place");
        }
    }
    assert_eq!(estate.load().unwrap().generation.unwrap().number(), 2);
}

#[test]
fn trust_that_is_there_for_other_readers_is_written_anew() {
    let estate = Estate::delivered();
    let dir = estate.dir();
    assert_eq!(mode(dir.join(BUNDLE)), 0o600);
    let access = Access::new(None, None, 0o640).unwrap();
    deliver_as(&dir, &estate.delivery(PATH), &manner(access), NOW).unwrap();
    assert_eq!(mode(dir.join(BUNDLE)), 0o640);
}

#[test]
fn further_forms_switch_with_the_generation() {
    let estate = Estate::delivered();
    let dir = estate.dir();
    deliver_as(&dir, &estate.delivery(PATH), &manner(Access::default()), NOW).unwrap();
    assert_eq!(fs::read_link(dir.join("combined.pem")).unwrap(), Path::new("current/combined.pem"));
    assert_eq!(fs::read(dir.join("combined.pem")).unwrap(), b"both");
}

#[test]
fn what_somebody_broke_is_replaced_by_those_who_know_whose_it_is() {
    let estate = Estate::delivered();
    let dir = estate.dir();
    fs::write(dir.join("credential-bundle.pem"), "broken").unwrap();
    let error = deliver_as(&dir, &estate.delivery(PATH), &Manner::default(), NOW).unwrap_err();
    assert!(matches!(error, DeliveryError::Unreadable { .. }), "{error}");
    let mending = Manner { mends: true, ..Manner::default() };
    deliver_as(&dir, &estate.delivery(PATH), &mending, NOW).unwrap();
    estate.load().unwrap();
    let error = deliver_as(&dir, &estate.delivery("/agent/intern-bot"), &mending, NOW).unwrap_err();
    assert!(matches!(error, DeliveryError::OtherIdentity { .. }), "{error}");
}

#[test]
fn a_sweep_removes_what_was_cut_off_and_nothing_else() {
    let estate = Estate::delivered();
    let dir = estate.dir();
    estate.deliver(PATH).unwrap();
    for half in ["generations/.3.new", "generations/7", "trust/versions/.2.new", "trust/versions/9"] {
        fs::create_dir(dir.join(half)).unwrap();
    }
    let before = estate.thumbprint();
    sweep(&dir, NOW).unwrap();
    assert_eq!(names(dir.join("generations")), ["1", "2"]);
    assert_eq!(names(dir.join("trust/versions")), ["1", "2"]);
    assert_eq!(estate.thumbprint(), before);
}

#[test]
fn one_process_keeps_a_directory_and_mints_go_on_beside_it() {
    let estate = Estate::delivered();
    let claim = Claim::acquire(&estate.dir()).unwrap();
    assert!(matches!(Claim::acquire(&estate.dir()), Err(DeliveryError::Busy { .. })));
    estate.deliver(PATH).unwrap();
    drop(claim);
    Claim::acquire(&estate.dir()).unwrap();
}

#[test]
fn what_is_known_by_its_names_alone_is_delivered_where_somebody_says_by_whose_roots() {
    let estate = Estate::new();
    let dir = estate.dir();
    let named = |names: &[&str]| {
        let mut params = leaf_params(PATH);
        let name = |name: &&str| rcgen::SanType::DnsName((*name).try_into().unwrap());
        params.subject_alt_names = names.iter().map(name).collect();
        Delivery { credential: Arc::new(estate.root.credential_with(params, &[])), ..estate.delivery(PATH) }
    };
    let manner = Manner { mends: true, trust_domain: Some(td()), ..Manner::default() };
    deliver_as(&dir, &named(&["etl.corp.internal", "etl"]), &manner, NOW).unwrap();
    let roots = fs::read(dir.join("ca.crt")).unwrap();
    assert_eq!(roots, fs::read(dir.join(BUNDLE)).unwrap());
    deliver_as(&dir, &named(&["etl", "etl.corp.internal"]), &manner, NOW).unwrap();
    for other in [named(&["etl.corp.internal"]), named(&["etl.corp.internal", "etl", "x"]), estate.delivery(PATH)] {
        let error = deliver_as(&dir, &other, &manner, NOW).unwrap_err();
        assert!(matches!(error, DeliveryError::OtherIdentity { .. }), "{error}");
        assert!(error.to_string().contains("dns:etl"), "{error}");
    }
    let elsewhere = Manner { trust_domain: Some("other.internal".parse().unwrap()), ..Manner::default() };
    let error = deliver_as(&dir, &named(&["etl"]), &elsewhere, NOW).unwrap_err();
    assert!(matches!(error, DeliveryError::NoOwnBundle { .. }), "{error}");
    // Other roots alone: the stable name of them stays, whoever delivers them.
    let two = [estate.root.bundle().roots(), Ca::root("next").bundle().roots()].concat();
    let bundle = Bundle::new(td(), two).unwrap();
    assert!(deliver_own_trust(&dir, bundle, Vec::new(), Access::default()).unwrap());
    assert_ne!(fs::read(dir.join("ca.crt")).unwrap(), roots);
    assert_eq!(fs::read(dir.join("ca.crt")).unwrap(), fs::read(dir.join(BUNDLE)).unwrap());
    let by_hand = estate.root.bundle().with_sequence(7);
    deliver_trust(&dir, std::slice::from_ref(&by_hand), &[]).unwrap();
    assert_eq!(fs::read_to_string(dir.join("ca.crt")).unwrap(), by_hand.to_pem());
}

#[test]
fn whose_roots_vouched_for_a_nameless_credential_before_is_no_partner_of_whose_do_now() {
    let estate = Estate::new();
    let dir = estate.dir();
    let [partner, now]: [TrustDomain; 2] = ["partner.example", "now.internal"].map(|name| name.parse().unwrap());
    let of = |trust_domain: &TrustDomain| {
        let mut params = ca_params("root");
        params.subject_alt_names.clear();
        let root = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        Bundle::new(trust_domain.clone(), vec![root.der().clone()]).unwrap()
    };
    let mut params = leaf_params(PATH);
    params.subject_alt_names = vec![rcgen::SanType::DnsName("etl".try_into().unwrap())];
    let delivery = Delivery { credential: Arc::new(estate.root.credential_with(params, &[])), ..estate.delivery(PATH) };
    let manner =
        |own: &TrustDomain| Manner { keeps_partners: true, trust_domain: Some(own.clone()), ..Manner::default() };
    deliver_as(&dir, &delivery, &manner(&td()), NOW).unwrap();
    assert_eq!(own_domain(&dir), Some(td()));
    let current = dir.join("trust/current");
    fs::write(current.join(bundle_name(&partner)), of(&partner).to_pem()).unwrap();
    let next = Delivery { bundles: vec![of(&now)], crls: Vec::new(), ..delivery };
    deliver_as(&dir, &next, &manner(&now), NOW).unwrap();
    let [partner, now] = [partner, now].map(|of| bundle_name(&of));
    assert_eq!(names(&current), ["ca.crt".to_owned(), now.clone(), partner]);
    assert_eq!(fs::read(dir.join("ca.crt")).unwrap(), fs::read(dir.join(now)).unwrap());
    assert!(!dir.join(BUNDLE).is_symlink());
}
