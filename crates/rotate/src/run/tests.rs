//! The task with a real directory, an authority in memory, and clocks that a test moves.

mod approval;
pub(super) mod double;
#[cfg(feature = "pkcs12")]
mod keystore;
mod lists;
mod running;
mod sans;
mod trust;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use countermark_credential::directory::{self, Claim};
use tokio_util::sync::CancellationToken;

use self::double::{Bench, Mood, touching};
use super::*;
use crate::event::{Event, Step};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_credential_is_renewed_at_half_of_its_life_for_days() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let mut keys = BTreeSet::from([spki(&dir)]);
    let running = bench.start("").unwrap();
    for generation in 2..=60 {
        let told = running.next(|event| matches!(event, Event::Renewed { .. })).await;
        let Event::Renewed { generation: found, .. } = told else { unreachable!() };
        assert_eq!(found, generation);
        assert!(keys.insert(spki(&dir)), "generation {generation} has the key of an earlier one");
    }
    let passed = bench.clock.passed();
    // 59 renewals, each at 40 to 50 % of an hour.
    assert!((59 * 1440..=59 * 1830).contains(&passed.as_secs()), "{passed:?}");
    assert!(
        running.told().iter().all(|event| !matches!(event, Event::RenewalFailed { .. } | Event::HealthChanged { .. }))
    );
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_key_is_kept_where_the_configuration_says_so() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let before = spki(&dir);
    let running = bench.start("reuse-key = true").unwrap();
    running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
    assert_eq!(spki(&dir), before);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_down_the_last_good_one_stays_and_the_next_comes_when_it_is_back() {
    for mood in [
        Mood::Down,
        Mood::Garbage,
        Mood::OtherName,
        Mood::OtherRoot,
        Mood::OtherKey,
        Mood::Same,
        Mood::Expired,
        Mood::Slow,
    ] {
        let bench = Bench::new();
        let dir = bench.minted("billing-bot");
        let before = serial(&dir);
        bench.issuer.set(mood);
        let running = bench.start("").unwrap();
        let told = running.next(|event| matches!(event, Event::RenewalFailed { failures: 8, .. })).await;
        let Event::RenewalFailed { step, cause, .. } = told else { unreachable!() };
        assert_eq!(serial(&dir), before, "{mood:?}");
        let wanted = if matches!(mood, Mood::Down | Mood::Slow) { Step::Issue } else { Step::Verify };
        assert_eq!(step, wanted, "{mood:?}: {cause}");
        // It is down for longer than half of a life, and beyond the end.
        running.next(|event| matches!(event, Event::HealthChanged { health: crate::schedule::Health::Red })).await;
        tokio::time::sleep(HOUR).await;
        assert_eq!(serial(&dir), before, "{mood:?}");
        assert!(!running.handle.status().await.unwrap().ready);
        bench.issuer.set(Mood::Good);
        running.next(|event| matches!(event, Event::Succeeded { .. })).await;
        assert_ne!(serial(&dir), before, "{mood:?}");
        assert!(running.handle.status().await.unwrap().ready);
        let failures = running.told().iter().filter(|event| matches!(event, Event::RenewalFailed { .. })).count();
        assert!(failures < 200, "{mood:?}: {failures} attempts in three hours");
        running.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspend_of_a_day_renews_at_once_in_dependency_order() {
    let bench = Bench::new();
    for name in ["base", "middle", "top"] {
        bench.minted(name);
    }
    let config = [
        bench.entry("top", "after = [\"middle\"]"),
        bench.entry("middle", "after = [\"base\"]"),
        bench.entry("base", ""),
    ];
    let running = bench.start_with(&config.concat()).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    bench.clock.jump(86_400);
    let told = running.next(|event| matches!(event, Event::ClockJumped { .. })).await;
    let Event::ClockJumped { seconds } = told else { unreachable!() };
    assert!((86_390..=86_410).contains(&seconds), "{seconds}");
    let before = tokio::time::Instant::now();
    let mut order = Vec::new();
    while order.len() < 3 {
        order.push(running.next_of(|event| matches!(event, Event::Renewed { .. })).await);
    }
    assert_eq!(order, ["base", "middle", "top"]);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_issuer_holds_up_only_those_that_depend_on_it() {
    let bench = Bench::new();
    let silent: Vec<String> = (0..20).map(|number| format!("silent-{number}")).collect();
    for name in silent.iter().map(String::as_str).chain(["base", "top", "waiting"]) {
        bench.minted(name);
    }
    let of_foreign = |name: &String| bench.entry(name, "").replace("\"ca\"", "\"foreign\"");
    let config: String = silent.iter().map(of_foreign).collect();
    let more = [bench.entry("top", "after = [\"base\"]"), bench.entry("base", "")].concat();
    let waiting = bench.entry("waiting", "after = [\"silent-19\"]");
    let running = bench.start_with(&[config, waiting, more].concat()).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    bench.clock.jump(86_400);
    running.next(|event| matches!(event, Event::ClockJumped { .. })).await;
    let begun = tokio::time::Instant::now();
    let renewed = async || running.next_of(|event| matches!(event, Event::Renewed { .. })).await;
    assert_eq!((renewed().await, renewed().await), ("base".to_owned(), "top".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(renewed().await, "waiting");
    assert!(begun.elapsed() > Duration::from_secs(29), "{:?}", begun.elapsed());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn other_trust_material_is_projected_again_and_told_to_hooks() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (volume, always, seldom) = (bench.path("volume"), bench.path("always"), bench.path("seldom"));
    let hooks = format!("{}{}on = \"credential\"\n", touching(&always), touching(&seldom));
    let more = format!("projected = \"{}\"\n{hooks}", volume.display());
    let running = bench.start(&more).unwrap();
    running.next(|event| matches!(event, Event::Succeeded { generation: 1, .. })).await;
    let lists = |at: &Path| fs::read(at.join("agents.internal.crl.pem")).unwrap();
    let before = lists(&volume);
    assert_eq!(before, lists(&dir.join("trust/current")));
    fs::remove_file(&always).unwrap();
    fs::remove_file(&seldom).unwrap();
    // The double signs new lists whenever it is asked.
    running.moved().await;
    for hook in [0, 1] {
        running.next(|event| *event == Event::HookDone { hook }).await;
    }
    assert_ne!(lists(&volume), before);
    assert_eq!(lists(&volume), lists(&dir.join("trust/current")));
    assert!(always.exists() && !seldom.exists());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_partner_holds_up_no_renewal_and_stays_as_it_was() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let name = "partner.example.trust-bundle.pem";
    let root = fs::read(dir.join("agents.internal.trust-bundle.pem")).unwrap();
    fs::write(dir.join("trust/current").join(name), &root).unwrap();
    let running = bench.start("").unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.renewed(2).await;
    assert_eq!(fs::read(dir.join("trust/current").join(name)).unwrap(), root);
    fs::write(dir.join("trust/current").join(name), "-----BEGIN").unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.renewed(3).await;
    assert_eq!(fs::read(dir.join("trust/current").join(name)).unwrap(), root);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_hand_puts_there_is_judged_before_a_reader_gets_it() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let running = bench.start("").unwrap();
    let mut watch = running.handle.watch("billing-bot").await.unwrap().unwrap();
    let stranger = bench.stranger("billing-bot");
    let path = dir.join("credential-bundle.pem");
    fs::write(&path, stranger.to_pem().expose()).unwrap();
    running.next(|event| matches!(event, Event::ChangedByHand { fault: Some(_) })).await;
    running.next(|event| matches!(event, Event::Renewed { .. })).await;
    let mut seen = Vec::new();
    while watch.has_changed().unwrap() {
        seen.push(watch.borrow_and_update().leaf().serial().clone());
    }
    assert!(!seen.contains(stranger.leaf().serial()) && seen.len() == 1, "{seen:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_a_day_and_forward_again_loses_nothing() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let before = serial(&dir);
    let running = bench.start("").unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    bench.clock.jump(-86_400);
    running.next(|event| matches!(event, Event::ClockJumped { seconds } if *seconds < -86_000)).await;
    assert_eq!(serial(&dir), before);
    bench.clock.jump(86_400);
    running.next(|event| matches!(event, Event::ClockJumped { seconds } if *seconds > 86_000)).await;
    assert!(running.handle.status().await.unwrap().ready);
    running.next(|event| matches!(event, Event::Succeeded { .. })).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn two_daemons_on_one_directory_are_one_too_many() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let running = bench.start("").unwrap();
    let refused = bench.start("").unwrap_err();
    assert!(matches!(refused, StartError::Claim { .. }), "{refused}");
    assert!(refused.to_string().contains("another `countermark rotate`"), "{refused}");
    running.end().await;
    Claim::acquire(&dir).unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_identitys_directory_is_refused() {
    let bench = Bench::new();
    bench.minted("billing-bot");
    let entry = bench.entry("billing-bot", "").replace("/agent/billing-bot", "/agent/other-bot");
    let refused = bench.start_with(&entry).unwrap_err();
    assert!(matches!(refused, StartError::OtherIdentity { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_did_to_the_files_is_mended() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("overwritten", |dir| fs::write(dir.join("credential-bundle.pem"), "no key here").unwrap()),
        ("removed", |dir| {
            fs::remove_file(dir.join("current/credential-bundle.pem"))
                .and_then(|()| fs::remove_file(dir.join("current/tls.key")))
                .unwrap()
        }),
        ("open to all", |dir| {
            fs::set_permissions(dir.join("credential-bundle.pem"), fs::Permissions::from_mode(0o644)).unwrap()
        }),
        ("truncated", |dir| {
            fs::write(dir.join("tls.key"), "").and_then(|()| fs::write(dir.join("credential-bundle.pem"), "")).unwrap()
        }),
        ("trust broken", |dir| {
            fs::write(dir.join("trust/current/agents.internal.trust-bundle.pem"), "x").unwrap();
            fs::write(dir.join("credential-bundle.pem"), "x").unwrap();
        }),
    ];
    for (what, harm) in harms {
        let bench = Bench::new();
        let dir = bench.minted("billing-bot");
        let running = bench.start("").unwrap();
        // Not at the first look, and not at the second.
        tokio::time::sleep(Duration::from_secs(100)).await;
        harm(&dir);
        let begun = tokio::time::Instant::now();
        running.next(|event| matches!(event, Event::ChangedByHand { .. })).await;
        running.next(|event| matches!(event, Event::Succeeded { .. })).await;
        assert!(begun.elapsed() < Duration::from_secs(70), "{what}: {:?}", begun.elapsed());
        directory::load(&dir, bench.clock.now()).unwrap_or_else(|error| panic!("{what}: {error}"));
        running.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_cannot_be_written_keeps_what_it_has() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let before = serial(&dir);
    // Root may write anywhere: a file where a directory belongs refuses everybody.
    let in_the_way = dir.join("generations/.2.new");
    fs::write(&in_the_way, "in the way").unwrap();
    let running = bench.start("").unwrap();
    let told = running
        .next(|event| matches!(event, Event::RenewalFailed { step: Step::Deliver, .. } | Event::Renewed { .. }))
        .await;
    assert!(matches!(told, Event::RenewalFailed { .. }), "{told:?}");
    assert_eq!(serial(&dir), before);
    fs::remove_file(&in_the_way).unwrap();
    running.next(|event| matches!(event, Event::Succeeded { .. })).await;
    assert_ne!(serial(&dir), before);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_what_is_good_and_sweeps_what_is_half_made() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let before = serial(&dir);
    for half in [".2.new", "2"] {
        fs::create_dir_all(dir.join("generations").join(half)).unwrap();
        fs::write(dir.join("generations").join(half).join("tls.key"), "half").unwrap();
    }
    let running = bench.start("").unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    assert_eq!(serial(&dir), before);
    let left: Vec<_> = fs::read_dir(dir.join("generations")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["1"]);
    let due = running.handle.credential("billing-bot").await.unwrap().unwrap().renewal;
    running.end().await;
    let again = bench.start("").unwrap();
    assert_eq!(again.handle.credential("billing-bot").await.unwrap().unwrap().renewal, due, "rolled once");
    again.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_touches_only_what_changed() {
    let bench = Bench::new();
    for name in ["one", "two", "three"] {
        bench.minted(name);
    }
    let running = bench.start_with(&[bench.entry("one", ""), bench.entry("two", "")].concat()).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    let due = running.handle.credential("one").await.unwrap().unwrap();
    let next = bench.config(&[bench.entry("one", ""), bench.entry("three", "")].concat()).unwrap();
    running.handle.reload(next).await.unwrap().unwrap();
    let told = running.next(|event| matches!(event, Event::ConfigReloaded { .. })).await;
    assert_eq!(told, Event::ConfigReloaded { added: 1, changed: 0, removed: 1, kept: 1 });
    assert_eq!(running.handle.credential("one").await.unwrap().unwrap(), due);
    assert!(running.handle.credential("two").await.unwrap().is_none());
    Claim::acquire(&bench.dir("two")).unwrap();
    let next = bench.config(&[bench.entry("one", "reuse-key = true"), bench.entry("three", "")].concat()).unwrap();
    running.handle.reload(next).await.unwrap().unwrap();
    let told = running.next(|event| matches!(event, Event::ConfigReloaded { .. })).await;
    assert_eq!(told, Event::ConfigReloaded { added: 0, changed: 1, removed: 0, kept: 1 });
    let held = Claim::acquire(&bench.dir("two")).unwrap();
    let next = bench.config(&[bench.entry("one", ""), bench.entry("two", "")].concat()).unwrap();
    assert!(running.handle.reload(next).await.unwrap().is_err(), "a directory that is another's");
    assert!(running.handle.credential("three").await.unwrap().is_some(), "and then nothing changes");
    drop(held);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_this_process_follows_in_memory() {
    let bench = Bench::new();
    bench.minted("billing-bot");
    let running = bench.start("").unwrap();
    let mut watch = running.handle.watch("billing-bot").await.unwrap().unwrap();
    assert!(running.handle.watch("nobody").await.unwrap().is_none());
    let before = watch.borrow_and_update().leaf().serial().clone();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    assert!(!running.handle.renew("nobody").await.unwrap());
    watch.changed().await.unwrap();
    assert_ne!(*watch.borrow().leaf().serial(), before);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn once_renews_what_is_due_tries_everything_and_ends() {
    let bench = Bench::new();
    let (fresh, due) = (bench.minted("fresh"), bench.minted("due"));
    let before = (serial(&fresh), serial(&due));
    let config = [bench.entry("fresh", ""), bench.entry("due", "")].concat();
    bench.clock.jump(3500);
    bench.remint(&fresh, "fresh");
    let kept = serial(&fresh);
    let (rotation, _handle) = bench.rotation(&config, None).unwrap();
    let status = rotation.once().await;
    assert!(status.ready);
    assert_eq!(serial(&fresh), kept);
    assert_ne!(serial(&due), before.1);
    bench.issuer.set(Mood::Down);
    bench.clock.jump(3500);
    let (rotation, _handle) = bench.rotation(&config, None).unwrap();
    let status = rotation.once().await;
    assert_eq!(status.credentials.iter().filter(|credential| credential.failures == 1).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_done_once_for_each_generation_and_also_after_a_restart() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let touched = bench.path("touched");
    let hook = format!("{}on = \"credential\"\n", touching(&touched));
    let running = bench.start(&hook).unwrap();
    running.next(|event| matches!(event, Event::Succeeded { generation: 1, .. })).await;
    fs::remove_file(&touched).unwrap();
    running.end().await;
    let running = bench.start(&hook).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!touched.exists(), "it was done for generation 1");
    running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
    assert!(touched.exists() && dir.join(crate::state::STATE_FILE).exists());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_never_go_in_step() {
    // As many as files allow in a test; the arithmetic of 10,000 is in `schedule`.
    let bench = Bench::new();
    let names: Vec<String> = (0..150).map(|number| format!("bot-{number}")).collect();
    let config: String = names.iter().map(|name| bench.entry(name, "")).collect();
    for name in &names {
        bench.minted(name);
    }
    let (rotation, _handle) = bench.rotation(&config, None).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(rotation.run(shutdown.clone()));
    tokio::time::sleep(Duration::from_secs(1900)).await;
    assert_eq!(bench.issuer.issued(), 150);
    assert!(bench.issuer.most_at_once() <= 16, "{}", bench.issuer.most_at_once());
    assert!(bench.issuer.most_in_a_second() <= 5, "{}", bench.issuer.most_in_a_second());
    shutdown.cancel();
    task.await.unwrap();
}

fn serial(dir: &Path) -> String {
    directory::read(dir).unwrap().credential.leaf().serial().to_string()
}

fn spki(dir: &Path) -> Vec<u8> {
    directory::read(dir).unwrap().credential.leaf().spki_der().to_vec()
}
