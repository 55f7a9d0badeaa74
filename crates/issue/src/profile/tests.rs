use super::*;

const AGENT: &str = Profile::embedded_text(Role::Agent);

fn refused(from: &str, to: &str) -> ProfileError {
    assert!(AGENT.contains(from), "{from}");
    Profile::parse(&AGENT.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn the_embedded_profiles_are_as_the_design_says() {
    for role in [Role::Agent, Role::Server, Role::Admin] {
        let profile = Profile::embedded(role).unwrap();
        assert_eq!(profile.role(), role);
        assert_eq!(profile.default_key(), KeyType::P256);
        assert_eq!(profile.keys(), [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa3072]);
        assert_eq!(profile.min_ttl(), Duration::from_secs(300));
        assert_eq!(profile.default_ttl(), Duration::from_secs(3600));
        assert_eq!(profile.max_ttl(), Duration::from_secs(86_400));
        assert_eq!(profile.san().permits(RequestableName::Dns), role == Role::Server);
        assert_eq!(profile.san().permits(RequestableName::Ip), role == Role::Server);
    }
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let error = Profile::parse("role = \"agent\"\nkeyz = []\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 1));
    assert!(error.message.contains("keyz"), "{error}");
    let nested = refused("dns = []", "dns = []\nmail = []");
    assert!(nested.message.contains("mail") && nested.line > 15, "{nested}");
}

#[test]
fn values_out_of_bounds_are_refused_where_they_stand() {
    let line = |text: &str| AGENT.lines().position(|line| line.starts_with(text)).unwrap() + 1;
    for (from, to, at, says) in [
        ("min_ttl = \"5m\"", "min_ttl = \"29s\"", "min_ttl", "below 30s"),
        ("max_ttl = \"24h\"", "max_ttl = \"25h\"", "max_ttl", "above 24h"),
        ("default_ttl = \"1h\"", "default_ttl = \"2m\"", "default_ttl", "outside"),
        ("default_ttl = \"1h\"", "default_ttl = \"1 hour\"", "default_ttl", "not a duration"),
        ("default_ttl = \"1h\"", "default_ttl = \"99999999999999999999h\"", "default_ttl", "not a duration"),
        ("[\"server\", \"client\"]", "[\"client\"]", "extended_key_usage", "must be"),
        ("[\"server\", \"client\"]", "[\"server\", \"client\", \"any\"]", "extended_key_usage", "must be"),
        ("keys = [\"p256\", \"p384\", \"ed25519\", \"rsa3072\"]", "keys = []", "keys", "empty"),
        ("\"p384\"", "\"p521\"", "keys", "p521"),
        ("role = \"agent\"", "role = \"ca\"", "role", "no role"),
        ("/agent/{name}", "/admin/{name}", "uri", "spiffe://{trust_domain}/agent/{name}"),
        ("dns = []", "dns = [\"*.corp\"]", "dns", "DNS name"),
        ("dns = []", "dns = [\"{name}.Corp\"]", "dns", "DNS name"),
        ("requested = []", "requested = [\"uri\"]", "requested", "uri"),
    ] {
        let error = refused(from, to);
        assert_eq!(error.line, line(at), "{to}: {error}");
        assert!(error.message.contains(says), "{to}: {error}");
    }
}

#[test]
fn half_a_minute_is_enough_where_the_file_says_so() {
    let text =
        AGENT.replace("min_ttl = \"5m\"", "min_ttl = \"30s\"").replace("default_ttl = \"1h\"", "default_ttl = \"30s\"");
    let profile = Profile::parse(&text).unwrap();
    assert_eq!((profile.min_ttl(), profile.default_ttl()), (Duration::from_secs(30), Duration::from_secs(30)));
}

#[test]
fn templates_are_filled_in() {
    let text = AGENT.replace("dns = []", "dns = [\"{name}.{trust_domain}\"]");
    let profile = Profile::parse(&text).unwrap();
    let identity = "spiffe://agents.internal/agent/billing-bot".parse().unwrap();
    assert_eq!(profile.san().uri(&identity), identity.as_str());
    assert_eq!(profile.san().dns(&identity).collect::<Vec<_>>(), ["billing-bot.agents.internal"]);
}

#[test]
fn dns_names_are_plain() {
    for good in ["ledger", "ledger.internal", "a-b.c1"] {
        assert!(is_dns_name(good), "{good}");
    }
    let long = format!("{}.x", "a".repeat(64));
    for bad in ["", ".", "a.", "*.a", "A.b", "a_b", "-a", "a-", "10.0.0.1", "1.2", "a b", "é", "::1", "a\0b", &long] {
        assert!(!is_dns_name(bad), "{bad}");
    }
}
