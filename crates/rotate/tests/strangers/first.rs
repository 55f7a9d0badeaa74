//! What an operator puts there by hand, right or wrong.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use countermark_rotate::{Event, Observe, Told};

use super::*;

/// Why nothing is renewed, in the words of the status.
async fn cause(corporation: &Corporation) -> String {
    let status = corporation.once(corporation.config("localhost", "web.pem")).await;
    assert_eq!(corporation.asked.load(Ordering::SeqCst), 0, "{status:?}");
    status.credentials[0].failure.clone().unwrap().cause
}

#[tokio::test]
async fn what_is_wrong_with_a_first_credential_is_said() {
    let corporation = Corporation::new(&web()).await;
    let (key, chain) = (corporation.dir().join("tls.key"), corporation.dir().join("tls.crt"));
    let good = [&key, &chain].map(|path| std::fs::read_to_string(path).unwrap());
    let other = corporation.ca.mint(&etl()).credential().key_to_pem().expose().clone();
    let encrypted = good[0].replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (in_key, in_chain, said) in [
        (other.as_str(), good[1].as_str(), "the private key is not that of the certificate"),
        (&encrypted, &good[1], "`ENCRYPTED PRIVATE KEY`"),
        (&good[0], "", "there is no certificate"),
        ("", &good[1], "expected one private key"),
    ] {
        std::fs::write(&key, in_key).unwrap();
        std::fs::write(&chain, in_chain).unwrap();
        let cause = cause(&corporation).await;
        assert!(cause.contains("etl cannot be used: ") && cause.contains(said), "{cause}");
    }
    std::fs::write(&key, &good[0]).unwrap();
    std::fs::write(&chain, &good[1]).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = cause(&corporation).await;
    assert!(open.contains("etl cannot be used: ") && open.contains("644"), "{open}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    corporation.clock.advance(3 * HALF);
    let over = cause(&corporation).await;
    assert!(over.contains("etl expired at ") && over.contains("enrol it anew with its issuer"), "{over}");
    std::fs::remove_file(&key).unwrap();
    std::fs::remove_file(&chain).unwrap();
    let none = cause(&corporation).await;
    assert!(none.starts_with("there is no credential in "), "{none}");
}

#[tokio::test]
async fn who_is_refused_with_a_leaf_alone_is_told_what_belongs_behind_it() {
    let corporation = Corporation::new(&web()).await;
    let Minted { chain, key } = corporation.ca.mint(&etl());
    corporation.put_there(Minted { chain: chain[..1].to_vec(), key });
    let cause = corporation.refused("localhost", "web.pem").await;
    assert!(cause.contains("the server refused our certificate"), "{cause}");
    assert!(cause.contains("the leaf first, then the intermediates"), "{cause}");
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observe for Heard {
    fn told(&self, told: &Told) {
        self.0.lock().unwrap().push(told.event.clone());
    }
}

#[tokio::test]
async fn files_of_an_issuer_that_cannot_be_used_are_named_before_a_renewal_is_due() {
    let corporation = Corporation::new(&web()).await;
    let told = |roots: &str| {
        let heard = Arc::new(Heard::default());
        let clock = Arc::new(corporation.clock.clone());
        let setup = Setup {
            config: corporation.config("localhost", roots),
            stations: Arc::new(Remote::new(clock.clone())),
            clock,
            observers: vec![heard.clone()],
        };
        drop(Rotation::start(setup).unwrap());
        let heard = heard.0.lock().unwrap();
        let unready = heard.iter().filter_map(|event| match event {
            Event::IssuerUnready { issuer, cause } if issuer == "corp" => Some(cause.clone()),
            _ => None,
        });
        unready.collect::<Vec<_>>()
    };
    assert!(told("web.pem").is_empty());
    std::fs::write(corporation.place.path().join("ca.pem"), "broken").unwrap();
    std::fs::remove_file(corporation.place.path().join("crl.pem")).unwrap();
    let causes = told("none.pem");
    assert_eq!(causes.len(), 3, "{causes:?}");
    for (cause, file) in causes.iter().zip(["none.pem", "ca.pem", "crl.pem"]) {
        assert!(cause.contains(&*corporation.place.path().join(file).to_string_lossy()), "{cause}");
    }
}
