//! A keystore holds the roots that the directory has.

use std::os::unix::fs::MetadataExt as _;

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};

use super::*;

/// The leaf in it, and how many roots.
fn read(path: &Path) -> (Vec<u8>, usize) {
    let store = KeyStore::from_pkcs12(&fs::read(path).unwrap(), "a word", Pkcs12ImportPolicy::Strict).unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    let roots = store.entries().filter(|(_, entry)| matches!(entry, KeyStoreEntry::Certificate(_))).count();
    (chain.certs()[0].as_der().to_vec(), roots)
}

/// A keystore under the word in this file.
fn kept_by(password: &Path) -> String {
    fs::write(password, "a word\n").unwrap();
    format!("keystore-password-file = \"{}\"\n", password.display())
}

/// Gives a directory a second root.
fn two_roots(bench: &Bench, dir: &Path) {
    directory::deliver_trust(dir, &[bench.two_roots()], &directory::load_trust(dir).unwrap().crls).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_keystore_that_is_written_late_is_projected_and_told_of_then() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let [password, touched, volume, secret] = ["password", "touched", "volume", "secret"].map(|name| bench.path(name));
    let more = format!(
        "{}projected = \"{}\"\nsecret = {{ path = \"{}\", name = \"x\" }}\n{}",
        kept_by(&password),
        volume.display(),
        secret.display(),
        touching(&touched)
    );
    let running = bench.start(&more).unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
    let leaf = directory::read(&dir).unwrap().credential.chain()[0].to_vec();
    assert_eq!(read(&volume.join("keystore.p12")), (leaf.clone(), 1));
    // What a write that was cut off has left.
    fs::write(dir.join("generations/2/keystore.p12.new"), "half").unwrap();

    fs::remove_file(&password).unwrap();
    two_roots(&bench, &dir);
    running.next(|event| matches!(event, Event::HookFailed { hook: 0, .. })).await;
    running.hooked(3).await;
    assert_eq!(read(&volume.join("keystore.p12")), (leaf.clone(), 1), "the rest is not held up");
    fs::remove_file(&touched).unwrap();
    fs::write(&password, "a word\n").unwrap();
    running.hooked(0).await;
    running.hooked(3).await;
    assert_eq!(read(&volume.join("keystore.p12")), (leaf, 2));
    assert!(touched.exists());
    assert!(!volume.join("keystore.p12.new").exists() && !volume.join("..data/keystore.p12.new").exists());
    assert!(!fs::read_to_string(&secret).unwrap().contains("keystore.p12.new"));
    let projections = fs::read_dir(&volume).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    let projections = projections.filter(|entry| !entry.as_ref().unwrap().path().is_symlink()).count();
    assert_eq!(projections, 2, "this one and the one before");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn other_roots_are_written_to_it_before_a_hook_tells_of_them_and_lists_are_not() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (password, touched, store) = (bench.path("password"), bench.path("touched"), dir.join("keystore.p12"));
    let more = format!("{}mode = \"0640\"\n{}", kept_by(&password), touching(&touched));
    let running = bench.start(&more).unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
    let leaf = directory::read(&dir).unwrap().credential.chain()[0].to_vec();
    assert_eq!(read(&store), (leaf.clone(), 1));
    let inode = fs::metadata(&store).unwrap().ino();
    bench.issuer.publish(bench.issuer.lists(), true);
    running.carried_on(1).await;
    assert_eq!(fs::metadata(&store).unwrap().ino(), inode, "no list stands in it");

    two_roots(&bench, &dir);
    fs::remove_file(&touched).unwrap();
    running.carried_on(0).await;
    assert_eq!(read(&store), (leaf, 2));
    assert_eq!(fs::metadata(&store).unwrap().mode() & 0o777, 0o640);
    running.hooked(1).await;
    assert!(touched.exists());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_keystore_that_could_not_be_made_costs_no_certificate() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let password = bench.path("password");
    let running = bench.start(&format!("keystore-password-file = \"{}\"\n", password.display())).unwrap();
    for text in [None, Some("\nno first line")] {
        if let Some(text) = text {
            fs::write(&password, text).unwrap();
        }
        assert!(running.handle.renew("billing-bot").await.unwrap());
        let told = running.next(|event| matches!(event, Event::RenewalFailed { .. } | Event::Renewed { .. })).await;
        assert!(matches!(told, Event::RenewalFailed { step: Step::Prepare, .. }), "{told:?}");
    }
    assert_eq!(bench.issuer.asked(), 0);
    fs::write(&password, "a word\n").unwrap();
    running.renewed(2).await;
    assert_eq!(read(&dir.join("keystore.p12")).1, 1);
    assert_eq!(bench.issuer.asked(), 1);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_roots_in_it_are_those_that_count_whatever_somebody_broke_of_a_partner() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let password = bench.path("password");
    let config = bench.config(&bench.entry("billing-bot", &kept_by(&password))).unwrap();
    // The generation has other roots than those that count.
    two_roots(&bench, &dir);
    fs::write(dir.join("trust/current/partner.example.trust-bundle.pem"), "-----BEGIN").unwrap();
    crate::sink::renew_keystore(&config.credentials[0], 1).unwrap();
    assert_eq!(read(&dir.join("generations/1/keystore.p12")).1, 2);
    fs::remove_file(dir.join("trust/current/agents.internal.trust-bundle.pem")).unwrap();
    assert!(crate::sink::renew_keystore(&config.credentials[0], 1).is_err());
}
