//! Why a chain is not believed: facts, not phrases, so that whoever reports them can say what to do.

use countermark_identity::{LeafError, Serial, TrustDomain, UnixTime};

use crate::authority::AuthorityError;
use crate::crl::RevocationReason;

/// Why a chain was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A presented intermediate may not sign for the trust domain.
    #[error("intermediate {position} cannot sign for {trust_domain}: {error}")]
    Authority {
        /// Which, counted from 1 after the leaf.
        position: usize,
        /// For whom.
        trust_domain: TrustDomain,
        /// Why not.
        #[source]
        error: AuthorityError,
    },
    /// A certificate of the path ended.
    #[error("{which} expired at {not_after}, it is {now}")]
    Expired {
        /// The leaf, or a CA by name.
        which: Link,
        /// When it ended.
        not_after: UnixTime,
        /// When it was looked at.
        now: UnixTime,
    },
    /// The leaf does not serve for this.
    #[error("the leaf certificate is refused: {0}")]
    Leaf(#[from] LeafError),
    /// The leaf was parsed from another certificate.
    #[error("the leaf that was judged is not the first certificate of the chain")]
    LeafMismatch,
    /// Not a chain of certificates.
    #[error("the chain is malformed: {detail}")]
    Malformed {
        /// What the path verification said.
        detail: String,
    },
    /// A certificate of the path does not hold yet.
    #[error("{which} is valid from {not_before} only, it is {now}: a clock is wrong, here or at the authority")]
    NotYetValid {
        /// The leaf, or a CA by name.
        which: Link,
        /// When it begins.
        not_before: UnixTime,
        /// When it was looked at.
        now: UnixTime,
    },
    /// Path verification refused for another reason.
    #[error("the chain is refused: {detail}")]
    Path {
        /// What the path verification said.
        detail: String,
    },
    /// A certificate of the path is revoked.
    #[error("{which} with serial {serial} was revoked at {at}{}", reason_text(.reason))]
    Revoked {
        /// The leaf, or a CA by name.
        which: Link,
        /// Its serial.
        serial: Serial,
        /// Since when.
        at: UnixTime,
        /// Why, if the list says.
        reason: Option<RevocationReason>,
    },
    /// Nobody can say whether a certificate of the path is revoked.
    #[error("revocation of certificates by {authority} cannot be judged: {error}")]
    RevocationUnknown {
        /// Whose list it is about.
        authority: String,
        /// Why not.
        #[source]
        error: RevocationError,
    },
    /// More intermediates than a path may have.
    #[error("the chain has {found} intermediates, at most {MAX_INTERMEDIATES} are looked at")]
    TooManyIntermediates {
        /// How many.
        found: usize,
    },
    /// No root of the trust domain signed it.
    #[error("no root of {trust_domain} leads to the certificate, which was issued by {issuer}")]
    UnknownAuthority {
        /// Whose roots were tried.
        trust_domain: TrustDomain,
        /// Who issued the leaf, for people only.
        issuer: String,
    },
    /// No roots of that trust domain are here.
    #[error(
        "there is no trust bundle for {trust_domain}; to federate with it, put {trust_domain}.trust-bundle.pem and {trust_domain}.crl.pem beside the own ones, in trust/current of the identity directory"
    )]
    UnknownTrustDomain {
        /// Whose roots are missing.
        trust_domain: TrustDomain,
    },
}

/// Which certificate of a path is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a path has a leaf and authorities, and nothing else")]
pub enum Link {
    /// An authority, by its subject.
    Authority(String),
    /// The leaf.
    Leaf,
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Authority(subject) => write!(f, "the CA certificate of {subject}"),
            Self::Leaf => f.write_str("the certificate"),
        }
    }
}

/// Why a revocation list that is needed is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// There is none.
    #[error("there is no CRL of it; `countermark ca crl` makes one")]
    Missing,
    /// The CA's certificate does not allow its key to sign lists.
    #[error("its certificate does not allow it to sign CRLs (keyUsage cRLSign)")]
    NotCrlSigner,
    /// It is past its nextUpdate.
    #[error("its CRL is stale since {next_update}, it is {now}; `countermark ca crl` makes a new one")]
    Stale {
        /// When it became stale.
        next_update: UnixTime,
        /// When it was looked at.
        now: UnixTime,
    },
    /// A list names the CA, and the CA's key did not sign it.
    #[error("the CRL with its name is not signed by its key; `countermark ca crl` makes a new one")]
    WrongSignature,
}

/// Why trust cannot be made of what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A trust domain stands twice: which roots count would be a matter of order.
    #[error("there are two trust bundles for {trust_domain}")]
    Repeated {
        /// Which.
        trust_domain: TrustDomain,
    },
    /// A root that webpki cannot use.
    #[error("a root of {trust_domain} is malformed: {detail}")]
    Root {
        /// Whose.
        trust_domain: TrustDomain,
        /// What is wrong.
        detail: String,
    },
}

fn reason_text(reason: &Option<RevocationReason>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// How many intermediates a chain may have; webpki looks at no more.
pub(super) const MAX_INTERMEDIATES: usize = 6;
