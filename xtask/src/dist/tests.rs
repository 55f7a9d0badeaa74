use super::*;

/// A context whose target directory is a temporary one.
fn context(target: &Path) -> Context {
    Context { target: target.to_owned(), ..Context::find(false).unwrap() }
}

/// What the archive is made of, without a build.
fn parts(folder: &Path) -> Parts {
    let (binary, manual) = (folder.join("countermark"), folder.join("manual"));
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    for name in [
        "completions/countermark.bash",
        "completions/_countermark",
        "completions/countermark.fish",
        "man/countermark.1",
    ] {
        let file = manual.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, name).unwrap();
    }
    Parts { binary, manual, third_parties: "none\n".to_owned() }
}

#[test]
fn an_archive_has_everything_its_name_says_what_it_needs_and_it_is_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path());
    let parts = parts(folder.path());
    let archive = pack(&context, "x86_64-unknown-linux-gnu", &parts).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with(concat!("countermark-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-gnu2.")),
        "{name}"
    );
    let listed = Program::new("tar").args(["--list", "--file"]).args([&archive]).output().unwrap();
    for file in [
        "bin/countermark",
        "share/bash-completion/completions/countermark",
        "share/zsh/site-functions/_countermark",
        "share/fish/vendor_completions.d/countermark.fish",
        "share/man/man1/countermark.1",
        "lib/systemd/system/countermark-guard@.service",
        "lib/sysusers.d/countermark.conf",
        "share/doc/countermark/LICENSE-APACHE",
        "share/doc/countermark/THIRD-PARTIES",
        "share/doc/countermark/kubernetes/daemonset.yaml",
    ] {
        let whole = format!("{}/{file}", name.trim_end_matches(".tar.gz"));
        assert!(listed.lines().any(|line| line == whole), "{whole} is missing:\n{listed}");
    }
    let home = archive.parent().unwrap();
    Program::new("sha256sum").args(["--check", "--strict"]).args([sum_file(&archive)]).directory(home).run().unwrap();
    let first = std::fs::read(&archive).unwrap();
    assert_eq!(std::fs::read(pack(&context, "x86_64-unknown-linux-gnu", &parts).unwrap()).unwrap(), first);
}

#[test]
fn a_name_without_glibc_has_no_version_of_it() {
    let name = name("x86_64-unknown-linux-musl", Path::new("nowhere")).unwrap();
    assert_eq!(name, concat!("countermark-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-musl"));
}

#[test]
fn whose_code_is_in_it_is_told_with_the_texts() {
    let context = Context::find(false).unwrap();
    let text = licences::collect(&context, &host().unwrap()).unwrap();
    for package in ["tokio ", "rustls ", "hyper "] {
        assert!(text.contains(&format!("\n  {package}")), "{package} is missing");
    }
    assert!(
        !text.contains("  countermark-") && !text.contains("  criterion "),
        "ours, and what only tests use, is not listed"
    );
    assert!(text.contains("Permission is hereby granted") && text.contains("Apache License"), "the texts");
}
