use std::net::IpAddr;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};

/// What a leaf is to say, right or wrong.
#[derive(Clone, Debug)]
pub struct Spec {
    uris: Vec<String>,
    dns: Vec<String>,
    emails: Vec<String>,
    ips: Vec<IpAddr>,
    pub(crate) ttl: Duration,
    pub(crate) age: Duration,
    serial: Option<Vec<u8>>,
    wrong: Vec<Wrong>,
}

/// A way in which a leaf may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// `CA:TRUE`.
    Authority,
    /// A common name and no SAN.
    CommonNameOnly,
    /// The SAN extension twice.
    DuplicateSan,
    /// keyUsage with keyCertSign.
    KeyCertSign,
    /// No BasicConstraints.
    NoBasicConstraints,
    /// Extended key usage without clientAuth.
    NoClientAuth,
    /// No keyUsage.
    NoKeyUsage,
    /// Extended key usage without serverAuth.
    NoServerAuth,
}

impl Spec {
    /// A leaf with this one URI, valid for an hour from now on.
    #[must_use]
    pub fn uri(uri: &str) -> Self {
        Self { uris: vec![uri.to_owned()], ..Self::nameless() }
    }

    /// A leaf without a URI.
    #[must_use]
    pub fn nameless() -> Self {
        Self {
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            ttl: Duration::from_secs(3600),
            age: Duration::from_secs(60),
            serial: None,
            wrong: Vec::new(),
        }
    }

    /// One more URI SAN.
    #[must_use]
    pub fn and_uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// One more DNS SAN.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.dns.push(name.to_owned());
        self
    }

    /// One more e-mail SAN.
    #[must_use]
    pub fn email(mut self, address: &str) -> Self {
        self.emails.push(address.to_owned());
        self
    }

    /// One more IP SAN.
    #[must_use]
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.ips.push(address);
        self
    }

    /// How long it is valid from now on.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Ended an hour ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.age = Duration::from_secs(7200) + self.ttl;
        self
    }

    /// This serial; otherwise a new one.
    #[must_use]
    pub fn serial(mut self, serial: &[u8]) -> Self {
        self.serial = Some(serial.to_vec());
        self
    }

    /// Wrong in this way.
    #[must_use]
    pub fn wrong(mut self, wrong: Wrong) -> Self {
        self.wrong.push(wrong);
        self
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong.contains(&wrong)
    }

    pub(crate) fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let name = self.uris.first().map_or("nobody", |uri| uri.as_str());
        params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
        params.is_ca = match () {
            () if self.is(Wrong::Authority) => IsCa::Ca(BasicConstraints::Unconstrained),
            () if self.is(Wrong::NoBasicConstraints) => IsCa::NoCa,
            () => IsCa::ExplicitNoCa,
        };
        params.key_usages = match () {
            () if self.is(Wrong::NoKeyUsage) => vec![],
            () if self.is(Wrong::KeyCertSign) => {
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign]
            }
            () => vec![KeyUsagePurpose::DigitalSignature],
        };
        if !self.is(Wrong::NoClientAuth) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if !self.is(Wrong::NoServerAuth) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if params.extended_key_usages.is_empty() {
            // Without the extension it would be good for everything.
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning);
        }
        params.serial_number = self.serial.as_deref().map(SerialNumber::from_slice);
        params.use_authority_key_identifier_extension = true;
        if !self.is(Wrong::CommonNameOnly) {
            params.subject_alt_names = self.sans();
        }
        if self.is(Wrong::DuplicateSan) {
            params.custom_extensions.push(second_san());
        }
        params
    }

    fn sans(&self) -> Vec<SanType> {
        let text = |name: &String| Ia5String::try_from(name.as_str()).expect("a name in ASCII");
        let uris = self.uris.iter().map(|uri| SanType::URI(text(uri)));
        let dns = self.dns.iter().map(|name| SanType::DnsName(text(name)));
        let emails = self.emails.iter().map(|address| SanType::Rfc822Name(text(address)));
        let ips = self.ips.iter().map(|address| SanType::IpAddress(*address));
        uris.chain(dns).chain(emails).chain(ips).collect()
    }
}

/// `subjectAltName` once more, with the one DNS name `other`.
fn second_san() -> CustomExtension {
    let content = [&[0x30, 0x07, 0x82, 0x05][..], b"other"].concat();
    CustomExtension::from_oid_content(&[2, 5, 29, 17], content)
}
