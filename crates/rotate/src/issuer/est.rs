//! EST, [RFC 7030](https://www.rfc-editor.org/rfc/rfc7030), the client's side.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countermark_credential::{Bundle, Issuer, IssuerError, Issuing, directory};
use countermark_identity::{Clock, UnixTime};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer as _;

use super::wire::{self, Wire, WireError, expected};
use super::{Coming, OwnTrust, Present, Station, StationError, TrustOf};
use crate::config::{CredentialEntry, IssuerKind};
use crate::pkcs7;

/// The operations of one EST server over one way to it.
#[derive(Clone, Debug)]
pub(crate) struct Est {
    wire: Wire,
    /// Above `/simplereenroll`.
    base: Uri,
}

impl Est {
    pub(crate) const fn new(wire: Wire, base: Uri) -> Self {
        Self { wire, base }
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
        let answer = self.wire.send(request.body(Full::new(in_lines(csr)))?).await?.success()?;
        Ok(pkcs7::chain(&pkcs7::certificates(&answer)?, &spki_of(csr)?)?)
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
    let IssuerKind::Est { url, server, bundle, crl, revocation } = kind else {
        return Err(WireError::Unexpected("an EST issuer").into());
    };
    let directory = || entry.directory.display().to_string();
    let credential = present.credential.clone().filter(|credential| credential.leaf().not_after() >= now);
    let credential = credential.ok_or_else(|| StationError::NoCredential { directory: directory() })?;
    let own = wire::known(present, entry.identity.trust_domain(), &entry.directory)?;
    let configured = configured(&own, bundle.as_deref(), crl.as_deref())?;
    let wire = Wire::own_under(*revocation, credential, own, expected(server.as_ref()), clock)?;
    let base = if url.path().trim_matches('/').is_empty() {
        wire::join(url, WELL_KNOWN).parse().map_err(|_| WireError::Unexpected("a URL"))?
    } else {
        url.clone()
    };
    Ok(Station { issuer: Arc::new(Est::new(wire, base)), trust: Arc::new(Fixed(configured)), windows: None })
}

/// Trust material from files, or what the directory had.
fn configured(own: &OwnTrust, bundle: Option<&Path>, crl: Option<&Path>) -> Result<OwnTrust, IssuerError> {
    let bundle = match bundle {
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Bundle::from_pem(own.bundle.trust_domain().clone(), &text)?
        }
        None => own.bundle.clone(),
    };
    let crls = match crl {
        Some(path) => directory::read_crls(path)?,
        None => own.crls.clone(),
    };
    Ok(OwnTrust { bundle, crls })
}

/// Trust that is what it is.
struct Fixed(OwnTrust);

impl TrustOf for Fixed {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        Box::pin(async { Ok(self.0.clone()) })
    }
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
