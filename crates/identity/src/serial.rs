//! Certificate serial numbers.

use std::fmt;
use std::str::FromStr;

/// A certificate's serial number: a positive integer of at most 20 octets
/// ([RFC 5280 §4.1.2.2](https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.2)), kept big-endian without leading zeros.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(Box<[u8]>);

impl Serial {
    /// Reads an unsigned big-endian number; leading zero octets do not count.
    ///
    /// # Errors
    /// [`SerialError`] for zero and for more than 20 octets.
    pub fn from_be_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        let start = bytes.iter().position(|&byte| byte != 0).ok_or(SerialError::Zero)?;
        let digits = bytes.get(start..).unwrap_or_default();
        // RFC 5280: "Conforming CAs MUST NOT use serialNumber values longer than 20 octets": the sign octet counts.
        let sign_octet = usize::from(digits.first().is_some_and(|first| first & 0x80 != 0));
        if digits.len() + sign_octet > MAX_OCTETS {
            return Err(SerialError::TooLong { octets: digits.len() + sign_octet });
        }
        Ok(Self(digits.into()))
    }

    /// Reads the content octets of a DER INTEGER.
    ///
    /// # Errors
    /// As [`Serial::from_be_bytes`], and [`SerialError::Negative`].
    pub fn from_der_integer(content: &[u8]) -> Result<Self, SerialError> {
        if content.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(SerialError::Negative);
        }
        Self::from_be_bytes(content)
    }

    /// Big-endian, no leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 2 * MAX_OCTETS];
        let text = text.get_mut(..2 * self.0.len()).ok_or(fmt::Error)?;
        hex::encode_to_slice(&self.0, text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    /// Reads hex of either case, with or without the colons that OpenSSL prints.
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let mut digits = text.replace(':', "");
        if digits.len() % 2 == 1 {
            digits.insert(0, '0');
        }
        let bytes = hex::decode(digits).map_err(|_| SerialError::NotHex)?;
        Self::from_be_bytes(&bytes)
    }
}

const MAX_OCTETS: usize = 20;

/// Why something is no serial number.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SerialError {
    /// Below zero.
    #[error("the serial number is negative: RFC 5280 wants a positive one")]
    Negative,
    /// Characters that are not hex.
    #[error("the serial number is not hex digits")]
    NotHex,
    /// More than 20 octets.
    #[error("the serial number has {octets} octets: RFC 5280 allows {MAX_OCTETS}")]
    TooLong {
        /// How many there are, the sign octet included.
        octets: usize,
    },
    /// Zero, or nothing at all.
    #[error("the serial number is zero or empty: RFC 5280 wants a positive one")]
    Zero,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_form() {
        let serial: Serial = "0A:ff".parse().unwrap();
        for same in ["aff", "0aFF", "000aff", "00:0a:ff"] {
            assert_eq!(same.parse::<Serial>().unwrap(), serial);
        }
        assert_eq!(serial.to_string(), "0aff");
        assert_eq!(serial.as_bytes(), [0x0a, 0xff]);
    }

    #[test]
    fn refuses_what_rfc_5280_refuses() {
        assert_eq!(Serial::from_der_integer(&[0x80]), Err(SerialError::Negative));
        assert_eq!(Serial::from_der_integer(&[0]), Err(SerialError::Zero));
        assert_eq!(Serial::from_der_integer(&[]), Err(SerialError::Zero));
        assert_eq!(Serial::from_be_bytes(&[0x80; 20]), Err(SerialError::TooLong { octets: 21 }));
        assert!(Serial::from_be_bytes(&[0x7f; 20]).is_ok());
        assert_eq!("xyz".parse::<Serial>(), Err(SerialError::NotHex));
    }
}
