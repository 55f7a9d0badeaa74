//! An authority in memory with moods, and clocks that a test moves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countermark_credential::directory::{self, Delivery, DomainCrls, Manner};
use countermark_credential::{Bundle, Crl, Issuer, IssuerError, Issuing};
use countermark_identity::{Clock, San, UnixTime};
use countermark_testkit::{MockClock, Spec, TestCa, Wrong};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use x509_parser::prelude::FromDer as _;

use crate::config::{Config, ConfigError, CredentialEntry, IssuerKind};
use crate::issuer::{Coming, Files, Listing, Lists, OwnTrust, Present, Station, Stations, TrustOf, WireError};
use crate::name::Name;
use crate::run::tests::running::Running;
use crate::run::{Handle, Observe, Rotation, Setup, StartError};

/// A wall clock that runs with tokio's, and jumps when it is told to.
#[derive(Clone, Debug)]
pub(in crate::run) struct TestClock {
    base: UnixTime,
    begun: Instant,
    jumped: Arc<AtomicI64>,
}

impl TestClock {
    pub(in crate::run) fn jump(&self, seconds: i64) {
        self.jumped.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(in crate::run) fn passed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(in crate::run) fn now(&self) -> UnixTime {
        Clock::now(self)
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        let now = self.base.as_secs() + self.begun.elapsed().as_secs();
        UnixTime::from_secs(now.saturating_add_signed(self.jumped.load(Ordering::SeqCst)))
    }
}

/// How the authority answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) enum Mood {
    Down,
    Expired,
    Garbage,
    Good,
    Lacking,
    Later,
    More,
    OtherKey,
    OtherName,
    OtherRoot,
    Refused,
    Same,
    Slow,
    Svid,
    Useless,
}

pub(in crate::run) struct Authority {
    ca: TestCa,
    other: TestCa,
    clock: TestClock,
    mood: Mutex<Mood>,
    issued: Mutex<Vec<UnixTime>>,
    serials: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    published: watch::Sender<Option<Listing>>,
    flooding: AtomicUsize,
    flood_verified: AtomicBool,
    /// Whether answers are held back.
    held: watch::Sender<bool>,
    asked: AtomicUsize,
    /// The requests, as they came.
    requests: Mutex<Vec<Vec<u8>>>,
}

impl Authority {
    pub(in crate::run) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How often it was asked for a certificate.
    pub(in crate::run) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The requests, as they came.
    pub(in crate::run) fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }

    /// Holds back every answer, or lets them go.
    pub(in crate::run) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(in crate::run) fn issued(&self) -> usize {
        self.issued.lock().unwrap().len()
    }

    /// The lists of now.
    pub(in crate::run) fn lists(&self) -> Vec<Arc<Crl>> {
        self.own().crls
    }

    /// Lists that nobody here has signed.
    pub(in crate::run) fn strange_lists(&self) -> Vec<Arc<Crl>> {
        self.at();
        self.other.crls()
    }

    pub(in crate::run) fn publish(&self, crls: Vec<Arc<Crl>>, verified: bool) {
        self.published.send_replace(Some(Listing { crls, verified, polled: verified }));
    }

    /// From now on the poll is refused, and whoever answers has other lists each time.
    pub(in crate::run) fn flood(&self, verified: bool) {
        self.flooding.store(1, Ordering::SeqCst);
        self.flood_verified.store(verified, Ordering::SeqCst);
        self.publish(self.lists(), false);
    }

    /// How often it was asked since.
    pub(in crate::run) fn flooded(&self) -> usize {
        self.flooding.load(Ordering::SeqCst)
    }

    pub(in crate::run) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(in crate::run) fn most_in_a_second(&self) -> usize {
        let mut seconds = BTreeMap::new();
        for at in self.issued.lock().unwrap().iter() {
            *seconds.entry(*at).or_insert(0) += 1;
        }
        seconds.values().max().copied().unwrap_or_default()
    }

    fn at(&self) -> UnixTime {
        let now = self.clock.now();
        self.ca.clock().set(now);
        self.other.clock().set(now);
        now
    }

    fn own(&self) -> OwnTrust {
        self.at();
        OwnTrust { bundle: self.ca.bundle(), crls: self.ca.crls() }
    }
}

/// The authority as one credential's issuer.
struct Desk {
    authority: Arc<Authority>,
    name: String,
    wanted: Name,
    held: Option<Vec<CertificateDer<'static>>>,
}

impl Issuer for Desk {
    fn issue<'a>(&'a self, csr: &'a [u8]) -> Issuing<'a> {
        Box::pin(async move {
            let running = self.authority.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.authority.most.fetch_max(running, Ordering::SeqCst);
            let mood = *self.authority.mood.lock().unwrap();
            self.authority.asked.fetch_add(1, Ordering::SeqCst);
            self.authority.requests.lock().unwrap().push(csr.to_vec());
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.authority.held.subscribe().wait_for(|held| !held).await?;
            let answer = self.answer(mood, csr).await;
            self.authority.running.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }
}

impl Desk {
    async fn answer(&self, mood: Mood, csr: &[u8]) -> Result<Vec<CertificateDer<'static>>, IssuerError> {
        let now = self.authority.at();
        let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(csr).unwrap();
        let spki = request.certification_request_info.subject_pki.raw;
        let ca = &self.authority.ca;
        // The double's CA would draw the serial from the key, and repeat it with the key.
        let serial = self.authority.serials.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let spec = named(ca, &self.wanted).serial(&serial);
        if self.name.starts_with("silent") {
            tokio::time::sleep(Duration::from_secs(29)).await;
            return Err("no answer within 30 s".into());
        }
        match mood {
            Mood::Down => Err("connection refused".into()),
            Mood::Slow => {
                tokio::time::sleep(Duration::from_secs(29)).await;
                Err("no answer within 30 s".into())
            }
            Mood::Later => Err(WireError::Accepted { retry_after: Some(Duration::from_secs(120)) }.into()),
            Mood::Refused => {
                let (status, code) = (http::StatusCode::FORBIDDEN, String::new());
                Err(WireError::Status { status, code, retry_after: None }.into())
            }
            Mood::Garbage => Ok(vec![CertificateDer::from(b"<html>".to_vec())]),
            Mood::OtherName => Ok(ca.sign(&ca.agent_spec("mallory"), spki)),
            Mood::OtherKey => Ok(ca.mint(&spec).chain),
            Mood::OtherRoot => Ok(self.authority.other.sign(&spec, spki)),
            Mood::Expired => Ok(ca.sign(&spec.expired(), spki)),
            Mood::Lacking => Ok(ca.sign(&Spec::nameless().dns("etl.corp"), spki)),
            Mood::More => Ok(ca.sign(&spec.dns("admin.corp"), spki)),
            Mood::Svid => Ok(ca.sign(&spec.and_uri("spiffe://agents.internal/agent/etl"), spki)),
            Mood::Useless => Ok(ca.sign(&spec.wrong(Wrong::NoClientAuth).wrong(Wrong::NoServerAuth), spki)),
            Mood::Same => Ok(self.held.clone().unwrap()),
            Mood::Good => {
                self.authority.issued.lock().unwrap().push(now);
                Ok(ca.sign(&spec, spki))
            }
        }
    }
}

/// What a certificate of this name says.
fn named(ca: &TestCa, name: &Name) -> Spec {
    match name {
        Name::Spiffe(id) => ca.agent_spec(id.path().rsplit('/').next().unwrap()),
        Name::Sans { sans, .. } => sans.iter().fold(Spec::nameless(), |spec, san| match san {
            San::Dns(name) => spec.dns(name),
            San::Email(address) => spec.email(address),
            other => panic!("{other}"),
        }),
    }
}

struct Authorities(Arc<Authority>);

/// What an EST server that has no roots to give leaves to the directory, as it was when that was asked; slow where answers are held back.
struct Directory(Files, OwnTrust, Arc<Authority>);

impl TrustOf for Directory {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        Box::pin(async {
            self.2.held.subscribe().wait_for(|held| !held).await?;
            Ok(self.1.clone())
        })
    }

    fn in_files(&self) -> Option<Result<OwnTrust, IssuerError>> {
        self.0.in_files()
    }
}

impl TrustOf for Authorities {
    fn trust(&self) -> Coming<'_, OwnTrust> {
        Box::pin(async { Ok(self.0.own()) })
    }
}

impl Stations for Authorities {
    fn station<'a>(&'a self, entry: &'a CredentialEntry, present: &'a Present, _now: UnixTime) -> Coming<'a, Station> {
        Box::pin(async move {
            let desk = Desk {
                authority: Arc::clone(&self.0),
                name: entry.name.to_string(),
                wanted: entry.identity.clone(),
                held: present.credential.as_ref().map(|held| held.chain().to_vec()),
            };
            let trust: Arc<dyn TrustOf> = match &entry.issuer.kind {
                IssuerKind::Est { bundle, crl, .. } => {
                    let files = Files::new(entry, bundle.as_deref(), crl.as_deref());
                    let read = files.trust().await?;
                    Arc::new(Directory(files, read, Arc::clone(&self.0)))
                }
                _ => Arc::new(Self(Arc::clone(&self.0))),
            };
            Ok(Station { issuer: Arc::new(desk), trust, windows: None })
        })
    }

    fn lists<'a>(
        &'a self,
        _entry: &'a CredentialEntry,
        _present: &'a Present,
        _now: UnixTime,
    ) -> Coming<'a, Option<Box<dyn Lists>>> {
        Box::pin(async {
            let published = Publishing(Arc::clone(&self.0), self.0.published.subscribe());
            Ok(Some(Box::new(published) as Box<dyn Lists>))
        })
    }
}

struct Publishing(Arc<Authority>, watch::Receiver<Option<Listing>>);

impl Lists for Publishing {
    fn next(&mut self) -> Coming<'_, Option<Listing>> {
        Box::pin(async move {
            if self.0.flooded() > 0 {
                self.0.flooding.fetch_add(1, Ordering::SeqCst);
                let verified = self.0.flood_verified.load(Ordering::SeqCst);
                return Ok(Some(Listing { crls: self.0.lists(), verified, polled: false }));
            }
            self.1.changed().await?;
            Ok(self.1.borrow_and_update().clone())
        })
    }
}

/// A place with an authority in memory.
pub(in crate::run) struct Bench {
    place: TempDir,
    pub(in crate::run) clock: TestClock,
    pub(in crate::run) issuer: Arc<Authority>,
}

impl Bench {
    pub(in crate::run) fn new() -> Self {
        let mock = MockClock::new();
        let clock = TestClock { base: mock.now(), begun: Instant::now(), jumped: Arc::default() };
        let issuer = Authority {
            ca: TestCa::with_clock("agents.internal", mock.clone()),
            other: TestCa::with_clock("agents.internal", mock),
            clock: clock.clone(),
            mood: Mutex::new(Mood::Good),
            issued: Mutex::default(),
            serials: AtomicUsize::new(1 << 40),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            published: watch::Sender::new(None),
            flooding: AtomicUsize::new(0),
            flood_verified: AtomicBool::new(false),
            held: watch::Sender::new(false),
            asked: AtomicUsize::new(0),
            requests: Mutex::default(),
        };
        Self { place: tempfile::tempdir().unwrap(), clock, issuer: Arc::new(issuer) }
    }

    pub(in crate::run) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(in crate::run) fn dir(&self, name: &str) -> PathBuf {
        self.path("id").join(name)
    }

    /// A credential of this name that no root here leads to.
    pub(in crate::run) fn stranger(&self, name: &str) -> Arc<countermark_credential::Credential> {
        self.stranger_of(&self.issuer.other.agent_spec(name))
    }

    /// A credential that says this, and that no root here leads to.
    pub(in crate::run) fn stranger_of(&self, spec: &Spec) -> Arc<countermark_credential::Credential> {
        self.issuer.at();
        self.issuer.other.mint(spec).credential()
    }

    /// The root of this authority, and that of another of the same trust domain.
    pub(in crate::run) fn roots(&self) -> [Bundle; 2] {
        [&self.issuer.ca, &self.issuer.other].map(TestCa::bundle)
    }

    /// Both in one.
    pub(in crate::run) fn two_roots(&self) -> Bundle {
        let roots = self.roots().map(|bundle| bundle.roots().to_vec()).concat();
        Bundle::new("agents.internal".parse().unwrap(), roots).unwrap().with_sequence(1)
    }

    /// A directory with a first credential.
    pub(in crate::run) fn minted(&self, name: &str) -> PathBuf {
        let dir = self.dir(name);
        self.remint(&dir, name);
        dir
    }

    pub(in crate::run) fn remint(&self, dir: &Path, name: &str) {
        self.put(dir, &self.issuer.ca.agent_spec(name));
    }

    /// Delivers a certificate that says this.
    pub(in crate::run) fn put(&self, dir: &Path, spec: &Spec) {
        let now = self.issuer.at();
        let delivery = Delivery {
            credential: self.issuer.ca.mint(spec).credential(),
            bundles: vec![self.issuer.ca.bundle()],
            crls: vec![DomainCrls { trust_domain: "agents.internal".parse().unwrap(), crls: self.issuer.ca.crls() }],
        };
        let manner = Manner { trust_domain: Some("agents.internal".parse().unwrap()), ..Manner::default() };
        directory::deliver_as(dir, &delivery, &manner, now).unwrap();
    }

    pub(in crate::run) fn entry(&self, name: &str, more: &str) -> String {
        format!(
            "[[credential]]\nname = \"{name}\"\nidentity = \"spiffe://agents.internal/agent/{name}\"\nissuer = \"ca\"\ndirectory = \"{}\"\n{more}\n",
            self.dir(name).display()
        )
    }

    pub(in crate::run) fn config(&self, credentials: &str) -> Result<Config, ConfigError> {
        let text =
            format!("version = 1\n[[issuer]]\nname = \"ca\"\nkind = \"directory\"\npath = \"ca\"\n{credentials}");
        let text = text + "[[issuer]]\nname = \"est\"\nkind = \"est\"\nurl = \"https://est.corp\"\n";
        let text = if text.contains("\"est-by-file\"") {
            text + "[[issuer]]\nname = \"est-by-file\"\nkind = \"est\"\nurl = \"https://est.corp\"\nbundle = \"issuing-ca.pem\"\n"
        } else {
            text
        };
        let text = if text.contains("\"foreign\"") {
            text + "[[issuer]]\nname = \"foreign\"\nkind = \"directory\"\npath = \"foreign\"\n"
        } else {
            text
        };
        Config::parse(&text, &self.path("rotate.toml"))
    }

    pub(in crate::run) fn stations(&self) -> Arc<dyn Stations> {
        Arc::new(Authorities(Arc::clone(&self.issuer)))
    }

    pub(in crate::run) fn rotation(
        &self,
        credentials: &str,
        observer: Option<Arc<dyn Observe>>,
    ) -> Result<(Rotation, Handle), StartError> {
        Rotation::start(Setup {
            config: self.config(credentials).unwrap(),
            stations: self.stations(),
            clock: Arc::new(self.clock.clone()),
            observers: observer.into_iter().collect(),
        })
    }

    /// Rotates `billing-bot`.
    pub(in crate::run) fn start(&self, more: &str) -> Result<Running, StartError> {
        self.start_with(&self.entry("billing-bot", more))
    }

    pub(in crate::run) fn start_with(&self, credentials: &str) -> Result<Running, StartError> {
        Running::begin(|ear| self.rotation(credentials, Some(ear)))
    }

    /// Past the first look at a new directory, which fetches all of it.
    pub(in crate::run) async fn started(&self, more: &str) -> Running {
        let running = self.start(more).unwrap();
        running.moved().await;
        running
    }
}

/// A hook that touches this.
pub(in crate::run) fn touching(path: &Path) -> String {
    format!("[[credential.hook]]\ntouch = \"{}\"\n", path.display())
}
