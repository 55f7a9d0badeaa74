//! Invites: one secret, for one identity, of one authority.

use countermark_identity::{Secret, SpiffeId, SpiffeIdError, Thumbprint, ThumbprintError, UnixTime};
use http::Uri;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{EnrolError, authority_url};

/// What `countermark ca invite` writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Invite {
    /// Where the authority is.
    pub url: Uri,
    /// Who it is.
    pub authority: SpiffeId,
    /// Whom it invites.
    pub identity: SpiffeId,
    /// The SHA-256 of its root.
    pub root: Thumbprint,
    /// The secret.
    pub secret: Secret<String>,
    /// Until when it holds.
    pub expires: UnixTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    url: String,
    authority: String,
    identity: String,
    root_sha256: String,
    secret: String,
    expires: String,
}

impl Invite {
    /// Reads the text of an invite, which must still hold at `now`.
    ///
    /// # Errors
    /// [`InviteError`], which never holds a part of the text.
    pub fn parse(text: &str, now: UnixTime) -> Result<Self, InviteError> {
        let mut document: Document = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            InviteError::Syntax { line: before.matches('\n').count() + 1 }
        })?;
        let secret = Secret::new(std::mem::take(&mut document.secret));
        if document.version != 1 {
            return Err(InviteError::Version { found: document.version });
        }
        let expires = OffsetDateTime::parse(&document.expires, &Rfc3339).map_err(|_| InviteError::Expires)?;
        let expires = UnixTime::from_secs(u64::try_from(expires.unix_timestamp()).unwrap_or(0));
        if now > expires {
            return Err(InviteError::Expired { expires });
        }
        let (authority, identity): (SpiffeId, SpiffeId) = (document.authority.parse()?, document.identity.parse()?);
        if authority.trust_domain() != identity.trust_domain() {
            return Err(InviteError::TrustDomains { authority, identity });
        }
        Ok(Self {
            url: authority_url(&document.url)?,
            authority,
            identity,
            root: Thumbprint::from_hex(&document.root_sha256)?,
            secret,
            expires,
        })
    }
}

/// Why an invite is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// It is over.
    #[error("the invite expired at {expires}; ask for another (`countermark ca invite`)")]
    Expired {
        /// When.
        expires: UnixTime,
    },
    /// `expires` is no time.
    #[error("`expires` of the invite is not a time as RFC 3339 writes it")]
    Expires,
    /// `root_sha256` is no hash.
    #[error("`root_sha256` of the invite: {0}")]
    Root(#[from] ThumbprintError),
    /// A name is none.
    #[error("the invite names somebody whom nobody can be: {0}")]
    SpiffeId(#[from] SpiffeIdError),
    /// It is not what `ca invite` writes.
    #[error("line {line} of the invite is not as `countermark ca invite` writes it")]
    Syntax {
        /// Where.
        line: usize,
    },
    /// An authority invites for its own trust domain.
    #[error("{authority} cannot invite {identity}: they are of two trust domains")]
    TrustDomains {
        /// Who invites.
        authority: SpiffeId,
        /// Who is invited.
        identity: SpiffeId,
    },
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] Box<EnrolError>),
    /// A version that is not known.
    #[error("version {found} of the invite is not known")]
    Version {
        /// Which.
        found: u32,
    },
}

impl From<EnrolError> for InviteError {
    fn from(error: EnrolError) -> Self {
        Self::Url(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"version = 1
url = "https://ca.internal:8443"
authority = "spiffe://agents.internal/server/authority"
identity = "spiffe://agents.internal/agent/billing-bot"
root_sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
secret = "hunter2"
expires = "2030-01-01T00:00:00Z"
"#;

    fn parse(text: &str) -> Result<Invite, InviteError> {
        Invite::parse(text, UnixTime::from_secs(1_800_000_000))
    }

    #[test]
    fn a_good_one_is_read() {
        let invite = parse(GOOD).unwrap();
        assert_eq!(invite.url, "https://ca.internal:8443");
        assert_eq!(invite.identity.as_str(), "spiffe://agents.internal/agent/billing-bot");
        assert_eq!(invite.secret.expose(), "hunter2");
        assert!(!format!("{invite:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_is_refused_without_the_secret() {
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("https://", "http://"),
            ("/server/authority", ""),
            ("ba7816", "xx7816"),
            ("2030-01-01T00:00:00Z", "soon"),
            ("2030-", "2020-"),
            ("secret = \"hunter2\"", "secret = hunter2"),
            ("secret =", "sceret ="),
            ("agents.internal/agent", "other.internal/agent"),
        ] {
            let error = parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(matches!(parse(""), Err(InviteError::Syntax { line: 1 })));
    }
}
