//! Enrolment by tokens of an issuer that publishes its keys at a URL.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use countermark_identity::{Clock, SystemClock};
use countermark_oauth::JwsFault;
use countermark_testkit::{MockClock, TestCa};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::service::token::TokenError;
use crate::service::token::tests::{Issuer, account};

/// What the publisher of keys does.
#[derive(Clone, Debug)]
enum Mood {
    /// It hangs up.
    Down,
    Html,
    Huge,
    Keys(Value),
    Redirect,
}

/// A server of keys on loopback, and the place with what asks it.
struct Publisher {
    place: TempDir,
    ca: TestCa,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    heard: Arc<Mutex<String>>,
    sent: Arc<AtomicUsize>,
    url: String,
}

impl Publisher {
    async fn new(mood: Mood) -> Self {
        // The client's TLS goes by the wall clock.
        let ca = TestCa::with_clock("agents.internal", MockClock::at(SystemClock.now()));
        let own = ca.mint(&ca.server_spec("api").dns("localhost")).credential();
        let config = rustls::ServerConfig::builder_with_provider(countermark_mtls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(own.chain().to_vec(), own.key().clone_key())
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let this = Self {
            place: tempfile::tempdir().unwrap(),
            ca,
            mood: Arc::new(Mutex::new(mood)),
            asked: Arc::default(),
            heard: Arc::default(),
            sent: Arc::default(),
            url: format!("https://localhost:{}/openid/v1/jwks", listener.local_addr().unwrap().port()),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (mood, asked) = (Arc::clone(&this.mood), Arc::clone(&this.asked));
        let (heard, sent) = (Arc::clone(&this.heard), Arc::clone(&this.sent));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mood = mood.lock().unwrap().clone();
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(acceptor.clone(), stream, mood, Arc::clone(&heard), Arc::clone(&sent)));
            }
        });
        std::fs::write(this.path("ca.crt"), this.ca.bundle().to_pem()).unwrap();
        std::fs::write(this.path("account-token"), "who-we-are\n").unwrap();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Writes an `enrol.toml` in which `account` of `crm` is `crm-bot`.
    fn rules(&self, account: &str) -> PathBuf {
        let path = self.path("enrol.toml");
        let text = format!(
            "version = 1\n[[jwt_issuer]]\nissuer = \"https://kubernetes.default.svc\"\naudience = \"countermark\"\n\
             jwks = \"{}\"\njwks_ca = \"ca.crt\"\njwks_bearer = \"account-token\"\n\
             [[jwt_issuer.rule]]\nidentity = \"agent/crm-bot\"\n\
             kubernetes = {{ namespace = \"crm\", service_account = \"{account}\" }}\n",
            self.url
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, account: &str, before: &Enrolment) -> Enrolment {
        let clock: Arc<dyn Clock> = Arc::new(MockClock::at(START));
        Enrolment::read(&self.rules(account), &"agents.internal".parse().unwrap(), before, &clock).unwrap()
    }
}

async fn answer(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    mood: Mood,
    heard: Arc<Mutex<String>>,
    sent: Arc<AtomicUsize>,
) {
    let mood = match mood {
        Mood::Down => return,
        mood => mood,
    };
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    *heard.lock().unwrap() = String::from_utf8(request).unwrap();
    let _gone = match mood {
        Mood::Down => Ok(()),
        Mood::Html => whole(&mut stream, "200 OK", "<html>sign in</html>").await,
        Mood::Keys(keys) => whole(&mut stream, "200 OK", &keys.to_string()).await,
        Mood::Redirect => whole(&mut stream, "302 Found\r\nlocation: https://localhost/elsewhere", "").await,
        Mood::Huge => huge(&mut stream, &sent).await,
    };
}

async fn whole(stream: &mut TlsStream<TcpStream>, status: &str, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await?;
    stream.shutdown().await
}

/// 50 MB, for as long as somebody reads.
async fn huge(stream: &mut TlsStream<TcpStream>, sent: &AtomicUsize) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 52428800\r\n\r\n").await?;
    let piece = vec![b' '; 64 * 1024];
    for _ in 0..800 {
        stream.write_all(&piece).await?;
        sent.fetch_add(piece.len(), Ordering::SeqCst);
    }
    Ok(())
}

fn keys(issuer: &Issuer, id: &str) -> Mood {
    Mood::Keys(json!({"keys": [issuer.jwk(id)]}))
}

async fn granted(enrolment: &Enrolment, token: &str) -> Result<String, TokenError> {
    enrolment.grant(token, &MockClock::at(START)).await.map(|grant| grant.rule.identity.to_string())
}

fn by_key(issuer: &Issuer, id: &str) -> String {
    issuer.token_with(&json!({"alg": "ES256", "kid": id}), &account("crm", "bot").to_string())
}

#[tokio::test]
async fn a_pod_enrols_once_the_issuer_is_there_and_after_its_keys_have_changed() {
    let (issuer, next) = (Issuer::new(), Issuer::new());
    let publisher = Publisher::new(Mood::Down).await;
    let enrol = publisher.rules("bot");
    let estate = Estate::with(|config| config.enrol = Some(enrol)).await;
    let csr = Holder::new().key.request().unwrap();
    let ask = async |token: String| estate.enrol(&format!("Bearer {token}"), &csr).await;
    let down = ask(issuer.token(&account("crm", "bot"))).await;
    assert_eq!(down.headers["retry-after"], "5");
    down.refused_text(503, "are not known now");
    publisher.set(keys(&issuer, "one"));
    let begun = std::time::Instant::now();
    while ask(issuer.token(&account("crm", "bot"))).await.status != StatusCode::OK {
        assert!(begun.elapsed().as_secs() < 30, "it is never asked again");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let heard = publisher.heard.lock().unwrap().clone();
    assert!(heard.starts_with("GET /openid/v1/jwks ") && heard.contains("Bearer who-we-are\r\n"), "{heard}");
    publisher.set(keys(&next, "two"));
    assert_eq!(ask(by_key(&next, "two")).await.status, StatusCode::OK, "the first token that names it");
    ask(issuer.token(&account("crm", "bot"))).await.refused_text(401, "no single key");
    ask(by_key(&issuer, "two")).await.refused_text(401, "signature");
    let asked = publisher.asked();
    for number in 0..50 {
        ask(by_key(&next, &format!("invented-{number}"))).await.refused_text(401, "no single key");
    }
    assert!(publisher.asked() <= asked + 3, "{} times for 50 invented keys", publisher.asked() - asked);
    assert!(estate.shared.examine().is_empty(), "whoever publishes keys decides nothing about readiness");
}

#[tokio::test]
async fn keys_are_kept_while_the_issuer_talks_nonsense_and_over_other_rules() {
    let issuer = Issuer::new();
    let good = issuer.token(&account("crm", "bot"));
    for mood in [Mood::Down, Mood::Html, Mood::Huge, Mood::Redirect] {
        let publisher = Publisher::new(mood.clone()).await;
        let enrolment = publisher.read("bot", &Enrolment::nobody());
        assert_eq!(granted(&enrolment, &good).await, Err(TokenError::Unavailable), "{mood:?}");
        let enrolment = publisher.read("bot", &Enrolment::nobody());
        publisher.set(keys(&issuer, "one"));
        assert!(granted(&enrolment, &good).await.is_ok(), "{mood:?}");
        publisher.set(mood.clone());
        let asked = publisher.asked();
        assert_eq!(granted(&enrolment, &by_key(&issuer, "two")).await, Err(TokenError::Unavailable), "{mood:?}");
        assert_eq!(publisher.asked(), asked + 1, "{mood:?}");
        assert!(granted(&enrolment, &good).await.is_ok(), "{mood:?}");
        let sent = publisher.sent.load(Ordering::SeqCst);
        assert!(sent < 20 * 1024 * 1024, "{sent} bytes were read");
        // Other rules, the same place.
        let other = publisher.read("other", &enrolment);
        assert!(matches!(granted(&other, &good).await, Err(TokenError::NoRule { .. })), "{mood:?}");
        assert!(granted(&publisher.read("bot", &other), &good).await.is_ok(), "{mood:?}");
        assert_eq!(publisher.asked(), asked + 1, "{mood:?}");
    }
}

#[tokio::test]
async fn an_issuer_that_publishes_no_key_any_more_has_withdrawn_those_that_it_had() {
    let (issuer, publisher) = (Issuer::new(), Publisher::new(Mood::Down).await);
    publisher.set(keys(&issuer, "one"));
    let enrolment = publisher.read("bot", &Enrolment::nobody());
    let good = issuer.token(&account("crm", "bot"));
    assert!(granted(&enrolment, &good).await.is_ok());
    publisher.set(Mood::Keys(json!({"keys": []})));
    for token in [by_key(&issuer, "two"), good] {
        assert_eq!(granted(&enrolment, &token).await, Err(JwsFault::NoKey.into()), "a thief may have the key");
    }
}

#[tokio::test]
async fn a_server_of_another_ca_publishes_nothing_and_hears_nothing() {
    let issuer = Issuer::new();
    let publisher = Publisher::new(keys(&issuer, "one")).await;
    std::fs::write(publisher.path("ca.crt"), TestCa::new("agents.internal").bundle().to_pem()).unwrap();
    let enrolment = publisher.read("bot", &Enrolment::nobody());
    let token = issuer.token(&account("crm", "bot"));
    assert_eq!(granted(&enrolment, &token).await, Err(TokenError::Unavailable));
    assert!(publisher.heard.lock().unwrap().is_empty());
    std::fs::remove_file(publisher.path("account-token")).unwrap();
    std::fs::write(publisher.path("ca.crt"), publisher.ca.bundle().to_pem()).unwrap();
    let enrolment = publisher.read("bot", &Enrolment::nobody());
    assert_eq!(granted(&enrolment, &token).await, Err(TokenError::Unavailable), "without what it is known by");
    assert!(publisher.heard.lock().unwrap().is_empty());
}
