//! Ending tokens. [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)

use countermark_identity::Secret;
use url::Url;

use super::Asking;
use super::error::TokenError;
use super::token::BoundToken;
use crate::http::{HttpError, host};

impl Asking<'_> {
    pub(super) async fn revoke(&self, endpoint: &Url, token: &BoundToken) -> Result<(), TokenError> {
        let form = [
            ("token", Secret::new(token.expose().to_owned())),
            ("token_type_hint", Secret::new("access_token".to_owned())),
        ];
        let status = self.http.send(self.form(endpoint, &form)?, LARGEST).await?.status();
        // RFC 7009 §2.2: 200 also for tokens that it does not know.
        if status.is_success() {
            return Ok(());
        }
        Err(HttpError::Status { host: host(endpoint), status: status.as_u16() }.into())
    }
}

/// Bytes of an answer; there is nothing in it.
const LARGEST: usize = 16 * 1024;
