//! Credentials that are named by subject alternative names alone.

use countermark_testkit::Spec;

use super::*;

const NAMES: &str = "dns:etl.corp email:etl@corp.internal";

fn etl(bench: &Bench, more: &str) -> String {
    format!(
        "[[credential]]\nname = \"etl\"\nissuer = \"est\"\ndirectory = \"{}\"\ntrust-domain = \"agents.internal\"\n\
         dns = [\"etl.corp\"]\nemail = [\"etl@corp.internal\"]\n{more}\n",
        bench.dir("etl").display()
    )
}

fn spec() -> Spec {
    Spec::nameless().dns("etl.corp").email("etl@corp.internal")
}

#[tokio::test(start_paused = true)]
async fn a_credential_without_a_spiffe_id_is_renewed_and_called_by_its_names() {
    let bench = Bench::new();
    let dir = bench.dir("etl");
    bench.put(&dir, &spec());
    let (roots, secret) = (fs::read(dir.join("ca.crt")).unwrap(), bench.path("secret.json"));
    let more = format!("secret = {{ path = \"{}\", name = \"etl\" }}\n", secret.display());
    let running = bench.start_with(&etl(&bench, &more)).unwrap();
    for generation in 2..=4 {
        let wanted = |event: &Event| matches!(event, Event::Succeeded { generation: it, .. } if *it == generation);
        running.next(wanted).await;
        let held = directory::read(&dir).unwrap();
        assert_eq!((held.credential.leaf().called().as_str(), held.credential.spiffe_id()), (NAMES, None));
        assert_eq!(fs::read(dir.join("ca.crt")).unwrap(), roots, "the stable name of its roots stays");
    }
    assert_eq!(running.handle.status().await.unwrap().credentials[0].identity, NAMES);
    assert!(fs::read_to_string(secret).unwrap().contains(NAMES));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_else_the_issuer_answers_is_refused_for_its_own_reason_and_the_old_one_stays() {
    for (mood, reason) in [
        (Mood::More, "also names dns:admin.corp, which nobody asked for"),
        (Mood::Lacking, "it is a certificate of dns:etl.corp, and lacks email:etl@corp.internal"),
        (Mood::OtherName, "is that of spiffe://agents.internal/agent/mallory, where names without a SPIFFE ID"),
        (Mood::Svid, "is that of spiffe://agents.internal/agent/etl, where names without a SPIFFE ID"),
        (Mood::OtherKey, "the private key is not that of the certificate"),
        (Mood::OtherRoot, "agents.internal"),
        (Mood::Expired, "expired"),
        (Mood::Useless, "neither clientAuth nor serverAuth"),
    ] {
        let bench = Bench::new();
        let dir = bench.dir("etl");
        bench.put(&dir, &spec());
        let before = serial(&dir);
        bench.issuer.set(mood);
        let running = bench.start_with(&etl(&bench, "")).unwrap();
        let told = running.next(|event| matches!(event, Event::RenewalFailed { failures: 2, .. })).await;
        let Event::RenewalFailed { step, cause, .. } = told else { unreachable!() };
        assert_eq!(step, Step::Verify, "{mood:?}: {cause}");
        assert!(cause.contains(reason), "{mood:?}: {cause}");
        assert_eq!(serial(&dir), before, "{mood:?}");
        bench.issuer.set(Mood::Good);
        running.next(|event| matches!(event, Event::Succeeded { generation: 2, .. })).await;
        running.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_other_names_is_refused_and_one_that_is_put_there_later_is_replaced() {
    let bench = Bench::new();
    let dir = bench.dir("etl");
    for other in [spec().dns("more.corp"), Spec::nameless().dns("etl.corp"), bench_agent()] {
        let _ = fs::remove_dir_all(&dir);
        bench.put(&dir, &other);
        let refused = bench.start_with(&etl(&bench, "")).unwrap_err();
        assert!(matches!(refused, StartError::OtherIdentity { .. }), "{refused}");
        assert!(refused.to_string().contains(&format!("the configuration says {NAMES}: ")), "{refused}");
    }
    fs::remove_dir_all(&dir).unwrap();
    bench.put(&dir, &spec());
    let running = bench.start_with(&etl(&bench, "")).unwrap();
    running.next(|event| matches!(event, Event::Found { .. })).await;
    let strange = bench.stranger_of(&spec());
    fs::write(dir.join("current/credential-bundle.pem"), strange.to_pem().expose()).unwrap();
    let told = running.next(|event| matches!(event, Event::ChangedByHand { .. })).await;
    assert!(
        matches!(&told, Event::ChangedByHand { fault: Some(fault) } if fault.contains("agents.internal")),
        "{told:?}"
    );
    running.next(|event| matches!(event, Event::Succeeded { .. })).await;
    assert_eq!(directory::read(&dir).unwrap().credential.leaf().called(), NAMES);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_trust_domain_that_the_configuration_names_no_more_is_withdrawn_with_the_next_certificate() {
    let bench = Bench::new();
    let dir = bench.dir("etl");
    bench.put(&dir, &spec());
    let of = |domain: &str, suffix: &str| dir.join("trust/current").join(format!("{domain}.{suffix}.pem"));
    for domain in ["next.internal", "partner.example"] {
        fs::copy(of("agents.internal", "trust-bundle"), of(domain, "trust-bundle")).unwrap();
    }
    let config = etl(&bench, "").replace("\"agents.internal\"", "\"next.internal\"");
    bench.issuer.set(Mood::Down);
    let running = bench.start_with(&config).unwrap();
    running.next(|event| matches!(event, Event::RenewalFailed { .. })).await;
    assert!(of("agents.internal", "trust-bundle").exists(), "what was good stays until there is another");
    bench.issuer.set(Mood::Good);
    // At once, not at half of its life.
    running.renewed(2).await;
    assert!(bench.clock.passed() < Duration::from_secs(600), "{:?}", bench.clock.passed());
    let bundles = directory::load_trust(&dir).unwrap().bundles;
    let bundles: Vec<_> = bundles.iter().map(|bundle| bundle.trust_domain().as_str()).collect();
    assert_eq!(bundles, ["next.internal", "partner.example"]);
    assert!(!of("agents.internal", "crl").exists() && !dir.join("agents.internal.trust-bundle.pem").is_symlink());
    assert_eq!(fs::read(dir.join("ca.crt")).unwrap(), fs::read(of("next.internal", "trust-bundle")).unwrap());
    running.end().await;
}

fn bench_agent() -> Spec {
    Spec::uri("spiffe://agents.internal/agent/etl")
}
