//! Our own authority: EST, and JSON for what EST lacks.

mod lists;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark_credential::{Bundle, Credential, Crl, Issuer, IssuerError, Issuing};
use countermark_identity::{Clock, SpiffeId, TrustDomain, UnixTime};
use countermark_mtls::{ClientConfig, danger_fetch_unverified, provider};
use http::Uri;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub(super) use self::lists::lists;
use super::est::{Est, WELL_KNOWN, spki_of};
use super::wire::{self, Wire, WireError, expected};
use super::{Coming, OwnTrust, Present, Station, StationError, TrustOf, Windows};
use crate::chain::Known;
use crate::config::CredentialEntry;
use crate::request;
use crate::schedule::Window;

/// An authority of ours at its base URL, over one way to it.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) wire: Wire,
    pub(crate) url: Uri,
    pub(crate) trust_domain: TrustDomain,
    /// The number that the bundle has now; an older one is not taken.
    pub(crate) sequence: Option<u64>,
    /// By what the chains of its answers are completed.
    pub(crate) known: Known,
}

impl Base {
    /// Its EST side.
    pub(crate) fn est(&self) -> Result<Est, WireError> {
        let base = wire::join(&self.url, WELL_KNOWN).parse().map_err(|_| WireError::Unexpected("a URL"))?;
        Ok(Est::new(self.wire.clone(), base, self.known.clone()))
    }

    /// The roots and revocation lists, as it has them now.
    pub(crate) async fn material(&self) -> Result<OwnTrust, IssuerError> {
        let answer = self.wire.get(&self.url, "/v1/bundle").await?.success()?;
        let bundle = Jwks::parse(&answer)?.bundle(&self.trust_domain)?;
        if let (Some(held), given) = (self.sequence, bundle.sequence())
            && given.is_none_or(|given| given < held)
        {
            return Err(format!("the authority's trust bundle is older than the one that is there ({held})").into());
        }
        let answer = self.wire.get(&self.url, "/v1/crl").await?.success()?;
        Ok(OwnTrust { bundle, crls: crls(&answer)? })
    }

    /// Proves possession of the key of an expired certificate, and gets the next one.
    async fn renew_expired(&self, old: &Credential, csr: &[u8]) -> Result<Vec<CertificateDer<'static>>, IssuerError> {
        let answer = self.wire.get(&self.url, "/v1/nonce").await?;
        let server = answer.server.clone();
        let nonce: Nonce = serde_json::from_slice(&answer.success()?).map_err(|_| WireError::Unexpected("a nonce"))?;
        if server.as_ref() != Some(&nonce.authority) {
            // What is signed names who it is for; it must be who was verified.
            return Err(WireError::Unexpected("a nonce of the authority that answers").into());
        }
        let bytes = URL_SAFE_NO_PAD.decode(&nonce.nonce).map_err(|_| WireError::Unexpected("a nonce"))?;
        if bytes.len() != 32 {
            return Err(WireError::Unexpected("a nonce of 32 bytes").into());
        }
        let statement = statement(&bytes, nonce.authority.as_str(), csr)?;
        let key = request::signing_key(old.key(), &provider())?;
        let (_, signature) = request::sign(key.as_ref(), &statement)?;
        let chain: Vec<String> = old.chain().iter().map(|der| STANDARD.encode(der)).collect();
        let body = json!({
            "nonce": nonce.nonce, "chain": chain,
            "csr": STANDARD.encode(csr), "signature": STANDARD.encode(signature),
        });
        let answer = self.wire.post_json(&self.url, "/v1/renew-expired", &body).await?.success()?;
        let answer: Chain = serde_json::from_slice(&answer).map_err(|_| WireError::Unexpected("a chain"))?;
        let mut found = Vec::new();
        for pem in answer.chain {
            found.push(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| WireError::Unexpected("a chain"))?);
        }
        Ok(self.known.chain(&found, &[], &spki_of(csr)?)?.certificates)
    }
}

/// What the old key signs: the nonce, who asked for it, and the request.
fn statement(nonce: &[u8], authority: &str, csr: &[u8]) -> Result<Vec<u8>, WireError> {
    let length = u16::try_from(authority.len()).map_err(|_| WireError::Unexpected("an identity"))?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, csr);
    Ok([RENEW_EXPIRED, nonce, &length.to_be_bytes(), authority.as_bytes(), hash.as_ref()].concat())
}

/// Renews over the connection that the credential makes, or, where it has expired, by proof of its key.
struct Renewing {
    base: Base,
    expired: Option<Arc<Credential>>,
}

impl Issuer for Renewing {
    fn issue<'a>(&'a self, csr: &'a [u8]) -> Issuing<'a> {
        Box::pin(async move {
            match &self.expired {
                Some(old) => self.base.renew_expired(old, csr).await,
                None => Ok(self.base.est()?.reenroll(csr).await?),
            }
        })
    }
}

impl TrustOf for Renewing {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        Box::pin(self.base.material())
    }
}

impl Windows for Renewing {
    fn window<'a>(&'a self, credential: &'a Credential) -> Coming<'a, (Option<Window>, Duration)> {
        Box::pin(async move {
            let leaf = credential.chain().first().ok_or(WireError::Unexpected("a chain"))?;
            let path = format!("/v1/renewal-info/{}", certificate_id(leaf)?);
            let answer = self.base.wire.get(&self.base.url, &path).await?;
            let again = answer.retry_after().unwrap_or(ASK_AGAIN);
            let info: RenewalInfo =
                serde_json::from_slice(&answer.success()?).map_err(|_| WireError::Unexpected("a renewal window"))?;
            let window = info.suggested_window;
            let time = |text: &str| -> Result<UnixTime, WireError> {
                let parsed =
                    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| WireError::Unexpected("a renewal window"))?;
                Ok(UnixTime::from_secs(u64::try_from(parsed.unix_timestamp()).unwrap_or(0)))
            };
            Ok((Some(Window { start: time(&window.start)?, end: time(&window.end)? }), again))
        })
    }
}

/// The station of an authority of ours.
pub(super) async fn station(
    url: &Uri,
    server: Option<&SpiffeId>,
    entry: &CredentialEntry,
    present: &Present,
    clock: Arc<dyn Clock>,
    now: UnixTime,
) -> Result<Station, IssuerError> {
    let trust_domain = entry.identity.trust_domain().clone();
    let credential = present.credential.clone().ok_or_else(|| StationError::no_credential(entry, present))?;
    let mut own = wire::known(present, &trust_domain, &entry.directory)?;
    if !wire::lists_hold(&own, now) {
        // After a long sleep the lists are over, and without them nobody is believed. New ones prove themselves, and of one name the
        // newest that its key signed counts.
        own.crls.extend(fetch_crls(url).await?);
    }
    let (sequence, known) = (own.bundle.sequence(), Known::new(&own.bundle, Some(&credential)));
    let expired = credential.leaf().not_after() < now;
    let wire = if expired {
        Wire::anonymous(own, expected(server), clock)?
    } else {
        Wire::own(Arc::clone(&credential), own, expected(server), clock)?
    };
    let base = Base { wire, url: url.clone(), trust_domain, sequence, known };
    let renewing = Arc::new(Renewing { base, expired: expired.then_some(credential) });
    Ok(Station { issuer: renewing.clone(), trust: renewing.clone(), windows: Some(renewing) })
}

/// The revocation lists from whoever answers: they are signed, and believed only under the roots that are there.
pub(crate) async fn fetch_crls(url: &Uri) -> Result<Vec<Arc<Crl>>, IssuerError> {
    let at: Uri = wire::join(url, "/v1/crl").parse().map_err(|_| WireError::Unexpected("a URL"))?;
    let lists = danger_fetch_unverified(&at, LARGEST_CRL, &ClientConfig::default()).await?;
    crls(&lists)
}

fn crls(text: &[u8]) -> Result<Vec<Arc<Crl>>, IssuerError> {
    Ok(Crl::many_from_pem(text)?.into_iter().map(Arc::new).collect())
}

/// How RFC 9773 names a certificate ([§4.1](https://www.rfc-editor.org/rfc/rfc9773#section-4.1)).
pub(crate) fn certificate_id(der: &[u8]) -> Result<String, WireError> {
    let unreadable = || WireError::Unexpected("a certificate with an authorityKeyIdentifier");
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(aki) => aki.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let (key_id, serial) = (key_id.ok_or_else(unreadable)?, certificate.raw_serial());
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(key_id), URL_SAFE_NO_PAD.encode(serial)))
}

/// A SPIFFE trust bundle
/// ([§4](https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md#4-spiffe-bundle-format)).
#[derive(Deserialize)]
pub(crate) struct Jwks {
    keys: Vec<Jwk>,
    spiffe_sequence: Option<u64>,
}

#[derive(Deserialize)]
struct Jwk {
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    x5c: Vec<String>,
}

impl Jwks {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, WireError> {
        serde_json::from_slice(text).map_err(|_| WireError::Unexpected("a SPIFFE trust bundle"))
    }

    /// The roots among its keys. Keys of another use are passed over, as the specification asks.
    pub(crate) fn bundle(self, trust_domain: &TrustDomain) -> Result<Bundle, IssuerError> {
        let mut roots = Vec::new();
        for key in self.keys.iter().filter(|key| key.usage.as_deref() == Some("x509-svid")) {
            let [certificate] = key.x5c.as_slice() else {
                return Err(WireError::Unexpected("a SPIFFE trust bundle with one certificate for each key").into());
            };
            let der = STANDARD.decode(certificate).map_err(|_| WireError::Unexpected("a SPIFFE trust bundle"))?;
            roots.push(CertificateDer::from(der));
        }
        let bundle = Bundle::new(trust_domain.clone(), roots)?;
        Ok(match self.spiffe_sequence {
            Some(sequence) => bundle.with_sequence(sequence),
            None => bundle,
        })
    }
}

#[derive(Deserialize)]
struct Nonce {
    nonce: String,
    authority: SpiffeId,
}

#[derive(Deserialize)]
struct Chain {
    chain: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewalInfo {
    suggested_window: SuggestedWindow,
}

#[derive(Deserialize)]
struct SuggestedWindow {
    start: String,
    end: String,
}

const RENEW_EXPIRED: &[u8] = b"countermark-renew-expired-v1\0";
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);
const LARGEST_CRL: usize = 64 * 1024 * 1024;
