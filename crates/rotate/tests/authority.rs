//! Enrolment and renewal with the real authority.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countermark_credential::directory::{self, DeliveryError};
use countermark_identity::{Clock as _, Secret, Thumbprint};
use countermark_rotate::enrol::{EnrolError, Enrolment, Entitlement, Root, is_pending};
use countermark_rotate::issuer::{Listing, Present, Remote, Stations as _};
use countermark_rotate::request::KeyKind;
use countermark_rotate::{Rotation, Setup};
use tokio_util::sync::CancellationToken;

use crate::estate::{BOT, Estate, PATIENCE, serial, spki};

#[tokio::test]
async fn an_invite_becomes_a_credential_once() {
    let estate = Estate::new().await;
    let invite = estate.invite(BOT).await;
    let again = estate.invite(BOT).await;
    let enrolled = estate.join(Enrolment::by_invite(invite, estate.dir("billing-bot"))).await.unwrap();
    assert_eq!(enrolled.identity.as_str(), BOT);
    let loaded = directory::load(&estate.dir("billing-bot"), estate.clock.now()).unwrap();
    assert_eq!(loaded.credential.spiffe_id().unwrap().as_str(), BOT);
    assert!(!loaded.crls.is_empty() && loaded.bundles[0].sequence().is_some());
    assert!(!is_pending(&estate.dir("billing-bot")), "the key is in the credential alone");
    // The same secret with another key, from another directory.
    let secret = Secret::new(again.secret.expose().clone());
    estate.join(Enrolment::by_invite(again, estate.dir("second"))).await.unwrap();
    let stolen = Enrolment {
        url: estate.url.parse().unwrap(),
        server: None,
        identity: None,
        root: Root::Pinned(estate.root()),
        secret: Entitlement::Invite(secret),
        key: KeyKind::P256,
        out: estate.dir("thief"),
    };
    let Err(EnrolError::Refused(refused)) = estate.join(stolen).await else { panic!("a stolen secret was taken") };
    let said = refused.to_string();
    assert!(said.contains("403") && said.contains("used by another key; ask for a new one"), "{said}");
    assert!(directory::read(&estate.dir("thief")).is_err());
}

#[tokio::test]
async fn who_enrols_again_withdraws_no_partner() {
    let estate = Estate::new().await;
    let out = estate.joined().await;
    let link = out.join("trust/current");
    let partner = countermark_testkit::TestCa::new("partner.example").bundle();
    let name = directory::bundle_name(partner.trust_domain());
    std::fs::write(link.join(&name), partner.to_pem()).unwrap();
    estate.join(Enrolment::by_invite(estate.invite(BOT).await, out.clone())).await.unwrap();
    let partners = || directory::salvage_partners(&out, &"agents.internal".parse().unwrap());
    assert_eq!(partners().unwrap().trust.bundles.len(), 1);
    // Nor where nothing says who they are: that is known before the secret is spent.
    let target = std::fs::read_link(&link).unwrap();
    std::fs::remove_file(&link).unwrap();
    let invite = estate.invite(BOT).await;
    let secret = Secret::new(invite.secret.expose().clone());
    let refused = estate.join(Enrolment::by_invite(invite, out.clone())).await.unwrap_err();
    assert!(matches!(refused, EnrolError::Delivery(DeliveryError::Partners { .. })), "{refused}");
    assert!(!is_pending(&out));
    std::os::unix::fs::symlink(target, &link).unwrap();
    let mut enrolment = Enrolment::by_invite(estate.invite(BOT).await, out.clone());
    enrolment.secret = Entitlement::Invite(secret);
    estate.join(enrolment).await.unwrap();
    assert_eq!(partners().unwrap().trust.bundles.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let estate = Estate::new().await;
    let out = estate.dir("billing-bot");
    let invite = estate.invite(BOT).await;
    let secret = invite.secret.expose().clone();
    estate.join(Enrolment::by_invite(invite, out.clone())).await.unwrap();
    let (first, key) = (serial(&out), directory::read(&out).unwrap().credential.key_to_pem());
    // As if the process had been killed before the answer was delivered.
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join(".join.key"), key.expose()).unwrap();
    let mut enrolment = Enrolment::by_invite(estate.invite(BOT).await, out.clone());
    enrolment.secret = Entitlement::Invite(Secret::new(secret));
    estate.join(enrolment).await.unwrap();
    assert_eq!(serial(&out), first);
}

#[tokio::test]
async fn a_wrong_pin_or_name_stops_before_the_secret_leaves() {
    let estate = Estate::new().await;
    let mut pinned = Enrolment::by_invite(estate.invite(BOT).await, estate.dir("billing-bot"));
    pinned.root = Root::Pinned(Thumbprint::of(b"another root"));
    assert!(matches!(estate.join(pinned).await, Err(EnrolError::OtherRoot { .. })));
    let mut named = Enrolment::by_invite(estate.invite(BOT).await, estate.dir("billing-bot"));
    named.server = Some("spiffe://agents.internal/server/other".parse().unwrap());
    assert!(matches!(estate.join(named).await, Err(EnrolError::Authority(_))));
    let mut other = Enrolment::by_invite(estate.invite(BOT).await, estate.dir("billing-bot"));
    other.url = other.url.to_string().replace("localhost", "127.0.0.1").parse().unwrap();
    estate.join(other).await.unwrap();
}

#[tokio::test]
async fn another_identitys_directory_is_not_enrolled_into() {
    let estate = Estate::new().await;
    let out = estate.joined().await;
    let other = estate.invite("spiffe://agents.internal/agent/other-bot").await;
    let refused = estate.join(Enrolment::by_invite(other, out.clone())).await.unwrap_err();
    assert!(matches!(refused, EnrolError::OtherIdentity { .. }), "{refused}");
    assert_eq!(directory::read(&out).unwrap().credential.spiffe_id().unwrap().as_str(), BOT);
}

#[tokio::test]
async fn it_renews_over_its_own_connection_with_a_new_key_by_json_and_by_plain_est() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    for (kind, more) in [("authority", ""), ("est", "")] {
        let (before, key) = (serial(&dir), spki(&dir));
        assert!(estate.once(estate.config(kind, more)).await.ready);
        assert_eq!(serial(&dir), before, "{kind}: it is not due");
        estate.clock.advance(Duration::from_secs(1900));
        let status = estate.once_good(&estate.config(kind, more)).await;
        assert_eq!(status.credentials[0].failures, 0, "{kind}: {status:?}");
        assert_ne!(serial(&dir), before, "{kind}");
        assert_ne!(spki(&dir), key, "{kind}");
    }
}

#[tokio::test]
async fn the_key_is_kept_where_that_is_wanted() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let (before, key) = (serial(&dir), spki(&dir));
    estate.clock.advance(Duration::from_secs(1900));
    estate.once_good(&estate.config("authority", "reuse-key = true\n")).await;
    assert_ne!(serial(&dir), before);
    assert_eq!(spki(&dir), key);
}

#[tokio::test]
async fn after_a_long_sleep_the_expired_certificate_still_renews_and_after_three_days_it_does_not() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let before = serial(&dir);
    // The certificate has been over for more than a day, and so are the revocation lists.
    estate.clock.advance(Duration::from_secs(30 * 3600));
    let status = estate.once_good(&estate.config("authority", "")).await;
    assert_eq!(status.credentials[0].failures, 0, "{status:?}");
    assert!(status.ready);
    assert_ne!(serial(&dir), before);
    directory::load(&dir, estate.clock.now()).unwrap();
    let kept = serial(&dir);
    estate.clock.advance(Duration::from_secs(3600 + 73 * 3600));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = estate.once(estate.config("authority", "")).await;
    assert!(!status.ready && status.credentials[0].failures == 1, "{status:?}");
    assert_eq!(serial(&dir), kept);
}

#[tokio::test]
async fn a_revoked_credential_renews_neither_alive_nor_expired() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let before = serial(&dir);
    estate.revoke().await;
    for passed in [1900, 7200] {
        estate.clock.advance(Duration::from_secs(passed));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let status = estate.once(estate.config("authority", "")).await;
        assert!(status.credentials[0].failures > 0, "{status:?}");
        assert_eq!(serial(&dir), before);
    }
}

#[tokio::test]
async fn the_authority_may_be_down_and_come_back() {
    let mut estate = Estate::new().await;
    let dir = estate.joined().await;
    let before = serial(&dir);
    estate.clock.advance(Duration::from_secs(1900));
    estate.stop().await;
    let status = estate.once(estate.config("authority", "")).await;
    let failure = status.credentials[0].failure.as_ref().unwrap();
    assert_eq!(failure.step, "issue", "{failure:?}");
    assert!(status.ready, "the last good one is kept");
    assert_eq!(serial(&dir), before);
    estate.serve().await;
    estate.once_good(&estate.config("authority", "")).await;
    assert_ne!(serial(&dir), before);
}

#[tokio::test]
async fn without_a_credential_nothing_is_asked() {
    let estate = Estate::new().await;
    let status = estate.once(estate.config("authority", "")).await;
    let failure = status.credentials[0].failure.as_ref().unwrap();
    assert!(failure.cause.contains("countermark join"), "{failure:?}");
}

/// Runs until it is dropped; what happened is counted.
async fn rotating(estate: &Estate, more: &str) -> (countermark_rotate::Handle, CancellationToken) {
    let clock = Arc::new(estate.clock.clone());
    let setup = Setup {
        config: estate.config("authority", more),
        stations: Arc::new(Remote::new(clock.clone())),
        clock,
        observers: Vec::new(),
    };
    let (rotation, handle) = Rotation::start(setup).unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(rotation.run(shutdown.clone()));
    (handle, shutdown)
}

#[tokio::test]
async fn a_revocation_reaches_the_directory_at_once_and_the_hooks_with_it() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let other = estate.dir("other-bot");
    let invite = estate.invite("spiffe://agents.internal/agent/other-bot").await;
    estate.join(Enrolment::by_invite(invite, other.clone())).await.unwrap();
    let victim = directory::read(&other).unwrap().credential.leaf().serial().clone();
    let touched = estate.place.path().join("touched");
    let hook = format!("[[credential.hook]]\ntouch = \"{}\"\n", touched.display());
    let (handle, shutdown) = rotating(&estate, &hook).await;
    // The first answer of the poll, which is what the directory has already.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(handle.status().await.unwrap().ready);
    let _ = std::fs::remove_file(&touched);
    let target = countermark_authority::Target::Identity("spiffe://agents.internal/agent/other-bot".parse().unwrap());
    estate.authority().revoke(&target, countermark_issue::RevocationReason::KeyCompromise).await.unwrap();
    let begun = Instant::now();
    let revoked = || {
        let loaded = directory::load_trust(&dir).unwrap();
        loaded.crls.iter().flat_map(|domain| &domain.crls).any(|crl| crl.revokes(&victim).is_some())
    };
    while !(revoked() && touched.exists()) {
        assert!(begun.elapsed() < PATIENCE, "the directory never hears of it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("from the end of the revocation to the directory and its hook: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    shutdown.cancel();
}

#[tokio::test]
async fn an_est_server_without_revocation_lists_is_asked_only_where_that_is_said() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    std::fs::remove_file(dir.join("trust/current/agents.internal.crl.pem")).unwrap();
    estate.clock.advance(Duration::from_secs(1900));
    let before = serial(&dir);
    let config = |issuer: &str| {
        let text = format!(
            "version = 1\n[[issuer]]\nname = \"it\"\nkind = \"est\"\nurl = \"{}\"\n{issuer}\
             [[credential]]\nname = \"x\"\nidentity = \"{BOT}\"\nissuer = \"it\"\ndirectory = \"id/billing-bot\"\n",
            estate.url
        );
        countermark_rotate::Config::parse(&text, &estate.place.path().join("rotate.toml")).unwrap()
    };
    let status = estate.once(config("")).await;
    let failure = status.credentials[0].failure.as_ref().unwrap();
    assert!(failure.cause.contains("there is no CRL"), "{failure:?}");
    assert_eq!(serial(&dir), before);
    estate.once_good(&config("revocation = \"danger_none\"\n")).await;
    assert_ne!(serial(&dir), before);
}

#[tokio::test]
async fn what_a_root_revoked_is_had_although_the_authority_is_not_known_yet() {
    let mut estate = Estate::new().await;
    let dir = estate.joined().await;
    // While nobody looks, the intermediate is revoked: ours, and that of the authority's own certificate.
    estate.stop().await;
    let listed = estate.authority().list(&countermark_authority::Filter::default()).await.unwrap();
    let reason = countermark_issue::RevocationReason::KeyCompromise;
    estate.authority().revoke_issuer(&listed[0].issuer, reason).await.unwrap();
    estate.serve().await;
    let (_handle, shutdown) = rotating(&estate, "").await;
    let begun = Instant::now();
    let signed = estate.authority().crls().unwrap();
    assert_eq!(signed.len(), 3, "of the root, of the intermediate, and of its successor");
    let told = || {
        let loaded = directory::load_trust(&dir).unwrap();
        let there: Vec<_> = loaded.crls.iter().flat_map(|domain| &domain.crls).collect();
        // The root's list names the intermediate, and the successor's is there although its certificate is not.
        there.iter().any(|crl| !crl.is_empty())
            && signed.iter().all(|crl| there.iter().any(|other| other.issuer_der() == crl.issuer_der()))
    };
    while !told() {
        assert!(begun.elapsed() < PATIENCE, "the directory never hears of it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
}

#[tokio::test]
async fn who_follows_the_lists_goes_by_the_trust_that_is_there_also_in_the_midst_of_a_poll() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let config = estate.config("authority", "");
    let remote = Remote::new(Arc::new(estate.clock.clone()));
    let mut present = Present::default();
    present.credential = Some(directory::read(&dir).unwrap().credential);
    present.trust = directory::load_trust(&dir).unwrap();
    let following = remote.lists(&config.credentials[0], &present, estate.clock.now()).await.unwrap();
    let mut lists = following.unwrap();
    let mut next = async || {
        let verified = |listing: Option<Listing>| listing.is_some_and(|listing| listing.verified);
        tokio::time::timeout(PATIENCE, lists.next()).await.unwrap().map(verified)
    };
    assert!(next().await.unwrap());
    // Another root takes the place of the authority's.
    let file = dir.join("trust/current/agents.internal.trust-bundle.pem");
    let genuine = std::fs::read(&file).unwrap();
    let stranger = countermark_testkit::TestCa::new("agents.internal").bundle().with_sequence(u64::MAX);
    let crls = directory::load_trust(&dir).unwrap().crls;
    let deliver = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        directory::deliver_trust(&dir, &[stranger], &crls).unwrap()
    };
    let begun = Instant::now();
    let (followed, ()) = tokio::join!(next(), deliver);
    assert!(!followed.unwrap_or(false), "the authority is nobody's any more");
    assert!(begun.elapsed() < Duration::from_secs(20), "the poll alone would have lasted a minute");
    std::fs::write(&file, genuine).unwrap();
    assert!(next().await.unwrap(), "and is known again without another start");
}

#[tokio::test]
async fn who_follows_the_lists_goes_by_another_credential_in_the_midst_of_a_poll() {
    let estate = Estate::new().await;
    let dir = estate.joined().await;
    let config = estate.config("authority", "");
    let remote = Remote::new(Arc::new(estate.clock.clone()));
    let mut present = Present::default();
    present.credential = Some(directory::read(&dir).unwrap().credential);
    present.trust = directory::load_trust(&dir).unwrap();
    let following = remote.lists(&config.credentials[0], &present, estate.clock.now()).await.unwrap();
    let mut lists = following.unwrap();
    assert!(tokio::time::timeout(PATIENCE, lists.next()).await.unwrap().unwrap().unwrap().polled);
    // The same trust, and in place of the credential one that the authority has never seen.
    let material = directory::load_trust(&dir).unwrap();
    let stranger = countermark_testkit::TestCa::with_clock("agents.internal", estate.clock.clone());
    let credential = stranger.mint(&stranger.agent_spec("billing-bot")).credential();
    let version = directory::trust_version(&dir);
    let deliver = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let delivery = directory::Delivery { credential, bundles: material.bundles, crls: material.crls };
        directory::deliver(&dir, &delivery, estate.clock.now()).unwrap();
    };
    let begun = Instant::now();
    let (followed, ()) = tokio::join!(tokio::time::timeout(PATIENCE, lists.next()), deliver);
    assert_eq!(directory::trust_version(&dir), version, "only the credential is another");
    assert!(!followed.unwrap().unwrap().unwrap().polled, "the poll is refused to who nobody knows");
    assert!(begun.elapsed() < Duration::from_secs(20), "the poll alone would have lasted a minute");
}
