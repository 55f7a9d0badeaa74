//! What one chain costs: cold, and for somebody who returns.
//!
//! `cargo bench -p countermark-credential` — a leaf under an intermediate, with and without the two revocation lists, beside
//! what webpki alone takes for the same chain.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use countermark_credential::{Bundle, Crl, DomainTrust, Revocation, Trust};
use countermark_identity::{Leaf, Serial, TrustDomain, UnixTime, Usage};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, UnixTime as PkiTime};
use time::OffsetDateTime;

const NOW: u64 = 1_800_000_000;

struct Pki {
    chain: Vec<CertificateDer<'static>>,
    leaf: Leaf,
    bundle: Bundle,
    intermediate: Issuer<'static, KeyPair>,
    crls: Vec<Arc<Crl>>,
}

impl Pki {
    fn new() -> Self {
        let (root_key, key) = (generate(), generate());
        let root_params = params("root", true);
        let root_der = root_params.self_signed(&root_key).expect("a root").der().clone();
        let root = Issuer::new(root_params, root_key);
        let intermediate_params = params("intermediate", true);
        let intermediate_der = intermediate_params.signed_by(&key, &root).expect("an intermediate").der().clone();
        let intermediate = Issuer::new(intermediate_params, key);
        let (leaf_der, leaf) = sign_leaf("billing-bot", &intermediate);
        let bundle = Bundle::new(trust_domain(), vec![root_der]).expect("a bundle");
        let crls = vec![crl(&root, 0), crl(&intermediate, 0)];
        Self { chain: vec![leaf_der, intermediate_der], leaf, bundle, intermediate, crls }
    }

    fn leaf(&self, name: &str) -> (CertificateDer<'static>, Leaf) {
        sign_leaf(name, &self.intermediate)
    }

    fn trust(&self, revocation: Revocation) -> Trust {
        let domain = DomainTrust { bundle: self.bundle.clone(), crls: self.crls.clone(), revocation };
        Trust::new(vec![domain]).expect("a trust")
    }

    fn verify(&self, trust: &Trust) {
        let now = UnixTime::from_secs(NOW);
        let chain = trust.verify(black_box(&self.chain), &self.leaf, &trust_domain(), Usage::Client, now);
        black_box(chain.expect("a good chain"));
    }

    fn webpki_alone(&self) {
        let anchors: Vec<_> =
            self.bundle.roots().iter().map(|root| webpki::anchor_from_trusted_cert(root).expect("an anchor")).collect();
        let (leaf, rest) = self.chain.split_first().expect("a leaf");
        let leaf = webpki::EndEntityCert::try_from(leaf).expect("a leaf");
        let path = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            rest,
            PkiTime::since_unix_epoch(Duration::from_secs(NOW)),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        );
        black_box(path.expect("a good chain").anchor());
    }
}

fn sign_leaf(name: &str, issuer: &Issuer<'static, KeyPair>) -> (CertificateDer<'static>, Leaf) {
    let mut params = params(name, false);
    let uri = format!("spiffe://agents.internal/agent/{name}").as_str().try_into().expect("a URI");
    params.subject_alt_names = vec![SanType::URI(uri)];
    let der = params.signed_by(&generate(), issuer).expect("a leaf").der().clone();
    let leaf = Leaf::parse(&der).expect("a leaf");
    (der, leaf)
}

fn generate() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn trust_domain() -> TrustDomain {
    "agents.internal".parse().expect("a trust domain")
}

fn at(offset: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW as i64 + offset).expect("a time")
}

fn params(name: &str, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (at(-60), at(3600));
    params.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params.key_usages = if ca {
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
    } else {
        vec![KeyUsagePurpose::DigitalSignature]
    };
    if !ca {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    }
    params
}

fn crl(issuer: &Issuer<'static, KeyPair>, entries: u32) -> Arc<Crl> {
    let revoked = |number: u32| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial(number)),
        revocation_time: at(-60),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: at(-60),
        next_update: at(3600),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: (0..entries).map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Arc::new(Crl::from_der(params.signed_by(issuer).expect("a list").der()).expect("a list"))
}

/// Sixteen bytes, as our serials have, in an order that is not that of the list.
fn serial(number: u32) -> [u8; 16] {
    let mut bytes = [0x41; 16];
    bytes[1..5].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    bytes
}

fn verification(c: &mut Criterion) {
    let pki = Pki::new();
    c.bench_function("webpki alone, with an intermediate", |b| b.iter(|| pki.webpki_alone()));
    for (name, revocation) in
        [("with an intermediate", Revocation::DangerNone), ("with an intermediate and two CRLs", Revocation::Required)]
    {
        c.bench_function(&format!("cold, {name}"), |b| {
            b.iter_batched_ref(|| pki.trust(revocation), |trust| pki.verify(trust), BatchSize::SmallInput);
        });
        let trust = pki.trust(revocation);
        c.bench_function(&format!("warm, {name}"), |b| b.iter(|| pki.verify(&trust)));
    }
}

/// What a handshake with somebody new costs once the authorities and their lists are known.
fn newcomer(c: &mut Criterion) {
    let pki = Pki::new();
    let (other, leaf) = pki.leaf("intern-bot");
    let now = UnixTime::from_secs(NOW);
    c.bench_function("a new leaf under a known intermediate, two CRLs", |b| {
        let warm = || {
            let trust = pki.trust(Revocation::Required);
            pki.verify(&trust);
            trust
        };
        let verify = |trust: &mut Trust| {
            let chain = [other.clone(), pki.chain.last().expect("an intermediate").clone()];
            trust.verify(&chain, &leaf, &trust_domain(), Usage::Client, now).expect("a good chain")
        };
        b.iter_batched_ref(warm, verify, BatchSize::SmallInput);
    });
}

fn lists(c: &mut Criterion) {
    let pki = Pki::new();
    let large = crl(&pki.intermediate, 100_000);
    let (present, absent) = (serial(77_777), [0x42; 16]);
    for (name, serial) in [("revoked", present), ("not revoked", absent)] {
        let serial = Serial::from_be_bytes(&serial).expect("a serial");
        c.bench_function(&format!("one serial among 100,000, {name}"), |b| {
            b.iter(|| large.revokes(black_box(&serial)))
        });
    }
    c.bench_function("parse a CRL of 100,000", |b| b.iter(|| Crl::from_der(black_box(large.der()))));
}

criterion_group!(benches, verification, newcomer, lists);
criterion_main!(benches);
