//! The task, a step at a time.

use std::fs;
use std::time::Duration;

use super::Rotation;
use crate::run::Handle;
use crate::run::jobs::{Job, Kind};
use crate::run::tests::double::Bench;

/// Steps until something holds.
async fn until(rotation: &mut Rotation, holds: impl Fn(&Rotation) -> bool) {
    while !holds(rotation) {
        rotation.step().await;
    }
}

/// Goes by another configuration.
async fn reload(bench: &Bench, rotation: &mut Rotation, handle: &Handle, credentials: &str) {
    let (config, handle) = (bench.config(credentials).unwrap(), handle.clone());
    let reloaded = tokio::spawn(async move { handle.reload(config).await.unwrap().unwrap() });
    until(rotation, |_| reloaded.is_finished()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_credential_that_is_kept_fresh_no_more() {
    let bench = Bench::new();
    let [kept, removed] = ["kept", "removed"].map(|name| (bench.entry(name, ""), bench.minted(name)));
    let (mut rotation, handle) = bench.rotation(&[kept.0.as_str(), &removed.0].concat(), None).unwrap();
    rotation.follow_lists();
    // Until the lists are followed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    fs::remove_dir_all(removed.1.join("trust")).unwrap();
    fs::write(removed.1.join("trust"), "").unwrap();
    bench.issuer.publish(bench.issuer.lists(), true);
    until(&mut rotation, |rotation| !rotation.undelivered.is_empty()).await;
    reload(&bench, &mut rotation, &handle, &kept.0).await;
    assert!(rotation.undelivered.is_empty() && rotation.retries.next().is_none());
    let ids: Vec<u64> = rotation.refreshes.iter().map(|(id, _)| *id).collect();
    assert!(ids.iter().all(|id| rotation.slots.contains_key(id)), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn what_takes_another_entrys_place_writes_its_state_after_it() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (mut rotation, handle) = bench.rotation(&bench.entry("billing-bot", ""), None).unwrap();
    let writes = |rotation: &Rotation| {
        let write = |job: &&Job| matches!(job, Job::Of { kind: Kind::Remember, .. });
        rotation.running.values().filter(write).count()
    };
    assert_eq!(writes(&rotation), 1, "what was found is written, and nobody has looked yet whether it is");
    let hook = format!("reuse-key = true\n[[credential.hook]]\ntouch = \"{}\"\n", bench.path("touched").display());
    let before = rotation.slots.values().next().unwrap().hooks;
    let config = bench.config(&bench.entry("billing-bot", &hook)).unwrap();
    let order = tokio::spawn(async move { handle.reload(config).await });
    tokio::task::yield_now().await;
    let order_of = rotation.orders.try_recv().unwrap();
    rotation.obey(order_of);
    order.await.unwrap().unwrap().unwrap();
    assert_eq!(writes(&rotation), 1, "one after another");
    assert!(rotation.slots.values().all(|slot| slot.entry.reuse_key));
    until(&mut rotation, |rotation| writes(rotation) == 0).await;
    let hooks = rotation.slots.values().next().unwrap().hooks;
    let written = fs::read_to_string(dir.join(crate::state::STATE_FILE)).unwrap();
    assert!(rotation.writing.is_empty() && hooks != before);
    assert!(
        written.contains(&format!("\"hooks\":{hooks}")) || written.contains(&format!("\"hooks\": {hooks}")),
        "{written}"
    );
}
