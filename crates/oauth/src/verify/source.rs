//! Where an issuer's keys come from.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use url::Url;

use crate::http::{FollowingHttp, Http, HttpError, require_https};
use crate::jose::KeySetError;
use crate::metadata::{DiscoveryError, ServerMetadata};

/// Where an issuer's JWKS comes from.
pub trait KeySource: Send + Sync + std::fmt::Debug {
    /// Fetches the document.
    fn fetch(&self) -> FetchedKeys<'_>;
}

/// The document, once it is there.
pub type FetchedKeys<'a> = Pin<Box<dyn Future<Output = Result<Bytes, KeyError>> + Send + 'a>>;

/// Why an issuer's keys are not known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing usable is in the document.
    #[error("the issuer's keys cannot be used: {0}")]
    Keys(#[from] KeySetError),
    /// Whoever publishes the keys is not to be found or does not answer.
    #[error(transparent)]
    Source(#[from] DiscoveryError),
    /// There is no answer.
    #[error("the issuer's keys did not come in time")]
    Slow,
    /// A file cannot be read.
    #[error("{0}")]
    File(String),
}

/// The keys that an issuer publishes: where its metadata says, or at a URL that is known.
#[derive(Debug)]
pub struct PublishedKeys {
    http: Arc<FollowingHttp>,
    issuer: String,
}

impl PublishedKeys {
    /// Asks the issuer's metadata each time, since the URL may move with it.
    #[must_use]
    pub fn new(http: Arc<FollowingHttp>, issuer: impl Into<String>) -> Self {
        Self { http, issuer: issuer.into() }
    }
}

impl KeySource for PublishedKeys {
    fn fetch(&self) -> FetchedKeys<'_> {
        Box::pin(async {
            let (_, http) = self.http.now().map_err(DiscoveryError::from)?;
            let metadata = ServerMetadata::discover(&http, &self.issuer).await?;
            Ok(http.get(metadata.jwks_uri()?, LARGEST).await.map_err(DiscoveryError::from)?)
        })
    }
}

/// The keys at a URL that is known, as a Kubernetes API server publishes them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeysAt {
    url: Url,
    ca: PathBuf,
    bearer: Option<PathBuf>,
}

impl KeysAt {
    /// At `url`, whose server leads to a CA in the PEM file `ca`. What the file `bearer` holds goes with each request, for servers
    /// that show their keys to nobody else. Both files are read anew each time.
    ///
    /// # Errors
    /// The URL is not https, or names more than a place.
    pub fn new(url: &str, ca: PathBuf, bearer: Option<PathBuf>) -> Result<Self, HttpError> {
        let url = Url::parse(url).map_err(|_| HttpError::NotHttps { url: url.to_owned() })?;
        require_https(&url)?;
        Ok(Self { url, ca, bearer })
    }

    /// What a request is made with, as the files are now.
    fn way(&self) -> Result<(Http, Option<HeaderValue>), KeyError> {
        let unusable = |what: &str| KeyError::File(format!("{} holds no {what}", self.ca.display()));
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&self.ca)?).collect();
        let roots = roots.map_err(|_| unusable("certificates in PEM"))?;
        let http = Http::new(None, &roots).map_err(DiscoveryError::from)?;
        let Some(file) = &self.bearer else { return Ok((http, None)) };
        let held = zeroize::Zeroizing::new(read(file)?);
        let text = zeroize::Zeroizing::new([b"Bearer ", held.trim_ascii()].concat());
        let header = HeaderValue::from_bytes(&text);
        let mut header = header.map_err(|_| KeyError::File(format!("what {} holds fits no header", file.display())))?;
        header.set_sensitive(true);
        Ok((http, Some(header)))
    }
}

impl KeySource for KeysAt {
    fn fetch(&self) -> FetchedKeys<'_> {
        Box::pin(async {
            let this = self.clone();
            let way = tokio::task::spawn_blocking(move || this.way()).await;
            let (http, bearer) =
                way.unwrap_or_else(|_| Err(KeyError::File("the files could not be read".to_owned())))?;
            Ok(http.get_as(&self.url, bearer, LARGEST).await.map_err(DiscoveryError::from)?)
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(file).map_err(|error| KeyError::File(format!("cannot read {}: {error}", file.display())))
}

/// Bytes of a JWKS.
const LARGEST: usize = 256 * 1024;
