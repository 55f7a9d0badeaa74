//! A key and the request for a certificate over it.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use countermark_identity::San;
use der::asn1::{BitString, Ia5String, Null, ObjectIdentifier, OctetString, SetOfVec, Utf8StringRef};
use der::{Any, Decode as _, Encode as _};
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_cert::attr::{AttributeTypeAndValue, Attributes};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The kinds of key that are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "mirrors the words of the configuration")]
pub enum KeyKind {
    /// Ed25519
    Ed25519,
    /// ECDSA on P-256
    #[default]
    P256,
    /// ECDSA on P-384
    P384,
}

impl KeyKind {
    /// Reads the word for it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ed25519" => Some(Self::Ed25519),
            "p256" => Some(Self::P256),
            "p384" => Some(Self::P384),
            _ => None,
        }
    }

    /// Makes a key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(self) -> Result<PrivateKeyDer<'static>, RequestError> {
        match self {
            Self::Ed25519 => {
                let document =
                    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| RequestError::Generate)?;
                Ok(PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into())
            }
            Self::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        }
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<PrivateKeyDer<'static>, RequestError> {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).map_err(|_| RequestError::Generate)?;
    Ok(PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into())
}

/// The names that a request asks for. An authority of ours reads none of them; other EST servers go by them.
#[derive(Clone, Debug)]
pub struct Asked {
    subject: Name,
    names: Names,
}

/// The subjectAltName of a request.
#[derive(Clone, Debug)]
enum Names {
    /// These.
    Listed(Vec<San>),
    /// What the certificate before has, to the byte.
    Same(Box<Extension>),
}

impl Asked {
    /// Asks for a first certificate, with a common name for people.
    ///
    /// # Errors
    /// The name cannot be written as DER.
    pub fn first(name: &str, sans: Vec<San>) -> Result<Self, RequestError> {
        let name = name.get(name.len().saturating_sub(LONGEST_NAME)..).unwrap_or("x");
        let name = AttributeTypeAndValue { oid: COMMON_NAME, value: Any::encode_from(&Utf8StringRef::new(name)?)? };
        let subject = Name::from(vec![RelativeDistinguishedName::from(SetOfVec::try_from(vec![name])?)]);
        Ok(Self { subject, names: Names::Listed(sans) })
    }

    /// Asks for the certificate after this one.
    ///
    /// > The request Subject field and SubjectAltName extension MUST be identical to the corresponding fields in the certificate
    /// > being renewed/rekeyed.
    ///
    /// [RFC 7030 §4.2.2](https://www.rfc-editor.org/rfc/rfc7030#section-4.2.2). There are servers that compare bytes.
    ///
    /// # Errors
    /// The certificate is none, or has no names.
    pub fn again(certificate: &[u8]) -> Result<Self, RequestError> {
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_| RequestError::Certificate)?;
        let names = read.extensions().iter().find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
        let names = names.ok_or(RequestError::Certificate)?;
        let names = Extension {
            extn_id: SUBJECT_ALT_NAME,
            critical: names.critical,
            extn_value: OctetString::new(names.value)?,
        };
        Ok(Self { subject: Name::from_der(read.subject().as_raw())?, names: Names::Same(Box::new(names)) })
    }

    fn attributes(&self) -> Result<Attributes, RequestError> {
        let names = match &self.names {
            Names::Listed(sans) if sans.is_empty() => return Ok(Attributes::new()),
            Names::Listed(sans) => Extension {
                extn_id: SUBJECT_ALT_NAME,
                critical: self.subject.is_empty(),
                extn_value: OctetString::new(
                    SubjectAltName(sans.iter().map(general_name).collect::<Result<Vec<_>, _>>()?).to_der()?,
                )?,
            },
            Names::Same(names) => Extension::clone(names),
        };
        Ok(SetOfVec::try_from(vec![ExtensionReq(vec![names]).try_into()?])?)
    }
}

fn general_name(san: &San) -> Result<GeneralName, RequestError> {
    Ok(match san {
        San::Dns(name) => GeneralName::DnsName(Ia5String::new(name)?),
        San::Email(address) => GeneralName::Rfc822Name(Ia5String::new(address)?),
        San::Ip(address) => GeneralName::from(*address),
        San::Uri(uri) => GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?),
        // A kind that is not known here is not left out in silence.
        _ => return Err(RequestError::Name),
    })
}

/// A PKCS#10 request in DER, and the public key that it is for ([RFC 2986](https://www.rfc-editor.org/rfc/rfc2986)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateRequest {
    /// The request.
    pub der: Vec<u8>,
    /// The SubjectPublicKeyInfo in it.
    pub spki: Vec<u8>,
}

impl CertificateRequest {
    /// Asks for a certificate over this key: of whom it will be, the issuer decides.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn new(key: &PrivateKeyDer<'_>, asked: &Asked, provider: &CryptoProvider) -> Result<Self, RequestError> {
        let key = signing_key(key, provider)?;
        let spki = key.public_key().ok_or(RequestError::Key)?.to_vec();
        let info = CertReqInfo {
            version: Version::V1,
            subject: asked.subject.clone(),
            public_key: SubjectPublicKeyInfoOwned::from_der(&spki)?,
            attributes: asked.attributes()?,
        };
        let (scheme, signature) = sign(key.as_ref(), &info.to_der()?)?;
        let request = CertReq { info, algorithm: algorithm(scheme)?, signature: BitString::from_bytes(&signature)? };
        Ok(Self { der: request.to_der()?, spki })
    }

    /// One that was made before.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let request = CertReq::from_der(der)?;
        Ok(Self { der: der.to_vec(), spki: request.info.public_key.to_der()? })
    }
}

/// The key as one that signs.
pub(crate) fn signing_key(
    key: &PrivateKeyDer<'_>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, RequestError> {
    provider.key_provider.load_private_key(key.clone_key()).map_err(|_| RequestError::Key)
}

/// Signs with the one scheme that suits the key.
pub(crate) fn sign(key: &dyn SigningKey, message: &[u8]) -> Result<(SignatureScheme, Vec<u8>), RequestError> {
    let signer = key.choose_scheme(SCHEMES).ok_or(RequestError::Key)?;
    let signature = signer.sign(message).map_err(|_| RequestError::Key)?;
    Ok((signer.scheme(), signature))
}

fn algorithm(scheme: SignatureScheme) -> Result<AlgorithmIdentifierOwned, RequestError> {
    let (oid, parameters) = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => (ECDSA_WITH_SHA256, None),
        SignatureScheme::ECDSA_NISTP384_SHA384 => (ECDSA_WITH_SHA384, None),
        SignatureScheme::ED25519 => (ID_ED25519, None),
        SignatureScheme::RSA_PKCS1_SHA256 => (SHA256_WITH_RSA, Some(Any::encode_from(&Null)?)),
        _ => return Err(RequestError::Key),
    };
    Ok(AlgorithmIdentifierOwned { oid, parameters })
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// What is to be renewed cannot be read.
    #[error("the certificate that is there cannot be read, or has no names")]
    Certificate,
    /// It cannot be written as DER.
    #[error("the request cannot be encoded: {0}")]
    Encode(#[from] der::Error),
    /// No key came about.
    #[error("no key could be made: the system gives no randomness")]
    Generate,
    /// The key is of no kind that can sign a request.
    #[error("the key cannot sign a request; P-256, P-384, Ed25519 and RSA keys can")]
    Key,
    /// A name of a kind that no request asks for.
    #[error("the certificate that is there has a name of a kind that cannot be asked for")]
    Name,
}

/// Characters of a common name ([RFC 5280, appendix A.1](https://www.rfc-editor.org/rfc/rfc5280#appendix-A.1), `ub-common-name`).
const LONGEST_NAME: usize = 64;
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const SCHEMES: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PKCS1_SHA256,
];
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

#[cfg(test)]
mod tests {
    use countermark_testkit::{Spec, TestCa};
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    #[test]
    fn requests_carry_the_public_key_and_the_name() {
        let provider = countermark_mtls::provider();
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let key = kind.generate().unwrap();
            let asked = Asked::first("billing-bot", Vec::new()).unwrap();
            let request = CertificateRequest::new(&key, &asked, &provider).unwrap();
            let (rest, read) = X509CertificationRequest::from_der(&request.der).unwrap();
            assert!(rest.is_empty());
            let info = &read.certification_request_info;
            assert_eq!(info.subject.to_string(), "CN=billing-bot");
            assert_eq!(info.subject_pki.raw, request.spki);
            assert!(info.attributes().is_empty());
        }
    }

    #[test]
    fn the_next_certificate_is_asked_for_by_subject_and_names_of_this_one() {
        let spec = Spec::nameless().dns("etl.corp.internal").dns("etl").email("etl@corp.internal");
        let spec = spec.ip("10.0.0.1".parse().unwrap()).ip("fd00::1".parse().unwrap()).and_uri("urn:etl");
        let held = TestCa::new("agents.internal").mint(&spec).credential();
        let asked = Asked::again(&held.chain()[0]).unwrap();
        let request = CertificateRequest::new(held.key(), &asked, &countermark_mtls::provider()).unwrap();
        let (_, read) = X509CertificationRequest::from_der(&request.der).unwrap();
        assert_eq!(read.certification_request_info.subject.as_raw(), held.leaf().subject_der());
        let asked: Vec<_> = read.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(names)] = asked.as_slice() else { panic!("{asked:?}") };
        let sans = names.general_names.iter().map(|name| match name {
            GeneralName::DNSName(name) => San::dns(name),
            GeneralName::RFC822Name(address) => San::email(address),
            GeneralName::IPAddress(octets) => San::ip(octets),
            GeneralName::URI(uri) => San::uri(uri),
            other => panic!("{other:?}"),
        });
        assert_eq!(sans.collect::<Result<Vec<_>, _>>().unwrap(), held.leaf().sans());
    }

    #[test]
    fn names_are_asked_for_as_they_stand_in_the_certificate_before() {
        let spec = Spec::nameless().dns("ETL.Corp.Internal").email("ETL@corp.internal").and_uri("urn:ETL");
        let held = TestCa::new("agents.internal").mint(&spec).credential();
        let (_, before) = X509Certificate::from_der(&held.chain()[0]).unwrap();
        let before = before.extensions().iter().find(|e| e.oid == OID_X509_EXT_SUBJECT_ALT_NAME).unwrap().value;
        assert!(before.windows(17).any(|name| name == b"ETL.Corp.Internal"), "as the server wrote it");
        let asked = Asked::again(&held.chain()[0]).unwrap();
        let request = CertificateRequest::new(held.key(), &asked, &countermark_mtls::provider()).unwrap();
        assert!(request.der.windows(before.len()).any(|value| value == before), "{:02x?}", request.der);
        assert!(matches!(Asked::again(b"no certificate"), Err(RequestError::Certificate)));
    }

    #[test]
    fn a_name_is_one_common_name_whatever_is_in_it() {
        let key = KeyKind::P256.generate().unwrap();
        let long = format!("{}x,O=root+CN=admin", "n".repeat(60));
        let asked = Asked::first(&long, Vec::new()).unwrap();
        let request = CertificateRequest::new(&key, &asked, &countermark_mtls::provider()).unwrap();
        let (_, read) = X509CertificationRequest::from_der(&request.der).unwrap();
        let subject = &read.certification_request_info.subject;
        assert_eq!(subject.iter_attributes().count(), 1);
        let name = subject.iter_common_name().next().unwrap().as_str().unwrap();
        assert!(name.len() == 64 && long.ends_with(name), "{name}");
    }

    #[test]
    fn two_keys_are_two() {
        let key = |_| KeyKind::P256.generate().unwrap().secret_der().to_vec();
        let [one, other] = [0, 1].map(key);
        assert_ne!(one, other);
    }

    #[test]
    fn a_broken_key_is_refused() {
        let key = PrivateKeyDer::Pkcs8(vec![0x30, 0x00].into());
        let asked = Asked::first("x", Vec::new()).unwrap();
        let refused = CertificateRequest::new(&key, &asked, &countermark_mtls::provider()).unwrap_err();
        assert!(matches!(refused, RequestError::Key));
    }
}
