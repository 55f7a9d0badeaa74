//! Why a certificate is not issued.

use std::time::Duration;

use countermark_identity::{Role, SpiffeId, UnixTime};

use crate::key::{KeyError, KeyType};
use crate::lint::LintError;
use crate::profile::RequestableName;
use crate::subject::SubjectError;

/// Why a certificate is not issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The profile is another role's.
    #[error("{identity} is not of role {profile}, whose profile this is")]
    Role {
        /// The profile's role.
        profile: Role,
        /// Who was asked for.
        identity: SpiffeId,
    },
    /// The profile does not list this kind of key.
    #[error("the profile does not certify {key} keys; it lists {}", list(accepted))]
    KeyType {
        /// What the request brings.
        key: KeyType,
        /// What the profile lists.
        accepted: Vec<KeyType>,
    },
    /// Shorter than the profile allows.
    #[error("a life of {} s was asked for, and the profile's min_ttl is {} s", .asked.as_secs(), .least.as_secs())]
    TooShort {
        /// What was asked for.
        asked: Duration,
        /// The profile's bound.
        least: Duration,
    },
    /// Longer than the profile allows, or a sub-agent's more than 15 minutes.
    #[error("a life of {} s was asked for, and {} s is the most", .asked.as_secs(), .most.as_secs())]
    TooLong {
        /// What was asked for.
        asked: Duration,
        /// The bound.
        most: Duration,
    },
    /// More than a sixth of the issuer's life.
    #[error("a life of {} s was asked for, and a sixth of the issuing CA's whole life ({} s) is the most", .asked.as_secs(), .most.as_secs())]
    Share {
        /// What was asked for.
        asked: Duration,
        /// A sixth of the issuer's life.
        most: Duration,
    },
    /// It would outlive its issuer.
    #[error(
        "the certificate would end on {asked}, after its issuing CA ({issuer_ends}); renew the intermediate with `ca renew`"
    )]
    BeyondIssuer {
        /// When it would end.
        asked: UnixTime,
        /// When the issuer ends.
        issuer_ends: UnixTime,
    },
    /// The clock stands before the issuer's beginning.
    #[error("the issuing CA begins on {0}, after the time of this machine's clock; set the clock")]
    IssuerNotYet(UnixTime),
    /// The issuer's own life is over.
    #[error("the issuing CA ended on {0}; renew the intermediate with `ca renew`")]
    IssuerEnded(UnixTime),
    /// The profile does not let requests add such names.
    #[error("the profile lets no request add {0} names; add \"{0}\" to `requested` under [san] if it should")]
    NameKind(RequestableName),
    /// Not a name that may stand in a certificate.
    #[error(
        "`{0}` is not a DNS name that is certified: lower-case labels of letters, digits and hyphens, no wildcard, no address"
    )]
    DnsName(String),
    /// More names than any honest server has.
    #[error("{0} names were asked for, and 100 is the most")]
    TooManyNames(usize),
    /// The profile's URI is not the identity's.
    #[error("the profile's URI template yields `{uri}` for {identity}")]
    Template {
        /// What the template yields.
        uri: String,
        /// Who was asked for.
        identity: SpiffeId,
    },
    /// The identity does not fit a subject.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// No randomness for a serial.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// rcgen or the key refused.
    #[error("the certificate could not be signed")]
    Signing,
    /// What was made breaks a rule, and is not handed out.
    #[error("the certificate that was made breaks a rule and was thrown away: {0}")]
    Lint(#[from] LintError),
}

fn list(keys: &[KeyType]) -> String {
    keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")
}
