//! EST, [RFC 7030](https://www.rfc-editor.org/rfc/rfc7030), the client's side.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countermark_credential::directory::{self, LoadError};
use countermark_credential::{Bundle, Issuer, IssuerError, Issuing};
use countermark_identity::{Clock, TrustDomain, UnixTime};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::wire::{self, Exchange, Wire, WireError, expected};
use super::{Coming, OwnTrust, Present, Station, StationError, TrustOf};
use crate::chain::Known;
use crate::config::{CredentialEntry, EstServer, IssuerKind};
use crate::pkcs7;
use crate::renew::blocking;

/// The operations of one EST server over one way to it. Each answers a chain.
#[derive(Clone, Debug)]
pub(crate) struct Est {
    wire: Wire,
    /// Above `/simplereenroll`.
    base: Uri,
    known: Known,
}

impl Est {
    pub(crate) const fn new(wire: Wire, base: Uri, known: Known) -> Self {
        Self { wire, base, known }
    }

    /// Asks for a first certificate with a secret.
    pub(crate) async fn enroll(
        &self,
        csr: &[u8],
        authorization: HeaderValue,
    ) -> Result<Vec<CertificateDer<'static>>, WireError> {
        self.request("/simpleenroll", csr, Some(authorization)).await
    }

    /// Asks for the next certificate; the one of the connection says for whom.
    pub(crate) async fn reenroll(&self, csr: &[u8]) -> Result<Vec<CertificateDer<'static>>, WireError> {
        self.request("/simplereenroll", csr, None).await
    }

    async fn request(
        &self,
        path: &str,
        csr: &[u8],
        authorization: Option<HeaderValue>,
    ) -> Result<Vec<CertificateDer<'static>>, WireError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(wire::join(&self.base, path))
            .header(CONTENT_TYPE, "application/pkcs10")
            .header("content-transfer-encoding", "base64");
        if let Some(mut authorization) = authorization {
            authorization.set_sensitive(true);
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = self.wire.send(request.body(Full::new(in_lines(csr)))?).await;
        let answer = answer.map_err(|error| match error {
            refusal if self.known.lone && refusal.is_refusal_of_ours() => WireError::Lone(Box::new(refusal)),
            other => other,
        })?;
        if answer.status == StatusCode::ACCEPTED {
            return Err(WireError::Accepted { retry_after: answer.retry_after() });
        }
        self.chain(&pkcs7::certificates(&answer.success()?)?, &spki_of(csr)?).await
    }

    /// The chain of what was answered, which is to be the leaf alone: what leads to the root is what led there from the certificate
    /// before it, or what the server tells elsewhere ([RFC 7030 §4.1.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.1.3)).
    /// Nothing is believed for that.
    async fn chain(
        &self,
        answered: &[CertificateDer<'static>],
        spki: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, WireError> {
        let chain = self.known.chain(answered, &[], spki)?;
        if chain.leads {
            return Ok(chain.certificates);
        }
        let told = match self.wire.get(&self.base, "/cacerts").await.and_then(Exchange::success) {
            Ok(told) => pkcs7::certificates(&told).map_err(WireError::Authorities),
            Err(error) => Err(error),
        };
        match told {
            Ok(told) => Ok(self.known.chain(answered, &told, spki)?.certificates),
            Err(error @ WireError::Authorities(_)) if chain.certificates.len() == 1 => Err(error),
            Err(error) => {
                // A root that is not known yet may have signed it. Whether that is so is judged with the rest.
                tracing::debug!(%error, "the server does not tell the certificates of its authority");
                Ok(chain.certificates)
            }
        }
    }
}

impl Issuer for Est {
    fn issue<'a>(&'a self, csr: &'a [u8]) -> Issuing<'a> {
        Box::pin(async move { Ok(self.reenroll(csr).await?) })
    }
}

/// The station of a server that is no more than an EST server.
pub(super) fn station(
    kind: &IssuerKind,
    entry: &CredentialEntry,
    present: &Present,
    clock: Arc<dyn Clock>,
    now: UnixTime,
) -> Result<Station, IssuerError> {
    let IssuerKind::Est { url, server, bundle, crl } = kind else {
        return Err(WireError::Unexpected("an EST issuer").into());
    };
    let credential = present.credential.clone().filter(|credential| credential.leaf().not_after() >= now);
    let credential = credential.ok_or_else(|| StationError::no_credential(entry, present))?;
    let before = Arc::clone(&credential);
    let held = wire::known(present, entry.identity.trust_domain(), &entry.directory);
    let wire = match server {
        EstServer::Spiffe { server, revocation } => {
            Wire::own_under(*revocation, credential, held.clone()?, expected(server.as_ref()), clock)?
        }
        EstServer::Host { roots } => Wire::host(&credential, &self::roots(roots)?, clock)?,
    };
    let files = Files::new(entry, bundle.as_deref(), crl.as_deref());
    // What cannot be read now is known before a certificate is asked for.
    let known = Known::new(&files.read()?.bundle, Some(&before));
    let base = if url.path().trim_matches('/').is_empty() {
        wire::join(url, WELL_KNOWN).parse().map_err(|_| WireError::Unexpected("a URL"))?
    } else {
        url.clone()
    };
    Ok(Station { issuer: Arc::new(Est::new(wire, base, known)), trust: Arc::new(files), windows: None })
}

/// Trust material from files of the configuration, or what counts in the directory: not what a generation was delivered with, with
/// which a root would come back that was withdrawn since.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    trust_domain: TrustDomain,
    bundle: Option<PathBuf>,
    crl: Option<PathBuf>,
}

impl Files {
    /// Those of a credential whose issuer has these, if any.
    pub(crate) fn new(entry: &CredentialEntry, bundle: Option<&Path>, crl: Option<&Path>) -> Self {
        Self {
            directory: entry.directory.clone(),
            trust_domain: entry.identity.trust_domain().clone(),
            bundle: bundle.map(Path::to_owned),
            crl: crl.map(Path::to_owned),
        }
    }

    fn read(&self) -> Result<OwnTrust, IssuerError> {
        let there = || directory::load_own_trust(&self.directory, &self.trust_domain);
        let bundle = match &self.bundle {
            Some(path) => {
                let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                Bundle::from_pem(self.trust_domain.clone(), &text)?
            }
            None => {
                let none = || StationError::no_trust(&self.trust_domain, &self.directory);
                there()?.bundles.pop().ok_or_else(none)?
            }
        };
        let crls = match &self.crl {
            Some(path) => directory::read_crls(path)?,
            // Whether a bundle is beside them or not: that they cannot be read does not mean that there are none. Who removed all
            // trust material has removed them, and wants the roots of the configuration.
            None if self.bundle.is_some() && matches!(there(), Err(LoadError::TrustGone { .. })) => Vec::new(),
            None => there()?.crls.into_iter().flat_map(|domain| domain.crls).collect(),
        };
        Ok(OwnTrust { bundle, crls })
    }
}

impl TrustOf for Files {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        let files = self.clone();
        Box::pin(async move { Ok(blocking(move || files.read().map_err(|error| error.to_string())).await?) })
    }

    fn in_files(&self) -> Option<Result<OwnTrust, IssuerError>> {
        Some(self.read())
    }
}

/// What is wrong with the files that an EST issuer's entry names, which are read again for each renewal.
pub(crate) fn faults(entry: &CredentialEntry) -> Vec<String> {
    let IssuerKind::Est { server, bundle, crl, .. } = &entry.issuer.kind else { return Vec::new() };
    let roots = match server {
        EstServer::Host { roots } => self::roots(roots).err().map(|error| error.to_string()),
        EstServer::Spiffe { .. } => None,
    };
    let bundle = bundle.as_deref().and_then(|path| {
        let parse = |text: Vec<u8>| Bundle::from_pem(entry.identity.trust_domain().clone(), &text);
        let fault = match std::fs::read(path) {
            Ok(text) => parse(text).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        fault.map(|fault| format!("the trust bundle in {} cannot be used: {fault}", path.display()))
    });
    let crl = crl.as_deref().and_then(|path| {
        let fault = directory::read_crls(path).err()?.to_string();
        let named = fault.contains(&path.display().to_string());
        Some(if named { fault } else { format!("the revocation lists in {} cannot be used: {fault}", path.display()) })
    });
    [roots, bundle, crl].into_iter().flatten().collect()
}

/// The roots by which a server of strangers is known: every certificate of the file, and each an authority's.
fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, WireError> {
    let unusable = |what: &dyn std::fmt::Display| WireError::Roots { path: path.to_owned(), what: what.to_string() };
    let text = std::fs::read(path).map_err(|error| unusable(&error))?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let roots: Vec<CertificateDer<'static>> = roots.map_err(|error| unusable(&error))?;
    if roots.is_empty() {
        return Err(unusable(&"there is no certificate in it"));
    }
    for (index, root) in roots.iter().enumerate() {
        let authority = X509Certificate::from_der(root).is_ok_and(|(_, certificate)| certificate.is_ca());
        if !authority {
            return Err(unusable(&format!("certificate {} in it is no authority's (CA:TRUE)", index + 1)));
        }
    }
    Ok(roots)
}

/// Base64 in lines of 64, which the oldest servers want.
fn in_lines(der: &[u8]) -> Bytes {
    let flat = STANDARD.encode(der);
    let mut text = String::with_capacity(flat.len() + flat.len() / 32);
    for line in flat.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.into()
}

/// The public key of a request of ours.
pub(super) fn spki_of(csr: &[u8]) -> Result<Vec<u8>, WireError> {
    let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(csr)
        .map_err(|_| WireError::Unexpected("a request"))?;
    Ok(request.certification_request_info.subject_pki.raw.to_vec())
}

pub(crate) const WELL_KNOWN: &str = "/.well-known/est";
