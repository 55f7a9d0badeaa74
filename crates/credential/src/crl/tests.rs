use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};

use super::*;
use crate::testing::{Ca, at};

fn serial(bytes: &[u8]) -> Serial {
    Serial::from_be_bytes(bytes).unwrap()
}

/// The list with the first occurrence of some bytes replaced by as many others.
fn altered(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let place = der.windows(from.len()).position(|window| window == from).expect("the bytes to alter are there");
    let mut altered = der.to_vec();
    altered[place..place + to.len()].copy_from_slice(to);
    altered
}

#[test]
fn finds_what_is_revoked_and_nothing_else() {
    let ca = Ca::root("root");
    let crl = ca.crl_of(&[vec![9, 9], vec![0x80, 1], vec![3]], 100);
    for revoked in [&[9_u8, 9][..], &[0x80, 1], &[3]] {
        let revoked = crl.revokes(&serial(revoked)).unwrap();
        assert_eq!(revoked.reason, Some(RevocationReason::KeyCompromise));
        assert_eq!(i64::try_from(revoked.at.as_secs()).unwrap(), at(-60).unix_timestamp());
    }
    for other in [&[9_u8][..], &[9, 9, 9], &[3, 0], &[0x80], &[1]] {
        assert_eq!(crl.revokes(&serial(other)), None);
    }
    assert_eq!((crl.len(), crl.number()), (3, Some(CrlNumber::from(1))));
}

#[test]
fn an_empty_list_revokes_nothing() {
    let crl = Ca::root("root").crl(&[]);
    assert!(crl.is_empty());
    assert_eq!(crl.revokes(&serial(&[1])), None);
}

#[test]
fn only_the_issuers_key_signed_it() {
    let (ca, other) = (Ca::root("root"), Ca::root("root"));
    let crl = ca.crl(&[]);
    let spki = |ca: &Ca| crate::Authority::parse(&ca.der, &crate::testing::td()).unwrap().spki_der().to_vec();
    assert_eq!(crl.verify(&spki(&ca)), Ok(()));
    assert_eq!(crl.verify(&spki(&other)), Err(SignatureError::Invalid));
    assert_eq!(crl.verify(&[0x30, 0]), Err(SignatureError::Malformed));
}

#[test]
fn an_altered_list_does_not_verify() {
    let ca = Ca::root("root");
    let spki = crate::Authority::parse(&ca.der, &crate::testing::td()).unwrap().spki_der().to_vec();
    let der = ca.crl_der(&[vec![0x51, 0x52, 0x53]], 100);
    let crl = Crl::from_der(&altered(&der, &[0x51, 0x52, 0x53], &[0x51, 0x52, 0x54])).unwrap();
    assert_eq!(crl.verify(&spki), Err(SignatureError::Invalid));
}

#[test]
fn no_flipped_bit_verifies() {
    let ca = Ca::root("root");
    let spki = crate::Authority::parse(&ca.der, &crate::testing::td()).unwrap().spki_der().to_vec();
    let der = ca.crl_der(&[vec![1], vec![2]], 100);
    for place in 0..der.len() {
        let mut flipped = der.clone();
        flipped[place] ^= 1 << (place % 8);
        let verified = Crl::from_der(&flipped).is_ok_and(|crl| crl.verify(&spki).is_ok());
        assert!(!verified, "byte {place}");
    }
}

#[test]
fn two_different_algorithm_fields_are_refused() {
    let der = Ca::root("root").crl_der(&[], 100);
    // ecdsa-with-SHA256 becomes ecdsa-with-SHA384 in the inner field alone.
    let inner = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let error = Crl::from_der(&altered(&der, &inner, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03])).unwrap_err();
    assert_eq!(error, CrlError::Malformed { part: "signature algorithm" });
}

#[test]
fn a_list_that_covers_a_part_is_refused() {
    let ca = Ca::root("root");
    for scope in [None, Some(CrlScope::UserCertsOnly), Some(CrlScope::CaCertsOnly)] {
        let mut params = ca.crl_params(&[]);
        let distribution_point = CrlDistributionPoint { uris: vec!["http://crl.internal/1".to_owned()] };
        params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
        let der = params.signed_by(&ca.issuer).unwrap();
        assert_eq!(Crl::from_der(der.der()).unwrap_err(), CrlError::Partial);
    }
}

#[test]
fn delta_indirect_and_unknown_critical_extensions_are_refused() {
    let der = Ca::root("root").crl_der(&[vec![1]], 100);
    // The number's OID becomes another one; `rcgen` writes it as not critical.
    let number = [0x55, 0x1d, 0x14];
    assert_eq!(Crl::from_der(&altered(&der, &number, &[0x55, 0x1d, 0x1b])).unwrap_err(), CrlError::Delta);
    // The reason's OID becomes the certificate issuer's.
    let reason = [0x55, 0x1d, 0x15];
    assert_eq!(Crl::from_der(&altered(&der, &reason, &[0x55, 0x1d, 0x1d])).unwrap_err(), CrlError::Indirect);
    Crl::from_der(&altered(&der, &number, &[0x55, 0x1d, 0x7f])).unwrap();
    // Both extensions of the list get one name.
    let error = Crl::from_der(&altered(&der, &[0x55, 0x1d, 0x23], &number)).unwrap_err();
    assert!(matches!(error, CrlError::DuplicateExtension { .. } | CrlError::Malformed { .. }), "{error}");
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let ca = Ca::root("root");
    let mut params = ca.crl_params(&[]);
    let distribution_point = CrlDistributionPoint { uris: vec!["http://crl.internal/1".to_owned()] };
    params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope: None });
    let der = params.signed_by(&ca.issuer).unwrap().der().to_vec();
    // The issuing distribution point is critical; under another name it is unknown.
    let error = Crl::from_der(&altered(&der, &[0x55, 0x1d, 0x1c], &[0x55, 0x1d, 0x7f])).unwrap_err();
    assert_eq!(error, CrlError::CriticalExtension { oid: "2.5.29.127".to_owned() });
}

#[test]
fn remove_from_crl_stands_in_deltas_only() {
    let der = Ca::root("root").crl_der(&[vec![1]], 100);
    let error = Crl::from_der(&altered(&der, &[0x0a, 0x01, 0x01], &[0x0a, 0x01, 0x08])).unwrap_err();
    assert_eq!(error, CrlError::Malformed { part: "reason code" });
}

#[test]
fn half_a_list_and_trailing_bytes_are_refused() {
    let der = Ca::root("root").crl_der(&[vec![1]], 100);
    for end in 0..der.len() {
        assert!(matches!(Crl::from_der(&der[..end]), Err(CrlError::Malformed { .. })), "{end}");
    }
    let mut longer = der;
    longer.push(0);
    assert!(Crl::from_der(&longer).is_err());
}

#[test]
fn a_file_holds_many_in_pem_or_one_in_der() {
    let (root, other) = (Ca::root("root"), Ca::root("other"));
    let (one, two) = (root.crl(&[]), other.crl(&[]));
    let lists = Crl::many_from_pem(format!("{}{}", one.to_pem(), two.to_pem()).as_bytes()).unwrap();
    assert_eq!(lists.iter().map(Crl::issuer).collect::<Vec<_>>(), ["CN=root", "CN=other"]);
    assert_eq!(Crl::many_from_pem(one.der()).unwrap().len(), 1);
    assert_eq!(Crl::many_from_pem(b"").unwrap_err(), CrlError::Empty);
    let certificate = root.bundle().to_pem();
    assert!(matches!(Crl::many_from_pem(certificate.as_bytes()), Err(CrlError::Pem(PemError::Unexpected { .. }))));
}

#[test]
fn a_list_without_next_update_is_refused() {
    let der = Ca::root("root").crl_der(&[], 100);
    // nextUpdate is the second time: take it out and shorten the two sequences around it.
    let times: Vec<_> =
        der.windows(2).enumerate().filter(|(_, w)| *w == [0x17, 0x0d]).map(|(place, _)| place).collect();
    let mut short = der;
    short.drain(times[1]..times[1] + 15);
    shorten(&mut short, 0);
    shorten(&mut short, 3);
    assert_eq!(Crl::from_der(&short).unwrap_err(), CrlError::NoNextUpdate);
}

/// Takes 15 from the length of the sequence at `place`.
fn shorten(der: &mut [u8], place: usize) {
    let last = if der[place + 1] == 0x81 { place + 2 } else { place + 1 };
    assert!(der[place] == 0x30 && (15..0x80).contains(&(der[last] & 0x7f)));
    der[last] -= 15;
}
