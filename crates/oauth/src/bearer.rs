//! The token of a request, as it arrives: one header, nothing believed.

use countermark_identity::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// A token that somebody sent. Its only way on is a [`TokenVerifier`](crate::TokenVerifier).
#[derive(Debug)]
pub struct UnverifiedToken(Secret<String>);

/// Why a request's credentials are not read. [RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerFault {
    /// More than one `Authorization`, or more than one credential in it.
    #[error("the request has more than one Authorization")]
    Several,
    /// Another scheme than `Bearer`.
    #[error("the scheme of Authorization is not Bearer")]
    Scheme,
    /// Not the characters of a token.
    #[error("the token has characters that no token has")]
    Characters,
    /// Longer than any token.
    #[error("the token has more than {limit} bytes")]
    TooLong {
        /// How many are read.
        limit: usize,
    },
}

impl UnverifiedToken {
    /// Reads the request's token, if it has one: from the header and from nowhere else.
    ///
    /// # Errors
    /// [`BearerFault`]: what is there is no single bearer token.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, BearerFault> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(BearerFault::Several);
        }
        let text = value.to_str().map_err(|_| BearerFault::Characters)?;
        let (scheme, token) = text.split_once(' ').ok_or(BearerFault::Scheme)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(BearerFault::Scheme);
        }
        Self::parse(token.trim_start_matches(' ')).map(Some)
    }

    /// Reads a token that came some other way, as from an authorization server.
    ///
    /// # Errors
    /// [`BearerFault`]: it cannot be one.
    pub fn parse(token: &str) -> Result<Self, BearerFault> {
        if token.len() > LONGEST {
            return Err(BearerFault::TooLong { limit: LONGEST });
        }
        if token.contains(',') {
            return Err(BearerFault::Several);
        }
        // b64token of RFC 6750 §2.1.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(fits) {
            return Err(BearerFault::Characters);
        }
        Ok(Self(Secret::new(token.to_owned())))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Bytes of a token; web servers take 8 KiB of headers by default, and guard 32 KiB.
const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, BearerFault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        UnverifiedToken::of(&headers).map(|token| token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn one_bearer_token_and_nothing_else() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer a.b-c_d~+/="]), Ok(Some("a.b-c_d~+/=".to_owned())));
        assert_eq!(read(&["bEARER x"]), Ok(Some("x".to_owned())));
        assert_eq!(read(&["Bearer x", "Bearer x"]), Err(BearerFault::Several));
        assert_eq!(read(&["Bearer x, Bearer y"]), Err(BearerFault::Several));
        for other in ["Basic eDp5", "DPoP x", "Bearer", "bearerx y", "Token x"] {
            assert_eq!(read(&[other]), Err(BearerFault::Scheme), "{other}");
        }
        for wrong in ["Bearer ", "Bearer x y", "Bearer x\ty", "Bearer \u{e9}"] {
            assert_eq!(read(&[wrong]), Err(BearerFault::Characters), "{wrong}");
        }
        assert_eq!(
            read(&[&format!("Bearer {}", "x".repeat(LONGEST + 1))]),
            Err(BearerFault::TooLong { limit: LONGEST })
        );
    }

    #[test]
    fn never_prints_itself() {
        let token = UnverifiedToken::parse("secret-token").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
    }
}
