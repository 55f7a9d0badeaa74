//! Lists that an authority publishes, or that whoever answers gives.

use std::sync::Arc;

use countermark_credential::Crl;

use super::*;

fn delivered(dir: &Path) -> Vec<Arc<Crl>> {
    let loaded = directory::load_trust(dir).unwrap();
    loaded.crls.into_iter().flat_map(|domain| domain.crls).collect()
}

fn same(found: &[Arc<Crl>], wanted: &[Arc<Crl>]) -> bool {
    found.len() == wanted.len() && wanted.iter().all(|crl| found.iter().any(|other| other.der() == crl.der()))
}

#[tokio::test(start_paused = true)]
async fn of_lists_from_whoever_answers_only_those_are_delivered_that_a_known_authority_has_signed() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let running = bench.started("").await;
    let genuine = bench.issuer.lists();
    bench.issuer.publish([genuine.clone(), bench.issuer.strange_lists()].concat(), false);
    running.moved().await;
    assert!(same(&delivered(&dir), &genuine));
    // What somebody made up alone changes nothing.
    bench.issuer.publish(bench.issuer.strange_lists(), false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(same(&delivered(&dir), &genuine));
    let next = bench.issuer.lists();
    bench.issuer.publish(next.clone(), true);
    running.moved().await;
    assert!(same(&delivered(&dir), &next));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn lists_that_could_not_be_delivered_are_tried_again() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let running = bench.started("").await;
    let aside = bench.path("aside");
    fs::rename(dir.join("trust"), &aside).unwrap();
    fs::write(dir.join("trust"), "").unwrap();
    let next = bench.issuer.lists();
    bench.issuer.publish(next.clone(), true);
    let failed = |event: &Event| matches!(event, Event::RefreshFailed { step: Step::Deliver, .. });
    running.next(failed).await;
    running.next(failed).await;
    fs::remove_file(dir.join("trust")).unwrap();
    fs::rename(&aside, dir.join("trust")).unwrap();
    let mended = bench.clock.passed();
    running.moved().await;
    assert!(same(&delivered(&dir), &next));
    assert!(bench.clock.passed() - mended < Duration::from_secs(10));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn lists_with_no_roots_to_stand_beside_are_told_and_tried_again() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let running = bench.started("").await;
    bench.issuer.set(Mood::Down);
    let (bundle, aside) = (dir.join("trust/current/agents.internal.trust-bundle.pem"), bench.path("aside"));
    fs::rename(&bundle, &aside).unwrap();
    let next = bench.issuer.lists();
    bench.issuer.publish(next.clone(), true);
    let failed = |event: &Event| matches!(event, Event::RefreshFailed { step: Step::Deliver, .. });
    let told = running.next(failed).await;
    assert!(matches!(&told, Event::RefreshFailed { cause, .. } if cause.contains("no trust bundle")), "{told:?}");
    fs::rename(&aside, &bundle).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(same(&delivered(&dir), &next), "{:?}", running.told());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn lists_from_whoever_answers_take_no_place_from_those_of_the_issuer_that_still_wait() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let old = bench.issuer.lists();
    let running = bench.started("").await;
    let aside = bench.path("aside");
    fs::rename(dir.join("trust"), &aside).unwrap();
    fs::write(dir.join("trust"), "").unwrap();
    let next = bench.issuer.lists();
    bench.issuer.publish(next.clone(), true);
    let failed = |event: &Event| matches!(event, Event::RefreshFailed { step: Step::Deliver, .. });
    running.next(failed).await;
    bench.issuer.publish(old, false);
    for _ in 0..3 {
        running.next(failed).await;
    }
    fs::remove_file(dir.join("trust")).unwrap();
    fs::rename(&aside, dir.join("trust")).unwrap();
    let mended = bench.clock.passed();
    running.moved().await;
    assert!(same(&delivered(&dir), &next));
    assert!(bench.clock.passed() - mended < Duration::from_secs(30));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_otherwise_each_time_is_asked_ever_more_seldom() {
    // Also where the issuer itself answers, but not by its poll.
    for verified in [false, true] {
        let bench = Bench::new();
        bench.minted("billing-bot");
        let running = bench.started("").await;
        bench.issuer.flood(verified);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = bench.issuer.flooded();
        assert!((3..12).contains(&asked), "{verified}: {asked}");
        running.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_lists_are_told_once_until_there_are_others() {
    let bench = Bench::new();
    bench.minted("billing-bot");
    let running = bench.started("").await;
    // None of them holds, so that each time that they are spread is told of.
    let strange = bench.issuer.strange_lists();
    let refused = || {
        let refused = |event: &&Event| matches!(event, Event::RefreshFailed { step: Step::Verify, .. });
        running.told().iter().filter(refused).count()
    };
    for _ in 0..3 {
        bench.issuer.publish(strange.clone(), true);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(refused(), 1, "{:?}", running.told());
    bench.issuer.publish(bench.issuer.lists(), true);
    running.moved().await;
    bench.issuer.publish(strange.clone(), true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(refused(), 2);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn hooks_that_lists_were_delivered_for_run_also_when_the_process_is_killed_before_it_is_remembered() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (always, seldom) = (bench.path("always"), bench.path("seldom"));
    let hooks = format!("{}{}on = \"credential\"\n", touching(&always), touching(&seldom));
    let running = bench.started(&hooks).await;
    running.hooked(0).await;
    running.end().await;
    let before = fs::read(dir.join(crate::state::STATE_FILE)).unwrap();
    for path in [&always, &seldom] {
        fs::remove_file(path).unwrap();
    }
    // What kill -9 between the two leaves: the lists of now, and the memory of before.
    let running = bench.start(&hooks).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    assert!(!running.told().contains(&Event::TrustMoved) && !always.exists(), "nothing has moved yet");
    bench.issuer.publish(bench.issuer.lists(), true);
    running.moved().await;
    running.end().await;
    fs::write(dir.join(crate::state::STATE_FILE), before).unwrap();
    let _cleared = fs::remove_file(&always);

    let running = bench.started(&hooks).await;
    running.hooked(0).await;
    assert!(always.exists() && !seldom.exists());
    running.end().await;
    fs::remove_file(&always).unwrap();
    let running = bench.start(&hooks).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!always.exists(), "they have seen it now");
    running.end().await;
}
