//! Certification requests, read for their key alone.
//!
//! The signature is verified (possession of the key), the SubjectPublicKeyInfo is taken verbatim, and whatever names
//! and extensions the request asks for are ignored: the identity comes from whoever asks the authority, the rest from
//! the profile. [RFC 2986](https://www.rfc-editor.org/rfc/rfc2986)

use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use crate::{
    der,
    public_key::{PublicKey, PublicKeyError},
    signature::{self, SignatureError},
};

/// A certification request whose signature is good and whose key is of a kind that we certify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    public_key: PublicKey,
}

impl Csr {
    /// Reads a DER request.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR {
            return Err(CsrError::TooLarge(der.len()));
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::TrailingBytes(rest.len()));
        }
        if !der::is_signed(der) {
            return Err(CsrError::Malformed);
        }
        let info = &request.certification_request_info;
        if info.version.0 != 0 {
            return Err(CsrError::Version(info.version.0));
        }
        let public_key = PublicKey::from_spki(info.subject_pki.raw)?;
        signature::verify(&public_key, &request.signature_algorithm, info.raw, &request.signature_value)?;
        Ok(Self { public_key })
    }

    /// Reads a request in PEM (`CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`) or in DER.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CsrError> {
        if bytes.len() > 2 * MAX_CSR {
            return Err(CsrError::TooLarge(bytes.len()));
        }
        if bytes.first() == Some(&SEQUENCE) {
            return Self::parse(bytes);
        }
        let (label, der) = pem_rfc7468::decode_vec(bytes).map_err(|_| CsrError::NotPem)?;
        match label {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::parse(&der),
            other => Err(CsrError::Label(other.to_owned())),
        }
    }

    /// The key that the requester holds.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// Larger than any honest request.
    #[error("the request has {0} bytes, more than 16 KiB")]
    TooLarge(usize),
    /// Neither PEM nor DER.
    #[error("neither PEM nor DER: a request begins with `-----BEGIN CERTIFICATE REQUEST-----`")]
    NotPem,
    /// Another PEM block.
    #[error("a PEM block `{0}` where a CERTIFICATE REQUEST belongs")]
    Label(String),
    /// Not a PKCS#10 request.
    #[error("not a PKCS#10 certification request")]
    Malformed,
    /// Something follows the request.
    #[error("{0} bytes follow the certification request")]
    TrailingBytes(usize),
    /// PKCS#10 knows version 1 (written 0) alone.
    #[error("PKCS#10 version {0}, where 0 is the only one")]
    Version(u32),
    /// The key is not of a kind that we certify.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
    /// Signed with SHA-1, MD5 or something unknown; or by another key, or changed since.
    #[error("the request's signature is refused: {0}")]
    Signature(#[from] SignatureError),
}

const MAX_CSR: usize = 16 * 1024;
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
