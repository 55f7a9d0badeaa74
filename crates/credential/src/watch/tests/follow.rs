//! The task: real files, real notices, and a bound on how long they may take.

use super::*;

/// How soon a change must be seen: within a second on a quiet machine, far from the next poll on a busy one.
const SOON: StdDuration = StdDuration::from_secs(10);

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> UnixTime {
        NOW
    }
}

fn spawn(config: DirectoryConfig) -> DirectorySource {
    // Only the watch can be as quick as the tests want.
    DirectorySource::spawn(DirectoryConfig { poll: Duration::from_secs(3600), ..config }, Arc::new(Fixed)).unwrap()
}

/// Waits until the trust that is published gives this verdict.
async fn judged(estate: &Estate, trust: &mut watch::Receiver<Arc<Trust>>, good: bool) {
    let verdict = trust.wait_for(|trust| estate.judge(trust).is_ok() == good);
    tokio::time::timeout(SOON, verdict).await.expect("the change is seen in time").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_seen() {
    let estate = Estate::new();
    let source = spawn(estate.config());
    let mut credential = Source::watch(&source);
    let next = estate.deliver(PATH);
    let seen = credential.wait_for(|credential| credential.leaf().thumbprint() == next.leaf().thumbprint());
    tokio::time::timeout(SOON, seen).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_by_every_way_of_writing_a_file_is_seen() {
    let estate = Estate::new();
    let crl = estate.path("crl.pem");
    fs::write(&crl, pem(&estate.good_crls())).unwrap();
    let source = spawn(DirectoryConfig { crl: Some(crl.clone()), ..estate.config() });
    let mut trust = TrustSource::watch(&source);
    judged(&estate, &mut trust, true).await;
    // In place.
    fs::write(&crl, pem(&estate.revoking_crls())).unwrap();
    judged(&estate, &mut trust, false).await;
    // By rename.
    fs::write(estate.path("crl.new"), pem(&estate.good_crls())).unwrap();
    fs::rename(estate.path("crl.new"), &crl).unwrap();
    judged(&estate, &mut trust, true).await;
    // Removed and written.
    fs::remove_file(&crl).unwrap();
    fs::write(&crl, pem(&estate.revoking_crls())).unwrap();
    judged(&estate, &mut trust, false).await;
    // Published beside the trust, a moment later.
    let mut status = source.status();
    tokio::time::timeout(SOON, status.wait_for(|status| status.is_ready())).await.expect("it is ready").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_switch_of_the_trust_directory_is_seen() {
    let estate = Estate::new();
    let source = spawn(estate.config());
    let mut trust = source.trust();
    for _ in 0..3 {
        estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
        judged(&estate, &mut trust, false).await;
        estate.deliver_trust(&[estate.bundle()], estate.good_crls());
        judged(&estate, &mut trust, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_directory_that_was_replaced_is_still_watched() {
    let estate = Estate::new();
    let source = spawn(estate.config());
    let mut trust = source.trust();
    fs::remove_dir_all(estate.dir().join("trust")).unwrap();
    estate.deliver_trust(&[estate.bundle()], estate.revoking_crls());
    judged(&estate, &mut trust, false).await;
    estate.deliver_trust(&[estate.bundle()], estate.good_crls());
    judged(&estate, &mut trust, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_mode_of_revocation_is_published() {
    let estate = Estate::new();
    let source = spawn(estate.config());
    let mut trust = source.trust();
    estate.deliver_trust(&[estate.bundle()], Vec::new());
    judged(&estate, &mut trust, false).await;
    source.set_revocation(BTreeMap::from([(td(), Revocation::DangerNone)]));
    judged(&estate, &mut trust, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_poll_sees_what_the_watch_does_not() {
    let estate = Estate::new();
    // A link into a directory that nobody watches: the list's file is replaced two links away.
    let far = estate.path("far");
    fs::create_dir_all(far.join("deeper")).unwrap();
    fs::write(far.join("deeper/crl"), pem(&estate.good_crls())).unwrap();
    std::os::unix::fs::symlink("deeper", far.join("link")).unwrap();
    let crl = far.join("link/crl");
    let config = DirectoryConfig { crl: Some(crl), poll: StdDuration::from_millis(100), ..estate.config() };
    let source = DirectorySource::spawn(config, Arc::new(Fixed)).unwrap();
    let mut trust = source.trust();
    fs::create_dir(far.join("other")).unwrap();
    fs::write(far.join("other/crl"), pem(&estate.revoking_crls())).unwrap();
    std::os::unix::fs::symlink("other", far.join("link.new")).unwrap();
    fs::rename(far.join("link.new"), far.join("link")).unwrap();
    judged(&estate, &mut trust, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_source_ends_its_task() {
    let estate = Estate::new();
    let source = spawn(estate.config());
    let mut status = source.status();
    drop(source);
    let ended = tokio::time::timeout(SOON, async { while status.changed().await.is_ok() {} });
    ended.await.unwrap();
}
