//! An issuer that takes a request and answers later.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Whether a request waits beside the credential.
fn waits(dir: &Path) -> bool {
    dir.join(".renewal.pem").exists()
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_approved_is_sent_again_as_it_was_also_by_the_next_process() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let before = serial(&dir);
    bench.issuer.set(Mood::Later);
    let running = bench.start("").unwrap();
    for _ in 0..2 {
        running.next(|event| matches!(event, Event::AwaitingApproval { .. })).await;
    }
    let status = running.handle.credential("billing-bot").await.unwrap().unwrap();
    assert!(status.awaiting_approval && status.failures == 0 && status.failure.is_none(), "{status:?}");
    assert!((100..=144).contains(&status.retry_in.unwrap()), "as long as the issuer asks: {status:?}");
    let why = status.why(bench.clock.now()).join("\n");
    assert!(why.contains("ca: waiting for approval"), "{why}");
    let mode = fs::metadata(dir.join(".renewal.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.end().await;
    let asked = bench.issuer.asked();

    // Another process leaves the issuer alone as long, and sends the same.
    let running = bench.start("").unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.issuer.asked(), asked, "it asked to be left alone");
    assert!(running.handle.credential("billing-bot").await.unwrap().unwrap().awaiting_approval);
    running.next(|event| matches!(event, Event::AwaitingApproval { .. })).await;
    let requests: BTreeSet<_> = bench.issuer.requests().into_iter().collect();
    assert_eq!(requests.len(), 1, "one key and one request");
    bench.issuer.set(Mood::Good);
    running.next(|event| matches!(event, Event::Renewed { .. })).await;
    assert_eq!(bench.issuer.requests().into_iter().collect::<BTreeSet<_>>(), requests);
    assert!(serial(&dir) != before && !waits(&dir));
    let status = running.handle.credential("billing-bot").await.unwrap().unwrap();
    assert!(!status.awaiting_approval, "{status:?}");
    // What comes next is another request.
    running.next(|event| matches!(event, Event::Renewed { .. })).await;
    assert_eq!(bench.issuer.requests().into_iter().collect::<BTreeSet<_>>().len(), 2);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_issuer_keeps_the_request_and_one_that_answers_otherwise_or_another_leaf_does_not() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    bench.issuer.set(Mood::Later);
    let running = bench.start("").unwrap();
    running.next(|event| matches!(event, Event::AwaitingApproval { .. })).await;
    bench.issuer.set(Mood::Down);
    running.next(|event| matches!(event, Event::RenewalFailed { .. })).await;
    assert!(waits(&dir), "nobody has answered");
    bench.issuer.set(Mood::Refused);
    running.next(|event| matches!(event, Event::RenewalFailed { cause, .. } if cause.contains("403"))).await;
    assert!(!waits(&dir));
    bench.issuer.set(Mood::Later);
    running.next(|event| matches!(event, Event::AwaitingApproval { .. })).await;
    let requests = bench.issuer.requests();
    assert_ne!(requests.first(), requests.last(), "a request that was refused is not sent again");
    running.end().await;
    // Somebody puts another certificate there.
    bench.remint(&dir, "billing-bot");
    assert!(waits(&dir));
    let running = bench.start("").unwrap();
    running.next(|event| matches!(event, Event::AwaitingApproval { .. })).await;
    assert_ne!(bench.issuer.requests().last(), requests.last(), "it followed another certificate");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_does_not_come_is_a_failure_once_the_end_is_near_and_once_ends_without_one() {
    let bench = Bench::new();
    bench.minted("billing-bot");
    bench.issuer.set(Mood::Later);
    let running = bench.start("").unwrap();
    running.next(|event| matches!(event, Event::HealthChanged { health: crate::schedule::Health::Amber })).await;
    assert!(running.told().iter().all(|event| !matches!(event, Event::RenewalFailed { .. })));
    let told = running.next(|event| matches!(event, Event::RenewalFailed { .. })).await;
    let Event::RenewalFailed { cause, failures: 1, step: Step::Issue, .. } = told else { panic!("{told:?}") };
    assert!(cause.contains("will answer later"), "{cause}");
    let status = running.handle.credential("billing-bot").await.unwrap().unwrap();
    assert!(status.awaiting_approval && status.failures == 1, "{status:?}");
    running.end().await;

    let bench = Bench::new();
    bench.minted("billing-bot");
    bench.issuer.set(Mood::Later);
    bench.clock.jump(1900);
    let (rotation, _handle) = bench.rotation(&bench.entry("billing-bot", ""), None).unwrap();
    let status = rotation.once().await.credentials.remove(0);
    assert!(status.awaiting_approval && status.failures == 0, "{status:?}");
}
