use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};

use super::*;
use crate::authority::AuthorityError;
use crate::credential::Credential;
use crate::testing::{Ca, NOW, TD, at, ca_params, leaf_params, td, uri};

const PATH: &str = "/agent/billing-bot";

/// A root, an intermediate below it, and a leaf below that.
struct Pki {
    root: Ca,
    intermediate: Ca,
    credential: Credential,
}

impl Pki {
    fn new() -> Self {
        let root = Ca::root("root");
        let intermediate = root.intermediate("intermediate");
        let credential = intermediate.credential(PATH, &[&intermediate]);
        Self { root, intermediate, credential }
    }

    fn trust(&self, crls: Vec<Arc<Crl>>) -> Trust {
        trust(&self.root, crls, Revocation::Required)
    }

    fn good_crls(&self) -> Vec<Arc<Crl>> {
        vec![self.root.crl(&[]), self.intermediate.crl(&[])]
    }
}

fn trust(root: &Ca, crls: Vec<Arc<Crl>>, revocation: Revocation) -> Trust {
    Trust::new(vec![DomainTrust { bundle: root.bundle(), crls, revocation }]).unwrap()
}

fn lax(root: &Ca) -> Trust {
    trust(root, Vec::new(), Revocation::DangerNone)
}

fn verify(trust: &Trust, credential: &Credential) -> Result<VerifiedChain, ChainError> {
    verify_at(trust, credential, NOW)
}

fn verify_at(trust: &Trust, credential: &Credential, now: UnixTime) -> Result<VerifiedChain, ChainError> {
    trust.verify(credential.chain(), credential.leaf(), &td(), Usage::Client, now)
}

#[test]
fn a_good_chain_is_verified_and_says_by_whom() {
    let pki = Pki::new();
    let trust = pki.trust(pki.good_crls());
    for _warm in 0..3 {
        let chain = verify(&trust, &pki.credential).unwrap();
        let subjects: Vec<_> = chain.authorities().iter().map(|authority| authority.subject()).collect();
        assert_eq!(subjects, ["CN=intermediate", "CN=root"]);
        assert_eq!(chain.trust_domain().as_str(), TD);
        assert_eq!(chain.not_after(), pki.credential.leaf().not_after());
    }
}

#[test]
fn nobody_is_believed_by_an_empty_trust() {
    let error = verify(&Trust::nobody(), &Pki::new().credential).unwrap_err();
    assert_eq!(error, ChainError::UnknownTrustDomain { trust_domain: td() });
}

#[test]
fn a_federated_authority_cannot_sign_for_our_trust_domain() {
    let pki = Pki::new();
    let mut params = ca_params("foreign root");
    params.subject_alt_names = vec![uri("spiffe://other.internal")];
    let foreign = Ca::root("outer").intermediate_with(params);
    // It signs a leaf in our name, with no intermediate that could give it away.
    let forged = foreign.credential(PATH, &[]);
    let other = Bundle::new("other.internal".parse().unwrap(), vec![foreign.der.clone()]).unwrap();
    let domains = [pki.root.bundle(), other].map(|bundle| DomainTrust {
        bundle,
        crls: Vec::new(),
        revocation: Revocation::DangerNone,
    });
    let trust = Trust::new(domains.to_vec()).unwrap();
    assert!(matches!(verify(&trust, &forged), Err(ChainError::UnknownAuthority { .. })));
    // Pooled roots would have believed it: under its own trust domain the same chain verifies.
    let theirs = "other.internal".parse().unwrap();
    trust.verify(forged.chain(), forged.leaf(), &theirs, Usage::Client, NOW).unwrap();
}

#[test]
fn a_root_of_the_same_name_is_another_root() {
    let pki = Pki::new();
    let impostor = Ca::root("root");
    assert!(matches!(verify(&lax(&impostor), &pki.credential), Err(ChainError::UnknownAuthority { .. })));
}

#[test]
fn the_leaf_must_be_the_first_certificate() {
    let pki = Pki::new();
    let other = pki.intermediate.credential("/agent/intern-bot", &[&pki.intermediate]);
    let trust = pki.trust(pki.good_crls());
    let error = trust.verify(pki.credential.chain(), other.leaf(), &td(), Usage::Client, NOW).unwrap_err();
    assert_eq!(error, ChainError::LeafMismatch);
    let error = trust.verify(&[], other.leaf(), &td(), Usage::Client, NOW).unwrap_err();
    assert!(matches!(error, ChainError::Malformed { .. }));
}

#[test]
fn the_usage_is_judged_in_each_direction() {
    let pki = Pki::new();
    let mut params = leaf_params(PATH);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![rcgen::SanType::DnsName("db.internal".try_into().unwrap())];
    let server = pki.intermediate.credential_with(params, &[&pki.intermediate]);
    let trust = pki.trust(pki.good_crls());
    assert!(matches!(verify(&trust, &server), Err(ChainError::Leaf(_))));
    trust.verify(server.chain(), server.leaf(), &td(), Usage::Server, NOW).unwrap();
}

#[test]
fn times_are_judged_afresh_on_a_warm_memory() {
    let pki = Pki::new();
    let trust = lax(&pki.root);
    verify(&trust, &pki.credential).unwrap();
    let leaf = pki.credential.leaf();
    let late = UnixTime::from_secs(leaf.not_after().as_secs() + 1);
    let early = UnixTime::from_secs(leaf.not_before().as_secs() - 1);
    verify_at(&trust, &pki.credential, leaf.not_after()).unwrap();
    assert_eq!(
        verify_at(&trust, &pki.credential, late).unwrap_err(),
        ChainError::Expired { which: Link::Leaf, not_after: leaf.not_after(), now: late }
    );
    assert!(matches!(
        verify_at(&trust, &pki.credential, early),
        Err(ChainError::NotYetValid { which: Link::Leaf, .. })
    ));
}

#[test]
fn an_expired_intermediate_and_an_expired_root_are_refused() {
    let root = Ca::root("root");
    let mut params = ca_params("intermediate");
    params.not_after = at(-1);
    let old = root.intermediate_with(params);
    let error = verify(&lax(&root), &old.credential(PATH, &[&old])).unwrap_err();
    assert!(matches!(error, ChainError::Expired { which: Link::Authority(_), .. }), "{error}");
    // webpki knows no end of a trust anchor.
    let mut params = ca_params("old root");
    params.not_after = at(-1);
    let old_root = Ca::root("outer").intermediate_with(params);
    let error = verify(&lax(&old_root), &old_root.credential(PATH, &[])).unwrap_err();
    assert!(matches!(error, ChainError::Expired { which: Link::Authority(_), .. }), "{error}");
}

#[test]
fn intermediates_keep_the_rules_of_signing_certificates() {
    let root = Ca::root("root");
    let refusal = |params| {
        let ca = root.intermediate_with(params);
        match verify(&lax(&root), &ca.credential(PATH, &[&ca])).unwrap_err() {
            ChainError::Authority { position: 1, error, .. } => error,
            other => panic!("{other}"),
        }
    };
    let mut params = ca_params("no keyCertSign");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(refusal(params), AuthorityError::NoKeyCertSign);
    let mut params = ca_params("no keyUsage");
    params.key_usages = Vec::new();
    let error = refusal(params);
    assert!(error == AuthorityError::NoKeyUsage && error.to_string().contains("it has no keyUsage"), "{error}");
    let mut params = ca_params("no CA");
    params.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(refusal(params), AuthorityError::NotCa);
    for name in ["spiffe://other.internal", "spiffe://agents.internal/intermediate"] {
        let mut params = ca_params("foreign");
        params.subject_alt_names = vec![uri(name)];
        assert!(matches!(refusal(params), AuthorityError::ForeignUri { .. }));
    }
}

#[test]
fn an_unused_intermediate_is_judged_too() {
    let pki = Pki::new();
    let mut params = ca_params("foreign");
    params.subject_alt_names = vec![uri("spiffe://other.internal")];
    let foreign = pki.root.intermediate_with(params);
    let credential = pki.intermediate.credential(PATH, &[&pki.intermediate, &foreign]);
    assert!(matches!(verify(&lax(&pki.root), &credential), Err(ChainError::Authority { position: 2, .. })));
}

#[test]
fn a_seventh_intermediate_is_too_many() {
    let pki = Pki::new();
    let many = [&pki.intermediate; 7];
    let credential = pki.intermediate.credential(PATH, &many);
    assert_eq!(verify(&lax(&pki.root), &credential).unwrap_err(), ChainError::TooManyIntermediates { found: 7 });
    verify(&lax(&pki.root), &pki.intermediate.credential(PATH, &many[..6])).unwrap();
}

#[test]
fn a_leaf_that_comes_alone_is_completed_by_what_is_known_and_judged_as_ever() {
    let pki = Pki::new();
    let lone = pki.intermediate.credential(PATH, &[]);
    let other = pki.root.intermediate("other");
    let beside = || vec![other.der.clone(), pki.intermediate.der.clone()];
    assert!(matches!(verify(&pki.trust(pki.good_crls()), &lone), Err(ChainError::UnknownAuthority { .. })));
    let trust = pki.trust(pki.good_crls()).completing(&td(), beside());
    for _warm in 0..2 {
        let authorities = verify(&trust, &lone).unwrap().authorities().len();
        assert_eq!(authorities, 2);
        verify(&trust, &pki.credential).unwrap();
    }
    // It is nobody's intermediate of that name, and none that a root does not sign.
    let impostor = Ca::root("else").intermediate("intermediate");
    let trust = pki.trust(pki.good_crls()).completing(&td(), vec![impostor.der.clone()]);
    assert!(matches!(verify(&trust, &lone), Err(ChainError::UnknownAuthority { .. })));
    assert!(verify(&trust, &impostor.credential(PATH, &[])).is_err());
    // Without a list of the one that completes, or where that one is revoked, nothing is believed.
    let trust = pki.trust(vec![pki.root.crl(&[])]).completing(&td(), beside());
    assert!(matches!(verify(&trust, &lone), Err(ChainError::RevocationUnknown { .. })));
    let serial = Authority::parse(&pki.intermediate.der, &td()).unwrap().serial().as_bytes().to_vec();
    let lists = vec![pki.root.crl_of(&[serial], 100), pki.intermediate.crl(&[])];
    let trust = pki.trust(lists).completing(&td(), beside());
    assert!(matches!(verify(&trust, &lone), Err(ChainError::Revoked { which: Link::Authority(_), .. })));
}

#[test]
fn a_path_length_is_kept() {
    let root = Ca::root("root");
    let mut params = ca_params("short");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = root.intermediate_with(params);
    let below = short.intermediate("below");
    let error = verify(&lax(&root), &below.credential(PATH, &[&below, &short])).unwrap_err();
    assert!(matches!(error, ChainError::Path { .. }), "{error}");
}

#[test]
fn a_leaf_cannot_sign_a_leaf() {
    let pki = Pki::new();
    let trust = lax(&pki.root);
    let mut chain = pki.credential.chain().to_vec();
    chain.insert(1, pki.credential.chain()[0].clone());
    let error = trust.verify(&chain, pki.credential.leaf(), &td(), Usage::Client, NOW).unwrap_err();
    assert!(matches!(error, ChainError::Authority { error: AuthorityError::NotCa, .. }));
}

#[test]
fn a_flipped_bit_is_refused_before_and_after_the_good_one() {
    let pki = Pki::new();
    let trust = lax(&pki.root);
    let mut der = pki.credential.chain()[0].to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let bad = vec![CertificateDer::from(der), pki.intermediate.der.clone()];
    let leaf = Leaf::parse(&bad[0]).unwrap();
    let verify_bad = || trust.verify(&bad, &leaf, &td(), Usage::Client, NOW);
    assert!(verify_bad().is_err());
    verify(&trust, &pki.credential).unwrap();
    assert!(verify_bad().is_err());
}

#[test]
fn no_flipped_bit_verifies() {
    let pki = Pki::new();
    let trust = pki.trust(pki.good_crls());
    verify(&trust, &pki.credential).unwrap();
    for certificate in 0..2 {
        for place in 0..pki.credential.chain()[certificate].len() {
            let mut chain = pki.credential.chain().to_vec();
            let mut der = chain[certificate].to_vec();
            der[place] ^= 1 << (place % 8);
            chain[certificate] = der.into();
            let Ok(leaf) = Leaf::parse(&chain[0]) else { continue };
            let verdict = trust.verify(&chain, &leaf, &td(), Usage::Client, NOW);
            assert!(verdict.is_err(), "certificate {certificate}, byte {place}");
        }
    }
}

#[test]
fn many_threads_share_one_trust() {
    let pki = Pki::new();
    let trust = pki.trust(vec![pki.root.crl(&[]), pki.intermediate.crl(&[pki.credential.leaf()])]);
    let good: Vec<_> = (0..8).map(|_| pki.intermediate.credential(PATH, &[&pki.intermediate])).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for credential in good.iter().cycle().take(200) {
                    verify(&trust, credential).unwrap();
                    verify(&trust, &pki.credential).unwrap_err();
                }
            });
        }
    });
}

#[test]
fn two_bundles_of_one_trust_domain_are_refused() {
    let domain =
        || DomainTrust { bundle: Ca::root("root").bundle(), crls: Vec::new(), revocation: Revocation::Required };
    assert_eq!(Trust::new(vec![domain(), domain()]).unwrap_err(), TrustError::Repeated { trust_domain: td() });
}

mod revocation;
