//! Requests to an issuer, and their answers: bounded in size and time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countermark_credential::{Credential, DomainTrust, Revocation, Trust};
use countermark_identity::{Clock, SanMap, SpiffeId, TrustDomain, UnixTime};
use countermark_mtls::{
    AnonymousClient, Client, ClientConfig, ClientError, ExpectedServer, HostClient, HostClientError, TrustGenerations,
    UnusableCredential, VerifiedServer,
};
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use httpdate::parse_http_date;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use super::{OwnTrust, Present};

/// A way to an issuer, with or without a certificate of our own.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// Nobody yet, or nobody any more.
    Anonymous(AnonymousClient),
    /// With our credential, to a server that is known by its host.
    Host(HostClient),
    /// With our credential.
    Own(Client),
}

/// An answer with its body.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Who answered, where that has a SPIFFE ID.
    pub(crate) server: Option<SpiffeId>,
    /// Whether whoever answered has proved to be who was asked.
    proven: bool,
}

impl Wire {
    /// A way as `credential`.
    pub(crate) fn own(
        credential: Arc<Credential>,
        own: OwnTrust,
        expected: ExpectedServer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WireError> {
        Self::own_under(Revocation::Required, credential, own, expected, clock)
    }

    /// A way as `credential`, to an issuer of whom it is known what a missing revocation list means.
    pub(crate) fn own_under(
        revocation: Revocation,
        credential: Arc<Credential>,
        own: OwnTrust,
        expected: ExpectedServer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WireError> {
        let trust = generations(own, revocation)?;
        let credential = watch::Sender::new(credential).subscribe();
        Ok(Self::Own(Client::new(credential, trust.watch(), expected, clock, config())?))
    }

    /// A way as `credential`, to a server of strangers that is known by its host and by roots of its own.
    pub(crate) fn host(
        credential: &Credential,
        roots: &[CertificateDer<'_>],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WireError> {
        Ok(Self::Host(HostClient::danger_without_revocation(credential, roots, clock, &config())?))
    }

    /// A way as nobody.
    pub(crate) fn anonymous(own: OwnTrust, expected: ExpectedServer, clock: Arc<dyn Clock>) -> Result<Self, WireError> {
        let trust_domain = own.bundle.trust_domain().clone();
        let trust = generations(own, Revocation::Required)?;
        Ok(Self::Anonymous(AnonymousClient::new(trust_domain, trust.watch(), expected, clock, config())?))
    }

    /// Sends a request and reads the whole answer, within half a minute.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Exchange, WireError> {
        let exchange = async {
            let response = match self {
                Self::Anonymous(client) => client.request(request).await?,
                Self::Own(client) => client.request(request).await?,
                Self::Host(client) => {
                    let (parts, body) = client.request(request, LARGEST_ANSWER).await?.into_parts();
                    let (status, headers) = (parts.status, parts.headers);
                    return Ok(Exchange { status, headers, body, server: None, proven: true });
                }
            };
            let (parts, mut incoming) = response.into_parts();
            let server = parts.extensions.get::<VerifiedServer>().map(|server| server.server().spiffe_id().clone());
            let mut body = BytesMut::new();
            while let Some(frame) = incoming.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                if body.len() + data.len() > LARGEST_ANSWER {
                    return Err(WireError::TooLarge);
                }
                body.extend_from_slice(&data);
            }
            let proven = server.is_some();
            Ok(Exchange { status: parts.status, headers: parts.headers, body: body.freeze(), server, proven })
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| WireError::Timeout { limit: PATIENCE })?
    }

    /// GETs a path below `base`.
    pub(crate) async fn get(&self, base: &Uri, path: &str) -> Result<Exchange, WireError> {
        self.send(Request::builder().method(Method::GET).uri(join(base, path)).body(Full::default())?).await
    }

    /// POSTs JSON to a path below `base`.
    pub(crate) async fn post_json(
        &self,
        base: &Uri,
        path: &str,
        value: &serde_json::Value,
    ) -> Result<Exchange, WireError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(join(base, path))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(value.to_string()))?;
        self.send(request).await
    }
}

impl Exchange {
    /// The body of a 200; whatever else it is becomes an error that names the code, or the one line that a refusal of EST is.
    pub(crate) fn success(self) -> Result<Bytes, WireError> {
        if self.status == StatusCode::OK || self.status == StatusCode::CREATED {
            return Ok(self.body);
        }
        #[derive(serde::Deserialize)]
        struct Refusal {
            error: String,
        }
        let code = serde_json::from_slice(&self.body).ok().map(|refusal: Refusal| refusal.error);
        let plain = |code: &String| {
            code.len() <= 64
                && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        };
        Err(WireError::Status {
            status: self.status,
            code: code.filter(plain).map(|code| format!(" ({code})")).or_else(|| self.words()).unwrap_or_default(),
            retry_after: self.retry_after(),
        })
    }

    /// What a server that has proved itself says in plain text
    /// ([RFC 7030 §4.2.3](https://www.rfc-editor.org/rfc/rfc7030#section-4.2.3)): one short line of printable characters, or nothing.
    fn words(&self) -> Option<String> {
        let kind = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let text = std::str::from_utf8(&self.body).ok().filter(|_| kind.starts_with("text/plain"))?.trim();
        let plain = (1..=MOST_WORDS).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        (plain && self.proven).then(|| format!(": {text}"))
    }

    /// How long to wait before the next request, if the answer says so: in seconds, or until a date, by the clock of whoever wrote it
    /// ([RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = |name| self.headers.get(name)?.to_str().ok().map(str::trim);
        let asked = text(RETRY_AFTER)?;
        if let Ok(seconds) = asked.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let (until, written) = (parse_http_date(asked).ok()?, parse_http_date(text(DATE)?).ok()?);
        Some(until.duration_since(written).unwrap_or_default())
    }
}

/// A client as `credential`, which believes what `own` says now.
pub(super) fn client(
    credential: Arc<Credential>,
    own: OwnTrust,
    expected: ExpectedServer,
    clock: Arc<dyn Clock>,
) -> Result<Client, WireError> {
    let trust = generations(own, Revocation::Required)?;
    let credential = watch::Sender::new(credential).subscribe();
    Ok(Client::new(credential, trust.watch(), expected, clock, config())?)
}

/// Who must answer: the one that is named, else the host of the URL.
pub(crate) fn expected(server: Option<&SpiffeId>) -> ExpectedServer {
    server.map_or(ExpectedServer::Host, |id| ExpectedServer::Id(id.clone()))
}

/// `base` with `path` behind it.
pub(crate) fn join(base: &Uri, path: &str) -> String {
    format!("{}{path}", base.to_string().trim_end_matches('/'))
}

fn generations(own: OwnTrust, revocation: Revocation) -> Result<TrustGenerations, WireError> {
    let map = SanMap::empty(own.bundle.trust_domain().clone());
    let domain = DomainTrust { bundle: own.bundle, crls: own.crls, revocation };
    let trust = Trust::new(vec![domain])?;
    Ok(TrustGenerations::fixed(Arc::new(trust), Arc::new(map)))
}

fn config() -> ClientConfig {
    ClientConfig { pool_max_idle: 1, pool_idle_timeout: Duration::from_secs(5), ..ClientConfig::default() }
}

/// What a directory holds of a trust domain, as a way to an issuer needs it.
pub(super) fn known(
    present: &Present,
    trust_domain: &TrustDomain,
    directory: &std::path::Path,
) -> Result<OwnTrust, super::StationError> {
    present.own(trust_domain).ok_or_else(|| super::StationError::no_trust(trust_domain, directory))
}

/// Whether the lists of a trust domain still hold.
pub(super) fn lists_hold(own: &OwnTrust, now: UnixTime) -> bool {
    !own.crls.is_empty() && own.crls.iter().all(|crl| crl.next_update() >= now)
}

/// Why an issuer gave no answer that counts. Holds nothing of one but a code, or a line of plain text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the issuer has taken the request and will answer later (202); somebody may have to approve it there")]
    Accepted { retry_after: Option<Duration> },
    #[error(transparent)]
    Answer(#[from] crate::pkcs7::AnswerError),
    #[error("the issuer does not tell the certificates of its authority (/cacerts): {0}")]
    Authorities(#[source] crate::pkcs7::AnswerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("our own certificate cannot be used: {0}")]
    Credential(#[from] UnusableCredential),
    #[error(transparent)]
    Host(#[from] HostClientError),
    #[error(
        "{0}; the credential that is there is a leaf alone: put into its tls.crt the leaf first, then the intermediates \
         (those of /cacerts)"
    )]
    Lone(Box<Self>),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("the roots of the server in {} cannot be used: {what}", path.display())]
    Roots { path: PathBuf, what: String },
    #[error("the issuer answers {status}{code}")]
    Status { status: StatusCode, code: String, retry_after: Option<Duration> },
    #[error("no answer within {limit:?}")]
    Timeout { limit: Duration },
    #[error("the answer has more than {LARGEST_ANSWER} bytes")]
    TooLarge,
    #[error("the trust material that is there cannot be used: {0}")]
    Trust(#[from] countermark_credential::TrustError),
    #[error("the answer is not {0}")]
    Unexpected(&'static str),
}

impl WireError {
    /// Whether the server did not take our certificate.
    pub(super) const fn is_refusal_of_ours(&self) -> bool {
        matches!(
            self,
            Self::Client(ClientError::RefusedByServer { .. }) | Self::Host(HostClientError::RefusedByServer { .. })
        )
    }
}

/// How long an issuer asks to be left alone, if that is what the error is about.
pub(crate) fn retry_after(error: &countermark_credential::IssuerError) -> Option<Duration> {
    match error.downcast_ref()? {
        WireError::Accepted { retry_after } | WireError::Status { retry_after, .. } => *retry_after,
        _ => None,
    }
}

/// What an issuer has decided about a request, as far as its error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// None yet: it has the request.
    Later,
    /// It gives nothing for this request.
    No,
    /// Nobody knows: it did not answer, or not as one that has decided.
    Unknown,
}

pub(crate) fn decision(error: &countermark_credential::IssuerError) -> Decision {
    match error.downcast_ref() {
        Some(WireError::Accepted { .. }) => Decision::Later,
        Some(WireError::Answer(_) | WireError::TooLarge) => Decision::No,
        Some(WireError::Status { status, .. }) if status.is_client_error() && !PASSING.contains(status) => Decision::No,
        _ => Decision::Unknown,
    }
}

/// Refusals that are about the moment, not about the request.
const PASSING: &[StatusCode] = &[StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a refusal in plain text that is shown.
const MOST_WORDS: usize = 300;
/// A revocation list of 100,000 entries has 4 MB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn told(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let (status, headers) = (StatusCode::ACCEPTED, headers.collect());
        Exchange { status, headers, body: Bytes::new(), server: None, proven: true }.retry_after()
    }

    #[test]
    fn an_issuer_says_when_to_come_back_in_seconds_or_by_its_own_clock() {
        let date = ("date", "Fri, 31 Dec 1999 23:59:59 GMT");
        assert_eq!(told(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        let until = ("retry-after", "Sat, 01 Jan 2000 00:10:59 GMT");
        assert_eq!(told(&[until, date]), Some(Duration::from_secs(660)));
        assert_eq!(told(&[("retry-after", "Fri, 31 Dec 1999 23:00:00 GMT"), date]), Some(Duration::ZERO));
        assert_eq!(told(&[until]), None, "by whose clock?");
        assert_eq!(told(&[("retry-after", "soon"), date]), None);
        assert_eq!(told(&[date]), None);
    }

    #[test]
    fn a_refusal_is_told_from_a_bad_moment() {
        let status = |status| decision(&WireError::Status { status, code: String::new(), retry_after: None }.into());
        assert_eq!(status(StatusCode::FORBIDDEN), Decision::No);
        assert_eq!(status(StatusCode::BAD_REQUEST), Decision::No);
        assert_eq!(status(StatusCode::TOO_MANY_REQUESTS), Decision::Unknown);
        assert_eq!(status(StatusCode::SERVICE_UNAVAILABLE), Decision::Unknown);
        assert_eq!(decision(&WireError::Accepted { retry_after: None }.into()), Decision::Later);
        assert_eq!(decision(&WireError::Timeout { limit: PATIENCE }.into()), Decision::Unknown);
        assert_eq!(decision(&WireError::Answer(crate::pkcs7::AnswerError::NotOurs).into()), Decision::No);
        assert_eq!(decision(&"connection refused".into()), Decision::Unknown);
    }
}
