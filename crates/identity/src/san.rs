//! Subject alternative names, each a value of its own kind: never joined into text that someone splits again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One subject alternative name of a leaf.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum San {
    /// A DNS name, in lower case; its first label may be `*`.
    Dns(String),
    /// An e-mail address, as written.
    Email(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI, as written.
    Uri(String),
}

impl San {
    /// A DNS name; upper case becomes lower, because DNS does not tell them apart.
    ///
    /// # Errors
    /// [`SanError`] for anything but letters, digits, `-` and `_` in labels of 1 to 63 characters, 253 in all.
    pub fn dns(name: &str) -> Result<Self, SanError> {
        let labels = name.strip_prefix("*.").unwrap_or(name);
        if labels.is_empty() || name.len() > 253 {
            return Err(SanError::Dns);
        }
        let good = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if labels.split('.').all(good) { Ok(Self::Dns(name.to_ascii_lowercase())) } else { Err(SanError::Dns) }
    }

    /// An e-mail address, as written.
    ///
    /// # Errors
    /// [`SanError`] for anything but one `@` between printable ASCII without spaces.
    pub fn email(address: &str) -> Result<Self, SanError> {
        let parts = address.split_once('@').filter(|(local, host)| !local.is_empty() && !host.is_empty());
        match parts {
            Some((_, host)) if !host.contains('@') && is_graphic(address) => Ok(Self::Email(address.into())),
            _ => Err(SanError::Email),
        }
    }

    /// A URI, as written.
    ///
    /// # Errors
    /// [`SanError`] for anything but printable ASCII without spaces, with a scheme.
    pub fn uri(uri: &str) -> Result<Self, SanError> {
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        let good_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if good_scheme && is_graphic(uri) { Ok(Self::Uri(uri.into())) } else { Err(SanError::Uri) }
    }

    /// Names in one line, a space between them: no name has one in it.
    #[must_use]
    pub fn list<'a>(names: impl IntoIterator<Item = &'a Self>) -> String {
        names.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// An IP address from its 4 or 16 octets.
    ///
    /// # Errors
    /// [`SanError`] for another length.
    pub fn ip(octets: &[u8]) -> Result<Self, SanError> {
        if let Ok(v4) = <[u8; 4]>::try_from(octets) {
            return Ok(Self::Ip(Ipv4Addr::from(v4).into()));
        }
        <[u8; 16]>::try_from(octets).map(|v6| Self::Ip(Ipv6Addr::from(v6).into())).map_err(|_| SanError::Ip)
    }
}

impl fmt::Display for San {
    /// Writes kind and value: `dns:…`, `email:…`, `ip:…`, `uri:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Email(address) => write!(f, "email:{address}"),
            Self::Ip(address) => write!(f, "ip:{address}"),
            Self::Uri(uri) => write!(f, "uri:{uri}"),
        }
    }
}

/// Why a subject alternative name is refused: NUL, newlines, spaces and other alphabets land here.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SanError {
    /// Not a DNS name.
    #[error("a DNS name has labels of 1 to 63 letters, digits, '-' and '_', and may begin with '*.'")]
    Dns,
    /// Not an e-mail address.
    #[error("an e-mail address is printable ASCII with one '@' in it")]
    Email,
    /// Not 4 or 16 octets.
    #[error("an IP address has 4 or 16 octets")]
    Ip,
    /// Not a URI.
    #[error("a URI is printable ASCII without spaces that begins with a scheme")]
    Uri,
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_only_look_alike() {
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "*",
            "*.",
            "a.*",
            "**.b",
            "a*.b",
            "a b",
            "a\0.b",
            "a\nb",
            "b\u{fc}cher",
            "a/b",
        ] {
            assert_eq!(San::dns(name), Err(SanError::Dns), "{name:?}");
        }
        assert_eq!(San::dns(&"a".repeat(64)), Err(SanError::Dns));
        assert_eq!(San::dns(&["abc"; 64].join(".")), Err(SanError::Dns));
        for address in ["", "@", "a@", "@b", "a@b@c", "a b@c", "a\0@b", "\u{e4}@b"] {
            assert_eq!(San::email(address), Err(SanError::Email), "{address:?}");
        }
        for uri in ["", "a", ":a", "1a:b", "a b:c", "spiffe://a/\0", "spiffe://a/\n", "spiffe://\u{e4}/b"] {
            assert_eq!(San::uri(uri), Err(SanError::Uri), "{uri:?}");
        }
        for octets in [&[][..], &[1, 2, 3], &[0; 5], &[0; 8], &[0; 32]] {
            assert_eq!(San::ip(octets), Err(SanError::Ip));
        }
    }

    #[test]
    fn keeps_kinds_apart() {
        assert_eq!(San::dns("ETL.corp").unwrap().to_string(), "dns:etl.corp");
        assert_eq!(San::dns("*.corp").unwrap().to_string(), "dns:*.corp");
        assert_eq!(San::email("A@b").unwrap().to_string(), "email:A@b");
        assert_eq!(San::uri("urn:x").unwrap().to_string(), "uri:urn:x");
        assert_eq!(San::ip(&[127, 0, 0, 1]).unwrap().to_string(), "ip:127.0.0.1");
        let mapped = San::ip(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]).unwrap();
        assert_ne!(mapped, San::ip(&[127, 0, 0, 1]).unwrap(), "an IPv4-mapped address is another address");
    }
}
