//! Proofs of possession of a key, for servers that bind tokens that way. [RFC 9449](https://www.rfc-editor.org/rfc/rfc9449)

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countermark_identity::UnixTime;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::json;
use ulid::Ulid;

use crate::http::HttpError;
use crate::jose::SigningKey;

/// The key that proves, new for each generation, and the nonces that servers want to see.
#[derive(Debug)]
pub(crate) struct Proofs {
    key: SigningKey,
    thumbprint: String,
    nonce: ArcSwapOption<String>,
}

impl Proofs {
    pub(crate) fn new() -> Result<Self, HttpError> {
        let key = SigningKey::generate().map_err(|error| HttpError::Authentication(error.to_string()))?;
        Ok(Self { thumbprint: key.thumbprint(), key, nonce: ArcSwapOption::empty() })
    }

    /// What `cnf.jkt` must be ([RFC 9449 §6.1](https://www.rfc-editor.org/rfc/rfc9449#section-6.1)).
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Puts a proof for this request into it ([RFC 9449 §4.2](https://www.rfc-editor.org/rfc/rfc9449#section-4.2)); with a token,
    /// one that belongs to that token alone.
    pub(crate) fn prove<B>(
        &self,
        request: &mut Request<B>,
        token: Option<&str>,
        now: UnixTime,
    ) -> Result<(), HttpError> {
        let mut uri = request.uri().to_string();
        uri.truncate(uri.find(['?', '#']).unwrap_or(uri.len()));
        let mut claims = json!({
            "htm": request.method().as_str(), "htu": uri, "iat": now.as_secs(), "jti": Ulid::new().to_string(),
        });
        if let Some(members) = claims.as_object_mut() {
            if let Some(token) = token {
                let hash = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()));
                members.insert("ath".to_owned(), hash.into());
            }
            if let Some(nonce) = self.nonce.load().as_ref() {
                members.insert("nonce".to_owned(), nonce.as_str().into());
            }
        }
        let unable = |error: &dyn std::fmt::Display| HttpError::Authentication(error.to_string());
        let header = json!({"jwk": self.key.public_jwk(), "typ": "dpop+jwt"});
        let proof = self.key.sign(header, &claims).map_err(|error| unable(&error))?;
        let value = HeaderValue::try_from(proof).map_err(|error| unable(&error))?;
        request.headers_mut().insert(DPOP, value);
        Ok(())
    }

    /// Takes up the nonce of an answer; whether there was a new one.
    pub(crate) fn learn(&self, headers: &HeaderMap) -> bool {
        let Some(nonce) = headers.get(NONCE).and_then(|nonce| nonce.to_str().ok()) else { return false };
        if self.nonce.load().as_ref().is_some_and(|known| known.as_str() == nonce) {
            return false;
        }
        self.nonce.store(Some(Arc::new(nonce.to_owned())));
        true
    }
}

const DPOP: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
