use super::*;
use crate::{AgentId, Identity};

fn id(uri: &str) -> Result<SpiffeId, SpiffeIdError> {
    uri.parse()
}

#[test]
fn parses_what_the_specification_allows() {
    for uri in [
        "spiffe://example.org/agent/billing-bot",
        "spiffe://a/b",
        "spiffe://1.2.3.4/x",
        "spiffe://trust_domain-1.x/A/b_C/1.2/-/...",
        "spiffe://a..b/x",
    ] {
        let parsed = id(uri).unwrap();
        assert_eq!(parsed.as_str(), uri, "nothing is normalised");
        assert_eq!(format!("spiffe://{}{}", parsed.trust_domain(), parsed.path()), uri);
    }
}

#[test]
fn refuses_each_departure_by_name() {
    use SpiffeIdError::{DotSegment, EmptySegment, NoPath, Scheme};
    let character = |found| SpiffeIdError::Character { found };
    let domain = |found| SpiffeIdError::TrustDomain(TrustDomainError::Character { found });
    for (uri, why) in [
        ("", Scheme),
        ("http://a/b", Scheme),
        ("spiffe:/a/b", Scheme),
        ("SPIFFE://a/b", Scheme),
        (" spiffe://a/b", Scheme),
        ("spiffe://", SpiffeIdError::TrustDomain(TrustDomainError::Empty)),
        ("spiffe:///b", SpiffeIdError::TrustDomain(TrustDomainError::Empty)),
        ("spiffe://a", NoPath),
        ("spiffe://a/", NoPath),
        ("spiffe://A/b", domain('A')),
        ("spiffe://user@a/b", domain('@')),
        ("spiffe://a:443/b", domain(':')),
        ("spiffe://a%2eb/c", domain('%')),
        ("spiffe://[::1]/b", domain('[')),
        ("spiffe://\u{e4}/b", domain('\u{e4}')),
        ("spiffe://a?b/c", domain('?')),
        ("spiffe://a//b", EmptySegment),
        ("spiffe://a/b/", EmptySegment),
        ("spiffe://a/./b", DotSegment),
        ("spiffe://a/b/..", DotSegment),
        ("spiffe://a/%62", character('%')),
        ("spiffe://a/b?c", character('?')),
        ("spiffe://a/b#c", character('#')),
        ("spiffe://a/b c", character(' ')),
        ("spiffe://a/b\0", character('\0')),
        ("spiffe://a/b\n", character('\n')),
        ("spiffe://a/b:c", character(':')),
        ("spiffe://a/b*", character('*')),
        ("spiffe://a/\u{430}gent", character('\u{430}')),
        ("spiffe://a/b\\c", character('\\')),
    ] {
        assert_eq!(id(uri), Err(why), "{uri:?}");
    }
}

#[test]
fn lengths_are_those_of_the_specification() {
    let td = "a".repeat(255);
    assert!(td.parse::<TrustDomain>().is_ok());
    assert_eq!("a".repeat(256).parse::<TrustDomain>(), Err(TrustDomainError::TooLong { length: 256 }));
    let longest = format!("spiffe://a/{}", "b".repeat(2048 - 11));
    assert_eq!(longest.len(), 2048);
    assert!(id(&longest).is_ok());
    assert_eq!(id(&format!("{longest}b")), Err(SpiffeIdError::TooLong { length: 2049 }));
}

#[test]
fn serde_goes_through_the_parser() {
    let agent: AgentId = serde_json::from_str("\"spiffe://a/agent/b\"").unwrap();
    assert_eq!(serde_json::to_string(&agent).unwrap(), "\"spiffe://a/agent/b\"");
    assert!(serde_json::from_str::<AgentId>("\"spiffe://a/server/b\"").is_err());
    assert!(serde_json::from_str::<SpiffeId>("\"spiffe://a/../b\"").is_err());
    assert!(serde_json::from_str::<TrustDomain>("\"A\"").is_err());
}

#[test]
fn new_builds_only_our_forms() {
    let td: TrustDomain = "a".parse().unwrap();
    let built = SpiffeId::new(&td, Role::Agent, "x/sub/7").unwrap();
    assert_eq!(built.as_str(), "spiffe://a/agent/x/sub/7");
    assert!(matches!(Identity::try_from(built), Ok(Identity::Agent(agent)) if agent.is_sub_agent()));
    for (role, name) in [
        (Role::Agent, ""),
        (Role::Agent, "a/b"),
        (Role::Agent, "a/sub"),
        (Role::Agent, "a/sub/b/c"),
        (Role::Agent, "a/sub/"),
        (Role::Agent, ".."),
        (Role::Agent, "a/sub/.."),
        (Role::Agent, "a b"),
        (Role::Server, "a/sub/b"),
        (Role::Admin, "a/sub/b"),
    ] {
        assert!(matches!(SpiffeId::new(&td, role, name), Err(SpiffeIdError::Name { .. })), "{role} {name:?}");
    }
    assert!(matches!(SpiffeId::new(&td, Role::Agent, &"a".repeat(3000)), Err(SpiffeIdError::TooLong { .. })));
}
