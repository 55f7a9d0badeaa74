use std::net::IpAddr;

use countermark_identity::Role;

use super::plan::SUB_AGENT;
use super::*;
use crate::profile::RequestableName;
use crate::{
    KeyType,
    testing::{NOW, OpenSsl, chain, domain, id, leaf, root},
    to_pem,
};

fn key() -> KeyPair {
    KeyPair::generate(KeyType::P256).unwrap()
}

fn plan(signer: &Signer, path: &str, dns: &[&str], ip: &[&str], ttl: Option<u64>) -> Result<LeafPlan, SignError> {
    let identity = id(path);
    let profile = Profile::embedded(identity.role().map_or(Role::Agent, |(role, _)| role)).unwrap();
    let dns: Vec<String> = dns.iter().map(ToString::to_string).collect();
    let ip: Vec<IpAddr> = ip.iter().map(|ip| ip.parse().unwrap()).collect();
    let ttl = ttl.map(Duration::from_secs);
    let key = key();
    let request = LeafRequest { identity: &identity, public_key: key.public_key(), ttl, dns: &dns, ip: &ip };
    signer.plan(&profile, &request, NOW)
}

/// Root, intermediate and leaf as files, and OpenSSL's opinion of them.
fn openssl(root: &Signer, signer: &Signer, leaf: &[u8]) -> OpenSsl {
    let openssl = OpenSsl::new();
    openssl.write("root.crt", to_pem("CERTIFICATE", root.certificate()).as_bytes());
    openssl.write("intermediate.crt", to_pem("CERTIFICATE", signer.certificate()).as_bytes());
    openssl.write("leaf.crt", to_pem("CERTIFICATE", leaf).as_bytes());
    openssl
}

#[test]
fn openssl_agrees_with_every_role_and_key() {
    let (root, signer) = chain();
    for (path, kind) in [
        ("agent/billing-bot", KeyType::P256),
        ("agent/billing-bot/sub/7", KeyType::P384),
        ("server/ledger", KeyType::Ed25519),
        ("admin/root", KeyType::Rsa3072),
    ] {
        let key = KeyPair::generate(kind).unwrap();
        let leaf = leaf(&signer, path, key.public_key(), None).unwrap();
        let openssl = openssl(&root, &signer, &leaf);
        for purpose in ["sslclient", "sslserver"] {
            openssl.run(&format!(
                "verify -x509_strict -purpose {purpose} -attime {} -CAfile root.crt -untrusted intermediate.crt leaf.crt",
                NOW.as_secs()
            ));
        }
        let text = openssl.run("x509 -in leaf.crt -noout -text -nameopt RFC2253");
        let (role, name) = path.split_once('/').unwrap();
        assert!(text.contains(&format!("Subject: CN={name},OU={role},O=agents.internal")), "{text}");
        assert!(text.contains(&format!("URI:spiffe://agents.internal/{path}")), "{text}");
        assert!(text.contains("X509v3 Key Usage: critical\n                Digital Signature\n"), "{text}");
        assert!(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{text}");
        assert!(text.contains("X509v3 Basic Constraints: critical\n                CA:FALSE"), "{text}");
        assert!(text.contains("Subject Key Identifier") && text.contains("Authority Key Identifier"), "{text}");
    }
}

#[test]
fn cas_are_as_the_design_says() {
    let (root, signer) = chain();
    let openssl = openssl(&root, &signer, signer.certificate());
    let root_text = openssl.run("x509 -in root.crt -noout -text -nameopt RFC2253");
    let text = openssl.run("x509 -in intermediate.crt -noout -text -nameopt RFC2253");
    for (text, depth, kind, id) in [(&root_text, 1, "root", root.key_id()), (&text, 0, "intermediate", signer.key_id())]
    {
        assert!(text.contains(&format!("CA:TRUE, pathlen:{depth}")), "{text}");
        assert!(text.contains("Key Usage: critical\n                Certificate Sign, CRL Sign"), "{text}");
        assert!(text.contains("URI:spiffe://agents.internal\n"), "{text}");
        assert!(text.contains(&format!("Subject: CN=Countermark {kind} {id},O=agents.internal")), "{text}");
        assert!(!text.contains("Name Constraints") && !text.contains("Extended Key Usage"), "{text}");
    }
    assert_eq!(root.not_after(), NOW.saturating_add(crate::ROOT_LIFE));
    assert_eq!(signer.not_after(), NOW.saturating_add(crate::INTERMEDIATE_LIFE));
}

#[test]
fn two_keys_of_one_authority_have_two_subjects() {
    let root = root();
    let one = root.intermediate(&domain(), key(), crate::INTERMEDIATE_LIFE, NOW).unwrap();
    let two = root.intermediate(&domain(), key(), crate::INTERMEDIATE_LIFE, NOW).unwrap();
    assert_ne!(one.key_id(), two.key_id());
}

#[test]
fn an_intermediate_never_outlives_its_root() {
    let root = root();
    let late = root.not_after().saturating_sub(Duration::from_secs(24 * 3600));
    let intermediate = root.intermediate(&domain(), key(), crate::INTERMEDIATE_LIFE, late).unwrap();
    assert_eq!(intermediate.not_after(), root.not_after());
    let ended = root.intermediate(&domain(), key(), crate::INTERMEDIATE_LIFE, root.not_after());
    assert_eq!(ended.unwrap_err(), CaError::IssuerEnded(root.not_after()));
}

#[test]
fn serials_are_random_positive_and_sixteen_octets() {
    let serials: std::collections::BTreeSet<Serial> = (0..200).map(|_| Serials::random().unwrap()).collect();
    assert_eq!(serials.len(), 200);
    assert!(serials.iter().all(|serial| serial.as_bytes().len() == 16 && serial.as_bytes()[0] & 0xc0 == 0x40));
}

#[test]
fn life_counts_from_issuance_and_the_beginning_is_backdated() {
    let (_, signer) = chain();
    let later = NOW.saturating_add(Duration::from_secs(3600));
    let identity = id("agent/a");
    let key = key();
    let profile =
        Profile::parse(&Profile::embedded_text(Role::Agent).replace("min_ttl = \"5m\"", "min_ttl = \"30s\"")).unwrap();
    let at = |ttl: u64| {
        let ttl = Some(Duration::from_secs(ttl));
        let request = LeafRequest { identity: &identity, public_key: key.public_key(), ttl, dns: &[], ip: &[] };
        let plan = signer.plan(&profile, &request, later).unwrap();
        signer.sign(&plan).unwrap();
        (later.duration_since(plan.not_before()).as_secs(), plan.not_after().duration_since(later).as_secs())
    };
    assert_eq!(at(3600), (60, 3600));
    assert_eq!(at(60), (30, 60), "never more than half of its life");
    assert_eq!(at(30), (15, 30), "nor of the shortest one");
}

#[test]
fn nothing_begins_before_its_issuer() {
    let root = root();
    let short = root.intermediate(&domain(), key(), crate::INTERMEDIATE_LIFE, NOW).unwrap();
    let plan = plan(&short, "agent/a", &[], &[], None).unwrap();
    assert_eq!(plan.not_before(), short.not_before());
}

#[test]
fn life_is_bounded_by_profile_and_issuer() {
    let (root, signer) = chain();
    let seconds = Duration::from_secs;
    let ttl = |ttl| plan(&signer, "agent/a", &[], &[], Some(ttl)).unwrap_err();
    assert_eq!(ttl(299), SignError::TooShort { asked: seconds(299), least: seconds(300) });
    assert_eq!(ttl(86_401), SignError::TooLong { asked: seconds(86_401), most: seconds(86_400) });
    assert_eq!(ttl(0), SignError::TooShort { asked: seconds(0), least: seconds(300) });

    let short = root.intermediate(&domain(), key(), seconds(3600), NOW).unwrap();
    let share = plan(&short, "agent/a", &[], &[], Some(900)).unwrap_err();
    assert_eq!(share, SignError::Share { asked: seconds(900), most: seconds(610) });

    let identity = id("agent/a");
    let key = key();
    let profile = Profile::embedded(Role::Agent).unwrap();
    let request = LeafRequest { identity: &identity, public_key: key.public_key(), ttl: None, dns: &[], ip: &[] };
    let late = signer.not_after().saturating_sub(seconds(3599));
    let beyond = signer.plan(&profile, &request, late).unwrap_err();
    assert!(matches!(beyond, SignError::BeyondIssuer { issuer_ends, .. } if issuer_ends == signer.not_after()));
    let ended = signer.plan(&profile, &request, signer.not_after()).unwrap_err();
    assert_eq!(ended, SignError::IssuerEnded(signer.not_after()));
    let early = signer.plan(&profile, &request, signer.not_before().saturating_sub(seconds(1))).unwrap_err();
    assert_eq!(early, SignError::IssuerNotYet(signer.not_before()));
}

#[test]
fn a_sub_agent_lives_fifteen_minutes() {
    let (_, signer) = chain();
    let plan_of = |ttl| plan(&signer, "agent/a/sub/1", &[], &[], ttl);
    assert_eq!(plan_of(None).unwrap().not_after(), NOW.saturating_add(SUB_AGENT));
    assert_eq!(
        plan_of(Some(901)).unwrap_err(),
        SignError::TooLong { asked: Duration::from_secs(901), most: SUB_AGENT }
    );
}

#[test]
fn servers_may_ask_for_names_and_agents_may_not() {
    let (root, signer) = chain();
    let good =
        plan(&signer, "server/ledger", &["ledger.internal", "ledger.internal"], &["127.0.0.1", "::1"], None).unwrap();
    let openssl = openssl(&root, &signer, &signer.sign(&good).unwrap());
    let text = openssl.run("x509 -in leaf.crt -noout -ext subjectAltName");
    assert!(text.contains("URI:spiffe://agents.internal/server/ledger, DNS:ledger.internal, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"), "{text}");

    let dns = plan(&signer, "agent/a", &["a.internal"], &[], None).unwrap_err();
    assert_eq!(dns, SignError::NameKind(RequestableName::Dns));
    let ip = plan(&signer, "agent/a", &[], &["10.0.0.1"], None).unwrap_err();
    assert_eq!(ip, SignError::NameKind(RequestableName::Ip));
    for bad in ["*.internal", "Ledger", "ledger.internal.", "10.0.0.1", "a\0b", "ledger,DNS:evil"] {
        let refused = plan(&signer, "server/ledger", &[bad], &[], None).unwrap_err();
        assert_eq!(refused, SignError::DnsName(bad.to_owned()));
    }
    let many: Vec<String> = (0..101).map(|n| format!("n{n}.internal")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(plan(&signer, "server/l", &many, &[], None).unwrap_err(), SignError::TooManyNames(101));
}

#[test]
fn names_that_do_not_fit_a_subject_are_refused() {
    let (_, signer) = chain();
    assert!(plan(&signer, &format!("agent/{}", "a".repeat(64)), &[], &[], None).is_ok());
    let long = plan(&signer, &format!("agent/{}", "a".repeat(65)), &[], &[], None).unwrap_err();
    assert!(matches!(long, SignError::Subject(SubjectError::TooLong { attribute: "CN", length: 65, .. })));
    let domain = format!("{}.internal", "a".repeat(60)).parse().unwrap();
    let refused = Signer::root(&domain, key(), crate::ROOT_LIFE, NOW).unwrap_err();
    assert!(matches!(refused, CaError::Subject(SubjectError::TooLong { attribute: "O", .. })));
}

#[test]
fn role_profile_and_key_must_fit() {
    let (_, signer) = chain();
    let identity = id("server/ledger");
    let key = key();
    let request = LeafRequest { identity: &identity, public_key: key.public_key(), ttl: None, dns: &[], ip: &[] };
    let agent = Profile::embedded(Role::Agent).unwrap();
    assert!(matches!(signer.plan(&agent, &request, NOW), Err(SignError::Role { profile: Role::Agent, .. })));
    let text =
        Profile::embedded_text(Role::Server).replace("[\"p256\", \"p384\", \"ed25519\", \"rsa3072\"]", "[\"p384\"]");
    let narrow = Profile::parse(&text).unwrap();
    let refused = signer.plan(&narrow, &request, NOW).unwrap_err();
    assert_eq!(refused, SignError::KeyType { key: KeyType::P256, accepted: vec![KeyType::P384] });
    let other = id("ns/crm/sa/bot");
    let request = LeafRequest { identity: &other, ..request };
    assert_eq!(signer.plan(&agent, &request, NOW).unwrap_err(), SignError::Subject(SubjectError::NoRole));
}

#[test]
fn a_key_and_a_certificate_that_do_not_belong_together_are_refused() {
    let (root, signer) = chain();
    let mismatch = Signer::new(root.certificate().clone(), key()).unwrap_err();
    assert_eq!(mismatch, CaError::KeyMismatch);
    let own = key();
    let leaf = leaf(&signer, "agent/a", own.public_key(), None).unwrap();
    assert_eq!(Signer::new(leaf.into(), own).unwrap_err(), CaError::NotCa);
    assert_eq!(Signer::new(vec![1, 2, 3].into(), key()).unwrap_err(), CaError::Malformed);
}
