//! A CA certificate with its key, and the leaves that it signs.

use std::{net::IpAddr, time::Duration};

use countermark_identity::{Role, Serial, SpiffeId, UnixTime};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    ca::{BACKDATE, CaError, LEAF_SHARE, Serials, key_id},
    key::{KeyError, KeyPair, KeyType},
    lint::{self, Expected, LintError},
    profile::{Profile, RequestableName, is_dns_name},
    public_key::PublicKey,
    subject::{SubjectError, leaf_subject},
    time::to_date,
};

/// A CA certificate with its key.
#[derive(Debug)]
pub struct Signer {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    not_before: UnixTime,
    not_after: UnixTime,
    serial: Serial,
}

impl Signer {
    /// Puts a CA certificate and its key together; refused unless they belong together and the certificate is a CA's.
    pub fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, CaError> {
        let (rest, parsed) = X509Certificate::from_der(&certificate).map_err(|_| CaError::Malformed)?;
        if !rest.is_empty() {
            return Err(CaError::Malformed);
        }
        if !lint::is_ca(&parsed) {
            return Err(CaError::NotCa);
        }
        if parsed.public_key().raw != key.public_key().spki_der() {
            return Err(CaError::KeyMismatch);
        }
        let (not_before, not_after) = lint::validity(&parsed).ok_or(CaError::Malformed)?;
        let serial = Serial::from_der_integer(parsed.raw_serial()).map_err(|_| CaError::Malformed)?;
        Ok(Self { certificate, key, not_before, not_after, serial })
    }

    /// The CA certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA key, to be sealed and stored.
    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Eight hex digits that tell this CA key from the others of its authority; they stand in its subject.
    #[must_use]
    pub fn key_id(&self) -> String {
        key_id(&self.key)
    }

    /// The CA certificate's own serial.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// When the CA certificate begins.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// When the CA certificate ends.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Decides everything about a leaf but its signature, so that it can be written down before it is signed.
    pub fn plan(&self, profile: &Profile, request: &LeafRequest<'_>, now: UnixTime) -> Result<LeafPlan, SignError> {
        let identity = request.identity;
        let (role, name) = identity.role().ok_or(SubjectError::NoRole)?;
        if role != profile.role() {
            return Err(SignError::Role { profile: profile.role(), identity: identity.clone() });
        }
        let key = request.public_key.key_type();
        if !profile.accepts(key) {
            return Err(SignError::KeyType { key, accepted: profile.keys().to_vec() });
        }
        let ttl = ttl(profile, request.ttl, is_sub_agent(role, name))?;
        let not_after = self.end_of(ttl, now)?;
        let backdate = BACKDATE.min(ttl / 2);
        Ok(LeafPlan {
            serial: Serials::random()?,
            identity: identity.clone(),
            subject: leaf_subject(identity)?,
            names: names(profile, request)?,
            public_key: request.public_key.clone(),
            not_before: now.saturating_sub(backdate).max(self.not_before),
            not_after,
            issued_at: now,
        })
    }

    /// Signs what was planned, and judges the result before it is handed out.
    pub fn sign(&self, plan: &LeafPlan) -> Result<CertificateDer<'static>, SignError> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(plan.serial.as_bytes()));
        params.distinguished_name = plan.subject.clone();
        params.subject_alt_names.clone_from(&plan.names);
        params.not_before = to_date(plan.not_before);
        params.not_after = to_date(plan.not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = self.issuer().map_err(|_| SignError::Signing)?;
        let signed = params.signed_by(&plan.public_key, &issuer).map_err(|_| SignError::Signing)?;
        let der: CertificateDer<'static> = signed.into();
        lint::lint_leaf(&der, &self.certificate, &plan.expected())?;
        Ok(der)
    }

    pub(crate) fn issuer(&self) -> Result<Issuer<'static, &impl rcgen::SigningKey>, rcgen::Error> {
        Issuer::from_ca_cert_der(&self.certificate, self.key.signing())
    }

    fn end_of(&self, ttl: Duration, now: UnixTime) -> Result<UnixTime, SignError> {
        if now >= self.not_after {
            return Err(SignError::IssuerEnded(self.not_after));
        }
        let share = self.not_after.duration_since(self.not_before) / LEAF_SHARE;
        if ttl > share {
            return Err(SignError::Share { asked: ttl, most: share });
        }
        let end = now.saturating_add(ttl);
        if end > self.not_after {
            return Err(SignError::BeyondIssuer { asked: end, issuer_ends: self.not_after });
        }
        Ok(end)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers fill it in")]
pub struct LeafRequest<'a> {
    /// Who the certificate will speak for.
    pub identity: &'a SpiffeId,
    /// The key that will be certified.
    pub public_key: &'a PublicKey,
    /// How long it will live; the profile's default where absent.
    pub ttl: Option<Duration>,
    /// DNS names beside those of the profile.
    pub dns: &'a [String],
    /// IP addresses.
    pub ip: &'a [IpAddr],
}

/// A leaf of which everything is decided but the signature.
#[derive(Clone, Debug)]
pub struct LeafPlan {
    serial: Serial,
    identity: SpiffeId,
    subject: DistinguishedName,
    names: Vec<SanType>,
    public_key: PublicKey,
    not_before: UnixTime,
    not_after: UnixTime,
    issued_at: UnixTime,
}

impl LeafPlan {
    /// The serial that it will have.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Who it will speak for.
    #[must_use]
    pub const fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// When it will begin.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// When it will end.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// When it was decided; life counts from here.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The key that it will certify.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            identity: &self.identity,
            public_key: &self.public_key,
            issued_at: self.issued_at,
            not_after: self.not_after,
        }
    }
}

/// Why a certificate is not issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The profile is another role's.
    #[error("{identity} is not of role {profile}, whose profile this is")]
    Role {
        /// The profile's role.
        profile: Role,
        /// Who was asked for.
        identity: SpiffeId,
    },
    /// The profile does not list this kind of key.
    #[error("the profile does not certify {key} keys; it lists {}", list(accepted))]
    KeyType {
        /// What the request brings.
        key: KeyType,
        /// What the profile lists.
        accepted: Vec<KeyType>,
    },
    /// Shorter than the profile allows.
    #[error("a life of {} s was asked for, and the profile's min_ttl is {} s", .asked.as_secs(), .least.as_secs())]
    TooShort {
        /// What was asked for.
        asked: Duration,
        /// The profile's bound.
        least: Duration,
    },
    /// Longer than the profile allows, or a sub-agent's more than 15 minutes.
    #[error("a life of {} s was asked for, and {} s is the most", .asked.as_secs(), .most.as_secs())]
    TooLong {
        /// What was asked for.
        asked: Duration,
        /// The bound.
        most: Duration,
    },
    /// More than a sixth of the issuer's life.
    #[error("a life of {} s was asked for, and a sixth of the issuing CA's whole life ({} s) is the most", .asked.as_secs(), .most.as_secs())]
    Share {
        /// What was asked for.
        asked: Duration,
        /// A sixth of the issuer's life.
        most: Duration,
    },
    /// It would outlive its issuer.
    #[error(
        "the certificate would end on {asked}, after its issuing CA ({issuer_ends}); renew the intermediate with `ca renew`"
    )]
    BeyondIssuer {
        /// When it would end.
        asked: UnixTime,
        /// When the issuer ends.
        issuer_ends: UnixTime,
    },
    /// The issuer's own life is over.
    #[error("the issuing CA ended on {0}; renew the intermediate with `ca renew`")]
    IssuerEnded(UnixTime),
    /// The profile does not let requests add such names.
    #[error("the profile lets no request add {0} names; add \"{0}\" to `requested` under [san] if it should")]
    NameKind(RequestableName),
    /// Not a name that may stand in a certificate.
    #[error(
        "`{0}` is not a DNS name that is certified: lower-case labels of letters, digits and hyphens, no wildcard, no address"
    )]
    DnsName(String),
    /// More names than any honest server has.
    #[error("{0} names were asked for, and 100 is the most")]
    TooManyNames(usize),
    /// The profile's URI is not the identity's.
    #[error("the profile's URI template yields `{uri}` for {identity}")]
    Template {
        /// What the template yields.
        uri: String,
        /// Who was asked for.
        identity: SpiffeId,
    },
    /// The identity does not fit a subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// No randomness for a serial.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// rcgen or the key refused.
    #[error("the certificate could not be signed")]
    Signing,
    /// What was made breaks a rule, and is not handed out.
    #[error("the certificate that was made breaks a rule and was thrown away: {0}")]
    Lint(#[from] LintError),
}

fn is_sub_agent(role: Role, name: &str) -> bool {
    role == Role::Agent && name.contains("/sub/")
}

fn ttl(profile: &Profile, asked: Option<Duration>, sub_agent: bool) -> Result<Duration, SignError> {
    let most = if sub_agent { SUB_AGENT.min(profile.max_ttl()) } else { profile.max_ttl() };
    // Whole seconds, as X.509 writes them.
    let ttl = asked.map_or_else(|| profile.default_ttl().min(most), |asked| Duration::from_secs(asked.as_secs()));
    if ttl < profile.min_ttl() {
        return Err(SignError::TooShort { asked: ttl, least: profile.min_ttl() });
    }
    if ttl > most {
        return Err(SignError::TooLong { asked: ttl, most });
    }
    Ok(ttl)
}

fn names(profile: &Profile, request: &LeafRequest<'_>) -> Result<Vec<SanType>, SignError> {
    let template = profile.san();
    let uri = template.uri(request.identity);
    if uri != request.identity.as_str() {
        return Err(SignError::Template { uri, identity: request.identity.clone() });
    }
    if !request.dns.is_empty() && !template.permits(RequestableName::Dns) {
        return Err(SignError::NameKind(RequestableName::Dns));
    }
    if !request.ip.is_empty() && !template.permits(RequestableName::Ip) {
        return Err(SignError::NameKind(RequestableName::Ip));
    }
    let asked = request.dns.len() + request.ip.len();
    if asked > MAX_NAMES {
        return Err(SignError::TooManyNames(asked));
    }
    let mut names = vec![SanType::URI(uri.try_into().map_err(|_| SignError::Signing)?)];
    for name in template.dns(request.identity).chain(request.dns.iter().cloned()) {
        if !is_dns_name(&name) {
            return Err(SignError::DnsName(name));
        }
        let name = SanType::DnsName(name.try_into().map_err(|_| SignError::Signing)?);
        push_once(&mut names, name);
    }
    for address in request.ip {
        push_once(&mut names, SanType::IpAddress(*address));
    }
    Ok(names)
}

fn push_once(names: &mut Vec<SanType>, name: SanType) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn list(keys: &[KeyType]) -> String {
    keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")
}

const SUB_AGENT: Duration = Duration::from_secs(15 * 60);
const MAX_NAMES: usize = 100;

#[cfg(test)]
mod tests;
