use super::*;

fn credential_error(estate: &Estate) -> CredentialError {
    match estate.load().unwrap_err() {
        LoadError::Credential { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_missing_directory_and_an_empty_one_say_how_to_fill_them() {
    let estate = Estate::new();
    let error = estate.load().unwrap_err();
    assert!(matches!(error, LoadError::NoCredential { .. }), "{error}");
    fs::create_dir(estate.dir()).unwrap();
    let error = estate.load().unwrap_err();
    assert!(error.to_string().contains("countermark mint"), "{error}");
}

#[test]
fn a_link_to_nothing_is_no_plain_directory() {
    let estate = Estate::delivered();
    fs::remove_dir_all(estate.dir().join("generations/1")).unwrap();
    assert!(estate.load().is_err());
    let plain = Estate::new();
    fs::create_dir(plain.dir()).unwrap();
    std::os::unix::fs::symlink("gone", plain.dir().join("..data")).unwrap();
    assert!(matches!(plain.load(), Err(LoadError::Io { .. })));
}

#[test]
fn a_half_written_file_is_cut_off() {
    let estate = Estate::delivered();
    let path = estate.dir().join("credential-bundle.pem");
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 100]).unwrap();
    assert!(matches!(credential_error(&estate), CredentialError::Pem(PemError::CutOff)));
    fs::write(&path, "").unwrap();
    assert!(matches!(credential_error(&estate), CredentialError::KeyCount { found: 0 }));
}

#[test]
fn a_key_of_another_certificate_is_a_mismatch() {
    let estate = Estate::delivered();
    let other = Estate::delivered();
    let key = other.load().unwrap().credential.key_to_pem();
    let chain = estate.load().unwrap().credential.chain_to_pem();
    fs::write(estate.dir().join("credential-bundle.pem"), format!("{}{chain}", key.expose())).unwrap();
    assert!(matches!(credential_error(&estate), CredentialError::KeyMismatch { .. }));
}

#[test]
fn an_expired_certificate_says_since_when_and_what_to_do() {
    let estate = Estate::delivered();
    let now = UnixTime::from_secs(NOW.as_secs() + 3601);
    let error = load(&estate.dir(), now).unwrap_err();
    assert!(matches!(error, LoadError::Expired { .. }) && error.to_string().contains("countermark mint"), "{error}");
    read(&estate.dir()).unwrap();
}

#[test]
fn a_key_that_others_can_reach_is_refused() {
    let estate = Estate::delivered();
    let path = estate.dir().join("credential-bundle.pem");
    for exposed in [0o604, 0o644, 0o602, 0o666, 0o601] {
        chmod(&path, exposed);
        let error = estate.load().unwrap_err();
        assert!(matches!(error, LoadError::KeyExposed { mode, .. } if mode == exposed), "{error}");
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }
    for good in [0o600, 0o400, 0o440, 0o640] {
        chmod(&path, good);
        estate.load().unwrap();
    }
}

#[test]
fn a_kubernetes_volume_is_read_through_its_one_link() {
    let (estate, delivered) = (Estate::new(), Estate::delivered());
    let data = estate.dir().join("..2026_11_23");
    fs::create_dir_all(&data).unwrap();
    for name in ["tls.key", "tls.crt", BUNDLE] {
        fs::copy(delivered.dir().join(name), data.join(name)).unwrap();
    }
    chmod(data.join("tls.key"), 0o440);
    std::os::unix::fs::symlink("..2026_11_23", estate.dir().join("..data")).unwrap();
    let loaded = estate.load().unwrap();
    assert_eq!((loaded.generation, loaded.bundles.len(), loaded.crls.len()), (None, 1, 0));
    chmod(data.join("tls.key"), 0o444);
    assert!(matches!(estate.load(), Err(LoadError::KeyExposed { .. })));
}

#[test]
fn a_plain_directory_is_read_as_it_stands() {
    let (estate, delivered) = (Estate::new(), Estate::delivered());
    fs::create_dir(estate.dir()).unwrap();
    for (from, to) in [
        ("credential-bundle.pem", "credential-bundle.pem"),
        (BUNDLE, BUNDLE),
        ("trust/current/agents.internal.crl.pem", CRL),
    ] {
        fs::copy(delivered.dir().join(from), estate.dir().join(to)).unwrap();
    }
    let loaded = estate.load().unwrap();
    assert_eq!((loaded.bundles.len(), loaded.crls.len()), (1, 1));
}

#[test]
fn a_file_of_a_gigabyte_is_not_read() {
    let estate = Estate::delivered();
    let path = estate.dir().join("credential-bundle.pem");
    fs::File::options().write(true).open(path).unwrap().set_len(1 << 30).unwrap();
    assert!(matches!(estate.load(), Err(LoadError::TooLarge { .. })));
}
