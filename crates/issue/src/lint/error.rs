//! What a certificate or CRL may do wrong.

use countermark_identity::{LeafError, UnixTime};

/// Which rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LintError {
    /// It cannot be read back, or something follows it.
    #[error("it cannot be read back")]
    Malformed,
    /// Not X.509 version 3 (a CRL: version 2).
    #[error("it is of the wrong version")]
    Version,
    /// The signature algorithm inside differs from the one outside.
    #[error("the signature algorithm inside differs from the one outside")]
    AlgorithmsDiffer,
    /// Not positive, or fewer than 64 bits, or more than 20 octets.
    #[error("the serial number has {bits} bits; it needs at least 64, must be positive and of at most 20 octets")]
    Serial {
        /// Significant bits; 0 for one that is not positive.
        bits: usize,
    },
    /// The issuer's name is not its issuer's subject.
    #[error("the issuer's name is not the subject of the CA certificate")]
    IssuerName,
    /// authorityKeyIdentifier is absent or names another key.
    #[error("authorityKeyIdentifier does not name the issuing key")]
    AuthorityKeyId,
    /// subjectKeyIdentifier is absent.
    #[error("subjectKeyIdentifier is absent")]
    SubjectKeyId,
    /// It does not end when it should, or ends before it begins.
    #[error("it lives from {not_before} to {not_after}, which is not what was decided")]
    Validity {
        /// Its beginning.
        not_before: UnixTime,
        /// Its end.
        not_after: UnixTime,
    },
    /// Its beginning lies too far in the past, or in the future.
    #[error("it begins on {not_before} and was issued on {issued_at}; at most 60 s and half its life lie between")]
    Backdate {
        /// Its beginning.
        not_before: UnixTime,
        /// When it was issued.
        issued_at: UnixTime,
    },
    /// It begins before or ends after its issuer.
    #[error("it begins before or ends after its issuer, which ends on {issuer_ends}")]
    BeyondIssuer {
        /// The issuer's end.
        issuer_ends: UnixTime,
    },
    /// A leaf of more than a sixth of its issuer's whole life.
    #[error("it lives {life} s, more than a sixth of its issuer's {issuer_life} s")]
    Share {
        /// The leaf's life in seconds, from issuance.
        life: u64,
        /// The issuer's whole life in seconds.
        issuer_life: u64,
    },
    /// Not an X509-SVID.
    #[error("it is not a valid X509-SVID: {0}")]
    Svid(LeafError),
    /// A SPIFFE ID, or none, that is not the one asked for.
    #[error("it does not carry the identity that was asked for")]
    Identity,
    /// basicConstraints is absent, not critical or says the wrong thing.
    #[error("basicConstraints is absent, not critical, or wrong for its role or path length")]
    BasicConstraints,
    /// keyUsage is absent, not critical or says the wrong thing.
    #[error("keyUsage is absent, not critical, or wrong for its role")]
    KeyUsage,
    /// extendedKeyUsage is not exactly serverAuth and clientAuth (a CA: present).
    #[error("extendedKeyUsage is not serverAuth and clientAuth alone")]
    ExtendedKeyUsage,
    /// An extension that the profile does not know, or one twice.
    #[error("extension {0} does not belong there, or stands there twice")]
    Extension(String),
    /// A subject with an attribute twice, too long or of another type.
    #[error("the subject is not one attribute each of CN, OU and O with at most 64 characters")]
    Subject,
    /// Another key than the one that was presented.
    #[error("the certified key is not the presented one, byte for byte")]
    PublicKey,
    /// The issuer's key has not signed this.
    #[error("the signature does not verify under the issuer's key")]
    Signature,
    /// A CRL's number, times or entries are not what was decided.
    #[error("the CRL's {0} is not what was decided")]
    Crl(&'static str),
}
