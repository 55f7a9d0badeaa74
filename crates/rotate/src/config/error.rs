//! Why a configuration is refused.

use std::io;
use std::path::PathBuf;

use countermark_credential::directory::AccessError;
use countermark_identity::{SanError, SpiffeIdError, TrustDomainError};

/// A configuration that is refused as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Something in it is wrong.
    #[error("{}:{line}:{column}: {fault}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What.
        fault: Fault,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong at one place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A mode that no key may have.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A name beside an identity that no X509-SVID of ours has.
    #[error(
        "`email` and `uri` name a credential that has no `identity`: write `trust-domain` in its place, or leave them out"
    )]
    Beside,
    /// `after` leads round in a circle.
    #[error("`{name}` comes after itself, by way of `after`")]
    Circle {
        /// Which credential.
        name: String,
    },
    /// Two entries share what only one can have.
    #[error("{what} `{value}` stands twice")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// Which.
        value: String,
    },
    /// A hook that does nothing, or two things.
    #[error(
        "a hook does exactly one thing: `run = […]`, `signal` with `pid-file` or `unit`, `request = \"http://127.0.0.1…\"`, or `touch = \"FILE\"`"
    )]
    Hook,
    /// An identity that is none.
    #[error("`{text}` is no identity: {source}; write spiffe://TRUST-DOMAIN/agent/NAME")]
    Identity {
        /// What is written.
        text: String,
        /// What is wrong.
        source: SpiffeIdError,
    },
    /// An identity of no role.
    #[error("`{text}` is neither /agent/… nor /server/…: nobody would accept it")]
    Role {
        /// What is written.
        text: String,
    },
    /// A key beside an issuer to which it means nothing.
    #[error(
        "`{key}` has no meaning here: the authority decides it; set it where the certificate is first minted or invited"
    )]
    Meaningless {
        /// Which key.
        key: &'static str,
    },
    /// A trust domain, and no name in it.
    #[error(
        "a credential without an `identity` needs at least one of `dns`, `ip`, `email` and `uri` beside its `trust-domain`"
    )]
    Nameless,
    /// A credential that is named by nothing.
    #[error(
        "a credential needs an `identity`; or, from an issuer of kind = \"est\", a `trust-domain`, whose bundle verifies it, and at least one of `dns`, `ip`, `email` and `uri`"
    )]
    NoIdentity,
    /// Nothing to do.
    #[error("there is no `[[credential]]`")]
    Nothing,
    /// Names alone, from an issuer that signs none.
    #[error(
        "an authority of ours signs X509-SVIDs alone: write `identity` in place of `trust-domain`, or name an issuer of kind = \"est\""
    )]
    OnlySvids,
    /// A user or group that this machine does not have.
    #[error("{0}")]
    Owner(String),
    /// A name that is none.
    #[error("`{text}` is no name of its kind: {source}")]
    San {
        /// What is written.
        text: String,
        /// What is wrong.
        source: SanError,
    },
    /// A SPIFFE ID among other names.
    #[error("`{text}` is a SPIFFE ID: write it as `identity`, in place of `trust-domain`")]
    SpiffeUri {
        /// What is written.
        text: String,
    },
    /// Not TOML, or a key that is not known.
    #[error("{0}")]
    Syntax(String),
    /// A trust domain that is none.
    #[error("`{text}` is no trust domain: {source}")]
    TrustDomain {
        /// What is written.
        text: String,
        /// What is wrong.
        source: TrustDomainError,
    },
    /// A name of both kinds.
    #[error(
        "a credential has an `identity`, or a `trust-domain` with names, not both: who has a SPIFFE ID is judged by it alone"
    )]
    TwoNames,
    /// A server that is known by two things.
    #[error(
        "`server` and `roots` exclude each other: a server has a SPIFFE ID in the credential's trust domain (`server`), or a certificate under these roots for the host of its URL (`roots`)"
    )]
    TwoServers,
    /// More than one URI.
    #[error("a certificate has one URI at most: with two, nobody accepts it")]
    TwoUris,
    /// A server whose revocation nobody can look at.
    #[error(
        "nobody looks whether a server that is known by `roots` is revoked: say so with revocation = \"danger_none\", or have it known by `server`"
    )]
    Unlisted,
    /// A reference to nothing.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// What is written.
        name: String,
    },
    /// A text that is not of its kind.
    #[error("`{text}` is no {what}; write {example}")]
    Value {
        /// What is written.
        text: String,
        /// What it should be.
        what: &'static str,
        /// How it is written.
        example: &'static str,
    },
    /// A version of the file that is not known.
    #[error("version {found} of rotate.toml is not known; write version = 1")]
    Version {
        /// What is written.
        found: u32,
    },
}
