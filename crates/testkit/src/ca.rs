use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countermark_credential::{Bundle, Credential, Crl, DomainTrust, Revocation, Trust};
use countermark_identity::{Clock, SanMap, TrustDomain, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::{MockClock, Spec, TestSource, TestTrust};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A root, an intermediate and their revocation lists, in memory.
#[derive(Debug)]
pub struct TestCa {
    trust_domain: TrustDomain,
    clock: MockClock,
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    revoked: Vec<Vec<u8>>,
    crl_number: u64,
    crl_life: Option<Duration>,
}

/// A chain with its key, however wrong.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests take it apart")]
pub struct Minted {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

impl Minted {
    /// As the credential that it is, if it is a right one.
    #[must_use]
    pub fn credential(self) -> Arc<Credential> {
        Arc::new(Credential::new(self.chain, self.key).expect("a right certificate"))
    }
}

impl TestCa {
    /// An authority for a trust domain, on a clock of its own.
    #[must_use]
    pub fn new(trust_domain: &str) -> Self {
        Self::with_clock(trust_domain, MockClock::new())
    }

    /// An authority that shares a clock with others.
    #[must_use]
    pub fn with_clock(trust_domain: &str, clock: MockClock) -> Self {
        let key = || KeyPair::generate().expect("a key");
        let root = ca_params(trust_domain, "root", clock.now());
        let root = CertifiedIssuer::self_signed(root, key()).expect("a root");
        let intermediate = ca_params(trust_domain, "intermediate", clock.now());
        let intermediate = CertifiedIssuer::signed_by(intermediate, key(), &root).expect("an intermediate");
        let trust_domain = trust_domain.parse().expect("a trust domain");
        Self { trust_domain, clock, root, intermediate, state: Mutex::default() }
    }

    /// Its trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &MockClock {
        &self.clock
    }

    /// The credential of an agent, valid for an hour.
    #[must_use]
    pub fn agent(&self, name: &str) -> Arc<Credential> {
        self.mint(&self.spec("agent", name)).credential()
    }

    /// The credential of a server that answers as `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn server(&self, name: &str) -> Arc<Credential> {
        self.mint(&self.server_spec(name)).credential()
    }

    /// The credential of an administrator.
    #[must_use]
    pub fn admin(&self, name: &str) -> Arc<Credential> {
        self.mint(&self.spec("admin", name)).credential()
    }

    /// What [`agent`](Self::agent) mints, to be changed.
    #[must_use]
    pub fn agent_spec(&self, name: &str) -> Spec {
        self.spec("agent", name)
    }

    /// What [`server`](Self::server) mints, to be changed.
    #[must_use]
    pub fn server_spec(&self, name: &str) -> Spec {
        self.spec("server", name).dns("localhost").ip(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Signs a leaf, right or wrong, with the intermediate.
    #[must_use]
    pub fn mint(&self, spec: &Spec) -> Minted {
        let key = KeyPair::generate().expect("a key");
        let leaf = self.params(spec).signed_by(&key, &self.intermediate).expect("a leaf");
        Minted {
            chain: vec![leaf.der().clone(), self.intermediate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// Signs a leaf over a public key (SubjectPublicKeyInfo, DER) whose private half is somebody else's.
    #[must_use]
    pub fn sign(&self, spec: &Spec, spki: &[u8]) -> Vec<CertificateDer<'static>> {
        let key = SubjectPublicKeyInfo::from_der(spki).expect("a public key");
        let leaf = self.params(spec).signed_by(&key, &self.intermediate).expect("a leaf");
        vec![leaf.der().clone(), self.intermediate.der().clone()]
    }

    /// Puts the serial of this credential on the revocation list. Trust that was made before does
    /// not know of it: publish [`trust`](Self::trust) anew.
    pub fn revoke(&self, credential: &Credential) {
        self.state().revoked.push(credential.leaf().serial().as_bytes().to_vec());
    }

    /// Puts so many serials that nobody has on the revocation list, as years of an estate do.
    pub fn revoke_others(&self, count: u32) {
        let serials = (0..count).map(|number| [&[0x7f; 12][..], &number.to_be_bytes()].concat());
        self.state().revoked.extend(serials);
    }

    /// From now on lists are fresh for so long; a year otherwise.
    pub fn set_crl_life(&self, life: Duration) {
        self.state().crl_life = Some(life);
    }

    /// The root as a bundle.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        let roots = vec![self.root.der().clone()];
        Bundle::new(self.trust_domain.clone(), roots).expect("a bundle")
    }

    /// The lists of root and intermediate, fresh.
    #[must_use]
    pub fn crls(&self) -> Vec<Arc<Crl>> {
        let mut state = self.state();
        state.crl_number += 1;
        let (number, now) = (state.crl_number, self.clock.now());
        let until = now.saturating_add(state.crl_life.unwrap_or(YEAR));
        vec![crl(&self.root, &[], number, (now, until)), crl(&self.intermediate, &state.revoked, number, (now, until))]
    }

    /// Bundle and lists, revocation required.
    #[must_use]
    pub fn domain_trust(&self) -> DomainTrust {
        DomainTrust { bundle: self.bundle(), crls: self.crls(), revocation: Revocation::Required }
    }

    /// Trust in this authority alone, as of now.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        self.trust_with(&[])
    }

    /// Trust in this authority and in others, each for its own trust domain.
    #[must_use]
    pub fn trust_with(&self, federated: &[&Self]) -> Arc<Trust> {
        let domains = std::iter::once(&self).chain(federated).map(|ca| ca.domain_trust()).collect();
        Arc::new(Trust::new(domains).expect("trust"))
    }

    /// A credential that the test may change while it is in use.
    #[must_use]
    pub fn source(credential: Arc<Credential>) -> TestSource {
        TestSource::new(credential)
    }

    /// This authority's trust with an empty map, which the test may change while it is in use.
    #[must_use]
    pub fn trusted(&self) -> TestTrust {
        TestTrust::new(self.trust(), SanMap::empty(self.trust_domain.clone()))
    }

    fn params(&self, spec: &Spec) -> CertificateParams {
        let mut params = spec.params();
        let begins = self.clock.now().saturating_sub(spec.age);
        params.not_before = date(begins);
        params.not_after = date(begins.saturating_add(spec.ttl + spec.age.min(Duration::from_secs(60))));
        params
    }

    fn spec(&self, role: &str, name: &str) -> Spec {
        Spec::uri(&format!("spiffe://{}/{role}/{name}", self.trust_domain))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ca_params(trust_domain: &str, which: &str, now: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{trust_domain} test {which}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(now.saturating_sub(YEAR));
    params.not_after = date(now.saturating_add(YEAR));
    params
}

fn crl(
    issuer: &Issuer<'static, KeyPair>,
    revoked: &[Vec<u8>],
    number: u64,
    (now, until): (UnixTime, UnixTime),
) -> Arc<Crl> {
    let entry = |serial: &Vec<u8>| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date(now),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date(now.saturating_sub(Duration::from_secs(60))),
        next_update: date(until),
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(issuer).expect("a revocation list");
    Arc::new(Crl::from_der(list.der()).expect("a revocation list"))
}

fn date(time: UnixTime) -> OffsetDateTime {
    let seconds = i64::try_from(time.as_secs()).expect("a time of this age");
    OffsetDateTime::from_unix_timestamp(seconds).expect("a time of this age")
}
