use rcgen::IsCa;

use super::*;
use crate::testing::{Ca, ca_params, leaf_params, td, uri};

fn refusal(params: rcgen::CertificateParams) -> AuthorityError {
    let ca = Ca::root("root").intermediate_with(params);
    match Bundle::new(td(), vec![ca.der]).unwrap_err() {
        BundleError::Root { error, position: 1, .. } => error,
        other => panic!("{other}"),
    }
}

#[test]
fn pem_round_trips_with_its_sequence() {
    let bundle = Ca::root("root").bundle().with_sequence(7);
    let text = bundle.to_pem();
    assert!(text.starts_with("Sequence: 7\n-----BEGIN CERTIFICATE-----"));
    let again = Bundle::from_pem(td(), text.as_bytes()).unwrap();
    assert_eq!((again.sequence(), again.roots()), (Some(7), bundle.roots()));
}

#[test]
fn a_sequence_must_be_one_number() {
    let pem = Ca::root("root").bundle().to_pem();
    for line in ["Sequence: x\n", "Sequence: -1\n", "Sequence: 1\nSequence: 2\n"] {
        assert!(
            matches!(Bundle::from_pem(td(), format!("{line}{pem}").as_bytes()), Err(BundleError::Sequence)),
            "{line}"
        );
    }
    assert_eq!(Bundle::from_pem(td(), format!("{pem}Sequence: 3\n").as_bytes()).unwrap().sequence(), None);
}

#[test]
fn an_empty_bundle_is_refused() {
    assert!(matches!(Bundle::from_pem(td(), b"Sequence: 1\n"), Err(BundleError::Empty { .. })));
}

#[test]
fn a_leaf_is_no_root() {
    assert_eq!(refusal(leaf_params("/agent/a")), AuthorityError::NotCa);
    let mut params = ca_params("ca");
    params.is_ca = IsCa::NoCa;
    assert_eq!(refusal(params), AuthorityError::NotCa);
}

#[test]
fn a_root_must_sign_certificates() {
    let mut params = ca_params("ca");
    params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    assert_eq!(refusal(params.clone()), AuthorityError::NoKeyCertSign);
    params.key_usages.clear();
    assert_eq!(refusal(params), AuthorityError::NoKeyUsage);
}

#[test]
fn a_root_of_another_trust_domain_is_refused() {
    for name in [
        "spiffe://other.internal",
        "spiffe://agents.internal/",
        "spiffe://agents.internal/agent/a",
        "https://agents.internal",
    ] {
        let mut params = ca_params("ca");
        params.subject_alt_names = vec![uri(name)];
        assert!(matches!(refusal(params), AuthorityError::ForeignUri { .. }), "{name}");
    }
    let mut params = ca_params("ca");
    params.subject_alt_names = vec![uri("spiffe://agents.internal"), uri("spiffe://agents.internal")];
    assert!(matches!(refusal(params), AuthorityError::ForeignUri { .. }));
}

#[test]
fn a_root_without_a_uri_passes() {
    let mut params = ca_params("ca");
    params.subject_alt_names.clear();
    Bundle::new(td(), vec![Ca::root("root").intermediate_with(params).der]).unwrap();
}

#[test]
fn bytes_after_the_certificate_are_refused() {
    let mut der = Ca::root("root").der.to_vec();
    der.push(0);
    let error = Bundle::new(td(), vec![der.into()]).unwrap_err();
    assert!(matches!(error, BundleError::Root { error: AuthorityError::Malformed, .. }));
}
