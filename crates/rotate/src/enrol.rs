//! The first credential: from an invite or a token to an identity directory.
//!
//! Nothing secret is sent before the authority has proved itself: its root is the one that was pinned, its chain verifies under it,
//! and its identity is the one that the invite names. What is fetched before that proves itself: a root by its hash, a revocation
//! list by its signature.

mod error;
mod invite;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countermark_credential::directory::{self, Delivery, DeliveryError, DomainCrls, Generation, Manner, replace_file};
use countermark_credential::{Bundle, Credential};
use countermark_identity::{Clock, San, Secret, SpiffeId, Thumbprint, TrustDomain};
use countermark_mtls::{ClientConfig, danger_fetch_unverified, provider};
use http::{HeaderValue, Uri};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub use self::error::EnrolError;
pub use self::invite::{Invite, InviteError};
use crate::chain::Known;
use crate::issuer::{Base, OwnTrust, Wire, expected, fetch_crls};
use crate::renew::{self, blocking};
use crate::request::{Asked, CertificateRequest, KeyKind};
use crate::{pkcs7, schedule};

/// What it takes to enrol.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers build it, and must say all of it")]
pub struct Enrolment {
    /// The authority.
    pub url: Uri,
    /// Who it must be; without it, the URL's host must be among its names.
    pub server: Option<SpiffeId>,
    /// Whom to become; without it, whoever the token stands for.
    pub identity: Option<SpiffeId>,
    /// By what the authority's root is known.
    pub root: Root,
    /// What entitles to the certificate.
    pub secret: Entitlement,
    /// The kind of the key.
    pub key: KeyKind,
    /// Where to deliver.
    pub out: PathBuf,
}

impl Enrolment {
    /// As an invite says.
    #[must_use]
    pub fn by_invite(invite: Invite, out: PathBuf) -> Self {
        Self {
            url: invite.url,
            server: Some(invite.authority),
            identity: Some(invite.identity),
            root: Root::Pinned(invite.root),
            secret: Entitlement::Invite(invite.secret),
            key: KeyKind::default(),
            out,
        }
    }
}

/// By what the root of an authority is known before anything else is.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way, and no default")]
pub enum Root {
    /// The SHA-256 of its certificate.
    Pinned(Thumbprint),
    /// The certificates themselves, in PEM.
    Bundle(Vec<u8>),
}

/// What entitles to a certificate.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "the authority knows these two")]
pub enum Entitlement {
    /// The secret of an invite.
    Invite(Secret<String>),
    /// A token of an issuer that the authority is configured for.
    Jwt(Secret<String>),
}

impl Entitlement {
    fn authorization(&self) -> Result<HeaderValue, EnrolError> {
        let text = match self {
            Self::Invite(secret) => {
                let pair = zeroize::Zeroizing::new(format!("invite:{}", secret.expose()));
                format!("Basic {}", STANDARD.encode(pair.as_bytes()))
            }
            Self::Jwt(token) => format!("Bearer {}", token.expose().trim()),
        };
        let text = zeroize::Zeroizing::new(text);
        let mut value = HeaderValue::from_str(&text).map_err(|_| EnrolError::Secret)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// What was delivered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Enrolled {
    /// The credential.
    pub credential: Arc<Credential>,
    /// Whose it is.
    pub identity: SpiffeId,
    /// Its generation in the directory.
    pub generation: Generation,
}

/// Enrols: verifies the authority, asks for a certificate, judges and delivers it.
///
/// The key is written down before it is used, so that a lost answer can be asked for again with the same key.
///
/// # Errors
/// [`EnrolError`]; the directory then holds no credential that it did not hold before.
pub async fn join(enrolment: Enrolment, clock: Arc<dyn Clock>) -> Result<Enrolled, EnrolError> {
    require_vacant(&enrolment)?;
    let authorization = enrolment.secret.authorization()?;
    let roots = roots(&enrolment).await?;
    let trust_domain = trust_domain(&enrolment, &roots)?;
    require_partners(&enrolment.out, &trust_domain)?;
    let bundle = Bundle::new(trust_domain.clone(), roots)?;
    let crls = fetch_crls(&enrolment.url).await.map_err(EnrolError::Lists)?;
    let (known, own) = (Known::new(&bundle, None), OwnTrust { bundle, crls });
    let wire = Wire::anonymous(own, expected(enrolment.server.as_ref()), Arc::clone(&clock))
        .map_err(|error| EnrolError::Authority(error.into()))?;
    let base = Base { wire, url: enrolment.url.clone(), trust_domain, sequence: None, known };
    // Over the verified connection: whom to believe from now on. No secret has been sent yet.
    let own = base.material().await.map_err(EnrolError::Authority)?;
    let key = key(&enrolment)?;
    let name = enrolment.identity.as_ref().and_then(|id| id.path().rsplit('/').next()).unwrap_or("join");
    let sans = enrolment.identity.iter().map(|id| San::Uri(id.as_str().to_owned())).collect();
    let request = CertificateRequest::new(&key, &Asked::first(name, sans)?, &provider())?;
    let est = base.est().map_err(|error| EnrolError::Authority(error.into()))?;
    let chain = est.enroll(&request.der, authorization).await.map_err(|error| EnrolError::Refused(error.into()))?;
    let credential = Arc::new(Credential::new(chain, key)?);
    let identity = judged(&enrolment, &credential, &own, clock.as_ref())?;
    let delivery = Delivery {
        credential: Arc::clone(&credential),
        bundles: vec![own.bundle.clone()],
        crls: vec![DomainCrls { trust_domain: own.bundle.trust_domain().clone(), crls: own.crls }],
    };
    let (out, now) = (enrolment.out.clone(), clock.now());
    // Who enrols again has not withdrawn anybody.
    let manner = Manner { keeps_partners: true, ..Manner::default() };
    let generation = blocking(move || Ok(directory::deliver_as(&out, &delivery, &manner, now)))
        .await
        .map_err(|error| EnrolError::Unlikely { what: error })??;
    // The credential has its own copy. What cannot be removed is taken up by the next attempt, and judged then.
    let _best_effort = std::fs::remove_file(enrolment.out.join(PENDING_KEY));
    Ok(Enrolled { credential, identity, generation })
}

/// Refuses a directory that holds another identity; the same one is enrolled again, as its next generation.
fn require_vacant(enrolment: &Enrolment) -> Result<(), EnrolError> {
    let Ok(held) = directory::read(&enrolment.out) else { return Ok(()) };
    match (held.credential.spiffe_id(), &enrolment.identity) {
        (Some(found), Some(wanted)) if found != wanted => {
            Err(EnrolError::OtherIdentity { dir: enrolment.out.clone(), found: found.clone() })
        }
        _ => Ok(()),
    }
}

/// Refuses a directory in which nothing says whom else it believes: the delivery would, once the secret is spent.
fn require_partners(out: &Path, own: &TrustDomain) -> Result<(), EnrolError> {
    let partners = directory::salvage_partners(out, own);
    partners.map(|_| ()).map_err(|source| DeliveryError::Partners { source: Box::new(source) }.into())
}

/// The roots that the pin, or the file, stands for.
async fn roots(enrolment: &Enrolment) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
    let pin = match &enrolment.root {
        Root::Pinned(pin) => *pin,
        Root::Bundle(text) => {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            return certificates.ok().filter(|roots| !roots.is_empty()).ok_or(EnrolError::NoRoot);
        }
    };
    let url = format!("{}/.well-known/est/cacerts", enrolment.url.to_string().trim_end_matches('/'));
    let url: Uri = url.parse().map_err(|_| EnrolError::NoRoot)?;
    let answer = danger_fetch_unverified(&url, LARGEST_CACERTS, &ClientConfig::default())
        .await
        .map_err(EnrolError::Unreachable)?;
    let certificates = pkcs7::certificates(&answer).map_err(|error| EnrolError::Unreachable(error.into()))?;
    let root = certificates.into_iter().find(|certificate| Thumbprint::of(certificate) == pin);
    root.map(|root| vec![root]).ok_or(EnrolError::OtherRoot { pin })
}

/// The trust domain: that of the invite, or that which the root names.
fn trust_domain(enrolment: &Enrolment, roots: &[CertificateDer<'_>]) -> Result<TrustDomain, EnrolError> {
    if let Some(server) = &enrolment.server {
        return Ok(server.trust_domain().clone());
    }
    let root = roots.first().ok_or(EnrolError::NoRoot)?;
    let (_, certificate) = X509Certificate::from_der(root).map_err(|_| EnrolError::NoRoot)?;
    let names = certificate.subject_alternative_name().ok().flatten().map(|extension| extension.value);
    let uri = names.and_then(|names| {
        names.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
            _ => None,
        })
    });
    uri.and_then(|name| name.parse().ok()).ok_or(EnrolError::NoTrustDomain)
}

/// The key of an attempt before, or a new one, written down.
fn key(enrolment: &Enrolment) -> Result<PrivateKeyDer<'static>, EnrolError> {
    let path = enrolment.out.join(PENDING_KEY);
    if let Ok(text) = std::fs::read(&path).map(Secret::new)
        && let Ok(key) = PrivateKeyDer::from_pem_slice(text.expose())
    {
        return Ok(key);
    }
    let key = enrolment.key.generate()?;
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
        .create(&enrolment.out)
        .map_err(|source| EnrolError::Directory { dir: enrolment.out.clone(), source })?;
    let flat = zeroize::Zeroizing::new(STANDARD.encode(key.secret_der()));
    let text = zeroize::Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", &*flat));
    replace_file(&path, text.as_bytes())?;
    Ok(key)
}

/// Holds what came back to what was asked for.
fn judged(
    enrolment: &Enrolment,
    credential: &Credential,
    own: &OwnTrust,
    clock: &dyn Clock,
) -> Result<SpiffeId, EnrolError> {
    let found = credential.spiffe_id().ok_or(EnrolError::Nobody)?;
    if let Some(wanted) = enrolment.identity.as_ref().filter(|wanted| *wanted != found) {
        return Err(EnrolError::Misnamed { found: found.clone(), wanted: wanted.clone() });
    }
    renew::verify(&found.clone().into(), credential.chain(), own, clock.now()).map_err(EnrolError::Unverified)?;
    // What is over on arrival would be delivered as if it were not.
    if !schedule::Life::of(credential.leaf(), None).is_usable(clock.now()) {
        return Err(EnrolError::Unverified("the certificate does not hold by the clock of this machine".to_owned()));
    }
    Ok(found.clone())
}

/// Reads a URL of an authority.
///
/// # Errors
/// It is not `https://HOST[:PORT]`.
pub fn authority_url(text: &str) -> Result<Uri, EnrolError> {
    let uri: Option<Uri> = text.trim_end_matches('/').parse().ok();
    uri.filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some() && uri.query().is_none())
        .ok_or_else(|| EnrolError::Url { text: text.to_owned() })
}

/// Whether an enrolment into this directory was begun and not ended.
#[must_use]
pub fn is_pending(out: &Path) -> bool {
    out.join(PENDING_KEY).exists()
}

const PENDING_KEY: &str = ".join.key";
const LARGEST_CACERTS: usize = 1024 * 1024;
