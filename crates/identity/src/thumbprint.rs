//! The SHA-256 thumbprint of a certificate.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// SHA-256 over the DER of a certificate: `x5t#S256` of [RFC 8705 §3.1](https://www.rfc-editor.org/rfc/rfc8705#section-3.1).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint of these DER bytes.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hex.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Base64url without padding, as `cnf.x5t#S256` wants it.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads 64 hex digits, of either case, with or without the colons that OpenSSL prints.
    ///
    /// # Errors
    /// [`ThumbprintError`] if it is not 32 bytes of hex.
    pub fn from_hex(text: &str) -> Result<Self, ThumbprintError> {
        let digits = text.replace(':', "");
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ThumbprintError(()))?;
        Ok(Self(bytes))
    }

    /// Reads what [`Thumbprint::to_base64url`] writes, and no other spelling: 43 characters without padding, of which the last
    /// leaves no bits over.
    ///
    /// # Errors
    /// [`ThumbprintError`] if it is not that.
    pub fn from_base64url(text: &str) -> Result<Self, ThumbprintError> {
        let decoded = URL_SAFE_NO_PAD.decode(text).map_err(|_| ThumbprintError(()))?;
        decoded.try_into().map(Self).map_err(|_| ThumbprintError(()))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// Text that is no SHA-256 thumbprint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a SHA-256 thumbprint: 64 hex digits, or 43 characters of base64url, are wanted")]
pub struct ThumbprintError(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sha_256_in_both_spellings() {
        let print = Thumbprint::of(b"abc");
        assert_eq!(print.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(print.to_base64url(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert_eq!(Thumbprint::from_hex(&print.to_hex().to_uppercase()), Ok(print));
        assert!(Thumbprint::from_hex("ba78").is_err());
        let text = print.to_base64url();
        assert_eq!(Thumbprint::from_base64url(&text), Ok(print));
        for wrong in [format!("{text}="), text.replace('-', "+"), format!("{}1", &text[..42]), "ungW".to_owned()] {
            assert!(Thumbprint::from_base64url(&wrong).is_err(), "{wrong}");
        }
    }
}
