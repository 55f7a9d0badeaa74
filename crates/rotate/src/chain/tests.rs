use countermark_testkit::TestCa;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::*;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn root(name: &str) -> Ca {
    Ca::self_signed(params(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(name: &str, signer: &Ca) -> Ca {
    Ca::signed_by(params(name), KeyPair::generate().unwrap(), signer).unwrap()
}

/// The same name and key, signed by another.
fn crossed(ca: &Ca, name: &str, signer: &Ca) -> CertificateDer<'static> {
    params(name).signed_by(ca.key(), signer).unwrap().der().clone()
}

fn der(ca: &Ca) -> CertificateDer<'static> {
    ca.der().clone()
}

/// A leaf and its public key.
fn leaf(signer: &Ca) -> (CertificateDer<'static>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["etl".to_owned()]).unwrap().signed_by(&key, signer).unwrap().der().clone();
    let spki = X509Certificate::from_der(&leaf).unwrap().1.public_key().raw.to_vec();
    (leaf, spki)
}

fn knowing(roots: &[&Ca]) -> Known {
    Known { roots: roots.iter().map(|ca| der(ca)).collect(), ..Known::default() }
}

#[test]
fn of_two_authorities_of_one_name_the_one_counts_whose_key_signed() {
    let top = root("root");
    let (before, now) = (below("issuing", &top), below("issuing", &top));
    let (leaf, spki) = leaf(&now);
    for beside in [[der(&before), der(&now), der(&top)], [der(&now), der(&top), der(&before)]] {
        for known in [knowing(&[&top]), Known::default()] {
            let chain = known.chain(std::slice::from_ref(&leaf), &beside, &spki).unwrap();
            assert_eq!(chain.certificates, [leaf.clone(), der(&now)]);
        }
    }
    let alone = knowing(&[&top]).chain(std::slice::from_ref(&leaf), &[der(&before)], &spki).unwrap();
    assert_eq!((alone.certificates, alone.leads), (vec![leaf], false));
}

#[test]
fn a_chain_is_completed_by_the_one_before_it() {
    let ca = TestCa::new("agents.internal");
    let (held, next) = (ca.agent("billing-bot"), ca.agent("billing-bot"));
    let known = Known::new(&ca.bundle(), Some(&held));
    let chain = known.chain(&next.chain()[..1], &[], next.leaf().spki_der()).unwrap();
    assert_eq!((chain.certificates.as_slice(), chain.leads), (next.chain(), true));
    let nobody = Known::new(&ca.bundle(), None);
    let chain = nobody.chain(&next.chain()[..1], &[], next.leaf().spki_der()).unwrap();
    assert_eq!((chain.certificates.as_slice(), chain.leads), (&next.chain()[..1], false));
    // Whoever answers all of it is taken at that, in whatever order.
    let mut answered = [next.chain(), ca.bundle().roots()].concat();
    for _ in 0..answered.len() {
        answered.rotate_left(1);
        assert_eq!(nobody.chain(&answered, &[], next.leaf().spki_der()).unwrap().certificates, next.chain());
    }
}

#[test]
fn authorities_that_sign_one_another_end() {
    let (one, other) = (root("one"), root("other"));
    let (leaf, spki) = leaf(&one);
    let circle = [crossed(&one, "one", &other), crossed(&other, "other", &one)];
    let chain = Known::default().chain(std::slice::from_ref(&leaf), &circle, &spki).unwrap();
    assert_eq!(chain.certificates, [leaf.clone(), circle[0].clone(), circle[1].clone()]);
    // Where the root itself is told, its cross-certificate leads on only to one that is known.
    let told = [der(&one), circle[0].clone(), circle[1].clone()];
    let chain = Known::default().chain(std::slice::from_ref(&leaf), &told, &spki).unwrap();
    assert_eq!(chain.certificates, std::slice::from_ref(&leaf));
    let chain = knowing(&[&one]).chain(std::slice::from_ref(&leaf), &told, &spki).unwrap();
    assert_eq!((chain.certificates.as_slice(), chain.leads), (std::slice::from_ref(&leaf), true));
    let chain = knowing(&[&other]).chain(std::slice::from_ref(&leaf), &told, &spki).unwrap();
    assert_eq!((chain.certificates, chain.leads), (vec![leaf, circle[0].clone()], true));
}

#[test]
fn an_intermediate_in_the_bundle_ends_no_chain() {
    let top = root("root");
    let issuing = below("issuing", &top);
    let (leaf, spki) = leaf(&issuing);
    let known = knowing(&[&top, &issuing]);
    let chain = known.chain(std::slice::from_ref(&leaf), &[], &spki).unwrap();
    assert!(!chain.leads, "others have the root alone");
    let chain = known.chain(std::slice::from_ref(&leaf), &[der(&issuing)], &spki).unwrap();
    assert_eq!((chain.certificates.len(), chain.leads), (2, true));
}

#[test]
fn the_height_is_bounded() {
    let mut line = vec![root("0")];
    for number in 1..20 {
        let next = below(&number.to_string(), line.last().unwrap());
        line.push(next);
    }
    let (leaf, spki) = leaf(line.last().unwrap());
    let beside: Vec<_> = line.iter().map(der).collect();
    let chain = Known::default().chain(&[leaf], &beside, &spki).unwrap();
    assert_eq!(chain.certificates.len(), 1 + MOST_ABOVE);
}

#[test]
fn a_certificate_over_another_key_is_not_ours() {
    let ca = TestCa::new("agents.internal");
    let (one, other) = (ca.agent("billing-bot"), ca.agent("billing-bot"));
    let known = Known::default();
    assert!(matches!(known.chain(one.chain(), &[], other.leaf().spki_der()), Err(AnswerError::NotOurs)));
    assert!(matches!(known.chain(&[], other.chain(), other.leaf().spki_der()), Err(AnswerError::NotOurs)));
    let junk = [vec![other.chain()[0].clone()], vec![CertificateDer::from(vec![0x30, 0x00])]].concat();
    assert!(matches!(known.chain(&junk, &[], other.leaf().spki_der()), Err(AnswerError::Certificate)));
    known.chain(&junk[..1], &junk[1..], other.leaf().spki_der()).unwrap();
}
