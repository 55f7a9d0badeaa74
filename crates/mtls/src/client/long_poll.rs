//! One resource that is asked for again and again, each time held open by its server until it has changed.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countermark_identity::Thumbprint;
use http::header::{ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, sleep, timeout};

use super::{Client, ClientError};

/// A conditional request ([RFC 9110 §13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)) that prefers to wait
/// ([RFC 7240 §4.3](https://www.rfc-editor.org/rfc/rfc7240#section-4.3)).
#[derive(Debug)]
pub struct LongPoll {
    client: Client,
    url: Uri,
    limit: usize,
    known: Option<HeaderValue>,
    body: Option<Thumbprint>,
}

impl LongPoll {
    /// Follows `url`, whose body has at most `limit` bytes.
    #[must_use]
    pub const fn new(client: Client, url: Uri, limit: usize) -> Self {
        Self { client, url, limit, known: None, body: None }
    }

    /// Asks by another client from now on. What is known stays known.
    pub fn ask_by(&mut self, client: Client) {
        self.client = client;
    }

    /// Forgets what came before, so that the next version comes at once, whichever it is.
    pub fn forget(&mut self) {
        (self.known, self.body) = (None, None);
    }

    /// The next version, as soon as there is one; none when a minute has passed without.
    ///
    /// A server that does not wait is asked every half minute. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`LongPollError`]; the next call asks again, which the caller puts off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LongPollError> {
        let begun = Instant::now();
        let found = timeout(PATIENCE, self.ask()).await.map_err(|_| LongPollError::Slow)??;
        if found.is_none() && begun.elapsed() < SHORTEST {
            sleep(PAUSE).await;
        }
        Ok(found)
    }

    async fn ask(&mut self) -> Result<Option<Bytes>, LongPollError> {
        let prefer = (HeaderName::from_static("prefer"), HeaderValue::from_static("wait=60"));
        let known = self.known.clone().map(|known| (IF_NONE_MATCH, known));
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.url.clone();
        request.headers_mut().extend(known.into_iter().chain([prefer]));
        let (parts, mut incoming) = self.client.request(request).await?.into_parts();
        match parts.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(None),
            status => {
                let after = parts.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                return Err(LongPollError::Status { status, retry_after: after.map(Duration::from_secs) });
            }
        }
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if body.len() + data.len() > self.limit {
                return Err(LongPollError::TooLarge { limit: self.limit });
            }
            body.extend_from_slice(&data);
        }
        let print = Thumbprint::of(&body);
        self.known = parts.headers.get(ETAG).cloned();
        let same = self.body.replace(print) == Some(print);
        Ok(Some(body.freeze()).filter(|_| !same))
    }
}

/// Why there is no next version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LongPollError {
    /// There is no answer that counts.
    #[error("{}{}", error, error.source().map(|source| format!(": {source}")).unwrap_or_default())]
    Client {
        /// Why not.
        #[from]
        error: ClientError,
    },
    /// The answer did not come.
    #[error("no answer within {PATIENCE:?}")]
    Slow,
    /// The server says no.
    #[error("the answer is {status}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// When it would like to be asked again.
        retry_after: Option<Duration>,
    },
    /// The answer is larger than it may be.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// What it may have.
        limit: usize,
    },
}

impl LongPollError {
    /// How long the server asks to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The minute that is asked for, and as long again for connecting and for the body.
const PATIENCE: Duration = Duration::from_secs(120);
/// Whoever answers sooner than this that nothing has changed did not wait.
const SHORTEST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(30);
