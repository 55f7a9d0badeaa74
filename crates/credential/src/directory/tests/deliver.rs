use super::super::deliver::advance;
use super::super::names::GENERATIONS;
use super::super::switch::Switch;
use super::*;

#[test]
fn what_was_delivered_is_loaded() {
    let estate = Estate::new();
    let delivery = estate.delivery(PATH);
    let generation = deliver(&estate.dir(), &delivery, NOW).unwrap();
    let loaded = estate.load().unwrap();
    assert_eq!(loaded.credential.chain(), delivery.credential.chain());
    assert_eq!(loaded.generation, Some(generation));
    assert_eq!(generation.number(), 1);
    assert_eq!((loaded.bundles.len(), loaded.crls.len()), (1, 1));
}

#[test]
fn the_layout_and_its_modes() {
    let estate = Estate::delivered();
    let dir = estate.dir();
    let stable = [
        (BUNDLE, "trust/current/agents.internal.trust-bundle.pem"),
        ("ca.crt", "trust/current/ca.crt"),
        ("credential-bundle.pem", "current/credential-bundle.pem"),
        ("tls.crt", "current/tls.crt"),
        ("tls.key", "current/tls.key"),
    ];
    for (name, target) in stable {
        assert_eq!(fs::read_link(dir.join(name)).unwrap(), Path::new(target));
        assert_eq!(mode(dir.join(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read_link(dir.join("current")).unwrap(), Path::new("generations/1"));
    assert_eq!(names(dir.join("current")), [BUNDLE, "ca.crt", "credential-bundle.pem", "tls.crt", "tls.key"]);
    assert_eq!(names(dir.join("trust/current")), [CRL, BUNDLE, "ca.crt"]);
    for folder in ["", "generations", "generations/1", "trust", "trust/versions", "trust/versions/1"] {
        assert_eq!(mode(dir.join(folder)), 0o700, "{folder}");
    }
}

#[test]
fn the_generation_before_stays_until_it_expires() {
    let estate = Estate::delivered();
    let generations = estate.dir().join("generations");
    estate.deliver(PATH).unwrap();
    assert_eq!(names(&generations), ["1", "2"]);
    let later = UnixTime::from_secs(NOW.as_secs() + 4000);
    let mut params = leaf_params(PATH);
    params.not_after = at(90_000);
    let credential = Arc::new(estate.root.credential_with(params, &[]));
    let generation = deliver(&estate.dir(), &Delivery { credential, ..estate.delivery(PATH) }, later).unwrap();
    assert_eq!(generation.number(), 3);
    // The second was current until now and goes at the next delivery; the first had expired.
    assert_eq!(names(&generations), ["2", "3"]);
}

#[test]
fn what_a_cut_off_delivery_left_is_swept() {
    let estate = Estate::delivered();
    let generations = estate.dir().join("generations");
    fs::create_dir(generations.join(".2.new")).unwrap();
    fs::write(generations.join(".2.new/tls.key"), "half").unwrap();
    fs::create_dir(generations.join("9")).unwrap();
    estate.deliver(PATH).unwrap();
    assert_eq!(names(&generations), ["1", "2"]);
}

#[test]
fn a_directory_of_another_identity_is_refused_untouched() {
    let estate = Estate::delivered();
    let before = estate.thumbprint();
    let error = estate.deliver("/agent/intern-bot").unwrap_err();
    assert!(matches!(error, DeliveryError::OtherIdentity { .. }), "{error}");
    assert!(error.to_string().contains("spiffe://agents.internal/agent/billing-bot"), "{error}");
    assert_eq!(estate.thumbprint(), before);
}

#[test]
fn a_directory_whose_owner_cannot_be_read_is_refused() {
    let estate = Estate::delivered();
    fs::write(estate.dir().join("current/credential-bundle.pem"), "garbage").unwrap();
    assert!(matches!(estate.deliver(PATH), Err(DeliveryError::Unreadable { .. })));
}

#[test]
fn an_expired_generation_is_followed_by_the_next() {
    let estate = Estate::new();
    let mut params = leaf_params(PATH);
    params.not_after = at(-10);
    let credential = Arc::new(estate.root.credential_with(params, &[]));
    deliver(&estate.dir(), &Delivery { credential, ..estate.delivery(PATH) }, NOW).unwrap();
    assert!(matches!(estate.load(), Err(LoadError::Expired { .. })));
    assert_eq!(estate.deliver(PATH).unwrap().number(), 2);
    estate.load().unwrap();
}

#[test]
fn the_bundle_of_the_own_trust_domain_must_be_there() {
    let estate = Estate::new();
    let delivery = Delivery { bundles: Vec::new(), ..estate.delivery(PATH) };
    assert!(matches!(deliver(&estate.dir(), &delivery, NOW), Err(DeliveryError::NoOwnBundle { .. })));
    assert!(!estate.dir().exists());
}

#[test]
fn a_credential_without_a_spiffe_id_is_refused() {
    let estate = Estate::new();
    let mut params = leaf_params(PATH);
    params.subject_alt_names = vec![rcgen::SanType::DnsName("etl.corp.internal".try_into().unwrap())];
    let credential = Arc::new(estate.root.credential_with(params, &[]));
    let error = deliver(&estate.dir(), &Delivery { credential, ..estate.delivery(PATH) }, NOW).unwrap_err();
    assert!(matches!(error, DeliveryError::NoSpiffeId));
}

#[test]
fn a_second_writer_is_told_to_wait() {
    let estate = Estate::delivered();
    let lock = Lock::acquire(&estate.dir()).unwrap();
    assert!(matches!(Lock::acquire_within(&estate.dir(), 1), Err(DeliveryError::Busy { .. })));
    drop(lock);
    Lock::acquire_within(&estate.dir(), 1).unwrap();
}

#[test]
fn a_delivery_waits_for_the_lock() {
    let estate = Estate::delivered();
    for trust_alone in [false, true] {
        let lock = Lock::acquire(&estate.dir()).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                match trust_alone {
                    false => drop(estate.deliver(PATH).unwrap()),
                    true => deliver_trust(&estate.dir(), &[estate.root.bundle()], &[]).unwrap(),
                }
                tell.send(()).unwrap();
            });
            told.recv_timeout(std::time::Duration::from_millis(200)).unwrap_err();
            drop(lock);
        });
        told.recv().unwrap();
    }
}

#[test]
fn two_writers_at_once_make_two_generations() {
    let estate = Estate::delivered();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| estate.deliver(PATH).unwrap());
        }
    });
    assert_eq!(estate.load().unwrap().generation.unwrap().number(), 5);
}

/// A reader that resolves `current` once, and one that reads `credential-bundle.pem`, never see a key beside another's certificate.
#[test]
fn readers_never_see_a_mismatch_over_a_thousand_switches() {
    let estate = Estate::delivered();
    let deliveries = [estate.delivery(PATH), estate.delivery(PATH)];
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = |read: fn(&Path) -> Vec<u8>| {
            let (dir, done) = (estate.dir(), &done);
            move || {
                let mut readings = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    Credential::from_pem(&read(&dir)).unwrap();
                    readings += 1;
                }
                readings
            }
        };
        let split = scope.spawn(reader(|dir| {
            let current = fs::canonicalize(dir.join("current")).unwrap();
            let mut text = fs::read(current.join("tls.key")).unwrap();
            text.extend(fs::read(current.join("tls.crt")).unwrap());
            text
        }));
        let bundle = scope.spawn(reader(|dir| fs::read(dir.join("credential-bundle.pem")).unwrap()));
        // The switch alone: a delivery also looks at every generation that is kept, which are a thousand here.
        let dir = estate.dir();
        for number in 0..1_001 {
            advance(Switch::new(&dir, GENERATIONS), &deliveries[number % 2], &estate.root.bundle(), &[]).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(split.join().unwrap() > 100 && bundle.join().unwrap() > 100);
    });
}

#[test]
fn what_a_file_that_was_replaced_left_half_written_is_swept_out_of_every_generation() {
    let estate = Estate::delivered();
    estate.deliver(PATH).unwrap();
    for number in [1, 2] {
        fs::write(estate.dir().join(format!("generations/{number}/keystore.p12.new")), "half").unwrap();
    }
    sweep(&estate.dir(), NOW).unwrap();
    for number in [1, 2] {
        let left = names(estate.dir().join(format!("generations/{number}")));
        assert!(left.iter().all(|name| is_of_credential(name) || is_of_trust(name)) && left.len() >= 4, "{left:?}");
    }
}

#[test]
fn a_name_is_one_that_is_delivered_or_it_is_not() {
    for name in ["credential-bundle.pem", "tls.key", "tls.crt"] {
        assert!(is_of_credential(name) && !is_of_trust(name), "{name}");
    }
    for name in ["ca.crt", "agents.internal.trust-bundle.pem", "agents.internal.crl.pem"] {
        assert!(is_of_trust(name) && !is_of_credential(name), "{name}");
    }
    for name in ["tls.key.new", ".crl.pem", "agents.internal.crl.pem.new", "..data", "x"] {
        assert!(!is_of_credential(name) && !is_of_trust(name), "{name}");
    }
}
