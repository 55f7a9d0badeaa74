//! What an issuer says that an opaque token of ours is bound to. [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)

use std::time::Duration;

use serde_json::{Map, Value};

use super::Asking;
use super::token::BoundToken;
use crate::http::HttpError;
use crate::introspection::DEPTH;
use crate::jose::json::Object;
use crate::metadata::{DiscoveryError, ServerMetadata};

/// Why the issuer's word on a token is not to be had. The token may be good all the same: few servers let clients ask.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unconfirmed {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the answer is no JSON object")]
    Malformed,
    /// So it answers for tokens that are not the asking client's to ask about, too.
    #[error("it calls the token inactive when this client asks")]
    Inactive,
    #[error("no answer came within {0:?}")]
    Slow(Duration),
}

impl Unconfirmed {
    /// An answer, at once, to who asks about this token: the next one may be told more.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Inactive | Self::Http(HttpError::Status { status: 400 | 401 | 403, .. }))
    }
}

impl Asking<'_> {
    /// What the issuer says of a token that it has just issued.
    pub(super) async fn confirmation(
        &self,
        metadata: &ServerMetadata,
        token: &BoundToken,
    ) -> Result<Map<String, Value>, Unconfirmed> {
        let answer = self.introspection(metadata.introspection_endpoint()?, token.expose());
        let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| Unconfirmed::Slow(PATIENCE))??;
        let claims: Map<_, _> = Object::parse(answer.expose(), DEPTH).ok_or(Unconfirmed::Malformed)?.into();
        if claims.get("active") == Some(&Value::Bool(true)) { Ok(claims) } else { Err(Unconfirmed::Inactive) }
    }
}

/// A token is used without the issuer's word rather than after a long wait for it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an issuer that gave no answer is not asked again.
pub(super) const SILENCE: Duration = Duration::from_secs(300);
