//! The number of a revocation list.

use std::fmt;
use std::str::FromStr;

/// A CRL number, at most 20 octets, that grows with every list of an issuer ([RFC 5280 §5.2.3](https://www.rfc-editor.org/rfc/rfc5280#section-5.2.3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber([u8; 20]);

impl CrlNumber {
    /// Reads the content of a DER integer; none when it is negative or longer than 20 octets.
    #[must_use]
    pub fn from_der_integer(content: &[u8]) -> Option<Self> {
        let magnitude = match content {
            [] => return None,
            [0, rest @ ..] if rest.first().is_none_or(|byte| *byte >= 0x80) => rest,
            [first, ..] if *first >= 0x80 || (*first == 0 && content.len() > 1) => return None,
            all => all,
        };
        let mut bytes = [0; 20];
        let start = bytes.len().checked_sub(magnitude.len())?;
        bytes.get_mut(start..)?.copy_from_slice(magnitude);
        Some(Self(bytes))
    }
}

impl From<u64> for CrlNumber {
    fn from(number: u64) -> Self {
        let mut bytes = [0; 20];
        if let Some(tail) = bytes.last_chunk_mut() {
            *tail = number.to_be_bytes();
        }
        Self(bytes)
    }
}

/// Decimal, or hexadecimal after `0x` from 128 bits on.
impl fmt::Display for CrlNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = self.0.split_at(4);
        let low = low.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
        let high = high.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        if high == 0 { write!(f, "{low}") } else { write!(f, "0x{high:x}{low:032x}") }
    }
}

impl FromStr for CrlNumber {
    type Err = CrlNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = match text.strip_prefix("0x") {
            Some(hex) => {
                let (high, low) = hex.split_at_checked(hex.len().saturating_sub(32)).ok_or(CrlNumberError(()))?;
                (u32::from_str_radix(high, 16), u128::from_str_radix(low, 16))
            }
            None => (Ok(0), text.parse()),
        };
        let (Ok(high), Ok(low)) = (high, low) else { return Err(CrlNumberError(())) };
        let mut bytes = [0; 20];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&high.to_be_bytes());
        tail.copy_from_slice(&low.to_be_bytes());
        Ok(Self(bytes))
    }
}

/// The text is not a CRL number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CRL number: expected decimal, or 0x and hexadecimal from 128 bits on")]
pub struct CrlNumberError(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_value_and_round_trips() {
        let small = CrlNumber::from(255);
        let large = CrlNumber::from_der_integer(&[1, 0]).unwrap();
        let huge = CrlNumber::from_der_integer(&[0x7f; 20]).unwrap();
        assert!(small < large && large < huge);
        assert_eq!(large.to_string(), "256");
        for number in [small, large, huge] {
            assert_eq!(number.to_string().parse(), Ok(number));
        }
    }

    #[test]
    fn refuses_negative_padded_and_long() {
        for bad in [&[][..], &[0x80], &[0, 1], &[1; 21]] {
            assert_eq!(CrlNumber::from_der_integer(bad), None, "{bad:?}");
        }
        assert_eq!(CrlNumber::from_der_integer(&[0]), Some(CrlNumber::from(0)));
        assert_eq!(CrlNumber::from_der_integer(&[0, 0x80]), Some(CrlNumber::from(128)));
    }
}
