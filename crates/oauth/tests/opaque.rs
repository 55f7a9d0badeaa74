//! Opaque tokens whose issuer does not say what they are bound to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use countermark_oauth::{Bound, Question};
use countermark_testkit::Fault;
use serde_json::json;
use tokio::net::TcpListener;

use crate::secrets::Written;
use crate::world::{RESOURCE, World};

/// An endpoint that never answers, or hangs up at once.
struct Mute {
    url: String,
    met: Arc<AtomicUsize>,
    hangs_up: Arc<AtomicBool>,
}

impl Mute {
    async fn start(hangs_up: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let (met, hangs_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(hangs_up)));
        let this = Self { url, met: Arc::clone(&met), hangs_up: Arc::clone(&hangs_up) };
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                met.fetch_add(1, Ordering::SeqCst);
                if !hangs_up.load(Ordering::SeqCst) {
                    held.push(stream);
                }
            }
        });
        this
    }

    fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// What the issuer says of it.
    fn fault(&self) -> Fault {
        let here = json!({ "introspection_endpoint": self.url });
        Fault::Metadata(json!({"introspection_endpoint": self.url, "mtls_endpoint_aliases": here}))
    }
}

/// Another token each time.
fn question(of: usize) -> Question {
    Question::of(format!("{RESOURCE}/{of}"))
}

#[tokio::test(flavor = "current_thread")]
async fn an_issuer_that_does_not_answer_is_waited_for_once_in_a_while() {
    let (world, mute) = (World::new().await, Mute::start(false).await);
    world.sso.set_opaque(true);
    world.sso.fail(mute.fault());
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt().with_writer(written.clone()).with_ansi(false).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let warned = || written.text().matches("it is used unexamined").count();
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    // Those who wait at the same time are told of together.
    let (one, two) = (question(1), question(2));
    let (first, second) = tokio::join!(tokens.token(&one), tokens.token(&two));
    assert_eq!((first.unwrap().binding(), second.unwrap().binding()), (Bound::Unknown, Bound::Unknown));
    let met = mute.met();
    assert!(met > 0 && warned() == 1 && written.text().contains("no answer came within 3s"), "{}", written.text());
    for of in 3..10 {
        assert_eq!(tokens.token(&question(of)).await.unwrap().binding(), Bound::Unknown);
    }
    assert_eq!((mute.met(), warned()), (met, 1), "nobody else waits");
    mute.hangs_up.store(true, Ordering::SeqCst);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(300)).await;
    tokio::time::resume();
    tokens.token(&question(10)).await.unwrap();
    assert!(mute.met() > met && warned() == 2, "then it is asked again: {}", written.text());
}

#[tokio::test]
async fn an_issuer_that_refuses_to_say_is_asked_about_the_next_token() {
    let world = World::new().await;
    world.sso.set_opaque(true);
    world.sso.fail(Fault::NoIntrospection);
    let tokens = world.tokens(world.ca.agent("billing-bot"));
    for of in 1..4 {
        assert_eq!(tokens.token(&question(of)).await.unwrap().binding(), Bound::Unknown);
        assert_eq!(world.sso.introspections(), of);
    }
    world.sso.recover();
    assert!(matches!(tokens.token(&question(4)).await.unwrap().binding(), Bound::Certificate(_)));
}

#[tokio::test]
async fn an_issuer_that_only_the_called_server_names_is_asked_about_every_token() {
    let (world, mute) = (World::new().await, Mute::start(true).await);
    world.sso.set_opaque(true);
    world.sso.fail(mute.fault());
    let mut registration = world.registration();
    registration.named = true;
    let tokens = world.tokens_as(registration, world.ca.agent("billing-bot"));
    for of in 1..4 {
        let met = mute.met();
        assert_eq!(tokens.token(&question(of)).await.unwrap().binding(), Bound::Unknown);
        assert!(mute.met() > met, "its silence is not remembered");
    }
}
