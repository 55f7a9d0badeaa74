//! The question what a token is, which servers and clients ask alike. [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)

use countermark_identity::Secret;
use url::Url;

use crate::client::Asking;
use crate::http::{HttpError, success};

impl Asking<'_> {
    /// What the issuer answers, as it came.
    pub(crate) async fn introspection(&self, endpoint: &Url, token: &str) -> Result<Secret<Vec<u8>>, HttpError> {
        let request = self.form(endpoint, &[("token", Secret::new(token.to_owned()))])?;
        let answer = success(endpoint, self.http.send(request, LARGEST).await?)?;
        Ok(Secret::new(answer.to_vec()))
    }
}

/// Levels of an answer's JSON.
pub(crate) const DEPTH: usize = 16;
/// Bytes of an answer.
const LARGEST: usize = 64 * 1024;
