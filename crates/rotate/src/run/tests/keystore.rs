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

#[tokio::test(start_paused = true)]
async fn other_roots_are_written_to_it_before_a_hook_tells_of_them_and_lists_are_not() {
    let bench = Bench::new();
    let dir = bench.minted("billing-bot");
    let (password, touched, store) = (bench.path("password"), bench.path("touched"), dir.join("keystore.p12"));
    fs::write(&password, "a word\n").unwrap();
    let more = format!(
        "keystore-password-file = \"{}\"\nmode = \"0640\"\n[[credential.hook]]\ntouch = \"{}\"\n",
        password.display(),
        touched.display()
    );
    let running = bench.start(&more).unwrap();
    assert!(running.handle.renew("billing-bot").await.unwrap());
    running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
    let leaf = directory::read(&dir).unwrap().credential.chain()[0].to_vec();
    assert_eq!(read(&store), (leaf.clone(), 1));
    let inode = fs::metadata(&store).unwrap().ino();
    bench.issuer.publish(bench.issuer.lists(), true);
    running.next(|event| matches!(event, Event::TrustMoved)).await;
    running.next(|event| *event == Event::HookDone { hook: 1 }).await;
    assert_eq!(fs::metadata(&store).unwrap().ino(), inode, "no list stands in it");

    directory::deliver_trust(&dir, &[bench.two_roots()], &directory::load_trust(&dir).unwrap().crls).unwrap();
    fs::remove_file(&touched).unwrap();
    running.next(|event| matches!(event, Event::TrustMoved)).await;
    running.next(|event| *event == Event::HookDone { hook: 0 }).await;
    assert!(!touched.exists());
    assert_eq!(read(&store), (leaf, 2));
    assert_eq!(fs::metadata(&store).unwrap().mode() & 0o777, 0o640);
    running.next(|event| *event == Event::HookDone { hook: 1 }).await;
    assert!(touched.exists());
    running.end().await;
}
