//! DER in PEM armour.

use pem_rfc7468::LineEnding;

/// `der` as one PEM block, such as `CERTIFICATE` or `X509 CRL`.
#[must_use]
pub fn to_pem(label: &'static str, der: &[u8]) -> String {
    // Only an invalid label or more than usize::MAX bytes could fail; both are excluded by the callers' constants.
    pem_rfc7468::encode_string(label, LineEnding::LF, der).unwrap_or_default()
}
