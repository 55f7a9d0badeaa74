//! `certs/vectors/`: public certificates, each with why it is there and what a reader must make of it.
//!
//! They are read by [`countermark_identity::Leaf`] here and may be read by any other implementation. Where
//! `vectors.toml` is missing, the tests write all of them anew (keys are thrown away, so there is no other way) and must be run again.

use std::{fs, path::PathBuf, time::Duration};

use countermark_identity::{Leaf, Usage};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};

use crate::{
    BACKDATE, KeyPair, KeyType, Signer,
    testing::{NOW, chain},
    time::to_date,
    to_pem,
};

/// `vectors.toml`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    trust_domain: String,
    made: String,
    vector: Vec<Vector>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    file: String,
    why: String,
    expected: String,
}

type Change = fn(&mut CertificateParams);

/// File, why, what [`judge`] says, and how it differs from a good leaf.
const VECTORS: [(&str, &str, &str, Change); 20] = [
    ("agent", "a good agent", "spiffe://agents.internal/agent/billing-bot", |_| {}),
    (
        "server",
        "a good server, with a DNS name and an address beside its identity",
        "spiffe://agents.internal/server/ledger",
        |params| {
            params.subject_alt_names = vec![
                uri("spiffe://agents.internal/server/ledger"),
                SanType::DnsName(ia5("ledger.internal")),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ];
        },
    ),
    ("sub-agent", "a good sub-agent", "spiffe://agents.internal/agent/billing-bot/sub/1", |params| {
        params.subject_alt_names = vec![uri("spiffe://agents.internal/agent/billing-bot/sub/1")];
    }),
    ("dns-only", "no SPIFFE ID: an identity only where a policy maps its name", "no SPIFFE ID", |params| {
        params.subject_alt_names = vec![SanType::DnsName(ia5("etl.corp.internal"))];
    }),
    ("two-uris", "two identities: first or any must not win", "TwoUris", |params| {
        params.subject_alt_names.push(uri("spiffe://agents.internal/agent/intern-bot"));
    }),
    ("root-path", "the identity of a trust domain is a CA's, never a leaf's", "RootPath", |params| {
        params.subject_alt_names = vec![uri("spiffe://agents.internal")];
    }),
    ("cn-only", "a name in the subject is no identity", "NoSan", |params| params.subject_alt_names.clear()),
    ("percent", "an encoded letter is another name, not the same one", "SpiffeId", |params| {
        params.subject_alt_names = vec![uri("spiffe://agents.internal/agent/billing%2dbot")];
    }),
    ("dot-segments", "dot segments are refused, never resolved", "SpiffeId", |params| {
        params.subject_alt_names = vec![uri("spiffe://agents.internal/agent/../admin/root")];
    }),
    ("upper-case", "a trust domain is lower-case", "SpiffeId", |params| {
        params.subject_alt_names = vec![uri("spiffe://Agents.internal/agent/billing-bot")];
    }),
    ("trailing-slash", "an empty last segment is refused", "SpiffeId", |params| {
        params.subject_alt_names = vec![uri("spiffe://agents.internal/agent/billing-bot/")];
    }),
    ("port", "a trust domain has no port", "SpiffeId", |params| {
        params.subject_alt_names = vec![uri("spiffe://agents.internal:443/agent/billing-bot")];
    }),
    ("ca", "a CA may not speak as an agent", "Authority", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }),
    ("no-basic-constraints", "an X509-SVID says CA:FALSE", "NoBasicConstraints", |params| params.is_ca = IsCa::NoCa),
    ("key-cert-sign", "a leaf that may sign certificates", "KeyCertSign", |params| {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }),
    ("crl-sign", "a leaf that may sign CRLs", "CrlSign", |params| params.key_usages.push(KeyUsagePurpose::CrlSign)),
    ("no-digital-signature", "a key that may not sign handshakes", "NoDigitalSignature", |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    }),
    ("server-auth-only", "no clientAuth: not a caller", "ExtendedKeyUsage", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }),
    ("san-twice", "two subjectAltName extensions: no reader may pick one", "DuplicateSan", |params| {
        params.custom_extensions.push(second_san());
    }),
    ("unknown-critical", "a critical extension that nobody understands", "CriticalExtension", |params| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions.push(unknown);
    }),
];

#[test]
fn every_vector_is_read_as_it_says() {
    let vectors: Vectors = toml::from_str(&fs::read_to_string(directory().join("vectors.toml")).unwrap()).unwrap();
    assert_eq!(vectors.vector.len(), VECTORS.len());
    for (vector, (name, why, expected, _)) in vectors.vector.iter().zip(VECTORS) {
        assert_eq!((vector.file.as_str(), vector.why.as_str()), (format!("{name}.pem").as_str(), why));
        assert_eq!(vector.expected, expected, "{name}");
        let pem = fs::read(directory().join(&vector.file)).unwrap();
        let (label, der) = pem_rfc7468::decode_vec(&pem).unwrap();
        assert_eq!((label, judge(&der).as_str()), ("CERTIFICATE", expected), "{name}: {why}");
    }
}

#[test]
fn vectors_made_anew_read_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let known = directory();
    let missing = !known.join("vectors.toml").exists();
    let target = if missing { known.as_path() } else { temp.path() };
    let (root, signer) = chain();
    fs::write(target.join("root.crt"), to_pem("CERTIFICATE", root.certificate())).unwrap();
    fs::write(target.join("intermediate.crt"), to_pem("CERTIFICATE", signer.certificate())).unwrap();
    let mut vector = Vec::new();
    for (name, why, expected, change) in VECTORS {
        let der = forge(&signer, change);
        assert_eq!(judge(&der), expected, "{name}: {why}");
        fs::write(target.join(format!("{name}.pem")), to_pem("CERTIFICATE", &der)).unwrap();
        vector.push(Vector { file: format!("{name}.pem"), why: why.into(), expected: expected.into() });
    }
    let vectors = Vectors { trust_domain: "agents.internal".into(), made: NOW.to_string(), vector };
    fs::write(target.join("vectors.toml"), toml::to_string(&vectors).unwrap()).unwrap();
    assert!(!missing, "certs/vectors was written anew: look at it and run the tests again");
}

/// The caller's SPIFFE ID, `no SPIFFE ID`, or the name of the reason why not.
fn judge(der: &[u8]) -> String {
    let read = Leaf::parse(der).and_then(|leaf| leaf.permits(Usage::Client).map(|()| leaf));
    match read {
        Ok(leaf) => leaf.spiffe_id().map_or_else(|| "no SPIFFE ID".to_owned(), ToString::to_string),
        Err(error) => {
            let reason = format!("{error:?}");
            reason.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
        }
    }
}

fn forge(signer: &Signer, change: Change) -> Vec<u8> {
    let key = KeyPair::generate(KeyType::P256).unwrap();
    let mut params = CertificateParams::default();
    let mut serial = [0; 16];
    crate::key::random(&mut serial).unwrap();
    serial[0] = 0x41;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "billing-bot");
    params.subject_alt_names = vec![uri("spiffe://agents.internal/agent/billing-bot")];
    params.not_before = to_date(NOW.saturating_sub(BACKDATE));
    params.not_after = to_date(NOW.saturating_add(Duration::from_secs(3600)));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    params.signed_by(key.public_key(), signer.issuer()).unwrap().der().to_vec()
}

/// A subjectAltName with another agent's URI.
fn second_san() -> CustomExtension {
    let other = b"spiffe://agents.internal/agent/intern-bot";
    let length = u8::try_from(other.len()).unwrap();
    let mut content = vec![0x30, length + 2, 0x86, length];
    content.extend_from_slice(other);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], content)
}

fn uri(text: &str) -> SanType {
    SanType::URI(ia5(text))
}

fn ia5(text: &str) -> rcgen::string::Ia5String {
    text.try_into().unwrap()
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../certs/vectors")
}
