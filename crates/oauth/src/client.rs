//! The client's side: tokens that belong to a certificate, and to the connections that present it.

mod authentication;
mod bound;
mod confirmation;
mod dpop;
mod error;
mod generation;
mod question;
mod request;
mod revocation;
mod token;
mod tokens;

use countermark_credential::Credential;
use countermark_identity::UnixTime;

pub use self::authentication::ClientAuthentication;
pub use self::bound::{BoundClient, BoundClientConfig, BoundClientError};
use self::dpop::Proofs;
pub use self::error::TokenError;
pub use self::generation::{Generation, Generations};
pub use self::question::Question;
pub use self::token::{Bound, BoundToken, Misbound};
pub use self::tokens::Tokens;
use crate::http::{Http, Roots};

/// How a client is known at an authorization server.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a configuration that callers write out; `new` gives the safe defaults")]
pub struct Registration {
    /// The issuer, to the letter.
    pub issuer: String,
    /// The client's id there.
    pub client: String,
    /// How it proves who it is.
    pub authentication: ClientAuthentication,
    /// Who vouches for the authorization server's own certificate.
    pub roots: Roots,
    /// Binds tokens by proofs of possession (RFC 9449) instead of by the certificate.
    pub dpop: bool,
    /// The called server has named the issuer, not whoever configures: its endpoints must be on the issuer's own host.
    pub named: bool,
}

impl Registration {
    /// A client that proves itself by its certificate.
    #[must_use]
    pub fn new(issuer: impl Into<String>, client: impl Into<String>, roots: impl Into<Roots>) -> Self {
        let authentication = ClientAuthentication::Certificate;
        Self {
            issuer: issuer.into(),
            client: client.into(),
            authentication,
            roots: roots.into(),
            dpop: false,
            named: false,
        }
    }
}

/// One request to an authorization server: who asks, and with what.
pub(crate) struct Asking<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client: &'a str,
    pub(crate) authentication: &'a ClientAuthentication,
    /// The algorithms that the issuer takes assertions with, as far as it says.
    pub(crate) algorithms: &'a [String],
    pub(crate) credential: &'a Credential,
    pub(crate) http: &'a Http,
    pub(crate) proofs: Option<&'a Proofs>,
    pub(crate) now: UnixTime,
}
