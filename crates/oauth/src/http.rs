//! The one HTTP client of this crate: https to named roots, no proxy, no redirect, every answer bounded.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use countermark_credential::Credential;
use http::{HeaderValue, StatusCode};
use reqwest::redirect::Policy;
use rustls::client::Resumption;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use url::Url;

/// A pool of connections to authorization servers that presents one credential, or none, for as long as it lives.
///
/// A token that is bound to a certificate must be asked for over connections that present it, and pools and sessions
/// outlive any swap of what they present: so another credential is another pool.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

/// Who vouches for the certificate of an authorization server. There is no default: somebody names its CA.
#[derive(Clone)]
pub struct Roots(Arc<dyn Fn() -> Vec<CertificateDer<'static>> + Send + Sync>);

impl Roots {
    /// Whatever `roots` says when a new pool is made: a bundle that is replaced while the process runs.
    #[must_use]
    pub fn following(roots: impl Fn() -> Vec<CertificateDer<'static>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(roots))
    }

    pub(crate) fn now(&self) -> Vec<CertificateDer<'static>> {
        (self.0)()
    }
}

impl From<Vec<CertificateDer<'static>>> for Roots {
    fn from(roots: Vec<CertificateDer<'static>>) -> Self {
        Self::following(move || roots.clone())
    }
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Roots")
    }
}

/// Why an authorization server did not answer. Never holds a body.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// We cannot prove who we are.
    #[error("the client cannot authenticate: {0}")]
    Authentication(String),
    /// The answer is longer than any good one.
    #[error("the answer of {host} has more than {limit} bytes")]
    Long {
        /// Who answered.
        host: String,
        /// How many are read.
        limit: usize,
    },
    /// The URL is not https.
    #[error("{url} is not https://, and nothing is sent in clear")]
    NotHttps {
        /// The URL, without its query.
        url: String,
    },
    /// A redirect; none is followed, since it would carry credentials elsewhere.
    #[error("{host} answers with a redirect ({status}), which is not followed; configure the final URL")]
    Redirect {
        /// Who answered.
        host: String,
        /// With what.
        status: u16,
    },
    /// An answer that is no success.
    #[error("{host} answers {status}")]
    Status {
        /// Who answered.
        host: String,
        /// With what.
        status: u16,
        /// How long it asks to be left alone ([RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)), if it
        /// says so in seconds.
        retry_after: Option<Duration>,
    },
    /// No TLS could be configured.
    #[error("TLS to the authorization server cannot be configured: {0}")]
    Tls(String),
    /// No connection, or none that lasted.
    #[error("{host} cannot be reached: {cause}")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// The cause.
        cause: String,
    },
}

impl Http {
    /// A pool that presents `credential` and believes servers whose certificate leads to one of `roots` and names their host.
    ///
    /// # Errors
    /// The credential or a root is unusable.
    pub fn new(credential: Option<&Credential>, roots: &[CertificateDer<'static>]) -> Result<Self, HttpError> {
        let tls = |error: rustls::Error| HttpError::Tls(error.to_string());
        let mut store = rustls::RootCertStore::empty();
        for root in roots {
            store.add(root.clone()).map_err(tls)?;
        }
        if store.is_empty() {
            return Err(HttpError::Tls("no root is given; name the authorization server's CA".to_owned()));
        }
        let builder = rustls::ClientConfig::builder_with_provider(countermark_mtls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(tls)?
            .with_root_certificates(store);
        let mut config = match credential {
            Some(credential) => {
                builder.with_client_auth_cert(credential.chain().to_vec(), credential.key().clone_key()).map_err(tls)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .https_only(true)
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| HttpError::Tls(causes(&error)))?;
        Ok(Self { client })
    }

    pub(crate) fn into_reqwest(self) -> reqwest::Client {
        self.client
    }

    /// The body of a successful GET.
    pub(crate) async fn get(&self, url: &Url, limit: usize) -> Result<Bytes, HttpError> {
        self.get_as(url, None, limit).await
    }

    /// The body of a successful GET, with what the server knows the client by.
    pub(crate) async fn get_as(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
        limit: usize,
    ) -> Result<Bytes, HttpError> {
        let mut request = http::Request::new(Vec::new());
        *request.uri_mut() = uri(url)?;
        request.headers_mut().insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        let authorization = authorization.map(|value| (http::header::AUTHORIZATION, value));
        request.headers_mut().extend(authorization);
        success(url, self.send(request, limit).await?)
    }

    /// Sends a request and reads the whole answer, whatever its status, unless that is a redirect.
    pub(crate) async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limit: usize,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let text = request.uri().to_string();
        let url = Url::parse(&text).map_err(|_| HttpError::NotHttps { url: text })?;
        require_https(&url)?;
        let host = host(&url);
        let unreachable =
            |error: reqwest::Error| HttpError::Unreachable { host: host.clone(), cause: causes(&error.without_url()) };
        let request = reqwest::Request::try_from(request).map_err(unreachable)?;
        let mut answer = self.client.execute(request).await.map_err(unreachable)?;
        if answer.status().is_redirection() {
            return Err(HttpError::Redirect { host, status: answer.status().as_u16() });
        }
        let mut body = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > limit {
                return Err(HttpError::Long { host, limit });
            }
            body.extend_from_slice(&piece);
        }
        let mut response = http::Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

/// [`Http`] with the newest credential, for whoever asks for nothing that is bound: a server that fetches keys.
#[derive(Debug)]
pub struct FollowingHttp {
    credential: watch::Receiver<Arc<Credential>>,
    roots: Roots,
    current: ArcSwap<Current>,
}

/// A pool, and what it was made of.
#[derive(Debug)]
struct Current {
    credential: Arc<Credential>,
    roots: Vec<CertificateDer<'static>>,
    http: Http,
}

impl FollowingHttp {
    /// Presents whatever credential is newest.
    ///
    /// # Errors
    /// The credential or a root is unusable.
    pub fn new(credential: watch::Receiver<Arc<Credential>>, roots: impl Into<Roots>) -> Result<Self, HttpError> {
        let roots = roots.into();
        let current = Current::new(credential.borrow().clone(), roots.now())?;
        Ok(Self { credential, roots, current: ArcSwap::from_pointee(current) })
    }

    pub(crate) fn now(&self) -> Result<(Arc<Credential>, Http), HttpError> {
        let (newest, roots) = (self.credential.borrow().clone(), self.roots.now());
        let current = self.current.load();
        if Arc::ptr_eq(&current.credential, &newest) && current.roots == roots {
            return Ok((newest, current.http.clone()));
        }
        let current = Current::new(newest, roots)?;
        let answer = (Arc::clone(&current.credential), current.http.clone());
        self.current.store(Arc::new(current));
        Ok(answer)
    }
}

impl Current {
    fn new(credential: Arc<Credential>, roots: Vec<CertificateDer<'static>>) -> Result<Self, HttpError> {
        let http = Http::new(Some(&credential), &roots)?;
        Ok(Self { credential, roots, http })
    }
}

/// The body of a 200; any other status is an error.
pub(crate) fn success(url: &Url, answer: http::Response<Bytes>) -> Result<Bytes, HttpError> {
    if answer.status() == StatusCode::OK { Ok(answer.into_body()) } else { Err(unsuccessful(url, &answer)) }
}

/// What an answer that is no success becomes.
pub(crate) fn unsuccessful(url: &Url, answer: &http::Response<Bytes>) -> HttpError {
    let seconds = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let (host, status) = (host(url), answer.status().as_u16());
    HttpError::Status { host, status, retry_after: seconds.map(Duration::from_secs) }
}

/// A URL that may be asked: https, a host, nobody's name, no fragment.
pub(crate) fn require_https(url: &Url) -> Result<(), HttpError> {
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() == "https" && url.has_host() && plain {
        return Ok(());
    }
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    Err(HttpError::NotHttps { url: shown.to_string() })
}

pub(crate) fn uri(url: &Url) -> Result<http::Uri, HttpError> {
    require_https(url)?;
    url.as_str().parse().map_err(|_| HttpError::NotHttps { url: url.to_string() })
}

pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An error with its causes, in one line, each said once.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Layer(&'static str, #[source] Option<Box<Self>>);
        let layers = |outer, inner, innermost| {
            Layer(outer, Some(Box::new(Layer(inner, Some(Box::new(Layer(innermost, None)))))))
        };
        assert_eq!(causes(&layers("not sent", "no connection", "refused")), "not sent: no connection: refused");
        assert_eq!(
            causes(&layers("not sent: no connection", "no connection", "refused")),
            "not sent: no connection: refused"
        );
        assert_eq!(causes(&Layer("alone", None)), "alone");
    }
}
