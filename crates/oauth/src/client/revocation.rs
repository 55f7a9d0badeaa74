//! Ending tokens. [RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)

use url::Url;
use zeroize::Zeroize as _;

use super::Asking;
use super::authentication::form_request;
use super::error::TokenError;
use super::token::BoundToken;
use crate::http::{HttpError, host};

impl Asking<'_> {
    pub(super) async fn revoke(&self, endpoint: &Url, token: &BoundToken) -> Result<(), TokenError> {
        let mut form = vec![("token".to_owned(), token.expose().to_owned())];
        form.push(("token_type_hint".to_owned(), "access_token".to_owned()));
        let request =
            form_request(endpoint, &mut form, self.client, self.authentication, self.credential, self.issuer, self.now);
        form.iter_mut().for_each(|(_, value)| value.zeroize());
        let status = self.http.send(request?, 16 * 1024).await?.status();
        // RFC 7009 §2.2: 200 also for tokens that it does not know.
        if status.is_success() {
            return Ok(());
        }
        Err(HttpError::Status { host: host(endpoint), status: status.as_u16() }.into())
    }
}
