//! What lies in the directory, with which modes, and what is refused.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use countermark_issue::SealError;

use super::*;
use crate::{Act, AuthorityError, Outcome};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn everything_is_there_with_its_mode_and_nothing_else() {
    let fixture = Fixture::new().await;
    let mut names: Vec<String> =
        fs::read_dir(fixture.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "agents.internal.trust-bundle.pem",
            "crl.pem",
            "intermediate.crt",
            "intermediate.key",
            "inventory.lock",
            "inventory.sqlite",
            "issuers",
            "profiles",
            "root.crt",
            "root.key",
        ]
    );
    let file = |name: &str| mode(&fixture.path().join(name));
    for private in ["root.key", "intermediate.key", "inventory.sqlite", "inventory.lock"] {
        assert_eq!(file(private), 0o600, "{private}");
    }
    for public in ["root.crt", "intermediate.crt", "crl.pem", "agents.internal.trust-bundle.pem", "profiles/agent.toml"]
    {
        assert_eq!(file(public), 0o644, "{public}");
    }
    assert_eq!(file("issuers"), 0o700);
    let bundle = fixture.authority.bundle().unwrap();
    assert_eq!(bundle.sequence(), Some(1));
    assert_eq!(bundle.roots(), [fixture.authority.root().clone()]);
}

#[tokio::test]
async fn openssl_believes_the_chain() {
    let fixture = Fixture::new().await;
    let time = START.as_secs();
    let verify =
        format!("verify -x509_strict -crl_check_all -CRLfile crl.pem -attime {time} -CAfile root.crt intermediate.crt");
    openssl(fixture.path(), &verify).unwrap();
}

#[tokio::test]
async fn a_directory_that_holds_something_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("precious"), b"1").unwrap();
    let refused = Authority::init(directory.path(), &domain(), KeyProtection::Plaintext, Hand::new()).await;
    assert!(matches!(refused, Err(AuthorityError::NotEmpty(_))));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let fixture = Fixture::new().await;
    let again = Authority::init(fixture.path(), &domain(), KeyProtection::Plaintext, Hand::new()).await;
    assert!(matches!(again, Err(AuthorityError::NotEmpty(_))));
    fixture.mint("agent/a").await;
}

#[tokio::test]
async fn what_a_dead_init_left_is_cleared_away_and_an_empty_volume_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join(".init/issuers")).unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    Authority::init(directory.path(), &domain(), KeyProtection::Plaintext, Hand::new()).await.unwrap();
    assert!(!directory.path().join(".init").exists());
}

#[test]
fn a_directory_without_a_root_is_no_authority() {
    let directory = tempfile::tempdir().unwrap();
    let refused = Authority::open(directory.path(), None, Hand::new()).unwrap_err();
    assert!(matches!(refused, AuthorityError::NotAnAuthority { missing: "root.crt", .. }));
    assert!(refused.to_string().contains("countermark ca init"), "{refused}");
    fs::write(directory.path().join("root.crt"), b"half-wri").unwrap();
    let broken = Authority::open(directory.path(), None, Hand::new()).unwrap_err();
    assert!(matches!(broken, AuthorityError::Certificate(_)));
}

#[tokio::test]
async fn sealed_keys_open_with_their_passphrase_alone() {
    let directory = tempfile::tempdir().unwrap();
    let protection = KeyProtection::Passphrase(secret("correct"));
    let authority = Authority::init(directory.path(), &domain(), protection, Hand::new()).await.unwrap();
    authority.mint(&request("agent/a")).await.unwrap();
    assert!(Authority::needs_passphrase(directory.path()).unwrap());
    for key in ["root.key", "intermediate.key"] {
        openssl(directory.path(), &format!("pkey -in {key} -passin pass:battery -noout")).unwrap_err();
        openssl(directory.path(), &format!("pkey -in {key} -passin pass:correct -noout")).unwrap();
        let text = fs::read_to_string(directory.path().join(key)).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    }
    let wrong = Authority::open(directory.path(), Some(secret("battery")), Hand::new()).unwrap();
    let refused = wrong.mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Key { source: SealError::WrongPassphrase, .. }), "{refused}");
    let line = &authority.audit_trail(1).await.unwrap()[0];
    assert_eq!((line.act, line.outcome), (Act::Mint, Outcome::Refused), "a wrong passphrase is written down");
    let none = Authority::open(directory.path(), None, Hand::new()).unwrap();
    let refused = none.mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Key { source: SealError::PassphraseNeeded, .. }), "{refused}");
    assert_eq!(none.list(&crate::Filter::default()).await.unwrap().len(), 1, "reading takes no passphrase");
}

#[tokio::test]
async fn plaintext_keys_need_no_passphrase() {
    let fixture = Fixture::new().await;
    assert!(!Authority::needs_passphrase(fixture.path()).unwrap());
}

#[tokio::test]
async fn a_key_that_the_world_can_read_is_refused_with_the_remedy() {
    let fixture = Fixture::new().await;
    let key = fixture.path().join("intermediate.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let refused = fixture.reopen().mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::WorldReadable { mode: 0o644, .. }), "{refused}");
    assert!(refused.to_string().contains("chmod o="), "{refused}");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    fixture.reopen().mint(&request("agent/a")).await.unwrap();
}

#[tokio::test]
async fn broken_files_each_have_their_own_error() {
    let fixture = Fixture::new().await;
    let key = fixture.path().join("intermediate.key");
    let kept = fs::read(&key).unwrap();
    fs::write(&key, &kept[..kept.len() / 2]).unwrap();
    let half = fixture.reopen().mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(half, AuthorityError::Key { source: SealError::NotPem, .. }), "{half}");
    fs::copy(fixture.path().join("root.key"), &key).unwrap();
    let other = fixture.reopen().mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(other, AuthorityError::Ca(countermark_issue::CaError::KeyMismatch)), "{other}");
    fs::write(&key, &kept).unwrap();
    fixture.reopen().mint(&request("agent/a")).await.unwrap();
    fs::remove_file(fixture.path().join("inventory.sqlite")).unwrap();
    let gone = fixture.reopen().mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(gone, AuthorityError::Io { act: "open", .. }), "{gone}");
    assert!(!fixture.path().join("inventory.sqlite").exists(), "an inventory that is lost is not silently begun anew");
}

/// A certificate whose CRL peers cannot read would be refused by every one of them.
#[tokio::test]
async fn a_certificate_whose_crl_cannot_be_written_is_not_handed_out() {
    let fixture = Fixture::new().await;
    fs::remove_file(fixture.authority.crl_path()).unwrap();
    fs::create_dir(fixture.authority.crl_path()).unwrap();
    let refused = fixture.authority.mint(&request("agent/a")).await.unwrap_err();
    assert!(matches!(refused, AuthorityError::Io { act: "write", .. }), "{refused}");
    let line = &fixture.authority.audit_trail(1).await.unwrap()[0];
    assert_eq!((line.act, line.outcome), (Act::Mint, Outcome::Refused));
    fs::remove_dir(fixture.authority.crl_path()).unwrap();
    let issued = fixture.mint("agent/a").await;
    fixture.verify(&issued.chain).unwrap();
}

#[tokio::test]
async fn the_inventory_s_log_is_as_private_as_the_inventory() {
    let fixture = Fixture::new().await;
    fixture.mint("agent/a").await;
    for file in ["inventory.sqlite-wal", "inventory.sqlite-shm"] {
        assert_eq!(mode(&fixture.path().join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn nothing_half_made_is_left_behind() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.mint("agent/a").await;
    }
    let hidden = fs::read_dir(fixture.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
        .count();
    assert_eq!(hidden, 0);
    assert!(fixture.directory.path().exists());
}

#[tokio::test]
async fn two_that_make_an_authority_in_one_directory_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca");
    let domain = domain();
    let init = || Authority::init(&path, &domain, KeyProtection::Plaintext, Hand::new());
    fs::create_dir(&path).unwrap();
    let other = fs::File::open(&path).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(init().await, Err(AuthorityError::Busy(_))));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    drop(other);
    let (first, second) = tokio::join!(init(), init());
    let made = [first, second].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(made.len(), 1, "one of them is refused");
    made[0].mint(&request("agent/a")).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_process_was_writing_is_written_over() {
    let fixture = Fixture::new().await;
    fs::write(fixture.path().join(".crl.pem.new"), "half of i").unwrap();
    fixture.mint("agent/a").await;
    let hidden = |entry: fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    assert!(!fs::read_dir(fixture.path()).unwrap().any(|entry| hidden(entry.unwrap())));
    assert_eq!(fixture.numbers(), ["1", "2"]);
}

#[tokio::test]
async fn an_inventory_that_was_emptied_is_not_begun_anew() {
    let fixture = Fixture::new().await;
    fs::write(fixture.path().join("inventory.sqlite"), "").unwrap();
    let refused = |error: AuthorityError| assert!(error.to_string().contains("backup"), "{error}");
    refused(fixture.reopen().mint(&request("agent/a")).await.unwrap_err());
    refused(fixture.reopen().list(&Default::default()).await.unwrap_err());
    assert_eq!(fs::read(fixture.path().join("inventory.sqlite")).unwrap(), b"");
}
