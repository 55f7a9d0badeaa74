use super::*;
use crate::SanError;

fn td(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

fn entry(san: &str, agent: &str, bundle: Option<&str>) -> MapEntry {
    MapEntry { san: san.into(), agent: agent.into(), bundle: bundle.map(td) }
}

fn map(entries: &[(&str, &str)]) -> SanMap {
    SanMap::new(td("own"), entries.iter().map(|(san, agent)| entry(san, agent, None))).unwrap()
}

fn refusal(san: &str, agent: &str, bundle: Option<&str>) -> MapError {
    SanMap::new(td("own"), [entry(san, agent, bundle)]).unwrap_err()
}

fn agent_of(claim: Result<Claim, IdentityError>) -> Option<String> {
    claim.ok().map(|claim| claim.identity.spiffe_id().to_string())
}

#[test]
fn exactly_one_entry_matches_or_nobody() {
    let map = map(&[
        ("dns:etl.corp", "etl"),
        ("dns:*.etl.corp", "etl-shard"),
        ("dns:one.etl.corp", "one"),
        ("email:Bot@corp", "mailer"),
        ("ip:10.0.0.1", "legacy"),
        ("uri:urn:bot:7", "seven"),
    ]);
    let dns = |name| San::dns(name).unwrap();
    for (sans, agent) in [
        (vec![dns("etl.corp")], Some("etl")),
        (vec![dns("ETL.corp")], Some("etl")),
        (vec![dns("two.etl.corp")], Some("etl-shard")),
        (vec![dns("unknown"), dns("etl.corp")], Some("etl")),
        (vec![dns("two.etl.corp"), dns("three.etl.corp")], Some("etl-shard")),
        (vec![dns("etl.corp"), dns("etl.corp")], Some("etl")),
        (vec![San::email("Bot@corp").unwrap()], Some("mailer")),
        (vec![San::Ip("10.0.0.1".parse().unwrap())], Some("legacy")),
        (vec![San::uri("urn:bot:7").unwrap()], Some("seven")),
        // nobody: none matches
        (vec![], None),
        (vec![dns("corp")], None),
        (vec![dns("a.b.etl.corp")], None),
        (vec![dns("*.etl.corp")], None),
        (vec![dns("xetl.corp")], None),
        (vec![San::email("bot@corp").unwrap()], None),
        (vec![San::uri("urn:bot:70").unwrap()], None),
        (vec![San::Ip("::ffff:10.0.0.1".parse().unwrap())], None),
        // nobody: the type is another
        (vec![San::uri("dns:etl.corp").unwrap()], None),
        (vec![San::uri("email:Bot@corp").unwrap()], None),
        // nobody: two match
        (vec![dns("one.etl.corp")], None),
        (vec![dns("etl.corp"), dns("two.etl.corp")], None),
    ] {
        let claim = map.claim_sans(&sans);
        assert_eq!(agent_of(claim), agent.map(|name| format!("spiffe://own/agent/{name}")), "{sans:?}");
    }
}

#[test]
fn two_matches_are_told_from_none() {
    let map = map(&[("dns:a", "x"), ("dns:b", "x")]);
    let both = [San::dns("a").unwrap(), San::dns("b").unwrap()];
    assert_eq!(map.claim_sans(&both), Err(IdentityError::Ambiguous { sans: both.to_vec(), entries: 2 }));
    assert!(matches!(map.claim_sans(&[]), Err(IdentityError::Unmapped { .. })));
}

#[test]
fn claims_verify_under_the_bundle_of_the_entry() {
    let entries = [entry("dns:a", "x", None), entry("dns:b", "y", Some("partner"))];
    let map = SanMap::new(td("own"), entries).unwrap();
    let claim = map.claim_sans(&[San::dns("b").unwrap()]).unwrap();
    assert_eq!(claim.trust_domain, td("partner"));
    assert_eq!(claim.identity.spiffe_id().as_str(), "spiffe://own/agent/y");
    assert_eq!(map.claim_sans(&[San::dns("a").unwrap()]).unwrap().trust_domain, td("own"));
}

#[test]
fn spiffe_ids_speak_for_themselves_or_through_their_entry() {
    let entries = [
        entry("spiffe://own/ns/crm/sa/bot", "crm-bot", None),
        entry("spiffe://partner/agent/theirs", "guest", Some("partner")),
    ];
    let map = SanMap::new(td("own"), entries).unwrap();
    let claim = |uri: &str| map.claim_spiffe_id(&uri.parse().unwrap());
    for (uri, id, domain) in [
        ("spiffe://own/agent/x", "spiffe://own/agent/x", "own"),
        ("spiffe://own/ns/crm/sa/bot", "spiffe://own/agent/crm-bot", "own"),
        ("spiffe://partner/agent/x", "spiffe://partner/agent/x", "partner"),
        ("spiffe://partner/agent/theirs", "spiffe://own/agent/guest", "partner"),
    ] {
        let claim = claim(uri).unwrap();
        assert_eq!((claim.identity.spiffe_id().as_str(), claim.trust_domain.as_str()), (id, domain));
    }
    // The same path in another trust domain is somebody else's.
    for uri in ["spiffe://partner/ns/crm/sa/bot", "spiffe://own/ns/crm/sa/bot2", "spiffe://own/ns"] {
        assert_eq!(claim(uri), Err(IdentityError::UnmappedPath { id: uri.parse().unwrap() }));
    }
    assert_eq!(claim("spiffe://own/server/x").unwrap().identity.role(), crate::Role::Server);
}

#[test]
fn refuses_entries_by_name() {
    assert!(matches!(refusal("etl.corp", "a", None), MapError::Kind { .. }));
    assert!(matches!(refusal("DNS:etl.corp", "a", None), MapError::Kind { .. }));
    assert!(matches!(refusal("cn:etl", "a", None), MapError::Kind { .. }));
    assert!(matches!(refusal("dns:", "a", None), MapError::San { cause: SanError::Dns, .. }));
    assert!(matches!(refusal("dns:*", "a", None), MapError::San { .. }));
    assert!(matches!(refusal("dns:a.*.b", "a", None), MapError::San { .. }));
    assert!(matches!(refusal("dns:a*.b", "a", None), MapError::San { .. }));
    assert!(matches!(refusal("email:*@corp", "a", None), MapError::Wildcard { .. }));
    assert!(matches!(refusal("uri:urn:*", "a", None), MapError::Wildcard { .. }));
    assert!(matches!(refusal("spiffe://own/ns/*", "a", None), MapError::Wildcard { .. }));
    assert!(matches!(refusal("ip:10.0.0.0/8", "a", None), MapError::Ip { .. }));
    assert!(matches!(refusal("spiffe://own/a/../b", "a", None), MapError::SpiffeId(_)));
    assert!(matches!(refusal("uri:SPIFFE://own/x", "a", None), MapError::SpiffeId(_)));
    assert!(matches!(refusal("spiffe://partner/x", "a", None), MapError::Bundle { .. }));
    assert!(matches!(refusal("spiffe://own/x", "a", Some("partner")), MapError::Bundle { .. }));
    assert!(matches!(refusal("dns:a", "a/sub/b", None), MapError::SubAgent { .. }));
    assert!(matches!(refusal("dns:a", "", None), MapError::Agent(_)));
    assert!(matches!(refusal("dns:a", "a b", None), MapError::Agent(_)));
    for own in ["agent/x", "server/x", "admin/x", "agent", "agent/x/y/z", "server/x/y"] {
        assert!(matches!(refusal(&format!("spiffe://own/{own}"), "a", None), MapError::OwnIdentity { .. }), "{own}");
    }
    for (first, second) in [
        ("dns:a", "dns:A"),
        ("dns:*.a", "dns:*.A"),
        ("spiffe://own/x", "uri:spiffe://own/x"),
        ("ip:2001:db8::1", "ip:2001:0db8::0:1"),
    ] {
        let entries = [entry(first, "x", None), entry(second, "y", None)];
        let duplicate = MapError::Duplicate { san: second.into() };
        assert_eq!(SanMap::new(td("own"), entries), Err(duplicate), "{second}");
    }
}

#[test]
fn a_refused_duplicate_leaves_the_first_entry() {
    let mut map = map(&[("dns:a", "x"), ("dns:*.b", "y")]);
    let before = map.clone();
    assert!(map.insert(entry("dns:a", "evil", None)).is_err());
    assert!(map.insert(entry("dns:*.b", "evil", None)).is_err());
    assert_eq!(map, before);
    assert_eq!((map.len(), map.is_empty(), SanMap::empty(td("own")).is_empty()), (2, false, true));
}
