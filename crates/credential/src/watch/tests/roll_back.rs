//! What is older than what was accepted is refused, over a restart too.

use super::*;

#[test]
fn a_list_with_a_lower_number_is_refused() {
    let estate = Estate::new();
    let old = estate.good_crls();
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    let (mut reloader, first) = estate.start();
    assert!(estate.judge(&first.trust).is_err());
    estate.deliver_trust(&[estate.bundle()], old.clone());
    let changes = reload(&mut reloader);
    assert!(changes.trust.is_none());
    assert!(reason(&changes.status.trust).contains("was accepted before"));
    // Nor after a restart: the peer stays out.
    let (_, first) = estate.start();
    assert!(!first.status.is_ready());
    assert!(matches!(estate.judge(&first.trust), Err(ChainError::RevocationUnknown { .. })));
    // Without the state file only this process would have known.
    fs::remove_file(estate.path("state.json")).unwrap();
    estate.judge(&estate.start().1.trust).unwrap();
}

#[test]
fn a_bundle_with_a_lower_sequence_or_none_is_refused() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    let retired = Ca::root("retired").bundle();
    for bundle in [retired.clone().with_sequence(4), retired] {
        estate.deliver_trust(&[bundle], estate.good_crls());
        let changes = reload(&mut reloader);
        assert!(reason(&changes.status.trust).contains("5 was accepted before"), "{:?}", changes.status);
        if let Some(trust) = changes.trust {
            estate.judge(&trust).unwrap();
        }
    }
    estate.deliver_trust(&[estate.root.bundle().with_sequence(6)], estate.good_crls());
    assert!(reload(&mut reloader).status.is_ready());
}

#[test]
fn a_withdrawn_bundle_does_not_come_back_older() {
    let estate = Estate::new();
    let (mut reloader, _) = estate.start();
    estate.deliver_trust(&[], Vec::new());
    reload(&mut reloader);
    estate.deliver_trust(&[estate.root.bundle().with_sequence(1)], estate.good_crls());
    let changes = reload(&mut reloader);
    assert!(!changes.status.is_ready());
    assert!(changes.trust.is_none_or(|trust| estate.judge(&trust).is_err()));
}

#[test]
fn a_broken_state_file_stops_the_start() {
    let estate = Estate::new();
    for broken in [
        "",
        "{",
        "{}",
        r#"{"version":2,"bundles":{},"crls":{}}"#,
        r#"{"version":1,"bundles":{},"crls":{"a.b":{"x":"y"}}}"#,
    ] {
        fs::write(estate.path("state.json"), broken).unwrap();
        let error = Reloader::start(estate.config(), NOW).unwrap_err();
        assert!(matches!(&error, WatchError::Floor(FloorError::Broken { .. })), "{broken}: {error}");
    }
}

#[test]
fn a_state_that_cannot_be_kept_is_loud() {
    let estate = Estate::new();
    let config = DirectoryConfig { state: Some(estate.path("no/such/place.json")), ..estate.config() };
    let (_, first) = estate.start_with(config);
    assert!(reason(&first.status.trust).contains("cannot be remembered"));
    estate.judge(&first.trust).unwrap();
}

#[test]
fn processes_that_share_a_state_file_do_not_forget_for_each_other() {
    let estate = Estate::new();
    let open = || floor::Floor::open(Some(estate.path("shared.json"))).unwrap();
    let (mut first, mut second) = (open(), open());
    let newer = estate.intermediate.crl_of(&[], 86_400);
    let newest = estate.intermediate.crl_of(&[], 86_400);
    first.raise_crl(&td(), &newest);
    first.raise_bundle(&estate.bundle());
    first.save().unwrap();
    second.raise_crl(&td(), &newer);
    second.save().unwrap();
    for floor in [open(), second] {
        assert!(floor.require_crl(&td(), &newer).is_err());
        assert!(floor.require_bundle(&estate.root.bundle().with_sequence(4)).is_err());
    }
}
