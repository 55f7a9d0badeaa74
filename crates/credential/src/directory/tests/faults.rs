use super::super::disk::fail_at;
use super::*;

/// A full disk at each step of a delivery in turn: what was there before still counts, and the next delivery succeeds.
#[test]
fn a_full_disk_at_any_step_leaves_what_was_there() {
    let mut failed = 0;
    for step in 0.. {
        let estate = Estate::delivered();
        let before = estate.thumbprint();
        let delivery = estate.delivery(PATH);
        fail_at(Some(step));
        let result = deliver(&estate.dir(), &delivery, NOW);
        fail_at(None);
        let loaded = estate.load().unwrap();
        let now = *loaded.credential.leaf().thumbprint();
        match result {
            Ok(_) => {
                assert_eq!(&now, delivery.credential.leaf().thumbprint());
                break;
            }
            Err(error) => {
                assert!(error.to_string().contains("free some space"), "{error}");
                // Only after the last rename can the new one count: then all of it does.
                assert!(now == before || &now == delivery.credential.leaf().thumbprint());
                failed += 1;
            }
        }
        estate.deliver(PATH).unwrap();
        let generations = names(estate.dir().join("generations"));
        assert!(generations.iter().all(|name| !name.starts_with('.')), "step {step}: {generations:?}");
    }
    assert!(failed > 30, "{failed}");
}

/// The first delivery into a directory that somebody filled by hand: until it has switched, that counts which stood there.
#[test]
fn a_full_disk_at_any_step_of_a_first_delivery_leaves_the_files_that_stood_there() {
    let mut failed = 0;
    for step in 0.. {
        let estate = Estate::plain();
        let (dir, before) = (estate.dir(), estate.thumbprint());
        let manner = Manner { keeps_partners: true, keeps_newer: true, ..Manner::default() };
        fail_at(Some(step));
        let result = deliver_as(&dir, &estate.delivery(PATH), &manner, NOW);
        fail_at(None);
        estate.holds_all();
        if result.is_ok() {
            break;
        }
        failed += 1;
        sweep(&dir, NOW).unwrap();
        estate.holds_all();
        assert!(estate.thumbprint() == before || current_generation(&dir).is_some(), "step {step}");
        deliver_as(&dir, &estate.delivery(PATH), &manner, NOW).unwrap();
        estate.holds_all();
        assert!(names(dir.join("trust/versions")).iter().all(|name| !name.starts_with('.')), "step {step}");
    }
    assert!(failed > 30, "{failed}");
}

/// What a kill leaves of a first delivery that nothing could tidy up after.
#[test]
fn a_first_delivery_that_was_killed_leaves_the_files_that_stood_there() {
    let estate = Estate::plain();
    let trust = estate.dir().join("trust");
    let steps: [&dyn Fn(); 6] = [
        &|| fs::create_dir(&trust).unwrap(),
        &|| fs::create_dir(trust.join("versions")).unwrap(),
        &|| fs::create_dir(trust.join("versions/.1.new")).unwrap(),
        &|| fs::write(trust.join("versions/.1.new").join(BUNDLE), "").unwrap(),
        &|| fs::rename(trust.join("versions/.1.new"), trust.join("versions/1")).unwrap(),
        &|| std::os::unix::fs::symlink("versions/1", trust.join(".current.new")).unwrap(),
    ];
    for step in steps {
        step();
        estate.holds_all();
        assert_eq!(load_own_trust(&estate.dir(), &td()).unwrap().crls.len(), 1);
    }
    // What stands in `trust` itself was what counted before.
    fs::write(trust.join(BUNDLE), estate.root.bundle().with_sequence(7).to_pem()).unwrap();
    assert_eq!(load_trust(&estate.dir()).unwrap().bundles[0].sequence(), Some(7));
    fs::remove_file(trust.join(BUNDLE)).unwrap();
    // A name that leads into what was switched to says that something was.
    fs::remove_file(estate.dir().join(BUNDLE)).unwrap();
    std::os::unix::fs::symlink(Path::new("trust/current").join(BUNDLE), estate.dir().join(BUNDLE)).unwrap();
    assert!(matches!(estate.load(), Err(LoadError::Io { path, .. }) if path == trust.join("current")));
}

#[test]
fn a_directory_that_cannot_be_made_says_so() {
    let estate = Estate::new();
    fs::write(estate.dir(), "a file stands in the way").unwrap();
    let error = estate.deliver(PATH).unwrap_err();
    assert!(matches!(error, DeliveryError::Io { action: "create the directory", .. }), "{error}");
}

#[test]
fn a_file_in_the_way_of_the_generations_leaves_what_was_there() {
    let estate = Estate::delivered();
    let before = estate.thumbprint();
    fs::write(estate.dir().join("generations/.2.new"), "in the way").unwrap();
    assert!(matches!(estate.deliver(PATH), Err(DeliveryError::Io { .. })));
    assert_eq!(estate.thumbprint(), before);
}

/// As root every mode passes; nobody can make a directory in `/proc`.
#[test]
fn a_place_where_nothing_can_be_made_says_so() {
    let error = deliver(Path::new("/proc/countermark"), &Estate::new().delivery(PATH), NOW).unwrap_err();
    assert!(error.to_string().contains("/proc/countermark"), "{error}");
}

#[test]
fn each_refusal_of_the_system_has_its_remedy() {
    for (kind, remedy) in [
        (std::io::ErrorKind::StorageFull, "free some space"),
        (std::io::ErrorKind::ReadOnlyFilesystem, "mounted read-only"),
        (std::io::ErrorKind::PermissionDenied, "run as the owner"),
    ] {
        let delivery = DeliveryError::Io { action: "write", path: "/x".into(), source: kind.into() };
        let load = LoadError::Io { path: "/x".into(), source: kind.into() };
        assert!(delivery.to_string().contains(remedy) && load.to_string().contains(remedy), "{delivery}");
    }
}
