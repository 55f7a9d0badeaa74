//! Why a configuration is refused.

use std::io;
use std::path::PathBuf;

use countermark_credential::directory::AccessError;
use countermark_identity::SpiffeIdError;

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
    /// A credential that is named by nothing, or by DNS names and addresses alone.
    #[error(
        "a credential needs an `identity`: whose trust bundle verifies it, and whether an answer is the one that was asked for, hang on its SPIFFE ID; names that others go by stand beside it, as `dns` and `ip`"
    )]
    NoIdentity,
    /// Nothing to do.
    #[error("there is no `[[credential]]`")]
    Nothing,
    /// A user or group that this machine does not have.
    #[error("{0}")]
    Owner(String),
    /// Not TOML, or a key that is not known.
    #[error("{0}")]
    Syntax(String),
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
