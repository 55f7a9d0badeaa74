//! What a certificate, a CRL or a key says, whoever made it: read as leniently as possible, and then
//! held to the rules, so that a broken one is shown together with what is wrong with it.

use countermark_identity::{Leaf, Thumbprint, UnixTime, Usage};
use countermark_issue::PublicKey;
use serde::Serialize;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, x509::X509Name};

/// One certificate.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    pub(crate) ca: bool,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    /// SHA-256 of the DER
    pub(crate) thumbprint: String,
    /// The same as OAuth writes it
    #[serde(rename = "x5t#S256")]
    pub(crate) x5t_s256: String,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
    /// Seconds from now; 0 when it has expired
    pub(crate) remaining: u64,
    pub(crate) key: String,
    pub(crate) names: Vec<String>,
    pub(crate) usage: Vec<&'static str>,
    /// What will need a hand
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Rules that it breaks
    pub(crate) problems: Vec<String>,
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    pub(crate) fn read(der: &[u8], now: UnixTime) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
        let time = |seconds: i64| UnixTime::from_secs(u64::try_from(seconds).unwrap_or(0));
        let not_before = time(certificate.validity().not_before.timestamp());
        let not_after = time(certificate.validity().not_after.timestamp());
        let thumbprint = Thumbprint::of(der);
        let mut facts = Self {
            identity: None,
            ca: certificate.is_ca(),
            subject: shown(certificate.subject()),
            issuer: shown(certificate.issuer()),
            serial: hex(certificate.raw_serial()),
            thumbprint: thumbprint.to_hex(),
            x5t_s256: thumbprint.to_base64url(),
            not_before: not_before.to_string(),
            not_after: not_after.to_string(),
            remaining: not_after.duration_since(now).as_secs(),
            key: key(&certificate),
            names: names(&certificate),
            usage: Vec::new(),
            warnings: Vec::new(),
            problems: Vec::new(),
        };
        let life = not_after.duration_since(not_before).as_secs();
        if facts.ca && now <= not_after && facts.remaining.saturating_mul(3) < life {
            facts.warnings.push("less than a third of its life is left: plan its successor".to_owned());
        }
        if now > not_after {
            facts.problems.push(format!("expired on {not_after}"));
        }
        if now < not_before {
            facts.problems.push(format!("not valid before {not_before}"));
        }
        if !facts.ca {
            facts.read_leaf(der);
        }
        Ok(facts)
    }

    fn read_leaf(&mut self, der: &[u8]) {
        let leaf = match Leaf::parse(der) {
            Ok(leaf) => leaf,
            Err(error) => return self.problems.push(error.to_string()),
        };
        self.identity = leaf.spiffe_id().map(ToString::to_string);
        for (usage, name) in [(Usage::Client, "client"), (Usage::Server, "server")] {
            match leaf.permits(usage) {
                Ok(()) => self.usage.push(name),
                Err(error) => self.problems.push(error.to_string()),
            }
        }
    }
}

/// A stranger's name for a terminal: nothing in it moves the cursor.
fn shown(name: &X509Name<'_>) -> String {
    name.to_string().escape_debug().to_string()
}

fn key(certificate: &X509Certificate<'_>) -> String {
    PublicKey::from_spki(certificate.public_key().raw).map_or_else(
        |_| format!("algorithm {}", certificate.public_key().algorithm.algorithm),
        |key| key.key_type().to_string(),
    )
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().map(name).collect()
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(dns) => format!("dns:{}", dns.escape_debug()),
        GeneralName::RFC822Name(email) => format!("email:{}", email.escape_debug()),
        GeneralName::URI(uri) => format!("uri:{}", uri.escape_debug()),
        GeneralName::IPAddress(octets) => ip(octets),
        other => format!("{other:?}").escape_debug().to_string(),
    }
}

fn ip(octets: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return format!("ip:{}", std::net::Ipv4Addr::from(v4));
    }
    <[u8; 16]>::try_from(octets)
        .map_or_else(|_| format!("ip:{}", hex(octets)), |v6| format!("ip:{}", std::net::Ipv6Addr::from(v6)))
}

/// Lower-case hex without the sign octet.
fn hex(bytes: &[u8]) -> String {
    let bytes = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds as people say them.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0 => "none".to_owned(),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_have_no_sign_octet() {
        assert_eq!(hex(&[0, 0x80, 1]), "8001");
        assert_eq!(hex(&[0]), "00");
    }

    #[test]
    fn a_strangers_name_does_not_write_to_the_terminal() {
        // RDNSequence of one CN that would clear the screen and turn the text round.
        let value = "a\u{1b}[2J\u{202e}b".as_bytes();
        let sequence = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let attribute = [&[0x06, 0x03, 0x55, 0x04, 0x03][..], &sequence(0x0c, value)].concat();
        let der = sequence(0x30, &sequence(0x31, &sequence(0x30, &attribute)));
        let (_, name) = X509Name::from_der(&der).unwrap();
        assert_eq!(shown(&name), r"CN=a\u{1b}[2J\u{202e}b");
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        assert!(CertificateFacts::read(b"\x30\x03\x02\x01\x01", UnixTime::from_secs(0)).is_err());
    }
}
