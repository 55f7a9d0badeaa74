//! Certificates made by hand, one departure each. Signatures are not looked at here, so that none is right.

use std::sync::OnceLock;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};

use super::*;
use crate::{SanError, SerialError, SpiffeIdError};

const SAN: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
const ID: &str = "spiffe://own/agent/billing-bot";

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [header, content.to_vec()].concat()
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { vec![0x01, 0x01, 0xff] } else { vec![] };
    tlv(0x30, &[tlv(0x06, oid), critical, tlv(0x04, value)].concat())
}

fn uri(uri: &str) -> Vec<u8> {
    tlv(0x86, uri.as_bytes())
}

fn dns(name: &str) -> Vec<u8> {
    tlv(0x82, name.as_bytes())
}

fn san(names: &[Vec<u8>]) -> Vec<u8> {
    extension(SAN, false, &tlv(0x30, &names.concat()))
}

fn basic_constraints(content: &[u8]) -> Vec<u8> {
    extension(BASIC_CONSTRAINTS, true, &tlv(0x30, content))
}

/// The bits of keyUsage as they stand in the octet: 0x80 digitalSignature, 0x04 keyCertSign, 0x02 cRLSign.
fn key_usage(bits: u8) -> Vec<u8> {
    extension(KEY_USAGE, true, &[0x03, 0x02, bits.trailing_zeros() as u8, bits])
}

/// 1 serverAuth, 2 clientAuth, 3 codeSigning; 0 stands for anyExtendedKeyUsage.
fn extended_key_usage(purposes: &[u8]) -> Vec<u8> {
    let oid = |&purpose: &u8| match purpose {
        0 => tlv(0x06, &[0x55, 0x1d, 0x25, 0x00]),
        _ => tlv(0x06, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, purpose]),
    };
    extension(EXTENDED_KEY_USAGE, false, &tlv(0x30, &purposes.iter().map(oid).collect::<Vec<_>>().concat()))
}

/// What a good X509-SVID has besides its names.
fn svid(names: &[Vec<u8>]) -> Vec<Vec<u8>> {
    vec![san(names), basic_constraints(&[]), key_usage(0x80), extended_key_usage(&[1, 2])]
}

fn children(mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((tag, inner, rest)) = der::read(content) {
        found.push(tlv(tag, inner));
        content = rest;
    }
    found
}

/// The parts of an ordinary certificate: its tbsCertificate's, and what follows that.
fn template() -> &'static (Vec<Vec<u8>>, Vec<u8>) {
    static TEMPLATE: OnceLock<(Vec<Vec<u8>>, Vec<u8>)> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![String::from("x")]).unwrap().self_signed(&key).unwrap();
        let (_, content, _) = der::read(certificate.der()).unwrap();
        let parts = children(content);
        let (_, tbs, _) = der::read(&parts[0]).unwrap();
        (children(tbs), parts[1..].concat())
    })
}

/// Version, serial, signature, issuer, validity, subject, key, extensions.
fn certificate(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let (mut tbs, rest) = template().clone();
    change(&mut tbs);
    tlv(0x30, &[tlv(0x30, &tbs.concat()), rest].concat())
}

fn with(extensions: &[Vec<u8>]) -> Vec<u8> {
    certificate(|tbs| tbs[7] = tlv(0xa3, &tlv(0x30, &extensions.concat())))
}

fn refusal(extensions: &[Vec<u8>]) -> LeafError {
    Leaf::parse(&with(extensions)).unwrap_err()
}

fn without(mut extensions: Vec<Vec<u8>>, at: usize) -> Vec<Vec<u8>> {
    extensions.remove(at);
    extensions
}

fn replaced(at: usize, by: Vec<u8>) -> Vec<Vec<u8>> {
    let mut extensions = svid(&[uri(ID)]);
    extensions[at] = by;
    extensions
}

#[test]
fn reads_a_good_svid() {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::URI(ID.try_into().unwrap()), SanType::DnsName("Ledger.corp".try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.serial_number = Some(vec![0x00, 0x8f, 0x01].into());
    params.not_before = rcgen::date_time_ymd(2026, 11, 23);
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let leaf = Leaf::parse(certificate.der()).unwrap();
    assert_eq!(leaf.spiffe_id().unwrap().as_str(), ID);
    assert_eq!(leaf.sans(), [San::uri(ID).unwrap(), San::dns("ledger.corp").unwrap()]);
    assert_eq!(leaf.serial().to_string(), "8f01");
    assert_eq!(leaf.not_before().to_string(), "2026-11-23T00:00:00Z");
    assert_eq!(leaf.not_after().to_string(), "2050-01-01T00:00:00Z");
    assert_eq!(leaf.thumbprint(), &Thumbprint::of(certificate.der()));
    assert_eq!(leaf.spki_der(), rcgen::PublicKeyData::subject_public_key_info(&key));
    assert_eq!(leaf.issuer_der(), leaf.subject_der());
    assert_eq!(leaf.subject(), "CN=rcgen self signed cert");
    assert_eq!((leaf.permits(Usage::Client), leaf.permits(Usage::Server)), (Ok(()), Ok(())));
    let claim = leaf.claim(&SanMap::empty("own".parse().unwrap())).unwrap();
    assert_eq!((claim.identity.name(), claim.trust_domain.as_str()), ("billing-bot", "own"));
}

#[test]
fn the_hand_made_base_is_good() {
    let leaf = Leaf::parse(&with(&svid(&[uri(ID)]))).unwrap();
    assert_eq!(leaf.spiffe_id().unwrap().as_str(), ID);
    // Other issuers' SVIDs allow key agreement and encipherment, too.
    assert!(Leaf::parse(&with(&replaced(2, key_usage(0x80 | 0x20 | 0x08)))).is_ok());
}

#[test]
fn refuses_by_its_extensions() {
    let oid = |text: &str| String::from(text);
    let twice = |again: Vec<u8>| [svid(&[uri(ID)]), vec![again]].concat();
    for (what, extensions, why) in [
        ("CA:TRUE", replaced(1, basic_constraints(&[0x01, 0x01, 0xff])), LeafError::Authority),
        ("keyCertSign", replaced(2, key_usage(0x84)), LeafError::KeyCertSign),
        ("cRLSign", replaced(2, key_usage(0x82)), LeafError::CrlSign),
        ("no digitalSignature", replaced(2, key_usage(0x20)), LeafError::NoDigitalSignature),
        ("no BasicConstraints", without(svid(&[uri(ID)]), 1), LeafError::NoBasicConstraints),
        ("no keyUsage", without(svid(&[uri(ID)]), 2), LeafError::NoKeyUsage),
        (
            "keyUsage not critical",
            replaced(2, extension(KEY_USAGE, false, &[3, 2, 7, 0x80])),
            LeafError::KeyUsageNotCritical,
        ),
        ("CN only", without(svid(&[uri(ID)]), 0), LeafError::NoSan),
        ("two SAN extensions", twice(san(&[dns("a")])), LeafError::DuplicateSan),
        ("the same SAN extension twice", twice(san(&[uri(ID)])), LeafError::DuplicateSan),
        ("two keyUsages", twice(key_usage(0x80)), LeafError::DuplicateExtension { oid: oid("2.5.29.15") }),
        (
            "unknown critical",
            twice(extension(NAME_CONSTRAINTS, true, &[0x30, 0])),
            LeafError::CriticalExtension { oid: oid("2.5.29.30") },
        ),
        (
            "bytes behind BasicConstraints",
            replaced(1, extension(BASIC_CONSTRAINTS, true, &[0x30, 0, 0x05, 0])),
            LeafError::Extension { oid: oid("2.5.29.19") },
        ),
        (
            "bytes behind keyUsage",
            replaced(2, extension(KEY_USAGE, true, &[3, 2, 7, 0x80, 5, 0])),
            LeafError::Extension { oid: oid("2.5.29.15") },
        ),
        (
            "bytes behind extendedKeyUsage",
            replaced(3, extension(EXTENDED_KEY_USAGE, true, &[0x30, 0, 5, 0])),
            LeafError::Extension { oid: oid("2.5.29.37") },
        ),
    ] {
        assert_eq!(refusal(&extensions), why, "{what}");
    }
}

#[test]
fn refuses_by_its_names() {
    let broken = LeafError::Extension { oid: String::from("2.5.29.17") };
    let id = LeafError::SpiffeId;
    for (what, names, why) in [
        ("two URIs", vec![uri(ID), uri("spiffe://own/agent/x")], LeafError::TwoUris { count: 2 }),
        ("the same URI twice", vec![uri(ID), uri(ID)], LeafError::TwoUris { count: 2 }),
        ("a URI of another scheme beside it", vec![uri("urn:x:y"), uri(ID)], LeafError::TwoUris { count: 2 }),
        ("three URIs", vec![uri("urn:x"), uri("urn:y"), uri("urn:z")], LeafError::TwoUris { count: 3 }),
        ("root path", vec![uri("spiffe://own")], LeafError::RootPath),
        ("root path with a slash", vec![uri("spiffe://own/")], LeafError::RootPath),
        ("scheme in upper case", vec![uri("SPIFFE://own/agent/x")], id(SpiffeIdError::Scheme)),
        ("dot segment", vec![uri("spiffe://own/agent/../server/x")], id(SpiffeIdError::DotSegment)),
        ("percent", vec![uri("spiffe://own/agent%2fx")], id(SpiffeIdError::Character { found: '%' })),
        ("NUL in a URI", vec![uri("spiffe://own/agent/x\0.evil")], LeafError::San(SanError::Uri)),
        (
            "newline in a URI",
            vec![uri("spiffe://own/agent/x\nURI:spiffe://own/agent/y")],
            LeafError::San(SanError::Uri),
        ),
        ("NUL in a DNS name", vec![uri(ID), dns("ledger.corp\0.evil")], LeafError::San(SanError::Dns)),
        ("newline in a DNS name", vec![dns("a\nb")], LeafError::San(SanError::Dns)),
        ("comma in a DNS name", vec![dns("a,DNS:b")], LeafError::San(SanError::Dns)),
        ("UTF-8 in a DNS name", vec![dns("b\u{fc}cher")], LeafError::San(SanError::Dns)),
        ("no UTF-8", vec![tlv(0x82, &[0xff, 0xfe])], LeafError::San(SanError::Dns)),
        ("BMP characters in a URI", vec![tlv(0x86, &[0, b's', 0, b'p'])], LeafError::San(SanError::Uri)),
        ("empty DNS name", vec![dns("")], LeafError::San(SanError::Dns)),
        ("empty URI", vec![uri("")], LeafError::San(SanError::Uri)),
        ("e-mail without an at sign", vec![tlv(0x81, b"bot")], LeafError::San(SanError::Email)),
        ("five octets of IP address", vec![tlv(0x87, &[1, 2, 3, 4, 5])], LeafError::San(SanError::Ip)),
        ("a universal tag for a name", vec![tlv(0x16, ID.as_bytes())], broken.clone()),
        ("a constructed URI", vec![tlv(0xa6, &tlv(0x16, ID.as_bytes()))], broken.clone()),
        ("an unknown kind of name", vec![tlv(0x89, b"x")], broken.clone()),
    ] {
        assert_eq!(refusal(&svid(&names)), why, "{what}");
    }
    let list = |value: &[u8]| refusal(&replaced(0, extension(SAN, false, value)));
    assert_eq!(list(&tlv(0x31, &uri(ID))), broken, "a SET of names");
    assert_eq!(list(&[tlv(0x30, &uri(ID)), vec![5, 0]].concat()), broken, "bytes behind the names");
    assert_eq!(list(&[0x30, 0x80, 0x82, 1, b'a', 0, 0]), broken, "indefinite length");
    assert_eq!(list(&[0x30, 0x81, 0x03, 0x82, 1, b'a']), broken, "padded length");
}

#[test]
fn a_uri_that_is_not_utf_8_is_refused_and_not_skipped() {
    let names = [tlv(0x86, &[0xff, 0xfe]), uri(ID)];
    assert_eq!(refusal(&svid(&names)), LeafError::San(SanError::Uri));
}

#[test]
fn refuses_by_its_structure() {
    let good = with(&svid(&[uri(ID)]));
    let with_extensions = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        certificate(|tbs| {
            tbs[7] = tlv(0xa3, &tlv(0x30, &svid(&[uri(ID)]).concat()));
            change(tbs);
        })
    };
    let parse = |der: &[u8]| Leaf::parse(der).unwrap_err();
    assert_eq!(parse(&certificate(|tbs| drop((tbs.pop(), tbs.remove(0))))), LeafError::Version { found: 1 });
    assert_eq!(parse(&with_extensions(&|tbs| tbs[0] = vec![0xa0, 3, 2, 1, 1])), LeafError::Version { found: 2 });
    assert_eq!(parse(&[&good[..], &[0]].concat()), LeafError::TrailingData);
    assert_eq!(parse(&[&good[..], &good[..]].concat()), LeafError::TrailingData);
    for (what, der) in [
        ("empty", vec![]),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("no DER", b"-----BEGIN CERTIFICATE-----".to_vec()),
        ("a fourth part", {
            let (_, content, _) = der::read(&good).unwrap();
            tlv(0x30, &[content, &[0x05, 0x00]].concat())
        }),
    ] {
        assert_eq!(parse(&der), LeafError::Der, "{what}");
    }
    for (serial, why) in [
        (vec![2, 1, 0], SerialError::Zero),
        (vec![2, 1, 0x80], SerialError::Negative),
        (tlv(2, &[0x7f; 21]), SerialError::TooLong { octets: 21 }),
    ] {
        assert_eq!(parse(&with_extensions(&|tbs| tbs[1].clone_from(&serial))), LeafError::Serial(why));
    }
    assert_eq!(parse(&with_extensions(&|tbs| tbs[5] = vec![0x30, 0])), LeafError::SanNotCritical);
}

#[test]
fn bytes_behind_the_extensions_are_not_overlooked() {
    let behind = certificate(|tbs| {
        tbs[7] = tlv(0xa3, &tlv(0x30, &svid(&[uri(ID)]).concat()));
        tbs.push(tlv(0xa3, &tlv(0x30, &san(&[uri("spiffe://own/agent/other")]))));
    });
    assert_eq!(Leaf::parse(&behind).unwrap_err(), LeafError::Der);
}

#[test]
fn usage_is_what_the_extension_lists() {
    for (purposes, client, server) in [
        (&[1, 2][..], true, true),
        (&[2], true, false),
        (&[1], false, true),
        (&[0], false, false),
        (&[3], false, false),
    ] {
        let leaf = Leaf::parse(&with(&replaced(3, extended_key_usage(purposes)))).unwrap();
        assert_eq!((leaf.permits(Usage::Client).is_ok(), leaf.permits(Usage::Server).is_ok()), (client, server));
    }
    let refusal = Leaf::parse(&with(&replaced(3, extended_key_usage(&[1])))).unwrap().permits(Usage::Client);
    assert_eq!(refusal, Err(LeafError::ExtendedKeyUsage { wanted: Usage::Client }));
    let unlimited = Leaf::parse(&with(&without(svid(&[uri(ID)]), 3))).unwrap();
    assert_eq!((unlimited.permits(Usage::Client), unlimited.permits(Usage::Server)), (Ok(()), Ok(())));
}

#[test]
fn leaves_without_a_spiffe_id_are_mapped_and_held_to_the_rules_for_all() {
    let names = [dns("etl.corp"), tlv(0x87, &[10, 0, 0, 1])];
    let leaf = Leaf::parse(&with(&[san(&names)])).unwrap();
    assert!(leaf.spiffe_id().is_none());
    let own: crate::TrustDomain = "own".parse().unwrap();
    let nobody = leaf.claim(&SanMap::empty(own.clone()));
    assert!(matches!(nobody, Err(IdentityError::Unmapped { .. })));
    let entry = crate::MapEntry { san: "dns:etl.corp".into(), agent: "etl".into(), bundle: None };
    let claim = leaf.claim(&SanMap::new(own, [entry]).unwrap()).unwrap();
    assert_eq!(claim.identity.to_string(), "agent etl");
    for (extensions, why) in [
        (vec![san(&names), basic_constraints(&[1, 1, 0xff])], LeafError::Authority),
        (vec![san(&names), key_usage(0x84)], LeafError::KeyCertSign),
        (vec![san(&names), key_usage(0x82)], LeafError::CrlSign),
        (vec![san(&names), san(&names)], LeafError::DuplicateSan),
        (vec![san(&[uri("urn:a"), uri("urn:b")])], LeafError::TwoUris { count: 2 }),
    ] {
        assert_eq!(refusal(&extensions), why);
    }
}

#[test]
fn a_spiffe_id_is_judged_alone() {
    let names = [dns("etl.corp"), uri("spiffe://own/ns/x/sa/y")];
    let leaf = Leaf::parse(&with(&svid(&names))).unwrap();
    let entry = crate::MapEntry { san: "dns:etl.corp".into(), agent: "etl".into(), bundle: None };
    let map = SanMap::new("own".parse().unwrap(), [entry]).unwrap();
    assert!(matches!(leaf.claim(&map), Err(IdentityError::UnmappedPath { .. })));
}

#[test]
fn names_of_other_kinds_say_nothing() {
    let other = tlv(0xa0, &[tlv(0x06, &[0x2a, 3]), tlv(0xa0, &tlv(0x0c, b"billing-bot"))].concat());
    let directory = tlv(0xa4, &tlv(0x30, &[]));
    let leaf = Leaf::parse(&with(&[san(&[other, directory])])).unwrap();
    assert_eq!(leaf.sans(), []);
    assert!(leaf.claim(&SanMap::empty("own".parse().unwrap())).is_err());
}

#[test]
fn a_subject_cannot_write_to_the_terminal() {
    let value = tlv(0x0c, "O'Brien\u{1b}[2J\n\u{202e}".as_bytes());
    let name = tlv(0x30, &tlv(0x31, &tlv(0x30, &[tlv(0x06, &[0x55, 4, 3]), value].concat())));
    let der = certificate(|tbs| {
        tbs[5] = name;
        tbs[7] = tlv(0xa3, &tlv(0x30, &svid(&[uri(ID)]).concat()));
    });
    assert_eq!(Leaf::parse(&der).unwrap().subject(), "CN=O'Brien\\u{1b}[2J\\u{a}\\u{202e}");
}

#[test]
fn an_odd_true_is_not_false() {
    for octet in [0x01, 0x7f, 0xfe] {
        let odd = replaced(1, basic_constraints(&[0x01, 0x01, octet]));
        assert!(Leaf::parse(&with(&odd)).is_err(), "CA: {octet:#x}");
    }
}

#[test]
fn garbage_never_panics() {
    let good = with(&svid(&[uri(ID)]));
    let mut accepted = 0;
    for at in 0..good.len() {
        for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= change;
            accepted += usize::from(Leaf::parse(&bad).is_ok_and(|leaf| !leaf.subject().contains('\0')));
            let _ = Leaf::parse(&good[..at]);
        }
    }
    assert!(accepted >= good.len(), "unchanged copies are read");
}

#[test]
fn names_of_other_kinds_are_counted_and_tell_one_leaf_from_another() {
    let leaf = |names: &[Vec<u8>]| Leaf::parse(&with(&[san(names), basic_constraints(&[]), key_usage(0x80)])).unwrap();
    let registered = tlv(0x88, &[0x2a, 0x03]);
    let (one, two) = (leaf(&[dns("a"), dns("b")]), leaf(&[dns("b"), dns("A"), dns("a")]));
    assert!(one.is_named_as(&two) && two.is_named_as(&one));
    assert_eq!((one.unread_names(), one.called().as_str()), (0, "dns:a dns:b"));
    let more = leaf(&[dns("a"), dns("b"), registered.clone()]);
    assert_eq!((more.unread_names(), more.sans().len()), (1, 2));
    assert!(!more.is_named_as(&one) && !leaf(&[dns("a")]).is_named_as(&one));
    assert!(!leaf(&[uri(ID)]).is_named_as(&one));
    assert_eq!(leaf(&[registered]).called(), "nobody");
}
