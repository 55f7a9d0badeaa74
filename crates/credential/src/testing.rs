//! Authorities, leaves and lists for the tests of this crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countermark_identity::{Leaf, TrustDomain, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use crate::bundle::Bundle;
use crate::credential::Credential;
use crate::crl::Crl;

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
pub(crate) const TD: &str = "agents.internal";

pub(crate) fn td() -> TrustDomain {
    TD.parse().unwrap()
}

pub(crate) fn at(offset: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(NOW.as_secs()).unwrap()).unwrap() + Duration::seconds(offset)
}

/// A directory in memory, where there is one: the tests sync thousands of files.
pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A certification authority in memory.
pub(crate) struct Ca {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
    number: AtomicU64,
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der, number: AtomicU64::new(0) }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(ca_params(name))
    }

    pub(crate) fn intermediate_with(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der, number: AtomicU64::new(0) }
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(td(), vec![self.der.clone()]).unwrap()
    }

    /// A leaf with this path, and the intermediates that follow it.
    pub(crate) fn credential(&self, path: &str, intermediates: &[&Self]) -> Credential {
        self.credential_with(leaf_params(path), intermediates)
    }

    pub(crate) fn credential_with(&self, params: CertificateParams, intermediates: &[&Self]) -> Credential {
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(intermediates.iter().map(|ca| ca.der.clone()));
        Credential::new(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into())).unwrap()
    }

    /// A list that revokes these leaves, valid for a day.
    pub(crate) fn crl(&self, revoked: &[&Leaf]) -> Arc<Crl> {
        let serials: Vec<_> = revoked.iter().map(|leaf| leaf.serial().as_bytes().to_vec()).collect();
        self.crl_of(&serials, 86_400)
    }

    pub(crate) fn crl_of(&self, serials: &[Vec<u8>], next_update: i64) -> Arc<Crl> {
        Arc::new(Crl::from_der(&self.crl_der(serials, next_update)).unwrap())
    }

    pub(crate) fn crl_der(&self, serials: &[Vec<u8>], next_update: i64) -> Vec<u8> {
        let mut params = self.crl_params(serials);
        params.next_update = at(next_update);
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// What the next list will be made of; its number grows by one each time.
    pub(crate) fn crl_params(&self, serials: &[Vec<u8>]) -> CertificateRevocationListParams {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at(-60),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: at(-60),
            next_update: at(86_400),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }
}

pub(crate) fn ca_params(name: &str) -> CertificateParams {
    let mut params = base(name, at(-86_400), at(86_400 * 365));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![uri(&format!("spiffe://{TD}"))];
    params
}

pub(crate) fn leaf_params(path: &str) -> CertificateParams {
    let mut params = base(path, at(-60), at(3600));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![uri(&format!("spiffe://{TD}{path}"))];
    params
}

pub(crate) fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn base(name: &str, not_before: OffsetDateTime, not_after: OffsetDateTime) -> CertificateParams {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = not_before;
    params.not_after = not_after;
    let serial = (1 << 62) | SERIAL.fetch_add(1, Ordering::Relaxed);
    params.serial_number = Some(SerialNumber::from(serial));
    params.use_authority_key_identifier_extension = true;
    params
}
