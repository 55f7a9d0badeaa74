//! What the authority does by itself, on a clock that jumps.

use std::time::Duration;

use super::*;

/// An upkeep of the test's own, beside the one that runs.
fn upkeep(estate: &Estate) -> (Upkeep, watch::Receiver<Arc<Credential>>) {
    let (publish, credential) = watch::channel(Arc::clone(&estate.shared.credential.borrow()));
    (Upkeep::new(Arc::clone(&estate.shared), publish), credential)
}

#[tokio::test]
async fn lists_are_signed_anew_at_half_of_their_day() {
    let estate = Estate::new().await;
    let next = |estate: &Estate| estate.shared.lists.borrow().current().unwrap().next_update();
    // `ca init` believed in seven days; a service in one.
    let (mut upkeep, _credential) = upkeep(&estate);
    // Whatever was cut off before this start: the first look signs.
    upkeep.look().await;
    let first = next(&estate);
    assert_eq!(first, START.saturating_add(Duration::from_secs(24 * 3600)));
    estate.fixture.clock.advance(Duration::from_secs(12 * 3600 - 1));
    upkeep.look().await;
    assert_eq!(next(&estate), first);
    estate.fixture.clock.advance(Duration::from_secs(1));
    upkeep.look().await;
    assert_eq!(next(&estate), START.saturating_add(Duration::from_secs(36 * 3600)));
    assert!(estate.shared.examine().iter().all(|reason| !reason.contains("list")), "{:?}", estate.shared.examine());
}

#[tokio::test]
async fn its_own_certificate_is_renewed_at_half_of_its_life_and_carries_its_names() {
    let estate = Estate::new().await;
    let (mut upkeep, credential) = upkeep(&estate);
    let first = credential.borrow().leaf().clone();
    assert_eq!(first.spiffe_id(), Some(&id("server/authority")));
    let names: Vec<String> = first.sans().iter().map(|san| format!("{san:?}")).collect();
    assert!(names.iter().any(|name| name.contains("localhost")) && names.iter().any(|name| name.contains("127.0.0.1")));
    estate.fixture.clock.advance(Duration::from_secs(1700));
    upkeep.look().await;
    assert_eq!(credential.borrow().leaf().serial(), first.serial());
    estate.fixture.clock.advance(Duration::from_secs(100));
    upkeep.look().await;
    assert_ne!(credential.borrow().leaf().serial(), first.serial());
    assert_eq!(credential.borrow().leaf().sans(), first.sans());
}

#[tokio::test]
async fn the_intermediate_is_renewed_at_two_thirds_of_its_life_and_nobody_notices() {
    let estate = Estate::new().await;
    let holder = estate.holder("agent/billing-bot").await;
    let first = estate.shared.desk.signing().key_id.clone();
    let (mut upkeep, credential) = upkeep(&estate);
    estate.fixture.clock.advance(DAY * 244);
    upkeep.look().await;
    let signing = estate.shared.desk.signing();
    assert_ne!(signing.key_id, first);
    assert_eq!(credential.borrow().chain()[1], *signing.signer.certificate());
    assert!(
        estate.shared.examine().iter().all(|reason| reason.contains("own certificate")),
        "{:?}",
        estate.shared.examine()
    );
    drop(holder);
}

#[tokio::test]
async fn what_another_process_does_in_the_directory_counts_at_the_next_look() {
    let estate = Estate::new().await;
    let (mut upkeep, _credential) = upkeep(&estate);
    let etag = estate.shared.lists.borrow().etag.clone();
    estate.fixture.authority.crl().await.unwrap();
    upkeep.look().await;
    assert_ne!(estate.shared.lists.borrow().etag, etag);
    let first = estate.shared.desk.signing().key_id.clone();
    estate.fixture.authority.renew_intermediate().await.unwrap();
    upkeep.look().await;
    assert_ne!(estate.shared.desk.signing().key_id, first);
    // A broken file is no decision: the last good lists still count.
    std::fs::write(estate.fixture.path().join("crl.pem"), "half-writ").unwrap();
    let etag = estate.shared.lists.borrow().etag.clone();
    upkeep.look().await;
    assert_eq!(estate.shared.lists.borrow().etag, etag);
}

#[tokio::test]
async fn a_broken_file_turns_readiness_red_and_its_mending_green() {
    let place = tempfile::tempdir().unwrap();
    let enrol = place.path().join("enrol.toml");
    std::fs::write(&enrol, "version = 1\n").unwrap();
    let estate = Estate::with(|config| config.enrol = Some(enrol.clone())).await;
    let (mut upkeep, _credential) = upkeep(&estate);
    upkeep.look().await;
    assert!(estate.shared.examine().is_empty(), "{:?}", estate.shared.examine());
    let lists = estate.fixture.path().join("crl.pem");
    for (file, words) in [(lists, "crl.pem"), (enrol, "enrol.toml")] {
        let good = std::fs::read(&file).unwrap();
        std::fs::write(&file, "half-writ").unwrap();
        upkeep.look().await;
        upkeep.look().await;
        let wrong = estate.shared.examine();
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{wrong:?}");
        std::fs::write(&file, good).unwrap();
        upkeep.look().await;
        assert!(estate.shared.examine().is_empty(), "{:?}", estate.shared.examine());
    }
}

#[tokio::test]
async fn a_file_that_stays_broken_costs_the_others_nothing() {
    let place = tempfile::tempdir().unwrap();
    let enrol = place.path().join("enrol.toml");
    std::fs::write(&enrol, "version = 1\n").unwrap();
    let estate = Estate::with(|config| config.enrol = Some(enrol.clone())).await;
    let (mut upkeep, _credential) = upkeep(&estate);
    upkeep.look().await;
    upkeep.look().await;
    let mut trust = estate.shared.trust.subscribe();
    std::fs::write(&enrol, "half-writ").unwrap();
    for _ in 0..3 {
        upkeep.look().await;
    }
    assert!(!estate.shared.examine().is_empty());
    assert!(estate.shared.reload_lists());
    assert!(!trust.has_changed().unwrap(), "nothing that trust is made of is another");
    estate.fixture.authority.crl().await.unwrap();
    upkeep.look().await;
    assert!(trust.has_changed().unwrap());
    trust.mark_unchanged();
}

#[tokio::test]
async fn lists_that_another_process_signs_count_although_ours_were_signed_just_now() {
    let estate = Estate::new().await;
    let (mut upkeep, _credential) = upkeep(&estate);
    upkeep.look().await;
    estate.fixture.authority.crl().await.unwrap();
    upkeep.look().await;
    let number = |crl: &Arc<countermark_credential::Crl>| crl.number();
    let newest = estate.fixture.authority.crls().unwrap().iter().map(countermark_credential::Crl::number).max();
    assert_eq!(estate.shared.lists.borrow().crls.iter().map(number).max(), newest);
}

#[tokio::test]
async fn another_process_that_holds_the_directory_holds_up_no_certificate_of_its_own() {
    let estate = Estate::new().await;
    let (mut upkeep, credential) = upkeep(&estate);
    upkeep.look().await;
    let first = credential.borrow().leaf().serial().clone();
    let held = std::fs::File::open(estate.fixture.path().join("inventory.lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // Half of its own life, and of that of the lists.
    estate.fixture.clock.advance(Duration::from_secs(12 * 3600));
    let begun = std::time::Instant::now();
    upkeep.look().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_ne!(*credential.borrow().leaf().serial(), first);
    let wrong = estate.shared.examine();
    assert!(wrong.iter().any(|line| line.contains("another process") && line.contains("inventory.lock")), "{wrong:?}");
    drop(held);
    estate.fixture.clock.advance(Duration::from_secs(60));
    upkeep.look().await;
    assert!(estate.shared.examine().iter().all(|line| !line.contains("inventory.lock")));
}

#[tokio::test]
async fn lists_that_were_read_first_are_not_published_last() {
    let estate = Estate::new().await;
    let number = |crl: &Arc<countermark_credential::Crl>| crl.number();
    for _ in 0..20 {
        let (shared, other) = (Arc::clone(&estate.shared), Arc::clone(&estate.shared));
        let reading = tokio::task::spawn_blocking(move || shared.reload_lists());
        estate.fixture.authority.crl().await.unwrap();
        assert!(other.reload_lists() && reading.await.unwrap());
        let newest = estate.fixture.authority.crls().unwrap().iter().map(countermark_credential::Crl::number).max();
        assert_eq!(estate.shared.lists.borrow().crls.iter().map(number).max(), newest);
    }
}

#[tokio::test]
async fn probes_tell_health_readiness_and_metrics_and_no_page_in_a_browser() {
    let estate = Estate::new().await;
    let probe = async |path: &str, header: &'static str| {
        let request = Request::get(path).header("host", "localhost").header(header, "x").body(()).unwrap();
        let (parts, body) = probes::respond(&request, &estate.shared).into_parts();
        (parts.status.as_u16(), String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    assert_eq!(probe("/healthz", "x").await, (200, "ok\n".to_owned()));
    assert_eq!(probe("/readyz", "x").await, (200, "ready\n".to_owned()));
    let (status, metrics) = probe("/metrics", "x").await;
    assert_eq!(status, 200);
    for name in ["crl_next_update_seconds", "intermediate_not_after_seconds", "commit_writes", "ready 1"] {
        assert!(metrics.contains(&format!("countermark_authority_{name}")), "{name} is missing:\n{metrics}");
    }
    assert_eq!(probe("/readyz", "origin").await.0, 403);
    assert_eq!(probe("/secrets", "x").await.0, 404);
    let bare = probes::respond(&Request::get("/readyz").body(()).unwrap(), &estate.shared);
    assert_eq!(bare.status().as_u16(), 403, "no Host");
    let posted = probes::respond(&Request::post("/readyz").header("host", "x").body(()).unwrap(), &estate.shared);
    assert_eq!(posted.status().as_u16(), 405);

    // Where nobody looks after it for a month, it says what is wrong.
    estate.fixture.clock.advance(DAY * 30);
    let (status, reasons) = probe("/readyz", "x").await;
    assert_eq!(status, 503);
    assert!(reasons.contains("list is stale") && reasons.contains("own certificate"), "{reasons}");
}

#[tokio::test]
async fn a_failed_renewal_of_its_own_certificate_is_tried_again_within_its_life() {
    let fixture = Fixture::new().await;
    let path = fixture.path().join("profiles/server.toml");
    let profile = std::fs::read_to_string(&path).unwrap();
    let short = profile.replace("default_ttl = \"1h\"", "default_ttl = \"30s\"").replace("\"5m\"", "\"30s\"");
    std::fs::write(&path, &short).unwrap();
    let estate = Estate::over(fixture, |_| {}, |stores| stores).await;
    let (mut upkeep, credential) = upkeep(&estate);
    upkeep.look().await;
    let first = credential.borrow().leaf().clone();
    assert!(first.not_after().duration_since(START).as_secs() <= 30);
    std::fs::write(&path, "half-writ").unwrap();
    estate.fixture.clock.advance(Duration::from_secs(15));
    upkeep.look().await;
    assert_eq!(credential.borrow().leaf().serial(), first.serial());
    std::fs::write(&path, short).unwrap();
    estate.fixture.clock.advance(Duration::from_secs(3));
    upkeep.look().await;
    assert_ne!(credential.borrow().leaf().serial(), first.serial(), "a minute later it would have been over");
}
