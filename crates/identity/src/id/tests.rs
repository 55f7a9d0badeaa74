use super::*;

fn id(uri: &str) -> SpiffeId {
    uri.parse().unwrap()
}

#[test]
fn role_is_what_the_path_says() {
    for (uri, role, name) in [
        ("spiffe://a/agent/b", Role::Agent, "b"),
        ("spiffe://a/agent/b/sub/c", Role::Agent, "b/sub/c"),
        ("spiffe://a/server/b", Role::Server, "b"),
        ("spiffe://a/admin/b", Role::Admin, "b"),
    ] {
        assert_eq!(id(uri).role(), Some((role, name)));
        let identity = Identity::try_from(id(uri)).unwrap();
        assert_eq!((identity.role(), identity.name(), identity.spiffe_id()), (role, name, &id(uri)));
        assert_eq!(identity.to_string(), format!("{role} {name}"));
    }
    for uri in [
        "spiffe://a/agent",
        "spiffe://a/agents/b",
        "spiffe://a/Agent/b",
        "spiffe://a/agent/b/c",
        "spiffe://a/agent/b/sub",
        "spiffe://a/agent/b/sub/c/d",
        "spiffe://a/agent/b/Sub/c",
        "spiffe://a/server/b/sub/c",
        "spiffe://a/ns/x/sa/agent",
        "spiffe://a/x/agent/b",
    ] {
        assert_eq!(id(uri).role(), None, "{uri}");
        assert_eq!(Identity::try_from(id(uri)), Err(id(uri)));
    }
}

#[test]
fn one_role_is_not_another() {
    let agent = id("spiffe://a/agent/b");
    assert_eq!(ServerId::try_from(agent.clone()), Err(WrongRole { wanted: Role::Server, found: agent.clone() }));
    assert_eq!(AdminId::try_from(agent.clone()).unwrap_err().wanted, Role::Admin);
    let agent = AgentId::try_from(agent).unwrap();
    assert_eq!((agent.to_string().as_str(), agent.name(), agent.is_sub_agent()), ("b", "b", false));
    assert_eq!(agent.trust_domain().as_str(), "a");
}
