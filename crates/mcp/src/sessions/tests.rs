use std::time::Duration;

use super::*;

fn agent(name: &str) -> AgentId {
    AgentId::new(&"agents.internal".parse().unwrap(), name).unwrap()
}

/// What comes without a token.
fn of(agent: &AgentId) -> Owner<'_> {
    Owner { agent, principal: None }
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(1_000_000 + seconds)
}

fn sessions(limits: Limits) -> Sessions {
    Sessions::new(limits)
}

#[test]
fn a_session_is_its_openers_alone() {
    let sessions = sessions(Limits::default());
    sessions.open(of(&agent("a")), "s1", at(0)).unwrap();
    assert_eq!(sessions.touch(of(&agent("a")), "s1", at(1)), Ok(()));
    assert_eq!(sessions.touch(of(&agent("b")), "s1", at(1)), Err(NotFound));
    assert_eq!(sessions.touch(of(&agent("a")), "s2", at(1)), Err(NotFound));
    assert_eq!(sessions.open(of(&agent("b")), "s1", at(1)), Err(CannotOpen::Foreign));
    sessions.end(of(&agent("b")), "s1");
    assert_eq!(sessions.touch(of(&agent("a")), "s1", at(1)), Ok(()), "another identity cannot end it");
    sessions.end(of(&agent("a")), "s1");
    assert_eq!(sessions.touch(of(&agent("a")), "s1", at(1)), Err(NotFound));
}

#[test]
fn an_idle_session_is_forgotten() {
    let sessions = sessions(Limits { session_idle: Duration::from_secs(60), ..Limits::default() });
    sessions.open(of(&agent("a")), "s1", at(0)).unwrap();
    assert_eq!(sessions.touch(of(&agent("a")), "s1", at(60)), Ok(()));
    assert_eq!(sessions.touch(of(&agent("a")), "s1", at(121)), Err(NotFound));
    assert_eq!(sessions.len(), 0);
}

#[test]
fn sessions_are_bounded_for_each_agent_and_in_total() {
    let sessions = sessions(Limits {
        sessions_per_agent: 2,
        sessions: 3,
        session_idle: Duration::from_secs(60),
        ..Limits::default()
    });
    for (second, id) in [(0, "a1"), (1, "a2"), (2, "a3")] {
        sessions.open(of(&agent("a")), id, at(second)).unwrap();
    }
    assert_eq!(sessions.touch(of(&agent("a")), "a1", at(3)), Err(NotFound), "the agent's own oldest gives way");
    assert_eq!(sessions.len(), 2);
    sessions.open(of(&agent("b")), "b1", at(3)).unwrap();
    assert_eq!(sessions.open(of(&agent("c")), "c1", at(4)), Err(CannotOpen::Full), "nobody loses a session to another");
    assert_eq!(sessions.open(of(&agent("c")), "c1", at(100)), Ok(()), "idle ones make room");
}

#[test]
fn an_upstreams_id_must_be_visible_ascii() {
    let sessions = sessions(Limits::default());
    for id in ["", "a b", "a\u{7f}", &"x".repeat(257)] {
        assert_eq!(sessions.open(of(&agent("a")), id, at(0)), Err(CannotOpen::Malformed), "{id}");
    }
}

#[test]
fn an_id_used_for_two_methods_is_still_filtered_as_a_list() {
    let sessions = sessions(Limits::default());
    sessions.open(of(&agent("a")), "s", at(0)).unwrap();
    sessions.expect("s", RequestId::Number(1), Record::of("tools/list"));
    assert_eq!(sessions.expected("s", &RequestId::Number(1)), Some(Record::List));
    sessions.expect("s", RequestId::Number(1), Record::of("tools/call"));
    assert_eq!(sessions.expected("s", &RequestId::Number(1)), Some(Record::List));
    assert_eq!(sessions.expected("s", &RequestId::String("1".into())), None);
    for n in 0..500 {
        sessions.expect("s", RequestId::Number(1000 + n), Record::Plain);
    }
    assert_eq!(sessions.expected("s", &RequestId::Number(1)), None, "records are bounded");
}
