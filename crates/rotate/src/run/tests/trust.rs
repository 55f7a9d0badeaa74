//! Which version of the trust material the hooks have seen.

use countermark_credential::directory::DomainCrls;
use countermark_credential::{Bundle, Crl};
use countermark_identity::UnixTime;

use super::*;
use crate::issuer::Listing;
use crate::machine::TrustMark;

/// Asks for a renewal, and does something to the directory while the issuer is asked.
async fn meanwhile(bench: &Bench, running: &running::Running, what: impl FnOnce()) {
    let asked = bench.issuer.asked();
    bench.issuer.hold(true);
    assert!(running.handle.renew("billing-bot").await.unwrap());
    while bench.issuer.asked() == asked {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    what();
    bench.issuer.hold(false);
}

#[tokio::test(start_paused = true)]
async fn trust_that_was_switched_before_the_delivery_failed_is_told_to_the_hooks() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let touched = bench.path("touched");
    let running = bench.started(&touching(&touched)).await;
    running.hooked(0).await;
    fs::remove_file(&touched).unwrap();
    // The next generation cannot be written, as on a disk that is full.
    let obstacle = dir.join("generations/.2.new");
    fs::write(&obstacle, "").unwrap();
    let before = directory::trust_version(&dir).unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.moved().await;
    running.next(|event| matches!(event, Event::RenewalFailed { step: Step::Deliver, .. })).await;
    assert!(directory::trust_version(&dir).unwrap() > before, "it was switched");
    running.hooked(0).await;
    assert!(touched.exists());
    fs::remove_file(&obstacle).unwrap();
    running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_renewal_has_overtaken_does_not_lead_back() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.remint(&dir, "billing-bot");
    }
    let (rotation, _handle) = bench.rotation(&bench.entry("billing-bot", ""), None).unwrap();
    let counts = TrustMark::of(&dir).unwrap();
    assert!(counts.version > 1);
    let [before, after] = [counts.version - 1, counts.version + 1].map(|version| TrustMark { version, ..counts });
    let newer = |read, began| rotation.newer(0, Some(read), Some(began));
    assert_eq!(newer(before, before), None, "what counts is of a renewal since");
    assert_eq!(newer(after, before), Some(after));
    assert_eq!(newer(before, counts), Some(before), "somebody has begun anew");
}

#[tokio::test(start_paused = true)]
async fn partners_that_are_withdrawn_and_added_while_the_issuer_is_asked_stay_so() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let root = fs::read(dir.join("agents.internal.trust-bundle.pem")).unwrap();
    let (withdrawn, added) = ("old.example.trust-bundle.pem", "new.example.trust-bundle.pem");
    let current = dir.join("trust/current");
    fs::write(current.join(withdrawn), &root).unwrap();
    let running = bench.start("").unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.renewed(2).await;
    assert!(current.join(withdrawn).exists() && dir.join(withdrawn).exists(), "nobody has withdrawn it");
    let switch = || {
        fs::remove_file(current.join(withdrawn)).unwrap();
        fs::write(current.join(added), &root).unwrap();
    };
    meanwhile(&bench, &running, switch).await;
    running.renewed(3).await;
    assert!(!current.join(withdrawn).exists() && dir.join(withdrawn).symlink_metadata().is_err());
    assert_eq!(fs::read(dir.join(added)).unwrap(), root);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn trust_that_somebody_else_delivers_is_carried_further_within_a_minute() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let volume = bench.path("volume");
    let running = bench.started(&format!("projected = \"{}\"\n", volume.display())).await;
    running.hooked(0).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let moved = || running.told().iter().filter(|event| **event == Event::TrustMoved).count();
    let (before, begun) = (bench.clock.passed(), moved());
    let there = directory::load_trust(&dir).unwrap();
    let bundles = [there.bundles[0].clone().with_sequence(7)];
    directory::deliver_trust(&dir, &bundles, &there.crls).unwrap();
    running.carried_on(0).await;
    assert!(bench.clock.passed() - before < Duration::from_secs(60));
    assert_eq!(fs::read(volume.join("ca.crt")).unwrap(), fs::read(dir.join("trust/current/ca.crt")).unwrap());
    assert_eq!(fs::read_to_string(volume.join("ca.crt")).unwrap(), bundles[0].to_pem());
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(moved(), begun + 1, "once");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_broke_of_a_partner_ends_nothing() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    bench.issuer.set(Mood::Down);
    let running = bench.started("").await;
    fs::write(dir.join("trust/current/partner.example.trust-bundle.pem"), "-----BEGIN").unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!running.told().iter().any(|event| matches!(event, Event::ChangedByHand { .. })), "{:?}", running.told());
    assert!(running.handle.status().await.unwrap().ready);
    let lists = bench.issuer.lists();
    let before = directory::trust_version(&dir);
    bench.issuer.publish(lists.clone(), true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(directory::trust_version(&dir) > before, "{:?}", running.told());
    let there = directory::read_crls(&dir.join("trust/current/agents.internal.crl.pem")).unwrap();
    assert_eq!(there[0].der(), lists[0].der());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_roots_of_a_generation_are_delivered_with_no_lists() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let running = bench.started("").await;
    // Those of the generation may have been withdrawn since.
    let (bundle, before) = ("agents.internal.trust-bundle.pem", directory::trust_version(&dir));
    fs::write(dir.join("trust/current").join(bundle), "-----BEGIN").unwrap();
    bench.issuer.publish(bench.issuer.lists(), true);
    let told = |event: &Event| matches!(event, Event::RefreshFailed { .. } | Event::TrustMoved);
    let told = running.next(told).await;
    assert!(matches!(&told, Event::RefreshFailed { cause, .. } if cause.contains(bundle)), "{told:?}");
    assert_eq!(directory::trust_version(&dir), before);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn lists_that_somebody_broke_bring_back_no_root_that_was_withdrawn() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    fs::write(dir.join("generations/1/agents.internal.trust-bundle.pem"), bench.two_roots().to_pem()).unwrap();
    let known = || {
        let identity = &bench.config(&bench.entry("billing-bot", "")).unwrap().credentials[0].identity;
        let own = crate::renew::present(&dir, identity).own(identity.trust_domain()).unwrap();
        (own.bundle.roots().to_vec(), own.crls.len())
    };
    let [own, _] = bench.roots();
    assert_eq!(known(), (own.roots().to_vec(), 2));
    fs::write(dir.join("trust/current/agents.internal.crl.pem"), "-----BEGIN X509 CRL-----\nMII").unwrap();
    assert_eq!(known(), (own.roots().to_vec(), 0));
    // Where it is the bundle itself, there is nothing else to know the issuer by.
    fs::write(dir.join("trust/current/agents.internal.trust-bundle.pem"), "-----BEGIN").unwrap();
    assert_eq!(known(), (bench.two_roots().roots().to_vec(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_root_that_a_hand_takes_away_is_carried_no_further_within_a_minute() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (volume, name) = (bench.path("volume"), "partner.example.trust-bundle.pem");
    let root = fs::read(dir.join("agents.internal.trust-bundle.pem")).unwrap();
    fs::write(dir.join("trust/current").join(name), &root).unwrap();
    let running = bench.started(&format!("projected = \"{}\"\n", volume.display())).await;
    running.hooked(0).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(volume.join(name).exists());
    let (before, moved) = (bench.clock.passed(), |event: &&Event| **event == Event::TrustMoved);
    assert_eq!(running.told().iter().filter(moved).count(), 1, "what is delivered is no hand's");
    fs::remove_file(dir.join("trust/current").join(name)).unwrap();
    running.carried_on(0).await;
    assert!(bench.clock.passed() - before < Duration::from_secs(60));
    assert!(volume.join(name).symlink_metadata().is_err() && volume.join("ca.crt").exists());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_root_that_a_hand_takes_away_right_after_a_delivery_is_carried_no_further() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (volume, name) = (bench.path("volume"), "partner.example.trust-bundle.pem");
    let root = fs::read(dir.join("agents.internal.trust-bundle.pem")).unwrap();
    fs::write(dir.join("trust/current").join(name), &root).unwrap();
    let running = bench.started(&format!("projected = \"{}\"\n", volume.display())).await;
    // Before anybody looks at what was delivered.
    running.hooked(0).await;
    assert!(volume.join(name).exists());
    let version = directory::trust_version(&dir);
    fs::remove_file(dir.join("trust/current").join(name)).unwrap();
    let before = bench.clock.passed();
    running.carried_on(0).await;
    assert!(bench.clock.passed() - before < Duration::from_secs(60));
    assert!(volume.join(name).symlink_metadata().is_err() && volume.join("ca.crt").exists());
    assert_eq!(directory::trust_version(&dir), version, "it is the same version");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_while_an_issuer_without_roots_of_its_own_is_asked_does_not_come_back() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let there = || directory::load_trust(&dir).unwrap();
    let deliver = |bundle: &Bundle, crls: Vec<Arc<Crl>>| {
        let crls = [DomainCrls { trust_domain: bundle.trust_domain().clone(), crls }];
        directory::deliver_trust(&dir, std::slice::from_ref(bundle), &crls).unwrap();
    };
    let (lists, [own, other]) = (bench.issuer.lists(), bench.roots());
    deliver(&bench.two_roots(), lists.clone());
    let of_est = bench.entry("billing-bot", "").replace("\"ca\"", "\"est\"");
    let running = bench.start_with(&of_est).unwrap();
    meanwhile(&bench, &running, || deliver(&own, lists.clone())).await;
    running.renewed(2).await;
    assert_eq!((there().bundles[0].roots(), there().crls.len()), (own.roots(), 1));
    let kept = fs::read(dir.join("generations/2/agents.internal.trust-bundle.pem")).unwrap();
    assert_eq!(kept, own.to_pem().into_bytes());
    // A list that comes meanwhile stays, and one that goes is gone.
    let newer = bench.issuer.lists();
    meanwhile(&bench, &running, || deliver(&own, newer.clone())).await;
    running.renewed(3).await;
    assert_eq!(there().crls[0].crls[0].number(), newer[0].number());
    meanwhile(&bench, &running, || deliver(&own, Vec::new())).await;
    running.renewed(4).await;
    assert!(there().crls.is_empty());
    // What the roots of then do not lead to is not delivered beside them.
    meanwhile(&bench, &running, || deliver(&other, bench.issuer.strange_lists())).await;
    let told = running.next(|event| matches!(event, Event::RenewalFailed { .. } | Event::Renewed { .. })).await;
    assert!(matches!(told, Event::RenewalFailed { step: Step::Verify, .. }), "{told:?}");
    assert_eq!(there().bundles[0].roots(), other.roots());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_while_a_refresh_is_under_way_does_not_come_back() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let lists = directory::load_trust(&dir).unwrap().crls;
    directory::deliver_trust(&dir, &[bench.two_roots()], &lists).unwrap();
    let config = bench.config(&bench.entry("billing-bot", "").replace("\"ca\"", "\"est\"")).unwrap();
    let entry = Arc::clone(&config.credentials[0]);
    bench.issuer.hold(true);
    let refresh = tokio::spawn(crate::renew::refresh(entry, bench.stations(), Arc::new(bench.clock.clone())));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let [own, _] = bench.roots();
    directory::deliver_trust(&dir, std::slice::from_ref(&own), &lists).unwrap();
    bench.issuer.hold(false);
    refresh.await.unwrap().unwrap();
    assert_eq!(directory::load_trust(&dir).unwrap().bundles[0].roots(), own.roots());
}

#[tokio::test(start_paused = true)]
async fn roots_from_a_file_without_a_sequence_follow_those_of_an_authority_that_has_one() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let [own, other] = bench.roots();
    directory::deliver_trust(&dir, &[own.clone().with_sequence(5)], &[]).unwrap();
    fs::write(bench.path("issuing-ca.pem"), other.to_pem()).unwrap();
    bench.issuer.set(Mood::OtherRoot);
    let running = bench.start_with(&bench.entry("billing-bot", "").replace("\"ca\"", "\"est-by-file\"")).unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.renewed(2).await;
    let there = directory::load_trust(&dir).unwrap();
    assert_eq!((there.bundles[0].roots(), there.bundles[0].sequence()), (other.roots(), None));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_newer_roots_that_stay_do_not_lead_to_is_not_delivered_beside_them() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let [own, other] = bench.roots();
    directory::deliver_trust(&dir, &[own.clone().with_sequence(5)], &[]).unwrap();
    fs::write(bench.path("issuing-ca.pem"), other.with_sequence(4).to_pem()).unwrap();
    bench.issuer.set(Mood::OtherRoot);
    let running = bench.start_with(&bench.entry("billing-bot", "").replace("\"ca\"", "\"est-by-file\"")).unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    let told = running.next(|event| matches!(event, Event::RenewalFailed { .. } | Event::Renewed { .. })).await;
    let refused = |cause: &str| cause.contains("newer and stays (sequence 5)");
    assert!(matches!(&told, Event::RenewalFailed { step: Step::Verify, cause, .. } if refused(cause)), "{told:?}");
    assert_eq!(directory::load_trust(&dir).unwrap().bundles[0].roots(), own.roots());
    assert_eq!(directory::current_generation(&dir), Some(1));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_removes_all_trust_material_goes_by_the_roots_of_the_configuration_or_puts_some_there() {
    for (issuer, by_hand) in [("est-by-file", false), ("est", true)] {
        let bench = Bench::new();
        let dir = bench.minted("billing-bot");
        let [own, _] = bench.roots();
        fs::write(bench.path("issuing-ca.pem"), own.to_pem()).unwrap();
        let trust = dir.join("trust");
        fs::remove_dir_all(&trust).unwrap();
        let entry = bench.entry("billing-bot", "").replace("\"ca\"", &format!("\"{issuer}\""));
        let running = bench.start_with(&entry).unwrap();
        assert!(running.handle.renew("billing-bot").await.unwrap());
        if by_hand {
            let told = running.next(|event| matches!(event, Event::RenewalFailed { .. } | Event::Renewed { .. })).await;
            let named = |cause: &str| cause.contains("into a new one");
            assert!(matches!(&told, Event::RenewalFailed { cause, .. } if named(cause)), "{told:?}");
            fs::create_dir(&trust).unwrap();
            fs::write(trust.join("agents.internal.trust-bundle.pem"), own.to_pem()).unwrap();
        }
        running.renewed(2).await;
        let there = directory::load_trust(&dir).unwrap();
        assert_eq!((there.bundles[0].roots(), there.crls.len()), (own.roots(), 0), "{issuer}");
        running.end().await;
    }
}

/// A clock that something happens by when it is read.
struct Ticking<F>(F, UnixTime);

impl<F> std::fmt::Debug for Ticking<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticking")
    }
}

impl<F: Fn() + Send + Sync> Clock for Ticking<F> {
    fn now(&self) -> UnixTime {
        (self.0)();
        self.1
    }
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_withdrawn_before_published_lists_are_delivered_does_not_come_back_with_them() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let lists = directory::load_trust(&dir).unwrap().crls;
    directory::deliver_trust(&dir, &[bench.two_roots()], &lists).unwrap();
    let config = bench.config(&bench.entry("billing-bot", "")).unwrap();
    let [own, _] = bench.roots();
    let (bundles, of) = ([own.clone()], dir.clone());
    // The last thing that is asked before anything is delivered.
    let withdraw = move || directory::deliver_trust(&of, &bundles, &lists).unwrap();
    let clock = Arc::new(Ticking(withdraw, bench.clock.now()));
    let next = bench.issuer.lists();
    let listing = Listing { crls: next.clone(), verified: true, polled: true };
    crate::renew::take_lists(Arc::clone(&config.credentials[0]), listing, clock).await.unwrap();
    let there = directory::load_trust(&dir).unwrap();
    assert_eq!((there.bundles[0].roots(), there.crls[0].crls[0].number()), (own.roots(), next[0].number()));
}

#[tokio::test(start_paused = true)]
async fn what_a_hand_edits_while_nobody_looks_is_told_to_the_hooks_at_the_next_start_once() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (always, seldom) = (bench.path("always"), bench.path("seldom"));
    let hooks = format!("{}{}on = \"credential\"\n", touching(&always), touching(&seldom));
    let running = bench.started(&hooks).await;
    running.hooked(0).await;
    running.end().await;
    let name = "partner.example.trust-bundle.pem";
    let root = fs::read(dir.join("agents.internal.trust-bundle.pem")).unwrap();
    let edits: [&dyn Fn(); 2] = [&|| fs::write(dir.join("trust/current").join(name), &root).unwrap(), &|| {
        fs::remove_file(dir.join("trust/current").join(name)).unwrap()
    }];
    for edit in edits {
        for path in [&always, &seldom] {
            let _cleared = fs::remove_file(path);
        }
        edit();
        let running = bench.start(&hooks).unwrap();
        running.next(|event| matches!(event, Event::Found { .. })).await;
        assert!(running.told().contains(&Event::TrustMoved), "before anything else is delivered");
        running.hooked(0).await;
        assert!(always.exists() && !seldom.exists());
        running.end().await;
        fs::remove_file(&always).unwrap();
        let running = bench.start(&hooks).unwrap();
        running.next(|event| matches!(event, Event::Found { .. })).await;
        assert!(!running.told().contains(&Event::TrustMoved) && !always.exists(), "they have seen it");
        running.end().await;
    }
}
