//! Each rule, broken one at a time by a CA that lints nothing.

use std::time::Duration;

use countermark_identity::{SpiffeId, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};

use super::*;
use crate::{
    KeyPair, KeyType, Signer,
    testing::{NOW, chain, domain, id},
    time::to_date,
};

struct Forger {
    root: Signer,
    signer: Signer,
    key: KeyPair,
    identity: SpiffeId,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Forger {
    fn new() -> Self {
        let (root, signer) = chain();
        Self { root, signer, key: KeyPair::generate(KeyType::P256).unwrap(), identity: id("agent/a") }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "a");
        params.subject_alt_names = vec![uri(self.identity.as_str())];
        params.not_before = to_date(NOW.saturating_sub(Duration::from_secs(60)));
        params.not_after = to_date(NOW.saturating_add(HOUR));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// What lint says of a leaf that differs from a good one as `change` does.
    fn judge(&self, change: impl FnOnce(&mut CertificateParams)) -> Result<(), LintError> {
        let mut params = self.params();
        change(&mut params);
        let der = params.signed_by(self.key.public_key(), self.signer.issuer()).unwrap();
        lint_leaf(der.der(), self.signer.facts(), &self.expected())
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            identity: &self.identity,
            public_key: self.key.public_key(),
            issued_at: NOW,
            not_after: NOW.saturating_add(HOUR),
        }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn at(time: UnixTime, seconds: u64) -> UnixTime {
    time.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn a_good_leaf_passes() {
    assert_eq!(Forger::new().judge(|_| {}), Ok(()));
}

#[test]
fn names() {
    let forger = Forger::new();
    let two = uri("spiffe://agents.internal/agent/b");
    assert!(matches!(forger.judge(|params| params.subject_alt_names.push(two.clone())), Err(LintError::Svid(_))));
    assert_eq!(forger.judge(|params| params.subject_alt_names = vec![two]), Err(LintError::Identity));
    assert!(forger.judge(|params| params.subject_alt_names.clear()).is_err());
    let mail = SanType::Rfc822Name("a@agents.internal".try_into().unwrap());
    assert_eq!(forger.judge(|params| params.subject_alt_names.push(mail)), Err(LintError::Identity));
}

#[test]
fn usages() {
    let forger = Forger::new();
    let ca = forger.judge(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(matches!(ca, Err(LintError::Svid(_))), "{ca:?}");
    let absent = forger.judge(|params| params.is_ca = IsCa::NoCa);
    assert!(matches!(absent, Err(LintError::Svid(_) | LintError::BasicConstraints)), "{absent:?}");
    let sign = forger.judge(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign));
    assert!(matches!(sign, Err(LintError::Svid(_))), "{sign:?}");
    let more = forger.judge(|params| params.key_usages.push(KeyUsagePurpose::KeyAgreement));
    assert!(matches!(more, Err(LintError::Svid(_) | LintError::KeyUsage)), "{more:?}");
    assert!(forger.judge(|params| params.key_usages.clear()).is_err());
    let one = forger.judge(|params| params.extended_key_usages.truncate(1));
    assert!(matches!(one, Err(LintError::Svid(_))), "{one:?}");
    let any = forger.judge(|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::Any));
    assert_eq!(any, Err(LintError::ExtendedKeyUsage));
    let none = forger.judge(|params| params.extended_key_usages.clear());
    assert!(none.is_err());
}

#[test]
fn extensions() {
    let forger = Forger::new();
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    let refused = forger.judge(|params| params.custom_extensions.push(unknown));
    assert_eq!(refused, Err(LintError::Extension("1.3.6.1.4.1.99999.1".into())));
    let usage = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 128]);
    let twice = forger.judge(|params| params.custom_extensions.push(usage));
    assert_eq!(twice, Err(LintError::Extension("2.5.29.15".into())));
}

#[test]
fn serials() {
    let forger = Forger::new();
    let serial = |bytes: &[u8]| {
        let bytes = SerialNumber::from_slice(bytes);
        forger.judge(|params| params.serial_number = Some(bytes))
    };
    assert_eq!(serial(&[0x80, 0, 0, 0, 0, 0, 0, 1]), Ok(()));
    assert_eq!(serial(&[0x7f, 0, 0, 0, 0, 0, 0, 1]), Err(LintError::Serial { bits: 63 }));
    assert!(serial(&[1]).is_err());
    assert!(serial(&[0]).is_err());
    assert!(serial(&[0x41; 21]).is_err());
}

#[test]
fn times() {
    let forger = Forger::new();
    let from = |seconds: u64| {
        let begin = to_date(NOW.saturating_sub(Duration::from_secs(seconds)));
        forger.judge(|params| params.not_before = begin)
    };
    assert_eq!(from(0), Ok(()));
    assert!(matches!(from(61), Err(LintError::Backdate { .. } | LintError::BeyondIssuer { .. })));
    let future = forger.judge(|params| params.not_before = to_date(at(NOW, 1)));
    assert!(matches!(future, Err(LintError::Backdate { .. })));
    let other = forger.judge(|params| params.not_after = to_date(at(NOW, 3601)));
    assert!(matches!(other, Err(LintError::Validity { .. })));
    let ended = forger.judge(|params| params.not_after = to_date(NOW));
    assert!(matches!(ended, Err(LintError::Validity { .. })));
}

#[test]
fn nothing_beyond_the_issuer_and_no_leaf_of_more_than_a_sixth() {
    let forger = Forger::new();
    let long = |issuer_life: u64, life: u64| {
        let key = KeyPair::generate(KeyType::P256).unwrap();
        let signer = forger.root.intermediate(&domain(), key, Duration::from_secs(issuer_life), NOW).unwrap();
        let mut params = forger.params();
        params.not_after = to_date(at(NOW, life));
        let der = params.signed_by(forger.key.public_key(), signer.issuer()).unwrap();
        let expected = Expected { not_after: at(NOW, life), ..forger.expected() };
        lint_leaf(der.der(), signer.facts(), &expected)
    };
    assert_eq!(long(6000, 1010), Ok(()));
    assert_eq!(long(6000, 1011), Err(LintError::Share { life: 1011, issuer_life: 6060 }));
    assert!(matches!(long(6000, 6001), Err(LintError::BeyondIssuer { .. })));
}

#[test]
fn subjects() {
    let forger = Forger::new();
    let country = forger.judge(|params| params.distinguished_name.push(DnType::CountryName, "DE"));
    assert_eq!(country, Err(LintError::Subject));
    let long = forger.judge(|params| params.distinguished_name.push(DnType::OrganizationName, "a".repeat(65)));
    assert_eq!(long, Err(LintError::Subject));
    let empty = forger.judge(|params| params.distinguished_name = DistinguishedName::new());
    assert_eq!(empty, Err(LintError::Subject));
}

#[test]
fn keys_and_signatures() {
    let forger = Forger::new();
    let other = KeyPair::generate(KeyType::P256).unwrap();
    let good = forger.params().signed_by(forger.key.public_key(), forger.signer.issuer()).unwrap();
    let expected = forger.expected();
    let stranger = Expected { public_key: other.public_key(), ..expected };
    assert_eq!(lint_leaf(good.der(), forger.signer.facts(), &stranger), Err(LintError::PublicKey));
    let mut broken = good.der().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(lint_leaf(&broken, forger.signer.facts(), &expected), Err(LintError::Signature));
    assert_eq!(lint_leaf(good.der(), forger.root.facts(), &expected), Err(LintError::IssuerName));
    let without = forger.judge(|params| params.use_authority_key_identifier_extension = false);
    assert_eq!(without, Err(LintError::AuthorityKeyId));
    broken.push(0);
    assert_eq!(lint_leaf(&broken, forger.signer.facts(), &expected), Err(LintError::Malformed));
}

/// Same name, another key: names are never enough.
#[test]
fn an_issuer_with_the_right_name_and_the_wrong_key_is_found() {
    let forger = Forger::new();
    let good = forger.params().signed_by(forger.key.public_key(), forger.signer.issuer()).unwrap();
    let mut impostor = forger.signer.certificate().to_vec();
    let spki = forger.signer.key().public_key().spki_der();
    let other = KeyPair::generate(KeyType::P256).unwrap();
    let at = impostor.windows(spki.len()).position(|bytes| bytes == spki).unwrap();
    impostor[at..at + spki.len()].copy_from_slice(other.public_key().spki_der());
    assert_eq!(
        lint_leaf(good.der(), &crate::ca_facts(&impostor).unwrap(), &forger.expected()),
        Err(LintError::Signature)
    );
}

#[test]
fn authorities() {
    let (root, signer) = chain();
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let judge = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Countermark intermediate");
        params.subject_alt_names = vec![uri("spiffe://agents.internal")];
        params.not_before = to_date(NOW);
        params.not_after = to_date(at(NOW, 86_400));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let der = params.signed_by(key.public_key(), root.issuer()).unwrap();
        lint_ca(der.der(), root.facts(), &domain(), NOW)
    };
    assert_eq!(judge(&|_| {}), Ok(()));
    let deep = judge(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    assert_eq!(deep, Err(LintError::BasicConstraints));
    let endless = judge(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(endless, Err(LintError::BasicConstraints));
    let usage = judge(&|params| params.key_usages.push(KeyUsagePurpose::DigitalSignature));
    assert_eq!(usage, Err(LintError::KeyUsage));
    let path = judge(&|params| params.subject_alt_names = vec![uri("spiffe://agents.internal/agent/a")]);
    assert_eq!(path, Err(LintError::Identity));
    let foreign = judge(&|params| params.subject_alt_names = vec![uri("spiffe://other.internal")]);
    assert_eq!(foreign, Err(LintError::Identity));
    let constraints = judge(&|params| {
        let permitted_subtrees = vec![rcgen::GeneralSubtree::DnsName("internal".into())];
        params.name_constraints = Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    });
    assert_eq!(constraints, Err(LintError::Extension("2.5.29.30".into())));
    let long = judge(&|params| params.not_after = to_date(at(root.not_after(), 1)));
    assert!(matches!(long, Err(LintError::BeyondIssuer { .. })));
    assert_eq!(lint_ca(signer.certificate(), signer.facts(), &domain(), NOW), Err(LintError::BasicConstraints));
}

/// Every byte of a certificate is either its frame or under its signature.
#[test]
fn no_bit_of_a_certificate_can_be_changed() {
    let forger = Forger::new();
    let good = forger.params().signed_by(forger.key.public_key(), forger.signer.issuer()).unwrap();
    let der = good.der().to_vec();
    for at in 0..der.len() * 8 {
        let mut changed = der.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(lint_leaf(&changed, forger.signer.facts(), &forger.expected()).is_err(), "bit {at}");
    }
}
