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
