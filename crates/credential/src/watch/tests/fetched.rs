//! Lists that were fetched, from the authority or from whoever answers.

use rcgen::SerialNumber;
use tokio::sync::watch;

use super::*;

/// A directory without lists, and lists as they are fetched.
struct Fetching {
    estate: Estate,
    out: watch::Sender<Option<Fetched>>,
}

impl Fetching {
    fn new() -> Self {
        let estate = Estate::new();
        estate.deliver_trust(&[estate.bundle()], Vec::new());
        Self { estate, out: watch::Sender::new(None) }
    }

    fn config(&self) -> DirectoryConfig {
        let cache = Some(self.estate.path("lists.pem"));
        let feed = CrlFeed { from: "https://ca".to_owned(), lists: self.out.subscribe(), cache };
        DirectoryConfig { feed: Some(feed), ..self.estate.config() }
    }

    fn send(&self, crls: &[Arc<Crl>], verified: bool) {
        self.out.send_replace(Some(Fetched { lists: pem(crls).into_bytes().into(), verified }));
    }

    fn state(&self) -> String {
        fs::read_to_string(self.estate.path("state.json")).unwrap()
    }
}

/// A list with the name of this authority, a number that nothing surpasses, and the key of a stranger.
fn forged(name: &str) -> Arc<Crl> {
    let stranger = Ca::root(name);
    let mut params = stranger.crl_params(&[]);
    params.crl_number = SerialNumber::from_slice(&[0x40; 19]);
    Arc::new(Crl::from_der(params.signed_by(&stranger.issuer).unwrap().der()).unwrap())
}

#[test]
fn what_a_stranger_made_up_raises_no_floor_and_shuts_out_no_genuine_list() {
    let fetching = Fetching::new();
    let estate = &fetching.estate;
    let next = estate.root.intermediate("next");
    let (mut reloader, _) = estate.start_with(fetching.config());
    let with = |lists: Vec<Arc<Crl>>, other: &Arc<Crl>| [lists, vec![Arc::clone(other)]].concat();
    for verified in [false, true] {
        fetching.send(&with(estate.good_crls(), &forged("next")), verified);
        assert!(reload(&mut reloader).status.is_ready());
        assert!(!fetching.state().contains(&forged("next").number().unwrap().to_string()), "{verified}");
    }
    fetching.send(&with(estate.good_crls(), &next.crl(&[])), true);
    let changes = reload(&mut reloader);
    assert!(changes.status.is_ready(), "{:?}", changes.status);
    let peer = next.credential(PATH, &[&next]);
    let judged = |trust: &Trust| trust.verify(peer.chain(), peer.leaf(), &td(), Usage::Client, NOW).map(drop);
    judged(&changes.trust.unwrap()).unwrap();
    // Nor does it take the place of the genuine one, now or after a restart.
    fetching.send(&with(estate.good_crls(), &forged("next")), false);
    let changes = reload(&mut reloader);
    assert!(changes.status.is_ready());
    judged(&changes.trust.unwrap()).unwrap();
    fetching.out.send_replace(None);
    let (_, first) = estate.start_with(fetching.config());
    assert!(first.status.is_ready());
    judged(&first.trust).unwrap();
}

#[test]
fn a_list_that_is_not_known_yet_helps_to_meet_whoever_signed_it_and_is_not_kept() {
    let fetching = Fetching::new();
    let estate = &fetching.estate;
    let next = estate.root.intermediate("next");
    let (mut reloader, _) = estate.start_with(fetching.config());
    let peer = next.credential(PATH, &[&next]);
    let judged = |trust: &Trust| trust.verify(peer.chain(), peer.leaf(), &td(), Usage::Client, NOW).map(drop);
    fetching.send(&[estate.good_crls(), vec![forged("next")]].concat(), false);
    assert!(judged(&reload(&mut reloader).trust.unwrap()).is_err());
    // What somebody else made up before is in nobody's way.
    fetching.send(&[estate.good_crls(), vec![next.crl(&[])]].concat(), false);
    judged(&reload(&mut reloader).trust.unwrap()).unwrap();
    assert!(!fs::read_to_string(estate.path("lists.pem")).unwrap().contains(next.crl(&[]).to_pem().as_str()));
    assert_eq!(Crl::many_from_pem(&fs::read(estate.path("lists.pem")).unwrap()).unwrap().len(), 2);
    // Alone it is worth nothing.
    fetching.send(&[next.crl(&[])], false);
    assert!(!reload(&mut reloader).status.is_ready());
    fetching.send(&[forged("other")], false);
    assert!(reason(&reload(&mut reloader).status.trust).contains("known here"));
}

#[test]
fn the_lists_of_an_intermediate_that_was_met_do_not_come_back_older() {
    let fetching = Fetching::new();
    let estate = &fetching.estate;
    let next = estate.root.intermediate("next");
    let peer = next.credential(PATH, &[&next]);
    let (mut reloader, _) = estate.start_with(fetching.config());
    let old = [estate.good_crls(), vec![next.crl(&[])]].concat();
    fetching.send(&[estate.good_crls(), vec![next.crl(&[peer.leaf()])]].concat(), true);
    let trust = reload(&mut reloader).trust.unwrap();
    let revoked = trust.verify(peer.chain(), peer.leaf(), &td(), Usage::Client, NOW).unwrap_err();
    assert!(matches!(revoked, ChainError::Revoked { .. }), "{revoked}");
    let other = next.credential(PATH, &[&next]);
    trust.verify(other.chain(), other.leaf(), &td(), Usage::Client, NOW).unwrap();
    reload(&mut reloader);
    fetching.send(&old, true);
    let changes = reload(&mut reloader);
    assert!(reason(&changes.status.trust).contains("was accepted before"), "{:?}", changes.status);
}

#[test]
fn kept_lists_that_are_older_than_the_delivered_ones_are_passed_over() {
    let fetching = Fetching::new();
    let estate = &fetching.estate;
    let (mut reloader, _) = estate.start_with(fetching.config());
    fetching.send(&estate.good_crls(), true);
    assert!(reload(&mut reloader).status.is_ready());
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    assert!(reload(&mut reloader).status.is_ready());
    fetching.out.send_replace(None);
    let (mut reloader, first) = estate.start_with(fetching.config());
    assert!(first.status.is_ready(), "{:?}", first.status);
    assert!(matches!(estate.judge(&first.trust), Err(ChainError::Revoked { .. })));
    assert!(reload(&mut reloader).status.is_ready());
    // What is fetched and older is told.
    fetching.send(&[estate.root.crl(&[]), forged("intermediate")], true);
    assert!(!reload(&mut reloader).status.is_ready());
}
