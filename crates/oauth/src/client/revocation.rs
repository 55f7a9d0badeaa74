//! Ending tokens. [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)

use countermark_identity::Secret;
use url::Url;

use super::Asking;
use super::error::TokenError;
use super::token::BoundToken;
use crate::http::unsuccessful;

impl Asking<'_> {
    pub(super) async fn revoke(&self, endpoint: &Url, token: &BoundToken) -> Result<(), TokenError> {
        let form = [
            ("token", Secret::new(token.expose().to_owned())),
            ("token_type_hint", Secret::new("access_token".to_owned())),
        ];
        let answer = self.http.send(self.form(endpoint, &form)?, LARGEST).await?;
        // RFC 7009 §2.2: 200 also for tokens that it does not know.
        if answer.status().is_success() { Ok(()) } else { Err(unsuccessful(endpoint, &answer).into()) }
    }
}

/// Bytes of an answer; there is nothing in it.
const LARGEST: usize = 16 * 1024;
